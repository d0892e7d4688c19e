// An HTTP server in an epoll loop, by libmicrohttpd: whole requests go to a handler, which answers
// at once or later. Bounds what a client can make it keep: connections, headers, bodies, time.
// Knows nothing of functions and tokens.
// SPDX-License-Identifier: MIT
#pragma once

#include <arpa/inet.h>
#include <linux/tcp.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <strings.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vespid::http {

using header_list = std::vector<std::pair<std::string, std::string>>;

struct limits {
  std::size_t headers = std::size_t{16} << 10;
  unsigned connections = 2000;
  unsigned connections_of_address = 1000;
  /// From its first byte, or the connection's begin, to its last.
  std::chrono::seconds request{15};
  std::chrono::seconds idle{75};               ///< Without a byte, between requests and in them.
  std::size_t bodies = std::size_t{64} << 20;  ///< Of one account's requests, all together.
};

/// What a request's body may be.
struct body_terms {
  std::size_t most = 0;  ///< Bytes.
  std::string account;   ///< Whose the bytes are, for limits::bodies.
};

/// One request and its answer. Of one thread, the server's.
class exchange {
 public:
  std::string method;
  std::string path;
  std::string body;
  bool is_too_large = false;  ///< The body; then it is not kept.
  bool is_too_much = false;   ///< The body, with the others of its account; then it is not kept.

  exchange() = default;
  exchange(const exchange&) = delete;
  exchange& operator=(const exchange&) = delete;
  ~exchange() { drop_body(); }

  [[nodiscard]] std::string_view header(const char* name) const {
    const char* const found = MHD_lookup_connection_value(connection_, MHD_HEADER_KIND, name);
    return found != nullptr ? found : "";
  }
  [[nodiscard]] bool is_over() const { return is_over_; }
  [[nodiscard]] std::chrono::steady_clock::time_point begun() const { return begun_; }

  /// Answers; the first time only.
  void respond(unsigned status, std::string_view type, std::string_view text,
               const header_list& more = {}) {
    if (response_ != nullptr || is_over_) return;
    // Sound: the library copies the bytes, and does not write them.
    response_.reset(MHD_create_response_from_buffer(text.size(), const_cast<char*>(text.data()),
                                                    MHD_RESPMEM_MUST_COPY));
    MHD_add_response_header(response_.get(), "Content-Type", std::string(type).c_str());
    MHD_add_response_header(response_.get(), "X-Content-Type-Options", "nosniff");
    for (const auto& [name, value] : more) {
      MHD_add_response_header(response_.get(), name.c_str(), value.c_str());
    }
    status_ = status;
    if (is_suspended_) {
      is_suspended_ = false;
      MHD_resume_connection(connection_);
    }
  }

 private:
  friend class server;
  struct destroyer {
    void operator()(MHD_Response* it) const { MHD_destroy_response(it); }
  };

  void add_to_body(std::string_view data, std::size_t most_of_account) {
    if (is_too_large || is_too_much) return;
    is_too_large = body.size() + data.size() > body_max_;
    is_too_much = *held_ + data.size() > most_of_account;
    if (is_too_large || is_too_much) return drop_body();
    body.append(data);
    *held_ += data.size();
  }
  void drop_body() {
    if (held_ != nullptr) *held_ -= body.size();
    std::string().swap(body);
  }

  MHD_Connection* connection_ = nullptr;
  std::unique_ptr<MHD_Response, destroyer> response_;
  unsigned status_ = 0;
  std::size_t body_max_ = 0;
  std::shared_ptr<std::size_t> held_;  // Bytes of all bodies of the account.
  bool is_handled_ = false;
  bool is_suspended_ = false;
  bool is_over_ = false;
  std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
};

class server {
 public:
  using handler = std::function<void(const std::shared_ptr<exchange>&)>;
  /// Says what the body of this request may be, before it is read.
  using body_limit = std::function<body_terms(const exchange&)>;

  /// Listens on `address`:`port`; port 0 is any that is free.
  server(const std::string& address, std::uint16_t port, const limits& bounds, handler handle,
         body_limit body)
      : limits_(bounds), handle_(std::move(handle)), body_(std::move(body)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(port);
    if (::inet_pton(AF_INET, address.c_str(), &at.sin_addr) != 1) {
      throw std::runtime_error(address + " is no address (IPv4)");
    }
    daemon_ = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_TURBO, 0, nullptr, nullptr, access, this,
        MHD_OPTION_SOCK_ADDR, &at, MHD_OPTION_CONNECTION_LIMIT, bounds.connections,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, bounds.connections_of_address,
        MHD_OPTION_CONNECTION_TIMEOUT, static_cast<unsigned>(bounds.idle.count()),
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, bounds.headers + (std::size_t{16} << 10),
        MHD_OPTION_NOTIFY_COMPLETED, completed, this, MHD_OPTION_NOTIFY_CONNECTION, connected, this,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_LISTEN_BACKLOG_SIZE, 1024U,
        MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, nullptr, MHD_OPTION_END);
    if (daemon_ == nullptr) {
      throw std::runtime_error("cannot listen on " + address + ':' + std::to_string(port) +
                               "; another program may do so");
    }
  }
  server(const server&) = delete;
  server& operator=(const server&) = delete;
  ~server() {
    for (const auto& [connection, its] : connections_) {
      if (const auto open = its.open.lock(); open && open->is_suspended_) {
        open->respond(503, "text/plain", "the gateway ends\n");
      }
    }
    MHD_stop_daemon(daemon_);
  }

  [[nodiscard]] std::uint16_t port() const {
    return MHD_get_daemon_info(daemon_, MHD_DAEMON_INFO_BIND_PORT)->port;
  }
  /// Readable when run() has something to do.
  [[nodiscard]] int epoll() const {
    return MHD_get_daemon_info(daemon_, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
  }
  void run() { MHD_run(daemon_); }
  /// Returns how many milliseconds there are until run() is due in any case; -1: no limit.
  [[nodiscard]] int patience() const {
    MHD_UNSIGNED_LONG_LONG out = 0;
    return MHD_get_timeout(daemon_, &out) == MHD_YES ? static_cast<int>(std::min(out, 60'000ULL))
                                                     : -1;
  }

  /// Ends connections whose request, the first or a later one, takes longer to come than
  /// limits::request; call it every second. libmicrohttpd's own timeout, which ends those between
  /// two requests, begins again with each byte.
  void end_slow() {
    const auto now = std::chrono::steady_clock::now();
    for (auto& [connection, its] : connections_) {
      if (its.awaits == awaited::next && received_by(connection) != its.received) {
        its.awaits = awaited::request;
        its.since = now;
      }
      if (its.awaits == awaited::request && now - its.since > limits_.request) {
        ::shutdown(socket_of(connection), SHUT_RDWR);
      }
      end_forgotten(its);
    }
  }
  [[nodiscard]] std::size_t connections() const { return connections_.size(); }

 private:
  struct connection_state;
  /// One that waits for an answer that nobody can give any more: who was to give it has failed.
  static void end_forgotten(const connection_state& its) {
    const auto open = its.open.lock();
    const bool is_forgotten =
        open != nullptr && open.use_count() == 2;  // Here, and for completed().
    if (is_forgotten && open->is_suspended_) {
      open->respond(500, "text/plain", "the gateway failed at this request\n");
    }
  }

  enum class awaited : std::uint8_t {
    request,  ///< The rest of it; of a connection's first one the begin, too.
    answer,
    next,  ///< A first byte of the next request.
  };
  struct connection_state {
    awaited awaits = awaited::request;
    std::chrono::steady_clock::time_point since = std::chrono::steady_clock::now();  // As request.
    std::uint64_t received = 0;  // Bytes, when it began to wait for the next.
    std::weak_ptr<exchange> open;
  };

  static int socket_of(MHD_Connection* connection) {
    const auto* const found =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    return found != nullptr ? found->connect_fd : -1;
  }
  /// libmicrohttpd does not tell that a request has begun, but the kernel counts the bytes.
  static std::uint64_t received_by(MHD_Connection* connection) {
    tcp_info its{};
    ::socklen_t size = sizeof its;
    const bool is_told =
        ::getsockopt(socket_of(connection), IPPROTO_TCP, TCP_INFO, &its, &size) == 0;
    return is_told ? its.tcpi_bytes_received : 0;
  }

  static MHD_Result access(void* self, MHD_Connection* connection, const char* url,
                           const char* method, const char*, const char* data, std::size_t* size,
                           void** state) {
    try {
      return static_cast<server*>(self)->on_access(connection, url, method, data, size, state);
    } catch (const std::exception&) {  // Memory, most likely. It closes the connection.
      return MHD_NO;
    }
  }

  MHD_Result on_access(MHD_Connection* connection, const char* url, const char* method,
                       const char* data, std::size_t* size, void** state) {
    auto* kept = static_cast<std::shared_ptr<exchange>*>(*state);
    connection_state& its = connections_[connection];
    if (kept == nullptr) {
      kept =
          new std::shared_ptr<exchange>(std::make_shared<exchange>());  // completed() deletes it.
      *state = kept;
      exchange& made = **kept;
      made.connection_ = connection;
      made.method = method;
      made.path = url;
      if (its.awaits != awaited::request) its.since = made.begun_;
      its.awaits = awaited::request;
      its.open = *kept;
      if (has_unclear_end(connection)) {
        made.is_handled_ = true;
        made.respond(400, "text/plain", "it is not clear where this request ends\n",
                     {{"Connection", "close"}});
        return handle(*kept);
      }
      const std::string announced(made.header("Content-Length"));
      const body_terms terms = body_(made);
      made.body_max_ = terms.most;
      made.held_ = held_.try_emplace(terms.account, std::make_shared<std::size_t>(0)).first->second;
      if (std::strtoull(announced.c_str(), nullptr, 10) > made.body_max_) {
        // Answered before the body has come, so that it need not come.
        made.is_too_large = true;
        return handle(*kept);
      }
      return MHD_YES;
    }
    exchange& open = **kept;
    if (*size > 0) {
      open.add_to_body({data, *size}, limits_.bodies);
      *size = 0;
      return MHD_YES;
    }
    return handle(*kept);
  }

  /// A proxy could see another end of the request than libmicrohttpd does, and take what comes
  /// after it for somebody else's: lengths that differ, a length beside chunks, a name that a space
  /// hides.
  static bool has_unclear_end(MHD_Connection* connection) {
    struct {
      int lengths = 0, codings = 0;
      bool is_bad = false;
    } seen;
    const auto look = [](void* to, MHD_ValueKind, const char* name, const char* value) {
      auto& its = *static_cast<decltype(seen)*>(to);
      if (std::strpbrk(name, " \t\r\n") != nullptr) its.is_bad = true;
      if (::strcasecmp(name, "Content-Length") == 0) ++its.lengths;
      if (::strcasecmp(name, "Transfer-Encoding") == 0) {
        ++its.codings;
        if (value == nullptr || ::strcasecmp(value, "chunked") != 0) its.is_bad = true;
      }
      return MHD_YES;
    };
    MHD_get_connection_values(connection, MHD_HEADER_KIND, look, &seen);
    return seen.is_bad || seen.lengths + seen.codings > 1;
  }

  /// Paths are compared as they are, so that nothing before this server can see another one.
  static std::size_t keep_escapes(void*, MHD_Connection*, char* text) { return std::strlen(text); }

  MHD_Result handle(const std::shared_ptr<exchange>& open) {
    connections_[open->connection_].awaits = awaited::answer;
    if (!std::exchange(open->is_handled_, true)) {
      try {
        handle_(open);
      } catch (const std::exception&) {  // Not through libmicrohttpd, which is C.
        open->respond(500, "text/plain", "the gateway failed at this request\n");
      }
    }
    if (open->response_ == nullptr) {
      open->is_suspended_ = true;
      MHD_suspend_connection(open->connection_);
      return MHD_YES;
    }
    return MHD_queue_response(open->connection_, open->status_, open->response_.get());
  }

  static void completed(void* self, MHD_Connection* connection, void** state,
                        MHD_RequestTerminationCode) {
    auto* const kept = static_cast<std::shared_ptr<exchange>*>(*state);
    if (kept == nullptr) return;
    (*kept)->is_over_ = true;
    *state = nullptr;
    delete kept;
    auto& all = static_cast<server*>(self)->connections_;
    if (const auto found = all.find(connection); found != all.end()) {
      found->second.awaits = awaited::next;
      found->second.received = received_by(connection);
    }
  }
  static void connected(void* self, MHD_Connection* connection, void**,
                        MHD_ConnectionNotificationCode what) {
    auto& all = static_cast<server*>(self)->connections_;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
      all.try_emplace(connection);
    } else {
      all.erase(connection);
    }
  }

  limits limits_;
  handler handle_;
  body_limit body_;
  std::map<std::string, std::shared_ptr<std::size_t>> held_;  // Of bodies, by account.
  std::map<MHD_Connection*, connection_state> connections_;
  MHD_Daemon* daemon_ = nullptr;
};

}  // namespace vespid::http
