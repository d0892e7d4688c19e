// Why KVM_RUN returned, as a closed variant decoded from kvm_run.
// Knows nothing of vCPUs, and gives exits no meaning.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>

#include <virtine/kvm/uapi.hpp>

namespace virtine::kvm {

enum class io_direction : std::uint8_t { in = KVM_EXIT_IO_IN, out = KVM_EXIT_IO_OUT };

/// The guest used an I/O port `count` times, each with `size` bytes of `data`.
struct io_exit {
  static constexpr const char* name = "KVM_EXIT_IO";
  io_direction direction;
  std::uint8_t size;
  std::uint16_t port;
  std::uint32_t count;
  std::span<std::byte> data;  ///< What was written, or where to put what is read.
};

/// The guest touched an address without memory, or wrote to a read-only slot.
struct mmio_exit {
  static constexpr const char* name = "KVM_EXIT_MMIO";
  std::uint64_t address;
  bool is_write;
  std::span<std::byte> data;  ///< What was written, or where to put what is read.
};

struct hlt_exit {
  static constexpr const char* name = "KVM_EXIT_HLT";
};

/// The guest met a triple fault. Its registers are lost on some hosts.
struct shutdown_exit {
  static constexpr const char* name = "KVM_EXIT_SHUTDOWN";
};

/// The processor refused the guest state.
struct fail_entry_exit {
  static constexpr const char* name = "KVM_EXIT_FAIL_ENTRY";
  std::uint64_t reason;  ///< VMX: the basic exit reason; SVM: EXITCODE.
};

/// KVM could not go on, for example with an instruction that it cannot emulate.
struct internal_error_exit {
  static constexpr const char* name = "KVM_EXIT_INTERNAL_ERROR";
  std::uint32_t suberror;  ///< KVM_INTERNAL_ERROR_*.
};

struct interrupted_exit {
  static constexpr const char* name = "KVM_EXIT_INTR";
};

/// An exit that this library has no use for, or that does not describe itself consistently.
struct unknown_exit {
  static constexpr const char* name = "unknown KVM exit";
  std::uint32_t reason;  ///< KVM_EXIT_*.
};

using exit = std::variant<io_exit, mmio_exit, hlt_exit, shutdown_exit, fail_entry_exit,
                          internal_error_exit, interrupted_exit, unknown_exit>;

namespace detail {
template <class... Exits>
constexpr const char* name_of(const std::variant<Exits...>& why) {
  constexpr const char* names[] = {Exits::name...};
  return names[why.index()];
}
}  // namespace detail

// Without std::visit, whose instantiation costs each file that includes this a tenth of a second.

/// Returns the exit's name as messages use it: where there is one, the kernel's.
constexpr const char* name(const exit& why) {
  return detail::name_of(why);
}

/// Returns the number that says most about the exit, for error::detail: port, address, reason or
/// suberror, else 0.
constexpr std::uint64_t detail_of(const exit& why) {
  if (const auto* e = std::get_if<io_exit>(&why)) return e->port;
  if (const auto* e = std::get_if<mmio_exit>(&why)) return e->address;
  if (const auto* e = std::get_if<fail_entry_exit>(&why)) return e->reason;
  if (const auto* e = std::get_if<internal_error_exit>(&why)) return e->suberror;
  if (const auto* e = std::get_if<unknown_exit>(&why)) return e->reason;
  return 0;
}

/// Decodes the exit that `run` describes, `run` being the start of a mapping of `mapping_size`
/// bytes. Data that does not lie in the mapping makes it an unknown_exit.
inline exit decode(kvm_run& run, std::size_t mapping_size) {
  switch (run.exit_reason) {
    case KVM_EXIT_IO: {
      const std::uint64_t length = std::uint64_t{run.io.size} * run.io.count;
      const bool inside = length <= mapping_size && run.io.data_offset <= mapping_size - length;
      if (!inside || run.io.direction > KVM_EXIT_IO_OUT) break;
      // Sound: the mapping begins at `run`, and the range was just checked to lie in it.
      auto* const data = reinterpret_cast<std::byte*>(&run) + run.io.data_offset;
      return io_exit{static_cast<io_direction>(run.io.direction),
                     run.io.size,
                     run.io.port,
                     run.io.count,
                     {data, static_cast<std::size_t>(length)}};
    }
    case KVM_EXIT_MMIO:
      if (run.mmio.len > sizeof run.mmio.data) break;
      return mmio_exit{run.mmio.phys_addr, run.mmio.is_write != 0,
                       std::as_writable_bytes(std::span(run.mmio.data)).first(run.mmio.len)};
    case KVM_EXIT_HLT:
      return hlt_exit{};
    case KVM_EXIT_SHUTDOWN:
      return shutdown_exit{};
    case KVM_EXIT_FAIL_ENTRY:
      return fail_entry_exit{run.fail_entry.hardware_entry_failure_reason};
    case KVM_EXIT_INTERNAL_ERROR:
      return internal_error_exit{run.internal.suberror};
    case KVM_EXIT_INTR:
      return interrupted_exit{};
    default:
      break;
  }
  return unknown_exit{run.exit_reason};
}

}  // namespace virtine::kvm
