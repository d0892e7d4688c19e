// Fuzzes snapshot files: one is refused, or what was read of it is pages that the image may write,
// and nothing else of a machine's memory; it is then written, and read as the same. An input is a
// byte that says what of it is put right and where it is written to, and the file.
// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include <virtine/snapshot_file.hpp>

#include "input.hpp"
#include "own_folder.hpp"

namespace {

using namespace virtine;
using detail::saved_header;

constexpr std::uint64_t page = x86::page_size;
constexpr std::uint64_t processor = 0x1234;
constexpr std::array segments{
    segment{.address = x86::image_base, .memory_size = page, .content = "code", .executable = true},
    segment{.address = x86::image_base + page, .memory_size = page, .content = "constants"},
    segment{.address = x86::image_base + 2 * page,
            .memory_size = 3 * page,
            .content = "data",
            .writable = true},
};
constexpr image_description image{
    .name = "fuzzed", .segments = segments, .arguments_size = page, .stack_size = 2 * page};

/// What is put right of a file: all that only a saved one has.
enum : std::uint8_t { head = 1, digests = 2, whole_length = 4, whole_digest = 8, other_host = 16 };

std::vector<std::byte> file_of(unsigned right, std::span<const std::byte> input) {
  std::vector<std::byte> file(input.begin(), input.end());
  if (file.size() < sizeof(saved_header)) return file;
  saved_header is;
  std::memcpy(&is, file.data(), sizeof is);
  if ((right & head) != 0) {
    is.magic = saved_header::expected_magic;
    is.format = saved_header::expected_format;
    is.version = VIRTINE_VERSION;
  }
  if ((right & digests) != 0) {
    is.image = detail::digest_of(image);
    is.processor = (right & other_host) != 0 ? ~processor : processor;
  }
  if ((right & whole_length) != 0) {
    is.pages %= 8;
    file.resize(sizeof is + is.pages * (sizeof(std::uint64_t) + page));
  }
  if ((right & whole_digest) != 0) {
    const auto body = std::span(file).subspan(sizeof is);
    std::vector<std::uint64_t> pages(std::min<std::size_t>(is.pages, body.size() / 8));
    if (!pages.empty()) std::memcpy(pages.data(), body.data(), pages.size() * 8);
    is.content = detail::digest_of(pages, body.subspan(pages.size() * 8));
  }
  std::memcpy(file.data(), &is, sizeof is);
  return file;
}

bool is_writable(std::uint64_t address) {
  return address >= segments[2].address && address - segments[2].address < segments[2].memory_size;
}

/// A machine's memory is as without the file, but for the file's pages.
void check_memory(const detail::snapshot& made, const detail::snapshot& pristine,
                  const detail::initialised_data& read) {
  const auto is = made.pristine();
  const auto was = pristine.pristine();
  require(is.size() == was.size());
  const detail::layout& where = made.layout();
  std::size_t next = 0;
  for (std::size_t at = 0; at < is.size(); at += page) {
    const std::uint64_t address = detail::layout::begin + at;
    // Nothing is there, and no machine has it.
    if (address >= where.guard && address < where.stack) continue;
    const auto now = is.subspan(at, page);
    if (next < read.pages.size() && read.pages[next] == address) {
      require(is_writable(address));
      require(std::memcmp(now.data(), read.content.data() + next * page, page) == 0);
      ++next;
    } else {
      require(std::memcmp(now.data(), was.data() + at, page) == 0);
    }
  }
  require(next == read.pages.size());
}

/// Where snapshots are written to.
enum class place : std::uint8_t {
  file,
  link,   ///< To a file that is there or not.
  links,  ///< Each to the other.
  folder,
  no_folder,  ///< Below one that is not there.
  zero,       ///< In its path.
  deleted,    ///< A file without a name, by a link of the kernel's.
  full,       ///< Where there is no room for it.
};

/// Has this process write no file of more than some bytes.
class no_room {
 public:
  no_room() {
    require(::getrlimit(RLIMIT_FSIZE, &was_) == 0);
    set({.rlim_cur = sizeof(saved_header) - 8, .rlim_max = was_.rlim_max});
  }
  no_room(const no_room&) = delete;
  no_room& operator=(const no_room&) = delete;
  ~no_room() { set(was_); }

 private:
  static void set(const rlimit& to) { require(::setrlimit(RLIMIT_FSIZE, &to) == 0); }

  rlimit was_{};
};

/// A folder with all of these but the last.
class places {
 public:
  places() {
    link("to", "link");
    link("one", "other");
    link("other", "one");
    require(::mkdir((folder_.path() + "/folder").c_str(), 0755) == 0);
    const std::string name = folder_.path() + "/deleted";
    deleted_ = os::fd(::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    require(::unlink(name.c_str()) == 0);
  }

  [[nodiscard]] std::string path(place to) const {
    switch (to) {
      case place::link:
        return folder_.path() + "/link";
      case place::links:
        return folder_.path() + "/one";
      case place::folder:
        return folder_.path() + "/folder";
      case place::no_folder:
        return folder_.path() + "/none/file";
      case place::zero:
        return folder_.path() + std::string("/file\0", 6);
      case place::deleted:
        return "/proc/self/fd/" + std::to_string(deleted_.get());
      default:
        return folder_.path() + "/file";
    }
  }

 private:
  void link(const char* to, const char* at) const {
    require(::symlink(to, (folder_.path() + '/' + at).c_str()) == 0);
  }

  own_folder folder_;
  os::fd deleted_;
};

/// What is read is the snapshot that was written.
void write_and_read(const detail::snapshot& from, const detail::initialised_data& data, place to) {
  static const places all;
  const std::string path = all.path(to);
  const auto written = [&] {
    if (to != place::full) return detail::write_snapshot(from, processor, path);
    const no_room meanwhile;
    return detail::write_snapshot(from, processor, path);
  }();
  const bool is_good = to == place::file || to == place::link;
  require(written.has_value() == is_good);
  if (!written) return require(written.error().code == errc::os_error);
  const auto again = detail::read_snapshot(image, processor, path);
  require(again && again->pages == data.pages && again->content == data.content);
  require(!detail::read_snapshot(image, ~processor, path));
}

/// The same processor has the same digest on each of its cores, and another one another.
void digest_processor(fuzz_input input) {
  kvm::cpuid_table table;
  table.nent = input.take<std::uint8_t>() % 4;
  for (auto& each : std::span(table.entries).first(table.nent)) {
    constexpr std::array functions{0x1U, 0x7U, 0xbU, 0x1fU, 0x8000001eU};
    each.function = functions[input.take<std::uint8_t>() % functions.size()];
    each.eax = input.take<std::uint32_t>();
    each.ebx = input.take<std::uint32_t>();
    each.edx = input.take<std::uint32_t>();
  }
  const std::uint64_t xcr0 = input.take<std::uint8_t>();
  const std::uint64_t was = detail::digest_of(table, xcr0);
  require(detail::digest_of(table, xcr0 + 1) != was);
  for (auto& each : std::span(table.entries).first(table.nent)) {
    if (each.function == 1) each.ebx ^= 0xff000000;
    if (each.function == 0xb || each.function == 0x1f) each.edx = ~each.edx;
    if (each.function == 0x8000001e) each.ebx = ~each.ebx;
  }
  require(detail::digest_of(table, xcr0) == was);
  if (table.nent > 0) {
    table.entries[0].index ^= 1;
    require(detail::digest_of(table, xcr0) != was);
  }

  const x86::cpuid_answer answer{table.entries[0].eax, table.entries[0].ebx, xcr0 != 0 ? 1U : 0U,
                                 table.entries[0].edx};
  const auto with = [&](std::uint32_t changed) {
    return detail::digest_of_instructions(
        [&](std::uint32_t function, std::uint32_t) {
          x86::cpuid_answer out = answer;
          if (function == 1) out.ecx ^= changed;
          return out;
        },
        xcr0);
  };
  constexpr std::uint32_t osxsave = 1U << 27;
  require(with(0) == with(osxsave) && with(0) != with(1));
}

/// What is no image's data is refused, whatever a file said.
void use_without_file(fuzz_input input) {
  detail::initialised_data data;
  data.pages.resize(input.take<std::uint8_t>() % 8);
  for (auto& each : data.pages) each = x86::image_base + input.take<std::uint8_t>() * (page / 4);
  data.content.resize(input.take<std::uint8_t>() % 8 * page);
  const auto made = detail::snapshot::create(image, data);
  require(made || made.error().code == errc::snapshot_refused);
  if (!made) return;
  require(data.content.size() == data.pages.size() * page);
  require(std::all_of(data.pages.begin(), data.pages.end(), is_writable));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const os::fd file(::memfd_create("snapshot", MFD_CLOEXEC));
  static const std::string path = "/proc/self/fd/" + std::to_string(file.get());
  static const auto pristine = detail::snapshot::create(image).value();
  fuzz_input input(data, size);
  const auto how = input.take<std::uint8_t>();
  if (how == 0xff) return use_without_file(input), 0;
  if (how == 0xfe) return digest_processor(input), 0;

  const auto bytes = file_of(how % 32, input.rest());
  require(::ftruncate(file.get(), 0) == 0);
  require(::pwrite(file.get(), bytes.data(), bytes.size(), 0) ==
          static_cast<ssize_t>(bytes.size()));
  const auto read = detail::read_snapshot(image, processor, path);
  if (!read) {
    require(read.error().code == errc::snapshot_refused);
    return 0;
  }
  require(bytes.size() == sizeof(saved_header) + read->pages.size() * (8 + page));
  const auto made = detail::snapshot::create(image, *read);
  if (!made) {
    require(made.error().code == errc::snapshot_refused);
    return 0;
  }
  check_memory(**made, *pristine, *read);
  write_and_read(**made, *read, static_cast<place>(how / 32));
  return 0;
}
