// Makes sequences of instructions for a guest at CPL 3: accesses whose outcome is foretold,
// instructions that mostly succeed, instructions that mostly do not, and bytes.
// Knows nothing of how they are run or judged.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <virtine/error.hpp>

#include "dice.hpp"
#include "encoder.hpp"
#include "host.hpp"
#include "instructions.hpp"
#include "places.hpp"
#include "prepared.hpp"

namespace guest_fuzz {

/// One way in which a sequence may end; addresses are of ranges, as hosts differ.
struct foretold {
  virtine::errc code{};  ///< 0: it returns.
  fault_kind kind = fault_kind::none;
  virtine::access how = virtine::access::none;
  std::uint64_t address = 0;
  std::uint64_t address_end = 1;
  std::uint64_t instruction = 0;
  std::uint64_t instruction_end = 1;
};

struct sequence {
  std::vector<std::uint8_t> code;
  std::vector<foretold> endings;  ///< If it can be said, all of them.
  std::size_t arguments = 0;      ///< How many bytes of arguments the host writes.
};

/// Returns whether what these bytes do can differ from one time to the next: clocks, random
/// numbers, transactions, and instructions that store what a processor keeps of the last x87
/// instruction, or which parts of its state it takes for unused. In an emulated host also ADCX and
/// ADOX: QEMU 7.2 sometimes has other flags after them.
inline bool can_vary(std::span<const std::uint8_t> code) {
  for (std::size_t i = 0; i + 1 < code.size(); ++i) {
    const auto at = [&](std::size_t offset) -> unsigned {
      return i + offset < code.size() ? code[i + offset] : 0xffU;
    };
    const unsigned next = at(1);
    const bool of_memory = next < 0xc0;
    const unsigned digit = next >> 3 & 7;
    if ((at(0) == 0xd9 || at(0) == 0xdd) && of_memory && digit == 6)
      return true;                                                      // FNSTENV, FNSAVE
    if ((at(0) == 0xc7 || at(0) == 0xc6) && next == 0xf8) return true;  // XBEGIN, XABORT
    if (at(0) != 0x0f) continue;
    const unsigned rm = at(2);
    const unsigned extension = rm >> 3 & 7;
    if (next == 0x31 || next == 0x33) return true;  // RDTSC, RDPMC
    if (next == 0x38 && rm == 0xf6 && is_emulated()) return true;
    // XGETBV, XEND, XTEST, RDTSCP, MONITORX, MWAITX, RDPRU, and what VMs ask their hosts.
    if (next == 0x01 && rm >= 0xc0) return true;
    if (next == 0xc7 && extension != 1) return true;  // RDRAND, RDSEED, RDPID, XSAVEC, XSAVES
    // FXSAVE, XSAVE, XSAVEOPT, TPAUSE, UMWAIT, UMONITOR
    if (next == 0xae && ((rm < 0xc0 && (extension == 0 || extension == 4)) || extension == 6))
      return true;
  }
  return false;
}

class generator {
 public:
  static constexpr std::size_t slot_size = 256;

  /// `trampoline_exit` is where a return of the function goes on; `varies` allows what can_vary().
  generator(const places& where, std::uint64_t trampoline_exit, bool varies)
      : where_(where), trampoline_exit_(trampoline_exit), varies_(varies) {}

  /// Returns the sequence that `random` makes, to be put at `address`.
  sequence make(dice random, std::uint64_t address) {
    for (;;) {
      random_ = dice(random.next());
      sequence out = try_to_make(address);
      if (out.code.size() > slot_size) continue;
      if (varies_ || !can_vary(out.code)) return out;
    }
  }

 private:
  /// RFLAGS.NT, which one software KVM loses whenever it looks after the guest's memory.
  static constexpr std::uint64_t nested = 1U << 14;

  enum class style : std::uint8_t { tame, wild };

  sequence try_to_make(std::uint64_t address) {
    code_ = encoder();
    address_ = address;
    endings_.clear();
    held_ = 0;
    const unsigned kind = random_.small(100);
    sequence out;
    out.arguments = random_.of<std::size_t>({0, 64, 4096, 5000, 8192});
    if (kind < 25) {
      accesses();
    } else {
      style_ = kind < 80 ? style::tame : style::wild;
      preamble();
      const unsigned count = 2 + random_.small(14);
      for (unsigned i = 0; i < count && code_.size() < slot_size - 48; ++i) {
        if (kind >= 92 && random_.chance(60)) {
          raw();
        } else {
          one();
        }
      }
    }
    leave();
    out.code = code_.bytes();
    out.endings = endings_;
    return out;
  }

  // Addresses

  std::uint64_t writable() {
    const std::uint64_t begin = random_.chance(70)   ? where_.data
                                : random_.chance(50) ? where_.stack
                                                     : where_.arguments;
    const std::uint64_t end = begin == where_.data    ? where_.arguments
                              : begin == where_.stack ? where_.stack_end
                                                      : where_.guard;
    if (random_.chance(8))
      return begin + page * (1 + random_.below((end - begin) / page - 1)) - 1 - random_.below(16);
    // Behind what any instruction takes.
    std::uint64_t at = begin + random_.below(end - begin - 512);
    if (random_.chance(80)) at &= ~std::uint64_t{63};
    return at;
  }

  std::uint64_t any_address() {
    static constexpr std::uint64_t half = std::uint64_t{1} << 47;
    switch (random_.small(20)) {
      case 0:
        return random_.below(places::tables);
      case 1:
        return places::tables + random_.below(2 * page);
      case 2:
        return places::trampoline + random_.below(page);
      case 3:
        return places::trampoline_zeros + random_.below(places::code - places::trampoline_zeros);
      case 4:
      case 5:
        return where_.code + page + random_.below(256 * slot_size);
      case 6:
        return where_.constants + random_.below(page);
      case 7:
        return where_.guard + random_.below(where_.stack - where_.guard);
      case 8:
        return where_.stack_end + random_.below(page);
      case 9:
        return where_.page_tables + random_.below(8 * page);
      case 10:
        return where_.page_tables + random_.below(std::uint64_t{1} << 31);
      case 11:
        return places::window + random_.below(std::uint64_t{4} << 30);
      case 12:
        return half - 16 + random_.below(32);
      case 13:
        return random_.next() | half << 1;  // Mostly neither half.
      case 14:
        return ~std::uint64_t{0} - random_.below(std::uint64_t{1} << 31);
      case 15: {  // The ends of things.
        const std::uint64_t end =
            random_.of({places::tables, places::trampoline, places::trampoline_zeros, places::code,
                        where_.constants, where_.data, where_.arguments, where_.guard, where_.stack,
                        where_.stack_end, where_.page_tables, places::window});
        return end - 16 + random_.below(32);
      }
      default:
        return writable();
    }
  }

  std::uint64_t address() {
    return style_ == style::tame || random_.chance(75) ? writable() : any_address();
  }

  std::uint64_t value() {
    switch (random_.small(6)) {
      case 0:
        return random_.next();
      case 1:
        return random_.below(256);
      case 2:
        return random_.of<std::uint64_t>({0, ~std::uint64_t{0}, std::uint64_t{1} << 63, 0x7fffffff,
                                          0x80000000, 0xffffffff, 0x8000, 0xff});
      default:
        return address();
    }
  }

  // Accesses

  /// The range of an access that is refused, with what is reported.
  void foretell_memory(std::uint64_t at, std::uint64_t width, virtine::access how,
                       std::uint64_t instruction, bool reads_too = false) {
    const std::uint64_t last = at + width - 1;
    for (const std::uint64_t part : {at, last & ~(page - 1)}) {
      if (part < at && part != at) continue;
      const auto refused = places::refusal(where_.at(part), how);
      if (!refused) continue;
      foretold out{.code = virtine::errc::guest_fault,
                   .kind = *refused,
                   .instruction = instruction,
                   .instruction_end = instruction + 1};
      if (*refused != fault_kind::general_protection) {
        out.how = how;
        out.address = part;
        out.address_end = last + 1 == 0 ? last : last + 1;
      }
      endings_.push_back(out);
      // Hosts differ in what comes first.
      if (reads_too && places::refusal(where_.at(part), virtine::access::read)) {
        out.how = virtine::access::read;
        endings_.push_back(out);
      }
      if (where_.at(part) == area::upper_half || where_.at(part) == area::not_canonical) {
        // There may be a kernel, or five levels of page tables; an emulator may wrap to 0.
        out.how = how;
        out.address = 0;
        out.address_end = ~std::uint64_t{0};
        for (const fault_kind kind : {fault_kind::protection, fault_kind::unmapped_access,
                                      fault_kind::null_access, fault_kind::execute_data}) {
          out.kind = kind;
          endings_.push_back(out);
        }
        out.how = virtine::access::none;
        // One host has its emulator look at what is not canonical, which lacks x87 and SSE.
        out.kind = fault_kind::invalid_opcode;
        endings_.push_back(out);
        out.kind = fault_kind::general_protection;
        out.address_end = 1;
        endings_.push_back(out);
      }
    }
  }

  /// Accesses one after the other, until one is refused.
  void accesses() {
    style_ = style::wild;
    const unsigned count = 1 + random_.small(7);
    for (unsigned i = 0; i < count && endings_.empty(); ++i) {
      const unsigned kind = random_.small(20);
      if (kind == 0) {
        jump_astray();
      } else if (kind < 3) {
        port();
      } else {
        access_memory();
      }
    }
    if (endings_.empty()) endings_.push_back({});
  }

  void access_memory() {
    const auto& row = random_.of_rows(access_rows);
    const std::uint64_t at = random_.chance(85) ? writable() : any_address();
    operand on = operand::at(at);
    if (at >= 0x7fffffff || random_.chance(40)) {
      const auto base = random_.of({rbx, rsi, r9, r12, r13});
      const auto offset = static_cast<std::int32_t>(random_.below(0x2000)) - 0x1000;
      code_.load(base, at - static_cast<std::uint64_t>(static_cast<std::int64_t>(offset)));
      on = operand::at(base, offset);
    }
    const std::uint64_t instruction = address_ + code_.size();
    if (row.prefix != 0) code_.put({row.prefix});
    code_.instruction(row.op, row.with, on, row.wide);
    code_.number(random_.next(), row.immediate);
    const bool reads_too = row.op.byte == 0x83 || row.op.byte == 0xc1;
    foretell_memory(at, row.width, row.how, instruction, reads_too);
  }

  void jump_astray() {
    const std::uint64_t at = any_address();
    if (where_.at(at) == area::code) return;
    code_.load(rax, at);
    const std::uint64_t instruction = address_ + code_.size();
    code_.put({0xff, 0xe0});  // jmp rax
    foretell_memory(at, 1, virtine::access::execute, at);
    if (where_.at(at) == area::not_canonical)
      foretell_memory(at, 1, virtine::access::execute, instruction);
  }

  void port() {
    const unsigned width = random_.of({1U, 2U, 4U});
    const bool is_out = random_.chance(70);
    const auto number = random_.chance(60) ? 0xbe + random_.below(0x30)
                                           : random_.below(random_.chance(50) ? 0x100 : 0x10000);
    const bool by_register = number > 0xff || random_.chance(50);
    if (by_register) {
      code_.put({0xba});  // mov edx
      code_.number(number, 4);
    }
    if (random_.chance(50)) {
      code_.put({0xb8});  // mov eax
      code_.number(number == 0xe8 ? 500 + random_.below(100) : random_.next(), 4);
    }
    const bool asks = number == 0xe8;
    if (asks && is_out && width == 4) {
      code_.put({0xb8});
      code_.number(500 + random_.below(100), 4);  // No exit().
    }
    const std::uint64_t instruction = address_ + code_.size();
    if (width == 2) code_.put({0x66});
    const unsigned op = (is_out ? 0xe6U : 0xe4U) | (width == 1 ? 0U : 1U) | (by_register ? 8U : 0U);
    code_.put({op});
    if (!by_register) code_.put({static_cast<unsigned>(number)});
    const std::uint64_t behind = address_ + code_.size();
    const bool whole = is_out && width == 4;
    if (whole && number == 0xe0) {
      endings_.push_back({});
    } else if (whole && number == 0xe4) {
      endings_.push_back({.code = virtine::errc::hypercall_denied});
    } else if (!(whole && asks)) {
      endings_.push_back({.code = virtine::errc::guest_fault,
                          .kind = fault_kind::general_protection,
                          .instruction = instruction,
                          .instruction_end = behind + 1});
    }
  }

  // Instructions

  bool wild() const { return style_ == style::wild; }

  /// Registers with addresses, which tame sequences do not compute with.
  unsigned held() { return random_.of({rbx, rbp, rsi, rdi, r12, r13, r14}); }
  unsigned any_register() {
    if (wild()) {
      const unsigned out = random_.small(16);
      return out == rsp && !varies_ ? unsigned{rax} : out;  // See compare_with().
    }
    return random_.of({rax, rcx, rdx, r8, r9, r10, r11, r15});
  }

  void preamble() {
    for (const unsigned each : {rbx, rbp, rsi, rdi, r12, r13, r14}) {
      if (random_.chance(45)) {
        held_ |= 1U << each;
        code_.load(each, wild() && random_.chance(15) ? value() : address());
      }
    }
    for (unsigned i = random_.small(4); i > 0; --i) code_.load(any_register(), value());
  }

  operand memory(bool aligned = false) {
    operand out;
    const unsigned base = held();
    if (!aligned && (held_ >> base & 1) != 0 && random_.chance(40)) {
      out = operand::at(base, static_cast<std::int32_t>(random_.below(128)));
    } else {
      std::uint64_t at = address();
      if (aligned && random_.chance(90)) at &= ~std::uint64_t{63};
      if (at >= 0x80000000) at &= 0x7fffffff;
      out = operand::at(at);
    }
    if (random_.chance(wild() ? 10 : 3))
      out.segment = random_.of<std::uint8_t>({0x64, 0x65, 0x2e, 0x36, 0x3e, 0x26});
    return out;
  }
  operand memory_or(unsigned number) { return random_.chance(50) ? memory() : operand::of(number); }

  void one() {
    if (wild() && random_.chance(6))
      code_.put({random_.of(
          {0x66U, 0x67U, 0xf0U, 0xf2U, 0xf3U, 0x64U, 0x65U, 0x2eU, 0x48U, 0x41U, 0x44U})});
    const unsigned kind = random_.small(100);
    if (kind < 26) {
      integer();
    } else if (kind < 36) {
      string();
    } else if (kind < 47) {
      sse();
    } else if (kind < 56) {
      avx();
    } else if (kind < 64) {
      x87();
    } else if (kind < 73) {
      state();
    } else if (kind < 79) {
      segments();
    } else if (kind < 88) {
      control();
    } else if (kind < 93) {
      flags();
    } else if (wild()) {
      if (random_.chance(30)) {
        port();
        endings_.clear();
      } else {
        system();
      }
    } else {
      stack();
    }
  }

  void integer() {
    const unsigned kind = random_.small(20);
    if (kind < 6) {  // ADD to CMP
      const opcode op{0, 0, static_cast<std::uint8_t>(random_.small(8) * 8 + random_.small(4))};
      const operand on = memory_or(any_register());
      if (on.is_memory && random_.chance(10) && (op.byte & 2) == 0 && op.byte < 0x38)
        code_.put({0xf0});
      code_.instruction(op, any_register(), on, random_.chance(50));
    } else if (kind == 6) {  // DIV, IDIV
      if (wild()) {
        code_.instruction({0, 0, 0xf7}, 6 + random_.small(2), memory_or(any_register()),
                          random_.chance(50));
      } else {
        code_.put({0x31, 0xd2, 0x41, 0x83, 0xcb, 0x01, 0x41, 0xf7,
                   0xf3});  // xor edx, edx; or r11d, 1; div r11d
      }
    } else if (kind == 7) {
      code_.put({random_.of(
          {0x98U, 0x99U, 0xd7U, 0x90U, 0x91U, 0x92U, 0xf5U, 0xf8U, 0xf9U, 0x9eU, 0x9fU})});
      if (!wild() && code_.bytes().back() == 0xd7)
        code_.truncate(code_.size() - 1);  // xlat, of RBX
    } else if (kind == 8) {
      code_.put({0x48, 0x0f, 0xc8 | random_.small(4)});  // bswap
    } else if (kind == 9) {
      code_.put({0x0f, 0xa2});  // cpuid
    } else {
      emit(random_.of_rows(integer_rows));
    }
  }

  void emit(const instruction_row& from) {
    const bool in_memory = from.takes_memory && (!from.takes_registers || random_.chance(50));
    const unsigned with = from.digit >= 0 ? static_cast<unsigned>(from.digit) : any_register();
    code_.instruction(
        from.op, with,
        in_memory ? memory(from.op.byte == 0xc7 && from.op.map == 1) : operand::of(any_register()),
        random_.chance(50));
    code_.number(random_.next(), from.immediate);
  }

  void string() {
    code_.load(rdi, address());
    code_.load(rsi, address());
    code_.put({random_.chance(30) ? 0xfdU : 0xfcU});  // std, cld
    held_ &= ~(1U << rdi | 1U << rsi);
    if (random_.chance(70)) {
      code_.put({0xb9});
      code_.number(random_.chance(90) ? random_.below(300) : random_.below(20000), 4);
      code_.put({random_.of({0xf3U, 0xf3U, 0xf2U})});
    }
    if (random_.chance(40)) code_.put({0x48});
    code_.put({random_.of(
        {0xa4U, 0xa5U, 0xaaU, 0xabU, 0xacU, 0xadU, 0xa6U, 0xa7U, 0xaeU, 0xafU, 0xa4U, 0xaaU})});
  }

  void sse() {
    const unsigned kind = random_.small(10);
    const operand on = random_.chance(50) ? memory(true) : operand::of(random_.small(8));
    const unsigned with = random_.small(16);
    if (kind < 5) {
      const auto prefix = random_.of<std::uint8_t>({0, 0x66});
      code_.instruction({prefix, 1, random_.of_rows(packed_bytes)}, with, on);
    } else if (kind < 7) {
      const auto prefix = random_.of<std::uint8_t>({0xf3, 0xf2});
      code_.instruction({prefix, 1, random_.of_rows(scalar_bytes)}, with, on, random_.chance(20));
    } else if (kind == 7) {
      const auto prefix = random_.of<std::uint8_t>({0, 0x66});
      code_.instruction({prefix, 1, random_.of<std::uint8_t>({0x13, 0x17, 0x2b, 0xe7})}, with,
                        memory(true));
    } else if (kind == 8) {
      code_.instruction({0x66, 2, random_.of<std::uint8_t>({0x00, 0x1c, 0x38, 0x40, 0xdc, 0xdb})},
                        with, on);
    } else {
      code_.instruction({0x66, 3, random_.of<std::uint8_t>({0x0f, 0x0b, 0x44, 0x14, 0x16, 0x63})},
                        with, on);
      code_.put({random_.byte()});
    }
    if (wild() && random_.chance(10))
      code_.instruction({random_.of<std::uint8_t>({0, 0x66, 0xf3, 0xf2}), 1, random_.byte()}, with,
                        on);
  }

  void avx() {
    const operand on = random_.chance(50) ? memory() : operand::of(random_.small(16));
    const auto other = random_.small(16);
    switch (random_.small(9)) {
      case 0:
        code_.put({0xc5, random_.of({0xf8U, 0xfcU}), 0x77});  // vzeroupper, vzeroall
        break;
      case 1:
        code_.vex({0, 1, 0x10}, other, 0, on, false, random_.chance(70));  // vmovups
        break;
      case 2:
        code_.vex({0, 1, 0x11}, other, 0, on, false, random_.chance(70));
        break;
      case 3:  // vaddps to vmaxps, vpxor, vpaddd
        code_.vex({random_.of<std::uint8_t>({0, 0x66}), 1,
                   random_.of<std::uint8_t>({0x54, 0x57, 0x58, 0x59, 0x5c, 0x5e, 0x5f})},
                  other, random_.small(16), on, false, random_.chance(60));
        break;
      case 4:  // vbroadcastss, vpermd, vfmadd, vpgatherdd: as they come
        code_.vex({0x66, 2, random_.of<std::uint8_t>({0x18, 0x36, 0x58, 0x98, 0xb8, 0x8c, 0x8e})},
                  other, random_.small(16), on, random_.chance(30), random_.chance(60));
        break;
      case 5:  // andn, bextr, pdep, pext, shlx
        code_.vex({random_.of<std::uint8_t>({0, 0x66, 0xf3, 0xf2}), 2,
                   random_.of<std::uint8_t>({0xf2, 0xf5, 0xf6, 0xf7})},
                  any_register(), any_register(), on.is_memory ? on : operand::of(any_register()),
                  random_.chance(50), false);
        break;
      case 6:  // kmovw k, r32; kmovq k, r64
        code_.vex({static_cast<std::uint8_t>(random_.chance(50) ? 0 : 0xf2), 1, 0x92},
                  random_.small(8), 0, operand::of(any_register()), false, false);
        break;
      case 7:  // vmovdqu64
        code_.evex({0xf3, 1, random_.of<std::uint8_t>({0x6f, 0x7f})}, random_.small(32), 0, on,
                   true, random_.small(3), random_.small(16));
        break;
      default:  // vpaddd, vpxord, vpternlogd
        code_.evex({0x66, 1, random_.of<std::uint8_t>({0xfe, 0xef, 0xdb, 0xfa})}, random_.small(32),
                   random_.small(32), on, false, 2, random_.small(8));
        break;
    }
  }

  void x87() {
    const unsigned byte = 0xd8 + random_.small(8);
    if (random_.chance(8)) {
      code_.put({0x9b});  // fwait
    } else if (random_.chance(50)) {
      code_.put({byte, 0xc0 | random_.small(64)});
    } else {
      unsigned digit = random_.small(8);
      // FLDENV and FRSTOR of random bytes unmask; FSTENV and FSAVE store what varies.
      if ((byte == 0xd9 || byte == 0xdd) && (digit == 4 || digit == 6)) digit = wild() ? digit : 0;
      if (byte == 0xd9 && digit == 5) {
        code_.instruction({0, 0, 0xd9}, 5,
                          operand::at(where_.constants + prepared::fcw + 2 * random_.below(16)));
        return;
      }
      code_.instruction({0, 0, static_cast<std::uint8_t>(byte)}, digit, memory());
    }
  }

  void state() {
    const operand prepared = operand::at(where_.constants + prepared::state);
    const operand area = wild() && random_.chance(30) ? memory(true) : prepared;
    switch (random_.small(9)) {
      case 0:
      case 1:
        code_.instruction(
            {0, 1, 0xae}, 2,
            operand::at(where_.constants + prepared::mxcsr + 4 * random_.below(wild() ? 16 : 12)));
        break;
      case 2:
        code_.instruction({0, 1, 0xae}, 1, area, random_.chance(70));  // fxrstor
        break;
      case 3:
      case 4:
        code_.put({0xb8});
        code_.number(random_.chance(50) ? ~std::uint64_t{0} : random_.next(), 4);
        code_.put({0x31, 0xd2});
        code_.instruction({0, 1, 0xae}, 5, area, random_.chance(70));  // xrstor
        break;
      case 5:
        code_.instruction({0, 1, 0xae}, 3, memory());  // stmxcsr
        break;
      case 6:
        code_.put({0x0f, 0x77});  // emms
        break;
      case 7:
        code_.put({0xdb, 0xe3});  // fninit
        break;
      default:
        if (varies_) {
          code_.put({0x31, 0xc9, 0x31, 0xd2, 0xb8});
          code_.number(wild() ? random_.next() : random_.next() & ~std::uint64_t{3}, 4);
          code_.put({0x0f, 0x01,
                     random_.of({0xefU, 0xeeU, 0xd0U, 0xd6U,
                                 0xf9U})});  // wrpkru, rdpkru, xgetbv, xtest, rdtscp
        } else {
          code_.instruction(
              {0, 0, 0xd9}, 5,
              operand::at(where_.constants + prepared::fcw + 2 * random_.below(wild() ? 16 : 12)));
        }
        break;
    }
  }

  void segments() {
    switch (random_.small(6)) {
      case 0:
      case 1: {  // mov ds, es, fs, gs; wild: ss and cs
        const unsigned which = wild() ? random_.small(8) : random_.of({0U, 3U, 4U, 5U});
        if (wild() && random_.chance(50)) {
          code_.put({0xb8});
          // Not 1 to 3, of which one software KVM sometimes makes 0.
          code_.number(random_.chance(50) ? 4 + random_.below(0x100) : random_.next(), 4);
          code_.put({0x8e, 0xc0 | which << 3});
        } else {
          code_.instruction(
              {0, 0, 0x8e}, which,
              operand::at(where_.constants + prepared::selectors + 2 * random_.below(8)));
        }
        break;
      }
      case 2:
        code_.instruction({0, 0, 0x8c}, random_.small(6), memory_or(any_register()));
        break;
      case 3:  // wrfsbase, wrgsbase
        code_.load(rax, wild() ? value() : writable());
        code_.instruction({0xf3, 1, 0xae}, 2 + random_.small(2), operand::of(rax),
                          random_.chance(80));
        break;
      case 4:  // rdfsbase, rdgsbase
        code_.instruction({0xf3, 1, 0xae}, random_.small(2), operand::of(any_register()),
                          random_.chance(80));
        break;
      default:  // push fs, pop gs
        code_.put({0x0f, 0xa0, 0x0f, 0xa9});
        break;
    }
  }

  void stack() {
    switch (random_.small(5)) {
      case 0:
        code_.push(static_cast<std::uint32_t>(value()));
        break;
      case 1:
        code_.put({0x50 | random_.small(8)});
        break;
      case 2:
        code_.put({0x50 | random_.small(8), 0x58 | random_.of({0U, 1U, 2U})});
        break;
      case 3:
        code_.put({0x9c, 0x58});  // pushfq; pop rax
        break;
      default:
        code_.put({0xc8, random_.byte(), 0, 0, 0xc9});  // enter; leave
        break;
    }
  }

  void flags() {
    std::uint64_t bits = random_.next();
    // ID, OF, DF, SF, ZF, AF, PF, CF; wild also TF, AC, IOPL, IF, VM and what is reserved.
    if (!wild()) bits &= 0x200cd5;
    if (!varies_) bits &= ~nested;
    if (wild() && random_.chance(60)) bits &= ~std::uint64_t{0x100};
    code_.push(static_cast<std::uint32_t>(bits));
    if (random_.chance(10)) code_.put({0x66});
    code_.put({0x9d});
    if (code_.bytes()[code_.size() - 2] == 0x66 && !wild())
      code_.put({0x48, 0x83, 0xc4, 0x06});  // add rsp, 6
  }

  std::uint64_t here() const { return address_ + code_.size(); }

  void control() {
    switch (random_.small(wild() ? 11 : 7)) {
      case 0:
      case 1: {  // Over the next one.
        code_.put({random_.chance(80) ? 0x70 | random_.small(16) : 0xebU, 0});
        const std::size_t from = code_.size();
        integer();
        code_.patch(from - 1, static_cast<std::uint8_t>(code_.size() - from));
        break;
      }
      case 2: {                   // A loop.
        code_.put({0x41, 0xbf});  // mov r15d
        code_.number(1 + random_.below(20), 4);
        const std::size_t begin = code_.size();
        sse();
        integer();
        code_.put({0x41, 0xff, 0xcf, 0x75});  // dec r15d; jnz
        code_.put({static_cast<unsigned>(begin - code_.size() - 1) & 0xff});
        break;
      }
      case 3:
        code_.put({0xe8, 0, 0, 0, 0});  // call what follows
        break;
      case 4:  // push, ret
        code_.push(static_cast<std::uint32_t>(here() + 6));
        code_.put({0xc3});
        break;
      case 5: {  // iretq
        const bool good = !wild();
        code_.push(good ? 0x2b : random_.of({0x2bU, 0x33U, 0U, 3U, 0x23U, 0x10U}));
        code_.push(static_cast<std::uint32_t>(good ? where_.stack_end - 256 : address()));
        code_.push(static_cast<std::uint32_t>(good ? 0x202 | (random_.next() & 0xcd5)
                                                   : random_.next() & ~nested));
        code_.push(good || random_.chance(50)
                       ? 0x33
                       : random_.of({0x2bU, 0x23U, 0x30U, 0x0bU, 0x7bU, 0U}));
        code_.push(static_cast<std::uint32_t>(here() + 7));
        code_.put({0x48, 0xcf});
        break;
      }
      case 6: {  // retfq
        code_.push(0x33);
        code_.push(static_cast<std::uint32_t>(here() + 7));
        code_.put({0x48, 0xcb});
        break;
      }
      case 7:
        if (random_.chance(40)) {
          code_.put({0xeb, 0xfe});  // For ever.
          break;
        }
        [[fallthrough]];
      case 8:
        code_.load(rax, any_address());
        code_.put({0xff, random_.of({0xe0U, 0xd0U})});  // jmp rax, call rax
        break;
      case 9:  // jmp far, call far
        code_.instruction({0, 0, 0xff}, random_.of({3U, 5U}),
                          operand::at(where_.constants + prepared::far + 16 * random_.below(8)),
                          random_.chance(70));
        break;
      default:  // Somewhere near.
        code_.put({random_.of({0xebU, 0x74U, 0x75U, 0xe3U, 0xe2U}), random_.byte()});
        break;
    }
  }

  void system() {
    switch (random_.small(14)) {
      case 0:
        code_.put({0x0f, random_.of({0x05U, 0x34U, 0x35U, 0x07U, 0x06U, 0x08U, 0x09U, 0x0bU, 0xaaU,
                                     0x37U})});
        break;
      case 1:
        code_.put({0xcd, random_.byte()});
        break;
      case 2:
        code_.put({random_.of(
            {0xccU, 0xf1U, 0xf4U, 0xfaU, 0xfbU, 0xceU, 0x06U, 0xd6U, 0x62U, 0x9aU, 0xeaU})});
        break;
      case 3:
        code_.put({0x0f, 0x20 | random_.small(4),
                   0xc0 | random_.small(64)});  // Control, debug registers.
        break;
      case 4:
        code_.put({0xb9});
        code_.number(
            random_.of<std::uint64_t>({0xc0000080, 0xc0000082, 0xc0000101, 0xc0000102, 0x10, 0x1b,
                                       0x174, 0x277, 0x48, 0x1d9, 0x6e0, 0x80b, 0xda0, 0x4b564d01}),
            4);
        code_.put({0x0f, random_.of({0x30U, 0x32U})});
        break;
      case 5:
        code_.instruction({0, 1, 0x00}, random_.small(8), memory_or(any_register()),
                          random_.chance(20));
        break;
      case 6:
        code_.instruction({0, 1, 0x01}, random_.small(8), memory(), random_.chance(20));
        break;
      case 7:
        code_.put({0x0f, 0x01, 0xc0 | random_.small(64)});
        break;
      case 8:
        code_.instruction({0, 1, random_.of<std::uint8_t>({0x02, 0x03})}, any_register(),
                          memory_or(any_register()), random_.chance(50));
        break;
      case 9:
        if (random_.chance(50)) code_.put({0xf3});
        code_.put({random_.of({0x6cU, 0x6dU, 0x6eU, 0x6fU})});
        break;
      case 10:  // ud1 as of a guest that ends itself
        code_.put({0x0f, 0xb9, 0x80});
        code_.number(0x56490000 + random_.below(12), 4);
        break;
      case 11:
        code_.put({0x0f, 0xc7, 0xc0 | random_.small(64)});
        break;
      case 12:
        code_.put(
            {0xc7, 0xf8, 4, 0, 0, 0, 0x0f, 0x01, 0xd6, 0xc6, 0xf8, 1});  // xbegin, xtest, xabort
        break;
      default:
        code_.put(
            {0x0f,
             random_.of({0x31U, 0x33U, 0x38U, 0x3aU, 0x24U, 0x78U, 0x79U, 0xa6U, 0xa7U, 0xffU}),
             random_.byte()});
        break;
    }
  }

  void raw() {
    switch (random_.small(6)) {
      case 0:
        code_.put({0x0f});
        break;
      case 1:
        code_.put({0xc4, (random_.byte() & 0xe3U) | random_.small(4), random_.byte()});
        break;
      case 2:
        code_.put({0x62, random_.byte() & 0xf7U, random_.byte() | 4U, random_.byte()});
        break;
      case 3:
        code_.put({random_.of({0x66U, 0xf2U, 0xf3U, 0x48U, 0x67U})});
        break;
      default:
        break;
    }
    for (unsigned i = 1 + random_.small(8); i > 0; --i) code_.put({random_.byte()});
  }

  // Leaving

  void leave() {
    if (random_.chance(8)) {  // A hypercall, or a system call that is answered.
      code_.put({0xb8});
      const bool asks = random_.chance(70);
      code_.number(random_.chance(90) ? 500 + random_.below(100) : 60, 4);
      if (endings_.size() == 1 && endings_[0].code == virtine::errc{}) endings_.clear();
      code_.put({0xe7, asks ? 0xe8U : 0xe4U});
    }
    // What was foretold may have written over the address that a return takes.
    const unsigned how = random_.small(endings_.empty() ? 10 : 8);
    if (how < 4) {
      code_.put({0xe7, 0xe0});
    } else if (how < 8) {
      code_.put({0xe9});
      code_.number(trampoline_exit_ - (address_ + code_.size() + 4), 4);
    } else {
      code_.put({0xc3});
    }
  }

  const places& where_;
  const std::uint64_t trampoline_exit_;
  const bool varies_;
  dice random_{0};
  encoder code_;
  std::uint64_t address_ = 0;
  std::vector<foretold> endings_;
  style style_ = style::tame;
  unsigned held_ = 0;
};

}  // namespace guest_fuzz
