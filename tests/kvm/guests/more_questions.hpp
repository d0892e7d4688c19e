// Questions about functions of mathematics, wide characters and paths, which a guest has to answer
// as its host does.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <cwchar>
#include <cwctype>
#include <filesystem>
#include <initializer_list>
#include <string>

namespace conformance {

/// To twelve digits: the two C libraries differ by a unit in the last place or so.
inline std::string calculate() {
  std::string out;
  const auto add = [&](long double value) {
    std::array<char, 40> text{};
    std::snprintf(text.data(), text.size(), "%.12Lg ", value);
    out += text.data();
  };
  for (const double x : {0.3, 1.7, 12.5}) {
    using function = double (*)(double);
    for (const function of : std::initializer_list<function>{
             std::sin,  std::cos,   std::tan,  std::atan,   std::sinh,   std::tanh,  std::exp,
             std::exp2, std::expm1, std::log,  std::log2,   std::log10,  std::log1p, std::cbrt,
             std::sqrt, std::erf,   std::erfc, std::tgamma, std::lgamma, std::asinh}) {
      add(of(x));
    }
    add(std::pow(x, 1.5));
    add(std::hypot(x, 2.0));
    add(std::fmod(x, 0.7));
    add(std::remainder(x, 0.7));
    add(std::fma(x, x, 1.0));
  }
  return out;
}

/// What is exact by its definition, in three widths.
inline std::string calculate_exactly() {
  std::string out;
  const auto add = [&](auto value) {
    std::array<char, 60> text{};
    std::snprintf(text.data(), text.size(), "%.21Lg ", static_cast<long double>(value));
    out += text.data();
  };
  const auto try_all = [&](auto x) {
    int exponent = 0;
    add(std::sqrt(x)), add(std::rint(x)), add(std::floor(-x)), add(std::trunc(-x));
    add(std::round(x)), add(std::frexp(x, &exponent)), add(exponent), add(std::ldexp(x, 70));
    add(std::nextafter(x, x + 1)), add(std::copysign(x, -1)), add(std::logb(x));
    add(std::lround(x)), add(std::ilogb(x)), add(std::fmin(x, 2)), add(std::signbit(-x));
    add(std::fpclassify(x / 0) == FP_INFINITE), add(std::isnan(std::sqrt(-x)));
  };
  try_all(2.5F), try_all(2.5), try_all(2.5L), try_all(1e-310);
  return out;
}

inline std::string wide() {
  std::array<wchar_t, 100> text{};
  std::swprintf(text.data(), text.size(), L"%ls|%5d|%-6s|%.3f|%lc", L"wide", 42, "narrow", 2.5,
                L'x');
  std::array<char, 200> narrow{};
  std::mbstate_t state{};
  const wchar_t* from = text.data();
  const std::size_t size = std::wcsrtombs(narrow.data(), &from, narrow.size(), &state);
  std::string out(narrow.data(), size);
  wchar_t* end = nullptr;
  out += std::to_string(std::wcstol(L" -077x", &end, 8));
  out += std::to_string(*end == L'x');
  out += std::to_string(std::wcstod(L"1.25e2", nullptr));
  out += std::to_string(std::wcslen(text.data()) + std::wcscspn(text.data(), L"|"));
  out += std::to_string(std::wcscmp(L"a", L"b") < 0) +
         std::to_string(std::wcsstr(L"abc", L"bc")[1] == L'c');
  out += std::to_string(std::wmemchr(L"abc", L'c', 3)[0] == L'c');
  std::array<wchar_t, 10> words{L'a', L' ', L'b'};
  wchar_t* rest = nullptr;
  out += std::to_string(std::wcstok(words.data(), L" ", &rest)[0] == L'a');
  wchar_t one = 0;
  out += std::to_string(std::mbrtowc(&one, "q", 1, &state));
  out += std::to_string(one == L'q');
  out += std::to_string(std::towupper(L'z') == L'Z') + std::to_string(std::iswalpha(L'1') == 0);
  int number = 0;
  out += std::to_string(std::swscanf(L"17 x", L"%d", &number));
  out += std::to_string(number);
  return out;
}

inline std::string paths() {
  using std::filesystem::path;
  const path given = "/a/b/../c.tar.gz";
  std::string out;
  for (const path& each :
       {given.filename(), given.stem(), given.extension(), given.parent_path(), given.root_path(),
        given.lexically_normal(), given.lexically_relative("/a/d"), path("x") / "y" / "/z",
        path("x/").concat("y"), path("..").lexically_normal(), path("a//b").lexically_normal()}) {
    out += each.string() + ' ';
  }
  for (const path& each : given) out += '[' + each.string() + ']';
  return out + std::to_string(path("a").compare("b") < 0) + std::to_string(given.is_absolute());
}

}  // namespace conformance
