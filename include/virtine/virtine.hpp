// What most host programs need; includes only. Of the public headers these stand alone: posix.hpp,
// gdb.hpp, bare_machine.hpp, snapshot_file.hpp and format.hpp.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/allow.hpp>
#include <virtine/allow_entropy.hpp>
#include <virtine/bytes.hpp>
#include <virtine/call_options.hpp>
#include <virtine/error.hpp>
#include <virtine/function.hpp>
#include <virtine/hypercall.hpp>
#include <virtine/lent.hpp>
#include <virtine/policy.hpp>
#include <virtine/pool.hpp>
#include <virtine/result.hpp>
#include <virtine/session.hpp>
#include <virtine/single_source.hpp>
#include <virtine/tainted.hpp>
#include <virtine/version.hpp>
#include <virtine/virtine_fn.hpp>
