// Has those that change one thing take turns: the next begins when the one before has ended.
// Must not know what they do.
// SPDX-License-Identifier: MIT
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace vespid {

/// Of one thread.
class turns {
 public:
  using turn = std::shared_ptr<void>;  ///< Ends with its last copy.
  using action = std::function<void(turn)>;

  /// Calls `act` with a turn of `what`: now if nobody has one, else in run().
  void take(const std::string& what, action act) {
    lane& its = (*lanes_)[what];
    if (its.is_taken || !its.waiting.empty()) return its.waiting.push_back(std::move(act));
    act(begin(what));
  }

  /// Begins the turns that others have made free.
  void run() {
    std::vector<std::string> free;
    for (const auto& [what, its] : *lanes_) {
      if (!its.is_taken) free.push_back(what);
    }
    for (const std::string& what : free) {
      const auto found = lanes_->find(what);
      if (found == lanes_->end() || found->second.is_taken) continue;
      turn its = begin(what);
      if (found->second.waiting.empty()) continue;
      const action act = std::move(found->second.waiting.front());
      found->second.waiting.pop_front();
      act(std::move(its));
    }
  }

  /// Says whether run() has something to do.
  [[nodiscard]] bool is_due() const {
    for (const auto& [what, its] : *lanes_) {
      if (!its.is_taken) return true;
    }
    return false;
  }

 private:
  struct lane {
    bool is_taken = false;
    std::deque<action> waiting;
  };
  using lane_map = std::map<std::string, lane>;

  turn begin(const std::string& what) {
    lanes_->at(what).is_taken = true;
    return {nullptr, [lanes = lanes_, what](void*) {
              const auto found = lanes->find(what);
              found->second.is_taken = false;
              if (found->second.waiting.empty()) lanes->erase(found);
            }};
  }

  std::shared_ptr<lane_map> lanes_ = std::make_shared<lane_map>();  // Turns may outlive this.
};

}  // namespace vespid
