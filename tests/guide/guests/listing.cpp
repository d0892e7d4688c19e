// Guests of the guide whose results have any size, in C++ and in C.
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstddef>
#include <span>
#include <string>

#include <virtine/guest.hpp>

static std::size_t squares(int end, std::span<char> out) {
  std::string text;
  for (int i = 0; i < end; ++i) text += std::to_string(i * i) + '\n';
  std::copy_n(text.begin(), std::min(text.size(), out.size()), out.begin());
  return text.size();  // What it takes, though it be more than there is room for.
}

VIRTINE_EXPORT(squares);

extern "C" std::size_t write_squares(int end, char* out, std::size_t room);  // in C

static std::size_t squares_in_c(int end, std::span<char> out) {
  return write_squares(end, out.data(), out.size());
}

VIRTINE_EXPORT(squares_in_c);
