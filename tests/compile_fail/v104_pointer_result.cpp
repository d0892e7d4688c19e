// error: virtine \[V104\]: the result, or a part of it, is a pointer, a reference, a span or a type
// What a returned pointer points to stays behind in the guest.
// SPDX-License-Identifier: MIT
#include <virtine/abi/frame.hpp>

#ifdef VALID
using signature = virtine::bytes<32>(int);
#else
using signature = const char*(int);
#endif

virtine::detail::frame<signature> frame;
