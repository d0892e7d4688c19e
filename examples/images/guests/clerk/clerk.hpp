// What the clerk guest asks of its host, declared once for both.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include <virtine/hypercall.hpp>

/// Writes a line to the host's log.
struct log_line : virtine::hypercall<1, void(std::string_view line)> {};

/// Copies the value of a setting to `value`; returns its length.
struct read_setting
    : virtine::hypercall<2, std::uint32_t(std::string_view name, std::span<char> value)> {};
