// What the elements of a policy have in common. Knows no particular one.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/cxx20.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace virtine::detail {

/// What a grant is about, so that a policy can tell whether two of them contradict each other.
struct granted_thing {
  std::string_view kind;
  std::uint64_t number = 0;

  friend bool operator==(const granted_thing&, const granted_thing&) = default;
};

/// A grant that is a list of things which are known at run time, each counted for itself.
template <class G>
concept listing_grant = requires(const G& one, std::size_t i) {
  { one.entries.size() } -> std::convertible_to<std::size_t>;
  { one.thing(i) } -> std::convertible_to<granted_thing>;
  { one.describe(i) } -> std::convertible_to<std::string>;
};

/// An element of a policy: something that guests may ask for.
template <class G>
concept grant = requires {
  { G::things.size() } -> std::convertible_to<std::size_t>;
  { G::things[0] } -> std::convertible_to<granted_thing>;
}
&&(listing_grant<G> || requires(const G& one) {
  { one.describe() } -> std::convertible_to<std::string>;
});

}  // namespace virtine::detail
