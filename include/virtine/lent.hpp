// lent_memory, which guests read without a copy, and lent<const T>, the argument that says so.
// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

#include <virtine/abi/checks.hpp>
#include <virtine/abi/object_bytes.hpp>
#include <virtine/abi/signature.hpp>
#include <virtine/error.hpp>
#include <virtine/os/error_text.hpp>
#include <virtine/os/fd.hpp>
#include <virtine/os/file_error.hpp>
#include <virtine/os/mapping.hpp>
#include <virtine/os/out_of_memory.hpp>
#include <virtine/os/quiet_signals.hpp>
#include <virtine/result.hpp>
#include <virtine/x86/page_table.hpp>

namespace virtine {

namespace detail {

class lent_window;

/// What a lent_memory refers to. Whole pages that belong to nothing else: else a guest would see
/// what of the host's happens to share the first or the last page.
struct lent_pages {
  os::fd file;
  std::size_t size;      // As the guest is told; the rest of the last page is zeros.
  os::mapping contents;  // Empty if this is a file of the program's.

  [[nodiscard]] std::size_t mapped_size() const { return align_up(size, x86::page_size); }
};

}  // namespace detail

/// Memory that guests can read where it is, and not write: passed to a function as lent<const T>.
/// It is memory of its own, which the program fills, or a file. A cheap handle: copies refer to the
/// same memory, which exists as long as one of them, or a machine that was lent it last. May be
/// used by any thread.
///
/// What the program writes into it while a call runs the guest sees, at once, late or torn, as
/// another thread would without a lock; nothing else of the call depends on it. A child of fork
/// shares it with its parent.
class lent_memory {
 public:
  /// The most that one can have, in bytes.
  static constexpr std::size_t max_size = std::size_t{1} << 30;

  /// Refers to nothing, and has size 0.
  lent_memory() = default;

  /// Makes `size` bytes of zeros. All of it is memory at once, in pages of 2 MiB where Linux gives
  /// such (6.1 and later), with which a guest's first look costs a fault for each 2 MiB instead of
  /// each 4 KiB. Fails with errc::bad_argument beyond max_size, and as the kernel does.
  static result<lent_memory> allocate(std::size_t size) {
    if (size > max_size) return too_large(size);
    if (size == 0) return lent_memory();
    detail::lent_pages made{.file = {}, .size = size, .contents = {}};
    const std::size_t mapped = made.mapped_size();
    // The kernel sends SIGXFSZ where a file would outgrow RLIMIT_FSIZE, and also fails the call.
    const os::quiet_signals quiet;
    auto file = os::create_memfd("virtine-lent", mapped);
    if (!file) return file.error();
    made.file = *std::move(file);
    // Else memory that was cut off would be a signal to whoever reads it in the host.
    if (::fcntl(made.file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
      return os::explain("F_ADD_SEALS", errno);
    auto contents = os::mapping::reserve(mapped, x86::large_page_size);
    if (!contents) return contents.error();
    made.contents = *std::move(contents);
    auto opened = made.contents.map_over(0, mapped, made.file, PROT_READ | PROT_WRITE);
    if (!opened) return opened.error();
    use_large_pages(made);
    // Else a lack of memory would be a signal, to whoever writes a page first.
    while (::fallocate(made.file.get(), 0, 0, static_cast<::off_t>(mapped)) != 0) {
      if (errno != EINTR) return os::explain("fallocate", errno);
    }
    return of(std::move(made));
  }

  /// Lends the file that `descriptor`, open for reading, refers to, as large as it is now. The
  /// descriptor stays the caller's. A call whose guest reads what the file has lost meanwhile, or
  /// what its storage cannot read, fails with errc::os_error. Fails with errc::bad_argument if it
  /// is not a regular file or larger than max_size, and as the kernel does.
  static result<lent_memory> of_file(int descriptor) {
    struct ::stat about {};
    if (::fstat(descriptor, &about) != 0) return os::explain("fstat", errno);
    // Others may make KVM wait for ever, or are memory that is none.
    if (!S_ISREG(about.st_mode)) {
      return error{.code = errc::bad_argument,
                   .operation = "only a regular file can be lent to guests"};
    }
    const auto size = static_cast<std::uint64_t>(about.st_size);
    if (size > max_size) return too_large(size);
    if (size == 0) return lent_memory();
    detail::lent_pages made{.file = os::fd{::fcntl(descriptor, F_DUPFD_CLOEXEC, 0)},
                            .size = static_cast<std::size_t>(size),
                            .contents = {}};
    if (!made.file) return os::explain("F_DUPFD_CLOEXEC", errno);
    // Whether it can be mapped is told here, not by the first call.
    auto tried = os::mapping::of(made.file, made.mapped_size(), os::sharing::shared, PROT_READ);
    if (!tried) return tried.error();
    return of(std::move(made));
  }

  /// The same of the file at `path`, which the error names.
  static result<lent_memory> of_file(const std::string& path) {
    // Not blocking, which opening a pipe without a writer would, and without taking over a
    // terminal.
    const os::fd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
    if (!file) return os::of_file(os::explain("the file cannot be opened", errno), path);
    return os::of_file(of_file(file.get()), path);
  }

  [[nodiscard]] std::size_t size() const { return pages_ ? pages_->size : 0; }

  /// Returns the bytes, to be read and written while this or a copy exists. None of a file, which
  /// can lose them at any time.
  [[nodiscard]] std::span<std::byte> bytes() const {
    if (!pages_ || pages_->contents.size() == 0) return {};
    return pages_->contents.bytes().first(pages_->size);
  }

  /// Returns the same as objects of type T, as many as fit wholly; zeros at first.
  template <class T>
  requires std::is_trivially_copyable_v<T>
  [[nodiscard]] std::span<T> elements() const {
    const std::span<std::byte> all = bytes();
    // Sound: memory from the kernel, aligned to a page, of bytes that implicitly are such objects.
    return {reinterpret_cast<T*>(all.data()), all.size() / sizeof(T)};
  }

  /// Returns whether both refer to the same memory, or to none.
  friend bool operator==(const lent_memory&, const lent_memory&) = default;

 private:
  friend detail::lent_window;

  explicit lent_memory(std::shared_ptr<const detail::lent_pages> pages)
      : pages_(std::move(pages)) {}

  static result<lent_memory> of(detail::lent_pages pages) {
    return os::or_out_of_memory([&]() -> result<lent_memory> {
      return lent_memory(std::make_shared<const detail::lent_pages>(std::move(pages)));
    });
  }

  static void use_large_pages(const detail::lent_pages& made) {
    constexpr std::size_t large = x86::large_page_size;
    const std::size_t size = made.contents.size() / large * large;
    if (size == 0) return;
    // The kernel refuses where there is no page at all yet.
    for (std::size_t at = 0; at < size; at += large) {
      made.contents.populate(at, x86::page_size);
    }
    made.contents.collapse(0, size);
  }

  static error too_large(std::uint64_t size) {
    return {.code = errc::bad_argument,
            .operation = "more than 1 GiB cannot be lent at once",
            .detail = size};
  }

  std::shared_ptr<const detail::lent_pages> pages_;
};

namespace detail {

/// Says whether each byte of a T is part of its value, for a T that can cross.
template <class T>
constexpr bool is_without_padding() {
  if constexpr (!may_have_padding<T> || !is_plain<T> || is_composite<T>) {
    return true;
  } else if constexpr (may_hold_pointer<T>()) {
    return !holds_no_pointer<T>;  // If nobody vouches for it, that is told instead.
  } else {
    return comes_back<T, 0, sizeof(T), 0>;
  }
}

}  // namespace detail

/// An argument that the guest reads where it is: `virtine_fn<float(virtine::lent<const float>,
/// int), guests::tables::look_up>`, called with a lent_memory. The guest's function takes a
/// std::span<const T> of all of the memory, whose size must be a multiple of sizeof(T): a call
/// fails with errc::bad_argument if it is not, also for a file, where what is left over could be a
/// sign of another format, or that it is cut off. Lend it as bytes if it may be. All of the memory
/// can be read by the guest, and by no later call that is not lent it.
///
/// A machine keeps what it was lent last, so that only its first call with a memory costs anything:
/// a mapping, and a page fault for each page that is looked at. No session, bare image or hypercall
/// can be lent memory, and an image must end below 4 GiB. What a guest passes to hypercalls and
/// system calls may lie in lent memory, but not in a lent file.
template <class T>
class lent {
 public:
  // NOLINTNEXTLINE(google-explicit-constructor): what a function is called with.
  lent(lent_memory memory) : memory_(std::move(memory)) {}

  [[nodiscard]] const lent_memory& memory() const { return memory_; }

  /// Returns the number of elements.
  [[nodiscard]] std::size_t size() const { return memory_.size() / sizeof(T); }

 private:
  lent_memory memory_;

  // At the end, because clang leaves out what stands behind one that fails.
  static_assert(std::is_const_v<T>,
                "virtine [V134]: lent memory cannot be written by the guest. Write "
                "virtine::lent<const T>, or pass a std::span<T>, which is copied in and out.");
  static_assert(detail::is_without_padding<std::remove_const_t<T>>(),
                "virtine [V135]: the elements of lent memory have padding, or the compiler cannot "
                "tell. Lent memory is not copied, so the guest would see what the host left there. "
                "Give the padding names as members.");
};

}  // namespace virtine
