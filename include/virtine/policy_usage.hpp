// What guests have asked of a policy, counted.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <virtine/policy/system_call_names.hpp>

namespace virtine {

/// How often guests have used a policy. See virtine_fn::policy_usage().
struct policy_usage {
  struct of_grant {
    std::string grant;          ///< As to_string(policy) describes it.
    std::uint64_t used = 0;     ///< Requests that it answered, failures included.
    std::uint64_t refused = 0;  ///< Of those, how many went beyond what it grants.
  };
  struct of_request {
    std::string name;  ///< "socket", or "hypercall 7".
    std::uint64_t count = 0;
  };

  std::vector<of_grant> grants;    ///< In the order of the policy.
  std::vector<of_request> denied;  ///< What no grant is about, in the order in which it came up.
};

/// Renders the numbers, one line each.
inline std::string to_string(const policy_usage& usage) {
  std::string out;
  for (const auto& each : usage.grants) {
    out += each.grant + ": used " + std::to_string(each.used) + ", refused " +
           std::to_string(each.refused) + '\n';
  }
  for (const auto& each : usage.denied) {
    out += "denied: " + each.name + ", " + std::to_string(each.count) + '\n';
  }
  return out;
}

namespace detail {

/// A number that any thread may count up. A copy begins at 0, as it counts for another.
class counter {
 public:
  counter() = default;
  counter(const counter&) noexcept {}
  counter& operator=(const counter&) noexcept { return *this; }

  void add_one() { value_.fetch_add(1, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

/// What was denied, and how often. Any thread may add to it, without a lock or an allocation,
/// because a guest could make an allocation fail. A copy begins empty.
class denial_log {
 public:
  /// Guests choose numbers freely, so that so many are told apart and the rest are counted as one.
  static constexpr std::size_t most = 64;

  denial_log() = default;
  denial_log(const denial_log&) noexcept {}
  denial_log& operator=(const denial_log&) noexcept { return *this; }

  void add(bool is_system_call, std::uint32_t number) {
    const std::uint64_t wanted = taken | (is_system_call ? system_call_bit : 0) | number;
    for (entry& each : entries_) {
      std::uint64_t found = 0;
      // Entries are taken in order and never given up, so that none is taken twice.
      if (each.what.compare_exchange_strong(found, wanted) || found == wanted) {
        return each.count.add_one();
      }
    }
    others_.add_one();
  }

  [[nodiscard]] std::vector<policy_usage::of_request> list() const {
    std::vector<policy_usage::of_request> out;
    for (const entry& each : entries_) {
      const std::uint64_t what = each.what.load();
      if (what == 0) break;
      const auto number = static_cast<std::uint32_t>(what);
      const bool is_system_call = (what & system_call_bit) != 0;
      const char* const name = is_system_call ? system_call_name(number) : "hypercall";
      const bool numbered = !is_system_call || std::string(name) == "unknown";
      out.push_back({numbered ? name + (' ' + std::to_string(number)) : name, each.count.value()});
    }
    if (others_.value() != 0) out.push_back({"others", others_.value()});
    return out;
  }

 private:
  static constexpr std::uint64_t taken = std::uint64_t{1} << 63;
  static constexpr std::uint64_t system_call_bit = std::uint64_t{1} << 32;

  struct entry {
    std::atomic<std::uint64_t> what{0};
    counter count;
  };

  std::array<entry, most> entries_;
  counter others_;
};

}  // namespace detail

}  // namespace virtine
