// The system calls that a process makes which only calls virtines, and a seccomp filter that
// refuses all others. A guest that broke out of its machine into this process would have no more
// than these. Knows nothing of the library; docs/hardening.md explains the list.
// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace calls_only {

/// A system call that is let through if `mask` of its argument number `argument` is `value`.
struct rule {
  long number;
  unsigned argument = 0;
  std::uint32_t mask = 0;  // Of the lower 32 bits. Without a bit it is let through always.
  std::uint32_t value = 0;
};

/// An ioctl, by its number.
constexpr rule an_ioctl(std::uint32_t request) {
  return {SYS_ioctl, 1, 0xffffffff, request};
}

// Not as <linux/kvm.h> has them: some give their structures another size in C++ than in C.
inline constexpr std::uint32_t get_supported_cpuid = _IOC(_IOC_READ | _IOC_WRITE, KVMIO, 0x05, 8);
inline constexpr std::uint32_t set_cpuid2 = _IOC(_IOC_WRITE, KVMIO, 0x90, 8);
inline constexpr std::uint32_t set_msrs = _IOC(_IOC_WRITE, KVMIO, 0x89, 8);
inline constexpr std::uint32_t set_xsave = _IOC(_IOC_WRITE, KVMIO, 0xa5, 4096);

/// What the library needs until it has opened /dev/kvm: in the first call, or in pool::warm_up().
inline constexpr rule to_begin[] = {
    {SYS_openat},
    {SYS_access},  // This and read: how KVM does paging, for bare machines.
    {SYS_read},
    an_ioctl(KVM_GET_API_VERSION),
    an_ioctl(KVM_CHECK_EXTENSION),
    an_ioctl(KVM_GET_VCPU_MMAP_SIZE),
    an_ioctl(get_supported_cpuid),
};

/// What it needs from then on, for functions of all images.
inline constexpr rule to_call[] = {
    // Calls on machines that are there.
    an_ioctl(KVM_RUN),
    {SYS_futex},
    {SYS_sched_yield},
    {SYS_sched_getaffinity},
    {SYS_sched_setaffinity},
    {SYS_clock_nanosleep},
    {SYS_clock_gettime},
    // Machines: new ones, and those that an exit has stopped anywhere.
    an_ioctl(KVM_CREATE_VM),
    an_ioctl(KVM_CREATE_VCPU),
    an_ioctl(KVM_SET_USER_MEMORY_REGION),
    an_ioctl(set_cpuid2),
    an_ioctl(KVM_SET_XCRS),
    an_ioctl(KVM_GET_SREGS),
    an_ioctl(KVM_SET_SREGS),
    an_ioctl(KVM_SET_REGS),
    // Memory, none of which becomes code of this process. A deadline takes it from a guest.
    {SYS_mmap, 2, PROT_EXEC, 0},
    {SYS_mprotect, 2, PROT_EXEC, 0},
    {SYS_munmap},
    {SYS_madvise},
    {SYS_brk},
    {SYS_close},
    // What the first call of an image keeps for all others: its memory, in a sealed file.
    {SYS_memfd_create},
    {SYS_ftruncate},
    {SYS_pwrite64},
    {SYS_fcntl, 1, 0xffffffff, F_ADD_SEALS},
    {SYS_rt_sigpending},
    {SYS_rt_sigtimedwait},
    // Threads, but no processes: for deadlines, of async() and of sessions.
    {SYS_clone, 0, CLONE_THREAD, CLONE_THREAD},
    {SYS_set_robust_list},
    {SYS_rseq},
    {SYS_rt_sigprocmask},
    {SYS_rt_sigaction},
    {SYS_eventfd2},
    {SYS_exit},
    // What every process may have to do.
    {SYS_rt_sigreturn},
    {SYS_restart_syscall},
    {SYS_write},
    {SYS_exit_group},
};

/// What it needs besides for bare images, bare machines and pool_options::machines_per_vm.
inline constexpr rule to_reset[] = {
    an_ioctl(KVM_SET_TSS_ADDR),
    an_ioctl(KVM_SET_NR_MMU_PAGES),
    an_ioctl(KVM_X86_SET_MSR_FILTER),
    an_ioctl(set_msrs),
    an_ioctl(set_xsave),
    an_ioctl(KVM_SET_DEBUGREGS),
    an_ioctl(KVM_SET_VCPU_EVENTS),
    an_ioctl(KVM_SET_MP_STATE),
    an_ioctl(KVM_GET_NESTED_STATE),
    an_ioctl(KVM_SET_NESTED_STATE),
    an_ioctl(KVM_GET_REGS),
};

/// Has the kernel let this thread, and all that it starts, make no system calls but those of
/// `rules`; what becomes of others is `otherwise`. Other threads go on as they were, unless `flags`
/// has SECCOMP_FILTER_FLAG_TSYNC. Returns whether it does; a filter cannot be taken off again.
inline bool confine(std::span<const rule> rules, unsigned flags = SECCOMP_FILTER_FLAG_TSYNC,
                    std::uint32_t otherwise = SECCOMP_RET_ERRNO | EPERM) {
  const auto load = [](std::size_t offset) {
    return sock_filter{BPF_LD | BPF_W | BPF_ABS, 0, 0, static_cast<std::uint32_t>(offset)};
  };
  const auto end = [](std::uint32_t action) { return sock_filter{BPF_RET | BPF_K, 0, 0, action}; };
  // Skips `next` instructions unless what was loaded is `value`.
  const auto is = [](std::uint32_t value, unsigned char next) {
    return sock_filter{BPF_JMP | BPF_JEQ | BPF_K, 0, next, value};
  };
  std::vector<sock_filter> program{
      load(offsetof(seccomp_data, arch)),
      {BPF_JMP | BPF_JEQ | BPF_K, 1, 0, AUDIT_ARCH_X86_64},
      end(SECCOMP_RET_KILL_PROCESS),
      // The flags of clone3 are in memory, where a filter cannot look. The C library then makes
      // clone, whose flags are an argument.
      load(offsetof(seccomp_data, nr)),
      is(SYS_clone3, 1),
      end(SECCOMP_RET_ERRNO | ENOSYS),
  };
  for (const rule& each : rules) {
    const auto number = static_cast<std::uint32_t>(each.number);
    program.push_back(load(offsetof(seccomp_data, nr)));
    if (each.mask == 0) {
      program.insert(program.end(), {is(number, 1), end(SECCOMP_RET_ALLOW)});
    } else {
      program.insert(program.end(),
                     {is(number, 4), load(offsetof(seccomp_data, args) + 8 * each.argument),
                      sock_filter{BPF_ALU | BPF_AND | BPF_K, 0, 0, each.mask}, is(each.value, 1),
                      end(SECCOMP_RET_ALLOW)});
    }
  }
  program.push_back(end(otherwise));
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  // Or a program with the set-user-ID bit could be started and be refused what it relies on.
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter) == 0;
}

}  // namespace calls_only
