// The system calls that take a path: open, stat, unlink and their kin.
// Knows nothing of what is done with an open file.
// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include <virtine/posix/descriptor_calls.hpp>
#include <virtine/posix/paths.hpp>
#include <virtine/posix/request.hpp>
#include <virtine/posix/rights.hpp>

namespace virtine::posix::detail {

/// Creating an entry counts as so many bytes written, because it takes room on the host.
inline constexpr std::uint64_t entry_bytes = 4096;

/// Finds where the path at argument `text` leads, relative to the descriptor at argument `base` if
/// there is one. Returns 0 or an errno; a place outside of all granted directories is ENOENT.
inline int locate(const request& r, std::optional<std::size_t> base, std::size_t text, place& out) {
  std::string path;
  if (const int why = r.take_text(text, path)) return why;
  if (path.empty()) return ENOENT;
  const open_file* open = nullptr;
  std::optional<std::string> begin = "/";
  if (base && r.number(*base) != AT_FDCWD && path.front() != '/') {
    open = r.open.find(r.arguments[*base]);
    if (open == nullptr) return EBADF;
    if (open->what != kind::directory) return ENOTDIR;
    begin = guest_path_now(r.granted.directories[open->directory], open->owned);
    if (!begin) return ENOENT;
  }
  out = find_place(r.granted, normal_path(*begin, path));
  if (out.in == nullptr) return ENOENT;
  bool folder = path.ends_with('/');
  path.resize(path.find_last_not_of('/') + 1);
  const std::string_view name = std::string_view(path).substr(path.find_last_of('/') + 1);
  out.named = !name.empty() && name != "." && name != "..";
  // From the open directory itself, if the path stays below it: that may be moved meanwhile.
  if (open != nullptr && out.index == open->directory) {
    const auto rest = below(out.whole, *begin);
    if (rest && (*rest != "." || !out.named)) {
      out.from = &open->owned;
      out.rest = *rest;
    }
  }
  // What a slash follows, or a ".", has to be a directory; the kernel sees to that.
  if (name == ".") folder = true;
  if (folder && out.rest != ".") out.rest += '/';
  return 0;
}

/// Counts an entry that is to be created against what may be written. Returns whether it fits.
inline bool pay_for_entry(const request& r, const place& where) {
  std::uint64_t& used = r.open.written_below(where.index);
  if (where.in->most - used < entry_bytes) return false;
  used += entry_bytes;
  return true;
}

/// Makes the regular file at `where`, which must not exist, and opens it.
inline opened create_at(const place& where, int flags, std::uint64_t mode) {
  std::string name;
  const opened parent = open_parent(where, name);
  if (!parent.file) return {.why = parent.why};
  return open_beneath(parent.file, name, static_cast<std::uint64_t>(flags | O_CREAT | O_EXCL),
                      mode & 0777);
}

/// Opens the file at `where` as the guest wants it. Only what is known to be a regular file or a
/// directory is opened for real, and that very file, whoever puts another in its place meanwhile:
/// opening a device or a pipe can do something already.
inline answer open_at(const request& r, const place& where, int flags, std::uint64_t mode) {
  constexpr int large_file = 0100000;  // What Linux calls O_LARGEFILE; the host's libc has 0.
  constexpr int known = O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC | O_APPEND | O_NONBLOCK |
                        O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | large_file;
  const std::size_t grant = where.in->grant;
  const int access = flags & O_ACCMODE;
  if ((flags & ~known) != 0 || access == O_ACCMODE) return failure(grant, EINVAL);
  const bool writes = access != O_RDONLY;
  const bool creates = (flags & O_CREAT) != 0;
  if ((writes || creates || (flags & O_TRUNC) != 0) && !where.in->writable) {
    return refused(grant, EROFS);
  }
  if (creates && (flags & O_DIRECTORY) != 0) return failure(grant, EINVAL);
  if (r.open.full()) return failure(grant, EMFILE);

  const int wanted = access | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | (flags & O_APPEND);
  opened made{.why = EEXIST};
  bool is_directory = false;
  bool paid = false;
  // Somebody else may make the file, or remove it, after it was looked for.
  for (int attempts = 0; !made.file && attempts < 16; ++attempts) {
    const opened seen = open_to_look(where, O_NOFOLLOW);
    if (seen.file) {
      const looked_up found = inspect(seen.file);
      if (found.why == EACCES) return refused(grant, EACCES);
      if (found.why != 0) return failure(grant, found.why);
      if (creates && (flags & O_EXCL) != 0) return failure(grant, EEXIST);
      is_directory = S_ISDIR(found.status.st_mode);
      if (is_directory && (writes || creates)) return failure(grant, EISDIR);
      // Not O_NOFOLLOW, as the kernel's link to the file is one.
      made =
          open_again(seen.file.get(), (wanted & ~O_NOFOLLOW) | (flags & (O_TRUNC | O_DIRECTORY)));
      if (!made.file) return failure(grant, made.why);
    } else if (seen.why == ENOENT && creates && where.named) {
      if (!std::exchange(paid, true) && !pay_for_entry(r, where)) return refused(grant, ENOSPC);
      made = create_at(where, wanted, mode);
      if (!made.file && made.why != EEXIST) return failure(grant, made.why);
    } else {
      return seen.why == EACCES ? refused(grant, EACCES) : failure(grant, seen.why);
    }
  }
  if (!made.file) return failure(grant, made.why);
  return success(grant, static_cast<std::int64_t>(
                            r.open.add({.what = is_directory ? kind::directory : kind::file,
                                        .reads = access != O_WRONLY,
                                        .writes = writes,
                                        .closes_on_exec = (flags & O_CLOEXEC) != 0,
                                        .flags = flags & (O_ACCMODE | O_APPEND | O_NONBLOCK),
                                        .owned = std::move(made.file),
                                        .directory = where.index,
                                        .grant = grant})));
}

/// stat, lstat and newfstatat, whose structure goes to argument `to`.
inline answer stat_at(const request& r, const place& where, std::size_t to, bool follow) {
  const std::size_t grant = where.in->grant;
  const opened seen = open_to_look(where, follow ? 0 : O_NOFOLLOW);
  if (!seen.file) return failure(grant, seen.why);
  struct ::stat status {};
  if (::fstat(seen.file.get(), &status) != 0) return failure(grant, errno);
  const int why = r.give(r.address(to), stat_of(status, where.index + 1).bytes);
  return why != 0 ? failure(grant, why) : success(grant, 0);
}

/// readlink and readlinkat, by which realpath() looks for links. What a link says is the host's own
/// affair: guests cannot follow it, and it may be any path of the host's.
inline answer read_link(const place& where) {
  const std::size_t grant = where.in->grant;
  const opened seen = open_to_look(where, O_NOFOLLOW);
  if (!seen.file) return failure(grant, seen.why);
  struct ::stat status {};
  if (::fstat(seen.file.get(), &status) != 0) return failure(grant, errno);
  return S_ISLNK(status.st_mode) ? refused(grant, EACCES) : failure(grant, EINVAL);
}

inline answer access_at(const place& where, int mode) {
  const std::size_t grant = where.in->grant;
  if ((mode & ~(R_OK | W_OK | X_OK)) != 0) return failure(grant, EINVAL);
  const opened seen = open_to_look(where, 0);
  if (!seen.file) return failure(grant, seen.why);
  if ((mode & W_OK) != 0 && !where.in->writable) return failure(grant, EROFS);
  // Sound: the kernel reads an empty text and no memory besides.
  return from_syscall(grant, ::syscall(SYS_faccessat2, seen.file.get(), "", mode, AT_EMPTY_PATH));
}

/// Does something with the directory that holds the entry at `where`, if it may be written.
template <class Change>
answer change_entry(const place& where, const Change& change) {
  const std::size_t grant = where.in->grant;
  if (!where.in->writable) return refused(grant, EROFS);
  std::string name;
  const opened parent = open_parent(where, name);
  if (!parent.file) return failure(grant, parent.why);
  return from_syscall(grant, change(parent.file.get(), name.c_str()));
}

inline answer make_directory(const request& r, const place& where, std::uint64_t mode) {
  if (!where.named || where.rest == ".") return failure(where.in->grant, EEXIST);
  if (where.in->writable && !pay_for_entry(r, where)) return refused(where.in->grant, ENOSPC);
  return change_entry(where, [&](int parent, const char* name) {
    return ::mkdirat(parent, name, static_cast<mode_t>(mode & 0777));
  });
}

inline answer remove_entry(const request& r, const place& where, int flags) {
  const std::size_t grant = where.in->grant;
  if ((flags & ~AT_REMOVEDIR) != 0) return failure(grant, EINVAL);
  if (!where.named) return failure(grant, flags == 0 ? EISDIR : EINVAL);
  if (where.in->writable && holds_a_grant(r.granted, where)) return refused(grant, EBUSY);
  return change_entry(
      where, [&](int parent, const char* name) { return ::unlinkat(parent, name, flags); });
}

inline answer rename_entry(const request& r, const place& from, const place& to) {
  const std::size_t grant = from.in->grant;
  if (!to.in->writable) return refused(to.in->grant, EROFS);
  if (!from.in->writable) return refused(grant, EROFS);
  if (!from.named || !to.named) return failure(grant, EBUSY);
  if (holds_a_grant(r.granted, from) || holds_a_grant(r.granted, to)) return refused(grant, EBUSY);
  if (to.in != from.in) return failure(grant, EXDEV);
  std::string new_name;
  const opened new_parent = open_parent(to, new_name);
  if (!new_parent.file) return failure(grant, new_parent.why);
  return change_entry(from, [&](int parent, const char* name) {
    return ::renameat(parent, name, new_parent.file.get(), new_name.c_str());
  });
}

/// Says where a call has its arguments: the older ones lack the descriptor to begin at.
struct path_call {
  std::optional<std::size_t> base;
  std::size_t path;
};

inline std::optional<path_call> path_arguments(std::uint32_t call) {
  switch (call) {
    case SYS_open:
    case SYS_stat:
    case SYS_lstat:
    case SYS_access:
    case SYS_unlink:
    case SYS_rmdir:
    case SYS_mkdir:
    case SYS_rename:
    case SYS_readlink:
      return path_call{std::nullopt, 0};
    case SYS_openat:
    case SYS_newfstatat:
    case SYS_faccessat:
    case SYS_unlinkat:
    case SYS_mkdirat:
    case SYS_renameat:
    case SYS_readlinkat:
      return path_call{0, 1};
    default:
      return std::nullopt;
  }
}

/// Serves the calls that take a path; nothing if it is another call.
inline std::optional<answer> serve_path(const request& r, std::uint32_t call) {
  const auto where_to_look = path_arguments(call);
  if (!where_to_look) return std::nullopt;
  constexpr int empty_path = AT_EMPTY_PATH;
  if (call == SYS_newfstatat && (r.number(3) & empty_path) != 0) {
    std::string path;
    if (const int why = r.take_text(1, path)) return constant(-why);
    if (path.empty()) {
      if (!r.granted.any_descriptor()) return not_granted;
      const open_file* const file = r.open.find(r.arguments[0]);
      return file == nullptr ? constant(-EBADF) : stat_open(r, *file, 2);
    }
  }
  if (r.granted.directories.empty()) return not_granted;
  place where;
  if (const int why = locate(r, where_to_look->base, where_to_look->path, where)) {
    // What leads to a granted directory is one as well, though nothing of the host's.
    const bool is_above = !where.whole.empty() && holds_a_grant(r.granted, where);
    if (is_above && (call == SYS_readlink || call == SYS_readlinkat)) return constant(-EINVAL);
    return constant(-why);
  }
  const std::size_t next = where_to_look->path + 1;
  switch (call) {
    case SYS_open:
    case SYS_openat:
      return open_at(r, where, r.number(next), r.arguments[next + 1]);
    case SYS_stat:
    case SYS_lstat:
      return stat_at(r, where, 1, call == SYS_stat);
    case SYS_newfstatat:
      return stat_at(r, where, 2, (r.number(3) & AT_SYMLINK_NOFOLLOW) == 0);
    case SYS_readlink:
    case SYS_readlinkat:
      return read_link(where);
    case SYS_access:
    case SYS_faccessat:
      return access_at(where, r.number(next));
    case SYS_mkdir:
    case SYS_mkdirat:
      return make_directory(r, where, r.arguments[next]);
    case SYS_unlink:
      return remove_entry(r, where, 0);
    case SYS_rmdir:
      return remove_entry(r, where, AT_REMOVEDIR);
    case SYS_unlinkat:
      return remove_entry(r, where, r.number(next));
    default:
      break;
  }
  place to;
  const auto base = call == SYS_rename ? std::nullopt : std::optional<std::size_t>(2);
  if (const int why = locate(r, base, call == SYS_rename ? 1 : 3, to)) return constant(-why);
  return rename_entry(r, where, to);
}

}  // namespace virtine::posix::detail
