// Every code and every kind of fault: whose doing it is, and how it reads.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <cerrno>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include <virtine/call/too_large.hpp>
#include <virtine/error.hpp>

using namespace virtine;
using namespace virtine::detail;

namespace {

struct row {
  error why;
  blame whose;
  const char* text;
};

// One for each code, in their order.
const std::vector<row> codes{
    {{.code = errc::no_kvm, .os_error = ENOENT, .operation = "/dev/kvm cannot be opened"},
     blame::host,
     "no_kvm: /dev/kvm cannot be opened: No such file or directory"},
    {{.code = errc::os_error, .os_error = EINVAL, .operation = "KVM_SET_SREGS"},
     blame::host,
     "os_error: KVM_SET_SREGS: Invalid argument"},
    {{.code = errc::machine_failure, .operation = "KVM_EXIT_INTERNAL_ERROR", .detail = 1},
     blame::host,
     "machine_failure: KVM_EXIT_INTERNAL_ERROR (0x1)"},
    {{.code = errc::host_unfit,
      .fault = {.kind = fault_kind::unmapped_access,
                .access = access::read,
                .vector = 14,
                .error_code = 4,
                .address = 0x14cff,
                .instruction = 0x1200d}},
     blame::host,
     "host_unfit: the processor cannot be made ready for a call on this host: access to unmapped "
     "memory reading 0x14cff at 0x1200d, exception 14, error code 0x4; run virtine-doctor and "
     "report what it says"},
    {{.code = errc::arguments_too_large, .detail = 70000},
     blame::caller,
     "arguments_too_large: the arguments need 70000 bytes, more than the image reserves; rebuild "
     "it with a larger --arguments"},
    {{.code = errc::out_of_range, .operation = "guest memory access", .detail = 0xfedc},
     blame::caller,
     "out_of_range: guest memory access (0xfedc)"},
    {{.code = errc::session_in_use},
     blame::caller,
     "session_in_use: a session was called while another call of it was under way"},
    {{.code = errc::snapshot_refused, .operation = "the snapshot is of another image"},
     blame::caller,
     "snapshot_refused: the snapshot is of another image"},
    {{.code = errc::bad_argument, .operation = "argument 1 of square: a text is not int"},
     blame::caller,
     "bad_argument: argument 1 of square: a text is not int"},
    {{.code = errc::image_refused, .operation = "the file is truncated"},
     blame::caller,
     "image_refused: the file is truncated"},
    {{.code = errc::bad_grant, .operation = "a directory is granted twice", .detail = 2},
     blame::caller,
     "bad_grant: a directory is granted twice (entry 2)"},
    {{.code = errc::guest_fault, .fault = {.kind = fault_kind::divide_error, .instruction = 0x20}},
     blame::guest,
     "guest_fault: divide error at 0x20"},
    {{.code = errc::hypercall_denied, .detail = 41},
     blame::guest,
     "hypercall_denied: the guest made hypercall 41, which the policy does not allow"},
    {{.code = errc::hypercall_rejected, .operation = "the handler rejected the hypercall"},
     blame::guest,
     "hypercall_rejected: the handler rejected the hypercall"},
    {{.code = errc::bad_reply, .operation = "the guest gave a value that its type does not have"},
     blame::guest,
     "bad_reply: the guest gave a value that its type does not have"},
    {{.code = errc::system_call_denied, .operation = "socket", .detail = 41},
     blame::guest,
     "system_call_denied: the guest made system call socket (number 41), which the policy does not "
     "grant; no grant is about it, but posix::others_fail_with_enosys() lets it fail"},
    {{.code = errc::exited, .detail = 3},
     blame::guest,
     "exited: the guest ended itself with status 3"},
    {{.code = errc::timed_out},
     blame::limit,
     "timed_out: the call was not done at its deadline (call_options::timeout)"},
    {{.code = errc::cancelled}, blame::limit, "cancelled: the call was asked to stop"},
    {{.code = errc::hypercall_limit, .detail = 12},
     blame::limit,
     "hypercall_limit: the guest made more than 12 hypercalls (call_options::hypercalls)"},
    {{.code = errc::cpu_limit},
     blame::limit,
     "cpu_limit: the call used more CPU time than it may (call_options::cpu_time)"},
    {{.code = errc::pool_exhausted, .detail = 64},
     blame::limit,
     "pool_exhausted: all 64 machines of the pool are in use"},
};

}  // namespace

TEST_CASE("every code has a name, a side and a line of text", "[error]") {
  std::set<std::string> names;
  for (const row& each : codes) {
    INFO(each.text);
    CHECK(blame_of(each.why.code) == each.whose);
    CHECK(to_string(each.why) == each.text);
    CHECK(std::string(each.text).starts_with(std::string(name(each.why.code)) + ": "));
    names.insert(name(each.why.code));
  }
  CHECK(names.size() == codes.size());
  CHECK_FALSE(names.contains("unknown"));
  // No code was left out above: the numbers have no gap, and end where the table does.
  for (std::size_t number = 1; number <= codes.size(); ++number) {
    CHECK(names.contains(name(static_cast<errc>(number))));
  }
  CHECK(name(static_cast<errc>(codes.size() + 1)) == std::string("unknown"));
  CHECK(name(errc{}) == std::string("unknown"));
}

TEST_CASE("a code that does not exist is not blamed on a guest", "[error]") {
  CHECK(blame_of(errc{}) == blame::host);
  CHECK(blame_of(static_cast<errc>(0xff)) == blame::host);
}

TEST_CASE("every kind of fault has words of its own", "[error]") {
  std::set<std::string> words;
  const auto last = static_cast<std::uint8_t>(fault_kind::other);
  for (std::uint8_t kind = 0; kind <= last; ++kind) {
    words.insert(name(static_cast<fault_kind>(kind)));
  }
  CHECK(words.size() == last + 1U);
  CHECK_FALSE(words.contains("unknown fault"));
  CHECK(name(static_cast<fault_kind>(last + 1)) == std::string("unknown fault"));
}

TEST_CASE("a fault reads as what happened, where, and in which function", "[error]") {
  error why{.code = errc::guest_fault,
            .fault = {.kind = fault_kind::null_access,
                      .access = access::write,
                      .address = 0x8,
                      .instruction = 0x20010}};
  CHECK(to_string(why) == "guest_fault: null pointer access writing 0x8 at 0x20010");
  why.fault.access = access::read;
  why.fault.kind = fault_kind::stack_overflow;
  why.fault.address = 0;
  CHECK(to_string(why) == "guest_fault: stack overflow reading 0x0 at 0x20010");
  why.fault.access = access::execute;
  why.fault.kind = fault_kind::execute_data;
  why.fault.address = UINT64_MAX;
  why.fault.symbol = "fib(int)";
  why.fault.offset = 0x2c;
  CHECK(to_string(why) ==
        "guest_fault: jump into memory that is not code executing 0xffffffffffffffff at 0x20010 in "
        "fib(int)+0x2c");
  why.fault.access = access::none;
  why.fault.kind = fault_kind::other;
  CHECK(to_string(why) == "guest_fault: processor exception at 0x20010 in fib(int)+0x2c");
  why.fault.file = "src/fib.cpp";
  why.fault.line = 12;
  CHECK(to_string(why) ==
        "guest_fault: processor exception at 0x20010 in fib(int)+0x2c (src/fib.cpp:12)");
}

TEST_CASE("what went wrong elsewhere than in a call is said to", "[error]") {
  CHECK(to_string(error{.code = errc::timed_out, .operation = "in the image's initialiser"}) ==
        "timed_out: the call was not done at its deadline (in the image's initialiser)");
}

TEST_CASE("one is not many", "[error]") {
  CHECK(to_string(error{.code = errc::hypercall_limit, .detail = 1}) ==
        "hypercall_limit: the guest made more than 1 hypercall (call_options::hypercalls)");
  CHECK(to_string(error{.code = errc::pool_exhausted, .detail = 1}) ==
        "pool_exhausted: the only machine of the pool is in use");
}

TEST_CASE("a system call without a name is told by its number", "[error]") {
  CHECK(to_string(error{.code = errc::system_call_denied, .detail = 999}) ==
        "system_call_denied: the guest made system call 999, which the policy does not grant; no "
        "grant is about it, but posix::others_fail_with_enosys() lets it fail");
  CHECK(to_string(error{.code = errc::system_call_denied, .operation = "writev", .detail = 20}) ==
        "system_call_denied: the guest made system call writev (number 20), which the policy does "
        "not grant; grant it with posix::output() for standard output, posix::directory() for "
        "files, or posix::descriptor() for what the host has open");
}

TEST_CASE("a failure says what to_string says and keeps the error", "[error]") {
  for (const row& each : codes) {
    const failure thrown(each.why);
    CHECK(thrown.what() == std::string(each.text));
    CHECK(thrown.error().code == each.why.code);
    CHECK(thrown.error().detail == each.why.detail);
  }
}

TEST_CASE("arguments that are too large are told with the room there is", "[error]") {
  CHECK(to_string(too_large(70000, 65536)) ==
        "arguments_too_large: the arguments need 70000 bytes, and there is room for 65536; build "
        "the image with a larger --arguments");
}
