// Snapshots saved to files: loaded elsewhere they save running the initialiser, and whatever is not
// exactly what was saved is refused.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include <guests/prepared.hpp>
#include <guests/scribbles.hpp>
#include <guests/square.hpp>
#include <virtine/snapshot_file.hpp>
#include <virtine/virtine.hpp>

#include "guests/prepared_types.hpp"

using namespace virtine;
using namespace virtine::detail;

namespace {

namespace fs = std::filesystem;

using prepared = guests::prepared;
using scribbles = guests::scribbles;
using state_fn = virtine_fn<prepared_state(), prepared::state>;

constexpr const char* path_variable = "VIRTINE_TEST_SNAPSHOT";
constexpr const char* born_variable = "VIRTINE_TEST_SNAPSHOT_BORN";

// A directory of a test's own.
class directory {
 public:
  directory() {
    // In memory, because some tests write thousands of files.
    std::error_code failed;
    fs::path parent = "/dev/shm";
    if (!fs::is_directory(parent, failed)) parent = fs::temp_directory_path();
    std::string name = parent / "virtine-test-XXXXXX";
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~directory() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  directory(const directory&) = delete;
  directory& operator=(const directory&) = delete;

  [[nodiscard]] std::string file(const char* name) const { return path_ / name; }
  [[nodiscard]] std::ptrdiff_t count() const {
    return std::distance(fs::directory_iterator(path_), fs::directory_iterator());
  }

 private:
  fs::path path_;
};

std::vector<char> read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

void write_file(const std::string& path, const std::vector<char>& bytes) {
  std::ofstream out(path, std::ios::binary);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

// Returns why `bytes` are no snapshot of Image; empty if they are.
template <class Image>
std::string refusal(const std::string& path, const std::vector<char>& bytes) {
  write_file(path, bytes);
  const auto loaded = load_snapshot<Image>(path);
  if (loaded) return {};
  if (loaded.error().code != errc::snapshot_refused) return "another code";
  // Each names its file.
  const std::string why = loaded.error().operation;
  REQUIRE(why.starts_with(path + ": "));
  return why.substr(path.size() + 2);
}

template <class Image>
std::vector<char> saved_bytes(const std::string& path) {
  REQUIRE(save_snapshot<Image>(path));
  return read_file(path);
}

std::vector<char> with_header(std::vector<char> bytes, const detail::saved_header& header) {
  std::memcpy(bytes.data(), &header, sizeof header);
  return bytes;
}

}  // namespace

TEST_CASE("a loaded snapshot is what was saved, without running the initialiser", "[saved]") {
  const directory here;
  const std::string path = here.file("prepared");
  std::uint64_t born = 0;
  {
    state_fn state;
    born = state().born;
    REQUIRE(save_snapshot<prepared>(path));
  }
  CHECK(state_fn{}().born != born);
  const auto loaded = load_snapshot<prepared>(path);
  REQUIRE(loaded.has_value());
  state_fn state;
  for (int i = 0; i < 3; ++i) {
    const prepared_state seen = state();
    CHECK(seen.born == born);
    CHECK(seen.trace == 123);
    CHECK(seen.calls == 1);
  }
  virtine_fn<std::uint64_t(), prepared::wrong_squares> wrong_squares;
  CHECK(wrong_squares() == 0);
  CHECK(wrong_squares() == 0);
  // And it can be saved again as it is.
  CHECK(saved_bytes<prepared>(here.file("again")) == read_file(path));
}

TEST_CASE("in another process: a snapshot is loaded", "[.another-process]") {
  const char* path = std::getenv(path_variable);
  const char* born = std::getenv(born_variable);
  REQUIRE(path != nullptr);
  REQUIRE(born != nullptr);
  const auto loaded = load_snapshot<prepared>(path);
  REQUIRE(loaded.has_value());
  CHECK(std::to_string(state_fn{}().born) == born);
}

TEST_CASE("another process loads what this one saved", "[saved]") {
  const directory here;
  const std::string path = here.file("prepared");
  state_fn state;
  const std::string born = std::to_string(state().born);
  REQUIRE(save_snapshot<prepared>(path));
  REQUIRE(::setenv(path_variable, path.c_str(), 1) == 0);
  REQUIRE(::setenv(born_variable, born.c_str(), 1) == 0);

  std::string program = fs::read_symlink("/proc/self/exe");
  std::string filter = "[.another-process]";
  std::string option = "-o";
  std::string nowhere = "/dev/null";
  const std::array<char*, 5> arguments{program.data(), filter.data(), option.data(), nowhere.data(),
                                       nullptr};
  ::pid_t child = -1;
  REQUIRE(::posix_spawn(&child, program.c_str(), nullptr, nullptr, arguments.data(), environ) == 0);
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("a snapshot file belongs to its owner, and is replaced as a whole", "[saved]") {
  const directory here;
  const std::string path = here.file("file");
  write_file(path, {'o', 'l', 'd'});
  fs::permissions(path, fs::perms::all);
  const auto bytes = saved_bytes<scribbles>(path);
  CHECK(bytes.size() == sizeof(detail::saved_header) + sizeof(std::uint64_t) + x86::page_size);
  CHECK(fs::status(path).permissions() == (fs::perms::owner_read | fs::perms::owner_write));
  CHECK(here.count() == 1);
  CHECK(refusal<scribbles>(path, bytes).empty());

  // What cannot be written leaves nothing.
  fs::create_directory(here.file("folder"));
  write_file(here.file("folder/file"), {});
  for (const char* wrong : {"folder", "none/file"}) {
    const auto failed = save_snapshot<scribbles>(here.file(wrong));
    REQUIRE_FALSE(failed.has_value());
    CHECK(failed.error().code == errc::os_error);
    CHECK(failed.error().os_error != 0);
  }
  CHECK(here.count() == 2);
}

TEST_CASE("a snapshot file behind a link is replaced, and the link stays", "[saved]") {
  const directory here;
  const std::string path = here.file("file");
  fs::create_symlink("second", here.file("first"));
  fs::create_symlink(path, here.file("second"));
  for (int i = 0; i < 2; ++i) {  // The file is not there, and is.
    REQUIRE(save_snapshot<scribbles>(here.file("first")));
    CHECK(fs::is_symlink(here.file("first")));
    CHECK(fs::is_symlink(here.file("second")));
    CHECK(fs::is_regular_file(fs::symlink_status(path)));
    CHECK(load_snapshot<scribbles>(here.file("first")).has_value());
  }
  // Its name may be as long as names can be, and is relative to where the process is.
  const std::string longest(255, 'a');
  REQUIRE(save_snapshot<scribbles>(here.file(longest.c_str())));
  const fs::path was = fs::current_path();
  fs::current_path(here.file("."));
  const bool saved = save_snapshot<scribbles>("relative").has_value();
  fs::current_path(was);
  CHECK(saved);
  CHECK(load_snapshot<scribbles>(here.file("relative")).has_value());
}

TEST_CASE("what is not a regular file is not replaced by a snapshot", "[saved]") {
  const directory here;
  fs::create_symlink("/dev/null", here.file("null"));
  fs::create_symlink("round", here.file("round"));
  fs::create_symlink("nowhere/file", here.file("lost"));
  REQUIRE(::mkfifo(here.file("pipe").c_str(), 0600) == 0);
  const int unnamed = ::open(here.file(".").c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  const std::string by_number = "/proc/self/fd/" + std::to_string(unnamed);
  const auto before = here.count();
  for (const auto& [wrong, why] : {
           std::pair{here.file("null"), EINVAL},
           std::pair{std::string("/dev/null"), EINVAL},
           std::pair{here.file("pipe"), EINVAL},
           std::pair{here.file("."), EISDIR},
           std::pair{here.file("round"), ELOOP},
           std::pair{here.file("lost"), ENOENT},
           std::pair{here.file("pipe/file"), ENOTDIR},
           std::pair{here.file("a") + '\0' + "b", EINVAL},
           std::pair{here.file(std::string(256, 'a').c_str()), ENAMETOOLONG},
           std::pair{std::string(), ENOENT},
       }) {
    INFO(wrong);
    const auto failed = save_snapshot<scribbles>(wrong);
    REQUIRE_FALSE(failed.has_value());
    CHECK(failed.error().code == errc::os_error);
    CHECK(failed.error().os_error == why);
  }
  if (unnamed >= 0) {
    CHECK_FALSE(save_snapshot<scribbles>(by_number).has_value());
    ::close(unnamed);
  }
  CHECK(here.count() == before);
  CHECK(fs::is_character_file("/dev/null"));
  CHECK(fs::is_fifo(here.file("pipe")));
}

TEST_CASE("a snapshot that is larger than files may be is an error", "[saved]") {
  const directory here;
  struct ::rlimit was {};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &was) == 0);
  state_fn state;  // Made before: a machine's memory is a file too.
  REQUIRE(state().calls == 1);
  for (::rlim_t limit : {::rlim_t{0}, ::rlim_t{100}, ::rlim_t{4096}}) {
    const struct ::rlimit low { limit, was.rlim_max };
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &low) == 0);
    const auto failed = save_snapshot<prepared>(here.file("file"));
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &was) == 0);
    REQUIRE_FALSE(failed.has_value());
    CHECK(failed.error().os_error == EFBIG);
  }
  CHECK(here.count() == 0);
}

TEST_CASE("an image without an initialiser has a snapshot file without pages", "[saved]") {
  const directory here;
  const std::string path = here.file("file");
  CHECK(saved_bytes<guests::square>(path).size() == sizeof(detail::saved_header));
  const auto loaded = load_snapshot<guests::square>(path);
  REQUIRE(loaded.has_value());
  virtine_fn<int(int), guests::square> square;
  CHECK(square(7) == 49);
}

TEST_CASE("each field of the header is held against what it must be", "[saved]") {
  const directory here;
  const std::string path = here.file("file");
  const auto bytes = saved_bytes<scribbles>(path);
  detail::saved_header good;
  std::memcpy(&good, bytes.data(), sizeof good);
  CHECK(good.magic == detail::saved_header::expected_magic);
  CHECK(std::memcmp(bytes.data(), "VIRTSNAP", 8) == 0);
  CHECK(good.pages == 1);

  const auto refused = [&](auto change) {
    detail::saved_header changed = good;
    change(changed);
    return refusal<scribbles>(path, with_header(bytes, changed));
  };
  CHECK(refused([](detail::saved_header&) {}).empty());
  CHECK(refused([](detail::saved_header& h) { h.magic ^= 1; }) == "this is not a snapshot file");
  const std::string version = "the snapshot is of another version of the library";
  CHECK(refused([](detail::saved_header& h) { ++h.format; }) == version);
  CHECK(refused([](detail::saved_header& h) { ++h.version; }) == version);
  CHECK(refused([](detail::saved_header& h) { h.image ^= 1; }) ==
        "the snapshot is of another image");
  CHECK(refused([](detail::saved_header& h) { h.processor ^= 1; }) ==
        "the snapshot is of a host with another processor or KVM");
  CHECK(refused([](detail::saved_header& h) { h.pages = 0; }) == "the snapshot file is too long");
  CHECK(refused([](detail::saved_header& h) { h.content ^= 1; }) == "the snapshot file is damaged");
  // More than the image has, up to what would wrap: nothing may be allocated for it.
  for (const std::uint64_t pages : {std::uint64_t{2}, std::uint64_t{1} << 40, UINT64_MAX / 4104,
                                    UINT64_MAX / 4104 + 1, UINT64_MAX}) {
    CHECK(refused([&](detail::saved_header& h) { h.pages = pages; }) ==
          "the snapshot file has more pages than the image");
  }
}

TEST_CASE("a snapshot of another image is refused", "[saved]") {
  const directory here;
  const std::string path = here.file("file");
  const auto bytes = saved_bytes<scribbles>(path);
  CHECK(refusal<prepared>(path, bytes) == "the snapshot is of another image");
  CHECK(refusal<guests::square>(path, bytes) == "the snapshot is of another image");

  // And of one that differs in the least.
  const std::uint64_t own = detail::digest_of(scribbles::description);
  std::vector<segment> segments(scribbles::description.segments.begin(),
                                scribbles::description.segments.end());
  image_description other = scribbles::description;
  other.segments = segments;
  CHECK(detail::digest_of(other) == own);
  std::string content(segments.front().content);
  content.back() = static_cast<char>(content.back() ^ 1);
  segments.front().content = content;
  CHECK(detail::digest_of(other) != own);
  segments.front().content = scribbles::description.segments.front().content;
  CHECK(detail::digest_of(other) == own);
  segments.back().memory_size += 1;
  CHECK(detail::digest_of(other) != own);
  segments.back().memory_size -= 1;
  other.init += 1;
  CHECK(detail::digest_of(other) != own);
  other.init -= 1;
  other.stack_size *= 2;
  CHECK(detail::digest_of(other) != own);
}

TEST_CASE("a snapshot of a host with another processor is refused", "[saved]") {
  kvm::cpuid_table table = *guest_cpu::shared().value()->cpuid;
  const std::uint64_t own = detail::digest_of(table, 7);
  CHECK(detail::digest_of(table, 7) == own);
  CHECK(detail::digest_of(table, 3) != own);
  kvm_cpuid_entry2* features = table.find(1);
  REQUIRE(features != nullptr);
  // The number of the processor that was asked is no property of the host.
  features->ebx ^= 0xff000000;
  CHECK(detail::digest_of(table, 7) == own);
  features->ecx ^= 1U << 30;
  CHECK(detail::digest_of(table, 7) != own);
}

TEST_CASE("what the processor itself can do is part of what a snapshot is of", "[saved]") {
  const auto digest_with = [](std::uint32_t function, std::uint32_t index,
                              const x86::cpuid_answer& flipped, std::uint64_t xcr0 = 7) {
    return detail::digest_of_instructions(
        [&](std::uint32_t of, std::uint32_t at) {
          return of == function && at == index ? flipped : x86::cpuid_answer{};
        },
        xcr0);
  };
  const std::uint64_t none = digest_with(0, 0, {});
  CHECK(digest_with(0, 0, {}, 3) != none);
  CHECK(digest_with(1, 0, {.ecx = 1U << 28}) != none);
  CHECK(digest_with(7, 0, {.ebx = 1U << 5}) != none);
  CHECK(digest_with(7, 1, {.eax = 1U << 4}) != none);
  CHECK(digest_with(0xd, 1, {.eax = 1}) != none);
  CHECK(digest_with(0x80000001, 0, {.ecx = 1U << 6}) != none);
  // The number of a processor, and what the operating system turns on, are no instructions.
  CHECK(digest_with(1, 0, {.ebx = 5U << 24}) == none);
  CHECK(digest_with(1, 0, {.ecx = 1U << 27}) == none);
  CHECK(detail::processor_digest().value() == detail::processor_digest().value());
}

TEST_CASE("no byte of a snapshot file can be altered", "[saved]") {
  const directory here;
  const std::string path = here.file("file");
  auto bytes = saved_bytes<scribbles>(path);
  std::size_t taken = 0;
  for (char& each : bytes) {
    const char was = each;
    each = static_cast<char>(each ^ (1 << (taken % 8)));
    if (refusal<scribbles>(path, bytes).empty()) ++taken;
    each = was;
  }
  CHECK(taken == 0);
  CHECK(refusal<scribbles>(path, bytes).empty());
}

TEST_CASE("a snapshot file of any other length is refused", "[saved]") {
  const directory here;
  const std::string path = here.file("file");
  const auto bytes = saved_bytes<scribbles>(path);
  std::size_t taken = 0;
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const std::vector<char> part(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
    if (refusal<scribbles>(path, part) != "the snapshot file is truncated") ++taken;
  }
  CHECK(taken == 0);
  for (const std::size_t more : {1U, 8U, 4104U, 100000U}) {
    auto longer = bytes;
    longer.resize(bytes.size() + more);
    CHECK(refusal<scribbles>(path, longer) == "the snapshot file is too long");
  }
}

TEST_CASE("a forged snapshot file reaches nothing but the image's data", "[saved]") {
  const directory here;
  const std::string path = here.file("file");
  const auto bytes = saved_bytes<scribbles>(path);
  constexpr layout where = layout_of(scribbles::description);
  detail::saved_header header;
  std::memcpy(&header, bytes.data(), sizeof header);
  const auto content = std::as_bytes(std::span(bytes)).last(x86::page_size);
  for (const std::uint64_t page :
       {where.tables, where.trap_stack, where.stack, where.arguments, where.end, x86::tables_page,
        x86::image_base, where.shared_end + 8, std::uint64_t{0}, ~std::uint64_t{0xfff}}) {
    const std::array pages{page};
    header.content = detail::digest_of(pages, content);
    auto forged = with_header(bytes, header);
    std::memcpy(forged.data() + sizeof header, &page, sizeof page);
    CHECK(refusal<scribbles>(path, forged) == "a page of the snapshot is none of the image's data");
  }
}

TEST_CASE("what is no file of ours is refused without waiting for it", "[saved]") {
  const directory here;
  const auto missing = load_snapshot<scribbles>(here.file("none"));
  REQUIRE_FALSE(missing.has_value());
  CHECK(missing.error().code == errc::os_error);
  CHECK(missing.error().os_error == ENOENT);
  REQUIRE(::mkfifo(here.file("pipe").c_str(), 0600) == 0);
  fs::create_directory(here.file("folder"));
  for (const std::string& path :
       {here.file("pipe"), here.file("folder"), std::string("/dev/zero")}) {
    const auto refused = load_snapshot<scribbles>(path);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == errc::snapshot_refused);
    CHECK(std::string(refused.error().operation).ends_with(": this is not a snapshot file"));
  }
}
