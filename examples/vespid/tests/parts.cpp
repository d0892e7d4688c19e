// The parts of Vespid that decide something, each alone: turns, limits, names, times.
// SPDX-License-Identifier: MIT
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <virtine/os/fd.hpp>
#include <virtine/os/mapping.hpp>

#include "catch.hpp"

#include "../breaker.hpp"
#include "../deployment.hpp"
#include "../fair_queue.hpp"
#include "../http_server.hpp"
#include "../kept_memory.hpp"
#include "../metrics.hpp"
#include "../rate_limit.hpp"
#include "../turns.hpp"

namespace {

using namespace std::chrono_literals;
using vespid::fair_queue;

TEST_CASE("tenants take turns, and one leaves room for others") {
  fair_queue<int> queue({.running = 4, .running_of_tenant = 3, .waiting_of_tenant = 5});
  for (int i = 0; i < 5; ++i) REQUIRE(!queue.push("a", "f", 10, i));
  CHECK(queue.push("a", "f", 10, 5) == 5);  // Returned: the tenant has enough.
  REQUIRE(!queue.push("b", "f", 10, 100));
  REQUIRE(!queue.push("b", "f", 10, 101));
  CHECK(queue.pop()->job == 0);
  CHECK(queue.pop()->job == 100);
  CHECK(queue.pop()->job == 1);
  CHECK(queue.pop()->job == 101);
  CHECK(!queue.pop());  // All slots are taken.
  queue.done("b", "f");
  CHECK(queue.pop()->job == 2);
  queue.done("b", "f");
  CHECK(!queue.pop());  // A slot is free, but not for this tenant.
  queue.done("a", "f");
  CHECK(queue.pop()->job == 3);
  CHECK(queue.running() == 3);
  CHECK(queue.waiting() == 1);
}

TEST_CASE("a function runs no more often at one time than it may, and others pass it") {
  fair_queue<int> queue({.running = 4, .running_of_tenant = 4, .waiting_of_tenant = 5});
  REQUIRE(!queue.push("a", "one", 1, 1));
  REQUIRE(!queue.push("a", "one", 1, 2));
  REQUIRE(!queue.push("a", "other", 1, 3));
  CHECK(queue.pop()->job == 1);
  CHECK(queue.pop()->job == 3);
  CHECK(!queue.pop());
  queue.done("a", "one");
  CHECK(queue.pop()->job == 2);
  queue.done("a", "one");
  queue.done("a", "other");
  CHECK(queue.running() == 0);
  CHECK(!queue.pop());
}

TEST_CASE("a function that only fails is stopped, tried again, and free after a success") {
  vespid::breaker it;
  const vespid::breaker::clock::time_point now{};
  for (unsigned i = 1; i < vespid::breaker::faults_allowed; ++i) {
    CHECK(!it.failed(now));
    CHECK(it.may_run(now));
  }
  CHECK(it.failed(now));
  CHECK(it.is_stopped());
  CHECK(!it.may_run(now));
  CHECK(!it.may_run(now + vespid::breaker::pause - 1ns));
  CHECK(it.may_run(now + vespid::breaker::pause));
  CHECK(!it.may_run(now + vespid::breaker::pause));  // One trial.
  CHECK(!it.failed(now + vespid::breaker::pause));   // It was told once.
  CHECK(!it.may_run(now + vespid::breaker::pause));
  it.succeeded();
  CHECK(it.may_run(now));
}

TEST_CASE("a rate lets twice its requests through at once, then as many as it says") {
  vespid::rate_limit it;
  vespid::rate_limit::clock::time_point now{};
  for (int i = 0; i < 20; ++i) CHECK(it.may_pass(10, now));
  CHECK(!it.may_pass(10, now));
  now += 100ms;
  CHECK(it.may_pass(10, now));
  CHECK(!it.may_pass(10, now));
  now += 1h;  // No more than twice the rate is saved up.
  for (int i = 0; i < 20; ++i) CHECK(it.may_pass(10, now));
  CHECK(!it.may_pass(10, now));
}

TEST_CASE("who keeps most lets go first, of what it kept for longest") {
  const auto first = [](const std::vector<vespid::kept_function>& of, std::uint64_t use = 0) {
    return vespid::first_to_go(of, use);
  };
  CHECK(first({{"a", 100, 0, 1s}}) == 0);
  CHECK(first({{"a", 100, 0, 1s}, {"b", 90, 0, 60s}}) == 0);
  CHECK(first({{"a", 100, 0, 1s}, {"b", 60, 0, 1s}, {"b", 60, 0, 2s}}) == 2);
  CHECK(first({{"a", 10, 0, 2s}, {"b", 5, 0, 90s}, {"a", 30, 0, 1s}}) == 2);
  CHECK(first({{"a", 0, 0, 0s}, {"b", 0, 0, 0s}}) < 2);
  // Who can have read most, if much is there that nobody wrote.
  CHECK(first({{"a", 100, 50, 1s}, {"b", 90, 900, 1s}}, 190) == 0);
  CHECK(first({{"a", 100, 50, 1s}, {"b", 90, 900, 1s}}, 400) == 1);
}

TEST_CASE("memory counts where it is taken, mapped or not, and once") {
  constexpr std::size_t size = std::size_t{64} << 20;
  const auto before = vespid::memory_use();
  const auto is_about = [&](std::uint64_t sizes) {
    const auto now = vespid::memory_use();
    return now + size / 4 > before + sizes * size && now < before + sizes * size + size / 4;
  };
  const auto file = virtine::os::create_memfd("test", size);
  REQUIRE(file);
  REQUIRE(virtine::os::write_at(*file, std::vector<std::byte>(size), 0));
  CHECK(is_about(1));
  const auto mapped =
      virtine::os::mapping::of(*file, size, virtine::os::sharing::private_, PROT_READ | PROT_WRITE);
  REQUIRE(mapped);
  std::size_t sum = 0;
  for (std::size_t i = 0; i < size; i += 4096) sum += static_cast<std::size_t>(mapped->bytes()[i]);
  CHECK(sum == 0);
  CHECK(is_about(1));
  for (std::size_t i = 0; i < size; i += 4096) mapped->bytes()[i] = std::byte{1};
  CHECK(is_about(2));
}

TEST_CASE("names cannot be anything but names") {
  CHECK(vespid::is_name("a-b_9"));
  for (const char* each : {"", "A", "a.b", "a*", ">", "a b", "../a", "\xc3\xa4"}) {
    CHECK(!vespid::is_name(each));
  }
  CHECK(vespid::is_name(std::string(64, 'a')));
  CHECK(!vespid::is_name(std::string(65, 'a')));
}

TEST_CASE("a deployment survives JSON, and says what is wrong with it") {
  vespid::deployment it;
  it.digest = vespid::digest_of("abc");
  CHECK(it.digest == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  it.calling = vespid::calling::sized;
  it.grants = {"kv", "output"};
  it.environment = {{"K", "V"}};
  const auto back = nlohmann::json(it).get<vespid::deployment>();
  CHECK(nlohmann::json(back) == nlohmann::json(it));
  CHECK(back.problem().empty());
  const auto wrong = [](auto change) {
    vespid::deployment other;
    change(other);
    return !other.problem().empty();
  };
  CHECK(wrong([](auto& its) { its.timeout_ms = 0; }));
  CHECK(wrong([](auto& its) { its.timeout_ms = 60'001; }));
  CHECK(wrong([](auto& its) { its.memory = std::uint64_t{1} << 40; }));
  CHECK(wrong([](auto& its) { its.concurrency = 0; }));
  CHECK(wrong([](auto& its) { its.grants = {"network"}; }));
  CHECK(wrong([](auto& its) { its.kind = "shell"; }));
  CHECK(wrong([](auto& its) { its.environment = {{"K", std::string(5000, 'x')}}; }));
}

TEST_CASE("a worker's check decides nothing but what the exported function is") {
  vespid::deployment asked;
  asked.digest = vespid::digest_of("abc");
  asked.size = 3;
  REQUIRE(asked.problem_of_record().empty());
  const nlohmann::json answer{{"entry", "f"},
                              {"signature", "i4(i4)"},
                              {"calling", "sized"},
                              {"grants", {"kv"}},
                              {"memory", 1},
                              {"timeout_ms", 60'000},
                              {"concurrency", 1000},
                              {"room", 1},
                              {"digest", vespid::digest_of("x")},
                              {"size", 1},
                              {"kind", "script"},
                              {"environment", {{"A", "b"}}}};
  vespid::deployment its = asked;
  CHECK(add_checked(its, answer).empty());
  CHECK(its.entry == "f");
  CHECK(its.signature == "i4(i4)");
  CHECK(its.calling == vespid::calling::sized);
  its.entry = asked.entry;
  its.signature = asked.signature;
  its.calling = asked.calling;
  CHECK(nlohmann::json(its) == nlohmann::json(asked));

  const auto is_refused = [&](const char* name, const nlohmann::json& value) {
    auto changed = answer;
    changed[name] = value;
    auto to = asked;
    return !add_checked(to, changed).empty();
  };
  CHECK(is_refused("entry", ""));
  CHECK(is_refused("entry", 7));
  CHECK(is_refused("entry", "a\nb"));
  CHECK(is_refused("entry", std::string(5000, 'x')));
  CHECK(is_refused("signature", std::string(1, '\0')));
  CHECK(is_refused("calling", "other"));
  CHECK(is_refused("calling", nullptr));
  CHECK(!add_checked(asked, nlohmann::json::array()).empty());
  asked.entry = "g";
  CHECK(is_refused("entry", "f"));
  CHECK(!is_refused("entry", "g"));

  asked.digest = "*";
  CHECK(!asked.problem_of_record().empty());
  asked.digest = vespid::digest_of("abc");
  asked.size = 0;
  CHECK(!asked.problem_of_record().empty());
}

TEST_CASE("those that change one thing take turns, whatever becomes of them") {
  auto its = std::make_unique<vespid::turns>();
  std::string done;
  std::vector<vespid::turns::turn> kept;
  const auto take = [&](const char* what, char name) {
    its->take(what, [&done, &kept, name](const vespid::turns::turn& turn) {
      done += name;
      kept.push_back(turn);
    });
  };
  take("a", '1');
  take("a", '2');
  its->take("a", [](const vespid::turns::turn&) { throw std::runtime_error("it fails"); });
  take("a", '3');
  take("b", '4');
  its->run();
  CHECK(done == "14");
  CHECK(!its->is_due());
  kept.push_back(kept[0]);
  kept.erase(kept.begin());
  CHECK(!its->is_due());  // The copy has the turn still.
  kept.pop_back();
  CHECK(its->is_due());
  its->run();
  CHECK(done == "142");
  kept.pop_back();
  CHECK_THROWS_AS(its->run(), std::runtime_error);
  CHECK(its->is_due());
  its->run();
  CHECK(done == "1423");
  kept.clear();
  CHECK(!its->is_due());
  take("a", '5');
  take("a", '6');
  CHECK(done == "14235");
  its.reset();  // Before the turn ends.
  kept.clear();
  CHECK(done == "14235");
}

/// A server in this thread, and those who ask it.
struct served {
  explicit served(const vespid::http::server::handler& handle)
      : its("127.0.0.1", 0, {.request = 1s}, handle,
            [](const vespid::http::exchange&) { return vespid::http::body_terms{}; }) {}
  vespid::http::server its;

  virtine::os::fd connect() const {
    virtine::os::fd out(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(its.port());
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    // Sound: that is how the kernel takes addresses.
    REQUIRE(::connect(out.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0);
    return out;
  }
  static bool send(const virtine::os::fd& to, std::string_view text) {
    return ::send(to.get(), text.data(), text.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(text.size());
  }
  /// Returns what has come; nothing if the connection has ended.
  static std::optional<std::string> read(const virtine::os::fd& from) {
    std::string out(4096, '\0');
    const ssize_t got = ::recv(from.get(), out.data(), out.size(), MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN)) return std::nullopt;
    out.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
    return out;
  }
  void turn() {
    its.run();
    std::this_thread::sleep_for(5ms);
  }
  /// Sends a request and returns the begin of its answer.
  std::string ask(const virtine::os::fd& on, const std::string& path) {
    send(on, "GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n");
    for (int i = 0; i < 1000; ++i) {
      turn();
      its.end_slow();
      const auto got = read(on);
      if (!got || !got->empty()) return got.value_or("").substr(0, 12);
    }
    return "";
  }
};

TEST_CASE("a request whose handler fails is answered, at once or when it has let go of it") {
  std::shared_ptr<vespid::http::exchange> kept;
  served its([&](const std::shared_ptr<vespid::http::exchange>& open) {
    if (open->path == "/fails") throw std::runtime_error("it fails");
    if (open->path == "/kept") kept = open;
  });
  CHECK(its.ask(its.connect(), "/fails") == "HTTP/1.1 500");
  CHECK(its.ask(its.connect(), "/forgotten") == "HTTP/1.1 500");
  const auto waiting = its.connect();
  REQUIRE(served::send(waiting, "GET /kept HTTP/1.1\r\nHost: x\r\n\r\n"));
  for (int i = 0; i < 100; ++i) {
    its.turn();
    its.its.end_slow();
  }
  CHECK(served::read(waiting) == "");
  REQUIRE(kept != nullptr);
  kept->respond(200, "text/plain", "");
  for (int i = 0; i < 100; ++i) its.turn();
  CHECK(served::read(waiting).value_or("").starts_with("HTTP/1.1 200"));
}

TEST_CASE("every request of a connection has to come in time, and between two there is more") {
  served its([](const std::shared_ptr<vespid::http::exchange>& open) {
    open->respond(200, "text/plain", "");
  });
  const auto first = its.connect(), second = its.connect(), idle = its.connect();
  CHECK(its.ask(second, "/") == "HTTP/1.1 200");
  CHECK(its.ask(idle, "/") == "HTTP/1.1 200");
  REQUIRE(served::send(first, "G"));
  REQUIRE(served::send(second, "GET / HTTP/1.1\r\nHost: x\r\nX: "));
  bool is_first_open = true, is_second_open = true;
  const auto until = std::chrono::steady_clock::now() + 30s;
  while ((is_first_open || is_second_open) && std::chrono::steady_clock::now() < until) {
    is_first_open = is_first_open && served::send(first, "G") && served::read(first);
    is_second_open = is_second_open && served::send(second, "x") && served::read(second);
    its.turn();
    its.its.end_slow();
  }
  CHECK(!is_first_open);
  CHECK(!is_second_open);
  CHECK(its.ask(idle, "/") == "HTTP/1.1 200");
  std::this_thread::sleep_for(1100ms);
  CHECK(its.ask(idle, "/") == "HTTP/1.1 200");
}

TEST_CASE("quantiles are those of what was added, to a fifth") {
  vespid::histogram it;
  CHECK(it.quantile(0.5) == 0);
  for (int i = 1; i <= 1000; ++i) it.add(std::chrono::microseconds(i));
  CHECK(it.quantile(0.5) >= 500);
  CHECK(it.quantile(0.5) <= 600);
  CHECK(it.quantile(0.99) >= 990);
  CHECK(it.quantile(0.99) <= 1190);
  std::string out;
  it.append(out, "time", vespid::label("name", "a\"b"));
  CHECK(out.find("time_count{name=\"a\\\"b\"} 1000\n") != out.npos);
  CHECK(out.find("le=\"+Inf\"} 1000\n") != out.npos);
}

}  // namespace
