// What a request to a function takes beside request and reply over NATS alone, and beside the same
// with one call at the other end. bench/vespid/run.py starts what it needs, and then this.
// SPDX-License-Identifier: MIT
#include <arpa/inet.h>
#include <nats/nats.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cstdlib>
#include <string>
#include <string_view>

#include <guests/square.hpp>
#include <virtine/os/fd.hpp>
#include <virtine/virtine.hpp>

#include "../harness.hpp"

namespace {

std::string variable(const char* name) {
  const char* const value = std::getenv(name);
  bench::check(value != nullptr, name);
  return value;
}

natsConnection* connect() {
  natsOptions* options = nullptr;
  bench::check(natsOptions_Create(&options) == NATS_OK, "natsOptions_Create");
  natsOptions_SetURL(options, variable("VESPID_NATS").c_str());
  natsOptions_SetSendAsap(options, true);
  natsConnection* out = nullptr;
  bench::check(natsConnection_Connect(&out, options) == NATS_OK, "natsConnection_Connect");
  natsOptions_Destroy(options);
  return out;
}

/// Answers requests for `subject`, after as many calls as `calls` says.
void serve(natsConnection* on, const char* subject,
           virtine::virtine_fn<int(int), guests::square>* call) {
  natsSubscription* made = nullptr;
  const auto answer = [](natsConnection* from, natsSubscription*, natsMsg* message,
                         void* function) {
    if (function != nullptr) {
      auto& square = *static_cast<virtine::virtine_fn<int(int), guests::square>*>(function);
      bench::check(square(7) == 49, "square(7)");
    }
    natsConnection_PublishString(from, natsMsg_GetReply(message), "49");
    natsMsg_Destroy(message);
  };
  bench::check(natsConnection_QueueSubscribe(&made, on, subject, "bench", answer, call) == NATS_OK,
               "natsConnection_QueueSubscribe");
  natsConnection_Flush(on);
}

void ask(natsConnection* on, const char* subject) {
  natsMsg* reply = nullptr;
  bench::check(natsConnection_RequestString(&reply, on, subject, "[7]", 5000) == NATS_OK, subject);
  natsMsg_Destroy(reply);
}

/// A connection to the gateway, kept.
class http_client {
 public:
  http_client() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    at.sin_port = htons(static_cast<std::uint16_t>(std::atoi(variable("VESPID_PORT").c_str())));
    // Sound: every address begins as a sockaddr.
    bench::check(::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0,
                 "connect");
    const int on = 1;
    ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }

  void ask(const std::string& request) {
    bench::check(::send(socket_.get(), request.data(), request.size(), 0) ==
                     static_cast<::ssize_t>(request.size()),
                 "send");
    // All answers here come in one piece.
    const ::ssize_t size = ::recv(socket_.get(), answer_, sizeof answer_, 0);
    bench::check(size > 12 && std::string_view(answer_, 12) == "HTTP/1.1 200", "an answer");
  }

 private:
  virtine::os::fd socket_;
  char answer_[65536];
};

std::string post(const std::string& path, const std::string& body) {
  return "POST " + path + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " +
         variable("VESPID_TOKEN") + "\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + body;
}

}  // namespace

int main(int argc, char** argv) {
  bench::require_kvm();
  bench::program program("vespid", argc, argv);
  natsConnection* const there = connect();
  natsConnection* const here = connect();
  virtine::virtine_fn<int(int), guests::square> square;
  serve(there, "bench.alone", nullptr);
  serve(there, "bench.call", &square);
  http_client client;
  const std::string health = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
  const std::string empty = post("/call/square", "[7]");
  const std::string fib = post("/call/fib", "[20]");
  const std::string script = post("/call/base64", '"' + std::string(512, 'x') + '"');

  bench::group rows({.samples = 3000, .burst = 20});
  rows.floor("vespid.nats", [&] { ask(here, "bench.alone"); });
  rows.row("vespid.http", [&] { client.ask(health); });
  rows.floor("vespid.nats_call", [&] { ask(here, "bench.call"); });
  rows.row("vespid.empty", [&] { client.ask(empty); });
  rows.row("vespid.fib20", [&] { client.ask(fib); });
  rows.row("vespid.base64", [&] { client.ask(script); });
  program.measure(std::move(rows));
  return program.finish();
}
