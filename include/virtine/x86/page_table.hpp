// Four-level page tables of an identity-mapped guest, built, read and loosened as bytes.
// Must not know what the mapped memory is for, nor who provides it.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include <virtine/abi/little_endian.hpp>
#include <virtine/abi/user64.hpp>

namespace virtine::x86 {

// Page table entry bits (SDM vol. 3, 4.5).
inline constexpr std::uint64_t pte_present = 1U << 0;
inline constexpr std::uint64_t pte_writable = 1U << 1;
inline constexpr std::uint64_t pte_user = 1U << 2;
inline constexpr std::uint64_t pte_accessed = 1U << 5;
inline constexpr std::uint64_t pte_dirty = 1U << 6;
inline constexpr std::uint64_t pte_large = 1U << 7;  ///< In a directory: a 2 MiB or 1 GiB page.
inline constexpr std::uint64_t pte_no_execute = std::uint64_t{1} << 63;
inline constexpr std::uint64_t pte_address = 0x000ffffffffff000;

/// The rights of a page that CPL 3 can read, and nothing can write or execute.
inline constexpr std::uint64_t pte_read_only =
    pte_present | pte_user | pte_accessed | pte_dirty | pte_no_execute;
/// Those of an entry that refers to a table, whose entries then decide.
inline constexpr std::uint64_t pte_branch = pte_present | pte_writable | pte_user | pte_accessed;

inline constexpr std::uint64_t address_limit = std::uint64_t{1} << 47;  ///< Of the lower half.
inline constexpr std::uint64_t large_page_size = std::uint64_t{2} << 20;
inline constexpr std::uint64_t directory_size = std::uint64_t{1} << 30;  ///< What one maps.
inline constexpr std::size_t identity_2m_tables = 3;  ///< Pages that build_identity_2m fills.

/// A range of pages with one set of rights. An empty range maps nothing.
struct mapping {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;  ///< First address beyond.
  bool writable = false;
  bool executable = false;
  bool user = false;
};

/// Says why tables were not built.
enum class page_table_error : std::uint8_t {
  none = 0,
  unaligned,            ///< An address is not a multiple of the page size.
  out_of_range,         ///< A range ends before it begins or beyond what can be mapped.
  null_guard,           ///< A range covers addresses below null_guard_end.
  writable_executable,  ///< A range is both writable and executable.
  overlap,              ///< Two ranges share a page.
  covers_tables,        ///< A range covers the tables themselves.
  no_room,              ///< The span is smaller than the tables.
};

/// Where the built tables are, or why there are none.
struct page_tables {
  page_table_error error = page_table_error::none;
  std::uint64_t pml4 = 0;  ///< Guest address for CR3; the first of the pages.
  std::size_t pages = 0;   ///< How many pages of the span are used.

  constexpr explicit operator bool() const { return error == page_table_error::none; }
};

/// What the tables say of one address.
struct leaf {
  std::uint64_t begin = 0;  ///< Physical address of the page.
  std::uint64_t size = 0;   ///< 4 KiB, 2 MiB or 1 GiB.
  std::size_t entry = 0;    ///< Offset of the page's entry in the tables.
  bool writable = false;    ///< These are the rights that all levels together grant.
  bool executable = false;
  bool user = false;
};

/// Returns a reason why `mappings` cannot be built, or none.
constexpr page_table_error check_mappings(std::span<const mapping> mappings) {
  for (std::size_t i = 0; i < mappings.size(); ++i) {
    const mapping& m = mappings[i];
    if (m.begin % page_size != 0 || m.end % page_size != 0) return page_table_error::unaligned;
    if (m.end < m.begin || m.end > address_limit) return page_table_error::out_of_range;
    if (m.writable && m.executable) return page_table_error::writable_executable;
    if (m.begin == m.end) continue;
    if (m.begin < null_guard_end) return page_table_error::null_guard;
    for (const mapping& other : mappings.first(i)) {
      if (m.begin < other.end && other.begin < m.end) return page_table_error::overlap;
    }
  }
  return page_table_error::none;
}

namespace detail {
/// Counts the table slots of 2^shift bytes that the ranges touch. A slot shared by ranges counts
/// once: each range skips what the ones before it have counted.
constexpr std::size_t count_slots(std::span<const mapping> mappings, unsigned shift) {
  std::size_t total = 0;
  for (std::size_t i = 0; i < mappings.size(); ++i) {
    if (mappings[i].begin >= mappings[i].end) continue;
    std::uint64_t next = mappings[i].begin >> shift;
    const std::uint64_t last = (mappings[i].end - 1) >> shift;
    while (next <= last) {
      std::uint64_t stop = last + 1;
      std::uint64_t counted_to = next;
      for (const mapping& other : mappings.first(i)) {
        if (other.begin >= other.end) continue;
        const std::uint64_t other_first = other.begin >> shift;
        const std::uint64_t other_last = (other.end - 1) >> shift;
        if (other_last < next) continue;
        if (other_first <= next) {
          counted_to = std::max(counted_to, other_last + 1);
        } else {
          stop = std::min(stop, other_first);
        }
      }
      if (counted_to > next) {
        next = counted_to;
      } else {
        total += static_cast<std::size_t>(stop - next);
        next = stop;
      }
    }
  }
  return total;
}

constexpr std::size_t entry_offset(std::size_t table, std::uint64_t address, unsigned shift) {
  return table + (address >> shift & 511) * 8;
}
}  // namespace detail

/// Returns how many pages the tables of `mappings` take, before it is known where they will be.
constexpr std::size_t tables_needed(std::span<const mapping> mappings) {
  return 1 + detail::count_slots(mappings, 39) + detail::count_slots(mappings, 30) +
         detail::count_slots(mappings, 21);
}

/// Builds the tables that identity-map `mappings`, in any order, into the zeroed `tables`, which
/// the guest will have at address `at`. Nothing is written unless all is well. The span may be
/// larger than tables_needed(); none of it may be mapped, so that no guest can edit its rights.
///
/// All entries have A, and leaves D, set beforehand, because the processor then has no reason to
/// write to the tables: their pages stay as built and can be shared between machines.
constexpr page_tables build_page_tables(std::span<std::byte> tables, std::uint64_t at,
                                        std::span<const mapping> mappings) {
  if (const auto error = check_mappings(mappings); error != page_table_error::none) return {error};
  if (at % page_size != 0) return {page_table_error::unaligned};
  if (at > address_limit || tables.size() > address_limit - at) {
    return {page_table_error::out_of_range};
  }
  for (const mapping& m : mappings) {
    if (m.begin < m.end && m.begin < at + tables.size() && at < m.end) {
      return {page_table_error::covers_tables};
    }
  }
  if (tables.size() / page_size < tables_needed(mappings)) return {page_table_error::no_room};

  std::size_t used = 1;
  for (const mapping& m : mappings) {
    const std::uint64_t rights = pte_present | pte_accessed | pte_dirty |
                                 (m.writable ? pte_writable : 0) | (m.user ? pte_user : 0) |
                                 (m.executable ? 0 : pte_no_execute);
    for (std::uint64_t address = m.begin; address < m.end;) {
      std::size_t table = 0;
      for (unsigned shift = 39; shift > 12; shift -= 9) {
        const std::size_t entry = detail::entry_offset(table, address, shift);
        const auto value = load<std::uint64_t>(tables, entry);
        if (value == 0) {
          table = used++ * page_size;
          store(tables, entry, (at + table) | pte_branch);
        } else {
          table = static_cast<std::size_t>((value & pte_address) - at);
        }
      }
      const std::uint64_t stop = std::min(m.end, (address | (large_page_size - 1)) + 1);
      for (; address < stop; address += page_size) {
        store(tables, detail::entry_offset(table, address, 12), address | rights);
      }
    }
  }
  return {page_table_error::none, at, used};
}

/// Has `tables`, built for a guest whose physical addresses are the virtual ones, refer to physical
/// addresses that are greater by `by`, the tables' own included.
constexpr void relocate(std::span<std::byte> tables, std::uint64_t by) {
  if (by == 0) return;
  for (std::size_t entry = 0; entry < tables.size(); entry += sizeof(std::uint64_t)) {
    const auto value = load<std::uint64_t>(tables, entry);
    if ((value & pte_present) != 0) store(tables, entry, value + by);
  }
}

/// Looks `address` up as the processor does, in tables whose first page is the PML4 and is at
/// guest address `at`. Returns nothing if the address is not mapped, or if an entry points out of
/// the span.
constexpr std::optional<leaf> walk(std::span<const std::byte> tables, std::uint64_t at,
                                   std::uint64_t address) {
  if (address >= address_limit) return std::nullopt;
  leaf found{.writable = true, .executable = true, .user = true};
  std::size_t table = 0;
  for (unsigned shift = 39;; shift -= 9) {
    if (tables.size() < page_size || table > tables.size() - page_size) return std::nullopt;
    found.entry = detail::entry_offset(table, address, shift);
    const auto value = load<std::uint64_t>(tables, found.entry);
    if ((value & pte_present) == 0) return std::nullopt;
    found.writable = found.writable && (value & pte_writable) != 0;
    found.user = found.user && (value & pte_user) != 0;
    found.executable = found.executable && (value & pte_no_execute) == 0;
    if (shift == 12 || (shift < 39 && (value & pte_large) != 0)) {
      found.size = std::uint64_t{1} << shift;
      found.begin = value & pte_address & ~(found.size - 1);
      return found;
    }
    const std::uint64_t next = value & pte_address;
    if (next < at || next - at >= tables.size()) return std::nullopt;
    table = static_cast<std::size_t>(next - at);
  }
}

/// Returns the offset of the entry that maps the 4 KiB page of `address`, if there is one.
constexpr std::optional<std::size_t> pte_offset(std::span<const std::byte> tables, std::uint64_t at,
                                                std::uint64_t address) {
  const auto found = walk(tables, at, address);
  if (!found || found->size != page_size) return std::nullopt;
  return found->entry;
}

/// Makes the 4 KiB page of `address` writable; returns whether it now is. Only a page that the
/// guest may touch and may not execute can be made so. A live machine sees this at the latest
/// after one more fault (SDM vol. 3, 4.10.4.3); the reverse edit it might never see.
constexpr bool make_writable(std::span<std::byte> tables, std::uint64_t at, std::uint64_t address) {
  const auto found = walk(tables, at, address);
  if (!found || found->size != page_size || !found->user || found->executable) return false;
  tables[found->entry] |= static_cast<std::byte>(pte_writable);
  return true;
}

/// Has `tables`, the first of which is the PML4, refer to the page directory at guest address
/// `directory` for the GiB of `address`. Returns false unless nothing is mapped there, and
/// something in the same 512 GiB is.
constexpr bool add_directory(std::span<std::byte> tables, std::uint64_t at, std::uint64_t address,
                             std::uint64_t directory) {
  const auto top = load<std::uint64_t>(tables, detail::entry_offset(0, address, 39));
  if ((top & pte_present) == 0) return false;
  const std::uint64_t pointers = (top & pte_address) - at;
  if (pointers > tables.size() - page_size) return false;
  const std::size_t entry = detail::entry_offset(static_cast<std::size_t>(pointers), address, 30);
  if (load<std::uint64_t>(tables, entry) != 0) return false;
  store(tables, entry, directory | pte_branch);
  return true;
}

/// Builds tables of 2 MiB pages that identity-map the first `bytes` of memory (rounded up, at most
/// 1 GiB) with every right but the user's, for a guest at CPL 0. The null guard does not apply.
constexpr page_tables build_identity_2m(std::span<std::byte> tables, std::uint64_t at,
                                        std::uint64_t bytes) {
  if (at % page_size != 0) return {page_table_error::unaligned};
  if (at >= address_limit || bytes > large_page_size * 512) {
    return {page_table_error::out_of_range};
  }
  if (tables.size() / page_size < identity_2m_tables) return {page_table_error::no_room};
  constexpr std::uint64_t branch = pte_present | pte_writable | pte_accessed;
  store(tables, 0, (at + page_size) | branch);
  store(tables, page_size, (at + 2 * page_size) | branch);
  for (std::uint64_t address = 0; address < bytes; address += large_page_size) {
    store(tables, detail::entry_offset(2 * page_size, address, 21),
          address | branch | pte_dirty | pte_large);
  }
  return {page_table_error::none, at, identity_2m_tables};
}

}  // namespace virtine::x86
