// Which image was made of a source file, so that a function marked in the file finds its entry.
// Knows nothing of calls; the headers that virtine-cc makes of such files specialise it.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include <virtine/digest.hpp>
#include <virtine/image.hpp>
#include <virtine/signature.hpp>
#include <virtine/x86/user64.hpp>

namespace virtine::detail {

constexpr std::uint64_t text_key(std::string_view text) {
  digest key;
  for (char c : text) key.add(static_cast<unsigned char>(c));
  return key.value();
}

/// Returns what stands for a file whatever directory a compiler is told to find it in.
constexpr std::uint64_t source_key(std::string_view path) {
  return text_key(path.substr(path.rfind('/') + 1));
}

/// The image made of the file of this key. Specialisations have `image`; `functions`, which names
/// the entries of the functions marked there; and `changed`, the time of the file's last change.
template <std::uint64_t Source>
struct source_image {};

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

template <class Sig, class Image = stand_in_image>
struct stand_in_entry {
  using image = Image;
  static constexpr const char* name = "";
  static constexpr std::uint64_t address = 0;
  static constexpr std::string_view signature = ::virtine::signature<Sig>;
};

template <std::uint64_t Source>
struct no_source_image {
  static_assert(Source == 0,
                "virtine [V117]: there is no image of this file, so its functions have no virtual "
                "machine to run in. Include the header that virtine-cc makes of the file, before "
                "the first of them.");
};

template <std::uint64_t Source>
struct stale_image {
  static_assert(Source == 0,
                "virtine [V118]: the image of this file was made before the file was changed. "
                "Build it again by virtine-cc, as your build does if it reads the --depfile.");
};

template <class Mistake, class Sig, class Image = stand_in_image>
struct refused_entry : stand_in_entry<Sig, Image> {};

/// Tells, by being instantiated, why an entry was refused.
template <class Entry>
struct check_source {};
template <class Mistake, class Sig, class Image>
struct check_source<refused_entry<Mistake, Sig, Image>> : Mistake {};

// A const result means nothing to a caller.
template <class Sig>
struct plain_signature_of;
template <class R, class... A>
struct plain_signature_of<R(A...)> {
  using type = std::remove_const_t<R>(A...);
};
template <class R, class... A>
struct plain_signature_of<R(A...) noexcept> : plain_signature_of<R(A...)> {};
template <class Sig>
using plain_signature = typename plain_signature_of<Sig>::type;

template <std::uint64_t Source>
concept has_source_image = requires {
  typename source_image<Source>::image;
};

template <class Function, std::uint64_t Source>
concept has_source_entry = requires {
  typename Function::template entry<typename source_image<Source>::functions>;
};

// `Function` is a type that has the function's signature and, as `entry`, picks its entry of all
// those that the image of a file has.

template <class Function, std::uint64_t Source, std::uint64_t Changed>
constexpr auto find_source_entry() {
  using signature = typename Function::signature;
  if constexpr (!has_source_image<Source>) {
    return std::type_identity<refused_entry<no_source_image<Source>, signature>>{};
  } else if constexpr (source_image<Source>::changed != Changed ||
                       !has_source_entry<Function, Source>) {
    return std::type_identity<
        refused_entry<stale_image<Source>, signature, typename source_image<Source>::image>>{};
  } else {
    return std::type_identity<
        typename Function::template entry<typename source_image<Source>::functions>>{};
  }
}

/// The entry of a function in the image of the file `Source` as it was at the time `Changed`.
template <class Function, std::uint64_t Source, std::uint64_t Changed>
using source_entry = typename decltype(find_source_entry<Function, Source, Changed>())::type;

template <class Function, std::uint64_t Source>
constexpr auto find_stand_in() {
  using signature = typename Function::signature;
  if constexpr (has_source_image<Source>) {
    return std::type_identity<stand_in_entry<signature, typename source_image<Source>::image>>{};
  } else {
    return std::type_identity<refused_entry<no_source_image<Source>, signature>>{};
  }
}

/// What stands for the entry of a function where the image that will have it is being made.
template <class Function, std::uint64_t Source>
using stand_in_of = typename decltype(find_stand_in<Function, Source>())::type;

/// Returns what tells virtine-cc of a marked function: its name, a zero, and the two numbers by
/// which the file is known, in hexadecimal digits, low ones first.
template <std::size_t N>
consteval auto marker_record(const char (&name)[N], std::uint64_t source, std::uint64_t changed) {
  std::array<char, N + 33> record{};
  std::size_t at = 0;
  for (char c : name) record[at++] = c;
  for (std::uint64_t number : {source, changed}) {
    for (int digit = 0; digit < 16; ++digit) {
      record[at++] = "0123456789abcdef"[number % 16];
      number /= 16;
    }
  }
  return record;
}

}  // namespace virtine::detail
