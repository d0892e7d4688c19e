// The very bytes by which the trampoline wipes x87 and vector state, executed on this processor.
// SPDX-License-Identifier: MIT
#include <asm/prctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include <virtine/machine/extended_state.hpp>
#include <virtine/x86/trampoline.hpp>

#include "catch.hpp"

using namespace virtine;
using namespace virtine::detail;

namespace {

using x86::vector_wipe;

constexpr std::size_t page = x86::page_size;
constexpr std::size_t legacy_size = 512;  // Of FXSAVE's area.
constexpr std::uint64_t xcr0_pkru = 1U << 9;
constexpr std::uint64_t xcr0_amx = 3U << 17;

// Where an entry's restore begins: behind `mov rsp, [rel call_address]`.
std::size_t begin_of(vector_wipe how) {
  const std::size_t entry = x86::trampoline_entry(how) - x86::trampoline_page;
  REQUIRE(x86::detail::trampoline.bytes[entry] == std::byte{0x48});
  REQUIRE(x86::detail::trampoline.bytes[entry + 1] == std::byte{0x8b});
  REQUIRE(x86::detail::trampoline.bytes[entry + 2] == std::byte{0x25});
  return entry + 7;
}

// Where it ends: at `mov ecx, user_data_selector; mov ds, ecx`.
std::size_t end_of(vector_wipe how) {
  constexpr std::array<std::byte, 7> next{std::byte{0xb9}, std::byte{x86::user_data_selector},
                                          std::byte{0},    std::byte{0},
                                          std::byte{0},    std::byte{0x8e},
                                          std::byte{0xd9}};
  const auto& bytes = x86::detail::trampoline.bytes;
  const auto first = bytes.begin() + static_cast<std::ptrdiff_t>(begin_of(how));
  const auto found = std::search(first, first + 0x40, next.begin(), next.end());
  REQUIRE(found != first + 0x40);
  return static_cast<std::size_t>(found - bytes.begin());
}

// The restore of one entry as a function, with `area` bytes to restore from before memory ends.
class restore {
 public:
  restore(vector_wipe how, std::size_t area) {
    const std::size_t needed = x86::init_state_offset + area;
    mapped_ = (needed + page - 1) / page * page + page;
    void* const at =
        ::mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(at != MAP_FAILED);
    memory_ = static_cast<std::byte*>(at);
    std::byte* const code = memory_ + (mapped_ - page) - needed;
    const auto& from = x86::detail::trampoline.bytes;
    std::memcpy(code, from.data(), std::min(needed, x86::init_state_offset + x86::init_state_size));
    code[end_of(how)] = std::byte{0xc3};  // ret
    entry_ = code + begin_of(how);
    return_ = code + end_of(how);
    REQUIRE(::mprotect(memory_, mapped_ - page, PROT_READ | PROT_EXEC) == 0);
    REQUIRE(::mprotect(memory_ + mapped_ - page, page, PROT_NONE) == 0);
  }
  restore(const restore&) = delete;
  restore& operator=(const restore&) = delete;
  ~restore() { ::munmap(memory_, mapped_); }

  [[nodiscard]] const std::byte* entry() const { return entry_; }
  /// The same without the restore.
  [[nodiscard]] const std::byte* nothing() const { return return_; }
  [[nodiscard]] const std::byte* guard() const { return memory_ + mapped_ - page; }

 private:
  std::byte* memory_ = nullptr;
  std::size_t mapped_ = 0;
  const std::byte* entry_ = nullptr;
  const std::byte* return_ = nullptr;
};

struct alignas(64) state_area {
  std::array<std::byte, 128 * 1024> bytes{};
};

struct alignas(64) tiles {
  std::array<std::uint8_t, 64> configuration{};
  std::array<std::uint8_t, 1024> rows{};
};

// Puts a pattern into the state that `components` name, calls `then` and saves all that there is.
// One piece of assembly, because the compiler uses this state as well.
[[gnu::noinline]] void soil_call_and_save(std::uint64_t components, const std::byte* then,
                                          state_area& saved, bool has_xsave) {
  static const std::array<std::uint8_t, 16> number{0,    0,    0, 0, 0, 0, 0, 0xd0,
                                                   0x00, 0x40, 0, 0, 0, 0, 0, 0};  // 3.25
  static const float zero = 0;
  static const std::uint16_t control_word = 0x007b;  // Division by zero is not masked.
  static const std::uint32_t mxcsr = 0xe07f;
  static const std::uint32_t default_mxcsr = 0x1f80;
  static tiles tile;
  tile.configuration[0] = 1;    // Palette.
  tile.configuration[16] = 64;  // Bytes in a row, of each of eight tiles,
  for (std::size_t i = 0; i < 8; ++i) {
    tile.configuration[16 + 2 * i] = 64;
    tile.configuration[48 + i] = 16;  // and how many rows.
  }
  tile.rows.fill(0xa5);
  // Sound: a copy of code that only changes registers, which are all named below; the stack below
  // RSP is left alone as the ABI has it.
  asm volatile(
      "lea -256(%%rsp), %%rsp\n"
      "fninit\n"
      ".rept 8\n fldt (%[number])\n .endr\n"
      "fldcw (%[control])\n"
      "fdivs (%[zero])\n"  // Leaves an exception pending, with its pointers.
      "movabs $0xa5a5a5a5a5a5a5a5, %%rax\n"
      "movq %%rax, %%xmm0\n"
      "punpcklqdq %%xmm0, %%xmm0\n"
      ".irp i,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n movdqa %%xmm0, %%xmm\\i\n .endr\n"
      "test $0x4, %[components]\n"
      "jz 1f\n"
      "vinsertf128 $1, %%xmm0, %%ymm0, %%ymm0\n"
      ".irp i,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n vmovdqa %%ymm0, %%ymm\\i\n .endr\n"
      "1: test $0x20, %[components]\n"
      "jz 2f\n"
      "vpbroadcastq %%rax, %%zmm0\n"
      ".irp i,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n vmovdqa64 %%zmm0, %%zmm\\i\n .endr\n"
      ".irp i,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
      " vmovdqa64 %%zmm0, %%zmm\\i\n .endr\n"
      ".irp i,0,1,2,3,4,5,6,7\n kmovw %%eax, %%k\\i\n .endr\n"
      "2: test $0x20000, %[components]\n"
      "jz 3f\n"
      "ldtilecfg (%[tile])\n"
      "mov $64, %%edx\n"
      ".irp i,0,1,2,3,4,5,6,7\n tileloadd 64(%[tile],%%rdx,1), %%tmm\\i\n .endr\n"
      "3: test $0x200, %[components]\n"
      "jz 4f\n"
      "xor %%ecx, %%ecx\n"
      "xor %%edx, %%edx\n"
      "mov $0x5a5a5a50, %%eax\n"  // Key 0, which all memory here has, stays open.
      "wrpkru\n"
      "4: ldmxcsr (%[mxcsr])\n"
      "call *%[then]\n"
      "mov $-1, %%eax\n"
      "mov $-1, %%edx\n"
      "test %[has_xsave], %[has_xsave]\n"
      "jz 5f\n"
      "xsave64 (%[saved])\n"
      "jmp 6f\n"
      "5: fxsave64 (%[saved])\n"
      "6: test $0x20000, %[components]\n"
      "jz 7f\n"
      "tilerelease\n"
      "7: test $0x4, %[components]\n"
      "jz 8f\n"
      "vzeroall\n"
      "8: fninit\n"
      "ldmxcsr (%[default_mxcsr])\n"
      "lea 256(%%rsp), %%rsp\n"
      :
      : [components] "r"(components), [then] "r"(then), [saved] "r"(&saved),
        [has_xsave] "r"(std::uint64_t{has_xsave}), [number] "r"(&number), [zero] "r"(&zero),
        [control] "r"(&control_word), [mxcsr] "r"(&mxcsr), [tile] "r"(&tile),
        [default_mxcsr] "r"(&default_mxcsr)
      : "rax", "rcx", "rdx", "memory", "cc", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)",
        "st(6)", "st(7)", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
        "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

std::uint32_t read_pkru() {
  std::uint32_t value = 0;
  // Sound: only where the operating system has turned protection keys on.
  asm volatile("rdpkru" : "=a"(value) : "c"(0) : "rdx");
  return value;
}

void write_pkru(std::uint32_t value) {
  // Sound: as above; a value that was read before.
  asm volatile("wrpkru" : : "a"(value), "c"(0), "d"(0) : "memory");
}

// What of this processor's state CPL 3 can change.
std::uint64_t soilable() {
  std::uint64_t found = x86::native_xcr0() & (xcr0_avx | xcr0_avx512);
  if ((found & xcr0_avx512) != xcr0_avx512) found &= ~xcr0_avx512;
  constexpr std::uint32_t ospke = 1U << 4;
  if ((x86::native_xcr0() & xcr0_pkru) != 0 && (x86::native_cpuid(7).ecx & ospke) != 0) {
    found |= xcr0_pkru;
  }
  constexpr std::uint32_t amx_tile = 1U << 24;
  constexpr int req_xcomp_perm = 0x1023;  // ARCH_REQ_XCOMP_PERM; older headers lack it.
  if ((x86::native_xcr0() & xcr0_amx) == xcr0_amx && (x86::native_cpuid(7).edx & amx_tile) != 0 &&
      ::syscall(SYS_arch_prctl, req_xcomp_perm, 18) == 0) {
    found |= xcr0_amx;
  }
  return found;
}

// Returns the saved state after `then`.
state_area state_after(std::uint64_t components, const std::byte* then) {
  state_area saved;
  const bool keys = (components & xcr0_pkru) != 0;
  const std::uint32_t pkru = keys ? read_pkru() : 0;
  soil_call_and_save(components, then, saved, x86::native_xcr0() != 0);
  if (keys) write_pkru(pkru);
  return saved;
}

std::span<const std::byte> part(const state_area& saved, std::size_t offset, std::size_t size) {
  return std::span(saved.bytes).subspan(offset, size);
}

bool is_zero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

// Whether this processor's XRSTOR, and saving, take the x87 pointers along with no exception.
bool loads_pointers() {
  constexpr std::uint32_t intel = 0x756e6547;
  return x86::native_cpuid(0).ebx == intel || (x86::native_cpuid(0x80000008).ebx & 4) != 0;
}

void check_initial(const state_area& saved, bool pointers, bool all) {
  CHECK(x86::load<std::uint16_t>(saved.bytes, 0) == 0x37f);
  CHECK(is_zero(part(saved, 2, 4)));  // Status and tags.
  if (pointers) CHECK(is_zero(part(saved, 6, 18)));
  CHECK(x86::load<std::uint32_t>(saved.bytes, 24) == 0x1f80);
  CHECK(is_zero(part(saved, 32, 512 - 32)));
  // Behind XSTATE_BV, which may tell what is in use.
  if (all) CHECK(is_zero(std::span(saved.bytes).subspan(520)));
}

sigjmp_buf resume;
volatile std::uintptr_t faulted_at = 0;

void on_fault(int, siginfo_t* info, void*) {
  faulted_at = reinterpret_cast<std::uintptr_t>(info->si_addr);
  siglongjmp(resume, 1);
}

// Whether the restore reaches beyond `area` bytes.
bool faults(vector_wipe how, std::size_t area) {
  const restore made(how, area);
  struct sigaction action {};
  struct sigaction before {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO;
  REQUIRE(::sigaction(SIGSEGV, &action, &before) == 0);
  static state_area saved;
  // Static, as what siglongjmp() comes back to must not be in a register.
  static bool faulted = false;
  static bool keys = false;
  static std::uint32_t pkru = 0;
  faulted = false;
  keys = (soilable() & xcr0_pkru) != 0;
  if (keys) pkru = read_pkru();
  if (sigsetjmp(resume, 1) == 0) {
    soil_call_and_save(0, made.entry(), saved, false);
  } else {
    faulted = true;
  }
  // Sound: what the piece of assembly was about to leave.
  asm volatile("fninit" : : : "st");
  constexpr std::uint32_t default_mxcsr = 0x1f80;
  asm volatile("ldmxcsr %0" : : "m"(default_mxcsr));
  if (keys) write_pkru(pkru);
  REQUIRE(::sigaction(SIGSEGV, &before, nullptr) == 0);
  if (faulted) {
    CHECK(faulted_at >= reinterpret_cast<std::uintptr_t>(made.guard()));
    CHECK(faulted_at < reinterpret_cast<std::uintptr_t>(made.guard()) + page);
  }
  return faulted;
}

// The smallest area that the trampoline has to give: a multiple of 64, which areas begin at.
std::size_t area_of(std::size_t size) {
  return (size + 63) / 64 * 64;
}

std::vector<vector_wipe> restores_of_this_processor() {
  if (x86::native_xcr0() == 0) return {vector_wipe::fxrstor};
  return {vector_wipe::xrstor, vector_wipe::fninit_xrstor, vector_wipe::fxrstor};
}

}  // namespace

TEST_CASE("each entry's restore makes all state initial", "[processor]") {
  const extended_state native = extended_state::native();
  const std::size_t size = std::max(native.size, extended_state::header_end);
  REQUIRE(size <= sizeof(state_area::bytes));
  for (const vector_wipe how : restores_of_this_processor()) {
    const bool all = how != vector_wipe::fxrstor;
    // What FXRSTOR does not know is on no host where it is all there is.
    const std::uint64_t components = all ? soilable() : 0;
    INFO("entry " << static_cast<int>(how) << ", components 0x" << std::hex << components);
    const restore made(how, all ? area_of(size) : legacy_size);
    const state_area soiled = state_after(components, made.nothing());
    CHECK_FALSE(is_zero(part(soiled, 32, 128)));   // x87
    CHECK_FALSE(is_zero(part(soiled, 160, 256)));  // XMM
    CHECK(x86::load<std::uint32_t>(soiled.bytes, 24) == 0xe07f);
    for (unsigned i = 2; i < extended_state::max_components; ++i) {
      if ((components >> i & 1) == 0) continue;
      INFO(component_name(i));
      CHECK_FALSE(is_zero(part(soiled, native.places[i].offset, native.places[i].size)));
    }
    check_initial(state_after(components, made.entry()),
                  how != vector_wipe::xrstor || loads_pointers(), all);
  }
}

TEST_CASE("each entry's restore touches no more than there is room for", "[processor]") {
  for (const vector_wipe how : restores_of_this_processor()) {
    const bool all = how != vector_wipe::fxrstor;
    const std::size_t size = all ? extended_state::native().size : legacy_size;
    INFO("entry " << static_cast<int>(how) << ", " << size << " bytes");
    CHECK(area_of(size) <= x86::init_state_room);
    CHECK_FALSE(faults(how, area_of(size)));
    // Without the header, or the end of the legacy area, which the processor reads.
    CHECK(faults(how, all ? legacy_size : legacy_size - 64));
    // Some processors touch the header alone, others all that XCR0 takes.
    std::size_t touched = all ? legacy_size : legacy_size - 64;
    while (faults(how, touched)) touched += 64;
    CHECK(touched <= area_of(all ? x86::native_cpuid(0xd).ebx : legacy_size));
  }
}
