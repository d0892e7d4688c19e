// What a pool and a call need of a machine, and which of the machines runs an image.
// Knows nothing of either's inside.
// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>

#include <virtine/image.hpp>
#include <virtine/machine/guest_access.hpp>
#include <virtine/machine/guest_exit.hpp>
#include <virtine/machine/machine.hpp>
#include <virtine/machine/machine_use.hpp>
#include <virtine/machine/runner.hpp>
#include <virtine/machine/system_call.hpp>
#include <virtine/machine/vm_place.hpp>
#include <virtine/result.hpp>

namespace virtine {
class bare_machine;  // The headers of images that run on one include it.
}

namespace virtine::detail {

/// What a pool and a call need of a machine. Tests run both on one that plays a script.
template <class M>
concept machine_like = requires(M& machine, std::size_t used, std::uint64_t function,
                                const run_limits& limits) {
  { machine.arguments() } -> std::same_as<std::span<std::byte>>;
  { machine.arguments_address() } -> std::same_as<guest_address>;
  { machine.enter(function, limits) } -> std::same_as<result<guest_exit>>;
  { machine.resume() } -> std::same_as<result<guest_exit>>;
  { machine.hypercall_number() } -> std::same_as<std::uint32_t>;
  { machine.hypercall_frame() } -> std::same_as<guest_address>;
  { machine.poisoned() } -> std::same_as<bool>;
  { machine.write_set().size() } -> std::same_as<std::size_t>;
  { machine.use() } -> std::same_as<machine_use&>;
  { machine.shared_state() } -> std::same_as<std::shared_ptr<const void>>;
  machine.abandon();
  machine.outgrown();
  machine.restore(used);
  requires std::derived_from<M, guest_access>;
};

/// A machine that pools make, each in a VM of its own or in one of those that they share.
template <class M>
concept pooled_machine = machine_like<M> &&
    requires(const image_description& image, const run_limits& limits,
             const std::shared_ptr<shared_vms>& vms) {
  { M::create(image, limits, vms) } -> std::same_as<result<std::unique_ptr<M>>>;
};

/// A machine whose guests can stop for system calls; bare ones have no port for that.
template <class M>
concept makes_system_calls = machine_like<M> && requires(M& machine, std::int64_t value) {
  { machine.system_call() } -> std::same_as<system_call>;
  machine.answer(value);
  { machine.guest_runner().pause(std::chrono::nanoseconds{}) } -> std::same_as<bool>;
};

/// Says whether guests of an M can be lent memory, which those of bare machines cannot.
template <class M>
inline constexpr bool can_be_lent = std::derived_from<M, machine>;

/// The type of an image that is loaded at run time, for a kind of machine.
template <class Machine>
struct loaded_type {
  using machine = Machine;
};

template <class Image>
struct machine_for {
  using type =
      std::conditional_t<Image::description.mode == x86::cpu_mode::user64, machine, bare_machine>;
};
template <class Machine>
struct machine_for<loaded_type<Machine>> {
  using type = Machine;
};

/// The kind of machine that runs an image.
template <class Image>
using machine_of = typename machine_for<Image>::type;

}  // namespace virtine::detail
