// What is said to a debugger, with a guest that is none: every packet, and every kind of nonsense.
// SPDX-License-Identifier: MIT
#include "../catch.hpp"

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

using namespace virtine;
using namespace virtine::detail;
using gdb::detail::message;
using gdb::detail::order;

namespace {

// Has memory from 0x1000 to 0x1010.
struct fake_target final : gdb::detail::target {
  gdb::detail::register_file& registers() override { return file; }
  std::vector<std::byte> peek(std::uint64_t address, std::size_t most) override {
    if (address < 0x1000 || address >= 0x1010) return {};
    const auto from = std::span(memory).subspan(address - 0x1000);
    return {from.begin(), from.begin() + static_cast<std::ptrdiff_t>(std::min(most, from.size()))};
  }
  bool poke(std::uint64_t address, std::span<const std::byte> from) override {
    if (address < 0x1000 || address > 0x1010 || from.size() > 0x1010 - address) return false;
    std::copy(from.begin(), from.end(), memory.begin() + static_cast<int>(address - 0x1000));
    return true;
  }
  bool set_breakpoint(std::uint64_t address, bool on) override {
    breakpoints += on ? 1 : -1;
    return address == 0x1004;
  }

  gdb::detail::register_file file;
  std::array<std::byte, 16> memory{};
  int breakpoints = 0;
};

struct pair {
  pair() {
    std::array<int, 2> made{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, made.data()) == 0);
    ours = os::fd(made[0]);
    theirs = os::fd(made[1]);
  }
  os::fd ours;
  os::fd theirs;
};

struct conversation {
  result<order> ended;
  std::string heard;  // By the debugger, without its frames and acknowledgements.
};

// Has a debugger say all of `said` and leave.
conversation run_debugger(std::string_view said, fake_target& of,
                          const gdb::detail::standstill& why = {}) {
  pair sockets;
  REQUIRE(::send(sockets.theirs.get(), said.data(), said.size(), MSG_NOSIGNAL) ==
          static_cast<ssize_t>(said.size()));
  REQUIRE(::shutdown(sockets.theirs.get(), SHUT_WR) == 0);
  std::optional<gdb::detail::server> server;
  server.emplace(gdb::detail::connection(std::move(sockets.ours)));
  conversation held{.ended = server->serve(of, why, {}), .heard = {}};
  server.reset();
  gdb::detail::packet_reader reader;
  std::array<char, 4096> bytes{};
  for (ssize_t count = 0;
       (count = ::recv(sockets.theirs.get(), bytes.data(), bytes.size(), 0)) > 0;) {
    reader.feed({bytes.data(), static_cast<std::size_t>(count)});
    while (auto come = reader.next()) {
      held.heard += come->what == message::kind::packet ? come->text + ' ' : "? ";
    }
  }
  return held;
}

std::string ask(std::string_view payload, fake_target& of) {
  auto held = run_debugger(gdb::detail::to_packet(payload), of);
  REQUIRE_FALSE(held.ended);
  CHECK(held.ended.error().code == errc::cancelled);
  REQUIRE_FALSE(held.heard.empty());
  held.heard.pop_back();
  return held.heard;
}

std::string ask(std::string_view payload) {
  fake_target of;
  return ask(payload, of);
}

}  // namespace

TEST_CASE("packets are framed and taken apart", "[gdb]") {
  CHECK(gdb::detail::to_packet("") == "$#00");
  CHECK(gdb::detail::to_packet("OK") == "$OK#9a");
  CHECK(gdb::detail::to_packet("#") == "$}\x03#80");
  CHECK(gdb::detail::to_hex(std::string_view("\x01\xfe")) == "01fe");
  gdb::detail::packet_reader reader;
  CHECK_FALSE(reader.next());
  const std::string two =
      "+++" + gdb::detail::to_packet("g") + "\x03-nonsense" + gdb::detail::to_packet("?");
  std::vector<message> come;
  for (const char c : two) {
    reader.feed({&c, 1});
    while (auto next = reader.next()) come.push_back(*next);
  }
  REQUIRE(come.size() == 4);
  CHECK(come[0].text == "g");
  CHECK(come[1].what == message::kind::interrupt);
  CHECK(come[2].what == message::kind::again);
  CHECK(come[3].text == "?");
  for (const std::string_view damaged : {"$g#00", "$g#6", "$g#zz", "$g#-1"}) {
    gdb::detail::packet_reader other;
    other.feed(damaged);
    other.feed("#00");
    REQUIRE(other.next()->what == message::kind::damaged);
  }
  gdb::detail::packet_reader full;
  full.feed("$" + std::string(gdb::detail::max_packet, 'a'));
  CHECK_FALSE(full.next());
  full.feed("a");
  full.feed("a");
  CHECK(full.next()->what == message::kind::too_long);
  gdb::detail::packet_reader whole;
  whole.feed(gdb::detail::to_packet(std::string(gdb::detail::max_packet + 1, 'a')));
  CHECK(whole.next()->what == message::kind::too_long);
}

TEST_CASE("numbers of packets are taken only if they are ones", "[gdb]") {
  const auto take = [](std::string_view text) { return gdb::detail::take_number(text); };
  CHECK(take("ff") == 255);
  CHECK(take("ffffffffffffffff") == UINT64_MAX);
  CHECK_FALSE(take("10000000000000000"));
  CHECK_FALSE(take(""));
  CHECK_FALSE(take("-1"));
  CHECK_FALSE(take("x"));
  std::array<std::byte, 2> bytes{};
  CHECK(gdb::detail::from_hex("01fe", bytes));
  for (const std::string_view text : {"01f", "01f0a", "01fg", "-1f0", "+101", ""}) {
    CAPTURE(text);
    CHECK_FALSE(gdb::detail::from_hex(text, bytes));
  }
}

TEST_CASE("a debugger reads and writes what a target has", "[gdb]") {
  fake_target of;
  CHECK(ask("?", of) == "T05");
  CHECK(ask("g", of).size() == 2 * gdb::detail::register_file::size);
  CHECK(ask("P1=0100000000000000", of) == "OK");
  CHECK(ask("p1", of) == "0100000000000000");
  CHECK(ask("G" + std::string(2 * gdb::detail::register_file::size, '7'), of) == "OK");
  CHECK(ask("p3a", of) == "7777777777777777");
  CHECK(ask("M1000,2:abcd", of) == "OK");
  CHECK(ask("m1000,4", of) == "abcd0000");
  CHECK(ask("m100e,4", of) == "0000");
  CHECK(ask("Z0,1004,1", of) == "OK");
  CHECK(ask("z0,1004,1", of) == "OK");
  CHECK(of.breakpoints == 0);
  // What there is none of.
  for (const char* packet : {"Z1,1004,1", "Z2,1004,1", "vCont?", "vMustReplyEmpty",
                             "qSymbol::", "QNothing", "X1000,0:", "!", "R00", "\x7f"}) {
    CHECK(ask(packet, of).empty());
  }
}

TEST_CASE("malformed packets are refused and change nothing", "[gdb]") {
  for (const char* packet : {"p",
                             "px",
                             "p3b",
                             "pffffffffffffffff",
                             "P",
                             "P1",
                             "P1=",
                             "P1=00",
                             "P1=000000000000000g",
                             "Pffffffffffffffff=00",
                             "G",
                             "G00",
                             "m",
                             "m1000",
                             "m1000,",
                             "m,4",
                             "m0,4",
                             "m1010,1",
                             "mffffffffffffffff,8",
                             "m1ffffffffffffffff,8",
                             "M1000,2",
                             "M1000,2:",
                             "M1000,2:ab",
                             "M1000,2:abcdef",
                             "M1000,2:abxx",
                             "M100f,2:abcd",
                             "M1000,ffffffffffffffff:ab",
                             "Z0",
                             "Z0,",
                             "Z0,x,1",
                             "Z0,0,1",
                             "qXfer:features:read:target.xml:",
                             "qXfer:features:read:target.xml:0",
                             "qXfer:features:read:target.xml:ffffffff,1"}) {
    CAPTURE(packet);
    fake_target of;
    CHECK(ask(packet, of) == "E01");
    CHECK(of.memory == std::array<std::byte, 16>{});
    for (const std::byte each : of.file.bytes()) REQUIRE(each == std::byte{0});
  }
  CHECK(ask("m1000,ffffffffffffffff").size() == 32);
}

TEST_CASE("the target description comes in pieces", "[gdb]") {
  const std::string whole = gdb::detail::target_description();
  std::string got;
  char more = 'm';
  while (more == 'm' && got.size() <= whole.size()) {
    std::string request = "qXfer:features:read:target.xml:";
    for (int shift = 12; shift >= 0; shift -= 4)
      request += "0123456789abcdef"[got.size() >> shift & 15];
    const std::string piece = ask(request + ",100");
    REQUIRE_FALSE(piece.empty());
    more = piece[0];
    got += piece.substr(1);
  }
  CHECK(more == 'l');
  CHECK(got == whole);
  // As many registers as the file has.
  std::size_t count = 0;
  for (std::size_t at = 0; (at = whole.find("<reg ", at)) != std::string::npos; ++at) ++count;
  gdb::detail::register_file file;
  CHECK(count == 59);
  CHECK(file.at(count - 1).size() == 8);
  CHECK(file.at(count).empty());
  CHECK(file.at(count - 1).data() + 8 == file.bytes().data() + gdb::detail::register_file::size);
  CHECK(file.at(16).data() == file.bytes().data() + 128);
  CHECK(file.at(24).size() == 10);
  CHECK(file.at(UINT64_MAX).empty());
}

TEST_CASE("what a debugger orders", "[gdb]") {
  fake_target of;
  const auto ordered = [&](std::string_view packet) {
    return run_debugger(gdb::detail::to_packet(packet), of).ended.value();
  };
  CHECK(ordered("c") == order::go_on);
  CHECK(ordered("s") == order::step);
  CHECK(ordered("C0b") == order::fault);
  CHECK(ordered("S0b") == order::fault);
  CHECK(ordered("C00") == order::go_on);
  CHECK(ordered("C") == order::go_on);
  CHECK(ordered("D") == order::detach);
  CHECK(ordered("k") == order::kill);
  CHECK(ordered("c1004") == order::go_on);
  CHECK(of.file.at(16)[0] == std::byte{4});
  CHECK(of.file.at(16)[1] == std::byte{0x10});
}

TEST_CASE("a debugger that garbles, floods or leaves", "[gdb]") {
  fake_target of;
  // Asked to say it again.
  CHECK(run_debugger("$g#00" + gdb::detail::to_packet("?"), of).heard == "? T05 ");
  CHECK(run_debugger(gdb::detail::to_packet("?") + "-", of).heard == "T05 T05 ");
  CHECK(run_debugger("\x03\x03" + gdb::detail::to_packet("?"), of).heard == "T05 ");
  CHECK(run_debugger(gdb::detail::to_packet("QStartNoAckMode") + "+" + gdb::detail::to_packet("?"),
                     of)
            .heard == "OK T05 ");
  for (const std::string& said :
       {std::string(), std::string("$"), std::string("$g#6"), std::string(100, '#'),
        "$" + std::string(2 * gdb::detail::max_packet, 'm'), std::string(1000, '\0'),
        std::string(1000, '-')}) {
    const auto held = run_debugger(said, of);
    REQUIRE_FALSE(held.ended);
    CHECK(held.ended.error().code == errc::cancelled);
  }
}

TEST_CASE("a conversation ends at the call's limits", "[gdb]") {
  pair sockets;
  gdb::detail::connection to(std::move(sockets.ours));
  CHECK(to.next({.until = interrupter::time_point::min()}).error().code == errc::timed_out);
  std::stop_source stop;
  stop.request_stop();
  CHECK(to.next({.stop = stop.get_token()}).error().code == errc::cancelled);
  // One that does not read what it is sent.
  const std::string much(1 << 20, 'a');
  result<void> sent;
  for (int i = 0; i < 1000 && sent; ++i) sent = to.send(much, {.stop = stop.get_token()});
  REQUIRE_FALSE(sent);
  CHECK(sent.error().code == errc::cancelled);
  sockets.theirs = os::fd();
  CHECK(to.send("a", {}).error().operation == std::string("the debugger has hung up"));
}

TEST_CASE("a conversation ends at the call's limits however much there is to hear", "[gdb]") {
  std::stop_source stop;
  stop.request_stop();
  for (const std::string_view said : {"x", "-", "\x03", "$?#3f", "$?#00"}) {
    INFO(said);
    pair sockets;
    std::string much;
    for (int i = 0; i < 1000; ++i) much += said;
    REQUIRE(::send(sockets.theirs.get(), much.data(), much.size(), 0) > 0);
    gdb::detail::connection to(std::move(sockets.ours));
    CHECK(to.glance_at({.stop = stop.get_token()}).error().code == errc::cancelled);
    CHECK(to.next({.stop = stop.get_token()}).error().code == errc::cancelled);
  }
}

TEST_CASE("registers go to the debugger and back", "[gdb]") {
  kvm_regs regs{};
  kvm_sregs sregs{};
  kvm::xsave_area vectors{};
  regs.rax = 1;
  regs.rbx = 2;
  regs.r15 = 15;
  regs.rip = 0x20000;
  regs.rflags = 0x202;
  sregs.cs.selector = 0x33;
  sregs.fs.base = 0x1234;
  vectors.bytes[0] = std::byte{0x7f};
  vectors.bytes[4] = std::byte{1};  // ST0 is in use.
  vectors.bytes[24] = std::byte{0x80};
  vectors.bytes[160 + 15 * 16] = std::byte{7};
  gdb::detail::register_file file;
  file.load(regs, sregs, vectors);
  CHECK(file.at(0)[0] == std::byte{1});
  CHECK(file.at(1)[0] == std::byte{2});
  CHECK(file.at(15)[0] == std::byte{15});
  CHECK(file.at(16)[2] == std::byte{2});
  CHECK(file.at(18)[0] == std::byte{0x33});
  CHECK(file.at(32)[0] == std::byte{0x7f});
  CHECK(file.at(34)[0] == std::byte{0xfc});
  CHECK(file.at(55)[0] == std::byte{7});
  CHECK(file.at(56)[0] == std::byte{0x80});
  CHECK(file.at(57)[1] == std::byte{0x12});
  const gdb::detail::register_file before = file;
  kvm_regs back{};
  file.store(back, sregs);
  CHECK(back.rax == 1);
  CHECK(back.r15 == 15);
  CHECK(back.rip == 0x20000);
  CHECK(back.rflags == 0x202);
  CHECK_FALSE(file.has_other_vectors(before));
  file.at(40)[3] = std::byte{9};
  CHECK(file.has_other_vectors(before));
  file.store(vectors);
  CHECK(vectors.bytes[163] == std::byte{9});
  CHECK(vectors.bytes[512] == std::byte{3});
}
