// What virtine-run is tested with: a function for each kind of type, and each way to fail.
// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <variant>

#include <virtine/entropy.hpp>
#include <virtine/guest.hpp>
#include <virtine/hypercall.hpp>

namespace {

struct ask : virtine::hypercall<7, int(int, std::string_view, std::span<std::uint16_t>)> {};

struct point {
  std::int32_t x, y;
};

int square(int n) {
  return n * n;
}
int divide(int a, int b) {
  return a / b;
}
double total(std::span<const double> of) {
  double sum = 0;
  for (const double each : of) sum += each;
  return sum;
}
void scale(std::span<double> of, float by) {
  for (double& each : of) each *= double{by};
}
std::uint64_t length(std::string_view text) {
  return text.size();
}
virtine::bytes<16> greet(std::string_view name) {
  auto out = virtine::bytes<16>("hi, ");
  for (const char c : name) out.append(static_cast<std::byte>(c));
  return out;
}
bool shout(std::span<char> text) {
  for (char& each : text) {
    if (each >= 'a' && each <= 'z') each = static_cast<char>(each - 32);
  }
  return !text.empty();
}
std::optional<int> maybe(bool yes) {
  return yes ? std::optional(4) : std::nullopt;
}
std::pair<int, double> both(std::variant<int, double> of) {
  return {static_cast<int>(of.index()), of.index() == 0 ? 0.5 : std::get<1>(of)};
}
point mirror(point from) {
  return {from.y, from.x};
}
void hello() {
  std::puts("hello");
}
int spin() {
  for (;;) asm volatile("");
}
std::uint64_t now() {
  return static_cast<std::uint64_t>(std::time(nullptr));
}
int first_byte(std::string_view path) {
  char name[256] = {};
  path.copy(name, sizeof name - 1);
  const int file = ::open(name, O_RDONLY);
  unsigned char byte = 0;
  const bool got = file >= 0 && ::read(file, &byte, 1) == 1;
  if (file >= 0) ::close(file);
  return got ? byte : -1;
}
int create(std::string_view path) {
  char name[256] = {};
  path.copy(name, sizeof name - 1);
  const int file = ::open(name, O_WRONLY | O_CREAT, 0600);
  if (file < 0) return -1;
  ::close(file);
  return 0;
}
int variable(std::string_view name) {
  char text[256] = {};
  name.copy(text, sizeof text - 1);
  const char* const found = std::getenv(text);
  return found != nullptr ? std::atoi(found) : -1;
}
int asks(int n) {
  std::uint16_t room[2] = {};
  return virtine::guest::call<ask>(n, "question", std::span(room)) + room[0] + room[1];
}
int random_bytes() {
  std::uint64_t bytes[2] = {};
  virtine::guest::call<virtine::entropy>(std::as_writable_bytes(std::span(bytes)));
  return bytes[0] != bytes[1] ? 1 : 0;
}
long double wide(long double of) {
  return of;
}

}  // namespace

VIRTINE_EXPORT(square);
VIRTINE_EXPORT(divide);
VIRTINE_EXPORT(total);
VIRTINE_EXPORT(scale);
VIRTINE_EXPORT(length);
VIRTINE_EXPORT(greet);
VIRTINE_EXPORT(shout);
VIRTINE_EXPORT(maybe);
VIRTINE_EXPORT(both);
VIRTINE_EXPORT(mirror);
VIRTINE_EXPORT(hello);
VIRTINE_EXPORT(spin);
VIRTINE_EXPORT(now);
VIRTINE_EXPORT(first_byte);
VIRTINE_EXPORT(create);
VIRTINE_EXPORT(variable);
VIRTINE_EXPORT(asks);
VIRTINE_EXPORT(random_bytes);
VIRTINE_EXPORT(wide);
