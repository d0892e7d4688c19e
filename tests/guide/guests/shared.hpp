// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string_view>

// shared.hpp
#include <virtine/hypercall.hpp>
struct log_line : virtine::hypercall<1, void(std::string_view)> {};
struct lookup : virtine::hypercall<2, int(std::uint32_t key)> {};
