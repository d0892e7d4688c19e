// The functions and tenants that there are, as a thread keeps them up to date by watching NATS.
// Must not know what anyone does with them.
// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <shared_mutex>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "deployment.hpp"
#include "log.hpp"
#include "nats.hpp"
#include "store.hpp"

namespace vespid {

/// What is deployed. Any thread may ask; answers are of the last state that NATS told.
class catalogue {
 public:
  /// Returns when all that is in the bucket now is known. `on` must outlive this.
  explicit catalogue(const nats::connection& on) : jetstream_(nats::jetstream_of(on)) {
    nats::watcher first = open();
    read_first(first);
    thread_ = std::jthread([this, its = std::move(first)](const std::stop_token& stop) mutable {
      follow(std::move(its), stop);
    });
  }

  /// Returns the function `tenant`.`name`, or null.
  [[nodiscard]] std::shared_ptr<const deployment> find(std::string_view tenant,
                                                       std::string_view name) const {
    const std::shared_lock lock(mutex_);
    const auto found = functions_.find(store::function_key(tenant, name));
    return found != functions_.end() ? found->second : nullptr;
  }

  /// Returns the tenant's functions in the order of their names.
  [[nodiscard]] std::map<std::string, std::shared_ptr<const deployment>> functions_of(
      std::string_view tenant) const {
    const std::string prefix = store::function_key(tenant, "");
    std::map<std::string, std::shared_ptr<const deployment>> out;
    const std::shared_lock lock(mutex_);
    for (auto at = functions_.lower_bound(prefix);
         at != functions_.end() && at->first.starts_with(prefix); ++at) {
      out.emplace(at->first.substr(prefix.size()), at->second);
    }
    return out;
  }

  [[nodiscard]] std::vector<std::string> tenants() const {
    std::vector<std::string> out;
    const std::shared_lock lock(mutex_);
    for (const auto& [name, its] : tenants_) out.push_back(name);
    return out;
  }

  struct identity {
    std::string tenant;
    bool is_owner = false;
    vespid::tenant limits;
  };
  /// Returns whose token this is the digest of.
  [[nodiscard]] std::optional<identity> who(const digest_type& token) const {
    const std::shared_lock lock(mutex_);
    const auto found = tokens_.find(token);
    if (found == tokens_.end()) return std::nullopt;
    return identity{found->second, tenants_.at(found->second).owner == token,
                    tenants_.at(found->second)};
  }

  [[nodiscard]] std::size_t size() const {
    const std::shared_lock lock(mutex_);
    return functions_.size();
  }

 private:
  nats::watcher open() {
    kvStore* bucket = nullptr;
    nats::check(js_KeyValue(&bucket, jetstream_.get(), store::records), store::records);
    bucket_.reset(bucket);
    kvWatcher* made = nullptr;
    nats::check(kvStore_WatchAll(&made, bucket, nullptr), "watching");
    return nats::watcher(made);
  }

  /// Reads up to the mark that all has come; forgets what has not, as it is gone.
  void read_first(const nats::watcher& from) {
    std::set<std::string> seen;
    for (;;) {
      kvEntry* next = nullptr;
      nats::check(kvWatcher_Next(&next, from.get(), 10'000), "reading what is deployed");
      if (next == nullptr) break;
      const nats::entry kept(next);
      seen.insert(kvEntry_Key(next));
      take(next);
    }
    const std::unique_lock lock(mutex_);
    std::erase_if(functions_, [&](const auto& each) { return !seen.contains(each.first); });
  }

  void follow(nats::watcher from, const std::stop_token& stop) {
    auto checked = std::chrono::steady_clock::now();
    while (!stop.stop_requested()) {
      try {
        if (from == nullptr) {
          from = open();
          read_first(from);
        }
        kvEntry* next = nullptr;
        const natsStatus got = kvWatcher_Next(&next, from.get(), 500);
        const nats::entry kept(next);
        if (got == NATS_OK && next != nullptr) take(next);
        if (got != NATS_OK && got != NATS_TIMEOUT) nats::check(got, "following what is deployed");
        // What a server that was away has missed, a watcher need not tell: it is opened again.
        if (std::chrono::steady_clock::now() - checked > std::chrono::seconds(30)) {
          checked = std::chrono::steady_clock::now();
          from.reset();
        }
      } catch (const std::exception& why) {
        log_event("watch.failed", {{"why", why.what()}});
        from.reset();
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
      }
    }
  }

  void take(kvEntry* from) {
    const std::string key = kvEntry_Key(from);
    const bool is_there = kvEntry_Operation(from) == kvOp_Put;
    if (is_there && knows(key, kvEntry_Revision(from))) return;
    const std::string_view value(static_cast<const char*>(kvEntry_Value(from)),
                                 static_cast<std::size_t>(kvEntry_ValueLen(from)));
    std::string wrong;
    if (key.starts_with("function.")) {
      wrong = take_function(key, is_there, value, kvEntry_Revision(from));
    } else if (key.starts_with("tenant.")) {
      wrong = take_tenant(key.substr(7), is_there, value);
    }
    if (!wrong.empty()) log_event("record.damaged", {{"key", key}, {"why", wrong}});
  }

  /// Returns what is wrong with it; empty if nothing is.
  std::string take_function(const std::string& key, bool is_there, std::string_view value,
                            std::uint64_t revision) {
    std::string why;
    auto read = is_there ? read_deployment(value, &why) : std::nullopt;
    if (is_there && !read) return why;
    std::shared_ptr<deployment> made;
    if (read) {
      made = std::make_shared<deployment>(*std::move(read));
      made->revision = revision;
    }
    const std::unique_lock lock(mutex_);
    if (made) {
      functions_[key] = std::move(made);
    } else {
      functions_.erase(key);
    }
    return "";
  }

  bool knows(const std::string& key, std::uint64_t revision) const {
    const std::shared_lock lock(mutex_);
    const auto found = functions_.find(key);
    return found != functions_.end() && found->second->revision == revision;
  }

  std::string take_tenant(const std::string& name, bool is_there, std::string_view value) {
    tenant its;
    try {
      if (is_there) its = nlohmann::json::parse(value).get<tenant>();
    } catch (const nlohmann::json::exception& why) {
      return why.what();
    }
    if (std::string wrong = its.problem(); !wrong.empty()) return wrong;
    const std::unique_lock lock(mutex_);
    std::erase_if(tokens_, [&](const auto& each) { return each.second == name; });
    tenants_[name] = its;
    for (const digest_type& each : {its.owner, its.caller}) {
      if (!each.empty()) tokens_[each] = name;
    }
    return "";
  }

  nats::jetstream jetstream_;
  nats::bucket bucket_;
  mutable std::shared_mutex mutex_;
  std::map<std::string, std::shared_ptr<const deployment>, std::less<>> functions_;
  std::map<std::string, tenant> tenants_;
  std::unordered_map<digest_type, std::string> tokens_;
  std::jthread thread_;
};

}  // namespace vespid
