// How often a secret is guessed from what was seen, by one who has learned what secrets look like.
// Knows nothing of how it was seen.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "../harness.hpp"

namespace bench {

/// What was seen when the secret was this.
struct sighting {
  int secret;
  std::vector<double> parts;
};

/// How many of the guesses were right, and what that says.
struct guesses {
  std::size_t count = 0;
  std::size_t right = 0;
  int secrets = 2;

  [[nodiscard]] double accuracy() const {
    return static_cast<double>(right) / static_cast<double>(count);
  }
  [[nodiscard]] double chance() const { return 1.0 / secrets; }
  /// How far from chance the accuracy may be by luck: one time in a thousand it is further.
  [[nodiscard]] double luck() const {
    return 3.1 * std::sqrt(chance() * (1 - chance()) / static_cast<double>(count));
  }
  /// How many bits a guess tells of the secret, if wrong guesses are evenly spread: the capacity of
  /// a symmetric channel. 0 if the accuracy may be luck.
  [[nodiscard]] double bits() const {
    const double p = accuracy();
    if (p <= chance() + luck()) return 0;
    const double wrong = p < 1 ? (1 - p) * std::log2((1 - p) / (secrets - 1)) : 0;
    return std::log2(secrets) + p * std::log2(p) + wrong;
  }
};

/// Learns from one half of the sightings what each secret looks like on average, and guesses those
/// of the other half. `relative`: secrets show in which part differs from the others, not in all.
inline guesses guess(std::vector<sighting> all, int secrets, bool relative) {
  if (relative) {
    for (sighting& each : all) {
      std::vector<double> sorted = each.parts;
      std::nth_element(sorted.begin(), sorted.begin() + sorted.size() / 2, sorted.end());
      for (double& part : each.parts) part -= sorted[sorted.size() / 2];
    }
  }
  const std::size_t parts = all.front().parts.size();
  const std::size_t half = all.size() / 2;
  const std::span<sighting> learned(all.data(), half);
  const std::span<sighting> guessed(all.data() + half, all.size() - half);
  // An interrupt takes longer than anything that is to be told apart here.
  for (std::size_t part = 0; part < parts; ++part) {
    std::vector<double> sorted;
    for (const sighting& each : learned) sorted.push_back(each.parts[part]);
    std::sort(sorted.begin(), sorted.end());
    const double least = sorted[sorted.size() / 100];
    const double most = sorted[sorted.size() - 1 - sorted.size() / 100];
    for (sighting& each : all) each.parts[part] = std::clamp(each.parts[part], least, most);
  }
  std::vector<std::vector<double>> means(static_cast<std::size_t>(secrets),
                                         std::vector<double>(parts));
  std::vector<double> counts(means.size());
  for (const sighting& each : learned) {
    const auto secret = static_cast<std::size_t>(each.secret);
    ++counts[secret];
    for (std::size_t i = 0; i < parts; ++i) means[secret][i] += each.parts[i];
  }
  for (std::size_t s = 0; s < means.size(); ++s) {
    for (double& mean : means[s]) mean /= std::max(counts[s], 1.0);
  }
  std::vector<double> variances(parts, 1e-9);
  for (const sighting& each : learned) {
    for (std::size_t i = 0; i < parts; ++i) {
      const double off = each.parts[i] - means[static_cast<std::size_t>(each.secret)][i];
      variances[i] += off * off;
    }
  }
  guesses out{.count = guessed.size(), .right = 0, .secrets = secrets};
  for (const sighting& each : guessed) {
    const auto distance = [&](const std::vector<double>& mean) {
      double sum = 0;
      for (std::size_t i = 0; i < parts; ++i) {
        const double off = each.parts[i] - mean[i];
        sum += off * off / variances[i];
      }
      return sum;
    };
    const auto nearest =
        std::min_element(means.begin(), means.end(),
                         [&](const auto& a, const auto& b) { return distance(a) < distance(b); });
    out.right += nearest - means.begin() == each.secret ? 1 : 0;
  }
  return out;
}

/// Ends the program unless guess() guesses what is there to be seen, and nothing else.
inline void check_guessing() {
  std::mt19937 random(1);
  std::normal_distribution<double> noise(100, 10);
  const auto sightings = [&](double signal, bool in_all) {
    std::vector<sighting> all;
    for (int i = 0; i < 2000; ++i) {
      sighting one{.secret = static_cast<int>(random() % 4), .parts = std::vector<double>(16)};
      for (double& part : one.parts) part = noise(random) + (in_all ? one.secret * signal : 0);
      if (!in_all) one.parts[static_cast<std::size_t>(2 * one.secret)] += signal;
      if (i % 50 == 0) one.parts[3] += 1e6;
      all.push_back(std::move(one));
    }
    return all;
  };
  const guesses sure = guess(sightings(100, false), 4, true);
  check(sure.count == 1000 && sure.right == sure.count && sure.bits() == 2, "what is plain to see");
  const guesses all = guess(sightings(100, true), 4, false);
  check(all.right == all.count, "what shows in all parts");
  check(guess(sightings(100, true), 4, true).bits() == 0, "what does not show in single parts");
  const guesses none = guess(sightings(0, false), 4, true);
  check(none.bits() == 0 && std::abs(none.accuracy() - none.chance()) < none.luck(),
        "nothing to see");
}

}  // namespace bench
