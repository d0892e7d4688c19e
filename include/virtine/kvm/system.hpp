// The KVM device: opened, checked for what this library needs, and asked once for what is constant.
// Knows nothing of what machines are made for.
// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

#include <virtine/error.hpp>
#include <virtine/kvm/capability.hpp>
#include <virtine/kvm/ioctl.hpp>
#include <virtine/kvm/uapi.hpp>
#include <virtine/kvm/vm.hpp>
#include <virtine/os/error_text.hpp>
#include <virtine/os/fd.hpp>
#include <virtine/os/out_of_memory.hpp>
#include <virtine/result.hpp>

namespace virtine::kvm {

/// Owns the open KVM device. Its const members may be used by any number of threads.
class system {
 public:
  /// Opens and checks KVM. Fails with errc::no_kvm and a remedy if it is missing, forbidden, of
  /// another version or without a required capability, which the error then names.
  static result<system> open(const char* path = "/dev/kvm") {
    os::fd device{::open(path, O_RDWR | O_CLOEXEC)};
    if (!device) {
      const int why = errno;
      struct ::stat about {};
      const bool is_there = ::stat(path, &about) == 0;
      // To be in the group of a device that its group may not open helps nobody.
      const bool is_closed = is_there && why == EACCES;
      return os::explain(is_closed ? os::opening(about.st_mode, about.st_gid) : os::open_device,
                         why);
    }
    return from(std::move(device));
  }

  /// Checks an open KVM device and takes it. Fails as open() does.
  static result<system> from(os::fd&& device) {
    return os::or_out_of_memory([&]() -> result<system> {
      system made(std::move(device));
      if (result<void> asked = made.ask(); !asked) return asked.error();
      return made;
    });
  }

  /// Returns the process's one system, opened at first use and never closed. Thread-safe, and
  /// without a lock or system call once it exists. A failure is not remembered, so that a later
  /// call can succeed after its cause was mended.
  static result<const system*> shared() {
    // Never destroyed, because machines in static storage may be used until the process ends.
    static std::atomic<const system*> existing{nullptr};
    if (const system* found = existing.load(std::memory_order_acquire)) return found;
    result<system> opened = open();
    if (!opened) return opened.error();
    std::unique_ptr<const system> made(new (std::nothrow) const system(*std::move(opened)));
    if (!made) return os::out_of_memory();
    const system* first = nullptr;
    if (existing.compare_exchange_strong(first, made.get(), std::memory_order_acq_rel,
                                         std::memory_order_acquire))
      return made.release();
    return first;
  }

  /// Creates a VM without memory or vCPUs. Signals do not make it fail; it fails as os::explain()
  /// says.
  result<vm> create_vm() const {
    result<int> made = call(device_.get(), requests::create_vm);
    if (!made && made.error().os_error == EINTR) {
      // The kernel gave up because a signal came, say that of a profiler's timer. Once more where
      // none can: to try until it works could take for ever.
      sigset_t all;
      sigset_t before;
      sigfillset(&all);
      // Sound: this thread's mask, as it was again before anything else runs.
      pthread_sigmask(SIG_SETMASK, &all, &before);
      made = call(device_.get(), requests::create_vm);
      pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }
    if (!made) return made.error();
    return vm(os::fd{*made});
  }

  /// Asks the kernel what it has of a capability: 0, or more if it has it. One system call;
  /// value_of() and has() answer the same from memory.
  result<int> check_extension(capability id) const {
    return call(device_.get(), requests::check_extension, static_cast<unsigned long>(id));
  }

  /// Returns what check_extension(id) was when KVM was opened.
  [[nodiscard]] int value_of(capability id) const noexcept { return values_[index_of(id)]; }

  /// Returns whether KVM has all that this library wants of a capability.
  [[nodiscard]] bool has(capability id) const noexcept {
    return capability_uses[index_of(id)].met_by(value_of(id));
  }

  /// Returns the size of a vCPU's kvm_run mapping.
  [[nodiscard]] std::size_t vcpu_mmap_size() const noexcept { return vcpu_mmap_size_; }

  /// Returns what this host's KVM can offer a guest through CPUID; guest_cpuid() says how much of
  /// it guests get.
  [[nodiscard]] const cpuid_table& supported_cpuid() const noexcept { return *supported_cpuid_; }

 private:
  explicit system(os::fd&& device) : device_(std::move(device)) {}

  result<void> ask() {
    const result<int> version = call(device_.get(), requests::get_api_version);
    if (!version) return version.error();
    if (*version != api_version)
      return error{.code = errc::no_kvm,
                   .operation =
                       "this kernel's KVM API is not version 12, as every Linux since "
                       "2.6.22 has; its version is",
                   .detail = static_cast<std::uint64_t>(*version)};

    for (const capability_use& use : capability_uses) {
      const result<int> value = check_extension(use.id);
      if (!value) return value.error();
      if (use.required && !use.met_by(*value))
        return error{.code = errc::no_kvm,
                     .operation = use.missing,
                     .detail = static_cast<std::uint64_t>(*value)};
      values_[index_of(use.id)] = *value;
    }

    const result<int> size = call(device_.get(), requests::get_vcpu_mmap_size);
    if (!size) return size.error();
    vcpu_mmap_size_ = static_cast<std::size_t>(*size);

    supported_cpuid_->nent = cpuid_table::capacity;
    // Sound: the kernel writes at most the nent entries that the table says it has room for.
    const result<int> listed =
        call(device_.get(), requests::get_supported_cpuid, *supported_cpuid_);
    if (!listed) return listed.error();
    return {};
  }

  os::fd device_;
  std::array<int, capability_uses.size()> values_{};
  std::size_t vcpu_mmap_size_ = 0;
  // Not in the object, because of its 10 KiB: fibers that make a first call have small stacks.
  std::unique_ptr<cpuid_table> supported_cpuid_ = std::make_unique<cpuid_table>();
};

}  // namespace virtine::kvm
