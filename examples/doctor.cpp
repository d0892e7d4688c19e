// Looks at everything that virtines need of a machine and tells what is missing.
// Run: virtine-doctor (in the build directory: examples/virtine-doctor); exit status 0: all is well
// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <grp.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>
#include <string_view>

#include <guests/fib32.hpp>
#include <guests/square.hpp>
#include <virtine/guest_cpu.hpp>
#include <virtine/kvm/capability.hpp>
#include <virtine/kvm/fd.hpp>
#include <virtine/kvm/system.hpp>
#include <virtine/virtine.hpp>

namespace {

void section(const char* title) {
  std::printf("\n%s\n", title);
}

void line(const char* what, const std::string& value) {
  std::printf("  %-28s %s\n", what, value.c_str());
}

// Returns the value of the first line of /proc/cpuinfo that begins with `key`.
std::string cpuinfo(std::string_view key) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string text; std::getline(file, text);) {
    const auto colon = text.find(": ");
    if (text.starts_with(key) && colon != std::string::npos) return text.substr(colon + 2);
  }
  return "";
}

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string text;
  std::getline(file, text);
  return text;
}

std::string kvm_modules() {
  std::string found;
  for (const char* name : {"kvm_intel", "kvm_amd", "kvm_pvm"}) {
    const std::string path = std::string("/sys/module/") + name;
    if (access(path.c_str(), F_OK) != 0) continue;
    found += found.empty() ? name : std::string(", ") + name;
    const std::string nested = first_line(path + "/parameters/nested");
    if (!nested.empty()) {
      found += nested == "1" || nested == "Y" ? " (its guests may have KVM themselves)" : "";
    }
  }
  return found.empty() ? "none of kvm_intel, kvm_amd, kvm_pvm is loaded" : found;
}

void examine_host() {
  section("host");
  utsname kernel{};
  uname(&kernel);
  line("kernel", std::string(kernel.sysname) + " " + kernel.release + " " + kernel.machine);
  line("processor", cpuinfo("model name"));
  line("KVM module", kvm_modules());
  const bool nested = (" " + cpuinfo("flags") + " ").find(" hypervisor ") != std::string::npos;
  line("virtualised itself", nested ? "yes: an exit from a virtine may pass through the outer "
                                      "hypervisor and cost several times more"
                                    : "no");
}

std::string group_name(gid_t id) {
  // Sound: one thread, and the result is copied before another call.
  const group* found = getgrgid(id);
  return found != nullptr ? found->gr_name : std::to_string(id);
}

void examine_device(const char* path) {
  section("device");
  struct stat about {};
  if (stat(path, &about) != 0) {
    line(path, std::strerror(errno));
    return;
  }
  char mode[8];
  std::snprintf(mode, sizeof mode, "%04o", unsigned{about.st_mode} & 07777);
  line(path, S_ISCHR(about.st_mode) ? "exists" : "exists, but is not a character device");
  line("rights", std::string(mode) + ", user " + std::to_string(about.st_uid) + ", group " +
                     group_name(about.st_gid));
  // Tried, not asked: a container's device policy shows in no right.
  const virtine::kvm::fd opened{::open(path, O_RDWR | O_CLOEXEC)};
  line("can be opened", opened ? "yes" : std::strerror(errno));
}

// Opens the device past the library's own checks, to list all that is missing and not only the
// first.
void examine_capabilities(const char* path) {
  using namespace virtine::kvm;
  section("capabilities");
  const fd device{::open(path, O_RDWR | O_CLOEXEC)};
  auto version = call(device.get(), requests::get_api_version);
  if (!version) {
    line("API version", "unknown");
    return;
  }
  line("API version", std::to_string(*version));
  for (const capability_use& use : capability_uses) {
    auto value = call(device.get(), requests::check_extension, static_cast<unsigned long>(use.id));
    const bool met = value && use.met_by(*value);
    const char* verdict = met ? "yes" : use.required ? "MISSING" : "no";
    std::printf("  %-28s %-8s %s%s\n", use.name, verdict, use.purpose,
                use.required ? "" : " (optional)");
  }
}

std::string limit(rlim_t value) {
  return value == RLIM_INFINITY ? "unlimited" : std::to_string(value);
}

void examine_limits() {
  section("limits");
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  line("file descriptors", limit(files.rlim_cur) + " (can be raised to " + limit(files.rlim_max) +
                               "); a machine holds 2, so " + limit(files.rlim_cur / 2) +
                               " machines at most");
  rlimit space{};
  getrlimit(RLIMIT_AS, &space);
  line("address space", limit(space.rlim_cur));
  line("locked memory", "does not matter: guest memory is not locked");
  std::ifstream meminfo("/proc/meminfo");
  for (std::string text; std::getline(meminfo, text);) {
    unsigned long kib = 0;
    if (std::sscanf(text.c_str(), "MemAvailable: %lu", &kib) == 1) {
      line("memory", std::to_string(kib / 1024) +
                         " MiB available; a machine takes about half a "
                         "MiB of the kernel's, so " +
                         std::to_string(kib / 512) + " machines at most");
    }
  }
}

void examine_guest_cpu(const virtine::kvm::system& system) {
  section("what guests get");
  const auto found = virtine::guest_cpu::of(system);
  if (!found) {
    line("cannot be told", virtine::to_string(found.why()));
    return;
  }
  const virtine::guest_cpu& cpu = *found;
  const auto has = [&](std::uint64_t bits) { return (cpu.xcr0 & bits) == bits; };
  char xcr0[32];
  std::snprintf(xcr0, sizeof xcr0, "0x%llx", static_cast<unsigned long long>(cpu.xcr0));
  line("vector state (XCR0)", std::string(xcr0) + (has(0xe6)  ? ": SSE, AVX, AVX-512"
                                                   : has(0x6) ? ": SSE, AVX"
                                                              : ": SSE"));
  line("wiped between calls by", cpu.features.osxsave ? "XRSTOR" : "FXRSTOR");
  line("RDFSBASE and its kin", cpu.features.fsgsbase ? "yes" : "no");
  line("task state", cpu.task_type == virtine::x86::busy_task ? "busy" : "available");
}

bool report(const char* what, const virtine::result<int>& got, int expected) {
  if (!got) {
    line(what, "failed");
    std::printf("%s\n", virtine::to_string(got.why()).c_str());
    return false;
  }
  line(what, *got == expected ? "works" : "WRONG RESULT " + std::to_string(*got));
  return *got == expected;
}

bool test(const virtine::result<virtine::kvm::system>& system) {
  section("self test");
  if (!system) {
    line("opening KVM", "failed");
    std::printf("%s\n", virtine::to_string(system.why()).c_str());
    return false;
  }
  virtine::virtine_fn<int(int), guests::square> square;
  const bool works = report("a compiled function", square.try_call(12), 144);
  virtine::virtine_fn<int(int), guests::fib32> fib;
  if (!system->has(virtine::kvm::capability::x86_msr_filter)) {
    line("an assembly blob at CPL 0", "needs KVM_CAP_X86_MSR_FILTER");
    return works;
  }
  return report("an assembly blob at CPL 0", fib.try_call(7), 13) && works;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 2 || (argc == 2 && argv[1][0] == '-')) {
    std::fprintf(stderr, "usage: %s [DEVICE]\n", argv[0]);
    return 2;
  }
  const char* path = argc == 2 ? argv[1] : "/dev/kvm";
  std::printf("virtine %d.%d.%d\n", VIRTINE_VERSION / 10000, VIRTINE_VERSION / 100 % 100,
              VIRTINE_VERSION % 100);
  examine_host();
  examine_device(path);
  examine_capabilities(path);
  examine_limits();
  const auto system = virtine::kvm::system::open(path);
  if (system) examine_guest_cpu(*system);
  const bool works = test(system);
  std::printf("\n%s\n",
              works ? "virtines work on this machine." : "virtines do not work on this machine.");
  return works ? 0 : 1;
}
