// What a generated image header says of its image: contents, memory, exports, symbols. virtine-cc
// writes the values, the library reads them.
// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <cstdint>
#include <span>
#include <string_view>

#include <virtine/x86/cpu_mode.hpp>

namespace virtine {

namespace detail {
class kept;
struct snapshot_place;
}  // namespace detail

/// The version of the generated headers that this library reads; virtine-cc writes it into each.
inline constexpr int image_format = 3;

/// A contiguous part of an image in guest memory. Memory beyond its content starts as zeros.
struct segment {
  std::uint64_t address = 0;      ///< Guest address; a multiple of 4096 for user64 images.
  std::uint64_t memory_size = 0;  ///< Bytes it occupies, at least content.size().
  std::string_view content;       ///< Its first bytes.
  bool writable = false;
  bool executable = false;
};

/// A function of the guest, for reports.
struct symbol {
  std::uint64_t address = 0;
  std::uint64_t size = 0;  ///< Bytes; assembly's functions go on to the next, or the code's end.
  const char* name = nullptr;
};

/// The source line of the code from `address` up to the address of the next one. Only images built
/// with -g have them.
struct source_line {
  std::uint64_t address = 0;
  const char* file = nullptr;  ///< Null: unknown.
  std::uint32_t line = 0;
};

/// Everything the library knows of an image.
struct image_description {
  const char* name = nullptr;
  x86::cpu_mode mode = x86::cpu_mode::user64;
  std::span<const segment> segments = {};       ///< Ascending addresses, no overlap.
  std::span<const symbol> symbols = {};         ///< Ascending addresses.
  std::span<const source_line> lines = {};      ///< Ascending addresses; none without -g.
  std::span<const std::uint32_t> imports = {};  ///< Numbers of the hypercalls it makes, ascending.
  std::uint64_t arguments_size = 0;             ///< Bytes for a call frame and what it refers to.
  std::uint64_t stack_size = 0;                 ///< Bytes, a multiple of 4096 for user64 images.
  std::uint64_t memory_size = 0;  ///< Bare modes: the whole memory. user64: unused, 0.
  std::uint64_t boot =
      0;  ///< Bare modes: where the image's boot code starts in real mode; 0: none.
  std::uint64_t init = 0;  ///< user64: what runs once, before the snapshot; 0: nothing does.
  std::uint64_t thread_pointer = 0;  ///< user64: the base of FS at each entry; 0: none.
  /// Of a loaded image: what all texts here belong to, and where its snapshot is found. Null for
  /// one that is compiled in, whose texts are static.
  detail::kept* owner = nullptr;
  detail::snapshot_place* place = nullptr;
};

/// A generated image type: `guests::NAME`.
template <class T>
concept guest_image = requires {
  { T::description } -> std::convertible_to<const image_description&>;
  requires T::format == image_format;
};

/// A generated entry type: `guests::NAME::FUNCTION`.
template <class T>
concept guest_entry = requires {
  requires guest_image<typename T::image>;
  { T::address } -> std::convertible_to<std::uint64_t>;
  { T::signature } -> std::convertible_to<std::string_view>;
  { T::name } -> std::convertible_to<const char*>;
};

/// Returns the numbers of the hypercalls that calls of an entry can make. If the entry has no list
/// of its own, returns those of the whole image.
template <guest_entry T>
constexpr std::span<const std::uint32_t> imports_of() {
  if constexpr (requires { T::imports; }) {
    return T::imports;
  } else {
    return T::image::description.imports;
  }
}

/// An image that has exactly one entry and can stand for it.
template <class T>
concept single_entry_image = guest_image<T> && guest_entry<typename T::only_entry>;

namespace detail {
template <class T>
struct entry_of;
template <guest_entry T>
struct entry_of<T> {
  using type = T;
};
template <single_entry_image T>
requires(!guest_entry<T>) struct entry_of<T> {
  using type = typename T::only_entry;
};
}  // namespace detail

namespace detail {
/// Returns the last of `places` that is not beyond `address`, or null.
template <class Place>
constexpr const Place* last_up_to(std::span<const Place> places, std::uint64_t address) {
  const Place* found = nullptr;
  for (std::size_t from = 0, to = places.size(); from < to;) {
    const std::size_t middle = from + (to - from) / 2;
    if (places[middle].address <= address) {
      found = &places[middle];
      from = middle + 1;
    } else {
      to = middle;
    }
  }
  return found;
}
}  // namespace detail

/// Returns the symbol that contains `address`, or null.
constexpr const symbol* find_symbol(std::span<const symbol> symbols, std::uint64_t address) {
  const symbol* const found = detail::last_up_to(symbols, address);
  return found != nullptr && address - found->address < found->size ? found : nullptr;
}

/// Returns the source line that `address` comes from, or null.
constexpr const source_line* find_line(std::span<const source_line> lines, std::uint64_t address) {
  const source_line* const found = detail::last_up_to(lines, address);
  return found != nullptr && found->file != nullptr ? found : nullptr;
}

}  // namespace virtine
