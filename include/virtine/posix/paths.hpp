// Paths of a guest: where one leads in its tree of granted directories, and the only place that
// opens files of the host for it.
// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <virtine/kvm/fd.hpp>
#include <virtine/posix/rights.hpp>

namespace virtine::posix::detail {

/// A descriptor of the host's, or an errno.
struct opened {
  kvm::fd file = {};
  int why = 0;
};

/// Opens what lies below `root`. Whatever the path says and whoever changes the tree meanwhile, it
/// is below there, and was reached through no symbolic link.
inline opened open_beneath(const kvm::fd& root, const std::string& path, std::uint64_t flags,
                           std::uint64_t mode = 0) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.mode = mode;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS;
  // The kernel gives up with EAGAIN when directories are moved meanwhile.
  for (int attempts = 0; attempts < 16; ++attempts) {
    // Sound: the kernel reads a path that ends with a zero byte and as many bytes as `how` has.
    const long file = ::syscall(SYS_openat2, root.get(), path.c_str(), &how, sizeof how);
    if (file >= 0) return {.file = kvm::fd(static_cast<int>(file))};
    if (errno != EAGAIN && errno != EINTR) return {.why = errno};
  }
  return {.why = EAGAIN};
}

/// Returns `path`, relative to the directory `base`, without ".", ".." and double slashes. As no
/// symbolic link is ever followed, that is the same file.
inline std::string normal_path(std::string_view base, std::string_view path) {
  std::string out;
  const auto append = [&](std::string_view text) {
    while (!text.empty()) {
      const std::size_t slash = text.find('/');
      const std::string_view part = text.substr(0, slash);
      text.remove_prefix(slash == text.npos ? text.size() : slash + 1);
      if (part == "..") {
        out.resize(out.empty() ? 0 : out.rfind('/'));
      } else if (!part.empty() && part != ".") {
        out += '/';
        out += part;
      }
    }
  };
  if (!path.starts_with('/')) append(base);
  append(path);
  return out.empty() ? "/" : out;
}

/// Where a path leads.
struct place {
  const directory_right* in = nullptr;  ///< Null: to no granted directory.
  std::size_t index = 0;                ///< Of `in` among all of them.
  std::string below = {};               ///< The path from there, "." for itself.
  std::string whole = {};               ///< The path in the guest's tree.
};

/// Finds the granted directory that is nearest to the file of a normal path.
inline place find_place(const rights& granted, std::string whole) {
  place found;
  for (std::size_t i = 0; i < granted.directories.size(); ++i) {
    const directory_right& each = granted.directories[i];
    const std::string_view at = each.at == "/" ? std::string_view() : each.at;
    const bool inside = whole.starts_with(at) &&
                        (whole.size() == at.size() || at.empty() || whole[at.size()] == '/');
    if (!inside || (found.in != nullptr && found.in->at.size() >= each.at.size())) continue;
    found.in = &each;
    found.index = i;
    found.below = whole.size() <= at.size() + 1 ? "." : whole.substr(at.size() + 1);
  }
  found.whole = std::move(whole);
  return found;
}

/// What the host says of a file, or an errno.
struct looked_up {
  struct ::stat status = {};
  int why = 0;
};

/// Looks at an open file, and refuses with EACCES what a guest is not to have: anything but
/// regular files and directories, and the files by which the kernel shows processes.
inline looked_up inspect(const kvm::fd& file) {
  looked_up out;
  struct ::statfs system {};
  if (::fstat(file.get(), &out.status) != 0 || ::fstatfs(file.get(), &system) != 0) {
    out.why = errno;
  } else if (system.f_type == PROC_SUPER_MAGIC) {
    out.why = EACCES;
  } else if (S_ISLNK(out.status.st_mode)) {
    out.why = ELOOP;
  } else if (!S_ISREG(out.status.st_mode) && !S_ISDIR(out.status.st_mode)) {
    out.why = EACCES;
  }
  return out;
}

/// Opens the directory that holds the file at `where`, which is not a granted directory itself, and
/// tells its name there.
inline opened open_parent(const place& where, std::string& name) {
  const std::size_t slash = where.below.rfind('/');
  name = slash == std::string::npos ? where.below : where.below.substr(slash + 1);
  const std::string parent = slash == std::string::npos ? "." : where.below.substr(0, slash);
  return open_beneath(*where.in->root, parent, O_PATH | O_DIRECTORY);
}

}  // namespace virtine::posix::detail
