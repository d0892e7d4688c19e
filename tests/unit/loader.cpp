// Image files: what is read of them, and that nothing damaged is accepted.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <malloc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <virtine/call_options.hpp>
#include <virtine/function.hpp>
#include <virtine/hypercall.hpp>
#include <virtine/loaded_image.hpp>

#include <guests/fib32.hpp>
#include <guests/math.hpp>
#include <guests/square.hpp>
#include "../image_bytes.hpp"
#include "../in_child.hpp"
#include "../sound_image.hpp"
#include "../told_calls.hpp"

namespace {

using virtine::errc;
using virtine::exported_function;
using virtine::image_description;
using virtine::load_image;
using virtine::load_options;
using virtine::detail::image_note;

constexpr std::uint32_t both_imports[] = {3, 9};
constexpr virtine::source_line some_lines[] = {
    {0x20000, "square.cpp", 5}, {0x20004, nullptr, 0}, {0x20006, "square.cpp", 6}};

/// An image with something of everything.
image_description sample() {
  image_description image = guests::square::description;
  image.lines = some_lines;
  image.imports = both_imports;
  return image;
}

std::vector<exported_function> sample_exports() {
  return {{"cube", "i4(i4)", 0x20000, std::span(both_imports).first(1)},
          {"square", "i4(i4)", 0x20000, {}},
          {"total", "u8([u1])", 0x20003, both_imports}};
}

image_bytes sample_file() {
  return {sample(), sample_exports()};
}

std::string why_not(const image_bytes& file, const load_options& options = {}) {
  auto loaded = load_image(std::span<const std::byte>(file.bytes), options);
  if (loaded) return "loaded";
  CHECK(loaded.error().code == errc::image_refused);
  return loaded.error().operation;
}

template <class T>
std::string with(std::size_t at, T value) {
  image_bytes file = sample_file();
  file.put(at, value);
  return why_not(file);
}

/// A function type of many ints, whose id has 256 characters, and the same with one more argument.
template <std::size_t>
using each_int = int;
template <class... More, std::size_t... I>
auto long_type(std::index_sequence<I...>) -> std::type_identity<void(each_int<I>..., More...)>;
using longest_type = decltype(long_type<bool>(std::make_index_sequence<84>()))::type;

/// A descriptor of a file in memory with these bytes.
int memory_file(std::span<const std::byte> bytes) {
  const int made = ::memfd_create("image", MFD_CLOEXEC);
  REQUIRE(made >= 0);
  REQUIRE(::write(made, bytes.data(), bytes.size()) == static_cast<::ssize_t>(bytes.size()));
  return made;
}

}  // namespace

TEST_CASE("an image file has all that a header has", "[loader]") {
  const std::vector<exported_function> exports{
      {"fibonacci", "u8(u8)", guests::math::description.segments.front().address, {}}};
  const image_bytes file(guests::math::description, exports);
  auto loaded = load_image(std::span<const std::byte>(file.bytes));
  REQUIRE(loaded);
  const image_description& is = loaded->description();
  const image_description& was = guests::math::description;
  CHECK(std::string_view(is.name) == was.name);
  CHECK(is.mode == was.mode);
  CHECK(is.arguments_size == was.arguments_size);
  CHECK(is.stack_size == was.stack_size);
  CHECK(is.init == was.init);
  CHECK(is.thread_pointer == was.thread_pointer);
  REQUIRE(is.segments.size() == was.segments.size());
  for (std::size_t i = 0; i < is.segments.size(); ++i) {
    CHECK(is.segments[i].address == was.segments[i].address);
    CHECK(is.segments[i].memory_size == was.segments[i].memory_size);
    CHECK(is.segments[i].content == was.segments[i].content);
    CHECK(is.segments[i].writable == was.segments[i].writable);
    CHECK(is.segments[i].executable == was.segments[i].executable);
  }
  REQUIRE(is.symbols.size() == was.symbols.size());
  for (std::size_t i = 0; i < is.symbols.size(); ++i) {
    CHECK(is.symbols[i].address == was.symbols[i].address);
    CHECK(is.symbols[i].size == was.symbols[i].size);
    CHECK(std::string_view(is.symbols[i].name) == was.symbols[i].name);
  }
}

TEST_CASE("exports, imports and lines of an image file are those that it was given", "[loader]") {
  const image_bytes file = sample_file();
  auto loaded = load_image(std::span<const std::byte>(file.bytes));
  REQUIRE(loaded);
  REQUIRE(loaded->exports().size() == 3);
  CHECK(loaded->exports()[0].name == "cube");
  CHECK(loaded->exports()[0].imports.size() == 1);
  CHECK(loaded->exports()[1].imports.empty());
  CHECK(loaded->exports()[2].signature == "u8([u1])");
  CHECK(loaded->exports()[2].address == 0x20003);
  CHECK(std::ranges::equal(loaded->exports()[2].imports, both_imports));
  CHECK(std::ranges::equal(loaded->description().imports, both_imports));
  REQUIRE(loaded->description().lines.size() == 3);
  CHECK(std::string_view(loaded->description().lines[0].file) == "square.cpp");
  CHECK(loaded->description().lines[1].file == nullptr);
  CHECK(loaded->description().lines[2].line == 6);
}

TEST_CASE("a function that an image does not have is refused by name", "[loader]") {
  const image_bytes file = sample_file();
  auto loaded = load_image(std::span<const std::byte>(file.bytes));
  REQUIRE(loaded);
  const auto why = [](const auto& made) {
    REQUIRE(!made);
    CHECK(made.error().code == errc::image_refused);
    return std::string(made.error().operation);
  };
  CHECK(why(loaded->function<int(int)>("cubes")) ==
        "the image square has no function cubes; it has cube, square, total");
  CHECK(why(loaded->function<long(int)>("square")) ==
        "square of the image square is int(int), and not long(int)");
  CHECK(why(loaded->function<int(int)>("cube")) ==
        "cube can make hypercall 3, which the policy does not allow; add "
        "virtine::allow<Call>(handler) to it (in C virtine_policy_add_hypercall)");
  CHECK(loaded->function<int(int)>("square"));
  using three = virtine::hypercall<3, int(int)>;
  CHECK(loaded->function<int(int)>(
      "cube", virtine::policy(virtine::allow<three>([](virtine::tainted<int>) { return 1; }))));
  auto other = load_image(std::span<const std::byte>(file.bytes));
  REQUIRE(other);
  virtine::loaded_pool machines(*other);
  CHECK(why(loaded->function<int(int)>("square", machines)) == "the pool is one of another image");
  CHECK(other->function<int(int)>("square", machines));
}

TEST_CASE("a signature of an image file that is too long is no other function's", "[loader]") {
  const std::string longest(virtine::detail::signature<longest_type>);
  REQUIRE(longest.size() == 256);
  REQUIRE(longest.ends_with(",b)"));
  const std::string longer = longest.substr(0, 254) + "b,b)";
  const image_bytes file(sample(), {{"cut", std::string_view(longer).substr(0, 256), 0x20000, {}},
                                    {"longer", longer, 0x20000, {}},
                                    {"longest", longest, 0x20000, {}}});
  auto loaded = load_image(std::span<const std::byte>(file.bytes));
  REQUIRE(loaded);
  CHECK(loaded->function<longest_type>("longest"));
  CHECK(loaded->dynamic("longest"));
  for (const char* const name : {"cut", "longer"}) {
    CHECK(loaded->function<longest_type>(name).error().code == errc::image_refused);
    CHECK(
        std::string(loaded->dynamic(name).error().operation)
            .starts_with("the signature of " + std::string(name) + " of the image square is none"));
  }
}

TEST_CASE("what was moved from is still the image, and the function", "[loader]") {
  const image_bytes file = sample_file();
  auto loaded = load_image(std::span<const std::byte>(file.bytes)).value();
  // NOLINTBEGIN(bugprone-use-after-move, performance-move-const-arg): what this is about.
  const auto image = std::move(loaded);
  CHECK(loaded.exports().data() == image.exports().data());
  auto square = loaded.function<int(int)>("square").value();
  const auto other_square = std::move(square);
  CHECK(square.target() == other_square.target());
  virtine::function<int(int)> any(std::move(square));
  const auto other_any = std::move(any);
  CHECK(any.target() == other_square.target());
  auto dynamic = loaded.dynamic("square").value();
  const auto other_dynamic = std::move(dynamic);
  CHECK(dynamic.target() == other_dynamic.target());
  // NOLINTEND(bugprone-use-after-move, performance-move-const-arg)
}

TEST_CASE("an image is loaded for the machines that its file says", "[loader]") {
  using entry = guests::fib32::only_entry;
  const image_bytes bare(guests::fib32::description,
                         {{entry::name, entry::signature, entry::address, entry::imports}});
  const image_bytes user = sample_file();
  const auto loaded_bare = virtine::load_any_image(std::span<const std::byte>(bare.bytes));
  REQUIRE(loaded_bare);
  CHECK(std::holds_alternative<virtine::loaded_bare_image>(*loaded_bare));
  const auto loaded = virtine::load_any_image(std::span<const std::byte>(user.bytes));
  REQUIRE(loaded);
  CHECK(std::get<virtine::loaded_image>(*loaded).exports().size() == 3);
  CHECK(virtine::load_any_image("/no/such.virtine").error().os_error == ENOENT);
  CHECK(why_not(bare) == "the image is for bare machines: load it by load_bare_image()");
}

TEST_CASE("what is wrong with an image file is told", "[loader]") {
  const image_bytes good = sample_file();
  REQUIRE(why_not(good) == "loaded");
  const std::size_t load = good.headers;
  const std::size_t note_header = load + (good.header_count - 1) * sizeof(::Elf64_Phdr);
  const auto in_load = [&](std::size_t offset) { return load + offset; };

  CHECK(with(0, 'x') == "this is not an image file: it is no ELF file");
  CHECK(with(offsetof(::Elf64_Ehdr, e_type), std::uint16_t{ET_DYN}) ==
        "this is not an image file: it is no executable for x86-64");
  CHECK(with(offsetof(::Elf64_Ehdr, e_machine), std::uint16_t{EM_AARCH64}) ==
        "this is not an image file: it is no executable for x86-64");
  CHECK(with(offsetof(::Elf64_Ehdr, e_phnum), std::uint16_t{17}) ==
        "the file is damaged: its program headers");
  CHECK(with(offsetof(::Elf64_Ehdr, e_phoff), std::uint64_t{UINT64_MAX - 8}) ==
        "the file is truncated");
  CHECK(with(note_header, std::uint32_t{PT_NULL}) ==
        "this is not an image file: it has no note of virtine-cc");
  CHECK(with(good.note - 4, 'x') == "this is not an image file: its note is none of virtine-cc");
  CHECK(with(good.note, std::uint32_t{2}) ==
        "the image is of another version of virtine-cc; build it again");
  CHECK(with(good.note + offsetof(image_note, exports), UINT32_MAX) ==
        "the note of the image has too many functions, hypercalls or texts");
  CHECK(with(good.note + offsetof(image_note, exports), std::uint32_t{4}) ==
        "the note of the image is not as long as its contents");
  CHECK(with(good.note + offsetof(image_note, symbols), UINT32_MAX) ==
        "symbols and lines of the image: 4294967298, but load_options::max_symbols allows 1000000");
  CHECK(with(good.note + offsetof(image_note, name), UINT32_MAX) ==
        "the note of the image is damaged");
  CHECK(with(good.note + offsetof(image_note, mode), std::uint32_t{4}) ==
        "the note of the image is damaged");
  CHECK(with(good.exports + offsetof(image_note::exported, first_import), UINT32_MAX) ==
        "the note of the image is damaged");
  CHECK(with(good.bytes.size() - 1, 'x') == "the note of the image has names that are no text");
  CHECK(with(good.texts, '\033') == "the note of the image has names that are no text");
  CHECK(with(good.texts, '\xc3') == "the note of the image has names that are no text");
  CHECK(with(good.exports, std::uint64_t{0x1000}) ==
        "the file is damaged: a function is outside of its code");
  CHECK(with(good.exports, UINT64_MAX) == "the file is damaged: a function is outside of its code");
  CHECK(with(good.note + offsetof(image_note, init), std::uint64_t{0x30000}) ==
        "the file is damaged: a function is outside of its code");
  CHECK(with(good.note + offsetof(image_note, thread_pointer), std::uint64_t{1} << 47) ==
        "the file is damaged: a function is outside of its code");
  CHECK(with(in_load(offsetof(::Elf64_Phdr, p_flags)), std::uint32_t{PF_R | PF_W | PF_X}) ==
        "the file is damaged: the map of its memory");
  CHECK(with(in_load(offsetof(::Elf64_Phdr, p_vaddr)), std::uint64_t{0x10000}) ==
        "the file is damaged: the map of its memory");
  CHECK(with(in_load(offsetof(::Elf64_Phdr, p_vaddr)), std::uint64_t{0x20001}) ==
        "the file is damaged: the map of its memory");
  CHECK(with(in_load(offsetof(::Elf64_Phdr, p_vaddr)), UINT64_MAX - 4095) ==
        "the file is damaged: the map of its memory");
  CHECK(with(in_load(offsetof(::Elf64_Phdr, p_memsz)), std::uint64_t{1}) ==
        "the file is damaged: a segment's size");
  CHECK(with(in_load(offsetof(::Elf64_Phdr, p_memsz)), UINT64_MAX) ==
        "the file is damaged: a segment's size");
  CHECK(with(in_load(offsetof(::Elf64_Phdr, p_offset)), UINT64_MAX) == "the file is truncated");
  CHECK(with(good.note + offsetof(image_note, stack_size), std::uint64_t{1}) ==
        "the file is damaged: the map of its memory");
}

TEST_CASE("what an image file may ask for is limited by the host", "[loader]") {
  const image_bytes file = sample_file();
  CHECK(why_not(file, {.max_memory = 4096}).find("load_options::max_memory allows 4096") !=
        std::string::npos);
  CHECK(why_not(file, {.max_stack = 4096}) ==
        "bytes of stack of the image: 262144, but load_options::max_stack allows 4096");
  CHECK(why_not(file, {.max_arguments = 100}) ==
        "bytes for arguments of the image: 65536, but load_options::max_arguments allows 100");
  CHECK(why_not(file, {.max_symbols = 3}) ==
        "symbols and lines of the image: 4, but load_options::max_symbols allows 3");
  // Nothing of 32 GiB is allocated before that is known to be too much.
  image_bytes huge = sample_file();
  huge.put(huge.headers + offsetof(::Elf64_Phdr, p_memsz), std::uint64_t{1} << 35);
  CHECK(why_not(huge).find("load_options::max_memory allows 67108864") != std::string::npos);

  // Nor anything of 32 MiB that a file of some hundred bytes only says that it has.
  image_bytes hollow = sample_file();
  constexpr std::uint64_t more = std::uint64_t{30} << 20;
  const std::size_t note_header = hollow.headers + (hollow.header_count - 1) * sizeof(::Elf64_Phdr);
  const auto add = [&]<class T>(std::size_t at, T some) {
    hollow.put(at, static_cast<T>(hollow.get<T>(at) + some));
  };
  add(note_header + offsetof(::Elf64_Phdr, p_filesz), more);
  add(hollow.note - 16, static_cast<std::uint32_t>(more));  // n_descsz
  add(hollow.note + offsetof(image_note, texts), more);
  const auto faults = [] {
    ::rusage used{};
    REQUIRE(::getrusage(RUSAGE_SELF, &used) == 0);
    return used.ru_minflt;
  };
  const auto before = faults();
  CHECK(why_not(hollow) == "the file is truncated");
  CHECK(faults() - before < 2'000);
}

TEST_CASE("a text of an image file has a bounded length", "[loader]") {
  // Else a file of 32 MiB whose names all share one end would take an hour to look at.
  const auto with_name = [](std::size_t size) {
    return image_bytes(sample(), {{std::string(size, 'a'), "i4(i4)", 0x20000, {}}});
  };
  CHECK(why_not(with_name(image_note::max_text)) == "loaded");
  CHECK(why_not(with_name(image_note::max_text + 1)) ==
        "the note of the image has a text of more than 4096 bytes");
}

TEST_CASE("no truncated image file is accepted", "[loader]") {
  const image_bytes file = sample_file();
  for (std::size_t size = 0; size < file.bytes.size(); ++size) {
    auto loaded = load_image(std::span<const std::byte>(file.bytes).first(size));
    REQUIRE(!loaded);
    REQUIRE(loaded.error().code == errc::image_refused);
  }
}

TEST_CASE("an image file with any bit flipped is refused or sound", "[loader]") {
  image_bytes file = sample_file();
  const load_options options;
  std::size_t accepted = 0;
  for (std::size_t at = 0; at < file.bytes.size(); ++at) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      file.bytes[at] ^= std::byte{1} << bit;
      auto loaded = load_image(std::span<const std::byte>(file.bytes), options);
      if (loaded) {
        REQUIRE(is_sound(*loaded, options));
        ++accepted;
      } else {
        REQUIRE(loaded.error().code == errc::image_refused);
      }
      file.bytes[at] ^= std::byte{1} << bit;
    }
  }
  // Such as in the code, or in a line's number.
  CHECK(accepted > 0);
}

TEST_CASE("an image file with any number made extreme is refused or sound", "[loader]") {
  const load_options options{.max_memory = std::uint64_t{1} << 20};
  std::mt19937 random(42);  // NOLINT(cert-msc51-cpp): the same files each time.
  constexpr std::uint64_t extremes[] = {0,
                                        1,
                                        4095,
                                        4096,
                                        0x20000,
                                        UINT32_MAX,
                                        UINT64_MAX,
                                        UINT64_MAX - 4095,
                                        1ULL << 63,
                                        1ULL << 36,
                                        (1ULL << 36) + 1};
  const image_bytes good = sample_file();
  for (int round = 0; round < 20'000; ++round) {
    image_bytes file = good;
    for (int edit = 0; edit < 3; ++edit) {
      const std::uint64_t value = extremes[random() % std::size(extremes)];
      const std::size_t at = random() % (file.bytes.size() - sizeof value) / 4 * 4;
      if (random() % 2 == 0) {
        file.put(at, value);
      } else {
        file.put(at, static_cast<std::uint32_t>(value));
      }
    }
    auto loaded = load_image(std::span<const std::byte>(file.bytes), options);
    if (loaded) REQUIRE(is_sound(*loaded, options));
  }
}

TEST_CASE("an image file that changes while it is read is refused or sound", "[loader]") {
  const image_bytes file = sample_file();
  const int descriptor = memory_file(file.bytes);
  std::atomic<bool> over{false};
  std::thread changing([&] {
    std::mt19937 random(7);  // NOLINT(cert-msc51-cpp): any numbers do.
    while (!over) {
      const std::size_t at = random() % file.bytes.size();
      const std::byte other{static_cast<std::uint8_t>(random())};
      static_cast<void>(!::pwrite(descriptor, &other, 1, static_cast<::off_t>(at)));
      static_cast<void>(!::pwrite(descriptor, file.bytes.data(), file.bytes.size(), 0));
    }
  });
  const load_options options;
  for (int i = 0; i < 2'000; ++i) {
    auto loaded = load_image(descriptor, options);
    if (loaded) REQUIRE(is_sound(*loaded, options));
  }
  over = true;
  changing.join();
  ::close(descriptor);
}

TEST_CASE("what is no regular file is refused at once", "[loader]") {
  const auto code = [](const char* path) { return load_image(path).error(); };
  CHECK(code("/dev/zero").code == errc::image_refused);
  CHECK(code("/tmp").code == errc::image_refused);
  CHECK(std::string(code("/tmp").operation) == "/tmp: this is not a regular file");
  CHECK(code("/no/such.virtine").os_error == ENOENT);
  CHECK(std::string(code("/no/such.virtine").operation) ==
        "/no/such.virtine: the file cannot be opened");
  const auto cut_short = load_image(std::string("/etc/passwd\0.virtine", 20));
  CHECK(std::string(cut_short.error().operation) ==
        "/etc/passwd: a path ends at a zero byte; were these the bytes of a file?");
  std::string folder = std::filesystem::temp_directory_path() / "virtine-loader-XXXXXX";
  REQUIRE(::mkdtemp(folder.data()) != nullptr);
  const std::string fifo = folder + "/fifo";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  CHECK(code(fifo.c_str()).code == errc::image_refused);
  std::filesystem::remove_all(folder);
  CHECK(load_image(-1).error().os_error == EBADF);
}

TEST_CASE("images that are loaded and unloaded leave nothing behind", "[loader]") {
  const image_bytes file = sample_file();
  const int descriptor = memory_file(file.bytes);
  const auto loads = [&](int count) {
    for (int i = 0; i < count; ++i) {
      auto loaded = load_image(descriptor);
      REQUIRE(loaded);
      REQUIRE(loaded->function<int(int)>("square"));
    }
  };
  loads(100);
  const std::size_t descriptors = told::descriptors();
  const auto before = ::mallinfo2().uordblks;
  loads(10'000);
  CHECK(told::descriptors() == descriptors);
  CHECK(::mallinfo2().uordblks <= before + 10'000);
  ::close(descriptor);
}

TEST_CASE("an error keeps its texts when the image is gone", "[loader]") {
  virtine::error why;
  {
    const image_bytes file = sample_file();
    auto loaded = load_image(std::span<const std::byte>(file.bytes));
    REQUIRE(loaded);
    why.code = errc::guest_fault;
    why.fault.instruction = 0x20004;
    virtine::detail::locate(why, loaded->description());
  }
  const virtine::error copy = why;
  why = {};
  // The last to keep the image. Without a sanitizer its texts may be readable when it is gone.
  REQUIRE(copy.texts.get() != nullptr);
  CHECK(to_string(copy).find("in square+0x4") != std::string::npos);
}

TEST_CASE("a pool keeps its image for calls that were abandoned", "[loader]") {
  const image_bytes file = sample_file();
  CHECK(in_child([&] {
          auto loaded = load_image(std::span<const std::byte>(file.bytes));
          std::optional<virtine::loaded_pool<virtine::detail::machine>> machines;
          machines.emplace(*loaded);
          loaded = virtine::error{};
          virtine::abandon_calls();
          const auto before = ::mallinfo2().uordblks;
          machines.reset();
          return ::mallinfo2().uordblks == before ? 0 : 1;
        }) == 0);
}
