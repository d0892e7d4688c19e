// Snapshots with an initialiser: what it leaves is what every call begins with, and nothing else.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <memory>
#include <set>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <guests/init_asks.hpp>
#include <guests/init_calls.hpp>
#include <guests/init_exits.hpp>
#include <guests/init_faults.hpp>
#include <guests/init_floods.hpp>
#include <guests/init_loops.hpp>
#include <guests/prepared.hpp>
#include <guests/scribbles.hpp>
#include <guests/square.hpp>
#include <virtine/virtine.hpp>

#include "guests/prepared_types.hpp"

using namespace virtine;
using namespace virtine::detail;
using namespace std::chrono_literals;

namespace {

using prepared = guests::prepared;
using state_fn = virtine_fn<prepared_state(), prepared::state>;

// Returns the pages in which two memories of one size differ, by their addresses.
std::vector<std::uint64_t> different_pages(const snapshot& a, const snapshot& b) {
  std::vector<std::uint64_t> found;
  for (std::size_t at = 0; at < a.pristine().size(); at += x86::page_size) {
    if (std::memcmp(&a.pristine()[at], &b.pristine()[at], x86::page_size) != 0) {
      found.push_back(layout::begin + at);
    }
  }
  return found;
}

// Returns how many descriptors this process has open.
std::size_t descriptors() {
  std::error_code ignored;
  const std::filesystem::directory_iterator all("/proc/self/fd", ignored);
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

}  // namespace

TEST_CASE("constructors and the initialiser run once, in order, before all calls", "[snapshots]") {
  state_fn state;
  std::set<std::uint64_t> born;
  for (int i = 0; i < 5; ++i) {
    const prepared_state seen = state();
    CHECK(seen.trace == 123);
    CHECK(seen.digits == 12);
    // What one call counts, the next does not see.
    CHECK(seen.calls == 1);
    born.insert(seen.born);
  }
  CHECK(born.size() == 1);
}

TEST_CASE("what a call does to initialised data is undone", "[snapshots]") {
  virtine_fn<std::uint64_t(), prepared::wrong_squares> wrong_squares;
  for (int i = 0; i < 5; ++i) CHECK(wrong_squares() == 0);
}

TEST_CASE("an image without anything to run has no initialiser", "[snapshots]") {
  CHECK(guests::square::description.init == 0);
  CHECK(prepared::description.init != 0);
  CHECK(guests::scribbles::description.init != 0);
  CHECK(shared_snapshot<machine>(guests::square::description).value()->initialised_pages().empty());
}

TEST_CASE("only the image's data is taken over from the machine that ran the initialiser",
          "[snapshots]") {
  using scribbles = guests::scribbles;
  const auto base = snapshot::create(scribbles::description).value();
  const auto made = run_initialiser<machine>(base).value();
  const std::uint64_t data = scribbles::description.segments.back().address;
  // Not the arguments, the stacks or the page tables, all of which it wrote or had written.
  CHECK(different_pages(*base, *made) == std::vector{data});
  REQUIRE(made->initialised_pages().size() == 1);
  CHECK(made->initialised_pages()[0] == data);

  virtine_fn<std::uint64_t(), scribbles::next> next;
  for (int i = 0; i < 3; ++i) CHECK(next() == 42);
  const auto guest = machine::create(made).value();
  CHECK(guest->write_set().size() == 2);
  CHECK(std::ranges::all_of(guest->arguments(), [](std::byte b) { return b == std::byte{0}; }));
}

TEST_CASE("the machine that ran the initialiser begins its calls as any other", "[snapshots]") {
  using scribbles = guests::scribbles;
  std::unique_ptr<machine> spent;
  CHECK(shared_snapshot<machine>(scribbles::description, {}, &spent));
  REQUIRE(spent != nullptr);
  CHECK(spent->write_set().size() > 2);
  spent.reset();

  // Nobody holds the snapshot, so this machine runs the initialiser first.
  const auto guest = machine::create(scribbles::description).value();
  const auto pristine = shared_snapshot<machine>(scribbles::description, {}, &spent).value();
  REQUIRE(spent == nullptr);
  CHECK(guest->write_set().size() == 2);
  const layout& where = pristine->layout();
  const auto is_pristine = [&](std::uint64_t begin, std::uint64_t end) {
    const auto has = guest->read(guest_address{begin}, end - begin).value();
    return std::ranges::equal(has,
                              pristine->pristine().subspan(begin - layout::begin, end - begin));
  };
  CHECK(is_pristine(scribbles::description.segments.front().address, where.guard));
  CHECK(is_pristine(where.stack, where.user_end));
}

TEST_CASE("only the pages that the initialiser wrote are taken over", "[snapshots]") {
  const auto base = snapshot::create(prepared::description).value();
  const auto made = run_initialiser<machine>(base).value();
  const auto pages = made->initialised_pages();
  CHECK(std::ranges::is_sorted(pages));
  CHECK(different_pages(*base, *made) == std::vector(pages.begin(), pages.end()));
  // Four pages of squares, and at most two with the variables; the untouched ones stay the image's.
  CHECK(pages.size() >= 5);
  CHECK(pages.size() <= 6);
}

TEST_CASE("machines that are created at one time wait for one initialiser", "[snapshots]") {
  for (int round = 0; round < 3; ++round) {
    constexpr std::size_t count = 4;
    std::vector<std::uint64_t> born(count);
    pool<prepared> machines;
    virtine_fn<prepared_state(), prepared::state> state{machines};
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < count; ++i) {
      threads.emplace_back([&, i] { born[i] = state().born; });
    }
    for (std::thread& each : threads) each.join();
    CHECK(std::ranges::count(born, born[0]) == count);
  }
}

TEST_CASE("the initialiser runs anew when no machine holds the snapshot", "[snapshots]") {
  const std::uint64_t first = state_fn{}().born;
  CHECK(state_fn{}().born != first);
  const state_fn unused;
  state_fn holds;
  const std::uint64_t held = holds().born;
  CHECK(state_fn{}().born == held);
}

TEST_CASE("an initialiser that fails is an error that says so, each time anew", "[snapshots]") {
  virtine_fn<int(), guests::init_faults> faults;
  for (int i = 0; i < 2; ++i) {
    const auto r = faults.try_call();
    REQUIRE_FALSE(r.has_value());
    CHECK(r.error().code == errc::guest_fault);
    CHECK(r.error().fault.kind == fault_kind::invalid_opcode);
    CHECK(to_string(r.error()).find("virtine_initialiser") != std::string::npos);
    CHECK(to_string(r.error()).find("initialiser") != std::string::npos);
  }

  auto policy = virtine::policy{
      allow<hypercall<9, void()>>([] { FAIL("an initialiser has made a hypercall"); })};
  virtine_fn<int(), guests::init_asks, decltype(policy)> asks{policy};
  const auto denied = asks.try_call();
  REQUIRE_FALSE(denied.has_value());
  CHECK(denied.error().code == errc::hypercall_denied);
  CHECK(denied.error().detail == 9);
  CHECK(denied.error().operation == std::string("in the image's initialiser"));

  // Nothing of the failed attempts is left: not a machine, not a snapshot.
  const std::size_t before = descriptors();
  CHECK_FALSE(faults.try_call().has_value());
  CHECK_FALSE(asks.try_call().has_value());
  CHECK(descriptors() == before);

  const auto base = snapshot::create(guests::init_loops::description).value();
  const auto late = run_initialiser<machine>(base, {.until = deadline_after(30ms)});
  REQUIRE_FALSE(late.has_value());
  CHECK(late.error().code == errc::timed_out);
  CHECK(late.error().operation == std::string("in the image's initialiser"));
  CHECK(base.use_count() == 1);
}

TEST_CASE("who waits for an initialiser shares its failure, unless that is its caller's own",
          "[snapshots]") {
  pool<guests::init_floods> machines;
  constexpr std::size_t count = 4;
  std::vector<errc> failed(count);
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < count; ++i) {
      threads.emplace_back([&, i] {
        virtine_fn<int(), guests::init_floods> floods(machines);
        failed[i] = floods.try_call().error().code;
      });
    }
  }
  CHECK(std::ranges::count(failed, errc::hypercall_limit) == count);

  // The first is stopped by its caller; who waits for it meanwhile has all the time that it takes.
  pool<prepared> others;
  std::stop_source stop;
  stop.request_stop();
  const auto stopped = others.borrow(1h, stop.get_token());
  REQUIRE_FALSE(stopped);
  CHECK(stopped.error().code == errc::cancelled);
  CHECK(virtine_fn<prepared_state(), prepared::state>(others)().born != 0);
}

TEST_CASE("a call whose image has an initialiser ends at its deadline", "[snapshots]") {
  virtine_fn<int(), guests::init_loops> loops;
  const auto late = loops.with({.timeout = 30ms}).try_call();
  REQUIRE_FALSE(late.has_value());
  CHECK(late.error().code == errc::timed_out);
  CHECK(late.error().operation == std::string("in the image's initialiser"));
  std::stop_source stop;
  std::jthread other([&] {
    std::this_thread::sleep_for(10ms);
    stop.request_stop();
  });
  const auto stopped = loops.with({.stop = stop.get_token()}).try_call();
  REQUIRE_FALSE(stopped.has_value());
  CHECK(stopped.error().code == errc::cancelled);
}

TEST_CASE("opening a session of an image with an initialiser has limits, too", "[snapshots]") {
  const virtine_fn<int(), guests::init_loops> loops;
  const session late(loops, {.timeout = 30ms});
  CHECK(late.try_call().error().code == errc::timed_out);
  CHECK(late.try_call().error().operation == std::string("in the image's initialiser"));
  const session stopped(loops, {.stop_if = [] { return true; }});
  CHECK(stopped.try_call().error().code == errc::cancelled);
}

TEST_CASE("no system call of an initialiser does anything", "[snapshots]") {
  virtine_fn<int(), guests::init_calls> calls;
  CHECK(calls() == 42 - ENOSYS);
  virtine_fn<int(), guests::init_exits> exits;
  const auto exited = exits.try_call();
  REQUIRE_FALSE(exited.has_value());
  CHECK(exited.error().code == errc::exited);
  CHECK(exited.error().detail == 7);
  CHECK(exited.error().operation == std::string("in the image's initialiser"));
  virtine_fn<int(), guests::init_floods> floods;
  const auto flooded = floods.try_call();
  REQUIRE_FALSE(flooded.has_value());
  CHECK(flooded.error().code == errc::hypercall_limit);
  CHECK(flooded.error().detail == initialiser_system_calls);
}

TEST_CASE("a snapshot takes no page that is none of its image's data", "[snapshots]") {
  const image_description& image = guests::scribbles::description;
  const layout where = layout_of(image);
  const std::uint64_t data = where.shared_end;
  const std::vector<std::byte> content(2 * x86::page_size, std::byte{0x77});
  const std::vector<std::byte> page(x86::page_size, std::byte{0x77});
  CHECK(snapshot::create(image, {.pages = {data}, .content = page}).has_value());
  CHECK(snapshot::create(image, {.pages = {data}, .content = content}).error().code ==
        errc::snapshot_refused);
  CHECK(snapshot::create(image, {.pages = {data}}).error().code == errc::snapshot_refused);
  for (const auto& pages : std::vector<std::vector<std::uint64_t>>{
           {data + 1},
           {data - x86::page_size},
           {where.arguments},
           {where.guard},
           {where.stack},
           {where.trap_stack},
           {where.tables},
           {where.end},
           {x86::tables_page},
           {0},
           {UINT64_MAX - x86::page_size + 1},
           {data, data},
           {data, data - x86::page_size},
       }) {
    INFO(std::hex << pages.front() << ' ' << pages.back());
    const auto refused =
        snapshot::create(image, {.pages = pages, .content = pages.size() == 1 ? page : content});
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == errc::snapshot_refused);
  }
}
