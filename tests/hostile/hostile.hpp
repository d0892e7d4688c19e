// What the hostile tests share: the attacking image behind one pool, its addresses, and the exact
// comparison of a report with what was attacked.
// Must not know any single attack.
// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <ostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <guests/attacker.hpp>
#include <virtine/virtine.hpp>

#include "catch.hpp"
#include "host.hpp"

namespace hostile {

using image = guests::attacker;
using word = std::uint64_t;
using virtine::access;
using virtine::fault_kind;

inline const virtine::detail::layout where = virtine::detail::layout_of(image::description);

// attacker.asm has its constants in the second segment, its data in the third, and there a page of
// data before three of zeros.
inline const word code = image::description.segments[0].address;
inline const word constants = image::description.segments[1].address;
inline const word data = image::description.segments[2].address;
inline const word zeros = data + 4096;
inline const word code_in_data = data + 8;

inline word address_of(std::string_view label) {
  for (const virtine::symbol& each : image::description.symbols) {
    if (each.name == label) return each.address;
  }
  throw std::logic_error("the attacking image has no " + std::string(label));
}

inline bool has_label(std::string_view label) {
  for (const virtine::symbol& each : image::description.symbols) {
    if (each.name == label) return true;
  }
  return false;
}

/// How a call ended, in the terms of error and fault.
struct outcome {
  bool returned = false;
  word value = 0;  ///< What it returned.
  virtine::errc code{};
  fault_kind kind = fault_kind::none;
  virtine::access access = access::none;
  word address = 0;
  word instruction = 0;
  std::string symbol = {};

  friend bool operator==(const outcome&, const outcome&) = default;
};

inline std::ostream& operator<<(std::ostream& out, const outcome& o) {
  if (o.returned) return out << "returned " << o.value;
  return out << virtine::name(o.code) << ", " << virtine::name(o.kind) << ", access "
             << static_cast<int>(o.access) << std::hex << ", address 0x" << o.address << ", ip 0x"
             << o.instruction << std::dec << ", in " << (o.symbol.empty() ? "nothing" : o.symbol);
}

inline outcome seen(const virtine::result<word>& ended) {
  if (ended) return {.returned = true, .value = *ended};
  const virtine::error& why = ended.error();
  const virtine::fault& f = why.fault;
  outcome o{.code = why.code,
            .kind = f.kind,
            .access = f.access,
            .address = f.address,
            .instruction = f.instruction,
            .symbol = f.symbol != nullptr ? f.symbol : ""};
  if (f.symbol != nullptr) CHECK(address_of(f.symbol) + f.offset == f.instruction);
  return o;
}

inline outcome returned(word value) {
  return {.returned = true, .value = value};
}

/// A fault at `offset` behind `label`.
inline outcome fault(fault_kind kind, std::string label, word offset = 0) {
  return {.code = virtine::errc::guest_fault,
          .kind = kind,
          .instruction = address_of(label) + offset,
          .symbol = std::move(label)};
}

/// A page fault of the instruction at `label`.
inline outcome page_fault(fault_kind kind, virtine::access how, word address, std::string label) {
  outcome o = fault(kind, std::move(label));
  o.access = how;
  o.address = address;
  return o;
}

/// A page fault of the fetch of the instruction at `address`, which is in no function.
inline outcome fetch_fault(fault_kind kind, word address) {
  return {.code = virtine::errc::guest_fault,
          .kind = kind,
          .access = access::execute,
          .address = address,
          .instruction = address};
}

/// The attacking image behind a pool of its own.
class arena {
 public:
  virtine::pool<image> pool;

  /// Runs attack `name`, from where it begins to set up if it does.
  virtine::result<word> run(std::string_view name, word a = 0, word b = 0, word c = 0,
                            const virtine::call_options& options = {}) {
    const std::string before = "before_" + std::string(name);
    return run_at(address_of(has_label(before) ? before : std::string(name)), a, b, c, options);
  }

  virtine::result<word> run_at(word function, word a = 0, word b = 0, word c = 0,
                               const virtine::call_options& options = {}) {
    return attack_.with(options).try_call(function, a, b, c);
  }

  /// Demands that the next call on the pool is right.
  void expect_good() {
    const auto product = good_.try_call(6, 7);
    INFO("the call after the attack: " << (product ? "" : to_string(product.error())));
    REQUIRE(product);
    CHECK(*product == 42);
  }

  /// Runs attack `name` and demands that it ends in `expected`, and that it did no harm.
  void expect(const outcome& expected, std::string_view name, word a = 0, word b = 0, word c = 0) {
    expect_one_of({expected}, name, a, b, c);
  }

  /// The same where hosts differ: it may end in any of `expected`.
  void expect_one_of(std::initializer_list<outcome> expected, std::string_view name, word a = 0,
                     word b = 0, word c = 0) {
    INFO(name << std::hex << " 0x" << a << " 0x" << b << " 0x" << c << std::dec);
    const outcome ended = seen(run(name, a, b, c));
    check_is_one_of(ended, expected);
    // A machine whose call failed must be gone.
    CHECK(pool.size() == (ended.returned ? 1 : 0));
    expect_good();
  }

  static void check_is_one_of(const outcome& ended, std::initializer_list<outcome> expected) {
    if (expected.size() == 1) {
      CHECK(ended == *expected.begin());
      return;
    }
    for (const outcome& each : expected) {
      if (ended == each) {
        CHECK(ended == each);
        return;
      }
    }
    FAIL_CHECK("this must not come out: " << ended);
  }

 private:
  virtine::virtine_fn<word(word, word, word, word), image::attack> attack_{pool};
  virtine::virtine_fn<word(word, word), image::good> good_{pool};
};

}  // namespace hostile
