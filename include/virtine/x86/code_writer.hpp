// Writes machine code into a page, byte by byte. Must not know what the code is for.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include <virtine/abi/little_endian.hpp>
#include <virtine/abi/user64.hpp>

namespace virtine::x86::detail {

/// Writes instructions one after the other into a page.
class code_writer {
 public:
  constexpr code_writer(page& out, std::size_t at) : out_(out), at_(at) {}

  /// Returns the offset of the next instruction.
  [[nodiscard]] constexpr std::size_t at() const { return at_; }

  constexpr void emit(std::initializer_list<unsigned> bytes) {
    for (const unsigned byte : bytes) out_[at_++] = static_cast<std::byte>(byte);
  }

  /// Writes an instruction that ends in the RIP-relative address of page offset `target`.
  constexpr void emit_relative(std::initializer_list<unsigned> bytes, std::size_t target) {
    emit(bytes);
    store(out_, at_, static_cast<std::uint32_t>(target - (at_ + 4)));
    at_ += 4;
  }

  /// Writes a jump of one opcode byte and a signed 8-bit distance to page offset `target`.
  constexpr void emit_short(unsigned opcode, std::size_t target) {
    emit({opcode, static_cast<unsigned>(target - (at_ + 2)) & 0xff});
  }

 private:
  page& out_;
  std::size_t at_;
};

constexpr bool is_out(std::byte opcode) {
  return opcode == std::byte{0xe6} || opcode == std::byte{0xe7} || opcode == std::byte{0xee} ||
         opcode == std::byte{0xef} || opcode == std::byte{0x6e} || opcode == std::byte{0x6f};
}

}  // namespace virtine::x86::detail
