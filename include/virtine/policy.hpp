// policy: the list of what a guest may ask of its host. Anything else is denied, and all requests
// are counted.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <virtine/allow.hpp>
#include <virtine/environment.hpp>
#include <virtine/machine/guest_access.hpp>
#include <virtine/machine/system_call.hpp>
#include <virtine/policy/grant.hpp>
#include <virtine/policy/system_call_names.hpp>
#include <virtine/policy_usage.hpp>

namespace virtine {

template <class... Parts>
class policy;

namespace detail {

/// Serves the system calls of a policy that grants none.
struct no_system_calls {
  struct state {};
  static system_call_answer serve(const system_call&, guest_access&, state&) {
    return {.denied = true};
  }
};

/// What serves the system calls of a policy: the type that its first grant of any names, to which
/// each of them adds itself.
template <class... Grants>
struct system_call_server {
  using type = no_system_calls;
};
template <class First, class... Rest>
struct system_call_server<First, Rest...> : system_call_server<Rest...> {};
template <class First, class... Rest>
requires requires {
  typename First::system_calls;
}
struct system_call_server<First, Rest...> {
  using type = typename First::system_calls;
};

template <class G>
concept hypercall_grant = requires {
  typename G::call;
};

template <class G>
constexpr bool allows_by(std::uint32_t number) {
  if constexpr (hypercall_grant<G>) return G::call::number == number;
  return false;
}

template <class G>
concept others_fail_by = requires {
  requires G::others_fail_with_enosys;
};

/// Returns whether two of the grants are for one thing: the same hypercall, or the same directory,
/// descriptor and so on.
template <class... Grants>
constexpr bool contradict(bool hypercalls) {
  std::array<granted_thing, (Grants::things.size() + ... + 0)> all{};
  std::size_t count = 0;
  [[maybe_unused]] const auto add = [&](const auto& things) {
    for (const granted_thing& each : things) all[count++] = each;
  };
  (add(Grants::things), ...);
  for (std::size_t i = 0; i < count; ++i) {
    if ((all[i].kind == "hypercall") != hypercalls) continue;
    for (std::size_t j = 0; j < i; ++j) {
      if (all[i] == all[j]) return true;
    }
  }
  return false;
}

template <class Part>
struct no_grant {
  static_assert(!std::is_same_v<Part, Part>,
                "virtine [V129]: a part of a policy is neither a grant nor a policy. For a "
                "function, write virtine::allow<Call>(handler). A result, of a try_ function, is "
                "to be tested first: pass *made.");
};
template <class Part>
inline constexpr bool is_policy = false;
template <class... Parts>
inline constexpr bool is_policy<policy<Parts...>> = true;

/// Checks the parts of a policy, up to the first that is neither a grant nor a policy.
template <class... Parts>
struct check_parts {};
template <class First, class... Rest>
struct check_parts<First, Rest...> : std::conditional_t<detail::grant<First> || is_policy<First>,
                                                        check_parts<Rest...>, no_grant<First>> {};

/// What is known of a list of grants when the program is compiled.
template <class List>
struct grant_list;
template <class... Grants>
struct grant_list<std::tuple<Grants...>> {
  static_assert(!contradict<Grants...>(true),
                "virtine [V112]: two hypercalls of a policy have one number. Give each hypercall "
                "that a policy allows a number of its own.");
  static_assert(!contradict<Grants...>(false),
                "virtine [V125]: a policy grants one thing twice. Leave one grant out.");

  using server = typename system_call_server<Grants...>::type;
  static constexpr bool others_fail_with_enosys = (others_fail_by<Grants> || ...);
  /// Whether only the program can tell whether two grants contradict each other.
  static constexpr bool checked_at_run_time = (listing_grant<Grants> || ...);
  static constexpr bool allows([[maybe_unused]] std::uint32_t number) {
    return (allows_by<Grants>(number) || ...);
  }
};

/// The grants of a part of a policy, which may be a policy itself.
template <class Part>
struct grants_of {
  using type = std::conditional_t<detail::grant<Part>, std::tuple<Part>, std::tuple<>>;
};
template <class... Parts>
struct grants_of<policy<Parts...>> {
  using type = decltype(std::tuple_cat(std::declval<typename grants_of<Parts>::type>()...));
};

/// Answers a guest that asks for strings which its policy does not grant: there are none. Programs
/// ask when they start, so that to ask is no offence.
inline constexpr auto no_strings = [](guest_buffer<std::byte>) -> std::uint64_t { return 0; };

}  // namespace detail

/// What guests may ask for: hypercalls (allow<Call>(handler)) and parts of a POSIX system
/// (<virtine/posix.hpp>). `policy{}` grants nothing. A policy may be a part of another, which then
/// has its grants. All calls of a function share its policy and its handlers. What a call opens by
/// system calls is its own, and closed at its end.
///
/// Two grants of one thing do not compile. For things that are known at run time
/// (posix::directories()), the constructor throws failure, and try_policy() returns
/// errc::bad_grant.
template <class... Parts>
class policy : detail::check_parts<Parts...> {
  using list = typename detail::grants_of<policy>::type;
  using known = detail::grant_list<list>;
  using server = typename known::server;
  static constexpr std::size_t count = std::tuple_size_v<list>;
#ifdef __cpp_exceptions
  static constexpr bool may_be_constructed = true;
#else
  static constexpr bool may_be_constructed = !known::checked_at_run_time;  // Else by try_policy().
#endif

 public:
  /// What a call, session or batch has open. Made anew, and empty, for each.
  using call_state = typename server::state;

  policy() requires std::is_default_constructible_v<list> {
    add_all();
  }
  explicit policy(Parts... parts) requires(sizeof...(Parts) > 0 && may_be_constructed)
      : policy(unchecked{}, std::move(parts)...) {
#ifdef __cpp_exceptions
    if constexpr (known::checked_at_run_time) check().value();
#endif
  }

  /// Returns whether the policy allows the hypercall of this number.
  static constexpr bool allows(std::uint32_t number) {
    return asks_for_strings(number) || known::allows(number);
  }

  /// Serves hypercall `number` whose frame is at `at`. On failure the call must end: the hypercall
  /// is not allowed, its arguments are not acceptable, or the handler rejects them.
  result<void> serve(std::uint64_t number, detail::guest_access& guest, guest_address at) {
    return [&]<std::size_t... I>(std::index_sequence<I...>)->result<void> {
      result<void> outcome = error{.code = errc::hypercall_denied, .detail = number};
      if ((serve_if<I>(number, guest, at, outcome) || ...)) return outcome;
      if (asks_for_strings(number)) {
        return detail::server<environment::signature_type>::serve(detail::no_strings, guest, at);
      }
      denied_.add(false, static_cast<std::uint32_t>(number));
      return outcome;
    }
    (std::make_index_sequence<count>{});
  }

  /// Serves a system call of a guest that has `open` open. On failure the call must end: no grant
  /// is about it, and posix::others_fail_with_enosys() is not granted.
  result<detail::system_call_answer> serve(const detail::system_call& call,
                                           detail::guest_access& guest, call_state& open) {
    const detail::system_call_answer given = answer_to(call, guest, open);
    if (given.denied) {
      denied_.add(true, call.number);
      if constexpr (known::others_fail_with_enosys)
        return detail::system_call_answer{.value = -ENOSYS};
      return error{.code = errc::system_call_denied,
                   .operation = detail::system_call_name(call.number),
                   .detail = call.number};
    }
    if (given.grant < count + listed_counts_.size() && !given.again) {
      counts& of = counts_of(given.grant);
      of.used.add_one();
      if (given.refused) of.refused.add_one();
    }
    return given;
  }

  /// Returns what was asked so far, by all threads.
  [[nodiscard]] policy_usage usage() const {
    policy_usage out;
    for_each([&](const auto& each, std::size_t i, auto... entry) {
      const counts& made = counts_of(i);
      out.grants.push_back({each.describe(entry...), made.used.value(), made.refused.value()});
    });
    out.denied = denied_.list();
    return out;
  }

  /// Renders the policy for people: a line for each grant, and one for the rest.
  friend std::string to_string(const policy& of) {
    std::string out;
    of.for_each([&](const auto& each, std::size_t, auto... entry) {
      out += each.describe(entry...) + '\n';
    });
    if constexpr (!known::others_fail_with_enosys) out += "everything else: ends the call\n";
    return out;
  }

 private:
  template <class...>
  friend class policy;
  template <class... P>
  friend result<policy<P...>> try_policy(P... parts);

  struct unchecked {};
  struct counts {
    detail::counter used;
    detail::counter refused;
  };

  static constexpr bool asks_for_strings(std::uint64_t number) {
    return number == environment::number || number == program_arguments::number;
  }

  template <class Part>
  static auto list_of(Part part) {
    if constexpr (requires { part.list_; }) {
      return std::move(part.list_);
    } else if constexpr (detail::grant<Part>) {
      return std::tuple<Part>(std::move(part));
    } else {
      return std::tuple<>();
    }
  }

  explicit policy(unchecked, Parts... parts) : list_(std::tuple_cat(list_of(std::move(parts))...)) {
    add_all();
  }

  /// Visits each grant with the number of its counts; one that is a list for each of its entries,
  /// with the entry's index as well. The counts of entries follow those of all grants.
  template <class Visitor>
  void for_each(const Visitor& visit) const {
    [[maybe_unused]] std::size_t next = count;
    [[maybe_unused]] const auto visit_one = [&](const auto& each, std::size_t i) {
      if constexpr (detail::listing_grant<std::remove_cvref_t<decltype(each)>>) {
        for (std::size_t entry = 0; entry < each.entries.size(); ++entry) {
          visit(each, next++, entry);
        }
      } else {
        visit(each, i);
      }
    };
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      (visit_one(std::get<I>(list_), I), ...);
    }
    (std::make_index_sequence<count>{});
  }

  void add_all() {
    std::size_t listed = 0;
    for_each([&](const auto& each, std::size_t i, auto... entry) {
      if constexpr (requires { each.add_to(server_, entry..., i); }) {
        each.add_to(server_, entry..., i);
      }
      listed += sizeof...(entry);
    });
    listed_counts_ = std::vector<counts>(listed);
  }

  /// Fails if two grants are about one thing.
  [[nodiscard]] result<void> check() const {
    std::vector<detail::granted_thing> seen;
    result<void> outcome;
    const auto add = [&](const detail::granted_thing& thing, std::size_t line) {
      if (outcome && std::find(seen.begin(), seen.end(), thing) != seen.end()) {
        outcome = error{.code = errc::bad_grant,
                        .operation = "two grants of a policy are about one thing; leave one out",
                        .detail = line};
      }
      seen.push_back(thing);
    };
    std::size_t line = 0;
    for_each([&](const auto& each, std::size_t, auto... entry) {
      ++line;
      for (const detail::granted_thing& thing : each.things) add(thing, line);
      if constexpr (sizeof...(entry) > 0) add(each.thing(entry...), line);
    });
    return outcome;
  }

  counts& counts_of(std::size_t i) {
    return i < count ? counts_[i] : listed_counts_[i - count];
  }
  [[nodiscard]] const counts& counts_of(std::size_t i) const {
    return i < count ? counts_[i] : listed_counts_[i - count];
  }

  /// Answers a system call: by the grant that does so alone, else by the server of the others.
  detail::system_call_answer answer_to(const detail::system_call& call, detail::guest_access& guest,
                                       call_state& open) {
    std::optional<detail::system_call_answer> given;
    for_each([&](const auto& each, std::size_t i, auto...) {
      if constexpr (requires { each.answer_alone(call, guest); }) {
        if (given || !(given = each.answer_alone(call, guest))) return;
        given->grant = i;
      }
    });
    return given ? *given : server_.serve(call, guest, open);
  }

  template <std::size_t I>
  bool serve_if(std::uint64_t number, detail::guest_access& guest, guest_address at,
                result<void>& outcome) {
    using one = std::tuple_element_t<I, list>;
    if constexpr (detail::hypercall_grant<one>) {
      using call = typename one::call;
      if (call::number != number) return false;
      counts_[I].used.add_one();
      outcome = detail::server<typename call::signature_type>::serve(std::get<I>(list_).handler,
                                                                     guest, at);
      if (!outcome) counts_[I].refused.add_one();
      return true;
    }
    return false;
  }

  list list_;
  [[no_unique_address]] server server_;
  std::array<counts, count> counts_;
  std::vector<counts> listed_counts_;
  detail::denial_log denied_;
};

template <class... Parts>
policy(Parts...) -> policy<Parts...>;

/// Returns a policy of these parts; errc::bad_grant if two grants are about one thing, of which the
/// program learns only when it runs. error::detail is the second one's line in to_string(policy),
/// from 1.
template <class... Parts>
result<policy<Parts...>> try_policy(Parts... parts) {
  policy<Parts...> made(typename policy<Parts...>::unchecked{}, std::move(parts)...);
  if (const auto checked = made.check(); !checked) return checked.error();
  return made;
}

/// The default: nothing at all. A guest that asks for its arguments or its environment, as programs
/// do when they start, finds that there are none; whatever else it asks for ends the call.
using deny_all = policy<>;

}  // namespace virtine
