// Answers one HTTP request as the virtines paper has it: with a hypercall for each of the steps
// that a program on an operating system would make.
// SPDX-License-Identifier: MIT
#include "../seven.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <virtine/guest.hpp>

#include "../handler.hpp"

using virtine::guest::call;

static std::byte input[http::most_input];
static std::byte output[16384];

// Sends `text` and, behind it, a part of the file.
static void send(std::string_view text, std::string_view path, std::uint64_t begin,
                 std::uint64_t size) {
  std::size_t used = text.size();
  std::ranges::copy(std::as_bytes(std::span(text)), output);
  const bool is_open = size > 0 && call<http::open_for_reads>(path);
  do {
    if (is_open && size > 0) {
      const std::span room = std::span(output).subspan(used);
      const std::uint32_t got =
          call<http::read_file>(begin, room.first(std::min(size, room.size())));
      if (got == 0) break;
      begin += got;
      size -= got;
      used += got;
    }
    call<http::write_output>(std::span<const std::byte>(output).first(used));
    used = 0;
  } while (is_open && size > 0);
  if (is_open) call<http::close_file>();
}

static http::ending answer(std::int64_t now) {
  const std::uint32_t size = call<http::read_input>(std::span(input));
  http::file_path path;
  // Sound: char may alias any object.
  const std::string_view text(reinterpret_cast<const char*>(input), size);
  const http::reply made = http::answer(
      text, now,
      [&](std::string_view found) {
        for (const char c : found) path.append(c);
        return call<http::stat_file>(found);
      },
      http::blanks::none);
  if (made.consumed > 0) {
    send({made.room.data(), made.text.size}, path.view(), made.file_begin, made.file_size);
  }
  return {made.consumed, made.keeps_alive};
}

VIRTINE_EXPORT(answer);
