// Traps made by hand: what each of them is called, where it was, and which of them is none.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <virtine/machine/fault_report.hpp>

using namespace virtine;
using namespace virtine::detail;

namespace {

using vector = x86::exception_vector;

constexpr std::uint64_t page = x86::page_size;
constexpr std::uint64_t code = x86::image_base;
constexpr std::uint64_t data = x86::image_base + page;
constexpr std::uint32_t present = x86::page_fault_present;
constexpr std::uint32_t to_write = x86::page_fault_write;
constexpr std::uint32_t user = x86::page_fault_user;
constexpr std::uint32_t fetch = x86::page_fault_fetch;

constexpr std::array segments{
    segment{.address = code, .memory_size = page, .content = {}, .executable = true},
    segment{.address = data, .memory_size = page, .content = {}, .writable = true},
};
constexpr std::array symbols{symbol{.address = code + 0x10, .size = 0x20, .name = "main"}};

constexpr std::array lines{source_line{.address = code + 0x10, .file = "main.cpp", .line = 5},
                           source_line{.address = code + 0x20}};

constexpr image_description image = [] {
  image_description made;
  made.lines = lines;
  made.segments = segments;
  made.symbols = symbols;
  made.arguments_size = page;
  made.stack_size = 2 * page;
  return made;
}();
constexpr layout where = layout_of(image);

class stopped_guest {
 public:
  stopped_guest() : bytes_(where.user_end - code) {}

  void put_syscall(std::uint64_t at) {
    bytes_[at - code] = std::byte{0x0f};
    bytes_[at - code + 1] = std::byte{0x05};
  }
  fault report(const trap& t) {
    const error why = virtine::detail::report(t, image, where, {guest_address{code}, bytes_});
    CHECK(why.code == errc::guest_fault);
    return why.fault;
  }

 private:
  std::vector<std::byte> bytes_;
};

trap trap_of(std::uint8_t number, std::uint64_t rip = code + 0x18, std::uint64_t error_code = 0) {
  trap made;
  made.vector = number;
  made.frame.rip = rip;
  made.frame.error_code = error_code;
  made.frame.cs = x86::user_code_selector;
  made.frame.ss = x86::user_data_selector;
  return made;
}

trap page_fault(std::uint64_t address, std::uint64_t error_code, std::uint64_t rip = code + 0x18) {
  trap made = trap_of(vector::page_fault, rip, error_code);
  made.cr2 = address;
  return made;
}

}  // namespace

TEST_CASE("every exception has its kind", "[fault_report]") {
  struct row {
    std::uint8_t number;
    fault_kind kind;
  };
  const auto expected = GENERATE(
      row{vector::divide_error, fault_kind::divide_error}, row{vector::debug, fault_kind::debug},
      row{vector::invalid_opcode, fault_kind::invalid_opcode},
      row{vector::stack_segment, fault_kind::stack_segment},
      row{vector::general_protection, fault_kind::general_protection},
      row{vector::alignment_check, fault_kind::alignment},
      row{vector::x87_floating_point, fault_kind::floating_point},
      row{vector::simd_floating_point, fault_kind::floating_point},
      row{vector::nmi, fault_kind::other}, row{vector::overflow, fault_kind::other},
      row{vector::bound_range, fault_kind::other},
      row{vector::device_not_available, fault_kind::other},
      row{vector::double_fault, fault_kind::other}, row{vector::invalid_tss, fault_kind::other},
      row{vector::segment_not_present, fault_kind::other},
      row{vector::machine_check, fault_kind::other}, row{31, fault_kind::other});
  stopped_guest guest;
  const fault found = guest.report(trap_of(expected.number, code + 0x18, 0x402));
  INFO(int{expected.number});
  CHECK(found.kind == expected.kind);
  CHECK(found.vector == expected.number);
  CHECK(found.error_code == 0x402);
  CHECK(found.instruction == code + 0x18);
  CHECK(found.access == access::none);
  CHECK(found.address == 0);
  CHECK(found.symbol == std::string("main"));
  CHECK(found.offset == 8);
}

TEST_CASE("a fault is in a source line if the image knows it", "[fault_report]") {
  stopped_guest guest;
  const fault known = guest.report(trap_of(vector::divide_error));
  CHECK(known.file == std::string("main.cpp"));
  CHECK(known.line == 5);
  const fault unknown = guest.report(trap_of(vector::divide_error, code + 0x28));
  CHECK(unknown.symbol == std::string("main"));
  CHECK(unknown.file == nullptr);
}

TEST_CASE("a breakpoint is where the INT3 is, not after it", "[fault_report]") {
  stopped_guest guest;
  const fault found = guest.report(trap_of(vector::breakpoint, code + 0x11));
  CHECK(found.kind == fault_kind::breakpoint);
  CHECK(found.instruction == code + 0x10);
  CHECK(found.symbol == std::string("main"));
  CHECK(found.offset == 0);
}

TEST_CASE("a fault outside all functions has no symbol", "[fault_report]") {
  stopped_guest guest;
  for (std::uint64_t rip : {std::uint64_t{0}, code, code + 0xf, code + 0x30, UINT64_MAX}) {
    const fault found = guest.report(trap_of(vector::divide_error, rip));
    CHECK(found.symbol == nullptr);
    CHECK(found.offset == 0);
    CHECK(found.instruction == rip);
  }
}

TEST_CASE("a page fault is told by what was there", "[fault_report]") {
  struct row {
    std::uint64_t address;
    std::uint32_t error_code;
    fault_kind kind;
    virtine::access how;
  };
  const auto expected = GENERATE(
      row{0, user, fault_kind::null_access, access::read},
      row{8, user | to_write, fault_kind::null_access, access::write},
      row{0xffff, user, fault_kind::null_access, access::read},
      row{0x123, user | fetch, fault_kind::null_access, access::execute},
      row{where.stack - 1, user | to_write, fault_kind::stack_overflow, access::write},
      row{where.stack - 8, user, fault_kind::stack_overflow, access::read},
      row{where.guard, user | to_write, fault_kind::stack_overflow, access::write},
      row{where.end, user, fault_kind::unmapped_access, access::read},
      row{where.tables, user | to_write, fault_kind::unmapped_access, access::write},
      row{x86::trampoline_page + page, user, fault_kind::unmapped_access, access::read},
      row{UINT64_MAX, user | fetch, fault_kind::unmapped_access, access::execute},
      row{code, user | present | to_write, fault_kind::protection, access::write},
      row{x86::tables_page, user | present, fault_kind::protection, access::read},
      row{where.trap_stack, user | present | to_write, fault_kind::protection, access::write},
      row{data, user | present | fetch, fault_kind::execute_data, access::execute},
      row{where.stack, user | present | fetch, fault_kind::execute_data, access::execute});
  stopped_guest guest;
  const fault found = guest.report(page_fault(expected.address, expected.error_code));
  INFO(std::hex << expected.address << ", " << expected.error_code);
  CHECK(found.kind == expected.kind);
  CHECK(found.access == expected.how);
  CHECK(found.address == expected.address);
  CHECK(found.vector == vector::page_fault);
  CHECK(found.error_code == expected.error_code);
  CHECK(found.instruction == code + 0x18);
  CHECK(found.symbol == std::string("main"));
}

TEST_CASE("a syscall instruction is called so where it is refused", "[fault_report]") {
  stopped_guest guest;
  guest.put_syscall(code + 0x18);
  const fault found = guest.report(trap_of(vector::invalid_opcode));
  CHECK(found.kind == fault_kind::system_call);
  CHECK(found.instruction == code + 0x18);
  CHECK(guest.report(trap_of(vector::invalid_opcode, code + 0x19)).kind ==
        fault_kind::invalid_opcode);
}

TEST_CASE("a syscall instruction is called so where it jumps to LSTAR", "[fault_report]") {
  stopped_guest guest;
  guest.put_syscall(code + 0x18);
  trap jumped = page_fault(0, user | fetch, 0);
  jumped.rcx = code + 0x1a;
  const fault found = guest.report(jumped);
  CHECK(found.kind == fault_kind::system_call);
  CHECK(found.access == access::none);
  CHECK(found.instruction == code + 0x18);
  CHECK(found.symbol == std::string("main"));
  CHECK(found.offset == 8);
}

TEST_CASE("a jump to null is no syscall, whatever RCX holds", "[fault_report]") {
  stopped_guest guest;
  guest.put_syscall(code + 0x18);
  for (std::uint64_t rcx : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{2}, code, code + 0x19,
                            where.user_end + 1, where.user_end + 2, UINT64_MAX}) {
    trap jumped = page_fault(0, user | fetch, 0);
    jumped.rcx = rcx;
    const fault found = guest.report(jumped);
    CHECK(found.kind == fault_kind::null_access);
    CHECK(found.access == access::execute);
    CHECK(found.instruction == 0);
  }
  // Nor is a jump to elsewhere in the first pages, where no LSTAR leads.
  trap beside = page_fault(0x123, user | fetch, 0x123);
  beside.rcx = code + 0x1a;
  CHECK(guest.report(beside).kind == fault_kind::null_access);
  // Nor a read of null by an instruction elsewhere.
  trap read = page_fault(0, user, code + 0x20);
  read.rcx = code + 0x1a;
  CHECK(guest.report(read).kind == fault_kind::null_access);
}

TEST_CASE("an invalid opcode outside the guest's memory is not read", "[fault_report]") {
  stopped_guest guest;
  for (std::uint64_t rip : {std::uint64_t{0}, code - 1, where.user_end - 1, UINT64_MAX}) {
    CHECK(guest.report(trap_of(vector::invalid_opcode, rip)).kind == fault_kind::invalid_opcode);
  }
}

TEST_CASE("a first write is one to a page that the guest may to_write", "[fault_report]") {
  constexpr std::uint32_t first = present | to_write | user;
  for (std::uint64_t address :
       {data, data + page - 1, where.arguments, where.guard - 1, where.stack, where.user_end - 1}) {
    CHECK(is_first_write(page_fault(address, first), where));
  }
  for (std::uint64_t address :
       {std::uint64_t{0}, x86::tables_page, x86::trampoline_page, code, data - 1, where.guard,
        where.stack - 1, where.trap_stack, where.tables, where.end, UINT64_MAX}) {
    INFO(std::hex << address);
    CHECK_FALSE(is_first_write(page_fault(address, first), where));
  }
}

TEST_CASE("only a write at CPL 3 to a page that is there is a first write", "[fault_report]") {
  for (std::uint32_t error_code :
       {0U, present, to_write, user, present | to_write, present | user, to_write | user,
        present | user | fetch, present | to_write | user | x86::page_fault_reserved,
        present | to_write | user | fetch, 0x20 | present | to_write | user}) {
    INFO(error_code);
    CHECK_FALSE(is_first_write(page_fault(data, error_code), where));
  }
  trap other = page_fault(data, present | to_write | user);
  REQUIRE(is_first_write(other, where));
  other.vector = vector::general_protection;
  CHECK_FALSE(is_first_write(other, where));
  trap kernel = page_fault(data, present | to_write | user);
  kernel.frame.cs = x86::kernel_code_selector;
  CHECK_FALSE(is_first_write(kernel, where));
  // CS alone says at which level it was; SS, on some hosts, is what a guest has loaded.
  trap loaded = page_fault(data, present | to_write | user);
  loaded.frame.ss = x86::user_code_selector;
  CHECK(is_first_write(loaded, where));
}

TEST_CASE("what a runtime ends a call by is told by its reason", "[fault_report]") {
  using reason = x86::abort_reason;
  struct row {
    reason why;
    fault_kind kind;
  };
  const auto ended = [](std::uint16_t why, std::uint16_t mark) {
    const auto low = [](std::uint16_t word) { return static_cast<std::byte>(word & 0xff); };
    const auto high = [](std::uint16_t word) { return static_cast<std::byte>(word >> 8); };
    // ud1 eax, [rax + reason]
    return x86::decode_abort(std::array{std::byte{0x0f}, std::byte{0xb9}, std::byte{0x80}, low(why),
                                        high(why), low(mark), high(mark)});
  };
  for (const row& each : {row{reason::aborted, fault_kind::aborted},
                          row{reason::assertion_failed, fault_kind::assertion_failed},
                          row{reason::terminated, fault_kind::terminated},
                          row{reason::uncaught_exception, fault_kind::uncaught_exception},
                          row{reason::out_of_memory, fault_kind::out_of_memory},
                          row{reason::pure_virtual_call, fault_kind::pure_virtual_call},
                          row{reason::memory_corrupted, fault_kind::memory_corrupted},
                          row{reason::panicked, fault_kind::panicked},
                          row{reason::unavailable_function, fault_kind::unavailable_function}}) {
    CHECK(ended(static_cast<std::uint16_t>(each.why), x86::abort_mark) == each.why);
    CHECK(ended(static_cast<std::uint16_t>(each.why), 1) == std::nullopt);
    CHECK(kind_of(each.why) == each.kind);
  }
  // A guest can write any other.
  CHECK(ended(0, x86::abort_mark) == std::nullopt);
  CHECK(ended(static_cast<std::uint16_t>(reason::unavailable_function) + 1, x86::abort_mark) ==
        std::nullopt);
}
