// Every mistake that concerns an image and the function named of it; as in checks.hpp, one
// static_assert each. Knows nothing of machines or calls.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include <virtine/abi/checks.hpp>
#include <virtine/abi/frame.hpp>
#include <virtine/abi/signature.hpp>
#include <virtine/abi/user64.hpp>
#include <virtine/image.hpp>
#include <virtine/pool/machine_like.hpp>

namespace virtine::detail {

inline constexpr std::array stand_in_segments{segment{.address = x86::image_base,
                                                      .memory_size = 4096,
                                                      .content = {},
                                                      .writable = false,
                                                      .executable = true}};

/// An image that nothing can run. It stands for the real one where a file is compiled to make that,
/// and where there is none, so that this is told in one message.
struct stand_in_image {
  static constexpr int format = image_format;
  static constexpr image_description description{
      .name = "", .segments = stand_in_segments, .arguments_size = 1 << 20, .stack_size = 4096};
};

/// Stands for an entry that was refused, so that the refusal is the only message.
struct no_entry {
  using type = no_entry;
  using image = stand_in_image;
  static constexpr std::uint64_t address = 0;
  static constexpr std::string_view signature{};
  static constexpr const char* name = "";
};

template <class Entry>
struct not_an_entry {
  static_assert(never<Entry>,
                "virtine [V121]: this is not a function of an image. Name one of the generated "
                "types guests::IMAGE::FUNCTION, or an image that exports exactly one function.");
};

template <class HostSignature, class Entry>
struct other_signature {
  static_assert(never<Entry>,
                "virtine [V103]: the signature differs from the one this guest function was "
                "compiled with. Write the guest's types here, or build the guest again.");
};

template <std::size_t FrameSize, class Entry>
struct frame_too_large {
  static_assert(FrameSize == 0,
                "virtine [V105]: the arguments and the result are larger than the argument memory "
                "of the image. Pass a span, or build the image with a larger --arguments.");
};

template <class Policy, std::uint32_t Number>
struct hypercall_not_allowed {
  static_assert(
      never<Policy>,
      "virtine [V110]: the function can make a hypercall that the policy does not "
      "allow. Add virtine::allow<Call>(handler) for the hypercall of this number to the "
      "policy; if you pass a policy, name its type: virtine_fn<Sig, Image, "
      "decltype(policy)>. A function of VIRTINE that is called by its name has none: write "
      "virtine::virtine_fn fn{name, policy}.");
};

template <class Image>
struct bare_image_lent {
  static_assert(never<Image>,
                "virtine [V138]: the function of a bare image cannot be lent memory. Build the "
                "image without --mode, or pass a std::span<const T>.");
};

template <class Entry, class Policy>
constexpr std::uint64_t first_denied_import() {
  for (std::uint32_t number : imports_of<Entry>()) {
    if (!Policy::allows(number)) return number;
  }
  return UINT64_MAX;
}

template <class Sig, class Entry, class Policy>
constexpr auto first_entry_mistake() {
  using image = typename Entry::image;
  if constexpr (signature<Sig> != Entry::signature) {
    return std::type_identity<other_signature<Sig, Entry>>{};
  } else if constexpr (frame<Sig>::size > image::description.arguments_size) {
    return std::type_identity<frame_too_large<frame<Sig>::size, Entry>>{};
  } else if constexpr (first_denied_import<Entry, Policy>() != UINT64_MAX) {
    constexpr auto number = static_cast<std::uint32_t>(first_denied_import<Entry, Policy>());
    return std::type_identity<hypercall_not_allowed<Policy, number>>{};
  } else {
    return std::type_identity<accepted>{};
  }
}

/// A function of a loaded image; whoever made it has checked what is checked here of others.
template <class Machine>
struct loaded_entry {
  using image = loaded_type<Machine>;
  std::uint64_t address = 0;
};
template <class Entry>
inline constexpr bool is_loaded = false;
template <class Machine>
inline constexpr bool is_loaded<loaded_entry<Machine>> = true;

/// The same of a function whose type is known at run time only.
template <class Machine>
struct dynamic_entry;

/// The entry that `Named` names, or no_entry.
template <class Named>
struct entry_or_none : no_entry {};
template <class Machine>
struct entry_or_none<loaded_entry<Machine>> {
  using type = loaded_entry<Machine>;
};
template <class Machine>
struct entry_or_none<dynamic_entry<Machine>> {
  using type = dynamic_entry<Machine>;
};
template <class Named>
requires guest_entry<typename entry_of<Named>::type>
struct entry_or_none<Named> {
  using type = typename entry_of<Named>::type;
};

/// What is wrong with calling `Named` as a `Sig`; nothing is said of a signature that is itself
/// refused.
template <class Sig, class Named, class Policy>
constexpr auto entry_mistake() {
  using entry = typename entry_or_none<Named>::type;
  if constexpr (!is_acceptable<Sig>) {
    return std::type_identity<accepted>{};
  } else if constexpr (lent_count<Sig> > 0 && !can_be_lent<machine_of<typename entry::image>>) {
    return std::type_identity<bare_image_lent<typename entry::image>>{};
  } else if constexpr (is_loaded<entry>) {
    return std::type_identity<accepted>{};
  } else if constexpr (std::is_same_v<entry, no_entry>) {
    return std::type_identity<not_an_entry<Named>>{};
  } else {
    return first_entry_mistake<Sig, entry, Policy>();
  }
}

template <class Sig, class Named, class Policy>
struct check_entry : decltype(entry_mistake<Sig, Named, Policy>())::type {};

}  // namespace virtine::detail
