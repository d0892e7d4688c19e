// zlib, as the distribution ships it.
// SPDX-License-Identifier: MIT
#include "zlib_calls.hpp"

#include <virtine/guest.hpp>

using namespace zlib_calls;

VIRTINE_EXPORT(deflate_all);
VIRTINE_EXPORT(inflate_all);
VIRTINE_EXPORT(inflate_raw);
VIRTINE_EXPORT(checksum);
VIRTINE_EXPORT(other_checksum);
