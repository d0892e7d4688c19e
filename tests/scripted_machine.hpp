// A machine without KVM: it plays a script of stops and errors, and remembers what was done to it.
// Must not know pools or policies; it is what they are tested with.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <virtine/guest_memory.hpp>
#include <virtine/image.hpp>
#include <virtine/machine/guest_access.hpp>
#include <virtine/machine/guest_exit.hpp>
#include <virtine/machine/machine_use.hpp>
#include <virtine/machine/runner.hpp>
#include <virtine/machine/system_call.hpp>
#include <virtine/machine/vm_place.hpp>

/// One stay in the guest: what it does to the machine, and how it ends.
struct scripted_step {
  virtine::result<virtine::detail::guest_exit> outcome = virtine::detail::guest_exit::done;
  std::uint32_t hypercall = 0;
  std::uint64_t frame = 0;  ///< Guest address of the hypercall's frame.
  virtine::detail::system_call system_call = {};
  std::function<void(class scripted_machine&)> act = {};
};

/// Satisfies machine_like. Every call plays the script from its start; what is beyond it is done.
class scripted_machine final : public virtine::detail::guest_access {
 public:
  static constexpr std::uint64_t base = 0x30000;
  static constexpr std::size_t arguments_size = 4096;
  static constexpr std::size_t memory_size = 4 * arguments_size;

  // What new machines are like.
  static inline std::vector<scripted_step> script;
  static inline std::optional<virtine::error> refusal;  ///< What create() fails with.
  static inline bool throws = false;                    ///< Whether it throws std::bad_alloc.
  static inline std::function<void()> when_created;     ///< Runs in create(), on its thread.
  static inline std::function<void()> when_restored;    ///< Runs in restore(), on its thread.

  // What became of all machines since forget().
  static inline std::atomic<int> created = 0;
  static inline std::atomic<int> told_outgrown = 0;
  static inline std::atomic<int> alive = 0;

  /// Begins a test.
  static void forget() {
    script.clear();
    refusal.reset();
    throws = false;
    when_created = nullptr;
    when_restored = nullptr;
    created = 0;
    told_outgrown = 0;
  }

  static virtine::result<std::unique_ptr<scripted_machine>> create(
      const virtine::image_description& image, const virtine::detail::run_limits& = {},
      const std::shared_ptr<virtine::detail::shared_vms>& = {}) {
    if (when_created) when_created();
    if (throws) throw std::bad_alloc();
    if (refusal) return *refusal;
    return std::unique_ptr<scripted_machine>(new scripted_machine(image));
  }
  ~scripted_machine() override { --alive; }
  scripted_machine(const scripted_machine&) = delete;
  scripted_machine& operator=(const scripted_machine&) = delete;

  std::span<std::byte> arguments() { return std::span(memory_).first(arguments_size); }
  [[nodiscard]] virtine::guest_address arguments_address() const {
    return virtine::guest_address{base};
  }

  virtine::result<virtine::detail::guest_exit> enter(std::uint64_t function,
                                                     const virtine::detail::run_limits& limits) {
    if (poisoned_) return virtine::error{.code = virtine::errc::machine_failure};
    entered = function;
    until = limits.until;
    stop_possible = limits.stop.stop_possible();
    next_ = 0;
    ++calls;
    use_.count_call();
    return play();
  }
  virtine::result<virtine::detail::guest_exit> resume() {
    ++resumed;
    return play();
  }
  void abandon() { poisoned_ = abandoned = true; }
  static void outgrown() { ++told_outgrown; }

  [[nodiscard]] std::uint32_t hypercall_number() const { return step_.hypercall; }
  [[nodiscard]] virtine::guest_address hypercall_frame() const {
    return virtine::guest_address{step_.frame};
  }
  [[nodiscard]] virtine::detail::system_call system_call() const { return step_.system_call; }
  void answer(std::int64_t value) { answers.push_back(value); }
  scripted_machine& guest_runner() { return *this; }
  bool pause(std::chrono::nanoseconds time) {
    paused += time;
    return !interrupted;
  }
  [[nodiscard]] std::shared_ptr<const void> shared_state() const { return {}; }
  [[nodiscard]] bool poisoned() const { return poisoned_; }
  [[nodiscard]] virtine::detail::machine_use& use() { return use_; }
  [[nodiscard]] std::span<const std::uint64_t> write_set() const { return written; }
  void restore(std::size_t used) {
    if (when_restored) when_restored();
    restored_bytes = used;
    ++restores;
    std::ranges::fill(memory_, std::byte{0});
  }

  virtine::result<std::span<const std::byte>> read(virtine::guest_address address,
                                                   std::uint64_t length) override {
    auto found = memory().view(address, length);
    if (!found) return found.error();
    return std::span<const std::byte>(*found);
  }
  virtine::result<void> write(virtine::guest_address address,
                              std::span<const std::byte> from) override {
    return memory().write(address, from);
  }

  virtine::guest_memory memory() { return {virtine::guest_address{base}, memory_}; }
  [[nodiscard]] const virtine::image_description& image() const { return image_; }

  std::uint64_t entered = 0;
  virtine::detail::interrupter::time_point until{};
  bool stop_possible = false;
  bool abandoned = false;
  std::vector<std::uint64_t> written;  ///< Its write set.
  std::vector<std::int64_t> answers;   ///< To all its system calls.
  std::chrono::nanoseconds paused{};
  bool interrupted = false;
  int calls = 0;
  int resumed = 0;
  int restores = 0;
  std::size_t restored_bytes = 0;

 private:
  explicit scripted_machine(const virtine::image_description& image)
      : image_(image), steps_(script), memory_(memory_size) {
    ++created;
    ++alive;
  }

  virtine::result<virtine::detail::guest_exit> play() {
    step_ = next_ < steps_.size() ? steps_[next_++] : scripted_step{};
    if (step_.act) step_.act(*this);
    if (!step_.outcome) poisoned_ = true;
    return step_.outcome;
  }

  const virtine::image_description& image_;
  std::vector<scripted_step> steps_;
  std::size_t next_ = 0;
  scripted_step step_;
  std::vector<std::byte> memory_;
  bool poisoned_ = false;
  virtine::detail::machine_use use_;
};
