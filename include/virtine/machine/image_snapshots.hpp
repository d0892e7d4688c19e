// The one snapshot of each image that the machines of a process share, made by running the image's
// initialiser. Knows nothing of pools; what a machine is, its users say.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <utility>
#include <vector>

#include <virtine/abi/user64.hpp>
#include <virtine/guest_memory.hpp>
#include <virtine/image.hpp>
#include <virtine/machine/deadline.hpp>
#include <virtine/machine/guest_exit.hpp>
#include <virtine/machine/run_loop.hpp>
#include <virtine/machine/runner.hpp>
#include <virtine/machine/snapshot.hpp>
#include <virtine/machine/system_call.hpp>
#include <virtine/os/out_of_memory.hpp>
#include <virtine/os/process.hpp>
#include <virtine/result.hpp>

namespace virtine::detail {

/// How long an image's initialiser may run; then it fails with errc::timed_out.
inline constexpr std::chrono::seconds initialiser_timeout{10};

/// How many system calls an initialiser may make, none of which does anything; then it fails with
/// errc::hypercall_limit.
inline constexpr std::uint64_t initialiser_system_calls = 1'000;

/// One making of a snapshot, for all who want it meanwhile.
struct snapshot_attempt {
  std::optional<result<std::shared_ptr<const snapshot>>> outcome = {};
  bool cut_short = false;  ///< Whether who makes it had to leave it, and others may succeed.
};

/// The snapshot of an image, as long as somebody holds it.
struct held_snapshot {
  std::mutex guard;  // Never held while a guest runs.
  std::condition_variable changed;
  std::shared_ptr<snapshot_attempt> running;  // Guarded by `guard`, as what it refers to.
  std::weak_ptr<const snapshot> made;         // Guarded by `guard`.
  std::atomic<bool> settled{true};            // False while `made` changes.

  /// What a child of fork has: its parent's, which takes the child nothing to share.
  static void begin_anew(void* place, held_snapshot& inherited, bool is_whole) {
    std::weak_ptr<const snapshot> made;
    // Not looked at if another thread was changing it.
    if (is_whole && inherited.settled.load()) made = inherited.made;
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
  std::chrono::nanoseconds timeout = initialiser_timeout;  ///< Of the image's initialiser.
  snapshot_place* next = nullptr;

 private:
  os::per_process<held_snapshot> held_;
};

/// Returns the process's place for the snapshot of `image`.
inline snapshot_place& place_of(const image_description& image) {
  if (image.place != nullptr) return *image.place;
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

/// Runs the initialiser of the image of `base` on a machine made from it, at CPL 3 and without any
/// hypercall; system calls fail with ENOSYS. Returns a snapshot of what it left in the image's
/// data. Everything else of the machine is forgotten; `spent` gets the machine itself. Fails as a
/// call does, after initialiser_timeout or as `limits` say; the error's operation then names the
/// initialiser.
template <class Machine>
result<std::shared_ptr<const snapshot>> run_initialiser(const std::shared_ptr<const snapshot>& base,
                                                        run_limits limits = {},
                                                        std::unique_ptr<Machine>* spent = nullptr) {
  const image_description& image = base->image();
  limits.until = std::min(limits.until, deadline_after(place_of(image).timeout));
  auto made = Machine::create(base);
  if (!made) return made.error();
  Machine& guest = **made;
  std::uint64_t calls = 0;
  const auto ran = run_guest(guest, image.init, limits, [&](guest_exit stop) -> result<void> {
    if (stop == guest_exit::hypercall)
      return error{.code = errc::hypercall_denied, .detail = guest.hypercall_number()};
    if (const system_call call = guest.system_call(); is_exit(call)) return exited_by(call);
    if (calls++ == initialiser_system_calls)
      return error{.code = errc::hypercall_limit, .detail = initialiser_system_calls};
    guest.answer(-ENOSYS);
    return {};
  });
  if (!ran) {
    error why = ran.error();
    const blame whose = blame_of(why.code);
    if (whose == blame::guest || whose == blame::limit)
      why.operation = "in the image's initialiser";
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
    if (!content) return content.error();
    // A machine may have been given pages ahead that the guest then did not write.
    const auto before = base->pristine().subspan(page - layout::begin, x86::page_size);
    if (std::equal(content->begin(), content->end(), before.begin())) continue;
    left.pages.push_back(page);
    left.content.insert(left.content.end(), content->begin(), content->end());
  }
  if (spent != nullptr) *spent = *std::move(made);
  return snapshot::create(image, left);
}

/// Returns the process's snapshot of `image`. If no machine holds one it is made, by running the
/// initialiser if there is one; who asks for it meanwhile waits, and gets what comes of it. A
/// failure is not remembered. `limits` bound all of that: an initialiser that has not ended at the
/// deadline of the call that runs it is stopped, and makes that call fail; of those that wait and
/// still have time one then runs it anew. A child of fork shares its parent's. `spent` gets the
/// machine on which this call ran the initialiser, if it did.
template <class Machine>
result<std::shared_ptr<const snapshot>> shared_snapshot(const image_description& image,
                                                        const run_limits& limits = {},
                                                        std::unique_ptr<Machine>* spent = nullptr) {
  return os::or_out_of_memory([&]() -> result<std::shared_ptr<const snapshot>> {
    held_snapshot& held = place_of(image).held();
    std::unique_lock lock(held.guard);
    for (;;) {
      if (auto made = held.made.lock()) return made;
      const auto other = held.running;
      if (!other) break;
      while (!other->outcome) {
        if (auto waits = check(limits); !waits) return waits.error();
        held.changed.wait_for(lock, std::chrono::milliseconds(10));
      }
      if (!other->cut_short) return *other->outcome;
    }
    const auto mine = std::make_shared<snapshot_attempt>();
    held.running = mine;
    lock.unlock();
    const auto longest = deadline_after(place_of(image).timeout);
    auto made = os::or_out_of_memory([&] {
      auto base = snapshot::create(image);
      return base && image.init != 0 ? run_initialiser<Machine>(*base, limits, spent) : base;
    });
    lock.lock();
    mine->cut_short = !made && (made.error().code == errc::cancelled ||
                                (made.error().code == errc::timed_out && limits.until < longest));
    mine->outcome = made;
    held.running.reset();
    if (made) held.set(*made);
    held.changed.notify_all();
    return made;
  });
}

}  // namespace virtine::detail
