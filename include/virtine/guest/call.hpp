// guest::call<Call>: makes a hypercall from a guest and returns the host's answer.
// Must not know what the host does with it. Freestanding, x86-64 only.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>
#include <utility>

#include <virtine/abi/composite.hpp>
#include <virtine/abi/frame.hpp>
#include <virtine/abi/signature.hpp>
#include <virtine/abi/user64.hpp>
#include <virtine/hypercall.hpp>

namespace virtine::detail {

/// Writes an argument to its slot in a call frame. Elements stay where they are: the host reads
/// the guest's memory.
template <class A>
[[gnu::always_inline]] inline void write_argument(std::byte* slot, const A& argument) {
  if constexpr (is_sequence<A>) {
    // Sound: the guest's addresses are numbers of 64 bits.
    ::new (static_cast<void*>(slot))
        sequence_reference{reinterpret_cast<std::uint64_t>(argument.data()), argument.size()};
  } else if constexpr (is_composite<A>) {
    put(slot, argument, write_part);
  } else {
    ::new (static_cast<void*>(slot)) A(argument);
  }
}

/// Leaves the guest for hypercall `Number`. The host answers by writing to the frame and to what
/// it refers to, and changes no register.
template <std::uint32_t Number>
[[gnu::always_inline]] inline void leave(std::byte* call_frame) {
  // The record of the import is tied to the code by SHF_LINK_ORDER ("o"), because the linker would
  // otherwise keep it when it drops the function around it.
  asm volatile(
      ".Lvirtine_call%=: out %%eax, %[port]\n\t"
      ".pushsection .virtine.imports,\"o\",@progbits,.Lvirtine_call%=\n\t"
      ".long %c[number]\n\t"
      ".popsection"
      :
      : [port] "N"(x86::hypercall_port), [number] "i"(Number), "a"(Number), "D"(call_frame)
      : "memory");
}

template <std::uint32_t Number, class Sig>
struct hypercall_maker;

template <std::uint32_t Number, class R, class... A>
struct hypercall_maker<Number, R(A...)> {
  [[gnu::always_inline]] R operator()(A... arguments) const {
    return run(std::index_sequence_for<A...>{}, arguments...);
  }

 private:
  using layout = hypercall_frame<R(A...)>;

  template <std::size_t... I>
  [[gnu::always_inline]] static R run(std::index_sequence<I...>, const A&... arguments) {
    alignas(frame_alignment) std::byte call_frame[layout::size == 0 ? 1 : layout::size];
    (write_argument<A>(call_frame + layout::offsets[I], arguments), ...);
    leave<Number>(call_frame);
    if constexpr (is_composite<R>) {
      return take<R>(call_frame + layout::result_offset);
    } else if constexpr (!std::is_void_v<R>) {
      // Sound: the host wrote the bytes of a trivially copyable R here.
      return *std::launder(reinterpret_cast<R*>(call_frame + layout::result_offset));
    }
  }
};

}  // namespace virtine::detail

namespace virtine::guest {

/// Makes the hypercall `Call` with arguments of its signature: `call<log_line>("hello")`. Returns
/// its result; does not return if the host's policy denies it. Spans and string_views are read and
/// written in place. Costs an exit to the host.
template <hypercall_type Call>
inline constexpr detail::hypercall_maker<Call::number, typename Call::signature_type> call{};

}  // namespace virtine::guest
