// expat, as the distribution ships it.
// SPDX-License-Identifier: MIT
#include "expat_calls.hpp"

#include <virtine/guest.hpp>

using expat_calls::parse;

VIRTINE_EXPORT(parse);
