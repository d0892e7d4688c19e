// Attacks on lent memory, and on what is around it.
// SPDX-License-Identifier: MIT
#include "hostile.hpp"

#include <algorithm>
#include <cstddef>
#include <span>
#include <type_traits>
#include <vector>

#include <guests/lent.hpp>

#include "../kvm/guests/lent_types.hpp"

namespace {

using lent_image = guests::lent;
using hostile::word;
using bytes = virtine::lent<const std::byte>;
using virtine::access;
using virtine::fault_kind;
using virtine::lent_memory;

constexpr std::size_t page = 4096;
constexpr std::size_t large_page = 512 * page;
constexpr std::byte ret{0xc3};  // The instruction.

lent_memory filled_with(std::size_t size, std::byte value = ret) {
  lent_memory made = lent_memory::allocate(size).value();
  std::ranges::fill(made.bytes(), value);
  return made;
}

/// The functions of the image, all on one machine.
struct arena {
  virtine::pool<lent_image> pool{{.max = 1}};
  virtine::virtine_fn<word(bytes), lent_image::place> place{pool};
  virtine::virtine_fn<word(bytes), lent_image::sum> sum{pool};
  virtine::virtine_fn<word(bytes, word), lent_image::read_at> read{pool};
  virtine::virtine_fn<word(bytes, word, word), lent_image::write_at> write{pool};
  virtine::virtine_fn<word(bytes, word), lent_image::call_at> call{pool};
  virtine::virtine_fn<word(word), lent_image::look_at> look{pool};
};

void expect_fault(const virtine::result<word>& ended, fault_kind kind, access how, word address) {
  INFO(std::hex << "0x" << address << ": " << (ended ? "returned" : to_string(ended.error())));
  REQUIRE(!ended);
  CHECK(ended.error().code == virtine::errc::guest_fault);
  CHECK(ended.error().fault.kind == kind);
  CHECK(ended.error().fault.access == how);
  CHECK(ended.error().fault.address == address);
}

}  // namespace

TEST_CASE("H127: lent memory cannot be written or executed", "[hostile][own_vm]") {
  arena a;
  const lent_memory memory = filled_with(large_page + page + 8);
  const word at = a.place(memory);
  for (const word address : {at, at + large_page - 8, at + large_page, at + large_page + page}) {
    const word before = a.read(memory, address);
    expect_fault(a.write.try_call(memory, address, 1), fault_kind::protection, access::write,
                 address);
    expect_fault(a.call.try_call(memory, address), fault_kind::execute_data, access::execute,
                 address);
    CHECK(a.read(memory, address) == before);
  }
  CHECK(std::ranges::all_of(memory.bytes(), [](std::byte each) { return each == ret; }));
}

TEST_CASE("H128: there is nothing before or behind lent memory", "[hostile][own_vm]") {
  arena a;
  for (const std::size_t size :
       {std::size_t{8}, page, large_page - page, large_page, large_page + page + 8}) {
    INFO(size);
    const lent_memory memory = filled_with(size);
    const word at = a.place(memory);
    const word end = (at + size + page - 1) / page * page;
    // What is left of its last page is the memory's own.
    for (const word address : {at + size, end - 8}) {
      if (address < end && address >= at + size) CHECK(a.read(memory, address) == 0);
    }
    for (const word address : {at - 8, end}) {
      expect_fault(a.read.try_call(memory, address), fault_kind::unmapped_access, access::read,
                   address);
    }
  }
}

TEST_CASE("H129: no call finds what only an earlier one was lent", "[hostile][own_vm]") {
  arena a;
  const lent_memory secret = filled_with(large_page + page, std::byte{0x5e});
  const word at = a.place(secret);
  // By the same machine, which has just read it: what the processor and KVM remember of it counts.
  const auto lend = [&] { REQUIRE(a.sum(secret) == 0x5e * secret.size()); };
  for (const word address : {at, at + large_page}) {
    INFO(std::hex << address);
    lend();
    expect_fault(a.look.try_call(address), fault_kind::unmapped_access, access::read, address);
    lend();
    expect_fault(a.read.try_call(lent_memory(), address), fault_kind::unmapped_access, access::read,
                 address);
    // Memory of one page lies where the other's last page was.
    const lent_memory other = filled_with(page, std::byte{1});
    lend();
    const auto seen = a.read.try_call(other, address);
    if (address == a.place(other)) {
      CHECK(seen.value() == 0x0101010101010101);
    } else {
      expect_fault(seen, fault_kind::unmapped_access, access::read, address);
    }
    // Nor does a batch, or a session, whose guest is entered in other ways.
    lend();
    const auto batch = a.look.together(std::vector<word>{address});
    REQUIRE(!batch);
    CHECK(batch.error().fault.kind == fault_kind::unmapped_access);
    lend();
    virtine::session staying(a.look);
    expect_fault(staying.try_call(address), fault_kind::unmapped_access, access::read, address);
  }
  CHECK(std::ranges::all_of(secret.bytes(), [](std::byte b) { return b == std::byte{0x5e}; }));
}

TEST_CASE("H130: the host writes nothing into lent memory for a guest", "[hostile][own_vm]") {
  const auto policy =
      virtine::policy{virtine::allow<filled>([](virtine::guest_buffer<word> into) -> word {
        const std::vector<word> ones(into.size(), 1);
        return into.fill(ones);
      })};
  virtine::virtine_fn<word(bytes, word, word), lent_image::fill,
                      std::remove_const_t<decltype(policy)>>
      fill{policy};
  virtine::virtine_fn<word(bytes), lent_image::place> place;
  const lent_memory memory = filled_with(2 * page);
  const auto written = fill.try_call(memory, place(memory), 4);
  CHECK((!written || *written == 0));
  CHECK(std::ranges::all_of(memory.bytes(), [](std::byte each) { return each == ret; }));
}
