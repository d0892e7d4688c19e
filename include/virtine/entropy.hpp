// entropy: the hypercall by which a guest gets random bytes that no other call has got.
// Freestanding: shared by hosts and guests.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <span>

#include <virtine/hypercall.hpp>

namespace virtine {

/// Fills the span with random bytes: `guest::call<entropy>(key)`. The host grants it by
/// allow_entropy(). A guest needs it for whatever must differ between calls: all of them begin with
/// one snapshot, and so with the same state of any generator in it.
struct entropy : detail::declared_hypercall<first_reserved_hypercall, void(std::span<std::byte>)> {
};

}  // namespace virtine
