// All that KVM says of a vCPU, in a form that can be compared. Knows nothing of guests.
// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <sys/ioctl.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <virtine/kvm/vcpu.hpp>
#include <virtine/os/fd.hpp>

#include "xsave_area.hpp"

namespace guest_fuzz {

using bytes = std::vector<std::byte>;

template <class T>
bytes bytes_of(const T& value) {
  const auto raw = std::as_bytes(std::span(&value, 1));
  return {raw.begin(), raw.end()};
}

/// Returns an XSAVE area in which components that are not in use have their initial state, and
/// without what not every host keeps for a guest: where the last x87 instruction was. `places` has
/// the offset and the size of each component from 2 on.
inline bytes normal(const virtine::kvm::xsave_area& area,
                    const std::vector<std::pair<std::size_t, std::size_t>>& places) {
  bytes out(area.bytes.begin(), area.bytes.end());
  std::uint64_t in_use = 0;
  std::memcpy(&in_use, out.data() + 512, sizeof in_use);
  const auto zero = [&](std::size_t at, std::size_t size) {
    if (at + size <= out.size()) std::memset(out.data() + at, 0, size);
  };
  if ((in_use & 1) == 0) {
    zero(0, 24);
    zero(32, 128);
    out[0] = std::byte{0x7f};
    out[1] = std::byte{0x03};
  }
  if ((in_use & 2) == 0) zero(160, 256);
  settle_mxcsr(out);
  for (std::size_t i = 2; i < places.size(); ++i) {
    if ((in_use >> i & 1) == 0) zero(places[i].first, places[i].second);
  }
  zero(6, 18);    // FOP, FIP, FDP.
  zero(416, 96);  // Nothing is kept there.
  zero(512, 64);
  return out;
}

/// Reads the state of vCPUs of this host.
class processor_reader {
 public:
  /// Learns from `vcpu` which MSRs can be read; `places` is for normal().
  processor_reader(const virtine::kvm::vcpu& vcpu,
                   std::vector<std::pair<std::size_t, std::size_t>> places)
      : places_(std::move(places)) {
    struct {
      std::uint32_t count = 1024;
      std::array<std::uint32_t, 1024> indices{};
    } list;
    const virtine::os::fd device{::open("/dev/kvm", O_RDWR | O_CLOEXEC)};
    constexpr unsigned long get_msr_index_list = 0xc004ae02;
    if (::ioctl(device.get(), get_msr_index_list, &list) != 0) list.count = 0;
    // The time stamp counter, MPERF, APERF and the clocks of Hyper-V go on.
    constexpr std::array<std::uint32_t, 5> clocks{0x10, 0xe7, 0xe8, 0x40000020, 0x40000010};
    for (std::uint32_t i = 0; i < list.count && msrs_.nmsrs < msrs_.entries.size(); ++i) {
      if (std::find(clocks.begin(), clocks.end(), list.indices[i]) != clocks.end()) continue;
      virtine::kvm::msr_entries<1> one;
      one.entries[0].index = list.indices[i];
      if (vcpu.get_msrs(one)) msrs_.entries[msrs_.nmsrs++].index = list.indices[i];
    }
  }

  [[nodiscard]] bytes vectors(const virtine::kvm::vcpu& vcpu) const {
    const auto area = vcpu.get_xsave();
    return area ? normal(*area, places_) : bytes();
  }

  /// Returns everything by its name. What the host lacks is empty.
  [[nodiscard]] std::map<std::string, bytes> all(const virtine::kvm::vcpu& vcpu) const {
    std::map<std::string, bytes> out;
    const auto keep = [&](const char* name, const auto& got) {
      if (got) out[name] = bytes_of(*got);
    };
    keep("general registers", vcpu.get_regs());
    auto special = vcpu.get_sregs();
    // CR2 is of the last page fault, and CPL 3 cannot read it. CR3 is of the place in a VM.
    if (special) special->cr2 = special->cr3 = 0;
    // One software KVM keeps an SS that the processor does not have; the guest's is in its report.
    if (special) special->ss = {};
    keep("special registers", special);
    out["x87 and vector state"] = vectors(vcpu);
    keep("XCR0", vcpu.get_xcrs());
    keep("debug registers", vcpu.get_debugregs());
    auto events = vcpu.get_vcpu_events();
    if (events && events->exception.injected == 0 && events->exception.pending == 0) {
      // Of one that is over.
      events->exception = {};
      events->exception_payload = 0;
      events->exception_has_payload = 0;
    }
    keep("events", events);
    keep("run state", vcpu.get_mp_state());
    keep("nested state", vcpu.get_nested_state());
    auto msrs = msrs_;
    if (msrs.nmsrs > 0 && vcpu.get_msrs(msrs)) {
      const auto raw = std::as_bytes(std::span(msrs.entries).first(msrs.nmsrs));
      out["MSRs"].assign(raw.begin(), raw.end());
    }
    return out;
  }

 private:
  std::vector<std::pair<std::size_t, std::size_t>> places_;
  virtine::kvm::msr_entries<256> msrs_{.nmsrs = 0};
};

}  // namespace guest_fuzz
