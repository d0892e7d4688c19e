// bzip2, as the distribution ships it.
// SPDX-License-Identifier: MIT
#include "bzip2_calls.hpp"

#include <virtine/guest.hpp>

using namespace bzip2_calls;

VIRTINE_EXPORT(compress);
VIRTINE_EXPORT(decompress);
