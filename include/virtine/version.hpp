// The library's version, and nothing else.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/cxx20.hpp>

/// The version as major * 10000 + minor * 100 + patch; 100 is 0.1.0.
#define VIRTINE_VERSION 100
