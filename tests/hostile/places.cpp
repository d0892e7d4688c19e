// Attacks through the paths of files: grants that lie within each other, file systems by which the
// kernel shows itself, and a tree that somebody else changes meanwhile.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <guests/calls.hpp>
#include <virtine/posix.hpp>
#include <virtine/virtine.hpp>

#include "told_calls.hpp"

using namespace virtine;
using namespace virtine::detail;
using told::argument;
using told::scratch;
using told::script;
namespace fs = std::filesystem;

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

// What is below a directory: each path with its type and content.
std::map<std::string, std::string> listing(const fs::path& root) {
  std::map<std::string, std::string> out;
  for (const auto& each : fs::recursive_directory_iterator(root)) {
    std::string content = "directory";
    if (each.is_regular_file()) {
      std::ifstream file(each.path(), std::ios::binary);
      content = "file " + std::string(std::istreambuf_iterator<char>(file), {});
    }
    out.emplace(each.path().lexically_relative(root).string(), std::move(content));
  }
  return out;
}

// Two trees with a file and an empty directory at each place where something may be granted.
void plant(const fs::path& root) {
  for (const char* tree : {"one", "two"}) {
    for (const char* at : {"", "b", "p", "p/b", "p/q", "p/q/b", "w"}) {
      fs::create_directories(root / tree / at / "e");
      std::ofstream(root / tree / at / "f") << tree << ' ' << at;
    }
  }
}

// Makes what is below a directory as it was, and keeps what has not changed.
void restore(const fs::path& root, const std::map<std::string, std::string>& before) {
  const auto now = listing(root);
  for (auto each = now.rbegin(); each != now.rend(); ++each) {
    if (!before.contains(each->first)) fs::remove_all(root / each->first);
  }
  for (const auto& [name, content] : before) {
    const auto found = now.find(name);
    if (found != now.end() && found->second == content) continue;
    if (content == "directory") {
      fs::create_directory(root / name);
    } else {
      std::ofstream(root / name, std::ios::binary) << content.substr(5);
    }
  }
}

// A policy of two grants, and the same tree twice: one is the guest's, on the other the model does
// by calls of the host's what it thinks is allowed.
struct grant_model {
  fs::path at;
  fs::path host;  // Below the tree.
  bool writable;
};

class model {
 public:
  model(const fs::path& tree, std::array<grant_model, 2> grants)
      : tree_(tree), grants_(std::move(grants)) {}

  // The grant whose place is nearest above the file, by the parts of the path.
  const grant_model* grant_of(const fs::path& path) const {
    const grant_model* found = nullptr;
    for (const grant_model& each : grants_) {
      if (is_above(each.at, path) && (found == nullptr || is_above(found->at, each.at))) {
        found = &each;
      }
    }
    return found;
  }
  std::string host_path(const fs::path& path, std::string_view end = "") const {
    const grant_model& in = *grant_of(path);
    const fs::path rest = path.lexically_relative(in.at);
    return (rest == "." ? tree_ / in.host : tree_ / in.host / rest).string() + std::string(end);
  }
  bool holds_a_grant(const fs::path& path) const {
    return std::any_of(grants_.begin(), grants_.end(),
                       [&](const grant_model& each) { return is_above(path, each.at); });
  }

  std::int64_t rename(const fs::path& from, const fs::path& to, std::string_view from_end,
                      std::string_view to_end) const {
    const grant_model* const a = grant_of(from);
    const grant_model* const b = grant_of(to);
    if (a == nullptr || b == nullptr) return -ENOENT;
    if (!a->writable || !b->writable) return -EROFS;
    if (holds_a_grant(from) || holds_a_grant(to)) return -EBUSY;
    if (a != b) return -EXDEV;
    return told(::rename(host_path(from, from_end).c_str(), host_path(to, to_end).c_str()));
  }
  std::int64_t make(const fs::path& path, std::string_view end) const {
    const grant_model* const in = grant_of(path);
    if (in == nullptr) return -ENOENT;
    if (path == in->at) return -EEXIST;
    if (!in->writable) return -EROFS;
    return told(::mkdir(host_path(path, end).c_str(), 0700));
  }
  std::int64_t remove(const fs::path& path, std::string_view end, bool directory) const {
    const grant_model* const in = grant_of(path);
    if (in == nullptr) return -ENOENT;
    if (path == "/") return directory ? -EINVAL : -EISDIR;  // It has no name.
    if (!in->writable) return -EROFS;
    if (holds_a_grant(path)) return -EBUSY;
    const std::string at = host_path(path, end);
    return told(directory ? ::rmdir(at.c_str()) : ::unlink(at.c_str()));
  }
  // Opens, and writes a byte if that is granted.
  std::int64_t open(const fs::path& path, std::string_view end, int flags) const {
    const grant_model* const in = grant_of(path);
    if (in == nullptr) return -ENOENT;
    const bool changes = (flags & (O_ACCMODE | O_CREAT | O_TRUNC)) != 0;
    if (changes && !in->writable) return -EROFS;
    const os::fd file(::open(host_path(path, end).c_str(), flags | O_CLOEXEC, 0600));
    if (!file) return -errno;
    if ((flags & O_ACCMODE) != 0 && ::write(file.get(), "x", 1) != 1) return -EIO;
    return 0;
  }

 private:
  static std::int64_t told(int result) { return result == 0 ? 0 : -errno; }
  static bool is_above(const fs::path& above, const fs::path& path) {
    return std::mismatch(above.begin(), above.end(), path.begin(), path.end()).first == above.end();
  }

  fs::path tree_;
  std::array<grant_model, 2> grants_;
};

// A way to write a path: the same place, spelled in another way or seen from an open directory.
struct spelled {
  argument base = AT_FDCWD;
  std::string text;
  std::string_view end = "";
};

constexpr int spellings = 6;

spelled spell(script& what, const model& granted, const fs::path& path, int how) {
  const auto open_at = [&](const fs::path& at) -> std::optional<argument> {
    if (granted.grant_of(at) == nullptr || !fs::is_directory(granted.host_path(at))) {
      return std::nullopt;
    }
    int number = 3;
    for (const told_call& each : what.calls) number += each.number == SYS_open ? 1 : 0;
    what.add(SYS_open, {what.text(at.string()), O_RDONLY | O_DIRECTORY, 0});
    return argument(number);
  };
  const std::string name = path.filename().string();
  const fs::path parent = path.parent_path();
  if (path == "/") how = 0;
  switch (how) {
    case 1:
      return {.text = path.string() + "/", .end = "/"};
    case 2:
      return {.text = (parent / "." / "" / name).string()};
    case 3:
      return {.text = (parent / "none" / ".." / name).string()};
    case 4:
      if (const auto file = open_at(parent)) return {.base = *file, .text = name};
      break;
    case 5:  // From a directory beside it, or in it.
      for (const fs::path& from : {parent / "e", parent / "b", parent / "p"}) {
        if (const auto file = open_at(from)) return {.base = *file, .text = "../" + name};
      }
      break;
    default:
      break;
  }
  return {.text = path.string()};
}

struct tally {
  unsigned cases = 0;
  unsigned changes = 0;
};

// Tries each call on each place, or each two, and compares with what the model does.
template <class Fn>
void compare_all(Fn& fn, std::array<grant_model, 2> grants, const fs::path& tree,
                 const fs::path& copy, tally& count) {
  const model ours(tree, grants);
  const model reference(copy, grants);
  const auto before = listing(tree);
  REQUIRE(before == listing(copy));

  const auto compare = [&](bool changed) {
    const auto after = listing(tree);
    if (after != listing(copy)) CHECK(after == listing(copy));
    if (after == before) return;
    if (!changed) CHECK(after == before);
    ++count.changes;
    for (const fs::path& root : {tree, copy}) restore(root, before);
    REQUIRE(listing(tree) == before);
  };
  const auto check = [&](script& what, std::size_t call, std::int64_t expected,
                         const std::string& name) {
    run(fn, what);
    INFO(name);
    std::int64_t got = what[call];
    if (got > 0 && expected == 0) got = 0;  // A descriptor.
    // Linux looks at the slash before it looks whether there is something.
    if (expected == -EISDIR && (got == -ENOTDIR || got == -EEXIST)) got = expected;
    if (got != expected) CHECK(got == expected);
    // What fails is to change nothing, which a look now and then shows as well.
    if (got >= 0 || expected >= 0 || ++count.cases % 32 == 0) compare(expected >= 0);
  };

  std::vector<fs::path> places{"/", "/w", "/x"};
  for (const char* at :
       {"f", "e", "n", "b", "b/f", "p", "p/n", "p/b", "p/b/f", "p/q", "p/q/b", "p/q/b/e"}) {
    places.push_back(fs::path("/w") / at);
  }
  for (const grant_model& each : grants) {
    for (const char* at : {"f", "e"}) {
      if (each.at != "/w") places.push_back(each.at / at);
    }
  }
  int how = 0;
  int plain = 0;
  for (const fs::path& from : places) {
    for (const fs::path& to : places) {
      // Of those that are about no grant, some are enough.
      if (!ours.holds_a_grant(from) && !ours.holds_a_grant(to) && ++plain % 4 != 0) continue;
      script what;
      const spelled a = spell(what, ours, from, how++ % spellings);
      const spelled b = spell(what, ours, to, how / spellings % spellings);
      const std::size_t call =
          what.add(SYS_renameat, {a.base, what.text(a.text), b.base, what.text(b.text)});
      check(what, call, reference.rename(from, to, a.end, b.end),
            "rename " + a.text + " (" + from.string() + ") to " + b.text);
    }
    for (int round = 0; round < spellings / 2; ++round) {
      const auto one = [&](const std::string& name, auto&& add, auto&& expect) {
        script what;
        const spelled at = spell(what, ours, from, how++ % spellings);
        const std::size_t call = add(what, at);
        check(what, call, expect(at.end), name + " " + at.text + " (" + from.string() + ")");
      };
      one(
          "mkdir",
          [](script& what, const spelled& at) {
            return what.add(SYS_mkdirat, {at.base, what.text(at.text), 0700});
          },
          [&](std::string_view end) { return reference.make(from, end); });
      for (const int flags : {0, AT_REMOVEDIR}) {
        one(
            flags == 0 ? "unlink" : "rmdir",
            [&](script& what, const spelled& at) {
              return what.add(SYS_unlinkat, {at.base, what.text(at.text), flags});
            },
            [&](std::string_view end) { return reference.remove(from, end, flags != 0); });
      }
      for (const int flags : {O_RDONLY, O_WRONLY, O_RDWR | O_CREAT, O_WRONLY | O_CREAT | O_EXCL,
                              O_RDONLY | O_TRUNC, O_WRONLY | O_TRUNC, O_WRONLY | O_APPEND}) {
        one(
            "open " + std::to_string(flags),
            [&](script& what, const spelled& at) {
              const int file = 3 + static_cast<int>(what.calls.size());
              const auto call = what.add(SYS_openat, {at.base, what.text(at.text), flags, 0600});
              if ((flags & O_ACCMODE) != 0) what.add(SYS_write, {file, what.text("x"), 1});
              return call;
            },
            [&](std::string_view end) { return reference.open(from, end, flags); });
      }
    }
  }
  compare(false);
}

// One nesting, with all rights that its two grants can have.
template <posix::detail::fixed_path A, posix::detail::fixed_path B>
void compare_nesting(const char* host_a, const char* host_b, tally& count) {
  for (const auto& [first, second] : {std::pair(posix::read_write, posix::read_only),
                                      std::pair(posix::read_only, posix::read_write),
                                      std::pair(posix::read_write, posix::read_write)}) {
    INFO(A.view() << " is " << host_a << ", " << B.view() << " is " << host_b << ", rights "
                  << int(first) << int(second));
    const scratch tree;
    const scratch copy;
    for (const scratch* each : {&tree, &copy}) plant(each->path());
    auto fn = granted(policy{posix::directory<A>(tree.path(host_a), first, UINT64_MAX),
                             posix::directory<B>(tree.path(host_b), second, UINT64_MAX),
                             posix::others_fail_with_enosys()});
    compare_all(fn,
                {grant_model{fs::path(A.view()), host_a, first == posix::read_write},
                 grant_model{fs::path(B.view()), host_b, second == posix::read_write}},
                tree.path(), copy.path(), count);
  }
}

}  // namespace

TEST_CASE("H100: two grants, however they lie to each other, keep their rights in every call",
          "[hostile][long]") {
  tally count;
  // Where the guest has them, and where the host has them: apart, and in each other.
  compare_nesting<"/w", "/w/b">("one", "one/b", count);
  compare_nesting<"/w", "/w/p/b">("one", "one/p/b", count);
  compare_nesting<"/w", "/w/p/q/b">("one", "one/p/q/b", count);
  compare_nesting<"/", "/w">("one", "one/w", count);
  compare_nesting<"/", "/w/p/b">("one", "two", count);
  compare_nesting<"/w", "/x">("one", "two", count);
  compare_nesting<"/w", "/wb">("one", "two", count);
  // One directory of the host's by two names: they add up.
  compare_nesting<"/w", "/x">("one", "one", count);
  // The cases are what they claim to be: some change something, most are refused.
  CHECK(count.changes > 300);
  CHECK(count.cases > 5 * count.changes);
}

TEST_CASE("H101: what is granted to be read is not moved to where it can be written", "[hostile]") {
  const scratch files;
  fs::create_directories(files.path("w/project/.git/hooks"));
  files.put("w/project/.git/config", "safe");
  fs::create_directory(files.path("w/empty"));
  auto fn = granted(
      policy{posix::directory<"/w">(files.path("w"), posix::read_write),
             posix::directory<"/w/project/.git">(files.path("w/project/.git"), posix::read_only),
             posix::others_fail_with_enosys()});
  script moves;
  moves.add(SYS_open, {moves.text("/w"), O_RDONLY | O_DIRECTORY, 0});          // 3
  moves.add(SYS_open, {moves.text("/w/project"), O_RDONLY | O_DIRECTORY, 0});  // 4
  const std::size_t first = moves.calls.size();
  for (const char* to : {"/w/new", "/w/new/", "/w/empty", "/w/empty/new", "/w/./x/../new"}) {
    for (const char* from : {"/w/project", "/w/project/", "/w//project", "/w/new/../project"}) {
      moves.add(SYS_rename, {moves.text(from), moves.text(to)});
      moves.add(SYS_rename, {moves.text("/w/empty"), moves.text(from)});
      moves.add(SYS_rmdir, {moves.text(from)});
      moves.add(SYS_unlink, {moves.text(from)});
    }
    moves.add(SYS_renameat, {3, moves.text("project"), 3, moves.text(to)});
    moves.add(SYS_renameat, {4, moves.text("../project"), AT_FDCWD, moves.text(to)});
    moves.add(SYS_renameat, {4, moves.text("../empty"), 4, moves.text("../project")});
    moves.add(SYS_renameat, {4, moves.text("."), 3, moves.text("new")});
    moves.add(SYS_renameat, {4, moves.text(".git/.."), 3, moves.text("new")});
    moves.add(SYS_unlinkat, {3, moves.text("project"), AT_REMOVEDIR});
  }
  run(fn, moves);
  for (std::size_t i = first; i < moves.calls.size(); ++i) {
    INFO("call " << i << ", system call " << moves.calls[i].number);
    CHECK(moves[i] == -EBUSY);
  }
  // From a directory that was open before, the nearest grant decides as well.
  script reaches;
  reaches.add(SYS_open, {reaches.text("/w/project"), O_RDONLY | O_DIRECTORY, 0});       // 3
  reaches.add(SYS_open, {reaches.text("/w/project/.git"), O_RDONLY | O_DIRECTORY, 0});  // 4
  reaches.add(SYS_open, {reaches.text("/w/empty"), O_RDONLY | O_DIRECTORY, 0});         // 5
  const std::size_t reached = reaches.calls.size();
  for (const auto& [base, path] :
       {std::pair(3, ".git/config"), std::pair(3, "./.git/./config"), std::pair(4, "config"),
        std::pair(5, "../project/.git/config"), std::pair(4, "../.git/config"),
        std::pair(4, "hooks/../config")}) {
    reaches.add(SYS_openat, {base, reaches.text(path), O_WRONLY, 0});
    reaches.add(SYS_openat, {base, reaches.text(path), O_RDONLY | O_TRUNC, 0});
    reaches.add(SYS_unlinkat, {base, reaches.text(path), 0});
    reaches.add(SYS_renameat, {base, reaches.text(path), 5, reaches.text("config")});
  }
  reaches.add(SYS_unlinkat, {4, reaches.text("hooks"), AT_REMOVEDIR});
  reaches.add(SYS_mkdirat, {4, reaches.text("new"), 0700});
  run(fn, reaches);
  for (std::size_t i = reached; i < reaches.calls.size(); ++i) {
    INFO("call " << i << ", system call " << reaches.calls[i].number);
    CHECK(reaches[i] == -EROFS);
  }
  CHECK(files.get("w/project/.git/config") == "safe");
  CHECK(files.has("w/project/.git/hooks"));
  CHECK(files.has("w/empty"));
}

TEST_CASE("H104: file systems by which the kernel shows itself are refused by every call",
          "[hostile]") {
  auto fn = granted(
      policy{posix::directory<"/">("/", posix::read_write), posix::others_fail_with_enosys()});
  unsigned seen = 0;
  for (const char* path :
       {"/proc", "/proc/self", "/proc/1/environ", "/proc/sys/kernel/core_pattern", "/sys",
        "/sys/kernel", "/sys/kernel/debug", "/sys/kernel/tracing", "/sys/kernel/security",
        "/sys/kernel/config", "/sys/fs/bpf", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified",
        "/sys/fs/cgroup", "/sys/firmware/efi/efivars", "/dev/pts", "/dev/pts/0", "/dev/mqueue",
        "/dev/hugepages"}) {
    // Some hosts lack some, or have files there (cgroups of version 1 are mounted in a tmpfs).
    struct ::statfs system {};
    struct ::stat status {};
    if (::lstat(path, &status) != 0 || S_ISLNK(status.st_mode)) continue;
    if (::statfs(path, &system) != 0) continue;
    const auto type = static_cast<std::uint32_t>(system.f_type);
    if (type == 0x01021994 || type == 0x858458f6) continue;
    ++seen;
    INFO(path);
    script what;
    const auto text = what.text(path);
    const auto inside = what.text(std::string(path) + "/virtine-test");
    const auto room = what.room(144);
    for (const int flags : {O_RDONLY, O_RDONLY | O_DIRECTORY, O_RDONLY | O_NOFOLLOW}) {
      what.add(SYS_open, {text, flags, 0});
      what.add(SYS_openat, {AT_FDCWD, text, flags, 0});
    }
    what.add(SYS_stat, {text, room});
    what.add(SYS_lstat, {text, room});
    what.add(SYS_newfstatat, {AT_FDCWD, text, room, AT_SYMLINK_NOFOLLOW});
    what.add(SYS_access, {text, F_OK});
    what.add(SYS_faccessat, {AT_FDCWD, text, R_OK});
    if (S_ISDIR(status.st_mode)) {
      what.add(SYS_mkdir, {inside, 0700});
      what.add(SYS_open, {inside, O_RDWR | O_CREAT, 0600});
      what.add(SYS_unlink, {inside});
      what.add(SYS_rmdir, {inside});
      what.add(SYS_rename, {inside, inside});
      what.add(SYS_rename, {what.text("/tmp/virtine-test"), inside});
    }
    run(fn, what);
    for (std::size_t i = 0; i < what.calls.size(); ++i) {
      INFO("call " << i << ", system call " << what.calls[i].number);
      // Creating looks for the entry first, which is not there.
      CHECK(what[i] == -EACCES);
    }
    CHECK(::access((std::string(path) + "/virtine-test").c_str(), F_OK) != 0);
    const auto granted = posix::try_directory<"/k">(path, posix::read_only);
    if (S_ISDIR(status.st_mode)) {
      REQUIRE_FALSE(granted.has_value());
      CHECK(granted.error().os_error == EACCES);
    }
  }
  CHECK(seen >= 3);
  // The names of what is mounted are those of its parent.
  script names;
  names.add(SYS_open, {names.text("/"), O_RDONLY | O_DIRECTORY, 0});
  names.add(SYS_getdents64, {3, names.room(4096), 4096});
  run(fn, names);
  CHECK(names[1] > 0);
}

TEST_CASE("H105: an open directory stays the same one, and lends no way out", "[hostile]") {
  const scratch outside;
  fs::create_directories(outside.path("in/a/sub"));
  fs::create_directories(outside.path("in/b"));
  fs::create_directories(outside.path("other"));
  outside.put("in/a/f", "f");
  outside.put("secret", "secret");
  auto fn = granted(policy{posix::directory<"/d">(outside.path("in"), posix::read_write)});
  session stays(fn);
  const auto opens = [&](const char* path) {
    script what;
    what.add(SYS_openat, {3, what.text(path), O_RDONLY, 0});
    run(stays, what);
    if (what[0] < 0) return what[0];
    script closes;
    closes.add(SYS_close, {what[0]});
    run(stays, closes);
    return std::int64_t{0};
  };
  script begin;
  begin.add(SYS_open, {begin.text("/d/a"), O_RDONLY | O_DIRECTORY, 0});
  run(stays, begin);
  REQUIRE(begin[0] == 3);
  CHECK(opens("f") == 0);
  CHECK(opens("../b") == 0);

  // The guest moves it: all as on Linux.
  script moves;
  moves.add(SYS_rename, {moves.text("/d/a"), moves.text("/d/b/moved")});
  moves.add(SYS_mkdir, {moves.text("/d/a"), 0700});
  moves.add(SYS_openat, {3, moves.text("made"), O_WRONLY | O_CREAT, 0600});
  moves.add(SYS_renameat, {3, moves.text("made"), 3, moves.text("renamed")});
  moves.add(SYS_mkdirat, {3, moves.text("new"), 0700});
  moves.add(SYS_unlinkat, {3, moves.text("sub"), AT_REMOVEDIR});
  moves.add(SYS_newfstatat, {3, moves.text("../moved/f"), moves.room(144), 0});
  moves.add(SYS_newfstatat, {3, moves.text("../../b/moved/f"), moves.room(144), 0});
  run(stays, moves);
  for (const std::size_t i : {0U, 1U, 3U, 4U, 5U, 6U, 7U}) CHECK(moves[i] == 0);
  CHECK(moves[2] == 4);
  CHECK(opens("f") == 0);
  CHECK(outside.has("in/b/moved/renamed"));
  CHECK(outside.has("in/b/moved/new"));
  CHECK_FALSE(outside.has("in/a/renamed"));
  for (const char* path : {"../../../secret", "../../../../secret", "../f", "..//../..//secret"}) {
    CHECK(opens(path) == -ENOENT);
  }

  // The host moves it about, and out: what is not below the granted directory is not the guest's.
  fs::rename(outside.path("in/b/moved"), outside.path("in/again"));
  CHECK(opens("f") == 0);
  CHECK(opens("../b") == 0);
  fs::rename(outside.path("in/again"), outside.path("other/gone"));
  for (const char* path : {"f", ".", "..", "../../secret", "new/../f", "renamed"}) {
    CHECK(opens(path) == -ENOENT);
  }
  script writes;
  writes.add(SYS_openat, {3, writes.text("more"), O_WRONLY | O_CREAT, 0600});
  writes.add(SYS_mkdirat, {3, writes.text("more"), 0700});
  writes.add(SYS_unlinkat, {3, writes.text("f"), 0});
  writes.add(SYS_renameat, {3, writes.text("f"), AT_FDCWD, writes.text("/d/f")});
  run(stays, writes);
  for (std::size_t i = 0; i < writes.calls.size(); ++i) CHECK(writes[i] == -ENOENT);
  CHECK(outside.has("other/gone/f"));
  // A name that begins as that of the granted directory is another.
  fs::create_directory(outside.path("inside"));
  fs::rename(outside.path("other/gone"), outside.path("inside/gone"));
  CHECK(opens("f") == -ENOENT);
  fs::rename(outside.path("inside/gone"), outside.path("in/back"));
  CHECK(opens("f") == 0);
  // It is removed.
  fs::remove_all(outside.path("in/back"));
  CHECK(opens("f") == -ENOENT);
  CHECK(opens("../../secret") == -ENOENT);
  CHECK(outside.get("secret") == "secret");
}

TEST_CASE("H106: nothing but files and directories is opened while somebody changes the tree",
          "[hostile][long]") {
  const scratch files;
  const scratch outside;
  outside.put("secret", "secret");
  fs::create_directory(files.path("dir"));
  files.put("dir/x", "inside");
  files.put("file", "inside");
  fs::create_directory(outside.path("dir"));
  outside.put("dir/x", "secret");
  outside.put("dir/old", "secret");
  const auto untouched = listing(outside.path());
  for (const char* name : {"a", "b"}) {
    fs::create_directory(files.path(name));
    files.put(std::string(name) + "/one", name);
    files.put(std::string(name) + "/two", name);
  }
  REQUIRE(::mkfifo(files.path("fifo").c_str(), 0600) == 0);
  fs::create_symlink(outside.path("secret"), files.path("link"));
  fs::create_directory_symlink(outside.path("dir"), files.path("dirlink"));
  auto fn = granted(policy{posix::directory<"/d">(files.path(), posix::read_write, UINT64_MAX)});

  std::atomic<bool> over = false;
  std::atomic<unsigned> swaps = 0;
  const auto swap = [](const fs::path& a, const fs::path& b) {
    constexpr unsigned exchange = 2;  // RENAME_EXCHANGE
    ::syscall(SYS_renameat2, AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), exchange);
  };
  // Opening the FIFO would let this one go on, whatever was found out after that. By its link in
  // /proc it is the FIFO, whichever name that has now.
  const os::fd fifo(::open(files.path("fifo").c_str(), O_PATH | O_CLOEXEC));
  REQUIRE(fifo);
  const std::string link = "/proc/self/fd/" + std::to_string(fifo.get());
  os::fd last;  // With which it ends, whenever it begins.
  std::atomic<bool> opened = false;
  std::jthread waits([&] {
    const os::fd file(::open(link.c_str(), O_WRONLY | O_CLOEXEC));
    if (file && !over) opened = true;
  });
  std::jthread changes([&] {
    while (!over) {
      for (const char* other : {"fifo", "link", "dir"}) {
        swap(files.path("file"), files.path(other));
        swap(files.path("file"), files.path(other));
      }
      swap(files.path("dir"), files.path("dirlink"));
      swap(files.path("a"), files.path("b"));
      swap(files.path("dir"), files.path("dirlink"));
      swaps += 9;
    }
  });
  // However this ends, both threads do.
  const auto end = [&] {
    over = true;
    last = os::fd(::open(link.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
  };
  const std::shared_ptr<void> ends(nullptr, [&](void*) { end(); });

  script what;
  const auto to = what.room(16);
  what.add(SYS_open, {what.text("/d/file"), O_RDONLY, 0});
  what.add(SYS_read, {3, to, 16});
  what.add(SYS_close, {3});
  what.add(SYS_open, {what.text("/d/file"), O_RDWR | O_CREAT, 0600});
  what.add(SYS_close, {3});
  what.add(SYS_open, {what.text("/d/dir/x"), O_RDONLY, 0});
  const auto below = what.room(16);
  what.add(SYS_read, {3, below, 16});
  what.add(SYS_close, {3});
  // Both files of a directory, which has another name between.
  const std::size_t both = what.add(SYS_open, {what.text("/d/a"), O_RDONLY | O_DIRECTORY, 0});
  const auto one = what.room(1);
  const auto two = what.room(1);
  what.add(SYS_openat, {3, what.text("one"), O_RDONLY, 0});
  what.add(SYS_openat, {3, what.text("two"), O_RDONLY, 0});
  what.add(SYS_read, {4, one, 1});
  what.add(SYS_read, {5, two, 1});
  // What changes entries.
  what.add(SYS_mkdir, {what.text("/d/dir/made"), 0700});
  what.add(SYS_open, {what.text("/d/dir/new"), O_RDWR | O_CREAT, 0600});
  what.add(SYS_rename, {what.text("/d/dir/new"), what.text("/d/dir/old")});
  what.add(SYS_rename, {what.text("/d/dir/old"), what.text("/d/taken")});
  what.add(SYS_unlink, {what.text("/d/dir/old")});
  what.add(SYS_rmdir, {what.text("/d/dir/made")});
  unsigned reads = 0;
  unsigned others = 0;
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  while (std::chrono::steady_clock::now() < until || reads < 20 || others < 20) {
    script copy = what;
    run(fn, copy);
    for (const auto& [call, place] : {std::pair(1, to), std::pair(6, below)}) {
      const auto got = copy[static_cast<std::size_t>(call)];
      if (got > 0) {
        ++reads;
        CHECK(copy.at(place, 6) == "inside");
      } else {
        ++others;
      }
    }
    REQUIRE(copy[both] == 3);
    CHECK(copy[both + 3] == 1);
    CHECK(copy[both + 4] == 1);
    CHECK(copy.at(one, 1) == copy.at(two, 1));
    if (opened) break;
  }
  CHECK_FALSE(opened);
  end();
  changes.join();
  waits.join();
  CHECK(swaps > 100);
  CHECK(listing(outside.path()) == untouched);
}

TEST_CASE("H107: calls that would need more than a look at names, or would wait, are not served",
          "[hostile]") {
  const scratch files;
  plant(files.path());
  auto fn = granted(policy{posix::directory<"/w">(files.path("one"), posix::read_write),
                           posix::directory<"/w/p/b">(files.path("one/p/b"), posix::read_only),
                           posix::clock(), allow_entropy(), posix::others_fail_with_enosys()});
  const auto before = listing(files.path());
  script what;
  const auto a = what.text("/w/p");
  const auto f = what.text("/w/f");
  const auto b = what.text("/w/n");
  for (const int flags : {0, 1, 2, 4}) {
    what.add(SYS_renameat2, {AT_FDCWD, a, AT_FDCWD, b, flags});
    what.add(SYS_renameat2, {AT_FDCWD, a, AT_FDCWD, f, flags});
  }
  what.add(SYS_link, {f, b});
  what.add(SYS_linkat, {AT_FDCWD, f, AT_FDCWD, b, 0});
  what.add(SYS_symlink, {f, b});
  what.add(SYS_symlinkat, {f, AT_FDCWD, b});
  what.add(SYS_mknod, {b, S_IFIFO | 0600, 0});
  what.add(SYS_mknodat, {AT_FDCWD, b, S_IFIFO | 0600, 0});
  what.add(SYS_chmod, {f, 0});
  what.add(SYS_fchmodat, {AT_FDCWD, f, 0});
  what.add(SYS_chown, {f, 1, 1});
  what.add(SYS_truncate, {f, 0});
  what.add(SYS_utimensat, {AT_FDCWD, f, 0, 0});
  what.add(SYS_setxattr, {f, f, f, 1, 0});
  what.add(SYS_creat, {b, 0600});
  what.add(SYS_chdir, {a});
  what.add(SYS_fchdir, {3});
  what.add(SYS_chroot, {a});
  what.add(SYS_mount, {a, b, 0, 4096, 0});
  what.add(SYS_openat2, {AT_FDCWD, f, f, 24});
  what.add(SYS_open_by_handle_at, {3, f, 0});
  what.add(SYS_dup, {1});
  what.add(SYS_poll, {f, 1, -1});
  what.add(SYS_ppoll, {f, 1, 0, 0, 0});
  what.add(SYS_select, {1, f, 0, 0, 0});
  what.add(SYS_pselect6, {1, f, 0, 0, 0, 0});
  what.add(SYS_flock, {1, 2});
  what.add(SYS_fsync, {1});
  what.add(SYS_fdatasync, {1});
  what.add(SYS_sync);
  what.add(SYS_splice, {0, 0, 1, 0, 8, 0});
  what.add(SYS_tee, {0, 1, 8, 0});
  what.add(SYS_sendfile, {1, 0, 0, 8});
  what.add(SYS_copy_file_range, {0, 0, 1, 0, 8, 0});
  what.add(SYS_preadv2, {0, f, 1, 0, 0, 0});
  what.add(SYS_pwritev2, {1, f, 1, 0, 0, 0});
  what.add(SYS_accept, {0, 0, 0});
  what.add(SYS_recvfrom, {0, f, 1, 0, 0, 0});
  what.add(SYS_pause);
  what.add(SYS_futex, {f, 0, 0, 0, 0, 0});
  what.add(SYS_epoll_wait, {0, f, 1, -1});
  run(fn, what);
  for (std::size_t i = 0; i < what.calls.size(); ++i) {
    INFO("call " << i << ", system call " << what.calls[i].number);
    CHECK(what[i] == -ENOSYS);
  }
  CHECK(listing(files.path()) == before);
  // File locks wait by fcntl.
  script locks;
  locks.add(SYS_open, {locks.text("/w/f"), O_RDWR, 0});
  for (const int command : {F_SETLK, F_SETLKW, F_GETLK, F_SETLEASE, F_NOTIFY, 36, 37, 38}) {
    locks.add(SYS_fcntl, {3, command, locks.room(32)});
  }
  run(fn, locks);
  for (std::size_t i = 1; i < locks.calls.size(); ++i) CHECK(locks[i] == -EINVAL);
}
