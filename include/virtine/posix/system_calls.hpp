// Serves the system calls of guests whose policy grants something of a POSIX system.
// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <new>
#include <optional>
#include <span>
#include <string_view>

#include <virtine/abi/little_endian.hpp>
#include <virtine/machine/system_call.hpp>
#include <virtine/posix/descriptor_calls.hpp>
#include <virtine/posix/path_calls.hpp>
#include <virtine/posix/request.hpp>
#include <virtine/posix/rights.hpp>

namespace virtine::posix::detail {

inline structure<16> timespec_of(const timespec& time) {
  structure<16> out;
  out.put(0, static_cast<std::uint64_t>(time.tv_sec));
  out.put(8, static_cast<std::uint64_t>(time.tv_nsec));
  return out;
}

/// Returns what the host's clock shows that stands for the guest's `clock`; nothing if there is
/// none. The processor time of a guest is that of the thread which runs it.
inline std::optional<timespec> read_clock(int clock) {
  switch (clock) {
    case CLOCK_PROCESS_CPUTIME_ID:
      clock = CLOCK_THREAD_CPUTIME_ID;
      break;
    case CLOCK_REALTIME:
    case CLOCK_MONOTONIC:
    case CLOCK_THREAD_CPUTIME_ID:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
      break;
    default:
      return std::nullopt;
  }
  timespec now{};
  if (::clock_gettime(clock, &now) != 0) return std::nullopt;
  return now;
}

/// Returns a time as nanoseconds, the largest number if it is more; nothing if it is no time.
inline std::optional<std::chrono::nanoseconds> duration_of(std::uint64_t seconds,
                                                           std::uint64_t nanoseconds) {
  constexpr std::uint64_t second = 1'000'000'000;
  if (seconds > INT64_MAX || nanoseconds >= second) return std::nullopt;
  if (seconds >= INT64_MAX / second) return std::chrono::nanoseconds::max();
  return std::chrono::nanoseconds(static_cast<std::int64_t>(seconds * second + nanoseconds));
}

/// Returns what a clock of the host shows as a duration.
inline std::chrono::nanoseconds since_epoch(const timespec& time) {
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

/// nanosleep, and clock_nanosleep with the time at argument `at`. The machine sleeps, not this.
inline answer sleep(const request& r, std::size_t grant, std::size_t at, int clock, bool until) {
  const auto bytes = r.guest.read(r.address(at), 16);
  if (!bytes) return failure(grant, EFAULT);
  auto time = duration_of(x86::load<std::uint64_t>(*bytes, 0), x86::load<std::uint64_t>(*bytes, 8));
  const auto now = read_clock(clock);
  if (!time || !now) return failure(grant, EINVAL);
  if (until) *time -= std::min(*time, since_epoch(*now));
  return {.wait = *time, .grant = grant};
}

inline answer serve_clock(const request& r, std::uint32_t call, std::size_t grant) {
  const auto give_time = [&](std::size_t to, const timespec& time) {
    const int why = r.arguments[to] == 0 ? 0 : r.give(r.address(to), timespec_of(time).bytes);
    return why != 0 ? failure(grant, why) : success(grant, 0);
  };
  switch (call) {
    case SYS_clock_gettime: {
      const auto now = read_clock(r.number(0));
      return now ? give_time(1, *now) : failure(grant, EINVAL);
    }
    case SYS_clock_getres:
      return read_clock(r.number(0)) ? give_time(1, {.tv_sec = 0, .tv_nsec = 1})
                                     : failure(grant, EINVAL);
    case SYS_gettimeofday: {
      timespec now = read_clock(CLOCK_REALTIME).value_or(timespec{});
      now.tv_nsec /= 1000;
      return give_time(0, now);
    }
    case SYS_time: {
      const std::int64_t now = read_clock(CLOCK_REALTIME).value_or(timespec{}).tv_sec;
      structure<8> out;
      out.put(0, static_cast<std::uint64_t>(now));
      const int why = r.arguments[0] == 0 ? 0 : r.give(r.address(0), out.bytes);
      return why != 0 ? failure(grant, why) : success(grant, now);
    }
    case SYS_nanosleep:
      return sleep(r, grant, 0, CLOCK_MONOTONIC, false);
    default:
      return sleep(r, grant, 2, r.number(0), (r.arguments[1] & TIMER_ABSTIME) != 0);
  }
}

/// The system that guests find themselves on.
inline answer tell_names(const request& r) {
  constexpr std::size_t field = 65;
  constexpr std::array<std::string_view, 6> names{"Linux",   "virtine", "6.1.0",
                                                  "virtine", "x86_64",  "(none)"};
  structure<6 * field> out;
  for (std::size_t i = 0; i < names.size(); ++i) {
    std::memcpy(out.bytes.data() + i * field, names[i].data(), names[i].size());
  }
  return constant(-std::int64_t{r.give(r.address(0), out.bytes)});
}

inline answer tell_directory(const request& r) {
  constexpr std::array root{std::byte{'/'}, std::byte{0}};
  if (r.arguments[1] < root.size()) return constant(-ERANGE);
  const int why = r.give(r.address(0), root);
  return constant(why != 0 ? -why : std::int64_t{root.size()});
}

/// What serves the system calls of a policy; each of its grants adds itself to the rights.
class system_calls {
 public:
  using state = call_state;

  granted_rights granted;

  /// Answers `call` of a guest that has `open` open; with ENOMEM, as a kernel would, if the host
  /// has no memory for it.
  virtine::detail::system_call_answer serve(const virtine::detail::system_call& call,
                                            virtine::detail::guest_access& guest,
                                            state& open) const {
#ifdef __cpp_exceptions
    try {
      return serve_with_memory(call, guest, open);
    } catch (const std::bad_alloc&) {
      return constant(-ENOMEM);
    }
#else
    return serve_with_memory(call, guest, open);
#endif
  }

 private:
  virtine::detail::system_call_answer serve_with_memory(const virtine::detail::system_call& call,
                                                        virtine::detail::guest_access& guest,
                                                        state& open) const {
    open.begin(granted);
    const request r{granted, open, guest, call.arguments};
    if (const auto served = serve_descriptor(r, call.number)) return *served;
    if (const auto served = serve_path(r, call.number)) return *served;
    switch (call.number) {
      case SYS_clock_gettime:
      case SYS_clock_getres:
      case SYS_gettimeofday:
      case SYS_time:
      case SYS_nanosleep:
      case SYS_clock_nanosleep:
        if (!granted.clock) break;
        return serve_clock(r, call.number, *granted.clock);
      case SYS_uname:
        return tell_names(r);
      case SYS_getcwd:
        return tell_directory(r);
      case SYS_getpid:
      case SYS_gettid:
      case SYS_set_tid_address:
      case SYS_getpgrp:
        return constant(1);
      case SYS_getppid:
      case SYS_getuid:
      case SYS_geteuid:
      case SYS_getgid:
      case SYS_getegid:
      case SYS_sched_yield:
        return constant(0);
      default:
        break;
    }
    return not_granted;
  }
};

}  // namespace virtine::posix::detail
