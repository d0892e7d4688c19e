// Tells a process from its children of fork: which process made something, and state that a child
// begins anew. Knows nothing of what it is used for.
// SPDX-License-Identifier: MIT
#pragma once

#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <new>

#include <virtine/error.hpp>

namespace virtine::os {

/// The number of this process, on a page that the kernel zeroes in every child of fork, also of one
/// that no handler of pthread_atfork hears of (madvise(2), MADV_WIPEONFORK; Linux 4.14).
inline std::atomic<const std::atomic<std::uint64_t>*> process_page{nullptr};
inline std::atomic<bool> no_process_page{false};
/// The number given last. A child inherits it, so that no number is given twice in a line of
/// descent.
inline std::atomic<std::uint64_t> last_process{0};

inline constexpr std::size_t process_page_size = 4096;

/// Makes the page. Returns null if there can be none.
inline const std::atomic<std::uint64_t>* make_process_page() {
  // Sound: without MAP_FIXED the kernel picks a range in which nothing else lives.
  void* const at = ::mmap(nullptr, process_page_size, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return nullptr;
  // Sound: the range is the one just mapped.
  if (::madvise(at, process_page_size, MADV_WIPEONFORK) != 0) {
    // Sound: as above, and nobody else knows of it.
    ::munmap(at, process_page_size);
    return nullptr;
  }
  const std::atomic<std::uint64_t>* expected = nullptr;
  const auto* const made = new (at) std::atomic<std::uint64_t>(0);
  if (process_page.compare_exchange_strong(expected, made)) return made;
  // Sound: another thread was faster, and nobody knows of this page.
  ::munmap(at, process_page_size);
  return expected;
}

/// Gives this process its number if it has none.
[[gnu::noinline]] inline std::uint64_t number_process() {
  const auto* page = process_page.load();
  if (page == nullptr && !no_process_page.load()) {
    page = make_process_page();
    if (page == nullptr) no_process_page.store(true);
  }
  // Slower, and blind to a child that has the process id of an ancestor.
  if (page == nullptr) return static_cast<std::uint64_t>(::getpid());
  // Sound: the page is mapped for writing; it is const so that nothing else changes it.
  auto& number = const_cast<std::atomic<std::uint64_t>&>(*page);
  std::uint64_t found = 0;
  const std::uint64_t next = last_process.fetch_add(1) + 1;
  return number.compare_exchange_strong(found, next) ? next : found;
}

/// Returns a number that this process shares with none of its ancestors. Costs two loads.
inline std::uint64_t this_process() {
  const auto* const page = process_page.load(std::memory_order_acquire);
  const std::uint64_t number = page != nullptr ? page->load(std::memory_order_relaxed) : 0;
  return number != 0 ? number : number_process();
}

/// Returns what the use of something fails with in a child of fork that only its parent can use.
constexpr error of_a_parent(const char* what) {
  return {.code = errc::machine_failure, .os_error = EIO, .operation = what};
}

/// Set by abandon_calls().
inline constinit std::atomic<bool> calls_abandoned{false};
inline bool abandoned() noexcept {
  return calls_abandoned.load(std::memory_order_relaxed);
}
/// Remembers the process that it was made in.
class home_process {
 public:
  /// Returns whether this is a child of fork of that process, or a child of a child. What the
  /// process's other threads held or waited in is then held and waited in for ever.
  [[nodiscard]] bool forked() const { return made_in_ != this_process(); }

 private:
  std::uint64_t made_in_ = this_process();
};

struct when_asked {};

/// Holds a T for each process: a child of fork gets one of its own when it first asks, in the place
/// of its parent's, which is left behind as it was at the fork: a mutex in it may be locked for
/// good. All members but the constructor and the destructor may be used by any thread.
template <class T>
class per_process {
 public:
  /// Makes the T of this process: `make(place)` constructs it there, or else its default
  /// constructor does.
  template <class Make>
  explicit per_process(const Make& make) : made_in_(this_process()) {
    make(static_cast<void*>(storage_));
  }
  per_process() : made_in_(this_process()) { new (static_cast<void*>(storage_)) T; }
  /// Makes none before get() is called, which must be the one without arguments.
  explicit constexpr per_process(when_asked) : made_in_(0) {}
  per_process(const per_process&) = delete;
  per_process& operator=(const per_process&) = delete;
  ~per_process() {
    if (abandoned()) return;
    if (made_in_.load(std::memory_order_relaxed) == this_process()) here().~T();
  }

  /// Returns the T of this process. If there is none, `make(place, old, is_whole)` constructs it in
  /// the place of `old`, its parent's; it must not throw. Where `is_whole` is false a thread that
  /// is gone had begun to do the same in the parent, a child itself, so that `old` is anything
  /// between what there was before and a new T. Costs three loads.
  template <class Make>
  [[nodiscard]] T& get(const Make& make) {
    const std::uint64_t process = this_process();
    if (made_in_.load(std::memory_order_acquire) != process) [[unlikely]]
      renew(process, make);
    return here();
  }
  [[nodiscard]] T& get() {
    return get([](void* place, T&, bool) { new (place) T; });
  }

 private:
  static constexpr std::uint64_t being_made = std::uint64_t{1} << 63;

  template <class Make>
  [[gnu::noinline]] void renew(std::uint64_t process, const Make& make) {
    std::uint64_t found = made_in_.load();
    while (found != process) {
      if (found == (process | being_made)) {
        ::sched_yield();
        found = made_in_.load();
      } else if (made_in_.compare_exchange_weak(found, process | being_made)) {
        make(static_cast<void*>(storage_), here(), (found & being_made) == 0);
        made_in_.store(process, std::memory_order_release);
        return;
      }
    }
  }

  // Sound: a T lives there from the constructor on, and of a child's only once made_in_ says so.
  [[nodiscard]] T& here() { return *std::launder(reinterpret_cast<T*>(storage_)); }

  alignas(T) std::byte storage_[sizeof(T)]{};
  std::atomic<std::uint64_t> made_in_;
};

/// Returns the one T of this process, made when it is first asked for and never destroyed. There is
/// no moment in which a fork could leave it half made for a child.
template <class T>
T& of_this_process() {
  union kept {
    constexpr kept() : of_process(when_asked{}) {}
    ~kept() {}
    per_process<T> of_process;
  };
  static constinit kept all;
  return all.of_process.get();
}

}  // namespace virtine::os
