// A function that a worker has loaded, and one call of it: from a request's body to an answer's.
// Must not know how requests and answers travel.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <guests/script.hpp>
#include <virtine/dynamic_policy.hpp>
#include <virtine/entropy.hpp>
#include <virtine/loaded_image.hpp>
#include <virtine/posix.hpp>
#include <virtine/prometheus.hpp>
#include <virtine/virtine.hpp>

#include "../../guests/run/json.hpp"
#include "../js/reply.hpp"
#include "deployment.hpp"
#include "guests/script_calls.hpp"
#include "guests/vespid.hpp"

namespace vespid {

/// What came of a call.
struct outcome {
  std::string body = {};    ///< If it succeeded.
  std::string code = {};    ///< Else why: of virtine::errc, or "script_error", "timed_out"...
  std::string detail = {};  ///< The same in words.
  std::string function = {}, file = {};  ///< Where a guest faulted, as far as known.
  std::uint32_t line = 0;
  bool is_callers_fault = false;  ///< An argument is wrong: the function did not run.

  [[nodiscard]] bool is_ok() const { return code.empty(); }
};

inline outcome failed(std::string code, std::string detail) {
  return {.code = std::move(code), .detail = std::move(detail)};
}
inline outcome failed(const virtine::error& why) {
  const std::string code = virtine::name(why.code), text = virtine::to_string(why);
  outcome out = failed(code, text.starts_with(code + ": ") ? text.substr(code.size() + 2) : text);
  if (why.fault.symbol != nullptr) out.function = why.fault.symbol;
  if (why.fault.file != nullptr) out.file = why.fault.file;
  out.line = why.fault.line;
  out.is_callers_fault =
      why.code == virtine::errc::bad_argument || why.code == virtine::errc::arguments_too_large;
  return out;
}

/// A machine that has written more pages than these, 64 MiB, is not kept. Fewer would be dear: a
/// new machine takes a fault for each page, which takes far longer than to restore one.
inline constexpr std::size_t write_set_max = 16384;

/// The values that functions keep, by tenant.
class state {
 public:
  virtual ~state() = default;
  enum class answer : std::uint8_t { ok, none, unreachable };
  virtual answer get(std::string_view key, std::string& value) = 0;
  virtual answer put(std::string_view key, std::string_view value) = 0;
};

/// What the handlers of a call's hypercalls need. They run on the thread that calls.
struct call_context {
  static constexpr std::size_t output_max = std::size_t{16} << 10;

  std::string output;              ///< What the function printed, cut off.
  vespid::state* state = nullptr;  ///< Null: not granted.
  bool may_print = false;

  void print(std::string_view text) {
    if (may_print) output.append(text.substr(0, output_max - std::min(output.size(), output_max)));
  }

  /// That of this thread's call.
  static call_context*& current() {
    static thread_local call_context* it = nullptr;
    return it;
  }
};

namespace detail {

inline auto allow_get() {
  return virtine::allow<get>([](virtine::tainted<std::string_view> key,
                                virtine::guest_buffer<char> out) -> virtine::answer<std::int64_t> {
    state* const from = call_context::current()->state;
    if (from == nullptr) return virtine::reject{};
    std::string value;
    switch (from->get(key.unverified_because("the store checks keys"), value)) {
      case state::answer::none:
        return -1;
      case state::answer::unreachable:
        return -2;
      case state::answer::ok:
        break;
    }
    out.fill(std::span<const char>(value));
    return static_cast<std::int64_t>(value.size());
  });
}
inline auto allow_put() {
  return virtine::allow<put>(
      [](virtine::tainted<std::string_view> key,
         virtine::tainted<std::string_view> value) -> virtine::answer<std::int64_t> {
        state* const to = call_context::current()->state;
        if (to == nullptr) return virtine::reject{};
        const auto done = to->put(key.unverified_because("the store checks keys"),
                                  value.unverified_because("a value is any bytes"));
        return done == state::answer::ok ? 0 : -2;
      });
}
inline auto allow_print() {
  return virtine::allow<print>([](virtine::tainted<std::string_view> text) {
    call_context& call = *call_context::current();
    call.print(text.unverified_because("it is only kept, as JSON"));
    call.print("\n");
  });
}

inline auto script_policy() {
  return virtine::policy{allow_get(), allow_put(), allow_print()};
}
using script_function =
    virtine::virtine_fn<js::reply(std::string_view, std::string_view, std::string_view,
                                  std::int64_t, std::span<char>),
                        guests::script::evaluate, decltype(script_policy())>;

inline virtine::result<virtine::dynamic_policy> policy_of(const deployment& its) {
  virtine::dynamic_policy out;
  virtine::result<void> added;
  const auto add = [&](auto grant) {
    if (added) added = out.add(std::move(grant));
  };
  if (its.grants.contains("output")) {
    add(virtine::posix::output([](std::string_view text) { call_context::current()->print(text); },
                               UINT64_MAX));
  }
  if (its.grants.contains("clock")) add(virtine::posix::clock());
  if (its.grants.contains("entropy")) add(virtine::allow_entropy());
  if (its.grants.contains("kv")) {
    add(allow_get());
    add(allow_put());
  }
  std::vector<std::string> variables;
  for (const auto& [name, value] : its.environment) variables.push_back(name + '=' + value);
  if (!variables.empty()) add(virtine::posix::environment(variables));
  add(virtine::posix::others_fail_with_enosys());
  if (!added) return added.error();
  return out;
}

/// How bodies become arguments of a function with this signature.
inline calling calling_of(const virtine::detail::call_shape& types) {
  using virtine::detail::shape_kind;
  const auto is_characters = [](const virtine::detail::shape& each) {
    if (each.kind == shape_kind::text) return true;
    if (each.kind != shape_kind::span) return false;
    const shape_kind of = each.parts[0].kind;
    return each.parts[0].room.size == 1 && (of == shape_kind::integer || of == shape_kind::natural);
  };
  const auto& given = types.arguments;
  if (given.empty() || !is_characters(given[0]) || given[0].is_output) return calling::json;
  if (given.size() == 1 && types.result.kind == shape_kind::bytes) return calling::bytes;
  const bool is_sized = given.size() == 2 && is_characters(given[1]) && given[1].is_output &&
                        types.result.kind == shape_kind::natural;
  return is_sized ? calling::sized : calling::json;
}

}  // namespace detail

/// The JavaScript engine of one thread. Each script finds it as new.
class script_engine {
 public:
  script_engine() : function_(machines_, detail::script_policy()) {}

  outcome call(const deployment& of, std::string_view script, std::string_view input,
               virtine::call_options options) {
    const std::string environment =
        nlohmann::json(of.environment)
            .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    const auto now = of.grants.contains("clock")
                         ? std::chrono::system_clock::now().time_since_epoch()
                         : std::chrono::system_clock::duration{};
    std::string out(std::min<std::size_t>(of.room, std::size_t{256} << 10), '\0');
    const auto reply =
        function_.with(std::move(options))
            .try_call(script, input.empty() ? "null" : input, environment,
                      std::chrono::duration_cast<std::chrono::microseconds>(now).count(), out);
    if (!reply) return failed(reply.error());
    if (reply->size > out.size()) return failed("result_too_large", "the result is too long");
    out.resize(static_cast<std::size_t>(reply->size));
    if (reply->what == js::outcome::value) return {.body = std::move(out)};
    if (!input.empty() && !nlohmann::json::accept(input)) {
      outcome wrong = failed("bad_argument", "the body is no JSON");
      wrong.is_callers_fault = true;
      return wrong;
    }
    // A message of NATS has to hold it, quoted.
    out.resize(std::min(out.size(), call_context::output_max));
    outcome thrown = failed("script_error", std::move(out));
    thrown.line = static_cast<std::uint32_t>(std::max(0, reply->line));
    return thrown;
  }

  [[nodiscard]] virtine::pool_stats stats() const { return machines_.stats(); }

 private:
  virtine::pool<guests::script> machines_{{.max = 1, .write_set_max = write_set_max}};
  detail::script_function function_;
};

/// A function in one revision, loaded. Each thread that calls has a machine of its own: one that
/// goes from thread to thread makes the kernel wait.
class loaded_function {
 public:
  /// Loads the function. Fails, with what to tell its owner, if `bytes` are no image. `threads` may
  /// call.
  static std::variant<std::shared_ptr<loaded_function>, outcome> load(deployment its,
                                                                      std::string bytes,
                                                                      std::size_t threads) {
    auto out = std::shared_ptr<loaded_function>(new loaded_function(std::move(its)));
    out->kept_ = 2 * bytes.size();  // What was read, and the machines' own form of it.
    if (out->its_.kind == "script") {
      out->script_ = std::move(bytes);
      return out;
    }
    auto image = virtine::load_any_image(
        std::as_bytes(std::span(bytes)),
        {.max_memory = out->its_.memory, .initialiser_timeout = out->its_.timeout()});
    if (!image) return failed(image.error());
    if (auto wrong = std::visit([&](auto& each) { return out->take(each, threads); }, *image)) {
      return *wrong;
    }
    return out;
  }

  [[nodiscard]] const deployment& its() const { return its_; }

  /// Makes a machine that nobody keeps. Fails if the image lacks what was asked for, or wants what
  /// is not granted, or if its initialiser fails.
  [[nodiscard]] std::optional<outcome> try_out() const {
    if (!make_) return std::nullopt;
    std::unique_ptr<machines> place;
    auto made = make_(place);
    if (!made) return failed(made.error());
    auto warm = place->warm_up();
    return warm ? std::nullopt : std::optional(failed(warm.error()));
  }

  /// Calls it on thread number `thread`. `engine` is that thread's.
  outcome call(std::size_t thread, script_engine& engine, std::string_view body,
               const virtine::call_options& options) {
    if (its_.kind == "script") return engine.call(its_, script_, body, options);
    auto& mine = functions_[thread];
    if (!mine) {
      auto made = make_(machines_[thread]);
      if (!made) return failed(made.error());
      mine.emplace(*std::move(made));
      shown_[thread] = machines_[thread].get();
    }
    virtine::call_usage used;
    virtine::call_options counting = options;
    if (counting.usage == nullptr) counting.usage = &used;
    outcome out = call_on(mine->with(counting), body);
    note_kept(thread, *counting.usage, out.is_ok() || out.is_callers_fault);
    return out;
  }

  /// Returns the bytes that it keeps between calls, by a guess that is rather too high. It knows
  /// nothing of pages that were only read, or that an initialiser wrote.
  [[nodiscard]] std::uint64_t kept() const { return kept_; }
  /// Returns the bytes of memory that a machine of its image has.
  [[nodiscard]] std::uint64_t size() const { return size_; }

  [[nodiscard]] virtine::pool_stats stats() const {
    virtine::pool_stats sum;
    for (const auto& each : shown_) {
      const machines* const found = each;
      if (found == nullptr) continue;
      const virtine::pool_stats its = found->stats();
      sum.machines += its.machines;
      sum.idle += its.idle;
      sum.created += its.created;
      sum.discarded += its.discarded;
      sum.forgotten += its.forgotten;
      sum.waits += its.waits;
    }
    return sum;
  }

 private:
  // Of either kind of machine.
  struct machines {
    virtual ~machines() = default;
    [[nodiscard]] virtual virtine::pool_stats stats() const = 0;
    [[nodiscard]] virtual virtine::result<void> warm_up() = 0;
  };
  template <class Machine>
  struct machines_of : machines {
    explicit machines_of(const virtine::basic_loaded_image<Machine>& image)
        : pool(image, {.max = 1, .write_set_max = write_set_max}) {}
    [[nodiscard]] virtine::pool_stats stats() const override { return pool.stats(); }
    [[nodiscard]] virtine::result<void> warm_up() override { return pool.warm_up(1); }
    virtine::loaded_pool<Machine> pool;
  };

  explicit loaded_function(deployment its) : its_(std::move(its)) {}

  template <class Machine>
  std::optional<outcome> take(const virtine::basic_loaded_image<Machine>& image,
                              std::size_t threads) {
    const auto exports = image.exports();
    if (its_.entry.empty() && exports.size() == 1) its_.entry = exports[0].name;
    if (its_.entry.empty()) {
      return failed("image_refused", "the image exports several functions; say which by --export");
    }
    const auto found = std::find_if(exports.begin(), exports.end(),
                                    [&](const auto& each) { return each.name == its_.entry; });
    if (found != exports.end()) {
      const auto types = virtine::detail::read_signature(found->signature);
      its_.signature = found->signature;
      if (types) its_.calling = detail::calling_of(*types);
    }
    if (its_.calling == calling::sized && its_.room > image.description().arguments_size) {
      return failed("image_refused",
                    "the room for a result is more than the image has for "
                    "arguments; compile it with a larger --arguments");
    }
    auto policy = detail::policy_of(its_);
    if (!policy) return failed(policy.error());
    for (const std::uint32_t number :
         found != exports.end() ? found->imports : std::span<const std::uint32_t>()) {
      if (policy->allows(number)) continue;
      const bool is_value = number == get::number || number == put::number;
      if (is_value) return failed("image_refused", its_.entry + " keeps values; grant it kv");
      if (number == virtine::entropy::number) {
        return failed("image_refused", its_.entry + " asks for random bytes; grant it entropy");
      }
    }
    make_ = [image, name = its_.entry, policy = *policy](std::unique_ptr<machines>& place) {
      auto made = std::make_unique<machines_of<Machine>>(image);
      auto function = image.dynamic(name, made->pool, policy);
      place = std::move(made);
      return function;
    };
    const virtine::image_description& described = image.description();
    size_ = described.memory_size + described.arguments_size + described.stack_size;
    for (const virtine::segment& each : described.segments) size_ += each.memory_size;
    if (std::is_same_v<Machine, virtine::bare_machine>) {
      bare_memory_ = 2 * described.memory_size;  // Its own, and how it began.
    }
    machines_.resize(threads);
    shown_ = std::vector<std::atomic<const machines*>>(threads);
    kept_by_.resize(threads);
    functions_.resize(threads);
    return std::nullopt;
  }

  [[nodiscard]] outcome call_on(const virtine::dynamic_function& function,
                                std::string_view body) const {
    switch (its_.calling) {
      case calling::bytes:
        return call_with_bytes(function, body);
      case calling::sized:
        return call_sized(function, body);
      case calling::json:
        break;
    }
    return call_with_json(function, body);
  }

  /// After a call on thread number `thread`; one that failed leaves no machine.
  void note_kept(std::size_t thread, const virtine::call_usage& used, bool has_machine) {
    // What was written and put back as it was does not count as written, but takes memory: as many
    // pages as a trap makes writable at most.
    constexpr std::uint64_t page = 4096, pages_of_trap = 32;
    std::uint64_t& mine = kept_by_[thread];
    const std::uint64_t before = mine;
    if (bare_memory_ != 0) {
      mine = has_machine ? bare_memory_ : 0;
    } else if (!has_machine || used.pages_written > write_set_max) {
      mine = 0;
    } else {
      mine = std::max(mine + used.traps * pages_of_trap * page, used.pages_written * page);
      mine = std::min(mine, write_set_max * page);
    }
    kept_ += mine - before;
  }

  [[nodiscard]] outcome call_with_bytes(const virtine::dynamic_function& function,
                                        std::string_view body) const {
    virtine::value given = virtine::value::bytes(std::as_bytes(std::span(body)));
    const auto result = function.try_call(std::span(&given, 1));
    if (!result) return failed(result.error());
    const auto bytes = result->as<std::span<const std::byte>>();
    // Sound: bytes are characters.
    return {.body = {reinterpret_cast<const char*>(bytes->data()), bytes->size()}};
  }

  [[nodiscard]] outcome call_sized(const virtine::dynamic_function& function,
                                   std::string_view body) const {
    std::vector<std::byte> room(its_.room);
    std::vector<virtine::value> given;
    given.push_back(virtine::value::bytes(std::as_bytes(std::span(body))));
    given.emplace_back(std::move(room));
    const auto result = function.try_call(std::span(given));
    if (!result) return failed(result.error());
    const auto size = result->as<std::uint64_t>();
    const auto out = given[1].as<std::span<const std::byte>>();
    if (!size || *size > out->size()) {
      return failed("result_too_large", "the result has " + std::to_string(size.value_or(0)) +
                                            " bytes; deploy with --room for more than " +
                                            std::to_string(its_.room));
    }
    return {.body = {reinterpret_cast<const char*>(out->data()), static_cast<std::size_t>(*size)}};
  }

  [[nodiscard]] static outcome call_with_json(const virtine::dynamic_function& function,
                                              std::string_view body) {
    json::reader reader(body.empty() ? "[]" : body);
    auto read = reader.read();
    const auto list = read ? read->as<std::span<const virtine::value>>() : std::nullopt;
    if (!list) {
      outcome out = failed("bad_argument",
                           read ? "the body has to be a list of the arguments" : reader.problem());
      out.is_callers_fault = true;
      return out;
    }
    std::vector<virtine::value> given(list->begin(), list->end());
    const auto result = function.try_call(std::span(given));
    if (!result) return failed(result.error());
    const auto types = virtine::detail::read_signature(function.signature());
    outcome out;
    const bool has_outputs = std::any_of(types->arguments.begin(), types->arguments.end(),
                                         [](const auto& each) { return each.is_output; });
    if (!has_outputs) {
      json::append(out.body, *result);
      return out;
    }
    out.body = "{\"result\": ";
    json::append(out.body, *result);
    out.body += ", \"outputs\": [";
    const char* between = "";
    for (std::size_t i = 0; i < given.size(); ++i) {
      if (!types->arguments[i].is_output) continue;
      out.body += std::exchange(between, ", ");
      json::append(out.body, given[i]);
    }
    out.body += "]}";
    return out;
  }

  deployment its_;
  std::string script_;
  std::function<virtine::result<virtine::dynamic_function>(std::unique_ptr<machines>&)> make_;
  std::atomic<std::uint64_t> kept_ = 0;
  std::uint64_t size_ = 0;
  std::uint64_t bare_memory_ = 0;  // Of each of its machines, if they are bare.
  // One for each thread, which alone touches its own.
  std::vector<std::unique_ptr<machines>> machines_;
  std::vector<std::atomic<const machines*>> shown_;  // The same, for any thread, once it is made.
  std::vector<std::uint64_t> kept_by_;
  std::vector<std::optional<virtine::dynamic_function>> functions_;  // On these.
};

}  // namespace vespid
