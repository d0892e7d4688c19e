// An event loop: accepts connections, has a handler answer what comes, and closes those that are
// too slow. Must not know what requests and replies look like.
// SPDX-License-Identifier: MIT
#pragma once

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <system_error>
#include <utility>
#include <vector>

#include <virtine/os/fd.hpp>

#include "connection.hpp"

namespace http {

struct loop_options {
  /// How long a client may take for a whole request, for taking some of a reply, and between
  /// requests.
  std::chrono::milliseconds timeout = std::chrono::seconds(10);
  std::size_t connections = 1000;  ///< At one time; others wait to be accepted.
};

/// What a handler made of a connection's input.
enum class verdict : std::uint8_t {
  incomplete,  ///< More has to come.
  answered,    ///< What is to be sent is in the connection.
  failed,      ///< The connection is to be closed at once.
};

/// What a handler has that keeps nothing for a connection.
struct no_companion {
  static constexpr std::size_t descriptors = 0;
};

/// Serves connections on the thread that calls run(). `Handler` looks at a connection that has
/// input and nothing to send, and returns a Handler::outcome; later it is given both, and returns a
/// verdict. A Handler::companion is what it keeps for a connection, which ends with that.
///
/// All that came is received first, then all of it is looked at, then all is sent: to enter a
/// virtual machine and to leave it evicts much from the processor's caches, which is then done many
/// times in a row instead of between the system calls of each request.
template <class Handler>
class event_loop {
 public:
  /// `listener`, a socket that listens and does not block, and `stop`, a descriptor that becomes
  /// readable when run() is to return, must outlive this; other loops may use them too. Throws
  /// std::system_error.
  event_loop(int listener, int stop, Handler handler, loop_options options = {})
      : poll_(::epoll_create1(EPOLL_CLOEXEC)),
        listener_(listener),
        handler_(std::move(handler)),
        options_(options),
        events_(options.connections + 2) {  // And those of the listener and of `stop`.
    if (!poll_ || !watch(EPOLL_CTL_ADD, stop, EPOLLIN, &poll_)) {
      throw std::system_error(errno, std::generic_category(), "epoll");
    }
  }
  event_loop(const event_loop&) = delete;
  event_loop& operator=(const event_loop&) = delete;

  void run() {
    for (;;) {
      accept_if(active_.size() + ending_.size() < options_.connections && now_ >= pause_end_);
      // All that happened, so that nobody is late because others took long.
      const int count =
          ::epoll_wait(poll_.get(), events_.data(), static_cast<int>(events_.size()), time_left());
      now_ = clock::now();
      for (int i = 0; i < count; ++i) {
        void* const what = events_[static_cast<std::size_t>(i)].data.ptr;
        if (what == &poll_) return;
        if (what == &listener_) {
          accept();
        } else {
          take_up(*static_cast<client*>(what));
        }
      }
      close_late(active_);
      close_late(ending_);
      serve();
    }
  }

 private:
  using clock = std::chrono::steady_clock;

  struct client {
    explicit client(virtine::os::fd socket) : link(std::move(socket)) {}

    connection link;
    typename Handler::companion kept{};
    clock::time_point until;
    typename std::list<client>::iterator self;
    std::uint32_t waits_for = EPOLLIN;
    unsigned attempts = 0;  // To answer what came so far.
    bool is_ready = false;  // Whether it is among ready_.
    bool is_ending = false;
  };

  /// A client that sends byte by byte would have each of them looked at, all from the first one on.
  static constexpr unsigned most_attempts = 100;
  /// How long the requests of one turn may take before what else there is to do has its own.
  static constexpr std::chrono::milliseconds turn{10};
  static constexpr std::chrono::seconds farewell{1};
  static constexpr std::chrono::milliseconds pause{100};

  bool watch(int operation, int fd, std::uint32_t events, void* mark) {
    epoll_event wanted{};
    wanted.events = events;
    wanted.data.ptr = mark;
    return ::epoll_ctl(poll_.get(), operation, fd, &wanted) == 0;
  }

  void accept_if(bool wanted) {
    if (wanted == accepts_) return;
    // Exclusive, so that one new connection does not wake all loops.
    if (watch(wanted ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, listener_, EPOLLIN | EPOLLEXCLUSIVE,
              &listener_)) {
      accepts_ = wanted;
    }
  }

  void accept() {
    while (active_.size() + ending_.size() < options_.connections) {
      virtine::os::fd socket{::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)};
      if (!socket) {
        // Without a descriptor for it the connection stays there, and would wake this at once.
        if (errno == EMFILE || errno == ENFILE) pause_end_ = now_ + pause;
        return;
      }
      client& made = active_.emplace_back(std::move(socket));
      made.self = std::prev(active_.end());
      made.until = now_ + options_.timeout;
      if (watch(EPOLL_CTL_ADD, made.link.socket(), EPOLLIN, &made)) {
        take_up(made);
      } else {
        active_.pop_back();
      }
    }
  }

  /// Moves what can be moved of a connection, and remembers it if there is something to be
  /// answered.
  void take_up(client& of) {
    if (of.is_ending) return take_leave(of);
    if (of.is_ready) return;
    if (of.link.has_output() ? flush(of) : receive(of)) line_up(of);
  }

  /// Remembers a connection without output that may have something to be answered.
  void line_up(client& of) {
    if (of.link.input().empty()) return;
    of.is_ready = true;
    ready_.push_back(&of);
  }

  bool receive(client& of) {
    if (of.link.receive()) return true;
    close(of);
    return false;
  }

  /// Answers a request of each that is ready. What else came on its connection has to wait until
  /// others had their turn: a guest may take long, and may leave most of its input for the next.
  void serve() {
    if (ready_.empty()) return;
    const auto end = now_ + turn;
    do {
      client& next = *ready_[outcomes_.size()];
      outcomes_.push_back(handler_(next.link, next.kept));
      now_ = clock::now();
    } while (outcomes_.size() < ready_.size() && now_ < end);
    served_.assign(ready_.begin(), ready_.begin() + std::ssize(outcomes_));
    ready_.erase(ready_.begin(), ready_.begin() + std::ssize(outcomes_));
    std::size_t next = 0;
    std::erase_if(served_, [&](client* of) {
      of->is_ready = false;
      return !finish(*of, outcomes_[next++]);
    });
    for (client* of : served_) {
      if (flush(*of)) line_up(*of);
    }
    outcomes_.clear();
  }

  /// Does what a handler wants. Returns whether there is something to send.
  bool finish(client& of, typename Handler::outcome& outcome) {
    switch (handler_(outcome, of.link)) {
      case verdict::incomplete:
        // The deadline stays: a request that comes byte by byte has no more time than others.
        if (of.link.is_full() || ++of.attempts == most_attempts) close(of);
        return false;
      case verdict::failed:
        close(of);
        return false;
      case verdict::answered:
        break;
    }
    return true;
  }

  /// Sends what is to be sent. Returns whether the connection is ready for the next request.
  bool flush(client& of) {
    if (!of.link.flush()) {
      close(of);
      return false;
    }
    of.attempts = 0;
    of.until = now_ + options_.timeout;
    active_.splice(active_.end(), active_, of.self);
    const bool blocked = of.link.has_output();
    const std::uint32_t events = blocked ? EPOLLOUT : EPOLLIN;
    if (std::exchange(of.waits_for, events) != events) {
      watch(EPOLL_CTL_MOD, of.link.socket(), events, &of);
    }
    if (blocked) return false;
    if (!of.link.closes()) return true;
    // Closed with bytes unread, the connection would be reset and the reply lost on its way.
    ::shutdown(of.link.socket(), SHUT_WR);
    of.is_ending = true;
    of.until = now_ + farewell;
    ending_.splice(ending_.end(), active_, of.self);
    return false;
  }

  void take_leave(client& of) {
    std::array<char, 4096> ignored;
    const auto got = ::recv(of.link.socket(), ignored.data(), ignored.size(), 0);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) close(of);
  }

  void close(client& of) { (of.is_ending ? ending_ : active_).erase(of.self); }

  void close_late(std::list<client>& clients) {
    // Who waits for us is not late.
    while (!clients.empty() && clients.front().until <= now_ && !clients.front().is_ready) {
      clients.pop_front();
    }
  }

  /// Returns how many milliseconds may pass before somebody is late.
  int time_left() {
    if (!ready_.empty()) return 0;
    auto first = clock::now() + (now_ < pause_end_ ? pause : std::chrono::minutes(1));
    for (const std::list<client>* each : {&active_, &ending_}) {
      if (!each->empty()) first = std::min(first, each->front().until);
    }
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(first - clock::now()).count();
    return static_cast<int>(std::max<std::int64_t>(left, 0));
  }

  virtine::os::fd poll_;
  int listener_;
  Handler handler_;
  loop_options options_;
  // Both in the order of their deadlines, since all in one list have the same timeout.
  std::list<client> active_;
  std::list<client> ending_;
  std::vector<epoll_event> events_;
  std::vector<client*> ready_;  // To be answered, in this order.
  std::vector<client*> served_;
  std::vector<typename Handler::outcome> outcomes_;
  clock::time_point now_ = clock::now();
  clock::time_point pause_end_;  // Of accepting.
  bool accepts_ = false;
};

}  // namespace http
