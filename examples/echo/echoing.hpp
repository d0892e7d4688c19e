// The host's half of an echo: the socket that a virtine gets, and when it used it.
// Must not know how connections are made.
// SPDX-License-Identifier: MIT
#pragma once

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include <virtine/virtine.hpp>

#include "echo.hpp"

namespace echo {

using microseconds = std::chrono::duration<double, std::micro>;

/// When a call came to its milestones, from its begin on. The guest has come to each a little
/// earlier: by the exit in which it tells.
struct milestones {
  microseconds entry{};     ///< It runs, and wants to receive.
  microseconds received{};  ///< It has received, and wants to send.
  microseconds sent{};      ///< It has sent, and the call is over.
  std::size_t size = 0;     ///< Of what it received; 0: the connection is at its end.
  counts cycles;
};

/// Echoes what comes on a socket, once in each call, in a virtine that has this socket and nothing
/// else. `Image` has the function `counts serve()`.
template <class Image>
class echoer {
 public:
  /// `pool` must outlive this.
  explicit echoer(virtine::pool<Image>& pool) : serve_(pool, grant_socket(*state_)) {}

  /// Waits for bytes on `socket` and sends them back. Throws virtine::failure.
  milestones operator()(int socket) {
    state_->socket = socket;
    state_->made = {};
    state_->begin = clock::now();
    const counts cycles = serve_();
    milestones made = state_->made;
    made.sent = clock::now() - state_->begin;
    made.cycles = cycles;
    return made;
  }

 private:
  using clock = std::chrono::steady_clock;

  struct state {
    int socket = -1;
    clock::time_point begin;
    milestones made;
  };

  static auto grant_socket(state& on) {
    return virtine::policy{
        virtine::allow<receive>([&on](virtine::guest_buffer<std::byte> to) {
          on.made.entry = clock::now() - on.begin;
          std::array<std::byte, 4096> text;
          const auto got = ::recv(on.socket, text.data(), std::min(text.size(), to.size()), 0);
          on.made.size =
              to.fill(std::span(text).first(got > 0 ? static_cast<std::size_t>(got) : 0));
          return static_cast<std::uint32_t>(on.made.size);
        }),
        virtine::allow<send>([&on](virtine::tainted<std::span<const std::byte>> text) {
          on.made.received = clock::now() - on.begin;
          const auto bytes = text.unverified_because("it goes to the guest's own connection");
          const auto sent = ::send(on.socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
          const std::size_t size = sent > 0 ? static_cast<std::size_t>(sent) : 0;
          if (size < bytes.size()) on.made.size = 0;
          return static_cast<std::uint32_t>(size);
        }),
    };
  }

  std::unique_ptr<state> state_ = std::make_unique<state>();
  virtine::virtine_fn<counts(), Image, decltype(grant_socket(std::declval<state&>()))> serve_;
};

}  // namespace echo
