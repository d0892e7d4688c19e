// What a call leaves behind for the next one on the same machine: nothing.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <set>
#include <span>
#include <string_view>
#include <tuple>
#include <vector>

#include <guests/pages.hpp>
#include <guests/registers.hpp>
#include <virtine/virtine.hpp>

#include "by_hand.hpp"
#include "differences.hpp"
#include "host.hpp"

using namespace virtine;
using namespace virtine::detail;

namespace {

using registers = guests::registers;
using pages = guests::pages;

constexpr layout where = layout_of(registers::description);
constexpr std::uint64_t arguments_size = registers::description.arguments_size;
constexpr std::uint64_t stack_size = registers::description.stack_size;

// What the processor may have, as registers.asm numbers it.
constexpr std::uint32_t has_xsave = 1;
constexpr std::uint32_t has_fsgsbase = 2;
constexpr std::uint32_t has_pkru = 4;
constexpr std::uint32_t at_return = 8;
constexpr std::uint32_t with_stack = 16;
constexpr std::uint32_t has_tiles = 32;

using soil_sig = std::uint32_t(std::uint32_t, std::uint64_t, std::uint64_t);
using look_sig = bytes<4080>(std::uint32_t, std::uint64_t, std::uint64_t);
using carry_sig = bytes<4080>(std::uint32_t);

// Returns which of the optional things CPL 3 can do on this host.
std::uint32_t what_there_is() {
  pool<registers> machines;
  virtine_fn<soil_sig, registers::soil> soil(machines);
  std::uint32_t found = 0;
  for (const std::uint32_t one : {has_xsave, has_fsgsbase, has_pkru, has_tiles}) {
    const auto done = soil.try_call(one, arguments_size, stack_size);
    if (done) {
      found |= one;
    } else {
      REQUIRE(done.error().code == errc::guest_fault);
      // A processor with tiles raises #NM where the host's kernel has not given them to it.
      constexpr std::uint8_t device_not_available = 7;
      const bool missing = done.error().fault.kind == fault_kind::invalid_opcode ||
                           (one == has_tiles && done.error().fault.vector == device_not_available);
      CHECK(missing);
    }
  }
  return found;
}

// QEMU does not swap the x87 instruction and operand pointers between a host and its guests, so
// that those of the host's kernel show.
bool has_x87_pointers() {
  return emulated_host() != "svm";
}

// A report of registers.asm, by offsets from the frame.
struct findings {
  std::array<std::byte, 8 + 4080> frame{};

  explicit findings(const bytes<4080>& data) {
    REQUIRE(data.size() == 4080);
    std::copy(data.span().begin(), data.span().end(), frame.begin() + 8);
    // What the processor knows of which parts are in use may differ, and is no part of the state.
    std::fill_n(frame.begin() + 1024 + 512, 8, std::byte{0});
    if (!has_x87_pointers()) forget_x87_pointers();
  }

  // Both where FNSTENV and where FXSAVE put them.
  void forget_x87_pointers() {
    std::fill_n(frame.begin() + 208 + 12, 16, std::byte{0});
    std::fill_n(frame.begin() + 256 + 6, 18, std::byte{0});
  }

  template <class T>
  [[nodiscard]] T at(std::size_t offset) const {
    T value;
    std::memcpy(&value, frame.data() + offset, sizeof value);
    return value;
  }

  [[nodiscard]] bool is_zero(std::size_t begin, std::size_t end) const {
    return std::all_of(frame.begin() + static_cast<std::ptrdiff_t>(begin),
                       frame.begin() + static_cast<std::ptrdiff_t>(end),
                       [](std::byte b) { return b == std::byte{0}; });
  }
};

void check_clean(const findings& seen, std::uint32_t has) {
  const std::array<std::uint64_t, 16> general{registers::look::address,
                                              0,
                                              0,
                                              0,
                                              0,
                                              where.arguments,
                                              0,
                                              where.stack_top() - 8,
                                              0,
                                              0,
                                              0,
                                              0,
                                              0,
                                              0,
                                              0,
                                              0};
  for (std::size_t i = 0; i < general.size(); ++i) {
    INFO("general register " << i << ", as the report orders them");
    CHECK(seen.at<std::uint64_t>(8 + 8 * i) == general[i]);
  }
  // ZF and PF from the trampoline's last instruction; not looked at are IOPL and RF.
  CHECK((seen.at<std::uint64_t>(136) & ~std::uint64_t{0x13000}) == 0x246);
  for (std::size_t i = 0; i < 5; ++i) {
    INFO("segment register " << i);
    CHECK(seen.at<std::uint16_t>(144 + 2 * i) == x86::user_data_selector);
  }
  CHECK(seen.at<std::uint16_t>(154) == x86::user_code_selector);
  CHECK(seen.at<std::uint64_t>(160) == 0x0123456789abcdef);
  CHECK(seen.at<std::uint64_t>(168) == 0x0123456789abcdef);
  CHECK(seen.at<std::uint64_t>(176) == 0);
  CHECK(seen.at<std::uint64_t>(184) == 0);
  CHECK(seen.at<std::uint32_t>(196) == 0x1f80);
  if ((has & has_xsave) != 0) CHECK((seen.at<std::uint64_t>(200) & 3) == 3);

  CHECK(seen.at<std::uint16_t>(208) == 0x37f);   // Control word.
  CHECK(seen.at<std::uint16_t>(212) == 0);       // Status word.
  CHECK(seen.at<std::uint16_t>(216) == 0xffff);  // Tags: all empty.
  CHECK(seen.at<std::uint32_t>(220) == 0);       // Instruction pointer.
  CHECK(seen.at<std::uint32_t>(224) == 0);       // Its selector, and the opcode.
  CHECK(seen.at<std::uint32_t>(228) == 0);       // Data pointer.
  CHECK(seen.is_zero(256 + 32, 256 + 416));      // x87 and XMM registers.
  CHECK(seen.is_zero(1024 + 576, 3840));         // YMM, ZMM, masks.
  CHECK(seen.at<std::uint64_t>(3936) == 0);      // Tiles.
  for (std::size_t i = 0; i < 4; ++i) {
    INFO("memory " << i << ": data, bss, arguments, stack");
    CHECK(seen.at<std::uint64_t>(3840 + 8 * i) == 0);
  }
}

std::vector<std::byte> user_memory(machine& m) {
  const auto low = m.read(guest_address{x86::image_base}, where.guard - x86::image_base).value();
  const auto stack = m.read(guest_address{where.stack}, where.user_end - where.stack).value();
  std::vector<std::byte> all(low.begin(), low.end());
  all.insert(all.end(), stack.begin(), stack.end());
  return all;
}

}  // namespace

TEST_CASE("a call finds nothing of what another left in any place it could reach", "[reset]") {
  const std::uint32_t has = what_there_is();
  // The last one has each call find what another machine has left in its place.
  const auto options =
      GENERATE(pool_options{.max = 1}, pool_options{.max = 1, .cleaning = cleaning::in_background},
               pool_options{.max = 1, .max_calls = 1, .machines_per_vm = 2});
  const bool keeps = options.max_calls > 1;
  pool<registers> machines(options);
  virtine_fn<soil_sig, registers::soil> soil(machines);
  virtine_fn<look_sig, registers::look> look(machines);
  const findings fresh(look(has, arguments_size, stack_size));
  check_clean(fresh, has);
  for (const std::uint32_t way :
       {0u, at_return, at_return | with_stack, at_return | with_stack, with_stack, at_return}) {
    INFO("left by flags " << way);
    CHECK(soil(has | way, arguments_size, stack_size) == 0xa5a5a5a5);
    if (keeps) REQUIRE(machines.size() == 1);
    const findings after(look(has, arguments_size, stack_size));
    check_clean(after, has);
    CHECK(after.at<std::uint32_t>(192) == fresh.at<std::uint32_t>(192));  // PKRU.
    CHECK(differences(after.frame, fresh.frame) == "");
    if (keeps) REQUIRE(machines.size() == 1);
  }
}

TEST_CASE("elements, batches and sessions leave nothing either", "[reset]") {
  const std::uint32_t has = what_there_is();
  pool<registers> machines({.max = 1});
  virtine_fn<soil_sig, registers::soil> soil(machines);
  virtine_fn<look_sig, registers::look> look(machines);
  const findings fresh(look(has, arguments_size, stack_size));
  const auto check = [&](const bytes<4080>& seen) {
    REQUIRE(machines.size() == 1);
    const findings after(seen);
    check_clean(after, has);
    CHECK(differences(after.frame, fresh.frame) == "");
  };
  using job = std::tuple<std::uint32_t, std::uint64_t, std::uint64_t>;
  const job looking{has, arguments_size, stack_size};
  for (const std::uint32_t way : {0u, at_return, at_return}) {
    INFO("left by flags " << way);
    const std::array soiling{job{has | way, arguments_size, stack_size}};
    CHECK(soil.each(soiling)[0]);
    check(look(has, arguments_size, stack_size));
    for (const auto& seen : look.each(std::array{looking, looking})) check(seen.value());
    // It writes over all of the arguments, the batch and the mailbox included.
    static_cast<void>(soil.with({.timeout = std::chrono::seconds(1)}).together(soiling));
    REQUIRE(look.try_call(has, arguments_size, stack_size));
    check(look(has, arguments_size, stack_size));
    {
      session s(soil);
      static_cast<void>(s.with({.timeout = std::chrono::milliseconds(100)})
                            .try_call(has | way, arguments_size, stack_size));
    }
    REQUIRE(look.try_call(has, arguments_size, stack_size));
    check(look(has, arguments_size, stack_size));
  }
}

TEST_CASE("memory is byte for byte what it was", "[reset]") {
  const auto made = machine::create(registers::description).value();
  const std::vector<std::byte> before = user_memory(*made);
  for (const std::uint32_t way : {0u, at_return | with_stack}) {
    REQUIRE(by_hand::call<soil_sig, registers::soil>(*made, way, arguments_size, stack_size));
    CHECK(differences(user_memory(*made), before) == "");
    CHECK(made->write_set().size() ==
          (where.guard - where.arguments + stack_size + 15 * x86::page_size) / x86::page_size);
  }
}

TEST_CASE("the first write to a page changes nothing but the page", "[reset]") {
  // Tiles that a host does not know of are lost whenever it puts the guest's thread off.
  const std::uint32_t has = what_there_is() & ~has_tiles;
  const auto made = machine::create(registers::description).value();
  const std::size_t before = made->write_set().size();
  findings trapping(by_hand::call<carry_sig, registers::carry>(*made, has).value());
  // Pages that carry writes: fresh, kept, one of the stack; two were in the set.
  const std::size_t after = made->write_set().size();
  CHECK(after >= before + 8);
  findings plain(by_hand::call<carry_sig, registers::carry>(*made, has).value());
  CHECK(made->write_set().size() == after);
  // Not every processor and kernel saves these for a guest.
  trapping.forget_x87_pointers();
  plain.forget_x87_pointers();
  CHECK(differences(trapping.frame, plain.frame) == "");
  CHECK(plain.at<std::uint64_t>(16) == 0xb1b2b3b4b5b6b7b8);                    // RBX
  CHECK(plain.at<std::uint64_t>(24) == 0);                                     // RCX, counted down.
  CHECK((plain.at<std::uint64_t>(72) & ~std::uint64_t{0x13000}) == 0x200ed7);  // R8: the flags.
  CHECK(plain.at<std::uint32_t>(196) == 0xe07f);                               // MXCSR
  CHECK(plain.at<std::uint64_t>(256 + 160) == 0xa5a5a5a5a5a5a5a5);             // XMM0
  CHECK(plain.at<std::uint16_t>(148) == x86::user_code_selector);              // FS
}

TEST_CASE("no selector that a guest may load is left for the next call", "[reset][long]") {
  const std::uint32_t has = what_there_is();
  pool<registers> machines({.max = 1});
  virtine_fn<std::uint32_t(std::uint32_t, std::uint32_t), registers::load_selector> load(machines);
  virtine_fn<look_sig, registers::look> look(machines);
  const findings fresh(look(has, arguments_size, stack_size));
  int loaded = 0;
  // A machine is lost, and made again, for each that cannot be loaded, which costs more there.
  const std::uint32_t last = is_emulated() ? 0x38 : 0x80;
  for (std::uint32_t which = 0; which < 6; ++which) {
    for (std::uint32_t selector = 0; selector <= last; selector += 8) {
      for (const std::uint32_t privileges : {3u, 7u}) {  // Of the global table, of a local one.
        if (last < 0x80 && privileges == 7 && selector != 0x28) continue;
        INFO("register " << which << ", selector " << (selector | privileges));
        const auto done = load.try_call(which, selector | privileges);
        if (done) {
          ++loaded;
          CHECK(*done == (selector | privileges));
        } else {
          REQUIRE(done.error().code == errc::guest_fault);
        }
        const auto seen = look.try_call(has, arguments_size, stack_size);
        REQUIRE(seen.has_value());
        CHECK(differences(findings(*seen).frame, fresh.frame) == "");
      }
    }
  }
  CHECK(loaded >= 5);
}

TEST_CASE("variables are as the image has them at each call", "[reset]") {
  pool<pages> machines(
      {.max = 1, .cleaning = GENERATE(cleaning::on_return, cleaning::in_background)});
  virtine_fn<int(), pages::counted> counted(machines);
  virtine_fn<int(int), pages::computed_once> computed_once(machines);
  virtine_fn<std::uint64_t(std::uint64_t), pages::overwrite_initialised> overwrite(machines);
  virtine_fn<std::uint64_t(), pages::sum_initialised> sum(machines);
  for (int i = 1; i <= 5; ++i) {
    CHECK(counted() == 1);
    CHECK(computed_once(i) == i);
    CHECK(overwrite(99) == 99);
    CHECK(sum() == 0x600);
  }
  CHECK(machines.size() == 1);
}

TEST_CASE("writes in orders that change from call to call leave no wrong byte", "[reset][long]") {
  using sig = std::uint64_t(std::uint64_t, std::uint32_t, std::uint32_t, std::uint32_t);
  constexpr std::uint32_t page_count = 300;
  const bool emulated = is_emulated();
  const std::uint32_t calls = emulated ? 30 : 300;
  const auto made = machine::create(pages::description).value();
  CHECK(made->write_set().size() == 2);
  std::set<std::uint32_t> written;
  std::uint64_t random = 88172645463325252;
  const auto next_random = [&](std::uint32_t below) {
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    return static_cast<std::uint32_t>(random >> 32) % below;
  };
  for (std::uint32_t i = 0; i < calls; ++i) {
    // Mostly few pages, sometimes all; strides that have no divisor in common with page_count.
    constexpr std::array<std::uint32_t, 6> strides{1, 7, 299, 151, 77, 211};
    const std::uint32_t count = i % 16 == 15 ? page_count : next_random(20);
    const std::uint32_t first = next_random(page_count);
    const std::uint32_t stride = strides[next_random(strides.size())];
    for (std::uint32_t k = 0; k < count; ++k) written.insert((first + k * stride) % page_count);
    const auto wrong = by_hand::call<sig, pages::scribble>(*made, random, first, count, stride);
    INFO("call " << i << ": " << count << " pages from " << first << " by " << stride);
    REQUIRE(wrong.has_value());
    REQUIRE(*wrong == 0);
    // Pages ahead of a run are added before they are written, no more than there are in the run.
    REQUIRE(made->write_set().size() >= written.size() + 2);
    REQUIRE(made->write_set().size() <= 2 * written.size() + 2);
  }
  CHECK(written.size() == page_count);
}

TEST_CASE("going through memory page by page traps only now and then", "[reset]") {
  using sig = std::uint64_t(std::uint64_t, std::uint32_t, std::uint32_t, std::uint32_t);
  constexpr std::uint32_t page_count = 300;
  for (const std::uint32_t stride : {1u, page_count - 1}) {  // Upwards and downwards.
    INFO("stride " << stride);
    const auto made = machine::create(pages::description).value();
    std::size_t size = made->write_set().size();
    std::size_t grown = 0;
    const std::uint32_t step = is_emulated() ? 37 : 1;
    for (std::uint32_t count = 1; count < page_count; count += step) {
      const std::uint32_t first = stride == 1 ? 0 : page_count - 1;
      REQUIRE(by_hand::call<sig, pages::scribble>(*made, 1u, first, count, stride).value() == 0);
      const std::size_t now = made->write_set().size();
      REQUIRE(now >= count + 2);
      grown += now != size ? 1 : 0;
      size = now;
    }
    // 1, 2, 4, 8, 16, then 32 pages each time.
    CHECK(grown <= 5 + page_count / 32 + 1);
  }
}

TEST_CASE("reading adds nothing to the write set", "[reset]") {
  const auto made = machine::create(pages::description).value();
  CHECK(by_hand::call<std::uint64_t(), pages::sum_initialised>(*made).value() == 0x600);
  CHECK(made->write_set().size() == 2);
  CHECK(by_hand::call<std::uint64_t(std::uint64_t), pages::overwrite_initialised>(*made, 5u)
            .value() == 5);
  CHECK(made->write_set().size() == 3);
}
