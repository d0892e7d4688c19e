// Values between C and the library, and handlers in C. Knows nothing of handles.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/cxx20.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <virtine/c/virtine.h>
#include <virtine/value.hpp>
#include <virtine/value/shape.hpp>

namespace virtine::detail {

/// What the lists of a value may be: one that is in itself has no end.
struct list_limits {
  std::size_t depth = 64;
  std::size_t values = std::size_t{1} << 20;  ///< In all.
};

/// Returns a value of C's as one of the library's, which refers to what it refers to; nothing if it
/// is none, or beyond `left`.
inline std::optional<value> value_of(const virtine_value& from, list_limits& left) {
  const auto bytes = [](const void* data, std::size_t size) {
    // Sound: the caller says that so many bytes are there.
    return std::span(static_cast<const std::byte*>(data), size);
  };
  switch (from.kind) {
    case VIRTINE_NONE:
      return value();
    case VIRTINE_BOOL:
      if (from.as.boolean > 1) return std::nullopt;
      return value(from.as.boolean == 1);
    case VIRTINE_INT:
      return value(from.as.integer);
    case VIRTINE_UINT:
      return value(from.as.natural);
    case VIRTINE_DOUBLE:
      return value(from.as.floating);
    case VIRTINE_TEXT:
      if (from.as.bytes.data == nullptr && from.as.bytes.size != 0) return std::nullopt;
      return value(std::span(static_cast<const char*>(from.as.bytes.data), from.as.bytes.size));
    case VIRTINE_BYTES:
      if (from.as.bytes.data == nullptr && from.as.bytes.size != 0) return std::nullopt;
      return value(bytes(from.as.bytes.data, from.as.bytes.size));
    case VIRTINE_BUFFER:
      if (from.as.buffer.data == nullptr && from.as.buffer.size != 0) return std::nullopt;
      // Sound: as above.
      return value(std::span(static_cast<std::byte*>(from.as.buffer.data), from.as.buffer.size));
    case VIRTINE_LIST: {
      const std::size_t count = from.as.list.count;
      if (left.depth == 0 || count > left.values || (from.as.list.items == nullptr && count != 0)) {
        return std::nullopt;
      }
      --left.depth;
      left.values -= count;
      std::vector<value> out;
      for (std::size_t i = 0; i < count; ++i) {
        auto one = value_of(from.as.list.items[i], left);
        if (!one) return std::nullopt;
        out.push_back(*std::move(one));
      }
      ++left.depth;
      return value(std::move(out));
    }
    default:
      return std::nullopt;
  }
}

inline std::optional<value> value_of(const virtine_value& from) {
  list_limits left;
  return value_of(from, left);
}

/// Fills `to` with a value that owns what it refers to. Returns false if there is no memory.
inline bool give_value(const value& from, virtine_value& to) {
  to = VIRTINE_VALUE_INIT;
  if (const auto flag = from.as<bool>()) {
    to = virtine_of_bool(*flag);
  } else if (const auto* const number = std::get_if<wide_integer>(&from.held())) {
    to = number->negative ? virtine_of_int(static_cast<std::int64_t>(number->bits))
                          : virtine_of_uint(number->bits);
  } else if (const auto floating = from.as<double>()) {
    to = virtine_of_double(*floating);
  } else if (const auto bytes = from.as<std::span<const std::byte>>()) {
    void* const copy = std::malloc(std::max<std::size_t>(bytes->size(), 1));
    if (copy == nullptr) return false;
    if (!bytes->empty()) std::memcpy(copy, bytes->data(), bytes->size());
    to = virtine_of_bytes(copy, bytes->size());
    to.owned = 1;
  } else if (const auto list = from.as<std::span<const value>>()) {
    auto* const items = static_cast<virtine_value*>(
        std::calloc(std::max<std::size_t>(list->size(), 1), sizeof(virtine_value)));
    if (items == nullptr) return false;
    to = virtine_of_list(items, list->size());
    to.owned = 1;
    for (std::size_t i = 0; i < list->size(); ++i) {
      if (!give_value((*list)[i], items[i])) return false;
    }
  }
  return true;
}

/// Answers a hypercall by a handler in C.
class c_handler {
 public:
  c_handler(virtine_handler handler, void* context, const call_shape& types)
      : handler_(handler), context_(context) {
    for (const shape& each : types.arguments) outputs_.push_back(each.is_output);
  }

  std::optional<value> operator()(std::span<value> given) const {
    std::vector<virtine_value> arguments(given.size(), virtine_value(VIRTINE_VALUE_INIT));
    std::vector<std::vector<virtine_value>> kept;
    for (std::size_t i = 0; i < given.size(); ++i) {
      arguments[i] = lend(given[i], outputs_[i], kept);
    }
    virtine_value result = VIRTINE_VALUE_INIT;
    if (handler_(context_, arguments.data(), arguments.size(), &result) != 0) return std::nullopt;
    return value_of(result);
  }

 private:
  /// Returns a value that refers to `of`; lists are in `kept`.
  static virtine_value lend(value& of, bool is_output,
                            std::vector<std::vector<virtine_value>>& kept) {
    if (const auto text = of.as<std::string_view>()) {
      return virtine_of_text(text->data(), text->size());
    }
    if (auto* const bytes = std::get_if<std::vector<std::byte>>(&of.held())) {
      return is_output ? virtine_of_buffer(bytes->data(), bytes->size())
                       : virtine_of_bytes(bytes->data(), bytes->size());
    }
    if (auto* const list = std::get_if<std::vector<value>>(&of.held())) {
      std::vector<virtine_value> items;
      for (value& each : *list) items.push_back(lend(each, false, kept));
      kept.push_back(std::move(items));
      return virtine_of_list(kept.back().data(), kept.back().size());
    }
    virtine_value out = VIRTINE_VALUE_INIT;
    static_cast<void>(give_value(of, out));
    return out;
  }

  virtine_handler handler_;
  void* context_;
  std::vector<bool> outputs_;
};

}  // namespace virtine::detail
