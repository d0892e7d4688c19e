// The guest that answers HTTP requests, with a bug; and what an attacker makes it do by that.
// SPDX-License-Identifier: MIT
#define HTTP_PLANTED_BUG
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include <virtine/guest.hpp>

#include "../handler.hpp"
#include "../http.hpp"
#include "../text.hpp"

namespace {

using virtine::guest::call;

constexpr std::size_t frame_size =
    virtine::detail::frame<http::reply(std::string_view, std::int64_t)>::size;

// Where things are is no secret: the same in each machine, and to be read from the image's file.
std::string_view input;
char* frame() {
  return const_cast<char*>(input.data()) - frame_size;
}
// Arguments begin with a page; those of a session with its mailbox, and then the frame.
char* memory() {
  return frame() - reinterpret_cast<std::uintptr_t>(frame()) % 4096;
}
constexpr std::size_t arguments_size = 64 * 1024;
constexpr std::size_t guard_size = 64 * 1024;
constexpr std::size_t stack_size = 64 * 1024;

std::string_view field(std::string_view name) {
  const std::size_t begin = input.find(name);
  if (begin == std::string_view::npos) return {};
  const std::string_view rest = input.substr(begin + name.size());
  return rest.substr(0, rest.find('\r'));
}

// Counts where in [begin, begin + size) a text is, given backwards so as not to find itself.
std::uint64_t count(std::string_view backwards, const char* begin, std::size_t size) {
  std::uint64_t found = 0;
  for (std::size_t i = 0; i + backwards.size() <= size; ++i) {
    found += std::equal(backwards.rbegin(), backwards.rend(), begin + i) ? 1 : 0;
  }
  return found;
}

[[noreturn]] void leave() {
  // In the mailbox, what is answered is the number that was asked for, which stands before it.
  if (frame() != memory()) std::memcpy(memory() + 8, memory(), 8);
  for (;;) asm volatile("out %%eax, %0" : : "N"(virtine::x86::done_port) : "memory");
}

}  // namespace

// What the attacker wants to run. It stands in the image so that the test need not put it together
// from what does; that the stack and the input cannot be run is another test's business.
extern "C" [[noreturn, gnu::force_align_arg_pointer]] void attack() {
  const std::string_view wish = field("X-Wish: ");
  const std::string_view backwards = field("X-Find: ");
  char* const stack = memory() + arguments_size + guard_size;
  if (wish == "spin") {
    for (;;) asm volatile("");
  }
  if (wish == "call") {  // Not by guest::call, which would tell the host's compiler of it.
    asm volatile("out %%eax, %0" : : "N"(virtine::x86::hypercall_port), "a"(99), "D"(memory()));
  }
  if (wish == "crash") *reinterpret_cast<volatile char*>(0x10) = 1;
  if (wish == "open twice") {
    call<http::open_file>("index.html");
    call<http::open_file>("index.html");
  }
  const std::uint64_t found =
      count(backwards, memory(), arguments_size) + count(backwards, stack, stack_size);
  const http::file_info opened = call<http::open_file>(field("X-Open: "));

  http::reply made;
  http::text_builder out(made.room);
  out << "HTTP/1.1 200 OK\r\nX-Found: " << found
      << "\r\nX-Opened: " << std::string_view(opened.modified < 0 ? "no" : "yes")
      << "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
  made.consumed = static_cast<std::uint32_t>(input.size());
  made.text = made.otherwise = {0, static_cast<std::uint32_t>(out.view().size())};
  // The host is told to send what it would not open.
  const std::string_view sent = field("X-Send: ");
  made.path = {made.text.size, static_cast<std::uint32_t>(sent.size())};
  out << sent;
  made.file_size = UINT64_MAX;
  if (wish == "lie about the input") made.consumed = UINT32_MAX;
  if (wish == "lie about the text") made.text = {UINT32_MAX, UINT32_MAX};
  if (wish == "lie about the path") made.path = {2000, UINT32_MAX - 100};
  if (wish == "lie about the blank") made.size_at = UINT32_MAX - 3;
  if (wish == "lie about the date") made.date_at = made.text.size - 28;
  if (wish == "lie about the settled") made.if_settled = {8, UINT32_MAX};
  if (wish == "lie about the parts") made.parts[0] = {UINT64_MAX, 0, 1};
  if (wish == "lie about their order") {
    made.parts[0] = {9, 0, 1};
    made.parts[1] = {8, 0, 1};
  }
  if (wish == "lie about the file") {
    made.path = {};
    made.file_begin = UINT64_MAX - 1;
  }
  if (wish == "stay") made.consumed = 0;
  if (wish == "sip") {  // Takes long, and leaves as much as it can for the next time.
    for (int i = 0; i < 50'000'000; ++i) asm volatile("");
    made = {.consumed = 2, .keeps_alive = 1, .text = {0, 1}};
  }

  // Something for the next one to find: the text that it will look for.
  const std::string_view left = field("X-Leave: ");
  char* const here = static_cast<char*>(__builtin_frame_address(0)) - 4096;
  char* const text_begin = const_cast<char*>(input.data()) + input.size();
  for (char* at = stack + 4096; !left.empty() && at + 64 < here; at += 64) {
    std::reverse_copy(left.begin(), left.end(), at);
  }
  for (char* at = text_begin; !left.empty() && at + 64 < memory() + arguments_size; at += 64) {
    std::reverse_copy(left.begin(), left.end(), at);
  }
  // Sound: the frame's result lies at its begin, and is what the host reads.
  *reinterpret_cast<http::reply*>(frame()) = made;
  leave();
}

static http::reply answer(std::string_view text, std::int64_t now) {
  input = text;
  asm volatile("" : : "r"(&attack));  // Or the linker would leave it out.
  return http::answer(text, now, call<http::open_file>);
}

VIRTINE_EXPORT(answer);
