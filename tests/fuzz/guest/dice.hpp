// Random numbers that are the same for a seed on every host.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>

namespace guest_fuzz {

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
class dice {
 public:
  explicit constexpr dice(std::uint64_t seed) : state_(seed) {}
  /// Of the part `number` of what `seed` means, whatever was drawn for others.
  constexpr dice(std::uint64_t seed, std::uint64_t number) : dice(dice(seed).next() ^ number) {
    state_ = next();
  }

  constexpr std::uint64_t next() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
  }
  /// Returns a number below `end`, which is not 0.
  constexpr std::uint64_t below(std::uint64_t end) { return (next() >> 11) % end; }
  constexpr unsigned small(unsigned end) { return static_cast<unsigned>(below(end)); }
  constexpr std::uint8_t byte() { return static_cast<std::uint8_t>(next() >> 56); }
  constexpr bool chance(unsigned percent) { return below(100) < percent; }
  template <class T>
  constexpr T of(std::initializer_list<T> these) {
    return these.begin()[below(these.size())];
  }
  template <class Rows>
  constexpr const auto& of_rows(const Rows& rows) {
    return rows[below(rows.size())];
  }

 private:
  std::uint64_t state_;
};

}  // namespace guest_fuzz
