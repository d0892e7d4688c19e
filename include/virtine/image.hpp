// What a generated image header says of its image: contents, memory, exports, symbols.
// Knows nothing of machines; virtine-cc writes the values, the library reads them.
// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <cstdint>
#include <span>
#include <string_view>

#include <virtine/x86/cpu_mode.hpp>

namespace virtine {

/// The version of the generated headers that this library reads; virtine-cc writes it into each.
inline constexpr int image_format = 2;

/// A contiguous part of an image in guest memory. What lies beyond its content starts as zeros.
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
  std::uint64_t size = 0;
  const char* name = nullptr;
};

/// Everything the library knows of an image.
struct image_description {
  const char* name = nullptr;
  x86::cpu_mode mode = x86::cpu_mode::user64;
  std::span<const segment> segments = {};       ///< Ascending addresses, no overlap.
  std::span<const symbol> symbols = {};         ///< Ascending addresses.
  std::span<const std::uint32_t> imports = {};  ///< Numbers of the hypercalls it makes, ascending.
  std::uint64_t arguments_size = 0;             ///< Bytes for a call frame and what it refers to.
  std::uint64_t stack_size = 0;                 ///< Bytes, a multiple of 4096 for user64 images.
  std::uint64_t memory_size = 0;  ///< Bare modes: the whole memory. user64: unused, 0.
  std::uint64_t boot =
      0;  ///< Bare modes: where the image's boot code starts in real mode; 0: none.
  std::uint64_t init = 0;  ///< user64: what runs once, before the snapshot; 0: nothing does.
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

/// Returns the symbol that contains `address`, or null.
constexpr const symbol* find_symbol(std::span<const symbol> symbols, std::uint64_t address) {
  std::size_t low = 0;
  std::size_t high = symbols.size();
  while (low < high) {
    std::size_t middle = low + (high - low) / 2;
    if (symbols[middle].address <= address) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  if (low == 0) return nullptr;
  const symbol& found = symbols[low - 1];
  // A function written in assembly may have no size; it then reaches to the next symbol.
  return found.size == 0 || address - found.address < found.size ? &found : nullptr;
}

}  // namespace virtine
