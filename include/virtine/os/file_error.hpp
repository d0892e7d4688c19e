// Errors that name the file they are about.
// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <utility>

#include <virtine/os/out_of_memory.hpp>
#include <virtine/result.hpp>

namespace virtine::os {

/// Returns `why` as an error about `path`; without the path if there is no memory for it.
inline error of_file(error why, const std::string& path) {
  static_cast<void>(or_out_of_memory([&]() -> result<void> {
    std::string text = path.c_str();  // Not what a zero byte and all behind it would hide.
    if (why.operation != nullptr) text.append(": ").append(why.operation);
    why = detail::told(std::move(why), std::move(text));
    return {};
  }));
  return why;
}

/// Returns `outcome`; if it is an error, as one about `path`.
template <class T>
result<T> of_file(result<T> outcome, const std::string& path) {
  if (outcome) return outcome;
  return of_file(outcome.error(), path);
}

}  // namespace virtine::os
