// Instructions of x86-64 as bytes. Knows nothing of which are valid, or useful.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <vector>

namespace guest_fuzz {

enum reg : std::uint8_t {
  rax,
  rcx,
  rdx,
  rbx,
  rsp,
  rbp,
  rsi,
  rdi,
  r8,
  r9,
  r10,
  r11,
  r12,
  r13,
  r14,
  r15
};

/// What ModRM names beside a register: another one, or memory at a register or at 0, and further.
struct operand {
  bool is_memory = false;
  bool is_absolute = false;
  std::uint8_t number = 0;  ///< Of the register, or of the base.
  std::int32_t offset = 0;
  std::uint8_t segment = 0;  ///< The prefix of another segment; 0: none.

  static constexpr operand of(unsigned number) {
    return {.number = static_cast<std::uint8_t>(number)};
  }
  static constexpr operand at(std::uint64_t address) {
    return {.is_memory = true, .is_absolute = true, .offset = static_cast<std::int32_t>(address)};
  }
  static constexpr operand at(unsigned base, std::int32_t offset) {
    return {.is_memory = true, .number = static_cast<std::uint8_t>(base), .offset = offset};
  }
};

/// An opcode: its mandatory prefix (0: none), its map (0, 1: 0F, 2: 0F38, 3: 0F3A), its byte.
struct opcode {
  std::uint8_t prefix = 0;
  std::uint8_t map = 0;
  std::uint8_t byte = 0;
};

class encoder {
 public:
  [[nodiscard]] const std::vector<std::uint8_t>& bytes() const { return bytes_; }
  [[nodiscard]] std::size_t size() const { return bytes_.size(); }
  void truncate(std::size_t size) { bytes_.resize(size); }

  void put(std::initializer_list<unsigned> these) {
    for (const unsigned each : these) bytes_.push_back(static_cast<std::uint8_t>(each));
  }
  void number(std::uint64_t value, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i)
      bytes_.push_back(static_cast<std::uint8_t>(value >> 8 * i));
  }
  void patch(std::size_t at, std::uint8_t value) { bytes_[at] = value; }

  /// `with` is a register or the opcode's extension.
  void instruction(const opcode& op, unsigned with, const operand& on, bool wide = false) {
    if (on.segment != 0) put({on.segment});
    if (op.prefix != 0) put({op.prefix});
    const unsigned rex =
        (wide ? 8U : 0U) | (with >> 3 & 1) << 2 | (on.is_absolute ? 0U : on.number >> 3 & 1U);
    if (rex != 0) put({0x40 | rex});
    if (op.map != 0) put({0x0f});
    if (op.map == 2) put({0x38});
    if (op.map == 3) put({0x3a});
    put({op.byte});
    rm(with, on);
  }

  /// `other` is the register of VEX.vvvv; 0 where there is none.
  void vex(const opcode& op, unsigned with, unsigned other, const operand& on, bool wide,
           bool is_256) {
    if (on.segment != 0) put({on.segment});
    put({0xc4, inverted(with >> 3, 7) | 0x40U | base(on) | map_of(op),
         (wide ? 0x80U : 0U) | (~other & 15U) << 3 | (is_256 ? 4U : 0U) | packed(op), op.byte});
    rm(with, on);
  }

  /// `length`: 0 to 2, for 128 to 512 bits; `mask`: of k0 to k7, bit 3: zeroing.
  void evex(const opcode& op, unsigned with, unsigned other, const operand& on, bool wide,
            unsigned length, unsigned mask) {
    if (on.segment != 0) put({on.segment});
    put({0x62, inverted(with >> 3, 7) | 0x40U | base(on) | inverted(with >> 4, 4) | map_of(op),
         (wide ? 0x80U : 0U) | (~other & 15U) << 3 | 4U | packed(op),
         (mask & 8U) << 4 | length << 5 | inverted(other >> 4, 3) | (mask & 7U), op.byte});
    rm(with, on);
  }

  void load(unsigned into, std::uint64_t value) {
    put({0x48 | into >> 3, 0xb8 | (into & 7)});
    number(value, 8);
  }
  void push(std::uint32_t value) {
    put({0x68});
    number(value, 4);
  }

 private:
  static unsigned inverted(unsigned bit, unsigned at) { return (~bit & 1U) << at; }
  static unsigned base(const operand& on) {
    return inverted(on.is_absolute ? 0U : on.number >> 3 & 1U, 5);
  }
  static unsigned map_of(const opcode& op) { return op.map == 0 ? 1U : op.map; }
  static unsigned packed(const opcode& op) {
    return op.prefix == 0x66 ? 1U : op.prefix == 0xf3 ? 2U : op.prefix == 0xf2 ? 3U : 0U;
  }

  void rm(unsigned with, const operand& on) {
    const unsigned middle = (with & 7) << 3;
    if (!on.is_memory) {
      put({0xc0 | middle | (on.number & 7U)});
    } else if (on.is_absolute) {
      put({0x04 | middle, 0x25});
      number(static_cast<std::uint32_t>(on.offset), 4);
    } else {
      put({0x80 | middle | (on.number & 7U)});
      if ((on.number & 7) == rsp) put({0x24});
      number(static_cast<std::uint32_t>(on.offset), 4);
    }
  }

  std::vector<std::uint8_t> bytes_;
};

}  // namespace guest_fuzz
