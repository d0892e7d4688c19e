// Fuzzes snapshot files: one is refused, or what was read of it is pages that the image may write,
// and nothing else of a machine's memory. An input is a byte that says what of it is put right, and
// the file.
// SPDX-License-Identifier: MIT
#include <sys/mman.h>
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

std::vector<std::byte> file_of(fuzz_input input) {
  const auto right = input.take<std::uint8_t>();
  std::vector<std::byte> file(input.rest().begin(), input.rest().end());
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

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const os::fd file(::memfd_create("snapshot", MFD_CLOEXEC));
  static const std::string path = "/proc/self/fd/" + std::to_string(file.get());
  static const auto pristine = detail::snapshot::create(image).value();
  const auto bytes = file_of({data, size});
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
  const auto is = (*made)->pristine();
  const auto was = pristine->pristine();
  require(is.size() == was.size());
  std::size_t next = 0;
  for (std::size_t at = 0; at < is.size(); at += page) {
    const std::uint64_t address = detail::layout::begin + at;
    const auto now = is.subspan(at, page);
    if (next < read->pages.size() && read->pages[next] == address) {
      require(is_writable(address));
      require(std::memcmp(now.data(), read->content.data() + next * page, page) == 0);
      ++next;
    } else {
      require(std::memcmp(now.data(), was.data() + at, page) == 0);
    }
  }
  require(next == read->pages.size());
  return 0;
}
