// Writes image files as virtine-cc does, from what a generated header says. For tests that damage
// them. docs/guest-abi.md has the format.
// SPDX-License-Identifier: MIT
#pragma once

#include <elf.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <virtine/image.hpp>
#include <virtine/loader/image_file.hpp>

/// An image file, and where its parts are.
struct image_bytes {
  std::vector<std::byte> bytes;
  std::size_t headers = 0;  ///< Of the program headers; the note's is the last.
  std::size_t header_count = 0;
  std::size_t note = 0;     ///< Of the image_note itself.
  std::size_t exports = 0;  ///< Of the table of exported functions.
  std::size_t texts = 0;

  template <class T>
  void put(std::size_t at, const T& value) {
    std::memcpy(bytes.data() + at, &value, sizeof value);
  }
  template <class T>
  [[nodiscard]] T get(std::size_t at) const {
    T value;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    return value;
  }

  image_bytes(const virtine::image_description& image,
              const std::vector<virtine::exported_function>& functions) {
    using virtine::detail::image_note;
    std::string text_bytes;
    std::map<std::string, std::uint32_t, std::less<>> places;
    const auto text = [&](std::string_view of) {
      const auto found = places.find(of);
      if (found != places.end()) return found->second;
      const auto at = static_cast<std::uint32_t>(text_bytes.size());
      places.emplace(of, at);
      text_bytes.append(of).push_back('\0');
      return at;
    };
    image_note head{.format = image_note::expected_format,
                    .mode = static_cast<std::uint32_t>(image.mode),
                    .arguments_size = image.arguments_size,
                    .stack_size = image.stack_size,
                    .memory_size = image.memory_size,
                    .boot = image.boot,
                    .init = image.init,
                    .thread_pointer = image.thread_pointer,
                    .name = text(image.name),
                    .exports = static_cast<std::uint32_t>(functions.size()),
                    .imports = 0,
                    .image_imports = static_cast<std::uint32_t>(image.imports.size()),
                    .symbols = static_cast<std::uint32_t>(image.symbols.size()),
                    .lines = static_cast<std::uint32_t>(image.lines.size()),
                    .texts = 0};
    std::vector<std::uint32_t> imports(image.imports.begin(), image.imports.end());
    std::vector<image_note::exported> exported;
    for (const auto& each : functions) {
      exported.push_back({each.address, text(each.name), text(each.signature),
                          static_cast<std::uint32_t>(imports.size()),
                          static_cast<std::uint32_t>(each.imports.size())});
      imports.insert(imports.end(), each.imports.begin(), each.imports.end());
    }
    head.imports = static_cast<std::uint32_t>(imports.size());
    std::vector<image_note::symbol> symbols;
    for (const auto& each : image.symbols) {
      symbols.push_back({each.address, each.size, text(each.name)});
    }
    std::vector<image_note::line> lines;
    for (const auto& each : image.lines) {
      lines.push_back({each.address,
                       each.file != nullptr ? text(each.file) : image_note::line::no_file,
                       each.line});
    }
    text_bytes.resize((text_bytes.size() + 7) / 8 * 8);
    head.texts = text_bytes.size();

    header_count = image.segments.size() + 1;
    headers = sizeof(::Elf64_Ehdr);
    ::Elf64_Ehdr elf{};
    std::memcpy(elf.e_ident, ELFMAG, SELFMAG);
    elf.e_ident[EI_CLASS] = ELFCLASS64;
    elf.e_ident[EI_DATA] = ELFDATA2LSB;
    elf.e_ident[EI_VERSION] = EV_CURRENT;
    elf.e_type = ET_EXEC;
    elf.e_machine = EM_X86_64;
    elf.e_version = EV_CURRENT;
    elf.e_phoff = headers;
    elf.e_ehsize = sizeof elf;
    elf.e_phentsize = sizeof(::Elf64_Phdr);
    elf.e_phnum = static_cast<std::uint16_t>(header_count);
    add(elf);
    bytes.resize(headers + header_count * sizeof(::Elf64_Phdr));
    std::size_t header = headers;
    for (const auto& each : image.segments) {
      ::Elf64_Phdr load{};
      load.p_type = PT_LOAD;
      load.p_flags = PF_R | (each.writable ? PF_W : 0U) | (each.executable ? PF_X : 0U);
      load.p_offset = bytes.size();
      load.p_vaddr = each.address;
      load.p_filesz = each.content.size();
      load.p_memsz = each.memory_size;
      put(header, load);
      header += sizeof load;
      add(std::span(each.content));
    }
    const std::size_t begin = bytes.size();
    ::Elf64_Nhdr nhdr{};
    nhdr.n_namesz = image_note::owner.size();
    nhdr.n_type = image_note::type;
    add(nhdr);
    add(std::span(image_note::owner));
    note = bytes.size();
    add(head);
    exports = bytes.size();
    add(std::span(exported));
    add(std::span(imports));
    add(std::span(symbols));
    add(std::span(lines));
    texts = bytes.size();
    add(std::span(text_bytes));
    nhdr.n_descsz = static_cast<std::uint32_t>(bytes.size() - note);
    put(begin, nhdr);
    ::Elf64_Phdr last{};
    last.p_type = PT_NOTE;
    last.p_flags = PF_R;
    last.p_offset = begin;
    last.p_filesz = bytes.size() - begin;
    put(header, last);
  }

 private:
  template <class T>
  void add(const T& value) {
    const auto* const from = reinterpret_cast<const std::byte*>(&value);
    bytes.insert(bytes.end(), from, from + sizeof value);
  }
  template <class T>
  void add(std::span<T> values) {
    const auto from = std::as_bytes(values);
    bytes.insert(bytes.end(), from.begin(), from.end());
  }
};
