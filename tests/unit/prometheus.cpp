// The text that Prometheus reads.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <sstream>
#include <string>

#include <virtine/prometheus.hpp>

using namespace virtine;
using namespace std::chrono_literals;

TEST_CASE("statistics are metrics with a label", "[prometheus]") {
  const std::array pools{
      named_stats{
          "square",
          {.machines = 3, .idle = 2, .created = 5, .discarded = 1, .forgotten = 1, .waits = 7}},
      named_stats{"say \"hi\\\n", {.cleaned = 9, .cleaning_time = 1'500ms}},
  };
  const std::string text = to_prometheus(pools);
  const auto has = [&](const std::string& line) {
    return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
  };
  CHECK(has("# TYPE virtine_pool_machines gauge"));
  CHECK(has("virtine_pool_machines{pool=\"square\"} 3"));
  CHECK(has("virtine_pool_idle_machines{pool=\"square\"} 2"));
  CHECK(has("# TYPE virtine_pool_created_total counter"));
  CHECK(has("virtine_pool_created_total{pool=\"square\"} 5"));
  CHECK(has("virtine_pool_discarded_total{pool=\"square\"} 1"));
  CHECK(has("virtine_pool_forgotten_total{pool=\"square\"} 1"));
  CHECK(has("virtine_pool_waits_total{pool=\"square\"} 7"));
  CHECK(has("virtine_pool_cleaned_total{pool=\"say \\\"hi\\\\\\n\"} 9"));
  CHECK(has("virtine_pool_cleaning_seconds_total{pool=\"say \\\"hi\\\\\\n\"} 1.500000"));
  // Help and type stand once, however many pools there are.
  std::istringstream lines(text);
  std::string line;
  int types = 0;
  int values = 0;
  while (std::getline(lines, line)) {
    types += line.starts_with("# TYPE") ? 1 : 0;
    values += line.starts_with("#") ? 0 : 1;
  }
  CHECK(types == 8);
  CHECK(values == 16);
}
