// Machines that share a VM: what each has of its own, and that no end of one disturbs the others.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <tuple>
#include <vector>

#include <guests/jobs.hpp>
#include <guests/jobs_types.hpp>
#include <guests/kernel64_calls.hpp>
#include <guests/lent.hpp>
#include <guests/pages.hpp>
#include <guests/prepared.hpp>
#include <guests/registers.hpp>
#include <guests/small.hpp>
#include <guests/spins.hpp>
#include <guests/spins_types.hpp>
#include <guests/square.hpp>
#include <virtine/virtine.hpp>

#include "by_hand.hpp"
#include "host.hpp"
#include "vcpu_state.hpp"

using namespace virtine;
using namespace virtine::detail;
using namespace std::chrono_literals;

namespace {

using square = guests::square;
using pages = guests::pages;
using jobs = guests::jobs;
using spins = guests::spins;
using machine_ptr = std::unique_ptr<machine>;

// Returns what KVM calls the descriptors of this process whose names have `what` in them.
std::multiset<std::string> kvm_files(std::string_view what) {
  std::multiset<std::string> found;
  for (const auto& each : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    const auto target = std::filesystem::read_symlink(each.path(), gone).string();
    if (target.find(what) != std::string::npos) found.insert(target);
  }
  return found;
}
std::size_t vms() {
  return kvm_files("kvm-vm").size();
}
std::size_t vcpus() {
  return kvm_files("kvm-vcpu").size();
}

machine_ptr make(const image_description& image, const std::shared_ptr<shared_vms>& where) {
  return machine::create(image, {}, where).value();
}

std::uint64_t squared(machine& guest, int n) {
  return static_cast<std::uint64_t>(by_hand::call<int(int), square::only_entry>(guest, n).value());
}

}  // namespace

TEST_CASE("the tests' pools have the form that is asked for", "[shared_vm]") {
  const char* const wanted = std::getenv("VIRTINE_TEST_MACHINES_PER_VM");
  CHECK(pool_options{}.machines_per_vm == (wanted == nullptr ? 1 : std::stoul(wanted)));
}

TEST_CASE("as many machines share a VM as the options say", "[shared_vm]") {
  const std::size_t vms_before = vms();
  const std::size_t vcpus_before = vcpus();
  {
    pool<square> machines({.max = 10, .machines_per_vm = 4});
    std::deque<pool<square>::lease> all;
    for (int i = 0; i < 9; ++i) {
      all.push_back(machines.borrow().value());
      CHECK(squared(*all.back(), i) == static_cast<std::uint64_t>(i * i));
      CHECK(vms() - vms_before == static_cast<std::size_t>(i / 4 + 1));
    }
    CHECK(vcpus() - vcpus_before == 9);
    // What ends leaves its place to the next, whose vCPU is there already.
    all.pop_front();
    all.push_back(machines.borrow().value());
    CHECK(squared(*all.back(), 3) == 9);
    CHECK(vms() - vms_before == 3);
    CHECK(vcpus() - vcpus_before == 9);
    // VMs without a machine are closed, but for one.
    all.clear();
    CHECK(vms() - vms_before == 1);
    machines.configure({.max = 10, .machines_per_vm = 1});
    CHECK(vms() == vms_before);
    CHECK(squared(*machines.borrow().value(), 4) == 16);
  }
  CHECK(vms() == vms_before);
  CHECK(vcpus() == vcpus_before);
}

TEST_CASE("machines of one VM have memory of their own", "[shared_vm]") {
  const auto where = std::make_shared<shared_vms>(16);
  std::vector<machine_ptr> all;
  for (int i = 0; i < 16; ++i) all.push_back(make(pages::description, where));
  using overwrite = std::uint64_t(std::uint64_t);
  for (std::uint64_t i = 0; i < all.size(); ++i) {
    CHECK(by_hand::leave<overwrite, pages::overwrite_initialised>(*all[i], i).value() == i);
  }
  for (std::uint64_t i = 0; i < all.size(); ++i) {
    CHECK(by_hand::leave<std::uint64_t(), pages::sum_initialised>(*all[i]).value() == 512 * i);
  }
  // A restore is of one machine, too.
  for (std::uint64_t i = 0; i < all.size(); i += 2) all[i]->restore(0);
  for (std::uint64_t i = 0; i < all.size(); ++i) {
    CHECK(by_hand::leave<std::uint64_t(), pages::sum_initialised>(*all[i]).value() ==
          (i % 2 == 0 ? 0x600 : 512 * i));
  }
}

// With the room for page tables that KVM has by itself, the vCPUs of so small machines take all of
// it for the first tables of each, and none can go on.
TEST_CASE("many machines of one VM run in turn", "[shared_vm]") {
  using small = guests::small;
  constexpr layout where = layout_of(small::description);
  STATIC_REQUIRE((where.end - layout::begin) / x86::page_size < 50);
  const auto vms = std::make_shared<shared_vms>(96);
  std::vector<machine_ptr> all;
  for (int round = 0; round < 2; ++round) {
    for (std::size_t i = 0; i < 96; ++i) {
      if (round == 0) all.push_back(make(small::description, vms));
      CHECK(by_hand::call<int(int, std::uint64_t), small::work>(*all[i], 7, 10U).value() == 21);
    }
  }
}

TEST_CASE("a machine finds nothing in the place of one that failed", "[shared_vm]") {
  const auto where = std::make_shared<shared_vms>(2);
  auto neighbour = make(pages::description, where);
  for (int round = 0; round < 3; ++round) {
    auto failing = make(pages::description, where);
    // All pages that it can write have been written, and are writable in its tables.
    using scribble = std::uint64_t(std::uint64_t, std::uint32_t, std::uint32_t, std::uint32_t);
    CHECK(by_hand::leave<scribble, pages::scribble>(*failing, 7U, 0U, 300U, 1U).value() == 0);
    CHECK(by_hand::leave<std::uint64_t(std::uint64_t), pages::overwrite_initialised>(*failing, 9U)
              .value() == 9);
    const std::size_t written = failing->write_set().size();
    CHECK(failing->enter(0x1000, {}).error().code == errc::guest_fault);
    failing.reset();

    // With no page writable but those in its write set, a restore leaves nothing of this either.
    auto next = make(pages::description, where);
    CHECK(next->write_set().size() < written);
    for (int call = 0; call < 2; ++call) {
      CHECK(by_hand::call<scribble, pages::scribble>(*next, 8U, 150U, 100U, 1U).value() == 0);
    }
    CHECK(by_hand::call<std::uint64_t(), pages::sum_initialised>(*next).value() == 0x600);
    CHECK(by_hand::call<std::uint64_t(), pages::sum_initialised>(*neighbour).value() == 0x600);
  }
}

TEST_CASE("the vCPU that a machine has left is to KVM as a new one", "[shared_vm]") {
  using registers = guests::registers;
  using soil = std::uint32_t(std::uint32_t, std::uint64_t, std::uint64_t);
  constexpr std::uint64_t arguments = registers::description.arguments_size;
  constexpr std::uint64_t stack = registers::description.stack_size;
  const auto where = std::make_shared<shared_vms>(2);
  const auto neighbour = make(registers::description, where);

  const auto before = vcpu_state::descriptors();
  auto used = make(registers::description, where);
  const kvm::vcpu vcpu = vcpu_state::newest(before);
  // What the trampoline sets is not what this is about: a call that comes to nothing.
  const auto called = [&] {
    CHECK(used->enter(x86::session_nothing, {}));
    return vcpu_state::of(vcpu);
  };
  const vcpu_state::state fresh = called();
  const auto in_its_place = [&](const char* what) {
    INFO("after " << what);
    used.reset();
    used = make(registers::description, where);
    CHECK(vcpu_state::differences_of(called(), fresh) == "");
  };
  in_its_place("a call");
  static_cast<void>(by_hand::leave<soil, registers::soil>(*used, 0U, arguments, stack).value());
  in_its_place("registers of a guest's own");
  CHECK(used->enter(0x1000, {}).error().code == errc::guest_fault);
  in_its_place("a fault");
  // At an address that is in no page, so that no stub is left by it.
  CHECK(used->enter(x86::trap_stub_page, {}).error().code == errc::guest_fault);
  in_its_place("a jump to the trap stubs");
  used->abandon();
  in_its_place("a call that was abandoned");
}

TEST_CASE("a place is used once where a guest's remains were found in it", "[shared_vm]") {
  const auto where = std::make_shared<shared_vms>(3);
  auto first = make(square::description, where);
  auto second = make(square::description, where);
  const auto before = kvm_files("kvm-vcpu");
  second.reset();
  CHECK(kvm_files("kvm-vcpu") == before);
  where->stop_reuse();
  CHECK(kvm_files("kvm-vcpu").size() == before.size() - 1);
  // The third place of the VM, then another VM.
  const std::size_t vms_before = vms();
  second = make(square::description, where);
  CHECK(vms() == vms_before);
  const auto third = make(square::description, where);
  CHECK(vms() == vms_before + 1);
  CHECK(squared(*first, 3) + squared(*second, 4) == squared(*third, 5));
  // Nothing is left of a VM whose places are used up.
  first.reset();
  second.reset();
  CHECK(vms() == vms_before);
}

TEST_CASE("a place whose vCPU is lost is not used again", "[shared_vm]") {
  const auto where = std::make_shared<shared_vms>(2);
  const auto first = make(square::description, where);
  const std::size_t vms_before = vms();
  const auto pristine = shared_snapshot<machine>(square::description).value();
  {
    auto place = where->take(*pristine).value();
    REQUIRE(place.take_vcpu(0, *guest_cpu::shared().value()));
  }
  const auto second = make(square::description, where);
  CHECK(squared(*second, 3) == 9);
  CHECK(vms() == vms_before + 1);
}

TEST_CASE("no end of a machine disturbs those beside it", "[shared_vm]") {
  const int rounds = is_emulated() ? 6 : 40;
  const std::size_t vms_before = vms();
  pool<jobs> job_machines({.max = 6, .machines_per_vm = 6});
  pool<spins> spin_machines({.max = 6, .machines_per_vm = 6});
  auto goes_on = policy{allow<running>([] { return true; })};
  const virtine_fn<void(), spins::run_away, decltype(goes_on)> run_away(spin_machines, goes_on);
  const virtine_fn<int(int, std::uint64_t), spins::work> work(spin_machines);
  const virtine_fn<int(int, int), jobs::quotient> quotient(job_machines);
  const virtine_fn<int(int), jobs::exchange> exchange(job_machines);

  std::atomic<bool> over = false;
  std::atomic<int> calls = 0;
  std::atomic<int> wrong = 0;
  std::jthread beside([&] {
    session kept(exchange);
    int last = 0;
    for (int i = 1; !over; ++i) {
      // In the guest for a while; between calls; with state that stays.
      const auto worked = work.try_call(i, 20'000);
      if (!worked || *worked != 3 * i) ++wrong;
      const auto divided = quotient.try_call(6 * i, 3);
      if (!divided || *divided != 2 * i) ++wrong;
      const auto before = kept.try_call(i);
      if (!before || *before != last) ++wrong;
      last = i;
      ++calls;
    }
  });
  for (int i = 0; i < rounds; ++i) {
    CHECK(quotient.try_call(1, 0).error().code == errc::guest_fault);
    CHECK(run_away.with({.timeout = 1ms}).try_call().error().code == errc::timed_out);
    std::stop_source stop;
    std::jthread stopping([&] {
      std::this_thread::sleep_for(1ms);
      stop.request_stop();
    });
    CHECK(run_away.with({.stop = stop.get_token()}).try_call().error().code == errc::cancelled);
    {
      session failing(quotient);
      CHECK(failing.try_call(8, 2).value() == 4);
      CHECK_FALSE(failing.try_call(8, 0));
    }
    // What is left is that of the other thread.
    job_machines.trim(0);
    spin_machines.trim(0);
  }
  while (calls < 3) std::this_thread::sleep_for(1ms);
  over = true;
  beside.join();
  CHECK(wrong == 0);
  // One for each image, in which all of this was.
  CHECK(vms() - vms_before == 2);
}

TEST_CASE("failures leave nothing behind, however many", "[shared_vm]") {
  const std::size_t vms_before = vms();
  const std::size_t vcpus_before = vcpus();
  const char* const wanted = std::getenv("VIRTINE_TEST_FAULTS");
  const std::uint64_t faults = wanted != nullptr ? std::stoull(wanted) : 200;
  pool<jobs> machines({.max = 4, .machines_per_vm = 4});
  const virtine_fn<int(int, int), jobs::quotient> quotient(machines);
  auto held = machines.borrow().value();
  std::uint64_t failed = 0;
  while (failed < faults && !quotient.try_call(1, 0)) ++failed;
  CHECK(failed == faults);
  CHECK(quotient(12, 4) == 3);
  CHECK(machines.stats().discarded >= faults);
  CHECK(vms() - vms_before == 1);
  CHECK(vcpus() - vcpus_before == 2);
}

TEST_CASE("images with an initialiser share VMs like others", "[shared_vm]") {
  using prepared = guests::prepared;
  const auto where = std::make_shared<shared_vms>(3);
  std::vector<machine_ptr> all;
  for (int i = 0; i < 3; ++i) all.push_back(make(prepared::description, where));
  for (int round = 0; round < 2; ++round) {
    for (const machine_ptr& each : all) {
      CHECK(by_hand::call<std::uint64_t(), prepared::wrong_squares>(*each).value() == 0);
    }
  }
}

TEST_CASE("what cannot share a VM says so", "[shared_vm]") {
  const auto told = [](const auto& outcome) {
    REQUIRE_FALSE(outcome);
    CHECK(outcome.error().code == errc::bad_argument);
    CHECK(std::string(outcome.error().operation).find("machines_per_vm to 1") != std::string::npos);
  };
  pool<guests::kernel64_calls> bare({.machines_per_vm = 2});
  told(bare.borrow());

  pool<guests::lent> machines({.machines_per_vm = 2});
  const virtine_fn<std::uint64_t(virtine::lent<const std::byte>), guests::lent::size> size(
      machines);
  const lent_memory memory = lent_memory::allocate(4096).value();
  told(size.try_call(memory));
  machines.configure({.machines_per_vm = 1});
  CHECK(size.try_call(memory).value() == 4096);
}
