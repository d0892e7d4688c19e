// getenv: what the host grants, asked for at the first use in each call, so that a snapshot holds
// nobody's environment.
// Must not know who uses it.
// SPDX-License-Identifier: MIT

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <span>
#include <utility>

#include <virtine/environment.hpp>
#include <virtine/guest/call.hpp>

extern "C" {
extern char** __environ;

// Nothing is granted to an initialiser, which may not even ask.
static bool asks = false;

/// Called when the initialiser is over. There is one, because malloc has some initialising to do.
void virtine_ask_for_environment() {
  asks = true;
}

static void fetch() {
  if (!std::exchange(asks, false)) return;
  const auto size = virtine::guest::call<virtine::environment>({});
  auto* const text = static_cast<char*>(std::malloc(size));
  if (size == 0 || text == nullptr) return;
  const auto room = std::as_writable_bytes(std::span(text, size));
  // Otherwise it has grown since.
  if (virtine::guest::call<virtine::environment>(room) != size) return;
  std::size_t count = 0;
  for (std::size_t at = 0; at < size; at += std::strlen(text + at) + 1) ++count;
  auto** const all = static_cast<char**>(std::calloc(count + 1, sizeof(char*)));
  if (all == nullptr) return;
  for (std::size_t at = 0, i = 0; i != count; at += std::strlen(text + at) + 1) {
    all[i++] = text + at;
  }
  __environ = all;
}

char* getenv(const char* name) {
  fetch();
  const std::size_t size = std::strcspn(name, "=");
  if (size == 0 || name[size] != '\0' || __environ == nullptr) return nullptr;
  for (char** each = __environ; *each != nullptr; ++each) {
    if (std::strncmp(*each, name, size) == 0 && (*each)[size] == '=') return *each + size + 1;
  }
  return nullptr;
}
}
