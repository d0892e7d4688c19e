// The statistics of pools as text that Prometheus reads.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/cxx20.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <virtine/pool_options.hpp>

namespace virtine {

/// The statistics of a pool, and the name that they go by: any text.
struct named_stats {
  std::string_view name;
  pool_stats stats;
};

namespace detail {

/// Appends `text` as the value of a label, as Prometheus's exposition format 0.0.4 quotes it.
inline void append_label(std::string& out, std::string_view text) {
  for (const char each : text) {
    if (each == '\n') {
      out += "\\n";
      continue;
    }
    if (each == '"' || each == '\\') out += '\\';
    out += each;
  }
}

struct pool_metric {
  const char* name;
  const char* kind;
  const char* help;
  std::string (*value)(const pool_stats&);
};

inline constexpr std::array pool_metrics{
    pool_metric{"virtine_pool_machines", "gauge", "Machines that exist, in use or not.",
                [](const pool_stats& of) { return std::to_string(of.machines); }},
    pool_metric{"virtine_pool_idle_machines", "gauge", "Machines ready for a call.",
                [](const pool_stats& of) { return std::to_string(of.idle); }},
    pool_metric{"virtine_pool_created_total", "counter", "Machines made.",
                [](const pool_stats& of) { return std::to_string(of.created); }},
    pool_metric{"virtine_pool_discarded_total", "counter",
                "Machines destroyed after a failed call, too many pages or their last call.",
                [](const pool_stats& of) { return std::to_string(of.discarded); }},
    pool_metric{"virtine_pool_forgotten_total", "counter", "Machines destroyed while idle.",
                [](const pool_stats& of) { return std::to_string(of.forgotten); }},
    pool_metric{"virtine_pool_waits_total", "counter", "Calls that waited for a machine.",
                [](const pool_stats& of) { return std::to_string(of.waits); }},
    pool_metric{"virtine_pool_cleaned_total", "counter", "Machines wiped in the background.",
                [](const pool_stats& of) { return std::to_string(of.cleaned); }},
    pool_metric{"virtine_pool_cleaning_seconds_total", "counter", "Time of wiping them.",
                [](const pool_stats& of) {
                  return std::to_string(std::chrono::duration<double>(of.cleaning_time).count());
                }},
};

}  // namespace detail

/// Returns what Prometheus, and all that reads its text format, takes as the metrics of `pools`,
/// each with a label `pool`. Names must differ from one another.
/// `virtine::to_prometheus(std::array{virtine::named_stats{"square", square.pool().stats()}})`
inline std::string to_prometheus(std::span<const named_stats> pools) {
  std::string out;
  for (const detail::pool_metric& metric : detail::pool_metrics) {
    out += std::string("# HELP ") + metric.name + ' ' + metric.help + '\n';
    out += std::string("# TYPE ") + metric.name + ' ' + metric.kind + '\n';
    for (const named_stats& each : pools) {
      out += std::string(metric.name) + "{pool=\"";
      detail::append_label(out, each.name);
      out += "\"} " + metric.value(each.stats) + '\n';
    }
  }
  return out;
}

}  // namespace virtine
