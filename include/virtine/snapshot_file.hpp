// Snapshots as files: one process saves what an initialiser left, and others load it instead of
// running the initialiser.
// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include <virtine/abi/user64.hpp>
#include <virtine/image.hpp>
#include <virtine/kvm/uapi.hpp>
#include <virtine/loaded_image.hpp>
#include <virtine/machine/digest.hpp>
#include <virtine/machine/guest_cpu.hpp>
#include <virtine/machine/image_snapshots.hpp>
#include <virtine/machine/layout.hpp>
#include <virtine/machine/machine.hpp>
#include <virtine/machine/snapshot.hpp>
#include <virtine/os/error_text.hpp>
#include <virtine/os/fd.hpp>
#include <virtine/os/file_error.hpp>
#include <virtine/os/mapping.hpp>
#include <virtine/os/out_of_memory.hpp>
#include <virtine/os/quiet_signals.hpp>
#include <virtine/result.hpp>
#include <virtine/version.hpp>
#include <virtine/x86/processor.hpp>

namespace virtine {

namespace detail {

/// The beginning of a snapshot file. The addresses of its pages follow, 8 bytes each, then their
/// contents. All numbers are little-endian.
struct saved_header {
  static constexpr std::uint64_t expected_magic = 0x50414e5354524956;  // "VIRTSNAP"
  static constexpr std::uint64_t expected_format = 1;

  std::uint64_t magic = expected_magic;
  std::uint64_t format = expected_format;
  std::uint64_t version = VIRTINE_VERSION;
  std::uint64_t image = 0;      ///< Digest of the image description.
  std::uint64_t processor = 0;  ///< Digest of what guests can see of the processor.
  std::uint64_t pages = 0;      ///< How many there are.
  std::uint64_t content = 0;    ///< Digest of the addresses and contents of the pages.
};
static_assert(sizeof(saved_header) == 56);

inline std::uint64_t digest_of(const image_description& image) {
  digest all;
  all.add(image.name).add(static_cast<std::uint64_t>(image.mode));
  all.add(std::uint64_t{image.segments.size()});
  for (const segment& s : image.segments) {
    all.add(s.address).add(s.memory_size).add(s.content);
    all.add(std::uint64_t{s.writable}).add(std::uint64_t{s.executable});
  }
  all.add(std::uint64_t{image.symbols.size()});
  for (const symbol& s : image.symbols) all.add(s.address).add(s.size).add(s.name);
  all.add(std::uint64_t{image.imports.size()});
  for (std::uint32_t number : image.imports) all.add(std::uint64_t{number});
  all.add(image.arguments_size).add(image.stack_size).add(image.memory_size);
  return all.add(image.boot).add(image.init).add(image.thread_pointer).value();
}

/// Digests what CPUID tells a guest, but for the number of the processor that it runs on.
inline std::uint64_t digest_of(const kvm::cpuid_table& cpuid, std::uint64_t xcr0) {
  digest all;
  all.add(xcr0);
  for (kvm_cpuid_entry2 each :
       std::span(cpuid.entries).first(std::min(cpuid.nent, cpuid.capacity))) {
    // SDM vol. 2, CPUID: initial APIC id, x2APIC ids; APM vol. 3: extended APIC id.
    if (each.function == 1) each.ebx &= 0x00ffffff;
    if (each.function == 0xb || each.function == 0x1f) each.edx = 0;
    if (each.function == 0x8000001e) each.eax = each.ebx = each.ecx = 0;
    for (std::uint32_t value :
         {each.function, each.index, each.flags, each.eax, each.ebx, each.ecx, each.edx}) {
      all.add(std::uint64_t{value});
    }
  }
  return all.value();
}

inline std::uint64_t digest_of(std::span<const std::uint64_t> pages,
                               std::span<const std::byte> content) {
  return digest{}.add(std::as_bytes(pages)).add(content).value();
}

/// Writes all of `bytes` to a file.
inline result<void> write_all(const os::fd& file, std::span<const std::byte> bytes) {
  const os::quiet_signals quiet;  // RLIMIT_FSIZE ends in a signal, too.
  while (!bytes.empty()) {
    const ::ssize_t written = ::write(file.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return os::explain("write", errno);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

/// Returns the name of the file that `path` leads to, behind any links: one that is not there, or a
/// regular file. Fails where something else is, which a snapshot could not be loaded from.
inline result<std::string> file_to_replace(std::string path) {
  if (path.find('\0') != std::string::npos) {
    return os::explain("the snapshot file's path has a zero in it", EINVAL);
  }
  // First, because the kernel knows which links it must not follow (proc_sys_fs(5),
  // protected_symlinks).
  struct ::stat there {};
  const bool exists = ::stat(path.c_str(), &there) == 0;
  if (!exists && errno != ENOENT) return os::explain("the snapshot file cannot be created", errno);
  if (exists && !S_ISREG(there.st_mode)) {
    return os::explain("the snapshot file's path leads to what is not a regular file",
                       S_ISDIR(there.st_mode) ? EISDIR : EINVAL);
  }
  std::string target(4096, '\0');  // PATH_MAX
  for (int links = 0; links < 40; ++links) {
    const ::ssize_t length = ::readlink(path.c_str(), target.data(), target.size());
    if (length < 0) {
      // /proc has links to files that have no name any more.
      struct ::stat found {};
      if (exists && (::stat(path.c_str(), &found) != 0 || found.st_ino != there.st_ino ||
                     found.st_dev != there.st_dev)) {
        return os::explain("the snapshot file has no name that it could be replaced at", EINVAL);
      }
      return path;
    }
    path.resize(target.front() == '/' ? 0 : path.rfind('/') + 1);
    path.append(target, 0, static_cast<std::size_t>(length));
  }
  return os::explain("the snapshot file cannot be created", ELOOP);
}

/// Writes the pages that the initialiser wrote to `path`.
inline result<void> write_snapshot(const snapshot& from, std::uint64_t processor,
                                   const std::string& path) {
  const std::span<const std::uint64_t> pages = from.initialised_pages();
  std::vector<std::byte> content;
  content.reserve(pages.size() * x86::page_size);
  for (std::uint64_t page : pages) {
    const auto bytes = from.pristine().subspan(page - layout::begin, x86::page_size);
    content.insert(content.end(), bytes.begin(), bytes.end());
  }
  const std::array header{saved_header{.image = digest_of(from.image()),
                                       .processor = processor,
                                       .pages = pages.size(),
                                       .content = digest_of(pages, content)}};

  auto target = file_to_replace(path);
  if (!target) return target.error();
  // A file of its own that takes the place of the old one when it is whole. It is not flushed to
  // the disk: what a crash leaves of it is found damaged. Its name is short, because that of the
  // file may be as long as names can be.
  std::string temporary = target->substr(0, target->rfind('/') + 1) + ".virtine-XXXXXX";
  const os::fd file{::mkostemp(temporary.data(), O_CLOEXEC)};  // With mode 0600.
  if (!file) return os::explain("the snapshot file cannot be created", errno);
  auto written = write_all(file, std::as_bytes(std::span(header)));
  if (written) written = write_all(file, std::as_bytes(pages));
  if (written) written = write_all(file, content);
  if (written && ::rename(temporary.c_str(), target->c_str()) != 0) {
    written = os::explain("the snapshot file cannot be replaced", errno);
  }
  if (!written) ::unlink(temporary.c_str());
  return written;
}

/// Returns what `path` holds for `image`, having found it whole and made for this host.
inline result<initialised_data> read_snapshot(const image_description& image,
                                              std::uint64_t processor, const std::string& path) {
  constexpr auto refused = [](const char* why) {
    return error{.code = errc::snapshot_refused, .operation = why};
  };
  const auto fill = [&](const os::fd& from, std::span<std::byte> bytes, std::size_t offset) {
    return os::read_at(from.get(), bytes, offset, refused("the snapshot file is truncated"));
  };
  // Not blocking, which opening a pipe without a writer would.
  const os::fd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (!file) return os::explain("the snapshot file cannot be opened", errno);
  struct ::stat about {};
  if (::fstat(file.get(), &about) != 0) return os::explain("fstat", errno);
  if (!S_ISREG(about.st_mode)) return refused("this is not a snapshot file");
  const auto size = static_cast<std::uint64_t>(about.st_size);

  std::array<saved_header, 1> headers;
  saved_header& header = headers.front();
  auto got = fill(file, std::as_writable_bytes(std::span(headers)), 0);
  if (!got) return got.error();
  if (header.magic != saved_header::expected_magic) return refused("this is not a snapshot file");
  if (header.format != saved_header::expected_format || header.version != VIRTINE_VERSION) {
    return refused("the snapshot is of another version of the library");
  }
  if (header.image != digest_of(image)) return refused("the snapshot is of another image");
  if (header.processor != processor) {
    return refused("the snapshot is of a host with another processor or KVM");
  }

  // Before anything is allocated: no more than the image has room for, and as long as that takes.
  const layout where = layout_of(image);
  if (header.pages > (where.arguments - where.shared_end) / x86::page_size) {
    return refused("the snapshot file has more pages than the image");
  }
  const std::uint64_t needed =
      sizeof header + header.pages * (sizeof(std::uint64_t) + x86::page_size);
  if (size < needed) return refused("the snapshot file is truncated");
  if (size > needed) return refused("the snapshot file is too long");

  initialised_data data;
  data.pages.resize(header.pages);
  got = fill(file, std::as_writable_bytes(std::span(data.pages)), sizeof header);
  if (!got) return got.error();
  data.content.resize(header.pages * x86::page_size);
  got = fill(file, data.content, sizeof header + data.pages.size() * sizeof(std::uint64_t));
  if (!got) return got.error();
  if (header.content != digest_of(data.pages, data.content)) {
    return refused("the snapshot file is damaged");
  }
  return data;
}

/// Digests what the processor itself says of its instructions (SDM vol. 2, CPUID), because on a
/// software KVM that is what a guest's CPUID shows.
template <class Cpuid>
std::uint64_t digest_of_instructions(const Cpuid& cpuid, std::uint64_t xcr0) {
  constexpr std::uint32_t osxsave = 1U << 27;  // The operating system's doing, and in XCR0.
  digest all;
  all.add(xcr0);
  for (const std::uint32_t function : {1U, 0x80000001U}) {
    const x86::cpuid_answer features = cpuid(function, 0U);
    all.add(std::uint64_t{features.ecx & ~osxsave}).add(std::uint64_t{features.edx});
  }
  for (const std::uint32_t index : {0U, 1U}) {
    const x86::cpuid_answer features = cpuid(7U, index);
    for (const std::uint32_t value : {features.eax, features.ebx, features.ecx, features.edx}) {
      all.add(std::uint64_t{value});
    }
  }
  return all.add(std::uint64_t{cpuid(0xdU, 1U).eax}).value();
}

/// Returns the digest of this host's processor as guests see it.
inline result<std::uint64_t> processor_digest() {
  auto cpu = guest_cpu::shared();
  if (!cpu) return cpu.error();
  return digest{}
      .add(digest_of(*(*cpu)->cpuid, (*cpu)->xcr0))
      .add(digest_of_instructions(x86::native_cpuid, x86::native_xcr0()))
      .value();
}

}  // namespace detail

namespace detail {

inline result<void> save_snapshot_of(const image_description& image, const std::string& path) {
  return os::or_out_of_memory([&]() -> result<void> {
    auto processor = processor_digest();
    if (!processor) return processor.error();
    auto from = shared_snapshot<machine>(image);
    if (!from) return from.error();
    return os::of_file(write_snapshot(**from, *processor, path), path);
  });
}

inline result<std::shared_ptr<const snapshot>> load_snapshot_of(const image_description& image,
                                                                const std::string& path) {
  return os::or_out_of_memory([&]() -> result<std::shared_ptr<const snapshot>> {
    auto processor = processor_digest();
    if (!processor) return processor.error();
    auto data = read_snapshot(image, *processor, path);
    if (!data) return os::of_file(data.error(), path);
    auto made = snapshot::create(image, *data);
    if (!made) return os::of_file(made.error(), path);
    held_snapshot& held = place_of(image).held();
    std::lock_guard lock(held.guard);
    held.set(*made);
    return made;
  });
}

}  // namespace detail

/// An image whose snapshot can be saved.
template <class T>
concept snapshot_image = guest_image<T> && T::description.mode ==
                         x86::cpu_mode::user64&& detail::is_well_formed(T::description);

/// Writes the process's snapshot of Image to `path`. Runs the initialiser if no machine holds a
/// snapshot. The file has what the initialiser left in the guest's data, and only its owner may
/// read it. It replaces an older file in one step; a symbolic link stays, and leads to the new
/// file. Fails as creating a machine does. Also fails with errc::os_error if the file cannot be
/// written, or `path` leads to something that is not a regular file.
template <snapshot_image Image>
result<void> save_snapshot(const std::string& path) {
  return detail::save_snapshot_of(Image::description, path);
}
/// The same of a loaded image.
inline result<void> save_snapshot(const loaded_image& image, const std::string& path) {
  return detail::save_snapshot_of(image.description(), path);
}

/// Makes the file at `path` the process's snapshot of Image. Machines that are made from now on
/// begin with it, as long as one of them, their pool or the returned value is kept. Fails with
/// errc::snapshot_refused if the file was not saved from this very image, by this version of the
/// library, on such a host, or is not as it was saved. Fails with errc::os_error if it cannot be
/// read.
template <snapshot_image Image>
result<std::shared_ptr<const detail::snapshot>> load_snapshot(const std::string& path) {
  return detail::load_snapshot_of(Image::description, path);
}
/// The same of a loaded image.
inline result<std::shared_ptr<const detail::snapshot>> load_snapshot(const loaded_image& image,
                                                                     const std::string& path) {
  return detail::load_snapshot_of(image.description(), path);
}

}  // namespace virtine
