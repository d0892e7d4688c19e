// vespid-gateway: functions by HTTP. Asks who calls, bounds what a tenant may take, passes calls to
// NATS and answers with what comes back. One thread: HTTP and NATS are in one epoll loop.
// Must not look into what functions get and give.
// Run: vespid-gateway --config vespid.json
// SPDX-License-Identifier: MIT
#include <signal.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <virtine/os/fd.hpp>

#include "catalogue.hpp"
#include "http_server.hpp"
#include "log.hpp"
#include "metrics.hpp"
#include "nats.hpp"
#include "rate_limit.hpp"
#include "requests.hpp"
#include "settings.hpp"
#include "store.hpp"
#include "store_client.hpp"
#include "sweep.hpp"
#include "turns.hpp"

namespace {

using namespace vespid;
using steady = std::chrono::steady_clock;
using exchange = std::shared_ptr<http::exchange>;
using identity = catalogue::identity;

/// A deployment is given up after it: what it has stored is swept some time later.
constexpr std::chrono::minutes deploying_patience{5};
/// A mark that a record is gone stays as long: who watches learns of it, or else from the list of
/// what there is, which it reads every 30 s.
constexpr std::chrono::seconds mark_kept{5};

std::string random_id() {
  std::array<unsigned char, 16> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    throw std::runtime_error("getrandom");
  }
  std::ostringstream out;
  for (const unsigned char each : bytes) {
    out << std::hex << (each >> 4) << (each & 15);
  }
  return out.str();
}

/// Answers with an error, in the form of RFC 9457.
void refuse(const exchange& to, unsigned status, std::string_view title,
            nlohmann::json more = nlohmann::json::object(), const http::header_list& headers = {}) {
  more["title"] = title;
  more["status"] = status;
  more["type"] = "about:blank";
  http::header_list all = headers;
  if (status == 429 || status == 503) all.emplace_back("Retry-After", "1");
  if (status == 401) all.emplace_back("WWW-Authenticate", "Bearer");
  to->respond(status, "application/problem+json", to_text(more) + '\n', all);
}

void refuse_name(const exchange& to, const std::string& of) {
  refuse(to, 400, "This is no name of a " + of,
         {{"detail", "it has 1 to 64 of the characters a-z, 0-9, - and _"}});
}

void answer_json(const exchange& to, unsigned status, const nlohmann::json& what) {
  to->respond(status, "application/json", to_text(what) + '\n');
}

/// The status of an answer to a call that failed with `code`.
unsigned status_of(std::string_view code) {
  if (code == "bad_argument" || code == "arguments_too_large") return 400;
  if (code == "no_function") return 404;
  if (code == "timed_out" || code == "cpu_limit") return 504;
  if (code == "busy" || code == "stopped" || code == "no_kvm" || code == "os_error" ||
      code == "worker_failed" || code == "image_damaged") {
    return 503;
  }
  return 502;  // The function's own fault.
}

/// What a gateway knows of a function's calls.
struct function_counts {
  std::uint64_t calls = 0;
  std::map<unsigned, std::uint64_t> by_status;
  histogram time;
};

/// What a tenant takes now.
struct tenant_use {
  rate_limit requests;
  std::uint32_t running = 0;
};

class gateway {
 public:
  gateway(const nlohmann::json& all, const nlohmann::json& its)
      : retention_(retention_of(all)),
        body_max_(its.value("body_max", std::size_t{900} << 10)),
        image_max_(its.value("image_max", std::size_t{16} << 20)),
        operator_(its.value("operator_token_sha256", std::string())),
        page_(read_page(its.value("page", std::string()))),
        blocking_(nats::connect(nats_of(all, "vespid-gateway-store"))),
        jetstream_(nats::jetstream_of(blocking_)),
        epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    store::add_all(jetstream_.get(), retention_);
    catalogue_ = std::make_unique<catalogue>(blocking_);
    connection_ = std::make_unique<nats::event_connection>(nats_of(all, "vespid-gateway"),
                                                           epoll_.get(), nats_tag);
    requests_ = std::make_unique<nats::requests>(*connection_);
    // A server whose disk is full no longer reads from who writes to its store. Calls go on.
    store_connection_ = std::make_unique<nats::event_connection>(
        nats_of(all, "vespid-gateway-writes"), epoll_.get(), store_tag);
    store_ = std::make_unique<nats::requests>(*store_connection_);
    store_client_ = std::make_unique<store::client>(*store_);
    sweep_ = std::make_unique<sweep>(*store_client_, *catalogue_, retention_.unnamed_kept);
    http::limits limits;
    limits.connections = its.value("connections", limits.connections);
    limits.connections_of_address =
        its.value("connections_of_address", limits.connections_of_address);
    limits.request = std::chrono::seconds(its.value("request_seconds", limits.request.count()));
    limits.bodies = its.value("bodies_max", limits.bodies);
    const std::string address = its.value("address", "127.0.0.1");
    server_ = std::make_unique<http::server>(
        address, static_cast<std::uint16_t>(whole_number_of(its, "port", 8080, 0, UINT16_MAX)),
        limits, [this](const exchange& open) { handle(open); },
        [this](const http::exchange& open) { return body_terms_of(open); });
    epoll_event event{.events = EPOLLIN, .data = {.u64 = http_tag}};
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, server_->epoll(), &event);
    log_event("gateway.ready", {{"address", address}, {"port", server_->port()}});
  }

  /// Serves until a signal asks the program to end.
  void run() {
    const ::sigset_t ends = ending_signals();
    const virtine::os::fd signals(::signalfd(-1, &ends, SFD_CLOEXEC));
    epoll_event event{.events = EPOLLIN, .data = {.u64 = signal_tag}};
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, signals.get(), &event);
    auto swept = steady::now();
    for (;;) {
      int patience = 1000;
      for (const int each : {server_->patience(), requests_->patience(), store_->patience()}) {
        if (each >= 0 && each < patience) patience = each;
      }
      if (turns_.is_due()) patience = 0;
      std::array<epoll_event, 8> events{};
      const int got = ::epoll_wait(epoll_.get(), events.data(), events.size(), patience);
      for (int i = 0; i < got; ++i) {
        if (events[static_cast<std::size_t>(i)].data.u64 == signal_tag) return;
        if (events[static_cast<std::size_t>(i)].data.u64 == nats_tag) {
          connection_->read();
          connection_->rearm();
        }
        if (events[static_cast<std::size_t>(i)].data.u64 == store_tag) {
          store_connection_->read();
          store_connection_->rearm();
        }
      }
      connection_->flush();
      store_connection_->flush();
      requests_->run();
      store_->run();
      nats::requests::guarded([this] { turns_.run(); });
      server_->run();
      if (steady::now() - swept > std::chrono::seconds(1)) {
        swept = steady::now();
        server_->end_slow();
        nats::requests::guarded([this] { sweep_->run(); });
        forget_counts();
      }
    }
  }

 private:
  static constexpr std::uint64_t nats_tag = 1, http_tag = 2, signal_tag = 3, store_tag = 4;

  static store::retention retention_of(const nlohmann::json& all) {
    store::retention out;
    const nlohmann::json given = part_of(all, "store");
    out.replicas = given.value("replicas", out.replicas);
    out.images_max = given.value("images_max", out.images_max);
    out.durable_max = given.value("durable_max", out.durable_max);
    out.state_max = given.value("state_max", out.state_max);
    out.results_kept =
        std::chrono::seconds(given.value("results_kept_seconds", out.results_kept.count()));
    out.redelivery =
        std::chrono::milliseconds(given.value("redelivery_milliseconds", out.redelivery.count()));
    out.unnamed_kept =
        std::chrono::seconds(given.value("unnamed_kept_seconds", out.unnamed_kept.count()));
    return out;
  }
  static std::string read_page(const std::string& path) {
    if (path.empty()) return "";
    std::ifstream file(path);
    if (!file) throw std::runtime_error(path + " cannot be read");
    return {std::istreambuf_iterator<char>(file), {}};
  }

  /// Returns the digest of the request's token; empty if it has none.
  static digest_type token_of(const http::exchange& open) {
    constexpr std::string_view scheme = "Bearer ";
    const std::string_view given = open.header("Authorization");
    return given.starts_with(scheme) ? digest_of(given.substr(scheme.size())) : "";
  }

  /// Nothing is kept of the body of somebody unknown.
  http::body_terms body_terms_of(const http::exchange& open) const {
    const digest_type token = token_of(open);
    if (!operator_.empty() && token == operator_) return {.most = body_max_, .account = {}};
    const auto who = catalogue_->who(token);
    if (!who) return {};
    const bool is_image = who->is_owner && open.method == "PUT";
    return {.most = is_image ? image_max_ : body_max_, .account = who->tenant};
  }

  void handle(const exchange& open) {
    const std::string_view path = open->path;
    if (path == "/" && open->method == "GET") {
      return open->respond(200, "text/html; charset=utf-8", page_,
                           {{"Content-Security-Policy",
                             "default-src 'self' 'unsafe-inline'; frame-ancestors 'none'"}});
    }
    if (path == "/healthz") return open->respond(200, "text/plain", "ok\n");
    const digest_type token = token_of(*open);
    if (token.empty()) return refuse(open, 401, "A bearer token is needed");
    if (!operator_.empty() && token == operator_) return handle_operator(open);
    const auto who = catalogue_->who(token);
    if (!who) return refuse(open, 401, "This token is not known");
    if (!uses_[who->tenant].requests.may_pass(who->limits.rate, steady::now())) {
      return refuse(open, 429, "The tenant makes more requests than it may");
    }
    if (open->is_too_much) {
      return refuse(open, 429, "The tenant sends more at one time than it may");
    }
    if (open->is_too_large) {
      return refuse(open, 413, "The body is too large",
                    {{"detail", "at most " + std::to_string(body_max_) + " bytes, of an image " +
                                    std::to_string(image_max_)}});
    }
    route(open, *who);
  }

  void route(const exchange& open, const identity& who) {
    const std::string& path = open->path;
    const std::string& method = open->method;
    const auto below = [&](std::string_view prefix) -> std::optional<std::string> {
      if (!path.starts_with(prefix)) return std::nullopt;
      return path.substr(prefix.size());
    };
    if (const auto name = below("/call/"); name && method == "POST") return call(open, who, *name);
    if (const auto name = below("/async/"); name && method == "POST")
      return accept(open, who, *name);
    if (const auto id = below("/result/"); id && method == "GET") return result(open, who, *id);
    if (path == "/functions" && method == "GET") return list(open, who);
    if (auto name = below("/functions/")) {
      if (!who.is_owner) return refuse(open, 403, "This token may only call");
      const bool asks_logs = name->ends_with("/logs");
      if (asks_logs) name->resize(name->size() - 5);
      if (!is_name(*name)) return refuse_name(open, "function");
      if (asks_logs && method == "GET") return logs(open, who, *name);
      if (method == "GET") return show(open, who, *name);
      if (method == "PUT") return deploy(open, who, *name);
      if (method == "DELETE") return remove(open, who, *name);
    }
    refuse(open, 404, "There is nothing of this name, or not for this method");
  }

  // Calls.

  void call(const exchange& open, const identity& who, const std::string& name) {
    const auto its = is_name(name) ? catalogue_->find(who.tenant, name) : nullptr;
    if (its == nullptr) return refuse(open, 404, "There is no such function");
    tenant_use& use = uses_[who.tenant];
    if (use.running >= who.limits.concurrency) {
      return refuse(open, 429, "The tenant has as many calls under way as it may");
    }
    ++use.running;
    // A second for the way there and back, and for a turn.
    ask(open, who, name, its, steady::now() + its->timeout() + std::chrono::seconds(1), 0);
  }

  /// Asks a worker; another one if that is busy, as long as there is time.
  void ask(const exchange& open, const identity& who, const std::string& name,
           const std::shared_ptr<const deployment>& its, steady::time_point deadline, int attempt) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - steady::now());
    const nats::header_list headers{{"Vespid-Milliseconds", std::to_string(left.count())},
                                    {"Vespid-Revision", std::to_string(its->revision)}};
    requests_->ask(
        store::calls + who.tenant + '.' + name, open->body, headers, left,
        [this, open, who, name, its, deadline, attempt](nats::message reply) {
          const bool is_busy = reply != nullptr && nats::header_of(reply, "Vespid-Error") == "busy";
          const auto wait = std::chrono::milliseconds(2 << attempt);
          if (is_busy && attempt < 5 && !open->is_over() && steady::now() + wait < deadline) {
            return requests_->after(
                wait, [=, this] { ask(open, who, name, its, deadline, attempt + 1); });
          }
          --uses_[who.tenant].running;
          finish(open, who, name, *its, reply, steady::now() >= deadline);
        });
  }

  void finish(const exchange& open, const identity& who, const std::string& name,
              const deployment& its, const nats::message& reply, bool is_late) {
    unsigned status = 200;
    if (reply == nullptr) {
      status = is_late ? 504 : 503;
      refuse(open, status, is_late ? "No worker answered in time" : "There is no worker");
    } else if (nats::header_of(reply, "Vespid-Error").empty()) {
      open->respond(200, type_of(its), nats::data_of(reply));
    } else {
      status = status_of(nats::header_of(reply, "Vespid-Error"));
      refuse_call(open, who, nlohmann::json::parse(nats::data_of(reply), nullptr, false));
    }
    // One that was removed meanwhile has no row any more.
    if (catalogue_->find(who.tenant, name) == nullptr) return;
    const auto took = steady::now() - open->begun();
    function_counts& counts = counts_[who.tenant + '.' + name];
    ++counts.calls;
    ++counts.by_status[status];
    counts.time.add(took);
  }

  /// Of functions that are gone, as through another gateway.
  void forget_counts() {
    if (steady::now() - counts_looked_at_ < std::chrono::seconds(30)) return;
    counts_looked_at_ = steady::now();
    std::erase_if(counts_, [&](const auto& each) {
      const std::size_t dot = each.first.find('.');
      return catalogue_->find(each.first.substr(0, dot), each.first.substr(dot + 1)) == nullptr;
    });
  }

  static std::string_view type_of(const deployment& its) {
    return its.kind == "script" || its.calling == calling::json ? "application/json"
                                                                : "application/octet-stream";
  }

  /// Tells of a call that failed. Where and how a function faults is for its owner only.
  static void refuse_call(const exchange& open, const identity& who, const nlohmann::json& why,
                          const http::header_list& headers = {}) {
    const std::string code = text_of(why, "code");
    const unsigned status = status_of(code);
    const char* const title = code == "bad_argument" ? "An argument is wrong"
                              : code == "timed_out"  ? "The function took too long"
                              : code == "busy"       ? "All workers are busy"
                              : code == "stopped"    ? "The function is stopped: it only fails"
                              : status == 503        ? "The function cannot be run now"
                                                     : "The function failed";
    nlohmann::json more{{"code", code}};
    if (who.is_owner || status == 400) {
      // Texts and a number, whatever the worker has sent: a list of lists of lists would be copied
      // and written by as many calls.
      for (const char* const each : {"detail", "function", "file"}) {
        if (std::string text = text_of(why, each); !text.empty()) more[each] = std::move(text);
      }
      if (const auto line = number_of(why, "line", 0U); line != 0) more["line"] = line;
    }
    refuse(open, status, title, std::move(more), headers);
  }

  // Durable calls.

  void accept(const exchange& open, const identity& who, const std::string& name) {
    const auto its = is_name(name) ? catalogue_->find(who.tenant, name) : nullptr;
    if (its == nullptr) return refuse(open, 404, "There is no such function");
    const std::string key(open->header("Idempotency-Key"));
    if (key.size() > 256) return refuse(open, 400, "The idempotency key is longer than 256 bytes");
    if (key.empty()) return enqueue(open, who, name, its->revision, random_id());
    const std::string id = digest_of(who.tenant + '\n' + name + '\n' + key).substr(0, 32);
    // NATS knows recent ones itself; of older ones there is the result.
    store_client_->read_last(
        store::results_bucket(who.tenant), id,
        [this, open, who, name, revision = its->revision, id](
            bool is_reached, const std::optional<store::client::value>& found) {
          if (!is_reached) return refuse(open, 503, "The store cannot be reached");
          if (found) return accepted(open, id, true);
          enqueue(open, who, name, revision, id);
        });
  }

  static void accepted(const exchange& open, const std::string& id, bool is_repeated) {
    open->respond(202, "application/json", to_text({{"id", id}, {"repeated", is_repeated}}) + '\n',
                  {{"Location", "/result/" + id}});
  }

  void enqueue(const exchange& open, const identity& who, const std::string& name,
               std::uint64_t revision, const std::string& id) {
    store_->ask(store::queued + who.tenant + '.' + name, open->body,
                {{"Nats-Msg-Id", id}, {"Vespid-Revision", std::to_string(revision)}},
                store::patience, [this, open, who, id](const nats::message& reply) {
                  const auto answer = store::parsed(reply);
                  if (!store::is_stored(answer)) return refuse_store(open, answer);
                  // That it is accepted, for whoever asks before it is done. Not over a result.
                  store_->ask(store::subject_of(store::results_bucket(who.tenant), id), "",
                              {store::expecting(0)}, store::patience,
                              [open, id, is_repeated = store::is_duplicate(answer)](
                                  const nats::message&) { accepted(open, id, is_repeated); });
                });
  }

  void result(const exchange& open, const identity& who, const std::string& id) {
    if (!is_name(id)) return refuse(open, 404, "There is no such result");
    store_client_->read_last(
        store::results_bucket(who.tenant), id,
        [this, open, who, id](bool is_reached, const std::optional<store::client::value>& read) {
          if (!is_reached) return refuse(open, 503, "The store cannot be reached");
          if (!read) return refuse(open, 404, "There is no such call, or it is long ago");
          const std::string_view found = read->data;
          if (found.empty()) {
            return open->respond(202, "application/json",
                                 to_text({{"id", id}, {"state", "waiting"}}) + '\n',
                                 {{"Retry-After", "1"}});
          }
          const std::size_t end = found.find('\n');
          const auto head = nlohmann::json::parse(found.substr(0, end), nullptr, false);
          if (end == found.npos || !head.is_object()) {
            return refuse(open, 502, "The result is not what a worker writes");
          }
          const http::header_list headers{
              {"Vespid-Deliveries", std::to_string(number_of(head, "deliveries", 1U))}};
          if (head.contains("code")) return refuse_call(open, who, head, headers);
          const auto its = catalogue_->find(who.tenant, text_of(head, "name"));
          open->respond(200, its != nullptr ? type_of(*its) : "application/octet-stream",
                        found.substr(end + 1), headers);
        });
  }

  // Functions.

  nlohmann::json described(const identity& who, const std::string& name, const deployment& its) {
    nlohmann::json out = its;
    if (!who.is_owner) out = nlohmann::json::object();
    out["name"] = name;
    out["revision"] = its.revision;
    if (const auto found = counts_.find(who.tenant + '.' + name); found != counts_.end()) {
      const function_counts& counts = found->second;
      const auto good = counts.by_status.find(200);
      out["calls"] = counts.calls;
      out["failed"] = counts.calls - (good != counts.by_status.end() ? good->second : 0);
      out["p50_us"] = counts.time.quantile(0.5);
      out["p99_us"] = counts.time.quantile(0.99);
    }
    return out;
  }

  void list(const exchange& open, const identity& who) {
    nlohmann::json out = nlohmann::json::array();
    for (const auto& [name, its] : catalogue_->functions_of(who.tenant)) {
      out.push_back(described(who, name, *its));
    }
    answer_json(open, 200, {{"tenant", who.tenant}, {"owner", who.is_owner}, {"functions", out}});
  }

  void show(const exchange& open, const identity& who, const std::string& name) {
    const auto its = catalogue_->find(who.tenant, name);
    if (its == nullptr) return refuse(open, 404, "There is no such function");
    answer_json(open, 200, described(who, name, *its));
  }

  /// A deployment under way.
  struct deploying {
    exchange open;
    identity who;
    std::string name;
    deployment its;
    std::optional<deployment> before;  ///< What the store has of this name.
    std::uint64_t revision = 0;        ///< Of that record, or of the mark that it is gone.
    turns::turn turn;
    steady::time_point until = steady::now() + deploying_patience;
  };
  using deploying_ptr = std::shared_ptr<deploying>;

  void deploy(const exchange& open, const identity& who, const std::string& name) {
    if (open->body.empty()) return refuse(open, 400, "The body has to be the image or the script");
    deployment its;
    try {
      const std::string_view options = open->header("Vespid-Options");
      if (!options.empty()) its = nlohmann::json::parse(options).get<deployment>();
    } catch (const nlohmann::json::exception& why) {
      return refuse(open, 400, "The options are not what they should be", {{"detail", why.what()}});
    }
    if (const std::string wrong = its.problem(); !wrong.empty()) {
      return refuse(open, 400, "An option is wrong", {{"detail", wrong}});
    }
    its.size = open->body.size();
    its.parts = random_id();
    its.digest = digest_of(open->body);
    if (const std::string given(open->header("Vespid-Digest"));
        !given.empty() && given != its.digest) {
      return refuse(open, 400, "The body is not what was sent: its digest is another");
    }
    take_turn(open, who, name, [=, this](const deploying_ptr& made) {
      made->its = its;
      if (!has_room(*made)) return;
      under_way_.push_back(made);
      write_parts(made, 0);
    });
  }

  /// Calls `act` when no other deployment or removal of this function is under way here, with what
  /// the store has of it then. Those through other gateways are found out by the record's revision.
  void take_turn(const exchange& open, const identity& who, const std::string& name,
                 const std::function<void(const deploying_ptr&)>& act) {
    turns_.take(who.tenant + '.' + name, [=, this](const turns::turn& turn) {
      if (open->is_over()) return;  // Who asked has gone while it waited.
      const auto made = std::make_shared<deploying>(
          deploying{.open = open, .who = who, .name = name, .its = {}, .before = {}, .turn = turn});
      store_client_->read_last(
          store::records, store::function_key(who.tenant, name),
          [open, made, act](bool is_reached, const std::optional<store::client::value>& found) {
            if (!is_reached) return refuse(open, 503, "The store cannot be reached");
            if (found) {
              made->revision = found->revision;
              made->before = read_deployment(found->data);
            }
            act(made);
          });
    });
  }

  /// Says whether the tenant may have this one, beside those that it has and those under way. If it
  /// may not, that is answered.
  bool has_room(const deploying& of) {
    std::map<std::string, std::uint64_t> sizes;
    for (const auto& [each, its] : catalogue_->functions_of(of.who.tenant)) sizes[each] = its->size;
    std::erase_if(under_way_, [](const auto& each) { return each.expired(); });
    for (const auto& each : under_way_) {
      const auto other = each.lock();
      if (other == nullptr || other->who.tenant != of.who.tenant) continue;
      std::uint64_t& size = sizes[other->name];
      size = std::max(size, other->its.size);
    }
    sizes[of.name] = of.its.size;
    if (sizes.size() > of.who.limits.functions) {
      refuse(of.open, 403, "The tenant has as many functions as it may");
      return false;
    }
    std::uint64_t sum = 0;
    for (const auto& [each, size] : sizes) sum += size;
    if (sum > static_cast<std::uint64_t>(retention_.images_max) / 4) {
      refuse(of.open, 403, "The tenant's functions are as large as they may be together");
      return false;
    }
    return true;
  }

  void write_parts(const deploying_ptr& made, std::size_t part) {
    if (part == store::parts_of(made->its.size)) return check(made);
    const std::string key = store::image_key(made->who.tenant, made->name, made->its, part);
    store_->ask(
        store::subject_of(store::images, key),
        std::string_view(made->open->body).substr(part * store::part_size, store::part_size), {},
        store::patience, [=, this](const nats::message& reply) {
          const auto answer = store::parsed(reply);
          if (!store::is_stored(answer)) {
            drop_image(*made, made->its);
            return refuse_store(made->open, answer);
          }
          write_parts(made, part + 1);
        });
  }

  /// Has a worker load it, before anyone can call it.
  void check(const deploying_ptr& made) {
    requests_->ask(
        store::checks + made->who.tenant + '.' + made->name, to_text(made->its),
        {{"Vespid-Milliseconds", "70000"}}, std::chrono::seconds(75),
        [=, this](const nats::message& reply) {
          if (reply == nullptr) {
            drop_image(*made, made->its);
            return refuse(made->open, 503, "There is no worker to check the function");
          }
          const auto answer = nlohmann::json::parse(nats::data_of(reply), nullptr, false);
          const auto code = nats::header_of(reply, "Vespid-Error");
          if (!code.empty()) {
            drop_image(*made, made->its);
            return refuse(made->open, code == "busy" ? 503 : 422,
                          code == "busy" ? "All workers are busy" : "The function is refused",
                          {{"code", code}, {"detail", text_of(answer, "detail")}});
          }
          if (const std::string wrong = add_checked(made->its, answer); !wrong.empty()) {
            drop_image(*made, made->its);
            log_event("check.damaged",
                      {{"tenant", made->who.tenant}, {"function", made->name}, {"why", wrong}});
            return refuse(made->open, 502, "The worker's check is not what it should be",
                          {{"detail", wrong}});
          }
          write_record(made);
        });
  }

  void write_record(const deploying_ptr& made) {
    if (steady::now() >= made->until) {
      drop_image(*made, made->its);
      return refuse(made->open, 503, "It took too long to deploy the function");
    }
    store_->ask(
        store::subject_of(store::records, store::function_key(made->who.tenant, made->name)),
        to_text(made->its), {store::expecting(made->revision)}, store::patience,
        [=, this](const nats::message& reply) {
          const auto answer = store::parsed(reply);
          if (!store::is_stored(answer)) {
            // Without an answer, the record may be there all the same. If not, this is swept.
            if (answer.contains("error")) drop_image(*made, made->its);
            return refuse_overtaken(made->open, answer);
          }
          if (made->before) drop_image(*made, *made->before);
          const auto revision = answer["seq"].get<std::uint64_t>();
          log_event("function.deployed", {{"tenant", made->who.tenant},
                                          {"function", made->name},
                                          {"digest", made->its.digest},
                                          {"revision", revision}});
          nlohmann::json out = made->its;
          out["name"] = made->name;
          out["revision"] = revision;
          await(
              [this, made, revision] {
                const auto found = catalogue_->find(made->who.tenant, made->name);
                return found != nullptr && found->revision >= revision;
              },
              steady::now() + std::chrono::seconds(2),
              [made, out] { answer_json(made->open, 201, out); });
        });
  }

  static void refuse_overtaken(const exchange& open, const nlohmann::json& answer) {
    if (!store::is_overtaken(answer)) return refuse_store(open, answer);
    refuse(open, 409, "The function was deployed or removed through another gateway meanwhile");
  }

  /// Goes on when this gateway has learnt of what was written itself, so that who asked can use it.
  void await(const std::function<bool()>& is_known, steady::time_point until,
             const std::function<void()>& done) {
    if (is_known() || steady::now() > until) return done();
    requests_->after(std::chrono::milliseconds(2), [=, this] { await(is_known, until, done); });
  }

  void remove(const exchange& open, const identity& who, const std::string& name) {
    take_turn(open, who, name, [this](const deploying_ptr& its) {
      const std::string key = store::function_key(its->who.tenant, its->name);
      // Of a record that cannot be read, catalogues know an older one, or none.
      const auto known = catalogue_->find(its->who.tenant, its->name);
      if (!its->before && known == nullptr) {
        return refuse(its->open, 404, "There is no such function");
      }
      // A mark, which those who watch get. It does not stay: there may be names without end.
      store_->ask(
          store::subject_of(store::records, key), "",
          {{"KV-Operation", "PURGE"}, {"Nats-Rollup", "sub"}, store::expecting(its->revision)},
          store::patience, [this, its, key](const nats::message& reply) {
            const auto answer = store::parsed(reply);
            if (!store::is_stored(answer)) return refuse_overtaken(its->open, answer);
            const auto revision = answer["seq"].get<std::uint64_t>();
            if (its->before) drop_image(*its, *its->before);
            requests_->after(mark_kept, [this, key, revision] {
              store_client_->purge(store::records, key, revision);
            });
            removed(its, revision);
          });
    });
  }

  void removed(const deploying_ptr& its, std::uint64_t revision) {
    log_event("function.removed", {{"tenant", its->who.tenant}, {"function", its->name}});
    await(
        [this, its, revision] {
          const auto found = catalogue_->find(its->who.tenant, its->name);
          return found == nullptr || found->revision > revision;
        },
        steady::now() + std::chrono::seconds(2),
        [this, its] {
          counts_.erase(its->who.tenant + '.' + its->name);
          its->open->respond(204, "text/plain", "");
        });
  }

  void drop_image(const deploying& of, const deployment& its) {
    store_client_->purge(store::images,
                         store::parts_key(of.who.tenant, of.name, its.parts_name()) + ".*");
  }

  /// What the function printed and how it failed: the last entries, oldest first.
  void logs(const exchange& open, const identity& who, const std::string& name) {
    read_logs(open, store::printed + who.tenant + '.' + name, 1,
              std::make_shared<nlohmann::json>(nlohmann::json::array()));
  }
  void read_logs(const exchange& open, const std::string& subject, std::uint64_t from,
                 const std::shared_ptr<nlohmann::json>& out) {
    store_->ask(std::string("$JS.API.STREAM.MSG.GET.") + store::logs,
                to_text({{"seq", from}, {"next_by_subj", subject}}), {}, store::patience,
                [=, this](const nats::message& reply) {
                  if (reply == nullptr) return refuse(open, 503, "The store cannot be reached");
                  const auto answer = store::parsed(reply);
                  if (!answer.contains("message") || out->size() >= 100) {
                    return answer_json(open, 200, *out);
                  }
                  const auto& message = answer["message"];
                  out->push_back(entry_of(store::decode_base64(text_of(message, "data"))));
                  read_logs(open, subject, number_of(message, "seq", from) + 1, out);
                });
  }

  /// Of what is in the log no more than a worker writes there.
  static nlohmann::json entry_of(const std::string& logged) {
    const auto read = nlohmann::json::parse(logged, nullptr, false);
    nlohmann::json out = nlohmann::json::object();
    if (const auto time = read.find("time"); time != read.end() && time->is_number()) {
      out["time"] = time->get<double>();
    }
    for (const char* const each : {"output", "failure"}) {
      if (std::string text = text_of(read, each); !text.empty()) out[each] = std::move(text);
    }
    return out;
  }

  // The operator.

  void handle_operator(const exchange& open) {
    if (open->path == "/metrics" && open->method == "GET") {
      return open->respond(200, "text/plain; version=0.0.4", metrics());
    }
    constexpr std::string_view tenants = "/tenants/";
    if (!open->path.starts_with(tenants) || open->method != "PUT") {
      return refuse(open, 404, "An operator has PUT /tenants/NAME and GET /metrics");
    }
    if (open->is_too_large || open->is_too_much) return refuse(open, 413, "The body is too large");
    const std::string name = open->path.substr(tenants.size());
    if (!is_name(name)) return refuse_name(open, "tenant");
    try {
      tenant made = open->body.empty() ? tenant() : nlohmann::json::parse(open->body).get<tenant>();
      if (const std::string wrong = made.problem(); !wrong.empty()) {
        return refuse(open, 400, "A limit is wrong", {{"detail", wrong}});
      }
      const std::string owner = random_id() + random_id(), caller = random_id() + random_id();
      made.owner = digest_of(owner);
      made.caller = digest_of(caller);
      // Rarely done, so it may block.
      store::add_tenant(jetstream_.get(), name, retention_);
      store_->ask(
          store::subject_of(store::records, "tenant." + name), to_text(made), {}, store::patience,
          [this, open, name, owner, caller](const nats::message& reply) {
            const auto answer = store::parsed(reply);
            if (!store::is_stored(answer)) return refuse_store(open, answer);
            log_event("tenant.made", {{"tenant", name}});
            await(
                [this, token = digest_of(owner)] { return catalogue_->who(token).has_value(); },
                steady::now() + std::chrono::seconds(2),
                [open, name, owner, caller] {
                  answer_json(open, 201, {{"tenant", name}, {"owner", owner}, {"caller", caller}});
                });
          });
    } catch (const nlohmann::json::exception& why) {
      refuse(open, 400, "The limits are not what they should be", {{"detail", why.what()}});
    } catch (const nats::failure& why) {
      refuse(open, 503, "The store cannot be reached", {{"detail", why.what()}});
    }
  }

  std::string metrics() {
    std::string out, calls, times;
    append_head(out, "vespid_gateway_connections", "gauge", "Connections of clients.");
    out += "vespid_gateway_connections " + std::to_string(server_->connections()) + '\n';
    append_head(out, "vespid_gateway_running", "gauge", "Calls under way.");
    for (const auto& [name, use] : uses_) {
      out += "vespid_gateway_running{" + label("tenant", name) + "} " +
             std::to_string(use.running) + '\n';
    }
    for (const auto& [key, counts] : counts_) {
      const std::size_t dot = key.find('.');
      const std::string labels =
          label("tenant", key.substr(0, dot)) + ',' + label("function", key.substr(dot + 1));
      for (const auto& [status, count] : counts.by_status) {
        calls += "vespid_requests_total{" + labels + ',' + label("status", std::to_string(status)) +
                 "} " + std::to_string(count) + '\n';
      }
      counts.time.append(times, "vespid_request_seconds", labels);
    }
    append_head(out, "vespid_requests_total", "counter", "Calls by the status of the answer.");
    out += calls;
    append_head(out, "vespid_request_seconds", "histogram", "Time from a request to its answer.");
    return out + times;
  }

  // The store.

  static void refuse_store(const exchange& open, const nlohmann::json& answer) {
    const bool is_told = answer.contains("error");
    refuse(open, 503, is_told ? "The store does not take it" : "The store cannot be reached",
           is_told ? nlohmann::json{{"detail", text_of(answer["error"], "description")}}
                   : nlohmann::json::object());
  }

  store::retention retention_;
  std::size_t body_max_, image_max_;
  digest_type operator_;
  std::string page_;
  nats::connection blocking_;
  nats::jetstream jetstream_;
  std::unique_ptr<catalogue> catalogue_;
  virtine::os::fd epoll_;
  turns turns_;
  std::vector<std::weak_ptr<const deploying>> under_way_;
  std::unique_ptr<nats::event_connection> connection_;
  std::unique_ptr<nats::requests> requests_;  // Of workers.
  std::unique_ptr<nats::event_connection> store_connection_;
  std::unique_ptr<nats::requests> store_;
  std::unique_ptr<store::client> store_client_;
  std::unique_ptr<sweep> sweep_;
  std::unordered_map<std::string, tenant_use> uses_;
  std::map<std::string, function_counts> counts_;
  steady::time_point counts_looked_at_ = steady::now();
  std::unique_ptr<http::server> server_;
};

}  // namespace

int main(int argc, char** argv) {
  try {
    const nlohmann::json all = read_settings(argc, argv);
    set_up_signals();
    gateway(all, part_of(all, "gateway")).run();
    log_event("gateway.ended");
    return 0;
  } catch (const std::exception& why) {
    std::fprintf(stderr, "vespid-gateway: %s\n", why.what());
    return 1;
  }
}
