// What guests do with the system calls that a policy grants.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include <guests/calls.hpp>
#include <virtine/posix.hpp>
#include <virtine/virtine.hpp>

#include "told_calls.hpp"

using namespace virtine;
using namespace virtine::detail;
using namespace std::chrono_literals;
using told::descriptors;
using told::scratch;
using told::script;

namespace {

using image = guests::calls;
using sig = void(std::span<told_call>, std::span<std::byte>);

template <class Policy>
auto granted(Policy allowed) {
  return virtine_fn<sig, image::make_calls, Policy>(std::move(allowed));
}

template <class Fn>
void run(Fn& fn, script& what) {
  fn(std::span(what.calls), std::span(what.memory));
}
template <class Fn>
error fails(Fn& fn, script& what) {
  const auto ended = fn.try_call(std::span(what.calls), std::span(what.memory));
  REQUIRE_FALSE(ended.has_value());
  return ended.error();
}

}  // namespace

TEST_CASE("a system call changes no register but the one of the answer", "[posix]") {
  policy allowed{posix::others_fail_with_enosys()};
  virtine_fn<bool(), image::keeps_registers, decltype(allowed)> keeps{allowed};
  for (int i = 0; i < 3; ++i) CHECK(keeps());
}

TEST_CASE("what nothing grants ends the call, by its name, or fails", "[posix]") {
  script what;
  what.add(SYS_socket, {2, 1, 0});
  virtine_fn<sig, image::make_calls> none;
  const error denied = fails(none, what);
  CHECK(denied.code == errc::system_call_denied);
  CHECK(denied.detail == SYS_socket);
  CHECK(to_string(denied) ==
        "system_call_denied: the guest made system call socket (number 41), which the policy "
        "does not grant; no grant is about it, but posix::others_fail_with_enosys() lets it fail");

  auto strict = granted(policy{posix::clock()});
  CHECK(fails(strict, what).detail == SYS_socket);
  auto lenient = granted(policy{posix::clock(), posix::others_fail_with_enosys()});
  run(lenient, what);
  CHECK(what[0] == -ENOSYS);

  // A grant is about its own calls only.
  for (const std::uint64_t number :
       std::initializer_list<std::uint64_t>{SYS_openat, SYS_read, SYS_getrandom, SYS_write}) {
    script one;
    one.add(number, {1, 0, 0});
    CHECK(fails(strict, one).detail == number);
  }
  script exits;
  exits.add(SYS_exit_group, {0x307});
  const error exited = fails(none, exits);
  CHECK(exited.code == errc::exited);
  CHECK(exited.detail == 7);
  CHECK(fails(lenient, exits).code == errc::exited);
}

TEST_CASE("what is not about the host is told to every guest that has a grant", "[posix]") {
  auto fn = granted(policy{posix::clock()});
  script what;
  what.add(SYS_getpid);
  what.add(SYS_getppid);
  what.add(SYS_getuid);
  what.add(SYS_gettid);
  const auto where = what.room(64);
  what.add(SYS_getcwd, {where, 64});
  const auto tight = what.room(64);
  what.add(SYS_getcwd, {tight, 1});
  const auto names = what.room(6 * 65);
  what.add(SYS_uname, {names});
  run(fn, what);
  CHECK(what[0] == 1);
  CHECK(what[1] == 0);
  CHECK(what[2] == 0);
  CHECK(what[3] == 1);
  CHECK(what[4] == 2);
  CHECK(what.at(where, 3) == std::string("/\0\x5a", 3));
  CHECK(what[5] == -ERANGE);
  CHECK(what[6] == 0);
  CHECK(what.at(names, 6) == std::string("Linux\0", 6));
  CHECK(what.at(names, 65).find('\x5a') == std::string::npos);
}

TEST_CASE("standard output is taken, up to its limit in each call", "[posix]") {
  std::string text;
  auto fn = granted(policy{posix::output(text, 16)});
  script what;
  const auto hello = what.text("hello, ");
  const auto world = what.text("world");
  what.add(SYS_write, {1, hello, 7});
  what.add(SYS_write, {2, world, 5});
  what.add(SYS_write, {1, hello, 0});
  what.add(SYS_writev, {1, what.vectors({{hello, 3}, {world, 0}, {world, 3}}), 3});
  what.add(SYS_write, {1, hello, 7});
  what.add(SYS_read, {1, hello, 7});
  what.add(SYS_lseek, {1, 0, 0});
  what.add(SYS_pwrite64, {1, hello, 7, 0});
  const auto status = what.room(144);
  what.add(SYS_fstat, {1, status});
  const auto window = what.room(64);
  what.add(SYS_ioctl, {1, 0x5413, window});
  what.add(SYS_fcntl, {1, F_GETFL, 0});
  what.add(SYS_close, {2});
  what.add(SYS_write, {2, hello, 7});
  std::vector<std::int64_t> results;
  for (int round = 0; round < 2; ++round) {
    text.clear();
    script copy = what;
    run(fn, copy);
    CHECK(text == "hello, worldhelw");
    results.clear();
    for (const told_call& each : copy.calls) {
      if (each.number < 1000) results.push_back(each.result);
    }
    CHECK(results == std::vector<std::int64_t>{7, 5, 0, 4, -ENOSPC, -EBADF, -ESPIPE, -ESPIPE, 0,
                                               -ENOTTY, O_WRONLY, 0, -EBADF});
    CHECK(copy.value<std::uint32_t>(status, 24) == (S_IFIFO | 0600));
  }
  const policy_usage usage = fn.policy_usage();
  REQUIRE(usage.grants.size() == 1);
  CHECK(usage.grants[0].used == 24);
  CHECK(usage.grants[0].refused == 4);
  CHECK(usage.denied.empty());
}

TEST_CASE("what a sink throws reaches the caller, and nothing stays open", "[posix]") {
  const scratch files;
  files.put("a", "1");
  bool throws = true;
  auto fn = granted(policy{posix::output(
                               [&](std::string_view) {
                                 if (throws) throw std::runtime_error("the sink's own");
                               },
                               100),
                           posix::directory<"/d">(files.path(), posix::read_only)});
  script what;
  what.add(SYS_open, {what.text("/d/a"), O_RDONLY, 0});
  what.add(SYS_write, {1, what.text("x"), 1});
  throws = false;
  run(fn, what);
  const std::size_t before = descriptors();
  throws = true;
  for (int i = 0; i < 3; ++i) CHECK_THROWS_WITH(run(fn, what), "the sink's own");
  throws = false;
  run(fn, what);
  CHECK(what[0] == 3);
  CHECK(what[1] == 1);
  CHECK(descriptors() == before);
}

TEST_CASE("files below a directory can be read, and looked at", "[posix]") {
  const scratch files;
  std::filesystem::create_directories(files.path("sub/deep"));
  files.put("a.txt", "0123456789");
  files.put("sub/b", "bee");
  std::filesystem::create_symlink("a.txt", files.path("link"));
  auto fn = granted(policy{posix::directory<"/data">(files.path(), posix::read_only)});

  script what;
  const auto name = what.text("/data/a.txt");
  const auto to = what.room(16);
  const auto more = what.room(16);
  const auto status = what.room(144);
  what.add(SYS_open, {name, O_RDONLY | O_CLOEXEC, 0});               // 3
  what.add(SYS_read, {3, to, 4});                                    // 0123
  what.add(SYS_pread64, {3, more, 3, 7});                            // 789
  what.add(SYS_lseek, {3, 6, SEEK_SET});                             // 6
  what.add(SYS_readv, {3, what.vectors({{to, 1}, {more, 10}}), 2});  // 6, 789
  what.add(SYS_read, {3, to, 4});                                    // end
  what.add(SYS_fstat, {3, status});
  what.add(SYS_fcntl, {3, F_GETFD, 0});  // 1
  what.add(SYS_fcntl, {3, F_SETFD, 0});
  what.add(SYS_fcntl, {3, F_GETFD, 0});                                           // 0
  what.add(SYS_lseek, {3, -1, SEEK_SET});                                         // EINVAL
  what.add(SYS_lseek, {3, 0, 4});                                                 // EINVAL
  what.add(SYS_write, {3, to, 1});                                                // EBADF
  what.add(SYS_open, {what.text("/data/sub"), O_RDONLY | O_DIRECTORY, 0});        // 4
  what.add(SYS_openat, {4, what.text("b"), O_RDONLY, 0});                         // 5
  what.add(SYS_read, {5, more, 16});                                              // bee
  what.add(SYS_openat, {4, what.text("../a.txt"), O_RDONLY, 0});                  // 6
  what.add(SYS_openat, {4, what.text("deep/../../../data/./sub//b"), O_RDONLY});  // 7
  what.add(SYS_openat, {AT_FDCWD, what.text("data/a.txt"), O_RDONLY});            // 8
  what.add(SYS_openat, {5, what.text("b"), O_RDONLY, 0});                         // ENOTDIR
  what.add(SYS_read, {4, more, 16});                                              // EISDIR
  what.add(SYS_stat, {what.text("/data"), what.room(144)});                       // 0
  what.add(SYS_stat, {what.text("/data/link"), what.room(144)});                  // ELOOP
  const auto link = what.room(144);
  what.add(SYS_lstat, {what.text("/data/link"), link});                         // 0
  what.add(SYS_newfstatat, {4, what.text("b"), what.room(144), 0});             // 0
  what.add(SYS_newfstatat, {3, what.text(""), what.room(144), AT_EMPTY_PATH});  // 0
  what.add(SYS_access, {name, R_OK});                                           // 0
  what.add(SYS_access, {name, W_OK});                                           // EROFS
  what.add(SYS_faccessat, {4, what.text("none"), F_OK});                        // ENOENT
  what.add(SYS_open, {what.text("/data/none"), O_RDONLY});                      // ENOENT
  what.add(SYS_open, {what.text("/other/a.txt"), O_RDONLY});                    // ENOENT
  what.add(SYS_open, {what.text("/database"), O_RDONLY});                       // ENOENT
  what.add(SYS_open, {what.text(""), O_RDONLY});                                // ENOENT
  what.add(SYS_open, {what.text("/data/link"), O_RDONLY});                      // ELOOP
  what.add(SYS_close, {3});
  what.add(SYS_close, {3});                 // EBADF
  what.add(SYS_open, {name, O_RDONLY, 0});  // 3
  const std::size_t before = descriptors();
  run(fn, what);
  std::vector<std::int64_t> results;
  for (const told_call& each : what.calls) {
    if (each.number < 1000) results.push_back(each.result);
  }
  CHECK(results == std::vector<std::int64_t>{
                       3,       4,       3,       6,      4, 0,      0, 1,      0,       0,
                       -EINVAL, -EINVAL, -EBADF,  4,      5, 3,      6, 7,      8,       -ENOTDIR,
                       -EISDIR, 0,       -ELOOP,  0,      0, 0,      0, -EROFS, -ENOENT, -ENOENT,
                       -ENOENT, -ENOENT, -ENOENT, -ELOOP, 0, -EBADF, 3});
  CHECK(what.at(to, 5) == "6123\x5a");
  CHECK(what.at(more, 4) == "bee\x5a");
  struct ::stat real {};
  REQUIRE(::stat(files.path("a.txt").c_str(), &real) == 0);
  CHECK(what.value<std::uint64_t>(status, 0) == 1);
  CHECK(what.value<std::uint64_t>(status, 8) == real.st_ino);
  CHECK(what.value<std::uint32_t>(status, 24) == real.st_mode);
  CHECK(what.value<std::uint64_t>(status, 28) == 0);
  CHECK(what.value<std::uint64_t>(status, 48) == 10);
  CHECK(what.value<std::int64_t>(status, 88) == real.st_mtim.tv_sec);
  CHECK(what.at(status, 144).substr(120) == std::string(24, '\0'));
  CHECK(S_ISLNK(what.value<std::uint32_t>(link, 24)));
  // The machine may have been made meanwhile; another call changes nothing.
  const std::size_t after = descriptors();
  script again;
  again.add(SYS_open, {again.text("/data/a.txt"), O_RDONLY, 0});
  run(fn, again);
  CHECK(again[0] == 3);
  CHECK(descriptors() == after);
  CHECK(after >= before);
}

TEST_CASE("what is no link is told to be none, and a link says nothing", "[posix]") {
  const scratch files;
  files.put("a", "");
  std::filesystem::create_directory(files.path("sub"));
  std::filesystem::create_symlink("/etc/passwd", files.path("sub/link"));
  auto fn = granted(policy{posix::directory<"/data/deep">(files.path(), posix::read_write)});
  script what;
  const auto to = what.room(64);
  const auto add = [&](const char* path) { what.add(SYS_readlink, {what.text(path), to, 64}); };
  add("/data/deep/a");          // EINVAL
  add("/data/deep/sub");        // EINVAL
  add("/data/deep");            // EINVAL
  add("/data");                 // EINVAL, as it is a directory to the guest
  add("/");                     // EINVAL
  add("/dat");                  // ENOENT
  add("/data/other");           // ENOENT
  add("");                      // ENOENT
  add("/data/deep/none");       // ENOENT
  add("/data/deep/a/");         // ENOTDIR
  add("/data/deep/sub/link");   // EACCES
  add("/data/deep/sub/link/");  // ELOOP
  what.add(SYS_open, {what.text("/data/deep/sub"), O_RDONLY | O_DIRECTORY, 0});  // 3
  what.add(SYS_readlinkat, {3, what.text("link"), to, 64});                      // EACCES
  what.add(SYS_readlinkat, {3, what.text("../a"), to, 64});                      // EINVAL
  what.add(SYS_readlinkat, {4, what.text("../a"), to, 64});                      // EBADF
  what.add(SYS_readlinkat, {AT_FDCWD, what.text("data/deep/a"), to, 64});        // EINVAL
  what.add(SYS_readlink, {std::uint64_t{1} << 40, to, 64});                      // EFAULT
  run(fn, what);
  std::vector<std::int64_t> results;
  for (const told_call& each : what.calls) results.push_back(each.result);
  CHECK(results == std::vector<std::int64_t>{-EINVAL, -EINVAL, -EINVAL, -EINVAL, -EINVAL, -ENOENT,
                                             -ENOENT, -ENOENT, -ENOENT, -ENOTDIR, -EACCES, -ELOOP,
                                             3, -EACCES, -EINVAL, -EBADF, -EINVAL, -EFAULT});
  CHECK(what.at(to, 64) == std::string(64, '\x5a'));
}

TEST_CASE("a directory is listed, in pieces of any size", "[posix]") {
  const scratch files;
  for (int i = 0; i < 40; ++i) files.put("file-" + std::to_string(i), "");
  std::filesystem::create_directory(files.path("folder"));
  auto fn = granted(policy{posix::directory<"/">(files.path(), posix::read_only)});
  script what;
  what.add(SYS_open, {what.text("/"), O_RDONLY | O_DIRECTORY, 0});
  std::vector<std::pair<told::argument, std::size_t>> buffers;
  for (int i = 0; i < 50; ++i) {
    const auto to = what.room(128);
    buffers.emplace_back(to, what.add(SYS_getdents64, {3, to, 128}));
  }
  const std::size_t tiny = what.add(SYS_lseek, {3, 0, SEEK_SET}) + 1;
  what.add(SYS_getdents64, {3, what.room(16), 16});
  what.add(SYS_getdents64, {3, what.room(16), 0});
  run(fn, what);
  std::map<std::string, unsigned> seen;
  for (const auto& [to, call] : buffers) {
    REQUIRE(what[call] >= 0);
    for (std::size_t at = 0; at < static_cast<std::size_t>(what[call]);) {
      const auto size = what.value<std::uint16_t>(to, at + 16);
      const std::string entry = what.at(to, 128).substr(at, size);
      const std::string name = entry.c_str() + 19;
      CHECK(seen.emplace(name, static_cast<unsigned char>(entry[18])).second);
      CHECK(entry.substr(19 + name.size()).find_first_not_of('\0') == std::string::npos);
      if (name == "..") CHECK(what.value<std::uint64_t>(to, at) == 1);
      at += size;
    }
  }
  CHECK(what[buffers.back().second] == 0);
  CHECK(seen.size() == 43);
  CHECK(seen["folder"] == 4);
  CHECK(seen["file-39"] == 8);
  CHECK(what[tiny] == -EINVAL);
  CHECK(what[tiny + 1] == -EINVAL);
}

TEST_CASE("files can be made, changed, renamed and removed where that is granted", "[posix]") {
  const scratch files;
  files.put("old", "old content");
  auto fn = granted(policy{posix::directory<"/w">(files.path(), posix::read_write, 1 << 20)});
  script what;
  const auto made = what.text("/w/made");
  const auto moved = what.text("/w/dir/moved");
  const auto text = what.text("abcdef");
  what.add(SYS_open, {made, O_RDWR | O_CREAT | O_EXCL, 0640});    // 3
  what.add(SYS_write, {3, text, 6});                              // 6
  what.add(SYS_pwrite64, {3, text, 2, 4});                        // 2
  what.add(SYS_open, {made, O_RDWR | O_CREAT | O_EXCL, 0640});    // EEXIST
  what.add(SYS_ftruncate, {3, 5});                                // 0
  what.add(SYS_mkdir, {what.text("/w/dir"), 0700});               // 0
  what.add(SYS_mkdir, {what.text("/w/dir/"), 0700});              // EEXIST
  what.add(SYS_rename, {made, moved});                            // 0
  what.add(SYS_write, {3, text, 1});                              // 1
  what.add(SYS_open, {what.text("/w/old"), O_WRONLY | O_TRUNC});  // 4
  what.add(SYS_open, {moved, O_WRONLY | O_APPEND});               // 5
  what.add(SYS_write, {5, text, 3});                              // 3
  what.add(SYS_fcntl, {5, F_GETFL, 0});
  what.add(SYS_unlink, {what.text("/w/dir")});                    // EISDIR
  what.add(SYS_rmdir, {what.text("/w/dir")});                     // ENOTEMPTY
  what.add(SYS_mkdirat, {AT_FDCWD, what.text("w/empty"), 0777});  // 0
  what.add(SYS_unlinkat, {AT_FDCWD, what.text("/w/empty"), AT_REMOVEDIR});
  what.add(SYS_open, {what.text("/w/gone"), O_WRONLY | O_CREAT, 0600});  // 6
  what.add(SYS_unlink, {what.text("/w/gone")});                          // 0
  what.add(SYS_open, {what.text("/w/dir"), O_RDONLY});                   // 7
  what.add(SYS_renameat, {7, what.text("moved"), AT_FDCWD, what.text("/w/last")});
  run(fn, what);
  std::vector<std::int64_t> results;
  for (const told_call& each : what.calls) results.push_back(each.result);
  CHECK(results ==
        std::vector<std::int64_t>{
            3,       6,          2, -EEXIST, 0, 0, -EEXIST, 0, 1, 4, 5, 3, O_WRONLY | O_APPEND,
            -EISDIR, -ENOTEMPTY, 0, 0,       6, 0, 7,       0});
  // After pwrite the position is still 6, so that a hole follows the fifth byte.
  CHECK(files.get("last") == std::string("abcda\0aabc", 10));
  CHECK(files.get("old").empty());
  CHECK(files.has("dir"));
  CHECK_FALSE(files.has("made"));
  CHECK_FALSE(files.has("empty"));
  CHECK_FALSE(files.has("gone"));
}

TEST_CASE("what a slash or a dot follows is a directory", "[posix]") {
  const scratch files;
  files.put("file", "");
  std::filesystem::create_directory(files.path("folder"));
  auto fn = granted(policy{posix::directory<"/w">(files.path(), posix::read_write)});
  script what;
  const auto status = what.room(144);
  for (const char* path : {"/w/folder/", "/w/folder/.", "/w/./folder//", "/w/folder/../folder/"}) {
    what.add(SYS_stat, {what.text(path), status});
    what.add(SYS_access, {what.text(path), F_OK});
  }
  const std::size_t good = what.calls.size();
  for (const char* path : {"/w/file/", "/w/file/.", "/w/./file//", "/w/folder/../file/"}) {
    what.add(SYS_stat, {what.text(path), status});
    what.add(SYS_access, {what.text(path), F_OK});
    what.add(SYS_open, {what.text(path), O_RDONLY, 0});
  }
  const std::size_t none = what.calls.size();
  what.add(SYS_unlink, {what.text("/w/file/")});                         // ENOTDIR
  what.add(SYS_rename, {what.text("/w/file/"), what.text("/w/other")});  // ENOTDIR
  what.add(SYS_open, {what.text("/w/new/"), O_RDWR | O_CREAT, 0600});    // EISDIR
  what.add(SYS_open, {what.text("/w/new/."), O_RDWR | O_CREAT, 0600});   // ENOENT
  what.add(SYS_open, {what.text("/w/new"), O_RDONLY | O_CREAT | O_DIRECTORY, 0600});
  what.add(SYS_rmdir, {what.text("/w/folder/.")});                          // EINVAL
  what.add(SYS_unlink, {what.text("/w/folder/..")});                        // EISDIR
  what.add(SYS_mkdir, {what.text("/w/.."), 0700});                          // EEXIST
  what.add(SYS_rename, {what.text("/w/folder/."), what.text("/w/other")});  // EBUSY
  what.add(SYS_mkdir, {what.text("/w/made/"), 0700});
  what.add(SYS_rename, {what.text("/w/made/"), what.text("/w/moved/")});
  what.add(SYS_rmdir, {what.text("/w/moved/")});
  run(fn, what);
  for (std::size_t i = 0; i < good; ++i) CHECK(what[i] == 0);
  for (std::size_t i = good; i < none; ++i) CHECK(what[i] == -ENOTDIR);
  std::vector<std::int64_t> rest;
  for (std::size_t i = none; i < what.calls.size(); ++i) rest.push_back(what[i]);
  CHECK(rest == std::vector<std::int64_t>{-ENOTDIR, -ENOTDIR, -EISDIR, -ENOENT, -EINVAL, -EINVAL,
                                          -EISDIR, -ENOENT, -EBUSY, 0, 0, 0});
  CHECK(files.has("file"));
  CHECK(files.has("folder"));
  CHECK_FALSE(files.has("new"));
}

TEST_CASE("a grant to read is none to write", "[posix]") {
  const scratch files;
  files.put("a", "content");
  auto fn = granted(policy{posix::directory<"/r">(files.path(), posix::read_only)});
  script what;
  const auto a = what.text("/r/a");
  const auto b = what.text("/r/b");
  for (const int flags : {O_WRONLY, O_RDWR, O_RDONLY | O_TRUNC, O_RDONLY | O_CREAT}) {
    what.add(SYS_open, {a, flags, 0600});
  }
  what.add(SYS_open, {b, O_WRONLY | O_CREAT, 0600});
  what.add(SYS_unlink, {a});
  what.add(SYS_mkdir, {b, 0700});
  what.add(SYS_rename, {a, b});
  what.add(SYS_rmdir, {what.text("/r")});
  run(fn, what);
  for (std::size_t i = 0; i < what.calls.size(); ++i) CHECK(what[i] == -EROFS);
  CHECK(files.get("a") == "content");
  CHECK_FALSE(files.has("b"));
  CHECK(fn.policy_usage().grants[0].refused == what.calls.size());
}

TEST_CASE("a given descriptor that is none is an error, and no wait", "[posix]") {
  CHECK_THROWS_AS(posix::descriptor<3>(-1, posix::read_only), failure);
  const auto refused = posix::try_descriptor<3>(-1, posix::read_only);
  REQUIRE_FALSE(refused.has_value());
  CHECK(to_string(refused.error()) ==
        "os_error: a descriptor that a policy grants cannot be used: Bad file descriptor");
  // It is closed after it was granted, and its number is one that nothing else gets.
  const os::fd low(::open("/dev/null", O_RDWR | O_CLOEXEC));
  os::fd closed(::fcntl(low.get(), F_DUPFD_CLOEXEC, 500));
  auto fn = granted(policy{posix::descriptor<3>(closed.get(), posix::read_write)});
  closed = {};
  script what;
  const auto memory = what.room(8);
  what.add(SYS_read, {3, memory, 8});
  what.add(SYS_write, {3, memory, 8});
  run(fn, what);
  CHECK(what[0] == -EBADF);
  CHECK(what[1] == -EBADF);
}

TEST_CASE("given descriptors are read and written as far as they were given", "[posix]") {
  std::array<int, 2> pipe{};
  REQUIRE(::pipe2(pipe.data(), O_CLOEXEC) == 0);
  const os::fd out(pipe[0]);
  const os::fd in(pipe[1]);
  auto writes = granted(policy{posix::descriptor<5>(in.get(), posix::write_only)});
  script sends;
  const auto text = sends.text("through");
  sends.add(SYS_write, {5, text, 7});
  sends.add(SYS_read, {5, text, 7});
  sends.add(SYS_write, {4, text, 7});
  sends.add(SYS_lseek, {5, 0, 0});
  const auto status = sends.room(144);
  sends.add(SYS_fstat, {5, status});
  sends.add(SYS_getdents64, {5, text, 7});
  sends.add(SYS_close, {5});
  sends.add(SYS_write, {5, text, 7});
  for (int round = 0; round < 2; ++round) {
    run(writes, sends);
    CHECK(sends[0] == 7);
    CHECK(sends[1] == -EBADF);
    CHECK(sends[2] == -EBADF);
    CHECK(sends[3] == -ESPIPE);
    CHECK(sends[4] == 0);
    CHECK(S_ISFIFO(sends.value<std::uint32_t>(status, 24)));
    CHECK(sends.value<std::uint64_t>(status, 8) == 0);
    CHECK(sends[5] == -ENOTDIR);
    CHECK(sends[6] == 0);
    CHECK(sends[7] == -EBADF);
  }
  auto reads = granted(policy{posix::descriptor<0>(out.get(), posix::read_only)});
  script gets;
  const auto to = gets.room(16);
  gets.add(SYS_read, {0, to, 16});
  gets.add(SYS_write, {0, to, 16});
  run(reads, gets);
  CHECK(gets[0] == 14);
  CHECK(gets[1] == -EBADF);
  CHECK(gets.at(to, 16) == "throughthrough\x5a\x5a");

  // It comes later.
  ::ssize_t written = 0;
  std::jthread later([&] {
    std::this_thread::sleep_for(30ms);
    written = ::write(in.get(), "late", 4);
  });
  run(reads, gets);
  later.join();
  CHECK(written == 4);
  CHECK(gets[0] == 4);

  // It never comes.
  script waits;
  waits.add(SYS_read, {0, waits.room(16), 16});
  auto limited = reads.with({.timeout = 40ms});
  const auto ended = limited.try_call(std::span(waits.calls), std::span(waits.memory));
  REQUIRE_FALSE(ended.has_value());
  CHECK(ended.error().code == errc::timed_out);
}

TEST_CASE("a message that is given in pieces is sent as one, and taken as one", "[posix]") {
  std::array<int, 2> pair{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair.data()) == 0);
  const os::fd ours(pair[0]);
  const os::fd theirs(pair[1]);
  auto fn = granted(policy{posix::descriptor<3>(theirs.get(), posix::read_write)});
  script what;
  const auto long_one = what.bytes(std::string(20000, 'm'));
  const auto head = what.text("head");
  what.add(SYS_writev, {3, what.vectors({{head, 4}, {head, 0}, {long_one, 20000}}), 3});
  const auto first = what.room(4);
  const auto rest = what.room(16);
  const std::size_t reads = what.calls.size() + 2;
  what.add(SYS_readv, {3, what.vectors({{first, 4}, {rest, 16}}), 2});
  REQUIRE(::send(ours.get(), "long message", 12, 0) == 12);
  run(fn, what);
  CHECK(what[3] == 20004);
  CHECK(what.at(first, 4) == "long");
  CHECK(what.at(rest, 9) == std::string(" message\x5a"));
  CHECK(what[reads] == 12);
  std::string got(30000, '.');
  CHECK(::recv(ours.get(), got.data(), got.size(), 0) == 20004);
  CHECK(got.substr(0, 20004) == "head" + std::string(20000, 'm'));
}

TEST_CASE("a terminal can be given, and stops no host in the background", "[posix]") {
  const os::fd master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  REQUIRE(master);
  REQUIRE(::grantpt(master.get()) == 0);
  REQUIRE(::unlockpt(master.get()) == 0);
  std::array<char, 64> name{};
  REQUIRE(::ptsname_r(master.get(), name.data(), name.size()) == 0);
  const os::fd terminal(::open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC));
  REQUIRE(terminal);
  auto fn = granted(policy{posix::descriptor<0>(terminal.get(), posix::read_only),
                           posix::descriptor<1>(terminal.get(), posix::write_only)});
  script what;
  const auto to = what.room(16);
  what.add(SYS_read, {0, to, 16});
  what.add(SYS_write, {1, what.text("hello"), 5});
  REQUIRE(::write(master.get(), "line\n", 5) == 5);
  run(fn, what);
  CHECK(what[0] == 5);
  CHECK(what.at(to, 5) == "line\n");
  CHECK(what[1] == 5);

  const pid_t child = ::fork();
  if (child == 0) {
    // A session whose terminal it is, with another group of processes in front.
    ::setsid();
    const int own = ::open(name.data(), O_RDWR);
    const pid_t front = ::fork();
    if (front == 0) {
      ::setpgid(0, 0);
      for (;;) ::pause();
    }
    ::setpgid(front, front);
    const bool there = ::tcsetpgrp(own, front) == 0;
    const pid_t behind = ::fork();
    if (behind == 0) {
      ::setpgid(0, 0);
      char byte = 0;
      iovec one{.iov_base = &byte, .iov_len = 1};
      ::_exit(posix::detail::move_now(own, std::span(&one, 1), {}, false) == -EIO ? 0 : 1);
    }
    int status = 0;
    ::waitpid(behind, &status, WUNTRACED);
    ::kill(behind, SIGKILL);
    ::kill(front, SIGKILL);
    ::_exit(there && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("what the host may do with a given descriptor, its guest may not", "[posix]") {
  const scratch files;
  files.put("a", "content");
  const os::fd file(::open(files.path("a").c_str(), O_RDWR | O_CLOEXEC));
  REQUIRE(file);
  auto fn = granted(policy{posix::descriptor<3>(file.get(), posix::read_only),
                           posix::descriptor<4>(file.get(), posix::write_only)});
  script what;
  const auto text = what.text("x");
  what.add(SYS_write, {3, text, 1});
  what.add(SYS_pwrite64, {3, text, 1, 0});
  what.add(SYS_writev, {3, what.vectors({{text, 1}}), 1});
  what.add(SYS_read, {4, text, 1});
  what.add(SYS_pread64, {4, text, 1, 0});
  what.add(SYS_ftruncate, {3, 0});
  what.add(SYS_ftruncate, {4, 0});
  run(fn, what);
  for (std::size_t i = 0; i < what.calls.size(); ++i) {
    if (what.calls[i].number < repeat) CHECK(what[i] < 0);
  }
  CHECK(files.get("a") == "content");
  CHECK(what.at(text, 1) == "x");
}

TEST_CASE("a guest that writes where nobody reads does not end its host", "[posix]") {
  std::array<int, 2> pipe{};
  REQUIRE(::pipe2(pipe.data(), O_CLOEXEC) == 0);
  const os::fd in(pipe[1]);
  { const os::fd out(pipe[0]); }
  auto fn = granted(policy{posix::descriptor<1>(in.get(), posix::write_only)});
  script what;
  what.add(SYS_write, {1, what.text("x"), 1});
  run(fn, what);
  CHECK(what[0] == -EPIPE);
  sigset_t pending;
  REQUIRE(::sigpending(&pending) == 0);
  CHECK(sigismember(&pending, SIGPIPE) == 0);
}

TEST_CASE("clocks tell the host's time, and a sleep ends with the call", "[posix]") {
  auto fn = granted(policy{posix::clock()});
  script what;
  const auto real = what.room(16);
  const auto zero = what.bytes(std::string(16, '\0'));
  what.add(SYS_clock_gettime, {CLOCK_REALTIME, real});
  const auto day = what.room(16);
  what.add(SYS_gettimeofday, {day, 0});
  const auto seconds = what.room(8);
  what.add(SYS_time, {seconds});
  what.add(SYS_time, {0});
  what.add(SYS_clock_gettime, {CLOCK_MONOTONIC, what.room(16)});
  what.add(SYS_clock_gettime, {CLOCK_PROCESS_CPUTIME_ID, what.room(16)});
  what.add(SYS_clock_gettime, {77, what.room(16)});
  const auto resolution = what.room(16);
  what.add(SYS_clock_getres, {CLOCK_REALTIME, resolution});
  what.add(SYS_nanosleep, {zero, 0});
  what.add(SYS_clock_nanosleep, {CLOCK_MONOTONIC, TIMER_ABSTIME, zero, 0});
  const auto bad = what.bytes(std::string(16, '\xff'));
  what.add(SYS_nanosleep, {bad, 0});
  const auto before = std::time(nullptr);
  run(fn, what);
  const auto after = std::time(nullptr);
  for (const std::size_t good : {0U, 1U, 4U, 5U, 7U, 8U, 9U}) CHECK(what[good] == 0);
  CHECK(what[6] == -EINVAL);
  CHECK(what[10] == -EINVAL);
  for (const std::int64_t told : {what.value<std::int64_t>(real), what.value<std::int64_t>(day),
                                  what.value<std::int64_t>(seconds), what[2], what[3]}) {
    CHECK(told >= before - 1);
    CHECK(told <= after);
  }
  CHECK(what.value<std::int64_t>(day, 8) < 1'000'000);
  CHECK(what.value<std::int64_t>(resolution, 8) == 1);

  script sleeps;
  const auto year = sleeps.bytes(std::string("\x80\x33\xe1\x01\0\0\0\0\0\0\0\0\0\0\0\0", 16));
  sleeps.add(SYS_nanosleep, {year, 0});
  const auto ended =
      fn.with({.timeout = 40ms}).try_call(std::span(sleeps.calls), std::span(sleeps.memory));
  REQUIRE_FALSE(ended.has_value());
  CHECK(ended.error().code == errc::timed_out);
  std::stop_source stop;
  std::jthread later([&] {
    std::this_thread::sleep_for(30ms);
    stop.request_stop();
  });
  const auto cancelled = fn.with({.stop = stop.get_token()})
                             .try_call(std::span(sleeps.calls), std::span(sleeps.memory));
  REQUIRE_FALSE(cancelled.has_value());
  CHECK(cancelled.error().code == errc::cancelled);
}

TEST_CASE("random bytes are given in full, up to what Linux gives without fail", "[posix]") {
  auto fn = granted(policy{allow_entropy()});
  script what;
  const auto first = what.room(64);
  const auto second = what.room(512);
  what.add(SYS_getrandom, {first, 64, 0});
  what.add(SYS_getrandom, {second, 512, 0});
  what.add(SYS_getrandom, {second, 0, 0});
  what.add(SYS_getrandom, {second, 64, 8});
  run(fn, what);
  CHECK(what[0] == 64);
  CHECK(what[1] == 256);
  CHECK(what[2] == 0);
  CHECK(what[3] == -EINVAL);
  CHECK(what.at(first, 64) != what.at(second, 64));
  CHECK(what.at(first, 64) != std::string(64, '\x5a'));
  CHECK(what.at(second, 512).substr(256) == std::string(256, '\x5a'));
}

TEST_CASE("arguments and environment are what is granted, else empty", "[posix]") {
  using strings = std::uint64_t(bool, std::span<std::byte>);
  const auto ask = [](auto allowed, bool environment, std::size_t room) {
    virtine_fn<strings, image::ask_for_strings, decltype(allowed)> fn{allowed};
    std::vector<std::byte> to(room, std::byte{'.'});
    const std::uint64_t needed = fn(environment, to);
    return std::pair(needed, std::string(reinterpret_cast<const char*>(to.data()), to.size()));
  };
  policy allowed{posix::arguments({"prog", "-v", ""}), posix::environment({"HOME=/", "A=b=c"})};
  CHECK(ask(allowed, false, 12) == std::pair(std::uint64_t{9}, std::string("prog\0-v\0\0...", 12)));
  CHECK(ask(allowed, true, 13) == std::pair(std::uint64_t{13}, std::string("HOME=/\0A=b=c\0", 13)));
  CHECK(ask(allowed, true, 12) == std::pair(std::uint64_t{13}, std::string("HOME=/\0.....", 12)));
  CHECK(ask(allowed, true, 0).first == 13);
  CHECK(ask(deny_all{}, true, 4) == std::pair(std::uint64_t{0}, std::string("....")));
  CHECK(ask(policy{posix::clock()}, false, 4).first == 0);
}

TEST_CASE("policies are made of policies, describe themselves and count", "[posix]") {
  std::string text;
  policy inner{posix::minimal(text, 100)};
  policy outer{inner, allow_entropy()};
  CHECK(to_string(outer) ==
        "standard output and error: taken, at most 100 bytes a call\n"
        "clock: the host's time, and sleeping\n"
        "everything else: fails with ENOSYS\n"
        "entropy: random bytes of the kernel's\n");
  CHECK(to_string(deny_all{}) == "everything else: ends the call\n");
  const scratch odd;
  std::filesystem::create_directory(odd.path("a\nclock: all"));
  const policy forged{posix::directory<"/">(odd.path("a\nclock: all"), posix::read_only),
                      posix::environment({"A\nclock=1"})};
  CHECK(to_string(forged) == "directory /: " + odd.path("a?clock: all").string() +
                                 ", read only\nenvironment: A?clock\n"
                                 "everything else: ends the call\n");
  auto fn = granted(outer);
  script what;
  what.add(SYS_write, {1, what.text("text"), 4});
  what.add(SYS_getrandom, {what.room(8), 8, 0});
  what.add(SYS_getrandom, {what.room(8), 8, 0});
  what.add(SYS_socket);
  what.add(SYS_socket);
  what.add(999);
  run(fn, what);
  CHECK(text == "text");
  CHECK(to_string(fn.policy_usage()) ==
        "standard output and error: taken, at most 100 bytes a call: used 1, refused 0\n"
        "clock: the host's time, and sleeping: used 0, refused 0\n"
        "everything else: fails with ENOSYS: used 0, refused 0\n"
        "entropy: random bytes of the kernel's: used 2, refused 0\n"
        "denied: socket, 2\n"
        "denied: unknown 999, 1\n");
  // A copy is the same function.
  const auto copy = fn;
  CHECK(to_string(copy.policy_usage()) == to_string(fn.policy_usage()));
}

TEST_CASE("a directory that cannot be granted is an error that says so", "[posix]") {
  const scratch files;
  files.put("file", "");
  for (const char* name : {"none", "file"}) {
    const auto refused = posix::try_directory<"/d">(files.path(name), posix::read_only);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == errc::os_error);
    CHECK(refused.error().os_error != 0);
    CHECK_THROWS_AS(posix::directory<"/d">(files.path(name), posix::read_only), failure);
  }
}

TEST_CASE("what is mounted below a granted directory is part of it", "[posix]") {
  auto fn = granted(policy{posix::directory<"/">("/", posix::read_only)});
  unsigned mounts = 0;
  struct ::stat root {};
  REQUIRE(::stat("/", &root) == 0);
  for (const char* path : {"/dev", "/dev/shm", "/tmp", "/run", "/home"}) {
    struct ::stat status {};
    if (::lstat(path, &status) != 0 || !S_ISDIR(status.st_mode)) continue;
    INFO(path);
    script what;
    const auto told = what.room(144);
    what.add(SYS_stat, {what.text(path), told});
    what.add(SYS_open, {what.text(path), O_RDONLY | O_DIRECTORY, 0});
    run(fn, what);
    CHECK(what[0] == 0);
    CHECK(what[1] == 3);
    CHECK(what.value<std::uint64_t>(told, 8) == status.st_ino);
    mounts += status.st_dev != root.st_dev ? 1 : 0;
  }
  CHECK(mounts > 0);
}

TEST_CASE("sessions keep what is open, batches have it to themselves", "[posix]") {
  const scratch files;
  files.put("a", "0123456789");
  std::string text;
  policy allowed{posix::directory<"/">(files.path(), posix::read_only), posix::output(text, 5)};
  auto fn = granted(allowed);
  script opens;
  opens.add(SYS_open, {opens.text("/a"), O_RDONLY, 0});
  script reads;
  const auto to = reads.room(4);
  reads.add(SYS_read, {3, to, 4});
  reads.add(SYS_write, {1, to, 4});
  run(fn, opens);
  run(fn, reads);
  CHECK(reads[0] == -EBADF);
  const std::size_t before = descriptors();
  text.clear();
  {
    session stays(fn);
    run(stays, opens);
    CHECK(opens[0] == 3);
    run(stays, reads);
    CHECK(reads[0] == 4);
    CHECK(reads.at(to, 4) == "0123");
    CHECK(reads[1] == 4);
    run(stays, reads);
    CHECK(reads.at(to, 4) == "4567");
    CHECK(reads[1] == 1);
    CHECK(text == "01234");
  }
  CHECK(descriptors() <= before);

  text.clear();
  script both = opens;
  const auto one = both.room(4);
  both.add(SYS_read, {3, one, 4});
  std::array<script, 3> jobs{both, both, both};
  std::vector<std::tuple<std::span<told_call>, std::span<std::byte>>> list;
  for (script& each : jobs) list.emplace_back(each.calls, each.memory);
  fn.together(list).value();
  CHECK(jobs[0][0] == 3);
  CHECK(jobs[1][0] == 4);
  CHECK(jobs[2][0] == 5);
  CHECK(jobs[2].at(one, 4) == "89" + std::string(2, '\x5a'));
  for (const auto& each : fn.each(list)) CHECK(each.has_value());
  for (const script& each : jobs) {
    CHECK(each[0] == 3);
    CHECK(each.at(one, 4) == "0123");
  }
}

TEST_CASE("system calls count as hypercalls do", "[posix]") {
  auto fn = granted(policy{posix::others_fail_with_enosys()});
  script what;
  for (int i = 0; i < 5; ++i) what.add(SYS_getpid);
  const auto limited = [&](std::uint64_t most) {
    return fn.with({.hypercalls = most}).try_call(std::span(what.calls), std::span(what.memory));
  };
  CHECK(limited(5).has_value());
  const auto ended = limited(4);
  REQUIRE_FALSE(ended.has_value());
  CHECK(ended.error().code == errc::hypercall_limit);
  CHECK(ended.error().detail == 4);
}
