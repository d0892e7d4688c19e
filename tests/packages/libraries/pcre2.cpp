// SPDX-License-Identifier: MIT
#define PCRE2_CODE_UNIT_WIDTH 8
#include <string_view>

#include <pcre2.h>

#include "library.hpp"

LIBRARY(pcre2) {
  int error = 0;
  PCRE2_SIZE at = 0;
  pcre2_code* const code = pcre2_compile(PCRE2_SPTR("(?<year>\\d{4})-(?=0)(\\d\\d)"),
                                         PCRE2_ZERO_TERMINATED, PCRE2_UTF, &error, &at, nullptr);
  EXPECT(code != nullptr);
  pcre2_match_data* const data = pcre2_match_data_create_from_pattern(code, nullptr);
  constexpr std::string_view text = "on 1999-10 and 2026-05";
  EXPECT(pcre2_match(code, PCRE2_SPTR(text.data()), text.size(), 0, 0, data, nullptr) == 3);
  const PCRE2_SIZE* const found = pcre2_get_ovector_pointer(data);
  EXPECT(text.substr(found[2], found[3] - found[2]) == "2026");
  pcre2_match_data_free(data);
  pcre2_code_free(code);
  EXPECT(pcre2_compile(PCRE2_SPTR("("), PCRE2_ZERO_TERMINATED, 0, &error, &at, nullptr) == nullptr);
  return 0;
}
