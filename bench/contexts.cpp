// What it costs to run nothing in a context of its own, from a function call to a new process (the
// virtines paper's Figures 2 and 8): both as the paper timed it and with all that belongs to it.
// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <utility>

#include <guests/empty.hpp>
#include <virtine/virtine.hpp>

#include "floor_exit.hpp"
#include "harness.hpp"

namespace {

namespace requests = virtine::kvm::requests;
using virtine::os::fd;

[[gnu::noinline]] void nothing_natively() {
  asm volatile("");
}

void run_thread() {
  pthread_t thread;
  bench::check(pthread_create(
                   &thread, nullptr, [](void*) -> void* { return nullptr; }, nullptr) == 0 &&
                   pthread_join(thread, nullptr) == 0,
               "pthread_create");
}

void wait_for(pid_t child) {
  int status = -1;
  bench::check(waitpid(child, &status, 0) == child && status == 0, "waitpid");
}

void run_process() {
  const pid_t child = fork();
  bench::check(child >= 0, "fork");
  if (child == 0) _exit(0);
  wait_for(child);
}

void run_program() {
  char name[] = "true";
  char* arguments[] = {name, nullptr};
  pid_t child = 0;
  bench::check(posix_spawn(&child, "/bin/true", nullptr, nullptr, arguments, environ) == 0,
               "posix_spawn");
  wait_for(child);
}

/// A floor machine and what the paper calls a vmrun: registers read, written, and the guest
/// entered.
class with_registers {
 public:
  with_registers() {
    bench::check(floor_prepare(&guest_) == 0 && floor_create(&guest_, &machine_) == 0,
                 "floor machine");
  }
  ~with_registers() { floor_destroy(&guest_, &machine_); }
  with_registers(const with_registers&) = delete;
  with_registers& operator=(const with_registers&) = delete;

  void operator()() const {
    kvm_regs registers;
    bench::check(ioctl(machine_.vcpu, requests::get_regs.number, &registers) == 0 &&
                     ioctl(machine_.vcpu, requests::set_regs.number, &registers) == 0 &&
                     floor_run(&machine_) == 0,
                 "KVM_RUN");
  }

 private:
  bench::floor_guest guest_;
  bench::floor_machine machine_;
};

void measure_warm(bench::program& program) {
  using nothing = guests::empty::nothing;
  const bench::floor_exit exit;
  const with_registers vmrun;
  virtine::virtine_fn<void(), nothing> call;
  virtine::pool<guests::empty> pool;

  bench::group rows({.samples = 1000});
  rows.floor("contexts.run", [&] { exit(); });
  rows.row("contexts.function", nothing_natively, 1000);
  rows.row("contexts.vmrun", [&] { vmrun(); });
  rows.row("contexts.pooled", [&] { bench::check(call.try_call().has_value(), "nothing()"); });
  // As the paper timed it: the clock stops before the machine is wiped.
  rows.row("contexts.pooled.unwiped", [&] {
    const auto begin = bench::clock::now();
    auto lent = pool.borrow();
    bench::check(lent.has_value() && (*lent)->enter(nothing::address, {}).has_value(), "a call");
    const bench::microseconds took = bench::clock::now() - begin;
    lent->give_back(virtine::x86::page_size);
    return took;
  });
  program.measure(std::move(rows));
}

void measure_creation(bench::program& program) {
  const fd device(open("/dev/kvm", O_RDWR | O_CLOEXEC));
  bench::check(static_cast<bool>(device), "/dev/kvm");
  virtine::virtine_fn<void(), guests::empty::nothing> kept;
  bench::check(kept.try_call().has_value(), "nothing()");

  bench::group rows({.samples = 300, .burst = 1});
  rows.floor("contexts.vm.run", [] { bench::floor_exit{}(); });
  // As the paper timed it: without memory, without entering it, without closing it.
  rows.row("contexts.vm.create", [&] {
    const auto begin = bench::clock::now();
    const fd vm(ioctl(device.get(), requests::create_vm.number, 0));
    const fd vcpu(ioctl(vm.get(), requests::create_vcpu.number, 0));
    const bench::microseconds took = bench::clock::now() - begin;
    bench::check(vm && vcpu, "KVM_CREATE_VCPU");
    return took;
  });
  rows.row("contexts.new", [&] {
    kept.pool().trim(0);
    bench::check(kept.try_call().has_value(), "nothing()");
  });
  rows.row("contexts.thread", run_thread);
  rows.row("contexts.process", run_process);
  rows.row("contexts.spawn", run_program);
  program.measure(std::move(rows));
}

}  // namespace

int main(int argc, char** argv) {
  bench::require_kvm();
  bench::program program("contexts", argc, argv);
  measure_warm(program);
  measure_creation(program);
  return program.finish();
}
