// The hypercall by which a guest gets random bytes that no other call has got. Must not know where
// they come from. Freestanding: shared by hosts and guests.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <span>

#include <virtine/hypercall.hpp>

namespace virtine {

/// Fills the span with random bytes: `guest::call<entropy>(key)`. The host grants it by
/// allow_entropy(). A guest needs it for whatever must differ between calls, since all of them
/// begin with one snapshot, and the state of a generator in it.
struct entropy : detail::declared_hypercall<first_reserved_hypercall, void(std::span<std::byte>)> {
};

}  // namespace virtine
