// An image that was loaded: what was read of its file, kept for all that refer to it, and its
// functions by their names. Knows nothing of files.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <virtine/image.hpp>
#include <virtine/loader/image_file.hpp>
#include <virtine/machine/image_snapshots.hpp>
#include <virtine/result.hpp>
#include <virtine/value/codec.hpp>
#include <virtine/value/shape.hpp>

namespace virtine::detail {

/// An image that was loaded. What errors say of it, and snapshots, keep it.
class loaded_data final : public kept {
 public:
  loaded_data(image_contents contents, std::chrono::nanoseconds timeout)
      : contents_(std::move(contents)), place_(contents_.description) {
    place_.timeout = timeout;
    contents_.description.owner = this;
    contents_.description.place = &place_;
  }

  /// Returns the function `name`.
  [[nodiscard]] result<const exported_function*> find(std::string_view name) const {
    const auto found = std::lower_bound(
        exports().begin(), exports().end(), name,
        [](const exported_function& each, std::string_view of) { return each.name < of; });
    if (found == exports().end() || found->name != name) {
      std::string text = called() + " has no function " + std::string(name) + "; it has";
      const char* between = " ";
      for (const exported_function& each : exports()) {
        text.append(std::exchange(between, ", ")).append(each.name);
        if (text.size() > 500) break;
      }
      return told({.code = errc::image_refused}, exports().empty() ? text + " none" : text);
    }
    return &*found;
  }

  /// Checks that a function's signature is `wanted`.
  [[nodiscard]] result<void> check_signature(const exported_function& of,
                                             std::string_view wanted) const {
    if (of.signature == wanted) return {};
    return told({.code = errc::image_refused}, std::string(of.name) + " of " + called() + " is " +
                                                   signature_as_cpp(of.signature) + ", and not " +
                                                   signature_as_cpp(wanted));
  }

  /// Returns the types of a function, as far as values can have them.
  [[nodiscard]] result<call_shape> types_of(const exported_function& of) const {
    auto read = read_signature(of.signature);
    const std::string it = std::string(of.name) + " of " + called();
    if (!read) {
      return told({.code = errc::image_refused}, "the signature of " + it + " is none: " +
                                                     std::string(of.signature.substr(0, 300)));
    }
    if (has_long_double(read->result) ||
        std::any_of(read->arguments.begin(), read->arguments.end(), has_long_double)) {
      return told({.code = errc::image_refused},
                  it + " is " + signature_as_cpp(of.signature) + ", and no value is a long double");
    }
    return *std::move(read);
  }

  /// Checks that there is room for the frame of a function, of `frame` bytes.
  [[nodiscard]] result<void> check_frame(const exported_function& of, std::size_t frame) const {
    if (frame <= description().arguments_size) return {};
    return told({.code = errc::image_refused},
                std::string(of.name) + " takes " + std::to_string(frame) + " bytes, and " +
                    called() + " has room for " + std::to_string(description().arguments_size) +
                    "; build it with a larger --arguments");
  }

  /// Returns what is wrong with a function that can make a hypercall which its policy denies.
  static error denied(std::string_view name, std::uint32_t number) {
    return told(
        {.code = errc::image_refused},
        std::string(name) + " can make hypercall " + std::to_string(number) +
            ", which the policy does not allow; add virtine::allow<Call>(handler) to it (in C "
            "virtine_policy_add_hypercall)");
  }

  [[nodiscard]] const image_description& description() const { return contents_.description; }
  /// In the order of their names.
  [[nodiscard]] std::span<const exported_function> exports() const { return contents_.exports; }

 private:
  [[nodiscard]] std::string called() const {
    return "the image " + std::string(description().name);
  }

  image_contents contents_;
  snapshot_place place_;
};

}  // namespace virtine::detail
