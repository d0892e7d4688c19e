// What C and C++ programs call when they cannot go on, in place of the libraries' functions, which
// would ask a kernel for signals. The host names the reason and the caller.
// Must not know the guest. All are weak: an image may bring its own.
// SPDX-License-Identifier: MIT

#include <virtine/abi/abort_reason.hpp>

using virtine::x86::abort_reason;
using virtine::x86::end_call;

#define VIRTINE_ENDS [[gnu::noreturn, gnu::weak, gnu::cold]]

extern "C" {
VIRTINE_ENDS void abort() {
  end_call<abort_reason::aborted>(__builtin_return_address(0));
}
VIRTINE_ENDS void __assert_fail(const char*, const char*, int, const char*) {
  end_call<abort_reason::assertion_failed>(__builtin_return_address(0));
}
VIRTINE_ENDS void __cxa_pure_virtual() {
  end_call<abort_reason::pure_virtual_call>(__builtin_return_address(0));
}
VIRTINE_ENDS void __cxa_deleted_virtual() {
  end_call<abort_reason::pure_virtual_call>(__builtin_return_address(0));
}
VIRTINE_ENDS void __stack_chk_fail() {
  end_call<abort_reason::memory_corrupted>(__builtin_return_address(0));
}
VIRTINE_ENDS void __chk_fail() {
  end_call<abort_reason::memory_corrupted>(__builtin_return_address(0));
}
}

namespace std {
VIRTINE_ENDS void __glibcxx_assert_fail(const char*, int, const char*, const char*) noexcept {
  end_call<abort_reason::assertion_failed>(__builtin_return_address(0));
}
}  // namespace std
