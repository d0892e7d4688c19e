// Paths of a guest: where one leads in its tree of granted directories, and the only place that
// opens files of the host for it.
// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <virtine/os/fd.hpp>
#include <virtine/posix/host_files.hpp>
#include <virtine/posix/rights.hpp>

namespace virtine::posix::detail {

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

/// Returns what of a normal path is below the directory `above`, "." for itself; nothing if it is
/// not there.
inline std::optional<std::string_view> below(std::string_view path, std::string_view above) {
  if (above == "/") above = {};
  if (!path.starts_with(above)) return std::nullopt;
  path.remove_prefix(above.size());
  if (path.empty() || path == "/") return ".";
  if (path.front() != '/') return std::nullopt;
  return path.substr(1);
}

/// Where a path leads.
struct place {
  const directory_right* in = nullptr;  ///< Null: to no granted directory.
  std::size_t index = 0;                ///< Of `in` among all of them.
  const os::fd* from = nullptr;  ///< The directory where `rest` begins: that of `in`, or below.
  std::string rest = {};         ///< The path from there, "." for itself.
  std::string whole = {};        ///< The path in the guest's tree.
  bool named = true;             ///< It ends with a name, and not with "." or "..".
};

/// Finds the granted directory that is nearest to the file of a normal path.
inline place find_place(const granted_rights& granted, std::string whole) {
  place found;
  for (std::size_t i = 0; i < granted.directories.size(); ++i) {
    const directory_right& each = granted.directories[i];
    const auto rest = below(whole, each.at);
    if (!rest || (found.in != nullptr && found.in->at.size() >= each.at.size())) continue;
    found.in = &each;
    found.index = i;
    found.from = each.root.get();
    found.rest = *rest;
  }
  found.whole = std::move(whole);
  return found;
}

/// Returns whether a directory is granted at this place or below it. Such an entry is not to be
/// moved, replaced or removed, as that of a mount point is not: what is granted there to be read
/// would else be within reach by another path, which may be granted to be written.
inline bool holds_a_grant(const granted_rights& granted, const place& where) {
  return std::any_of(granted.directories.begin(), granted.directories.end(),
                     [&](const directory_right& each) { return below(each.at, where.whole); });
}

/// Returns where a directory that a guest has open is in its tree now, whoever has moved it;
/// nothing if it is not below the granted directory any more.
inline std::optional<std::string> guest_path_now(const directory_right& in, const os::fd& open) {
  const auto root = path_now(*in.root);
  const auto now = path_now(open);
  if (!root || !now) return std::nullopt;
  const auto rest = below(*now, *root);
  if (!rest) return std::nullopt;
  return normal_path(in.at, *rest);
}

/// What the host says of a file, or an errno.
struct looked_up {
  struct ::stat status = {};
  int why = 0;
};

/// Opens what is at `where`, to look at it and no more, and fails with EACCES in file systems that
/// hold no files.
inline opened open_to_look(const place& where, int flags) {
  opened made = open_beneath(*where.from, where.rest, static_cast<std::uint64_t>(flags | O_PATH));
  if (!made.file) return made;
  if (const int why = check_file_system(made.file.get())) return {.why = why};
  return made;
}

/// Looks at an open file, and refuses with EACCES what a guest is not to open: anything but regular
/// files and directories.
inline looked_up inspect(const os::fd& file) {
  looked_up out;
  if (::fstat(file.get(), &out.status) != 0) {
    out.why = errno;
  } else if (S_ISLNK(out.status.st_mode)) {
    out.why = ELOOP;
  } else if (!S_ISREG(out.status.st_mode) && !S_ISDIR(out.status.st_mode)) {
    out.why = EACCES;
  }
  return out;
}

/// Opens the directory that holds the entry at `where`, which is not a granted directory itself,
/// and tells its name there, with the slash if one follows.
inline opened open_parent(const place& where, std::string& name) {
  const std::size_t slash = where.rest.rfind('/', where.rest.size() - 2);
  name = slash == std::string::npos ? where.rest : where.rest.substr(slash + 1);
  place parent = where;
  parent.rest = slash == std::string::npos ? "." : where.rest.substr(0, slash);
  return open_to_look(parent, O_DIRECTORY);
}

}  // namespace virtine::posix::detail
