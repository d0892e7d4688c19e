// What throws in an image in which nothing catches: the call ends there and then, as it would after
// the search for a handler, and neither unwinder nor tables nor messages have to be linked.
// Must not know the guest. All are weak: an image may bring its own.
// SPDX-License-Identifier: MIT

#include <cstddef>
#include <cstdlib>
#include <new>
#include <typeinfo>

#include <virtine/abi/abort_reason.hpp>

using virtine::x86::abort_reason;
using virtine::x86::end_call;

#define VIRTINE_ENDS [[gnu::noreturn, gnu::weak, gnu::cold]]
#define VIRTINE_THROWS(parameters)                                           \
  VIRTINE_ENDS void parameters {                                             \
    end_call<abort_reason::uncaught_exception>(__builtin_return_address(0)); \
  }

extern "C" {
/// Room for what is constructed before it is thrown. It can be the same each time, since nothing
/// comes after the first.
[[gnu::weak]] void* __cxa_allocate_exception(std::size_t size) {
  alignas(std::max_align_t) static std::byte room[1024];
  if (size > sizeof room) end_call<abort_reason::uncaught_exception>(__builtin_return_address(0));
  return room;
}
[[gnu::weak]] void __cxa_free_exception(void*) {}

VIRTINE_ENDS void __cxa_throw(void*, const std::type_info* type, void (*)(void*)) {
  // By its name, because typeid() would bring all that std::type_info takes.
  if (__builtin_strcmp(type->name(), "St9bad_alloc") == 0) {
    end_call<abort_reason::out_of_memory>(__builtin_return_address(0));
  }
  end_call<abort_reason::uncaught_exception>(__builtin_return_address(0));
}
VIRTINE_THROWS(__cxa_rethrow())
VIRTINE_THROWS(__cxa_bad_cast())
VIRTINE_THROWS(__cxa_bad_typeid())
VIRTINE_THROWS(__cxa_throw_bad_array_new_length())

// As the library has it, but for the handler of an exception that would not come to it.
[[gnu::weak]] void* virtine_new(std::size_t size, const std::nothrow_t&) asm("_ZnwmRKSt9nothrow_t");
void* virtine_new(std::size_t size, const std::nothrow_t&) {
  return std::malloc(size == 0 ? 1 : size);
}
[[gnu::weak]] void* virtine_new_array(std::size_t size,
                                      const std::nothrow_t&) asm("_ZnamRKSt9nothrow_t");
void* virtine_new_array(std::size_t size, const std::nothrow_t&) {
  return std::malloc(size == 0 ? 1 : size);
}

// What only an unwinder would call, and what only runs after it.
VIRTINE_THROWS(_Unwind_Resume(void*))
[[gnu::weak]] int __gxx_personality_v0() {
  return 0;
}
[[gnu::weak]] void* __cxa_begin_catch(void* thrown) {
  return thrown;
}
[[gnu::weak]] void __cxa_end_catch() {}
[[gnu::weak]] void* __cxa_get_exception_ptr(void* thrown) {
  return thrown;
}
}

namespace std {
VIRTINE_ENDS void terminate() noexcept {
  end_call<abort_reason::terminated>(__builtin_return_address(0));
}
VIRTINE_ENDS void __throw_bad_alloc() {
  end_call<abort_reason::out_of_memory>(__builtin_return_address(0));
}
VIRTINE_THROWS(__throw_bad_array_new_length())
VIRTINE_THROWS(__throw_bad_cast())
VIRTINE_THROWS(__throw_bad_exception())
VIRTINE_THROWS(__throw_bad_function_call())
VIRTINE_THROWS(__throw_bad_typeid())
VIRTINE_THROWS(__throw_domain_error(const char*))
VIRTINE_THROWS(__throw_future_error(int))
VIRTINE_THROWS(__throw_invalid_argument(const char*))
VIRTINE_THROWS(__throw_ios_failure(const char*))
VIRTINE_THROWS(__throw_length_error(const char*))
VIRTINE_THROWS(__throw_logic_error(const char*))
VIRTINE_THROWS(__throw_out_of_range(const char*))
VIRTINE_THROWS(__throw_out_of_range_fmt(const char*, ...))
VIRTINE_THROWS(__throw_overflow_error(const char*))
VIRTINE_THROWS(__throw_range_error(const char*))
VIRTINE_THROWS(__throw_runtime_error(const char*))
VIRTINE_THROWS(__throw_system_error(int))
VIRTINE_THROWS(__throw_underflow_error(const char*))
}  // namespace std
