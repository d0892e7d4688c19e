// Which grants make a policy serve a system call, for messages. Knows nothing of how it is served.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/cxx20.hpp>

#include <sys/syscall.h>

#include <cstdint>

namespace virtine::detail {

/// Returns what of a policy is about system call `number`, as the words after "grant it with"; null
/// if nothing is.
constexpr const char* granting(std::uint64_t number) {
  switch (number) {
    case SYS_write:
    case SYS_writev:
    case SYS_pwrite64:
    case SYS_fstat:
    case SYS_lseek:
    case SYS_fcntl:
    case SYS_ioctl:
    case SYS_close:
      return "posix::output() for standard output, posix::directory() for files, or "
             "posix::descriptor() for what the host has open";
    case SYS_read:
    case SYS_readv:
    case SYS_pread64:
    case SYS_ftruncate:
    case SYS_getdents64:
      return "posix::directory() for files, or posix::descriptor() for what the host has open";
    case SYS_open:
    case SYS_openat:
    case SYS_stat:
    case SYS_lstat:
    case SYS_newfstatat:
    case SYS_access:
    case SYS_faccessat:
    case SYS_readlink:
    case SYS_readlinkat:
    case SYS_mkdir:
    case SYS_mkdirat:
    case SYS_rmdir:
    case SYS_unlink:
    case SYS_unlinkat:
    case SYS_rename:
    case SYS_renameat:
      return "posix::directory()";
    case SYS_clock_gettime:
    case SYS_clock_getres:
    case SYS_gettimeofday:
    case SYS_time:
    case SYS_nanosleep:
    case SYS_clock_nanosleep:
      return "posix::clock()";
    case SYS_getrandom:
      return "allow_entropy()";
    case SYS_uname:
    case SYS_getcwd:
    case SYS_getpid:
    case SYS_gettid:
    case SYS_getppid:
    case SYS_getpgrp:
    case SYS_getuid:
    case SYS_geteuid:
    case SYS_getgid:
    case SYS_getegid:
    case SYS_set_tid_address:
    case SYS_sched_yield:
      return "any grant of <virtine/posix.hpp>, such as posix::minimal()";
    default:
      return nullptr;
  }
}

}  // namespace virtine::detail
