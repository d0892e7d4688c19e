// error: virtine \[V104\]: the result, or a part of it, is a pointer, a reference, a span or a type
// A string_view is a pointer too.
// SPDX-License-Identifier: MIT
#include <string_view>

#include <virtine/abi/frame.hpp>

#ifdef VALID
using signature = virtine::bytes<32>(int);
#else
using signature = std::string_view(int);
#endif

virtine::detail::frame<signature> frame;
