// Image files: an ELF executable with a note that says the rest, and reading one. Trusts nothing of
// it: all is copied once, within limits, and the copy alone is looked at. docs/guest-abi.md has the
// format. Knows nothing of machines.
// SPDX-License-Identifier: MIT
#pragma once

#include <elf.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <virtine/image.hpp>
#include <virtine/loader/file_bytes.hpp>
#include <virtine/machine/image_snapshots.hpp>
#include <virtine/machine/layout.hpp>
#include <virtine/result.hpp>

namespace virtine {

/// What an image file may ask of this process at most. A file that wants more is refused.
struct load_options {
  std::uint64_t max_memory = std::uint64_t{64} << 20;     ///< Bytes of a machine's memory, in all.
  std::uint64_t max_stack = std::uint64_t{8} << 20;       ///< Bytes of it that are stack.
  std::uint64_t max_arguments = std::uint64_t{32} << 20;  ///< Bytes for arguments.
  std::size_t max_symbols = 1'000'000;                    ///< Symbols and source lines together.
  std::chrono::nanoseconds initialiser_timeout = detail::initialiser_timeout;
};

/// A function that an image exports.
struct exported_function {
  std::string_view name;
  std::string_view signature;              ///< As docs/guest-abi.md has it, such as "i4(i4,[u1])".
  std::uint64_t address = 0;               ///< In the guest.
  std::span<const std::uint32_t> imports;  ///< Hypercalls that calls of it can make, ascending.
};

namespace detail {

/// The note of an image file: this, then its tables in the order of their counts, then texts. All
/// numbers are little-endian; texts are named by their offsets and end with a zero byte.
struct image_note {
  static constexpr std::uint32_t expected_format = 1;
  static constexpr std::uint32_t type = 1;
  static constexpr std::string_view owner{"virtine\0", 8};
  /// Bytes of a text. Any number of texts may share their ends, so that looking at all of them
  /// would take as long as their number times the size of the file.
  static constexpr std::size_t max_text = 4096;

  std::uint32_t format = 0;
  std::uint32_t mode = 0;  ///< An x86::cpu_mode.
  std::uint64_t arguments_size = 0;
  std::uint64_t stack_size = 0;
  std::uint64_t memory_size = 0;
  std::uint64_t boot = 0;
  std::uint64_t init = 0;
  std::uint64_t thread_pointer = 0;
  std::uint32_t name = 0;
  std::uint32_t exports = 0;
  std::uint32_t imports = 0;  ///< Of the image, then of each export.
  std::uint32_t image_imports = 0;
  std::uint32_t symbols = 0;
  std::uint32_t lines = 0;
  std::uint64_t texts = 0;  ///< Bytes.

  struct exported {
    std::uint64_t address = 0;
    std::uint32_t name = 0;
    std::uint32_t signature = 0;
    std::uint32_t first_import = 0;
    std::uint32_t imports = 0;
  };
  struct symbol {
    std::uint64_t address = 0;
    std::uint64_t size = 0;
    std::uint64_t name = 0;
  };
  struct line {
    static constexpr std::uint32_t no_file = UINT32_MAX;
    std::uint64_t address = 0;
    std::uint32_t file = 0;
    std::uint32_t line = 0;
  };
};
static_assert(sizeof(image_note) == 88 && sizeof(image_note::exported) == 24 &&
              sizeof(image_note::symbol) == 24 && sizeof(image_note::line) == 16);

/// What was read of an image file. The description and the functions refer to the rest, also when
/// this is moved.
struct image_contents {
  image_description description;
  std::vector<exported_function> exports;  ///< In the order of their names.
  std::unique_ptr<char[]> content;
  std::vector<segment> segments;
  std::vector<symbol> symbols;
  std::vector<source_line> lines;
  std::vector<std::uint32_t> imports;
  std::vector<char> texts;
};

/// Reads one image file.
class image_reader {
 public:
  /// Returns what is in the file. Fails with errc::image_refused if it is no image file, is
  /// damaged, or wants more than `options` allow. Takes as long as to read what it copies, and to
  /// look at it once.
  static result<image_contents> read(const file_bytes& file, const load_options& options) {
    image_reader reader(file, options);
    if (auto done = reader.fill(); !done) return done.error();
    return std::move(reader.made_);
  }

 private:
  image_reader(const file_bytes& file, const load_options& options)
      : file_(file), options_(options) {}

  static error refused(const char* why) { return {.code = errc::image_refused, .operation = why}; }
  static error too_much(const std::string& what, std::uint64_t wanted, const char* option,
                        std::uint64_t allowed) {
    return told({.code = errc::image_refused}, what + ": " + std::to_string(wanted) +
                                                   ", but load_options::" + option + " allows " +
                                                   std::to_string(allowed));
  }

  result<void> fill() {
    std::array<::Elf64_Ehdr, 1> ehdr;
    if (auto got = file_.read(0, std::as_writable_bytes(std::span(ehdr))); !got) return got;
    const ::Elf64_Ehdr& elf = ehdr.front();
    if (std::memcmp(elf.e_ident, ELFMAG, SELFMAG) != 0) {
      return refused("this is not an image file: it is no ELF file");
    }
    if (elf.e_ident[EI_CLASS] != ELFCLASS64 || elf.e_ident[EI_DATA] != ELFDATA2LSB ||
        elf.e_type != ET_EXEC || elf.e_machine != EM_X86_64) {
      return refused("this is not an image file: it is no executable for x86-64");
    }
    if (elf.e_phentsize != sizeof(::Elf64_Phdr) || elf.e_phnum > max_headers) {
      return refused("the file is damaged: its program headers");
    }
    std::array<::Elf64_Phdr, max_headers> headers;
    const auto used = std::span(headers).first(elf.e_phnum);
    if (auto got = file_.read(elf.e_phoff, std::as_writable_bytes(used)); !got) return got;

    const auto is_note = [](const ::Elf64_Phdr& each) { return each.p_type == PT_NOTE; };
    const auto note = std::find_if(used.begin(), used.end(), is_note);
    if (note == used.end()) {
      return refused("this is not an image file: it has no note of virtine-cc");
    }
    if (auto done = read_note(*note); !done) return done;
    if (auto done = read_segments(used); !done) return done;
    return check();
  }

  result<void> read_note(const ::Elf64_Phdr& header) {
    std::array<::Elf64_Nhdr, 1> nhdrs;
    std::array<char, image_note::owner.size()> owner;
    std::array<image_note, 1> notes;
    const ::Elf64_Nhdr& nhdr = nhdrs.front();
    const image_note& note = notes.front();
    if (header.p_filesz < sizeof nhdr + sizeof owner + sizeof note) {
      return refused("the note of the image is too short");
    }
    std::uint64_t at = header.p_offset;
    result<void> got;
    const auto take = [&](auto& into) {
      const auto bytes = std::as_writable_bytes(std::span(into));
      if (got) got = file_.read(at, bytes);
      at += bytes.size();
    };
    take(nhdrs);
    take(owner);
    take(notes);
    if (!got) return got;
    if (std::string_view(owner.data(), owner.size()) != image_note::owner ||
        nhdr.n_namesz != image_note::owner.size() || nhdr.n_type != image_note::type) {
      return refused("this is not an image file: its note is none of virtine-cc");
    }
    if (note.format != image_note::expected_format) {
      return refused("the image is of another version of virtine-cc; build it again");
    }
    // Before anything is allocated. No sum wraps, as all numbers have 32 bits or are checked.
    if (std::uint64_t{note.symbols} + note.lines > options_.max_symbols) {
      return too_much("symbols and lines of the image", std::uint64_t{note.symbols} + note.lines,
                      "max_symbols", options_.max_symbols);
    }
    if (note.exports > max_exports || note.imports > max_imports || note.texts > max_texts ||
        note.texts == 0) {
      return refused("the note of the image has too many functions, hypercalls or texts");
    }
    const std::uint64_t size = note.exports * sizeof(image_note::exported) +
                               note.imports * sizeof(std::uint32_t) +
                               note.symbols * sizeof(image_note::symbol) +
                               note.lines * sizeof(image_note::line) + note.texts;
    if (nhdr.n_descsz != sizeof note + size ||
        header.p_filesz != sizeof nhdr + sizeof owner + nhdr.n_descsz) {
      return refused("the note of the image is not as long as its contents");
    }
    if (auto there = file_.check(header.p_offset, header.p_filesz); !there) return there;

    std::vector<image_note::exported> exports(note.exports);
    std::vector<image_note::symbol> symbols(note.symbols);
    std::vector<image_note::line> lines(note.lines);
    made_.imports.resize(note.imports);
    made_.texts.resize(note.texts);
    take(exports);
    take(made_.imports);
    take(symbols);
    take(lines);
    take(made_.texts);
    if (!got) return got;
    if (made_.texts.back() != '\0' ||
        std::any_of(made_.texts.begin(), made_.texts.end(), is_no_text)) {
      return refused("the note of the image has names that are no text");
    }
    if (longest_text() > image_note::max_text) {
      return refused("the note of the image has a text of more than 4096 bytes");
    }
    return describe(note, exports, symbols, lines);
  }

  /// Names, files and signatures are printed, so they are ASCII without control characters.
  static bool is_no_text(char c) { return c != '\0' && (c < 0x20 || c > 0x7e); }

  [[nodiscard]] std::size_t longest_text() const {
    std::size_t longest = 0;
    for (auto from = made_.texts.begin(); from != made_.texts.end(); ++from) {
      const auto end = std::find(from, made_.texts.end(), '\0');
      longest = std::max(longest, static_cast<std::size_t>(end - from));
      from = end;
    }
    return longest;
  }

  result<void> describe(const image_note& note, const std::vector<image_note::exported>& exports,
                        const std::vector<image_note::symbol>& symbols,
                        const std::vector<image_note::line>& lines) {
    bool good = note.image_imports <= note.imports && note.name < made_.texts.size() &&
                note.mode <= static_cast<std::uint32_t>(x86::cpu_mode::long64);
    const auto text = [&](std::uint64_t offset) -> const char* {
      good = good && offset < made_.texts.size();
      return good ? &made_.texts[offset] : "";
    };
    made_.description.name = text(note.name);
    made_.description.mode = static_cast<x86::cpu_mode>(note.mode);
    made_.description.arguments_size = note.arguments_size;
    made_.description.stack_size = note.stack_size;
    made_.description.memory_size = note.memory_size;
    made_.description.boot = note.boot;
    made_.description.init = note.init;
    made_.description.thread_pointer = note.thread_pointer;

    const auto numbers = [&](std::uint64_t first, std::uint64_t count) {
      good = good && first <= made_.imports.size() && count <= made_.imports.size() - first;
      return good ? std::span<const std::uint32_t>(made_.imports).subspan(first, count)
                  : std::span<const std::uint32_t>();
    };
    made_.description.imports = numbers(0, note.image_imports);
    made_.exports.reserve(exports.size());
    for (const image_note::exported& each : exports) {
      made_.exports.push_back({.name = text(each.name),
                               .signature = text(each.signature),
                               .address = each.address,
                               .imports = numbers(each.first_import, each.imports)});
      good =
          good && is_identifier(made_.exports.back().name) &&
          (made_.exports.size() == 1 || made_.exports.end()[-2].name < made_.exports.back().name);
    }
    made_.symbols.reserve(symbols.size());
    std::uint64_t after = 0;
    for (const image_note::symbol& each : symbols) {
      good = good && each.address >= after && each.size <= UINT64_MAX - each.address;
      made_.symbols.push_back({each.address, each.size, text(each.name)});
      after = each.address;
    }
    made_.lines.reserve(lines.size());
    after = 0;
    for (const image_note::line& each : lines) {
      good = good && each.address >= after;
      const char* const file = each.file == image_note::line::no_file ? nullptr : text(each.file);
      made_.lines.push_back({each.address, file, each.line});
      after = each.address;
    }
    made_.description.symbols = made_.symbols;
    made_.description.lines = made_.lines;
    if (!good) return refused("the note of the image is damaged");
    return {};
  }

  static bool is_identifier(std::string_view name) {
    const auto other = [](char c) {
      return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_';
    };
    return !name.empty() && (name[0] < '0' || name[0] > '9') &&
           std::none_of(name.begin(), name.end(), other);
  }

  result<void> read_segments(std::span<const ::Elf64_Phdr> headers) {
    std::uint64_t size = 0;
    for (const ::Elf64_Phdr& each : headers) {
      if (each.p_type != PT_LOAD || each.p_memsz == 0) continue;
      if (each.p_filesz > each.p_memsz || each.p_memsz > layout::max_size) {
        return refused("the file is damaged: a segment's size");
      }
      if (auto there = file_.check(each.p_offset, each.p_filesz); !there) return there;
      made_.segments.push_back({.address = each.p_vaddr,
                                .memory_size = each.p_memsz,
                                .content = {},
                                .writable = (each.p_flags & PF_W) != 0,
                                .executable = (each.p_flags & PF_X) != 0});
      size += each.p_filesz;  // Of at most max_headers numbers that are below 2^36.
    }
    made_.description.segments = made_.segments;
    if (auto fits = check_sizes(); !fits) return fits;
    // No more than the machine's memory, which is now known to be allowed.
    if (size > options_.max_memory) return refused("the file is damaged: its segments overlap");

    made_.content = std::make_unique_for_overwrite<char[]>(size);
    std::size_t at = 0;
    auto to = made_.segments.begin();
    for (const ::Elf64_Phdr& each : headers) {
      if (each.p_type != PT_LOAD || each.p_memsz == 0) continue;
      const std::span<char> part(&made_.content[at], each.p_filesz);
      if (auto got = file_.read(each.p_offset, std::as_writable_bytes(part)); !got) return got;
      (to++)->content = {part.data(), part.size()};
      at += part.size();
    }
    return {};
  }

  /// Checks the map of the guest's memory, which the library relies on, and how large it is.
  [[nodiscard]] result<void> check_sizes() const {
    const image_description& image = made_.description;
    if (!is_well_formed(image)) return refused("the file is damaged: the map of its memory");
    if (image.stack_size > options_.max_stack) {
      return too_much("bytes of stack of the image", image.stack_size, "max_stack",
                      options_.max_stack);
    }
    if (image.arguments_size > options_.max_arguments) {
      return too_much("bytes for arguments of the image", image.arguments_size, "max_arguments",
                      options_.max_arguments);
    }
    const std::uint64_t memory =
        image.mode == x86::cpu_mode::user64 ? layout_of(image).end : image.memory_size;
    if (memory > options_.max_memory) {
      return too_much("bytes of memory of the image", memory, "max_memory", options_.max_memory);
    }
    return {};
  }

  /// Checks that what is entered is code.
  [[nodiscard]] result<void> check() const {
    const auto is_code = [&](std::uint64_t address) {
      return std::any_of(made_.segments.begin(), made_.segments.end(), [&](const segment& each) {
        return each.executable && address >= each.address &&
               address - each.address < each.memory_size;
      });
    };
    const image_description& image = made_.description;
    const bool good =
        std::all_of(made_.exports.begin(), made_.exports.end(),
                    [&](const exported_function& each) { return is_code(each.address); }) &&
        (image.init == 0 || is_code(image.init)) && (image.boot == 0 || is_code(image.boot)) &&
        // The trampoline loads it, and faults if it is no address at all.
        image.thread_pointer <= layout::max_size;
    if (!good) return refused("the file is damaged: a function is outside of its code");
    return {};
  }

  static constexpr std::size_t max_headers = 16;
  static constexpr std::size_t max_exports = 65'536;
  static constexpr std::size_t max_imports = 1 << 20;
  static constexpr std::uint64_t max_texts = std::uint64_t{32} << 20;

  const file_bytes& file_;
  const load_options& options_;
  image_contents made_;
};

}  // namespace detail
}  // namespace virtine
