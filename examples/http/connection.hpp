// A connection: bytes that came, bytes and parts of a file that are to go. Never waits.
// Must not know what the bytes mean.
// SPDX-License-Identifier: MIT
#pragma once

#include <sys/sendfile.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <virtine/os/fd.hpp>

#include "http.hpp"

namespace http {

class connection {
 public:
  /// Takes a socket that does not block.
  explicit connection(virtine::os::fd socket) : socket_(std::move(socket)) {}

  [[nodiscard]] int socket() const { return socket_.get(); }

  /// The bytes that came and were not consumed, most_input of them at most.
  [[nodiscard]] std::string_view input() const { return {input_.data(), size_}; }
  [[nodiscard]] bool is_full() const { return size_ == input_.size(); }

  /// Takes up what has come, as far as there is room. Returns false if nothing will come any more.
  bool receive() {
    if (is_full()) return true;
    const ::ssize_t got = ::recv(socket(), input_.data() + size_, input_.size() - size_, 0);
    if (got > 0) size_ += static_cast<std::size_t>(got);
    return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
  }

  void consume(std::size_t size) {
    std::copy(input_.begin() + static_cast<std::ptrdiff_t>(size),
              input_.begin() + static_cast<std::ptrdiff_t>(size_), input_.begin());
    size_ -= size;
  }

  /// Adds to what is to go.
  void send(std::string_view text) { output_ += text; }

  /// Adds a part, of at least a byte, of the file that take_file() will be given.
  void send_part(std::uint64_t begin, std::uint64_t size) {
    parts_.push_back({output_.size(), static_cast<::off_t>(begin), size});
  }

  /// Takes the file of all parts.
  void take_file(virtine::os::fd file) {
    if (!parts_.empty()) file_ = std::move(file);
  }

  /// Has the connection closed when all is sent.
  void close_after() { closes_ = true; }
  [[nodiscard]] bool closes() const { return closes_; }

  [[nodiscard]] bool has_output() const {
    return sent_ < output_.size() || next_part_ < parts_.size();
  }

  /// Sends as much as the socket takes, of a file a part at a time. Returns false if it takes
  /// nothing any more.
  bool flush() {
    std::uint64_t most = 1U << 20;  // Others want to be served, too.
    for (;;) {
      const bool is_last = next_part_ == parts_.size();
      const std::size_t end = is_last ? output_.size() : parts_[next_part_].after;
      while (sent_ < end) {
        const int more = is_last ? 0 : MSG_MORE;
        const auto sent =
            ::send(socket(), output_.data() + sent_, end - sent_, MSG_NOSIGNAL | more);
        if (sent < 0) return errno == EAGAIN || errno == EINTR;
        sent_ += static_cast<std::size_t>(sent);
      }
      if (is_last) break;
      part& next = parts_[next_part_];
      const auto sent =
          ::sendfile(socket(), file_.get(), &next.begin, std::min<std::uint64_t>(next.size, most));
      if (sent < 0) return errno == EAGAIN || errno == EINTR;
      if (sent == 0) return false;  // The file became shorter than the reply says.
      next.size -= static_cast<std::uint64_t>(sent);
      most -= static_cast<std::uint64_t>(sent);
      if (next.size == 0) ++next_part_;
      if (most == 0 && has_output()) return true;
    }
    output_.clear();
    sent_ = 0;
    parts_.clear();
    next_part_ = 0;
    file_ = virtine::os::fd();
    return true;
  }

 private:
  virtine::os::fd socket_;
  std::array<char, most_input> input_;
  std::size_t size_ = 0;
  std::string output_;
  std::size_t sent_ = 0;
  /// What of the file goes behind so much of the output.
  struct part {
    std::size_t after;
    ::off_t begin;
    std::uint64_t size;
  };
  std::vector<part> parts_;
  std::size_t next_part_ = 0;
  virtine::os::fd file_;
  bool closes_ = false;
};

}  // namespace http
