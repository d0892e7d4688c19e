// A machine on loan from a pool. Knows nothing of where the pool keeps its machines.
// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <utility>

#include <virtine/machine/failed_entry.hpp>
#include <virtine/machine/runner.hpp>
#include <virtine/os/process.hpp>
#include <virtine/result.hpp>

namespace virtine::detail {

/// A machine on loan, or the right to one. It goes back when give_back() is called, else it is
/// destroyed. The owner waits for it in its destructor.
template <class Owner, class Machine>
class lease {
 public:
  lease(lease&& other) noexcept
      : owner_(std::exchange(other.owner_, nullptr)),
        machine_(std::move(other.machine_)),
        temporary_(other.temporary_),
        waited_(other.waited_),
        home_(other.home_) {}
  lease& operator=(lease&&) = delete;
  ~lease() {
    if (owner_ == nullptr) return;
    if (home_.forked() || os::abandoned()) {
      // The owner has lent nothing in this process, and a thread that is gone may be at work on it;
      // or one that nobody waits for is.
      static_cast<void>(machine_.release());
    } else {
      owner_->discard(std::move(machine_), temporary_);
    }
  }

  /// Destroys the machine and takes a new one in its place. On failure there is none. `limits`: see
  /// machine::create.
  result<void> replace(const run_limits& limits = {}) {
    if (home_.forked()) return os::of_a_parent("the machine of a call that a parent made");
    auto waited = owner_->renew(machine_, limits);
    if (!waited) {
      std::exchange(owner_, nullptr)->discard(nullptr, temporary_);
      return waited.error();
    }
    waited_ += *waited;
    return {};
  }

  /// Returns whether there is a machine; there is none after a replace() that failed.
  explicit operator bool() const { return machine_ != nullptr; }

  Machine& operator*() const { return *machine_; }
  Machine* operator->() const { return machine_.get(); }

  /// Returns how long the caller waited for others to give a machine back, or for leave to make
  /// one.
  [[nodiscard]] std::chrono::nanoseconds waited() const { return waited_; }

  /// Returns the machine, if there is one, to its owner, which wipes it. `arguments_used`: see
  /// machine::restore.
  void give_back(std::size_t arguments_used) {
    if (owner_ == nullptr || home_.forked()) [[unlikely]]
      return;
    Owner& owner = *std::exchange(owner_, nullptr);
    if (temporary_) return owner.discard(std::move(machine_), true);
    owner.take_back(std::move(machine_), arguments_used);
  }

 private:
  friend Owner;
  lease(Owner& owner, std::unique_ptr<Machine> machine, bool temporary = false,
        std::chrono::nanoseconds waited = {})
      : owner_(&owner), machine_(std::move(machine)), temporary_(temporary), waited_(waited) {}

  /// Ends the loan in favour of the owner.
  std::unique_ptr<Machine> take() && {
    owner_ = nullptr;
    return std::move(machine_);
  }

  Owner* owner_;  // Null once the machine is given back or moved from here.
  std::unique_ptr<Machine> machine_;
  bool temporary_;  // To be destroyed after its call.
  std::chrono::nanoseconds waited_;
  os::home_process home_;
};

/// Returns what `run` does on the machine of `lent`. If that cannot be entered, runs once more on a
/// new one, because what the call before left behind must not be this one's failure. A new machine
/// tells whether the host or this call's function did it.
template <class Owner, class Machine, class Run>
auto on_machine(lease<Owner, Machine>& lent, const run_limits& limits, const Run& run)
    -> decltype(run(*lent)) {
  auto reply = run(*lent);
  if (reply || reply.error().code != not_entered) [[likely]]
    return reply;
  if (auto replaced = lent.replace(limits); !replaced) return replaced.error();
  return run(*lent);
}

}  // namespace virtine::detail
