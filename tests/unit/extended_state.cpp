// Whether the trampoline can wipe the state of processors of several kinds.
// SPDX-License-Identifier: MIT
#include <virtine/machine/extended_state.hpp>

#include <cstring>
#include <string>

#include <virtine/machine/guest_cpu.hpp>

#include "catch.hpp"
#include "processors.hpp"

using namespace virtine;
using namespace virtine::detail;
using processors::processor;

namespace {

// What a software KVM gives guests: the processor as it is.
processor_state all_of(const processor& p) {
  const extended_state state = extended_state::of(processors::table_of(p));
  return {.native = state, .offered = state, .xcr0 = p.components};
}

std::string refusal(const processor_state& state) {
  const auto wipeable = state.check_wipeable();
  if (wipeable) return "";
  CHECK(wipeable.error().code == errc::no_kvm);
  return to_string(wipeable.error());
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("leaf 0DH is understood as the processor means it", "[processor]") {
  for (const processor& p : processors::known) {
    INFO(p.name);
    const extended_state state = extended_state::of(processors::table_of(p));
    CHECK(state.components == p.components);
    CHECK(state.size == p.size);
    // What the parts add up to is what the processor says of all of them.
    if (p.components != 0) CHECK(state.standard_size(p.components) == p.size);
    CHECK(all_of(p).size() == (p.size == 0 ? 576 : p.size));
  }
}

TEST_CASE("the state of all processors that there are is wiped", "[processor]") {
  for (const processor& p : processors::known) {
    INFO(p.name);
    CHECK(refusal(all_of(p)) == "");
    CHECK(all_of(p).size() <= x86::init_state_room);
  }
}

TEST_CASE("a state that ends beyond the room is refused by the name of its part", "[processor]") {
  processor p = processors::known.back();
  const auto with = [&](processors::part extra, std::uint32_t size) {
    p.parts.back() = extra;
    p.components = processors::known.back().components | std::uint64_t{1} << extra.number;
    p.size = size;
    return refusal(all_of(p));
  };
  const auto room = static_cast<std::uint32_t>(x86::init_state_room);
  CHECK(with({19, room - 4096, 4096}, room) == "");
  const std::string apx = with({19, room - 4096 + 1, 4096}, room + 1);
  CHECK(contains(apx, " APX "));
  CHECK(contains(apx, "(0xde01)"));
  CHECK(contains(apx, std::to_string(room)));
  CHECK(contains(with({18, 1 << 20, 2816}, (1 << 20) + 2816), "TILEDATA"));
  CHECK(contains(with({30, 60000, 4096}, 64096), "unknown"));
  // A size that no part explains, and a part whose end does not fit 32 bits.
  CHECK(contains(with({19, 128, 960}, 1 << 20), "unknown"));
  CHECK(contains(with({19, 0xffffffff, 960}, room + 1), " APX "));

  // It is enough that one of the two says so.
  const extended_state small = extended_state::of(processors::table_of(processors::known.back()));
  with({19, room, 4096}, room + 4096);
  const extended_state large = extended_state::of(processors::table_of(p));
  CHECK(contains(refusal({.native = large, .offered = small, .xcr0 = 0xe7}), " APX "));
  CHECK(contains(refusal({.native = small, .offered = large, .xcr0 = 0xe7}), " APX "));
}

TEST_CASE("vector state that FXRSTOR does not know is refused without XSAVE", "[processor]") {
  const extended_state none;
  const extended_state zen = extended_state::of(processors::table_of(processors::known.back()));
  CHECK(refusal({.native = none, .offered = none, .xcr0 = 0}) == "");
  CHECK(refusal({.native = zen, .offered = none, .xcr0 = 3}) == "");
  CHECK(contains(refusal({.native = zen, .offered = none, .xcr0 = 7}), " AVX,"));
  CHECK(contains(refusal({.native = zen, .offered = none, .xcr0 = 0x203}), " PKRU,"));
  CHECK(contains(refusal({.native = zen, .offered = none, .xcr0 = std::uint64_t{1} << 62 | 3}),
                 " LWP,"));
  extended_state half = zen;
  half.components &= ~xcr0_x87;
  CHECK(contains(refusal({.native = zen, .offered = half, .xcr0 = 7}), " AVX,"));
}

TEST_CASE("guests are told and wiped as their processor takes it", "[processor]") {
  for (const processor& p : processors::known) {
    INFO(p.name);
    const bool intel = p.maker == "GenuineIntel";
    const auto cpu = guest_cpu::of(processors::table_of(p), all_of(p), true);
    REQUIRE(cpu);
    const std::uint64_t wanted = p.components & 0xe7;
    CHECK(cpu->xcr0 == wanted);
    CHECK(cpu->features.osxsave == (wanted != 0));
    CHECK(cpu->features.fsgsbase);
    const auto told = guest_cpuid(processors::table_of(p), wanted);
    CHECK(std::memcmp(cpu->cpuid.get(), &told, sizeof told) == 0);
    CHECK(cpu->task_type == (intel ? x86::busy_task : x86::available_task));
    CHECK(cpu->wipe == (wanted == 0                 ? x86::vector_wipe::fxrstor
                        : intel || p.loads_pointers ? x86::vector_wipe::xrstor
                                                    : x86::vector_wipe::fninit_xrstor));
  }
  CHECK_FALSE(guest_cpu::of(processors::table_of(processors::known[1]),
                            {.native = {}, .offered = {}, .xcr0 = 7}, true));
  kvm::cpuid_table without = processors::table_of(processors::known[1]);
  without.find(7)->ebx = 0;
  const processor_state state = all_of(processors::known[1]);
  CHECK_FALSE(guest_cpu::of(without, state, true)->features.fsgsbase);
  CHECK(guest_cpu::of(without, state, true)->wrfsbase);
  CHECK_FALSE(guest_cpu::of(without, state, false)->wrfsbase);
}

TEST_CASE("guests whose XCR0 cannot be set have no XSAVE", "[processor]") {
  const kvm::cpuid_table table = processors::table_of(processors::known.back());
  const extended_state native = extended_state::of(table);
  const auto cpu = guest_cpu::of(table, {.native = native, .offered = {}, .xcr0 = 3}, true);
  REQUIRE(cpu);
  CHECK(cpu->xcr0 == 0);
  CHECK_FALSE(cpu->features.osxsave);
  CHECK(cpu->wipe == x86::vector_wipe::fxrstor);
  CHECK(cpu->cpuid->find(0xd) == nullptr);
  CHECK((cpu->cpuid->find(1)->ecx & 3U << 26) == 0);
}

TEST_CASE("this processor is asked as a table is", "[processor]") {
  const extended_state native = extended_state::native();
  const std::uint64_t xcr0 = x86::native_xcr0();
  CHECK((xcr0 & ~native.components) == 0);
  if (xcr0 == 0) {
    CHECK(native.components == 0);
    return;
  }
  CHECK((xcr0 & 3) == 3);
  // EBX is for what is turned on, ECX for all that could be; there a hypervisor that hides
  // components may leave their size in.
  CHECK(native.standard_size(xcr0) == x86::native_cpuid(0xd, 0).ebx);
  CHECK(native.standard_size(native.components) <= native.size);
}
