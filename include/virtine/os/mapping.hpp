// Owned memory mappings and the memory files behind them.
// Knows nothing of guests or of what the bytes mean.
// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include <virtine/error.hpp>
#include <virtine/os/error_text.hpp>
#include <virtine/os/fd.hpp>
#include <virtine/result.hpp>

namespace virtine::os {

/// Says where writes to a mapping of a file go.
enum class sharing {
  shared = MAP_SHARED,     ///< To the file.
  private_ = MAP_PRIVATE,  ///< To copies of the pages that this mapping alone sees.
};

/// Owns a range of mapped memory and unmaps it.
class mapping {
 public:
  mapping() noexcept = default;
  mapping(mapping&& other) noexcept
      : bytes_(std::exchange(other.bytes_, {})), guard_(other.guard_) {}
  mapping& operator=(mapping&& other) noexcept {
    mapping old = std::move(other);
    std::swap(bytes_, old.bytes_);
    std::swap(guard_, old.guard_);
    return *this;
  }
  ~mapping() {
    // Sound: the range came from mmap and is ours alone; whoever holds bytes() must be gone.
    if (!bytes_.empty()) ::munmap(bytes_.data() - guard_, bytes_.size() + 2 * guard_);
  }

  /// Maps `size` bytes of zeroes, readable and writable. Memory is taken page by page when first
  /// written, and is not reserved.
  static result<mapping> anonymous(std::size_t size) {
    return map(size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  }

  /// The same between two pages that cannot be written, so that the kernel does not make one of it
  /// and memory next to it: to take the whole of it away and give it back then needs no more room
  /// in the kernel's map.
  static result<mapping> guarded(std::size_t size) {
    auto made =
        map(size + 2 * guard_size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (!made) return made;
    made->guard_ = guard_size;
    made->bytes_ = made->bytes_.subspan(guard_size, size);
    if (auto opened = made->protect(0, size, PROT_READ | PROT_WRITE); !opened)
      return opened.error();
    return made;
  }

  /// Reserves `size` bytes of addresses, from a multiple of `alignment` on, in which nothing can be
  /// accessed. Both are multiples of the page size, `alignment` a power of two.
  static result<mapping> reserve(std::size_t size, std::size_t alignment) {
    auto made =
        map(size + alignment, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (!made) return made;
    const std::span<std::byte> all = std::exchange(made->bytes_, {});
    // Sound: only the number of the address counts.
    const std::size_t skipped = -reinterpret_cast<std::uintptr_t>(all.data()) & (alignment - 1);
    made->bytes_ = all.subspan(skipped, size);
    // Sound: what was mapped before and behind what is kept is ours, and nobody has seen it.
    if (skipped > 0) ::munmap(all.data(), skipped);
    // Sound: as above.
    ::munmap(all.data() + skipped + size, alignment - skipped);
    return made;
  }

  /// Maps the first `length` bytes of a file over those from `offset` of the mapping, both
  /// multiples of the page size, with `protection` (PROT_*). A private mapping is not reserved.
  result<void> map_over(std::size_t offset, std::size_t length, const fd& file, int protection,
                        sharing how = sharing::shared) {
    const int reserve = how == sharing::private_ ? MAP_NORESERVE : 0;
    return put_over(offset, length, protection, static_cast<int>(how) | reserve, file.get());
  }

  /// Has `length` bytes from `offset` of the mapping be as reserve() gives them.
  result<void> empty_again(std::size_t offset, std::size_t length) {
    return put_over(offset, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
  }

  /// Maps `size` bytes of a file from `offset`, a multiple of the page size. The file may be closed
  /// afterwards. A private mapping is not reserved.
  static result<mapping> of(const fd& file, std::size_t size, sharing how,
                            int protection = PROT_READ | PROT_WRITE, ::off_t offset = 0) {
    const int reserve = how == sharing::private_ ? MAP_NORESERVE : 0;
    return map(size, protection, static_cast<int>(how) | reserve, file.get(), offset);
  }

  /// Returns the mapped bytes; valid while this object lives and is not moved from.
  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return bytes_; }
  [[nodiscard]] std::size_t size() const noexcept { return bytes_.size(); }

  /// Sets the protection (PROT_*) of `length` bytes from `offset`, both multiples of the page size.
  /// Fails with errc::out_of_range beyond the mapping.
  result<void> protect(std::size_t offset, std::size_t length, int protection) {
    if (length > bytes_.size() || offset > bytes_.size() - length)
      return error{.code = errc::out_of_range, .operation = "mprotect", .detail = offset};
    // Sound: the range lies in the mapping, which this object owns.
    if (::mprotect(bytes_.data() + offset, length, protection) != 0)
      return explain("mprotect", errno);
    return {};
  }

  /// Has the kernel make `length` bytes from `offset`, both multiples of the page size and within
  /// the mapping, present for writing at once. A hint: kernels before 5.14 do not take it.
  void populate(std::size_t offset, std::size_t length) const {
    constexpr int madv_populate_write = 23;  // Which not every C library's headers have.
    // Sound: the range lies in the mapping, and its contents stay what they are.
    static_cast<void>(::madvise(bytes_.data() + offset, length, madv_populate_write));
  }

  /// Has the kernel back `length` bytes from `offset`, both multiples of 2 MiB, with pages of that
  /// size at once. A hint: only Linux 6.1 and later take it for files in memory.
  void collapse(std::size_t offset, std::size_t length) const {
    constexpr int madv_collapse = 25;  // Which not every C library's headers have.
    // Sound: the range lies in the mapping, and its contents stay what they are.
    static_cast<void>(::madvise(bytes_.data() + offset, length, madv_collapse));
  }

 private:
  static constexpr std::size_t guard_size = 4096;

  explicit mapping(std::span<std::byte> bytes) noexcept : bytes_(bytes) {}

  static result<mapping> map(std::size_t size, int protection, int flags, int file,
                             ::off_t offset) {
    // Sound: without MAP_FIXED the kernel picks a range in which nothing else lives.
    void* const start = ::mmap(nullptr, size, protection, flags, file, offset);
    if (start == MAP_FAILED) return explain("mmap", errno);
    return mapping({static_cast<std::byte*>(start), size});
  }

  result<void> put_over(std::size_t offset, std::size_t length, int protection, int flags,
                        int file) {
    if (length > bytes_.size() || offset > bytes_.size() - length)
      return error{.code = errc::out_of_range, .operation = "mmap", .detail = offset};
    void* const there = bytes_.data() + offset;
    // Sound: the range lies in the mapping, which this object owns; what was there goes.
    if (::mmap(there, length, protection, flags | MAP_FIXED, file, 0) == MAP_FAILED)
      return explain("mmap", errno);
    return {};
  }

  std::span<std::byte> bytes_;
  std::size_t guard_ = 0;  // Bytes that are mapped before and behind these.
};

/// Creates a memory file of `size` zero bytes that can be sealed and cannot be executed as a
/// program. `name` shows in /proc only.
inline result<fd> create_memfd(const char* name, std::size_t size) {
  constexpr unsigned noexec_seal =
      8;  // MFD_NOEXEC_SEAL, since Linux 6.3; some systems insist on it.
  fd file{::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | noexec_seal)};
  if (!file && errno == EINVAL) file = fd{::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  if (!file) return explain("memfd_create", errno);
  if (::ftruncate(file.get(), static_cast<::off_t>(size)) != 0) return explain("ftruncate", errno);
  return file;
}

/// Writes all of `bytes` to a file at `offset`. Unlike a shared mapping it leaves nothing that a
/// fork could copy, and a lack of memory is an error and no signal.
inline result<void> write_at(const fd& file, std::span<const std::byte> bytes, std::size_t offset) {
  while (!bytes.empty()) {
    // Sound: the kernel reads as many bytes as there are.
    const ::ssize_t written =
        ::pwrite(file.get(), bytes.data(), bytes.size(), static_cast<::off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return explain("pwrite", errno);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    offset += static_cast<std::size_t>(written);
  }
  return {};
}

/// Fills `bytes` from `offset` of a file. Fails with `truncated` if the file ends before.
inline result<void> read_at(int file, std::span<std::byte> bytes, std::size_t offset,
                            const error& truncated) {
  while (!bytes.empty()) {
    const ::ssize_t got = ::pread(file, bytes.data(), bytes.size(), static_cast<::off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return explain("pread", errno);
    if (got == 0) return truncated;
    bytes = bytes.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::size_t>(got);
  }
  return {};
}

/// Makes the contents and the size of a memory file unchangeable for good. Fails with EBUSY while a
/// writable shared mapping of it exists; private mappings stay writable for themselves.
inline result<void> seal(const fd& file) {
  constexpr int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
  if (::fcntl(file.get(), F_ADD_SEALS, seals) != 0) return explain("F_ADD_SEALS", errno);
  return {};
}

}  // namespace virtine::os
