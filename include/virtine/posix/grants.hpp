// The grants of a POSIX system, as a policy is written with them. Knows nothing of system calls.
// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <virtine/allow.hpp>
#include <virtine/environment.hpp>
#include <virtine/os/fd.hpp>
#include <virtine/os/process.hpp>
#include <virtine/policy/grant.hpp>
#include <virtine/posix/host_files.hpp>
#include <virtine/posix/no_wait.hpp>
#include <virtine/posix/rights.hpp>
#include <virtine/posix/system_calls.hpp>
#include <virtine/result.hpp>

namespace virtine::posix {

namespace detail {

/// A path that is known when the program is compiled.
template <std::size_t Size>
struct fixed_path {
  std::array<char, Size> text{};

  // NOLINTNEXTLINE(google-explicit-constructor)
  consteval fixed_path(const char (&from)[Size]) { std::copy_n(from, Size, text.begin()); }

  [[nodiscard]] constexpr std::string_view view() const { return {text.data(), Size - 1}; }

  /// Returns whether it is absolute and has no part that could be left out.
  [[nodiscard]] constexpr bool is_normal() const {
    const std::string_view path = view();
    if (path == "/") return true;
    if (!path.starts_with('/') || path.ends_with('/')) return false;
    for (std::size_t at = 0; at < path.size();) {
      const std::size_t end = std::min(path.find('/', at + 1), path.size());
      const std::string_view part = path.substr(at + 1, end - at - 1);
      if (part.empty() || part == "." || part == ".." || part.find('\0') != part.npos) return false;
      at = end;
    }
    return true;
  }
};

/// Returns `text` as a part of a line: whoever names a directory cannot write a line of their own.
inline std::string on_one_line(std::string_view text) {
  std::string out(text);
  std::replace_if(
      out.begin(), out.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; }, '?');
  return out;
}

inline std::string in_bytes(std::uint64_t count) {
  if (count == UINT64_MAX) return "without a limit";
  return "at most " + std::to_string(count) + " bytes a call";
}

/// Strings as a guest gets them, each ended by a zero byte.
class packed_strings {
 public:
  explicit packed_strings(const std::vector<std::string>& strings) {
    for (const std::string& each : strings) {
      // What follows a zero byte would be a string of its own.
      bytes_.append(each.c_str());
      bytes_ += '\0';
    }
  }

  std::uint64_t operator()(guest_buffer<std::byte> to) const {
    std::string_view fits = std::string_view(bytes_).substr(0, to.size());
    if (fits.size() < bytes_.size()) {
      const std::size_t end = fits.rfind('\0');
      fits = fits.substr(0, end == fits.npos ? 0 : end + 1);
    }
    to.fill(std::as_bytes(std::span(fits)));
    return bytes_.size();
  }

 private:
  std::string bytes_;
};

template <hypercall_type Call>
struct strings_grant : allowed<Call, packed_strings> {
  std::string text;
  [[nodiscard]] std::string describe() const { return text; }
};

}  // namespace detail

/// Standard output and standard error, both to one place. Made by output().
struct output_grant {
  using system_calls = posix::system_calls;
  static constexpr std::array things{virtine::detail::granted_thing{"descriptor", 1},
                                     virtine::detail::granted_thing{"descriptor", 2}};

  std::function<void(std::string_view)> sink;
  std::uint64_t most;

  [[nodiscard]] std::string describe() const {
    return "standard output and error: taken, " + detail::in_bytes(most);
  }
  void add_to(system_calls& of, std::size_t grant) const {
    of.granted.output = {.sink = sink, .most = most, .grant = grant};
  }
};

/// Gives what guests write to standard output and standard error to `sink`, called with a
/// std::string_view as a hypercall's handler is. A guest that writes more than `most` bytes in one
/// call gets ENOSPC.
template <std::invocable<std::string_view> Sink>
output_grant output(Sink sink, std::uint64_t most) {
  return {.sink = std::move(sink), .most = most};
}

/// The same, appended to `text`, which must outlive the policy. Calls on several threads take
/// turns; read it when none runs.
inline output_grant output(std::string& text, std::uint64_t most) {
  return output(
      [&text, guard = std::make_shared<os::per_process<std::mutex>>()](std::string_view more) {
        const std::lock_guard lock(guard->get());
        text += more;
      },
      most);
}

/// A directory of the host's that guests have at `At`. Made by directory().
template <detail::fixed_path At>
struct directory_grant {
  static_assert(At.is_normal(),
                "virtine [V126]: this cannot be where guests have a directory. Write an absolute "
                "path without a slash at its end and without empty parts, \".\" and \"..\".");

  using system_calls = posix::system_calls;
  static constexpr std::array things{virtine::detail::granted_thing{At.view()}};

  std::shared_ptr<const os::fd> root;
  std::string host_path;
  file_rights rights;
  std::uint64_t most;

  [[nodiscard]] std::string describe() const {
    std::string out = "directory " + std::string(At.view()) + ": " + detail::on_one_line(host_path);
    return out +
           (rights == read_only ? ", read only" : ", read and write, " + detail::in_bytes(most));
  }
  void add_to(system_calls& of, std::size_t grant) const {
    of.granted.directories.push_back({.at = At.view(),
                                      .root = root,
                                      .writable = rights == read_write,
                                      .most = most,
                                      .grant = grant});
  }
};

/// How many bytes a call may write below a directory if nothing else is said; each file or
/// directory that it creates counts as 4096.
inline constexpr std::uint64_t max_written = 64 << 20;

/// Grants the regular files and directories below `host_path`, which guests have at `At`. No path
/// leads out of it: symbolic links are not followed, by nobody's files. What is mounted below it is
/// part of it, as far as the file system is one that holds files; proc, sysfs, cgroup and their
/// like are refused with EACCES. The directory is opened here, and stays the same even if it is
/// moved. Fails with errc::os_error if it cannot be opened, is in such a file system, if the kernel
/// lacks openat2 (Linux 5.6), or if there is no /proc, which is needed as long as the policy is
/// used.
template <detail::fixed_path At>
result<directory_grant<At>> try_directory(const std::string& host_path, file_rights rights,
                                          std::uint64_t most = max_written) {
  // Sound: the path ends with a zero byte.
  os::fd root(::open(host_path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root) {
    return error{.code = errc::os_error,
                 .os_error = errno,
                 .operation = "a directory that a policy grants cannot be opened"};
  }
  if (const auto probe = detail::open_beneath(root, ".", O_PATH); !probe.file) {
    return error{.code = errc::os_error,
                 .os_error = probe.why,
                 .operation = "openat2, which grants of directories need (Linux 5.6)"};
  }
  if (const int why = detail::check_file_system(root.get())) {
    return error{.code = errc::os_error,
                 .os_error = why,
                 .operation =
                     "a directory of a file system that is not known to hold files is "
                     "granted to nobody; grant one on a disk, in memory or of a network"};
  }
  if (const auto probe = detail::open_again(root.get(), O_PATH | O_DIRECTORY); !probe.file) {
    return error{.code = errc::os_error,
                 .os_error = probe.why,
                 .operation = "/proc, which grants of directories need to be mounted"};
  }
  return directory_grant<At>{.root = std::make_shared<const os::fd>(std::move(root)),
                             .host_path = host_path,
                             .rights = rights,
                             .most = most};
}

#ifdef __cpp_exceptions
/// As try_directory(), but throws failure.
template <detail::fixed_path At>
directory_grant<At> directory(const std::string& host_path, file_rights rights,
                              std::uint64_t most = max_written) {
  return try_directory<At>(host_path, rights, most).value();
}
#endif

/// A descriptor that guests have from the start. Made by descriptor().
template <int Number>
struct descriptor_grant {
  static_assert(Number >= 0 && Number < static_cast<int>(max_descriptors),
                "virtine [V127]: this cannot be the number of a guest's descriptor. Write one from "
                "0 to 63.");

  using system_calls = posix::system_calls;
  static constexpr std::array things{virtine::detail::granted_thing{"descriptor", Number}};

  int file;
  transfer allowed;

  [[nodiscard]] std::string describe() const {
    return "descriptor " + std::to_string(Number) + ": the host's " + std::to_string(file) +
           (allowed == reading   ? ", reading"
            : allowed == writing ? ", writing"
                                 : ", reading and writing");
  }
  void add_to(system_calls& of, std::size_t grant) const {
    of.granted.descriptors.push_back(
        {.number = Number, .file = file, .allowed = allowed, .grant = grant});
  }
};

/// Gives guests the host's descriptor `file` as their descriptor `Number`. It stays the caller's,
/// must be open as long as the policy is used, and is shared by all calls, its position included.
/// No call waits in it beyond its deadline, and its flags stay as they are: regular files, disks,
/// pipes, FIFOs, sockets and terminals can be given in any state, all else (an eventfd, a timerfd,
/// inotify, most devices) only with O_NONBLOCK. Fails with errc::os_error if it is not open or
/// could make its guest wait.
template <int Number>
result<descriptor_grant<Number>> try_descriptor(int file, transfer allowed) {
  const int why = detail::check_never_waits(file);
  if (why == EWOULDBLOCK) {
    return error{.code = errc::os_error,
                 .os_error = why,
                 .operation =
                     "a descriptor that can make its guest wait for ever is granted only "
                     "if it has O_NONBLOCK; set that by fcntl(F_SETFL) first"};
  }
  if (why != 0) {
    return error{.code = errc::os_error,
                 .os_error = why,
                 .operation = "a descriptor that a policy grants cannot be used"};
  }
  return descriptor_grant<Number>{.file = file, .allowed = allowed};
}

#ifdef __cpp_exceptions
/// As try_descriptor(), but throws failure.
template <int Number>
descriptor_grant<Number> descriptor(int file, transfer allowed) {
  return try_descriptor<Number>(file, allowed).value();
}
#endif

/// Clocks, and sleeping until the call's deadline. Made by clock().
struct clock_grant {
  using system_calls = posix::system_calls;
  static constexpr std::array things{virtine::detail::granted_thing{"clock"}};

  [[nodiscard]] static std::string describe() { return "clock: the host's time, and sleeping"; }
  static void add_to(system_calls& of, std::size_t grant) { of.granted.clock = grant; }
};
inline clock_grant clock() {
  return {};
}

/// getrandom(), answered by the kernel's generator. Made by entropy().
struct entropy_grant {
  using system_calls = posix::system_calls;
  static constexpr std::array things{virtine::detail::granted_thing{"entropy"}};

  [[nodiscard]] static std::string describe() { return "entropy: random bytes of the kernel's"; }
  static void add_to(system_calls& of, std::size_t grant) { of.granted.entropy = grant; }
};
inline entropy_grant entropy() {
  return {};
}

/// Grants arguments: what guests find in argv, the name of the program first.
inline auto arguments(const std::vector<std::string>& strings) {
  return detail::strings_grant<program_arguments>{{detail::packed_strings(strings)},
                                                  "arguments: " + std::to_string(strings.size())};
}

/// Grants an environment, of strings "NAME=value".
inline auto environment(const std::vector<std::string>& strings) {
  std::string text = "environment:";
  for (const std::string& each : strings) {
    text += ' ' + detail::on_one_line(each.substr(0, each.find('=')));
  }
  return detail::strings_grant<virtine::environment>{{detail::packed_strings(strings)},
                                                     std::move(text)};
}

/// What is not granted fails with ENOSYS. Made by others_fail_with_enosys().
struct others_fail_grant {
  using system_calls = posix::system_calls;
  static constexpr std::array things{virtine::detail::granted_thing{"everything else"}};
  static constexpr bool others_fail_with_enosys = true;

  [[nodiscard]] static std::string describe() { return "everything else: fails with ENOSYS"; }
};

/// Lets guests go on after a system call that nothing grants. Without this it ends the call.
inline others_fail_grant others_fail_with_enosys() {
  return {};
}

}  // namespace virtine::posix
