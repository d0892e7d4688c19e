// All that KVM says of a machine's vCPU, taken beside the library, to compare machines.
// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <virtine/kvm/system.hpp>
#include <virtine/kvm/vcpu.hpp>

#include "catch.hpp"
#include "differences.hpp"
#include "xsave_area.hpp"

namespace vcpu_state {

using bytes = std::vector<std::byte>;

/// What each KVM_GET_* gives, by its name; MSRs one by one.
using state = std::map<std::string, bytes>;

/// Returns the descriptors of vCPUs that this process has.
inline std::set<int> descriptors() {
  std::set<int> found;
  for (const auto& each : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    const auto target = std::filesystem::read_symlink(each.path(), gone);
    if (!gone && target.string().find("kvm-vcpu") != std::string::npos) {
      found.insert(std::stoi(each.path().filename().string()));
    }
  }
  return found;
}

/// Returns the one vCPU that has come since `before`, through a descriptor of its own.
inline virtine::kvm::vcpu newest(const std::set<int>& before) {
  std::vector<int> added;
  for (const int each : descriptors()) {
    if (!before.contains(each)) added.push_back(each);
  }
  REQUIRE(added.size() == 1);
  virtine::os::fd own{::dup(added[0])};
  REQUIRE(own);
  const std::size_t size = virtine::kvm::system::shared().value()->vcpu_mmap_size();
  auto mapping = virtine::os::mapping::of(own, size, virtine::os::sharing::shared).value();
  return {std::move(own), std::move(mapping)};
}

inline const std::vector<std::uint32_t>& msr_indices() {
  static const std::vector<std::uint32_t> all = [] {
    struct {
      std::uint32_t count = 1024;
      std::array<std::uint32_t, 1024> indices{};
    } list;
    const virtine::os::fd device{::open("/dev/kvm", O_RDWR | O_CLOEXEC)};
    constexpr unsigned long get_msr_index_list = 0xc004ae02;
    REQUIRE(::ioctl(device.get(), get_msr_index_list, &list) == 0);
    return std::vector(list.indices.begin(), list.indices.begin() + list.count);
  }();
  return all;
}

/// Forgets which components of an XSAVE area are in use: KVM gives the initial state of those that
/// are not.
inline void forget_use(bytes& area) {
  constexpr std::size_t components_in_use = 512;
  settle_mxcsr(area);
  std::memset(&area[components_in_use], 0, sizeof(std::uint64_t));
}

/// Reads everything. What the host lacks is not in it.
inline state of(const virtine::kvm::vcpu& vcpu) {
  state all;
  const auto keep = [&](const char* name, const auto& got) {
    if (!got) return;
    const auto raw = std::as_bytes(std::span(&*got, 1));
    all[name].assign(raw.begin(), raw.end());
  };
  keep("KVM_GET_REGS", vcpu.get_regs());
  keep("KVM_GET_SREGS", vcpu.get_sregs());
  keep("KVM_GET_XSAVE", vcpu.get_xsave());
  if (const auto area = all.find("KVM_GET_XSAVE"); area != all.end()) forget_use(area->second);
  keep("KVM_GET_XCRS", vcpu.get_xcrs());
  keep("KVM_GET_DEBUGREGS", vcpu.get_debugregs());
  keep("KVM_GET_VCPU_EVENTS", vcpu.get_vcpu_events());
  keep("KVM_GET_MP_STATE", vcpu.get_mp_state());
  keep("KVM_GET_NESTED_STATE", vcpu.get_nested_state());
  for (const std::uint32_t index : msr_indices()) {
    virtine::kvm::msr_entries<1> msr;
    msr.entries[0].index = index;
    if (!vcpu.get_msrs(msr)) continue;
    const auto raw = std::as_bytes(std::span(&msr.entries[0].data, 1));
    all["MSR " + std::to_string(index)].assign(raw.begin(), raw.end());
  }
  return all;
}

/// Returns in what the two differ, but for clocks; empty if they do not.
inline std::string differences_of(const state& seen, const state& expected) {
  // The time stamp counter, MPERF, APERF, the reference counter and the clock of Hyper-V.
  static const std::set<std::string> clocks{"MSR 16", "MSR 231", "MSR 232", "MSR 1073741856",
                                            "MSR 1073741840"};
  std::string out;
  for (const auto& [name, value] : expected) {
    const auto found = seen.find(name);
    if (found == seen.end()) {
      out += name + " is gone; ";
    } else if (!clocks.contains(name) && found->second != value) {
      out += name + " at " + differences(found->second, value);
    }
  }
  if (seen.size() != expected.size()) out += "there is more than before";
  return out;
}

}  // namespace vcpu_state
