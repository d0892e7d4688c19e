// The least that a call into a VM can cost on this machine: KVM's own system calls in the order in
// which they are needed, and a guest that does nothing but leave. Takes constants (tables,
// registers, ioctl numbers) from the library, and none of its code on a path that is timed.
// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include <virtine/abi/user64.hpp>
#include <virtine/kvm/system.hpp>
#include <virtine/kvm/uapi.hpp>
#include <virtine/machine/guest_cpu.hpp>
#include <virtine/x86/descriptors.hpp>
#include <virtine/x86/page_table.hpp>
#include <virtine/x86/trap.hpp>

namespace bench {

/// What all floor machines share: the device, a memory file, and the state of a user64 guest. Lives
/// until the process ends.
struct floor_guest {
  int device = -1;
  int memory = -1;  ///< A memory file with the guest's code, descriptors and page tables.
  std::size_t memory_size = 0;
  std::size_t shared_size = 0;  ///< How much of it is read-only.
  std::size_t run_size = 0;
  const virtine::kvm::cpuid_table* cpuid = nullptr;
  kvm_xcrs xcrs{};
  kvm_sregs sregs{};
  kvm_regs regs{};
};

struct floor_machine {
  int vm = -1;
  int vcpu = -1;
  kvm_run* run = nullptr;
  void* memory = nullptr;
};

namespace floor_map {
namespace x86 = virtine::x86;
inline constexpr std::uint64_t code = x86::image_base;
inline constexpr std::uint64_t stack = code + x86::page_size;
inline constexpr std::uint64_t trap_stack = stack + x86::page_size;
inline constexpr std::uint64_t tables = trap_stack + x86::page_size;
inline constexpr std::array mappings{
    x86::mapping{x86::tables_page, x86::tables_page + x86::page_size, false, false, false},
    x86::mapping{x86::trap_stub_page, x86::trap_stub_page + x86::page_size, false, true, false},
    x86::mapping{code, code + x86::page_size, false, true, true},
    x86::mapping{stack, stack + x86::page_size, true, false, true},
    x86::mapping{trap_stack, trap_stack + x86::page_size, true, false, false},
};
inline constexpr std::uint64_t begin = x86::tables_page;
inline constexpr std::uint64_t end = tables + x86::tables_needed(mappings) * x86::page_size;

// again: out done_port, eax; jmp again
inline constexpr std::array<std::uint8_t, 4> leave_for_ever{0xe7, x86::done_port, 0xeb, 0xfc};
}  // namespace floor_map

/// Prepares `guest`. Returns 0, or -1 with errno set.
inline int floor_prepare(floor_guest* guest) {
  namespace map = floor_map;
  namespace x86 = virtine::x86;
  namespace requests = virtine::kvm::requests;
  const auto shared = virtine::detail::guest_cpu::shared();
  if (!shared) {
    errno = shared.error().os_error != 0 ? shared.error().os_error : ENOTSUP;
    return -1;
  }
  const virtine::detail::guest_cpu& cpu = **shared;
  guest->cpuid = cpu.cpuid.get();
  guest->xcrs.nr_xcrs = cpu.xcr0 != 0 ? 1 : 0;
  guest->xcrs.xcrs[0].value = cpu.xcr0;
  guest->sregs = cpu.special_registers(x86::cpu_mode::user64);
  guest->sregs.cr3 = map::tables;
  guest->sregs.gdt = {.base = x86::gdt_address, .limit = x86::gdt_limit, .padding = {}};
  guest->sregs.idt = {.base = x86::idt_address, .limit = x86::idt_limit, .padding = {}};
  guest->regs.rip = map::code;
  guest->regs.rsp = map::trap_stack;
  guest->regs.rflags = x86::initial_rflags;

  guest->device = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  if (guest->device < 0) return -1;
  const int run_size = ioctl(guest->device, requests::get_vcpu_mmap_size.number, 0);
  if (run_size < 0) return -1;
  guest->run_size = static_cast<std::size_t>(run_size);

  guest->memory_size = map::end - map::begin;
  guest->shared_size = map::stack - map::begin;
  guest->memory = memfd_create("floor", MFD_CLOEXEC);
  if (guest->memory < 0) return -1;
  if (ftruncate(guest->memory, static_cast<off_t>(guest->memory_size)) != 0) return -1;
  void* const at =
      mmap(nullptr, guest->memory_size, PROT_READ | PROT_WRITE, MAP_SHARED, guest->memory, 0);
  if (at == MAP_FAILED) return -1;
  const std::span bytes(static_cast<std::byte*>(at), guest->memory_size);
  const auto put = [&](std::uint64_t address, const auto& from) {
    std::memcpy(bytes.data() + (address - map::begin), from.data(), from.size());
  };
  put(x86::tables_page, x86::tables_page_bytes(map::tables));
  put(x86::trap_stub_page, x86::trap_stubs);
  put(map::code, map::leave_for_ever);
  const auto built =
      x86::build_page_tables(bytes.subspan(map::tables - map::begin), map::tables, map::mappings);
  munmap(at, guest->memory_size);
  if (built) return 0;
  errno = EINVAL;
  return -1;
}

/// Enters the guest once and waits until it leaves. Returns 0, or -1 if it left in another way.
inline int floor_run(const floor_machine* machine) {
  if (ioctl(machine->vcpu, virtine::kvm::requests::run.number, 0) != 0) return -1;
  const kvm_run* run = machine->run;
  return run->exit_reason == KVM_EXIT_IO && run->io.port == virtine::x86::done_port ? 0 : -1;
}

inline void floor_destroy(const floor_guest* guest, floor_machine* machine) {
  if (machine->run != nullptr) munmap(machine->run, guest->run_size);
  if (machine->vcpu >= 0) close(machine->vcpu);
  if (machine->vm >= 0) close(machine->vm);
  if (machine->memory != nullptr) munmap(machine->memory, guest->memory_size);
  *machine = floor_machine{};
}

/// Creates a machine that is ready for its first floor_run(). Returns 0, or -1 with errno set; then
/// too it is to be destroyed.
inline int floor_create(const floor_guest* guest, floor_machine* machine) {
  namespace map = floor_map;
  namespace requests = virtine::kvm::requests;
  void* const memory =
      mmap(nullptr, guest->memory_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, guest->memory, 0);
  if (memory == MAP_FAILED) return -1;
  machine->memory = memory;
  machine->vm = ioctl(guest->device, requests::create_vm.number, 0);
  if (machine->vm < 0) return -1;
  const auto address = reinterpret_cast<std::uint64_t>(memory);
  kvm_userspace_memory_region region{};
  region.flags = KVM_MEM_READONLY;
  region.guest_phys_addr = map::begin;
  region.memory_size = guest->shared_size;
  region.userspace_addr = address;
  if (ioctl(machine->vm, requests::set_user_memory_region.number, &region) != 0) return -1;
  region.slot = 1;
  region.flags = 0;
  region.guest_phys_addr += guest->shared_size;
  region.memory_size = guest->memory_size - guest->shared_size;
  region.userspace_addr += guest->shared_size;
  if (ioctl(machine->vm, requests::set_user_memory_region.number, &region) != 0) return -1;
  machine->vcpu = ioctl(machine->vm, requests::create_vcpu.number, 0);
  if (machine->vcpu < 0) return -1;
  void* const run =
      mmap(nullptr, guest->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, machine->vcpu, 0);
  if (run == MAP_FAILED) return -1;
  machine->run = static_cast<kvm_run*>(run);
  if (ioctl(machine->vcpu, requests::set_cpuid2.number, guest->cpuid) != 0) return -1;
  if (guest->xcrs.nr_xcrs != 0 &&
      ioctl(machine->vcpu, requests::set_xcrs.number, &guest->xcrs) != 0) {
    return -1;
  }
  if (ioctl(machine->vcpu, requests::set_sregs.number, &guest->sregs) != 0) return -1;
  return ioctl(machine->vcpu, requests::set_regs.number, &guest->regs);
}

}  // namespace bench
