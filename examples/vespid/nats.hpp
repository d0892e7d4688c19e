// Handles of libnats that end by themselves, and a connection whose socket is served by the threads
// of an epoll loop: a message reaches the thread that needs it without another thread between.
// Knows nothing of functions.
// SPDX-License-Identifier: MIT
#pragma once

#include <nats/nats.h>
#include <sys/epoll.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace vespid::nats {

template <auto Destroy>
struct destroyer {
  template <class T>
  void operator()(T* it) const {
    Destroy(it);
  }
};

using options = std::unique_ptr<natsOptions, destroyer<natsOptions_Destroy>>;
using connection = std::unique_ptr<natsConnection, destroyer<natsConnection_Destroy>>;
using subscription = std::unique_ptr<natsSubscription, destroyer<natsSubscription_Destroy>>;
using message = std::unique_ptr<natsMsg, destroyer<natsMsg_Destroy>>;
using jetstream = std::unique_ptr<jsCtx, destroyer<jsCtx_Destroy>>;
using bucket = std::unique_ptr<kvStore, destroyer<kvStore_Destroy>>;
using watcher = std::unique_ptr<kvWatcher, destroyer<kvWatcher_Destroy>>;
using entry = std::unique_ptr<kvEntry, destroyer<kvEntry_Destroy>>;

struct failure : std::runtime_error {
  failure(const char* what, natsStatus its)
      : std::runtime_error(std::string(what) + ": " + natsStatus_GetText(its)), status(its) {}
  natsStatus status;
};

inline void check(natsStatus status, const char* what) {
  if (status != NATS_OK) throw failure(what, status);
}

/// How to reach the servers: `nats://user:password@host:port`, several separated by commas.
struct settings {
  std::string url = "nats://127.0.0.1:4222";
  std::string name;         ///< Of this client, as the server's monitoring shows it.
  std::string ca;           ///< File of certificates; empty: no TLS unless the URL says so.
  std::string credentials;  ///< File of a NATS user's credentials; empty: those of the URL.
};

inline options make_options(const settings& from) {
  natsOptions* made = nullptr;
  check(natsOptions_Create(&made), "natsOptions_Create");
  options out(made);
  std::string url = from.url;
  // natsOptions_SetURL takes one; a list goes to SetServers.
  std::vector<const char*> servers;
  for (std::size_t at = 0; at != url.npos;) {
    const std::size_t comma = url.find(',', at);
    if (comma != url.npos) url[comma] = '\0';
    servers.push_back(url.c_str() + at);
    at = comma == url.npos ? comma : comma + 1;
  }
  check(natsOptions_SetServers(made, servers.data(), static_cast<int>(servers.size())), "servers");
  check(natsOptions_SetName(made, from.name.c_str()), "name");
  // Without it a thread of its own flushes, a millisecond later.
  check(natsOptions_SetSendAsap(made, true), "SendAsap");
  check(natsOptions_SetMaxReconnect(made, -1), "MaxReconnect");
  check(natsOptions_SetReconnectWait(made, 100), "ReconnectWait");
  check(natsOptions_SetReconnectJitter(made, 50, 50), "ReconnectJitter");
  check(natsOptions_SetPingInterval(made, 5000), "PingInterval");
  check(natsOptions_SetFailRequestsOnDisconnect(made, true), "FailRequestsOnDisconnect");
  if (!from.ca.empty()) {
    check(natsOptions_SetSecure(made, true), "TLS");
    check(natsOptions_LoadCATrustedCertificates(made, from.ca.c_str()), "certificates");
  }
  if (!from.credentials.empty()) {
    check(natsOptions_SetUserCredentialsFromFiles(made, from.credentials.c_str(), nullptr),
          "credentials");
  }
  return out;
}

/// Connects with threads of libnats's own: for what may block.
inline connection connect(const settings& to) {
  const options made = make_options(to);
  natsConnection* out = nullptr;
  check(natsConnection_Connect(&out, made.get()), ("connecting to " + to.url).c_str());
  return connection(out);
}

inline jetstream jetstream_of(const connection& on) {
  jsOptions limits;
  check(jsOptions_Init(&limits), "JetStream");
  limits.Wait = 2000;  // Milliseconds: a store that is away or full does not hold a call for long.
  jsCtx* out = nullptr;
  check(natsConnection_JetStream(&out, on.get(), &limits), "JetStream");
  return jetstream(out);
}

inline std::string_view data_of(const message& from) {
  return {natsMsg_GetData(from.get()), static_cast<std::size_t>(natsMsg_GetDataLength(from.get()))};
}

/// Returns a header of the message; empty if there is none.
inline std::string_view header_of(const message& from, const char* name) {
  const char* value = nullptr;
  return natsMsgHeader_Get(from.get(), name, &value) == NATS_OK && value != nullptr ? value : "";
}

/// A connection that an epoll instance watches, one event at a time. A thread that gets the event
/// calls read(), takes what subscriptions have, and then rearm(), so that another thread can get
/// the next one. Any thread may publish.
class event_connection {
 public:
  /// `epoll` must outlive this. Its event has `tag` as data.u64.
  event_connection(const settings& to, int epoll, std::uint64_t tag) : epoll_(epoll), tag_(tag) {
    const options made = make_options(to);
    check(natsOptions_SetEventLoop(made.get(), this, attach, on_read, on_write, detach), "epoll");
    natsConnection* out = nullptr;
    check(natsConnection_Connect(&out, made.get()), ("connecting to " + to.url).c_str());
    connection_.reset(out);
    flush();
  }
  event_connection(const event_connection&) = delete;
  event_connection& operator=(const event_connection&) = delete;
  ~event_connection() = default;

  [[nodiscard]] natsConnection* get() const { return connection_.get(); }

  /// Reads from the socket, once. One thread at a time.
  void read() {
    natsConnection_ProcessReadEvent(connection_.get());
    flush();  // The answer to a ping.
  }

  /// Sends what waits. After what this class does, nothing waits; libnats's timer leaves pings, so
  /// call it every second. A server that is not pinged in time counts as lost.
  void flush() {
    if (connection_ == nullptr || !wants_write_.load()) return;
    // One at a time: libnats takes a write of nothing for the end of the connection.
    const std::lock_guard lock(writing_);
    if (!wants_write_.load()) return;
    natsConnection_ProcessWriteEvent(connection_.get());
    // The socket is full. rearm() does the same for whoever reads now.
    if (wants_write_.load()) arm(EPOLLIN | EPOLLOUT);
  }

  /// Lets the socket's next event come.
  void rearm() { arm(EPOLLIN | (wants_write_.load() ? EPOLLOUT : 0U)); }

  /// Returns a message of `from`, if one has come.
  static message next(const subscription& from) {
    natsMsg* out = nullptr;
    return natsSubscription_NextMsg(&out, from.get(), 0) == NATS_OK ? message(out) : nullptr;
  }

  subscription subscribe(const std::string& subject, const char* group = nullptr) {
    natsSubscription* out = nullptr;
    check(group != nullptr
              ? natsConnection_QueueSubscribeSync(&out, connection_.get(), subject.c_str(), group)
              : natsConnection_SubscribeSync(&out, connection_.get(), subject.c_str()),
          subject.c_str());
    check(natsSubscription_SetPendingLimits(out, -1, -1), subject.c_str());
    flush();
    return subscription(out);
  }

  /// Sends now. What cannot be sent while the server is away is kept up to libnats's limit.
  bool publish(const std::string& subject, std::string_view data, const char* reply = nullptr) {
    const auto size = static_cast<int>(data.size());
    const bool done =
        (reply != nullptr ? natsConnection_PublishRequest(connection_.get(), subject.c_str(), reply,
                                                          data.data(), size)
                          : natsConnection_Publish(connection_.get(), subject.c_str(), data.data(),
                                                   size)) == NATS_OK;
    flush();
    return done;
  }
  bool publish(natsMsg* what) {
    const bool done = natsConnection_PublishMsg(connection_.get(), what) == NATS_OK;
    flush();
    return done;
  }

 private:
  void arm(std::uint32_t events) {
    epoll_event event{.events = events | EPOLLONESHOT, .data = {.u64 = tag_}};
    // It fails while there is no connection; the next one is attached anew.
    ::epoll_ctl(epoll_, EPOLL_CTL_MOD, socket_.load(), &event);
  }

  static natsStatus attach(void** user, void* loop, natsConnection*, natsSock socket) {
    auto* const self = static_cast<event_connection*>(loop);
    *user = self;
    self->socket_ = socket;
    epoll_event event{.events = EPOLLIN | EPOLLOUT | EPOLLONESHOT, .data = {.u64 = self->tag_}};
    return ::epoll_ctl(self->epoll_, EPOLL_CTL_ADD, socket, &event) == 0 ? NATS_OK : NATS_ERR;
  }
  static natsStatus on_read(void* user, bool add) {
    auto* const self = static_cast<event_connection*>(user);
    if (!add) ::epoll_ctl(self->epoll_, EPOLL_CTL_DEL, self->socket_.load(), nullptr);
    return NATS_OK;
  }
  static natsStatus on_write(void* user, bool add) {
    static_cast<event_connection*>(user)->wants_write_ = add;
    return NATS_OK;
  }
  static natsStatus detach(void*) { return NATS_OK; }

  int epoll_;
  std::uint64_t tag_;
  std::mutex writing_;
  std::atomic<int> socket_ = -1;
  std::atomic<bool> wants_write_ = false;
  connection connection_;
};

}  // namespace vespid::nats
