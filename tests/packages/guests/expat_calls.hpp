// What the tests have expat do, alike for the guest and, to compare with, for the host.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#define XML_DTD 1  // Debian's is built with it, and declares only then what limits entities.
#include <expat.h>

namespace expat_calls {

/// What expat said, where it stopped, and how many characters of events there were.
struct outcome {
  std::int32_t error = 0;
  std::uint32_t line = 0;
  std::uint32_t column = 0;
  std::uint32_t padding = 0;
  std::uint64_t size = 0;
  bool operator==(const outcome&) const = default;
};

/// Events as text, of which what does not fit is only counted.
class journal {
 public:
  explicit journal(std::span<char> out) : out_(out) {}

  void add(std::string_view text) {
    for (char c : text) {
      if (size_ < out_.size()) out_[size_] = c;
      ++size_;
    }
  }
  [[nodiscard]] std::uint64_t size() const { return size_; }

 private:
  std::span<char> out_;
  std::uint64_t size_ = 0;
};

inline void on_start(void* user, const XML_Char* name, const XML_Char** attributes) {
  auto& out = *static_cast<journal*>(user);
  out.add("(");
  out.add(name);
  for (; *attributes != nullptr; attributes += 2) {
    out.add(" ");
    out.add(attributes[0]);
    out.add("=");
    out.add(attributes[1]);
  }
  out.add("\n");
}

inline void on_end(void* user, const XML_Char* name) {
  auto& out = *static_cast<journal*>(user);
  out.add(")");
  out.add(name);
  out.add("\n");
}

inline void on_text(void* user, const XML_Char* text, int size) {
  static_cast<journal*>(user)->add({text, static_cast<std::size_t>(size)});
}

/// Parses `xml` and writes its events to `out`. `amplification` is how often larger than the
/// document expat lets its entities become; 0 leaves that to expat.
inline outcome parse(std::string_view xml, std::span<char> out, std::uint64_t salt,
                     float amplification) {
  journal events(out);
  XML_Parser parser = XML_ParserCreate(nullptr);
  if (parser == nullptr) return {.error = XML_ERROR_NO_MEMORY};
  // Otherwise expat asks the system for one, against names that are chosen to collide.
  XML_SetHashSalt(parser, salt | 1);
  if (amplification > 0) {
    XML_SetBillionLaughsAttackProtectionMaximumAmplification(parser, amplification);
  }
  XML_SetUserData(parser, &events);
  XML_SetElementHandler(parser, on_start, on_end);
  XML_SetCharacterDataHandler(parser, on_text);
  XML_Parse(parser, xml.data(), static_cast<int>(xml.size()), 1);
  const outcome result{static_cast<std::int32_t>(XML_GetErrorCode(parser)),
                       static_cast<std::uint32_t>(XML_GetCurrentLineNumber(parser)),
                       static_cast<std::uint32_t>(XML_GetCurrentColumnNumber(parser)), 0,
                       events.size()};
  XML_ParserFree(parser);
  return result;
}

}  // namespace expat_calls
