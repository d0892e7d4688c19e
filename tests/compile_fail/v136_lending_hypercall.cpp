// error: virtine \[V136\]: an argument of a hypercall is virtine::lent
// SPDX-License-Identifier: MIT
#include <virtine/virtine.hpp>

#ifdef VALID
using numbers = std::span<const float>;
#else
using numbers = virtine::lent<const float>;
#endif

virtine::detail::hypercall_frame<void(numbers)> frame;
