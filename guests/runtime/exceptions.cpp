// What libstdc++ and the unwinder ask of a system: where an image's tables are, and what to do with
// an exception that nobody catches. Linked into images that catch.
// Must not know the guest.
// SPDX-License-Identifier: MIT

#include <cxxabi.h>
#include <link.h>
#include <unwind.h>

#include <cstddef>
#include <exception>
#include <new>
#include <typeinfo>

#include <virtine/abi/abort_reason.hpp>

using virtine::x86::abort_reason;
using virtine::x86::end_call;

extern "C" {
// Of the linker script.
extern char virtine_code_begin[];
extern char virtine_code_end[];
extern char virtine_tables_begin[];
extern char virtine_tables_end[];

/// What glibc's function of this name gives to GCC's unwinder.
struct dl_find_object {
  unsigned long long flags;
  void* begin;
  void* end;
  void* map;
  void* tables;
  unsigned long long reserved[7];
};

int _dl_find_object(void* code, dl_find_object* found) {
  char* const at = static_cast<char*>(code);
  if (at < virtine_code_begin || at >= virtine_code_end) return -1;
  *found = {.flags = 0,
            .begin = virtine_code_begin,
            .end = virtine_code_end,
            .map = nullptr,
            .tables = virtine_tables_begin,
            .reserved = {}};
  return 0;
}

/// The same for unwinders that do not ask glibc.
int dl_iterate_phdr(int (*visit)(dl_phdr_info*, std::size_t, void*), void* data) {
  const auto header = [](unsigned type, unsigned rights, char* begin, char* end) {
    Elf64_Phdr made{};
    made.p_type = type;
    made.p_flags = rights;
    made.p_vaddr = reinterpret_cast<Elf64_Addr>(begin);
    made.p_memsz = static_cast<Elf64_Xword>(end - begin);
    return made;
  };
  const Elf64_Phdr headers[] = {
      header(PT_LOAD, PF_R | PF_X, virtine_code_begin, virtine_code_end),
      header(PT_GNU_EH_FRAME, PF_R, virtine_tables_begin, virtine_tables_end)};
  dl_phdr_info info{};
  info.dlpi_name = "";
  info.dlpi_phdr = headers;
  info.dlpi_phnum = 2;
  info.dlpi_adds = 1;
  return visit(&info, sizeof info, data);
}
}

namespace {
struct search {
  bool is_ending = false;  // The frame before was of a function that ends calls.
  void* place = nullptr;
};

_Unwind_Reason_Code visit(_Unwind_Context* frame, void* data) {
  const auto begins_at = [begin = _Unwind_GetRegionStart(frame)](auto* function) {
    return begin == reinterpret_cast<_Unwind_Ptr>(function);
  };
  search& found = *static_cast<search*>(data);
  const bool was_ending = found.is_ending;
  found.is_ending =
      begins_at(&abi::__cxa_throw) || begins_at(&abi::__cxa_rethrow) || begins_at(&std::terminate);
  if (!was_ending || found.is_ending) return _URC_NO_REASON;
  // Sound: only compared with addresses of code.
  found.place = reinterpret_cast<void*>(_Unwind_GetIP(frame));
  return _URC_NORMAL_STOP;
}

[[noreturn]] void give_up() {
  // What nobody catches has unwound nothing: who threw it is still on the stack.
  search thrower;
  _Unwind_Backtrace(visit, &thrower);
  void* const place = thrower.place != nullptr ? thrower.place : __builtin_return_address(0);
  const std::type_info* const type = abi::__cxa_current_exception_type();
  if (type == nullptr) end_call<abort_reason::terminated>(place);
  if (*type == typeid(std::bad_alloc)) end_call<abort_reason::out_of_memory>(place);
  end_call<abort_reason::uncaught_exception>(place);
}
}  // namespace

namespace __cxxabiv1 {
// libstdc++'s own would write a message, with all that takes.
using handler = void (*)();
extern handler __terminate_handler;
handler __terminate_handler = give_up;
}  // namespace __cxxabiv1
