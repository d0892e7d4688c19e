// What the guest that answers HTTP requests and its host agree on. The host never looks into a
// request or a reply: it moves bytes between a connection, a guest and a file.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

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
};

/// Opens a file below the granted directory, for the reply to name a part of it.
struct open_file : virtine::hypercall<1, file_info(std::string_view path)> {};

/// A part of reply::room.
struct piece {
  std::uint32_t begin = 0;
  std::uint32_t size = 0;
};

/// What a guest makes of a connection's input: a text to send, and what of which file to send
/// behind it. To ask for the file first would cost another exit, so that a guest which needs to
/// know no more of it than its size leaves blanks: `size_width` characters at `size_at` for the
/// size in decimal, `tag_width` at `tag_at` for what tells this content from any other.
struct reply {
  std::uint32_t consumed = 0;     ///< How much of the input it answers; 0: none, more is needed.
  std::uint32_t keeps_alive = 0;  ///< Whether the connection is to stay open.
  piece text;
  piece path;                 ///< Of the file to open; empty: that of open_file, or none.
  piece otherwise;            ///< The text, if there is no such file.
  std::uint32_t size_at = 0;  ///< In `text`; 0: there is no blank.
  std::uint32_t tag_at = 0;
  std::uint64_t file_begin = 0;
  std::uint64_t file_size = 0;  ///< At most; no more is sent than there is.
  std::array<char, 2048> room{};
};

inline constexpr std::size_t size_width = 20;
inline constexpr std::size_t tag_width = 33;

}  // namespace http
