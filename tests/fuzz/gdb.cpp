// Fuzzes what a debugger may say to a guest that stands still. An input is lines: each is sent as a
// packet, or as it is where it begins with an exclamation mark. An asterisk stands for the
// beginning of a packet that is too long.
// SPDX-License-Identifier: MIT
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <virtine/gdb/packet.hpp>
#include <virtine/gdb/registers.hpp>
#include <virtine/gdb/server.hpp>

#include "input.hpp"

namespace {

using namespace virtine;
using gdb::detail::message;
using gdb::detail::order;

/// A guest that has memory from 0x1000 to 0x1040.
class guest final : public gdb::detail::target {
 public:
  gdb::detail::register_file& registers() override { return registers_; }
  std::vector<std::byte> peek(std::uint64_t address, std::size_t most) override {
    require(most <= gdb::detail::max_packet / 2);
    if (address < begin || address - begin >= memory_.size()) return {};
    const auto from = std::span(memory_).subspan(address - begin);
    return {from.begin(), from.begin() + static_cast<std::ptrdiff_t>(std::min(most, from.size()))};
  }
  bool poke(std::uint64_t address, std::span<const std::byte> from) override {
    require(from.size() <= gdb::detail::max_packet);
    if (address < begin || address - begin > memory_.size() ||
        from.size() > memory_.size() - (address - begin)) {
      return false;
    }
    std::copy(from.begin(), from.end(),
              memory_.begin() + static_cast<std::ptrdiff_t>(address - begin));
    return true;
  }
  bool set_breakpoint(std::uint64_t address, bool) override { return address % 2 == 0; }

 private:
  static constexpr std::uint64_t begin = 0x1000;
  std::array<std::byte, 0x40> memory_{};
  gdb::detail::register_file registers_;
};

std::vector<std::string> read_all(gdb::detail::packet_reader& reader) {
  std::vector<std::string> out;
  while (auto come = reader.next()) {
    require(come->text.size() <= gdb::detail::max_packet);
    if (come->what == message::kind::too_long) break;  // It stays so.
    out.push_back(std::to_string(static_cast<int>(come->what)) + come->text);
  }
  return out;
}

/// Reads the stream at once and in pieces, those of short ones of a byte: it holds the same.
void check_reader(std::string_view stream) {
  const std::size_t size = 1 + stream.size() / 64;
  gdb::detail::packet_reader whole, pieces;
  whole.feed(stream);
  const auto at_once = read_all(whole);
  std::vector<std::string> one_by_one;
  for (std::size_t at = 0; at < stream.size(); at += size) {
    pieces.feed(stream.substr(at, size));
    for (auto& each : read_all(pieces)) one_by_one.push_back(std::move(each));
  }
  require(at_once == one_by_one);
}

/// The debugger's end of the connection, which hears what it is told.
class debugger {
 public:
  explicit debugger(int file) : file_(file) { current = this; }
  debugger(const debugger&) = delete;
  debugger& operator=(const debugger&) = delete;
  ~debugger() { current = nullptr; }

  /// Hears what has come. What waits for room in the socket asks this whether it is to stop.
  static bool listen() {
    current->hear(MSG_DONTWAIT);
    return false;
  }

  /// Reads what there is; all of it are packets and acknowledgements.
  void hear(int flags) {
    std::array<char, 4096> bytes{};
    for (ssize_t count = 0; (count = ::recv(file_.get(), bytes.data(), bytes.size(), flags)) > 0;) {
      answers_.feed({bytes.data(), static_cast<std::size_t>(count)});
      while (const auto come = answers_.next()) {
        require(come->what == message::kind::packet || come->what == message::kind::again);
      }
    }
  }
  [[nodiscard]] int file() const { return file_.get(); }

 private:
  static inline debugger* current = nullptr;
  os::fd file_;
  gdb::detail::packet_reader answers_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz_input input(data, size);
  std::string stream;
  bool is_too_long = false;
  while (!input.empty() && !is_too_long) {
    const std::string_view line = input.take_line();
    is_too_long = line == "*";
    stream += is_too_long             ? '$' + std::string(gdb::detail::max_packet + 1, 'm')
              : line.starts_with('!') ? std::string(line.substr(1))
                                      : gdb::detail::to_packet(line);
  }
  check_reader(stream);

  std::array<int, 2> ends{};
  require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
  os::fd ours(ends[0]);
  debugger theirs(ends[1]);
  require(::send(theirs.file(), stream.data(), stream.size(), MSG_NOSIGNAL) ==
          static_cast<ssize_t>(stream.size()));
  require(::shutdown(theirs.file(), SHUT_WR) == 0);
  {
    gdb::detail::server server{gdb::detail::connection(std::move(ours))};
    guest stopped;
    const detail::run_limits limits{.stop_if = debugger::listen};
    bool gone = false;
    for (int stops = 0; !gone; ++stops) {
      const auto wants = server.wants_stop(limits);
      const auto ordered = server.serve(
          stopped, {.breakpoint = stops % 2 == 0, .said = stops % 3 == 0 ? "why" : ""}, limits);
      require(ordered || ordered.error().code == errc::cancelled);
      gone = !ordered || *ordered == order::detach || *ordered == order::kill;
    }
    const error why{.code = errc::guest_fault};
    server.tell_end(size % 2 == 0 ? nullptr : &why, limits);
  }
  theirs.hear(0);
  return 0;
}
