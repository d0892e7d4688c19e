// Memory and files that guests read without a copy.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <guests/lent.hpp>
#include <virtine/virtine.hpp>

#include "guests/lent_types.hpp"

using namespace virtine;

namespace {

using image = guests::lent;
using word = std::uint64_t;
using lent_bytes = virtine::lent<const std::byte>;
using lent_words = virtine::lent<const word>;

constexpr std::size_t kib = 1024;
constexpr std::size_t mib = 1024 * kib;

lent_memory numbered(std::size_t size, word first = 0) {
  lent_memory made = lent_memory::allocate(size).value();
  for (word& each : made.elements<word>()) each = first++;
  return made;
}

/// A file without a name, of `size` zeros.
class file {
 public:
  explicit file(std::size_t size) : descriptor_(::memfd_create("lent-test", MFD_CLOEXEC)) {
    REQUIRE(descriptor_ >= 0);
    resize(size);
  }
  file(const file&) = delete;
  file& operator=(const file&) = delete;
  ~file() { ::close(descriptor_); }

  void resize(std::size_t size) const {
    REQUIRE(::ftruncate(descriptor_, static_cast<::off_t>(size)) == 0);
  }
  void put(word value, std::size_t offset) const {
    REQUIRE(::pwrite(descriptor_, &value, sizeof value, static_cast<::off_t>(offset)) ==
            sizeof value);
  }
  [[nodiscard]] int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
};

/// Returns the rights of each mapping of this process that is of lent memory, as /proc has them,
/// without those that the program itself has.
std::vector<std::string> windows() {
  std::vector<std::string> found;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find("virtine-lent") == line.npos) continue;
    const std::string rights = line.substr(line.find(' ') + 1, 4);
    if (rights != "rw-s") found.push_back(rights);
  }
  return found;
}

}  // namespace

TEST_CASE("a guest reads lent memory of any size, all of it", "[kvm][own_vm]") {
  virtine_fn<word(lent_bytes), image::size> size;
  virtine_fn<word(lent_words, word), image::element> element;
  for (const std::size_t n : {std::size_t{8}, 4 * kib, 4 * kib + 8, 2 * mib - 8, 2 * mib,
                              2 * mib + 8, 6 * mib + 12 * kib}) {
    INFO(n);
    const lent_memory memory = numbered(n, 7);
    CHECK(memory.size() == n);
    CHECK(size(memory) == n);
    const word last = n / sizeof(word) - 1;
    for (const word index : {word{0}, last / 2, last}) CHECK(element(memory, index) == index + 7);
  }
}

TEST_CASE("what the host writes is there in the next call", "[kvm][own_vm]") {
  virtine_fn<word(lent_words, word), image::element> element;
  const lent_memory memory = numbered(64 * kib);
  CHECK(element(memory, 5) == 5);
  memory.elements<word>()[5] = 50;
  CHECK(element(memory, 5) == 50);
  CHECK(element.pool().stats().created == 1);
}

TEST_CASE("a call is lent what it was called with, whatever came before", "[kvm][own_vm]") {
  virtine_fn<word(lent_words, lent_words, lent_words, lent_words), image::four> four;
  std::array<lent_memory, 5> all;
  for (word i = 1; i < 5; ++i) all[i] = numbered(i * 4 * kib, i);
  const auto call = [&](std::size_t a, std::size_t b, std::size_t c, std::size_t d) {
    return four(all[a], all[b], all[c], all[d]);
  };
  CHECK(call(1, 2, 3, 4) == 1234);
  CHECK(call(1, 2, 3, 4) == 1234);
  CHECK(call(4, 2, 3, 1) == 4231);
  CHECK(call(2, 2, 2, 2) == 2222);
  CHECK(call(0, 3, 0, 1) == 301);  // Of nothing there are no elements.
  CHECK(four.pool().stats().created == 1);
}

TEST_CASE("lent memory lives until its last call is over", "[kvm][own_vm]") {
  virtine_fn<word(lent_words, word), image::element> element;
  auto later = element.async(numbered(64 * kib, 3), 0);
  CHECK(std::move(later).get() == 3);
}

TEST_CASE("what is taken back is mapped no more, and what is lent only for reading",
          "[kvm][own_vm]") {
  pool<image> machines({.max = 1});
  virtine_fn<word(lent_words, word), image::element> element{machines};
  virtine_fn<word(word), image::look_at> look{machines};
  CHECK(windows().empty());
  CHECK(element(numbered(64 * kib, 3), 1) == 4);
  CHECK(windows() == std::vector<std::string>{"r--s"});
  CHECK(look(image::description.segments.front().address) != 0);
  CHECK(windows().empty());
}

TEST_CASE("batches are lent memory", "[kvm][own_vm]") {
  virtine_fn<word(lent_words, word), image::element> element;
  const lent_memory first = numbered(64 * kib, 100);
  const lent_memory second = numbered(4 * kib, 200);
  std::vector<std::tuple<lent_memory, word>> jobs;
  for (word i = 0; i < 6; ++i) jobs.emplace_back(i < 3 ? first : second, i);
  const std::vector<word> expected{100, 101, 102, 203, 204, 205};
  CHECK(element.together(jobs).value() == expected);
  const auto each = element.each(jobs);
  for (std::size_t i = 0; i < each.size(); ++i) CHECK(each[i].value() == expected[i]);
  CHECK(element.pool().stats().created == 1);
}

TEST_CASE("a file is lent as large as it is, up to 1 GiB", "[kvm][own_vm]") {
  virtine_fn<word(lent_words, word), image::element> element;
  const file largest(lent_memory::max_size);
  largest.put(11, 0);
  const std::size_t small_pages = lent_memory::max_size - 2 * mib;
  largest.put(12, small_pages - 8);
  largest.put(13, small_pages);
  largest.put(14, lent_memory::max_size - 8);
  const lent_memory lent = lent_memory::of_file(largest.descriptor()).value();
  CHECK(lent.size() == lent_memory::max_size);
  CHECK(lent.bytes().empty());
  const auto at = [&](std::size_t offset) { return element(lent, offset / sizeof(word)); };
  CHECK(at(0) == 11);
  CHECK(at(small_pages - 8) == 12);
  CHECK(at(small_pages) == 13);
  CHECK(at(lent_memory::max_size - 8) == 14);
  largest.put(15, 0);
  CHECK(at(0) == 15);

  const file small(4 * kib + 100);
  small.put(16, 4 * kib);
  const auto by_path =
      lent_memory::of_file("/proc/self/fd/" + std::to_string(small.descriptor())).value();
  virtine_fn<word(lent_bytes), image::sum> sum;
  CHECK(by_path.size() == 4 * kib + 100);
  CHECK(sum(by_path) == 16);
}

TEST_CASE("what cannot be lent is refused before a call", "[kvm][own_vm]") {
  const auto refused = [](const result<lent_memory>& made, errc code, int os_error) {
    REQUIRE(!made);
    INFO(to_string(made.error()));
    CHECK(made.error().code == code);
    CHECK(made.error().os_error == os_error);
  };
  refused(lent_memory::allocate(lent_memory::max_size + 1), errc::bad_argument, 0);
  const file too_large(lent_memory::max_size + 1);
  refused(lent_memory::of_file(too_large.descriptor()), errc::bad_argument, 0);
  std::array<int, 2> ends{};
  REQUIRE(::pipe(ends.data()) == 0);
  refused(lent_memory::of_file(ends[0]), errc::bad_argument, 0);
  ::close(ends[0]);
  ::close(ends[1]);
  refused(lent_memory::of_file(-1), errc::os_error, EBADF);
  const auto missing = lent_memory::of_file("/nowhere/at all");
  refused(missing, errc::os_error, ENOENT);
  CHECK(to_string(missing.error()).find("/nowhere/at all") != std::string::npos);
  const file source(4096);
  const std::string path = "/proc/self/fd/" + std::to_string(source.descriptor());
  const int write_only = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  REQUIRE(write_only >= 0);
  refused(lent_memory::of_file(write_only), errc::os_error, EACCES);
  ::close(write_only);
  CHECK(lent_memory::allocate(0).value() == lent_memory());
}

TEST_CASE("memory that is not whole elements is refused, and the machine is not used",
          "[kvm][own_vm]") {
  virtine_fn<word(lent_words, word), image::element> element;
  const auto is_refused = [](const error& why, std::size_t size) {
    INFO(to_string(why));
    CHECK(why.code == errc::bad_argument);
    CHECK(why.detail == size);
  };
  const file source(4 * kib + 7);
  const lent_memory whole = numbered(4 * kib, 100);
  const auto lent_file = lent_memory::of_file(source.descriptor()).value();
  is_refused(element.try_call(lent_memory::allocate(12).value(), 0).error(), 12);
  is_refused(element.try_call(lent_file, 0).error(), 4 * kib + 7);
  CHECK(element.pool().stats().created == 0);
  const std::vector<std::tuple<lent_memory, word>> jobs{{whole, 1}, {lent_file, 2}, {whole, 3}};
  const auto each = element.each(jobs);
  CHECK(each[0].value() == 101);
  is_refused(each[1].error(), 4 * kib + 7);
  CHECK(each[2].value() == 103);
  const auto together = element.together(jobs);
  REQUIRE(!together);
  is_refused(together.error(), 4 * kib + 7);
  CHECK(together.error().job == 1);
  virtine_fn<word(lent_bytes), image::size> size;
  CHECK(size(lent_file) == 4 * kib + 7);
}

TEST_CASE("only images that end below 4 GiB have a window", "[kvm][own_vm]") {
  static constexpr auto layout_with = [](std::uint64_t arguments) {
    image_description described = image::description;
    described.arguments_size = arguments;
    return detail::layout_of(described);
  };
  STATIC_REQUIRE(detail::lent_window::fits(layout_with(std::uint64_t{1} << 31)));
  STATIC_REQUIRE(!detail::lent_window::fits(layout_with(std::uint64_t{1} << 32)));
}

TEST_CASE("a file that becomes shorter fails the calls that miss it, and no others",
          "[kvm][own_vm]") {
  virtine_fn<word(lent_words, word), image::element> element;
  const file source(64 * kib);
  source.put(9, 60 * kib);
  const lent_memory lent = lent_memory::of_file(source.descriptor()).value();
  CHECK(element(lent, 60 * kib / sizeof(word)) == 9);
  source.resize(4 * kib);
  const auto failed = element.try_call(lent, 60 * kib / sizeof(word));
  REQUIRE(!failed);
  INFO(to_string(failed.error()));
  CHECK(failed.error().code == errc::os_error);
  CHECK(failed.error().os_error == EFAULT);
  CHECK(std::string_view(failed.error().operation).find("lent file") != std::string_view::npos);
  CHECK(element(lent, 0) == 0);
  source.resize(64 * kib);
  CHECK(element(lent, 60 * kib / sizeof(word)) == 0);
}

TEST_CASE("hypercalls can be given lent memory, but no lent file", "[kvm][own_vm]") {
  const auto policy = virtine::policy{allow<told>([](tainted<std::span<const word>> given) {
    word total = 0;
    for (word each : given.unverified_because("any words will do")) total += each;
    return total;
  })};
  virtine_fn<word(lent_bytes, word, word), image::tell, std::remove_const_t<decltype(policy)>> tell{
      policy};
  virtine_fn<word(lent_bytes), image::place> place;
  const lent_memory memory = numbered(4 * kib + 16, 1);
  const word at = place(memory);
  CHECK(tell(memory, at + 4 * kib, 2) == 513 + 514);
  for (const auto& [lent, count] :
       {std::pair(memory, word{513}),
        std::pair(lent_memory::of_file(file(4 * kib + 16).descriptor()).value(), word{2})}) {
    const auto refused = tell.try_call(lent, at + 4 * kib, count);
    REQUIRE(!refused);
    CHECK(refused.error().code == errc::hypercall_rejected);
  }
}
