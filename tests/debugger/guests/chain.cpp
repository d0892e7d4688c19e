// A guest for gdb to look at: calls, variables, and a pointer that leads nowhere.
// SPDX-License-Identifier: MIT
#include <virtine/guest.hpp>

namespace {

struct link {
  int weight;
  const link* next;
};

int calls = 0;

int weigh(const link* first, int factor) {
  int total = 0;
  ++calls;
  for (const link* at = first; at != nullptr; at = at->next) {
    total += at->weight * factor;  // here
  }
  return total;
}

int chain(int length) {
  link links[3] = {{1, &links[1]}, {20, &links[2]}, {300, nullptr}};
  if (length > 3) links[2].next = reinterpret_cast<const link*>(8);
  return weigh(links, 2) + calls;
}

}  // namespace

VIRTINE_EXPORT(chain);
