// Formatters for fmt: fmt::print("{}", result.error()). The only header that needs fmt.
// Must not be included by any other header of the library.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>

#include <fmt/format.h>

#include <virtine/error.hpp>
#include <virtine/kvm/exit.hpp>
#include <virtine/x86/cpu_mode.hpp>

namespace virtine::detail {

/// Formats a T as the text that `T -> text(T)` returns, with the options of texts, such as
/// `{:>20}`.
template <class T, class Text>
struct text_formatter : fmt::formatter<fmt::string_view> {
  template <class Context>
  auto format(const T& value, Context& context) const {
    const auto text = Text{}(value);
    return fmt::formatter<fmt::string_view>::format(fmt::string_view(text), context);
  }
};

struct to_name {
  template <class T>
  const char* operator()(const T& value) const {
    return name(value);
  }
};

struct to_line {
  std::string operator()(const error& why) const { return to_string(why); }
};

struct to_exit_text {
  std::string operator()(const kvm::exit& why) const {
    std::string out = kvm::name(why);
    if (const std::uint64_t number = kvm::detail_of(why); number != 0) {
      out += ' ';
      append_hex(out, number);
    }
    return out;
  }
};

}  // namespace virtine::detail

template <>
struct fmt::formatter<virtine::errc>
    : virtine::detail::text_formatter<virtine::errc, virtine::detail::to_name> {};

template <>
struct fmt::formatter<virtine::fault_kind>
    : virtine::detail::text_formatter<virtine::fault_kind, virtine::detail::to_name> {};

template <>
struct fmt::formatter<virtine::x86::cpu_mode>
    : virtine::detail::text_formatter<virtine::x86::cpu_mode, virtine::detail::to_name> {};

/// As to_string(error): one line with what happened and, if the host is the cause, what to do.
template <>
struct fmt::formatter<virtine::error>
    : virtine::detail::text_formatter<virtine::error, virtine::detail::to_line> {};

/// The kernel's name of the exit and the number that says most about it: "KVM_EXIT_IO 0xe0".
template <>
struct fmt::formatter<virtine::kvm::exit>
    : virtine::detail::text_formatter<virtine::kvm::exit, virtine::detail::to_exit_text> {};
