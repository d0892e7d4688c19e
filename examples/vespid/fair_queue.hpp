// What waits on a worker: a queue of each tenant's, served in turn, with bounds on what one tenant
// and one group of its jobs run at a time.
// Must not know what a job is.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace vespid {

/// Jobs of type Job by tenant and group, such as the calls of a function. Of one thread at a time.
template <class Job>
class fair_queue {
 public:
  struct bounds {
    std::size_t running = 8;            ///< Jobs at one time.
    std::size_t running_of_tenant = 6;  ///< Those of one tenant: others always find room.
    std::size_t waiting_of_tenant = 64;
  };
  explicit fair_queue(const bounds& its) : bounds_(its) {}

  /// Adds a job. Returns it back if its tenant has as many waiting as it may.
  std::optional<Job> push(const std::string& tenant, const std::string& group,
                          std::size_t concurrency, Job job) {
    lane& its = lanes_[tenant];
    if (its.waiting.size() >= bounds_.waiting_of_tenant) return job;
    its.waiting.push_back({group, concurrency, std::move(job)});
    ++waiting_;
    return std::nullopt;
  }

  struct taken {
    std::string tenant;
    std::string group;
    Job job;
  };
  /// Returns the job whose turn it is, which runs until done(); nothing if none may.
  std::optional<taken> pop() {
    if (running_ >= bounds_.running || waiting_ == 0) return std::nullopt;
    // Tenants in turn, from the one behind the last.
    auto at = lanes_.upper_bound(last_);
    for (std::size_t seen = 0; seen < lanes_.size(); ++seen, ++at) {
      if (at == lanes_.end()) at = lanes_.begin();
      lane& its = at->second;
      if (its.running >= bounds_.running_of_tenant) continue;
      const auto next =
          std::find_if(its.waiting.begin(), its.waiting.end(), [&](const waiting_job& each) {
            const auto found = its.running_of.find(each.group);
            return found == its.running_of.end() || found->second < each.concurrency;
          });
      if (next == its.waiting.end()) continue;
      taken out{at->first, std::move(next->group), std::move(next->job)};
      its.waiting.erase(next);
      ++its.running;
      ++its.running_of[out.group];
      --waiting_;
      ++running_;
      last_ = out.tenant;
      return out;
    }
    return std::nullopt;
  }

  void done(const std::string& tenant, const std::string& group) {
    const auto at = lanes_.find(tenant);
    --running_;
    --at->second.running;
    if (const auto of = at->second.running_of.find(group); --of->second == 0) {
      at->second.running_of.erase(of);
    }
    if (at->second.running == 0 && at->second.waiting.empty()) lanes_.erase(at);
  }

  [[nodiscard]] std::size_t waiting() const { return waiting_; }
  [[nodiscard]] std::size_t running() const { return running_; }

 private:
  struct waiting_job {
    std::string group;
    std::size_t concurrency;
    Job job;
  };
  struct lane {
    std::deque<waiting_job> waiting;
    std::size_t running = 0;
    std::map<std::string, std::size_t> running_of;
  };

  bounds bounds_;
  std::map<std::string, lane> lanes_;
  std::string last_;
  std::size_t waiting_ = 0;
  std::size_t running_ = 0;
};

}  // namespace vespid
