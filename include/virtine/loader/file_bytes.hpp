// The bytes of a file that is read in pieces, or of one that is in memory already.
// Knows nothing of what they mean.
// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include <virtine/os/error_text.hpp>
#include <virtine/os/fd.hpp>
#include <virtine/os/mapping.hpp>
#include <virtine/result.hpp>

namespace virtine::detail {

/// Reads at any place. A file may change meanwhile: each piece is whatever was there when it was
/// read, and its size is what it was at first.
class file_bytes {
 public:
  explicit file_bytes(std::span<const std::byte> bytes)
      : bytes_(bytes.data()), size_(bytes.size()) {}

  /// Returns the bytes of the file that is open as `descriptor`, which has to stay open. Fails if
  /// it is no regular file: others may give what they like, for ever.
  static result<file_bytes> of(int descriptor) {
    struct ::stat about {};
    if (::fstat(descriptor, &about) != 0) return os::explain("fstat", errno);
    if (!S_ISREG(about.st_mode)) {
      return error{.code = errc::image_refused, .operation = "this is not a regular file"};
    }
    return file_bytes(descriptor, static_cast<std::uint64_t>(about.st_size));
  }

  /// Fails with errc::image_refused if the file does not have `size` bytes at `offset`. None are
  /// everywhere.
  [[nodiscard]] result<void> check(std::uint64_t offset, std::uint64_t size) const {
    if (size == 0 || (offset <= size_ && size <= size_ - offset)) return {};
    return truncated;
  }

  /// Copies what begins at `offset` to all of `into`. Fails as check() does.
  [[nodiscard]] result<void> read(std::uint64_t offset, std::span<std::byte> into) const {
    if (auto there = check(offset, into.size()); !there || into.empty()) return there;
    if (descriptor_ >= 0) return os::read_at(descriptor_, into, offset, truncated);
    std::memcpy(into.data(), bytes_ + offset, into.size());
    return {};
  }

 private:
  static constexpr error truncated{.code = errc::image_refused,
                                   .operation = "the file is truncated"};

  file_bytes(int descriptor, std::uint64_t size) : descriptor_(descriptor), size_(size) {}

  const std::byte* bytes_ = nullptr;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
};

/// Opens a file to be read by file_bytes.
inline result<os::fd> open_to_read(const std::string& path) {
  // The kernel would take what is before it for the path.
  if (path.find('\0') != path.npos) {
    return error{.code = errc::image_refused,
                 .operation = "a path ends at a zero byte; were these the bytes of a file?"};
  }
  // Not blocking, which opening a pipe without a writer would, and without taking over a terminal.
  os::fd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
  if (!file) return os::explain("the file cannot be opened", errno);
  return file;
}

}  // namespace virtine::detail
