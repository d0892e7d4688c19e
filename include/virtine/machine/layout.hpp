// Where everything of a user64 guest lies, computed from its image at compile time.
// Knows nothing of KVM; docs/guest-abi.md draws the map.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include <virtine/abi/user64.hpp>
#include <virtine/image.hpp>
#include <virtine/x86/page_table.hpp>
#include <virtine/x86/trampoline.hpp>

namespace virtine::detail {

constexpr std::uint64_t page_up(std::uint64_t value) {
  return (value + x86::page_size - 1) / x86::page_size * x86::page_size;
}

/// The memory map of a user64 guest. Ascending; [begin, shared_end) is read-only and shared by all
/// machines of the image, [shared_end, end) is each machine's own. All are multiples of a page.
struct layout {
  static constexpr std::uint64_t begin = x86::tables_page;
  /// Bytes without memory below the stack: a frame that jumps over a single page would otherwise
  /// land in the arguments.
  static constexpr std::uint64_t guard_size = 64 * 1024;
  static constexpr std::size_t max_segments = 8;
  /// What a machine's memory may be at most: 64 GiB, whose page tables take 128 MiB. So no sum of
  /// an image's sizes wraps.
  static constexpr std::uint64_t max_size = std::uint64_t{1} << 36;

  std::uint64_t shared_end = 0;  ///< End of code and constants.
  std::uint64_t arguments = 0;   ///< Call frames and the data they refer to.
  std::uint64_t guard = 0;       ///< Unmapped, up to `stack`.
  std::uint64_t stack = 0;       ///< Its lowest address.
  std::uint64_t user_end = 0;    ///< End of the stack, and of what CPL 3 can touch.
  std::uint64_t trap_stack = 0;  ///< One supervisor page: what the processor pushes at a trap.
  std::uint64_t tables = 0;      ///< The page tables; mapped nowhere.
  std::uint64_t end = 0;

  std::array<x86::mapping, max_segments + 7> mappings{};
  std::size_t mapping_count = 0;

  [[nodiscard]] constexpr std::span<const x86::mapping> mapped() const {
    return std::span(mappings).first(mapping_count);
  }
  [[nodiscard]] constexpr std::uint64_t stack_top() const { return user_end; }
  /// Where the trampoline finds the function to call: the last bytes of the stack.
  [[nodiscard]] constexpr std::uint64_t call_address() const {
    return stack_top() - sizeof(x86::call_record);
  }
  [[nodiscard]] constexpr std::uint64_t trap_stack_top() const { return tables; }

  /// Returns whether the page of `address` is one of the image's own that the guest may write.
  [[nodiscard]] constexpr bool is_data(std::uint64_t address) const {
    return address < arguments && is_writable(address);
  }

  /// Returns whether the page of `address` is one that the guest may come to write.
  [[nodiscard]] constexpr bool is_writable(std::uint64_t address) const {
    for (const x86::mapping& m : mapped()) {
      if (address >= m.begin && address < m.end) return m.writable && m.user;
    }
    return false;
  }

  /// Returns whether the guest has all of [address, address + size), which must not wrap.
  [[nodiscard]] constexpr bool is_user(std::uint64_t address, std::uint64_t size) const {
    const std::uint64_t stop = address + size;
    for (const x86::mapping& m : mapped()) {
      // Ascending, so that what one mapping does not have the next one may.
      if (m.user && address >= m.begin && address < m.end) address = m.end;
    }
    return address >= stop;
  }
};

/// The memory map of bare images.
struct bare_layout {
  static constexpr std::uint64_t frame = 0x1000;
  static constexpr std::uint64_t tables = 0x4000;  ///< Of long64, and the end of the arguments.
  static constexpr std::uint64_t stack_top = 0x8000;
  static constexpr std::uint64_t load_address = 0x8000;
};

/// Returns whether a bare image's segments are ascending and in its memory, which is whole pages,
/// and its arguments in the room that there is for them.
constexpr bool is_well_formed_bare(const image_description& image) {
  if (image.memory_size > layout::max_size || image.memory_size % x86::page_size != 0) return false;
  if (image.arguments_size > bare_layout::tables - bare_layout::frame) return false;
  std::uint64_t at = bare_layout::load_address;
  for (const segment& s : image.segments) {
    if (s.address < at || s.address > image.memory_size) return false;
    if (s.memory_size > image.memory_size - s.address) return false;
    if (s.content.size() > s.memory_size) return false;
    at = s.address + s.memory_size;
  }
  return !image.segments.empty();
}

/// Returns whether an image's segments are as the library relies on: whole pages, ascending, never
/// both writable and executable, constants before data, and no larger than layout::max_size
/// together with arguments and stack. Bare images have other rules; see is_well_formed_bare().
constexpr bool is_well_formed(const image_description& image) {
  if (image.mode != x86::cpu_mode::user64) return is_well_formed_bare(image);
  if (image.segments.empty() || image.segments.size() > layout::max_segments) return false;
  if (image.arguments_size > layout::max_size || image.stack_size > layout::max_size) return false;
  if (image.stack_size == 0 || image.stack_size % x86::page_size != 0) return false;
  std::uint64_t at = x86::image_base;
  bool data_seen = false;
  for (const segment& s : image.segments) {
    if (s.address % x86::page_size != 0 || s.address < at) return false;
    if (s.content.size() > s.memory_size) return false;
    if (s.address > layout::max_size || s.memory_size > layout::max_size) return false;
    if (s.writable && s.executable) return false;
    if (data_seen && !s.writable) return false;
    data_seen = data_seen || s.writable;
    at = page_up(s.address + s.memory_size);
  }
  // Each of the three is a few times max_size at most.
  return at + page_up(image.arguments_size) + image.stack_size <= layout::max_size;
}

/// Returns the memory map of a well-formed user64 image.
constexpr layout layout_of(const image_description& image) {
  layout made;
  const auto map = [&](std::uint64_t begin, std::uint64_t end, bool writable, bool executable,
                       bool user) {
    made.mappings[made.mapping_count++] = {begin, end, writable, executable, user};
  };
  map(x86::tables_page, x86::tables_page + x86::page_size, false, false, false);
  map(x86::trap_stub_page, x86::trap_stub_page + x86::page_size, false, true, false);
  map(x86::trampoline_page, x86::trampoline_page + x86::page_size, false, true, true);
  // All of init_state_room: without these zeros the XRSTOR of each call faults on processors whose
  // state ends beyond the trampoline's page, as that of AMX does.
  map(x86::trampoline_page + x86::page_size, x86::image_base, false, false, true);

  made.shared_end = x86::image_base;
  std::uint64_t at = x86::image_base;
  for (const segment& s : image.segments) {
    const std::uint64_t end = page_up(s.address + s.memory_size);
    map(s.address, end, s.writable, s.executable, true);
    at = end;
    if (!s.writable) made.shared_end = end;
  }
  made.arguments = at;
  made.guard = made.arguments + page_up(image.arguments_size == 0 ? 1 : image.arguments_size);
  made.stack = made.guard + layout::guard_size;
  made.user_end = made.stack + image.stack_size;
  made.trap_stack = made.user_end;
  made.tables = made.trap_stack + x86::page_size;
  map(made.arguments, made.guard, true, false, true);
  map(made.stack, made.user_end, true, false, true);
  map(made.trap_stack, made.tables, true, false, false);
  made.end = made.tables + x86::tables_needed(made.mapped()) * x86::page_size;
  return made;
}

}  // namespace virtine::detail
