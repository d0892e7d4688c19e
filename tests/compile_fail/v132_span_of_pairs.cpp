// error: virtine \[V132\]: the elements of a span are a std::pair, tuple, optional or variant
// A pair crosses by itself, but elements are used where they lie.
// SPDX-License-Identifier: MIT
#include <span>
#include <utility>

#include <virtine/abi/frame.hpp>

#ifdef VALID
virtine::detail::frame<int(std::pair<int, int>)> frame;
#else
virtine::detail::frame<int(std::span<const std::pair<int, int> >)> frame;
#endif
