// SPDX-License-Identifier: MIT
#include <string>

#include <re2/re2.h>

#include "library.hpp"

LIBRARY(re2) {
  std::string name;
  int number = 0;
  EXPECT(RE2::FullMatch("ruby:1234", "(\\w+):(\\d+)", &name, &number));
  EXPECT(name == "ruby" && number == 1234);
  std::string text = "yabba dabba doo";
  EXPECT(RE2::GlobalReplace(&text, "b+", "d") == 2 && text == "yada dada doo");
  EXPECT(!RE2("(a", RE2::Quiet).ok());
  return 0;
}
