// Grants that are named at run time, and the one that is both a hypercall and a system call.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <stdlib.h>
#include <virtine/allow_entropy.hpp>
#include <virtine/os/fd.hpp>
#include <virtine/posix.hpp>

#include "../scripted_machine.hpp"

using namespace virtine;
using namespace virtine::detail;

namespace {

constexpr std::uint64_t base = scripted_machine::base;

std::unique_ptr<scripted_machine> make_guest() {
  static constexpr image_description image{};
  scripted_machine::forget();
  return scripted_machine::create(image).value();
}

// A directory that ends with the object.
class scratch {
 public:
  scratch() {
    char name[] = "/tmp/virtine-grants-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    path_ = name;
  }
  scratch(const scratch&) = delete;
  scratch& operator=(const scratch&) = delete;
  ~scratch() { std::filesystem::remove_all(path_); }

  [[nodiscard]] std::string path() const { return path_; }
  void put(const std::string& name, std::string_view text) const {
    std::ofstream(path_ + '/' + name) << text;
  }

 private:
  std::string path_;
};

template <class Policy>
class asker {
 public:
  explicit asker(Policy& rules) : rules_(rules) {}

  std::int64_t call(std::uint32_t number, std::array<std::uint64_t, 6> arguments) {
    const auto served = rules_.serve(system_call{number, arguments}, *guest_, open_);
    return served ? served->value : INT64_MIN;  // INT64_MIN: the call ends
  }
  std::int64_t open(std::string_view path, int flags) {
    put(path);
    return call(SYS_open, {base, static_cast<std::uint64_t>(flags), 0644});
  }
  void put(std::string_view text) {
    const std::string ended(text);
    REQUIRE(guest_->write(guest_address{base},
                          std::as_bytes(std::span(ended.c_str(), ended.size() + 1))));
  }
  std::string get(std::size_t size) {
    const auto bytes = guest_->read(guest_address{base}, size);
    REQUIRE(bytes);
    return {reinterpret_cast<const char*>(bytes->data()), bytes->size()};
  }
  scripted_machine& guest() { return *guest_; }

 private:
  Policy& rules_;
  std::unique_ptr<scripted_machine> guest_ = make_guest();
  typename Policy::call_state open_;
};

void check_bad_grant(const error& why, std::uint64_t entry) {
  CHECK(why.code == errc::bad_grant);
  CHECK(blame_of(why.code) == blame::caller);
  CHECK(why.detail == entry);
  CHECK(std::string(why.operation).size() > 10);
}

}  // namespace

TEST_CASE("directories named at run time are served like others", "[policy][posix]") {
  const scratch one;
  const scratch two;
  one.put("file", "of one");
  two.put("file", "of two");
  std::vector<posix::directory_entry> entries{{"/in", one.path()},
                                              {"/in/deep", two.path(), posix::read_write, 4096}};
  auto listed = posix::try_directories(entries);
  REQUIRE(listed);
  entries.clear();
  auto made = try_policy(posix::clock(), *std::move(listed),
                         posix::directory<"/">(one.path(), posix::read_only));
  REQUIRE(made);
  const std::string text = to_string(*made);
  CHECK(text == "clock: the host's time, and sleeping\ndirectory /in: " + one.path() +
                    ", read only\ndirectory /in/deep: " + two.path() +
                    ", read and write, at most 4096 bytes a call\ndirectory /: " + one.path() +
                    ", read only\neverything else: ends the call\n");

  // Also of a copy, when what it was made of is gone.
  auto rules = *made;
  *made = rules;
  asker guest(rules);
  CHECK(guest.open("/in/file", O_RDONLY) == 3);
  CHECK(guest.call(SYS_read, {3, base, 10}) == 6);
  CHECK(guest.get(6) == "of one");
  CHECK(guest.open("/in/deep/file", O_RDONLY) == 4);
  CHECK(guest.call(SYS_read, {4, base, 10}) == 6);
  CHECK(guest.get(6) == "of two");
  CHECK(guest.open("/in/new", O_WRONLY | O_CREAT) == -EROFS);
  CHECK(guest.open("/in/deep/new", O_WRONLY | O_CREAT) == 5);
  CHECK(guest.open("/in/deep/newer", O_WRONLY | O_CREAT) == -ENOSPC);
  CHECK(guest.open("/in/../../../etc/passwd", O_RDONLY) == -ENOENT);
  CHECK(guest.open("/in/deep/..", O_RDONLY) == 6);
  const auto usage = rules.usage();
  REQUIRE(usage.grants.size() == 4);
  CHECK(usage.grants[0].used == 0);
  CHECK(usage.grants[1].grant == "directory /in: " + one.path() + ", read only");
  CHECK(usage.grants[1].used == 4);
  CHECK(usage.grants[1].refused == 1);
  CHECK(usage.grants[2].used == 4);
  CHECK(usage.grants[2].refused == 1);
  CHECK(usage.grants[3].used == 1);
  auto copy = rules;
  CHECK(copy.usage().grants[1].used == 0);
  CHECK(copy.usage().grants.size() == 4);
}

TEST_CASE("a guest's path that is not normal is no place for a directory", "[policy][posix]") {
  const scratch files;
  for (const std::string& path :
       {std::string(), std::string("data"), std::string("data/"), std::string("/data/"),
        std::string("//"), std::string("/a//b"), std::string("//a"), std::string("."),
        std::string(".."), std::string("/."), std::string("/.."), std::string("/a/."),
        std::string("/a/.."), std::string("/a/../b"), std::string("/./a"), std::string("/a\0b", 4),
        std::string("/a\0", 3), std::string("\0", 1)}) {
    INFO(path);
    const auto refused = posix::try_directories({{"/good", files.path()}, {path, files.path()}});
    REQUIRE_FALSE(refused);
    check_bad_grant(refused.error(), 2);
    CHECK(to_string(refused.error()).ends_with("(entry 2)"));
    CHECK_THROWS_AS(posix::directories({{path, files.path()}}), failure);
  }
  for (const char* path : {"/", "/a", "/a/b", "/...", "/a.", "/ ", "/..a"}) {
    INFO(path);
    CHECK(posix::try_directories({{path, files.path()}}));
  }
  CHECK(posix::try_directories({}));
}

TEST_CASE("a host's path or a right that cannot be granted is an error", "[policy][posix]") {
  const scratch files;
  files.put("file", "");
  for (const std::string& path : {std::string(), files.path() + "/none", files.path() + "/file"}) {
    const auto refused = posix::try_directories({{"/a", files.path()}, {"/b", path}});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == errc::os_error);
    CHECK(refused.error().os_error != 0);
    CHECK(refused.error().detail == 2);
  }
  const std::string cut = files.path() + std::string("\0/none", 6);
  check_bad_grant(posix::try_directories({{"/a", cut}}).error(), 1);
  check_bad_grant(posix::try_directory<"/a">(cut, posix::read_only).error(), 0);
  for (const posix::rights bad : {posix::write_only, posix::rights{}, posix::rights{7}}) {
    check_bad_grant(posix::try_directories({{"/a", files.path(), bad}}).error(), 1);
    check_bad_grant(posix::try_directory<"/a">(files.path(), bad).error(), 0);
  }
  check_bad_grant(posix::try_descriptors({{3, 0, posix::rights{}}}).error(), 1);
  check_bad_grant(posix::try_descriptor<3>(0, posix::rights{4}).error(), 0);
}

TEST_CASE("two grants of one thing make no policy, whenever they are named", "[policy][posix]") {
  const scratch files;
  const auto at = [&](const char* path) { return posix::directories({{path, files.path()}}); };
  check_bad_grant(
      try_policy(posix::directories({{"/a", files.path()}, {"/b", files.path()}, {"/a", "/tmp"}}))
          .error(),
      3);
  check_bad_grant(try_policy(at("/a"), posix::clock(), at("/a")).error(), 3);
  check_bad_grant(
      try_policy(posix::directory<"/a">(files.path(), posix::read_only), at("/a")).error(), 2);
  check_bad_grant(
      try_policy(at("/a"), posix::directory<"/a">(files.path(), posix::read_only)).error(), 2);
  check_bad_grant(try_policy(policy{at("/b")}, policy{posix::clock(), at("/b")}).error(), 3);
  CHECK_THROWS_AS((policy{at("/a"), at("/a")}), failure);
  CHECK(try_policy(at("/a"), at("/a/b"), at("/"), at("/ab")));

  const os::fd file(::open("/dev/null", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  const auto given = [&](int number) {
    return posix::try_descriptors({{number, file.get()}}).value();
  };
  check_bad_grant(try_policy(given(5), given(6), given(5)).error(), 3);
  check_bad_grant(try_policy(posix::descriptor<5>(file.get(), posix::read_only), given(5)).error(),
                  2);
  std::string text;
  check_bad_grant(try_policy(given(2), posix::output(text, 1)).error(), 2);
  CHECK(try_policy(given(0), posix::output(text, 1)));
}

TEST_CASE("descriptors numbered at run time are served like others", "[policy][posix]") {
  const scratch files;
  files.put("file", "text");
  const os::fd file(::open((files.path() + "/file").c_str(), O_RDWR | O_CLOEXEC));
  REQUIRE(file);
  for (const int number : {-1, 64, 1 << 20}) {
    const auto refused = posix::try_descriptors({{3, file.get()}, {number, file.get()}});
    REQUIRE_FALSE(refused);
    check_bad_grant(refused.error(), 2);
  }
  const auto closed = posix::try_descriptors({{3, file.get()}, {4, -1}});
  REQUIRE_FALSE(closed);
  CHECK(closed.error().code == errc::os_error);
  CHECK(closed.error().os_error == EBADF);
  CHECK(closed.error().detail == 2);

  policy rules{posix::descriptors({{0, file.get()}, {63, file.get(), posix::write_only}})};
  const std::string host = std::to_string(file.get());
  CHECK(to_string(rules) == "descriptor 0: the host's " + host +
                                ", reading\ndescriptor 63: the host's " + host +
                                ", writing\neverything else: ends the call\n");
  asker guest(rules);
  CHECK(guest.call(SYS_read, {0, base, 4}) == 4);
  CHECK(guest.get(4) == "text");
  CHECK(guest.call(SYS_write, {0, base, 4}) == -EBADF);
  CHECK(guest.call(SYS_write, {63, base, 4}) == 4);
  CHECK(guest.call(SYS_read, {63, base, 4}) == -EBADF);
  CHECK(rules.usage().grants[1].used == 2);
  CHECK(rules.usage().grants[1].refused == 1);
}

TEST_CASE("random bytes are granted to both who ask", "[policy][posix]") {
  const auto check = [](auto rules, bool posix_too) {
    asker guest(rules);
    CHECK(guest.call(SYS_getrandom, {base, 512, 0}) == 256);
    CHECK(guest.get(256) != std::string(256, '\0'));
    CHECK(guest.call(SYS_getrandom, {base, 0, 0}) == 0);
    CHECK(guest.call(SYS_getrandom, {base, 8, 8}) == -EINVAL);
    CHECK(guest.call(SYS_getrandom, {1, 8, 0}) == -EFAULT);
    const sequence_reference where{base + 64, 16};
    REQUIRE(guest.guest().write(guest_address{base}, std::as_bytes(std::span(&where, 1))));
    CHECK(rules.serve(entropy::number, guest.guest(), guest_address{base}));
    CHECK(rules.usage().grants[0].used == 5);
    CHECK(rules.usage().grants[0].grant == "entropy: random bytes of the kernel's");
    // It grants nothing else.
    CHECK(guest.call(SYS_getpid, {}) == (posix_too ? 1 : INT64_MIN));
    CHECK(guest.call(SYS_socket, {}) == INT64_MIN);
  };
  check(policy{allow_entropy()}, false);
  check(policy{allow_entropy(), posix::clock()}, true);
  check(policy{policy{allow_entropy<16>()}, posix::clock()}, true);

  deny_all none;
  asker guest(none);
  CHECK(guest.call(SYS_getrandom, {base, 8, 0}) == INT64_MIN);
  CHECK_FALSE(none.serve(entropy::number, guest.guest(), guest_address{base}));
}

TEST_CASE("who asks for strings without a grant finds none", "[policy]") {
  static_assert(deny_all::allows(environment::number));
  static_assert(deny_all::allows(program_arguments::number));
  REQUIRE(::setenv("VIRTINE_GRANTS_TEST", "secret", 1) == 0);
  const auto ask = [](auto& rules, std::uint32_t number) {
    asker guest(rules);
    const sequence_reference where{base + 64, 32};
    REQUIRE(guest.guest().write(guest_address{base + 8}, std::as_bytes(std::span(&where, 1))));
    REQUIRE(rules.serve(number, guest.guest(), guest_address{base}));
    const auto needed = guest.guest().memory().template read<std::uint64_t>(guest_address{base});
    const auto given = guest.guest().read(guest_address{base + 64}, 32);
    REQUIRE(given);
    for (const std::byte each : *given) CHECK(each == std::byte{0});
    return needed.value();
  };
  deny_all none;
  policy clock{posix::clock()};
  for (const std::uint32_t number : {environment::number, program_arguments::number}) {
    CHECK(ask(none, number) == 0);
    CHECK(ask(clock, number) == 0);
  }
  CHECK(none.usage().denied.empty());
  // One of them granted is not the other.
  policy arguments{posix::arguments({})};
  CHECK(ask(arguments, environment::number) == 0);
}

TEST_CASE("the ready-made policies grant what they say", "[policy][posix]") {
  const auto serves = [](auto& rules, std::uint32_t number,
                         std::array<std::uint64_t, 6> arguments = {}) {
    asker asks(rules);
    return asks.call(number, arguments);
  };
  auto dropping = posix::minimal();
  CHECK(serves(dropping, SYS_getpid) == 1);
  CHECK(serves(dropping, SYS_openat) == -ENOSYS);
  CHECK(serves(dropping, SYS_getrandom) == -ENOSYS);
  CHECK(serves(dropping, SYS_write, {1, base, 4}) == 4);
  std::string text;
  auto printing = posix::minimal([&](std::string_view some) { text += some; }, 6);
  CHECK(serves(printing, SYS_write, {1, base, 4}) == 4);
  CHECK(text.size() == 4);

  auto everything = posix::permissive_exposes_host();
  CHECK(serves(everything, SYS_getrandom, {base, 8}) == 8);
  CHECK(serves(everything, SYS_fstat, {0, base}) == 0);
  CHECK(serves(everything, SYS_socket) == -ENOSYS);
}

TEST_CASE("each system call that a policy can grant is known to messages", "[policy][posix]") {
  const scratch files;
  std::string text;
  policy all{posix::directory<"/">(files.path(), posix::read_write), posix::output(text, 100),
             posix::clock(), allow_entropy()};
  asker asks(all);
  int served = 0;
  for (std::uint32_t number = 0; number < 500; ++number) {
    CAPTURE(number, system_call_name(number));
    const bool is_served = asks.call(number, {}) != INT64_MIN;
    CHECK(is_served == (granting(number) != nullptr));
    served += is_served ? 1 : 0;
  }
  CHECK(served == 48);

  // What the message says is enough.
  const auto serves = [](auto rules, std::uint32_t number) {
    asker<decltype(rules)> one(rules);
    return one.call(number, {}) != INT64_MIN;
  };
  const std::string_view output = "posix::output()", directory = "posix::directory()";
  for (std::uint32_t number = 0; number < 500; ++number) {
    const char* const words = granting(number);
    if (words == nullptr) continue;
    CAPTURE(number, system_call_name(number));
    const std::string_view how(words);
    CHECK_FALSE(serves(policy{}, number));
    if (how.find(output) != how.npos) CHECK(serves(policy{posix::output(text, 100)}, number));
    if (how.find(directory) != how.npos) {
      CHECK(serves(policy{posix::directory<"/">(files.path(), posix::read_only)}, number));
    }
    if (how.find("posix::descriptor()") != how.npos) {
      CHECK(serves(policy{posix::descriptor<0>(0, posix::read_only)}, number));
    }
    if (how.find("posix::clock()") != how.npos) CHECK(serves(policy{posix::clock()}, number));
    if (how.find("allow_entropy()") != how.npos) CHECK(serves(policy{allow_entropy()}, number));
    if (how.starts_with("any grant")) CHECK(serves(policy{posix::clock()}, number));
  }
}
