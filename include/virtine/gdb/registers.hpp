// The registers of a guest in the order and the bytes that GDB's remote protocol has for them.
// Knows nothing of packets or of how a guest is stopped.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include <virtine/kvm/uapi.hpp>

namespace virtine::gdb::detail {

/// All registers, one after the other.
class register_file {
 public:
  static constexpr std::size_t size = 552;

  [[nodiscard]] std::span<std::byte> bytes() { return bytes_; }
  [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }

  /// Returns the bytes of the register that target_description() has at place `number`; none if it
  /// has no such.
  [[nodiscard]] std::span<std::byte> at(std::uint64_t number) {
    std::size_t offset = 0;
    for (const group& each : groups) {
      if (number < each.count) return bytes().subspan(offset + number * each.bytes, each.bytes);
      number -= each.count;
      offset += each.count * each.bytes;
    }
    return {};
  }

  /// Returns whether x87 or vector state differs from that of `other`.
  [[nodiscard]] bool has_other_vectors(const register_file& other) const {
    return std::memcmp(bytes_.data() + vector_begin, other.bytes_.data() + vector_begin,
                       bases - vector_begin) != 0;
  }

  /// Takes the registers from what KVM has of them.
  void load(const kvm_regs& regs, const kvm_sregs& sregs, const kvm::xsave_area& vectors) {
    for (std::size_t i = 0; i < general.size(); ++i) put(i * 8, regs.*general[i]);
    put(rip, regs.rip);
    put(rflags, static_cast<std::uint32_t>(regs.rflags));
    const std::array segments{sregs.cs, sregs.ss, sregs.ds, sregs.es, sregs.fs, sregs.gs};
    for (std::size_t i = 0; i < segments.size(); ++i)
      put(selectors + i * 4, std::uint32_t{segments[i].selector});
    for (std::size_t i = 0; i < 8; ++i) copy(st + i * 10, vectors, 32 + i * 16, 10);
    put(x87, std::uint32_t{read<std::uint16_t>(vectors, 0)});
    put(x87 + 4, std::uint32_t{read<std::uint16_t>(vectors, 2)});
    // A bit for each register that is in use, where gdb has two that say how.
    std::uint32_t tags = 0;
    for (unsigned i = 0; i < 8; ++i)
      tags |= (read<std::uint8_t>(vectors, 4) >> i & 1) != 0 ? 0 : 3U << i * 2;
    put(x87 + 8, tags);
    put(x87 + 12, read<std::uint32_t>(vectors, 12));
    put(x87 + 16, read<std::uint32_t>(vectors, 8));
    put(x87 + 20, read<std::uint32_t>(vectors, 20));
    put(x87 + 24, read<std::uint32_t>(vectors, 16));
    put(x87 + 28, std::uint32_t{read<std::uint16_t>(vectors, 6)});
    copy(xmm, vectors, 160, 256);
    put(mxcsr, read<std::uint32_t>(vectors, 24));
    put(bases, sregs.fs.base);
    put(bases + 8, sregs.gs.base);
  }

  /// Gives what of the registers a debugger may change back to what KVM has: not the selectors, and
  /// of the x87 state the registers themselves only.
  void store(kvm_regs& regs, kvm_sregs& sregs) const {
    for (std::size_t i = 0; i < general.size(); ++i) regs.*general[i] = get<std::uint64_t>(i * 8);
    regs.rip = get<std::uint64_t>(rip);
    regs.rflags = get<std::uint32_t>(rflags);
    // KVM refuses a base that is not canonical; a guest's own addresses all are.
    constexpr std::uint64_t limit = std::uint64_t{1} << 47;
    if (get<std::uint64_t>(bases) < limit) sregs.fs.base = get<std::uint64_t>(bases);
    if (get<std::uint64_t>(bases + 8) < limit) sregs.gs.base = get<std::uint64_t>(bases + 8);
  }
  void store(kvm::xsave_area& vectors) const {
    for (std::size_t i = 0; i < 8; ++i)
      std::memcpy(vectors.bytes.data() + 32 + i * 16, bytes_.data() + st + i * 10, 10);
    std::memcpy(vectors.bytes.data() + 160, bytes_.data() + xmm, 256);
    // x87 and SSE state are there (SDM vol. 1, 13.4.2).
    vectors.bytes[512] |= std::byte{3};
  }

 private:
  struct group {
    std::size_t count;
    std::size_t bytes;
  };
  // General registers and RIP; RFLAGS and selectors; ST0 to ST7; x87 control; XMM; MXCSR; bases.
  static constexpr std::array groups{group{17, 8},  group{7, 4}, group{8, 10}, group{8, 4},
                                     group{16, 16}, group{1, 4}, group{2, 8}};
  static constexpr std::size_t rip = 128;
  static constexpr std::size_t rflags = 136;
  static constexpr std::size_t selectors = 140;
  static constexpr std::size_t vector_begin = 164;
  static constexpr std::size_t st = vector_begin;
  static constexpr std::size_t x87 = 244;
  static constexpr std::size_t xmm = 276;
  static constexpr std::size_t mxcsr = 532;
  static constexpr std::size_t bases = 536;
  static constexpr std::array general{
      &kvm_regs::rax, &kvm_regs::rbx, &kvm_regs::rcx, &kvm_regs::rdx,
      &kvm_regs::rsi, &kvm_regs::rdi, &kvm_regs::rbp, &kvm_regs::rsp,
      &kvm_regs::r8,  &kvm_regs::r9,  &kvm_regs::r10, &kvm_regs::r11,
      &kvm_regs::r12, &kvm_regs::r13, &kvm_regs::r14, &kvm_regs::r15};

  template <class T>
  void put(std::size_t offset, T value) {
    std::memcpy(bytes_.data() + offset, &value, sizeof value);
  }
  template <class T>
  [[nodiscard]] T get(std::size_t offset) const {
    T value;
    std::memcpy(&value, bytes_.data() + offset, sizeof value);
    return value;
  }
  template <class T>
  static T read(const kvm::xsave_area& vectors, std::size_t offset) {
    T value;
    std::memcpy(&value, vectors.bytes.data() + offset, sizeof value);
    return value;
  }
  void copy(std::size_t to, const kvm::xsave_area& vectors, std::size_t from, std::size_t count) {
    std::memcpy(bytes_.data() + to, vectors.bytes.data() + from, count);
  }

  std::array<std::byte, size> bytes_{};
};

/// Returns what tells gdb which registers there are, in XML ("Target Descriptions" in its manual).
inline std::string target_description() {
  std::string out =
      "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target>"
      "<architecture>i386:x86-64</architecture>"
      "<feature name=\"org.gnu.gdb.i386.core\">";
  const auto add = [&](std::string_view name, std::string_view bits, std::string_view type) {
    out.append("<reg name=\"").append(name).append("\" bitsize=\"").append(bits);
    out.append("\" type=\"").append(type).append("\"/>");
  };
  for (const char* name : {"rax", "rbx", "rcx", "rdx", "rsi", "rdi"}) add(name, "64", "int64");
  for (const char* name : {"rbp", "rsp"}) add(name, "64", "data_ptr");
  for (int i = 8; i < 16; ++i) add("r" + std::to_string(i), "64", "int64");
  add("rip", "64", "code_ptr");
  for (const char* name : {"eflags", "cs", "ss", "ds", "es", "fs", "gs"}) add(name, "32", "int32");
  for (int i = 0; i < 8; ++i) add("st" + std::to_string(i), "80", "i387_ext");
  for (const char* name : {"fctrl", "fstat", "ftag", "fiseg", "fioff", "foseg", "fooff", "fop"})
    add(name, "32", "int32");
  out +=
      "</feature><feature name=\"org.gnu.gdb.i386.sse\">"
      "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>"
      "<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
      "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/>"
      "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/>"
      "<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/>"
      "<field name=\"v2_double\" type=\"v2d\"/><field name=\"v16_int8\" type=\"v16i8\"/>"
      "<field name=\"v4_int32\" type=\"v4i32\"/><field name=\"uint128\" type=\"uint128\"/>"
      "</union>";
  for (int i = 0; i < 16; ++i) add("xmm" + std::to_string(i), "128", "vec128");
  add("mxcsr", "32", "int32");
  out += "</feature><feature name=\"org.gnu.gdb.i386.segments\">";
  for (const char* name : {"fs_base", "gs_base"}) add(name, "64", "int64");
  return out + "</feature></target>";
}

}  // namespace virtine::gdb::detail
