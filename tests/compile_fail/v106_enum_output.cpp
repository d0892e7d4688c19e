// error: virtine \[V106\]: the guest can give an enum to the host
// The elements of a span that the guest fills come back to the host as a result does.
// SPDX-License-Identifier: MIT
#include <span>

#include <virtine/abi/frame.hpp>

enum class colour : unsigned char { red, green };

#ifdef VALID
using signature = void(std::span<const colour>);
#else
using signature = void(std::span<colour>);
#endif

virtine::detail::frame<signature> frame;
