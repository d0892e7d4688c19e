// error: virtine \[V115\]: the signature's id has more than 256 characters
// Each argument counts one character at least, and a comma.
// SPDX-License-Identifier: MIT
#include <virtine/abi/frame.hpp>

#ifdef VALID
using many = int(int, int, int, int, int, int, int, int, int, int);
#else
template <class... A>
using ten_times = int(A..., A..., A..., A..., A..., A..., A..., A..., A..., A...);
using many = ten_times<int, int, int, int, int, int, int, int, int, int>;
#endif

virtine::detail::frame<many> frame;
