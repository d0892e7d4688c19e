// The hypercalls by which a guest gets its arguments and its environment. Freestanding: shared by
// hosts and guests.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <virtine/hypercall.hpp>

namespace virtine {

/// Copies the strings of the environment ("NAME=value") to the span, each ended by a zero byte, as
/// many as fit wholly. Returns how many bytes all of them need. Every policy answers, because
/// programs ask when they start: with no strings unless it has posix::environment().
struct environment : detail::declared_hypercall<first_reserved_hypercall + 1,
                                                std::uint64_t(std::span<std::byte>)> {};

/// The same for the arguments that a program would find in argv; see posix::arguments().
struct program_arguments : detail::declared_hypercall<first_reserved_hypercall + 2,
                                                      std::uint64_t(std::span<std::byte>)> {};

}  // namespace virtine
