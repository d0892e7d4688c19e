// Where a guest finds the memory that it is lent: a part of its addresses that is empty until a
// call brings something. Knows nothing of calls.
// SPDX-License-Identifier: MIT
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <utility>

#include <virtine/abi/little_endian.hpp>
#include <virtine/abi/signature.hpp>
#include <virtine/abi/user64.hpp>
#include <virtine/guest_memory.hpp>
#include <virtine/kvm/vm.hpp>
#include <virtine/lent.hpp>
#include <virtine/machine/layout.hpp>
#include <virtine/os/mapping.hpp>
#include <virtine/os/out_of_memory.hpp>
#include <virtine/result.hpp>
#include <virtine/x86/page_table.hpp>

namespace virtine::detail {

/// The lent memory of one machine: a GiB of addresses for each argument that can be lent, its pane.
///
/// In the last 2 MiB of a pane pages have 4 KiB, before them 2 MiB, and memory lies so that its
/// last part of less than 2 MiB begins there. So each page has one entry, which is absent or always
/// the same, and no entry ever changes between a page and a table: of that no KVM with shadow
/// paging would learn. It learns of an entry that goes by the mapping that goes with it.
class lent_window {
 public:
  /// The first address. An image with a window ends before.
  static constexpr std::uint64_t begin = std::uint64_t{1} << 32;
  static constexpr std::uint64_t pane_size = x86::directory_size;
  static_assert(lent_memory::max_size == pane_size);

  /// Returns whether a machine of that layout can have one.
  static constexpr bool fits(const layout& where) { return where.end <= begin; }

  /// Returns where a guest finds memory of `size` bytes in a pane.
  static constexpr guest_address address_of(std::size_t index, std::size_t size) {
    return guest_address{begin + index * pane_size + offset_of(size)};
  }

  /// Makes the window of `vm`, whose page tables are `tables`, at guest address `at`. Nothing is in
  /// it. It must outlive the VM.
  static result<std::unique_ptr<lent_window>> create(kvm::vm& vm, std::span<std::byte> tables,
                                                     std::uint64_t at) {
    auto memory = os::mapping::anonymous(tables_size);
    if (!memory) return memory.error();
    std::unique_ptr<lent_window> made(new (std::nothrow) lent_window(*std::move(memory)));
    if (made == nullptr) return os::out_of_memory();
    for (std::size_t i = 0; i < max_lent; ++i) {
      x86::store(made->directory(i), last_entry,
                 (tables_begin + (2 * i + 1) * x86::page_size) | x86::pte_branch);
      const std::uint64_t leaf_tables = tables_begin + 2 * i * x86::page_size;
      if (!x86::add_directory(tables, at, begin + i * pane_size, leaf_tables)) {
        return error{.code = errc::machine_failure,
                     .operation = "the window for lent memory is not empty"};
      }
    }
    // Last: once KVM knows of the memory, it must stay.
    auto given =
        vm.set_user_memory_region(kvm::slot_of(tables_slot, tables_begin, made->tables_.bytes()));
    if (!given) return given.error();
    return made;
  }

  /// Has the next call find `wanted` in the first panes, and nothing in the others. Costs nothing
  /// where it is there already, else two mappings, and drops what KVM has mapped of that pane, of
  /// nothing else.
  result<void> lend(kvm::vm& vm, std::span<const lent_memory* const> wanted) {
    next_is_set_ = true;
    for (std::size_t i = 0; i < panes_.size(); ++i) {
      static const lent_memory nothing;
      const lent_memory& next = i < wanted.size() ? *wanted[i] : nothing;
      if (panes_[i].memory == next) [[likely]]
        continue;
      if (auto emptied = take_back(i); !emptied) return emptied;
      if (next.size() == 0) continue;
      if (auto shown = show(vm, i, next); !shown) return shown;
    }
    return {};
  }

  /// Begins a call. What an earlier one was lent and this one is not is taken back.
  result<void> begin_call(kvm::vm& vm) {
    // Without this a call of one function would find what another of the pool's was lent.
    if (!next_is_set_) {
      if (auto emptied = lend(vm, {}); !emptied) return emptied;
    }
    next_is_set_ = false;
    return {};
  }

  /// Returns the bytes [address, address + size) as the host can read them, if they are lent and
  /// nobody can cut them off.
  [[nodiscard]] std::optional<std::span<const std::byte>> view(guest_address address,
                                                               std::uint64_t size) const {
    for (std::size_t i = 0; i < panes_.size(); ++i) {
      const lent_memory& memory = panes_[i].memory;
      if (memory.size() == 0) continue;
      const guest_memory all(address_of(i, memory.size()), memory.pages_->contents.bytes());
      if (const auto found = all.view(address, size)) return std::span<const std::byte>(*found);
    }
    return std::nullopt;
  }

  /// Returns whether the call that failed may have done so because a lent file cannot be read.
  [[nodiscard]] bool has_file() const {
    return std::any_of(panes_.begin(), panes_.end(), [](const pane& each) {
      return each.memory.size() > 0 && each.memory.bytes().empty();
    });
  }

 private:
  /// KVM is told of a pane in pieces, from its end on, because its records of each take room.
  static constexpr std::uint64_t piece_size = std::uint64_t{64} << 20;
  static constexpr std::uint32_t pieces = pane_size / piece_size;
  static constexpr std::uint32_t tables_slot = 2;  // 0 and 1 are the machine's own memory.
  static constexpr std::uint32_t first_slot = 3;
  static constexpr std::uint64_t tables_begin = begin + max_lent * pane_size;
  static constexpr std::size_t tables_size = max_lent * 2 * x86::page_size;
  static constexpr std::size_t entries = x86::page_size / sizeof(std::uint64_t);
  static constexpr std::size_t last_entry = x86::page_size - sizeof(std::uint64_t);

  struct pane {
    os::mapping host;        // Its addresses in the host, once something was lent.
    lent_memory memory;      // What is there.
    std::uint32_t told = 0;  // How many pieces KVM knows.
  };

  explicit lent_window(os::mapping tables) : tables_(std::move(tables)) {}

  /// Returns how many pages of 2 MiB memory of `size` bytes has.
  static constexpr std::size_t large_pages(std::size_t size) {
    return std::min(size / x86::large_page_size, std::size_t{entries - 1});
  }
  /// Returns where memory of `size` bytes begins in a pane.
  static constexpr std::size_t offset_of(std::size_t size) {
    return (entries - 1 - large_pages(size)) * x86::large_page_size;
  }

  [[nodiscard]] std::span<std::byte> directory(std::size_t index) const {
    return tables_.bytes().subspan(2 * index * x86::page_size, x86::page_size);
  }
  [[nodiscard]] std::span<std::byte> last_table(std::size_t index) const {
    return tables_.bytes().subspan((2 * index + 1) * x86::page_size, x86::page_size);
  }

  /// Gives the pages of what is in a pane `rights`, or none.
  void set_entries(std::size_t index, std::uint64_t rights) {
    const std::size_t size = panes_[index].memory.size();
    const std::uint64_t base = begin + index * pane_size;
    const auto put = [&](std::span<std::byte> table, std::size_t entry, std::uint64_t offset,
                         std::uint64_t kind) {
      x86::store(table, entry * sizeof(std::uint64_t),
                 rights == 0 ? std::uint64_t{0} : (base + offset) | rights | kind);
    };
    const std::size_t large = large_pages(size);
    for (std::size_t i = entries - 1 - large; i < entries - 1; ++i) {
      put(directory(index), i, i * x86::large_page_size, x86::pte_large);
    }
    const std::size_t last = (entries - 1) * x86::large_page_size;
    for (std::size_t i = 0; i * x86::page_size < size - large * x86::large_page_size; ++i) {
      put(last_table(index), i, last + i * x86::page_size, 0);
    }
  }

  result<void> show(kvm::vm& vm, std::size_t index, const lent_memory& memory) {
    pane& it = panes_[index];
    const std::size_t offset = offset_of(memory.size());
    if (it.host.size() == 0) {
      auto reserved = os::mapping::reserve(pane_size, x86::large_page_size);
      if (!reserved) return reserved.error();
      it.host = *std::move(reserved);
    }
    for (; pane_size - it.told * piece_size > offset; ++it.told) {
      const std::uint64_t at = pane_size - (it.told + 1) * piece_size;
      auto given = vm.set_user_memory_region(
          kvm::slot_of(first_slot + static_cast<std::uint32_t>(index) * pieces + it.told,
                       begin + index * pane_size + at, it.host.bytes().subspan(at, piece_size),
                       KVM_MEM_READONLY));
      if (!given) return given;
    }
    const lent_pages& pages = *memory.pages_;
    if (auto mapped = it.host.map_over(offset, pages.mapped_size(), pages.file, PROT_READ); !mapped)
      return mapped;
    it.memory = memory;
    set_entries(index, x86::pte_read_only);
    return {};
  }

  result<void> take_back(std::size_t index) {
    pane& it = panes_[index];
    if (it.memory.size() == 0) return {};
    // Both: without the first the guest would be stopped as by a host that lacks memory; without
    // the second it could still read, through a processor or KVM that remembers the entry.
    set_entries(index, 0);
    auto emptied =
        it.host.empty_again(offset_of(it.memory.size()), it.memory.pages_->mapped_size());
    if (emptied) it.memory = {};
    return emptied;
  }

  os::mapping tables_;  // For each pane a page directory and a page table.
  std::array<pane, max_lent> panes_;
  bool next_is_set_ = false;  // Whether lend() has said what the next call is lent.
};

}  // namespace virtine::detail
