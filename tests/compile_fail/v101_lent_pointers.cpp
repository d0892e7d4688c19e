// error: virtine \[V101\]: an argument is a pointer
// SPDX-License-Identifier: MIT
#include <virtine/virtine.hpp>

#ifdef VALID
using element = const long;
#else
using element = const char* const;
#endif

virtine::detail::check_signature<int(int, virtine::lent<element>)> checked;
