// Fuzzes what Vespid reads of a deployment and of a tenant: JSON that anybody may have written. An
// input is the JSON.
// SPDX-License-Identifier: MIT
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "../../examples/vespid/deployment.hpp"
#include "input.hpp"

namespace {

using nlohmann::json;

/// A number means what it says: it is not cut to what a member holds.
template <class T>
void require_same(const json& given, const char* name, T is) {
  if (given.contains(name)) require(given[name].is_number_unsigned() && given[name] == is);
}

/// Reads a T as the programs do; nothing if it is refused. What is written of it is read as the
/// same.
template <class T>
std::optional<T> read(const json& given) {
  T its;
  try {
    its = given.get<T>();
  } catch (const json::exception&) {
    return std::nullopt;
  }
  if (!its.problem().empty()) return std::nullopt;
  require(json(json(its).template get<T>()) == json(its));
  return its;
}

void read_deployment(const json& given) {
  const auto its = read<vespid::deployment>(given);
  if (!its) return;
  require(its->timeout() <= vespid::deployment::max_timeout);
  require_same(given, "timeout_ms", its->timeout_ms);
  require_same(given, "memory", its->memory);
  require_same(given, "concurrency", its->concurrency);
  require_same(given, "room", its->room);
}

void read_tenant(const json& given) {
  const auto its = read<vespid::tenant>(given);
  if (!its) return;
  require_same(given, "concurrency", its->concurrency);
  require_same(given, "functions", its->functions);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // Sound: char may alias any object.
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  static_cast<void>(vespid::is_name(text));
  require(vespid::is_name(vespid::digest_of(text)));
  const json given = json::parse(text, nullptr, false);
  if (given.is_discarded()) return 0;
  read_deployment(given);
  read_tenant(given);
  return 0;
}
