// The configuration file that gateway and worker share, and the options that both programs take.
// SPDX-License-Identifier: MIT
#pragma once

#include <signal.h>

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>

#include "nats.hpp"

namespace vespid {

/// The signals that ask a program to end.
inline ::sigset_t ending_signals() {
  ::sigset_t ends;
  ::sigemptyset(&ends);
  ::sigaddset(&ends, SIGTERM);
  ::sigaddset(&ends, SIGINT);
  return ends;
}

/// Leaves those to be read by signalfd(), and a broken pipe to who writes to it. Before there are
/// other threads.
inline void set_up_signals() {
  const ::sigset_t ends = ending_signals();
  ::pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
}

/// Reads `--config FILE`, and `--set NAME=VALUE` that change what is in it; "a.b" is b in a. A
/// VALUE is JSON, or else a text. Throws what is wrong.
inline nlohmann::json read_settings(int argc, char** argv) {
  nlohmann::json out = nlohmann::json::object();
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    if (i + 1 == argc || (option != "--config" && option != "--set")) {
      throw std::runtime_error("usage: " + std::string(argv[0]) +
                               " [--config FILE] [--set NAME=VALUE]...");
    }
    const std::string given = argv[++i];
    if (option == "--config") {
      std::ifstream file(given);
      if (!file) throw std::runtime_error(given + " cannot be read");
      const auto read = nlohmann::json::parse(file, nullptr, false);
      if (!read.is_object()) throw std::runtime_error(given + " is no JSON object");
      out.merge_patch(read);
      continue;
    }
    const std::size_t equals = given.find('=');
    if (equals == given.npos) throw std::runtime_error("--set takes NAME=VALUE");
    std::string path = "/" + given.substr(0, equals);
    for (char& each : path) each = each == '.' ? '/' : each;
    const auto value = nlohmann::json::parse(given.substr(equals + 1), nullptr, false);
    out[nlohmann::json::json_pointer(path)] =
        value.is_discarded() ? nlohmann::json(given.substr(equals + 1)) : value;
  }
  return out;
}

inline nats::settings nats_of(const nlohmann::json& all, std::string name) {
  nats::settings out;
  out.name = std::move(name);
  const auto found = all.find("nats");
  if (found == all.end()) return out;
  out.url = found->value("url", out.url);
  out.ca = found->value("ca", out.ca);
  out.credentials = found->value("credentials", out.credentials);
  return out;
}

/// Returns a whole number of one program's settings; throws if it is none, or not in these bounds.
inline unsigned whole_number_of(const nlohmann::json& its, const char* name, unsigned other,
                                unsigned least, unsigned most) {
  const auto found = its.find(name);
  if (found == its.end()) return other;
  const auto value = found->is_number_unsigned() ? found->get<std::uint64_t>() : UINT64_MAX;
  if (value < least || value > most) {
    throw std::runtime_error(std::string("the setting ") + name + " is no whole number from " +
                             std::to_string(least) + " to " + std::to_string(most));
  }
  return static_cast<unsigned>(value);
}

/// Returns the settings of one program, an object.
inline nlohmann::json part_of(const nlohmann::json& all, const char* name) {
  return all.value(name, nlohmann::json::object());
}

}  // namespace vespid
