// SPDX-License-Identifier: MIT
#include <string_view>

#include <json-c/json.h>

#include "library.hpp"

LIBRARY(json_c) {
  json_object* const all = json_tokener_parse(R"({"a": [1, 2.5, "\u00e9"], "b": {"c": null}})");
  json_object* a = nullptr;
  EXPECT(all != nullptr && json_object_object_get_ex(all, "a", &a));
  EXPECT(json_object_array_length(a) == 3);
  EXPECT(json_object_get_double(json_object_array_get_idx(a, 1)) == 2.5);
  EXPECT(std::string_view(json_object_get_string(json_object_array_get_idx(a, 2))) == "\xc3\xa9");
  EXPECT(std::string_view(json_object_to_json_string_ext(all, JSON_C_TO_STRING_PLAIN)) ==
         "{\"a\":[1,2.5,\"\xc3\xa9\"],\"b\":{\"c\":null}}");
  json_object_put(all);
  EXPECT(json_tokener_parse("{") == nullptr);
  return 0;
}
