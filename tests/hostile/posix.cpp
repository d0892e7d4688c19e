// Attacks through system calls that a policy grants: what they point at, how long it is, where
// paths lead, what descriptors are whose.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <guests/calls.hpp>
#include <virtine/posix.hpp>
#include <virtine/virtine.hpp>

#include "told_calls.hpp"

using namespace virtine;
using namespace virtine::detail;
using told::argument;
using told::descriptors;
using told::scratch;
using told::script;

namespace {

using image = guests::calls;
using sig = void(std::span<told_call>, std::span<std::byte>);

const layout where = layout_of(image::description);

template <class Policy>
auto granted(Policy allowed) {
  return virtine_fn<sig, image::make_calls, Policy>(std::move(allowed));
}

// Makes the calls and demands that each is answered as `expected`, and that the next call is right.
template <class Fn>
void expect_all(Fn& fn, script& what, std::int64_t expected) {
  const auto ended = fn.try_call(std::span(what.calls), std::span(what.memory));
  REQUIRE(ended.has_value());
  for (std::size_t i = 0; i < what.calls.size(); ++i) {
    if (what.calls[i].number >= repeat) continue;
    INFO("call " << i << ", system call " << what.calls[i].number);
    CHECK(what[i] == expected);
  }
  script good;
  good.add(SYS_getpid);
  fn(std::span(good.calls), std::span(good.memory));
  CHECK(good[0] == 1);
}

// Addresses that are not the guest's to read, for any length but 0.
const std::vector<std::uint64_t> not_memory{0,
                                            1,
                                            0xffff,
                                            0x10000,
                                            where.guard,
                                            where.trap_stack_top() - 8,
                                            where.tables,
                                            where.user_end,
                                            std::uint64_t{1} << 63,
                                            UINT64_MAX - 4096,
                                            UINT64_MAX};

}  // namespace

TEST_CASE("H62: no system call reads or writes what is not the guest's", "[hostile][long]") {
  const scratch files;
  files.put("a", std::string(9000, 'a'));
  std::string text;
  std::array<int, 2> pipe{};
  REQUIRE(::pipe2(pipe.data(), O_CLOEXEC) == 0);
  const os::fd out(pipe[0]);
  const os::fd in(pipe[1]);
  auto fn = granted(policy{posix::output(text, 1 << 20),
                           posix::directory<"/">(files.path(), posix::read_write), posix::clock(),
                           allow_entropy(), posix::descriptor<9>(in.get(), posix::write_only)});
  const auto open = [](script& what) { what.add(SYS_open, {what.text("/a"), O_RDWR, 0}); };
  for (const std::uint64_t at : not_memory) {
    INFO(std::hex << at);
    script what;
    open(what);
    const std::size_t first = what.calls.size();
    for (const int file : {1, 3, 9}) {
      what.add(SYS_write, {file, at, 8});
      what.add(SYS_writev, {file, at, 1});
      what.add(SYS_writev, {file, what.vectors({{argument(at), 8}}), 1});
    }
    what.add(SYS_pwrite64, {3, at, 8, 0});
    what.add(SYS_read, {3, at, 8});
    what.add(SYS_pread64, {3, at, 8, 0});
    what.add(SYS_readv, {3, at, 1});
    what.add(SYS_readv, {3, what.vectors({{argument(at), 8}}), 1});
    what.add(SYS_fstat, {3, at});
    what.add(SYS_stat, {what.text("/a"), at});
    what.add(SYS_open, {at, O_RDONLY});
    what.add(SYS_access, {at, F_OK});
    what.add(SYS_rename, {what.text("/a"), at});
    what.add(SYS_unlink, {at});
    what.add(SYS_uname, {at});
    what.add(SYS_getcwd, {at, 64});
    what.add(SYS_getrandom, {at, 8, 0});
    if (at != 0) {
      what.add(SYS_clock_gettime, {CLOCK_REALTIME, at});
      what.add(SYS_gettimeofday, {at, 0});
      what.add(SYS_time, {at});
    }
    what.add(SYS_nanosleep, {at, 0});
    fn(std::span(what.calls), std::span(what.memory));
    for (std::size_t i = first; i < what.calls.size(); ++i) {
      if (what.calls[i].number >= repeat) continue;
      INFO("system call " << what.calls[i].number);
      CHECK(what[i] == -EFAULT);
    }
  }
  CHECK(text.empty());
  CHECK(files.get("a") == std::string(9000, 'a'));
  // Reading into what cannot be written: code and constants.
  for (const std::uint64_t at : {image::description.segments[0].address, x86::trampoline_page}) {
    script what;
    open(what);
    what.add(SYS_read, {3, at, 8});
    what.add(SYS_fstat, {3, at});
    what.add(SYS_getrandom, {at, 8, 0});
    fn(std::span(what.calls), std::span(what.memory));
    for (std::size_t i = 1; i < what.calls.size(); ++i) CHECK(what[i] == -EFAULT);
  }
}

TEST_CASE("H63: no length wraps, and a short count is the worst that a long one gets",
          "[hostile]") {
  const scratch files;
  files.put("a", "content");
  std::string text;
  auto fn = granted(
      policy{posix::output(text, 1 << 20), posix::directory<"/">(files.path(), posix::read_write)});
  script what;
  const auto memory = what.room(64);
  what.add(SYS_open, {what.text("/a"), O_RDWR, 0});
  const std::size_t first = what.calls.size();
  for (const std::uint64_t length :
       {std::uint64_t{1} << 63, UINT64_MAX, UINT64_MAX - 4096, (std::uint64_t{1} << 63) + 1}) {
    for (const int file : {1, 3}) {
      what.add(SYS_write, {file, memory, length});
      what.add(SYS_writev, {file, what.vectors({{memory, 8}, {memory, length}}), 2});
      what.add(SYS_writev, {file, memory, length});
    }
    what.add(SYS_read, {3, memory, length});
    what.add(SYS_readv, {3, what.vectors({{memory, length}}), 1});
    what.add(SYS_readv, {3, memory, 1025});
    what.add(SYS_lseek, {3, length, SEEK_SET});
    what.add(SYS_pwrite64, {3, memory, 8, length});
    what.add(SYS_pread64, {3, memory, 8, length});
    what.add(SYS_ftruncate, {3, length});
  }
  // Each fits, and together they do not.
  const std::uint64_t half = std::uint64_t{1} << 62;
  what.add(SYS_writev, {1, what.vectors({{memory, half}, {memory, half}}), 2});
  fn(std::span(what.calls), std::span(what.memory));
  for (std::size_t i = first; i < what.calls.size(); ++i) {
    if (what.calls[i].number >= repeat) continue;
    INFO("call " << i << ", system call " << what.calls[i].number);
    CHECK(what[i] == -EINVAL);
  }
  CHECK(text.empty());
  CHECK(files.get("a") == "content");

  // More than there is of the guest, and more than is moved at once.
  script large;
  const auto buffer = large.room(600 << 10);
  large.add(SYS_write, {1, buffer, std::uint64_t{1} << 40});
  large.add(SYS_write, {1, buffer, 600 << 10});
  large.add(SYS_writev, {1, large.vectors({{buffer, 200 << 10}, {buffer, 200 << 10}}), 2});
  fn(std::span(large.calls), std::span(large.memory));
  CHECK(large[0] == -EFAULT);
  CHECK(large[1] == std::int64_t{posix::max_bytes_moved});
  CHECK(large.calls.back().result == std::int64_t{posix::max_bytes_moved});
  CHECK(text.size() == 2 * posix::max_bytes_moved);
}

TEST_CASE("H64: no path leads out of what is granted", "[hostile]") {
  const scratch outside;
  outside.put("secret", "secret");
  std::filesystem::create_directories(outside.path("in/sub"));
  const auto in = outside.path("in");
  std::ofstream(in / "a") << "a";
  std::filesystem::create_symlink("../secret", in / "link");
  std::filesystem::create_symlink("..", in / "up");
  std::filesystem::create_symlink("/", in / "root");
  std::filesystem::create_symlink("/proc/self/root", in / "magic");
  std::filesystem::create_symlink("a", in / "inner");
  auto fn = granted(policy{posix::directory<"/d">(in, posix::read_write)});
  const std::string secret = outside.path("secret");

  script what;
  what.add(SYS_open, {what.text("/d"), O_RDONLY | O_DIRECTORY, 0});
  what.add(SYS_open, {what.text("/d/sub"), O_RDONLY | O_DIRECTORY, 0});
  const std::size_t first = what.calls.size();
  for (const std::string& path :
       {std::string("/d/../secret"), std::string("/secret"), secret, "/d/" + secret,
        std::string("/d/./../secret"), std::string("/d/sub/../../secret"),
        std::string("/d//..//secret"), std::string("/../secret"), std::string("/d/link"),
        std::string("/d/up/secret"), std::string("/d/root/etc/passwd"),
        std::string("/d/magic/etc/passwd"), std::string("/etc/passwd"),
        std::string("/proc/self/mem"), std::string("/dev/kvm"), std::string("/d/inner"),
        std::string("/d/up"), std::string("/d/sub/../up/in/a"), std::string("/..\0/d/a", 8)}) {
    const auto text = what.text(path);
    for (const int flags :
         {O_RDONLY, O_WRONLY, O_RDWR | O_CREAT, O_RDONLY | O_DIRECTORY, O_RDONLY | O_NOFOLLOW}) {
      what.add(SYS_open, {text, flags, 0666});
      what.add(SYS_openat, {3, text, flags, 0666});
      what.add(SYS_openat, {4, text, flags, 0666});
      what.add(SYS_openat, {AT_FDCWD, text, flags, 0666});
    }
    what.add(SYS_stat, {text, what.room(144)});
    what.add(SYS_access, {text, R_OK});
    what.add(SYS_mkdir, {what.text(path + "/new"), 0777});
    what.add(SYS_rename, {what.text("/d/a"), what.text(path + "/a")});
    what.add(SYS_renameat, {3, what.text(path + "/a"), 3, what.text("b")});
  }
  for (const char* path : {"../secret", "../../secret", "sub/../../secret", "up/secret"}) {
    what.add(SYS_openat, {3, what.text(path), O_RDONLY, 0});
    what.add(SYS_unlinkat, {3, what.text(path), 0});
    what.add(SYS_renameat, {3, what.text("a"), 3, what.text(path)});
  }
  fn(std::span(what.calls), std::span(what.memory));
  CHECK(what[0] == 3);
  CHECK(what[1] == 4);
  for (std::size_t i = first; i < what.calls.size(); ++i) {
    INFO("call " << i << ", system call " << what.calls[i].number);
    CHECK(what[i] < 0);
  }
  CHECK(outside.get("secret") == "secret");
  CHECK(outside.has("in/a"));
  CHECK_FALSE(outside.has("b"));
  CHECK_FALSE(outside.has("new"));
  CHECK(std::filesystem::is_symlink(in / "link"));
}

TEST_CASE("H65: a path ends within the guest's memory and within its limit", "[hostile]") {
  const scratch files;
  auto fn = granted(policy{posix::directory<"/">(files.path(), posix::read_write)});
  script what;
  const auto memory = what.bytes(std::string(70000, '/'));
  const std::size_t endless = what.add(SYS_open, {memory, O_RDONLY, 0});
  const std::size_t longest = what.add(SYS_mkdir, {what.text(std::string(4095, 'n')), 0777});
  const std::size_t longer = what.add(SYS_mkdir, {what.text(std::string(4096, 'n')), 0777});
  const std::size_t slashes = what.add(SYS_access, {what.text(std::string(4095, '/')), F_OK});
  // The last byte of the stack is not zero and nothing follows it.
  const std::uint64_t end = where.user_end;
  const std::size_t last = what.add(SYS_open, {end, O_RDONLY, 0});
  fn(std::span(what.calls), std::span(what.memory));
  CHECK(what[endless] == -ENAMETOOLONG);
  CHECK(what[longest] == -ENAMETOOLONG);  // As a name, for the host's file system.
  CHECK(what[longer] == -ENAMETOOLONG);
  CHECK(what[slashes] == 0);
  CHECK(what[last] == -EFAULT);
}

TEST_CASE("H66: a guest has the descriptors that it was given and those it opened", "[hostile]") {
  const scratch files;
  files.put("a", "content");
  std::string text;
  auto fn = granted(
      policy{posix::output(text, 100), posix::directory<"/">(files.path(), posix::read_only)});
  script what;
  what.add(SYS_open, {what.text("/a"), O_RDONLY, 0});
  what.add(SYS_close, {3});
  const std::size_t first = what.calls.size();
  const auto memory = what.room(256);
  std::vector<std::uint64_t> numbers{0, 3, 4, 5, 63, 64, 65, 0x7fffffff, 0x80000000, 0xffffffff};
  for (std::uint64_t number = 3; number < 80; ++number) numbers.push_back(number);
  for (const std::uint64_t number : numbers) {
    what.add(SYS_read, {number, memory, 8});
    what.add(SYS_write, {number, memory, 8});
    what.add(SYS_readv, {number, memory, 1});
    what.add(SYS_lseek, {number, 0, 0});
    what.add(SYS_fstat, {number, memory});
    what.add(SYS_getdents64, {number, memory, 256});
    what.add(SYS_fcntl, {number, F_GETFL, 0});
    what.add(SYS_ioctl, {number, 0x5413, memory});
    what.add(SYS_ftruncate, {number, 0});
    what.add(SYS_close, {number});
  }
  fn(std::span(what.calls), std::span(what.memory));
  for (std::size_t i = first; i < what.calls.size(); ++i) {
    INFO("call " << i << ", system call " << what.calls[i].number);
    CHECK(what[i] == -EBADF);
  }
  // fcntl duplicates nothing, ioctl does nothing.
  script more;
  more.add(SYS_fcntl, {1, F_DUPFD, 0});
  more.add(SYS_fcntl, {1, 1030, 0});
  more.add(SYS_fcntl, {1, F_SETFL, 0});
  expect_all(fn, more, -EINVAL);
}

TEST_CASE("H67: thousands of opens are refused, and all is closed at the end", "[hostile]") {
  const scratch files;
  files.put("a", "content");
  auto fn = granted(policy{posix::directory<"/">(files.path(), posix::read_only)});
  script warm;
  warm.add(SYS_getpid);
  fn(std::span(warm.calls), std::span(warm.memory));
  const std::size_t before = descriptors();
  const auto flood = [&](std::uint64_t rounds) {
    script what;
    what.add(repeat, {rounds});
    what.add(SYS_open, {what.text("/a"), O_RDONLY, 0});
    return what;
  };
  script many = flood(3000);
  fn(std::span(many.calls), std::span(many.memory));
  CHECK(many[1] == -EMFILE);
  CHECK(descriptors() == before);
  // On the other ways out, too: a limit, a denied call, an exit.
  for (int way = 0; way < 3; ++way) {
    script what = flood(50);
    if (way == 1) what.add(SYS_socket, {2, 1, 0});
    if (way == 2) what.add(SYS_exit_group, {1});
    const auto ended = fn.with({.hypercalls = way == 0 ? 40U : 1000U})
                           .try_call(std::span(what.calls), std::span(what.memory));
    REQUIRE_FALSE(ended.has_value());
    CHECK(descriptors() <= before);
  }
  // A place that was closed can be had again.
  script reuse = flood(200);
  reuse.add(SYS_close, {10});
  reuse.add(SYS_open, {reuse.text("/a"), O_RDONLY, 0});
  fn(std::span(reuse.calls), std::span(reuse.memory));
  CHECK(reuse[3] == 10);
}

TEST_CASE("H68: no limit of bytes is passed, however it is written", "[hostile]") {
  const scratch files;
  std::string text;
  auto fn = granted(policy{posix::output(text, 1000),
                           posix::directory<"/">(files.path(), posix::read_write, 10000)});
  script what;
  const auto memory = what.room(4096);
  what.add(SYS_open, {what.text("/f"), O_RDWR | O_CREAT, 0600});  // Counts as 4096.
  what.add(repeat, {100});
  what.add(SYS_write, {1, memory, 300});
  what.add(repeat, {100});
  what.add(SYS_writev, {2, what.vectors({{memory, 300}, {memory, 300}}), 2});
  what.add(repeat, {100});
  what.add(SYS_pwrite64, {3, memory, 4000, 0});
  what.add(repeat, {100});
  what.add(SYS_write, {3, memory, 4000});
  what.add(SYS_ftruncate, {3, 10001});
  what.add(repeat, {100});
  what.add(SYS_mkdir, {what.text("/new"), 0700});
  what.add(SYS_open, {what.text("/g"), O_RDWR | O_CREAT, 0600});
  for (int round = 0; round < 2; ++round) {
    text.clear();
    script copy = what;
    fn(std::span(copy.calls), std::span(copy.memory));
    CHECK(text.size() == 1000);
    CHECK(std::filesystem::file_size(files.path("f")) <= 10000);
    CHECK_FALSE(files.has("g"));
    CHECK(copy.calls.back().result == -ENOSPC);
    std::filesystem::remove(files.path("f"));
    std::filesystem::remove(files.path("new"));
  }
}

TEST_CASE("H69: only files and directories are opened", "[hostile]") {
  const scratch files;
  files.put("a", "content");
  REQUIRE(::mkfifo(files.path("fifo").c_str(), 0600) == 0);
  auto fn = granted(policy{posix::directory<"/">(files.path(), posix::read_write)});
  script what;
  for (const int flags : {O_RDONLY, O_WRONLY, O_RDWR, O_RDONLY | O_NONBLOCK, O_RDWR | O_CREAT}) {
    what.add(SYS_open, {what.text("/fifo"), flags, 0600});
  }
  expect_all(fn, what, -EACCES);
  script tricks;
  const auto a = tricks.text("/a");
  for (const int flags :
       {O_PATH, 020200000, 020000000, O_ACCMODE, O_DIRECT, O_NOATIME, O_ASYNC, 1 << 30}) {
    tricks.add(SYS_open, {a, flags, 0600});
  }
  expect_all(fn, tricks, -EINVAL);
  script devices;
  auto host = granted(policy{posix::directory<"/">("/", posix::read_only)});
  for (const char* path :
       {"/dev/null", "/dev/zero", "/dev/kvm", "/proc/1/mem", "/proc/1/environ", "/proc/version"}) {
    devices.add(SYS_open, {devices.text(path), O_RDONLY, 0});
  }
  const auto ended = host.try_call(std::span(devices.calls), std::span(devices.memory));
  REQUIRE(ended.has_value());
  for (std::size_t i = 0; i < devices.calls.size(); ++i) CHECK(devices[i] < 0);
}

TEST_CASE("H70: grants do not lend each other their rights", "[hostile]") {
  const scratch one;
  const scratch two;
  one.put("a", "one");
  two.put("b", "two");
  auto fn = granted(policy{posix::directory<"/r">(one.path(), posix::read_only),
                           posix::directory<"/r/w">(two.path(), posix::read_write)});
  script what;
  const auto a = what.text("/r/a");
  const auto b = what.text("/r/w/b");
  what.add(SYS_rename, {b, what.text("/r/b")});
  what.add(SYS_rename, {a, what.text("/r/w/a")});
  what.add(SYS_open, {what.text("/r/w/../a"), O_WRONLY, 0});
  what.add(SYS_unlink, {what.text("/r/w/../a")});
  what.add(SYS_mkdir, {what.text("/r/ww"), 0700});
  expect_all(fn, what, -EROFS);
  script good;
  good.add(SYS_open, {good.text("/r/w/b"), O_WRONLY, 0});
  good.add(SYS_open, {good.text("/r/a"), O_RDONLY, 0});
  good.add(SYS_write, {4, good.text("x"), 1});
  good.add(SYS_read, {3, good.room(1), 1});
  fn(std::span(good.calls), std::span(good.memory));
  CHECK(good[0] == 3);
  CHECK(good[1] == 4);
  CHECK(good[2] == -EBADF);
  CHECK(good[3] == -EBADF);
  CHECK(one.get("a") == "one");
  CHECK(two.get("b") == "two");

  auto both = granted(policy{posix::directory<"/x">(one.path(), posix::read_write),
                             posix::directory<"/y">(two.path(), posix::read_write)});
  script across;
  across.add(SYS_rename, {across.text("/x/a"), across.text("/y/a")});
  expect_all(both, across, -EXDEV);
}

TEST_CASE("H71: a file does not grow by holes beyond what may be written", "[hostile]") {
  const scratch files;
  auto fn = granted(policy{posix::directory<"/">(files.path(), posix::read_write, 10000)});
  script what;
  const auto byte = what.room(1);
  what.add(SYS_open, {what.text("/f"), O_RDWR | O_CREAT, 0600});  // Counts as 4096.
  for (const std::int64_t far : {std::int64_t{5904}, std::int64_t{1} << 40, INT64_MAX}) {
    what.add(SYS_pwrite64, {3, byte, 1, far});
    what.add(SYS_ftruncate, {3, far + (far == 5904)});
  }
  what.add(SYS_lseek, {3, 5904, SEEK_SET});
  what.add(SYS_write, {3, byte, 1});
  what.add(SYS_ftruncate, {3, INT64_MIN});
  const std::size_t first = what.add(SYS_pwrite64, {3, byte, 1, 5000});
  what.add(SYS_ftruncate, {3, 5905});
  what.add(SYS_ftruncate, {3, 5904});
  what.add(SYS_pwrite64, {3, byte, 1, 0});
  what.add(SYS_ftruncate, {3, 0});
  fn(std::span(what.calls), std::span(what.memory));
  for (std::size_t i = 1; i < first - 3; i += 2) {
    CHECK(what[i] == -ENOSPC);
    CHECK(what[i + 1] == -EFBIG);
  }
  CHECK(what[first - 3] == 5904);
  CHECK(what[first - 2] == -ENOSPC);
  CHECK(what[first - 1] == -EINVAL);
  CHECK(what[first] == 1);
  CHECK(what[first + 1] == -EFBIG);
  CHECK(what[first + 2] == 0);
  CHECK(what[first + 3] == -ENOSPC);
  CHECK(what[first + 4] == 0);
}
