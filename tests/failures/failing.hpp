// Has system calls of the library's fail: one, or some in a row. The headers that instrument.py
// writes ask here before each. Keeps a record of what failed, and of what the library has mapped.
// Knows nothing of what the calls are for.
// SPDX-License-Identifier: MIT
#pragma once

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <mutex>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

namespace failing {

/// A call in the text of the library.
struct call_site {
  const char* file;
  int line;
  const char* name;
};
/// A request of KVM's, all of which are made by the same two calls.
struct request_site {
  unsigned number;
  const char* name;
};

}  // namespace failing

#include "failing_calls.hpp"

namespace failing {

inline constexpr std::size_t call_count = std::size(calls);
/// What can fail, each by a number: the calls, then the requests.
inline constexpr std::size_t count = call_count + std::size(requests);

struct errors_of_call {
  std::string_view name;
  std::array<int, 8> errors;  ///< Ends at a 0.
};

/// What each fails with, of what its manual page, and for KVM the kernel, says.
inline constexpr std::array all_errors{
    errors_of_call{"F_ADD_SEALS", {EPERM, EBUSY, EINVAL}},
    errors_of_call{"F_DUPFD_CLOEXEC", {EMFILE, EBADF}},
    errors_of_call{"F_GETFL", {EBADF}},
    errors_of_call{"TIOCGPTN", {ENOTTY, EIO}},
    errors_of_call{"accept4", {EMFILE, ECONNABORTED, EINTR, ENFILE, ENOBUFS, ENOMEM, EPERM}},
    errors_of_call{"access", {ENOENT, EACCES, ENOMEM}},
    errors_of_call{"bind", {EADDRINUSE, EACCES, ENOENT, EROFS, ENOMEM}},
    errors_of_call{"clock_gettime", {EINVAL, EPERM}},
    errors_of_call{"close", {EIO, EINTR, ENOSPC, EDQUOT}},
    errors_of_call{"eventfd", {EMFILE, ENFILE, ENODEV, ENOMEM}},
    errors_of_call{"faccessat2", {ENOSYS, EACCES, EROFS, ENOMEM, EIO}},
    errors_of_call{"fallocate", {ENOMEM, EINTR, ENOSPC, EFBIG, EIO, EOPNOTSUPP}},
    errors_of_call{"fchmod", {EPERM, EROFS, EIO, EINVAL}},
    errors_of_call{"fstat", {ENOMEM, EBADF, EIO, ESTALE}},
    errors_of_call{"fstatfs", {ENOMEM, EIO, EINTR, ENOSYS}},
    errors_of_call{"ftruncate", {EFBIG, EPERM, EIO, ENOSPC, ETXTBSY}},
    errors_of_call{"getdents64", {ENOENT, EIO, ENOMEM}},
    errors_of_call{"getrandom", {ENOSYS, EAGAIN, EINTR}},
    errors_of_call{"ioctl", {EPERM}},
    errors_of_call{"isatty", {EIO, EBADF}},
    errors_of_call{"listen", {EADDRINUSE, EOPNOTSUPP}},
    errors_of_call{"lseek", {EOVERFLOW, EBADF, EINVAL}},
    errors_of_call{"madvise", {EINVAL, ENOMEM, EAGAIN, EBUSY}},
    errors_of_call{"memfd_create", {EINVAL, EMFILE, ENFILE, ENOMEM, EACCES}},
    errors_of_call{"mkdirat", {EEXIST, EACCES, EDQUOT, ENOSPC, EROFS, ENOMEM}},
    errors_of_call{"mkostemp", {EACCES, EEXIST, EMFILE, ENOSPC, EROFS, ENOMEM}},
    errors_of_call{"mmap", {ENOMEM, EAGAIN, ENODEV, EPERM}},
    errors_of_call{"mprotect", {ENOMEM, EACCES}},
    errors_of_call{"munmap", {ENOMEM, EPERM}},
    errors_of_call{"open", {EMFILE, EACCES, EINTR, ENFILE, ENODEV, ENOENT, ENOMEM, ENXIO}},
    errors_of_call{"openat2", {ENOSYS, EAGAIN, EINTR, EACCES, EMFILE, ENFILE, ENOMEM, EXDEV}},
    errors_of_call{"poll", {ENOMEM, EINTR}},
    errors_of_call{"pread", {EIO, EINTR, EISDIR}},
    errors_of_call{"preadv", {EIO, EINTR, EAGAIN, ENOMEM}},
    errors_of_call{"pthread_create", {EAGAIN, EPERM}},
    errors_of_call{"pthread_sigmask", {EINVAL}},
    errors_of_call{"pwrite", {ENOSPC, EINTR, EFBIG, EIO, EDQUOT}},
    errors_of_call{"pwritev", {ENOSPC, EINTR, EAGAIN, EIO, EDQUOT}},
    errors_of_call{"pwritev2", {ENOSYS, EOPNOTSUPP, EAGAIN, EINTR, EIO, ENOMEM}},
    errors_of_call{"read", {EIO, EINTR, EISDIR}},
    errors_of_call{"readlink", {ENOENT, EACCES, EIO, ENOMEM}},
    errors_of_call{"readv", {EIO, EINTR, EAGAIN, ENOMEM}},
    errors_of_call{"recv", {ECONNRESET, EAGAIN, EINTR, ENOMEM}},
    errors_of_call{"recvmsg", {ECONNRESET, EAGAIN, EINTR, ENOMEM}},
    errors_of_call{"rename", {ENOSPC, EACCES, EBUSY, EIO, EROFS, EXDEV}},
    errors_of_call{"renameat", {ENOSPC, EACCES, EBUSY, EIO, EROFS, EXDEV}},
    errors_of_call{"sched_getaffinity", {EINVAL, EPERM}},
    errors_of_call{"sched_getcpu", {ENOSYS}},
    errors_of_call{"sched_setaffinity", {EINVAL, EPERM}},
    errors_of_call{"send", {EPIPE, EAGAIN, EINTR, ECONNRESET, ENOBUFS, ENOMEM}},
    errors_of_call{"sendmsg", {EPIPE, EAGAIN, EINTR, ECONNRESET, ENOBUFS, ENOMEM}},
    errors_of_call{"setsockopt", {ENOPROTOOPT, ENOMEM}},
    errors_of_call{"sigpending", {EFAULT}},
    errors_of_call{"sigtimedwait", {EAGAIN}},
    errors_of_call{"socket", {EMFILE, EACCES, EAFNOSUPPORT, ENFILE, ENOBUFS, ENOMEM}},
    errors_of_call{"stat", {EACCES, ELOOP, ENOENT, ENOMEM, ENOTDIR}},
    errors_of_call{"std::thread", {EAGAIN}},
    errors_of_call{"unlink", {EBUSY, EACCES, EIO, EROFS}},
    errors_of_call{"unlinkat", {EBUSY, EACCES, EIO, EROFS}},
    errors_of_call{"write", {ENOSPC, EINTR, EIO, EFBIG, EDQUOT}},
    errors_of_call{"writev", {ENOSPC, EINTR, EAGAIN, EIO, EDQUOT}},
    errors_of_call{"KVM_CREATE_VCPU", {ENOMEM, EMFILE, EEXIST, EINVAL}},
    errors_of_call{"KVM_CREATE_VM", {EINTR, ENOMEM, EMFILE, ENFILE, EBUSY, EACCES}},
    errors_of_call{"KVM_RUN", {EFAULT, EINTR, EIO, ENOMEM, EPERM}},
};

inline constexpr std::array errors_of_requests{EPERM, ENOMEM, EINVAL, EFAULT};

constexpr std::string_view name(std::size_t which) {
  return which < call_count ? calls[which].name : requests[which - call_count].name;
}

/// Returns what `which` fails with, at least one.
constexpr std::span<const int> errors_of(std::size_t which) {
  for (const auto& each : all_errors) {
    if (each.name != name(which)) continue;
    std::size_t known = 0;
    while (known < each.errors.size() && each.errors[known] != 0) ++known;
    return std::span(each.errors).first(known);
  }
  if (which >= call_count) return errors_of_requests;
  return {};
}
static_assert([] {
  for (std::size_t i = 0; i < count; ++i) {
    if (errors_of(i).empty()) return false;
  }
  return true;
}());

/// Returns the first call of a name in a file.
constexpr std::size_t site_of(std::string_view file, std::string_view name) {
  std::size_t which = 0;
  while (calls[which].file != file || calls[which].name != name) ++which;
  return which;
}

inline std::string describe(std::size_t which) {
  std::string out(name(which));
  if (which >= call_count) return out;
  return out + " (" + calls[which].file + ":" + std::to_string(calls[which].line) + ")";
}

/// What is kept of all calls, by a process and its children together.
struct record {
  static constexpr std::size_t most_errors = 8;
  std::array<std::array<std::atomic<std::uint32_t>, most_errors>, count> failed{};
  std::array<std::atomic<std::uint32_t>, count> made{};
  /// After which call's failure one failed, if it did; from 1.
  std::array<std::atomic<std::int64_t>, count> after{};
};
inline record& all() {
  static record& shared = [&]() -> record& {
    void* const at =
        ::mmap(nullptr, sizeof(record), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return *new (at) record;
  }();
  return shared;
}

/// Which calls are to fail.
struct plan {
  static constexpr std::size_t any = count;
  std::size_t what = any;     ///< Only those of this number.
  std::int64_t nth = 0;       ///< Of these the one of this number, from 0.
  std::int64_t in_a_row = 1;  ///< How many fail from there on.
  std::size_t error = 0;      ///< The number of the first one's error, modulo as many as there are.
  std::size_t later = 0;      ///< The same of those that follow.
  void (*before)() = nullptr;  ///< Runs before the call, which then does not fail.
};

inline plan current;  // Changed while not armed.
/// The paths that are opened in the place of those that the library has, of calls that have one.
inline std::array<const char*, call_count> other_paths{};
inline std::atomic<bool> armed{false};
inline std::atomic<std::int64_t> before_failure{0};
inline std::atomic<std::size_t> last{plan::any};  // What failed last.
inline std::atomic<int> last_error{0};

/// What the library has mapped, and what it was not allowed to unmap.
class ledger {
 public:
  void add(void* at, std::size_t size) {
    const std::lock_guard lock(mutex_);
    ranges_[address(at)] = size;
  }
  void remove(void* at, std::size_t size) {
    const std::lock_guard lock(mutex_);
    drop(address(at), size);
  }
  void refuse(void* at, std::size_t size) {
    const std::lock_guard lock(mutex_);
    refused_.emplace_back(at, size);
  }
  /// Does what was refused.
  void settle() {
    const std::lock_guard lock(mutex_);
    for (const auto& [at, size] : refused_) {
      ::munmap(at, size);
      drop(address(at), size);
    }
    refused_.clear();
  }
  [[nodiscard]] std::size_t bytes() {
    const std::lock_guard lock(mutex_);
    std::size_t total = 0;
    for (const auto& [at, size] : ranges_) total += size;
    return total;
  }

 private:
  static std::uintptr_t address(void* at) {
    return reinterpret_cast<std::uintptr_t>(at);  // Sound: only the number counts.
  }
  static std::size_t whole_pages(std::size_t size) { return (size + 4095) / 4096 * 4096; }

  void drop(std::uintptr_t begin, std::size_t size) {
    const std::uintptr_t end = begin + whole_pages(size);
    auto at = ranges_.upper_bound(begin);
    if (at != ranges_.begin()) --at;
    while (at != ranges_.end() && at->first < end) {
      const std::uintptr_t its_end = at->first + whole_pages(at->second);
      if (its_end <= begin) {
        ++at;
        continue;
      }
      const std::uintptr_t its_begin = at->first;
      at = ranges_.erase(at);
      if (its_begin < begin) ranges_[its_begin] = begin - its_begin;
      if (its_end > end) ranges_[end] = its_end - end;
    }
  }

  std::mutex mutex_;
  std::map<std::uintptr_t, std::size_t> ranges_;
  std::vector<std::pair<void*, std::size_t>> refused_;
};
inline ledger mapped;

/// Returns the error with which this call is to fail, 0 if it is not.
inline int error_of(std::size_t which) {
  if (!armed.load(std::memory_order_relaxed)) return 0;
  ++all().made[which];
  if (current.what != plan::any && current.what != which) return 0;
  const std::int64_t left = before_failure.fetch_sub(1);
  if (left > 0 || left <= -current.in_a_row) return 0;
  if (current.before != nullptr) {
    armed = false;
    current.before();
    return 0;
  }
  const auto errors = errors_of(which);
  const std::size_t number = (left == 0 ? current.error : current.later) % errors.size();
  if (left < 0 && current.what == plan::any) all().after[which] = current.nth + 1;
  ++all().failed[which][number];
  last = which;
  last_error = errors[number];
  return errors[number];
}

constexpr bool is(std::size_t which, std::string_view wanted) {
  return name(which) == wanted;
}

/// A call in the library's text, in the place of its name.
template <std::size_t Which, class Call>
struct call {
  Call made;

  template <class... A>
  auto operator()(A... a) const {
    using returned = decltype(made(a...));
    if (const int error = error_of(number(a...))) {
      if constexpr (Which < call_count && is(Which, "ioctl")) ++all().failed[Which][0];
      // A descriptor is closed whatever close() says, and memory that stays mapped is the kernel's.
      if constexpr (is(Which, "close")) made(a...);
      if constexpr (is(Which, "munmap")) mapped.refuse(a...);
      if constexpr (name(Which).starts_with("pthread_")) {
        return returned{error};
      } else {
        errno = error;
        if constexpr (std::is_pointer_v<returned>) {
          return MAP_FAILED;
        } else {
          return static_cast<returned>(-1);
        }
      }
    }
    // Before, because another thread may be given the range at once.
    if constexpr (is(Which, "munmap")) mapped.remove(a...);
    const auto did = make(a...);
    const int error = errno;
    if constexpr (is(Which, "mmap")) note(did, a...);
    errno = error;
    return did;
  }

 private:
  template <class First, class... Rest>
  auto make(First first, Rest... rest) const {
    if constexpr (std::is_same_v<First, const char*>) {
      if (other_paths[Which] != nullptr) return made(other_paths[Which], rest...);
    }
    return made(first, rest...);
  }
  auto make() const { return made(); }

  static std::size_t number() { return Which; }
  template <class First, class... Rest>
  static std::size_t number(First, Rest... rest) {
    if constexpr (is(Which, "ioctl")) return request_of(rest...);
    return Which;
  }
  template <class... Rest>
  static std::size_t request_of(unsigned long request, Rest...) {
    std::size_t i = 0;
    while (i < std::size(requests) && requests[i].number != (request & 0xff)) ++i;
    return i < std::size(requests) ? call_count + i : Which;
  }
  static void note(void* did, void*, std::size_t size, int, int flags, int, ::off_t) {
    if (did != MAP_FAILED && (flags & MAP_FIXED) == 0) mapped.add(did, size);
  }
};

template <std::size_t Which, class Call>
constexpr call<Which, Call> at(Call made) {
  return {made};
}

/// What a thread is to run, unless it cannot be started.
template <std::size_t Which>
struct thread {
  template <class Body>
  friend Body operator%(thread, Body body) {
    if (const int error = error_of(Which)) {
      throw std::system_error(error, std::generic_category(), "std::thread");
    }
    return body;
  }
};

/// While one exists, calls fail as planned, of all threads. One at a time.
class failure {
 public:
  explicit failure(const plan& what) {
    pthread_sigmask(SIG_SETMASK, nullptr, &mask_);
    current = what;
    before_failure = what.nth;
    last = plan::any;
    last_error = 0;
    armed = true;
  }
  failure(const failure&) = delete;
  failure& operator=(const failure&) = delete;
  ~failure() {
    armed = false;
    // What a call that failed has left undone is the kernel's doing.
    mapped.settle();
    pthread_sigmask(SIG_SETMASK, &mask_, nullptr);
  }

 private:
  sigset_t mask_{};
};

}  // namespace failing

#define FAILING_CALL(number, name) ::failing::at<number>([](auto... of) { return ::name(of...); })
#define FAILING_THREAD(number) ::failing::thread<number>()
