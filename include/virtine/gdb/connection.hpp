// Where a debugger connects to, and the connection to one. No wait outlives the call's limits, and
// none the other side's end. Knows nothing of what is said.
// SPDX-License-Identifier: MIT
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <virtine/error.hpp>
#include <virtine/gdb/packet.hpp>
#include <virtine/machine/deadline.hpp>
#include <virtine/machine/runner.hpp>
#include <virtine/os/error_text.hpp>
#include <virtine/os/fd.hpp>
#include <virtine/result.hpp>

namespace virtine::gdb::detail {

/// How often a wait, and a guest that runs, looks whether something else has happened.
inline constexpr std::chrono::milliseconds glance{50};

using virtine::detail::check;

/// Returns whether `events` of `file` have come within `time`; the other side's end is one too.
inline bool wait(const os::fd& file, short events, std::chrono::milliseconds time) {
  pollfd waited{.fd = file.get(), .events = events, .revents = 0};
  return ::poll(&waited, 1, static_cast<int>(time.count())) > 0;
}

/// Waits for `events` of `file`.
inline result<void> wait(const os::fd& file, short events,
                         const virtine::detail::run_limits& limits) {
  while (!wait(file, events, glance)) {
    if (auto going_on = check(limits); !going_on) return going_on;
  }
  return {};
}

/// A connection to a debugger. Any failure is final.
class connection {
 public:
  explicit connection(os::fd socket) : socket_(std::move(socket)) {}

  /// Returns the next packet, or request to interrupt the guest. Fails with errc::cancelled if the
  /// other side is gone or breaks the protocol.
  result<message> next(const virtine::detail::run_limits& limits) {
    for (;;) {
      auto come = glance_at(limits);
      if (!come) return come.error();
      if (*come) return **std::move(come);
      if (auto more = wait(socket_, POLLIN, limits); !more) return more.error();
    }
  }

  /// The same if all of it has come; does not wait for more.
  result<std::optional<message>> glance_at(const virtine::detail::run_limits& limits) {
    for (;;) {
      // Each time round, because the other side can always have more to say.
      if (auto going_on = virtine::detail::check(limits); !going_on) return going_on.error();
      if (auto come = reader_.next()) {
        switch (come->what) {
          case message::kind::packet:
            if (auto sent = acknowledge('+', limits); !sent) return sent.error();
            return come;
          case message::kind::interrupt:
            return come;
          case message::kind::damaged:
            if (auto sent = acknowledge('-', limits); !sent) return sent.error();
            break;
          case message::kind::again:
            if (auto sent = write(last_, limits); !sent) return sent.error();
            break;
          case message::kind::too_long:
            return error{.code = errc::cancelled,
                         .operation = "the debugger broke the remote protocol"};
        }
        continue;
      }
      std::array<char, 4096> bytes{};
      const ssize_t count = ::recv(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
      if (count > 0) {
        reader_.feed({bytes.data(), static_cast<std::size_t>(count)});
      } else if (count < 0 && errno == EAGAIN) {
        return std::optional<message>{};
      } else if (count == 0 || errno != EINTR) {
        return gone();
      }
    }
  }

  /// Sends a packet.
  result<void> send(std::string_view payload, const virtine::detail::run_limits& limits) {
    last_ = to_packet(payload);
    return write(last_, limits);
  }

  /// Does without acknowledgements from now on.
  void trust() { acknowledges_ = false; }

 private:
  static error gone() { return {.code = errc::cancelled, .operation = "the debugger has hung up"}; }

  result<void> acknowledge(char how, const virtine::detail::run_limits& limits) {
    if (!acknowledges_) return {};
    return write({&how, 1}, limits);
  }

  result<void> write(std::string_view bytes, const virtine::detail::run_limits& limits) {
    while (!bytes.empty()) {
      if (auto room = wait(socket_, POLLOUT, limits); !room) return room;
      const ssize_t count =
          ::send(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (count > 0) {
        bytes.remove_prefix(static_cast<std::size_t>(count));
      } else if (errno != EAGAIN && errno != EINTR) {
        return gone();
      }
    }
    return {};
  }

  os::fd socket_;
  packet_reader reader_;
  std::string last_;
  bool acknowledges_ = true;
};

/// A place that a debugger can connect to: a Unix socket, which only this user can open, or, with
/// an empty path, a TCP port of the loopback interface, which every user of the machine can.
class listener {
 public:
  /// Opens it. An existing file is not replaced.
  static result<listener> open(const std::string& path, std::uint16_t port) {
    if (path.empty() && port == 0) {
      // The kernel would choose a port, and nobody know which.
      return os::explain("a debugger needs a socket or a port to connect to", EINVAL);
    }
    listener made;
    made.file_ = os::fd(::socket(path.empty() ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!made.file_) return os::explain("socket", errno);
    const int file = made.file_.get();
    if (path.empty()) {
      const int on = 1;
      // Else the next call could not have the port for a minute.
      if (::setsockopt(file, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0)
        return os::explain("SO_REUSEADDR", errno);
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_port = htons(port);
      address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      if (auto bound = made.bind(address); !bound) return bound.error();
    } else {
      sockaddr_un address{};
      address.sun_family = AF_UNIX;
      if (path.size() >= sizeof address.sun_path)
        return os::explain("the path of the debugger's socket is too long", ENAMETOOLONG);
      std::memcpy(address.sun_path, path.c_str(), path.size());
      // Before it has a name, so that nobody else can open it at any time.
      if (::fchmod(file, 0600) != 0) return os::explain("fchmod", errno);
      if (auto bound = made.bind(address); !bound) return bound.error();
      made.path_ = path;
    }
    if (::listen(file, 1) != 0) return os::explain("listen", errno);
    return made;
  }
  listener(listener&& other) noexcept
      : file_(std::move(other.file_)), path_(std::exchange(other.path_, {})) {}
  listener& operator=(listener&&) = delete;
  ~listener() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }

  /// Waits for a debugger.
  result<connection> accept(const virtine::detail::run_limits& limits) {
    for (;;) {
      if (auto come = wait(file_, POLLIN, limits); !come) return come.error();
      os::fd made(::accept4(file_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (made) return connection(std::move(made));
      if (errno != EINTR && errno != ECONNABORTED) return os::explain("accept", errno);
    }
  }

 private:
  listener() = default;

  template <class Address>
  result<void> bind(const Address& address) {
    // Sound: the kernel takes every kind of address by this type and looks at its family.
    const auto* any = reinterpret_cast<const sockaddr*>(&address);
    if (::bind(file_.get(), any, sizeof address) != 0)
      return os::explain("the place for the debugger to connect to cannot be opened", errno);
    return {};
  }

  os::fd file_;
  std::string path_;  // To be removed; empty: nothing.
};

}  // namespace virtine::gdb::detail
