// Machines without pools or types: their life, what of them can be read and written, and the
// snapshot that they share.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <guests/pages.hpp>
#include <guests/spins.hpp>
#include <guests/square.hpp>
#include <guests/text.hpp>
#include <virtine/virtine.hpp>

#include "by_hand.hpp"
#include "vcpu_state.hpp"

using namespace virtine;
using namespace virtine::detail;

namespace {

using square = guests::square;
using pages = guests::pages;

// Descriptors of this process that are snapshots.
std::vector<std::string> snapshot_files() {
  std::vector<std::string> found;
  std::error_code ignored;
  for (const auto& each : std::filesystem::directory_iterator("/proc/self/fd", ignored)) {
    const auto target = std::filesystem::read_symlink(each.path(), ignored).string();
    if (target.find("memfd:virtine-snapshot") != std::string::npos) found.push_back(each.path());
  }
  return found;
}

}  // namespace

TEST_CASE("a call by hand: arguments, enter, reply, restore", "[machines]") {
  const auto made = machine::create(square::description).value();
  const std::span<std::byte> arguments = made->arguments();
  REQUIRE(arguments.size() == square::description.arguments_size);
  CHECK(to_number(made->arguments_address()) % x86::page_size == 0);
  for (const int n : {3, -4, 5}) {
    for (const std::byte b : arguments) REQUIRE(b == std::byte{0});
    std::memcpy(arguments.data() + frame<int(int)>::offsets[0], &n, sizeof n);
    arguments.back() = std::byte{9};
    const auto stopped = made->enter(square::only_entry::address, {});
    REQUIRE(stopped.has_value());
    CHECK(*stopped == guest_exit::done);
    int reply = 0;
    std::memcpy(&reply, arguments.data(), sizeof reply);
    CHECK(reply == n * n);
    CHECK_FALSE(made->poisoned());
    made->restore(arguments.size());
  }
  CHECK(made->write_set().size() == 2);
}

TEST_CASE("a hypercall by hand", "[machines]") {
  using spins = guests::spins;
  const auto made = machine::create(spins::description).value();
  const std::uint64_t turns = 1;
  std::memcpy(made->arguments().data() + frame<std::uint64_t(std::uint64_t)>::offsets[0], &turns,
              sizeof turns);
  auto stopped = made->enter(spins::until_told::address, {});
  for (int i = 0; i < 3; ++i) {
    REQUIRE(stopped.has_value());
    REQUIRE(*stopped == guest_exit::hypercall);
    CHECK(made->hypercall_number() == 1);
    const std::array<std::byte, 1> on{std::byte{i < 2}};
    REQUIRE(made->write(made->hypercall_frame(), on));
    stopped = made->resume();
  }
  REQUIRE(stopped.has_value());
  CHECK(*stopped == guest_exit::done);
  std::uint64_t rounds = 0;
  std::memcpy(&rounds, made->arguments().data(), sizeof rounds);
  CHECK(rounds == 3);
}

// As if an instruction of the guest's had set them. One software KVM loads VIF and VIP at some
// IRETQs (H132), but not when a test wants it.
TEST_CASE("no call ends well that leaves VIF or VIP", "[machines]") {
  using spins = guests::spins;
  for (const std::uint64_t flags : {1U << 19, 1U << 20, 3U << 19}) {
    INFO("flags " << flags);
    const auto before = vcpu_state::descriptors();
    const auto made = machine::create(spins::description).value();
    auto vcpu = vcpu_state::newest(before);
    const std::uint64_t turns = 1;
    std::memcpy(made->arguments().data() + frame<std::uint64_t(std::uint64_t)>::offsets[0], &turns,
                sizeof turns);
    REQUIRE(made->enter(spins::until_told::address, {}).value() == guest_exit::hypercall);
    auto regs = vcpu.get_regs().value();
    regs.rflags |= flags;
    REQUIRE(vcpu.set_regs(regs));
    const auto stopped = made->resume();
    // Some hosts do not run a guest with them.
    if (stopped) CHECK((vcpu.get_regs().value().rflags & 3U << 19) == 0);
    CHECK(made->poisoned() == !stopped.has_value());
    if (!stopped) CHECK(stopped.error().code == errc::guest_fault);
  }
}

TEST_CASE("a machine that failed refuses further calls", "[machines]") {
  const auto faulted = machine::create(square::description).value();
  const auto why = faulted->enter(0x1000, {});
  REQUIRE_FALSE(why.has_value());
  CHECK(why.error().code == errc::guest_fault);
  CHECK(why.error().fault.kind == fault_kind::null_access);
  CHECK(why.error().fault.address == 0x1000);
  CHECK(faulted->poisoned());
  faulted->restore(0);
  const auto again = faulted->enter(square::only_entry::address, {});
  REQUIRE_FALSE(again.has_value());
  CHECK(again.error().code == errc::machine_failure);
  CHECK(std::string(again.error().operation).find("poisoned") != std::string::npos);

  const auto abandoned = machine::create(guests::spins::description).value();
  CHECK(abandoned->enter(guests::spins::run_away::address, {}).value() == guest_exit::hypercall);
  CHECK_FALSE(abandoned->poisoned());
  abandoned->abandon();
  CHECK(abandoned->poisoned());
  CHECK(abandoned->enter(guests::spins::run_away::address, {}).error().code ==
        errc::machine_failure);

  // One that is destroyed in the middle of a call.
  auto dropped = machine::create(guests::spins::description).value();
  CHECK(dropped->enter(guests::spins::run_away::address, {}).value() == guest_exit::hypercall);
  dropped.reset();
  CHECK(
      by_hand::call<int(int), square::only_entry>(*machine::create(square::description).value(), 7)
          .value() == 49);
}

TEST_CASE("reads stay within what the guest has", "[machines]") {
  const auto made = machine::create(pages::description).value();
  constexpr layout where = layout_of(pages::description);
  const std::uint64_t begin = x86::image_base;
  const std::uint64_t end = where.user_end;
  CHECK(made->read(guest_address{begin}, where.guard - begin).value().size() ==
        where.guard - begin);
  CHECK(made->read(guest_address{where.stack}, end - where.stack).value().size() ==
        end - where.stack);
  CHECK(made->read(guest_address{begin}, end - begin).error().code == errc::out_of_range);
  CHECK(made->read(guest_address{end - 1}, 1).has_value());
  CHECK(made->read(guest_address{begin}, 0).value().empty());
  // The image's own bytes are there.
  const segment& code = pages::description.segments[0];
  const auto seen = made->read(guest_address{code.address}, code.content.size()).value();
  CHECK(std::memcmp(seen.data(), code.content.data(), code.content.size()) == 0);

  struct range {
    std::uint64_t address;
    std::uint64_t length;
  };
  for (const auto& [address, length] :
       {range{0, 1}, range{begin - 1, 1}, range{begin - 1, 2}, range{end, 1}, range{end - 1, 2},
        range{begin, end - begin + 1}, range{begin, UINT64_MAX}, range{begin + 1, UINT64_MAX},
        range{UINT64_MAX, 1}, range{UINT64_MAX, 2}, range{UINT64_MAX, UINT64_MAX},
        range{end - 1, UINT64_MAX - end + 2}, range{x86::tables_page, 1},
        range{x86::trampoline_page, 1}, range{where.trap_stack, 1}, range{where.tables, 8},
        range{UINT64_MAX - begin + 1, begin}}) {
    INFO(std::hex << address << " + " << length);
    const auto refused = made->read(guest_address{address}, length);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == errc::out_of_range);
  }
}

TEST_CASE("writes go to what the guest may write, and are undone", "[machines]") {
  const auto made = machine::create(pages::description).value();
  constexpr layout where = layout_of(pages::description);
  const std::vector<std::byte> data(2 * x86::page_size, std::byte{0x77});
  const auto write = [&](std::uint64_t address, std::size_t size) {
    return made->write(guest_address{address}, std::span(data).first(size));
  };
  const segment& variables = pages::description.segments.back();
  REQUIRE(variables.writable);

  // Two bytes, in pages that no call has written yet.
  REQUIRE(write(variables.address + x86::page_size - 1, 2));
  CHECK(made->write_set().size() == 4);
  CHECK(made->read(guest_address{variables.address + x86::page_size}, 1).value()[0] ==
        std::byte{0x77});
  REQUIRE(write(where.guard - 1, 1));
  REQUIRE(write(where.stack, 1));
  CHECK(made->write_set().size() == 6);
  made->restore(0);
  for (const std::uint64_t at :
       {variables.address + x86::page_size - 1, variables.address + x86::page_size, where.guard - 1,
        where.stack}) {
    const auto original = at < variables.address + variables.content.size()
                              ? static_cast<std::byte>(variables.content[at - variables.address])
                              : std::byte{0};
    CHECK(made->read(guest_address{at}, 1).value()[0] == original);
  }
  REQUIRE(write(where.stack, 0));
  REQUIRE(write(0, 0).has_value() == false);

  for (const std::uint64_t at :
       {std::uint64_t{0}, x86::image_base, variables.address - 1, where.guard, where.stack - 1,
        where.user_end, where.tables, x86::tables_page, UINT64_MAX}) {
    INFO(std::hex << at);
    const auto refused = write(at, 1);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == errc::out_of_range);
  }
  // From the arguments into the guard, from the guard into the stack, off the end of the stack.
  for (const std::uint64_t at : {where.guard - 1, where.stack - 1, where.user_end - 1}) {
    CHECK(write(at, 2).error().code == errc::out_of_range);
  }
  CHECK(made->read(guest_address{where.user_end - 1}, 1).value()[0] == std::byte{0});
  CHECK(by_hand::call<std::uint64_t(), pages::sum_initialised>(*made).value() == 0x600);
}

TEST_CASE("machines of an image share its snapshot", "[machines]") {
  const auto first = shared_snapshot<machine>(square::description).value();
  CHECK(shared_snapshot<machine>(square::description).value() == first);
  CHECK(shared_snapshot<machine>(guests::text::description).value() != first);
  const std::size_t files = snapshot_files().size();

  std::vector<std::unique_ptr<machine>> machines;
  for (int i = 0; i < 4; ++i) {
    machines.push_back(machine::create(square::description).value());
    CHECK(first.use_count() == 2 + i);
    CHECK(shared_snapshot<machine>(square::description).value() == first);
  }
  CHECK(snapshot_files().size() == files);
  // What one of them writes, no other has.
  machines[0]->arguments()[100] = std::byte{5};
  for (std::size_t i = 1; i < machines.size(); ++i) {
    CHECK(machines[i]->arguments()[100] == std::byte{0});
  }
  for (int i = 0; i < 4; ++i) {
    CHECK(by_hand::call<int(int), square::only_entry>(*machines[static_cast<std::size_t>(i)], i)
              .value() == i * i);
  }
  machines.clear();
  CHECK(first.use_count() == 1);
}

TEST_CASE("a snapshot goes with the last machine, and comes again", "[machines]") {
  std::weak_ptr<const snapshot> seen;
  {
    const auto made = machine::create(guests::text::description).value();
    seen = shared_snapshot<machine>(guests::text::description).value();
    CHECK_FALSE(seen.expired());
  }
  CHECK(seen.expired());
  CHECK(machine::create(guests::text::description).has_value());
}

TEST_CASE("nobody can change a snapshot", "[machines]") {
  const auto kept = shared_snapshot<machine>(square::description).value();
  const auto files = snapshot_files();
  if (files.empty()) {
    WARN("/proc does not show the process's descriptors");
    return;
  }
  for (const std::string& path : files) {
    const os::fd file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    REQUIRE(file);
    constexpr int sealed = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
    CHECK((::fcntl(file.get(), F_GET_SEALS) & sealed) == sealed);
    errno = 0;
    CHECK(::pwrite(file.get(), "x", 1, 0) == -1);
    CHECK(errno == EPERM);
    CHECK(::ftruncate(file.get(), 0) == -1);
    CHECK_FALSE(os::mapping::of(file, 4096, os::sharing::shared).has_value());
  }
}

TEST_CASE("a machine has the layout that its image says", "[machines]") {
  constexpr layout where = layout_of(square::description);
  static_assert(is_well_formed(square::description));
  static_assert(is_well_formed(pages::description));
  const auto kept = shared_snapshot<machine>(square::description).value();
  CHECK(kept->layout().end == where.end);
  CHECK(kept->pristine().size() == where.end - layout::begin);
  CHECK(&kept->image() == &square::description);
  CHECK(to_number(machine::create(square::description).value()->arguments_address()) ==
        where.arguments);
}

// Where sanitizers are at work, frames are larger.
#if defined(__has_feature)
#define HAS_SANITIZER __has_feature(address_sanitizer)
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_SANITIZER 1
#else
#define HAS_SANITIZER 0
#endif

#if !HAS_SANITIZER

TEST_CASE("all that a first call does fits a stack of 32 KiB", "[machines]") {
  // As OpenSSL's fibers have it; a thread has some of its own there, too.
  constexpr std::size_t below = 128 << 10;
  constexpr std::size_t room = (32 << 10) + (8 << 10);
  constexpr unsigned char untouched = 0x5a;
  std::vector<unsigned char> memory(below + room + 4096, untouched);
  const auto address = reinterpret_cast<std::uintptr_t>(memory.data());
  unsigned char* const begin = memory.data() + (4096 - address % 4096) % 4096;
  pthread_attr_t attributes;
  REQUIRE(pthread_attr_init(&attributes) == 0);
  // Sound: nothing else uses it while the thread runs, and what is below the stack is there, too.
  REQUIRE(pthread_attr_setstack(&attributes, begin + below, room) == 0);
  int nine = 0;
  const auto call = [](void* to) -> void* {
    const bool opened = kvm::system::open().has_value();
    pool<guests::square> machines;
    const auto made = virtine_fn<int(int), guests::square>(machines).try_call(3);
    if (opened && made) *static_cast<int*>(to) = *made;
    return nullptr;
  };
  pthread_t thread;
  REQUIRE(pthread_create(&thread, &attributes, call, &nine) == 0);
  REQUIRE(pthread_join(thread, nullptr) == 0);
  pthread_attr_destroy(&attributes);
  CHECK(nine == 9);
  CHECK(std::all_of(begin, begin + below, [](unsigned char each) { return each == untouched; }));
}

#endif

namespace {

using scribble_sig = std::uint64_t(std::uint64_t, std::uint32_t, std::uint32_t, std::uint32_t);

// Creates a machine and makes its first call, after which it is restored.
std::unique_ptr<machine> scribbled(std::uint32_t first, std::uint32_t count, std::uint32_t stride) {
  auto made = machine::create(pages::description).value();
  CHECK(by_hand::call<scribble_sig, pages::scribble>(*made, std::uint64_t{7}, first, count, stride)
            .value() == 0);
  return made;
}

}  // namespace

TEST_CASE("a machine begins with what its siblings wrote in their first calls", "[machine]") {
  // One in three, so that none is given ahead.
  const auto first = scribbled(0, 60, 3);
  const std::size_t needed = first->write_set().size();
  CHECK(needed >= 62);
  auto second = machine::create(pages::description).value();
  CHECK(second->write_set().size() == needed);
  CHECK(by_hand::call<scribble_sig, pages::scribble>(*second, std::uint64_t{9}, 0U, 60U, 3U)
            .value() == 0);
  CHECK(second->write_set().size() == needed);
  // The guest finds each page as in a fresh machine, or says so.
  CHECK(
      by_hand::call<scribble_sig, pages::scribble>(*second, std::uint64_t{9}, 1U, 1U, 1U).value() ==
      0);
}

TEST_CASE("what a sibling wrote once is not restored for ever", "[machine]") {
  const auto holder = scribbled(0, 1, 1);  // Keeps the snapshot.
  const auto large = scribbled(0, 100, 3);
  const auto small = scribbled(0, 1, 1);
  CHECK(small->write_set().size() >= 100);
  CHECK(machine::create(pages::description).value()->write_set().size() < 10);
  const auto again = scribbled(0, 100, 3);
  again->outgrown();
  CHECK(machine::create(pages::description).value()->write_set().size() == 2);
}
