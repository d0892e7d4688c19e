// What a call costs when there are many: each in a fresh state, together in one stay, and the same
// work without a virtual machine. All rows are per job, all of them beside one bare KVM_RUN.
// SPDX-License-Identifier: MIT
#include <cstddef>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <guests/square.hpp>
#include <virtine/virtine.hpp>

#include "floor_exit.hpp"
#include "harness.hpp"

namespace {

using square_fn = virtine::virtine_fn<int(int), guests::square>;

[[gnu::noinline]] int native_square(int n) {
  return n * n;
}

bool are_squares(std::span<const int> jobs, const std::vector<int>& replies) {
  if (replies.size() != jobs.size()) return false;
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    if (replies[i] != jobs[i] * jobs[i]) return false;
  }
  return true;
}

// Returns what `work` takes for each of the jobs; the check of what it returns is not timed.
template <class Work, class Check>
auto per_job(std::span<const int> jobs, const Work& work, const Check& good) {
  const auto begin = bench::clock::now();
  const auto replies = work(jobs);
  const bench::microseconds took = bench::clock::now() - begin;
  bench::check(good(replies), "squares");
  return took / static_cast<double>(jobs.size());
}

void measure(bench::program& program) {
  const bench::floor_exit exit;
  square_fn square;
  std::vector<int> numbers(10'000);
  std::iota(numbers.begin(), numbers.end(), 0);

  bench::group rows({.samples = 1000});
  rows.floor("batch.floor", [&] { exit(); });
  rows.row("each", [&, jobs = std::span<const int>(numbers).first(10)] {
    return per_job(
        jobs, [&](std::span<const int> all) { return square.each(all); },
        [&](const auto& replies) {
          for (std::size_t i = 0; i < jobs.size(); ++i) {
            if (!replies[i] || *replies[i] != jobs[i] * jobs[i]) return false;
          }
          return replies.size() == jobs.size();
        });
  });
  for (const std::size_t count : {1u, 10u, 100u, 1000u, 10'000u}) {
    const auto jobs = std::span<const int>(numbers).first(count);
    rows.row("together." + std::to_string(count), [&square, jobs] {
      return per_job(
          jobs, [&](std::span<const int> all) { return square.together(all); },
          [&](const auto& replies) { return replies && are_squares(jobs, *replies); });
    });
  }
  rows.row("batch.native.1000", [jobs = std::span<const int>(numbers).first(1000)] {
    return per_job(
        jobs,
        [](std::span<const int> all) {
          std::vector<int> replies;
          replies.reserve(all.size());
          for (const int n : all) replies.push_back(native_square(n));
          bench::keep(replies);
          return replies;
        },
        [&](const auto& replies) { return are_squares(jobs, replies); });
  });
  program.measure(std::move(rows));
}

}  // namespace

int main(int argc, char** argv) {
  bench::require_kvm();
  bench::program program("batch", argc, argv);
  measure(program);
  return program.finish();
}
