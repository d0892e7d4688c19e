// The one directory that requests may name files of. Must not know what asks.
// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>

#include <virtine/os/fd.hpp>

#include "http.hpp"

namespace http {

/// A file that was opened, or none.
struct opened_file {
  virtine::os::fd fd;
  file_info info;
};

class directory {
 public:
  /// Opens the directory. Throws std::system_error.
  explicit directory(const std::string& path)
      : fd_(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)) {
    if (!fd_) throw std::system_error(errno, std::generic_category(), path);
  }

  /// Opens a regular file below the directory for reading, by a relative path without symbolic
  /// links. The kernel sees to it that no path leads out.
  [[nodiscard]] opened_file find(std::string_view path) const {
    std::array<char, most_path + 1> name;
    if (path.empty() || path.size() >= name.size() || path.find('\0') != std::string_view::npos) {
      return {};
    }
    *std::copy(path.begin(), path.end(), name.begin()) = '\0';
    open_how how{};
    how.flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;  // A pipe's writer is not waited for.
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
    const long fd = ::syscall(SYS_openat2, fd_.get(), name.data(), &how, sizeof how);
    opened_file file{.fd = virtine::os::fd(static_cast<int>(fd)), .info = {}};
    struct ::stat found {};
    if (!file.fd || ::fstat(file.fd.get(), &found) != 0 || !S_ISREG(found.st_mode)) return {};
    file.info.size = static_cast<std::uint64_t>(found.st_size);
    // From 1970 to 2262; what file systems have before and after would be no number.
    const auto count = [](const ::timespec& at) {
      constexpr std::int64_t second = 1'000'000'000;
      constexpr std::int64_t last = INT64_MAX / second - 1;
      return std::clamp<std::int64_t>(at.tv_sec, 0, last) * second + at.tv_nsec;
    };
    file.info.modified = count(found.st_mtim);
    file.info.changed = count(found.st_ctim);
    return file;
  }

 private:
  virtine::os::fd fd_;
};

}  // namespace http
