// format.hpp: what each formatter prints, and that it takes the options of texts.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <cerrno>

#include <virtine/format.hpp>

using namespace virtine;
using namespace virtine::detail;

TEST_CASE("codes, faults and modes are formatted by their names") {
  CHECK(fmt::format("{}", errc::timed_out) == "timed_out");
  CHECK(fmt::format("{}", fault_kind::stack_overflow) == "stack overflow");
  CHECK(fmt::format("{}", x86::cpu_mode::protected32) == "protected32");
}

TEST_CASE("an error is formatted as to_string renders it") {
  error fault{.code = errc::guest_fault};
  fault.fault = {.kind = fault_kind::null_access,
                 .access = access::write,
                 .address = 0x10,
                 .instruction = 0x20040,
                 .symbol = "poke",
                 .offset = 4};
  const error host{.code = errc::os_error, .os_error = EINVAL, .operation = "KVM_RUN"};
  CHECK(fmt::format("{}", fault) ==
        "guest_fault: null pointer access writing 0x10 at 0x20040 in poke+0x4");
  CHECK(fmt::format("{}", host) == to_string(host));
}

TEST_CASE("an exit is formatted by its name and number") {
  CHECK(fmt::format("{}", kvm::exit{kvm::hlt_exit{}}) == "KVM_EXIT_HLT");
  CHECK(fmt::format("{}", kvm::exit{kvm::io_exit{kvm::io_direction::out, 4, 0xe0, 1, {}}}) ==
        "KVM_EXIT_IO 0xe0");
  CHECK(fmt::format("{}", kvm::exit{kvm::unknown_exit{77}}) == "unknown KVM exit 0x4d");
}

TEST_CASE("width and alignment apply to all of them") {
  CHECK(fmt::format("[{:>10}]", errc::no_kvm) == "[    no_kvm]");
  CHECK(fmt::format("[{:-<14}]", kvm::exit{kvm::hlt_exit{}}) == "[KVM_EXIT_HLT--]");
  CHECK(fmt::format("[{:.7}]", error{.code = errc::cancelled}) == "[cancell]");
}
