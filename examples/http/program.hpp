// What the programs of this folder have in common: a command line, a socket that listens, and an
// event loop on each of some threads. Must not know how requests are answered.
// SPDX-License-Identifier: MIT
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include <virtine/os/fd.hpp>

#include "directory.hpp"
#include "server.hpp"

namespace http {

/// What has a machine of its own.
enum class isolation : std::uint8_t { by_request, by_connection };

struct program_options {
  std::string address = "127.0.0.1";
  std::uint16_t port = 8080;  ///< 0: one that is free.
  unsigned threads = std::max(std::thread::hardware_concurrency(), 1U);
  loop_options loop;
  isolation isolates = isolation::by_request;
  std::string directory;
};

inline constexpr const char* usage =
    "usage: %s [--address IPV4] [--port N] [--threads N] [--timeout MILLISECONDS]%s DIRECTORY\n";

/// Returns the number that `text` is, in [least, most]. Throws std::invalid_argument.
inline unsigned parse_number(std::string_view text, unsigned least, unsigned most) {
  unsigned number = 0;
  const auto read = std::from_chars(text.begin(), text.end(), number);
  if (read.ec != std::errc{} || read.ptr != text.end() || number < least || number > most) {
    throw std::invalid_argument(std::string(text));
  }
  return number;
}

/// Reads the command line, in which a choice of isolation may be. Throws std::invalid_argument.
inline program_options parse_options(int argc, char** argv, bool may_choose) {
  program_options given;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (!word.starts_with("--")) {
      given.directory = word;
    } else if (i + 1 == argc) {
      throw std::invalid_argument(argv[i]);
    } else if (word == "--address") {
      given.address = argv[++i];
    } else if (word == "--port") {
      given.port = static_cast<std::uint16_t>(parse_number(argv[++i], 0, UINT16_MAX));
    } else if (word == "--threads") {
      given.threads = parse_number(argv[++i], 1, 1024);
    } else if (word == "--isolate" && may_choose) {
      const std::string_view what = argv[++i];
      if (what != "request" && what != "connection") throw std::invalid_argument(argv[i]);
      given.isolates = what == "request" ? isolation::by_request : isolation::by_connection;
    } else if (word == "--timeout") {
      given.loop.timeout = std::chrono::milliseconds(parse_number(argv[++i], 1, UINT32_MAX));
    } else {
      throw std::invalid_argument(argv[i]);
    }
  }
  if (given.directory.empty()) throw std::invalid_argument("DIRECTORY");
  return given;
}

/// Returns a socket that listens at the address; `port` becomes the one it has. Throws
/// std::system_error.
inline virtine::os::fd listen_at(const std::string& address, std::uint16_t& port) {
  const auto fail = [] { throw std::system_error(errno, std::generic_category(), "listen"); };
  virtine::os::fd listener{::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
  const int on = 1;
  ::sockaddr_in at{};
  ::socklen_t size = sizeof at;
  at.sin_family = AF_INET;
  at.sin_port = htons(port);
  // Sound: the socket functions take any address type as a sockaddr, by its family.
  auto* const generic = reinterpret_cast<::sockaddr*>(&at);
  errno = EINVAL;
  // Connections inherit TCP_NODELAY: a reply is sent whole, and nothing follows it by itself.
  if (!listener || ::inet_pton(AF_INET, address.c_str(), &at.sin_addr) != 1 ||
      ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      ::setsockopt(listener.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
      ::bind(listener.get(), generic, size) != 0 || ::listen(listener.get(), SOMAXCONN) != 0 ||
      ::getsockname(listener.get(), generic, &size) != 0) {
    fail();
  }
  port = ntohs(at.sin_port);
  return listener;
}

inline ::sigset_t ending_signals() {
  ::sigset_t ends;
  ::sigemptyset(&ends);
  ::sigaddset(&ends, SIGINT);
  ::sigaddset(&ends, SIGTERM);
  return ends;
}

/// Returns how many connections each of some threads may have, with `each` descriptors for a
/// connection: a file that cannot be opened for want of one would seem not to be there. Makes use
/// of all descriptors that this process may have. Throws std::system_error.
inline std::size_t most_connections(std::size_t threads, std::size_t each) {
  ::rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const std::size_t others = 32 + 16 * threads;  // Of machines, for the most part.
  if (limit.rlim_cur < others + each * threads) {
    throw std::system_error(EMFILE, std::generic_category(), "so many threads");
  }
  return (limit.rlim_cur - others) / (each * threads);
}

/// Serves until SIGINT or SIGTERM. `make_handler` returns a handler for each thread. Throws
/// std::system_error.
template <class MakeHandler>
void serve(program_options given, const MakeHandler& make_handler) {
  using handler = decltype(make_handler());
  const std::size_t descriptors = 2 + handler::companion::descriptors;  // Its socket, a file.
  given.loop.connections =
      std::min(given.loop.connections, most_connections(given.threads, descriptors));
  const ::sigset_t ends = ending_signals();
  const virtine::os::fd stop{::signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK)};
  const virtine::os::fd listener = listen_at(given.address, given.port);
  std::list<event_loop<handler>> loops;
  for (unsigned i = 0; i < given.threads; ++i) {
    loops.emplace_back(listener.get(), stop.get(), make_handler(), given.loop);
  }
  std::printf("listening on http://%s:%u/\n", given.address.c_str(), unsigned{given.port});
  std::fflush(stdout);
  std::vector<std::jthread> threads;
  for (auto& each : loops) threads.emplace_back([&each] { each.run(); });
}

/// The body of a main function: `run` takes the options, whose `isolates` it obeys if `may_choose`.
template <class Run>
int run_program(int argc, char** argv, const Run& run, bool may_choose = false) {
  program_options given;
  try {
    given = parse_options(argc, argv, may_choose);
  } catch (const std::logic_error&) {
    std::fprintf(stderr, usage, argv[0], may_choose ? " [--isolate request|connection]" : "");
    return 2;
  }
  // Before there are other threads, which would end the process by these signals.
  const ::sigset_t ends = ending_signals();
  ::pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  ::signal(SIGPIPE, SIG_IGN);  // sendfile() has no flag against it.
  try {
    run(given);
    return 0;
  } catch (const std::exception& why) {
    std::fprintf(stderr, "%s\n", why.what());
    return 1;
  }
}

}  // namespace http
