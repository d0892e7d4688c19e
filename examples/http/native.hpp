// The handler of requests without any isolation, to compare with.
// SPDX-License-Identifier: MIT
#pragma once

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

  verdict operator()(connection& link) const {
    opened_file file;
    const reply made = answer(link.input(), std::time(nullptr), [&](std::string_view path) {
      file = files_.find(path);
      return file.info;
    });
    return carry_out(made, files_, std::move(file), link);
  }

 private:
  const directory& files_;
};

}  // namespace http
