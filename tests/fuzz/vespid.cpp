// Fuzzes what Vespid reads of a deployment and of a tenant: JSON that anybody may have written. An
// input is the JSON.
// SPDX-License-Identifier: MIT
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
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

void read_deployment(const json& given) {
  vespid::deployment its;
  try {
    its = given.get<vespid::deployment>();
  } catch (const json::exception&) {
    return;
  }
  if (!its.problem().empty()) return;
  require(its.timeout() <= vespid::deployment::max_timeout);
  require_same(given, "timeout_ms", its.timeout_ms);
  require_same(given, "memory", its.memory);
  require_same(given, "concurrency", its.concurrency);
  require_same(given, "room", its.room);
  require(json(json(its).get<vespid::deployment>()) == json(its));
}

void read_tenant(const json& given) {
  vespid::tenant its;
  try {
    its = given.get<vespid::tenant>();
  } catch (const json::exception&) {
    return;
  }
  if (!its.problem().empty()) return;
  require_same(given, "concurrency", its.concurrency);
  require_same(given, "functions", its.functions);
  require(json(json(its).get<vespid::tenant>()) == json(its));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // Sound: char may alias any object.
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  static_cast<void>(vespid::is_name(text));
  const json given = json::parse(text, nullptr, false);
  if (given.is_discarded()) return 0;
  read_deployment(given);
  read_tenant(given);
  return 0;
}
