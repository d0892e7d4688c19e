// Counters and histograms of latencies, and the text that Prometheus reads of them.
// Must not know what is counted.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <bit>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <virtine/prometheus.hpp>

namespace vespid {

/// Times in buckets whose ends are 19% apart, from a microsecond to over an hour.
class histogram {
 public:
  void add(std::chrono::nanoseconds time) {
    const double microseconds = std::chrono::duration<double, std::micro>(time).count();
    std::size_t at = 0;
    while (at + 1 < buckets_.size() && end_of(at) < microseconds) ++at;
    ++buckets_[at];
    ++count_;
    sum_ += microseconds;
  }

  [[nodiscard]] std::uint64_t count() const { return count_; }
  /// Returns the end of the bucket that `part` of all times are not above, in microseconds; 0 if
  /// there are none.
  [[nodiscard]] double quantile(double part) const {
    const double wanted = part * static_cast<double>(count_);
    double seen = 0;
    for (std::size_t i = 0; i < buckets_.size(); ++i) {
      seen += static_cast<double>(buckets_[i]);
      if (buckets_[i] > 0 && seen >= wanted) return end_of(i);
    }
    return 0;
  }

  /// Appends the lines of a histogram in seconds, a bucket for each doubling.
  void append(std::string& out, const std::string& name, const std::string& labels) const {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < buckets_.size(); ++i) {
      sum += buckets_[i];
      const bool is_printed = i % 4 == 0 && i >= 16 && i <= 100;  // 16 us to 33 s
      if (!is_printed) continue;
      out += name + "_bucket{" + labels + ",le=\"" + std::to_string(end_of(i) / 1e6) + "\"} " +
             std::to_string(sum) + '\n';
    }
    out += name + "_bucket{" + labels + ",le=\"+Inf\"} " + std::to_string(count_) + '\n';
    out += name + "_sum{" + labels + "} " + std::to_string(sum_ / 1e6) + '\n';
    out += name + "_count{" + labels + "} " + std::to_string(count_) + '\n';
  }

 private:
  static double end_of(std::size_t bucket) {
    constexpr std::array steps{1.0, 1.189207115, 1.414213562, 1.681792831};
    return steps[bucket % 4] * static_cast<double>(std::uint64_t{1} << (bucket / 4));
  }

  std::array<std::uint64_t, 128> buckets_{};
  std::uint64_t count_ = 0;
  double sum_ = 0;
};

inline std::string label(std::string_view name, std::string_view value) {
  std::string out = std::string(name) + "=\"";
  virtine::detail::append_label(out, value);
  return out + '"';
}

/// Appends the two lines that say what a metric is.
inline void append_head(std::string& out, std::string_view name, std::string_view kind,
                        std::string_view help) {
  out += "# HELP " + std::string(name) + ' ' + std::string(help) + "\n# TYPE " + std::string(name) +
         ' ' + std::string(kind) + '\n';
}

}  // namespace vespid
