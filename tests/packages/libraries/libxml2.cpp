// SPDX-License-Identifier: MIT
#include <string_view>

#include <libxml/parser.h>
#include <libxml/xpath.h>

#include "library.hpp"

LIBRARY(libxml2) {
  constexpr std::string_view text = "<a><b n='1'/><b n='22'/></a>";
  xmlDoc* const document = xmlReadMemory(text.data(), int(text.size()), "a.xml", nullptr, 0);
  EXPECT(document != nullptr);
  xmlXPathContext* const context = xmlXPathNewContext(document);
  xmlXPathObject* const found =
      xmlXPathEval(reinterpret_cast<const xmlChar*>("sum(//b/@n)"), context);
  EXPECT(found != nullptr && found->floatval == 23);
  xmlXPathFreeObject(found);
  xmlXPathFreeContext(context);
  xmlFreeDoc(document);
  EXPECT(xmlReadMemory("<a>", 3, "b.xml", nullptr, XML_PARSE_NOERROR) == nullptr);
  return 0;
}
