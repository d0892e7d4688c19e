// virtine::dynamic_policy: a policy whose grants are known at run time only, hypercalls with values
// among them.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <virtine/abi/frame.hpp>
#include <virtine/allow.hpp>
#include <virtine/environment.hpp>
#include <virtine/hypercall.hpp>
#include <virtine/machine/guest_access.hpp>
#include <virtine/machine/system_call.hpp>
#include <virtine/os/out_of_memory.hpp>
#include <virtine/policy.hpp>
#include <virtine/policy/grant.hpp>
#include <virtine/policy/system_call_names.hpp>
#include <virtine/posix/system_calls.hpp>
#include <virtine/result.hpp>
#include <virtine/value.hpp>
#include <virtine/value/codec.hpp>
#include <virtine/value/shape.hpp>

namespace virtine {

/// Answers a hypercall with values: gets its arguments, and returns its result, or nothing to
/// reject it, which ends the call. A span or text comes as a copy; of one that is an output, a
/// value of the same size takes its place.
using value_handler = std::function<std::optional<value>(std::span<value>)>;

namespace detail {

/// A hypercall whose types are known at run time. What comes from the guest are its arguments.
class value_hypercall {
 public:
  /// `signature` is known to be one.
  value_hypercall(std::uint32_t number, std::string signature, value_handler handler)
      : number_(number),
        signature_(std::move(signature)),
        types_(*read_signature(signature_)),
        handler_(std::move(handler)) {}
  value_hypercall(const value_hypercall&) = delete;
  value_hypercall& operator=(const value_hypercall&) = delete;

  result<void> serve(guest_access& guest, guest_address at) const {
    std::vector<sequence_reference> places(types_.arguments.size());
    auto arguments = os::or_out_of_memory([&] { return read(guest, at, places); });
    if (!arguments) return arguments.error();
    std::vector<value>& given = *arguments;
    const auto answer = handler_(given);  // May throw what it likes.
    if (!answer) return rejected("the handler rejected the hypercall");
    return os::or_out_of_memory([&] { return reply(guest, at, places, given, *answer); });
  }

 private:
  static error rejected(const char* why, std::uint64_t detail = 0) {
    return {.code = errc::hypercall_rejected, .operation = why, .detail = detail};
  }
  [[nodiscard]] error handler_gave(const std::string& what, const std::string& why) const {
    return told({.code = errc::bad_argument}, what + " that the handler of hypercall " +
                                                  std::to_string(number_) + " gave: " + why);
  }

  result<std::vector<value>> read(guest_access& guest, guest_address at,
                                  std::vector<sequence_reference>& places) const {
    std::vector<std::byte> slots(types_.size);  // Copied once: what is checked is what is used.
    if (!slots.empty()) {
      const auto from = guest.read(at, slots.size());
      if (!from)
        return rejected("a hypercall frame lies outside the guest's memory", to_number(at));
      std::memcpy(slots.data(), from->data(), slots.size());
    }
    std::vector<value> out;
    for (std::size_t i = 0; i < places.size(); ++i) {
      const shape& type = types_.arguments[i];
      const std::byte* const slot = slots.data() + types_.places[i];
      if (!type.is_sequence()) {
        auto one = decode_value(type, slot);
        if (!one) return rejected("a hypercall argument is not a value of its type");
        out.push_back(*std::move(one));
        continue;
      }
      std::memcpy(&places[i], slot, sizeof places[i]);
      if (shares_much(places, i)) {
        return rejected("large arguments of a hypercall lie in the same memory", places[i].address);
      }
      auto elements = read_elements(guest, type, places[i]);
      if (!elements) return elements.error();
      out.push_back(*std::move(elements));
    }
    return out;
  }

  /// Returns whether argument `last` and one before it are large and overlap. All are copied, so
  /// that a guest would have its host allocate many times the memory that it has itself.
  [[nodiscard]] bool shares_much(std::span<const sequence_reference> places,
                                 std::size_t last) const {
    constexpr std::uint64_t large = std::uint64_t{64} << 10;  // Bytes.
    const auto size_of = [&](std::size_t i) {
      const shape& type = types_.arguments[i];
      if (!type.is_sequence()) return std::uint64_t{0};
      const std::uint64_t size = element_size(type);
      return places[i].count > UINT64_MAX / size ? UINT64_MAX : places[i].count * size;
    };
    const std::uint64_t size = size_of(last);
    if (size <= large) return false;
    const std::uint64_t begin = places[last].address;
    for (std::size_t i = 0; i < last; ++i) {
      const std::uint64_t other = places[i].address;
      const std::uint64_t other_size = size_of(i);
      const bool overlap = other <= begin ? begin - other < other_size : other - begin < size;
      if (other_size > large && overlap) return true;
    }
    return false;
  }

  static result<value> read_elements(guest_access& guest, const shape& type,
                                     sequence_reference& where) {
    const std::size_t size = element_size(type);
    std::span<const std::byte> bytes;
    if (where.count != 0) {
      if (where.count > SIZE_MAX / size) {
        return rejected("a hypercall argument is not a value of its type");
      }
      const auto found = guest.read(guest_address{where.address}, where.count * size);
      if (!found) {
        return rejected("a hypercall argument lies outside the guest's memory", where.address);
      }
      bytes = *found;
    }
    if (type.kind == shape_kind::text) {
      // Sound: char may alias any object.
      return value(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
    }
    // A copy, which no other vCPU can change between the check and the use.
    value copy = value::bytes(bytes);
    if (!are_values_of(type.parts[0], copy.as<std::span<const std::byte>>()->data(), where.count)) {
      return rejected("a hypercall argument is not a value of its type");
    }
    return copy;
  }

  result<void> reply(guest_access& guest, guest_address at,
                     const std::vector<sequence_reference>& places, std::span<const value> given,
                     const value& answer) const {
    value_encoder encoder;
    std::vector<std::byte> bytes;
    for (std::size_t i = 0; i < places.size(); ++i) {
      const shape& type = types_.arguments[i];
      if (!type.is_output || places[i].count == 0) continue;
      const auto count = encoder.count(type, given[i]);
      if (count && *count != places[i].count) {
        return handler_gave("output " + std::to_string(i + 1), "it has another size");
      }
      bytes.assign(places[i].count * element_size(type), std::byte{0});
      if (!count || !encoder.write_elements(type, given[i], *count, bytes.data())) {
        return handler_gave("output " + std::to_string(i + 1), encoder.why());
      }
      if (!guest.write(guest_address{places[i].address}, bytes)) {
        return rejected("a hypercall argument lies outside the guest's memory", places[i].address);
      }
    }
    if (types_.result.kind == shape_kind::nothing) return {};
    bytes.assign(types_.result.room.size, std::byte{0});
    if (!encoder.write(types_.result, answer, bytes.data())) {
      return handler_gave("the result", encoder.why());
    }
    if (!guest.write(at, bytes)) {
      return rejected("a hypercall frame lies outside the guest's memory", to_number(at));
    }
    return {};
  }

  static std::size_t element_size(const shape& of) {
    return of.kind == shape_kind::text ? 1 : of.parts[0].room.size;
  }

  std::uint32_t number_;
  const std::string signature_;  // The types refer to it.
  call_shape types_;
  value_handler handler_;
};

}  // namespace detail

/// A policy whose grants are known at run time only: of configuration, of a command line, of a
/// program in another language. Otherwise as virtine::policy, which it can take the place of where
/// images are loaded. One that nothing was added to grants nothing. Copies share their handlers.
///
/// Example: `dynamic_policy grants; grants.add(posix::clock()); plugin.dynamic("now", grants);`
class dynamic_policy {
  using server = posix::detail::system_calls;

 public:
  using call_state = server::state;

  /// Adds a grant, any that virtine::policy takes. Fails with errc::bad_grant if there is one
  /// about the same thing.
  template <detail::grant Grant>
  result<void> add(Grant grant) {
    return os::or_out_of_memory([&]() -> result<void> {
      std::vector<thing> more;
      more.reserve(Grant::things.size());
      for (const detail::granted_thing& each : Grant::things) more.push_back(thing(each));
      if constexpr (detail::listing_grant<Grant>) {
        for (std::size_t i = 0; i < grant.entries.size(); ++i) {
          more.push_back(thing(grant.thing(i)));
        }
      }
      if (auto noted = note(more); !noted) return noted;
      const auto kept = std::make_shared<Grant>(std::move(grant));
      if constexpr (requires { typename Grant::system_calls; }) {
        serves_system_calls_ = true;
        add_to_server(*kept);
      }
      if constexpr (detail::others_fail_by<Grant>) others_fail_ = true;
      if constexpr (requires(const detail::system_call& call, detail::guest_access& guest) {
                      kept->answer_alone(call, guest);
                    }) {
        answers_.push_back([kept](const detail::system_call& call, detail::guest_access& guest) {
          return kept->answer_alone(call, guest);
        });
      }
      if constexpr (detail::hypercall_grant<Grant>) {
        using call = typename Grant::call;
        hypercalls_.push_back({call::number, [kept](detail::guest_access& guest, guest_address at) {
                                 return detail::server<typename call::signature_type>::serve(
                                     kept->handler, guest, at);
                               }});
      }
      return {};
    });
  }

  /// Allows the hypercall of this number, whose types are those of the signature `id`, as
  /// docs/guest-abi.md has it, and answers it by `handler`; see allow(). Fails with errc::bad_grant
  /// if it is allowed already, if the number is reserved, or if the id is none.
  result<void> allow(std::uint32_t number, std::string_view id, value_handler handler) {
    return os::or_out_of_memory([&]() -> result<void> {
      std::string text(id);
      const auto types = detail::read_signature(text);
      if (!types || detail::has_long_double(types->result) ||
          std::any_of(types->arguments.begin(), types->arguments.end(), detail::has_long_double)) {
        return detail::told({.code = errc::bad_grant},
                            "hypercall " + std::to_string(number) +
                                " has a signature that no value can be of: " + text.substr(0, 300));
      }
      if (number >= first_reserved_hypercall || !handler) {
        return error{.code = errc::bad_grant,
                     .operation = "a hypercall has a reserved number, or no handler"};
      }
      if (auto noted = note({thing{"hypercall", number}}); !noted) return noted;
      const auto kept = std::make_shared<const detail::value_hypercall>(number, std::move(text),
                                                                        std::move(handler));
      hypercalls_.push_back({number, [kept](detail::guest_access& guest, guest_address at) {
                               return kept->serve(guest, at);
                             }});
      return {};
    });
  }

  // Of whoever runs guests; see virtine::policy.

  [[nodiscard]] bool allows(std::uint32_t number) const {
    return asks_for_strings(number) || find(number) != nullptr;
  }

  result<void> serve(std::uint64_t number, detail::guest_access& guest, guest_address at) const {
    if (const hypercall* const found = find(number)) return found->serve(guest, at);
    if (asks_for_strings(number)) {
      return detail::server<environment::signature_type>::serve(detail::no_strings, guest, at);
    }
    return error{.code = errc::hypercall_denied, .detail = number};
  }

  result<detail::system_call_answer> serve(const detail::system_call& call,
                                           detail::guest_access& guest, call_state& open) const {
    for (const auto& each : answers_) {
      if (const auto given = each(call, guest)) return *given;
    }
    if (serves_system_calls_) {
      const detail::system_call_answer given = server_.serve(call, guest, open);
      if (!given.denied) return given;
    }
    if (others_fail_) return detail::system_call_answer{.value = -ENOSYS};
    return error{.code = errc::system_call_denied,
                 .operation = detail::system_call_name(call.number),
                 .detail = call.number};
  }

 private:
  struct thing {
    thing(std::string_view its, std::uint64_t number) : kind(its), of(number) {}
    explicit thing(const detail::granted_thing& from) : thing(from.kind, from.number) {}
    friend bool operator==(const thing&, const thing&) = default;

    std::string kind;
    std::uint64_t of;
  };
  struct hypercall {
    std::uint64_t number;
    std::function<result<void>(detail::guest_access&, guest_address)> serve;
  };

  static bool asks_for_strings(std::uint64_t number) {
    return number == environment::number || number == program_arguments::number;
  }

  [[nodiscard]] const hypercall* find(std::uint64_t number) const {
    const auto found = std::find_if(hypercalls_.begin(), hypercalls_.end(),
                                    [&](const hypercall& each) { return each.number == number; });
    return found != hypercalls_.end() ? &*found : nullptr;
  }

  /// Notes what a grant is about; fails if another is about the same.
  result<void> note(const std::vector<thing>& more) {
    std::vector<thing> all = things_;
    for (const thing& each : more) {
      if (std::find(all.begin(), all.end(), each) != all.end()) {
        return error{.code = errc::bad_grant,
                     .operation = "two grants of a policy are about one thing; leave one out"};
      }
      all.push_back(each);
    }
    things_ = std::move(all);
    return {};
  }

  template <class Grant>
  void add_to_server([[maybe_unused]] const Grant& grant) {
    if constexpr (detail::listing_grant<Grant>) {
      for (std::size_t i = 0; i < grant.entries.size(); ++i) grant.add_to(server_, i, 0);
    } else if constexpr (requires { grant.add_to(server_, std::size_t{0}); }) {
      grant.add_to(server_, 0);
    }
  }

  std::vector<thing> things_;
  std::vector<hypercall> hypercalls_;
  std::vector<std::function<std::optional<detail::system_call_answer>(const detail::system_call&,
                                                                      detail::guest_access&)>>
      answers_;
  server server_;
  bool serves_system_calls_ = false;
  bool others_fail_ = false;
};

}  // namespace virtine
