// error: virtine \[V131\]: a literal is longer than the virtine::bytes<N> that it is put into
// Nothing is cut off unless one asks for it.
// SPDX-License-Identifier: MIT
#include <virtine/bytes.hpp>

#ifdef VALID
virtine::bytes<5> text("hello");
#else
virtine::bytes<4> text("hello");
#endif
