// The kernel's structures and numbers as we declare them, and the decoding of exits.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <array>
#include <cstring>
#include <string>
#include <variant>

#include <virtine/kvm/exit.hpp>
#include <virtine/kvm/uapi.hpp>
#include <virtine/kvm/vcpu.hpp>

using namespace virtine;
using namespace virtine::detail;

namespace {

constexpr std::size_t page = 4096;

// A kvm_run with the pages that follow it, as a vCPU maps them.
struct run_pages {
  alignas(page) std::array<std::byte, 3 * page> bytes{};
  kvm_run& run() {
    // Sound: the array is aligned and larger than a kvm_run, which is trivial.
    return *reinterpret_cast<kvm_run*>(bytes.data());
  }
  kvm::exit decoded() { return kvm::decode(run(), bytes.size()); }
};

template <class Exit>
Exit expect(const kvm::exit& why) {
  INFO(kvm::name(why));
  REQUIRE(std::holds_alternative<Exit>(why));
  CHECK(kvm::name(why) == std::string(Exit::name));
  return std::get<Exit>(why);
}

}  // namespace

TEST_CASE("ioctl numbers are the kernel's", "[kvm]") {
  using namespace kvm::requests;
  // Those whose argument has no flexible array can be compared with the header's own macros.
  CHECK(get_api_version.number == KVM_GET_API_VERSION);
  CHECK(create_vm.number == KVM_CREATE_VM);
  CHECK(check_extension.number == KVM_CHECK_EXTENSION);
  CHECK(get_vcpu_mmap_size.number == KVM_GET_VCPU_MMAP_SIZE);
  CHECK(create_vcpu.number == KVM_CREATE_VCPU);
  CHECK(set_user_memory_region.number == KVM_SET_USER_MEMORY_REGION);
  CHECK(set_tss_addr.number == KVM_SET_TSS_ADDR);
  CHECK(run.number == KVM_RUN);
  CHECK(get_regs.number == KVM_GET_REGS);
  CHECK(set_regs.number == KVM_SET_REGS);
  CHECK(get_sregs.number == KVM_GET_SREGS);
  CHECK(set_sregs.number == KVM_SET_SREGS);
  CHECK(get_mp_state.number == KVM_GET_MP_STATE);
  CHECK(set_mp_state.number == KVM_SET_MP_STATE);
  CHECK(get_vcpu_events.number == KVM_GET_VCPU_EVENTS);
  CHECK(set_vcpu_events.number == KVM_SET_VCPU_EVENTS);
  CHECK(get_debugregs.number == KVM_GET_DEBUGREGS);
  CHECK(set_debugregs.number == KVM_SET_DEBUGREGS);
  CHECK(enable_cap.number == KVM_ENABLE_CAP);
  CHECK(get_xcrs.number == KVM_GET_XCRS);
  CHECK(set_xcrs.number == KVM_SET_XCRS);
  CHECK(x86_set_msr_filter.number == KVM_X86_SET_MSR_FILTER);

  CHECK(get_supported_cpuid.number == 0xc008ae05);
  CHECK(set_cpuid2.number == 0x4008ae90);
  CHECK(get_msrs<1>.number == 0xc008ae88);
  CHECK(get_msrs<7>.number == 0xc008ae88);
  CHECK(set_msrs<7>.number == 0x4008ae89);
  CHECK(get_xsave.number == 0x9000aea4);
  CHECK(set_xsave.number == 0x5000aea5);
}

TEST_CASE("tables lie in memory as the kernel reads them", "[kvm]") {
  kvm::cpuid_table table;
  table.nent = 2;
  table.entries[1].function = 0x80000001;
  std::array<std::uint32_t, 3 + 10> words{};
  std::memcpy(words.data(), &table, sizeof words);
  CHECK(words[0] == 2);
  CHECK(words[2 + 10] == 0x80000001);

  kvm::msr_entries<2> msrs;
  CHECK(msrs.nmsrs == 2);
  msrs.entries[1] = {.index = 0x10, .reserved = 0, .data = 5};
  std::array<std::uint64_t, 5> quads{};
  static_assert(sizeof quads == sizeof msrs);
  std::memcpy(quads.data(), &msrs, sizeof quads);
  CHECK(quads[0] == 2);
  CHECK(quads[3] == 0x10);
  CHECK(quads[4] == 5);
}

TEST_CASE("CPUID entries are found by function and, where it counts, index", "[kvm]") {
  kvm::cpuid_table table;
  table.nent = 4;
  table.entries[0].function = 1;
  table.entries[1].function = 7;
  table.entries[1].flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
  table.entries[2].function = 7;
  table.entries[2].index = 1;
  table.entries[2].flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
  table.entries[3].function = 0xd;
  table.entries[4].function = 0x80000000;  // Beyond nent.

  CHECK(table.find(1) == &table.entries[0]);
  CHECK(table.find(1, 9) == &table.entries[0]);
  CHECK(table.find(7) == &table.entries[1]);
  CHECK(table.find(7, 1) == &table.entries[2]);
  CHECK(table.find(7, 2) == nullptr);
  CHECK(table.find(0x80000000) == nullptr);
  table.nent = 0xffffffff;
  CHECK(table.find(0x12345678) == nullptr);
}

TEST_CASE("a CPUID table tells whether it offers AMX tile data", "[kvm]") {
  kvm::cpuid_table table;
  CHECK_FALSE(table.offers_tile_data());
  table.nent = 1;
  table.entries[0].function = 0xd;
  table.entries[0].eax = 0x602e7;
  CHECK(table.offers_tile_data());
  table.entries[0].eax = 0x2e7;
  CHECK_FALSE(table.offers_tile_data());
}

TEST_CASE("an I/O exit gives the port and its data", "[kvm]") {
  run_pages pages;
  auto& run = pages.run();
  run.exit_reason = KVM_EXIT_IO;
  run.io.direction = KVM_EXIT_IO_OUT;
  run.io.size = 2;
  run.io.port = 0xfa;
  run.io.count = 3;
  run.io.data_offset = page;
  pages.bytes[page + 5] = std::byte{0x5a};
  const auto exit = pages.decoded();
  const auto io = expect<kvm::io_exit>(exit);
  CHECK(io.direction == kvm::io_direction::out);
  CHECK(io.size == 2);
  CHECK(io.port == 0xfa);
  CHECK(io.count == 3);
  CHECK(io.data.data() == pages.bytes.data() + page);
  CHECK(io.data.size() == 6);
  CHECK(io.data[5] == std::byte{0x5a});
  CHECK(kvm::detail_of(exit) == 0xfa);

  run.io.direction = KVM_EXIT_IO_IN;
  CHECK(expect<kvm::io_exit>(pages.decoded()).direction == kvm::io_direction::in);
}

TEST_CASE("I/O data must lie in the mapping", "[kvm]") {
  run_pages pages;
  auto& run = pages.run();
  run.exit_reason = KVM_EXIT_IO;
  run.io.direction = KVM_EXIT_IO_OUT;
  run.io.size = 4;
  run.io.count = 1;
  run.io.data_offset = 3 * page - 4;
  CHECK(expect<kvm::io_exit>(pages.decoded()).data.size() == 4);

  SECTION("one byte too far") {
    run.io.data_offset = 3 * page - 3;
  }
  SECTION("an offset that wraps") {
    run.io.data_offset = ~std::uint64_t{0} - 1;
  }
  SECTION("a length beyond the mapping") {
    run.io.data_offset = 0;
    run.io.size = 255;
    run.io.count = 0xffffffff;
  }
  SECTION("no such direction") {
    run.io.direction = 2;
  }
  const auto exit = pages.decoded();
  CHECK(expect<kvm::unknown_exit>(exit).reason == KVM_EXIT_IO);
  CHECK(kvm::detail_of(exit) == KVM_EXIT_IO);
}

TEST_CASE("an MMIO exit gives the address and its data", "[kvm]") {
  run_pages pages;
  auto& run = pages.run();
  run.exit_reason = KVM_EXIT_MMIO;
  run.mmio.phys_addr = 0x1234567890;
  run.mmio.len = 4;
  run.mmio.is_write = 1;
  run.mmio.data[3] = 9;
  const auto exit = pages.decoded();
  const auto mmio = expect<kvm::mmio_exit>(exit);
  CHECK(mmio.address == 0x1234567890);
  CHECK(mmio.is_write);
  CHECK(mmio.data.size() == 4);
  CHECK(mmio.data[3] == std::byte{9});
  CHECK(kvm::detail_of(exit) == 0x1234567890);

  run.mmio.is_write = 0;
  CHECK_FALSE(expect<kvm::mmio_exit>(pages.decoded()).is_write);
  run.mmio.len = 9;
  CHECK(expect<kvm::unknown_exit>(pages.decoded()).reason == KVM_EXIT_MMIO);
}

TEST_CASE("the other exits decode to their own types", "[kvm]") {
  run_pages pages;
  auto& run = pages.run();

  run.exit_reason = KVM_EXIT_HLT;
  expect<kvm::hlt_exit>(pages.decoded());
  run.exit_reason = KVM_EXIT_SHUTDOWN;
  expect<kvm::shutdown_exit>(pages.decoded());
  run.exit_reason = KVM_EXIT_INTR;
  expect<kvm::interrupted_exit>(pages.decoded());
  CHECK(kvm::detail_of(pages.decoded()) == 0);

  run.exit_reason = KVM_EXIT_FAIL_ENTRY;
  run.fail_entry.hardware_entry_failure_reason = 0x80000021;
  CHECK(expect<kvm::fail_entry_exit>(pages.decoded()).reason == 0x80000021);
  CHECK(kvm::detail_of(pages.decoded()) == 0x80000021);

  run.exit_reason = KVM_EXIT_INTERNAL_ERROR;
  run.internal.suberror = KVM_INTERNAL_ERROR_EMULATION;
  CHECK(expect<kvm::internal_error_exit>(pages.decoded()).suberror == KVM_INTERNAL_ERROR_EMULATION);

  for (const std::uint32_t reason : {0U, 1U, 38U, 999U, 0xffffffffU}) {
    run.exit_reason = reason;
    CHECK(expect<kvm::unknown_exit>(pages.decoded()).reason == reason);
  }
}

TEST_CASE("the synced state lies in the vCPU's mapping", "[kvm]") {
  auto memory = os::mapping::anonymous(3 * page).value();
  const auto* const start = memory.bytes().data();
  kvm::vcpu cpu(os::fd{}, std::move(memory));
  const auto offset_of = [start](const void* part) {
    return static_cast<const std::byte*>(part) - start;
  };
  CHECK(offset_of(&cpu.state()) == 0);
  CHECK(offset_of(&cpu.synced_regs()) == offsetof(kvm_run, s));
  CHECK(offset_of(&cpu.synced_sregs()) == offsetof(kvm_run, s) + sizeof(kvm_regs));

  cpu.set_valid(KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS);
  CHECK(cpu.state().kvm_valid_regs == 3);
  cpu.mark_dirty(KVM_SYNC_X86_REGS);
  cpu.mark_dirty(KVM_SYNC_X86_SREGS);
  CHECK(cpu.state().kvm_dirty_regs == 3);
  cpu.request_immediate_exit(true);
  CHECK(cpu.state().immediate_exit == 1);
  cpu.request_immediate_exit(false);
  CHECK(cpu.state().immediate_exit == 0);
}
