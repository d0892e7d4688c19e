// Opens files of the host so that nobody can put another in their place meanwhile, and tells which
// file systems hold files. Knows nothing of guests.
// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include <virtine/os/fd.hpp>

namespace virtine::posix::detail {

/// A descriptor of the host's, or an errno.
struct opened {
  os::fd file = {};
  int why = 0;
};

/// Opens what lies below `root`. Whatever the path says and whoever changes the tree meanwhile, it
/// is below there, and was reached through no symbolic link.
inline opened open_beneath(const os::fd& root, const std::string& path, std::uint64_t flags,
                           std::uint64_t mode = 0) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.mode = mode;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS;
  // The kernel gives up with EAGAIN when directories are moved meanwhile.
  for (int attempts = 0; attempts < 16; ++attempts) {
    // Sound: the kernel reads a path that ends with a zero byte and as many bytes as `how` has.
    const long file = ::syscall(SYS_openat2, root.get(), path.c_str(), &how, sizeof how);
    if (file >= 0) return {.file = os::fd(static_cast<int>(file))};
    if (errno != EAGAIN && errno != EINTR) return {.why = errno};
  }
  return {.why = EAGAIN};
}

/// Returns the link by which the kernel shows what a descriptor of this thread's refers to.
inline std::string link_of(int file) {
  return "/proc/thread-self/fd/" + std::to_string(file);
}

/// Opens the very file that `file` refers to once more: an open file description of its own, which
/// shares neither flags nor position. Without /proc it fails with ENOENT.
inline opened open_again(int file, int flags) {
  // Sound: the path ends with a zero byte.
  os::fd made(::open(link_of(file).c_str(), flags | O_CLOEXEC));
  if (!made) return {.why = errno};
  return {.file = std::move(made)};
}

/// Returns the path where the file is now; nothing if the kernel cannot tell.
inline std::optional<std::string> path_now(const os::fd& file) {
  std::array<char, 4096> text;
  // Sound: there are as many bytes.
  const ssize_t length = ::readlink(link_of(file.get()).c_str(), text.data(), text.size());
  if (length <= 0 || static_cast<std::size_t>(length) == text.size()) return std::nullopt;
  return std::string(text.data(), static_cast<std::size_t>(length));
}

/// Returns whether file systems of this type (statfs) hold files. All others are how the kernel
/// shows itself and is told what to do (proc, sysfs, cgroup, debugfs, bpf and whatever comes), or
/// are not known. Sources: linux/magic.h, statfs(2) and the table of stat in GNU coreutils.
inline bool holds_files(std::uint32_t type) {
  constexpr std::array types{
      // On disks and in flash memory.
      0xef53U,      // ext2, ext3, ext4
      0x58465342U,  // XFS
      0x9123683eU,  // Btrfs
      0xf2f52010U,  // F2FS
      0xca451a4eU,  // bcachefs
      0x2fc12fc1U,  // ZFS
      0x3153464aU,  // JFS
      0x52654973U,  // ReiserFS
      0x3434U,      // NILFS
      0x4244U,      // HFS
      0x482bU,      // HFS+
      0x00011954U,  // UFS
      0x4d44U,      // FAT
      0x2011bab0U,  // exFAT
      0x5346544eU,  // NTFS
      0x7366746eU,  // NTFS3
      0x9660U,      // ISO 9660
      0x15013346U,  // UDF
      0x73717368U,  // SquashFS
      0xe0f5e1e2U,  // EROFS
      0x28cd3d45U,  // cramfs
      0x7275U,      // romfs
      0x24051905U,  // UBIFS
      0x72b6U,      // JFFS2
      // In memory, and on top of others.
      0x01021994U,  // tmpfs
      0x858458f6U,  // ramfs
      0x794c7630U,  // overlayfs
      0x61756673U,  // aufs
      0xf15fU,      // eCryptfs
      // Served by others: networks, hypervisors, programs.
      0x6969U,      // NFS
      0x517bU,      // SMB
      0xff534d42U,  // CIFS
      0xfe534d42U,  // SMB2
      0x00c36400U,  // Ceph
      0x5346414fU,  // AFS
      0x6b414653U,  // kAFS
      0x73757245U,  // Coda
      0x7461636fU,  // OCFS2
      0x01161970U,  // GFS2
      0x0bd00bd0U,  // Lustre
      0x47504653U,  // GPFS
      0x19830326U,  // BeeGFS
      0x20030528U,  // OrangeFS
      0x01021997U,  // 9P
      0x65735546U,  // FUSE, virtiofs
      0x786f4256U,  // VirtualBox
      0xbacbacbcU,  // VMware
      0x7c7c6673U,  // Parallels
      0x53464846U,  // WSL
      0x00c0ffeeU,  // User-mode Linux
  };
  return std::find(types.begin(), types.end(), type) != types.end();
}

/// Returns 0 if the file is in a file system that holds files, EACCES if not, or another errno.
inline int check_file_system(int file) {
  struct ::statfs system {};
  if (::fstatfs(file, &system) != 0) return errno;
  return holds_files(static_cast<std::uint32_t>(system.f_type)) ? 0 : EACCES;
}

}  // namespace virtine::posix::detail
