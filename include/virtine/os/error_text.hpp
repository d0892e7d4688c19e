// Which failures of KVM and its descriptors have a known remedy, and what it is.
// Makes no system call; knows operations by their names only.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cerrno>
#include <string_view>

#include <virtine/error.hpp>

namespace virtine::os {

/// The operation name of opening the KVM device.
inline constexpr const char* open_device = "/dev/kvm cannot be opened";

/// The same for a device that its group may not open, or whose group is root's.
inline constexpr const char* open_closed_device = "/dev/kvm, closed to its group, cannot be opened";

/// Returns which of the two it is, by the device's mode and group.
constexpr const char* opening(unsigned mode, unsigned group) {
  constexpr unsigned group_reads_and_writes = 060;
  const bool helps = (mode & group_reads_and_writes) == group_reads_and_writes && group != 0;
  return helps ? open_device : open_closed_device;
}

struct remedy {
  std::string_view operation;  // Empty: any.
  int os_error;                // 0: any.
  errc code;
  const char* text;  // Null: keep the operation's name.
};

// The first row that matches counts.
inline constexpr std::array remedies{
    remedy{"", EMFILE, errc::os_error,
           "this process is out of file descriptors (a machine holds several); raise the limit "
           "(ulimit -n) or keep fewer machines"},
    remedy{"", ENFILE, errc::os_error,
           "the system is out of file descriptors; raise its limit (sysctl fs.file-max; for one "
           "process ulimit -n)"},
    remedy{"mmap", ENOMEM, errc::os_error,
           "mmap is out of memory or of mappings; raise the limits (ulimit -v, sysctl "
           "vm.max_map_count) or keep fewer machines"},
    remedy{open_device, ENOENT, errc::no_kvm,
           "/dev/kvm does not exist: pass the device into the container (docker or podman run "
           "--device /dev/kvm), turn on nested virtualization for this virtual machine, or enable "
           "virtualization in the firmware and load kvm_intel or kvm_amd"},
    remedy{
        open_device, EACCES, errc::no_kvm,
        "/dev/kvm cannot be opened; add your user to its group (usermod -aG kvm USER) and log in "
        "again, or give the container's user that group (docker run --group-add with the number "
        "from stat -c %g /dev/kvm; podman run --group-add keep-groups)"},
    remedy{open_closed_device, EACCES, errc::no_kvm,
           "/dev/kvm cannot be opened, because it is root's alone; give it a group with rights, as "
           "root: echo 'KERNEL==\"kvm\", GROUP=\"kvm\", MODE=\"0660\"' > "
           "/etc/udev/rules.d/99-kvm.rules && udevadm control --reload && udevadm trigger "
           "/dev/kvm (without udev: chgrp kvm /dev/kvm && chmod 0660 /dev/kvm), and add your user "
           "to it (usermod -aG kvm USER)"},
    remedy{open_device, EPERM, errc::no_kvm,
           "/dev/kvm cannot be opened; allow the device in the container's or service's device "
           "policy (docker or podman run --device /dev/kvm; DeviceAllow=/dev/kvm rw)"},
    remedy{open_device, ENODEV, errc::no_kvm,
           "/dev/kvm has no driver: load kvm_intel or kvm_amd, or enable virtualization in the "
           "firmware"},
    remedy{open_device, ENXIO, errc::no_kvm,
           "/dev/kvm has no driver: load kvm_intel or kvm_amd, or enable virtualization in the "
           "firmware"},
    remedy{open_device, 0, errc::no_kvm, nullptr},
    remedy{"KVM_GET_API_VERSION", ENOTTY, errc::no_kvm,
           "the file opened as /dev/kvm is not the KVM device; recreate it (mknod /dev/kvm c 10 "
           "232)"},
    remedy{"KVM_CREATE_VM", EBUSY, errc::no_kvm,
           "KVM_CREATE_VM is refused because another hypervisor holds the processor; stop it "
           "(VirtualBox, VMware)"},
    remedy{"KVM_CREATE_VM", EACCES, errc::no_kvm,
           "KVM_CREATE_VM is refused; allow ioctls on /dev/kvm in the security policy (SELinux, "
           "AppArmor, seccomp)"},
    remedy{"KVM_CREATE_VM", EPERM, errc::no_kvm,
           "KVM_CREATE_VM is refused; allow ioctls on /dev/kvm in the security policy (SELinux, "
           "AppArmor, seccomp)"},
    remedy{"KVM_RUN", EIO, errc::os_error,
           "KVM_RUN is refused, as it is in a child of fork for what its parent has made; make "
           "another machine, as pools do by themselves"},
    remedy{
        "", EFBIG, errc::os_error,
        "this process may not make a file as large as an image's memory; raise the limit (ulimit "
        "-f)"},
    remedy{"KVM_CREATE_VM", ENOMEM, errc::os_error,
           "KVM_CREATE_VM is out of memory; raise the memory limit (ulimit -v, the cgroup's "
           "memory.max) or keep fewer machines"},
};

/// Returns the error of an `operation` that failed with `os_error`; where a remedy is known, the
/// error's operation says what to do instead of naming the call.
constexpr error explain(const char* operation, int os_error) {
  for (const remedy& row : remedies) {
    if (!row.operation.empty() && row.operation != operation) continue;
    if (row.os_error != 0 && row.os_error != os_error) continue;
    return {.code = row.code,
            .os_error = os_error,
            .operation = row.text != nullptr ? row.text : operation};
  }
  return {.code = errc::os_error, .os_error = os_error, .operation = operation};
}

}  // namespace virtine::os
