// Where a guest's memory is and what may be done there, as docs/guest-abi.md draws it. Written anew
// and not taken from the library, whose reports it judges.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include <virtine/fault.hpp>
#include <virtine/image.hpp>

namespace guest_fuzz {

using virtine::access;
using virtine::fault_kind;

inline constexpr std::uint64_t page = 4096;

enum class area : std::uint8_t {
  null_guard,
  supervisor,  ///< There, and not the guest's.
  code,
  constants,
  data,  ///< What a guest may write.
  stack_guard,
  nothing,
  upper_half,  ///< Where a kernel is, elsewhere.
  not_canonical,
};

/// The memory of an image whose segments are code, constants and data.
struct places {
  static constexpr std::uint64_t tables = 0x10000;
  static constexpr std::uint64_t stubs = 0x11000;
  static constexpr std::uint64_t trampoline = 0x12000;
  static constexpr std::uint64_t trampoline_zeros = 0x13000;
  static constexpr std::uint64_t code = 0x20000;
  static constexpr std::uint64_t window = 0x100000000;

  std::uint64_t constants;
  std::uint64_t data;
  std::uint64_t arguments;
  std::uint64_t guard;
  std::uint64_t stack;
  std::uint64_t stack_end;  ///< Where the trap stack is.
  std::uint64_t page_tables;

  explicit places(const virtine::image_description& of)
      : constants(of.segments[1].address),
        data(of.segments[2].address),
        arguments(up(data + of.segments[2].memory_size)),
        guard(arguments + up(of.arguments_size)),
        stack(guard + 0x10000),
        stack_end(stack + of.stack_size),
        page_tables(stack_end + page) {}

  static constexpr std::uint64_t up(std::uint64_t address) {
    return (address + page - 1) / page * page;
  }

  [[nodiscard]] area at(std::uint64_t address) const {
    if (address < tables) return area::null_guard;
    if (address < trampoline) return area::supervisor;
    if (address < trampoline_zeros) return area::code;
    if (address < code) return area::constants;
    if (address < constants) return area::code;
    if (address < data) return area::constants;
    if (address < guard) return area::data;
    if (address < stack) return area::stack_guard;
    if (address < stack_end) return area::data;
    if (address < page_tables) return area::supervisor;
    if (address < std::uint64_t{1} << 47) return area::nothing;
    if (address >= ~((std::uint64_t{1} << 47) - 1)) return area::upper_half;
    return area::not_canonical;
  }

  /// Returns what is reported of an access that `where` does not allow; nothing if it does. In the
  /// upper half a host that runs guests beside its own kernel may have memory.
  static std::optional<fault_kind> refusal(area where, access how) {
    switch (where) {
      case area::null_guard:
        return fault_kind::null_access;
      case area::supervisor:
        return how == access::execute ? fault_kind::execute_data : fault_kind::protection;
      case area::code:
        if (how == access::write) return fault_kind::protection;
        return std::nullopt;
      case area::constants:
        if (how == access::execute) return fault_kind::execute_data;
        if (how == access::write) return fault_kind::protection;
        return std::nullopt;
      case area::data:
        if (how == access::execute) return fault_kind::execute_data;
        return std::nullopt;
      case area::stack_guard:
        return fault_kind::stack_overflow;
      case area::nothing:
      case area::upper_half:
        return fault_kind::unmapped_access;
      case area::not_canonical:
        return fault_kind::general_protection;
    }
    return std::nullopt;
  }
};

}  // namespace guest_fuzz
