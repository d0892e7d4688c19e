// Handles, options and failures as C has them: nothing that C gives is taken for what it should be,
// and no exception gets out. Knows nothing of what stands behind a handle.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/cxx20.hpp>

#include <cxxabi.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <new>
#include <optional>
#include <string_view>
#include <utility>

#include <virtine/c/virtine.h>
#include <virtine/os/out_of_memory.hpp>
#include <virtine/result.hpp>

namespace virtine::detail {

/// What each handle begins with, until it is freed: which kind it is.
class handle {
 public:
  explicit handle(std::uint64_t kind) : kind_(kind) {}
  handle(const handle&) = delete;
  handle& operator=(const handle&) = delete;
  // Volatile, or the compiler would leave out a store that nothing can see.
  ~handle() { *const_cast<volatile std::uint64_t*>(&kind_) = 0; }

  [[nodiscard]] bool is(std::uint64_t kind) const { return kind_ == kind; }

 private:
  std::uint64_t kind_;
};

/// Returns the number that a code has in C, for good.
constexpr virtine_code code_in_c(errc code) {
  switch (code) {
    case errc::no_kvm:
      return VIRTINE_NO_KVM;
    case errc::os_error:
      return VIRTINE_OS_ERROR;
    case errc::machine_failure:
      return VIRTINE_MACHINE_FAILURE;
    case errc::host_unfit:
      return VIRTINE_HOST_UNFIT;
    case errc::arguments_too_large:
      return VIRTINE_ARGUMENTS_TOO_LARGE;
    case errc::out_of_range:
      return VIRTINE_OUT_OF_RANGE;
    case errc::session_in_use:
      return VIRTINE_SESSION_IN_USE;
    case errc::snapshot_refused:
      return VIRTINE_SNAPSHOT_REFUSED;
    case errc::image_refused:
      return VIRTINE_IMAGE_REFUSED;
    case errc::bad_grant:
      return VIRTINE_BAD_GRANT;
    case errc::bad_argument:
      return VIRTINE_BAD_ARGUMENT;
    case errc::guest_fault:
      return VIRTINE_GUEST_FAULT;
    case errc::hypercall_denied:
      return VIRTINE_HYPERCALL_DENIED;
    case errc::hypercall_rejected:
      return VIRTINE_HYPERCALL_REJECTED;
    case errc::bad_reply:
      return VIRTINE_BAD_REPLY;
    case errc::system_call_denied:
      return VIRTINE_SYSTEM_CALL_DENIED;
    case errc::exited:
      return VIRTINE_EXITED;
    case errc::timed_out:
      return VIRTINE_TIMED_OUT;
    case errc::cancelled:
      return VIRTINE_CANCELLED;
    case errc::hypercall_limit:
      return VIRTINE_HYPERCALL_LIMIT;
    case errc::cpu_limit:
      return VIRTINE_CPU_LIMIT;
    case errc::pool_exhausted:
      return VIRTINE_POOL_EXHAUSTED;
  }
  return VIRTINE_MACHINE_FAILURE;
}

/// A failure as C has it.
struct c_failure {
  virtine_code code = VIRTINE_OK;
  virtine::error why = {};
  const char* misuse = "";  ///< For VIRTINE_MISUSE.

  c_failure() = default;
  c_failure(virtine::error its)  // NOLINT(google-explicit-constructor)
      : code(code_in_c(its.code)), why(std::move(its)) {}
  static c_failure misused(const char* how) {
    c_failure out;
    out.code = VIRTINE_MISUSE;
    out.misuse = how;
    return out;
  }
};

/// Writes a text that ends with a zero byte, cut off if `size` is too small.
inline void copy_text(std::string_view text, char* to, std::size_t size) {
  if (size == 0) return;
  const std::size_t used = std::min(text.size(), size - 1);
  std::copy_n(text.data(), used, to);
  to[used] = '\0';
}

/// Tells a failure, unless `to` is null; returns its code.
inline int tell(const c_failure& failure, virtine_error* to) {
  if (to == nullptr) return failure.code;
  *to = {sizeof *to, failure.code, 0, 0, 0, 0, ""};
  if (failure.code == VIRTINE_OK) return VIRTINE_OK;
  if (failure.code == VIRTINE_MISUSE) {
    copy_text("misuse: ", to->text, sizeof to->text);
    const std::size_t used = std::strlen(to->text);
    copy_text(failure.misuse, to->text + used, sizeof to->text - used);
    return failure.code;
  }
  to->os_error = failure.why.os_error;
  to->detail = failure.why.detail;
  to->fault_instruction = failure.why.fault.instruction;
  to->fault_address = failure.why.fault.address;
#ifdef __cpp_exceptions
  try {
    copy_text(to_string(failure.why), to->text, sizeof to->text);
  } catch (const std::exception&) {
    copy_text(name(failure.why.code), to->text, sizeof to->text);
  }
#else
  copy_text(to_string(failure.why), to->text, sizeof to->text);
#endif
  return failure.code;
}

/// Returns what `body` returns, a c_failure, as C has it.
template <class Body>
int guarded(virtine_error* error, const Body& body) {
  if (error != nullptr && error->size != sizeof *error) return VIRTINE_MISUSE;
#ifdef __cpp_exceptions
  try {
    return tell(body(), error);
  } catch (const std::bad_alloc&) {
    return tell(os::out_of_memory(), error);
#ifdef __GLIBCXX__
  } catch (const abi::__forced_unwind&) {
    throw;  // The thread is cancelled. The C library ends the process if that is kept from it.
#endif
  } catch (...) {
    return tell(c_failure::misused("a handler, or the C++ library, threw an exception"), error);
  }
#else
  return tell(body(), error);
#endif
}

template <class Handle>
bool is_handle(const Handle* of) {
  return of != nullptr && of->is(Handle::kind);
}

/// Destroys a handle unless it is none.
template <class Handle>
void free_handle(Handle* of) {
  if (is_handle(of)) delete of;
}

/// Returns the options, all defaults if there are none; nothing if their size is unknown.
template <class Options>
std::optional<Options> options_of(const Options* given) {
  if (given == nullptr) return Options{};
  if (given->size != sizeof *given) return std::nullopt;
  return *given;
}
inline c_failure unknown_size() {
  return c_failure::misused("the size of the options is not that of this version");
}

inline std::chrono::nanoseconds nanoseconds_of(std::uint64_t number) {
  return std::chrono::nanoseconds(
      static_cast<std::int64_t>(std::min<std::uint64_t>(number, INT64_MAX)));
}

}  // namespace virtine::detail
