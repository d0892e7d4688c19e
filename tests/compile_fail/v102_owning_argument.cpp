// error: virtine \[V102\]: an argument, .* is not trivially copyable.* by a plain struct\.
// The bytes of a std::string are a pointer, not its text.
// SPDX-License-Identifier: MIT
#include <string>
#include <string_view>

#include <virtine/abi/frame.hpp>

#ifdef VALID
using signature = int(std::string_view);
#else
using signature = int(std::string);
#endif

virtine::detail::frame<signature> frame;
