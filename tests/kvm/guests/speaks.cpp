// A guest that prints, reads files and asks for its environment and
// its arguments, by the library's own functions.
// SPDX-License-Identifier: MIT
#include <limits.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>

#include <virtine/guest.hpp>

namespace {

const bool printed_before = std::printf("before the snapshot\n") > 0;

int greet(int times) {
  if (!printed_before) return -1;
  for (int i = 0; i < times; ++i) std::printf("hello %d\n", i);
  return times;
}

void leave(int status) {
  std::printf("last words");
  std::exit(status);
}

virtine::bytes<100> variable(std::string_view name) {
  const char* found = std::getenv(std::string(name).c_str());
  return virtine::bytes<100>::truncated(found == nullptr ? "(none)" : found);
}

virtine::bytes<100> first_line(std::string_view path) {
  char line[100] = "(none)";
  std::FILE* file = std::fopen(std::string(path).c_str(), "r");
  if (file == nullptr) return virtine::bytes<100>::truncated(std::strerror(errno));
  std::fgets(line, sizeof line, file);
  std::fclose(file);
  return virtine::bytes<100>::truncated(line);
}

// Where a path leads, without links, "." and "..".
virtine::bytes<100> real(std::string_view path) {
  std::error_code why;
  const std::string found = std::filesystem::canonical(path, why).string();
  char whole[PATH_MAX];
  const char* const same = ::realpath(std::string(path).c_str(), whole);
  if ((same == nullptr ? "" : same) != found) return virtine::bytes<100>("two answers");
  return virtine::bytes<100>::truncated(why ? why.message() : found);
}

// The argument of this number, and how many there are.
virtine::bytes<100> argument(unsigned index) {
  const auto all = virtine::guest::arguments();
  // Asked for once.
  if (virtine::guest::arguments().data() != all.data()) return virtine::bytes<100>("fetched again");
  return virtine::bytes<100>::truncated(std::to_string(all.size()) + ":" +
                                        (index < all.size() ? std::string(all[index]) : "(none)"));
}

}  // namespace

VIRTINE_EXPORT(greet);
VIRTINE_EXPORT(leave);
VIRTINE_EXPORT(variable);
VIRTINE_EXPORT(first_line);
VIRTINE_EXPORT(argument);
VIRTINE_EXPORT(real);
