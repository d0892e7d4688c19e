// What every benchmark program does alike: measures bodies interleaved in one run, prints a table,
// writes JSON, and all samples as CSV. Must not know what the bodies do.
// SPDX-License-Identifier: MIT
#pragma once

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <virtine/kvm/system.hpp>

#include "commit.hpp"

namespace bench {

using clock = std::chrono::steady_clock;
using microseconds = std::chrono::duration<double, std::micro>;

/// Makes the compiler believe that `value` is used.
template <class T>
void keep(const T& value) {
  asm volatile("" : : "g"(&value) : "memory");
}

/// Ends the program unless `right`: a benchmark of something that does not work measures nothing.
inline void check(bool right, std::string_view what) {
  if (right) return;
  std::fprintf(stderr, "wrong result: %.*s\n", static_cast<int>(what.size()), what.data());
  std::exit(1);
}

/// Ends the program with status 77, which Meson calls "skipped", where there is no KVM.
inline void require_kvm() {
  auto system = virtine::kvm::system::shared();
  if (system) return;
  std::printf("skipped: %s\n", virtine::to_string(system.error()).c_str());
  std::exit(77);
}

/// What a group of rows is measured with.
struct group_options {
  std::size_t samples = 2000;  ///< Of each row.
  /// How many samples of one row are taken before it is the next one's turn. With 1, each sample
  /// also pays for what the other rows did to the caches; with more, the first two of each burst
  /// are run but not counted.
  std::size_t burst = 20;
  /// What the rows count, if bodies return it: "KiB" or "cycles" for bodies that return double.
  const char* unit = "us";
};

/// Rows that are measured in turn, so that whatever disturbs the machine disturbs all of them.
class group {
 public:
  explicit group(group_options options = {}) : options_(options) {}

  /// Adds a row that those after it are compared with, up to the next floor: a body that does what
  /// no implementation could leave out.
  template <class Body>
  group& floor(std::string name, Body body, std::size_t batch = 1) {
    floor_ = bodies_.size();
    return row(std::move(name), std::move(body), batch);
  }

  /// Adds a row. One sample is how long `batch` runs of the body take, divided by `batch`; or, if
  /// the body returns microseconds or a plain number, what it returns.
  template <class Body>
  group& row(std::string name, Body body, std::size_t batch = 1) {
    auto sample = [body = std::move(body), batch]() mutable -> double {
      static_cast<void>(batch);  // clang++ warns where a body measures by itself.
      if constexpr (std::is_void_v<std::invoke_result_t<Body&>>) {
        const auto begin = clock::now();
        for (std::size_t i = 0; i < batch; ++i) body();
        return microseconds(clock::now() - begin).count() / static_cast<double>(batch);
      } else if constexpr (std::is_same_v<std::invoke_result_t<Body&>, double>) {
        return body();
      } else {
        return microseconds(body()).count();
      }
    };
    bodies_.push_back({std::move(name), std::move(sample), 0, {}, floor_, false});
    return *this;
  }

 private:
  friend class program;

  static constexpr std::size_t no_floor = SIZE_MAX;

  struct measured {
    std::string name;
    std::function<double()> sample;
    double first = 0;  // The first run of all, which is no sample.
    std::vector<double> samples;
    std::size_t floor;  // Its index, or no_floor.
    bool wanted;
  };

  group_options options_;
  std::size_t floor_ = no_floor;
  std::vector<measured> bodies_;
};

/// A benchmark program: its options, its rows, its report.
class program {
 public:
  program(std::string name, int argc, char** argv) : name_(std::move(name)) {
    for (int i = 1; i < argc; ++i) {
      const std::string_view word = argv[i];
      if (word == "--short") {
        short_ = true;
      } else if (word == "--only" && i + 1 < argc) {
        only_ = argv[++i];
      } else if (word == "--json" && i + 1 < argc) {
        json_ = argv[++i];
      } else if (word == "--limit" && i + 1 < argc) {
        limit_ = std::chrono::seconds(std::atoi(argv[++i]));
      } else if (word == "--samples" && i + 1 < argc) {
        open_samples(argv[++i]);
      } else {
        std::fprintf(stderr,
                     "usage: %s [--short] [--only PREFIX] [--limit SECONDS] [--json FILE] "
                     "[--samples FILE]\n",
                     argv[0]);
        std::exit(2);
      }
    }
    std::printf("%s: %s, Linux %s, %s\n", name_.c_str(), cpu_model().c_str(), kernel().c_str(),
                kvm_module().c_str());
    std::printf("%s, commit %s%s\n\n", compiler().c_str(), commit,
                is_optimised ? "" : ", NOT OPTIMISED");
    std::printf("%-26s %7s %10s %10s %10s %10s %7s\n", "name", "n", "min us", "median us", "p99 us",
                "floor us", "ratio");
  }

  /// Returns whether figures do not matter in this run.
  [[nodiscard]] bool is_short() const { return short_; }

  /// Measures those rows of the group that --only lets through, and the group's floor with them.
  void measure(group rows) {
    std::vector<group::measured>& bodies = rows.bodies_;
    for (group::measured& each : bodies) {
      if (!std::string_view(each.name).starts_with(only_)) continue;
      each.wanted = true;
      if (each.floor != group::no_floor) bodies[each.floor].wanted = true;
    }

    const std::size_t samples = short_ ? std::clamp<std::size_t>(rows.options_.samples / 50, 10, 50)
                                       : rows.options_.samples;
    sample(bodies, samples, std::min(rows.options_.burst, samples));
    std::vector<double> medians(bodies.size());
    for (std::size_t i = 0; i < bodies.size(); ++i) {
      if (!bodies[i].wanted) continue;
      row made = summary(bodies[i]);
      medians[i] = made.median;
      if (bodies[i].floor != group::no_floor) made.floor = medians[bodies[i].floor];
      made.unit = rows.options_.unit;
      print(made);
      write_samples(bodies[i], made.unit);
      rows_.push_back(std::move(made));
    }
  }

  /// Writes the JSON file if one was asked for. Returns the program's exit status.
  int finish() {
    if (samples_.is_open()) {
      samples_.close();
      if (!samples_) {
        std::fprintf(stderr, "the samples cannot be written\n");
        return 1;
      }
    }
    if (rows_.empty()) {
      std::fprintf(stderr, "no row's name begins with %s\n", only_.c_str());
      return 2;
    }
    if (json_.empty()) return 0;
    std::ofstream out(json_);
    out << "{\"program\": " << quoted(name_) << ",\n \"machine\": {\"cpu\": " << quoted(cpu_model())
        << ", \"kernel\": " << quoted(kernel()) << ", \"kvm\": " << quoted(kvm_module())
        << ", \"compiler\": " << quoted(compiler()) << ", \"commit\": " << quoted(commit)
        << ", \"optimised\": " << (is_optimised ? "true" : "false") << "},\n \"rows\": [";
    const char* separator = "\n";
    for (const row& each : rows_) {
      out << separator << "  {\"name\": " << quoted(each.name)
          << ", \"unit\": " << quoted(each.unit) << ", \"n\": " << each.count
          << ", \"min\": " << number(each.min) << ", \"median\": " << number(each.median)
          << ", \"p99\": " << number(each.p99) << ", \"floor\": " << or_null(each.floor)
          << ", \"ratio\": " << or_null(each.ratio()) << "}";
      separator = ",\n";
    }
    out << "\n ]}\n";
    out.close();
    if (out) return 0;
    std::fprintf(stderr, "%s cannot be written\n", json_.c_str());
    return 1;
  }

 private:
  struct row {
    std::string name;
    std::size_t count = 0;
    double min = 0;
    double median = 0;
    double p99 = 0;
    double floor = 0;  // 0: there is none.
    const char* unit = "us";

    [[nodiscard]] double ratio() const { return floor > 0 ? median / floor : 0; }
  };

  // After --limit no more samples are taken, if there are ten of each row: on a busy machine fewer
  // are better than none.
  void sample(std::vector<group::measured>& bodies, std::size_t samples, std::size_t burst) const {
    constexpr std::size_t warm_up = 5;
    constexpr std::size_t least = 10;
    const auto begin = clock::now();
    std::vector<group::measured*> wanted;
    for (group::measured& each : bodies) {
      if (!each.wanted) continue;
      wanted.push_back(&each);
      each.samples.reserve(samples);
      each.first = each.sample();
      for (std::size_t i = 1; i < warm_up; ++i) each.sample();
    }
    for (std::size_t done = 0, round = 0; done < samples; ++round) {
      const std::size_t count = std::min(burst, samples - done);
      for (std::size_t turn = 0; turn < wanted.size(); ++turn) {
        // Another order in each round, so that no row always follows the same one.
        group::measured& each = *wanted[(turn + round) % wanted.size()];
        if (burst > 1) {
          each.sample();
          each.sample();
        }
        for (std::size_t i = 0; i < count; ++i) each.samples.push_back(each.sample());
      }
      done += count;
      if (limit_.count() > 0 && done >= least && clock::now() - begin > limit_) break;
    }
  }

  static row summary(const group::measured& from) {
    std::vector<double> sorted = from.samples;
    std::sort(sorted.begin(), sorted.end());
    const std::size_t n = sorted.size();
    const auto rank = static_cast<std::size_t>(std::ceil(0.99 * static_cast<double>(n)));
    return {from.name,        n, sorted.front(), (sorted[(n - 1) / 2] + sorted[n / 2]) / 2,
            sorted[rank - 1], 0};
  }

  void open_samples(const char* path) {
    samples_.open(path);
    samples_ << "row,unit,kind,value\n";
    if (samples_) return;
    std::fprintf(stderr, "%s cannot be written\n", path);
    std::exit(1);
  }

  // In the order in which they were taken, after the first run.
  void write_samples(const group::measured& from, const char* unit) {
    if (!samples_.is_open()) return;
    const auto write = [&](const char* kind, double value) {
      samples_ << from.name << ',' << unit << ',' << kind << ',' << number(value) << '\n';
    };
    write("first", from.first);
    for (const double value : from.samples) write("sample", value);
  }

  static void print(const row& each) {
    std::printf("%-26s %7zu %10.2f %10.2f %10.2f", each.name.c_str(), each.count, each.min,
                each.median, each.p99);
    if (each.floor > 0) std::printf(" %10.2f %7.3f", each.floor, each.ratio());
    if (std::string_view(each.unit) != "us") std::printf(" (%s)", each.unit);
    std::printf("\n");
    std::fflush(stdout);
  }

  static std::string number(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.6g", value);
    return text;
  }

  static std::string or_null(double value) { return value > 0 ? number(value) : "null"; }

  static std::string quoted(std::string_view text) {
    std::string out = "\"";
    for (char c : text) {
      if (c == '"' || c == '\\') out += '\\';
      out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
    return out + '"';
  }

  static std::string cpu_model() {
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);) {
      const auto colon = line.find(": ");
      if (line.starts_with("model name") && colon != std::string::npos) {
        return line.substr(colon + 2);
      }
    }
    return "unknown processor";
  }

  static std::string kernel() {
    utsname found{};
    return uname(&found) == 0 ? found.release : "unknown";
  }

  static std::string kvm_module() {
    for (const char* name : {"kvm_intel", "kvm_amd", "kvm_pvm"}) {
      if (access((std::string("/sys/module/") + name).c_str(), F_OK) == 0) return name;
    }
    return "unknown kvm";
  }

  static std::string compiler() {
#ifdef __clang__
    return __VERSION__;
#else
    return "g++ " __VERSION__;
#endif
  }

#ifdef __OPTIMIZE__
  static constexpr bool is_optimised = true;
#else
  static constexpr bool is_optimised = false;
#endif

  std::string name_;
  bool short_ = false;
  std::string only_;
  std::chrono::seconds limit_{0};  // For each group; 0: none.
  std::string json_;
  std::ofstream samples_;
  std::vector<row> rows_;
};

}  // namespace bench
