// What the guest that answers HTTP requests and its host agree on. The host never looks into a
// request or a reply: it moves bytes between a connection, a guest and a file.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include <virtine/hypercall.hpp>

namespace http {

/// The most that a connection's bytes to be answered may be; a longer request is refused.
inline constexpr std::size_t most_input = 8192;

/// The most that the path of a file may be.
inline constexpr std::size_t most_path = 1024;

/// What a guest learns of a file.
struct file_info {
  std::uint64_t size = 0;
  std::int64_t modified = -1;  ///< Nanoseconds since 1970; negative: there is no such file.
  std::int64_t changed = 0;    ///< As `modified`, but nobody can set it to what they like.
};

/// How many seconds a file must have been as it is before anything is said of its content that is
/// to hold later: file systems count in steps of up to 2 s, and what is written twice in one step
/// looks as if it was written once.
inline constexpr std::int64_t settling = 2;

inline constexpr std::int64_t to_seconds(std::int64_t nanoseconds) {
  return nanoseconds / 1'000'000'000;
}

/// Says whether size and time of change tell this content from any other, at the time `now`, in
/// seconds since 1970.
inline constexpr bool is_settled(const file_info& file, std::int64_t now) {
  return to_seconds(file.changed) + settling <= now;
}

/// When a file was modified, in seconds since 1970, and not after `now` (RFC 9110, 8.8.2.1).
inline constexpr std::int64_t last_modified(const file_info& file, std::int64_t now) {
  return std::min(to_seconds(file.modified), now);
}

/// Opens a file below the granted directory, for the reply to name a part of it.
struct open_file : virtine::hypercall<1, file_info(std::string_view path)> {};

/// A part of reply::room.
struct piece {
  std::uint32_t begin = 0;
  std::uint32_t size = 0;
};

/// A part of the file that is sent where `text` has been sent up to `at`.
struct insertion {
  std::uint64_t at = 0;
  std::uint64_t begin = 0;
  std::uint64_t size = 0;  ///< 0: there is no such part, nor one behind it.
};

/// The most parts of a file that a reply has within its text.
inline constexpr std::size_t most_parts = 8;

/// What a guest makes of a connection's input: a text to send, and what of which file to send
/// behind it. To ask for the file first would cost another exit, so that a guest which needs to
/// know no more of it than its size and times leaves blanks: `size_width` characters at `size_at`
/// for the size in decimal, `tag_width` at `tag_at` for what tells this content from any other,
/// `date_width` at `date_at` for the date of last_modified().
struct reply {
  std::uint64_t file_begin = 0;
  std::uint64_t file_size = 0;  ///< At most; no more is sent than there is.
  std::array<insertion, most_parts> parts{};
  std::uint32_t consumed = 0;     ///< How much of the input it answers; 0: none, more is needed.
  std::uint32_t keeps_alive = 0;  ///< Whether the connection is to stay open.
  piece text;
  piece path;                 ///< Of the file to open; empty: that of open_file, or none.
  piece otherwise;            ///< The text, if there is no such file.
  std::uint32_t size_at = 0;  ///< In `text`; 0: there is no blank.
  std::uint32_t tag_at = 0;
  std::uint32_t date_at = 0;
  piece if_settled;  ///< What of `text` is to be sent only if the file is_settled().
  std::array<char, 2044> room{};
};
static_assert(std::has_unique_object_representations_v<reply>, "there is room for no padding");

inline constexpr std::size_t size_width = 20;
inline constexpr std::size_t tag_width = 33;

}  // namespace http
