// vespid-load: calls a function through a gateway, by clients that each wait for their answer or at
// a rate that does not wait for answers, and prints counts and latencies as a line of JSON.
// Run: VESPID_TOKEN=... vespid-load --port 8080 --path /call/fib --body FILE --clients 4 --seconds
// 5; with --samples FILE all latencies are written there.
// SPDX-License-Identifier: MIT
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <virtine/os/fd.hpp>

namespace {

using steady = std::chrono::steady_clock;

/// A connection that is kept, for one request after the other.
class client {
 public:
  client(const std::string& host, const std::string& port) : host_(host), port_(port) {}

  /// Returns the status of the answer; 0 if there was none.
  unsigned ask(const std::string& request) {
    const bool is_kept = socket_.get() >= 0;
    const unsigned status = ask_once(request);
    // A server may have closed a connection that nobody used.
    return status == 0 && is_kept ? ask_once(request) : status;
  }

 private:
  unsigned ask_once(const std::string& request) {
    if (socket_.get() < 0 && !connect()) return 0;
    if (::send(socket_.get(), request.data(), request.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(request.size())) {
      return lost();
    }
    got_.clear();
    std::size_t whole = std::string::npos;
    while (got_.size() < whole) {
      char part[65536];
      const ssize_t size = ::recv(socket_.get(), part, sizeof part, 0);
      if (size <= 0) return lost();
      got_.append(part, static_cast<std::size_t>(size));
      const std::size_t end = got_.find("\r\n\r\n");
      if (whole != std::string::npos || end == got_.npos) continue;
      const std::size_t length = got_.find("Content-Length: ");
      if (length == got_.npos) return lost();
      whole = end + 4 + std::strtoul(got_.c_str() + length + 16, nullptr, 10);
    }
    return static_cast<unsigned>(std::strtoul(got_.c_str() + 9, nullptr, 10));
  }

  bool connect() {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_family = AF_INET;
    addrinfo* found = nullptr;
    if (::getaddrinfo(host_.c_str(), port_.c_str(), &hints, &found) != 0) return false;
    socket_ = virtine::os::fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int on = 1;
    ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const timeval patience{.tv_sec = 90, .tv_usec = 0};
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    const bool done = ::connect(socket_.get(), found->ai_addr, found->ai_addrlen) == 0;
    ::freeaddrinfo(found);
    if (!done) socket_ = {};
    return done;
  }
  unsigned lost() {
    socket_ = {};
    return 0;
  }

  std::string host_, port_, got_;
  virtine::os::fd socket_;
};

/// Returns when requests are due, in seconds: by a list of rates, each for a second, or one rate
/// for all; none if requests follow answers.
std::vector<double> times_of(const std::string& rates, double rate, double seconds) {
  std::vector<double> out;
  std::vector<double> each_second;
  if (!rates.empty()) {
    std::istringstream list(rates);
    for (std::string one; std::getline(list, one, ',');) each_second.push_back(std::stod(one));
  } else if (rate > 0) {
    each_second.assign(static_cast<std::size_t>(seconds), rate);
  }
  for (std::size_t i = 0; i < each_second.size(); ++i) {
    for (double k = 0; k < each_second[i]; ++k) {
      out.push_back(static_cast<double>(i) + k / each_second[i]);
    }
  }
  return out;
}

struct results {
  // Latencies of answers with status 200 by the second in which their requests were due; all of the
  // first one where requests follow answers.
  std::map<std::size_t, std::vector<double>> by_second;
  std::map<unsigned, std::uint64_t> by_status;
};

/// Writes a line for each answer with status 200: the second in which its request was due, and its
/// latency. Returns whether all could be written.
bool write_samples(const std::string& path, const results& from) {
  std::ofstream out(path);
  out << "second,us\n";
  for (const auto& [second, times] : from.by_second) {
    for (const double each : times) out << second << ',' << each << '\n';
  }
  out.close();
  return static_cast<bool>(out);
}

double quantile(std::vector<double>& sorted, double part) {
  if (sorted.empty()) return 0;
  const auto at = static_cast<std::size_t>(part * static_cast<double>(sorted.size() - 1));
  return sorted[at];
}

}  // namespace

int main(int argc, char** argv) {
  std::map<std::string, std::string> given{
      {"--host", "127.0.0.1"}, {"--port", "8080"}, {"--path", "/"}, {"--body", "/dev/null"},
      {"--clients", "4"},      {"--seconds", "5"}, {"--rate", "0"}};
  for (int i = 1; i + 1 < argc; i += 2) given[argv[i]] = argv[i + 1];
  std::ifstream file(given["--body"], std::ios::binary);
  const std::string body{std::istreambuf_iterator<char>(file), {}};
  const char* const token = std::getenv("VESPID_TOKEN");
  const std::string request = "POST " + given["--path"] + " HTTP/1.1\r\nHost: " + given["--host"] +
                              "\r\nAuthorization: Bearer " + (token != nullptr ? token : "") +
                              "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
                              body;
  const auto clients = static_cast<unsigned>(std::atoi(given["--clients"].c_str()));
  const double seconds = std::atof(given["--seconds"].c_str());
  const std::vector<double> due_at =
      times_of(given["--rates"], std::atof(given["--rate"].c_str()), seconds);

  const auto begun = steady::now();
  const auto end =
      begun + std::chrono::duration_cast<steady::duration>(std::chrono::duration<double>(seconds));
  std::atomic<std::size_t> next = 0;
  std::mutex mutex;
  results all;
  std::vector<std::jthread> threads;
  for (unsigned i = 0; i < clients; ++i) {
    threads.emplace_back([&] {
      client mine(given["--host"], given["--port"]);
      results own;
      for (;;) {
        auto due = steady::now();
        std::size_t second = 0;
        if (!due_at.empty()) {
          // The time that counts is from when the request was due, also if no client was free.
          const std::size_t mine_next = next++;
          if (mine_next >= due_at.size()) break;
          second = static_cast<std::size_t>(due_at[mine_next]);
          due = begun + std::chrono::duration_cast<steady::duration>(
                            std::chrono::duration<double>(due_at[mine_next]));
          std::this_thread::sleep_until(due);
        } else if (due >= end) {
          break;
        }
        const unsigned status = mine.ask(request);
        ++own.by_status[status];
        if (status == 200) {
          const double took =
              std::chrono::duration<double, std::micro>(steady::now() - due).count();
          own.by_second[second].push_back(took);
        } else {
          // Not as long as Retry-After says, and yet no loop that does nothing else.
          std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
      }
      const std::lock_guard lock(mutex);
      for (const auto& [status, count] : own.by_status) all.by_status[status] += count;
      for (const auto& [second, times] : own.by_second) {
        auto& to = all.by_second[second];
        to.insert(to.end(), times.begin(), times.end());
      }
    });
  }
  threads.clear();
  const double took = std::chrono::duration<double>(steady::now() - begun).count();
  if (given.contains("--samples") && !write_samples(given["--samples"], all)) {
    std::fprintf(stderr, "%s cannot be written\n", given["--samples"].c_str());
    return 1;
  }
  std::vector<double> times;
  for (const auto& [second, of] : all.by_second) times.insert(times.end(), of.begin(), of.end());
  std::sort(times.begin(), times.end());
  nlohmann::json out{{"seconds", took},
                     {"ok", times.size()},
                     {"per_second", static_cast<double>(times.size()) / took},
                     {"p50_us", quantile(times, 0.5)},
                     {"p99_us", quantile(times, 0.99)},
                     {"p999_us", quantile(times, 0.999)}};
  for (const auto& [status, count] : all.by_status) {
    out["status"][std::to_string(status)] = count;
  }
  std::printf("%s\n", out.dump().c_str());
  return times.empty() ? 1 : 0;
}
