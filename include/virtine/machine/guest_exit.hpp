// Why a guest stopped when nothing went wrong, whatever its machine is. Knows nothing else.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/cxx20.hpp>

#include <cstdint>

namespace virtine::detail {

/// Why a guest stopped when nothing went wrong.
enum class guest_exit : std::uint8_t {
  done,         ///< The function returned.
  hypercall,    ///< It asks for one of the host's services; resume() goes on.
  system_call,  ///< It asks for what Linux would do; answer() and resume() go on.
};

}  // namespace virtine::detail
