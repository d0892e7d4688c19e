// Requests over NATS from one epoll loop: each has a callback and a deadline.
// Of one thread. Knows nothing of what is asked.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "log.hpp"
#include "nats.hpp"

namespace vespid::nats {

using header_list = std::vector<std::pair<const char*, std::string>>;

class requests {
 public:
  using clock = std::chrono::steady_clock;
  /// Gets the reply; null if none came in time, or if there is nobody to ask.
  using callback = std::function<void(message reply)>;

  explicit requests(event_connection& on) : connection_(on) {
    natsInbox* made = nullptr;
    check(natsInbox_Create(&made), "inbox");
    inbox_ = std::string(made) + '.';
    natsInbox_Destroy(made);
    replies_ = on.subscribe(inbox_ + '*');
  }
  requests(const requests&) = delete;
  requests& operator=(const requests&) = delete;

  void ask(const std::string& subject, std::string_view data, const header_list& headers,
           std::chrono::milliseconds patience, callback done) {
    const std::uint64_t number = ++last_;
    const std::string reply = inbox_ + std::to_string(number);
    natsMsg* made = nullptr;
    if (natsMsg_Create(&made, subject.c_str(), reply.c_str(), data.data(),
                       static_cast<int>(data.size())) != NATS_OK) {
      return done(nullptr);
    }
    const message kept(made);
    for (const auto& [name, value] : headers) natsMsgHeader_Set(made, name, value.c_str());
    const auto deadline = deadlines_.emplace(clock::now() + patience, number);
    open_.emplace(number, pending{std::move(done), deadline});
    // While the server is away, the message waits for it, or the deadline passes.
    if (!connection_.publish(made)) end(number, nullptr);
  }

  /// Takes the replies that have come, and ends what is late.
  void run() {
    while (auto reply = event_connection::next(replies_)) {
      const std::string_view subject = natsMsg_GetSubject(reply.get());
      const auto number =
          std::strtoull(std::string(subject.substr(inbox_.size())).c_str(), nullptr, 10);
      if (natsMsg_IsNoResponders(reply.get())) reply.reset();
      end(number, std::move(reply));
    }
    while (!deadlines_.empty() && deadlines_.begin()->first <= clock::now()) {
      end(deadlines_.begin()->second, nullptr);
    }
    while (!later_.empty() && later_.begin()->first <= clock::now()) {
      const auto act = std::move(later_.begin()->second);
      later_.erase(later_.begin());
      guarded(act);
    }
  }

  /// Calls `act` in run(), after `wait`.
  void after(std::chrono::milliseconds wait, std::function<void()> act) {
    later_.emplace(clock::now() + wait, std::move(act));
  }

  /// Returns how many milliseconds there are until run() is due in any case; -1: no limit.
  [[nodiscard]] int patience() const {
    auto first = clock::time_point::max();
    if (!deadlines_.empty()) first = deadlines_.begin()->first;
    if (!later_.empty()) first = std::min(first, later_.begin()->first);
    if (first == clock::time_point::max()) return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(first - clock::now());
    return static_cast<int>(std::max<std::int64_t>(0, left.count()));
  }

  /// Nothing that a peer sends may end the program, whatever a callback makes of it.
  template <class Act>
  static void guarded(const Act& act) {
    try {
      act();
    } catch (const std::exception& why) {
      log_event("callback.failed", {{"why", why.what()}});
    }
  }

 private:
  using deadline_list = std::multimap<clock::time_point, std::uint64_t>;
  struct pending {
    callback done;
    deadline_list::iterator deadline;
  };

  void end(std::uint64_t number, message reply) {
    const auto found = open_.find(number);
    if (found == open_.end()) return;  // Late, or the second of two.
    const callback done = std::move(found->second.done);
    deadlines_.erase(found->second.deadline);
    open_.erase(found);
    guarded([&] { done(std::move(reply)); });
  }

  event_connection& connection_;
  std::string inbox_;
  subscription replies_;
  std::uint64_t last_ = 0;
  std::unordered_map<std::uint64_t, pending> open_;
  deadline_list deadlines_;
  std::multimap<clock::time_point, std::function<void()>> later_;
};

}  // namespace vespid::nats
