// What virtine-cc would write for the file that includes this.
// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

#include <virtine/virtine.hpp>

/// Declares guests::app, an image that has one function.
#define IMAGE_WITH(name, ...)                                           \
  namespace guests {                                                    \
  struct app : virtine::detail::stand_in_image {                        \
    using image = app;                                                  \
    struct name : virtine::detail::stand_in_entry<__VA_ARGS__, app> {}; \
  };                                                                    \
  }

/// Says that guests::app is the image of this file, which was compiled under that path.
#define IMAGE_IS_OF(path)                                                       \
  template <>                                                                   \
  struct virtine::detail::source_image<virtine::detail::this_unit,              \
                                       virtine::detail::source_key(__FILE__)> { \
    using image = guests::app;                                                  \
    using functions = guests::app;                                              \
    static constexpr std::string_view file{path};                               \
  };
