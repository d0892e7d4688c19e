// SPDX-License-Identifier: MIT
#include <string>

#include <expat.h>

#include "library.hpp"

LIBRARY(expat) {
  const XML_Parser parser = XML_ParserCreate(nullptr);
  std::string names;
  XML_SetHashSalt(parser, 1);  // Otherwise it asks for entropy.
  XML_SetUserData(parser, &names);
  XML_SetStartElementHandler(parser, [](void* to, const XML_Char* name, const XML_Char**) {
    *static_cast<std::string*>(to) += name;
  });
  const std::string text = "<a><b/><c>&lt;</c></a>";
  EXPECT(XML_Parse(parser, text.data(), static_cast<int>(text.size()), 1) == XML_STATUS_OK);
  EXPECT(names == "abc");
  XML_ParserReset(parser, nullptr);
  XML_SetHashSalt(parser, 1);
  EXPECT(XML_Parse(parser, "<a></b>", 7, 1) == XML_STATUS_ERROR);
  EXPECT(XML_GetErrorCode(parser) == XML_ERROR_TAG_MISMATCH);
  XML_ParserFree(parser);
  return 0;
}
