// The pool of machines of one image, in whatever process it is used. Knows nothing of how machines
// are kept.
// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstddef>
#include <new>
#include <stop_token>

#include <virtine/image.hpp>
#include <virtine/os/process.hpp>
#include <virtine/os/workers.hpp>
#include <virtine/pool/kept_machines.hpp>
#include <virtine/pool/machine_like.hpp>
#include <virtine/pool_options.hpp>
#include <virtine/result.hpp>

namespace virtine {

/// A pool of machines of type Machine. Costs, per machine that was ever in use at one time: a VM
/// and a vCPU of the kernel's (about half a MiB), two descriptors, and the pages that calls have
/// written. A thread that calls again finds the machine of its last call without a lock. The
/// destructor waits for calls under way, which end by their own limits (abandon_calls).
///
/// In a child of fork the pool begins empty, with threads of its own. Its parent's idle machines
/// are closed there when the child first uses the pool; those that were in use keep their
/// descriptors open until the child ends or executes another program.
template <detail::machine_like Machine>
class basic_pool {
  using kept = detail::kept_machines<Machine>;

 public:
  using lease = typename kept::lease;

  explicit basic_pool(const image_description& image, pool_options options = {})
      : kept_([&](void* place) { new (place) kept(image, options); }) {
    here().keep();
  }
  basic_pool(const basic_pool&) = delete;
  basic_pool& operator=(const basic_pool&) = delete;
  ~basic_pool() { static_cast<void>(here()); }  // A child's own, which is destroyed then.

  /// Lends a machine: the one that this thread gave back last, or any other, or a new one. Fails as
  /// machine::create does, and as pool_options::when_exhausted says. `timeout`, `stop` and
  /// `stop_if`, as of call_options, limit waiting for another call to end, and for the image's
  /// initialiser.
  [[nodiscard]] result<lease> borrow(
      std::chrono::nanoseconds timeout = std::chrono::nanoseconds::max(),
      const std::stop_token& stop = {}, bool (*stop_if)() = nullptr) {
    return here().borrow(timeout, stop, stop_if);
  }

  /// Makes machines until there are `wanted`, or pool_options::max. Fails as machine::create does.
  result<void> warm_up(std::size_t wanted) { return here().warm_up(wanted); }

  /// Destroys machines that are ready for a call until `keep` of these are left.
  void trim(std::size_t keep) { here().trim(keep); }

  /// Returns how many machines exist, on loan or idle.
  [[nodiscard]] std::size_t size() const { return here().stats().machines; }

  [[nodiscard]] pool_stats stats() const { return here().stats(); }

  /// Has the pool do as `options` say from now on. Machines beyond a lower `max` stay until they
  /// are discarded, or idle at a trim(); threads beyond fewer `workers` stay.
  void configure(const pool_options& options) { here().configure(options); }

  /// Returns what the pool does.
  [[nodiscard]] pool_options options() const { return here().options(); }

  /// Returns the threads that run calls made with async().
  [[nodiscard]] os::workers& callers() { return here().callers(); }

 private:
  [[nodiscard]] kept& here() const { return kept_.get(kept::begin_anew); }

  mutable os::per_process<kept> kept_;
};

/// A pool of machines of one image.
template <guest_image Image>
class pool : public basic_pool<detail::machine_of<Image>> {
  static_assert(
      Image::description.mode != x86::cpu_mode::user64 ||
          detail::is_well_formed(Image::description),
      "virtine [V122]: an image's segments are not as the library relies on. Build it again "
      "with the virtine-cc of this version.");

 public:
  explicit pool(pool_options options = {})
      : basic_pool<detail::machine_of<Image>>(Image::description, options) {}
};

}  // namespace virtine
