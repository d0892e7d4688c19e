// Attacks by instruction: what is undefined, what only CPL 0 may do, what a processor may have.
// SPDX-License-Identifier: MIT
#include "hostile.hpp"

using namespace hostile;

namespace {

outcome general_protection(const char* label) {
  return fault(fault_kind::general_protection, label);
}
outcome invalid_opcode(const char* label) {
  return fault(fault_kind::invalid_opcode, label);
}

}  // namespace

TEST_CASE("H10: errors of arithmetic are reported where they are made", "[hostile]") {
  arena a;
  a.expect(fault(fault_kind::divide_error, "divide_by_zero"), "divide_by_zero");
  a.expect(fault(fault_kind::divide_error, "divide_overflow"), "divide_overflow");
  a.expect(fault(fault_kind::floating_point, "x87_error"), "x87_error");
  // One emulator does not raise unmasked SSE exceptions.
  a.expect_one_of({fault(fault_kind::floating_point, "sse_error"), returned(0)}, "sse_error");
  // One emulator does not check alignment.
  a.expect_one_of({fault(fault_kind::alignment, "alignment"), returned(0)}, "alignment");
  a.expect(fault(fault_kind::debug, "trap_flag"), "trap_flag");
}

TEST_CASE("H11: undefined instructions are reported where they are", "[hostile]") {
  arena a;
  for (const char* name :
       {"undefined", "undefined_lock", "undefined_ud1", "undefined_into", "undefined_bound",
        "undefined_lcall", "undefined_push_cs", "undefined_salc", "undefined_rsm"}) {
    a.expect(invalid_opcode(name), name);
  }
  a.expect_one_of({general_protection("too_long"), invalid_opcode("too_long")}, "too_long");
}

TEST_CASE("H12: privileged instructions are faults", "[hostile][long]") {
  arena a;
  for (const char* name :
       {"hlt",       "cli",       "sti",      "clts",     "wbinvd",    "invd",      "write_cr0",
        "read_cr0",  "write_cr3", "read_cr3", "read_cr4", "write_cr4", "write_cr8", "write_dr0",
        "write_dr7", "read_dr7",  "wrmsr",    "rdmsr",    "lgdt",      "lidt",      "lldt",
        "ltr",       "lmsw",      "invlpg",   "swapgs"}) {
    a.expect(general_protection(name), name);
  }
  // MSRs that would matter: EFER, LSTAR, GS base, KVM's clock, x2APIC, TSC deadline.
  for (const word msr : {word{0xc0000080}, word{0xc0000082}, word{0xc0000101}, word{0x4b564d01},
                         word{0x80b}, word{0x6e0}}) {
    a.expect(general_protection("wrmsr"), "wrmsr", 1, 0, msr);
    a.expect(general_protection("rdmsr"), "rdmsr", 0, 0, msr);
  }
  // #UD where the processor, or the mode it is in, does not have them.
  for (const char* name : {"xsetbv", "sysexit", "sysret", "xsaves", "xrstors", "wbnoinvd",
                           "monitor", "mwait", "rdpmc"}) {
    a.expect_one_of({general_protection(name), invalid_opcode(name)}, name);
  }
  // One emulator asks KVM before it looks at the privilege level, and without EPT KVM then drops
  // what it has cached for the guest.
  a.expect_one_of({general_protection("invpcid"), invalid_opcode("invpcid"), returned(0)},
                  "invpcid");
}

TEST_CASE("H13: what only some processors have is harmless, or a fault", "[hostile]") {
  arena a;
  // A processor that does not know an instruction may take it for another, so any end is one that
  // the host must survive; what must not come out is anything but a return or a report.
  for (const char* name :
       {"monitorx",  "mwaitx",      "clac",      "stac",      "encls",      "enclv",
        "enclu",     "getsec",      "pconfig",   "wrmsrns",   "vmcall",     "vmlaunch",
        "vmresume",  "vmxoff",      "vmfunc",    "vmxon",     "vmclear",    "vmptrld",
        "vmread",    "vmwrite",     "invept",    "invvpid",   "vmmcall",    "vmgexit",
        "vmrun",     "vmload",      "vmsave",    "stgi",      "clgi",       "skinit",
        "invlpga",   "invlpgb",     "tlbsync",   "pvalidate", "psmash",     "rmpupdate",
        "rmpadjust", "rdpru",       "mcommit",   "hreset",    "ptwrite",    "rdpid",
        "senduipi",  "clui",        "stui",      "uiret",     "setssbsy",   "saveprevssp",
        "rdsspq",    "incsspq",     "serialize", "xresldtrk", "rdpkru",     "wrpkru",
        "xtest",     "xbegin",      "xabort",    "clzero_it", "wrfsbase",   "wrgsbase",
        "rdfsbase",  "tpause",      "umonitor",  "umwait",    "aesencwide", "loadiwkey",
        "ldtilecfg", "tilerelease", "rdtsc",     "rdtscp",    "xgetbv",     "rdrand",
        "rdseed",    "cpuid",       "sgdt",      "sidt",      "sldt",       "str",
        "smsw",      "lar",         "lsl",       "verr",      "verw",       "clflush",
        "pause"}) {
    INFO(name);
    const auto ended = a.run(name, 0, 0, 0x33);
    if (!ended) {
      const virtine::error& why = ended.error();
      INFO(to_string(why));
      CHECK(why.code == virtine::errc::guest_fault);
      // KVM on Intel writes VMCALL over a VMMCALL, and so shares the guest's rights to its code.
      const bool patched = why.fault.kind == fault_kind::protection &&
                           why.fault.access == access::write &&
                           why.fault.address == address_of(name);
      const bool known = why.fault.kind == fault_kind::invalid_opcode ||
                         why.fault.kind == fault_kind::general_protection || patched;
      CHECK(known);
      REQUIRE(why.fault.symbol != nullptr);
      CHECK(std::string(why.fault.symbol) == name);
    }
    CHECK(a.pool.size() == (ended ? 1 : 0));
    a.expect_good();
  }
}

TEST_CASE("H14: the tables that SGDT and SIDT tell of are the guest's", "[hostile]") {
  arena a;
  // #GP where the processor keeps CPL 3 from asking.
  a.expect_one_of(
      {returned(virtine::x86::gdt_address), fault(fault_kind::general_protection, "tell_gdt")},
      "tell_gdt");
  a.expect_one_of(
      {returned(virtine::x86::idt_address), fault(fault_kind::general_protection, "tell_idt")},
      "tell_idt");
}

TEST_CASE("H15: there is no way to a kernel: SYSCALL, SYSENTER, INT n", "[hostile][long]") {
  arena a;
  const auto ended = a.run("system_call");
  REQUIRE_FALSE(ended);
  CHECK(ended.error().fault.kind == fault_kind::system_call);
  CHECK(ended.error().fault.access == access::none);
  CHECK(ended.error().fault.instruction == address_of("system_call"));
  REQUIRE(ended.error().fault.symbol != nullptr);
  CHECK(ended.error().fault.symbol == std::string("system_call"));
  a.expect_good();
  a.expect_one_of({invalid_opcode("system_enter"), general_protection("system_enter")},
                  "system_enter");
  a.expect(fault(fault_kind::breakpoint, "breakpoint"), "breakpoint");
  // Two bytes long, and the frame has the address behind them.
  a.expect(fault(fault_kind::breakpoint, "breakpoint_long", 1), "breakpoint_long");
  // The frame has the address behind INT1, but for one software KVM on AMD processors; one emulator
  // does not know the instruction.
  a.expect_one_of({fault(fault_kind::debug, "debug_trap", 1),
                   fault(fault_kind::debug, "debug_trap"), invalid_opcode("debug_trap")},
                  "debug_trap");

  const word table = address_of("interrupts");
  for (word n = 0; n < 256; ++n) {
    if (n == 3) continue;
    INFO("int " << n);
    const outcome got = seen(a.run_at(table + 4 * n));
    // One emulator counts the two bytes of the instruction before it raises #GP. One software KVM
    // raises #UD where there is no gate, delivers #OF as its own table has it, and passes over a
    // vector that it keeps for itself.
    const outcome overflow = fault(fault_kind::other, "interrupts", 4 * n + 2);
    arena::check_is_one_of(got, {fault(fault_kind::general_protection, "interrupts", 4 * n),
                                 fault(fault_kind::general_protection, "interrupts", 4 * n + 2),
                                 fault(fault_kind::invalid_opcode, "interrupts", 4 * n),
                                 n == 4    ? overflow
                                 : n == 26 ? returned(0)
                                           : outcome{}});
    CHECK(a.pool.size() == (got.returned ? 1 : 0));
    if (n % 16 == 0) a.expect_good();
  }
  a.expect_good();
}

TEST_CASE("H16: other selectors can be loaded nowhere where they would matter", "[hostile][long]") {
  arena a;
  for (word selector = 0; selector < 0x100; ++selector) {
    INFO("selector " << selector);
    const word index = selector & ~word{7};
    // Null, and code and data of CPL 3. One software KVM has a segment of its own at 0x78, which
    // no code or stack can use.
    const bool ours = selector < 4 || index == 0x28 || index == 0x30;
    const bool loads = ours && (selector & 4) == 0;
    for (const char* name : {"load_ds", "load_es", "load_fs", "load_gs"}) {
      if (loads) {
        a.expect(returned(0), name, selector);
      } else if (index == 0x78) {
        a.expect_one_of({general_protection(name), returned(0)}, name, selector);
      } else if (selector % 16 == 8 || selector < 0x48) {
        a.expect(general_protection(name), name, selector);
      }
    }
    const auto ss = a.run("load_ss", selector);
    CHECK(ss.has_value() == (selector == 0x2b));
  }
  for (const char* name : {"leave_with_ds", "leave_with_fs"}) {
    for (const word selector : std::initializer_list<word>{0x00, 0x03, 0x28, 0x2b, 0x30, 0x33}) {
      a.expect(returned(0), name, selector);
    }
  }
}

TEST_CASE("H17: far transfers lead to no other mode and no other level", "[hostile][long]") {
  arena a;
  const bool quick = !is_emulated();
  for (word selector = 0; selector < (quick ? 0x100 : 0x50); ++selector) {
    if ((selector & 7) != 0 && (selector & 7) != 3) continue;
    if (selector == 0x2b) continue;  // H43
    INFO("selector " << selector);
    for (const char* name : {"far_jump", "far_call", "far_return", "interrupt_return",
                             "leave_by_far_jump", "call_by_far_jump"}) {
      INFO(name);
      const auto ended = a.run(name, selector);
      if ((selector & ~word{7}) == 0x30 && ended) {
        // Code of CPL 3, the same as before: a JMP or CALL may name it with any level.
        CHECK(*ended == (name == std::string("leave_by_far_jump") ? 0 : 0x600d));
      } else if (ended) {
        FAIL_CHECK("this selector must lead nowhere");
      } else if (selector == 0x30 || selector == 0x33) {
        // A hypercall that is denied, or a return to a level that is not below.
        const bool denied = ended.error().code == virtine::errc::hypercall_denied;
        const bool refused = ended.error().code == virtine::errc::guest_fault && selector == 0x30;
        CHECK((denied || refused));
      } else {
        CHECK(ended.error().code == virtine::errc::guest_fault);
        // #NP from the table of one software KVM's own, #UD where its emulator is asked, and a
        // return to CPL 0 reads SS and RSP from beyond the stack's end before it looks further.
        const fault_kind kind = ended.error().fault.kind;
        const bool known = kind == fault_kind::general_protection ||
                           kind == fault_kind::invalid_opcode || kind == fault_kind::other ||
                           kind == fault_kind::protection;
        CHECK(known);
        REQUIRE(ended.error().fault.symbol != nullptr);
        CHECK(std::string(ended.error().fault.symbol) == name);
      }
      a.expect_good();
    }
  }
}

TEST_CASE("H18: flags that a call leaves are not the next call's", "[hostile]") {
  arena a;
  a.expect(returned(0), "flags_done");
  a.expect(returned(0), "ss_done");
  a.expect(returned(0), "no_stack_done");
  a.expect(returned(0), "leave_x87_error");
  a.expect(general_protection("nested_return"), "nested_return");
}

TEST_CASE("H19: a guest changes neither IOPL nor the interrupt flag", "[hostile]") {
  arena a;
  a.expect(returned(0), "iopl");
  a.expect(returned(0x200), "interrupt_flag");
}

// Where CPL 3 has protection keys, although nothing turned them on, they must be wiped too.
TEST_CASE("H20: protection keys that a call leaves are not the next call's", "[hostile]") {
  arena a;
  a.expect_one_of({returned(0), fault(fault_kind::invalid_opcode, "pkru_done", 9)}, "pkru_done");
}

// Data as a code segment. One software KVM follows an IRETQ there, so that the machine's mode would
// be another at the next entry.
TEST_CASE("H43: no code segment but the entry's is left for the next call", "[hostile]") {
  arena a;
  for (const word stack : std::initializer_list<word>{0x2b, 0x33}) {
    const auto ended = a.run("leave_by_interrupt_return", 0x2b, stack);
    if (!ended) CHECK(ended.error().code == virtine::errc::guest_fault);
    a.expect_good();
  }
}

// One software KVM follows an IRETQ there, too, and keeps the segment for the next call.
TEST_CASE("H131: a stack segment that a call has loaded does not fail the next one", "[hostile]") {
  arena a;
  const auto ended = a.run("leave_by_interrupt_return", 0x33, 0x33);
  if (!ended) CHECK(ended.error().code == virtine::errc::guest_fault);
  // The first write to a page is a trap.
  a.expect(returned(0x33), "level_after_write");
}

TEST_CASE("H132: flags that only an IRETQ changes are not the next call's", "[hostile]") {
  arena a;
  for (int round = 0; round < 2; ++round) {
    const auto ended = a.run("leave_with_virtual_flags");
    if (!ended) CHECK(ended.error().code == virtine::errc::guest_fault);
    a.expect(returned(0), "virtual_flags");
  }
}

// The host retries on another machine when the trampoline fails at once; a guest can feign that.
TEST_CASE("H46: a guest that fails in the trampoline's page is to blame itself", "[hostile]") {
  arena a;
  for (const word offset : {word{0xf00}, word{0xff0}}) {
    // The page is filled up with INT3.
    const word at = virtine::x86::trampoline_page + offset;
    const outcome breakpoint{
        .code = virtine::errc::guest_fault, .kind = fault_kind::breakpoint, .instruction = at};
    a.expect(breakpoint, "jump_to", at);
  }
}

TEST_CASE("H48: the trap of a first write does not raise a guest's level", "[hostile]") {
  arena a;
  // The first in each pair makes the trap on a new machine.
  for (int round = 0; round < 2; ++round) {
    a.expect(returned(0x33), "level_after_write");
    a.expect(returned(0x33), "level_after_write");
    a.expect(general_protection("hlt_after_write"), "hlt_after_write");
  }
}
