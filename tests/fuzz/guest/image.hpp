// The image of many sequences, made when the program runs: each in a slot of its own.
// Knows nothing of machines.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <guests/sequences.hpp>
#include <virtine/loaded_image.hpp>

#include "../../image_bytes.hpp"
#include "generator.hpp"
#include "places.hpp"
#include "prepared.hpp"

namespace guest_fuzz {

/// Sequences with numbers from `first` on, of a seed, in one loaded image.
class block {
 public:
  static constexpr std::size_t size = 256;
  /// One in so many blocks has instructions that can vary.
  static constexpr std::uint64_t varying = 8;

  /// `trampoline_exit` is where a function returns to.
  block(std::uint64_t seed, std::uint64_t number, std::uint64_t trampoline_exit)
      : varies(number % varying == varying - 1),
        where(guests::sequences::description),
        image(make(seed, number, trampoline_exit)) {}

  const bool varies;
  const places where;
  std::vector<sequence> sequences;
  const virtine::loaded_image image;

  [[nodiscard]] std::uint64_t address(std::size_t index) const {
    return room() + index * generator::slot_size;
  }

  // Where `look` puts its report.
  [[nodiscard]] std::uint64_t report() const { return where.data; }
  static constexpr std::size_t report_size = 5 * page;
  static constexpr std::size_t x87_environment = 192;
  static constexpr std::size_t fxsave = 256;
  static constexpr std::size_t xsave = 1024;

 private:
  static std::uint64_t room() {
    for (const virtine::symbol& each : guests::sequences::description.symbols) {
      if (std::string_view(each.name) == "room") return each.address;
    }
    throw std::logic_error("the image has no room");
  }

  virtine::loaded_image make(std::uint64_t seed, std::uint64_t number,
                             std::uint64_t trampoline_exit) {
    const auto& from = guests::sequences::description;
    std::vector<std::string> contents;
    for (const auto& each : from.segments) contents.emplace_back(each.content);
    const auto put = [](std::string& to, std::size_t at, const std::vector<std::uint8_t>& bytes) {
      to.resize(std::max(to.size(), at + bytes.size()));
      std::copy(bytes.begin(), bytes.end(), to.begin() + static_cast<std::ptrdiff_t>(at));
    };
    generator made(where, trampoline_exit, varies);
    for (std::size_t i = 0; i < size; ++i) {
      sequences.push_back(made.make(dice(seed, number * size + i), address(i)));
      put(contents[0], address(i) - from.segments[0].address, sequences.back().code);
    }
    put(contents[1], 0, prepared::constants(dice(~seed, 2 * number), where));
    put(contents[2], report_size, prepared::data(dice(~seed, 2 * number + 1), where));

    std::vector<virtine::segment> segments(from.segments.begin(), from.segments.end());
    for (std::size_t i = 0; i < segments.size(); ++i) segments[i].content = contents[i];
    virtine::image_description description = from;
    description.segments = segments;
    using look = guests::sequences::look;
    const image_bytes file(description,
                           {{look::name, look::signature, look::address, look::imports}});
    auto loaded = virtine::load_image(std::span<const std::byte>(file.bytes));
    if (!loaded) throw virtine::failure(loaded.error());
    return *std::move(loaded);
  }
};

}  // namespace guest_fuzz
