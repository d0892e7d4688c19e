// Attacks through what the host reads of a guest: hypercalls, their frames and buffers, replies.
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <virtine/machine/machine.hpp>

#include "hostile.hpp"

using namespace hostile;
using virtine::errc;

enum class color : std::uint32_t { red, green };

template <>
struct virtine::valid_reply<color> {
  static constexpr bool check(color c) { return c == color::red || c == color::green; }
};

namespace {

struct number_call : virtine::hypercall<1, word(word)> {};
struct text_call : virtine::hypercall<2, void(std::string_view)> {};
struct sum_call : virtine::hypercall<3, word(std::span<const word>)> {};
struct fill_call : virtine::hypercall<4, word(std::span<word>)> {};
struct flag_call : virtine::hypercall<5, word(bool)> {};
struct color_call : virtine::hypercall<6, word(color)> {};
struct empty_call : virtine::hypercall<7, void()> {};

// What the handlers saw.
struct journal {
  int handled = 0;
  word number = 0;
  std::string text;
  word sum = 0;
  std::size_t room = 0;
  std::size_t filled = 0;
};

auto permissive(journal& seen_by_host) {
  journal* const j = &seen_by_host;
  return virtine::policy{
      virtine::allow<number_call>([j](virtine::tainted<word> n) {
        ++j->handled;
        j->number = n.unverified_because("it is only compared");
        return j->number + 1;
      }),
      virtine::allow<text_call>([j](virtine::tainted<std::string_view> text) {
        ++j->handled;
        j->text = text.verify(virtine::at_most<0x100000>).value_or("too long");
      }),
      virtine::allow<sum_call>([j](virtine::tainted<std::span<const word>> values) {
        ++j->handled;
        j->sum = 0;
        for (word each : values.unverified_because("every one is only added")) j->sum += each;
        return j->sum;
      }),
      virtine::allow<fill_call>([j](virtine::guest_buffer<word> buffer) {
        ++j->handled;
        j->room = buffer.size();
        constexpr std::array<word, 3> values{101, 102, 103};
        j->filled = buffer.fill(values);
        return static_cast<word>(j->filled);
      }),
      virtine::allow<flag_call>([j](virtine::tainted<bool> flag) {
        ++j->handled;
        return word{flag.unverified_because("any bool will do")};
      }),
      virtine::allow<color_call>([j](virtine::tainted<color> c) {
        ++j->handled;
        return static_cast<word>(c.unverified_because("it was checked before"));
      }),
      virtine::allow<empty_call>([j] { ++j->handled; }),
  };
}

// A guest that may ask.
struct asking {
  virtine::pool<image> pool;
  journal seen_by_host;
  virtine::virtine_fn<word(word, word, word, word), image::attack,
                      decltype(permissive(std::declval<journal&>()))>
      attack{pool, permissive(seen_by_host)};
  virtine::virtine_fn<word(word, word), image::good> good{pool};

  virtine::result<word> run(const char* name, word a, word b = 0, word c = 0,
                            const virtine::call_options& options = {}) {
    seen_by_host = {};
    return attack.with(options).try_call(address_of(name), a, b, c);
  }

  void expect_good() {
    const auto product = good.try_call(6, 7);
    REQUIRE(product);
    CHECK(*product == 42);
  }

  // The host refuses and no handler has run.
  void expect_refused(const char* name, word a, word b = 0, word c = 0) {
    INFO(name << std::hex << " 0x" << a << " 0x" << b << " 0x" << c);
    const auto ended = run(name, a, b, c);
    REQUIRE_FALSE(ended);
    CHECK(ended.error().code == errc::hypercall_rejected);
    CHECK(ended.error().operation != nullptr);
    CHECK(seen_by_host.handled == 0);
    CHECK(pool.size() == 0);
    expect_good();
  }
};

const word last = ~word{0};
// Of what a guest has; the host looks no further.
const word end = where.user_end;

}  // namespace

TEST_CASE("H26: hypercalls that the policy does not name are denied", "[hostile][long]") {
  arena nothing;
  asking some;
  const auto denied = [](const virtine::result<word>& ended, word number) {
    INFO(number);
    REQUIRE_FALSE(ended);
    CHECK(ended.error().code == errc::hypercall_denied);
    CHECK(ended.error().detail == number);
  };
  for (const word number : {word{0}, word{1}, word{7}, word{8}, word{100}, word{0x7fffffff},
                            word{0x80000000}, word{0xfffffffe}, word{0xffffffff}}) {
    denied(nothing.run("hypercall", number, where.arguments), number);
    CHECK(nothing.pool.size() == 0);
    nothing.expect_good();
    if (number >= 1 && number <= 7) continue;
    denied(some.run("hypercall", number, where.arguments), number);
    CHECK(some.seen_by_host.handled == 0);
    CHECK(some.pool.size() == 0);
    some.expect_good();
  }
  // A number has 32 bits: what RAX holds above them is not looked at.
  const auto wide = some.run("hypercall_wide_number", 0, where.arguments, 0x700000007);
  CHECK(wide.has_value());
  CHECK(some.seen_by_host.handled == 1);
}

TEST_CASE("H27: a hypercall's frame must lie in the guest's memory", "[hostile][long]") {
  asking a;
  // 16 bytes: the result and one argument.
  for (const word frame : {word{0},
                           word{8},
                           word{0xfff0},
                           word{virtine::x86::gdt_address},
                           word{virtine::x86::trap_stub_page},
                           word{virtine::x86::trampoline_page},
                           word{virtine::x86::image_base - 1},
                           word{virtine::x86::image_base - 16},
                           end - 15,
                           end - 8,
                           end - 1,
                           end,
                           where.trap_stack,
                           where.tables,
                           where.end - 16,
                           where.end,
                           last,
                           last - 7,
                           last - 14,
                           last - 15,
                           last - 16,
                           word{1} << 63,
                           (word{1} << 63) - 8,
                           word{0} - virtine::x86::image_base}) {
    a.expect_refused("hypercall", number_call::number, frame);
  }
  // In memory that cannot be written, the call is handled but has nowhere to answer.
  for (const word frame : {code, constants, where.guard, where.stack - 16}) {
    INFO(frame);
    const auto ended = a.run("hypercall", number_call::number, frame);
    REQUIRE_FALSE(ended);
    CHECK(ended.error().code == errc::hypercall_rejected);
    CHECK(a.pool.size() == 0);
    a.expect_good();
  }
  // Anywhere else will do, on whatever byte it begins, over the end of a page too.
  for (const word frame : {zeros, zeros + 1, zeros + 4096 - 8, where.stack, where.guard - 16}) {
    INFO(frame);
    const auto ended = a.run("hypercall", number_call::number, frame);
    CHECK(ended.has_value());
    CHECK(a.seen_by_host.handled == 1);
    CHECK(a.seen_by_host.number == 0);
    a.expect_good();
  }
  // A call without arguments has no frame, so any address will do.
  CHECK(a.run("hypercall", empty_call::number, last).has_value());
  a.expect_good();
}

TEST_CASE("H28: what a hypercall passes to read must lie in the guest's memory",
          "[hostile][long]") {
  asking a;
  const auto texts = [&](word address, word count) {
    a.expect_refused("hypercall_with", text_call::number, address, count);
  };
  for (const word count : {word{1}, word{16}, word{1} << 32, word{1} << 63, last - 1, last}) {
    for (const word address : {word{0}, word{0xffff}, word{virtine::x86::gdt_address}, end,
                               where.tables, last, word{1} << 63}) {
      texts(address, count);
    }
  }
  // Lengths that would wrap around to something small.
  texts(data, word{0} - data);
  texts(data, word{0} - data + 1);
  texts(data, last - data + 2);
  texts(data, end - data + 1);
  texts(end - 1, 2);
  texts(virtine::x86::image_base - 1, 2);

  const auto sums = [&](word address, word count) {
    a.expect_refused("hypercall_fill", sum_call::number, address, count);
  };
  // The count times eight wraps to 0, 8 and 16.
  sums(data, word{1} << 61);
  sums(data, (word{1} << 61) + 1);
  sums(data, (word{1} << 62) + 2);
  sums(data, word{1} << 63);
  sums(data, last);
  for (word odd = 1; odd < 8; ++odd) sums(data + odd, 1);
  sums(end - 8, 2);

  // An empty one may have any address.
  REQUIRE(a.run("hypercall_with", text_call::number, last, 0));
  CHECK(a.seen_by_host.text.empty());
  REQUIRE(a.run("hypercall_fill", sum_call::number, 3, 0));
  a.expect_good();
  // All that a guest has, to the last byte, and without a zero at its end.
  REQUIRE(a.run("hypercall_with", text_call::number, data, where.guard - data));
  CHECK(a.seen_by_host.text.size() == where.guard - data);
  a.expect_good();
  REQUIRE(a.run("hypercall_with", text_call::number, where.stack, end - where.stack));
  CHECK(a.seen_by_host.text.size() == end - where.stack);
  a.expect_good();
  // The guard is no memory of the guest's, not even between two parts that are.
  a.expect_refused("hypercall_with", text_call::number, where.guard, 1);
  a.expect_refused("hypercall_with", text_call::number, where.stack - 1, 1);
  a.expect_refused("hypercall_with", text_call::number, where.guard - 1, 2);
  a.expect_refused("hypercall_with", text_call::number, data, end - data);
}

TEST_CASE("H29: a handler fills only memory that the guest could have written", "[hostile]") {
  asking a;
  const auto word_at = [&](word address) {
    const auto found = a.run("read", address);
    REQUIRE(found);
    return *found;
  };
  const word first_code = word_at(code);
  const word first_constant = word_at(constants);
  // Where it is not refused, nothing is written and the handler learns that.
  for (const word address :
       {word{0}, word{0x10000}, word{0x12100}, code, constants, where.guard, where.stack - 24, end,
        where.trap_stack, where.tables, where.end, last & ~word{7}}) {
    INFO(address);
    const auto ended = a.run("hypercall_fill", fill_call::number, address, 3);
    if (ended) {
      CHECK(*ended == 0);
      CHECK(a.seen_by_host.filled == 0);
    } else {
      CHECK(ended.error().code == errc::hypercall_rejected);
      CHECK(a.pool.size() == 0);
    }
    a.expect_good();
  }
  CHECK(word_at(code) == first_code);
  CHECK(word_at(constants) == first_constant);

  for (const word count : {word{1} << 61, word{1} << 63, last}) {
    a.expect_refused("hypercall_fill", fill_call::number, data, count);
  }
  for (word odd = 1; odd < 8; ++odd) {
    a.expect_refused("hypercall_fill", fill_call::number, data + odd, 1);
  }
  // Into pages that were not written before, over their border: all of it, and gone with the call.
  REQUIRE(a.run("hypercall_fill", fill_call::number, zeros + 4096 - 8, 3));
  CHECK(a.seen_by_host.filled == 3);
  a.expect_good();
  // Over the end of the arguments into the guard: as far as there is memory.
  const auto cut = a.run("hypercall_fill", fill_call::number, where.guard - 16, 3);
  if (cut) CHECK(a.seen_by_host.filled <= 2);
  a.expect_good();
}

TEST_CASE("H30: an output buffer is no larger than the guest's memory", "[hostile]") {
  asking a;
  for (const word count : {(word{1} << 61) - 1, word{1} << 40, (end - data) / 8 + 1}) {
    const auto ended = a.run("hypercall_fill", fill_call::number, data, count);
    // A handler may make an array of this size.
    CHECK(a.seen_by_host.room <= (end - data) / 8);
    if (!ended) CHECK(ended.error().code == errc::hypercall_rejected);
    a.expect_good();
  }
}

TEST_CASE("H31: a hypercall's bools and enums are checked before they exist", "[hostile]") {
  asking a;
  for (const word flag : {word{2}, word{0x80}, word{0xff}}) {
    a.expect_refused("hypercall_with", flag_call::number, 0, flag);
  }
  for (const word number : {word{2}, word{0x80000000}, word{0xffffffff}}) {
    a.expect_refused("hypercall_with", color_call::number, 0, number);
  }
  CHECK(a.run("hypercall_with", flag_call::number, 0, 1).value_or(9) == 1);
  CHECK(a.run("hypercall_with", color_call::number, 0, 1).value_or(9) == 1);
  a.expect_good();
}

TEST_CASE("H32: a flood of hypercalls ends at the limit", "[hostile]") {
  asking a;
  for (const word limit : std::initializer_list<word>{0, 1, 50}) {
    const auto ended = a.run("flood", 0, 0, empty_call::number, {.hypercalls = limit});
    REQUIRE_FALSE(ended);
    CHECK(ended.error().code == errc::hypercall_limit);
    CHECK(ended.error().detail == limit);
    CHECK(a.seen_by_host.handled == static_cast<int>(limit));
    CHECK(a.pool.size() == 0);
    a.expect_good();
  }
}

TEST_CASE("H33: a reply that its type does not have is not believed", "[hostile]") {
  virtine::pool<image> pool;
  virtine::virtine_fn<bool(word), image::flag> flag(pool);
  virtine::virtine_fn<color(word), image::paint> paint(pool);
  virtine::virtine_fn<void(std::span<bool>, word), image::flags> flags(pool);
  virtine::virtine_fn<virtine::bytes<8>(word), image::text> text(pool);
  virtine::virtine_fn<word(word, word), image::good> good(pool);
  const auto refused = [&](const auto& reply) {
    REQUIRE_FALSE(reply);
    CHECK(reply.error().code == errc::bad_reply);
    const auto product = good.try_call(6, 7);
    REQUIRE(product);
    CHECK(*product == 42);
  };
  for (const word byte : std::initializer_list<word>{2, 3, 0x80, 0xff}) {
    refused(flag.try_call(byte));
    std::array<bool, 2> given{true, false};
    refused(flags.try_call(given, byte));
    CHECK(given == std::array<bool, 2>{true, false});
  }
  for (const word number : {word{2}, word{0x100}, word{0xffffffff}}) {
    refused(paint.try_call(number));
  }
  for (const word size : {word{9}, word{1} << 32, word{1} << 63, last}) {
    refused(text.try_call(size));
  }
  CHECK(flag(1));
  CHECK(paint(1) == color::green);
  CHECK(text(8).size() == 8);
}

TEST_CASE("H34: the host follows no address or count that a guest wrote", "[hostile]") {
  virtine::pool<image> pool;
  virtine::virtine_fn<void(std::span<word>, std::span<word>, word), image::spans> spans(pool);
  for (const word address : {word{0}, code, where.tables, word{1} << 63, last,
                             // An address of the host's own.
                             reinterpret_cast<word>(&pool)}) {
    std::array<word, 5> around{1, 2, 3, 4, 5};
    std::array<word, 3> other{6, 7, 8};
    REQUIRE(spans.try_call(std::span(around).subspan(1, 2), std::span(other).first(1), address));
    CHECK(around == std::array<word, 5>{1, 11, 3, 4, 5});
    CHECK(other == std::array<word, 3>{22, 7, 8});
    CHECK(pool.size() == 1);
  }
}

TEST_CASE("H35: a machine whose call failed takes no other", "[hostile]") {
  auto made = virtine::detail::machine::create(image::description);
  REQUIRE(made);
  virtine::detail::machine& m = **made;
  const auto enter = [&](std::string_view name) {
    // The frame of attack(): result, function, and three arguments of zero.
    const word function = address_of(name);
    std::copy_n(std::as_bytes(std::span(&function, 1)).begin(), 8, m.arguments().begin() + 8);
    auto stopped = m.enter(image::attack::address, {});
    m.restore(40);
    return stopped;
  };
  REQUIRE(enter("done_at_once"));
  CHECK_FALSE(m.poisoned());
  REQUIRE_FALSE(enter("undefined"));
  CHECK(m.poisoned());
  const auto again = enter("done_at_once");
  REQUIRE_FALSE(again);
  CHECK(again.error().code == errc::machine_failure);

  auto asking = virtine::detail::machine::create(image::description);
  REQUIRE(asking);
  const word function = address_of("flood");
  std::copy_n(std::as_bytes(std::span(&function, 1)).begin(), 8,
              (*asking)->arguments().begin() + 8);
  const auto stopped = (*asking)->enter(image::attack::address, {});
  REQUIRE(stopped);
  CHECK(*stopped == virtine::detail::guest_exit::hypercall);
  (*asking)->abandon();
  CHECK((*asking)->poisoned());
  CHECK_FALSE((*asking)->enter(image::attack::address, {}));
}
