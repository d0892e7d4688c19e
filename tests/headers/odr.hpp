// What both source files of the program say of the same inline entities.
// SPDX-License-Identifier: MIT
#pragma once

#include <guests/fib64.hpp>
#include <guests/math.hpp>
#include <guests/math/math.hpp>
#include <guests/square.hpp>
#include <virtine/virtine.hpp>

/// The addresses of a few inline variables and functions, as a source file sees them.
struct addresses {
  const virtine::image_description* square = nullptr;
  const virtine::image_description* math = nullptr;
  const virtine::image_description* fib64 = nullptr;
  const char* content = nullptr;
  std::string (*to_string)(const virtine::error&) = nullptr;
  virtine::detail::layout (*layout_of)(const virtine::image_description&) = nullptr;
  decltype(&virtine::virtine_fn<int(int), guests::square>::try_call) call = nullptr;

  friend bool operator==(const addresses&, const addresses&) = default;
};

addresses addresses_in_second();
