// error: virtine \[V107\]: a type has a pointer or a reference in it
// Its message() would make a virtual call through an address that the guest made up.
// SPDX-License-Identifier: MIT
#include <system_error>

#include <virtine/abi/frame.hpp>

#ifdef VALID
using signature = int();
#else
using signature = std::error_code();
#endif

virtine::detail::frame<signature> frame;
