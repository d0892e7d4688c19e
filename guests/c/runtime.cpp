// libvirtine_c: calls of the functions that vcc found marked in C programs, by the tables that it
// wrote of them. Knows no C types but by their bytes; what crosses, vcc has checked.
// SPDX-License-Identifier: MIT

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <sys/syscall.h>
#include <unistd.h>

#include <virtine/loaded_image.hpp>
#include <virtine/posix.hpp>

#define VIRTINE_RUN_NATIVELY_WITHOUT_ISOLATION  // The header's types alone.
#define virtine_c_begin_try virtine_c_native_begin_try
#define virtine_c_end_try virtine_c_native_end_try
#define virtine_on_failure virtine_c_native_on_failure
#include "virtine.h"
#undef virtine
#undef virtine_c_begin_try
#undef virtine_c_end_try
#undef virtine_on_failure

#pragma GCC visibility push(default)
extern "C" {
#include "tables.h"
void virtine_c_begin_try(virtine_failure* failure);
int virtine_c_end_try(void);
void virtine_on_failure(void (*handler)(const virtine_failure*));
}
#pragma GCC visibility pop

namespace {

using virtine::errc;
using virtine::error;
using virtine::result;
using machine = virtine::detail::machine;
using pool = virtine::basic_pool<machine>;

/// What went wrong with a call: the name of its error, and a text.
struct told {
  const char* reason;
  std::string text;
};

told bad_argument(std::string text) {
  return {"bad_argument", std::move(text)};
}

// The descriptor that the guest of this thread writes to, for the sink to know.
thread_local std::uint64_t written_to = 0;

/// The policy of the grants that a marked function names.
class granted {
 public:
  using call_state = virtine::posix::detail::system_calls::state;
  enum : unsigned { output = 1, clock = 2, entropy = 4, everything = 8 };

  explicit granted(unsigned grants) : grants_(grants) {
    // By way of the program's own buffers, so that what both print stays in order.
    const auto print = [](std::string_view text) {
      std::FILE* const to = written_to == STDERR_FILENO ? stderr : stdout;
      static_cast<void>(std::fwrite(text.data(), 1, text.size(), to));
    };
    if ((grants & output) != 0) virtine::posix::output(print, UINT64_MAX).add_to(system_, 0);
    if ((grants & clock) != 0) virtine::posix::clock().add_to(system_, 0);
  }

  result<void> serve(std::uint64_t number, virtine::detail::guest_access& guest,
                     virtine::guest_address at) {
    // A C library asks when a program does; there is none.
    if (number == virtine::environment::number || number == virtine::program_arguments::number) {
      return virtine::detail::server<virtine::environment::signature_type>::serve(
          virtine::detail::no_strings, guest, at);
    }
    return error{.code = errc::hypercall_denied, .detail = number};
  }

  result<virtine::detail::system_call_answer> serve(const virtine::detail::system_call& call,
                                                    virtine::detail::guest_access& guest,
                                                    call_state& open) {
    if ((grants_ & entropy) != 0) {
      const auto answer = virtine::detail::entropy_grant<256>::answer_alone(call, guest);
      if (answer) return *answer;
    }
    written_to = call.arguments[0];
    // Without a grant of its own a guest has no system, not even one that is empty.
    const auto answer = (grants_ & (output | clock)) != 0
                            ? system_.serve(call, guest, open)
                            : virtine::detail::system_call_answer{.denied = true};
    if (!answer.denied) return answer;
    return error{.code = errc::system_call_denied,
                 .operation = virtine::detail::system_call_name(call.number),
                 .detail = call.number};
  }

 private:
  unsigned grants_;
  virtine::posix::detail::system_calls system_;
};

/// What a process has of an image: made at its first call, and there until the process ends, as
/// calls may come from destructors and from threads that nobody joins.
class image_state {
 public:
  static result<image_state*> of(virtine_c_image& image) {
    const std::atomic_ref<void*> place(image.state);
    if (void* const made = place.load(std::memory_order_acquire)) {
      return static_cast<image_state*>(made);
    }
    // Without a lock, which a thread that is gone could hold in a child of fork.
    auto loaded = load(image);
    if (!loaded) return loaded.error();
    auto mine = std::make_unique<image_state>(*std::move(loaded));
    void* other = nullptr;
    if (place.compare_exchange_strong(other, mine.get(), std::memory_order_acq_rel)) {
      return mine.release();
    }
    return static_cast<image_state*>(other);
  }

  explicit image_state(virtine::loaded_image loaded)
      : loaded_(std::move(loaded)), pool_(loaded_.description()) {
    for (const virtine::exported_function& each : loaded_.exports()) {
      const auto number = std::strtoul(std::string(each.name.substr(1)).c_str(), nullptr, 10);
      if (addresses_.size() <= number) addresses_.resize(number + 1);
      addresses_[number] = each.address;
    }
  }

  [[nodiscard]] const virtine::image_description& description() const {
    return loaded_.description();
  }
  [[nodiscard]] std::uint64_t address(unsigned entry) const { return addresses_.at(entry); }
  pool& machines() { return pool_; }
  granted& policy(unsigned grants) {
    std::atomic<granted*>& place = policies_.at(grants & 7);
    if (granted* const made = place.load(std::memory_order_acquire)) return *made;
    auto mine = std::make_unique<granted>(grants);
    granted* other = nullptr;
    if (place.compare_exchange_strong(other, mine.get(), std::memory_order_acq_rel)) {
      return *mine.release();
    }
    return *other;
  }

 private:
  static result<virtine::loaded_image> load(const virtine_c_image& image) {
    if (image.version != virtine_c_version) {
      return error{.code = errc::image_refused,
                   .operation =
                       "the program was compiled by another version of vcc than "
                       "libvirtine_c is of; compile it again"};
    }
    std::span bytes(image.bytes, image.size);
    if (image.size == 0) {
      std::uint64_t size = 0;
      std::memcpy(&size, image.bytes, sizeof size);
      bytes = {image.bytes + 16, size};
    }
    // The program's own bytes: what they ask for, its vcc was told to give.
    constexpr std::uint64_t any = std::uint64_t{1} << 40;
    return virtine::load_image(
        std::as_bytes(bytes),
        {.max_memory = any, .max_stack = any, .max_arguments = any, .max_symbols = 1U << 31U});
  }

  virtine::loaded_image loaded_;
  pool pool_;
  std::vector<std::uint64_t> addresses_;
  std::array<std::atomic<granted*>, 8> policies_{};
};

/// Bytes that lie before and behind what an argument points to, and must be unchanged after a call:
/// a guest that has written there took the argument for larger than it is.
constexpr std::byte gap_byte{0xa5};
constexpr std::size_t gap_least = 64;
constexpr std::size_t gap_most = 4096;
constexpr std::size_t too_much = SIZE_MAX / 4;

constexpr std::size_t align_up(std::size_t at, std::size_t to) {
  return (at + to - 1) / to * to;
}

/// What an argument points to, and where it lies in argument memory.
struct placed {
  const virtine_c_ref* ref = nullptr;
  std::size_t size = 0;  // bytes
  std::size_t gap = 0;   // in front of it; also the least behind it
  std::size_t start = 0;
};

constexpr unsigned is_output = 2;
constexpr unsigned is_text = 3;

std::byte* host_bytes(const placed& of) {
  return static_cast<std::byte*>(of.ref->host);
}

/// Visits each element of `size` bytes of a `whole`, by its offset.
template <class Visit>
void for_each_element(std::size_t whole, std::size_t size, const Visit& visit) {
  for (std::size_t at = 0; size != 0 && at + size <= whole; at += size) visit(at);
}

void clear_padding(std::byte* to, std::size_t whole, const virtine_c_type& type) {
  if (type.pad_count == 0) return;
  for_each_element(whole, type.size, [&](std::size_t at) {
    for (const virtine_c_pad& pad : std::span(type.pads, type.pad_count)) {
      for (unsigned i = 0; i < pad.size; ++i) to[at + pad.offset + i] &= std::byte(pad.keep);
    }
  });
}

/// Copies what the guest left to the program's object, but for padding.
void copy_back(std::byte* to, const std::byte* from, std::size_t whole,
               const virtine_c_type& type) {
  if (type.pad_count == 0) {
    std::memcpy(to, from, whole);
    return;
  }
  for_each_element(whole, type.size, [&](std::size_t at) {
    std::size_t done = 0;
    for (const virtine_c_pad& pad : std::span(type.pads, type.pad_count)) {
      std::memcpy(to + at + done, from + at + done, pad.offset - done);
      const std::byte keep{static_cast<unsigned char>(pad.keep)};
      for (std::size_t i = at + pad.offset; i < at + pad.offset + pad.size; ++i) {
        to[i] = (from[i] & keep) | (to[i] & ~keep);
      }
      done = pad.offset + pad.size;
    }
    std::memcpy(to + at + done, from + at + done, type.size - done);
  });
}

/// Returns the value that `type` cannot have, of those in `reply` which are not as they were.
std::optional<long long> wrong_value(const std::byte* reply, const std::byte* before,
                                     std::size_t whole, const virtine_c_type& type) {
  std::optional<long long> found;
  if (type.value_count == 0) return found;
  for_each_element(whole, type.size, [&](std::size_t at) {
    for (const virtine_c_value& each : std::span(type.values, type.value_count)) {
      const std::byte* const from = reply + at + each.offset;
      if (before != nullptr && std::memcmp(from, before + at + each.offset, each.size) == 0)
        continue;
      std::uint64_t bits = 0;
      std::memcpy(&bits, from, each.size);
      const unsigned unused = 64 - 8 * each.size;
      const auto value = each.least < 0 ? static_cast<std::int64_t>(bits << unused) >> unused
                                        : static_cast<std::int64_t>(bits);
      if (value < each.least || value > each.most) found = value;
    }
  });
  return found;
}

/// One call: its frame and what its arguments point to.
class crossing {
 public:
  crossing(const virtine_c_function& function, void* frame, std::span<const virtine_c_ref> refs)
      : function_(function), frame_(static_cast<std::byte*>(frame)) {
    clear_padding(frame_, function.frame.size, function.frame);
    for (const virtine_c_ref& ref : refs) {
      if (ref.host != nullptr) placed_.push_back({.ref = &ref});
    }
  }

  /// Finds a place for everything, in `room` bytes.
  std::optional<told> place(std::size_t room) {
    std::size_t at = function_.frame.size;
    for (placed& each : placed_) {
      if (auto wrong = measure(each)) return wrong;
      each.gap = gap_of(*each.ref->type);
      each.start =
          align_up(at + each.gap, std::max<std::size_t>(each.ref->type->alignment, gap_least));
      each.gap = each.start - at;
      at = each.start + each.size;
      if (at > too_much) break;
    }
    tail_ = placed_.empty() ? 0 : gap_of(*placed_.back().ref->type);
    used_ = at + tail_;
    if (used_ > room) {
      return told{"arguments_too_large",
                  "the arguments take " + std::to_string(used_) + " bytes, and there is room for " +
                      std::to_string(room) + "; compile with a larger -fvirtine-arguments=SIZE"};
    }
    return check_overlap();
  }

  [[nodiscard]] std::size_t used() const { return used_; }

  void write(std::span<std::byte> area, std::uint64_t base) {
    for (const placed& each : placed_) {
      const std::uint64_t address = base + each.start;
      std::memcpy(frame_ + each.ref->slot, &address, sizeof address);
      std::memset(area.data() + each.start - each.gap, static_cast<int>(gap_byte), each.gap);
      if (each.size != 0) std::memcpy(area.data() + each.start, each.ref->host, each.size);
      if (each.ref->kind != is_text) {
        clear_padding(area.data() + each.start, each.size, *each.ref->type);
      }
    }
    std::memset(area.data() + used_ - tail_, static_cast<int>(gap_byte), tail_);
    std::memcpy(area.data(), frame_, function_.frame.size);
  }

  /// Checks all that the guest left before the program gets any of it.
  std::optional<told> read(std::span<const std::byte> area) {
    // Half of what lies between two arguments is of the one, half of the other.
    for (std::size_t i = 0, from = function_.frame.size; i < placed_.size(); ++i) {
      const placed& each = placed_[i];
      const std::size_t end = each.start + each.size;
      const bool is_last = i + 1 == placed_.size();
      const std::size_t to = is_last ? used_ : end + (placed_[i + 1].start - end) / 2;
      if (!is_gap(area.subspan(from, each.start - from))) return overrun(each, "before");
      if (!is_gap(area.subspan(end, to - end))) return overrun(each, "behind");
      from = to;
    }
    const std::size_t size = function_.frame.size;
    if (const auto wrong = wrong_value(area.data(), nullptr, size, function_.frame)) {
      return bad_value("its result", *wrong);
    }
    for (const placed& each : placed_) {
      if (each.ref->kind != is_output) continue;
      const auto wrong =
          wrong_value(area.data() + each.start, host_bytes(each), each.size, *each.ref->type);
      if (wrong) return bad_value(std::string("what '") + each.ref->name + "' points to", *wrong);
    }
    for (const placed& each : placed_) {
      if (each.ref->kind != is_output || each.size == 0) continue;
      copy_back(host_bytes(each), area.data() + each.start, each.size, *each.ref->type);
    }
    std::memcpy(frame_, area.data(), function_.frame.size);
    return std::nullopt;
  }

 private:
  static std::size_t gap_of(const virtine_c_type& type) {
    return std::clamp(align_up(type.size, gap_least), gap_least, gap_most);
  }

  static bool is_gap(std::span<const std::byte> bytes) {
    // All are as the first, if each is as the one before it.
    return bytes.empty() || (bytes.front() == gap_byte &&
                             std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
  }

  static told overrun(const placed& of, const char* where) {
    return {"bad_reply", std::string("it wrote ") + where + " the " + std::to_string(of.size) +
                             " bytes that '" + of.ref->name + "' points to"};
  }

  static told bad_value(const std::string& what, long long value) {
    return {"bad_reply", what + " has " + std::to_string(value) +
                             ", which its type (a bool or an enum) does not have"};
  }

  static std::optional<told> measure(placed& each) {
    const virtine_c_ref& ref = *each.ref;
    if (ref.kind == is_text) {
      each.size = std::strlen(static_cast<const char*>(ref.host)) + 1;
      return std::nullopt;
    }
    each.size = ref.type->size;
    for (const long long count : std::span(ref.counts, ref.count_count)) {
      if (count < 0) {
        return bad_argument(std::string("the size of '") + ref.name + "' is negative");
      }
      // Neither this product nor a sum with others may wrap to something that fits.
      if (each.size != 0 && static_cast<std::uint64_t>(count) > too_much / 64 / each.size) {
        return told{"arguments_too_large", std::string("the size of '") + ref.name + "', " +
                                               std::to_string(count) + ", is too large"};
      }
      each.size *= static_cast<std::uint64_t>(count);
    }
    return std::nullopt;
  }

  /// Two arguments that overlap would be two copies, of which the guest changes one.
  [[nodiscard]] std::optional<told> check_overlap() const {
    for (const placed& one : placed_) {
      for (const placed& other : placed_) {
        if (&one == &other || one.ref->kind != is_output) continue;
        const auto from = std::bit_cast<std::uintptr_t>(one.ref->host);
        const auto to = std::bit_cast<std::uintptr_t>(other.ref->host);
        if (from >= to + other.size || to >= from + one.size) continue;
        const bool in_order = &one < &other;
        return bad_argument(std::string("'") + (in_order ? one : other).ref->name + "' and '" +
                            (in_order ? other : one).ref->name +
                            "' overlap, and the function can write to one of them; give each "
                            "memory of its own");
      }
    }
    return std::nullopt;
  }

  const virtine_c_function& function_;
  std::byte* frame_;
  std::vector<placed> placed_;
  std::size_t tail_ = 0;  // the gap behind the last argument
  std::size_t used_ = 0;
};

std::optional<told> failed(const error& why) {
  std::string text = to_string(why).substr(std::strlen(name(why.code)) + 2);  // behind "code: "
  // What a C program has in their place.
  if (why.code == errc::timed_out) {
    text += "; give it more by virtine_config(timeout=60s) or -fvirtine-timeout=60s";
  } else if (why.code == errc::system_call_denied) {
    text +=
        "; write `virtine_config(output)` before the function, or what else it needs: clock, "
        "entropy";
  } else if (why.code == errc::exited) {
    text += "; a marked function has to return";
  }
  return told{name(why.code), text};
}

/// Whether each call is to have a machine made from nothing, as if there were no snapshots.
bool without_snapshots() {
  static const bool asked = [] {
    const char* const value = std::getenv("VIRTINE_NO_SNAPSHOT");
    return value != nullptr && *value != '\0' && std::string_view(value) != "0";
  }();
  return asked;
}

template <class Policy>
std::optional<told> call_by(image_state& image, const virtine_c_function& function, crossing& call,
                            Policy& policy) {
  virtine::call_options limits;
  limits.hypercalls = UINT64_MAX;
  limits.timeout = function.timeout == 0
                       ? std::chrono::nanoseconds::max()
                       : std::chrono::nanoseconds(std::chrono::milliseconds(function.timeout));
  if (auto wrong = call.place(image.description().arguments_size)) return wrong;
  const auto bounds = virtine::detail::limits_of(limits, limits.timeout);
  const auto run = [&](machine& guest) {
    call.write(guest.arguments(), virtine::to_number(guest.arguments_address()));
    return virtine::detail::execute(guest, image.address(function.entry), bounds, limits.hypercalls,
                                    policy);
  };
  const auto read = [&](const result<void>& ran, machine& guest) {
    return ran ? call.read(guest.arguments()) : failed(ran.error());
  };
  if (without_snapshots()) {
    auto made = machine::create(image.description());
    if (!made) return failed(made.error());
    return read(run(**made), **made);
  }
  auto lent = image.machines().borrow(limits.timeout);
  if (!lent) return failed(lent.error());
  const auto ran = virtine::detail::on_machine(*lent, bounds, run);
  if (!ran && !*lent) return failed(ran.error());
  auto wrong = read(ran, **lent);
  lent->give_back(call.used());
  return wrong;
}

std::optional<told> make_call(const virtine_c_function& function, void* frame,
                              std::span<const virtine_c_ref> refs) {
  auto image = image_state::of(*function.image);
  if (!image) return failed(image.error());
  crossing call(function, frame, refs);
  if ((function.grants & granted::everything) != 0) {
    // Never destroyed, as the machines that use it.
    static auto& permissive = *new auto(virtine::posix::permissive_exposes_host(UINT64_MAX));
    // The guest writes to the descriptor, behind what the program has printed before.
    static_cast<void>(std::fflush(stdout));
    return call_by(**image, function, call, permissive);
  }
  if (function.grants == 0) {
    // What such a policy has for each call costs nothing.
    static auto& nothing = *new virtine::policy<>();
    return call_by(**image, function, call, nothing);
  }
  return call_by(**image, function, call, (*image)->policy(function.grants));
}

thread_local virtine_failure* trying = nullptr;
std::atomic<void (*)(const virtine_failure*)> on_failure{nullptr};
std::atomic<bool> ending{false};

void describe(virtine_failure& out, const virtine_c_function& function, const told& why) {
  out.failed = 1;
  out.line = static_cast<int>(function.line);
  out.file = function.file;
  out.function = function.name;
  out.reason = why.reason;
  static_cast<void>(std::snprintf(out.text, sizeof out.text,
                                  "%s:%u: the call of %s() failed: %s: %s", function.file,
                                  function.line, function.name, why.reason, why.text.c_str()));
}

void fail(const virtine_c_function& function, const told& why) {
  if (trying != nullptr) {
    describe(*trying, function, why);
    return;
  }
  virtine_failure failure{};
  describe(failure, function, why);
  if (auto* const handler = on_failure.load()) {
    handler(&failure);
  } else {
    static_cast<void>(std::fprintf(stderr, "%s\n", failure.text));
  }
  virtine::abandon_calls();
  // exit() must not be called by what it runs itself.
  if (ending.exchange(true)) ::_exit(VIRTINE_EXIT_STATUS);
  std::exit(VIRTINE_EXIT_STATUS);
}

}  // namespace

void virtine_c_call(const virtine_c_function* function, void* frame, const virtine_c_ref* refs,
                    unsigned long count) {
  // A call of the expression has failed, and what this one is given may be what that did not give.
  if (trying != nullptr && trying->failed != 0) return;
  std::optional<told> why;
  try {
    why = make_call(*function, frame, std::span(refs, count));
  } catch (const std::bad_alloc&) {
    why = told{"os_error", "there is no memory for it"};
  } catch (const std::exception& thrown) {
    why = told{"os_error", thrown.what()};
  }
  if (why) fail(*function, *why);
}

void virtine_c_begin_try(virtine_failure* failure) {
  failure->failed = 0;
  failure->reason = "";
  failure->text[0] = '\0';
  failure->outer = trying;
  trying = failure;
}

int virtine_c_end_try() {
  virtine_failure* const ended = std::exchange(trying, trying->outer);
  return ended->failed;
}

void virtine_on_failure(void (*handler)(const virtine_failure*)) {
  on_failure.store(handler);
}
