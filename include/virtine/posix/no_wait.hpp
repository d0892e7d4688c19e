// Moves bytes through descriptors of the host's that others use too, without waiting for those.
// Knows nothing of guests.
// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include <virtine/os/quiet_signals.hpp>
#include <virtine/posix/host_files.hpp>

namespace virtine::posix::detail {

/// Where in a file: at its own position, or at this one.
using position = std::optional<std::int64_t>;

/// What a transfer through a descriptor can wait for, which decides how it is kept from that.
enum class waits_for : std::uint8_t {
  storage,   ///< No more than storage: regular files, directories, disks, /dev/null and its kin.
  peers,     ///< Sockets: MSG_DONTWAIT.
  openable,  ///< Pipes, FIFOs and terminals: RWF_NOWAIT, or they are opened again with O_NONBLOCK.
  anything,  ///< All else: RWF_NOWAIT, or the descriptor has O_NONBLOCK itself.
};

/// Returns whether it is a terminal, and not the other side of one: opening that again makes a new
/// terminal. One that was hung up is none any more.
inline bool is_terminal(int file) {
  unsigned number = 0;
  // Sound: the kernel writes an unsigned int at most.
  return ::isatty(file) == 1 && ::ioctl(file, TIOCGPTN, &number) != 0;
}

/// Returns whether it is /dev/null, /dev/zero, /dev/full or /dev/urandom.
inline bool never_waits(dev_t device) {
  return device == makedev(1, 3) || device == makedev(1, 5) || device == makedev(1, 7) ||
         device == makedev(1, 9);
}

/// Tells what a descriptor can wait for; nothing, and errno says why, if it is none.
inline std::optional<waits_for> what_it_waits_for(int file) {
  struct ::stat status {};
  if (::fstat(file, &status) != 0) return std::nullopt;
  switch (status.st_mode & S_IFMT) {
    case S_IFSOCK:
      return waits_for::peers;
    case S_IFIFO:
      return waits_for::openable;
    case S_IFDIR:
    case S_IFBLK:
      return waits_for::storage;
    case S_IFREG:
      // Some files of the kernel's own wait for events: /proc/kmsg, tracefs' trace_pipe.
      return check_file_system(file) == 0 ? waits_for::storage : waits_for::anything;
    case S_IFCHR:
      if (never_waits(status.st_rdev)) return waits_for::storage;
      return is_terminal(file) ? waits_for::openable : waits_for::anything;
    default:
      return waits_for::anything;
  }
}

/// Returns whether transfers through a descriptor can be kept from waiting, or an errno.
inline int check_never_waits(int file) {
  const auto what = what_it_waits_for(file);
  if (!what) return errno;
  const int flags = ::fcntl(file, F_GETFL);
  return *what == waits_for::anything && (flags & O_NONBLOCK) == 0 ? EWOULDBLOCK : 0;
}

/// readv, writev and their kin with a position. Returns the number of bytes, or -1 and errno.
inline ssize_t move_waiting(int file, std::span<iovec> bytes, position at, bool writes) {
  const int count = static_cast<int>(bytes.size());
  // Sound: the ranges are the caller's.
  if (writes) {
    return at ? ::pwritev(file, bytes.data(), count, *at) : ::writev(file, bytes.data(), count);
  }
  return at ? ::preadv(file, bytes.data(), count, *at) : ::readv(file, bytes.data(), count);
}

/// Returns what a call of the host's made, or a negative errno.
inline std::int64_t or_errno(ssize_t made) {
  return made < 0 ? -std::int64_t{errno} : made;
}

/// Moves bytes through a pipe, a terminal or what else may wait, by the first of the ways that the
/// kernel knows for it. Returns the number of bytes, or -1 and errno.
inline ssize_t move_through(int file, std::span<iovec> bytes, position at, bool writes,
                            bool openable) {
  constexpr int nowait = 8;  // RWF_NOWAIT, which not every C library has.
  // Sound: the ranges are the caller's. A position of -1 is the file's own.
  const long made = ::syscall(writes ? SYS_pwritev2 : SYS_preadv2, file, bytes.data(), bytes.size(),
                              at.value_or(-1), 0, nowait);
  if (made >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS)) return made;
  const int flags = ::fcntl(file, F_GETFL);
  if (flags < 0) return -1;
  if ((flags & O_NONBLOCK) != 0) return move_waiting(file, bytes, at, writes);
  if (!openable) return errno = EOPNOTSUPP, -1;
  // The user's own description stays as it is, because others share it. It may not do what the new
  // one could.
  if ((flags & O_ACCMODE) == (writes ? O_RDONLY : O_WRONLY)) return errno = EBADF, -1;
  const opened again = open_again(file, (writes ? O_WRONLY : O_RDONLY) | O_NONBLOCK | O_NOCTTY);
  // A FIFO that nobody reads cannot be opened to be written.
  if (!again.file) return errno = again.why == ENXIO ? EPIPE : again.why, -1;
  return move_waiting(again.file.get(), bytes, at, writes);
}

/// The same for a socket.
inline ssize_t move_by_socket(int file, std::span<iovec> bytes, position at, bool writes) {
  if (at) return errno = ESPIPE, -1;
  msghdr message{};
  message.msg_iov = bytes.data();
  message.msg_iovlen = bytes.size();
  // Sound: the ranges are the caller's.
  return writes ? ::sendmsg(file, &message, MSG_DONTWAIT) : ::recvmsg(file, &message, MSG_DONTWAIT);
}

/// Reads or writes through a descriptor that others may use at the same time. Waits for nobody but
/// storage: what cannot be done at once is -EAGAIN, and there is no moment between finding out and
/// doing it. Returns the number of bytes, which may be fewer, or a negative errno.
inline std::int64_t move_now(int file, std::span<iovec> bytes, position at, bool writes) {
  const auto what = what_it_waits_for(file);
  if (!what) return -std::int64_t{errno};
  return os::quietly([&] {
    switch (*what) {
      case waits_for::storage:
        return move_waiting(file, bytes, at, writes);
      case waits_for::peers:
        return move_by_socket(file, bytes, at, writes);
      default:
        return move_through(file, bytes, at, writes, *what == waits_for::openable);
    }
  });
}

}  // namespace virtine::posix::detail
