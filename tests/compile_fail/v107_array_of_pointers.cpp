// error: virtine \[V107\]: a type has a pointer or a reference in it
// Elements are looked at one by one.
// SPDX-License-Identifier: MIT
#include <array>

#include <virtine/abi/frame.hpp>

#ifdef VALID
using names = std::array<char, 2>;
#else
using names = std::array<const char*, 2>;
#endif

virtine::detail::frame<void(names)> frame;
