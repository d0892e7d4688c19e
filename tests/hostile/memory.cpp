// Attacks on memory: what is unmapped, read-only, not executable or the processor's own.
// SPDX-License-Identifier: MIT
#include "hostile.hpp"

using namespace hostile;

namespace {

// Writes that also read (`add [m], 1`) are reported as reads where the emulation reads first.
void expect_no_access(arena& a, fault_kind kind, word address) {
  a.expect(page_fault(kind, access::read, address, "read"), "read", address);
  a.expect(page_fault(kind, access::write, address, "write"), "write", address, 1);
  a.expect_one_of({page_fault(kind, access::write, address, "add_to"),
                   page_fault(kind, access::read, address, "add_to")},
                  "add_to", address);
}

// Memory that may be read but not written.
void expect_read_only(arena& a, word address) {
  const auto before = a.run("read", address);
  REQUIRE(before);
  a.expect(page_fault(fault_kind::protection, access::write, address, "write"), "write", address,
           0x90909090);
  a.expect(page_fault(fault_kind::protection, access::write, address, "add_to"), "add_to", address);
  const auto after = a.run("read", address);
  REQUIRE(after);
  CHECK(*after == *before);
}

}  // namespace

TEST_CASE("H1: the first 64 KiB cannot be read, written or called", "[hostile][long]") {
  arena a;
  for (const word address : {word{0}, word{8}, word{0xfff}, word{0x1000}, word{0xfff8}}) {
    expect_no_access(a, fault_kind::null_access, address);
  }
  a.expect(fetch_fault(fault_kind::null_access, 0), "call_it", 0);
  a.expect(fetch_fault(fault_kind::null_access, 0x123), "jump_to", 0x123);
  a.expect(fetch_fault(fault_kind::null_access, 0), "return_to", 0);
}

TEST_CASE("H2: there is no memory but the image's, the arguments and the stack", "[hostile]") {
  arena a;
  // Above the page tables, where other systems have programs, and the last byte of the lower half.
  for (const word address :
       {where.end, word{0x400000}, word{1} << 32, word{0x7ffff7ff0000}, word{0x7ffffffffff0}}) {
    expect_no_access(a, fault_kind::unmapped_access, address);
    a.expect(fetch_fault(fault_kind::unmapped_access, address), "call_it", address);
  }
}

TEST_CASE("H3: code, constants and the trampoline cannot be changed", "[hostile]") {
  arena a;
  for (const word address :
       {code, address_of("good"), constants, constants + 0xff8, word{virtine::x86::trampoline_page},
        word{virtine::x86::trampoline_page + virtine::x86::init_state_offset},
        word{virtine::x86::trampoline_page + virtine::x86::page_size}, word{0x18008},
        word{virtine::x86::image_base - 8}}) {
    expect_read_only(a, address);
  }
  // The rest of what the trampoline restores from: nothing but zeros, for all to read.
  for (word address = virtine::x86::trampoline_page + virtine::x86::page_size;
       address < virtine::x86::image_base; address += 0xff8) {
    a.expect(returned(0), "read", address);
  }
}

TEST_CASE("H4: what can be written cannot be executed, and constants neither", "[hostile]") {
  arena a;
  for (const word address :
       {code_in_data, zeros, where.arguments, where.stack, where.stack_top() - 64, constants,
        word{virtine::x86::trampoline_page + virtine::x86::page_size},
        word{virtine::x86::image_base - 16}}) {
    a.expect(fetch_fault(fault_kind::execute_data, address), "call_it", address);
    a.expect(fetch_fault(fault_kind::execute_data, address), "jump_to", address);
    a.expect(fetch_fault(fault_kind::execute_data, address), "return_to", address);
  }
}

TEST_CASE("H5: a stack that grows too far meets the guard", "[hostile]") {
  arena a;
  const outcome recursion = seen(a.run("recurse"));
  CHECK(recursion ==
        page_fault(fault_kind::stack_overflow, access::write, where.stack - 8, "recurse"));
  a.expect_good();

  const word top = where.stack_top() - 8;  // The return address is above.
  for (const word depth : {top - where.stack + 8, top - where.stack + 4096, top - where.guard}) {
    a.expect(page_fault(fault_kind::stack_overflow, access::write, top - depth, "huge_frame"),
             "huge_frame", depth);
  }
  a.expect(page_fault(fault_kind::stack_overflow, access::read, where.guard, "read"), "read",
           where.guard);
  a.expect(fetch_fault(fault_kind::stack_overflow, where.stack - 1), "call_it", where.stack - 1);
  // A frame that jumps over all of the guard stays in the machine's own memory.
  a.expect(returned(0), "huge_frame", top - where.guard + 4096);
}

TEST_CASE("H6: descriptor tables, trap stubs, trap stack and page tables are out of reach",
          "[hostile][long]") {
  arena a;
  for (const word address :
       {virtine::x86::gdt_address, virtine::x86::tss_address + 0x66, virtine::x86::idt_address,
        virtine::x86::trap_stub_page, where.trap_stack, where.trap_stack_top() - 8}) {
    expect_no_access(a, fault_kind::protection, address);
    a.expect(fetch_fault(fault_kind::execute_data, address), "jump_to", address);
  }
  for (word address = where.tables; address < where.end; address += 4096) {
    expect_no_access(a, fault_kind::unmapped_access, address);
  }
}

TEST_CASE("H7: addresses that are not canonical, or the kernel's half, are faults",
          "[hostile][long]") {
  arena a;
  for (const word address : {word{1} << 47, word{0x8000} << 32, word{0x1234567890abcdef}}) {
    a.expect(fault(fault_kind::general_protection, "read"), "read", address);
    a.expect(fault(fault_kind::general_protection, "write"), "write", address);
    // Intel checks a target in the instruction that jumps, AMD in the fetch that follows.
    const outcome at_target{.code = virtine::errc::guest_fault,
                            .kind = fault_kind::general_protection,
                            .instruction = address};
    for (const char* jump : {"call_it", "jump_to", "return_to"}) {
      a.expect_one_of({fault(fault_kind::general_protection, jump), at_target}, jump, address);
    }
    // One emulation raises #GP here instead of #SS.
    a.expect_one_of({fault(fault_kind::stack_segment, "push_at"),
                     fault(fault_kind::general_protection, "push_at")},
                    "push_at", address + 64);
    a.expect_one_of({fault(fault_kind::stack_segment, "write_through_rbp"),
                     fault(fault_kind::general_protection, "write_through_rbp")},
                    "write_through_rbp", address);
  }
  // Where kernels keep their direct map, their text and the page of old time calls.
  for (const word address : {word{0xffff888000000000}, word{0xffffffff81000000},
                             word{0xffffffffff600000}, ~word{0} - 7}) {
    expect_no_access(a, fault_kind::unmapped_access, address);
    a.expect(fetch_fault(fault_kind::unmapped_access, address), "call_it", address);
  }
}

TEST_CASE("H8: writes to all memory there is are gone with the call", "[hostile]") {
  arena a;
  const word pattern = 0xa5a5a5a5a5a5a5a5;
  const auto write_all = [&](const char* name, word begin, word end, bool returns) {
    INFO(name << ' ' << begin << ' ' << end);
    const outcome ended = seen(a.run(name, begin, pattern, end));
    CHECK(ended ==
          (returns ? returned(pattern) : fault(fault_kind::invalid_opcode, "write_pages")));
    CHECK(a.pool.size() == (returns ? 1 : 0));
    a.expect_good();
  };
  // The first page of the arguments holds the result, which reads as the pattern then.
  for (int round = 0; round < 3; ++round) {
    write_all("write_pages", data, where.guard, false);
    write_all("write_pages", where.stack, where.stack_top(), false);
    write_all("write_pages_and_return", data, where.guard, true);
  }
  const auto spoilt = a.run("spoil", 0, pattern);
  REQUIRE(spoilt);
  CHECK(a.pool.size() == 1);
  a.expect_good();
}

TEST_CASE("H9: a guest does not see what another machine of its image writes", "[hostile]") {
  arena first;
  arena second;
  for (int round = 0; round < 3; ++round) {
    REQUIRE(first.run("spoil", 0, 0x5a5a5a5a));
    second.expect_good();
    REQUIRE(second.run("write_pages_and_return", data, 1, where.guard));
    first.expect_good();
  }
}

TEST_CASE("H45: a call does not find the arguments of another", "[hostile]") {
  arena a;
  virtine::virtine_fn<void(std::span<word>, std::span<word>, word), image::spans> spans(a.pool);
  // Three pages and the beginning of a fourth.
  std::vector<word> secret(3 * 512 + 9, 0x5ec4e7);
  for (int round = 0; round < 2; ++round) {
    REQUIRE(spans.try_call(secret, std::span(secret).first(1), 0));
    CHECK(a.pool.size() == 1);
    for (word at = where.arguments + 4096; at < where.arguments + 5 * 4096; at += 1016) {
      INFO(at - where.arguments);
      const auto found = a.run("read", at);
      REQUIRE(found);
      CHECK(*found == 0);
    }
    a.expect_good();
  }
}
