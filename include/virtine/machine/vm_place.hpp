// Where a machine is: memory and vCPUs of a VM, which it has alone or shares with machines of the
// same image. Knows nothing of what the memory holds or of how a guest is run.
// SPDX-License-Identifier: MIT
#pragma once

#include <linux/kvm.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <virtine/kvm/capability.hpp>
#include <virtine/kvm/system.hpp>
#include <virtine/kvm/vcpu.hpp>
#include <virtine/kvm/vm.hpp>
#include <virtine/machine/guest_cpu.hpp>
#include <virtine/machine/layout.hpp>
#include <virtine/machine/snapshot.hpp>
#include <virtine/machine/vcpu_reset.hpp>
#include <virtine/os/mapping.hpp>
#include <virtine/os/process.hpp>
#include <virtine/result.hpp>
#include <virtine/x86/cpu_mode.hpp>
#include <virtine/x86/page_table.hpp>

namespace virtine::detail {

/// How many vCPUs a machine has at most: its own, and one for the thread of a session.
inline constexpr std::size_t max_vcpus = 2;

/// The vCPUs of a machine that nobody has at the moment, by their number.
using spare_vcpus = std::array<std::optional<kvm::vcpu>, max_vcpus>;

/// A VM and its memory: that of one machine, or a place for each of many.
struct machine_vm {
  struct left_place {
    std::size_t index;
    spare_vcpus vcpus;
  };

  machine_vm(os::mapping its_memory, kvm::vm its, std::size_t how_many)
      : memory(std::move(its_memory)), vm(std::move(its)), places(how_many) {
    left.reserve(places);  // A machine that ends must not allocate.
  }

  os::mapping memory;  // Before the VM: it must be mapped as long as that exists.
  kvm::vm vm;
  const std::size_t places;
  // Of a VM that machines share, guarded by its shared_vms:
  std::size_t used = 0;          // Places that a machine ever had: the first ones.
  std::size_t living = 0;        // Places that a machine has.
  std::vector<left_place> left;  // Those that are ready for the next.

  [[nodiscard]] bool has_room() const { return used < places || !left.empty(); }
};

class vm_place;

/// The VMs that machines of one image share, of a pool. Thread-safe. A VM is closed when its last
/// machine is gone, but for one that is kept for the next.
class shared_vms : public std::enable_shared_from_this<shared_vms> {
 public:
  /// How many machines one VM has at most, with two vCPUs each: KVM's bound is 1024.
  static constexpr std::size_t most = 512;

  /// Has `machines_per_vm` machines share a VM, at most `most`; fewer if their memory is more than
  /// layout::max_size together, or KVM has no more vCPUs.
  explicit shared_vms(std::size_t machines_per_vm)
      : machines_per_vm_(std::clamp<std::size_t>(machines_per_vm, 1, most)) {}
  shared_vms(const shared_vms&) = delete;
  shared_vms& operator=(const shared_vms&) = delete;

  /// Returns a place whose memory is as `from` has it: one that a machine has left, or a new one.
  /// All must be of one image.
  result<vm_place> take(const snapshot& from);

  /// Takes a place back, from a machine in whatever state.
  void take_back(vm_place& place) noexcept;

  /// Sees the state of a new vCPU.
  void learn(const kvm::vcpu& vcpu) {
    const std::lock_guard lock(mutex_);
    if (!std::exchange(learned_, true)) reset_->learn(vcpu);
  }

  /// Says that a call could not be entered because of what an earlier machine has left in its
  /// place. No place is used twice from now on: each failure uses one up, and a VM that has none
  /// left is closed with its last machine.
  void stop_reuse() {
    const std::lock_guard lock(mutex_);
    reuses_ = false;
    for (const auto& each : vms_) each->left.clear();
    std::erase_if(vms_, [](const auto& each) { return each->living == 0 && !each->has_room(); });
  }

  /// Drops, in a child of fork, what a parent's pool holds of them. The rest goes with the parent's
  /// machines.
  static void leave_behind(std::shared_ptr<shared_vms>& parents) {
    if (parents == nullptr) return;
    // A thread that is gone may have been at work on the lists; they are never destroyed then.
    if (parents->mutex_.try_lock()) {
      parents->mutex_.unlock();
      parents.reset();
    } else {
      new (&parents) std::shared_ptr<shared_vms>;
    }
  }

 private:
  result<std::shared_ptr<machine_vm>> make_vm(const layout& where);
  bool make_ready(vm_place& place) const;

  const os::home_process home_;
  const std::size_t machines_per_vm_;
  std::mutex mutex_;  // Guards all below.
  std::optional<vcpu_reset> reset_;
  bool learned_ = false;
  bool reuses_ = true;
  std::vector<std::shared_ptr<machine_vm>> vms_;
};

/// What one machine has of a VM. Goes back to its shared_vms when it is destroyed.
class vm_place {
 public:
  /// Makes a VM for one machine, whose memory is as `from` has it.
  static result<vm_place> alone(const snapshot& from) {
    const layout& where = from.layout();
    auto memory = from.map_private();
    if (!memory) return memory.error();
    auto system = kvm::system::shared();
    if (!system) return system.error();
    auto vm = (*system)->create_vm();
    if (!vm) return vm.error();
    const std::span<std::byte> all = memory->bytes();
    const std::size_t shared = where.shared_end - layout::begin;
    auto given = vm->set_user_memory_region(
        kvm::slot_of(0, layout::begin, all.first(shared), KVM_MEM_READONLY));
    if (!given) return given.error();
    given = vm->set_user_memory_region(kvm::slot_of(1, where.shared_end, all.subspan(shared)));
    if (!given) return given.error();
    return vm_place(nullptr, std::make_shared<machine_vm>(*std::move(memory), *std::move(vm), 1), 0,
                    all.size());
  }

  vm_place(vm_place&&) noexcept = default;
  vm_place& operator=(vm_place&&) = delete;
  ~vm_place() {
    if (owner_ != nullptr) owner_->take_back(*this);
  }

  [[nodiscard]] bool is_shared() const { return owner_ != nullptr; }

  /// Returns whether another machine was here before.
  [[nodiscard]] bool is_used() const { return used_; }

  /// Returns by how much a guest-physical address of the machine is more than the address that its
  /// guest knows. All that tells machines of one VM apart is derived from this.
  [[nodiscard]] std::uint64_t origin() const { return index_ * size_; }

  /// Returns the machine's memory, from layout::begin on.
  [[nodiscard]] std::span<std::byte> memory() const {
    return vm_->memory.bytes().subspan(origin(), size_);
  }
  [[nodiscard]] kvm::vm& vm() const { return vm_->vm; }

  // As of os::mapping, of the machine's memory.
  result<void> protect(std::size_t offset, std::size_t length, int protection) const {
    return vm_->memory.protect(origin() + offset, length, protection);
  }
  void populate(std::size_t offset, std::size_t length) const {
    vm_->memory.populate(origin() + offset, length);
  }

  /// Has the place be that of the next machine of the same image, with the vCPUs that the last one
  /// had. All memory is as `from` has it: without that, a call would find what the last one wrote,
  /// and could write on where no restore looks.
  result<void> pass_on(const snapshot& from) {
    used_ = true;
    return put(from);
  }

  /// Returns the machine's vCPU of a number below max_vcpus: a new one, or one whose state is that
  /// of a new one.
  result<kvm::vcpu> take_vcpu(std::uint32_t number, const guest_cpu& cpu) {
    out_ |= 1U << number;  // It stays in the VM, whatever becomes of it here.
    if (vcpus_[number]) return *std::exchange(vcpus_[number], std::nullopt);
    auto system = kvm::system::shared();
    if (!system) return system.error();
    const auto id = static_cast<std::uint32_t>(number * vm_->places + index_);
    auto made = vm_->vm.create_vcpu(id, (*system)->vcpu_mmap_size());
    if (!made) return made;
    if (auto set = cpu.set_up(*made); !set) return set.error();
    if (owner_ != nullptr) owner_->learn(*made);
    return made;
  }

  /// Takes a vCPU back, in whatever state.
  void keep_vcpu(std::uint32_t number, kvm::vcpu vcpu) {
    vcpus_[number].emplace(std::move(vcpu));
    out_ &= ~(1U << number);
  }

  /// Says that the state in which the vCPUs came was not that of new ones after all.
  void report_remains() const {
    if (owner_ != nullptr) owner_->stop_reuse();
  }

 private:
  friend shared_vms;

  vm_place(std::shared_ptr<shared_vms> owner, std::shared_ptr<machine_vm> vm, std::size_t index,
           std::size_t size)
      : owner_(std::move(owner)), vm_(std::move(vm)), index_(index), size_(size) {}

  /// Over whatever was there: KVM drops all that it had mapped of it, and so all that it derived
  /// from earlier page tables, and nothing of the place's neighbours.
  result<void> put(const snapshot& from) { return from.map_private_over(vm_->memory, origin()); }

  std::shared_ptr<shared_vms> owner_;  // Null if the VM is not shared.
  std::shared_ptr<machine_vm> vm_;
  std::size_t index_;
  std::size_t size_;
  bool used_ = false;
  spare_vcpus vcpus_;
  unsigned out_ = 0;  // A bit for each vCPU that exists and is not in vcpus_.
};

inline result<vm_place> shared_vms::take(const snapshot& from) {
  const layout& where = from.layout();
  std::optional<vm_place> place;
  {
    const std::lock_guard lock(mutex_);
    auto found =
        std::find_if(vms_.begin(), vms_.end(), [](const auto& each) { return each->has_room(); });
    if (found == vms_.end()) {
      auto made = make_vm(where);
      if (!made) return made.error();
      found = vms_.insert(vms_.end(), *std::move(made));
    }
    machine_vm& vm = **found;
    place.emplace(vm_place(shared_from_this(), *found, vm.used, where.end - layout::begin));
    if (vm.left.empty()) {
      ++vm.used;
    } else {
      place->used_ = true;
      place->index_ = vm.left.back().index;
      place->vcpus_ = std::move(vm.left.back().vcpus);
      vm.left.pop_back();
    }
    ++vm.living;
  }
  if (auto put = place->put(from); !put) return put.error();
  // Physical addresses of the place's own: without this a machine has its neighbour's memory.
  x86::relocate(place->memory().subspan(where.tables - layout::begin), place->origin());
  return *std::move(place);
}

inline result<std::shared_ptr<machine_vm>> shared_vms::make_vm(const layout& where) {
  auto system = kvm::system::shared();
  if (!system) return system.error();
  if (!reset_) {
    auto reset = vcpu_reset::of(**system);
    if (!reset) return reset.error();
    reset_ = *reset;
  }
  const std::size_t size = where.end - layout::begin;
  const auto vcpus =
      static_cast<std::size_t>(std::max(0, (*system)->value_of(kvm::capability::max_vcpus)));
  const std::size_t places = std::max<std::size_t>(
      1, std::min({machines_per_vm_, vcpus / max_vcpus, layout::max_size / size}));
  auto memory = os::mapping::reserve(places * size, x86::page_size);
  if (!memory) return memory.error();
  auto vm = (*system)->create_vm();
  if (!vm) return vm.error();
  // KVM's own limit follows from the size of the slots. Without room for all machines' tables,
  // where it shadows them, their vCPUs drop each other's for ever and no guest gets on.
  const std::size_t tables = (where.end - where.tables) / x86::page_size;
  auto set = vm->set_nr_mmu_pages(places * 2 * tables + 64);
  if (!set) return set.error();
  // One slot for all, and for good: when a slot goes, KVM drops what it has of every machine.
  set = vm->set_user_memory_region(kvm::slot_of(0, layout::begin, memory->bytes()));
  if (!set) return set.error();
  return std::make_shared<machine_vm>(*std::move(memory), *std::move(vm), places);
}

/// Makes a place that a machine has left ready for another. Returns false if that cannot be.
inline bool shared_vms::make_ready(vm_place& place) const {
  if (place.out_ != 0) return false;
  auto cpu = guest_cpu::shared();
  if (!cpu) return false;
  const kvm_sregs sregs = (*cpu)->special_registers(x86::cpu_mode::user64);
  for (auto& vcpu : place.vcpus_) {
    if (!vcpu) continue;
    // While the memory is the last machine's, because it can write to that, too.
    if (!vcpu_reset::complete_exit(*vcpu)) return false;
    // A vCPU cannot be taken out of its VM, so the next machine gets this one. Whatever a guest
    // can have left in it would be that machine's.
    if (!reset_->reset(*vcpu, sregs)) return false;
  }
  return place.vm_->memory.empty_again(place.origin(), place.size_).has_value();
}

inline void shared_vms::take_back(vm_place& place) noexcept {
  // What a child of fork inherits it only closes.
  if (home_.forked()) return;
  const bool ready = make_ready(place);
  std::shared_ptr<machine_vm> closed;  // Outside of the lock, because it takes long.
  const std::lock_guard lock(mutex_);
  machine_vm& vm = *place.vm_;
  if (ready && reuses_) vm.left.push_back({place.index_, std::move(place.vcpus_)});
  if (--vm.living > 0) return;
  const bool is_last_with_room =
      vm.has_room() && std::none_of(vms_.begin(), vms_.end(), [&](const auto& each) {
        return each != place.vm_ && each->has_room();
      });
  if (is_last_with_room) return;
  const auto at = std::find(vms_.begin(), vms_.end(), place.vm_);
  closed = std::move(*at);
  vms_.erase(at);
}

}  // namespace virtine::detail
