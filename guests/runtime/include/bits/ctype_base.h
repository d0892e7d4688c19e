// The masks of std::ctype. They are glibc's, for which libstdc++.a was compiled; musl's
// __ctype_b_loc() has a table of the same form.
// Must not know guests. Found before libstdc++'s own file of this name, and included in its stead.
// SPDX-License-Identifier: MIT
#pragma once

namespace std _GLIBCXX_VISIBILITY(default) {
_GLIBCXX_BEGIN_NAMESPACE_VERSION

struct ctype_base {
  typedef const int* __to_type;
  typedef unsigned short mask;

  static const mask upper = 1 << 8;
  static const mask lower = 1 << 9;
  static const mask alpha = 1 << 10;
  static const mask digit = 1 << 11;
  static const mask xdigit = 1 << 12;
  static const mask space = 1 << 13;
  static const mask print = 1 << 14;
  static const mask blank = 1 << 0;
  static const mask cntrl = 1 << 1;
  static const mask punct = 1 << 2;
  static const mask alnum = alpha | digit;
  static const mask graph = alpha | digit | punct;
};

_GLIBCXX_END_NAMESPACE_VERSION
}  // namespace std
