// Scripts of system calls for the guest `calls`, and temporary directories to try them on.
// Knows nothing of policies.
// SPDX-License-Identifier: MIT
#pragma once

#include <stdlib.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <sys/syscall.h>

#include "kvm/guests/calls_types.hpp"

namespace told {

/// An argument: a number, or a place in the memory that goes along.
struct argument {
  argument(std::uint64_t number) : value(number) {}                             // NOLINT
  argument(int number) : value(static_cast<std::uint64_t>(number)) {}           // NOLINT
  argument(unsigned number) : value(number) {}                                  // NOLINT
  argument(std::int64_t number) : value(static_cast<std::uint64_t>(number)) {}  // NOLINT

  std::uint64_t value;
  bool relative = false;
};

/// Calls to make in one stay in the guest.
class script {
 public:
  std::vector<told_call> calls;
  std::vector<std::byte> memory;

  /// Puts the bytes into memory, at a multiple of 16.
  argument bytes(std::string_view content) {
    memory.resize((memory.size() + 15) / 16 * 16);
    argument at(std::uint64_t{memory.size()});
    at.relative = true;
    const auto from = std::as_bytes(std::span(content));
    memory.insert(memory.end(), from.begin(), from.end());
    return at;
  }
  argument text(std::string_view content) { return bytes(std::string(content) + '\0'); }
  argument room(std::size_t size) { return bytes(std::string(size, '\x5a')); }

  /// Adds a call; returns its position.
  std::size_t add(std::uint64_t number, std::initializer_list<argument> arguments = {}) {
    told_call one{.number = number};
    std::size_t i = 0;
    for (const argument& each : arguments) {
      one.arguments[i] = each.value;
      one.relative |= std::uint64_t{each.relative} << i++;
    }
    calls.push_back(one);
    return calls.size() - 1;
  }

  /// Adds an array of iovecs, of places in memory with lengths.
  argument vectors(std::initializer_list<std::pair<argument, std::uint64_t>> pieces) {
    const argument at = room(pieces.size() * 16);
    std::size_t i = 0;
    for (const auto& [place, length] : pieces) {
      const std::uint64_t entry = at.value + i++ * 16;
      std::memcpy(memory.data() + entry, &place.value, 8);
      std::memcpy(memory.data() + entry + 8, &length, 8);
      if (place.relative) add(store_address, {entry, place.value});
    }
    return at;
  }

  [[nodiscard]] std::int64_t operator[](std::size_t call) const { return calls.at(call).result; }
  [[nodiscard]] std::string at(argument where, std::size_t size) const {
    // Sound: bytes are characters.
    return {reinterpret_cast<const char*>(memory.data()) + where.value, size};
  }
  template <class T>
  [[nodiscard]] T value(argument where, std::size_t offset = 0) const {
    T out;
    std::memcpy(&out, memory.data() + where.value + offset, sizeof out);
    return out;
  }
};

/// An empty directory that is removed with all that is in it.
class scratch {
 public:
  scratch() {
    std::string name = (std::filesystem::temp_directory_path() / "virtine-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    path_ = name;
  }
  scratch(const scratch&) = delete;
  scratch& operator=(const scratch&) = delete;
  ~scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  [[nodiscard]] std::filesystem::path path(std::string_view name = "") const {
    return name.empty() ? path_ : path_ / name;
  }
  void put(std::string_view name, std::string_view content) const {
    std::ofstream(path(name), std::ios::binary) << content;
  }
  [[nodiscard]] std::string get(std::string_view name) const {
    std::ifstream file(path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  [[nodiscard]] bool has(std::string_view name) const {
    return std::filesystem::exists(std::filesystem::symlink_status(path(name)));
  }

 private:
  std::filesystem::path path_;
};

/// Returns how many descriptors this process has open.
inline std::size_t descriptors() {
  return static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}));
}

/// Returns how many threads it has.
inline std::size_t threads() {
  return static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator("/proc/self/task"), {}));
}

}  // namespace told
