// Structured logs: a line of JSON for each event, on the standard error.
// Must not be given what tenants keep secret: bodies, tokens, values.
// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdio>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

namespace vespid {

/// Returns the time in seconds since 1970.
inline double seconds_now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// Returns JSON as text, whatever its strings hold: what is not UTF-8 is replaced.
inline std::string to_text(const nlohmann::json& from) {
  return from.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// Writes one event; `more` are its own fields.
inline void log_event(const char* event, nlohmann::json more = nlohmann::json::object()) {
  more["event"] = event;
  more["time"] = seconds_now();
  const std::string line = to_text(more) + '\n';
  std::fwrite(line.data(), 1, line.size(), stderr);  // One write, so lines of threads stay whole.
}

}  // namespace vespid
