// What the host makes of a guest that lies: no picture that has other bytes than its size says, and
// none above the limit.
// SPDX-License-Identifier: MIT
#include "lies.hpp"

#include <array>
#include <cstddef>
#include <cstdio>
#include <string>
#include <variant>

#include "../decoder.hpp"

namespace {

using decoder::refusal;

// What is expected: how it is refused, and a part of the text.
struct expected {
  lie told;
  refusal::kind what;
  const char* text;
};

constexpr expected refusals[] = {
    {lie::too_many_bytes, refusal::kind::stopped, "hypercall"},
    {lie::bytes_after_the_end, refusal::kind::stopped, "hypercall"},
    {lie::another_size, refusal::kind::stopped, "hypercall"},
    {lie::above_the_limit, refusal::kind::stopped, "hypercall"},
    {lie::no_width, refusal::kind::stopped, "hypercall"},
    {lie::too_few_bytes, refusal::kind::damaged, "the rows are not all there"},
    {lie::no_bytes, refusal::kind::damaged, "the rows are not all there"},
    {lie::odd_words, refusal::kind::damaged, "a??b"},
};

auto decode(lie told) {
  const std::array file{static_cast<std::byte>(told)};
  return decoder::decode(file, {.max_pixels = 2});
}

}  // namespace

int main() {
  int wrong = 0;
  const auto honest = decode(lie::none);
  if (const auto* const why = std::get_if<refusal>(&honest)) {
    std::fprintf(stderr, "%s\n", why->text.c_str());
    return why->what == refusal::kind::no_machine ? 77 : 1;
  }
  const auto& made = std::get<decoder::picture>(honest);
  if (made.width != 2 || made.height != 1 || made.pixels.size() != 6) ++wrong;
  for (const expected& each : refusals) {
    const auto done = decode(each.told);
    const auto* const why = std::get_if<refusal>(&done);
    if (why != nullptr && why->what == each.what &&
        why->text.find(each.text) != std::string::npos) {
      continue;
    }
    std::fprintf(stderr, "lie %d: %s\n", static_cast<int>(each.told),
                 why != nullptr ? why->text.c_str() : "a picture was made of it");
    ++wrong;
  }
  return wrong == 0 ? 0 : 1;
}
