// Gives every type of crossing_types.hpp back: as the value that it got, or as bytes that need not
// be one.
// SPDX-License-Identifier: MIT
#include "crossing_types.hpp"

#include <cstddef>
#include <cstring>

#include <virtine/guest.hpp>

#define ECHO(name)                                          \
  static crossing::name name##_back(crossing::name value) { \
    return value;                                           \
  }                                                         \
  VIRTINE_EXPORT(name##_back);

CROSSING_BYTES(ECHO)
CROSSING_PARTS(ECHO)

// What VIRTINE_EXPORT makes, but for the body: its result is bytes that nobody has looked at.
#define FORGE(name)                                                                           \
  crossing::name name##_forged(crossing::bytes_of<crossing::name>);                           \
  extern "C" void virtine_entry_##name##_forged(std::byte* frame);                            \
  extern "C" void virtine_entry_##name##_forged(std::byte* frame) {                           \
    using signature = crossing::name(crossing::bytes_of<crossing::name>);                     \
    using layout = virtine::detail::frame<signature>;                                         \
    std::memcpy(frame + layout::result_offset, frame + layout::offsets[0],                    \
                sizeof(crossing::bytes_of<crossing::name>));                                  \
  }                                                                                           \
  [[gnu::used,                                                                                \
    gnu::section(".virtine.exports")]] static constexpr auto virtine_export_##name##_forged = \
      virtine::detail::export_record<&name##_forged>(#name "_forged");

CROSSING_FORGED(FORGE)
