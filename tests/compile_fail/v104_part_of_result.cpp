// error: virtine \[V104\]: the result, or a part of it, is a pointer, a reference, a span or a type
// What an optional holds crosses by the rules for what is alone.
// SPDX-License-Identifier: MIT
#include <optional>
#include <string>

#include <virtine/abi/frame.hpp>

#ifdef VALID
virtine::detail::frame<std::optional<virtine::bytes<32>>(int)> frame;
#else
virtine::detail::frame<std::optional<std::string>(int)> frame;
#endif
