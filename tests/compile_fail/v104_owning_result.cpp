// error: virtine \[V104\]: the result, or a part of it, .*a result of any size
// An owning result would own memory of the guest.
// SPDX-License-Identifier: MIT
#include <vector>

#include <virtine/abi/frame.hpp>

#ifdef VALID
using signature = virtine::bytes<32>(int);
#else
using signature = std::vector<char>(int);
#endif

virtine::detail::frame<signature> frame;
