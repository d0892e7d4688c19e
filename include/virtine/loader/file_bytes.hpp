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
/// read.
class file_bytes {
 public:
  explicit file_bytes(std::span<const std::byte> bytes) : bytes_(bytes) {}
  explicit file_bytes(int descriptor) : descriptor_(descriptor) {}

  /// Copies what begins at `offset` to all of `into`. Fails with errc::image_refused if the file
  /// ends before.
  [[nodiscard]] result<void> read(std::uint64_t offset, std::span<std::byte> into) const {
    constexpr error truncated{.code = errc::image_refused, .operation = "the file is truncated"};
    if (into.empty()) return {};
    if (offset > max_offset) return truncated;
    if (descriptor_ < 0) {
      if (offset > bytes_.size() || into.size() > bytes_.size() - offset) return truncated;
      std::memcpy(into.data(), bytes_.data() + offset, into.size());
      return {};
    }
    return os::read_at(descriptor_, into, offset, truncated);
  }

 private:
  static constexpr std::uint64_t max_offset = INT64_MAX / 2;

  std::span<const std::byte> bytes_ = {};
  int descriptor_ = -1;
};

/// Fails if `descriptor` is not that of a regular file: others may give what they like, for ever.
inline result<void> check_regular(int descriptor) {
  struct ::stat about {};
  if (::fstat(descriptor, &about) != 0) return os::explain("fstat", errno);
  if (S_ISREG(about.st_mode)) return {};
  return error{.code = errc::image_refused, .operation = "this is not a regular file"};
}

/// Opens a file to be read by file_bytes.
inline result<os::fd> open_regular(const std::string& path) {
  // The kernel would take what is before it for the path.
  if (path.find('\0') != path.npos) {
    return error{.code = errc::image_refused,
                 .operation = "a path ends at a zero byte; were these the bytes of a file?"};
  }
  // Not blocking, which opening a pipe without a writer would, and without taking over a terminal.
  os::fd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
  if (!file) return os::explain("the file cannot be opened", errno);
  if (auto regular = check_regular(file.get()); !regular) return regular.error();
  return file;
}

}  // namespace virtine::detail
