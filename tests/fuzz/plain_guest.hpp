// A guest's memory without a guest: what its hypercalls and system calls are served from.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <virtine/guest_memory.hpp>
#include <virtine/machine/guest_access.hpp>

class plain_guest final : public virtine::detail::guest_access {
 public:
  static constexpr std::uint64_t base = 0x40000;

  explicit plain_guest(std::span<const std::byte> content)
      : bytes_(content.begin(), content.end()) {}

  virtine::result<std::span<const std::byte>> read(virtine::guest_address address,
                                                   std::uint64_t length) override {
    const auto found = memory().view(address, length);
    if (!found) return found.error();
    return std::span<const std::byte>(*found);
  }
  virtine::result<void> write(virtine::guest_address address,
                              std::span<const std::byte> from) override {
    if (read_only) return virtine::error{.code = virtine::errc::out_of_range};
    auto done = memory().write(address, from);
    if (done) written += from.size();
    return done;
  }

  virtine::guest_memory memory() { return {virtine::guest_address{base}, bytes_}; }
  [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }

  bool read_only = false;   ///< As a guest's code is.
  std::size_t written = 0;  ///< Bytes, by write().

 private:
  std::vector<std::byte> bytes_;  // No larger than it is, so that a sanitizer sees what is beyond.
};
