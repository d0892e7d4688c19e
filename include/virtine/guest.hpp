// Everything a function that runs in a guest needs: exporting it, and asking the host for things.
// Must not include what only a host has. Freestanding.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/bytes.hpp>
#include <virtine/entropy.hpp>
#include <virtine/guest/arguments.hpp>
#include <virtine/guest/call.hpp>
#include <virtine/guest/entry.hpp>
#include <virtine/hypercall.hpp>
