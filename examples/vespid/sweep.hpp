// Removes what no record names from the store, and the marks of records that are gone: what a
// gateway that ended, or a store that was away, has left. Several gateways may do so at one time.
// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "catalogue.hpp"
#include "deployment.hpp"
#include "log.hpp"
#include "store.hpp"
#include "store_client.hpp"

namespace vespid {

/// Of one thread, the gateway's.
class sweep {
 public:
  using clock = std::chrono::steady_clock;

  /// What nothing names for `kept` goes: that has to be longer than a deployment may take, which
  /// writes the image before the record. All must outlive this.
  sweep(store::client& on, const catalogue& of, std::chrono::seconds kept)
      : store_(on), catalogue_(of), kept_(kept) {}

  /// Looks for it, of one tenant after the other; call it every second.
  void run() {
    if (is_asking_ && clock::now() - asked_ < std::chrono::minutes(1)) return;
    if (waiting_.empty()) {
      if (clock::now() - begun_ < kept_ / 4) return;
      begun_ = clock::now();
      waiting_ = catalogue_.tenants();
    }
    look_at_next();
  }

 private:
  void look_at_next() {
    is_asking_ = !waiting_.empty();
    asked_ = clock::now();
    if (waiting_.empty()) return;
    const std::string tenant = std::move(waiting_.back());
    waiting_.pop_back();
    store_.keys_of(store::images, tenant + ".>", [this, tenant](const auto& images) {
      store_.keys_of(store::records, store::function_key(tenant, ">"),
                     [this, tenant, images](const auto& records) {
                       is_asking_ = false;
                       if (images && records) look_at(tenant, *images, *records);
                       look_at_next();
                     });
    });
  }

  /// A function's image, or its record if `parts` is empty.
  struct place {
    std::string name, parts;
    auto operator<=>(const place&) const = default;
  };

  void look_at(const std::string& tenant, const std::vector<std::string>& images,
               const std::vector<std::string>& records) {
    std::set<place> found;
    for (const std::string& key : images) {  // T.N.PARTS.NUMBER
      const std::size_t name = tenant.size() + 1, parts = key.find('.', name) + 1;
      const std::size_t number = parts > 0 ? key.find('.', parts) : key.npos;
      if (number == key.npos) continue;
      const place each{key.substr(name, parts - 1 - name), key.substr(parts, number - parts)};
      // They become keys again, in which anything else could mean other ones.
      if (!is_name(each.name) || !is_name(each.parts)) continue;
      const auto its = catalogue_.find(tenant, each.name);
      if (its == nullptr || its->parts_name() != each.parts) found.insert(each);
    }
    for (const std::string& key : records) {
      const place each{key.substr(store::function_key(tenant, "").size()), ""};
      if (!is_name(each.name)) continue;
      if (catalogue_.find(tenant, each.name) == nullptr) found.insert(each);
    }
    auto& since = since_[tenant];
    std::erase_if(since, [&](const auto& each) { return !found.contains(each.first); });
    for (const place& each : found) {
      const auto first = since.try_emplace(each, clock::now()).first->second;
      if (clock::now() - first >= kept_) look_closer(tenant, each);
    }
    if (since.empty()) since_.erase(tenant);
  }

  /// The store itself has the last word: the catalogue may not know yet.
  void look_closer(const std::string& tenant, const place& at) {
    const std::string key = store::function_key(tenant, at.name);
    store_.read_last(
        store::records, key, [this, tenant, at, key](bool is_reached, const auto& record) {
          if (!is_reached) return;
          const bool is_mark = record && record->data.empty();
          if (at.parts.empty()) {
            if (is_mark) store_.purge(store::records, key, record->revision);
            return;
          }
          const auto its = record ? read_deployment(record->data) : std::nullopt;
          // Of a record that cannot be read, nobody knows what it names.
          if (its ? its->parts_name() == at.parts : record && !is_mark) return;
          log_event("image.swept", {{"tenant", tenant}, {"function", at.name}});
          store_.purge(store::images, store::parts_key(tenant, at.name, at.parts) + ".*");
        });
  }

  store::client& store_;
  const catalogue& catalogue_;
  const std::chrono::seconds kept_;
  bool is_asking_ = false;
  clock::time_point begun_ = clock::now(), asked_;
  std::vector<std::string> waiting_;                                 // Tenants, of this round.
  std::map<std::string, std::map<place, clock::time_point>> since_;  // By tenant.
};

}  // namespace vespid
