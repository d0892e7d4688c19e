// error: virtine \[V101\]: an argument is a pointer.* a text as std::string_view
// A reference is a pointer in all but name.
// SPDX-License-Identifier: MIT
#include <virtine/abi/frame.hpp>

struct pair {
  int first = 0;
  int second = 0;
};

#ifdef VALID
using signature = int(int, pair);
#else
using signature = int(int, const pair&);
#endif

virtine::detail::frame<signature> frame;
