// What objects compiled with _FORTIFY_SOURCE against glibc's headers call, called by hand.
// SPDX-License-Identifier: MIT
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include <virtine/guest.hpp>

extern "C" {
void* __memcpy_chk(void* to, const void* from, std::size_t size, std::size_t room);
char* __strcat_chk(char* to, const char* from, std::size_t room);
char* __strncpy_chk(char* to, const char* from, std::size_t size, std::size_t room);
int __snprintf_chk(char* to, std::size_t size, int, std::size_t room, const char* format, ...);
int __sprintf_chk(char* to, int, std::size_t room, const char* format, ...);
std::uint32_t arc4random_uniform(std::uint32_t end);
}

static constexpr std::size_t room = 16;
static char buffer[room];

static virtine::bytes<room> copy(std::string_view text) {
  __memcpy_chk(buffer, text.data(), text.size(), room);
  return virtine::bytes<room>::truncated({buffer, text.size()});
}

static virtine::bytes<room> join(std::string_view text) {
  char second[100]{};
  text.copy(second, 99);
  __strncpy_chk(buffer, "12345678", 9, room);
  __strcat_chk(buffer, second, room);
  return virtine::bytes<room>::truncated(buffer);
}

static virtine::bytes<room> print(int number) {
  char first[room];
  __sprintf_chk(first, 1, room, "%d", number);
  __snprintf_chk(buffer, room, 1, room, "<%s>", first);
  return virtine::bytes<room>::truncated(buffer);
}

static virtine::bytes<room> print_wide(int number) {
  __sprintf_chk(buffer, 1, room, "%16d", number);
  return virtine::bytes<room>::truncated(buffer);
}

static std::uint32_t draw(std::uint32_t end) {
  return arc4random_uniform(end);
}

VIRTINE_EXPORT(copy);
VIRTINE_EXPORT(join);
VIRTINE_EXPORT(print);
VIRTINE_EXPORT(print_wide);
VIRTINE_EXPORT(draw);
