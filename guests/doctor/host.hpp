// The host around this process: its kernel, and what limits the process in it. Must not ask KVM.
// SPDX-License-Identifier: MIT
#pragma once

#include <linux/prctl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>

#include "files.hpp"
#include "report.hpp"
#include "safety.hpp"

namespace doctor {

/// Adds the KVM modules that are loaded, with those parameters that decide how guests are run.
inline void add_modules(report& out) {
  std::string loaded;
  for (const std::string module : {"kvm_intel", "kvm_amd", "kvm_pvm"}) {
    if (access(("/sys/module/" + module).c_str(), F_OK) != 0) continue;
    loaded += (loaded.empty() ? "" : ", ") + module;
  }
  out.add("kvm_module", loaded.empty() ? "none of kvm_intel, kvm_amd, kvm_pvm" : loaded);
  for (const std::string module : {"kvm", "kvm_intel", "kvm_amd"}) {
    for (const std::string name :
         {"nested", "ept", "npt", "unrestricted_guest", "vpid", "pml", "enable_apicv", "avic",
          "tdp_mmu", "mmio_caching", "nx_huge_pages", "ignore_msrs", "halt_poll_ns"}) {
      const std::string set = first_line("/sys/module/" + module + "/parameters/" + name);
      if (!set.empty()) out.add(module + '.' + name, number_or_text(set));
    }
  }
}

/// Returns what kind of container this process seems to be in. There is no sure way to tell.
inline std::string container() {
  const auto exists = [](const char* path) { return access(path, F_OK) == 0; };
  if (exists("/.dockerenv")) return "docker";
  if (exists("/run/.containerenv")) return "podman";
  if (const std::string named = first_line("/run/systemd/container"); !named.empty()) return named;
  if (const char* named = std::getenv("container")) return named;
  std::ifstream groups("/proc/1/cgroup");
  for (std::string line; std::getline(groups, line);) {
    for (const char* kind : {"kubepods", "docker", "containerd", "libpod", "lxc"}) {
      if (line.find(kind) != std::string::npos) return kind;
    }
  }
  return "none that shows";
}

inline void examine_host(report& out) {
  out.begin("host");
  utsname kernel{};
  uname(&kernel);
  out.add("kernel", std::string(kernel.sysname) + ' ' + kernel.release + ' ' + kernel.machine);
  out.add("kernel_build", kernel.version);
  add_modules(out);
  out.add("container", container());
  out.add("user", std::uint64_t{geteuid()});
}

/// What the kernel offers against side channels to a process that asks; docs/hardening.md.
inline void examine_side_channels(report& out) {
  out.begin("side_channels");
  const auto offers = [](unsigned long what) {
    const int state = prctl(PR_GET_SPECULATION_CTRL, what, 0, 0, 0);
    return state > 0 && (static_cast<unsigned>(state) & PR_SPEC_PRCTL) != 0;
  };
  unsigned long cookie = 0;
  const int cores = prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, 0, PR_SCHED_CORE_SCOPE_THREAD, &cookie);
  out.add("indirect_branch_barrier", offers(PR_SPEC_INDIRECT_BRANCH));
  out.add("l1d_flush", offers(PR_SPEC_L1D_FLUSH));
  out.add("core_scheduling", cores == 0);
  const std::string threads = first_line("/sys/devices/system/cpu/smt/active");
  out.add("threads_share_cores", threads.empty() ? "not known" : threads == "1" ? "yes" : "no");
}

inline void examine_safety(report& out, const char* device) {
  out.begin("safety");
  // A finding of each name in every report.
  const auto add = [&](const char* name, const std::string& warning, const std::string& fine) {
    if (warning.empty()) {
      out.add(name, fine);
    } else {
      out.warn(name, warning);
    }
  };
  utsname kernel{};
  uname(&kernel);
  const auto running =
      version_of(kernel.release, kernel.version, first_line("/proc/version_signature"));
  add("kernel_repairs", warn_of_kernel(running),
      running ? "nothing known is missing"
              : "not known: ask the distribution for CVE-2026-53359 and CVE-2026-64561");
  std::string nested;
  for (const std::string module : {"kvm_intel", "kvm_amd"}) {
    if (nested.empty()) {
      nested = warn_of_nested(module, first_line("/sys/module/" + module + "/parameters/nested"));
    }
  }
  add("nested_virtualisation", nested, "not offered");
  struct stat about {};
  if (stat(device, &about) != 0) return;
  add("who_may_open_kvm", warn_of_rights(about.st_mode), "its owner and its group");
}

inline value limit(rlim_t number) {
  return number == RLIM_INFINITY ? value("unlimited") : value(std::uint64_t{number});
}

/// Returns the lowest limit that the control groups around this process set, or nothing. `name` is
/// the file's in version 2, `old_name` in version 1 below `controller`.
inline std::optional<std::uint64_t> group_limit(const std::string& name,
                                                const std::string& controller,
                                                const std::string& old_name) {
  std::optional<std::uint64_t> lowest;
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    // ID:CONTROLLERS:PATH (cgroups(7)); version 2 has no controllers there.
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = ',' + line.substr(first + 1, second - first - 1) + ',';
    const bool unified = controllers == ",,";
    if (!unified && controllers.find(',' + controller + ',') == std::string::npos) continue;
    const std::string root = unified ? "/sys/fs/cgroup" : "/sys/fs/cgroup/" + controller;
    for (std::filesystem::path path = line.substr(second + 1);; path = path.parent_path()) {
      const std::string text = first_line(root + path.string() + '/' + (unified ? name : old_name));
      std::uint64_t number = 0;
      const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
      // Version 1 says "none" by a number that no machine reaches.
      const bool limits = read.ec == std::errc{} && number < std::uint64_t{1} << 62;
      if (limits && (!lowest || number < *lowest)) lowest = number;
      if (!path.has_relative_path()) break;
    }
  }
  return lowest;
}

inline value or_unlimited(const std::optional<std::uint64_t>& number) {
  return number ? value(*number) : value("unlimited");
}

inline void examine_limits(report& out) {
  out.begin("limits");
  const auto soft = [](auto resource) {
    rlimit both{};
    getrlimit(resource, &both);
    return both;
  };
  const rlimit files = soft(RLIMIT_NOFILE);
  out.add("file_descriptors", limit(files.rlim_cur),
          "a machine holds 2, so this is enough for " + std::to_string(files.rlim_cur / 2));
  out.add("file_descriptors_hard", limit(files.rlim_max));
  out.add("address_space", limit(soft(RLIMIT_AS).rlim_cur));
  out.add("file_size", limit(soft(RLIMIT_FSIZE).rlim_cur),
          "an image's memory is a memory file, which must not be larger");
  out.add("processes", limit(soft(RLIMIT_NPROC).rlim_cur));
  const char* const status = "/proc/self/status";
  out.add("seccomp", number_or_text(field(status, "Seccomp")), "0 none, 1 strict, 2 a filter");
  out.add("no_new_privs", number_or_text(field(status, "NoNewPrivs")));
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) {
    out.add("processors_allowed", static_cast<std::uint64_t>(CPU_COUNT(&allowed)));
  }
  out.add("processors_online", static_cast<std::uint64_t>(sysconf(_SC_NPROCESSORS_ONLN)));
  out.add("group_memory",
          or_unlimited(group_limit("memory.max", "memory", "memory.limit_in_bytes")));
  out.add("group_processes", or_unlimited(group_limit("pids.max", "pids", "pids.max")));
  out.add("max_map_count", number_or_text(first_line("/proc/sys/vm/max_map_count")));
  out.add("overcommit_memory", number_or_text(first_line("/proc/sys/vm/overcommit_memory")));
  const std::uint64_t kib =
      std::strtoull(field("/proc/meminfo", "MemAvailable").c_str(), nullptr, 10);
  out.add("mib_available", kib / 1024,
          "a machine takes about half a MiB of the kernel's, so this is enough for " +
              std::to_string(kib / 512));
}

}  // namespace doctor
