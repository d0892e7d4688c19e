// KVM as the library finds it: the device, its capabilities, what guests get of the processor, and
// whether guests of both kinds run and can be stopped.
// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <span>
#include <string>
#include <variant>

#include <guests/square.hpp>
#include <virtine/bare_machine.hpp>
#include <virtine/kvm/capability.hpp>
#include <virtine/kvm/system.hpp>
#include <virtine/machine/guest_cpu.hpp>
#include <virtine/os/fd.hpp>
#include <virtine/virtine.hpp>

#include "processor.hpp"
#include "report.hpp"

namespace doctor {

inline std::string group_name(gid_t id) {
  // Sound: one thread, and the result is copied before another call.
  const group* found = getgrgid(id);
  return found != nullptr ? found->gr_name : "no name here";
}

inline void examine_device(report& out, const char* path) {
  out.begin("device");
  out.add("path", path);
  struct stat about {};
  if (stat(path, &about) != 0) {
    out.add("exists", false, std::strerror(errno));
    return;
  }
  out.add("exists", true);
  out.add("character_device", S_ISCHR(about.st_mode));
  char mode[8];
  std::snprintf(mode, sizeof mode, "%04o", unsigned{about.st_mode} & 07777);
  out.add("rights", mode);
  out.add("owner", std::uint64_t{about.st_uid});
  out.add("group", std::uint64_t{about.st_gid}, group_name(about.st_gid));
  // Tried, not asked: a container's device policy shows in no right.
  const virtine::os::fd opened{::open(path, O_RDWR | O_CLOEXEC)};
  out.add("can_be_opened", bool{opened}, opened ? "" : std::strerror(errno));
}

// Opens the device past the library's own checks, to list all that is missing and not only the
// first.
inline void examine_capabilities(report& out, const char* path) {
  using namespace virtine::kvm;
  out.begin("capabilities");
  const virtine::os::fd device{::open(path, O_RDWR | O_CLOEXEC)};
  auto version = call(device.get(), requests::get_api_version);
  out.add("api_version", version ? value(static_cast<std::uint64_t>(*version)) : value("unknown"));
  if (!version) return;
  for (const capability_use& use : capability_uses) {
    auto got = call(device.get(), requests::check_extension, static_cast<unsigned long>(use.id));
    const bool met = got && use.met_by(*got);
    out.add(use.name, std::uint64_t{got ? static_cast<unsigned>(*got) : 0},
            (met            ? ""
             : use.required ? "MISSING, and required: "
                            : "missing, and done without: ") +
                std::string(use.purpose));
  }
}

inline void examine_guest_cpu(report& out, const virtine::kvm::system& system) {
  out.begin("guests");
  for (const auto& [leaf, subleaf] : {std::pair{0xdu, 0u}, {0xdu, 1u}, {7u, 0u}, {1u, 0u}}) {
    const auto* entry = system.supported_cpuid().find(leaf, subleaf);
    if (entry == nullptr) continue;
    out.add("kvm_leaf_" + hex(leaf).substr(2) + '_' + std::to_string(subleaf),
            hex(cpuid_answer{entry->eax, entry->ebx, entry->ecx, entry->edx}));
  }
  const auto found = virtine::detail::guest_cpu::of(system);
  out.add("state_can_be_wiped", bool{found}, found ? "" : virtine::to_string(found.error()));
  if (!found) return;
  const virtine::detail::guest_cpu& cpu = *found;
  out.add("xcr0", hex(cpu.xcr0), cpu.xcr0 == 0 ? "SSE, without XSAVE" : components(cpu.xcr0));
  out.add("wiped_by", cpu.features.osxsave ? "XRSTOR" : "FXRSTOR");
  out.add("fsgsbase", cpu.features.fsgsbase);
  out.add("wrfsbase", cpu.wrfsbase);
  out.add("task_state", cpu.task_type == virtine::x86::busy_task ? "busy" : "available");
}

/// Runs, resets and runs again a bare guest that counts in memory. Returns what was wrong.
inline virtine::result<std::string> try_bare_machine() {
  using virtine::guest_address;
  constexpr guest_address count{0x2000};
  // inc dword [0x2000]; hlt
  constexpr std::array<std::uint8_t, 8> code{0xff, 0x04, 0x25, 0x00, 0x20, 0x00, 0x00, 0xf4};
  auto machine = virtine::bare_machine::create({.memory = 0x10000});
  if (!machine) return machine.error();
  const guest_address start{virtine::bare_machine::load_address};
  if (auto loaded = (*machine)->load(start, std::as_bytes(std::span(code))); !loaded) {
    return loaded.error();
  }
  for (int round = 0; round < 2; ++round) {
    kvm_regs registers{};
    registers.rip = virtine::to_number(start);
    registers.rflags = virtine::x86::initial_rflags;
    if (auto set = (*machine)->set_registers(registers); !set) return set.error();
    auto exit = (*machine)->run();
    if (!exit) return exit.error();
    if (!std::holds_alternative<virtine::kvm::hlt_exit>(*exit)) {
      return std::string("WRONG EXIT: ") + virtine::kvm::name(*exit);
    }
    auto counted = (*machine)->memory().read<std::uint32_t>(count);
    if (!counted) return counted.error();
    if (*counted != 1) return "WRONG RESULT: " + std::to_string(*counted);
    if (auto reset = (*machine)->reset(); !reset) return reset.error();
  }
  return std::string();
}

/// Runs a bare guest that never ends, until its deadline. Returns what was wrong.
inline virtine::result<std::string> try_deadline() {
  // jmp $
  constexpr std::array<std::uint8_t, 2> code{0xeb, 0xfe};
  auto machine = virtine::bare_machine::create({.memory = 0x10000});
  if (!machine) return machine.error();
  const virtine::guest_address start{virtine::bare_machine::load_address};
  if (auto loaded = (*machine)->load(start, std::as_bytes(std::span(code))); !loaded) {
    return loaded.error();
  }
  kvm_regs registers{};
  registers.rip = virtine::to_number(start);
  // With interrupts on, without which one emulator of processors never stops it.
  registers.rflags = virtine::x86::initial_rflags | 0x200;
  if (auto set = (*machine)->set_registers(registers); !set) return set.error();
  const auto exit = (*machine)->run(std::chrono::milliseconds(20));
  if (exit) return std::string("WRONG EXIT: ") + virtine::kvm::name(*exit);
  if (exit.error().code != virtine::errc::timed_out) return exit.error();
  return std::string();
}

inline bool add_outcome(report& out, const char* what, const virtine::result<std::string>& wrong) {
  const bool works = wrong && wrong->empty();
  out.add(what, works ? "works" : wrong ? *wrong : virtine::to_string(wrong.error()));
  return works;
}

/// Returns whether everything works.
inline bool test_guests(report& out, const virtine::result<virtine::kvm::system>& system) {
  out.begin("self_test");
  if (!system) {
    out.add("opening_kvm", virtine::to_string(system.error()));
    return false;
  }
  out.add("opening_kvm", "works");
  virtine::virtine_fn<int(int), guests::square> square;
  virtine::result<std::string> called = std::string();
  if (const auto got = square.try_call(12); !got) {
    called = got.error();
  } else if (*got != 144) {
    called = "WRONG RESULT: " + std::to_string(*got);
  }
  bool works = add_outcome(out, "compiled_function", called);
  if (!system->has(virtine::kvm::capability::x86_msr_filter)) {
    out.add("bare_machine", "not tried, because it needs KVM_CAP_X86_MSR_FILTER");
    return works;
  }
  works = add_outcome(out, "bare_machine", try_bare_machine()) && works;
  return add_outcome(out, "deadline", try_deadline()) && works;
}

}  // namespace doctor
