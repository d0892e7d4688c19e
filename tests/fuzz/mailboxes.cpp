// Fuzzes what the host reads of a guest that directs its own loops: the mailbox and the frames of a
// session, while the guest and a second thread change them, and the memory of a batch. An input is
// what the guest does, a byte for each act.
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <virtine/call/batch.hpp>
#include <virtine/call/marshal.hpp>
#include <virtine/machine/session_thread.hpp>

#include "input.hpp"
#include "kinds.hpp"

namespace {

using namespace virtine;
using namespace virtine::detail;

template <class R>
using signature = R(std::string_view, std::span<bool>, std::span<long>, long);
constexpr std::size_t memory_size = 512;
constexpr guest_address base{0x40000};
constexpr std::uint32_t frame_offset = sizeof(x86::session_mailbox);

/// Writes as a guest does, at any time: no sanitizer is to see a race in it.
__attribute__((no_sanitize("thread"))) void scribble(std::span<std::byte> to, std::size_t at,
                                                     std::byte value) {
  *const_cast<volatile std::byte*>(to.data() + at % to.size()) = value;
}

/// What one call of a host's has, and whether what came back is of its types.
template <class R>
struct call_of_host {
  std::array<bool, 4> flags{};
  std::array<long, 3> numbers{};
  std::string_view text = "text";
  std::span<bool> flags_span{flags};
  std::span<long> numbers_span{numbers};
  long number = 7;
  detail::marshaller<signature<R>> marshalled{text, flags_span, numbers_span, number};

  call_of_host() = default;
  call_of_host(const call_of_host&) = delete;
  call_of_host& operator=(const call_of_host&) = delete;

  void check(const result<R>& got) const {
    if (!got) {
      require(got.error().code == errc::bad_reply);
    } else if constexpr (!std::is_void_v<R>) {
      require(*got == colour::red || *got == colour::green);
    }
    std::array<std::byte, sizeof flags> bytes;
    std::memcpy(bytes.data(), flags.data(), sizeof flags);
    for (const std::byte each : bytes) require(each <= std::byte{1});
  }
};

/// The processor on which the session's thread runs the guest.
class processor_of_script {
 public:
  /// Both do something only while the guest is inside.
  bool move_deadline(monotonic::time_point) const { return inside_; }
  void interrupt(errc) {
    if (inside_) interrupted_ = true;
  }

  void set_inside(bool inside) {
    interrupted_ = false;
    inside_ = inside;
  }
  [[nodiscard]] bool is_inside() const { return inside_; }
  [[nodiscard]] bool interrupted() const { return interrupted_; }

 private:
  std::atomic<bool> inside_ = false;
  std::atomic<bool> interrupted_ = false;
};

/// A machine whose guest does what an input says.
class machine_of_script {
 public:
  machine_of_script(fuzz_input& script, bool has_second)
      : script_(script), has_second_(has_second) {}

  [[nodiscard]] std::span<std::byte> arguments() { return {memory_.get(), memory_size}; }
  [[nodiscard]] static guest_address arguments_address() { return base; }
  [[nodiscard]] static std::uint32_t hypercall_number() { return 7; }
  [[nodiscard]] result<void> take_second() const {
    if (has_second_) return {};
    return error{.code = errc::os_error};
  }
  void use_second(bool on) { on_second_ = on; }
  processor_of_script& second_runner() { return second_; }

  result<guest_exit> enter(std::uint64_t, const run_limits& limits) {
    if (auto going_on = detail::check(limits); !going_on) return going_on.error();
    return resume();
  }
  result<guest_exit> resume() {
    if (!on_second_) return act();
    second_.set_inside(true);
    auto stopped = act();
    second_.set_inside(false);
    return stopped;
  }
  static void abandon() {}

  std::atomic<std::uint64_t> answered{0};  ///< The last call that the guest has answered.
  std::atomic<bool> lied = false;          ///< Whether it has written what need not be an answer.

 private:
  template <class T>
  std::atomic_ref<T> word(std::size_t offset) {
    // Sound: aligned bytes of memory that is used as numbers only.
    return std::atomic_ref(*reinterpret_cast<T*>(memory_.get() + offset));
  }

  void answer(std::uint64_t more) {
    const auto asked = word<std::uint64_t>(offsetof(x86::session_mailbox, request))
                           .load(std::memory_order_acquire);
    if (more == 0) {
      scribble(arguments(), frame_offset, std::byte{1});  // A result.
      answered = asked;
    }
    word<std::uint64_t>(offsetof(x86::session_mailbox, answer))
        .store(asked + more, std::memory_order_release);
  }

  result<guest_exit> act() {
    while (!script_.empty()) {
      if (second_.interrupted()) return error{.code = errc::cancelled};
      switch (script_.take<std::uint8_t>() % 10) {
        case 0:
          answer(0);
          return guest_exit::done;
        case 1:
          answer(0);
          if (!look()) return guest_exit::done;
          break;
        case 2:
          return guest_exit::done;
        case 3:
          return guest_exit::hypercall;
        case 4:
          return error{.code = errc::guest_fault};
        case 5:
          lied = true;
          answer(1);
          break;
        case 6:
          static_cast<void>(look());
          break;
        case 7:
          scribble(arguments(), frame_offset + script_.take<std::uint8_t>(),
                   script_.take<std::byte>());
          break;
        case 9:
          if (!std::exchange(has_worked_, true)) work();
          break;
        default:
          lied = true;
          scribble(arguments(), script_.take<std::uint16_t>(), script_.take<std::byte>());
          break;
      }
    }
    answer(0);
    return guest_exit::done;
  }

  /// Takes so long that calls are in a row also where this machine is busy.
  static void work() {
    const auto end = monotonic::now() + std::chrono::microseconds(200);
    while (monotonic::now() < end) {
    }
  }

  /// Waits for the next call as x86/loops.hpp does; returns whether there is one.
  bool look() {
    const auto request = word<std::uint64_t>(offsetof(x86::session_mailbox, request));
    const auto seen = request.load(std::memory_order_acquire);
    const auto patience = word<std::uint32_t>(offsetof(x86::session_mailbox, patience));
    for (std::uint32_t i = 0; i < std::min(patience.load(), x86::session_patience); ++i) {
      if (request.load(std::memory_order_acquire) != seen) return true;
      if (second_.interrupted()) return false;
      if (i % 256 == 255) std::this_thread::yield();
    }
    return false;
  }

  fuzz_input& script_;
  const bool has_second_;
  bool on_second_ = false;
  bool has_worked_ = false;
  struct aligned_delete {
    void operator()(std::byte* it) const { ::operator delete[](it, std::align_val_t{64}); }
  };
  std::unique_ptr<std::byte[], aligned_delete> memory_{new (std::align_val_t{64})
                                                           std::byte[memory_size]{}};
  processor_of_script second_;
};

class server_of_script final : public session_server<machine_of_script> {
 public:
  explicit server_of_script(fuzz_input& script) : script_(script) {}
  result<void> serve(machine_of_script&, guest_exit) override {
    const auto how = script_.take<std::uint8_t>();
    if (how % 8 == 5) throw std::runtime_error("a handler's");
    if (how % 4 != 0) return {};
    return error{.code = errc::hypercall_rejected};
  }

 private:
  fuzz_input& script_;
};

/// A thread that changes memory while another reads it.
class changer {
 public:
  changer() : thread_([this](const std::stop_token& stop) { live(stop); }) {}
  changer(const changer&) = delete;
  changer& operator=(const changer&) = delete;
  ~changer() {
    thread_.request_stop();
    change(nothing_);
  }

  /// Has these bytes change from now on.
  void change(std::span<std::byte, 128> which) {
    which_ = which.data();
    which_.notify_one();
  }
  /// None changes afterwards.
  void rest() {
    which_ = nullptr;
    while (at_work_) std::this_thread::yield();
  }

 private:
  void live(const std::stop_token& stop) {
    std::minstd_rand random(1);
    while (!stop.stop_requested()) {
      which_.wait(nullptr);
      at_work_ = true;
      while (std::byte* const to = which_) {
        for (int i = 0; i < 16; ++i) {
          scribble({to, 128}, random() % 128, static_cast<std::byte>(random() % 3));
        }
        // The threads of the session need a processor, too.
        std::this_thread::yield();
        if (stop.stop_requested()) return;
      }
      at_work_ = false;
    }
  }

  std::array<std::byte, 128> nothing_{};
  std::atomic<std::byte*> which_{nullptr};
  std::atomic<bool> at_work_{false};
  std::jthread thread_;
};

/// Which part of the memory changes meanwhile.
enum class part : std::uint8_t { none, frame, all };

struct session_options {
  part changed = part::none;
  std::uint64_t stopped_call = 0;  ///< The call that is asked to stop; 0: none.
  bool has_second = true;          ///< Whether there is a processor for the session's thread.
  bool is_patient = false;         ///< Whether the host lets the session's thread come.
};

/// Waits for the session's thread to run the guest, if it does so soon.
void let_come(machine_of_script& guest) {
  const auto end = monotonic::now() + std::chrono::milliseconds(2);
  while (!guest.second_runner().is_inside() && monotonic::now() < end) std::this_thread::yield();
}

/// Makes a call; what a handler throws is an error of it.
result<void> call_session(session_thread<machine_of_script>& session, bool stopped) {
  // Long, as a fuzzer may be stopped for a while. One that hangs is found by libFuzzer.
  run_limits limits{.until = monotonic::now() + std::chrono::hours(1)};
  if (stopped) limits.stop_if = [] { return true; };
  try {
    return session.call(limits, 4);
  } catch (const std::runtime_error&) {
    return error{.code = errc::machine_failure};
  }
}

void hold_session(session_options options, fuzz_input& script) {
  static changer other;
  machine_of_script guest(script, options.has_second);
  server_of_script server(script);
  const std::span<std::byte> memory = guest.arguments();
  session_thread<machine_of_script> session(guest, 0x20000, frame_offset, server);
  // Before the session's thread ends, which works on the same memory.
  struct resting {
    ~resting() { other.rest(); }
  } const at_the_end;
  if (options.changed == part::all) other.change(memory.first<128>());
  if (options.changed == part::frame) other.change(memory.subspan<frame_offset, 128>());
  std::vector<std::byte> reply(memory_size);
  for (std::uint64_t made = 1; made <= 24; ++made) {
    if (!session.check_usable()) return;
    // After as many calls in a row as have the session call its thread.
    if (options.is_patient && options.has_second && made == 6) let_come(guest);
    call_of_host<colour> call;
    const auto size = call.marshalled.reply_size();
    require(call.marshalled.write(session.frame(), session.frame_address()).has_value());
    const auto called = call_session(session, made == options.stopped_call);
    if (!called) {
      require(called.error().code != errc::timed_out);
      require(!session.check_usable());
      return;
    }
    require(guest.answered == made || guest.lied || options.changed == part::all);
    for (std::size_t i = 0; i < size; ++i) {
      // As session's memcpy, of memory that changes meanwhile.
      reply[i] = *const_cast<volatile std::byte*>(session.frame().data() + i);
    }
    call.check(call.marshalled.read(reply, session.frame()));
  }
}

/// Runs a batch of which the guest leaves `left`; of a job that has `grown` in a handler not all
/// fits.
template <class R>
void run_batch(std::size_t jobs, bool grown, std::span<const std::byte> left) {
  constexpr std::size_t first = 100;
  std::vector<std::byte> memory(memory_size);
  std::vector<std::unique_ptr<call_of_host<R>>> calls;
  batch<signature<R>> all(memory, base, 0x20000);
  for (std::size_t i = 0; i < jobs; ++i) {
    calls.push_back(std::make_unique<call_of_host<R>>());
    const auto added = all.add(calls.back()->marshalled, first + i);
    if (!added) {
      require(added.error().code == errc::arguments_too_large);
      calls.pop_back();
      break;
    }
  }
  require(all.count() == calls.size() && all.used() <= memory_size);
  if (calls.empty()) return;
  for (std::size_t i = 0; i < left.size(); ++i) memory[i % memory_size] ^= left[i];

  std::uint64_t frame = 0;
  std::memcpy(&frame, memory.data() + offsetof(x86::batch_header, frame), sizeof frame);
  require(all.check_completed().has_value() == (frame == 0));
  const auto running = all.running(first);
  require(!running || (*running >= first && *running - first < calls.size()));
  all.rewind();
  replies<R> taken;
  require(taken.reserve(calls.size()).has_value());
  for (const auto& each : calls) {
    const auto reply = all.take(each->marshalled);
    each->check(reply);
    const auto added = taken.add(reply);
    require(added.has_value() == reply.has_value());
    if (!added) require(added.error().job == taken.size());
  }
  if (!grown) return;
  call_of_host<R>& last = *calls.back();
  const std::string text(memory_size, 'x');
  const std::string_view view = text;
  const detail::marshaller<signature<R>> larger(view, last.flags_span, last.numbers_span,
                                                last.number);
  require(all.take(larger).error().code == errc::out_of_range);
  require(std::move(taken).take().has_value());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz_input input(data, size);
  const auto what = input.take<std::uint8_t>();
  const bool third = (what & 0x40) != 0;
  if (what % 4 == 3) {
    const std::size_t jobs = what / 4 % 8;
    what < 128 ? run_batch<colour>(jobs, third, input.rest())
               : run_batch<void>(jobs, third, input.rest());
  } else {
    hold_session({.changed = static_cast<part>(what % 4),
                  .stopped_call = what / 4U % 16,
                  .has_second = what < 128,
                  .is_patient = third},
                 input);
  }
  return 0;
}
