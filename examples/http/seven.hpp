// What the guest that does all by itself and its host agree on: the hypercalls that the virtines
// paper counts for a request (read, stat, open, read, write, close, and exit, the end of the call).
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <virtine/hypercall.hpp>

#include "http.hpp"

namespace http {

/// Copies the connection's input; returns its size.
struct read_input : virtine::hypercall<2, std::uint32_t(std::span<std::byte> to)> {};

/// Returns what there is to know of a file, without opening it.
struct stat_file : virtine::hypercall<3, file_info(std::string_view path)> {};

/// Opens a file for reads. Returns whether there is one.
struct open_for_reads : virtine::hypercall<4, bool(std::string_view path)> {};

/// Copies bytes of the open file from an offset on; returns how many.
struct read_file : virtine::hypercall<5, std::uint32_t(std::uint64_t at, std::span<std::byte> to)> {
};

/// Sends bytes.
struct write_output : virtine::hypercall<6, void(std::span<const std::byte> bytes)> {};

struct close_file : virtine::hypercall<7, void()> {};

/// What the guest says at the end; see `reply`.
struct ending {
  std::uint32_t consumed = 0;
  std::uint32_t keeps_alive = 0;
};

}  // namespace http
