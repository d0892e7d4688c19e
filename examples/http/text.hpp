// Text that is put together in room of a bounded size. Must not know what it is for.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace http {

/// Text of bounded size; what does not fit is dropped.
class text_builder {
 public:
  explicit text_builder(std::span<char> room) : room_(room) {}

  text_builder& operator<<(std::string_view text) {
    const std::span<char> left = room_.subspan(size_);
    const std::size_t size = std::min(text.size(), left.size());
    std::copy_n(text.begin(), size, left.begin());
    size_ += size;
    return *this;
  }
  text_builder& operator<<(std::uint64_t number) { return digits(number, 10, 1); }
  text_builder& digits(std::uint64_t number, unsigned base, unsigned width) {
    std::array<char, 20> digits;
    std::size_t begin = digits.size();
    while (begin > 0 && (number > 0 || digits.size() - begin < width)) {
      digits[--begin] = "0123456789abcdef"[number % base];
      number /= base;
    }
    return *this << std::string_view(digits.data(), digits.size()).substr(begin);
  }

  [[nodiscard]] std::string_view view() const { return {room_.data(), size_}; }

 private:
  std::span<char> room_;
  std::size_t size_ = 0;
};

}  // namespace http
