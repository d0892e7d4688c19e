// The state that every call of an image begins with: one sealed memory file with all of a machine's
// memory, which any number of machines map. Knows nothing of running them.
// SPDX-License-Identifier: MIT
#pragma once

#include <sys/mman.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <virtine/image.hpp>
#include <virtine/machine/layout.hpp>
#include <virtine/machine/learned_writes.hpp>
#include <virtine/os/mapping.hpp>
#include <virtine/os/quiet_signals.hpp>
#include <virtine/result.hpp>
#include <virtine/x86/descriptors.hpp>
#include <virtine/x86/page_table.hpp>
#include <virtine/x86/trampoline.hpp>
#include <virtine/x86/trap.hpp>

namespace virtine::detail {

/// What the initialiser of an image made of its data: the pages that it wrote.
struct initialised_data {
  std::vector<std::uint64_t> pages = {};  ///< Their addresses, ascending.
  std::vector<std::byte> content = {};    ///< x86::page_size bytes of each, in the same order.
};

/// The pristine memory of a user64 image. Immutable, but for what is learned(): the file is sealed
/// before any machine sees it, and a guest has no way to make, change or enlarge one.
class snapshot {
 public:
  /// The pages that are in every machine's write set from the start: where the frame begins and
  /// where the stack begins.
  static constexpr std::array<std::uint64_t, 2> hot_pages(const detail::layout& where) {
    return {where.arguments, where.user_end - x86::page_size};
  }

  /// Makes a snapshot of `image`, which must outlive it, or else be a loaded one: its segments,
  /// with `data` in place of what it covers; all else is the library's own or zeros. Costs a copy
  /// of both. Fails with errc::snapshot_refused if `data` is not of the image's writable pages.
  static result<std::shared_ptr<const snapshot>> create(const image_description& image,
                                                        const initialised_data& data = {}) {
    if (!is_well_formed(image)) {
      return error{.code = errc::machine_failure,
                   .operation =
                       "the image's segments are not whole, ascending pages with W^X, or it is "
                       "larger than 64 GiB"};
    }
    const detail::layout where = layout_of(image);
    const std::size_t size = where.end - layout::begin;
    // The kernel sends SIGXFSZ where a file would outgrow RLIMIT_FSIZE, and also fails the call.
    const os::quiet_signals quiet;
    auto file = os::create_memfd("virtine-snapshot", size);
    if (!file) return file.error();
    if (auto filled = fill(image, where, data, *file); !filled) return filled.error();
    auto sealed = os::seal(*file);
    if (!sealed) return sealed.error();
    auto pristine = os::mapping::of(*file, size, os::sharing::private_, PROT_READ);
    if (!pristine) return pristine.error();
    return std::shared_ptr<const snapshot>(
        new snapshot(image, where, data.pages, *std::move(file), *std::move(pristine)));
  }

  [[nodiscard]] const image_description& image() const { return image_; }
  [[nodiscard]] const detail::layout& layout() const { return layout_; }

  /// Returns the memory from layout::begin to layout::end as every call finds it.
  [[nodiscard]] std::span<const std::byte> pristine() const { return pristine_.bytes(); }

  /// Returns what its machines have learned from each other.
  [[nodiscard]] learned_writes& learned() const { return learned_; }

  /// Returns the addresses of the pages whose content is the initialiser's, ascending.
  [[nodiscard]] std::span<const std::uint64_t> initialised_pages() const { return initialised_; }

  /// Returns a machine's own view: writes go to private copies of the pages, and the shared part
  /// cannot be written at all.
  [[nodiscard]] result<os::mapping> map_private() const {
    auto memory = os::mapping::of(file_, layout_.end - layout::begin, os::sharing::private_);
    if (!memory) return memory.error();
    if (auto fixed = fix_shared_part(*memory, 0); !fixed) return fixed.error();
    return memory;
  }

  /// The same over what `memory` has from `offset` on.
  result<void> map_private_over(os::mapping& memory, std::size_t offset) const {
    auto put = memory.map_over(offset, layout_.end - layout::begin, file_, PROT_READ | PROT_WRITE,
                               os::sharing::private_);
    if (!put) return put;
    return fix_shared_part(memory, offset);
  }

 private:
  snapshot(const image_description& image, const detail::layout& where,
           std::vector<std::uint64_t> initialised, os::fd file, os::mapping pristine)
      : owner_(image.owner),
        image_(image),
        layout_(where),
        initialised_(std::move(initialised)),
        file_(std::move(file)),
        pristine_(std::move(pristine)) {}

  /// Without this a host bug, or KVM acting on a guest's behalf, could give one machine its own
  /// version of the code.
  result<void> fix_shared_part(os::mapping& memory, std::size_t offset) const {
    return memory.protect(offset, layout_.shared_end - layout::begin, PROT_READ);
  }

  static result<void> fill(const image_description& image, const detail::layout& where,
                           const initialised_data& data, const os::fd& file) {
    result<void> written;
    const auto put = [&](std::uint64_t address, std::span<const std::byte> bytes) {
      if (written) written = os::write_at(file, bytes, address - layout::begin);
    };
    put(x86::tables_page, x86::tables_page_bytes(where.trap_stack_top()));
    put(x86::trap_stub_page, x86::trap_stubs);
    put(x86::trampoline_page, x86::trampoline_bytes(where.call_address(), image.thread_pointer));
    for (const segment& s : image.segments) put(s.address, std::as_bytes(std::span(s.content)));

    // These may come from a file, so they are held against the map before any is used.
    if (data.content.size() != data.pages.size() * x86::page_size) {
      return error{.code = errc::snapshot_refused,
                   .operation = "the pages of the snapshot are not as many as their contents"};
    }
    std::uint64_t next = where.shared_end;
    for (std::size_t i = 0; i < data.pages.size(); ++i) {
      const std::uint64_t page = data.pages[i];
      if (page < next || page % x86::page_size != 0 || !where.is_data(page)) {
        return error{.code = errc::snapshot_refused,
                     .operation = "a page of the snapshot is none of the image's data",
                     .detail = page};
      }
      put(page, std::span(data.content).subspan(i * x86::page_size, x86::page_size));
      next = page + x86::page_size;
    }

    // Built with every writable page writable, then all of them made read-only: the first write to
    // each traps, and only what has trapped can have been written (machine::restore).
    auto memory = os::mapping::anonymous(where.end - where.tables);
    if (!memory) return memory.error();
    const std::span<std::byte> tables = memory->bytes();
    auto read_only = where.mappings;
    for (x86::mapping& m : read_only) m.writable = m.writable && !m.user;
    const auto built = x86::build_page_tables(tables, where.tables,
                                              std::span(read_only).first(where.mapping_count));
    if (!built) {
      return error{.code = errc::machine_failure,
                   .operation = "the image's memory map cannot be built",
                   .detail = static_cast<std::uint64_t>(built.error)};
    }
    // Two pages that every call writes are writable from the start, and always restored.
    for (std::uint64_t page : hot_pages(where)) x86::make_writable(tables, where.tables, page);
    put(where.tables, tables);
    return written;
  }

  const keeper owner_;  // First: it has what image_ refers to.
  const image_description& image_;
  const detail::layout layout_;
  const std::vector<std::uint64_t> initialised_;
  os::fd file_;
  os::mapping pristine_;
  mutable learned_writes learned_;
};

}  // namespace virtine::detail
