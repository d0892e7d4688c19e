// Fuzzes what takes texts and bytes of others for types and values: signatures, JSON, and call
// frames that a guest may have written. An input is a signature, a line of JSON with its arguments,
// and the bytes of a frame.
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <virtine/call/value_marshal.hpp>
#include <virtine/dynamic_policy.hpp>
#include <virtine/value.hpp>
#include <virtine/value/codec.hpp>
#include <virtine/value/shape.hpp>

#include "../../guests/run/json.hpp"
#include "input.hpp"
#include "plain_guest.hpp"

namespace {

using virtine::errc;
using virtine::value;
using virtine::detail::call_shape;
using virtine::detail::shape;
using bytes = std::vector<std::byte>;

constexpr virtine::guest_address frame_address{plain_guest::base};
constexpr std::size_t max_frame = 1 << 14;

/// Returns what a text is as JSON, which is written as something that is read as the same.
std::optional<value> read_json(std::string_view text) {
  json::reader reader(text);
  auto out = reader.read();
  if (!out) {
    require(!reader.problem().empty());
    return out;
  }
  std::string once, again;
  json::append(once, *out);
  const auto same = json::reader(once).read();
  require(same.has_value());
  json::append(again, *same);
  require(once == again);
  return out;
}

/// What was written of an argument is a value of its type, and is written as the same bytes.
void check_slot(const shape& type, std::span<const std::byte> slot) {
  const auto read = virtine::detail::decode_value(type, slot.data());
  require(read.has_value());
  bytes again(slot.size());
  require(virtine::detail::value_encoder().write(type, *read, again.data()));
  require(std::equal(slot.begin(), slot.end(), again.begin()));
}

struct function {
  std::string_view name;
  const call_shape& types;
};

/// Calls a function of these types, whose guest leaves `left` in its frame.
void call(const call_shape& types, std::vector<value> arguments, std::span<const std::byte> left) {
  const virtine::detail::value_marshaller call(function{"f", types}, arguments);
  if (!call.check()) return require(call.check().error().code == errc::bad_argument);
  // No larger than it has to be, so that a sanitizer sees what is beyond.
  bytes frame(std::min(call.used(), max_frame));
  const auto written = call.write(frame, frame_address);
  if (!written) {
    require(call.used() > max_frame && written.error().code == errc::arguments_too_large);
    return;
  }
  for (std::size_t i = 0; i < types.arguments.size(); ++i) {
    const shape& type = types.arguments[i];
    if (!type.is_sequence()) {
      check_slot(type, std::span(frame).subspan(types.places[i], type.room.size));
    }
  }
  std::copy_n(left.begin(), std::min(left.size(), frame.size()), frame.begin());
  const auto reply = call.read(frame);
  if (!reply) return require(reply.error().code == errc::bad_reply);
  std::string printed;
  json::append(printed, *reply);
  for (const value& each : arguments) json::append(printed, each);
}

/// Serves a hypercall of this signature, whose frame is `left`.
void serve(std::string_view signature, std::span<const std::byte> left) {
  const virtine::detail::value_hypercall served(7, std::string(signature),
                                                [](std::span<value> given) -> std::optional<value> {
                                                  std::string printed;
                                                  for (const value& each : given)
                                                    json::append(printed, each);
                                                  return given.empty() ? value() : given[0];
                                                });
  plain_guest guest(left);
  const auto done = served.serve(guest, frame_address);
  // The answer need not be of the result's type.
  require(done || done.error().code == errc::hypercall_rejected ||
          done.error().code == errc::bad_argument);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz_input input(data, size);
  const std::string_view signature = input.take_line();
  const auto arguments = read_json(input.take_line());
  const auto types = virtine::detail::read_signature(signature);
  require(types || virtine::signature_as_cpp(signature) == signature);
  if (!types || virtine::detail::has_long_double(types->result) ||
      std::any_of(types->arguments.begin(), types->arguments.end(),
                  virtine::detail::has_long_double)) {
    return 0;
  }
  require(!virtine::signature_as_cpp(signature).empty());
  if (types->size > max_frame) return 0;
  const auto list = arguments ? arguments->as<std::span<const value>>() : std::nullopt;
  if (list) call(*types, {list->begin(), list->end()}, input.rest());
  serve(signature, input.rest());
  return 0;
}
