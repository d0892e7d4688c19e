// What all fuzz targets need: an input that is taken apart from its beginning, and a check that is
// a crash.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string_view>

inline void require(bool holds, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  if (holds) return;
  std::fprintf(stderr, "%s:%d: does not hold\n", file, line);
  std::abort();
}

class fuzz_input {
 public:
  fuzz_input(const std::uint8_t* data, std::size_t size)
      : rest_(std::as_bytes(std::span(data, size))) {}

  /// Returns the next bytes as a number; zeros stand for what is missing.
  template <class T>
  T take() {
    T out{};
    const auto from = take_bytes(sizeof(T));
    if (!from.empty()) std::memcpy(&out, from.data(), from.size());
    return out;
  }
  /// Returns the next `size` bytes, or those that are left.
  std::span<const std::byte> take_bytes(std::size_t size) {
    const auto out = rest_.first(std::min(size, rest_.size()));
    rest_ = rest_.subspan(out.size());
    return out;
  }
  /// Returns what comes before the next line feed, which goes, too.
  std::string_view take_line() {
    // Sound: char may alias any object.
    const std::string_view all(reinterpret_cast<const char*>(rest_.data()), rest_.size());
    const std::string_view out = all.substr(0, all.find('\n'));
    rest_ = rest_.subspan(std::min(out.size() + 1, rest_.size()));
    return out;
  }
  [[nodiscard]] std::span<const std::byte> rest() const { return rest_; }
  [[nodiscard]] bool empty() const { return rest_.empty(); }

 private:
  std::span<const std::byte> rest_;
};
