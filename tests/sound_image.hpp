// What the library relies on in an image that it has loaded, whatever was in the file.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <string_view>

#include <virtine/loaded_image.hpp>

/// Returns whether it holds, having read all that a call or a report may read.
inline bool is_sound(const virtine::loaded_image& image, const virtine::load_options& options) {
  const virtine::image_description& is = image.description();
  std::size_t length = std::string_view(is.name).size();
  for (const auto& each : is.segments) {
    length += static_cast<std::size_t>(std::count(each.content.begin(), each.content.end(), 'x'));
  }
  for (const auto& each : is.symbols) length += std::string_view(each.name).size();
  for (const auto& each : is.lines) {
    if (each.file != nullptr) length += std::string_view(each.file).size();
  }
  static std::atomic<std::size_t> read;  // So that all of it is, which a sanitizer may object to.
  read += length;

  const auto is_code = [&](std::uint64_t address) {
    return std::any_of(is.segments.begin(), is.segments.end(), [&](const virtine::segment& s) {
      return s.executable && address >= s.address && address - s.address < s.memory_size;
    });
  };
  bool sound = virtine::detail::is_well_formed(is) &&
               virtine::detail::layout_of(is).end <= options.max_memory &&
               is.arguments_size <= options.max_arguments && is.stack_size <= options.max_stack &&
               is.symbols.size() + is.lines.size() <= options.max_symbols &&
               (is.init == 0 || is_code(is.init));
  std::string_view before;
  for (const auto& each : image.exports()) {
    sound = sound && is_code(each.address) && before < each.name;
    before = each.name;
  }
  return sound;
}
