// Hosts on which the trampoline fails before any guest code: made by hand, by taking a page from a
// machine that nobody has entered.
// SPDX-License-Identifier: MIT
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <virtine/machine/image_snapshots.hpp>
#include <virtine/x86/page_table.hpp>

#include "hostile.hpp"

using namespace hostile;
using virtine::errc;
using virtine::detail::machine;

namespace {

namespace x86 = virtine::x86;

// What the machine maps is one piece of the host's memory, and its arguments are in the middle.
void take_page(machine& m, std::uint64_t address) {
  const std::span tables(m.arguments().data() + (where.tables - where.arguments),
                         where.end - where.tables);
  const auto entry = x86::pte_offset(tables, where.tables, address);
  REQUIRE(entry);
  tables[*entry] &= ~static_cast<std::byte>(x86::pte_present);
}

constexpr std::uint64_t trampoline = x86::trampoline_page;
const std::uint64_t stack = where.stack_top() - x86::page_size;

void check_unfit(const virtine::error& why, std::uint64_t page) {
  const std::string text = to_string(why);
  INFO(text);
  CHECK(why.code == errc::host_unfit);
  CHECK(virtine::blame_of(why.code) == virtine::blame::host);
  CHECK(why.fault.vector == x86::exception_vector::page_fault);
  CHECK(why.fault.address / x86::page_size == page / x86::page_size);
  CHECK(why.fault.instruction / x86::page_size == trampoline / x86::page_size);
  CHECK(text.find("virtine-doctor") != std::string::npos);
}

// Makes the next call on `pool` find a machine without `page`.
void prepare(virtine::pool<image>& pool, std::uint64_t page) {
  pool.trim(0);
  auto lent = pool.borrow();
  REQUIRE(lent);
  take_page(**lent, page);
  lent->give_back(0);
}

// A machine that nobody can enter, for what takes machines as a type.
class unfit : public virtine::detail::guest_access {
 public:
  static virtine::result<std::unique_ptr<unfit>> create(
      const std::shared_ptr<const virtine::detail::snapshot>& from) {
    auto made = machine::create(from);
    if (!made) return made.error();
    take_page(**made, stack);
    return std::unique_ptr<unfit>(new unfit(*std::move(made)));
  }
  auto enter(std::uint64_t function, const virtine::detail::run_limits& limits) {
    return of_->enter(function, limits);
  }
  auto resume() { return of_->resume(); }
  void abandon() { of_->abandon(); }
  [[nodiscard]] auto hypercall_number() const { return of_->hypercall_number(); }
  [[nodiscard]] auto system_call() const { return of_->system_call(); }
  void answer(std::int64_t value) { of_->answer(value); }
  [[nodiscard]] auto write_set() const { return of_->write_set(); }
  virtine::result<std::span<const std::byte>> read(virtine::guest_address at,
                                                   std::uint64_t size) override {
    return of_->read(at, size);
  }
  virtine::result<void> write(virtine::guest_address at, std::span<const std::byte> from) override {
    return of_->write(at, from);
  }

 private:
  explicit unfit(std::unique_ptr<machine> of) : of_(std::move(of)) {}
  std::unique_ptr<machine> of_;
};

}  // namespace

TEST_CASE("H74: what fails before a guest's first instruction is the host's", "[hostile][own_vm]") {
  for (const std::uint64_t page : {trampoline, stack}) {
    INFO(std::hex << page);
    {
      auto made = machine::create(image::description);
      REQUIRE(made);
      take_page(**made, page);
      const auto ended = (*made)->enter(image::attack::address, {});
      REQUIRE_FALSE(ended);
      check_unfit(ended.error(), page);
      CHECK((*made)->poisoned());
    }

    arena a;
    prepare(a.pool, page);
    const auto ended = a.run("good");
    REQUIRE_FALSE(ended);
    check_unfit(ended.error(), page);
    // Once, and the machine is gone.
    CHECK(a.pool.size() == 0);
    CHECK(a.pool.stats().created == 1);
    a.expect_good();

    virtine::virtine_fn<word(word, word), image::good> good(a.pool);
    using job = std::pair<word, word>;
    prepare(a.pool, page);
    const auto each = good.each(std::array{job{2, 3}, job{4, 5}});
    REQUIRE(each.size() == 2);
    REQUIRE_FALSE(each[0]);
    check_unfit(each[0].error(), page);
    REQUIRE(each[1]);
    CHECK(*each[1] == 20);

    prepare(a.pool, page);
    const auto together = good.together(std::array{job{2, 3}});
    REQUIRE_FALSE(together);
    check_unfit(together.error(), page);

    prepare(a.pool, page);
    {
      virtine::session s(good);
      const auto called = s.try_call(2, 3);
      REQUIRE_FALSE(called);
      check_unfit(called.error(), page);
    }
    a.expect_good();
  }
}

TEST_CASE("H75: an initialiser is not blamed for what fails before it runs", "[hostile]") {
  virtine::image_description with_initialiser = image::description;
  with_initialiser.init = address_of("good");
  const auto base = virtine::detail::snapshot::create(with_initialiser);
  REQUIRE(base);
  const auto made = virtine::detail::run_initialiser<unfit>(*base);
  REQUIRE_FALSE(made);
  check_unfit(made.error(), stack);
}

TEST_CASE("H77: an image whose sizes wrap makes no machine", "[hostile]") {
  for (const std::uint64_t size : {~std::uint64_t{0}, ~std::uint64_t{4094}, std::uint64_t{1} << 63,
                                   virtine::detail::layout::max_size}) {
    INFO(std::hex << size);
    virtine::image_description wrong = image::description;
    wrong.arguments_size = size;
    const auto made = machine::create(wrong);
    REQUIRE_FALSE(made);
    CHECK(made.error().code == errc::machine_failure);
    wrong = image::description;
    wrong.stack_size = size / x86::page_size * x86::page_size;
    CHECK_FALSE(machine::create(wrong));
  }
}

TEST_CASE("H76: a guest that comes back to the trampoline is to blame itself", "[hostile]") {
  arena a;
  // Filled with INT3 between the entries, where the host looks for failures of its own.
  for (const word offset : {x86::entry_distance, 2 * x86::entry_distance}) {
    const word at = trampoline + offset - 1;
    REQUIRE(x86::in_trampoline(at));
    const outcome breakpoint{
        .code = errc::guest_fault, .kind = fault_kind::breakpoint, .instruction = at};
    // On a machine that was used, and on a new one.
    a.expect_good();
    a.expect(breakpoint, "jump_to", at);
    a.pool.trim(0);
    a.expect(breakpoint, "jump_to", at);
  }
}
