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
#include <virtine/os/file_error.hpp>
#include <virtine/os/process.hpp>
#include <virtine/policy/grant.hpp>
#include <virtine/posix/host_files.hpp>
#include <virtine/posix/no_wait.hpp>
#include <virtine/posix/rights.hpp>
#include <virtine/posix/system_calls.hpp>
#include <virtine/result.hpp>

namespace virtine::posix {

namespace detail {

/// Returns whether a path is absolute and has no part that could be left out.
constexpr bool is_normal_path(std::string_view path) {
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

/// A path that is known when the program is compiled.
template <std::size_t Size>
struct fixed_path {
  std::array<char, Size> text{};

  // NOLINTNEXTLINE(google-explicit-constructor)
  consteval fixed_path(const char (&from)[Size]) { std::copy_n(from, Size, text.begin()); }

  [[nodiscard]] constexpr std::string_view view() const { return {text.data(), Size - 1}; }
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
  using system_calls = detail::system_calls;
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

/// How many bytes a call may write below a directory if nothing else is said; each file or
/// directory that it creates counts as 4096.
inline constexpr std::uint64_t max_written = 64 << 20;

namespace detail {

/// A directory of the host's that is open, and what guests may do with it.
struct opened_directory {
  std::shared_ptr<const os::fd> root;
  std::string host_path;
  rights allowed;
  std::uint64_t most;

  [[nodiscard]] std::string describe(std::string_view at) const {
    return "directory " + on_one_line(at) + ": " + on_one_line(host_path) +
           (allowed == read_only ? ", read only" : ", read and write, " + in_bytes(most));
  }
  void add_to(system_calls& of, std::string_view at, std::size_t grant) const {
    of.granted.directories.push_back({.at = std::string(at),
                                      .root = root,
                                      .writable = allowed == read_write,
                                      .most = most,
                                      .grant = grant});
  }
};

/// Opens a directory to grant it; see try_directory().
inline result<opened_directory> open_to_grant(const std::string& host_path, rights allowed,
                                              std::uint64_t most) {
  if (allowed != read_only && allowed != read_write) {
    return error{.code = errc::bad_grant,
                 .operation = "a directory is granted read_only or read_write"};
  }
  if (host_path.find('\0') != host_path.npos) {
    return error{.code = errc::bad_grant,
                 .operation = "the path of a directory to grant has a zero byte in it"};
  }
  const auto refused = [&](int why, const char* what) {
    return os::of_file(error{.code = errc::os_error, .os_error = why, .operation = what},
                       host_path);
  };
  // Sound: the path ends with a zero byte.
  os::fd root(::open(host_path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root) return refused(errno, "a directory that a policy grants cannot be opened");
  if (const auto probe = open_beneath(root, ".", O_PATH); !probe.file) {
    return refused(probe.why, "openat2, which grants of directories need (Linux 5.6)");
  }
  if (const int why = check_file_system(root.get())) {
    return refused(why,
                   "a directory of a file system that is not known to hold files is granted to "
                   "nobody; grant one on a disk, in memory or of a network");
  }
  if (const auto probe = open_again(root.get(), O_PATH | O_DIRECTORY); !probe.file) {
    return refused(probe.why, "/proc, which grants of directories need to be mounted");
  }
  return opened_directory{.root = std::make_shared<const os::fd>(std::move(root)),
                          .host_path = host_path,
                          .allowed = allowed,
                          .most = most};
}

}  // namespace detail

/// A directory of the host's that guests have at `At`. Made by directory().
template <detail::fixed_path At>
struct directory_grant {
  static_assert(detail::is_normal_path(At.view()),
                "virtine [V126]: this cannot be where guests have a directory. Write an absolute "
                "path without a slash at its end and without empty parts, \".\" and \"..\".");

  using system_calls = detail::system_calls;
  static constexpr std::array things{virtine::detail::granted_thing{At.view()}};

  detail::opened_directory opened;

  [[nodiscard]] std::string describe() const { return opened.describe(At.view()); }
  void add_to(system_calls& of, std::size_t grant) const { opened.add_to(of, At.view(), grant); }
};

/// Grants the regular files and directories below `host_path`, which guests have at `At`. Paths
/// cannot escape it: symbolic links are never followed. What is mounted below it is part of it, as
/// far as the file system is one that holds files; proc, sysfs, cgroup and their like are refused
/// with EACCES. The directory is opened here, and stays the same even if it is moved. Fails with
/// errc::os_error if it cannot be opened, is in such a file system, if the kernel lacks openat2
/// (Linux 5.6), or if there is no /proc, which is needed as long as the policy is used; with
/// errc::bad_grant for write_only and for a zero byte in the path.
template <detail::fixed_path At>
result<directory_grant<At>> try_directory(const std::string& host_path, rights allowed,
                                          std::uint64_t most = max_written) {
  auto opened = detail::open_to_grant(host_path, allowed, most);
  if (!opened) return opened.error();
  return directory_grant<At>{*std::move(opened)};
}

#ifdef __cpp_exceptions
/// As try_directory(), but throws failure.
template <detail::fixed_path At>
directory_grant<At> directory(const std::string& host_path, rights allowed,
                              std::uint64_t most = max_written) {
  return try_directory<At>(host_path, allowed, most).value();
}
#endif

/// One of directories(): what directory() is told, with the guest's path as a value.
struct directory_entry {
  std::string guest_path;  ///< Absolute, without a slash at its end, empty parts, "." and "..".
  std::string host_path;
  rights allowed = read_only;
  std::uint64_t most = max_written;  ///< Bytes that a call may write below it.
};

/// Directories whose paths are known at run time. Made by directories().
struct directories_grant {
  struct one {
    std::string at;
    detail::opened_directory opened;
  };

  using system_calls = detail::system_calls;
  static constexpr std::array<virtine::detail::granted_thing, 0> things{};

  std::vector<one> entries;

  [[nodiscard]] virtine::detail::granted_thing thing(std::size_t i) const {
    return {entries[i].at};
  }
  [[nodiscard]] std::string describe(std::size_t i) const {
    return entries[i].opened.describe(entries[i].at);
  }
  void add_to(system_calls& of, std::size_t i, std::size_t grant) const {
    entries[i].opened.add_to(of, entries[i].at, grant);
  }
};

/// Grants each of the directories as try_directory() does, for paths that come from configuration.
/// Fails as that does, and with errc::bad_grant for a guest's path that is not normal;
/// error::detail is the entry, from 1. try_policy() finds two entries for one path.
inline result<directories_grant> try_directories(const std::vector<directory_entry>& entries) {
  directories_grant out;
  for (const directory_entry& each : entries) {
    const std::size_t number = out.entries.size() + 1;
    if (!detail::is_normal_path(each.guest_path)) {
      return error{.code = errc::bad_grant,
                   .operation =
                       "this cannot be where guests have a directory; give an absolute path "
                       "without a slash at its end and without empty parts, \".\" and \"..\"",
                   .detail = number};
    }
    auto opened = detail::open_to_grant(each.host_path, each.allowed, each.most);
    if (!opened) {
      error why = opened.error();
      why.detail = number;
      return why;
    }
    out.entries.push_back({each.guest_path, *std::move(opened)});
  }
  return out;
}

#ifdef __cpp_exceptions
/// As try_directories(), but throws failure.
inline directories_grant directories(const std::vector<directory_entry>& entries) {
  return try_directories(entries).value();
}
#endif

namespace detail {

/// Returns whether guests can have a descriptor of this number.
constexpr bool is_guest_descriptor(int number) {
  return number >= 0 && number < static_cast<int>(max_descriptors);
}

inline std::string describe_descriptor(int number, int file, rights allowed) {
  return "descriptor " + std::to_string(number) + ": the host's " + std::to_string(file) +
         (allowed == read_only    ? ", reading"
          : allowed == write_only ? ", writing"
                                  : ", reading and writing");
}

/// Returns whether the host's descriptor `file` can be given to guests; see try_descriptor().
inline result<void> check_to_grant(int file, rights allowed) {
  if (allowed != read_only && allowed != write_only && allowed != read_write) {
    return error{.code = errc::bad_grant,
                 .operation = "a descriptor is granted read_only, write_only or read_write"};
  }
  const int why = check_never_waits(file);
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
  return {};
}

}  // namespace detail

/// A descriptor that guests have from the start. Made by descriptor().
template <int Number>
struct descriptor_grant {
  static_assert(detail::is_guest_descriptor(Number),
                "virtine [V127]: this cannot be the number of a guest's descriptor. Write one from "
                "0 to 63.");

  using system_calls = detail::system_calls;
  static constexpr std::array things{virtine::detail::granted_thing{"descriptor", Number}};

  int file;
  rights allowed;

  [[nodiscard]] std::string describe() const {
    return detail::describe_descriptor(Number, file, allowed);
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
result<descriptor_grant<Number>> try_descriptor(int file, rights allowed) {
  if (const auto checked = detail::check_to_grant(file, allowed); !checked) return checked.error();
  return descriptor_grant<Number>{.file = file, .allowed = allowed};
}

#ifdef __cpp_exceptions
/// As try_descriptor(), but throws failure.
template <int Number>
descriptor_grant<Number> descriptor(int file, rights allowed) {
  return try_descriptor<Number>(file, allowed).value();
}
#endif

/// One of descriptors(): what descriptor() is told, with the guest's number as a value.
struct descriptor_entry {
  int number;  ///< The guest's, from 0 to 63.
  int file;    ///< The host's.
  rights allowed = read_only;
};

/// Descriptors whose numbers are known at run time. Made by descriptors().
struct descriptors_grant {
  using system_calls = detail::system_calls;
  static constexpr std::array<virtine::detail::granted_thing, 0> things{};

  std::vector<descriptor_entry> entries;

  [[nodiscard]] virtine::detail::granted_thing thing(std::size_t i) const {
    return {"descriptor", static_cast<std::uint64_t>(entries[i].number)};
  }
  [[nodiscard]] std::string describe(std::size_t i) const {
    return detail::describe_descriptor(entries[i].number, entries[i].file, entries[i].allowed);
  }
  void add_to(system_calls& of, std::size_t i, std::size_t grant) const {
    of.granted.descriptors.push_back({.number = entries[i].number,
                                      .file = entries[i].file,
                                      .allowed = entries[i].allowed,
                                      .grant = grant});
  }
};

/// Gives each of the descriptors as try_descriptor() does, for numbers that come from
/// configuration. Fails as that does, and with errc::bad_grant for a number beyond 0 to 63;
/// error::detail is the entry, from 1. try_policy() finds two entries for one number.
inline result<descriptors_grant> try_descriptors(std::vector<descriptor_entry> entries) {
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (!detail::is_guest_descriptor(entries[i].number)) {
      return error{
          .code = errc::bad_grant,
          .operation = "this cannot be the number of a guest's descriptor; give one from 0 to 63",
          .detail = i + 1};
    }
    if (const auto checked = detail::check_to_grant(entries[i].file, entries[i].allowed);
        !checked) {
      error why = checked.error();
      why.detail = i + 1;
      return why;
    }
  }
  return descriptors_grant{.entries = std::move(entries)};
}

#ifdef __cpp_exceptions
/// As try_descriptors(), but throws failure.
inline descriptors_grant descriptors(std::vector<descriptor_entry> entries) {
  return try_descriptors(std::move(entries)).value();
}
#endif

/// Clocks, and sleeping until the call's deadline. Made by clock().
struct clock_grant {
  using system_calls = detail::system_calls;
  static constexpr std::array things{virtine::detail::granted_thing{"clock"}};

  [[nodiscard]] static std::string describe() { return "clock: the host's time, and sleeping"; }
  static void add_to(system_calls& of, std::size_t grant) { of.granted.clock = grant; }
};
inline clock_grant clock() {
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
  using system_calls = detail::system_calls;
  static constexpr std::array things{virtine::detail::granted_thing{"everything else"}};
  static constexpr bool others_fail_with_enosys = true;

  [[nodiscard]] static std::string describe() { return "everything else: fails with ENOSYS"; }
};

/// Lets guests go on after a system call that nothing grants. Without this it ends the call.
inline others_fail_grant others_fail_with_enosys() {
  return {};
}

}  // namespace virtine::posix
