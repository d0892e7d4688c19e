// Where things are in NATS: subjects, streams and buckets; and how an image is read and written.
// Nothing here is Vespid's own replication: a bucket is a JetStream stream.
// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "deployment.hpp"
#include "nats.hpp"

namespace vespid::store {

inline constexpr const char* records = "vespid-records";  ///< Keys: function.T.N and tenant.T.
inline constexpr const char* images = "vespid-images";    ///< Keys: T.N.PARTS.NUMBER.
inline constexpr const char* logs = "vespid-logs";        ///< Stream of what functions print.

inline constexpr const char* calls = "vespid.call.";    ///< + T.N, for calls that somebody awaits.
inline constexpr const char* checks = "vespid.check.";  ///< + T.N, before a function is deployed.
inline constexpr const char* queued = "vespid.durable.";  ///< + T.N
inline constexpr const char* work = "vespid.work";        ///< Where durable calls are delivered.
inline constexpr const char* printed = "vespid.log.";     ///< + T.N
inline constexpr const char* workers = "workers";         ///< The queue group of all workers.

/// A message has a megabyte at most, unless the server's configuration says otherwise.
inline constexpr std::size_t part_size = std::size_t{512} << 10;

inline std::string function_key(std::string_view tenant, std::string_view name) {
  return "function." + std::string(tenant) + '.' + std::string(name);
}
inline std::string parts_key(std::string_view tenant, std::string_view name,
                             std::string_view parts) {
  return std::string(tenant) + '.' + std::string(name) + '.' + std::string(parts);
}
inline std::string image_key(std::string_view tenant, std::string_view name, const deployment& of,
                             std::size_t part) {
  return parts_key(tenant, name, of.parts_name()) + '.' + std::to_string(part);
}
inline std::size_t parts_of(std::uint64_t size) {
  return (size + part_size - 1) / part_size;
}
// Each tenant has its own of these, so that one cannot fill what others need.
inline std::string state_bucket(std::string_view tenant) {
  return "vespid-kv-" + std::string(tenant);
}
inline std::string results_bucket(std::string_view tenant) {  ///< Keys: ID.
  return "vespid-results-" + std::string(tenant);
}
inline std::string durable_stream(std::string_view tenant) {  ///< Of calls; a work queue.
  return "vespid-durable-" + std::string(tenant);
}
/// The subject that a key of a bucket is.
inline std::string subject_of(std::string_view bucket, std::string_view key) {
  return "$KV." + std::string(bucket) + '.' + std::string(key);
}

/// Times and sizes that all gateways of an installation have in common.
struct retention {
  int replicas = 1;
  std::int64_t images_max = std::int64_t{1} << 30;    ///< Of all; a quarter of it of one tenant.
  std::int64_t durable_max = std::int64_t{64} << 20;  ///< Of each tenant's calls; of its results.
  std::int64_t state_max = std::int64_t{64} << 20;    ///< Of each tenant's values.
  std::chrono::seconds results_kept{3600};
  std::chrono::seconds duplicates_known{600};    ///< How long an idempotency key means one call.
  std::chrono::milliseconds redelivery{62'000};  ///< Longer than any call may take.
  std::chrono::seconds unnamed_kept{900};  ///< Parts of images; longer than deploying may take.
};

inline void add_bucket(jsCtx* js, const std::string& name, const retention& of,
                       std::int64_t max_bytes, std::chrono::seconds kept = {}) {
  if (kvStore* found = nullptr; js_KeyValue(&found, js, name.c_str()) == NATS_OK) {
    kvStore_Destroy(found);
    return;
  }
  kvConfig config;
  kvConfig_Init(&config);
  config.Bucket = name.c_str();
  config.History = 1;
  config.Replicas = of.replicas;
  config.MaxBytes = max_bytes;
  config.TTL = std::chrono::nanoseconds(kept).count();
  kvStore* made = nullptr;
  nats::check(js_CreateKeyValue(&made, js, &config), ("making the bucket " + name).c_str());
  kvStore_Destroy(made);
}

inline void add_stream(jsCtx* js, jsStreamConfig& config) {
  jsErrCode why{};
  const natsStatus made = js_AddStream(nullptr, js, &config, nullptr, &why);
  if (made != NATS_OK && why != JSStreamNameExistErr) nats::check(made, config.Name);
}

/// Makes what is not there yet. Several gateways may do so at one time.
inline void add_all(jsCtx* js, const retention& of) {
  add_bucket(js, records, of, std::int64_t{256} << 20);
  add_bucket(js, images, of, of.images_max);
  jsStreamConfig config;
  jsStreamConfig_Init(&config);
  const char* subject = "vespid.log.>";
  config.Name = logs;
  config.Subjects = &subject;
  config.SubjectsLen = 1;
  config.MaxMsgsPerSubject = 64;
  config.MaxBytes = std::int64_t{64} << 20;
  config.MaxAge = std::chrono::nanoseconds(std::chrono::hours(24)).count();
  config.Replicas = of.replicas;
  add_stream(js, config);
}

/// Makes what a tenant needs: its buckets, and the stream and consumer of its durable calls, so
/// that NATS gives every tenant's calls to workers side by side.
inline void add_tenant(jsCtx* js, const std::string& name, const retention& of) {
  add_bucket(js, state_bucket(name), of, of.state_max);
  add_bucket(js, results_bucket(name), of, of.durable_max, of.results_kept);
  const std::string calls_of_it = durable_stream(name);
  const std::string subjects = queued + name + ".>";
  const char* subject = subjects.c_str();
  jsStreamConfig stream;
  jsStreamConfig_Init(&stream);
  stream.Name = calls_of_it.c_str();
  stream.Subjects = &subject;
  stream.SubjectsLen = 1;
  stream.Retention = js_WorkQueuePolicy;
  stream.Discard = js_DiscardNew;  // Who calls is told; nothing that was accepted is lost.
  stream.MaxBytes = of.durable_max;
  stream.Replicas = of.replicas;
  stream.Duplicates = std::chrono::nanoseconds(of.duplicates_known).count();
  add_stream(js, stream);
  jsConsumerConfig config;
  jsConsumerConfig_Init(&config);
  const std::string consumer = "tenant-" + name;
  config.Durable = consumer.c_str();
  config.DeliverSubject = work;
  config.DeliverGroup = workers;
  config.AckPolicy = js_AckExplicit;
  config.AckWait = std::chrono::nanoseconds(of.redelivery).count();
  config.MaxAckPending = 16;
  jsErrCode why{};
  const natsStatus made = js_AddConsumer(nullptr, js, calls_of_it.c_str(), &config, nullptr, &why);
  if (made != NATS_OK && why != JSConsumerNameExistErr && why != JSConsumerExistingActiveErr) {
    nats::check(made, consumer.c_str());
  }
}

/// Reads the image or script of a function. Nothing if it is not there as it was deployed. Throws
/// if the store cannot be reached.
inline std::optional<std::string> read_image(kvStore* from, std::string_view tenant,
                                             std::string_view name, const deployment& of) {
  // Of several servers one answers that may not have yet what was stored a moment ago.
  const auto patience = std::chrono::steady_clock::now() + std::chrono::milliseconds(250);
  std::string out;
  for (std::size_t part = 0; part < parts_of(of.size); ++part) {
    kvEntry* found = nullptr;
    const std::string key = image_key(tenant, name, of, part);
    natsStatus got = kvStore_Get(&found, from, key.c_str());
    while (got == NATS_NOT_FOUND && std::chrono::steady_clock::now() < patience) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      got = kvStore_Get(&found, from, key.c_str());
    }
    if (got == NATS_NOT_FOUND) return std::nullopt;
    nats::check(got, "the store of images");
    const nats::entry kept(found);
    out.append(static_cast<const char*>(kvEntry_Value(found)),
               static_cast<std::size_t>(kvEntry_ValueLen(found)));
    if (out.size() > of.size) return std::nullopt;
  }
  if (digest_of(out) != of.digest) return std::nullopt;
  return out;
}

}  // namespace vespid::store
