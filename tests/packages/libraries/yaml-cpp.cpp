// SPDX-License-Identifier: MIT
#include <string>

#include <yaml-cpp/yaml.h>

#include "library.hpp"

LIBRARY(yaml_cpp) {
  const YAML::Node all = YAML::Load("a: [1, 2.5]\nb: {c: text}\n");
  EXPECT(all["a"][1].as<double>() == 2.5);
  EXPECT(all["b"]["c"].as<std::string>() == "text");
  try {
    YAML::Load("a: [1");
    return __LINE__;
  } catch (const YAML::ParserException& why) {
    EXPECT(why.mark.line == 0);
  }
  YAML::Emitter out;
  out << all["a"];
  EXPECT(std::string(out.c_str()) == "[1, 2.5]");
  return 0;
}
