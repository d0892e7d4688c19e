// The one snapshot of each image that the machines of a process share, made by running the image's
// initialiser. Knows nothing of pools; what a machine is, its users say.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include <virtine/deadline.hpp>
#include <virtine/guest_memory.hpp>
#include <virtine/image.hpp>
#include <virtine/out_of_memory.hpp>
#include <virtine/process.hpp>
#include <virtine/result.hpp>
#include <virtine/runner.hpp>
#include <virtine/snapshot.hpp>
#include <virtine/stop.hpp>
#include <virtine/system_call.hpp>
#include <virtine/x86/user64.hpp>

namespace virtine {

/// How long an image's initialiser may run; then it fails with errc::timed_out.
inline constexpr std::chrono::seconds initialiser_timeout{10};

/// How many system calls an initialiser may make, none of which does anything; then it fails with
/// errc::hypercall_limit.
inline constexpr std::uint64_t initialiser_system_calls = 1'000;

/// Runs the initialiser of the image of `base` on a machine made from it, at CPL 3 and without any
/// hypercall; system calls fail with ENOSYS. Returns a snapshot of what it left in the image's
/// data. Everything else of the machine is forgotten. Fails as a call does; the error's operation
/// then names the initialiser.
template <class Machine>
result<std::shared_ptr<const snapshot>> run_initialiser(
    const std::shared_ptr<const snapshot>& base,
    std::chrono::nanoseconds timeout = initialiser_timeout) {
  const image_description& image = base->image();
  auto made = Machine::create(base);
  if (!made) return made.why();
  Machine& guest = **made;
  auto stopped = guest.enter(image.init, {.until = deadline_after(timeout)});
  for (std::uint64_t calls = 0; stopped && *stopped != stop::done;) {
    result<void> served;
    if (*stopped == stop::hypercall) {
      served = error{.code = errc::hypercall_denied, .detail = guest.hypercall_number()};
    } else if (const system_call call = guest.system_call(); detail::is_exit(call)) {
      served = detail::exited_by(call);
    } else if (calls++ == initialiser_system_calls) {
      served = error{.code = errc::hypercall_limit, .detail = initialiser_system_calls};
    }
    if (served) {
      guest.answer(-ENOSYS);
      stopped = guest.resume();
    } else {
      guest.abandon();
      stopped = served.why();
    }
  }
  if (!stopped) {
    error why = stopped.why();
    if (!is_host_side(why.code)) why.operation = "in the image's initialiser";
    return why;
  }

  // What is taken over is what the guest may write and calls have a use for: not the call frame,
  // the stack or the tables, so that whatever the initialiser did is done with bytes of its data
  // alone.
  std::vector<std::uint64_t> written;
  for (const auto& page : guest.write_set()) {
    if (base->layout().is_data(page.address)) written.push_back(page.address);
  }
  std::sort(written.begin(), written.end());
  initialised_data left;
  for (std::uint64_t page : written) {
    auto content = guest.read(guest_address{page}, x86::page_size);
    if (!content) return content.why();
    // A machine may have been given pages ahead that the guest then did not write.
    const auto before = base->pristine().subspan(page - layout::begin, x86::page_size);
    if (std::equal(content->begin(), content->end(), before.begin())) continue;
    left.pages.push_back(page);
    left.content.insert(left.content.end(), content->begin(), content->end());
  }
  return snapshot::create(image, left);
}

namespace detail {

/// The snapshot of an image, as long as somebody holds it.
struct held_snapshot {
  std::mutex guard;
  std::weak_ptr<const snapshot> made;  // Guarded by `guard`.
  std::atomic<bool> settled{true};     // False while `made` changes.

  /// What a child of fork has: its parent's, which takes the child nothing to share.
  static void begin_anew(void* place, held_snapshot& inherited) {
    std::weak_ptr<const snapshot> made;
    // Not looked at if another thread was changing it.
    if (inherited.settled.load()) made = inherited.made;
    (new (place) held_snapshot)->made = std::move(made);
  }

  void set(const std::shared_ptr<const snapshot>& to) {
    settled.store(false);
    made = to;
    settled.store(true);
  }
};

/// Where the snapshot of an image is found.
struct snapshot_place {
  explicit snapshot_place(const image_description& of) : image(&of) {}

  held_snapshot& held() { return held_.get(held_snapshot::begin_anew); }

  const image_description* const image;
  snapshot_place* next = nullptr;

 private:
  per_process<held_snapshot> held_;
};

/// Returns the process's place for the snapshot of `image`.
inline snapshot_place& place_of(const image_description& image) {
  // Never destroyed, because machines in static storage may be made until the process ends. Without
  // a lock, which a thread that is gone could hold in a child of fork.
  static constinit std::atomic<snapshot_place*> all{nullptr};
  std::unique_ptr<snapshot_place> added;
  for (;;) {
    snapshot_place* const first = all.load(std::memory_order_acquire);
    for (snapshot_place* each = first; each != nullptr; each = each->next) {
      if (each->image == &image) return *each;
    }
    if (!added) added = std::make_unique<snapshot_place>(image);
    added->next = first;
    snapshot_place* expected = first;
    if (all.compare_exchange_strong(expected, added.get())) return *added.release();
  }
}

}  // namespace detail

/// Returns the process's snapshot of `image`. If no machine holds one it is made, by running the
/// initialiser if there is one; who asks for it meanwhile waits. A failure is not remembered. A
/// child of fork shares its parent's.
template <class Machine>
result<std::shared_ptr<const snapshot>> shared_snapshot(const image_description& image) {
  return detail::or_out_of_memory([&]() -> result<std::shared_ptr<const snapshot>> {
    detail::held_snapshot& held = detail::place_of(image).held();
    std::lock_guard lock(held.guard);
    if (auto made = held.made.lock()) return made;
    auto made = snapshot::create(image);
    if (made && image.init != 0) made = run_initialiser<Machine>(*made);
    if (made) held.set(*made);
    return made;
  });
}

}  // namespace virtine
