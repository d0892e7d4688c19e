// error: virtine \[V107\]: a type has a pointer or a reference in it
// A pointer in a struct would show an address of the host to the guest.
// SPDX-License-Identifier: MIT
#include <span>

#include <virtine/abi/frame.hpp>

#ifdef VALID
struct options {
  int level = 0;
};
using signature = int(options, std::span<const char>);
#else
struct options {
  int level = 0;
  const char* name = nullptr;
};
using signature = int(options);
#endif

virtine::detail::frame<signature> frame;
