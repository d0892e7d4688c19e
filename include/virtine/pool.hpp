// The pool of machines of one image, in the process that made it and in children of fork.
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

/// A pool of machines of type Machine. Each machine costs a VM and a vCPU of the kernel's (about
/// half a MiB), two descriptors, and the pages that calls have written; less with
/// pool_options::machines_per_vm. A pool has as many machines as were ever in use at one time. A
/// thread that calls again finds the machine of its last call without a lock. The destructor waits
/// for calls under way, which end by their own limits; see abandon_calls().
///
/// In a child of fork the pool begins empty, with threads of its own. It closes the parent's idle
/// machines when the child first uses it. Machines that were in use keep their descriptors open
/// until the child ends or executes another program.
template <detail::pooled_machine Machine>
class basic_pool {
  using kept = detail::kept_machines<Machine>;

 public:
  using lease = typename kept::lease;

  explicit basic_pool(const image_description& image, pool_options options = {})
      : image_(image), kept_([&](void* place) { new (place) kept(image, options); }) {
    here().keep();
  }
  basic_pool(const basic_pool&) = delete;
  basic_pool& operator=(const basic_pool&) = delete;
  ~basic_pool() { static_cast<void>(here()); }  // A child's own, which is destroyed then.

  /// Lends a machine: the one that this thread gave back last, any other, or a new one. Fails as
  /// machine::create does, and as pool_options::when_exhausted says. `timeout`, `stop` and
  /// `stop_if` are those of call_options; they limit the waiting for another call to end, and for
  /// the image's initialiser.
  [[nodiscard]] result<lease> borrow(
      std::chrono::nanoseconds timeout = std::chrono::nanoseconds::max(),
      const std::stop_token& stop = {}, bool (*stop_if)() = nullptr) {
    return here().borrow(timeout, stop, stop_if);
  }

  /// Makes machines until there are `wanted`, or pool_options::max. Fails as machine::create does.
  result<void> warm_up(std::size_t wanted) { return here().warm_up(wanted); }

  /// Destroys idle machines until `keep` of them are left.
  void trim(std::size_t keep) { here().trim(keep); }

  /// Returns how many machines exist, on loan or idle.
  [[nodiscard]] std::size_t size() const { return here().stats().machines; }

  [[nodiscard]] pool_stats stats() const { return here().stats(); }

  /// Changes the options from now on. With a lower `max`, machines beyond it stay until they are
  /// discarded, or idle at a trim(). With fewer `workers`, threads beyond them stay.
  void configure(const pool_options& options) { here().configure(options); }

  /// Returns the options.
  [[nodiscard]] pool_options options() const { return here().options(); }

  /// Returns the threads that run calls made with async().
  [[nodiscard]] os::workers& callers() { return here().callers(); }

  [[nodiscard]] const image_description& image() const { return image_; }

 private:
  [[nodiscard]] kept& here() const { return kept_.get(kept::begin_anew); }

  const image_description& image_;
  mutable os::per_process<kept> kept_;
};

/// A pool of machines of one image.
template <guest_image Image>
class pool : public basic_pool<detail::machine_of<Image>> {
  static_assert(detail::is_well_formed(Image::description),
                "virtine [V122]: the segments of an image are malformed. Build it again "
                "with the virtine-cc of this version.");

 public:
  explicit pool(pool_options options = {})
      : basic_pool<detail::machine_of<Image>>(Image::description, options) {}
};

namespace detail {
template <class Image>
struct pool_for {
  using type = pool<Image>;
};
/// The type of the pool of an image.
template <class Image>
using pool_of = typename pool_for<Image>::type;
}  // namespace detail

}  // namespace virtine
