// The other side of a debugger's connection, as a test plays it.
// SPDX-License-Identifier: MIT
#pragma once

#include "catch.hpp"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <future>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <virtine/gdb/packet.hpp>
#include <virtine/os/fd.hpp>

namespace gdb_client {

/// A path for a socket, which nothing else has.
inline std::string socket_path() {
  static int count = 0;
  return std::filesystem::temp_directory_path() /
         ("virtine-gdb-" + std::to_string(::getpid()) + "-" + std::to_string(++count));
}

/// A debugger. All waits end with the other side, or after a minute with a failed test.
class debugger {
 public:
  explicit debugger(virtine::os::fd socket) : socket_(std::move(socket)) {
    const timeval minute{.tv_sec = 60, .tv_usec = 0};
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &minute, sizeof minute);
  }

  /// Connects to `path` as soon as something listens there, if `call` does not end before.
  template <class R>
  static debugger connect(const std::string& path, std::future<R>& call) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    REQUIRE(path.size() < sizeof address.sun_path);
    std::memcpy(address.sun_path, path.c_str(), path.size());
    for (;;) {
      virtine::os::fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
      REQUIRE(socket.get() >= 0);
      // Sound: the kernel takes every kind of address by this type.
      const auto* any = reinterpret_cast<const sockaddr*>(&address);
      if (::connect(socket.get(), any, sizeof address) == 0) return debugger(std::move(socket));
      REQUIRE(call.wait_for(std::chrono::milliseconds(5)) == std::future_status::timeout);
    }
  }

  void close() { socket_ = virtine::os::fd(); }

  void write(std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t count = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count <= 0) return;  // The other side has had enough; what it said is still to be read.
      bytes.remove_prefix(static_cast<std::size_t>(count));
    }
  }
  void send(std::string_view payload) const { write(virtine::gdb::detail::to_packet(payload)); }
  void interrupt() const { write("\x03"); }

  /// Returns the next packet; "gone" when the other side has gone.
  std::string receive() {
    for (;;) {
      while (auto come = reader_.next()) {
        REQUIRE(come->what == virtine::gdb::detail::message::kind::packet);
        if (!come->text.starts_with('O') || come->text == "OK") return come->text;
        said += come->text.substr(1);
      }
      char bytes[4096];
      const ssize_t count = ::recv(socket_.get(), bytes, sizeof bytes, 0);
      if (count <= 0) return "gone";
      reader_.feed({bytes, static_cast<std::size_t>(count)});
    }
  }
  std::string ask(std::string_view payload) {
    send(payload);
    return receive();
  }

  std::uint64_t rip() { return number(ask("p10")); }
  std::uint64_t rax() { return number(ask("p0")); }

  /// Returns what a register's bytes stand for.
  static std::uint64_t number(const std::string& digits) {
    std::uint64_t value = 0;
    REQUIRE(virtine::gdb::detail::from_hex(digits, std::as_writable_bytes(std::span(&value, 1))));
    return value;
  }

  /// What the call's side has told the debugger's user, in hexadecimal.
  std::string said;

 private:
  virtine::os::fd socket_;
  virtine::gdb::detail::packet_reader reader_;
};

/// Returns `value` as the protocol has addresses.
inline std::string hex(std::uint64_t value) {
  std::string digits;
  for (int shift = 60; shift >= 0; shift -= 4) {
    const auto digit = value >> shift & 15;
    if (digit != 0 || !digits.empty() || shift == 0) digits += "0123456789abcdef"[digit];
  }
  return digits;
}

}  // namespace gdb_client
