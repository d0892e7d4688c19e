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

static std::size_t used;  // Of the output.

static void flush() {
  if (used > 0) call<http::write_output>(std::span<const std::byte>(output).first(used));
  used = 0;
}

// Sends `text`, of which a reply has no more than there is room for in an empty output.
static void send(std::string_view text) {
  if (text.size() > sizeof output - used) flush();
  std::ranges::copy(std::as_bytes(std::span(text)), output + used);
  used += text.size();
}

// Sends a part of the open file, or what there is of it.
static void send_part(std::uint64_t begin, std::uint64_t size) {
  while (size > 0) {
    if (used == sizeof output) flush();
    const std::span room = std::span(output).subspan(used);
    const std::uint32_t got =
        call<http::read_file>(begin, room.first(std::min<std::uint64_t>(size, room.size())));
    if (got == 0) return;
    begin += got;
    size -= got;
    used += got;
  }
}

// Sends a reply, and what it names of a file.
static void send(const http::reply& made, std::string_view path) {
  std::string_view text(made.room.data(), made.text.size);
  const bool is_open =
      (made.file_size > 0 || made.parts[0].size > 0) && call<http::open_for_reads>(path);
  std::size_t sent = 0;
  for (const http::insertion& each : made.parts) {
    if (!is_open || each.size == 0) break;
    send(text.substr(sent, each.at - sent));
    sent = each.at;
    send_part(each.begin, each.size);
  }
  send(text.substr(sent));
  if (is_open) send_part(made.file_begin, made.file_size);
  flush();
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
  if (made.consumed > 0) send(made, path.view());
  return {made.consumed, made.keeps_alive};
}

VIRTINE_EXPORT(answer);
