// The system calls that take a descriptor: read, write and their kin, and what is asked about one.
// Knows nothing of paths.
// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <virtine/abi/little_endian.hpp>
#include <virtine/os/quiet_signals.hpp>
#include <virtine/posix/no_wait.hpp>
#include <virtine/posix/request.hpp>
#include <virtine/posix/rights.hpp>

namespace virtine::posix::detail {

using kind = open_file::kind;

/// A range of the guest's memory to read from or write to; an iovec of Linux's.
struct piece {
  std::uint64_t address = 0;
  std::uint64_t length = 0;
};

/// Returns how much of the pieces is moved by one call.
inline std::uint64_t total_of(std::span<const piece> pieces) {
  std::uint64_t total = 0;
  for (const piece& each : pieces) {
    total += std::min<std::uint64_t>(each.length, max_bytes_moved - total);
  }
  return total;
}

/// Answers with what a transfer made. One that was interrupted is to be asked for again, as the
/// guest must not know of the host's signals, and so is one that would have had to wait, after a
/// little while: the call's deadline is looked at between.
inline answer transferred(const open_file& file, std::int64_t made, short events) {
  if (made >= 0) return success(file.grant, made);
  if (made == -ENOSPC) return refused(file.grant, ENOSPC);
  if (made != -EINTR && made != -EAGAIN) return failure(file.grant, static_cast<int>(-made));
  if (made == -EAGAIN && file.what == kind::given) {
    constexpr int milliseconds = 10;
    pollfd wanted{.fd = file.file(), .events = events, .revents = 0};
    ::poll(&wanted, 1, milliseconds);  // How it ends does not matter.
  }
  return {.again = true, .grant = file.grant};
}

/// Returns the guest's bytes as the kernel is told of them.
inline iovec vector_of(std::span<const std::byte> bytes) {
  // Sound: they are only read.
  return {.iov_base = const_cast<std::byte*>(bytes.data()), .iov_len = bytes.size()};
}

inline answer read_file(const request& r, open_file& file, std::span<const piece> to, position at) {
  if (!file.reads) return refused(file.grant, EBADF);
  if (file.what == kind::directory) return failure(file.grant, EISDIR);
  const std::uint64_t size = total_of(to);
  if (size == 0) return success(file.grant, 0);
  const auto buffer = std::make_unique_for_overwrite<std::byte[]>(size);
  iovec whole{.iov_base = buffer.get(), .iov_len = size};
  const std::span one(&whole, 1);
  const std::int64_t got = file.what == kind::given
                               ? move_now(file.file(), one, at, false)
                               : or_errno(move_waiting(file.file(), one, at, false));
  if (got < 0) return transferred(file, got, POLLIN);
  std::span<const std::byte> rest(buffer.get(), static_cast<std::size_t>(got));
  for (const piece& each : to) {
    const auto part = rest.first(std::min<std::uint64_t>(rest.size(), each.length));
    if (part.empty()) continue;
    if (const int why = r.give(guest_address{each.address}, part)) return failure(file.grant, why);
    rest = rest.subspan(part.size());
  }
  return success(file.grant, got);
}

/// Returns by how much a file grows before what is written there begins, or a negative errno. Not
/// every file system has holes, and those who copy a file may not keep them.
inline std::int64_t gap_before(const open_file& file, position at) {
  if ((file.flags & O_APPEND) != 0) return 0;
  struct ::stat status {};
  const std::int64_t begin = at ? *at : ::lseek(file.file(), 0, SEEK_CUR);
  if (begin < 0 || ::fstat(file.file(), &status) != 0) return -std::int64_t{errno};
  return std::max<std::int64_t>(begin - status.st_size, 0);
}

/// Hands bytes to the sink of the outputs. Returns how many, or a negative errno.
inline std::int64_t write_output(const request& r, std::span<const std::byte> bytes) {
  const output_right& out = *r.granted.output;
  std::uint64_t& used = r.open.output_written();
  const std::size_t fits = std::min<std::uint64_t>(bytes.size(), out.most - used);
  if (fits == 0) return -ENOSPC;
  used += fits;
  // Sound: bytes are characters.
  out.sink({reinterpret_cast<const char*>(bytes.data()), fits});
  return static_cast<std::int64_t>(fits);
}

/// Writes to a file below a granted directory. Returns how many bytes, or a negative errno.
inline std::int64_t write_below(const request& r, open_file& file, std::span<const std::byte> bytes,
                                position at) {
  std::uint64_t& used = r.open.written_below(file.directory);
  const std::uint64_t left = r.granted.directories[file.directory].most - used;
  const std::int64_t before = gap_before(file, at);
  if (before < 0) return before;
  const auto gap = static_cast<std::uint64_t>(before);
  if (left <= gap) return -ENOSPC;
  iovec one = vector_of(bytes);
  one.iov_len = std::min<std::uint64_t>(bytes.size(), left - gap);
  const std::int64_t made =
      os::quietly([&] { return move_waiting(file.file(), std::span(&one, 1), at, true); });
  if (made > 0) used += gap + static_cast<std::uint64_t>(made);
  return made;
}

/// Writes all pieces to a given descriptor at once, as a socket may make one message of them.
inline std::int64_t write_given(const request& r, const open_file& file,
                                std::span<const piece> from, position at) {
  std::vector<iovec> bytes;
  std::uint64_t left = total_of(from);
  for (const piece& each : from) {
    const std::uint64_t length = std::min(each.length, left);
    if (length == 0) continue;
    const auto part = r.guest.read(guest_address{each.address}, length);
    if (!part) return -EFAULT;
    bytes.push_back(vector_of(*part));
    left -= length;
  }
  return bytes.empty() ? 0 : move_now(file.file(), bytes, at, true);
}

inline answer write_file(const request& r, open_file& file, std::span<const piece> from,
                         position at) {
  if (!file.writes) return refused(file.grant, EBADF);
  if (file.what == kind::given) {
    return transferred(file, write_given(r, file, from, at), POLLOUT);
  }
  std::uint64_t left = total_of(from);
  std::int64_t written = 0;
  for (const piece& each : from) {
    const std::uint64_t length = std::min(each.length, left);
    if (length == 0) continue;
    const auto bytes = r.guest.read(guest_address{each.address}, length);
    const std::int64_t made = !bytes                      ? -EFAULT
                              : file.what == kind::output ? write_output(r, *bytes)
                                                          : write_below(r, file, *bytes, at);
    if (made < 0 && written > 0) break;
    if (made < 0) return transferred(file, made, POLLOUT);
    written += made;
    left -= length;
    if (at) *at += made;
    if (static_cast<std::uint64_t>(made) < length) break;
  }
  return success(file.grant, written);
}

using transfer_function = answer (*)(const request&, open_file&, std::span<const piece>, position);

/// read, write, pread64 and pwrite64.
inline answer transfer_one(const request& r, open_file& file, transfer_function move,
                           bool positioned) {
  const piece one{r.arguments[1], r.arguments[2]};
  const auto at = static_cast<std::int64_t>(r.arguments[3]);
  if (one.length > std::numeric_limits<std::int64_t>::max()) return failure(file.grant, EINVAL);
  if (positioned && (at < 0 || file.what == kind::output)) {
    return failure(file.grant, at < 0 ? EINVAL : ESPIPE);
  }
  // All of it has to be the guest's, even if only some of it is moved.
  if (!r.guest.read(r.address(1), one.length)) return failure(file.grant, EFAULT);
  return move(r, file, std::span(&one, 1), positioned ? position(at) : position());
}

/// readv and writev.
inline answer transfer_many(const request& r, open_file& file, transfer_function move) {
  constexpr std::uint64_t max_pieces = 1024;
  const std::uint64_t count = r.arguments[2];
  if (count > max_pieces) return failure(file.grant, EINVAL);
  const auto bytes = r.guest.read(r.address(1), count * sizeof(piece));
  if (!bytes) return failure(file.grant, EFAULT);
  std::vector<piece> pieces(count);
  if (count != 0) std::memcpy(pieces.data(), bytes->data(), bytes->size());
  std::uint64_t total = 0;
  for (const piece& each : pieces) {
    constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();
    if (each.length > most || total > most - each.length) return failure(file.grant, EINVAL);
    total += each.length;
  }
  return move(r, file, pieces, {});
}

inline answer seek(const request& r, open_file& file) {
  if (file.what == kind::output) return failure(file.grant, ESPIPE);
  const int whence = r.number(2);
  if (whence < SEEK_SET || whence > SEEK_END) return failure(file.grant, EINVAL);
  return from_syscall(file.grant, ::lseek(file.file(), static_cast<off_t>(r.arguments[1]), whence));
}

/// Linux's struct stat. The device is a constant, and so are the owner and the group, because they
/// are the host's own affair; inode numbers are given, because they tell files apart.
inline structure<144> stat_of(const struct ::stat& from, std::uint64_t device) {
  structure<144> out;
  out.put(0, device)
      .put(8, std::uint64_t{from.st_ino})
      .put(16, std::uint64_t{from.st_nlink})
      .put(24, std::uint32_t{from.st_mode})
      .put(48, static_cast<std::uint64_t>(from.st_size))
      .put(56, std::uint64_t{4096})
      .put(64, static_cast<std::uint64_t>(from.st_blocks));
  const auto put_time = [&](std::size_t at, const timespec& time) {
    out.put(at, static_cast<std::uint64_t>(time.tv_sec));
    out.put(at + 8, static_cast<std::uint64_t>(time.tv_nsec));
  };
  put_time(72, from.st_atim);
  put_time(88, from.st_mtim);
  put_time(104, from.st_ctim);
  return out;
}

/// Tells of a given descriptor and the outputs no more than what kind of file they are.
inline answer stat_open(const request& r, const open_file& file, std::size_t to) {
  struct ::stat status {};
  if (file.what == kind::output) {
    status.st_mode = S_IFIFO | 0600;
  } else if (::fstat(file.file(), &status) != 0) {
    return failure(file.grant, errno);
  }
  std::uint64_t device = file.directory + 1;
  if (file.what == kind::output || file.what == kind::given) {
    const auto mode = status.st_mode;
    const off_t size = S_ISREG(mode) ? status.st_size : 0;
    status = {};
    status.st_mode = mode;
    status.st_size = size;
    device = 0;
  }
  const int why = r.give(r.address(to), stat_of(status, device).bytes);
  return why != 0 ? failure(file.grant, why) : success(file.grant, 0);
}

/// The entries of a directory, built anew: the kernel leaves padding as it was in its buffer, and
/// ".." would tell of a directory that may not be granted.
inline answer list_directory(const request& r, open_file& file) {
  if (file.what != kind::directory) return failure(file.grant, ENOTDIR);
  constexpr std::size_t name_at = 19;
  const std::size_t room = std::min<std::uint64_t>(r.arguments[2] & 0xffffffff, 32768);
  if (!r.guest.read(r.address(1), room)) return failure(file.grant, EFAULT);
  const auto buffer = std::make_unique<std::byte[]>(room);
  std::vector<std::byte> out(room);  // Before the directory is read, which goes on where it was.
  // Sound: there are `room` bytes.
  const long got = ::syscall(SYS_getdents64, file.file(), buffer.get(), room);
  if (got < 0) return failure(file.grant, errno);
  const std::span entries(buffer.get(), static_cast<std::size_t>(got));
  out.resize(entries.size());
  for (std::size_t at = 0; at < entries.size();) {
    const auto entry = entries.subspan(at);
    const std::size_t size = x86::load<std::uint16_t>(entry, 16);
    // Sound: bytes are characters, and the kernel's records hold more than what precedes the name.
    const char* const name = reinterpret_cast<const char*>(entry.data()) + name_at;
    const std::string_view text(name, ::strnlen(name, size - name_at - 1));
    const std::span to = std::span(out).subspan(at, size);
    x86::store(to, 0, text == ".." ? std::uint64_t{1} : x86::load<std::uint64_t>(entry, 0));
    x86::store(to, 8, x86::load<std::uint64_t>(entry, 8));
    x86::store(to, 16, static_cast<std::uint16_t>(size));
    to[18] = entry[18];
    std::memcpy(to.data() + name_at, text.data(), text.size());
    at += size;
  }
  const int why = out.empty() ? 0 : r.give(r.address(1), out);
  return why != 0 ? failure(file.grant, why) : success(file.grant, got);
}

inline answer control(const request& r, open_file& file) {
  switch (r.number(1)) {
    case F_GETFD:
      return success(file.grant, file.closes_on_exec ? FD_CLOEXEC : 0);
    case F_SETFD:
      file.closes_on_exec = (r.arguments[2] & FD_CLOEXEC) != 0;
      return success(file.grant, 0);
    case F_GETFL:
      return success(file.grant, file.what == kind::output ? O_WRONLY : file.flags);
    default:
      return failure(file.grant, EINVAL);
  }
}

inline answer truncate_open(const request& r, const open_file& file) {
  if (!file.writes || file.what != kind::file) return refused(file.grant, EINVAL);
  const auto size = static_cast<std::int64_t>(r.arguments[1]);
  if (size < 0) return failure(file.grant, EINVAL);
  struct ::stat status {};
  if (::fstat(file.file(), &status) != 0) return failure(file.grant, errno);
  const auto growth = static_cast<std::uint64_t>(std::max<std::int64_t>(size - status.st_size, 0));
  std::uint64_t& used = r.open.written_below(file.directory);
  if (growth > r.granted.directories[file.directory].most - used) {
    return refused(file.grant, EFBIG);
  }
  const std::int64_t made = os::quietly([&] { return ::ftruncate(file.file(), size); });
  if (made < 0) return failure(file.grant, static_cast<int>(-made));
  used += growth;
  return success(file.grant, 0);
}

/// Serves the calls whose first argument is a descriptor; nothing if it is another call.
inline std::optional<answer> serve_descriptor(const request& r, std::uint32_t call) {
  switch (call) {
    case SYS_read:
    case SYS_pread64:
    case SYS_readv:
    case SYS_write:
    case SYS_pwrite64:
    case SYS_writev:
    case SYS_lseek:
    case SYS_fstat:
    case SYS_getdents64:
    case SYS_fcntl:
    case SYS_ioctl:
    case SYS_ftruncate:
    case SYS_close:
      break;
    default:
      return std::nullopt;
  }
  if (!r.granted.any_descriptor()) return not_granted;
  open_file* const found = r.open.find(r.arguments[0]);
  if (found == nullptr) return constant(-EBADF);
  open_file& file = *found;
  switch (call) {
    case SYS_read:
    case SYS_pread64:
      return transfer_one(r, file, read_file, call == SYS_pread64);
    case SYS_readv:
      return transfer_many(r, file, read_file);
    case SYS_write:
    case SYS_pwrite64:
      return transfer_one(r, file, write_file, call == SYS_pwrite64);
    case SYS_writev:
      return transfer_many(r, file, write_file);
    case SYS_lseek:
      return seek(r, file);
    case SYS_fstat:
      return stat_open(r, file, 1);
    case SYS_getdents64:
      return list_directory(r, file);
    case SYS_fcntl:
      return control(r, file);
    case SYS_ioctl:
      return failure(file.grant, ENOTTY);
    case SYS_ftruncate:
      return truncate_open(r, file);
    default:
      break;
  }
  const std::size_t grant = file.grant;
  r.open.close(file);
  return success(grant, 0);
}

}  // namespace virtine::posix::detail
