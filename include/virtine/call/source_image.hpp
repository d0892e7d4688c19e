// Which image was made of a source file, so that a function marked in the file finds its entry.
// Knows nothing of calls; the headers that virtine-cc makes of such files specialise it.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <utility>

#include <virtine/abi/signature.hpp>
#include <virtine/call/entry_checks.hpp>
#include <virtine/image.hpp>
#include <virtine/machine/digest.hpp>

namespace virtine::detail {

constexpr std::uint64_t text_key(std::string_view text) {
  digest key;
  for (char c : text) key.add(static_cast<unsigned char>(c));
  return key.value();
}

/// Returns what stands for a file of this name, in whatever directory.
constexpr std::uint64_t source_key(std::string_view path) {
  return text_key(path.substr(path.rfind('/') + 1));
}

// Another type in each file that is compiled: two files of one name in a program have two images,
// and a template specialised for both would be one to the linker.
namespace {
struct this_unit;
}

/// The image made of the file of this key. Specialisations have `image`; `functions`, which names
/// the entries of the functions marked there; and `file`, the path that virtine-cc was given.
template <class Unit, std::uint64_t Source>
struct source_image {};

/// Returns the part of a path that does not depend on the directory a compiler runs in.
constexpr std::string_view stable_part(std::string_view path) {
  const std::size_t dots = path.rfind("./");
  if (dots != std::string_view::npos) return path.substr(dots + 2);
  return path.starts_with('/') ? path.substr(1) : path;
}

/// Says whether two paths can be one file's: one of them is the end of the other.
constexpr bool can_be_one_file(std::string_view path, std::string_view other) {
  path = stable_part(path);
  other = stable_part(other);
  if (path.size() < other.size()) std::swap(path, other);
  return path.ends_with(other) &&
         (path.size() == other.size() || path[path.size() - other.size() - 1] == '/');
}

template <class Sig, class Image = stand_in_image>
struct stand_in_entry {
  using image = Image;
  static constexpr const char* name = "";
  static constexpr std::uint64_t address = 0;
  static constexpr std::string_view signature = detail::signature<Sig>;
};

template <std::uint64_t Source>
struct no_source_image {
  static_assert(Source == 0,
                "virtine [V117]: there is no image of this file, so its functions have no virtual "
                "machine to run in. Before the first of them, include the header that virtine-cc "
                "makes of this very file. Mark functions in source files, not in headers.");
};

template <std::uint64_t Source>
struct stale_image {
  static_assert(Source == 0,
                "virtine [V118]: the image of this file was made before this function was marked. "
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

template <class Pointer>
struct pointed_signature_of {
  using type = void();
};
template <class Sig>
requires std::is_function_v<Sig>
struct pointed_signature_of<Sig*> : plain_signature_of<Sig> {
};
template <class Pointer>
inline constexpr bool is_function_pointer =
    std::is_pointer_v<Pointer>&& std::is_function_v<std::remove_pointer_t<Pointer>>;
/// The signature of a function, of the type of a pointer to it.
template <class Pointer>
using pointed_signature = typename pointed_signature_of<Pointer>::type;

// `Function` is a type that has the function's signature; `file`, the file that it is marked in;
// and `entry`, which picks its entry of all those that the image of a file has.

template <class Function>
using image_of_source = source_image<this_unit, source_key(Function::file)>;

template <class Function>
concept has_source_image = requires {
  typename image_of_source<Function>::image;
};

template <class Function>
concept has_source_entry = requires {
  typename Function::template entry<typename image_of_source<Function>::functions>;
};

template <class Function>
constexpr auto find_source_entry() {
  using signature = typename Function::signature;
  using made = image_of_source<Function>;
  constexpr std::uint64_t source = source_key(Function::file);
  if constexpr (!has_source_image<Function>) {
    return std::type_identity<refused_entry<no_source_image<source>, signature>>{};
  } else if constexpr (!can_be_one_file(made::file, Function::file)) {
    return std::type_identity<
        refused_entry<no_source_image<source>, signature, typename made::image>>{};
  } else if constexpr (!has_source_entry<Function>) {
    return std::type_identity<
        refused_entry<stale_image<source>, signature, typename made::image>>{};
  } else {
    return std::type_identity<typename Function::template entry<typename made::functions>>{};
  }
}

/// The entry of a function in the image of the file that it is marked in.
template <class Function>
using source_entry = typename decltype(find_source_entry<Function>())::type;

template <class Function>
constexpr auto find_stand_in() {
  using signature = typename Function::signature;
  if constexpr (has_source_image<Function>) {
    return std::type_identity<
        stand_in_entry<signature, typename image_of_source<Function>::image>>{};
  } else {
    return std::type_identity<
        refused_entry<no_source_image<source_key(Function::file)>, signature>>{};
  }
}

/// What stands for the entry of a function where the image that will have it is being made.
template <class Function>
using stand_in_of = typename decltype(find_stand_in<Function>())::type;

}  // namespace virtine::detail
