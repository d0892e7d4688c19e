// What a policy grants of a POSIX system, as the calls look it up, and what one guest has open.
// Knows nothing of how a grant is written or what a call does.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <virtine/os/fd.hpp>

namespace virtine::posix {

/// What a guest may do with a descriptor that it is given, or with a directory and all that is
/// below it. No directory can be write_only.
enum class rights : std::uint8_t { read_only = 1, write_only = 2, read_write = 3 };
inline constexpr rights read_only = rights::read_only;
inline constexpr rights write_only = rights::write_only;
inline constexpr rights read_write = rights::read_write;

/// How many descriptors a guest can have open, those that it was given included.
inline constexpr std::size_t max_descriptors = 64;
/// The length of a path and its ending zero byte.
inline constexpr std::size_t max_path_bytes = 4096;
/// How many bytes one system call moves at most.
inline constexpr std::size_t max_bytes_moved = 256 << 10;

namespace detail {

/// Where standard output and standard error go.
struct output_right {
  std::function<void(std::string_view)> sink;
  std::uint64_t most = 0;  ///< Bytes that a call may write to it.
  std::size_t grant = 0;
};

/// A directory of the host's in the guest's tree of files.
struct directory_right {
  std::string at;  ///< Where the guest has it: "/", or without a slash at its end.
  std::shared_ptr<const os::fd> root;
  bool writable = false;
  std::uint64_t most = 0;  ///< Bytes that a call may write below it.
  std::size_t grant = 0;
};

/// A descriptor of the host's that the guest has from the start.
struct descriptor_right {
  int number = 0;  ///< The guest's.
  int file = -1;   ///< The host's, which stays its owner's.
  rights allowed = read_only;
  std::size_t grant = 0;
};

/// All of a policy.
struct granted_rights {
  std::optional<output_right> output;
  std::vector<directory_right> directories;
  std::vector<descriptor_right> descriptors;
  std::optional<std::size_t> clock;  ///< Which grant it is.

  [[nodiscard]] bool any_descriptor() const {
    return output || !directories.empty() || !descriptors.empty();
  }
};

/// One entry of a guest's table of descriptors.
struct open_file {
  enum class kind : std::uint8_t { closed, output, file, directory, given };

  kind what = kind::closed;
  bool reads = false;
  bool writes = false;
  bool closes_on_exec = false;
  int flags = 0;              ///< As open() was given them.
  int borrowed = -1;          ///< Of a given one.
  os::fd owned = {};          ///< Of the others.
  std::size_t directory = 0;  ///< Which of granted_rights::directories it was opened in.
  std::size_t grant = 0;      ///< Of the policy.

  /// Returns the host's descriptor, -1 if there is none.
  [[nodiscard]] int file() const { return what == kind::given ? borrowed : owned.get(); }
};

/// What one call, session or batch has open and has used up. Begins empty; what the guest leaves
/// open is closed with it.
class call_state {
 public:
  /// Returns the open descriptor of that number, or null.
  open_file* find(std::uint64_t number) {
    const auto index = static_cast<std::uint32_t>(number);  // Linux looks no further either.
    if (index >= files_.size()) return nullptr;
    return files_[index].what == open_file::kind::closed ? nullptr : &files_[index];
  }

  /// Returns whether there is room for another descriptor.
  [[nodiscard]] bool full() const { return open_ >= max_descriptors; }

  /// Adds a descriptor and returns its number, the lowest that is free and none of a standard one.
  std::size_t add(open_file file) {
    std::size_t number = 3;
    while (find(number) != nullptr) ++number;
    put(number, std::move(file));
    return number;
  }

  void close(open_file& file) {
    file = {};
    --open_;
  }

  /// Gives a guest that makes its first system call what it has from the start.
  void begin(const granted_rights& granted) {
    if (begun_) return;
    using kind = open_file::kind;
    // All that can fail comes first, so that a guest which is told so can try again.
    written_.resize(granted.directories.size());
    std::size_t numbers = granted.output ? 3 : 0;
    for (const auto& each : granted.descriptors) {
      numbers = std::max(numbers, static_cast<std::size_t>(each.number) + 1);
    }
    files_.reserve(numbers);
    begun_ = true;
    if (granted.output) {
      for (const std::size_t number : {1U, 2U}) {
        put(number, {.what = kind::output, .writes = true, .grant = granted.output->grant});
      }
    }
    for (const auto& each : granted.descriptors) {
      const auto may = static_cast<std::uint8_t>(each.allowed);
      put(static_cast<std::size_t>(each.number),
          {.what = kind::given,
           .reads = (may & static_cast<std::uint8_t>(read_only)) != 0,
           .writes = (may & static_cast<std::uint8_t>(write_only)) != 0,
           .flags = static_cast<int>(may) - 1,  // O_RDONLY, O_WRONLY, O_RDWR
           .borrowed = each.file,
           .grant = each.grant});
    }
  }

  /// Bytes written to the output so far, and below each of granted_rights::directories.
  std::uint64_t& output_written() { return output_written_; }
  std::uint64_t& written_below(std::size_t directory) { return written_[directory]; }

 private:
  void put(std::size_t number, open_file file) {
    if (files_.size() <= number) files_.resize(number + 1);
    files_[number] = std::move(file);
    ++open_;
  }

  bool begun_ = false;
  std::size_t open_ = 0;
  std::uint64_t output_written_ = 0;
  std::vector<std::uint64_t> written_;
  std::vector<open_file> files_;
};

}  // namespace detail

}  // namespace virtine::posix
