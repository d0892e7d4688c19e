// What is kept of a function and of a tenant, as the store has it: JSON.
// Must not know how either is stored.
// SPDX-License-Identifier: MIT
#pragma once

#include <openssl/sha.h>
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

namespace vespid {

using digest_type = std::string;  ///< SHA-256 in hexadecimal.

inline digest_type digest_of(std::string_view bytes) {
  unsigned char hash[SHA256_DIGEST_LENGTH];
  // Sound: bytes are characters.
  ::SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), hash);
  constexpr std::string_view digits = "0123456789abcdef";
  digest_type out;
  for (const unsigned char each : hash) {
    out += digits[each >> 4];
    out += digits[each & 15];
  }
  return out;
}

/// Returns whether this can name a tenant or a function: it becomes part of subjects and keys.
inline bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
}

inline bool is_digest(std::string_view text) {
  return text.size() == 2 * SHA256_DIGEST_LENGTH &&
         text.find_first_not_of("0123456789abcdef") == text.npos;
}

/// How the body of a request becomes arguments, and a result the body of the answer.
enum class calling : std::uint8_t {
  json,   ///< A list of arguments; the result.
  bytes,  ///< The body itself; `bytes<N> f(span<const byte>)`.
  sized,  ///< The same with `size_t f(span<const byte> in, span<byte> out)`.
};
NLOHMANN_JSON_SERIALIZE_ENUM(calling, {{calling::json, "json"},
                                       {calling::bytes, "bytes"},
                                       {calling::sized, "sized"}})

/// A deployed function.
struct deployment {
  static constexpr std::uint64_t max_memory = std::uint64_t{512} << 20;
  static constexpr std::chrono::milliseconds max_timeout{60'000};
  static constexpr std::size_t max_room = std::size_t{4} << 20;

  std::string kind = "image";  ///< "image" or "script", JavaScript.
  digest_type digest;          ///< Of the image or the script.
  std::string parts;           ///< Its own name in the store: no two deployments have one.
  std::uint64_t size = 0;      ///< Of the same, in bytes.
  std::string entry;           ///< The exported function; of an image.
  std::string signature;       ///< Of that, as docs/guest-abi.md has it.
  vespid::calling calling = calling::json;
  std::uint32_t timeout_ms = 1000;
  std::uint64_t memory = std::uint64_t{64} << 20;  ///< Of each machine, in bytes.
  std::uint32_t concurrency = 16;                  ///< Calls at one time on one worker.
  std::uint64_t room = std::uint64_t{32} << 10;    ///< For the result of a calling::sized.
  std::set<std::string> grants;                    ///< Of: output, clock, entropy, kv.
  std::map<std::string, std::string> environment;
  std::uint64_t revision = 0;  ///< Rises with each deployment; not in the JSON.

  [[nodiscard]] std::chrono::milliseconds timeout() const {
    return std::chrono::milliseconds(timeout_ms);
  }
  /// Returns what is wrong with it, in words; empty if nothing is.
  [[nodiscard]] std::string problem() const {
    if (kind != "image" && kind != "script") return "the kind is neither image nor script";
    if (timeout_ms < 1 || timeout() > max_timeout) return "the timeout is not 1 to 60000 ms";
    if (memory < 1 || memory > max_memory) return "the memory is not 1 byte to 512 MiB";
    if (concurrency < 1 || concurrency > 1000) return "the concurrency is not 1 to 1000";
    if (room < 1 || room > max_room) return "the room is not 1 byte to 4 MiB";
    for (const std::string& each : grants) {
      if (each != "output" && each != "clock" && each != "entropy" && each != "kv") {
        return "there is no grant " + each + "; there are output, clock, entropy and kv";
      }
    }
    if (kind == "script" && grants.contains("entropy")) return "scripts have no entropy";
    std::size_t bytes = 0;
    for (const auto& [name, value] : environment) {
      if (name.empty() || name.find_first_of(std::string_view("=\0", 2)) != name.npos ||
          value.find('\0') != value.npos) {
        return "a variable of the environment has no name, or one with =, or a zero byte";
      }
      bytes += name.size() + value.size() + 2;
    }
    if (bytes > 4096) return "the environment has more than 4096 bytes";
    if (entry.size() > max_entry || signature.size() > max_signature || !is_one_line(entry) ||
        !is_one_line(signature)) {
      return "the exported function's name or signature is none";
    }
    return "";
  }
  /// The same of one that was deployed, as the store has it.
  [[nodiscard]] std::string problem_of_record() const {
    if (!is_digest(digest)) return "the digest is none";
    if (!parts.empty() && !is_name(parts)) return "the name of its parts is none";
    return size < 1 ? "the size is no whole number from 1" : problem();
  }
  /// What is in the keys of the image: the digest, if it was deployed before it had a name.
  [[nodiscard]] const std::string& parts_name() const { return parts.empty() ? digest : parts; }

 private:
  static constexpr std::size_t max_entry = 4096, max_signature = std::size_t{64} << 10;

  static bool is_one_line(std::string_view text) {
    return std::none_of(text.begin(), text.end(),
                        [](unsigned char c) { return c < ' ' || c == 127; });
  }
};

/// Returns a whole number of a JSON object; `other` if there is none; 0, which no limit may be, if
/// it is none or does not fit.
template <class Number>
Number number_of(const nlohmann::json& from, const char* name, Number other) {
  const auto found = from.find(name);
  if (found == from.end()) return other;
  if (!found->is_number_unsigned()) return 0;
  const auto value = found->template get<std::uint64_t>();
  return value <= std::numeric_limits<Number>::max() ? static_cast<Number>(value) : 0;
}

/// Returns a text of a JSON object; empty if there is none, or if `from` is no object. For what a
/// peer has sent: nlohmann's value() throws where it finds another type.
inline std::string text_of(const nlohmann::json& from, const char* name) {
  const auto found = from.find(name);
  return found != from.end() && found->is_string() ? found->get<std::string>() : "";
}

inline void to_json(nlohmann::json& to, const deployment& from) {
  to = {{"kind", from.kind},
        {"digest", from.digest},
        {"parts", from.parts},
        {"size", from.size},
        {"entry", from.entry},
        {"signature", from.signature},
        {"calling", from.calling},
        {"timeout_ms", from.timeout_ms},
        {"memory", from.memory},
        {"concurrency", from.concurrency},
        {"room", from.room},
        {"grants", from.grants},
        {"environment", from.environment}};
}
inline void from_json(const nlohmann::json& from, deployment& to) {
  const deployment other;
  to.kind = from.value("kind", other.kind);
  to.digest = from.value("digest", other.digest);
  to.parts = from.value("parts", other.parts);
  to.size = number_of(from, "size", other.size);
  to.entry = from.value("entry", other.entry);
  to.signature = from.value("signature", other.signature);
  to.calling = from.value("calling", other.calling);
  to.timeout_ms = number_of(from, "timeout_ms", other.timeout_ms);
  to.memory = number_of(from, "memory", other.memory);
  to.concurrency = number_of(from, "concurrency", other.concurrency);
  to.room = number_of(from, "room", other.room);
  to.grants = from.value("grants", other.grants);
  to.environment = from.value("environment", other.environment);
}

/// Returns the deployment that the store has; nothing if it is none, and why.
inline std::optional<deployment> read_deployment(std::string_view record,
                                                 std::string* why = nullptr) {
  std::string wrong;
  try {
    auto out = nlohmann::json::parse(record).get<deployment>();
    wrong = out.problem_of_record();
    if (wrong.empty()) return out;
  } catch (const nlohmann::json::exception& thrown) {
    wrong = thrown.what();
  }
  if (why != nullptr) *why = std::move(wrong);
  return std::nullopt;
}

/// Adds to `to` what a worker alone can tell, as it loads the image: the function, its signature
/// and its calling. Nothing else of `checked` counts: limits, grants and environment are what the
/// owner has asked for. Returns what is wrong with it; empty if nothing is.
inline std::string add_checked(deployment& to, const nlohmann::json& checked) {
  if (!checked.is_object()) return "the answer is no JSON object";
  if (to.kind == "script") return "";
  const std::string entry = text_of(checked, "entry");
  if (entry.empty() || (!to.entry.empty() && entry != to.entry)) {
    return "the answer is about another function";
  }
  to.entry = entry;
  to.signature = text_of(checked, "signature");
  const std::string how = text_of(checked, "calling");
  if (how != "json" && how != "bytes" && how != "sized") return "the calling is none";
  to.calling = checked.at("calling").get<calling>();
  return to.problem();
}

/// A tenant: whose tokens these are, and what it may take. Tokens are kept as digests only.
struct tenant {
  digest_type owner;               ///< Token that may do everything with the tenant's functions.
  digest_type caller;              ///< Token that may only call them.
  double rate = 2000;              ///< Requests per second; twice as many may come at once.
  std::uint32_t concurrency = 64;  ///< Calls at one time through one gateway.
  std::uint32_t functions = 2000;  ///< That it may have.

  /// Returns what is wrong with it, in words; empty if nothing is.
  [[nodiscard]] std::string problem() const {
    if (!(rate > 0 && rate <= 1e9)) return "the rate is not above 0 and up to 1e9 a second";
    if (concurrency < 1) return "the concurrency is no whole number from 1";
    return functions < 1 ? "the number of functions is no whole number from 1" : "";
  }
};

inline void to_json(nlohmann::json& to, const tenant& from) {
  to = {{"owner", from.owner},
        {"caller", from.caller},
        {"rate", from.rate},
        {"concurrency", from.concurrency},
        {"functions", from.functions}};
}
inline void from_json(const nlohmann::json& from, tenant& to) {
  const tenant other;
  to.owner = from.value("owner", other.owner);
  to.caller = from.value("caller", other.caller);
  to.rate = from.value("rate", other.rate);
  to.concurrency = number_of(from, "concurrency", other.concurrency);
  to.functions = number_of(from, "functions", other.functions);
}

}  // namespace vespid
