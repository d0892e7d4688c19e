// What a request costs that is answered in a virtine, beside the same handler in this process: a
// connection for each, of many clients and of one alone, as the virtines paper has it; kept
// connections; files of several sizes; and the parts of it. Wants two idle processors.
// SPDX-License-Identifier: MIT
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <guests/http.hpp>
#include <guests/http_seven.hpp>
#include <virtine/virtine.hpp>

#include "floor_exit.hpp"
#include "handler.hpp"
#include "handlers.hpp"
#include "harness.hpp"
#include "native.hpp"
#include "program.hpp"
#include "seven_handlers.hpp"

namespace {

using virtine::os::fd;

// A directory with a file of each size.
class site {
 public:
  site() {
    char name[] = "/tmp/virtine-http-XXXXXX";
    bench::check(::mkdtemp(name) != nullptr, "mkdtemp");
    path_ = name;
    for (const std::size_t kib : {1U, 64U, 1024U}) {
      std::ofstream(path_ / std::to_string(kib)) << std::string(kib * 1024, 'x');
    }
  }
  ~site() { std::filesystem::remove_all(path_); }
  site(const site&) = delete;
  site& operator=(const site&) = delete;

  [[nodiscard]] std::string path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// A server on one thread.
template <class Handler>
class served {
 public:
  explicit served(Handler handler)
      : listener_(http::listen_at("127.0.0.1", port_)),
        loop_(listener_.get(), stop_.get(), std::move(handler), {.timeout = std::chrono::hours(1)}),
        thread_([this] { loop_.run(); }) {}
  ~served() {
    const std::uint64_t one = 1;
    bench::check(::write(stop_.get(), &one, sizeof one) == sizeof one, "stop");
  }
  served(const served&) = delete;
  served& operator=(const served&) = delete;

  [[nodiscard]] fd connect() const {
    fd link{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port_);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int on = 1;
    bench::check(::connect(link.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) == 0 &&
                     ::setsockopt(link.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0,
                 "connect");
    return link;
  }

 private:
  std::uint16_t port_ = 0;
  fd listener_;
  fd stop_{::eventfd(0, EFD_CLOEXEC)};
  http::event_loop<Handler> loop_;
  std::jthread thread_;
};

// Receives a reply with a body of `size` times the letter x.
void receive(const fd& link, std::size_t size) {
  static std::vector<char> got(2 << 20);
  std::size_t count = 0;
  std::size_t wanted = 1;
  while (count < wanted) {
    const auto more = ::recv(link.get(), got.data() + count, got.size() - count, 0);
    bench::check(more > 0, "recv");
    count += static_cast<std::size_t>(more);
    const std::string_view all(got.data(), count);
    const std::size_t head = all.find("\r\n\r\n");
    wanted = head == std::string_view::npos ? count + 1 : head + 4 + size;
  }
  const std::string_view all(got.data(), count);
  bench::check(count == wanted && all.starts_with("HTTP/1.1 200 OK\r\n") && all.ends_with("xx"),
               "a reply");
}

// Takes each client's reply, and has it send its next request. Returns what a request takes of all
// the time, in which the server has those of all other clients to do.
template <class Handler>
bench::microseconds ask_all(const served<Handler>& server, std::vector<fd>& clients,
                            std::string_view request, std::size_t size, bool keeps) {
  const auto begin = bench::clock::now();
  for (fd& link : clients) {
    if (link) receive(link, size);
    if (!link || !keeps) link = server.connect();
    bench::check(::send(link.get(), request.data(), request.size(), 0) ==
                     static_cast<ssize_t>(request.size()),
                 "send");
  }
  return (bench::clock::now() - begin) / static_cast<double>(clients.size());
}

std::string request_for(std::size_t kib, bool keeps) {
  return "GET /" + std::to_string(kib) + " HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\n" +
         (keeps ? "" : "Connection: close\r\n") + "\r\n";
}

struct load {
  std::size_t kib;
  bool keeps = false;
  std::size_t clients = 16;
};

template <class Handler>
auto row_body(const served<Handler>& server, const load& of) {
  return [&server, of, request = request_for(of.kib, of.keeps),
          clients = std::make_shared<std::vector<fd>>(of.clients)] {
    return ask_all(server, *clients, request, of.kib * 1024, of.keeps);
  };
}

void measure_requests(bench::program& program, const http::directory& files) {
  virtine::pool<guests::http> pool;
  virtine::pool<guests::http_seven> pool_of_seven;
  const served native(http::not_isolated{files});
  const served ours(http::isolated<guests::http>(pool, files));
  const served by_connection(http::isolated_by_connection<guests::http>(pool, files));
  const served seven(http::isolated_with_seven<guests::http_seven>(pool_of_seven, files));

  const auto measure = [&](const std::string& prefix, const load& of, std::size_t samples) {
    bench::group rows({.samples = samples});
    rows.floor(prefix + "native", row_body(native, of));
    rows.row(prefix + "ours", row_body(ours, of));
    rows.row(prefix + "connection", row_body(by_connection, of));
    rows.row(prefix + "seven", row_body(seven, of));
    program.measure(std::move(rows));
  };
  measure("http.", {.kib = 1}, 1000);
  measure("http.alone.", {.kib = 1, .clients = 1}, 2000);
  measure("http.kept.", {.kib = 1, .keeps = true}, 1000);
  measure("http.alone.kept.", {.kib = 1, .keeps = true, .clients = 1}, 2000);
  measure("http.64K.", {.kib = 64}, 500);
  measure("http.1M.", {.kib = 1024}, 300);
}

// What a request adds to the native one: an exit, and what is copied and wiped.
void measure_parts(bench::program& program) {
  const std::string text = request_for(1, false);
  const std::string_view request = text;
  constexpr std::int64_t now = 1'700'000'000;
  const auto no_file = [](std::string_view) { return http::file_info{}; };
  auto policy = virtine::policy{virtine::allow<http::open_file>(
      [](virtine::tainted<std::string_view>) { return http::file_info{}; })};
  virtine::virtine_fn<http::reply(std::string_view, std::int64_t), guests::http, decltype(policy)>
      answer{policy};
  const bench::floor_exit exit;

  auto warmed = virtine::detail::machine::create(guests::http::description).value();
  using marshaller = virtine::detail::marshaller<http::reply(std::string_view, std::int64_t)>;
  const marshaller arguments(request, now);
  const auto write = [&] {
    bench::check(arguments.write(warmed->arguments(), warmed->arguments_address()).has_value(),
                 "arguments");
  };
  for (int i = 0; i < 3; ++i) {
    write();
    bench::check(warmed->enter(guests::http::answer::address, {}).has_value(), "enter");
    warmed->restore(arguments.used());
  }
  write();
  bench::check(warmed->enter(guests::http::answer::address, {}).has_value(), "enter");

  bench::group rows;
  rows.floor("http.part.exit", [&] { exit(); });
  rows.row("http.part.call",
           [&] { bench::check(answer(request, now).consumed == request.size(), "answer"); });
  rows.row(
      "http.part.native", [&] { bench::keep(http::answer(request, now, no_file)); }, 16);
  rows.row(
      "http.part.copies",
      [&] {
        write();
        bench::keep(arguments.read(warmed->arguments()));
      },
      16);
  rows.row(
      "http.part.wiping", [&] { warmed->restore(arguments.used()); }, 16);
  program.measure(std::move(rows));
}

}  // namespace

int main(int argc, char** argv) {
  bench::require_kvm();
  ::signal(SIGPIPE, SIG_IGN);
  bench::program program("http", argc, argv);
  const site files;
  measure_requests(program, http::directory(files.path()));
  measure_parts(program);
  return program.finish();
}
