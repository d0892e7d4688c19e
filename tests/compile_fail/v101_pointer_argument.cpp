// error: virtine \[V101\]: an argument is a pointer
// A guest cannot follow an address of its host.
// SPDX-License-Identifier: MIT
#include <span>

#include <virtine/abi/frame.hpp>

#ifdef VALID
using signature = int(std::span<const int>);
#else
using signature = int(const int*);
#endif

virtine::detail::frame<signature> frame;
