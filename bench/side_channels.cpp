// What a guest can learn of another that runs between its calls on the same core, by caches and
// branch predictors: how often a spy guesses a victim's secret, as the library calls them by
// default and with what a host can do against it; and what that costs.
// SPDX-License-Identifier: MIT
#include <cpuid.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <guests/side_channels.hpp>
#include <guests/side_channels/side_channels.hpp>
#include <virtine/virtine.hpp>

#include "floor_exit.hpp"
#include "harness.hpp"
#include "side_channels/guessing.hpp"

namespace {

using image = guests::side_channels;
using pool = virtine::pool<image>;
using spy_fn = virtine::virtine_fn<seen(int, std::uint32_t), image::spy>;
using victim_fn = virtine::virtine_fn<std::uint32_t(int, int, std::uint32_t), image::victim>;
using together_fn = virtine::virtine_fn<seen(int, int, std::uint32_t), image::together>;

// Nothing is to be measured of a call that waits for a busy core, but that is no failure.
const virtine::call_options patient{.timeout = std::chrono::nanoseconds::max()};

constexpr const char* names[channels] = {"l1d", "l2", "shared", "direction", "target"};

/// How large a cache of this core is, or `otherwise`.
std::size_t size_of(int name, std::size_t otherwise) {
  const long found = sysconf(name);
  return found > 0 ? static_cast<std::size_t>(found) : otherwise;
}

const std::size_t l1d_size = size_of(_SC_LEVEL1_DCACHE_SIZE, 32 * 1024);
const std::size_t l2_size = size_of(_SC_LEVEL2_CACHE_SIZE, 1024 * 1024);

/// How many pages fill the cache that the channel is about.
std::uint32_t pages_of(channel which) {
  const std::size_t size = which == l1d ? l1d_size : l2_size;
  return static_cast<std::uint32_t>(std::min<std::size_t>(size / virtine::x86::page_size, 512));
}

/// Reads twice as much memory as a cache holds, so that little else is left in it.
class eviction {
 public:
  explicit eviction(std::size_t cache) : size_(2 * cache) {
    void* const mapped =
        mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bench::check(mapped != MAP_FAILED, "memory");
    madvise(mapped, size_, MADV_HUGEPAGE);
    bytes_ = static_cast<unsigned char*>(mapped);
    std::fill_n(bytes_, size_, static_cast<unsigned char>(1));
  }
  eviction(const eviction&) = delete;
  eviction& operator=(const eviction&) = delete;
  ~eviction() { munmap(bytes_, size_); }

  void operator()() const {
    for (std::size_t at = 0; at < size_; at += 64) {
      asm volatile("mov (%0), %%al" : : "r"(bytes_ + at) : "rax", "memory");
    }
  }

 private:
  std::size_t size_;
  unsigned char* bytes_;
};

/// Calls the victim in a process of its own, which shares no memory with this one. To be made
/// before this process has a machine.
class other_process {
 public:
  other_process() {
    int ends[2];
    bench::check(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0, "socketpair");
    child_ = fork();
    bench::check(child_ >= 0, "fork");
    if (child_ == 0) {
      close(ends[0]);
      serve(ends[1]);
      _exit(0);
    }
    close(ends[1]);
    end_ = ends[0];
  }
  other_process(const other_process&) = delete;
  other_process& operator=(const other_process&) = delete;
  ~other_process() {
    close(end_);
    waitpid(child_, nullptr, 0);
  }

  void call(channel which, int secret) const {
    const std::array<int, 2> asked{which, secret};
    char done;
    bench::check(
        write(end_, asked.data(), sizeof asked) == sizeof asked && read(end_, &done, 1) == 1,
        "the other process");
  }

 private:
  static void serve(int end) {
    victim_fn victim;
    for (std::array<int, 2> asked; read(end, asked.data(), sizeof asked) == sizeof asked;) {
      const auto pages = pages_of(static_cast<channel>(asked[0]));
      bench::check(victim.with(patient)(asked[0], asked[1], pages) == pages, "victim()");
      bench::check(write(end, "", 1) == 1, "the first process");
    }
  }

  pid_t child_;
  int end_;
};

/// What the host does before each call of a machine from the pool.
struct measure {
  const char* name;
  std::function<void(pool&)> act;
};

/// Writes 1 to a command register of the processor's, which KVM does for who has a vCPU. Returns
/// whether it says that it did: some KVMs say so where the processor has no such register.
bool command(pool& machines, std::uint32_t msr) {
  auto lent = machines.borrow();
  bench::check(lent.has_value(), "borrow()");
  virtine::kvm::msr_entries<1> write{};
  write.nmsrs = 1;
  write.entries[0] = {.index = msr, .reserved = 0, .data = 1};
  const bool done = (*lent)->guest_runner().vcpu().set_msrs(write).has_value();
  lent->give_back(0);
  return done;
}

constexpr std::uint32_t pred_cmd = 0x49;    // Forgets indirect branches (IBPB).
constexpr std::uint32_t flush_cmd = 0x10b;  // Empties the first data cache.

bool processor_has(std::uint32_t msr) {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  __get_cpuid_count(7, 0, &a, &b, &c, &d);
  if (msr == flush_cmd) return (d >> 28 & 1) != 0;
  const bool intel = (d >> 26 & 1) != 0;
  return __get_cpuid(0x80000008, &a, &b, &c, &d) != 0 && (intel || (b >> 12 & 1) != 0);
}

/// Where the victim runs, of which the spy has the first machine.
enum class place { one_call, one_machine, two_machines, two_processes };
constexpr const char* places[] = {"one call", "one machine", "two machines", "two processes"};

/// One way to spy, and what it saw.
struct attack {
  channel which;
  place where;
  const measure* against;
  std::vector<bench::sighting> with_victim = {};
  std::vector<bench::sighting> without = {};
};

class laboratory {
 public:
  explicit laboratory(const other_process& other) : other_(other) {}

  /// Has the spy prepare, the victim run, and the spy look; and the same without the victim, with
  /// another secret, of which there is then nothing to see.
  void tell(attack& of) {
    of.with_victim.push_back(look(of, next_secret(of.which), true));
    if (of.where != place::one_call) of.without.push_back(look(of, next_secret(of.which), false));
  }

  /// One call of the victim's after `against`, for what it costs.
  void call(const measure& against) {
    against.act(first_);
    bench::check(here_.with(patient)(shared, 0, 1) == 1, "victim()");
  }

  pool& machines() { return first_; }

 private:
  int next_secret(channel of) {
    return static_cast<int>(random_() % static_cast<unsigned>(secrets_of(of)));
  }

  bench::sighting look(const attack& of, int secret, bool runs) {
    const std::uint32_t pages = pages_of(of.which);
    if (of.where == place::one_call)
      return parts(of, secret, together_.with(patient)(of.which, secret, pages));
    of.against->act(first_);
    spy_.with(patient)(of.which, pages);
    if (runs) run_victim(of, secret, pages);
    of.against->act(first_);
    return parts(of, secret, spy_.with(patient)(of.which, pages));
  }

  void run_victim(const attack& of, int secret, std::uint32_t pages) {
    if (of.where == place::two_processes) return other_.call(of.which, secret);
    of.against->act(of.where == place::one_machine ? first_ : second_);
    victim_fn& victim = of.where == place::one_machine ? here_ : there_;
    bench::check(victim.with(patient)(of.which, secret, pages) == pages, "victim()");
  }

  /// Ratios tell a hit from a miss, however long the miss took.
  static bench::sighting parts(const attack& of, int secret, const seen& times) {
    bench::sighting out{.secret = secret, .parts = {}};
    for (std::size_t i = 0; i < parts_of(of.which); ++i)
      out.parts.push_back(std::log(times[i] + 1.0));
    return out;
  }

  const other_process& other_;
  pool first_{{.max = 1}};
  pool second_{{.max = 1}};
  spy_fn spy_{first_};
  victim_fn here_{first_};
  victim_fn there_{second_};
  together_fn together_{first_};
  std::mt19937 random_{20};
};

std::vector<attack> all_attacks(const std::vector<measure>& measures) {
  std::vector<attack> all;
  for (std::size_t i = 0; i < channels; ++i) {
    const auto which = static_cast<channel>(i);
    for (const place where :
         {place::one_call, place::one_machine, place::two_machines, place::two_processes})
      all.push_back({.which = which, .where = where, .against = &measures.front()});
    for (const measure& each : measures) {
      if (&each != &measures.front())
        all.push_back({.which = which, .where = place::two_machines, .against = &each});
    }
  }
  return all;
}

void print(const attack& of) {
  const bool relative = of.which < direction;
  const int secrets = secrets_of(of.which);
  const bench::guesses with = bench::guess(of.with_victim, secrets, relative);
  std::printf("| %-9s | %-13s | %-16s | %6zu | %6.1f | %6.1f | %5.2f |", names[of.which],
              places[static_cast<std::size_t>(of.where)], of.against->name, with.count,
              100 * with.accuracy(), 100 * with.chance(), with.bits());
  if (of.without.empty()) {
    std::printf("        |\n");
  } else {
    std::printf(" %6.1f |\n", 100 * bench::guess(of.without, secrets, relative).accuracy());
  }
}

/// Says what kernel and KVM would do for a process that asks for it.
void print_offers(bool ibpb, bool flush) {
  const auto offers = [](unsigned long what) {
    const int state = prctl(PR_GET_SPECULATION_CTRL, what, 0, 0, 0);
    return state > 0 && (static_cast<unsigned>(state) & PR_SPEC_PRCTL) != 0;
  };
  const auto said = [](bool offered) { return offered ? "offered" : "not offered"; };
  unsigned long cookie = 0;
  const int cores = prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, 0, PR_SCHED_CORE_SCOPE_THREAD, &cookie);
  std::printf("prctl: PR_SPEC_INDIRECT_BRANCH %s, PR_SPEC_L1D_FLUSH %s, PR_SCHED_CORE %s\n",
              said(offers(PR_SPEC_INDIRECT_BRANCH)), said(offers(PR_SPEC_L1D_FLUSH)),
              said(cores == 0));
  std::printf("KVM_SET_MSRS: IBPB %s, L1D flush %s\n\n", said(ibpb), said(flush));
}

/// All that runs from now on runs on one core.
void stay_on_one_core() {
  cpu_set_t allowed;
  bench::check(sched_getaffinity(0, sizeof allowed, &allowed) == 0, "sched_getaffinity");
  std::size_t last = 0;
  for (std::size_t i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &allowed)) last = i;
  }
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(last, &one);
  bench::check(sched_setaffinity(0, sizeof one, &one) == 0, "sched_setaffinity");
}

}  // namespace

int main(int argc, char** argv) {
  bench::check_guessing();
  stay_on_one_core();
  const other_process other;
  bench::require_kvm();
  bench::program program("side_channels", argc, argv);
  laboratory spying(other);
  const eviction first_cache(l1d_size);
  const eviction second_cache(l2_size);

  std::vector<measure> measures{
      {"none", [](pool&) {}},
      {"evict_l1d", [&](pool&) { first_cache(); }},
      {"evict_l2", [&](pool&) { second_cache(); }},
  };
  const auto offers = [&](std::uint32_t msr) {
    return processor_has(msr) && command(spying.machines(), msr);
  };
  if (offers(pred_cmd)) measures.push_back({"ibpb", [](pool& of) { command(of, pred_cmd); }});
  if (offers(flush_cmd))
    measures.push_back({"flush_l1d", [](pool& of) { command(of, flush_cmd); }});

  const bench::floor_exit exit;
  bench::group costs;
  costs.floor("side_channels.floor", [&] { exit(); });
  for (const measure& each : measures) {
    costs.row("side_channels." + std::string(each.name), [&] { spying.call(each); });
  }
  program.measure(std::move(costs));

  std::printf("\nL1D %zu KiB, L2 %zu KiB; ", l1d_size / 1024, l2_size / 1024);
  print_offers(offers(pred_cmd), offers(flush_cmd));
  std::vector<attack> attacks = all_attacks(measures);
  const std::size_t trials = program.is_short() ? 20 : 4000;
  for (std::size_t trial = 0; trial < trials; ++trial) {
    for (std::size_t i = 0; i < attacks.size(); ++i)
      spying.tell(attacks[(i + trial) % attacks.size()]);
  }
  std::printf("| %-9s | %-13s | %-16s | %6s | %6s | %6s | %5s | %6s |\n", "channel", "victim in",
              "before each call", "n", "right", "chance", "bits", "alone");
  std::printf("|---|---|---|--:|--:|--:|--:|--:|\n");
  for (const attack& each : attacks) print(each);
  return program.finish();
}
