// Tables of instructions, as far as one is much like another.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>

#include <virtine/fault.hpp>

#include "encoder.hpp"

namespace guest_fuzz {

/// An access, with the prefix that goes before its opcode and how many bytes it moves.
struct access_row {
  virtine::access how;
  std::uint8_t width;
  std::uint8_t prefix;
  opcode op;
  std::uint8_t with;
  bool wide;
  std::uint8_t immediate;
};
inline constexpr std::array access_rows{
    access_row{virtine::access::read, 1, 0, {0, 0, 0x8a}, rax, false, 0},  // mov al, [m]
    access_row{virtine::access::read, 2, 0x66, {0, 0, 0x8b}, rax, false, 0},
    access_row{virtine::access::read, 4, 0, {0, 0, 0x8b}, rcx, false, 0},
    access_row{virtine::access::read, 8, 0, {0, 0, 0x8b}, rdx, true, 0},
    access_row{virtine::access::read, 16, 0, {0, 1, 0x10}, 3, false, 0},  // movups xmm3, [m]
    access_row{virtine::access::read, 8, 0, {0, 0, 0xdd}, 0, false, 0},   // fld qword [m]
    access_row{virtine::access::write, 1, 0, {0, 0, 0x88}, rax, false, 0},
    access_row{virtine::access::write, 2, 0x66, {0, 0, 0x89}, rcx, false, 0},
    access_row{virtine::access::write, 4, 0, {0, 0, 0x89}, rdx, false, 0},
    access_row{virtine::access::write, 8, 0, {0, 0, 0x89}, rdi, true, 0},
    access_row{virtine::access::write, 16, 0, {0, 1, 0x11}, 5, false, 0},
    access_row{virtine::access::write, 4, 0, {0, 0, 0xc7}, 0, false, 4},      // mov dword [m], n
    access_row{virtine::access::write, 4, 0, {0, 0, 0x83}, 0, false, 1},      // add dword [m], n
    access_row{virtine::access::write, 8, 0xf0, {0, 1, 0xc1}, rax, true, 0},  // lock xadd [m], rax
};

struct instruction_row {
  opcode op;
  std::int8_t digit = -1;      ///< The opcode's extension; -1: a register.
  std::uint8_t immediate = 0;  ///< Bytes.
  bool takes_memory = true;
  bool takes_registers = true;
};

inline constexpr std::array integer_rows{
    instruction_row{{0, 0, 0x84}}, instruction_row{{0, 0, 0x85}}, instruction_row{{0, 0, 0x86}},
    instruction_row{{0, 0, 0x87}}, instruction_row{{0, 0, 0x88}}, instruction_row{{0, 0, 0x89}},
    instruction_row{{0, 0, 0x8a}}, instruction_row{{0, 0, 0x8b}}, instruction_row{{0, 0, 0x63}},
    instruction_row{{0, 0, 0x8d}, -1, 0, true, false}, instruction_row{{0, 0, 0x69}, -1, 4},
    instruction_row{{0, 0, 0x6b}, -1, 1}, instruction_row{{0, 0, 0x80}, 0, 1},
    instruction_row{{0, 0, 0x81}, 5, 4}, instruction_row{{0, 0, 0x83}, 2, 1},
    instruction_row{{0, 0, 0x83}, 3, 1}, instruction_row{{0, 0, 0x83}, 6, 1},
    instruction_row{{0, 0, 0xc1}, 0, 1},
    // QEMU takes the carry twice where memory is written for the first time.
    instruction_row{{0, 0, 0xc1}, 2, 1, false}, instruction_row{{0, 0, 0xd3}, 4},
    instruction_row{{0, 0, 0xd3}, 7}, instruction_row{{0, 0, 0xd1}, 3, 0, false},
    instruction_row{{0, 0, 0xc6}, 0, 1}, instruction_row{{0, 0, 0xc7}, 0, 4},
    instruction_row{{0, 0, 0xf6}, 0, 1}, instruction_row{{0, 0, 0xf7}, 2},
    instruction_row{{0, 0, 0xf7}, 3}, instruction_row{{0, 0, 0xf7}, 4},
    instruction_row{{0, 0, 0xf7}, 5}, instruction_row{{0, 0, 0xfe}, 0},
    instruction_row{{0, 0, 0xff}, 1}, instruction_row{{0, 1, 0x44}}, instruction_row{{0, 1, 0x4f}},
    instruction_row{{0, 1, 0x92}, 0}, instruction_row{{0, 1, 0x9f}, 0},
    instruction_row{{0, 1, 0xa4}, -1, 1}, instruction_row{{0, 1, 0xa5}},
    instruction_row{{0, 1, 0xac}, -1, 1}, instruction_row{{0, 1, 0xad}},
    instruction_row{{0, 1, 0xaf}}, instruction_row{{0, 1, 0xb0}}, instruction_row{{0, 1, 0xb1}},
    instruction_row{{0, 1, 0xb6}}, instruction_row{{0, 1, 0xbf}}, instruction_row{{0, 1, 0xbe}},
    instruction_row{{0, 1, 0xba}, 4, 1}, instruction_row{{0, 1, 0xba}, 5, 1},
    instruction_row{{0, 1, 0xba}, 7, 1}, instruction_row{{0, 1, 0xbc}},
    instruction_row{{0, 1, 0xbd}}, instruction_row{{0xf3, 1, 0xbc}},
    instruction_row{{0xf3, 1, 0xbd}}, instruction_row{{0xf3, 1, 0xb8}},
    instruction_row{{0, 1, 0xc0}}, instruction_row{{0, 1, 0xc1}},
    instruction_row{{0, 1, 0xc7}, 1, 0, true, false},
    instruction_row{{0, 1, 0xc3}, -1, 0, true, false},
    instruction_row{{0, 2, 0xf0}, -1, 0, true, false},
    instruction_row{{0, 2, 0xf1}, -1, 0, true, false}, instruction_row{{0xf2, 2, 0xf0}},
    instruction_row{{0xf2, 2, 0xf1}}, instruction_row{{0x66, 2, 0xf6}},
    instruction_row{{0xf3, 2, 0xf6}}, instruction_row{{0, 1, 0x18}, 1, 0, true, false},
    instruction_row{{0, 1, 0xae}, 7, 0, true, false},
    instruction_row{{0, 1, 0x0d}, 1, 0, true, false}};

/// In 0F, with and without 66: of packed numbers, and moves.
inline constexpr std::array<std::uint8_t, 40> packed_bytes{
    0x10, 0x11, 0x14, 0x15, 0x28, 0x29, 0x2a, 0x2c, 0x2d, 0x2e, 0x2f, 0x51, 0x54, 0x55,
    0x56, 0x57, 0x58, 0x59, 0x5a, 0x5b, 0x5c, 0x5d, 0x5e, 0x5f, 0x60, 0x61, 0x6a, 0x6e,
    0x6f, 0x74, 0x7e, 0x7f, 0xd4, 0xdb, 0xe5, 0xef, 0xf4, 0xf6, 0xfc, 0xfe};
/// In 0F, with F3 or F2: of one number.
inline constexpr std::array<std::uint8_t, 12> scalar_bytes{0x10, 0x11, 0x2a, 0x2c, 0x2d, 0x51,
                                                           0x58, 0x59, 0x5a, 0x5c, 0x5d, 0x5e};

}  // namespace guest_fuzz
