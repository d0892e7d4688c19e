// Machines of one image in one process, kept ready between calls. Thread-safe. Knows nothing of
// argument types.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#include <virtine/image.hpp>
#include <virtine/machine/deadline.hpp>
#include <virtine/machine/vm_place.hpp>
#include <virtine/os/out_of_memory.hpp>
#include <virtine/os/workers.hpp>
#include <virtine/pool/creation_budget.hpp>
#include <virtine/pool/lease.hpp>
#include <virtine/pool/machine_like.hpp>
#include <virtine/pool/slots.hpp>
#include <virtine/pool_options.hpp>
#include <virtine/result.hpp>

namespace virtine::detail {

/// What a basic_pool has in one process; see there. To be held by an os::per_process.
template <pooled_machine Machine>
class kept_machines {
 public:
  kept_machines(const image_description& image, const pool_options& options)
      : image_(image),
        options_(options),
        write_set_max_(options.write_set_max),
        max_calls_(options.max_calls),
        cleaning_(options.cleaning),
        callers_(options.workers) {}
  kept_machines(const kept_machines&) = delete;
  kept_machines& operator=(const kept_machines&) = delete;
  ~kept_machines() {
    callers_.finish();
    {
      std::unique_lock lock(mutex_);
      closing_ = true;
      wake_keeper();
      const closed_slots closed(*this);
      ended_.wait(lock, [this] {
        return closers_ == 1 && temporaries_ == 0 && in_maintenance_ == 0 &&
               idle_.size() + dirty_.size() == count_;
      });
    }
    keeper_.finish();
  }

  /// Makes what a child of fork has, in the place of what it inherited. Closes what machines the
  /// parent had idle, so that these do not outlive it for the child's sake.
  static void begin_anew(void* place, kept_machines& inherited, bool is_whole) {
    const image_description& image = inherited.image_;
    const pool_options options = inherited.options_;
    while (Machine* idle = is_whole ? inherited.slots_.steal() : nullptr) delete idle;
    // If another thread held the mutex at the fork the lists may be half changed.
    if (is_whole && inherited.mutex_.try_lock()) {
      inherited.idle_.clear();
      inherited.dirty_.clear();
      shared_vms::leave_behind(inherited.vms_);
    }
    // Nothing else is destroyed: threads that are gone may wait in it.
    new (place) kept_machines(image, options);
  }

  /// Has the pool's own thread make the machines that are to be there from the start.
  void keep() {
    std::lock_guard lock(mutex_);
    static_cast<void>(schedule_maintenance());
  }

  using lease = detail::lease<kept_machines, Machine>;

  // As of basic_pool.

  [[nodiscard]] result<lease> borrow(std::chrono::nanoseconds timeout, const std::stop_token& stop,
                                     bool (*stop_if)()) {
    if (Machine* last = slots_.take()) [[likely]]
      return lease(*this, std::unique_ptr<Machine>(last));
    return os::or_out_of_memory(
        [&] { return find({.until = deadline_after(timeout), .stop = stop, .stop_if = stop_if}); });
  }

  result<void> warm_up(std::size_t wanted) {
    for (;;) {
      auto added = add_if_below(wanted);
      if (!added) return added.error();
      if (!*added) return {};
    }
  }

  void trim(std::size_t keep) {
    std::unique_lock lock(mutex_);
    for (;;) {
      std::unique_ptr<Machine> surplus;
      {
        const closed_slots closed(*this);
        if (idle_.size() <= keep) return;
        surplus = std::move(idle_.front());
        idle_.erase(idle_.begin());
      }
      destroy(std::move(surplus), lock);
    }
  }

  void configure(const pool_options& options) {
    std::lock_guard lock(mutex_);
    if (options.machines_per_vm != options_.machines_per_vm) vms_.reset();
    options_ = options;
    write_set_max_.store(options.write_set_max, std::memory_order_relaxed);
    max_calls_.store(options.max_calls, std::memory_order_relaxed);
    cleaning_.store(options.cleaning, std::memory_order_relaxed);
    callers_.allow(options.workers);
    wake_keeper();
    for (std::condition_variable_any* each : queue_) each->notify_one();
    static_cast<void>(schedule_maintenance());
  }

  [[nodiscard]] pool_options options() const {
    std::lock_guard lock(mutex_);
    return options_;
  }

  [[nodiscard]] pool_stats stats() const {
    std::lock_guard lock(mutex_);
    pool_stats all = counted_;
    all.machines = count_ + temporaries_;
    all.idle = idle_.size() + slots_.full();
    return all;
  }

  [[nodiscard]] os::workers& callers() { return callers_; }

 private:
  friend lease;

  /// While one exists, every machine comes back under mutex_, which must be held when it is made
  /// and when it ends, and what was in the slots is in idle_.
  class closed_slots {
   public:
    explicit closed_slots(kept_machines& owner) : owner_(owner) {
      if (owner_.closers_++ > 0) return;
      owner_.slots_.close([&](Machine* found) { owner_.idle_.emplace_back(found); });
    }
    closed_slots(const closed_slots&) = delete;
    closed_slots& operator=(const closed_slots&) = delete;
    ~closed_slots() {
      if (--owner_.closers_ == 0) owner_.slots_.open();
      owner_.wake();
    }

   private:
    kept_machines& owner_;
  };

  struct used_machine {
    std::unique_ptr<Machine> machine;
    std::size_t arguments_used;
  };

  struct keeping final : os::work {
    explicit keeping(kept_machines& its) : owner(its) {}
    void run() override { owner.keep_machines(); }
    kept_machines& owner;
  };

  // Of calls.

  result<lease> find(const run_limits& limits) {
    std::unique_lock lock(mutex_);
    static_cast<void>(schedule_maintenance());  // A child of fork has not been asked to yet.
    if (idle_.empty()) {
      if (Machine* other = slots_.steal()) idle_.emplace_back(other);
    }
    result<std::chrono::nanoseconds> waited(std::chrono::nanoseconds{0});
    if (!is_available() || !queue_.empty()) waited = wait(lock, limits);
    if (!waited) return waited.error();
    if (!idle_.empty()) {
      lease lent(*this, std::move(idle_.back()), false, *waited);
      idle_.pop_back();
      return lent;
    }
    if (!dirty_.empty()) {
      const std::size_t used = dirty_.back().arguments_used;
      lease lent(*this, std::move(dirty_.back().machine), false, *waited);
      dirty_.pop_back();
      lock.unlock();
      if (wipe(*lent, used)) return lent;
      if (auto made = lent.replace(limits); !made) return made.error();
      return lent;
    }
    const bool temporary = count_ >= options_.max;
    claim(temporary);
    lock.unlock();
    lease lent(*this, nullptr, temporary, *waited);
    if (auto made = lent.replace(limits); !made) return made.error();
    return lent;
  }

  /// Returns when a machine may be made, if it is not now.
  [[nodiscard]] monotonic::time_point leave_to_make() const {
    return budget_.next(options_.max, options_.made_per_second);
  }
  [[nodiscard]] bool may_make() const {
    return options_.made_per_second == 0 || leave_to_make() <= monotonic::now();
  }

  [[nodiscard]] bool is_available() const {
    return !idle_.empty() || !dirty_.empty() || (count_ < options_.max && may_make());
  }

  /// Returns whether a call waits for a machine that another has, not for ever in a pool of none,
  /// or for leave to make one.
  [[nodiscard]] bool may_wait() const {
    switch (options_.when_exhausted) {
      case when_exhausted::fail:
        return false;
      case when_exhausted::wait:
        return options_.max > 0;
      case when_exhausted::create:
        return !may_make();
    }
    return false;
  }

  /// Waits until is_available(), or a temporary machine is to be made. Returns how long. Whoever
  /// came first goes first; else a thread that calls all the time would leave nothing for others.
  result<std::chrono::nanoseconds> wait(std::unique_lock<std::mutex>& lock,
                                        const run_limits& limits) {
    // From here to the end no machine can come back unnoticed.
    const closed_slots closed(*this);
    std::condition_variable_any turn;
    // What the pool's own thread has in hand is not in use: it will be there in a moment.
    const auto over = [&] {
      return (is_available() && (queue_.empty() || queue_.front() == &turn)) ||
             (!may_wait() && in_maintenance_ == 0);
    };
    std::chrono::nanoseconds waited{0};
    if (!over()) {
      ++counted_.waits;
      queue_.push_back(&turn);
      const auto begin = monotonic::now();
      result<void> goes_on;
      do {
        // Only the first looks at the clock for leave to make one; it is woken when it gets there.
        const bool first = queue_.front() == &turn && !may_make();
        const auto until = next_check(limits);
        turn.wait_until(lock, limits.stop, first ? std::min(until, leave_to_make()) : until, [&] {
          return over() || (!first && queue_.front() == &turn && !may_make());
        });
        goes_on = check(limits);
      } while (goes_on && !over());
      waited = monotonic::now() - begin;
      std::erase(queue_, &turn);
      if (!goes_on) {
        error why = goes_on.error();
        if (why.code == errc::timed_out) why.operation = "no machine of the pool became free";
        return why;
      }
    }
    if (!is_available() && options_.when_exhausted != when_exhausted::create) return exhausted();
    return waited;
  }

  [[nodiscard]] error exhausted() const {
    if (count_ < options_.max) return no_leave();
    return {.code = errc::pool_exhausted, .detail = options_.max};
  }
  [[nodiscard]] static error no_leave() {
    return {.code = errc::pool_exhausted,
            .operation = "pool_options::made_per_second allows no new machine yet"};
  }

  /// Takes a place for one more machine, and the leave to make it if there is any, and makes sure
  /// that it can come back without allocation.
  void claim(bool temporary) {
    if (options_.made_per_second != 0 && may_make()) {
      budget_.spend(monotonic::now(), options_.made_per_second);
      ++leaves_;
    }
    if (temporary) {
      ++temporaries_;
      return;
    }
    if (idle_.capacity() <= count_) idle_.reserve(2 * count_ + 1);
    if (dirty_.capacity() <= count_) dirty_.reserve(2 * count_ + 1);
    ++count_;
  }

  /// Destroys `machine`, if there is one, and makes another. Outside the lock, because it takes
  /// twenty times as long as a call. Returns how long it waited for leave to.
  result<std::chrono::nanoseconds> renew(std::unique_ptr<Machine>& machine,
                                         const run_limits& limits) {
    const bool had_one = machine != nullptr;
    machine.reset();
    auto waited = await_leave(limits);
    if (!waited) {
      std::lock_guard lock(mutex_);
      if (had_one) ++counted_.discarded;
      return waited;
    }
    std::shared_ptr<const void> shared;
    auto made = os::or_out_of_memory([&] {
      auto created = Machine::create(image_, limits, vms());
      if (created) shared = (*created)->shared_state();
      return created;
    });
    std::lock_guard lock(mutex_);
    if (had_one) ++counted_.discarded;
    if (!made) return made.error();
    ++counted_.created;
    shared_state_ = std::move(shared);
    machine = *std::move(made);
    static_cast<void>(schedule_maintenance());  // From now on there is something to forget.
    return waited;
  }

  /// Returns where new machines are to have their places; null if each has a VM of its own.
  std::shared_ptr<shared_vms> vms() {
    const std::lock_guard lock(mutex_);
    if (options_.machines_per_vm > 1 && vms_ == nullptr) {
      vms_ = std::make_shared<shared_vms>(options_.machines_per_vm);
    }
    return vms_;
  }

  /// Waits until one more machine may be made, and counts it, if that has not been done.
  result<std::chrono::nanoseconds> await_leave(const run_limits& limits) {
    std::unique_lock lock(mutex_);
    if (leaves_ > 0) {
      --leaves_;
      return std::chrono::nanoseconds{0};
    }
    if (options_.made_per_second == 0) return std::chrono::nanoseconds{0};
    const auto begin = monotonic::now();
    while (!may_make()) {
      if (closing_ || options_.when_exhausted == when_exhausted::fail) return no_leave();
      if (auto goes_on = check(limits); !goes_on) return goes_on.error();
      const auto until = std::min(leave_to_make(), next_check(limits));
      lock.unlock();
      // In pieces, because nothing ends a sleep.
      std::this_thread::sleep_until(
          std::min(until, monotonic::now() + std::chrono::milliseconds(10)));
      lock.lock();
    }
    budget_.spend(monotonic::now(), options_.made_per_second);
    return monotonic::now() - begin;
  }

  void take_back(std::unique_ptr<Machine> machine, std::size_t arguments_used) {
    if (cleaning_.load(std::memory_order_relaxed) == cleaning::in_background) [[unlikely]] {
      std::lock_guard lock(mutex_);
      dirty_.push_back({std::move(machine), arguments_used});
      wake();
      if (schedule_maintenance()) return;
      machine = std::move(dirty_.back().machine);
      dirty_.pop_back();
    }
    if (!wipe(*machine, arguments_used)) [[unlikely]]
      return discard(std::move(machine), false);
    std::unique_ptr<Machine> left(slots_.put(machine.release()));
    // Nothing of the pool may be touched from here on, unless there is a machine to bring back.
    if (left != nullptr) [[unlikely]]
      return_idle(std::move(left));
  }

  /// Makes a machine as its image has it. Returns false if it is not to be used again.
  bool wipe(Machine& machine, std::size_t arguments_used) const {
    // A call that failed, and only such, leaves state that no restore covers.
    if (machine.poisoned()) return false;
    if (has_outgrown(machine)) machine.outgrown();
    if (is_spent(machine)) return false;
    machine.restore(arguments_used);
    return !machine.poisoned();  // KVM can refuse what a bare machine's takes.
  }

  bool has_outgrown(Machine& machine) const {
    return machine.write_set().size() > write_set_max_.load(std::memory_order_relaxed);
  }

  /// Returns whether a machine is to be replaced, as the options say.
  bool is_spent(Machine& machine) const {
    return has_outgrown(machine) ||
           machine.use().calls() >= max_calls_.load(std::memory_order_relaxed);
  }

  void return_idle(std::unique_ptr<Machine> machine) {
    std::lock_guard lock(mutex_);
    idle_.push_back(std::move(machine));
    wake();
  }

  void discard(std::unique_ptr<Machine> machine, bool temporary) {
    const bool had_one = machine != nullptr;
    const bool spent = had_one && !machine->poisoned() && is_spent(*machine);
    machine.reset();
    std::lock_guard lock(mutex_);
    if (temporary) {
      --temporaries_;
    } else {
      --count_;
      if (had_one) ++counted_.discarded;
      if (spent) ++replacements_due_;
    }
    wake();
    static_cast<void>(schedule_maintenance());
  }

  /// Destroys a machine that nobody uses, without the lock meanwhile.
  void destroy(std::unique_ptr<Machine> machine, std::unique_lock<std::mutex>& lock) {
    lock.unlock();
    machine.reset();
    lock.lock();
    --count_;
    wake();
  }

  /// Tells who waits longest that something came back, and the destructor. With mutex_ held, so
  /// that neither can be through before.
  void wake() {
    if (!queue_.empty()) queue_.front()->notify_one();
    if (closing_) ended_.notify_one();
  }

  // Of the pool's own thread.

  /// Wakes the thread if there is something to do for it. Returns false if it cannot be started.
  bool schedule_maintenance() {
    const bool is_asked = !dirty_.empty() || wants_more();
    if (maintaining_) {
      if (is_asked) wake_keeper();
      return true;
    }
    if (closing_ || !(is_asked || forgets())) return true;
    maintaining_ = keeper_.submit(keeping_).has_value();
    return maintaining_;
  }

  void wake_keeper() {
    keeper_called_ = true;
    keeper_wake_.notify_one();
  }

  [[nodiscard]] bool wants_more() const {
    return count_ < options_.max && (count_ < options_.warm || replacements_due_ > 0);
  }

  /// Returns whether there is a machine that would be destroyed if it stayed idle.
  [[nodiscard]] bool forgets() const {
    return options_.idle_timeout < std::chrono::nanoseconds::max() && count_ > options_.warm;
  }

  void keep_machines() {
    std::unique_lock lock(mutex_);
    bool well = true;
    while (!closing_) {
      const bool makes = well && wants_more();
      if (!dirty_.empty()) {
        maintain([&] { wipe_one(lock); });
      } else if (makes && may_make()) {
        maintain([&] { well = add_one(lock); });
      } else if (makes || forgets()) {
        await_work(lock, makes);
        well = true;
      } else {
        break;
      }
    }
    wake();
    maintaining_ = false;
  }

  template <class Work>
  void maintain(const Work& work) {
    ++in_maintenance_;
    work();
    --in_maintenance_;
    for (std::condition_variable_any* each : queue_) each->notify_one();
  }

  bool add_one(std::unique_lock<std::mutex>& lock) {
    const std::size_t wanted = replacements_due_ > 0 ? options_.max : options_.warm;
    if (replacements_due_ > 0) --replacements_due_;
    lock.unlock();
    // In silence: whoever needs a machine next meets the cause again.
    const bool added = add_if_below(wanted).has_value();
    lock.lock();
    return added;
  }

  /// Sleeps until the idle machines are to be looked at, and does so; or until there is more to do,
  /// or leave to make a machine.
  void await_work(std::unique_lock<std::mutex>& lock, bool makes) {
    keeper_called_ = false;
    const auto sweep_due =
        forgets() ? last_sweep_ + std::clamp(options_.idle_timeout, shortest_sweep, longest_sweep)
                  : monotonic::time_point::max();
    const auto until = makes ? std::min(sweep_due, leave_to_make()) : sweep_due;
    keeper_wake_.wait_until(lock, until, [this] { return keeper_called_; });
    if (!closing_ && monotonic::now() >= sweep_due) sweep(lock);
  }

  /// Destroys the machines that have rested since the last sweep, but for the last ones that are to
  /// be warm.
  void sweep(std::unique_lock<std::mutex>& lock) {
    last_sweep_ = monotonic::now();
    std::vector<std::unique_ptr<Machine>> rested;
    // Threads that call keep their machines: another's would cost an old kernel ten milliseconds.
    const auto room = os::or_out_of_memory([&]() -> result<void> {
      rested.reserve(count_);
      return {};
    });
    if (!room) return;
    std::size_t left = count_;
    const auto is_to_go = [&](Machine& idle) {
      return idle.use().has_rested() && left > options_.warm && left-- > 0;
    };
    std::erase_if(idle_, [&](std::unique_ptr<Machine>& idle) {
      if (!is_to_go(*idle)) return false;
      rested.push_back(std::move(idle));
      return true;
    });
    if (closers_ == 0) {
      slots_.each(
          [&](Machine* idle) -> Machine* {
            if (!is_to_go(*idle)) return idle;
            rested.emplace_back(idle);
            return nullptr;
          },
          [&](Machine* idle) { idle_.emplace_back(idle); });
    }
    for (std::unique_ptr<Machine>& each : rested) {
      destroy(std::move(each), lock);
      ++counted_.forgotten;
    }
  }

  void wipe_one(std::unique_lock<std::mutex>& lock) {
    used_machine next = std::move(dirty_.back());
    dirty_.pop_back();
    lock.unlock();
    const auto begin = monotonic::now();
    const bool clean = wipe(*next.machine, next.arguments_used);
    const auto took = monotonic::now() - begin;
    if (clean) {
      return_idle(std::move(next.machine));
    } else {
      discard(std::move(next.machine), false);
    }
    lock.lock();
    ++counted_.cleaned;
    counted_.cleaning_time += took;
  }

  /// Makes one more machine if there are fewer than `wanted`. Returns whether it did.
  result<bool> add_if_below(std::size_t wanted) {
    auto claimed = os::or_out_of_memory([&]() -> result<bool> {
      std::lock_guard lock(mutex_);
      if (count_ >= std::min(wanted, options_.max)) return false;
      claim(false);
      return true;
    });
    if (!claimed || !*claimed) return claimed;
    lease added(*this, nullptr);
    if (auto made = added.replace(); !made) return made.error();
    return_idle(std::move(added).take());
    return true;
  }

  static constexpr std::chrono::nanoseconds shortest_sweep = std::chrono::milliseconds(1);
  static constexpr std::chrono::nanoseconds longest_sweep = std::chrono::hours(24 * 365);

  const image_description& image_;
  pool_options options_;  // Guarded by mutex_, but for the next three, which calls look at without.
  std::atomic<std::size_t> write_set_max_;
  std::atomic<std::uint64_t> max_calls_;
  std::atomic<cleaning> cleaning_;
  slots<Machine> slots_;
  mutable std::mutex mutex_;
  std::condition_variable ended_;  // For the destructor.
  // What all machines share, kept while there happens to be no machine. Guarded by mutex_, as are
  // all below but the threads.
  std::shared_ptr<const void> shared_state_;
  std::shared_ptr<shared_vms> vms_;  // Once there are any.
  std::vector<std::unique_ptr<Machine>> idle_;
  std::vector<used_machine> dirty_;  // To be wiped by the pool's own thread.
  std::size_t count_ = 0;  // Machines that exist or are being made, but for temporary ones.
  std::size_t temporaries_ = 0;
  std::vector<std::condition_variable_any*> queue_;  // Of calls that wait, the first one in front.
  std::size_t closers_ = 0;                          // How many need the slots to be closed.
  std::size_t in_maintenance_ = 0;    // Machines that the pool's own thread has in hand.
  std::size_t replacements_due_ = 0;  // Machines to be made for discarded ones.
  creation_budget budget_;
  std::size_t leaves_ = 0;      // Machines that it has counted already.
  bool maintaining_ = false;    // Whether the pool's own thread is at work, or waits for a sweep.
  bool keeper_called_ = false;  // To wake it from that.
  std::condition_variable keeper_wake_;
  monotonic::time_point last_sweep_ = monotonic::now();
  bool closing_ = false;
  pool_stats counted_;
  keeping keeping_{*this};
  os::workers keeper_{1};
  os::workers callers_;
};

}  // namespace virtine::detail
