// The handler of requests without any isolation, to compare with.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <ctime>
#include <string_view>
#include <utility>

#include "connection.hpp"
#include "directory.hpp"
#include "handler.hpp"
#include "handlers.hpp"

namespace http {

/// Answers requests in this process, by the function that otherwise runs in a virtine.
class not_isolated {
 public:
  explicit not_isolated(const directory& files) : files_(files) {}

  struct outcome {
    reply made;
    std::int64_t now = std::time(nullptr);
    opened_file file;
  };

  using companion = no_companion;

  outcome operator()(const connection& link, companion&) const {
    outcome of;
    of.made = answer(link.input(), of.now, [&](std::string_view path) {
      of.file = files_.find(path);
      return of.file.info;
    });
    return of;
  }

  verdict operator()(outcome& of, connection& link) const {
    return carry_out(of.made, of.now, files_, std::move(of.file), link);
  }

 private:
  const directory& files_;
};

}  // namespace http
