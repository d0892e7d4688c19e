// An echo server: a virtine for each message, in bare protected mode or as an ordinary guest.
// Run: build/examples/echo/echo-server PORT [bare], and curl telnet://127.0.0.1:PORT
// SPDX-License-Identifier: MIT
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <system_error>

#include <guests/echo.hpp>
#include <guests/echo32.hpp>
#include <virtine/virtine.hpp>

#include "echoing.hpp"

namespace {

using virtine::os::fd;

bool read_port(std::string_view text, std::uint16_t& port) {
  const auto read = std::from_chars(text.begin(), text.end(), port);
  return read.ec == std::errc{} && read.ptr == text.end();
}

// Returns a socket that listens at a port of this machine's; `port` becomes the one it has.
fd listen_at(std::uint16_t& port) {
  fd listener{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  const int on = 1;
  sockaddr_in at{};
  socklen_t size = sizeof at;
  at.sin_family = AF_INET;
  at.sin_port = htons(port);
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* const generic = reinterpret_cast<sockaddr*>(&at);
  if (::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      ::bind(listener.get(), generic, size) != 0 || ::listen(listener.get(), 16) != 0 ||
      ::getsockname(listener.get(), generic, &size) != 0) {
    std::perror("listen");
    std::exit(1);
  }
  port = ntohs(at.sin_port);
  return listener;
}

template <class Image>
[[noreturn]] void serve(int listener) {
  virtine::pool<Image> pool;
  pool.warm_up(1).value();
  echo::echoer<Image> echo(pool);
  for (;;) {
    const fd link{::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC)};
    if (!link) {
      ::sleep(1);  // Until there may be descriptors again.
      continue;
    }
    // A client that says nothing, or takes nothing, must not keep the others waiting for ever.
    const timeval timeout{.tv_sec = 5, .tv_usec = 0};
    ::setsockopt(link.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    ::setsockopt(link.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    try {
      for (echo::milestones made = echo(link.get()); made.size > 0; made = echo(link.get())) {
        std::printf(
            "%zu bytes: entry %.1f us, received %.1f us, sent %.1f us; %llu and %llu cycles\n",
            made.size, made.entry.count(), made.received.count(), made.sent.count(),
            static_cast<unsigned long long>(made.cycles.received - made.cycles.entry),
            static_cast<unsigned long long>(made.cycles.sent - made.cycles.received));
        std::fflush(stdout);
      }
    } catch (const virtine::failure& why) {
      std::printf("%s\n", why.what());
      std::fflush(stdout);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bool is_bare = argc == 3 && std::string_view(argv[2]) == "bare";
  std::uint16_t port = 0;
  if ((argc != 2 && !is_bare) || !read_port(argv[1], port)) {
    std::fprintf(stderr, "usage: %s PORT [bare]\n", argv[0]);
    return 2;
  }
  if (auto system = virtine::kvm::system::shared(); !system) {
    std::printf("%s\n", virtine::to_string(system.error()).c_str());
    return 77;
  }
  const fd listener = listen_at(port);
  std::printf("listening on port %u\n", unsigned{port});
  std::fflush(stdout);
  try {
    if (is_bare) serve<guests::echo32>(listener.get());
    serve<guests::echo>(listener.get());
  } catch (const virtine::failure& why) {
    std::printf("%s\n", why.what());
    return 1;
  }
}
