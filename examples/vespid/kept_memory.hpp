// What memory a worker takes, and which function it lets go of first when that is too much.
// Must not know how functions are loaded.
// SPDX-License-Identifier: MIT
#pragma once

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace vespid {

/// Returns the bytes of memory that this process takes. Memory files count as a whole, because
/// pages that a machine's image or initialiser left there are mapped only where a call used them;
/// and once, however many machines map them. Takes a microsecond or two for each open descriptor.
inline std::uint64_t memory_use() {
  std::uint64_t private_kib = 0, all_kib = 0;
  bool has_private = false;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    const auto value = [&](std::string_view name) -> std::uint64_t {
      return line.starts_with(name) ? std::strtoull(line.c_str() + name.size(), nullptr, 10) : 0;
    };
    has_private |= line.starts_with("RssAnon:");
    private_kib += value("RssAnon:") + value("RssFile:");
    all_kib += value("VmRSS:");
  }
  // A system that does not tell these apart counts what is mapped in memory files twice.
  std::uint64_t out = (has_private ? private_kib : all_kib) * 1024;
  const std::unique_ptr<DIR, decltype([](DIR* its) { ::closedir(its); })> open(
      ::opendir("/proc/self/fd"));
  if (open == nullptr) return out;
  while (const dirent* const each = ::readdir(open.get())) {
    struct stat its {};
    // A file without a name. What is closed meanwhile is none, and no other is taken for it.
    const bool is_there = ::fstatat(::dirfd(open.get()), each->d_name, &its, 0) == 0;
    if (is_there && S_ISREG(its.st_mode) && its.st_nlink == 0) {
      out += static_cast<std::uint64_t>(its.st_blocks) * 512;
    }
  }
  return out;
}

/// A loaded function, as far as it matters to what is let go of.
struct kept_function {
  std::string_view tenant;
  std::uint64_t written = 0;  ///< Bytes that its machines keep as calls wrote them, as is known.
  std::uint64_t size = 0;     ///< Of a machine: what its snapshot has in a memory file at most.
  std::chrono::duration<double> idle{};
};

/// Returns which function is let go of first, of a process that takes `use` bytes: of the tenant
/// whose functions keep most together, the one that has kept most for longest. What nobody is known
/// to have written are pages that calls read or initialisers wrote: they are shared out by sizes.
/// There must be one.
inline std::size_t first_to_go(std::span<const kept_function> of, std::uint64_t use) {
  double written = 0, sizes = 1;
  for (const kept_function& each : of) {
    written += static_cast<double>(each.written);
    sizes += static_cast<double>(each.size);
  }
  const double share = std::clamp((static_cast<double>(use) - written) / sizes, 0.0, 1.0);
  const auto bytes = [&](const kept_function& its) {
    return static_cast<double>(its.written) + share * static_cast<double>(its.size);
  };
  std::map<std::string_view, double> sums;
  for (const kept_function& each : of) sums[each.tenant] += bytes(each);
  const auto most_of_all = std::max_element(
      sums.begin(), sums.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  std::size_t out = 0;
  double most = -1;
  for (std::size_t i = 0; i < of.size(); ++i) {
    const double weight = bytes(of[i]) * (of[i].idle.count() + 0.01);
    if (of[i].tenant != most_of_all->first || weight <= most) continue;
    most = weight;
    out = i;
  }
  return out;
}

}  // namespace vespid
