// Questions about the C++ library, which a guest has to answer as its host does.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cctype>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <iomanip>
#include <iterator>
#include <locale>
#include <random>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <string>

namespace conformance {

inline std::string spelled(const std::wstring& wide) {
  return {wide.begin(), wide.end()};
}

inline std::tm a_day() {
  std::tm day{};
  day.tm_year = 122;
  day.tm_mon = 4;
  day.tm_mday = 31;
  day.tm_wday = 2;
  day.tm_hour = 13;
  return day;
}

/// Returns a number for what `of` says of all characters.
template <class Of>
std::string over_all(Of of) {
  std::uint64_t sum = 0;
  for (int c = 0; c < 256; ++c) sum = sum * 31 + static_cast<std::uint64_t>(of(c));
  return std::to_string(sum);
}

template <class Facet, class Of>
std::string of_facet(const char* locale, Of of) {
  const std::locale here(locale);
  return of(std::use_facet<Facet>(here));
}

inline std::string read_numbers() {
  std::istringstream in("42 -7 3.5 0x1f true word,rest");
  int a = 0, b = 0, c = 0;
  double d = 0;
  bool e = false;
  std::string word, rest;
  in >> a >> b >> d >> std::hex >> c >> std::boolalpha >> e;
  std::getline(in >> std::ws, word, ',');
  std::getline(in, rest);
  std::ostringstream out;
  out << a << b << d << c << e << word << '|' << rest << in.eof() << in.fail();
  return out.str();
}

inline std::string write_numbers() {
  std::ostringstream out;
  out << std::setw(8) << std::setfill('*') << 42 << std::hex << std::showbase << 255 << std::oct
      << 8 << std::dec << std::fixed << std::setprecision(3) << 2.0 / 3 << std::scientific
      << 12345.678 << std::defaultfloat << 1e300L << std::boolalpha << true
      << std::quoted("a \"b\"") << std::left << std::setw(6) << -5 << std::internal << std::setw(6)
      << -5;
  return out.str();
}

inline std::string match() {
  const std::string text = "Ab-123, cd-45; EF-6 \t_x9";
  std::string out;
  const std::regex words("([[:alpha:]]+)-([[:digit:]]+)", std::regex::icase);
  for (std::sregex_iterator at(text.begin(), text.end(), words), end; at != end; ++at) {
    out += (*at)[2].str() + (*at)[1].str();
  }
  out += std::regex_replace(text, std::regex("[^\\w\\s]"), "<$&>");
  out += std::to_string(std::regex_match("ABC", std::regex("abc", std::regex::icase)));
  out += std::to_string(std::regex_search(text, std::regex("\\b[c-d]{2}\\b", std::regex::collate)));
  out += std::to_string(std::regex_search(text, std::regex("[[:space:]]_", std::regex::extended)));
  out += std::to_string(std::regex_match(L"Wide42", std::wregex(L"[[:upper:]][[:lower:]]+[0-9]*")));
  try {
    out += std::to_string(std::regex("(").mark_count());
  } catch (const std::regex_error& why) {
    out += "error" + std::to_string(why.code());
  }
  return out;
}

inline std::string wide_streams() {
  std::wistringstream in(L"17 2.5 x");
  int a = 0;
  double b = 0;
  std::wstring c;
  in >> a >> b >> c;
  std::wostringstream out;
  out << std::setw(5) << a << b << c << std::hex << 255;
  return spelled(out.str());
}

inline std::string write_times(const char* locale) {
  const std::tm day = a_day();
  std::ostringstream out;
  out.imbue(std::locale(locale));
  out << std::put_time(&day, "%A %a %B %b %d %H %I %p %c %x %X %Y");
  std::wostringstream wide;
  wide.imbue(std::locale(locale));
  wide << std::put_time(&day, L"%A %B %p %c");
  return out.str() + spelled(wide.str());
}

inline std::string read_times(const char* locale) {
  std::istringstream in("Tuesday May 31 2022 13:05");
  in.imbue(std::locale(locale));
  std::tm read{};
  in >> std::get_time(&read, "%A %B %d %Y %H:%M");
  std::ostringstream out;
  out << in.fail() << read.tm_wday << read.tm_mon << read.tm_mday << read.tm_year << read.tm_min;
  return out.str();
}

inline std::string money(const char* locale) {
  std::istringstream in("123456");
  in.imbue(std::locale(locale));
  long double read = 0;
  in >> std::get_money(read);
  std::ostringstream out;
  out.imbue(std::locale(locale));
  out << read << std::put_money(read) << std::showbase << std::put_money("99");
  const std::locale here(locale);
  const auto& form = std::use_facet<std::moneypunct<char>>(here);
  out << form.curr_symbol() << form.positive_sign() << form.negative_sign() << form.grouping()
      << form.frac_digits();
  return out.str();
}

inline std::string numbers(const char* locale) {
  const std::locale here(locale);
  const auto& form = std::use_facet<std::numpunct<char>>(here);
  const auto& wide = std::use_facet<std::numpunct<wchar_t>>(here);
  return form.truename() + form.falsename() + form.decimal_point() + form.grouping() +
         std::to_string(wide.decimal_point()) + spelled(wide.truename());
}

inline std::string order(const char* locale) {
  const std::string a = "Zebra", b = "apple";
  const std::locale here(locale);
  const auto& by = std::use_facet<std::collate<char>>(here);
  return std::to_string(by.compare(a.data(), a.data() + 5, b.data(), b.data() + 5)) +
         by.transform(a.data(), a.data() + 5) + std::to_string(here(a, b));
}

inline std::string names() {
  std::string out;
  for (const char* name : {"C", "POSIX", "C.UTF-8", "nonsense", "xx_YY.UTF-8"}) {
    try {
      out += std::locale(name).name() + ";";
    } catch (const std::runtime_error&) {
      out += "none;";
    }
  }
  return out + std::locale().name();
}

inline std::string exact() {
  std::array<char, 64> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), 0.1 + 0.2);
  double back = 0;
  std::from_chars(text.data(), end.ptr, back);
  return std::string(text.data(), end.ptr) + std::to_string(back == 0.1 + 0.2) +
         std::to_string(std::stod("1e-3")) + std::to_string(std::stoul("ff", nullptr, 16));
}

inline std::string draw() {
  std::mt19937 some(42);
  std::mt19937_64 more(42);
  std::uniform_int_distribution<int> dice(1, 6);
  std::normal_distribution<double> bell;
  std::ostringstream out;
  out << some() << more() << dice(some) << std::setprecision(10) << bell(more);
  return out.str();
}

inline constexpr int questions = 31;

/// Returns the answer to one of the questions.
inline std::string answer(int question) {
  const std::locale plain;
  switch (question) {
    case 0:
      return read_numbers();
    case 1:
      return write_numbers();
    case 2:
      return match();
    case 3:
      return wide_streams();
    case 4:
      return write_times("C");
    case 5:
      return write_times("C.UTF-8");
    case 6:
      return read_times("C");
    case 7:
      return read_times("C.UTF-8");
    case 8:
      return money("C");
    case 9:
      return money("C.UTF-8");
    case 10:
      return numbers("C");
    case 11:
      return numbers("C.UTF-8");
    case 12:
      return order("C");
    case 13:
      return order("C.UTF-8");
    case 14:
      return names();
    case 15:
      return exact();
    case 16:
      return draw();
    case 17:
      return over_all([](int c) { return std::toupper(c); });
    case 18:
      return over_all([](int c) { return std::tolower(c); });
    case 19:
      return over_all([&](int c) { return std::toupper(static_cast<char>(c), plain); });
    case 20:
      return over_all([&](int c) { return std::tolower(static_cast<char>(c), plain); });
    case 21:
      return over_all([&](int c) { return std::isalnum(static_cast<char>(c), plain); });
    case 22:
      return over_all([&](int c) { return std::isspace(static_cast<char>(c), plain); });
    case 23:
      return over_all([&](int c) { return std::ispunct(static_cast<char>(c), plain); });
    case 24:
      return over_all([&](int c) { return std::isgraph(static_cast<char>(c), plain); });
    case 25:
      return over_all([&](int c) { return std::isxdigit(static_cast<char>(c), plain); });
    case 26:
      return of_facet<std::ctype<char>>("C.UTF-8", [](const auto& kinds) {
        return over_all([&](int c) { return kinds.toupper(static_cast<char>(c)); });
      });
    case 27:
      return of_facet<std::ctype<wchar_t>>("C", [](const auto& kinds) {
        std::string out;
        for (wchar_t c = 0; c < 128; ++c) out += kinds.is(kinds.alpha, c) ? '1' : '0';
        return out;
      });
    case 28:
      return of_facet<std::messages<char>>("C", [](const auto& texts) {
        return std::to_string(texts.open("nothing", std::locale("C")) < 0);
      });
    case 29: {
      const std::tm day = a_day();
      std::array<char, 100> out{};
      std::strftime(out.data(), out.size(), "%A %B %c %p %j %U", &day);
      return out.data();
    }
    case 30: {
      using namespace std::chrono;
      std::ostringstream out;
      out << duration_cast<seconds>(hours(2)).count()
          << sys_days(May / 31 / 2022).time_since_epoch().count()
          << weekday(sys_days(May / 31 / 2022)).c_encoding();
      return out.str();
    }
    default:
      return "";
  }
}

}  // namespace conformance
