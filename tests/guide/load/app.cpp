// The host of the guide's plug-in.
// SPDX-License-Identifier: MIT
// clang-format off
#include <iostream>
#include <virtine/loaded_image.hpp>

int main(int count, char** arguments) {
  if (count != 2) return std::cerr << "usage: host IMAGE\n", 2;
  auto plugin = virtine::load_image(arguments[1]);
  if (!plugin) return std::cerr << to_string(plugin.error()) << '\n', 1;
  auto square = plugin->function<int(int)>("square");
  if (!square) return std::cerr << to_string(square.error()) << '\n', 1;
  std::cout << (*square)(3) << '\n';
}

// Output:
// 9
