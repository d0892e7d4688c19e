// Tests the guest's half of a call without KVM: maps images into this process at the addresses they
// are linked for, writes call frames by hand and calls the entries. User code at CPL 3 runs here as
// it does in a guest but for the `out` of a hypercall, which a SIGSEGV handler stands in for.
// SPDX-License-Identifier: MIT

#include <sys/mman.h>
#include <ucontext.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <guests/math.hpp>
#include <guests/math/math.hpp>
#include <guests/nasm_add.hpp>
#include <guests/square.hpp>
#include <guests/text.hpp>
#include <virtine/abi/frame.hpp>
#include <virtine/abi/user64.hpp>
#include <virtine/bytes.hpp>

#include "probe.hpp"
#include "probe_image.hpp"

namespace {

int failures = 0;

void check(bool holds, const char* what, int line) {
  if (holds) return;
  ++failures;
  std::fprintf(stderr, "abi.cpp:%d: does not hold: %s\n", line, what);
}
#define CHECK(...) check((__VA_ARGS__), #__VA_ARGS__, __LINE__)

// The hypercalls that were made, and what answers them.
std::uint32_t last_number = 0;
void (*handler)(std::byte* frame) = nullptr;

void on_fault(int number, siginfo_t*, void* context) {
  // Sound: a handler installed with SA_SIGINFO gets a ucontext_t (sigaction(2)).
  auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const auto at = static_cast<std::uint64_t>(registers[REG_RIP]);
  unsigned char code[2] = {};
  if (at >= virtine::x86::image_base && at < 0x1000000) {
    // Sound: the instruction at RIP was just fetched from there.
    std::memcpy(code, reinterpret_cast<const void*>(at), sizeof code);
  }
  if (code[0] != 0xe7 || code[1] != virtine::x86::hypercall_port || handler == nullptr) {
    std::signal(number, SIG_DFL);
    return;
  }
  last_number = static_cast<std::uint32_t>(registers[REG_RAX]);
  // Sound: RDI is the address of the frame that the guest code built on this thread's stack.
  handler(reinterpret_cast<std::byte*>(registers[REG_RDI]));
  registers[REG_RIP] += 2;
}

/// Maps an image for as long as it lives.
class loaded {
 public:
  explicit loaded(const virtine::image_description& image) {
    const virtine::segment& last = image.segments.back();
    size_ = (last.address + last.memory_size + 4095) / 4096 * 4096 - virtine::x86::image_base;
    // Sound: MAP_FIXED_NOREPLACE takes no address that is in use.
    void* at =
        ::mmap(reinterpret_cast<void*>(virtine::x86::image_base), size_, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (at == MAP_FAILED) {
      std::fprintf(stderr, "skipped: memory at 0x20000 cannot be had: %s\n", std::strerror(errno));
      std::exit(77);
    }
    for (const virtine::segment& part : image.segments) {
      // Sound: the mapping covers all segments.
      void* to = reinterpret_cast<void*>(part.address);
      std::memcpy(to, part.content.data(), part.content.size());
      const int write = part.writable ? PROT_WRITE : 0;
      const int execute = part.executable ? PROT_EXEC : 0;
      // Sound: segments begin at page boundaries and do not share pages.
      CHECK(::mprotect(to, part.memory_size, PROT_READ | write | execute) == 0);
    }
  }
  loaded(const loaded&) = delete;
  loaded& operator=(const loaded&) = delete;
  // Sound: the range is the one that the constructor mapped.
  ~loaded() { ::munmap(reinterpret_cast<void*>(virtine::x86::image_base), size_); }

 private:
  std::size_t size_ = 0;
};

template <class T>
auto slot(const T& argument) {
  if constexpr (virtine::detail::is_sequence<T>) {
    // Sound: the guest code runs in this process, so that its addresses are ours.
    return virtine::detail::sequence_reference{reinterpret_cast<std::uint64_t>(argument.data()),
                                               argument.size()};
  } else {
    return argument;
  }
}

template <class Sig, class Entry>
struct function;

/// Calls an entry as a host would: through a frame, of which it looks at nothing but the result.
template <class R, class... A, class Entry>
struct function<R(A...), Entry> {
  static_assert(Entry::signature == virtine::detail::signature<R(A...)>);

  R operator()(const A&... arguments) const {
    return run(std::index_sequence_for<A...>{}, arguments...);
  }

 private:
  using layout = virtine::detail::frame<R(A...)>;

  template <std::size_t... I>
  static R run(std::index_sequence<I...>, const A&... arguments) {
    // What is not written stays at a pattern that would show.
    alignas(virtine::detail::frame_alignment) std::array<std::byte, layout::size + 64> frame;
    frame.fill(std::byte{0xa5});
    (put(frame.data() + layout::offsets[I], slot(arguments)), ...);
    // Sound: the address is that of an entry, a function of this type, in the mapped image.
    reinterpret_cast<void (*)(std::byte*)>(Entry::address)(frame.data());
    for (std::size_t i = layout::size; i < frame.size(); ++i) CHECK(frame[i] == std::byte{0xa5});
    if constexpr (!std::is_void_v<R>) {
      R result;
      std::memcpy(static_cast<void*>(&result), frame.data(), sizeof result);
      return result;
    }
  }

  template <class T>
  static void put(std::byte* to, const T& value) {
    std::memcpy(to, &value, sizeof value);
  }
};

void test_samples() {
  {
    const loaded image(guests::square::description);
    CHECK(function<int(int), guests::square::only_entry>{}(-7) == 49);
  }
  {
    const loaded image(guests::nasm_add::description);
    CHECK(function<int(int, int), guests::nasm_add::add>{}(40, 2) == 42);
  }
  {
    const loaded image(guests::text::description);
    const function<unsigned long(std::string_view), guests::text::words> words;
    CHECK(words("") == 0 && words(" \n") == 0 && words("one") == 1);
    CHECK(words(" the quick\tbrown  fox ") == 4);
  }
  const loaded image(guests::math::description);
  using guest = guests::math;
  CHECK(function<int(int), guest::fib>{}(20) == 6765);

  handler = [](std::byte* frame) {
    virtine::detail::sequence_reference text;
    std::memcpy(&text, frame, sizeof text);
    // Sound: the guest's text is in the mapped image.
    CHECK(std::string_view(reinterpret_cast<const char*>(text.address), text.count) == "summed");
  };
  std::vector<int> values;
  for (int i = 1; i <= 1001; ++i) values.push_back(i);
  CHECK(function<long(std::span<const int>), guest::sum>{}(values) == 501501);
  CHECK(last_number == log_line::number);
  CHECK(function<long(std::span<const int>), guest::sum>{}({}) == 0);
  handler = nullptr;

  std::array<double, 3> numbers{1, 2.5, -4};
  function<void(std::span<double>, double), guest::scale>{}(numbers, 2);
  CHECK(numbers == std::array<double, 3>{2, 5, -8});

  const point middle = function<point(point, point), guest::midpoint>{}({1, 2}, {3, 8});
  CHECK(middle.x == 2 && middle.y == 5);

  const function<virtine::bytes<64>(int), guest::describe> describe;
  CHECK(describe(0).text() == "0 is even");
  CHECK(describe(-41).text() == "minus 41 is odd");
  CHECK(describe(INT32_MIN).text() == "minus 2147483648 is even");
}

void test_signatures() {
  const loaded image(guests::probe_image::description);
  using guest = guests::probe_image;

  const function<void(), guest::nothing> nothing;
  const function<int(), guest::count> count;
  CHECK(count() == 40);
  nothing();
  CHECK(count() == 41);

  const function<double(char, std::int64_t, float, bool, std::uint16_t, double), guest::mix> mix;
  CHECK(mix(1, -20, 0.5F, true, 65535, 0.25) == 65517.75);

  const padded twisted = function<padded(padded), guest::twist>{}({'a', 1L << 40, true});
  CHECK(twisted.tag == 'b' && twisted.value == -(1L << 40) && !twisted.flag);

  wide lanes;
  for (unsigned i = 0; i < 64; ++i) lanes.lanes[i] = static_cast<unsigned char>(i);
  const wide rotated = function<wide(wide), guest::rotate>{}(lanes);
  CHECK(rotated.lanes[0] == 63 && rotated.lanes[1] == 0 && rotated.lanes[63] == 62);

  CHECK(function<colour(colour), guest::other>{}(colour::red) == colour::green);

  const function<virtine::bytes<16>(std::string_view), guest::reverse> reverse;
  CHECK(reverse("stressed").text() == "desserts");
  CHECK(reverse("").size() == 0);
  CHECK(reverse("0123456789abcdefXYZ").size() == 16);

  std::array<padded, 2> all{padded{'a', 10, true}, padded{'b', 12, false}};
  const std::array<std::int64_t, 2> by{5, -3};
  function<void(std::span<padded>, std::span<const std::int64_t>), guest::halve>{}(all, by);
  CHECK(all[0].value == 2 && all[1].value == -4 && all[0].tag == 'a' && all[1].tag == 'b');
}

void test_hypercall() {
  const loaded image(guests::probe_image::description);
  handler = [](std::byte* frame) {
    using layout = virtine::detail::frame<fetch::signature_type>;
    // Sound: every slot below lies in the frame where its type was put.
    CHECK(reinterpret_cast<std::uintptr_t>(frame) % virtine::detail::frame_alignment == 0);
    virtine::detail::sequence_reference name;
    virtine::detail::sequence_reference room;
    padded third;
    std::memcpy(&name, frame + layout::offsets[0], sizeof name);
    std::memcpy(&room, frame + layout::offsets[1], sizeof room);
    std::memcpy(&third, frame + layout::offsets[2], sizeof third);
    const std::string_view text(reinterpret_cast<const char*>(name.address), name.count);
    CHECK(text == "file" && room.count == 7);
    CHECK(third.tag == 'x' && third.value == -5 && third.flag);
    std::memcpy(reinterpret_cast<void*>(room.address), "abc", 3);
    const std::uint32_t used = 3;
    std::memcpy(frame, &used, sizeof used);
  };
  std::array<char, 8> room{'-', '-', '-', '-', '-', '-', '-', '-'};
  const function<std::uint32_t(std::string_view, std::span<char>), guests::probe_image::ask> ask;
  CHECK(ask("file", room) == 1003);
  CHECK(last_number == fetch::number);
  CHECK(std::string_view(room.data(), room.size()) == "-abc----");
  handler = nullptr;
}

void test_memory_functions() {
  const loaded image(guests::probe_image::description);
  using guest = guests::probe_image;
  const function<void(std::span<char>, std::uint32_t, std::uint32_t, std::uint32_t), guest::move>
      move;
  const std::string pattern = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  for (std::uint32_t size : {0U, 1U, 7U, 8U, 9U, 16U, 31U, 40U}) {
    for (std::uint32_t to = 0; to < 20; ++to) {
      for (std::uint32_t from : {0U, 1U, 5U, 9U, 19U}) {
        std::string ours = pattern;
        std::string theirs = pattern;
        std::memmove(ours.data() + to, ours.data() + from, size);
        move(theirs, to, from, size);
        CHECK(ours == theirs);
      }
    }
  }
  std::string filled = pattern;
  function<void(std::span<char>, int), guest::fill>{}(std::span(filled).subspan(3, 9), 0x12a);
  CHECK(filled == "abc*********" + pattern.substr(12));

  std::string copied = pattern;
  function<void(std::span<char>, std::string_view), guest::copy>{}(copied, "0123456789");
  CHECK(copied == "0123456789" + pattern.substr(10));

  const function<int(std::string_view, std::string_view), guest::compare> compare;
  CHECK(compare("abc", "abc") == 0 && compare("abc", "abcd") < 0 && compare("", "") == 0);
  CHECK(compare("ab\x80", "ab\x7f") > 0 && compare("aXc", "abc") < 0);
}

}  // namespace

int main() {
  // A stack of its own, because the faulting code may be in a red zone.
  static std::array<char, 1 << 16> stack;
  stack_t alternate{};
  alternate.ss_sp = stack.data();
  alternate.ss_size = stack.size();
  struct sigaction action {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  // Sound: the stack and the handler are static; both calls only register them.
  if (::sigaltstack(&alternate, nullptr) != 0 || ::sigaction(SIGSEGV, &action, nullptr) != 0) {
    std::perror("sigaction");
    return 1;
  }
  test_samples();
  test_signatures();
  test_hypercall();
  test_memory_functions();
  return failures == 0 ? 0 : 1;
}
