// error: virtine \[V101\]: an argument is a pointer
// The elements of a span are checked as arguments are.
// SPDX-License-Identifier: MIT
#include <span>
#include <string_view>

#include <virtine/abi/frame.hpp>

#ifdef VALID
using signature = int(std::string_view);
#else
using signature = int(std::span<const char* const>);
#endif

virtine::detail::frame<signature> frame;
