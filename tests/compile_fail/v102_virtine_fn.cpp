// error: virtine \[V102\]: an argument, a part of one, or an element of a span is not trivially
// copyable The same mistake in a virtine_fn gives the same one message, whatever else it breaks.
// SPDX-License-Identifier: MIT
#include <string>

#include <guests/text.hpp>
#include <virtine/virtine.hpp>

#ifdef VALID
using signature = unsigned long(std::string_view);
#else
using signature = unsigned long(std::string);
#endif

virtine::virtine_fn<signature, guests::text> words;

// That the function is used as well adds no message.
unsigned long two() {
  return words("two words");
}
