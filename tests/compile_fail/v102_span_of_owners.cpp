// error: virtine \[V102\]: an argument, a part of one, or an element of a span is not trivially
// copyable Elements that own memory elsewhere cannot be copied byte by byte.
// SPDX-License-Identifier: MIT
#include <span>
#include <vector>

#include <virtine/abi/frame.hpp>

#ifdef VALID
using signature = int(std::span<const long>);
#else
using signature = int(std::span<const std::vector<long> >);
#endif

virtine::detail::frame<signature> frame;
