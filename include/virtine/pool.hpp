// Machines of one image, kept ready between calls. Thread-safe. Knows nothing of argument types.
// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <virtine/bare_machine.hpp>
#include <virtine/guest_access.hpp>
#include <virtine/image.hpp>
#include <virtine/machine.hpp>
#include <virtine/result.hpp>
#include <virtine/runner.hpp>
#include <virtine/stop.hpp>

namespace virtine {

/// What a pool and a call need of a machine. Tests run both on one that plays a script.
template <class M>
concept machine_like = requires(M& machine, const image_description& image, std::size_t used,
                                std::uint64_t function, const run_limits& limits) {
  { M::create(image) } -> std::same_as<result<std::unique_ptr<M>>>;
  { machine.arguments() } -> std::same_as<std::span<std::byte>>;
  { machine.arguments_address() } -> std::same_as<guest_address>;
  { machine.enter(function, limits) } -> std::same_as<result<stop>>;
  { machine.resume() } -> std::same_as<result<stop>>;
  { machine.hypercall_number() } -> std::same_as<std::uint32_t>;
  { machine.hypercall_frame() } -> std::same_as<guest_address>;
  { machine.poisoned() } -> std::same_as<bool>;
  { machine.shared_state() } -> std::same_as<std::shared_ptr<const void>>;
  machine.abandon();
  machine.restore(used);
  requires std::derived_from<M, guest_access>;
};

/// The kind of machine that runs an image.
template <guest_image Image>
using machine_of =
    std::conditional_t<Image::description.mode == x86::cpu_mode::user64, machine, bare_machine>;

/// How many machines a pool may hold.
struct pool_options {
  std::size_t max = 64;  ///< Calls at one time; one more fails with errc::pool_exhausted.
};

/// A pool of machines of type Machine. Costs, per machine that was ever in use at one time: a VM
/// and a vCPU of the kernel's (about half a MiB), two descriptors, and the pages that calls have
/// written.
template <machine_like Machine>
class basic_pool {
 public:
  explicit basic_pool(const image_description& image, pool_options options = {})
      : image_(image), options_(options) {}
  basic_pool(const basic_pool&) = delete;
  basic_pool& operator=(const basic_pool&) = delete;

  /// A place that is free again unless a machine comes to fill it, whether making one fails or
  /// throws (out of memory, out of threads).
  struct place {
    basic_pool* owner;
    ~place() {
      if (owner != nullptr) owner->forget();
    }
  };

  /// A machine on loan. It goes back when give_back() is called, else it is destroyed.
  class lease {
   public:
    lease(basic_pool& owner, std::unique_ptr<Machine> machine)
        : owner_(&owner), machine_(std::move(machine)) {}
    lease(lease&& other) noexcept = default;
    lease& operator=(lease&&) = delete;
    ~lease() {
      if (machine_) owner_->discard(std::move(machine_));
    }

    /// Destroys the machine and takes a new one in its place. On failure there is none.
    result<void> replace() {
      machine_.reset();
      place taken{owner_};
      auto made = Machine::create(owner_->image_);
      if (!made) return made.why();
      machine_ = *std::move(made);
      taken.owner = nullptr;
      return {};
    }

    Machine& operator*() const { return *machine_; }
    Machine* operator->() const { return machine_.get(); }

    /// Wipes the machine and returns it to the pool. `arguments_used`: see machine::restore.
    void give_back(std::size_t arguments_used) {
      machine_->restore(arguments_used);
      // A call that failed, and only such, leaves state that no restore covers.
      if (machine_->poisoned()) return owner_->discard(std::move(machine_));
      owner_->keep(std::move(machine_));
    }

   private:
    basic_pool* owner_;
    std::unique_ptr<Machine> machine_;
  };

  /// Lends a machine: the one used last, or a new one. Fails as machine::create does.
  [[nodiscard]] result<lease> borrow() {
    {
      std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        lease lent(*this, std::move(idle_.back()));
        idle_.pop_back();
        return lent;
      }
      if (count_ >= options_.max) {
        return error{.code = errc::pool_exhausted, .detail = options_.max};
      }
      ++count_;
    }
    // Outside the lock, because it takes a hundred times as long as a call.
    place taken{this};
    auto made = Machine::create(image_);
    if (!made) return made.why();
    {
      std::lock_guard lock(mutex_);
      shared_state_ = (*made)->shared_state();
    }
    taken.owner = nullptr;
    return lease(*this, *std::move(made));
  }

  /// Returns how many machines exist, on loan or idle.
  [[nodiscard]] std::size_t size() const {
    std::lock_guard lock(mutex_);
    return count_;
  }

 private:
  void keep(std::unique_ptr<Machine> machine) {
    std::lock_guard lock(mutex_);
    idle_.push_back(std::move(machine));
  }

  void discard(std::unique_ptr<Machine> machine) {
    machine.reset();
    forget();
  }

  void forget() {
    std::lock_guard lock(mutex_);
    --count_;
  }

  const image_description& image_;
  const pool_options options_;
  mutable std::mutex mutex_;
  // What all machines share, kept while there happens to be no machine. Guarded by mutex_.
  std::shared_ptr<const void> shared_state_;
  std::vector<std::unique_ptr<Machine>> idle_;  // Guarded by mutex_.
  std::size_t count_ = 0;                       // Guarded by mutex_.
};

/// A pool of machines of one image.
template <guest_image Image>
class pool : public basic_pool<machine_of<Image>> {
  static_assert(
      Image::description.mode != x86::cpu_mode::user64 || is_well_formed(Image::description),
      "virtine [V122]: an image's segments are not as the library relies on. Build it again "
      "with the virtine-cc of this version.");

 public:
  explicit pool(pool_options options = {})
      : basic_pool<machine_of<Image>>(Image::description, options) {}
};

}  // namespace virtine
