// What a gateway asks the store, from its epoll loop: JetStream's API, each answer by a callback.
// An answer of another form is none.
// SPDX-License-Identifier: MIT
#pragma once

#include <openssl/evp.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "deployment.hpp"
#include "log.hpp"
#include "nats.hpp"
#include "requests.hpp"
#include "store.hpp"

namespace vespid::store {

inline constexpr std::chrono::milliseconds patience{3000};

inline std::string decode_base64(const std::string& text) {
  std::string out(text.size() / 4 * 3 + 1, '\0');
  // Sound: bytes are characters.
  const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                   reinterpret_cast<const unsigned char*>(text.data()),
                                   static_cast<int>(text.size()));
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  out.resize(size < 0 ? 0 : static_cast<std::size_t>(size) - padding);
  return out;
}

/// Returns an answer; an empty object if none came.
inline nlohmann::json parsed(const nats::message& reply) {
  if (reply == nullptr) return nlohmann::json::object();
  auto out = nlohmann::json::parse(nats::data_of(reply), nullptr, false);
  return out.is_object() ? out : nlohmann::json::object();
}

/// Says whether the store has taken what was published. A refusal has a number, too: 0.
inline bool is_stored(const nlohmann::json& answer) {
  return !answer.contains("error") && number_of(answer, "seq", std::uint64_t{0}) > 0;
}
inline bool is_duplicate(const nlohmann::json& answer) {
  const auto found = answer.find("duplicate");
  return found != answer.end() && *found == true;
}
/// Says whether it has not, as there is another value by now than the one that was expected.
inline bool is_overtaken(const nlohmann::json& answer) {
  constexpr unsigned wrong_last_sequence = 10071;
  return answer.contains("error") &&
         number_of(answer["error"], "err_code", 0U) == wrong_last_sequence;
}
/// The header that has something stored only if `revision` is the last of its subject; 0: none is.
inline std::pair<const char*, std::string> expecting(std::uint64_t revision) {
  return {"Nats-Expected-Last-Subject-Sequence", std::to_string(revision)};
}

class client {
 public:
  explicit client(nats::requests& on) : requests_(on) {}

  struct value {
    std::string data;
    std::uint64_t revision = 0;
  };
  /// Reads the last value of a key: whether the store answered, and the value if there is one.
  void read_last(const std::string& bucket, const std::string& key,
                 std::function<void(bool, std::optional<value>)> done) {
    requests_.ask("$JS.API.STREAM.MSG.GET.KV_" + bucket,
                  to_text({{"last_by_subj", subject_of(bucket, key)}}), {}, patience,
                  [done = std::move(done)](const nats::message& reply) {
                    const auto answer = parsed(reply);
                    if (answer.contains("message")) {
                      const auto& found = answer["message"];
                      return done(true, value{decode_base64(text_of(found, "data")),
                                              number_of(found, "seq", std::uint64_t{0})});
                    }
                    const bool is_missing =
                        answer.contains("error") && number_of(answer["error"], "code", 0U) == 404;
                    done(is_missing, std::nullopt);
                  });
  }

  /// Removes all values of the keys that `filter` is, so that nothing stays; of one key those up to
  /// `revision`, if that is given. Who watches the bucket is not told.
  void purge(const std::string& bucket, const std::string& filter, std::uint64_t revision = 0) {
    nlohmann::json what{{"filter", subject_of(bucket, filter)}};
    if (revision > 0) what["seq"] = revision + 1;
    requests_.ask("$JS.API.STREAM.PURGE.KV_" + bucket, to_text(what), {}, patience,
                  [](const nats::message&) {});
  }

  /// Reads which keys there are, of those that `filter` is; nothing if the store did not answer.
  void keys_of(const std::string& bucket, const std::string& filter,
               std::function<void(std::optional<std::vector<std::string>>)> done) {
    requests_.ask(
        "$JS.API.STREAM.INFO.KV_" + bucket,
        to_text({{"subjects_filter", subject_of(bucket, filter)}}), {}, patience,
        [prefix = subject_of(bucket, ""), done = std::move(done)](const nats::message& reply) {
          const auto answer = parsed(reply);
          if (!answer.contains("state")) return done(std::nullopt);
          std::vector<std::string> out;
          const auto found = answer["state"].find("subjects");
          if (found != answer["state"].end() && found->is_object()) {
            for (const auto& [subject, count] : found->items()) {
              if (subject.starts_with(prefix)) out.push_back(subject.substr(prefix.size()));
            }
          }
          done(std::move(out));
        });
  }

 private:
  nats::requests& requests_;
};

}  // namespace vespid::store
