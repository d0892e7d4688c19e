// Whose doing it is that the trampoline failed before it called the guest's function: the host's,
// this guest's or the one's before. Knows nothing of KVM.
// SPDX-License-Identifier: MIT
#pragma once

#include <sys/auxv.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include <virtine/error.hpp>
#include <virtine/machine/digest.hpp>

namespace virtine::detail {

/// How a call has come to the trampoline.
enum class arrival : std::uint8_t {
  over,       ///< The guest has made an exit since: the trampoline is not to blame for anything.
  continued,  ///< The guest went on from the trampoline's own exit.
  placed,     ///< The host has set the registers, R15 to entry_mark() among them.
  first,      ///< The same, on a machine that no guest has run on.
};

/// Returns what the host puts into R15 where it enters a guest: a number of this process's that no
/// guest can know, because the trampoline clears R15 before it calls any. While it is there, no
/// guest code has run.
inline std::uint64_t entry_mark() {
  static const std::uint64_t mark = [] {
    constexpr std::size_t size = 16;
    // Sound: the kernel gives each process 16 random bytes there (getauxval(3)).
    const auto* const random = reinterpret_cast<const std::byte*>(::getauxval(AT_RANDOM));
    return random == nullptr ? 0 : digest{}.add(std::span(random, size)).value();
  }();
  return mark;
}

/// Returns whether `r15` shows that no guest code has run since the host entered the guest.
inline bool is_marked(std::uint64_t r15) {
  return r15 != 0 && r15 == entry_mark();
}

/// The code of a call in which the trampoline tripped over what the call before had left. Nothing
/// of it has run: it is made again, on a new machine, so that no user sees this.
inline constexpr errc not_entered{0xff};

/// Returns what to call a failure in the trampoline after an entry that was not over; `marked` says
/// whether R15 still had the mark.
constexpr errc cause_of(arrival how, bool marked) {
  // What the call before has left is in the registers. A new machine will show who it was.
  if (how == arrival::continued) return not_entered;
  // The guest ran, and came back to the trampoline by itself.
  if (!marked) return errc::guest_fault;
  return how == arrival::first ? errc::host_unfit : not_entered;
}

}  // namespace virtine::detail
