// Places for pointers, one for each thread, that a thread can reach without a lock.
// docs/architecture.md has the table of who may do what. Knows nothing of what is pointed at.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/cxx20.hpp>

#include <array>
#include <atomic>
#include <cstddef>

namespace virtine::detail {

/// Holds at most one T of each thread's. A slot is empty, full or closed; whoever empties a full
/// one owns what was in it. Neither take() nor put() touches the object after its one exchange, so
/// that what a put() hands over may be all that kept the object from being destroyed.
template <class T>
class slots {
 public:
  /// Threads beyond this share slots, which costs nothing but a miss now and then.
  static constexpr std::size_t count = 64;

  /// Takes what is in this thread's slot; null if it is empty or closed.
  [[nodiscard]] T* take() { return take_from(mine()); }

  /// Puts `item` into this thread's slot. Returns what was there before, if anything; if the slot
  /// is closed, `item` itself.
  [[nodiscard]] T* put(T* item) {
    std::atomic<void*>& slot = mine();
    void* before = slot.load(std::memory_order_relaxed);
    do {
      if (before == closed()) return item;
    } while (!slot.compare_exchange_weak(before, item, std::memory_order_acq_rel,
                                         std::memory_order_relaxed));
    return static_cast<T*>(before);
  }

  /// Takes what is in any slot. Null does not mean that all were empty at one time.
  [[nodiscard]] T* steal() {
    for (line& each : slots_) {
      if (T* found = take_from(each.item)) return found;
    }
    return nullptr;
  }

  /// Takes the item of one slot after the other and puts back what `look(item)` returns of it:
  /// itself, or null. Hands it to `keep` if its thread has filled the slot meanwhile, or closed it.
  template <class Look, class Keep>
  void each(Look look, Keep keep) {
    for (line& each : slots_) {
      T* const found = take_from(each.item);
      T* const left = found != nullptr ? look(found) : nullptr;
      void* empty = nullptr;
      if (left != nullptr &&
          !each.item.compare_exchange_strong(empty, left, std::memory_order_acq_rel)) {
        keep(left);
      }
    }
  }

  /// Closes all slots and hands what was in them to `keep`. Afterwards nothing is in a slot until
  /// open(). Calls of close() and open() must not overlap.
  template <class Keep>
  void close(Keep keep) {
    for (line& each : slots_) {
      void* const found = each.item.exchange(closed(), std::memory_order_acq_rel);
      if (found != nullptr && found != closed()) keep(static_cast<T*>(found));
    }
  }

  /// Makes all slots empty after close().
  void open() {
    for (line& each : slots_) each.item.store(nullptr, std::memory_order_relaxed);
  }

  /// Returns how many slots are full, at some moment each.
  [[nodiscard]] std::size_t full() const {
    std::size_t found = 0;
    for (const line& each : slots_) {
      const void* const item = each.item.load(std::memory_order_relaxed);
      found += item != nullptr && item != closed() ? 1U : 0U;
    }
    return found;
  }

 private:
  // A cache line each, so that threads do not disturb one another.
  struct alignas(64) line {
    std::atomic<void*> item{nullptr};
  };

  /// What a closed slot holds: an address that no T has.
  [[nodiscard]] void* closed() { return this; }
  [[nodiscard]] const void* closed() const { return this; }

  T* take_from(std::atomic<void*>& slot) {
    void* found = slot.load(std::memory_order_relaxed);
    // Not an exchange, which would open a closed slot.
    while (found != nullptr && found != closed()) {
      if (slot.compare_exchange_weak(found, nullptr, std::memory_order_acquire,
                                     std::memory_order_relaxed)) {
        return static_cast<T*>(found);
      }
    }
    return nullptr;
  }

  std::atomic<void*>& mine() {
    static std::atomic<std::size_t> next = 0;
    thread_local const std::size_t number = next.fetch_add(1, std::memory_order_relaxed) % count;
    return slots_[number].item;
  }

  std::array<line, count> slots_;
};

}  // namespace virtine::detail
