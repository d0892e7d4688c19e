// Objects of a marked file that enter themselves in a registry: the guest has them too. Without the
// test framework, whose objects would enter themselves too.
// SPDX-License-Identifier: MIT
#include "registers_itself.hpp"

#include <map>
#include <string_view>

#include <virtine/virtine.hpp>

#include "registers_itself.guest.hpp"

namespace {

using operation = int (*)(int);

std::map<std::string_view, operation>& operations() {
  static std::map<std::string_view, operation> all;
  return all;
}

struct entered {
  entered(std::string_view name, operation does) { operations()[name] = does; }
};

entered twice("twice", [](int x) { return 2 * x; });
entered thrice("thrice", [](int x) { return 3 * x; });

struct listed {
  explicit listed(int number) : next(first), value(number) { first = this; }
  listed* next;
  int value;
  static inline listed* first = nullptr;
};

listed five(5);
listed six(6);

}  // namespace

VIRTINE(operate, (std::string_view name, int x) -> int) {
  const auto found = operations().find(name);
  return found == operations().end() ? -1 : found->second(x);
}

VIRTINE(sum_of_links, () -> int) {
  int sum = 0;
  for (const listed* at = listed::first; at != nullptr; at = at->next) sum += at->value;
  return sum;
}

int registers_itself::operated(std::string_view name, int x) {
  return operate(name, x);
}

int registers_itself::summed() {
  return sum_of_links();
}
