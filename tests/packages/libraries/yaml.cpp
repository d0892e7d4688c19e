// SPDX-License-Identifier: MIT
#include <string>
#include <string_view>

#include <yaml.h>

#include "library.hpp"

LIBRARY(yaml) {
  yaml_parser_t parser;
  yaml_event_t event;
  constexpr std::string_view text = "a: [1, two]\nb: {c: 'd'}\n";
  std::string scalars;
  EXPECT(yaml_parser_initialize(&parser));
  yaml_parser_set_input_string(&parser, reinterpret_cast<const unsigned char*>(text.data()),
                               text.size());
  for (bool going = true; going; yaml_event_delete(&event)) {
    EXPECT(yaml_parser_parse(&parser, &event));
    if (event.type == YAML_SCALAR_EVENT) {
      scalars += reinterpret_cast<const char*>(event.data.scalar.value);
      scalars += ' ';
    }
    going = event.type != YAML_STREAM_END_EVENT;
  }
  EXPECT(scalars == "a 1 two b c d ");
  yaml_parser_delete(&parser);
  return 0;
}
