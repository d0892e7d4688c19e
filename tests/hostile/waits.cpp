// Attacks on the host's time: descriptors that others share, and whatever else a system call could
// wait for.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <guests/calls.hpp>
#include <virtine/posix.hpp>
#include <virtine/virtine.hpp>

#include "told_calls.hpp"

using namespace virtine;
using namespace virtine::detail;
using namespace std::chrono_literals;
using told::scratch;
using told::script;

namespace {

using image = guests::calls;
using sig = void(std::span<told_call>, std::span<std::byte>);

template <class Policy>
auto granted(Policy allowed) {
  return virtine_fn<sig, image::make_calls, Policy>(std::move(allowed));
}

// Ends a wait that should not be, by `help`, after a time that nothing else takes.
class rescuer {
 public:
  rescuer(std::chrono::seconds after, std::function<void()> help)
      : thread_([this, after, help = std::move(help)](const std::stop_token& over) {
          std::unique_lock lock(mutex_);
          if (wake_.wait_for(lock, over, after, [] { return false; }) || over.stop_requested()) {
            return;
          }
          was_needed_ = true;
          help();
        }) {}
  ~rescuer() { thread_.request_stop(); }
  rescuer(const rescuer&) = delete;
  rescuer& operator=(const rescuer&) = delete;

  [[nodiscard]] bool was_needed() const { return was_needed_; }

 private:
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::atomic<bool> was_needed_ = false;
  std::jthread thread_;
};

// Both ends of something that bytes go through, each with an open file description that waits.
struct channel {
  std::string name;
  os::fd in;   // To write to.
  os::fd out;  // To read from.
};

std::vector<channel> channels(const scratch& files) {
  std::vector<channel> all;
  std::array<int, 2> two{};
  REQUIRE(::pipe2(two.data(), O_CLOEXEC) == 0);
  all.push_back({"pipe", os::fd(two[1]), os::fd(two[0])});
  REQUIRE(::mkfifo(files.path("fifo").c_str(), 0600) == 0);
  {
    const os::fd both(::open(files.path("fifo").c_str(), O_RDWR | O_CLOEXEC));
    all.push_back({"FIFO", os::fd(::open(files.path("fifo").c_str(), O_WRONLY | O_CLOEXEC)),
                   os::fd(::open(files.path("fifo").c_str(), O_RDONLY | O_CLOEXEC))});
  }
  for (const int type : {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET}) {
    REQUIRE(::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, two.data()) == 0);
    all.push_back({"socket " + std::to_string(type), os::fd(two[1]), os::fd(two[0])});
  }
  // The other side of a terminal is written and read by the host.
  const int master = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  REQUIRE(master >= 0);
  REQUIRE(::grantpt(master) == 0);
  REQUIRE(::unlockpt(master) == 0);
  std::array<char, 64> name{};
  REQUIRE(::ptsname_r(master, name.data(), name.size()) == 0);
  os::fd slave(::open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC));
  REQUIRE(slave);
  termios raw{};
  REQUIRE(::tcgetattr(slave.get(), &raw) == 0);
  ::cfmakeraw(&raw);
  REQUIRE(::tcsetattr(slave.get(), TCSANOW, &raw) == 0);
  os::fd again(::open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC));
  all.push_back({"terminal", std::move(slave), std::move(again)});
  all.push_back({"terminal's other side", os::fd(master), os::fd()});
  return all;
}

std::int64_t move(int file, std::size_t size, bool writes) {
  std::vector<std::byte> bytes(size);
  iovec one{.iov_base = bytes.data(), .iov_len = bytes.size()};
  return posix::detail::move_now(file, std::span(&one, 1), {}, writes);
}

}  // namespace

TEST_CASE("H102: no call waits for a descriptor that other guests share", "[hostile]") {
  const scratch files;
  auto all = channels(files);
  for (channel& each : all) {
    if (!each.out) continue;
    // What is written to a terminal is read at its other side, by nobody here.
    const bool passes = each.name != "terminal";
    INFO(each.name);
    const os::fd master(passes ? -1 : ::fcntl(all.back().in.get(), F_DUPFD_CLOEXEC, 0));
    std::atomic<bool> over = false;
    // A rescued thread was one that waited.
    const rescuer rescue(60s, [&] {
      over = true;
      for (int i = 0; i < 1000; ++i) {
        const int more = passes ? each.in.get() : master.get();
        if (::write(more, "rescue", 6) < 0) break;
        std::array<char, 65536> some{};
        if (::read(passes ? each.out.get() : master.get(), some.data(), some.size()) < 0) break;
      }
    });
    auto readers = granted(policy{posix::descriptor<3>(each.out.get(), posix::read_only)});
    auto writers = granted(policy{posix::descriptor<3>(each.in.get(), posix::write_only)});
    std::atomic<unsigned> ended = 0;
    std::atomic<unsigned> other_errors = 0;
    constexpr unsigned threads = 4;
    constexpr unsigned calls = 8;
    {
      std::vector<std::jthread> hosts;
      for (unsigned i = 0; i < threads; ++i) {
        const bool reads = i % 4 != 3 || !passes;
        hosts.emplace_back([&, reads] {
          script what;
          const auto memory = what.room(64 << 10);
          for (unsigned call = 0; call < calls && !over; ++call) {
            what.calls.clear();
            what.add(repeat, {reads ? 1000 : 3});
            // Only some of the bytes that are there, so that all readers find some.
            what.add(reads ? SYS_read : SYS_write, {3, memory, reads ? 100 : 3000});
            if (!reads) what.add(SYS_write, {3, memory, 60000});
            auto& fn = reads ? readers : writers;
            const auto made =
                fn.with({.timeout = 5ms}).try_call(std::span(what.calls), std::span(what.memory));
            ++ended;
            if (!made && made.error().code != errc::timed_out) ++other_errors;
          }
        });
      }
      // One byte at a time: one of those that were told of it gets it.
      hosts.emplace_back([&] {
        while (ended < threads * calls && !over) {
          move(passes ? each.in.get() : master.get(), 1, true);
          std::this_thread::sleep_for(100us);
        }
      });
    }
    CHECK_FALSE(rescue.was_needed());
    CHECK(ended == threads * calls);
    CHECK(other_errors == 0);
  }
}

TEST_CASE("H103: what would have to wait is done later or in part, on every kind of descriptor",
          "[hostile]") {
  const scratch files;
  for (channel& each : channels(files)) {
    INFO(each.name);
    const int in = each.in.get();
    const int out = each.out.get();
    if (!each.out) {
      // It cannot be opened again as what it is: that would be another terminal.
      CHECK(move(in, 1, false) == -EOPNOTSUPP);
      const auto refused = posix::try_descriptor<3>(in, posix::read_only);
      REQUIRE_FALSE(refused.has_value());
      CHECK(refused.error().os_error == EWOULDBLOCK);
      continue;
    }
    const int flags_in = ::fcntl(in, F_GETFL);
    const int flags_out = ::fcntl(out, F_GETFL);
    REQUIRE((flags_in & O_NONBLOCK) == 0);
    {
      const rescuer rescue(20s, [&] { (void)!::write(in, "rescue", 6); });
      CHECK(move(out, 100, false) == -EAGAIN);
      CHECK_FALSE(rescue.was_needed());
    }
    CHECK(move(in, 3, true) == 3);
    if (each.name != "terminal") {
      CHECK(move(out, 100, false) == 3);
      // A position is for files.
      std::byte byte{};
      iovec one{.iov_base = &byte, .iov_len = 1};
      CHECK(posix::detail::move_now(out, std::span(&one, 1), 0, false) == -ESPIPE);
      CHECK(posix::detail::move_now(in, std::span(&one, 1), 0, true) == -ESPIPE);
    }
    // Until it is full, by more than what there is room for; the last part may be a smaller one.
    std::uint64_t written = 0;
    {
      std::atomic<bool> over = false;
      const rescuer rescue(20s, [&] {
        over = true;
        std::array<char, 65536> some{};
        while (::recv(out, some.data(), some.size(), MSG_DONTWAIT) > 0 ||
               (errno == ENOTSOCK && ::read(out, some.data(), some.size()) > 0)) {
        }
      });
      for (const std::size_t size : {std::size_t{100'000}, std::size_t{5'000}, std::size_t{1}}) {
        std::int64_t made = 0;
        for (int i = 0; i < 5'000 && !over && (made = move(in, size, true)) > 0; ++i) {
          written += static_cast<std::uint64_t>(made);
        }
        CHECK(made == -EAGAIN);
      }
      CHECK_FALSE(rescue.was_needed());
    }
    CHECK(written > 1000);
    // So does a guest's write, which ends with the guest's call.
    auto fn = granted(policy{posix::descriptor<3>(in, posix::write_only)});
    script what;
    const auto memory = what.room(200'000);
    what.add(repeat, {1000});  // A terminal comes to have room for a little more.
    what.add(SYS_write, {3, memory, 200'000});
    const auto ended =
        fn.with({.timeout = 40ms}).try_call(std::span(what.calls), std::span(what.memory));
    REQUIRE_FALSE(ended.has_value());
    CHECK(ended.error().code == errc::timed_out);
    CHECK(::fcntl(in, F_GETFL) == flags_in);
    CHECK(::fcntl(out, F_GETFL) == flags_out);
  }
}

TEST_CASE("H108: opening a descriptor again gives no right that it lacks", "[hostile]") {
  const scratch files;
  const auto all = channels(files);
  for (const channel& each : all) {
    if (each.name != "pipe" && each.name != "FIFO") continue;
    INFO(each.name);
    auto fn = granted(policy{posix::descriptor<3>(each.out.get(), posix::read_write),
                             posix::descriptor<4>(each.in.get(), posix::read_write)});
    script what;
    const auto memory = what.room(8);
    what.add(SYS_write, {3, memory, 1});
    what.add(SYS_read, {4, memory, 1});
    fn(std::span(what.calls), std::span(what.memory));
    CHECK(what[0] == -EBADF);
    CHECK(what[1] == -EBADF);
    CHECK(move(each.out.get(), 1, false) == -EAGAIN);
  }
  // A FIFO that nobody reads any more.
  std::string path = files.path("alone");
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  os::fd reader(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  const os::fd writer(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  REQUIRE(writer);
  reader = {};
  auto fn = granted(policy{posix::descriptor<3>(writer.get(), posix::write_only)});
  script what;
  what.add(SYS_write, {3, what.room(8), 8});
  fn(std::span(what.calls), std::span(what.memory));
  CHECK(what[0] == -EPIPE);
}

TEST_CASE("H109: a descriptor that could make its guest wait for ever is not granted",
          "[hostile]") {
  const auto why = [](const os::fd& file) {
    REQUIRE(file);
    const auto granted = posix::try_descriptor<3>(file.get(), posix::read_only);
    return granted ? 0 : granted.error().os_error;
  };
  CHECK(why(os::fd(::eventfd(0, EFD_CLOEXEC))) == EWOULDBLOCK);
  CHECK(why(os::fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC))) == EWOULDBLOCK);
  CHECK(why(os::fd(::inotify_init1(IN_CLOEXEC))) == EWOULDBLOCK);
  CHECK(why(os::fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))) == 0);
  CHECK(why(os::fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK))) == 0);
  CHECK(why(os::fd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK))) == 0);
  for (const char* path : {"/dev/null", "/dev/zero", "/dev/urandom", "/", "/proc/self/exe"}) {
    CHECK(why(os::fd(::open(path, O_RDONLY | O_CLOEXEC))) == 0);
  }
  // A regular file that waits for events, as some of the kernel's do.
  CHECK(why(os::fd(::open("/proc/self/mounts", O_RDONLY | O_CLOEXEC))) == EWOULDBLOCK);
  CHECK(posix::try_descriptor<3>(-1, posix::read_only).error().os_error == EBADF);

  // A counter that is full: a second write would wait.
  const os::fd counter(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  auto fn = granted(policy{posix::descriptor<3>(counter.get(), posix::read_write)});
  script what;
  const auto most = what.bytes("\xfe\xff\xff\xff\xff\xff\xff\xff");
  const auto one = what.bytes(std::string("\1\0\0\0\0\0\0\0", 8));
  what.add(SYS_write, {3, most, 8});
  what.add(SYS_read, {3, one, 8});
  what.add(SYS_write, {3, most, 8});
  fn(std::span(what.calls), std::span(what.memory));
  for (std::size_t i = 0; i < what.calls.size(); ++i) CHECK(what[i] == 8);
  script more;
  more.add(SYS_write, {3, more.bytes(std::string("\1\0\0\0\0\0\0\0", 8)), 8});
  const auto ended =
      fn.with({.timeout = 40ms}).try_call(std::span(more.calls), std::span(more.memory));
  REQUIRE_FALSE(ended.has_value());
  CHECK(ended.error().code == errc::timed_out);
}
