// Children of fork, made in every state of their parent: what they inherit is theirs, or an error
// at once; nothing waits for threads that they do not have. In a program of its own, whose process
// has no machines: each case is a child with a state, and its children.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <guests/init_loops.hpp>

#include "scenarios.hpp"

using namespace virtine;
using namespace virtine::detail;
using namespace std::chrono_literals;

namespace {

constexpr unsigned a_hang = 60;  // Seconds: nothing here takes one.

/// Says where a child failed; its parent sees its status only.
int failed_at = 0;
#define NEED(...) \
  if (!(__VA_ARGS__)) return failed_at = failed_at != 0 ? failed_at : __LINE__, false

/// The same of a child, which says where.
#define NEED_CHILD(...) \
  if (const int line = in_child(__VA_ARGS__); line != 0) return failed_at = line, false

/// Runs `body` in a child that `make_child` makes. Returns 0, or the line where it failed, or
/// -signal.
template <class Body>
int in_child(const Body& body, const std::function<pid_t()>& make_child = ::fork) {
  std::fflush(nullptr);
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) return -1;
  const pid_t child = make_child();
  if (child == 0) {
    ::alarm(a_hang);
    failed_at = 0;
    const int line = body() ? 0 : failed_at;
    static_cast<void>(!::write(pipe[1], &line, sizeof line));
    ::_exit(0);
  }
  ::close(pipe[1]);
  int line = -1000;
  const bool told = ::read(pipe[0], &line, sizeof line) == sizeof line;
  ::close(pipe[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) return -WTERMSIG(status);
  return told ? line : -1000;
}

using jobs = guests::jobs;
using spin_fn = virtine_fn<int(std::uint64_t), jobs::spin>;
using count_fn = virtine_fn<int(), jobs::count>;
using state_fn = virtine_fn<prepared_state(), guests::prepared::state>;
using ask_policy = policy<allowed<question, std::function<int(tainted<int>)>>>;
using ask_fn = virtine_fn<int(int), jobs::ask, ask_policy>;

constexpr std::uint64_t for_ever = std::uint64_t{1} << 62;

bool is_of_parent(const error& why) {
  return why.code == errc::machine_failure && why.os_error == EIO;
}

/// All that a process can have of the library.
struct everything {
  pool<jobs> machines{{.max = 4, .when_exhausted = when_exhausted::wait}};
  scenario::quotient_fn divide{machines};
  count_fn count{machines};
  spin_fn spin{machines};
  state_fn state;
  std::function<int(tainted<int>)> handler = [](tainted<int>) { return 1; };
  ask_fn ask{machines, ask_policy(allow<question>(std::function<int(tainted<int>)>(
                           [this](tainted<int> n) { return handler(n); })))};
  scenario::files& files;  // What is on the disk is not the children's to remove.

  explicit everything(scenario::files& with) : files(with) {}

  /// Whether everything works in this process, as it does in one that has just begun.
  bool works() {
    NEED(divide.try_call(12, 4).value_or(0) == 3);
    NEED(count.try_call().value_or(0) == 1);
    NEED(count.try_call().value_or(0) == 1);
    const auto born = state.try_call();
    NEED(born && born->calls == 1);
    NEED(files.run());
    auto pending = divide.async(20, 4);
    NEED(pending.event_fd());
    NEED(pending.try_get().value_or(0) == 5);
    NEED(divide.with({.timeout = 20s}).async(20, 5).try_get().value_or(0) == 4);
    {
      session open(count);
      NEED(open.try_call().value_or(0) == 1);
      NEED(open.try_call().value_or(0) == 2);
    }
    NEED(ask.try_call(3).value_or(0) == 3);
    const auto late = spin.with({.timeout = 20ms}).try_call(for_ever);
    NEED(!late && late.error().code == errc::timed_out);
    std::stop_source stopping;
    std::jthread stopper([&] {
      std::this_thread::sleep_for(5ms);
      stopping.request_stop();
    });
    const auto stopped =
        spin.with({.timeout = 40s, .stop = stopping.get_token()}).try_call(for_ever);
    NEED(!stopped && stopped.error().code == errc::cancelled);
    NEED(machines.warm_up(2));
    machines.trim(0);
    NEED(machines.stats().machines == 0);
    NEED(scenario::saved_snapshot().run());
    NEED(scenario::by_hand().run());
    return true;
  }
};

/// Checks that a child, and a child's child, can use everything and destroy it.
bool children_work(std::unique_ptr<everything>& all) {
  const auto use = [&] {
    NEED(all->works());
    all.reset();
    return true;
  };
  NEED_CHILD(use);
  // A child that does not use it before it forks, and one that does.
  NEED_CHILD([&] { return (failed_at = in_child(use)) == 0; });
  NEED_CHILD([&] {
    if (!all->works()) return false;
    return (failed_at = in_child(use)) == 0;
  });
  // One that uses nothing.
  NEED_CHILD([&] { return all.reset(), true; });
  return true;
}

/// Waits until something is so.
template <class Predicate>
void await(const Predicate& so) {
  while (!so()) std::this_thread::sleep_for(1ms);
}

}  // namespace

// Each in a child of its own, which then has the state of the title and children that are checked.

TEST_CASE("H111: a child of fork can use what its parent uses, whatever that does", "[fork]") {
  struct a_state {
    const char* name;
    std::function<bool(std::unique_ptr<everything>&)> check;
  };
  const std::vector<a_state> states{
      {"nothing was used", children_work},
      {"everything was used",
       [](auto& all) {
         NEED(all->works());
         NEED(all->divide.try_call(6, 3));
         return children_work(all);
       }},
      {"a call runs",
       [](auto& all) {
         std::thread caller([&] { static_cast<void>(all->spin.try_call(for_ever)); });
         caller.detach();
         await([&] { return all->machines.size() != 0; });
         std::this_thread::sleep_for(10ms);
         return children_work(all);
       }},
      {"calls wait for a machine",
       [](auto& all) {
         for (int i = 0; i < 8; ++i) {
           std::thread([&] { static_cast<void>(all->spin.try_call(for_ever)); }).detach();
         }
         await([&] { return all->machines.stats().waits >= 4; });
         return children_work(all);
       }},
      {"calls of async() run and wait",
       [](auto& all) {
         auto first = all->spin.async(for_ever);
         auto second = all->spin.async(for_ever);
         auto third = all->spin.async(for_ever);
         auto done = all->divide.with({}).async(6, 2);
         await([&] { return all->machines.size() == 2; });
         NEED(children_work(all));
         NEED_CHILD([&] {
           NEED(first.ready() && third.ready());
           first.wait();
           first.cancel();
           NEED(is_of_parent(first.try_get().error()));
           NEED(is_of_parent(third.try_get().error()));
           NEED(is_of_parent(third.event_fd().error()));
           second = std::move(third);
           return true;
         });
         for (auto* each : {&first, &second, &third}) each->cancel();
         NEED(done.try_get().value_or(0) == 3);
         return true;
       }},
      {"a session is open",
       [](auto& all) {
         session open(all->count);
         NEED(open.try_call().value_or(0) == 1);
         NEED_CHILD([&] {
           NEED(is_of_parent(open.try_call().error()));
           NEED(is_of_parent(open.try_call().error()));
           return true;
         });
         NEED(children_work(all));
         NEED(open.try_call().value_or(0) == 2);
         return true;
       }},
      {"a session's call runs in another thread",
       [](auto& all) {
         auto open = std::make_unique<session<int(std::uint64_t), jobs::spin>>(all->spin);
         std::thread([&] { static_cast<void>(open->try_call(for_ever)); }).detach();
         std::this_thread::sleep_for(10ms);
         NEED_CHILD([&] {
           NEED(is_of_parent(open->try_call(1).error()));
           open.reset();
           return true;
         });
         return children_work(all);
       }},
      {"an initialiser runs",
       [](auto& all) {
         virtine_fn<int(), guests::init_loops::answer> waits;
         std::thread([&] { static_cast<void>(waits.try_call()); }).detach();
         std::this_thread::sleep_for(20ms);
         NEED(children_work(all));
         // In the child it is run anew, as nobody runs it there; what it does is no concern.
         return in_child([&] {
                  std::thread([&] { static_cast<void>(waits.try_call()); }).detach();
                  std::this_thread::sleep_for(20ms);
                  return true;
                }) == 0;
       }},
      {"machines are made, lent, wiped and destroyed all the time",
       [](auto& all) {
         std::array<std::thread, 3> busy;
         std::atomic<bool> enough = false;
         std::atomic<int> wrong = 0;
         for (std::thread& each : busy) {
           each = std::thread([&] {
             while (!enough) {
               if (all->divide.try_call(9, 3).value_or(0) != 3) ++wrong;
               if (!all->machines.warm_up(2)) ++wrong;
               all->machines.trim(0);
               static_cast<void>(all->machines.stats());
             }
           });
         }
         bool good = true;
         for (int i = 0; i < 30 && good; ++i) {
           good = in_child([&] {
                    NEED(all->divide.try_call(12, 4).value_or(0) == 3);
                    NEED(all->divide.async(12, 3).try_get().value_or(0) == 4);
                    all.reset();
                    return true;
                  }) == 0;
         }
         enough = true;
         for (std::thread& each : busy) each.join();
         NEED(good);
         NEED(wrong == 0);
         return children_work(all);
       }},
      {"snapshots are made all the time",
       [](auto& all) {
         std::array<std::thread, 2> busy;
         std::atomic<bool> enough = false;
         std::atomic<int> wrong = 0;
         std::atomic<int> made = 0;
         for (std::thread& each : busy) {
           each = std::thread([&] {
             while (!enough) {
               if (!scenario::initialiser().run()) ++wrong;
               ++made;
             }
           });
         }
         await([&] { return made > 0; });
         bool good = true;
         for (int i = 0; i < 60 && good; ++i) {
           good = in_child([&] {
                    NEED(scenario::initialiser().run());
                    return true;
                  }) == 0;
         }
         enough = true;
         for (std::thread& each : busy) each.join();
         NEED(good);
         NEED(wrong == 0);
         return children_work(all);
       }},
      {"guests are denied hypercalls and write to their output all the time",
       [](auto& all) {
         scenario::files files;
         std::atomic<bool> enough = false;
         std::thread busy([&] {
           while (!enough) {
             static_cast<void>(files.run());
             files.text.clear();
           }
         });
         bool good = true;
         for (int i = 0; i < 30 && good; ++i) {
           good = in_child([&] {
                    NEED(all->files.run());
                    return true;
                  }) == 0;
         }
         enough = true;
         busy.join();
         NEED(good);
         return children_work(all);
       }},
      {"a handler runs, which forks",
       [](auto& all) {
         int inner = -1;
         bool once = false;
         all->handler = [&](tainted<int>) {
           if (std::exchange(once, true)) return 1;
           inner = in_child([&] {
             NEED(all->works());
             return true;
           });
           return 1;
         };
         NEED(all->ask.try_call(1).value_or(0) == 1);
         failed_at = inner;
         return inner == 0;
       }},
      {"a handler runs, which forks and returns in the child",
       [](auto& all) {
         bool is_child = false;
         int status = -1;
         all->handler = [&](tainted<int>) {
           if (is_child) return 1;
           const pid_t child = ::fork();
           if (child == 0) {
             ::alarm(a_hang);
             is_child = true;
           } else {
             ::waitpid(child, &status, 0);
           }
           return 1;
         };
         const auto ended = all->ask.try_call(1);
         if (is_child) {
           bool good = !ended && ended.error().os_error == EIO;
           good = good && all->works();
           all.reset();
           ::_exit(good ? 0 : 1);
         }
         NEED(ended.value_or(0) == 1);
         NEED(status == 0);
         return true;
       }},
      {"machines are used by hand",
       [](auto& all) {
         auto guest = bare_machine::create(bare_options{});
         NEED(guest);
         auto used = machine::create(jobs::description);
         NEED(used && (*used)->enter(jobs::count::address, {}));
         NEED_CHILD([&] {
           NEED((*guest)->run().error().os_error == EIO);
           NEED((*used)->enter(jobs::count::address, {}).error().os_error == EIO);
           guest = error{};
           used = error{};
           return true;
         });
         NEED((*used)->enter(jobs::count::address, {}));
         return children_work(all);
       }},
      {"a handler of pthread_atfork's is not called",
       [](auto& all) {
         NEED(all->works());
         NEED(all->divide.try_call(6, 3));
         return in_child(
                    [&] {
                      NEED(all->divide.try_call(12, 4).value_or(0) == 3);
                      NEED(all->works());
                      return true;
                    },
                    [] { return static_cast<pid_t>(::syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)); }) ==
                0;
       }},
  };
  for (const a_state& each : states) {
    DYNAMIC_SECTION(each.name) {
      CHECK(in_child([&] {
              scenario::files files;
              auto all = std::make_unique<everything>(files);
              const bool good = each.check(all);
              // Threads that are still in a call are not waited for.
              static_cast<void>(all.release());
              return good;
            }) == 0);
    }
  }
}

TEST_CASE("a child shares its parent's snapshot, and gives up its idle machines", "[fork]") {
  CHECK(in_child([] {
          state_fn state;
          const auto born = state.try_call();
          NEED(born);
          const auto before = told::descriptors();
          NEED_CHILD([&] {
            const auto inherited = told::descriptors();
            NEED(inherited >= before);
            const auto same = state.try_call();
            NEED(same && same->born == born->born);
            // The child's own machine has as many as the parent's had.
            NEED(told::descriptors() == inherited);
            return true;
          });
          return true;
        }) == 0);
}

TEST_CASE("H126: a child takes over nothing that its parent, a child itself, had half made",
          "[fork]") {
  CHECK(in_child([] {
          os::per_process<int> number;
          NEED_CHILD([&] {
            bool whole = false;
            int ended = 0;
            static_cast<void>(number.get([&](void* place, int&, bool parents_is_whole) {
              whole = parents_is_whole;
              ended = in_child([&] {
                bool half = false;
                static_cast<void>(number.get([&](void* here, int&, bool is_whole) {
                  half = !is_whole;
                  new (here) int(2);
                }));
                NEED(half && number.get() == 2);
                return true;
              });
              new (place) int(1);
            }));
            NEED(whole && number.get() == 1);
            return failed_at = ended, ended == 0;
          });
          return true;
        }) == 0);
  CHECK(in_child([] {
          // What is done with a pool, and with a snapshot, that may be half made.
          using kept = kept_machines<machine>;
          alignas(kept) static std::byte place[sizeof(kept)];
          auto* const pool = new (place) kept(jobs::description, pool_options{});
          const auto use = [&] {
            auto lent = pool->borrow(10s, {}, nullptr);
            if (lent) lent->give_back(0);
            return lent.has_value();
          };
          NEED(use());
          const auto with_one = told::descriptors();
          kept::begin_anew(place, *pool, false);
          NEED(told::descriptors() == with_one);
          NEED(use());
          const auto with_two = told::descriptors();
          kept::begin_anew(place, *pool, true);
          NEED(told::descriptors() < with_two);
          detail::held_snapshot old;
          const auto made = snapshot::create(jobs::description);
          NEED(made);
          old.set(*made);
          for (const bool whole : {true, false}) {
            alignas(detail::held_snapshot) std::byte there[sizeof(detail::held_snapshot)];
            detail::held_snapshot::begin_anew(there, old, whole);
            // Sound: begin_anew() has made one there.
            auto* const taken = std::launder(reinterpret_cast<detail::held_snapshot*>(there));
            NEED((taken->made.lock() != nullptr) == whole);
          }
          return true;
        }) == 0);
}

TEST_CASE("no descriptor of the library's outlives exec", "[fork]") {
  CHECK(in_child([] {
          std::set<int> before;
          const auto open_ones = [] {
            std::set<int> found;
            for (int i = 0; i < 1024; ++i) {
              if (::fcntl(i, F_GETFD) >= 0) found.insert(i);
            }
            return found;
          };
          before = open_ones();
          scenario::files files;
          everything all(files);
          NEED(all.works());
          NEED(all.divide.try_call(6, 3));
          session open(all.count);
          auto pending = all.divide.async(6, 3);
          NEED(pending.event_fd());
          std::size_t more = 0;
          for (const int each : open_ones()) {
            if (before.contains(each)) continue;
            ++more;
            NEED((::fcntl(each, F_GETFD) & FD_CLOEXEC) != 0);
          }
          NEED(more > 4);
          // And nothing notices children that share this process's memory until then.
          std::string name = "true";
          std::array<char*, 2> arguments{name.data(), nullptr};
          pid_t child = 0;
          NEED(::posix_spawnp(&child, "true", nullptr, nullptr, arguments.data(), nullptr) == 0);
          int status = -1;
          NEED(::waitpid(child, &status, 0) == child && status == 0);
          NEED(open.try_call().value_or(0) == 1);
          NEED(pending.try_get().value_or(0) == 2);
          return true;
        }) == 0);
}
