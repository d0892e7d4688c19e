// Questions about the C++ library, which a guest has to answer as its host does.
// SPDX-License-Identifier: MIT
#pragma once

#include <inttypes.h>
#include <pthread.h>
#include <regex.h>
#include <threads.h>

#include <array>
#include <cctype>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <iomanip>
#include <iterator>
#include <locale>
#include <mutex>
#include <random>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <string>

#include "more_questions.hpp"

#ifdef VIRTINE_GUEST
// glibc's tables, which objects that were compiled against its headers read by themselves.
extern "C" const int** __ctype_tolower_loc() noexcept;
extern "C" const int** __ctype_toupper_loc() noexcept;
#endif

extern "C" const char* foreign(int question);  // of foreign.c

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
         std::to_string(wide.decimal_point()) + spelled(wide.truename()) + here.name();
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
  for (const char* name : {"C", "POSIX", "nonsense", "xx_YY.UTF-8"}) {
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

/// Returns what POSIX's regular expressions find of `pattern` in a part of `text`.
inline std::string found(const char* pattern, int how, const std::string& text, int flags,
                         regmatch_t part) {
  regex_t of;
  if (const int why = ::regcomp(&of, pattern, how)) return "wrong" + std::to_string(why);
  std::array<regmatch_t, 5> at{part};
  std::string out = std::to_string(of.re_nsub) + ':';
  out += std::to_string(::regexec(&of, text.c_str(), 4, at.data(), flags));
  for (const regmatch_t& each : at) {
    out += ' ' + std::to_string(each.rm_so) + '-' + std::to_string(each.rm_eo);
  }
  ::regfree(&of);
  return out + ';';
}

inline std::string match_in_c() {
  const std::string text = "ab 123\nCd-45";
  const char* const words = "([a-z]+) ([0-9]+)";
  std::string out = found(words, REG_EXTENDED, text, 0, {});
  out += found("^(c)d", REG_EXTENDED | REG_ICASE | REG_NEWLINE, text, 0, {});
  out += found("^(c)d", REG_EXTENDED | REG_ICASE, text, 0, {});
  out += found("([a-z]*)-(x)?4", REG_EXTENDED, text, 0, {});
  out += found("d", REG_NOSUB, text, 0, {7, 8});
  out += found("\\([0-9]\\)\\1", 0, "a122", 0, {});
  out += found("^b", 0, text, 0, {}) + found("2$", 0, "12", REG_NOTEOL, {});
  out += found("(", REG_EXTENDED, text, 0, {}) + found("[z-a]", 0, text, 0, {});
#ifdef REG_STARTEND
  out += found("[0-9]+", REG_EXTENDED, text, REG_STARTEND, {4, 6});
  out += found("^C", 0, text, REG_STARTEND, {7, 9});
  out += found("^C", REG_NEWLINE, text, REG_STARTEND, {7, 9});
  out += found("-", 0, text, REG_STARTEND, {7, 8});
#endif
  return out + std::to_string(sizeof(regex_t)) + std::to_string(sizeof(regmatch_t));
}

/// Says what becomes of attempts to lock a mutex and to unlock it more often.
template <class Lock>
std::string locked_twice(pthread_mutex_t& mutex, Lock lock, int unlocks) {
  std::string out;
  const auto add = [&](int result) { out += std::to_string(result) + ' '; };
  add(lock(&mutex));
  add(lock(&mutex));
  add(::pthread_mutex_trylock(&mutex));
  add(::pthread_mutex_destroy(&mutex));
  for (int i = 0; i < unlocks; ++i) add(::pthread_mutex_unlock(&mutex));
  add(::pthread_mutex_destroy(&mutex));
  return out;
}

/// Returns a mutex as glibc's static initialisers make it: its kind is at byte 16.
inline pthread_mutex_t static_mutex(int kind) {
  pthread_mutex_t made{};
  std::memcpy(reinterpret_cast<char*>(&made) + 16, &kind, sizeof kind);
  return made;
}

inline std::string lock() {
  constexpr int normal = 0, recursive = 1, checking = 2;
  const auto soon = [](pthread_mutex_t* mutex) {
    const timespec before{};
    return ::pthread_mutex_timedlock(mutex, &before);
  };
  std::string out;
  for (const int kind : {recursive, checking}) {
    for (const bool is_static : {false, true}) {
      const auto make = [&] {
        pthread_mutex_t made = static_mutex(kind);
        pthread_mutexattr_t how;
        ::pthread_mutexattr_init(&how);
        ::pthread_mutexattr_settype(&how, kind);
        if (!is_static) ::pthread_mutex_init(&made, &how);
        return made;
      };
      pthread_mutex_t one = make(), other = make();
      out += locked_twice(one, ::pthread_mutex_lock, 4);
      out += locked_twice(other, soon, 4);
    }
  }
  pthread_mutex_t one = static_mutex(normal), other = one;
  out += locked_twice(one, ::pthread_mutex_trylock, 1);
  out += locked_twice(other, soon, 1);
  mtx_t c;
  for (const int kind : {+mtx_plain, mtx_timed | mtx_recursive}) {
    ::mtx_init(&c, kind);
    for (const auto each : {::mtx_lock, ::mtx_trylock, ::mtx_unlock, ::mtx_unlock}) {
      out += std::to_string(each(&c));
    }
    ::mtx_destroy(&c);
  }
  std::recursive_mutex again;
  std::timed_mutex timed;
  const std::scoped_lock all(again, timed);
  out += std::to_string(again.try_lock()) + std::to_string(timed.try_lock());
  again.unlock();
  return out;
}

inline std::string fastest() {
  std::array<char, 100> out{};
  int_fast16_t small = -7;
  uint_fast32_t large = 0;
  std::sscanf("5000000000", "%" SCNuFAST32, &large);
  std::snprintf(out.data(), out.size(), "%" PRIdFAST16 " %" PRIxFAST32, small, large);
  return out.data() + std::to_string(sizeof(std::mt19937)) + ' ' +
         std::to_string(sizeof(std::random_device)) +
         std::to_string(sizeof(int_fast8_t) + sizeof(int_fast16_t) * 10 + sizeof(uint_fast32_t)) +
         std::to_string(INT_FAST16_MAX) + std::to_string(UINT_FAST32_MAX);
}

inline std::string wide_kinds() {
  using kinds = std::ctype<wchar_t>;
  return of_facet<kinds>("C", [](const kinds& of) {
    std::uint64_t sum = 0;
    for (wchar_t c = 0; c < 0x500; ++c) {
      const auto next = [&](auto value) { sum = sum * 31 + static_cast<std::uint64_t>(value); };
      for (const auto kind : {kinds::alpha, kinds::digit, kinds::space, kinds::print, kinds::upper,
                              kinds::lower, kinds::punct, kinds::cntrl, kinds::xdigit}) {
        next(of.is(kind, c));
      }
      next(of.toupper(c)), next(of.tolower(c));
    }
    return std::to_string(sum) +
           std::to_string(std::regex_match(L"\u00e9", std::wregex(L"[[:alpha:]]")));
  });
}

inline constexpr int questions = 46;

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
      return wide_kinds();
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
    case 31:
      return match_in_c();
    case 32:
      return lock();
    case 33:
      return fastest();
    case 34:
      return over_all([](int c) { return (*__ctype_tolower_loc())[c]; });
    case 35:
      return over_all([](int c) { return (*__ctype_toupper_loc())[c - 128]; });
    case 36:
      return spelled(std::regex_replace(std::wstring(L"a\u00e9b"), std::wregex(L"\\w"), L"<$&>"));
    case 37:
      return calculate();
    case 38:
      return calculate_exactly();
    case 39:
      return wide();
    case 40:
      return paths();
    default:
      return foreign(question - 41);
  }
}

}  // namespace conformance
