// What a debugger may ask of a guest that stands still, and the answers: the commands of GDB's
// remote protocol. Knows nothing of machines; what is debugged, a target says.
// SPDX-License-Identifier: MIT
#pragma once

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

#include <virtine/error.hpp>
#include <virtine/gdb/connection.hpp>
#include <virtine/gdb/packet.hpp>
#include <virtine/gdb/registers.hpp>
#include <virtine/machine/runner.hpp>
#include <virtine/result.hpp>

namespace virtine::gdb::detail {

/// The numbers that the protocol has for signals, by which it says why something stopped.
enum class signal : std::uint8_t {
  interrupt = 2,
  illegal_instruction = 4,
  trap = 5,
  arithmetic = 8,
  killed = 9,
  bus = 10,
  segmentation = 11,
};

/// Why a guest stands still.
struct standstill {
  signal why = signal::trap;
  bool breakpoint = false;  ///< One that the debugger has set; RIP is then its address.
  std::string said = {};    ///< What the debugger's user is told of it; may be empty.
};

/// What a debugger wants a guest that stands still to do.
enum class order : std::uint8_t {
  go_on,
  step,    ///< One instruction.
  fault,   ///< What its fault leads to.
  detach,  ///< Go on, and the debugger is gone.
  kill,
};

/// A guest that stands still.
class target {
 public:
  virtual ~target() = default;
  /// Returns its registers; what is changed of them it goes on with.
  [[nodiscard]] virtual register_file& registers() = 0;
  /// Reads as much of the guest's memory from `address` on as it has, but no more than `most`.
  [[nodiscard]] virtual std::vector<std::byte> peek(std::uint64_t address, std::size_t most) = 0;
  /// Changes the guest's memory, its code included; returns whether it has all of it.
  virtual bool poke(std::uint64_t address, std::span<const std::byte> from) = 0;
  /// Sets or removes a breakpoint; returns whether that can be.
  virtual bool set_breakpoint(std::uint64_t address, bool on) = 0;
};

/// One debugger's conversation.
class server {
 public:
  explicit server(connection to) : connection_(std::move(to)) {}

  /// Answers until the debugger has the guest do something. Fails if it has gone, and when `limits`
  /// say.
  result<order> serve(target& of, const standstill& why,
                      const virtine::detail::run_limits& limits) {
    stopped_ = stop_reply(why);
    said_ = why.said;
    if (going_) {
      if (auto sent = announce(limits); !sent) return sent.error();
    }
    going_ = false;
    for (;;) {
      auto come = connection_.next(limits);
      if (!come) return come.error();
      if (come->what == message::kind::interrupt) continue;  // It stands still already.
      std::string reply;
      const auto ordered = handle(of, come->text, reply);
      going_ = ordered == order::go_on || ordered == order::step || ordered == order::fault;
      if (going_ || ordered == order::kill) return *ordered;
      if (auto sent = connection_.send(reply, limits); !sent) return sent.error();
      if (come->text == "QStartNoAckMode") connection_.trust();
      if (ordered) return *ordered;
    }
  }

  /// Returns whether the debugger asks for a guest that runs to be stopped. Fails if it has gone.
  result<bool> wants_stop(const virtine::detail::run_limits& limits) {
    auto come = connection_.glance_at(limits);
    if (!come) return come.error();
    return *come && (*come)->what == message::kind::interrupt;
  }

  /// Tells the debugger that the call is over: with what went wrong, or null.
  void tell_end(const error* why, const virtine::detail::run_limits& limits) {
    if (!going_) return;
    said_ = why != nullptr ? to_string(*why) + '\n' : std::string();
    stopped_ = why != nullptr ? "X09" : "W00";
    static_cast<void>(announce(limits));
  }

 private:
  static constexpr std::string_view failed = "E01";
  static constexpr std::string_view fine = "OK";

  static std::string stop_reply(const standstill& why) {
    std::string reply = "T";
    append_byte(reply, static_cast<std::uint8_t>(why.why));
    if (why.breakpoint) reply += "swbreak:;";
    return reply;
  }

  result<void> announce(const virtine::detail::run_limits& limits) {
    if (!said_.empty()) {
      if (auto sent = connection_.send('O' + to_hex(said_), limits); !sent) return sent;
    }
    return connection_.send(stopped_, limits);
  }

  /// Answers one packet by `reply`; an empty one says that there is no such thing here. Returns
  /// what the guest is to do, if that is what the packet says.
  std::optional<order> handle(target& of, std::string_view packet, std::string& reply) {
    if (packet.empty()) return std::nullopt;
    const char command = packet.front();
    std::string_view rest = packet.substr(1);
    switch (command) {
      case '?':
        reply = stopped_;
        break;
      case 'g':
        reply = to_hex(of.registers().bytes());
        break;
      case 'G':
        reply = from_hex(rest, of.registers().bytes()) ? fine : failed;
        break;
      case 'p':
        reply = read_register(of, rest);
        break;
      case 'P':
        reply = write_register(of, rest) ? fine : failed;
        break;
      case 'm':
        reply = read_memory(of, rest);
        break;
      case 'M':
        reply = write_memory(of, rest) ? fine : failed;
        break;
      case 'Z':
      case 'z':
        // Breakpoints only; what is to watch memory is left to gdb, which steps.
        if (take(rest, '0')) reply = change_breakpoint(of, rest, command == 'Z') ? fine : failed;
        break;
      case 'H':  // There is one thread.
      case 'T':
        reply = fine;
        break;
      case 'q':
        reply = query(rest);
        break;
      case 'Q':
        if (rest == "StartNoAckMode") reply = fine;
        break;
      case 'c':
      case 's':
        move_to(of, rest);
        return command == 'c' ? order::go_on : order::step;
      case 'C':
      case 'S':
        // A signal to go on with; what a fault leads to is the end of the call.
        if (take_number(rest).value_or(0) != 0) return order::fault;
        return command == 'C' ? order::go_on : order::step;
      case 'D':
        reply = fine;
        return order::detach;
      case 'k':
        return order::kill;
      default:
        break;
    }
    return std::nullopt;
  }

  [[nodiscard]] std::string query(std::string_view what) const {
    if (what.starts_with("Supported")) {
      static_assert(max_packet == 0x4000);
      return "PacketSize=4000;QStartNoAckMode+;swbreak+;qXfer:features:read+";
    }
    // A debugger that ends leaves what it was attached to, and kills what it has started.
    if (what.starts_with("Attached")) return "1";
    // "monitor why", or whatever else somebody asks us in gdb.
    if (what.starts_with("Rcmd,")) return said_.empty() ? std::string(fine) : to_hex(said_);
    constexpr std::string_view description = "Xfer:features:read:target.xml:";
    if (!what.starts_with(description)) return {};
    what.remove_prefix(description.size());
    const auto offset = take_number(what);
    const bool comma = take(what, ',');
    const auto length = take_number(what);
    const std::string text = target_description();
    if (!offset || !comma || !length || *offset > text.size()) return std::string(failed);
    const auto count = std::min<std::uint64_t>(*length, max_packet / 2);
    return (count < text.size() - *offset ? 'm' : 'l') + text.substr(*offset, count);
  }

  static std::string read_register(target& of, std::string_view rest) {
    const auto number = take_number(rest);
    if (!number) return std::string(failed);
    const std::span<const std::byte> found = of.registers().at(*number);
    return found.empty() ? std::string(failed) : to_hex(found);
  }

  static bool write_register(target& of, std::string_view rest) {
    const auto number = take_number(rest);
    if (!number || !take(rest, '=')) return false;
    const std::span<std::byte> found = of.registers().at(*number);
    return !found.empty() && from_hex(rest, found);
  }

  static std::string read_memory(target& of, std::string_view rest) {
    const auto address = take_number(rest);
    const bool comma = take(rest, ',');
    const auto length = take_number(rest);
    if (!address || !comma || !length) return std::string(failed);
    const auto most = std::min<std::uint64_t>(*length, max_packet / 2);
    const std::vector<std::byte> found = of.peek(*address, most);
    return found.empty() && most != 0 ? std::string(failed) : to_hex(found);
  }

  static bool write_memory(target& of, std::string_view rest) {
    const auto address = take_number(rest);
    const bool comma = take(rest, ',');
    const auto length = take_number(rest);
    if (!address || !comma || !length || !take(rest, ':') || *length > max_packet) return false;
    std::vector<std::byte> bytes(*length);
    return from_hex(rest, bytes) && of.poke(*address, bytes);
  }

  static bool change_breakpoint(target& of, std::string_view rest, bool on) {
    if (!take(rest, ',')) return false;
    const auto address = take_number(rest);
    return address && of.set_breakpoint(*address, on);
  }

  /// Where a command has an address, the guest goes on there.
  static void move_to(target& of, std::string_view rest) {
    constexpr std::uint64_t rip = 16;
    const auto address = take_number(rest);
    if (!address) return;
    const auto bytes = std::as_bytes(std::span(&*address, 1));
    std::copy(bytes.begin(), bytes.end(), of.registers().at(rip).begin());
  }

  connection connection_;
  std::string stopped_;  // What "?" asks for.
  std::string said_;     // What the user is told of it.
  bool going_ = false;   // Whether the debugger waits for the guest to stop.
};

}  // namespace virtine::gdb::detail
