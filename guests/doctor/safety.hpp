// What makes a host less safe than it could be: a kernel with known holes in KVM, nested
// virtualisation, a device that is open to all. Looks at texts and numbers, and not at the host.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <charconv>
#include <compare>
#include <optional>
#include <string>
#include <string_view>

namespace doctor {

struct kernel_version {
  unsigned major = 0;
  unsigned minor = 0;
  unsigned patch = 0;
  auto operator<=>(const kernel_version&) const = default;
};

inline std::string to_string(const kernel_version& v) {
  return std::to_string(v.major) + '.' + std::to_string(v.minor) + '.' + std::to_string(v.patch);
}

/// Reads three numbers with full stops between them from the beginning of `text`.
inline std::optional<kernel_version> read_version(std::string_view text) {
  kernel_version read;
  const char* at = text.data();
  const char* const end = at + text.size();
  for (unsigned* part : {&read.major, &read.minor, &read.patch}) {
    if (part != &read.major && (at == end || *at++ != '.')) return std::nullopt;
    const auto [after, failed] = std::from_chars(at, end, *part);
    if (failed != std::errc{}) return std::nullopt;
    at = after;
  }
  return read;
}

/// Returns the version at kernel.org that a running kernel is made of, or nothing if its texts do
/// not say it: those of distributions that keep one number and add repairs of their own. `release`
/// and `build` are those of uname, `signature` is Ubuntu's /proc/version_signature.
inline std::optional<kernel_version> version_of(std::string_view release, std::string_view build,
                                                std::string_view signature) {
  // "#1 SMP PREEMPT_DYNAMIC Debian 6.1.158-1 (2025-11-09)", where the release is 6.1.0-41-amd64.
  constexpr std::string_view debian = "Debian ";
  if (const auto at = build.find(debian); at != build.npos) {
    return read_version(build.substr(at + debian.size()));
  }
  // "Ubuntu 6.8.0-88.89-generic 6.8.12"
  if (const auto at = signature.rfind(' '); at != signature.npos) {
    return read_version(signature.substr(at + 1));
  }
  const auto found = read_version(release);
  // Nobody who counts by kernel.org's releases stays at 0 and adds something.
  if (found && found->patch == 0 && release.find('-') != release.npos) return std::nullopt;
  return found;
}

/// The oldest release of each series that has the repairs of all holes which docs/hardening.md
/// names; of other series only those after the last have them.
inline constexpr std::array kernel_floors{
    kernel_version{5, 15, 222}, kernel_version{6, 1, 183}, kernel_version{6, 6, 148},
    kernel_version{6, 12, 101}, kernel_version{6, 18, 42}, kernel_version{7, 1, 6},
};

/// Returns the oldest release that is good enough and is not of an older series than `running`.
inline kernel_version floor_for(const kernel_version& running) {
  for (const kernel_version& floor : kernel_floors) {
    const bool same = floor.major == running.major && floor.minor == running.minor;
    if (same || running < floor) return floor;
  }
  return {running.major, running.minor, 0};
}

/// Returns what is to be told of the kernel, empty if nothing.
inline std::string warn_of_kernel(const std::optional<kernel_version>& running) {
  if (!running) return "";
  const kernel_version floor = floor_for(*running);
  if (*running >= floor) return "";
  return "Linux " + to_string(*running) + " lacks repairs of KVM that let guests of some kinds " +
         "take over the host (CVE-2026-53359 and others); use " + to_string(floor) +
         " or later, or a kernel whose distribution says that it has them";
}

/// Returns what is to be told of a module's parameter `nested`, empty if nothing.
inline std::string warn_of_nested(std::string_view module, std::string_view nested) {
  if (nested != "Y" && nested != "1") return "";
  return std::string(module) +
         " offers nested virtualisation, where most of KVM's holes were. Virtines are given none, "
         "but whoever opens the device is: turn it off where no VM needs it (options " +
         std::string(module) + " nested=0 in /etc/modprobe.d)";
}

/// Returns what is to be told of the rights of the device, empty if nothing.
inline std::string warn_of_rights(unsigned mode) {
  if ((mode & 06) == 0) return "";
  return "every user can open the device, and so reach every hole of KVM; give it mode 0660 and a "
         "group (chmod 0660, and a rule of udev: KERNEL==\"kvm\", GROUP=\"kvm\", MODE=\"0660\")";
}

}  // namespace doctor
