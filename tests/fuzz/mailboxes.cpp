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
#include <string_view>
#include <thread>
#include <vector>

#include <virtine/call/batch.hpp>
#include <virtine/call/marshal.hpp>
#include <virtine/machine/session_thread.hpp>

#include "input.hpp"
#include "kinds.hpp"

namespace {

using namespace virtine;
using namespace virtine::detail;

using marshaller_of_calls =
    detail::marshaller<colour(std::string_view, std::span<bool>, std::span<long>, long)>;
constexpr std::size_t memory_size = 512;
constexpr guest_address base{0x40000};
constexpr std::uint32_t frame_offset = sizeof(x86::session_mailbox);

/// Writes as a guest does, at any time: no sanitizer is to see a race in it.
__attribute__((no_sanitize("thread"))) void scribble(std::span<std::byte> to, std::size_t at,
                                                     std::byte value) {
  *const_cast<volatile std::byte*>(to.data() + at % to.size()) = value;
}

/// What one call of a host's has, and whether what came back is of its types.
struct call_of_host {
  std::array<bool, 4> flags{};
  std::array<long, 3> numbers{};
  std::string_view text = "text";
  std::span<bool> flags_span{flags};
  std::span<long> numbers_span{numbers};
  long number = 7;
  marshaller_of_calls marshalled{text, flags_span, numbers_span, number};

  call_of_host() = default;
  call_of_host(const call_of_host&) = delete;
  call_of_host& operator=(const call_of_host&) = delete;

  void check(const result<colour>& got) const {
    if (got) {
      require(*got == colour::red || *got == colour::green);
    } else {
      require(got.error().code == errc::bad_reply);
    }
    std::array<std::byte, sizeof flags> bytes;
    std::memcpy(bytes.data(), flags.data(), sizeof flags);
    for (const std::byte each : bytes) require(each <= std::byte{1});
  }
};

class processor_of_script {
 public:
  static bool move_deadline(monotonic::time_point) { return true; }
  static void interrupt(errc) {}
};

/// A machine whose guest does what an input says.
class machine_of_script {
 public:
  explicit machine_of_script(fuzz_input& script) : script_(script) {}

  [[nodiscard]] std::span<std::byte> arguments() { return {memory_.get(), memory_size}; }
  [[nodiscard]] static guest_address arguments_address() { return base; }
  [[nodiscard]] static std::uint32_t hypercall_number() { return 7; }
  static result<void> take_second() { return {}; }
  static void use_second(bool) {}
  processor_of_script& second_runner() { return second_; }

  result<guest_exit> enter(std::uint64_t, const run_limits&) { return act(); }
  result<guest_exit> resume() { return act(); }
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
          work();
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
    for (std::uint32_t i = 0; i < std::min(patience.load(), 2 * x86::session_patience); ++i) {
      if (request.load(std::memory_order_acquire) != seen) return true;
      if (i % 256 == 255) std::this_thread::yield();
    }
    return false;
  }

  fuzz_input& script_;
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
    if (script_.take<std::uint8_t>() % 4 != 0) return {};
    return error{.code = errc::hypercall_rejected};
  }

 private:
  fuzz_input& script_;
};

/// Which part of the memory the second thread changes.
enum class part : std::uint8_t { none, frame, all };

void hold_session(part changed, fuzz_input& script) {
  machine_of_script guest(script);
  server_of_script server(script);
  const std::span<std::byte> memory = guest.arguments();
  session_thread<machine_of_script> session(guest, 0x20000, frame_offset, server);
  std::jthread changer;
  if (changed != part::none) {
    changer = std::jthread([=](const std::stop_token& stop) {
      const auto in = changed == part::all ? memory : memory.subspan(frame_offset);
      std::minstd_rand random(1);
      while (!stop.stop_requested()) {
        scribble(in, random() % 128, static_cast<std::byte>(random() % 3));
      }
    });
  }
  std::vector<std::byte> reply(memory_size);
  for (std::uint64_t made = 1; made <= 24; ++made) {
    if (!session.check_usable()) return;
    call_of_host call;
    const auto size = call.marshalled.reply_size();
    require(call.marshalled.write(session.frame(), session.frame_address()).has_value());
    const auto called = session.call({.until = monotonic::now() + std::chrono::seconds(10)}, 4);
    if (!called) {
      require(called.error().code != errc::timed_out);
      require(!session.check_usable());
      return;
    }
    require(guest.answered == made || guest.lied || changed == part::all);
    for (std::size_t i = 0; i < size; ++i) {
      // As session's memcpy, of memory that changes meanwhile.
      reply[i] = *const_cast<volatile std::byte*>(session.frame().data() + i);
    }
    call.check(call.marshalled.read(reply, session.frame()));
  }
}

void run_batch(std::size_t jobs, std::span<const std::byte> left) {
  constexpr std::size_t first = 100;
  std::vector<std::byte> memory(memory_size);
  std::vector<std::unique_ptr<call_of_host>> calls;
  batch<colour(std::string_view, std::span<bool>, std::span<long>, long)> all(memory, base,
                                                                              0x20000);
  for (std::size_t i = 0; i < jobs; ++i) {
    calls.push_back(std::make_unique<call_of_host>());
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
  replies<colour> taken;
  require(taken.reserve(calls.size()).has_value());
  for (const auto& each : calls) {
    const auto reply = all.take(each->marshalled);
    each->check(reply);
    const auto added = taken.add(reply);
    require(added.has_value() == reply.has_value());
    if (!added) require(added.error().job == taken.size());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz_input input(data, size);
  const auto what = input.take<std::uint8_t>();
  if (what % 4 == 3) {
    run_batch(what / 4 % 8, input.rest());
  } else {
    hold_session(static_cast<part>(what % 4), input);
  }
  return 0;
}
