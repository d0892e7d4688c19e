// vespid-worker: takes calls from NATS and runs each in a virtine. Any number of them, on any
// machines, make one installation.
// Run: vespid-worker --config vespid.json
// SPDX-License-Identifier: MIT
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "breaker.hpp"
#include "catalogue.hpp"
#include "fair_queue.hpp"
#include "http_server.hpp"
#include "invocation.hpp"
#include "kept_memory.hpp"
#include "log.hpp"
#include "metrics.hpp"
#include "nats.hpp"
#include "settings.hpp"
#include "store.hpp"

namespace {

using namespace vespid;
using steady = std::chrono::steady_clock;

constexpr int no_kvm_status = 77;

/// A tenant's values, in its bucket.
class bucket_state : public state {
 public:
  /// Null: it cannot be reached.
  explicit bucket_state(kvStore* its) : its_(its) {}

  answer get(std::string_view key, std::string& value) override {
    if (its_ == nullptr || !is_key(key)) return answer::unreachable;
    kvEntry* found = nullptr;
    const natsStatus got = kvStore_Get(&found, its_, std::string(key).c_str());
    if (got == NATS_NOT_FOUND) return answer::none;
    if (got != NATS_OK) return answer::unreachable;
    const nats::entry kept(found);
    value.assign(static_cast<const char*>(kvEntry_Value(found)),
                 static_cast<std::size_t>(kvEntry_ValueLen(found)));
    return answer::ok;
  }
  answer put(std::string_view key, std::string_view value) override {
    if (its_ == nullptr || !is_key(key)) return answer::unreachable;
    const natsStatus done = kvStore_Put(nullptr, its_, std::string(key).c_str(), value.data(),
                                        static_cast<int>(value.size()));
    return done == NATS_OK ? answer::ok : answer::unreachable;
  }

 private:
  // As NATS has them; part of a subject, so a wildcard in one would be other keys.
  static bool is_key(std::string_view key) {
    return !key.empty() && key.size() <= 200 && key.front() != '.' && key.back() != '.' &&
           key.find("..") == key.npos && std::all_of(key.begin(), key.end(), [](unsigned char c) {
             return std::isalnum(c) != 0 || c == '-' || c == '/' || c == '_' || c == '=' ||
                    c == '.';
           });
  }

  kvStore* its_;
};

/// A function on this worker: what is loaded of it, and what it did.
struct function_slot {
  std::mutex loading;  // Held while the function is loaded, so that one thread does it. First.
  std::mutex mutex;    // Of all below. Nobody waits for anything while holding it.
  std::shared_ptr<loaded_function> loaded;
  std::uint64_t revision = 0;
  vespid::breaker breaker;
  steady::time_point used{};
  steady::time_point log_second{};
  unsigned logged = 0;  // In that second.

  std::uint64_t calls = 0, cold = 0;
  std::map<std::string, std::uint64_t> failures;  // By code.
  std::chrono::nanoseconds guest_time{0};
  histogram run_time;
};

struct job {
  nats::message message;
  std::string function;
  steady::time_point deadline;
};

/// Adds a call's memory to that of all as long as it runs.
class running_memory {
 public:
  running_memory(std::atomic<std::uint64_t>& of_all, std::uint64_t its) : all_(of_all), its_(its) {
    all_ += its_;
  }
  running_memory(const running_memory&) = delete;
  running_memory& operator=(const running_memory&) = delete;
  ~running_memory() { all_ -= its_; }

 private:
  std::atomic<std::uint64_t>& all_;
  const std::uint64_t its_;
};

class worker {
 public:
  worker(const nlohmann::json& all, const nlohmann::json& its)
      : slots_(whole_number_of(its, "slots", 2 * std::max(1U, std::thread::hardware_concurrency()),
                               1, 1000)),
        idle_(its.value("idle_seconds", 60)),
        max_loaded_(its.value("max_loaded", std::size_t{256})),
        // Each thread has a machine for scripts, which it keeps.
        kept_max_(
            std::uint64_t{whole_number_of(
                its, "kept_mib", 1024 + 64 * (static_cast<unsigned>(slots_) + 1), 32, 1U << 30)}
            << 20),
        blocking_(nats::connect(nats_of(all, "vespid-worker-store"))),
        jetstream_(nats::jetstream_of(blocking_)),
        epoll_(::epoll_create1(EPOLL_CLOEXEC)),
        wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        queue_({.running = slots_,
                .running_of_tenant =
                    std::max<std::size_t>(1, slots_ - std::max<std::size_t>(1, slots_ / 4)),
                .waiting_of_tenant = its.value("waiting", std::size_t{64})}) {
    kvStore* bucket = nullptr;
    nats::check(js_KeyValue(&bucket, jetstream_.get(), store::images), store::images);
    images_.reset(bucket);
    catalogue_ = std::make_unique<catalogue>(blocking_);
    epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.u64 = wake_tag}};
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event);
    connection_ = std::make_unique<nats::event_connection>(nats_of(all, "vespid-worker"),
                                                           epoll_.get(), nats_tag);
    // A server whose disk is full no longer reads from who writes to its store. Calls go on.
    log_connection_ = std::make_unique<nats::event_connection>(nats_of(all, "vespid-worker-log"),
                                                               epoll_.get(), log_tag);
    subscriptions_.push_back(
        connection_->subscribe(std::string(store::calls) + ">", store::workers));
    subscriptions_.push_back(
        connection_->subscribe(std::string(store::checks) + ">", store::workers));
    subscriptions_.push_back(connection_->subscribe(store::work, store::workers));
    // One more than may run calls: it tells others that the worker is busy.
    running_threads_ = static_cast<int>(slots_) + 1;
    for (std::size_t i = 0; i <= slots_; ++i) threads_.emplace_back([this, i] { serve(i); });
    log_event("worker.ready", {{"slots", slots_}, {"functions", catalogue_->size()}});
  }
  worker(const worker&) = delete;
  worker& operator=(const worker&) = delete;

  /// Takes no more calls, and returns when those that were taken are done.
  ~worker() {
    {
      const std::lock_guard lock(intake_);
      for (const auto& each : subscriptions_) natsSubscription_Unsubscribe(each.get());
      connection_->publish("vespid.worker.ends", "");  // Which sends what is before it, too.
    }
    while (!is_idle() || running_threads_ > 0) {
      if (is_idle()) may_end_ = true;
      wake();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    threads_.clear();
    log_event("worker.ended");
  }

  /// Forgets what was not called for long, or keeps too much; call it every second. Lets go of one
  /// loaded function at a time, because calls are slow meanwhile, and returns whether there are
  /// more.
  bool tidy() {
    {
      const std::unique_lock lock(functions_mutex_);
      std::erase_if(functions_, [&](const auto& each) {
        const std::size_t dot = each.first.find('.');
        return catalogue_->find(each.first.substr(0, dot), each.first.substr(dot + 1)) == nullptr;
      });
    }
    auto loaded = all_loaded();
    std::sort(loaded.begin(), loaded.end(),
              [](const auto& a, const auto& b) { return a.used > b.used; });
    const auto now = steady::now();
    for (std::size_t i = loaded.size(); i-- > 0;) {
      if (i < max_loaded_ && now - loaded[i].used < idle_) break;
      if (let_go(*loaded[i].slot)) return true;
    }
    return make_room(1);
  }

  std::string metrics() {
    std::string out;
    std::map<std::string, std::shared_ptr<function_slot>> all;
    {
      const std::shared_lock lock(functions_mutex_);
      all = {functions_.begin(), functions_.end()};
    }
    append_head(out, "vespid_worker_slots", "gauge", "Calls that may run at one time.");
    out += "vespid_worker_slots " + std::to_string(slots_) + '\n';
    {
      const std::lock_guard lock(queue_mutex_);
      append_head(out, "vespid_worker_running", "gauge", "Calls that run.");
      out += "vespid_worker_running " + std::to_string(queue_.running()) + '\n';
      append_head(out, "vespid_worker_waiting", "gauge", "Calls that wait for a slot.");
      out += "vespid_worker_waiting " + std::to_string(queue_.waiting()) + '\n';
    }
    append_head(out, "vespid_worker_memory_bytes", "gauge", "Memory that the worker takes.");
    out += "vespid_worker_memory_bytes " + std::to_string(memory_use()) + '\n';
    append_head(out, "vespid_worker_kept_max_bytes", "gauge", "Of it, what it keeps at most.");
    out += "vespid_worker_kept_max_bytes " + std::to_string(kept_max_) + '\n';
    append_head(out, "vespid_worker_refused_total", "counter", "Calls sent back as it was busy.");
    out += "vespid_worker_refused_total " + std::to_string(refused_.load()) + '\n';
    std::map<std::string, std::string> rows;
    std::vector<virtine::named_stats> pools;
    for (const auto& [key, each] : all) {
      const std::lock_guard lock(each->mutex);
      const std::size_t dot = key.find('.');
      const std::string labels =
          label("tenant", key.substr(0, dot)) + ',' + label("function", key.substr(dot + 1));
      rows["calls"] += "vespid_calls_total{" + labels + "} " + std::to_string(each->calls) + '\n';
      rows["cold"] += "vespid_cold_total{" + labels + "} " + std::to_string(each->cold) + '\n';
      rows["guest"] += "vespid_guest_seconds_total{" + labels + "} " +
                       std::to_string(std::chrono::duration<double>(each->guest_time).count()) +
                       '\n';
      rows["stopped"] +=
          "vespid_stopped{" + labels + "} " + (each->breaker.is_stopped() ? "1" : "0") + '\n';
      for (const auto& [code, count] : each->failures) {
        rows["failures"] += "vespid_failures_total{" + labels + ',' + label("code", code) + "} " +
                            std::to_string(count) + '\n';
      }
      each->run_time.append(rows["time"], "vespid_call_seconds", labels);
      if (each->loaded != nullptr) pools.push_back({key, each->loaded->stats()});
    }
    const auto section = [&](const char* row, const char* name, const char* kind,
                             const char* help) {
      append_head(out, name, kind, help);
      out += rows[row];
    };
    section("calls", "vespid_calls_total", "counter", "Calls that ran.");
    section("cold", "vespid_cold_total", "counter", "Those that had to load the function.");
    section("guest", "vespid_guest_seconds_total", "counter", "Time in guests.");
    section("failures", "vespid_failures_total", "counter", "Calls that failed, by reason.");
    section("stopped", "vespid_stopped", "gauge", "Whether a function is stopped: it only fails.");
    section("time", "vespid_call_seconds", "histogram", "Time of calls on the worker.");
    return out + virtine::to_prometheus(pools);
  }

 private:
  static constexpr int log_backlog_max = 1 << 20;
  /// How often a durable call is begun again, as far as is known, before an error is its result.
  static constexpr unsigned runs_max = 20;
  static constexpr std::size_t headers_max = 1024;  ///< Of a message that stores a result.
  static constexpr std::uint64_t nats_tag = 1, wake_tag = 2, log_tag = 3;

  void wake() {
    const std::uint64_t one = 1;
    static_cast<void>(::write(wake_.get(), &one, sizeof one));
  }

  bool is_idle() {
    const std::lock_guard lock(queue_mutex_);
    return queue_.running() == 0 && queue_.waiting() == 0;
  }

  struct loaded_slot {
    std::string tenant;
    std::shared_ptr<function_slot> slot;
    steady::time_point used;
    std::uint64_t kept = 0, size = 0;
  };
  std::vector<loaded_slot> all_loaded() {
    std::vector<loaded_slot> out;
    const std::shared_lock lock(functions_mutex_);
    for (const auto& [key, each] : functions_) {
      const std::lock_guard own(each->mutex);
      if (each->loaded == nullptr) continue;
      out.push_back({.tenant = key.substr(0, key.find('.')),
                     .slot = each,
                     .used = each->used,
                     .kept = each->loaded->kept(),
                     .size = each->loaded->size()});
    }
    return out;
  }

  /// Forgets what is loaded of a function. Calls under way keep it; if there are none, it ends
  /// here.
  static bool let_go(function_slot& of) {
    std::unique_lock lock(of.mutex);
    auto gone = std::move(of.loaded);
    lock.unlock();
    return std::exchange(gone, nullptr) != nullptr;
  }

  /// Lets go of up to `most` functions, as long as the worker keeps more than it may. Returns
  /// whether it still does, and there was something to let go of.
  bool make_room(std::size_t most) {
    const std::unique_lock only(making_room_, std::try_to_lock);
    if (!only) return false;
    for (;; --most) {
      room_made_ = steady::now();
      const std::uint64_t running = running_memory_.load(), use = memory_use();
      if (use <= kept_max_ + running) return false;
      const auto loaded = all_loaded();
      if (loaded.empty() || most == 0) return !loaded.empty();
      std::vector<kept_function> kept;
      for (const loaded_slot& each : loaded) {
        kept.push_back({each.tenant, each.kept, each.size, room_made_.load() - each.used});
      }
      let_go(*loaded[first_to_go(kept, use - running)].slot);
    }
  }

  void serve(std::size_t number) {
    script_engine engine;
    while (!may_end_) {
      epoll_event event{};
      const int got = ::epoll_wait(epoll_.get(), &event, 1, 1000);
      connection_->flush();
      log_connection_->flush();
      if (got == 1 && event.data.u64 == nats_tag) take_in();
      if (got == 1 && event.data.u64 == log_tag) {
        log_connection_->read();
        log_connection_->rearm();
      }
      if (got == 1 && event.data.u64 == wake_tag) {
        std::uint64_t count = 0;
        static_cast<void>(::read(wake_.get(), &count, sizeof count));
      }
      while (auto next = take()) {
        run(number, engine, *next);
        {
          const std::lock_guard lock(queue_mutex_);
          queue_.done(next->tenant, next->group);
        }
        // To look takes as long as a call, or more.
        const auto looked = room_made_.load();
        if (has_grown_ && steady::now() - looked > std::chrono::milliseconds(100)) {
          has_grown_ = false;
          static_cast<void>(make_room(SIZE_MAX));
        }
      }
    }
    --running_threads_;
  }

  /// Reads what has come, so that this and other threads can take it.
  void take_in() {
    const std::lock_guard lock(intake_);
    connection_->read();
    for (const auto& each : subscriptions_) {
      while (auto message = nats::event_connection::next(each)) enqueue(std::move(message));
    }
    connection_->rearm();
  }

  void enqueue(nats::message message) {
    // vespid.KIND.TENANT.FUNCTION
    const std::string_view subject = natsMsg_GetSubject(message.get());
    const std::size_t kind = subject.find('.') + 1;
    const std::size_t tenant = subject.find('.', kind) + 1;
    const std::size_t function = subject.find('.', tenant) + 1;
    if (tenant == 0 || function == 0) return;
    // Of a durable call that cannot be acknowledged nobody would know that it was run.
    if (subject.starts_with(store::queued) && natsMsg_GetReply(message.get()) == nullptr) {
      log_event("call.refused", {{"why", "a durable call without a reply"}});
      return;
    }
    const std::string of(subject.substr(tenant, function - tenant - 1));
    const std::string name(subject.substr(function));
    const auto its = catalogue_->find(of, name);
    // A durable call has all the time that there is until NATS gives it to another worker.
    auto left = deployment::max_timeout;
    if (const auto given = nats::header_of(message, "Vespid-Milliseconds"); !given.empty()) {
      const auto number = std::strtoul(std::string(given).c_str(), nullptr, 10);
      left = std::chrono::milliseconds(std::min(number, 10UL * deployment::max_timeout.count()));
    }
    std::optional<job> returned;
    {
      const std::lock_guard lock(queue_mutex_);
      job made{std::move(message), name, steady::now() + left};
      // Durable calls can wait, and may have to for the store: they leave room for those that
      // somebody waits for.
      returned = is_durable(made)
                     ? queue_.push(of, "*", std::max<std::size_t>(1, slots_ / 4), std::move(made))
                     : queue_.push(of, name, its != nullptr ? std::max(1U, its->concurrency) : 1,
                                   std::move(made));
    }
    if (!returned) return;
    ++refused_;
    if (is_durable(*returned)) {
      connection_->publish(natsMsg_GetReply(returned->message.get()),
                           R"(-NAK {"delay": 500000000})");
    } else {
      answer(*returned, failed("busy", "the worker has no room"));
    }
  }

  std::optional<fair_queue<job>::taken> take() {
    const std::lock_guard lock(queue_mutex_);
    auto out = queue_.pop();
    if (out && queue_.waiting() > 0 && queue_.running() < slots_) wake();
    return out;
  }

  static bool is_durable(const job& of) {
    return std::string_view(natsMsg_GetSubject(of.message.get())).starts_with(store::queued);
  }

  void run(std::size_t number, script_engine& engine, fair_queue<job>::taken& next) {
    const std::string_view subject = natsMsg_GetSubject(next.job.message.get());
    try {
      if (subject.starts_with(store::checks)) {
        answer_check(next);
      } else if (is_durable(next.job)) {
        run_durable(number, engine, next);
      } else {
        answer(next.job, call(number, engine, next));
      }
    } catch (const std::exception& why) {  // Memory, most likely.
      log_event("call.failed", {{"why", why.what()}});
      if (is_durable(next.job)) return try_later(next.job);
      answer(next.job, failed("worker_failed", why.what()));
    }
  }

  void answer(const job& of, const outcome& what) {
    const char* const to = natsMsg_GetReply(of.message.get());
    if (to == nullptr) return;
    const auto most = static_cast<std::size_t>(natsConnection_GetMaxPayload(connection_->get()));
    if (what.is_ok() && what.body.size() > most) {
      return answer(
          of, failed("result_too_large", "the result has " + std::to_string(what.body.size()) +
                                             " bytes, and may have " + std::to_string(most)));
    }
    if (what.is_ok()) {
      connection_->publish(to, what.body);
      return;
    }
    const std::string text = to_text(as_json(what));
    natsMsg* made = nullptr;
    if (natsMsg_Create(&made, to, nullptr, text.data(), static_cast<int>(text.size())) != NATS_OK)
      return;
    const nats::message kept(made);
    natsMsgHeader_Set(made, "Vespid-Error", what.code.c_str());
    connection_->publish(made);
  }

  static nlohmann::json as_json(const outcome& what) {
    nlohmann::json out{{"code", what.code}, {"detail", what.detail}};
    if (!what.function.empty()) out["function"] = what.function;
    if (!what.file.empty()) out["file"] = what.file;
    if (what.line != 0) out["line"] = what.line;
    return out;
  }

  std::shared_ptr<function_slot> slot_of(const std::string& key) {
    {
      const std::shared_lock lock(functions_mutex_);
      if (const auto found = functions_.find(key); found != functions_.end()) return found->second;
    }
    const std::unique_lock lock(functions_mutex_);
    auto& out = functions_[key];
    if (out == nullptr) out = std::make_shared<function_slot>();
    return out;
  }

  std::variant<std::shared_ptr<loaded_function>, outcome> load(const std::string& tenant,
                                                               const std::string& name,
                                                               const deployment& its) {
    auto bytes = store::read_image(images_.get(), tenant, name, its);
    if (!bytes) {
      return failed("image_damaged", "the store does not have the image as it was deployed");
    }
    return loaded_function::load(its, *std::move(bytes), slots_ + 1);
  }

  /// The same for calls, of which one loads the function and the others wait.
  std::variant<std::shared_ptr<loaded_function>, outcome> load_once(
      function_slot& slot, const fair_queue<job>::taken& next, const deployment& its) {
    const std::lock_guard only(slot.loading);
    {
      const std::lock_guard lock(slot.mutex);
      if (slot.loaded != nullptr && slot.revision == its.revision) return slot.loaded;
    }
    auto made = load(next.tenant, next.job.function, its);
    has_grown_ = true;
    const std::lock_guard lock(slot.mutex);
    if (auto* const why = std::get_if<outcome>(&made)) {
      note_failure(slot, next, *why, "");
    } else if (slot.revision == its.revision) {
      slot.loaded = std::get<0>(made);
      ++slot.cold;
    }
    return made;
  }

  /// Returns the function, at least in the revision that the gateway knew: NATS tells the worker of
  /// it, but may do so a moment later. Null if there is none.
  std::shared_ptr<const deployment> await(const fair_queue<job>::taken& next) {
    const std::string given(nats::header_of(next.job.message, "Vespid-Revision"));
    const std::uint64_t wanted = std::strtoull(given.c_str(), nullptr, 10);
    const auto until = std::min(next.job.deadline, steady::now() + std::chrono::seconds(1));
    for (;;) {
      auto its = catalogue_->find(next.tenant, next.job.function);
      if ((its != nullptr && its->revision >= wanted) || steady::now() >= until) return its;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  outcome call(std::size_t number, script_engine& engine, const fair_queue<job>::taken& next) {
    const auto its = await(next);
    if (its == nullptr) return failed("no_function", "there is no function " + next.job.function);
    const auto now = steady::now();
    if (now >= next.job.deadline) return failed("timed_out", "it waited for a slot too long");
    // What it takes until it has answered is not kept, even twice: as it began, and as it is.
    const running_memory its_memory(running_memory_, 2 * its->memory);
    const auto slot = slot_of(next.tenant + '.' + next.job.function);
    std::shared_ptr<loaded_function> loaded, old;
    {
      const std::lock_guard lock(slot->mutex);
      if (slot->revision != its->revision) {
        slot->breaker = {};
        old = std::move(slot->loaded);
        slot->loaded.reset();
        slot->revision = its->revision;
      }
      slot->used = now;
      if (!slot->breaker.may_run(now)) {
        ++slot->failures["stopped"];
        return failed("stopped", "the function is stopped for " +
                                     std::to_string(breaker::pause.count()) +
                                     " s, as its last calls all failed");
      }
      loaded = slot->loaded;
    }
    old.reset();
    if (loaded == nullptr) {
      auto made = load_once(*slot, next, *its);
      if (auto* const why = std::get_if<outcome>(&made)) return *why;
      loaded = std::get<0>(std::move(made));
    }
    call_context context;
    std::optional<bucket_state> values;
    if (its->grants.contains("kv")) {
      values.emplace(bucket_of(store::state_bucket(next.tenant)));
      context.state = &*values;
    }
    context.may_print = its->grants.contains("output");
    call_context::current() = &context;
    virtine::call_usage used;
    const auto begun = steady::now();
    const outcome out = loaded->call(
        number, engine, nats::data_of(next.job.message),
        {.timeout = std::min<std::chrono::nanoseconds>(its->timeout(), next.job.deadline - begun),
         .usage = &used});
    const auto took = steady::now() - begun;
    call_context::current() = nullptr;
    if (used.traps > 64) has_grown_ = true;
    {
      const std::lock_guard lock(slot->mutex);
      ++slot->calls;
      slot->guest_time += used.guest_time;
      slot->run_time.add(took);
      if (out.is_ok()) {
        slot->breaker.succeeded();
        if (!context.output.empty()) keep_output(*slot, next, "", context.output);
      } else {
        note_failure(*slot, next, out, context.output);
      }
    }
    return out;
  }

  /// With the slot's lock held.
  void note_failure(function_slot& slot, const fair_queue<job>::taken& next, const outcome& why,
                    const std::string& output) {
    ++slot.failures[why.code];
    keep_output(slot, next, why.detail, output);
    // What a script throws is an answer; what the caller did wrong, nothing of the function's.
    if (why.is_callers_fault || why.code == "script_error") return;
    if (slot.breaker.failed(steady::now())) {
      log_event("function.stopped",
                {{"tenant", next.tenant}, {"function", next.job.function}, {"code", why.code}});
      keep_output(slot, next, "the function is stopped, as its last calls all failed", "");
    }
  }

  /// Sends what a call printed to the stream of logs: up to twenty entries a second of a function.
  void keep_output(function_slot& slot, const fair_queue<job>::taken& next, const std::string& why,
                   const std::string& output) {
    const auto now = steady::now();
    if (now - slot.log_second > std::chrono::seconds(1)) {
      slot.log_second = now;
      slot.logged = 0;
    }
    if (++slot.logged > 20 || natsConnection_Buffered(log_connection_->get()) > log_backlog_max) {
      return;
    }
    nlohmann::json entry{{"time", seconds_now()}};
    if (!output.empty()) entry["output"] = output;
    if (!why.empty()) entry["failure"] = why;
    log_connection_->publish(store::printed + next.tenant + '.' + next.job.function,
                             to_text(entry));
  }

  void answer_check(const fair_queue<job>::taken& next) {
    const auto json = nlohmann::json::parse(nats::data_of(next.job.message), nullptr, false);
    deployment its;
    try {
      its = json.get<deployment>();
    } catch (const nlohmann::json::exception& why) {
      return answer(next.job, failed("bad_deployment", why.what()));
    }
    if (const std::string problem = its.problem(); !problem.empty()) {
      return answer(next.job, failed("bad_deployment", problem));
    }
    auto loaded = load(next.tenant, next.job.function, its);
    if (const auto* const why = std::get_if<outcome>(&loaded)) return answer(next.job, *why);
    const auto& made = *std::get<0>(loaded);
    if (const auto why = made.try_out()) return answer(next.job, *why);
    answer(next.job, {.body = to_text(made.its())});
  }

  /// Returns how often NATS has given this call to a worker, this time included.
  static unsigned deliveries_of(const job& of) {
    // $JS.ACK.STREAM.CONSUMER.DELIVERED..., with two more tokens before the stream in some
    // versions.
    std::vector<std::string> tokens(1);
    const char* const reply = natsMsg_GetReply(of.message.get());
    for (const char each : std::string_view(reply != nullptr ? reply : "")) {
      if (each == '.') {
        tokens.emplace_back();
      } else {
        tokens.back() += each;
      }
    }
    const std::size_t at = tokens.size() >= 11 ? 6 : 4;
    return at < tokens.size() ? static_cast<unsigned>(std::strtoul(tokens[at].c_str(), nullptr, 10))
                              : 1;
  }

  /// What the store has of a durable call: nothing, that it is accepted, or its result.
  struct kept_result {
    std::uint64_t revision = 0;
    bool is_done = false;
  };
  /// Nothing if the store cannot tell.
  static std::optional<kept_result> read_result(kvStore* from, const std::string& id) {
    kvEntry* found = nullptr;
    const natsStatus got = kvStore_Get(&found, from, id.c_str());
    if (got == NATS_NOT_FOUND) return kept_result{};
    if (got != NATS_OK) return std::nullopt;
    const nats::entry kept(found);
    return kept_result{kvEntry_Revision(found), kvEntry_ValueLen(found) > 0};
  }
  /// Writes the result if nothing was written since `before`.
  static bool write_result(kvStore* to, const std::string& id, const std::string& record,
                           const kept_result& before) {
    const auto size = static_cast<int>(record.size());
    return (before.revision != 0
                ? kvStore_Update(nullptr, to, id.c_str(), record.data(), size, before.revision)
                : kvStore_Create(nullptr, to, id.c_str(), record.data(), size)) == NATS_OK;
  }

  /// Returns a tenant's bucket; null if it cannot be reached.
  kvStore* bucket_of(const std::string& name) {
    {
      const std::shared_lock lock(buckets_mutex_);
      if (const auto found = buckets_.find(name); found != buckets_.end()) {
        return found->second.get();
      }
    }
    kvStore* made = nullptr;
    if (js_KeyValue(&made, jetstream_.get(), name.c_str()) != NATS_OK) return nullptr;
    nats::bucket kept(made);
    const std::unique_lock lock(buckets_mutex_);
    return buckets_.try_emplace(name, std::move(kept)).first->second.get();
  }

  /// Notes that a call is to be run again, beside its result. Returns how often that was noted
  /// before, at most `runs_max`; nothing if it cannot be noted.
  static std::optional<unsigned> note_run(kvStore* in, const std::string& id) {
    const std::string key = id + ".runs";
    kvEntry* found = nullptr;
    const natsStatus got = kvStore_Get(&found, in, key.c_str());
    const nats::entry kept(found);
    if (got != NATS_OK && got != NATS_NOT_FOUND) return std::nullopt;
    unsigned before = 0;
    if (got == NATS_OK) {
      const std::string text(static_cast<const char*>(kvEntry_Value(found)),
                             static_cast<std::size_t>(kvEntry_ValueLen(found)));
      before = static_cast<unsigned>(
          std::min<unsigned long>(runs_max, std::strtoul(text.c_str(), nullptr, 10)));
    }
    if (before == runs_max) return before;
    const std::string now = std::to_string(before + 1);
    const natsStatus put = kvStore_PutString(nullptr, in, key.c_str(), now.c_str());
    return put == NATS_OK ? std::optional(before) : std::nullopt;
  }

  /// Has NATS give a durable call out again; later each time, so that one which finds no end takes
  /// next to nothing of the worker.
  void try_later(const job& of) {
    const unsigned before = std::clamp(deliveries_of(of), 1U, 7U) - 1;
    const std::chrono::nanoseconds delay = std::chrono::seconds(std::min(60, 1 << before));
    connection_->publish(natsMsg_GetReply(of.message.get()),
                         "-NAK {\"delay\": " + std::to_string(delay.count()) + '}');
  }

  /// Returns what is stored of a durable call: a line of JSON, then the body.
  static std::string record_of(const job& of, const outcome& what) {
    nlohmann::json head = what.is_ok() ? nlohmann::json::object() : as_json(what);
    head["deliveries"] = deliveries_of(of);
    head["finished"] = seconds_now();
    head["name"] = of.function;
    return to_text(head) + '\n' + what.body;
  }

  void run_durable(std::size_t number, script_engine& engine, const fair_queue<job>::taken& next) {
    const std::string id(nats::header_of(next.job.message, "Nats-Msg-Id"));
    if (!is_name(id)) {  // No gateway's, and no result could be found by it.
      log_event("call.refused", {{"why", "a durable call without an id"}});
      connection_->publish(natsMsg_GetReply(next.job.message.get()), "+ACK");
      return;
    }
    if (!finish_durable(number, engine, next, id)) {  // The store is full or away.
      log_event("result.not_kept", {{"id", id}});
      return try_later(next.job);
    }
    connection_->publish(natsMsg_GetReply(next.job.message.get()), "+ACK");
  }

  /// Runs a durable call unless it has a result. Returns whether it has one now.
  bool finish_durable(std::size_t number, script_engine& engine, const fair_queue<job>::taken& next,
                      const std::string& id) {
    kvStore* const results = bucket_of(store::results_bucket(next.tenant));
    if (results == nullptr) return false;
    auto before = read_result(results, id);
    if (!before || before->is_done) return before.has_value();
    // What was given out before may have been run, and may have ended its worker.
    const auto runs =
        deliveries_of(next.job) > 1 ? note_run(results, id) : std::optional<unsigned>(0);
    if (!runs) return false;
    const outcome out =
        *runs < runs_max
            ? call(number, engine, next)
            : failed("given_up", "it was run " + std::to_string(runs_max) +
                                     " times and more, and none of them left a result");
    std::string record = record_of(next.job, out);
    const auto most =
        static_cast<std::size_t>(natsConnection_GetMaxPayload(blocking_.get())) - headers_max;
    if (record.size() > most) {
      record = record_of(
          next.job, failed("result_too_large", "the result has " + std::to_string(out.body.size()) +
                                                   " bytes, and its record may have " +
                                                   std::to_string(most)));
    }
    // Of two workers that ran the call, the first one's result stays. The gateway may write that
    // the call is accepted meanwhile, which is no result.
    bool is_kept = write_result(results, id, record, *before);
    for (int i = 0; i < 2 && !is_kept; ++i) {
      before = read_result(results, id);
      if (!before) return false;
      is_kept = before->is_done || write_result(results, id, record, *before);
    }
    return is_kept;
  }

  const std::size_t slots_;
  const std::chrono::seconds idle_;
  const std::size_t max_loaded_;
  const std::uint64_t kept_max_;
  nats::connection blocking_;
  nats::jetstream jetstream_;
  nats::bucket images_;
  std::shared_mutex buckets_mutex_;
  std::map<std::string, nats::bucket> buckets_;  // Of tenants.
  std::unique_ptr<catalogue> catalogue_;
  virtine::os::fd epoll_, wake_;
  std::mutex intake_;
  std::unique_ptr<nats::event_connection> connection_;
  std::unique_ptr<nats::event_connection> log_connection_;
  std::vector<nats::subscription> subscriptions_;
  std::mutex queue_mutex_;
  fair_queue<job> queue_;
  std::shared_mutex functions_mutex_;
  std::map<std::string, std::shared_ptr<function_slot>> functions_;
  std::atomic<std::uint64_t> running_memory_ = 0;  // That calls under way may take.
  std::mutex making_room_;
  std::atomic<steady::time_point> room_made_{};  // When it was last looked at.
  std::atomic<bool> has_grown_ = false;
  std::atomic<std::uint64_t> refused_ = 0;
  std::atomic<bool> may_end_ = false;
  std::atomic<int> running_threads_ = 0;
  std::vector<std::jthread> threads_;
};

/// Serves /metrics until a signal asks the program to end.
void watch(worker& its, const nlohmann::json& settings) {
  const ::sigset_t ends = ending_signals();
  const virtine::os::fd signals(::signalfd(-1, &ends, SFD_CLOEXEC));
  std::optional<http::server> metrics;
  if (settings.contains("metrics_port")) {
    metrics.emplace(
        settings.value("metrics_address", "127.0.0.1"),
        static_cast<std::uint16_t>(whole_number_of(settings, "metrics_port", 0, 0, UINT16_MAX)),
        http::limits{.connections = 64, .connections_of_address = 64},
        [&](const std::shared_ptr<http::exchange>& open) {
          if (open->path == "/metrics" && open->method == "GET") {
            open->respond(200, "text/plain; version=0.0.4", its.metrics());
          } else {
            open->respond(404, "text/plain", "/metrics is what there is\n");
          }
        },
        [](const http::exchange&) { return http::body_terms{}; });
    log_event("worker.metrics", {{"port", metrics->port()}});
  }
  const virtine::os::fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{.events = EPOLLIN, .data = {.u64 = 0}};
  ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, signals.get(), &event);
  event.data.u64 = 1;
  if (metrics) ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, metrics->epoll(), &event);
  std::chrono::milliseconds pause{1000};
  for (auto tidied = steady::now();;) {
    const int got = ::epoll_wait(epoll.get(), &event, 1, static_cast<int>(pause.count()));
    if (got == 1 && event.data.u64 == 0) return;
    if (metrics) metrics->run();
    if (steady::now() - tidied < pause) continue;
    pause = std::chrono::milliseconds(its.tidy() ? 5 : 1000);
    tidied = steady::now();
    if (metrics) metrics->end_slow();
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const nlohmann::json all = read_settings(argc, argv);
    if (::access("/dev/kvm", R_OK | W_OK) != 0) {
      std::fputs("vespid-worker: /dev/kvm cannot be opened; ask virtine-doctor\n", stderr);
      return no_kvm_status;
    }
    set_up_signals();
    const nlohmann::json its = part_of(all, "worker");
    worker made(all, its);
    watch(made, its);
    return 0;
  } catch (const std::exception& why) {
    std::fprintf(stderr, "vespid-worker: %s\n", why.what());
    return 1;
  }
}
