// Fuzzes the example that answers HTTP requests: replies are whole, name nothing outside of the
// directory, and are as long as they say. An input is a byte for the file that is there, and what a
// client sends.
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "../../examples/http/handler.hpp"
#include "input.hpp"

namespace {

constexpr std::int64_t now = 1'700'000'000;

std::string_view text_of(const http::reply& from, const http::piece& at) {
  require(at.begin <= from.room.size() && at.size <= from.room.size() - at.begin);
  return std::string_view(from.room.data(), from.room.size()).substr(at.begin, at.size);
}

/// Says whether a path stays below the directory that it begins in.
bool stays_below(std::string_view path) {
  if (path.empty() || path.front() == '/' || path.find('\0') != path.npos) return false;
  while (!path.empty()) {
    const std::string_view name = path.substr(0, path.find('/'));
    path.remove_prefix(std::min(name.size() + 1, path.size()));
    if (name == "." || name == "..") return false;
  }
  return true;
}

/// Returns the head of a whole reply; no line of it is one that the client has written.
std::string_view head_of(std::string_view text) {
  require(text.starts_with("HTTP/1.1 "));
  const std::size_t end = text.find("\r\n\r\n");
  require(end != text.npos);
  const std::string_view head = text.substr(0, end + 4);
  for (std::size_t i = 0; i < head.size(); ++i) {
    if (head[i] == '\r') require(head[i + 1] == '\n');
    if (head[i] == '\n') require(head[i - 1] == '\r');
    require(head[i] == '\r' || head[i] == '\n' || (head[i] >= ' ' && head[i] < 0x7f));
  }
  return head;
}

void check(const http::reply& made, std::string_view asked, std::uint64_t file_size) {
  const std::string_view text = text_of(made, made.text);
  const std::string_view head = head_of(text);
  const std::string_view path = text_of(made, made.path);
  if (made.otherwise.size > 0) head_of(text_of(made, made.otherwise));
  if (!path.empty()) {
    require(stays_below(path));
    for (const auto& [at, width] :
         {std::pair(made.size_at, http::size_width), std::pair(made.tag_at, http::tag_width),
          std::pair(made.date_at, http::date_width)}) {
      require(at > 0 && text.substr(at, width) == std::string(width, ' '));
    }
    require(made.if_settled.begin + made.if_settled.size <= text.size());
    return;  // Its length is the file's, which the host knows.
  }
  std::uint64_t body = text.size() - head.size() + made.file_size;
  require(made.file_begin <= file_size && made.file_size <= file_size - made.file_begin);
  std::uint64_t before = head.size();
  for (const http::insertion& each : made.parts) {
    if (each.size == 0) break;
    require(each.at >= before && each.at <= text.size());
    require(each.begin < file_size && each.size <= file_size - each.begin);
    before = each.at;
    body += each.size;
  }
  constexpr std::string_view length = "\r\nContent-Length: ";
  const std::size_t said = head.find(length);
  asked.remove_prefix(std::min(asked.find_first_not_of("\r\n"), asked.size()));
  const bool is_head = asked.starts_with("HEAD ");
  if (said == head.npos) {
    require(head.starts_with("HTTP/1.1 304"));
  } else if (!is_head) {
    require(std::strtoull(head.data() + said + length.size(), nullptr, 10) == body);
  }
  // A request that cannot be read is refused with a text, whatever it began with.
  if (is_head)
    require(body == 0 || head.starts_with("HTTP/1.1 4") || head.starts_with("HTTP/1.1 5"));
}

http::reply answer(std::string_view asked, const http::file_info& file, http::blanks left) {
  int opened = 0;
  return http::answer(
      asked, now,
      [&](std::string_view path) {
        require(++opened == 1 && stays_below(path));
        return file;
      },
      left);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz_input input(data, size);
  const auto which = input.take<std::uint8_t>();
  constexpr std::array<std::uint64_t, 4> sizes{0, 10, 100'000, std::uint64_t{1} << 62};
  constexpr std::int64_t second = 1'000'000'000;
  const http::file_info file{.size = sizes[which % 4],
                             .modified = which / 4 % 4 == 0 ? -1 : (now - 100) * second,
                             .changed = (now - which / 16 % 4) * second};
  const auto left = which >= 128 ? http::blanks::none : http::blanks::allowed;
  const auto bytes = input.take_bytes(http::most_input);
  // Sound: char may alias any object.
  const std::string asked(reinterpret_cast<const char*>(bytes.data()), bytes.size());

  const http::reply made = answer(asked, file, left);
  require(made.consumed <= asked.size());
  if (made.consumed == 0) return 0;
  check(made, asked, file.size);
  if (made.keeps_alive == 0) return 0;
  // What follows a request does not change its answer.
  const http::reply alone = answer(asked.substr(0, made.consumed), file, left);
  require(std::memcmp(&alone, &made, sizeof made) == 0);
  return 0;
}
