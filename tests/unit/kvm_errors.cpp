// The KVM layer where KVM is missing or refuses: every failure names its call or its remedy.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <virtine/kvm/system.hpp>

using namespace virtine;
using namespace virtine::detail;

namespace {

constexpr std::size_t page = 4096;

template <class T>
void fails_with_ebadf(const result<T>& made, const std::string& name) {
  INFO(name);
  REQUIRE_FALSE(made.has_value());
  CHECK(made.error().code == errc::os_error);
  CHECK(made.error().os_error == EBADF);
  CHECK(made.error().operation == name);
}

bool is_open(int descriptor) {
  return ::fcntl(descriptor, F_GETFD) != -1;
}

int any_descriptor() {
  return ::open("/dev/null", O_RDWR | O_CLOEXEC);
}

// Leaves the process without a free descriptor while it lives.
class no_descriptors {
 public:
  no_descriptors() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    rlimit none = before_;
    none.rlim_cur = 0;
    ::setrlimit(RLIMIT_NOFILE, &none);
  }
  no_descriptors(const no_descriptors&) = delete;
  no_descriptors& operator=(const no_descriptors&) = delete;
  ~no_descriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

template <class T>
constexpr bool move_only =
    std::is_nothrow_move_constructible_v<T>&& std::is_nothrow_move_assignable_v<T> &&
    !std::is_copy_constructible_v<T> && !std::is_copy_assignable_v<T>;
static_assert(move_only<os::fd> && move_only<os::mapping>);
static_assert(move_only<kvm::vm> && move_only<kvm::vcpu> && move_only<kvm::system>);

void check_mentions(const std::string& message, const std::string& part) {
  INFO(message);
  CHECK(message.find(part) != std::string::npos);
}

}  // namespace

TEST_CASE("a vCPU ioctl on a bad descriptor fails under its kernel name", "[kvm]") {
  kvm::vcpu cpu(os::fd{}, os::mapping::anonymous(3 * page).value());
  kvm::msr_entries<2> msrs;
  fails_with_ebadf(cpu.run(), "KVM_RUN");
  fails_with_ebadf(cpu.get_regs(), "KVM_GET_REGS");
  fails_with_ebadf(cpu.set_regs({}), "KVM_SET_REGS");
  fails_with_ebadf(cpu.get_sregs(), "KVM_GET_SREGS");
  fails_with_ebadf(cpu.set_sregs({}), "KVM_SET_SREGS");
  fails_with_ebadf(cpu.get_xsave(), "KVM_GET_XSAVE");
  fails_with_ebadf(cpu.set_xsave({}), "KVM_SET_XSAVE");
  fails_with_ebadf(cpu.get_xcrs(), "KVM_GET_XCRS");
  fails_with_ebadf(cpu.set_xcrs({}), "KVM_SET_XCRS");
  fails_with_ebadf(cpu.get_debugregs(), "KVM_GET_DEBUGREGS");
  fails_with_ebadf(cpu.set_debugregs({}), "KVM_SET_DEBUGREGS");
  fails_with_ebadf(cpu.get_vcpu_events(), "KVM_GET_VCPU_EVENTS");
  fails_with_ebadf(cpu.set_vcpu_events({}), "KVM_SET_VCPU_EVENTS");
  fails_with_ebadf(cpu.get_mp_state(), "KVM_GET_MP_STATE");
  fails_with_ebadf(cpu.set_mp_state({}), "KVM_SET_MP_STATE");
  fails_with_ebadf(cpu.set_cpuid2({}), "KVM_SET_CPUID2");
  fails_with_ebadf(cpu.get_msrs(msrs), "KVM_GET_MSRS");
  fails_with_ebadf(cpu.set_msrs(msrs), "KVM_SET_MSRS");
}

TEST_CASE("a VM ioctl on a bad descriptor fails under its kernel name", "[kvm]") {
  kvm::vm machine(os::fd{});
  const std::array<std::uint32_t, 1> efer{0xc0000080};
  fails_with_ebadf(machine.create_vcpu(0, 3 * page), "KVM_CREATE_VCPU");
  fails_with_ebadf(machine.set_user_memory_region({}), "KVM_SET_USER_MEMORY_REGION");
  fails_with_ebadf(machine.set_tss_addr(0xfffbd000), "KVM_SET_TSS_ADDR");
  fails_with_ebadf(machine.enable_cap({}), "KVM_ENABLE_CAP");
  fails_with_ebadf(machine.set_msr_filter({}), "KVM_X86_SET_MSR_FILTER");
  fails_with_ebadf(machine.set_msr_filter(efer), "KVM_X86_SET_MSR_FILTER");
  fails_with_ebadf(machine.check_extension(kvm::capability::xcrs), "KVM_CHECK_EXTENSION");
}

TEST_CASE("a system over a bad descriptor is refused at its first ioctl", "[kvm]") {
  fails_with_ebadf(kvm::system::from(os::fd{}), "KVM_GET_API_VERSION");
}

TEST_CASE("the ioctls that need a checked system name themselves too", "[kvm]") {
  kvm::cpuid_table table;
  fails_with_ebadf(kvm::call(-1, kvm::requests::create_vm), "KVM_CREATE_VM");
  fails_with_ebadf(kvm::call(-1, kvm::requests::check_extension, 3), "KVM_CHECK_EXTENSION");
  fails_with_ebadf(kvm::call(-1, kvm::requests::get_vcpu_mmap_size), "KVM_GET_VCPU_MMAP_SIZE");
  fails_with_ebadf(kvm::call(-1, kvm::requests::get_supported_cpuid, table),
                   "KVM_GET_SUPPORTED_CPUID");
}

TEST_CASE("file and mapping calls on a bad descriptor name themselves", "[kvm]") {
  const os::fd none;
  fails_with_ebadf(os::mapping::of(none, page, os::sharing::shared), "mmap");
  fails_with_ebadf(os::seal(none), "F_ADD_SEALS");
}

TEST_CASE("arguments that KVM must not see are refused before the ioctl", "[kvm]") {
  kvm::vcpu cpu(os::fd{}, os::mapping::anonymous(3 * page).value());
  kvm::vm machine(os::fd{});

  SECTION("a CPUID table with AMX tile data, which needs more than 4096 bytes of XSAVE") {
    kvm::cpuid_table table;
    table.nent = 1;
    table.entries[0].function = 0xd;
    table.entries[0].eax = 1U << 18;
    CHECK(cpu.set_cpuid2(table).error().os_error == EINVAL);
    table.entries[0].eax = 7;
    CHECK(cpu.set_cpuid2(table).error().os_error == EBADF);
  }
  SECTION("a CPUID table longer than its array") {
    kvm::cpuid_table table;
    table.nent = kvm::cpuid_table::capacity + 1;
    CHECK(cpu.set_cpuid2(table).error().os_error == E2BIG);
  }
  SECTION("more MSRs than the array holds") {
    kvm::msr_entries<2> msrs;
    msrs.nmsrs = 3;
    CHECK(cpu.get_msrs(msrs).error().os_error == E2BIG);
    CHECK(cpu.set_msrs(msrs).error().os_error == E2BIG);
  }
  SECTION("more MSR ranges than a filter has") {
    std::vector<std::uint32_t> msrs;
    for (std::uint32_t i = 0; i < 16; ++i) {
      msrs.push_back(i * 64);
      msrs.push_back(i * 64 + 63);
    }
    CHECK(machine.set_msr_filter(msrs).error().os_error == EBADF);
    msrs.push_back(16 * 64);
    CHECK(machine.set_msr_filter(msrs).error().os_error == E2BIG);
  }
}

TEST_CASE("a missing or forbidden device is no_kvm and says what to do", "[kvm]") {
  SECTION("missing") {
    const auto opened = kvm::system::open("/nonexistent");
    REQUIRE_FALSE(opened.has_value());
    CHECK(opened.error().code == errc::no_kvm);
    CHECK(opened.error().os_error == ENOENT);
    check_mentions(to_string(opened.error()), "load kvm_intel or kvm_amd");
  }
  SECTION("another device") {
    const auto opened = kvm::system::open("/dev/null");
    REQUIRE_FALSE(opened.has_value());
    CHECK(opened.error().code == errc::no_kvm);
    CHECK(opened.error().os_error == ENOTTY);
    check_mentions(to_string(opened.error()), "not the KVM device");
  }
  SECTION("a directory") {
    const auto opened = kvm::system::open("/");
    REQUIRE_FALSE(opened.has_value());
    CHECK(opened.error().code == errc::no_kvm);
    CHECK(opened.error().operation == std::string(os::open_device));
  }
  SECTION("without permission") {
    const auto open_as_nobody = [](unsigned mode, ::gid_t group) {
      std::string path = "/tmp/virtine-kvm-errors-XXXXXX";
      const os::fd file{::mkstemp(path.data())};
      REQUIRE(file);
      REQUIRE(::fchown(file.get(), ::getuid(), group) == 0);
      REQUIRE(::fchmod(file.get(), mode) == 0);
      const ::uid_t before = ::geteuid();
      // Root may open everything. In some containers it cannot become another.
      const bool is_other = before != 0 || ::seteuid(65534) == 0;
      auto opened = kvm::system::open(path.c_str());
      if (before == 0) static_cast<void>(::seteuid(before));
      ::unlink(path.c_str());
      return is_other ? std::optional(std::move(opened)) : std::nullopt;
    };
    const ::gid_t own = ::getegid();
    const bool is_root = ::geteuid() == 0;
    for (const unsigned mode : {0U, 0040U, 0060U}) {
      const ::gid_t group = is_root ? 65533 : own;
      const auto opened = open_as_nobody(mode, group);
      if (!opened) continue;
      INFO(mode);
      REQUIRE_FALSE(opened->has_value());
      CHECK(opened->error().code == errc::no_kvm);
      CHECK(opened->error().os_error == EACCES);
      const std::string text = to_string(opened->error());
      check_mentions(text, "usermod -aG kvm");
      const bool can_help = mode == 0060 && group != 0;
      CHECK((text.find("99-kvm.rules") == text.npos) == can_help);
    }
    CHECK(os::opening(0020660, 104) == std::string(os::open_device));
    CHECK(os::opening(0020600, 104) == std::string(os::open_closed_device));
    CHECK(os::opening(0020660, 0) == std::string(os::open_closed_device));
  }
}

TEST_CASE("being out of descriptors says which limit to raise", "[kvm]") {
  auto remedy = [](const auto& attempt) {
    const no_descriptors while_trying;
    return attempt().error();
  };
  const error opening = remedy([] { return kvm::system::open("/dev/null"); });
  const error creating = remedy([] { return os::create_memfd("test", page); });
  for (const error& why : {opening, creating}) {
    CHECK(why.code == errc::os_error);
    CHECK(why.os_error == EMFILE);
    check_mentions(to_string(why), "ulimit -n");
  }
}

TEST_CASE("explain knows the remedies and leaves the rest alone", "[kvm]") {
  struct row {
    const char* operation;
    int os_error;
    errc code;
    const char* text;
  };
  const auto expected =
      GENERATE(row{os::open_device, EACCES, errc::no_kvm, "usermod -aG kvm"},
               row{os::open_closed_device, EACCES, errc::no_kvm, "MODE=\"0660\""},
               row{os::open_closed_device, EACCES, errc::no_kvm, "chgrp kvm /dev/kvm"},
               row{os::open_device, EPERM, errc::no_kvm, "device policy"},
               row{os::open_device, EACCES, errc::no_kvm, "--group-add"},
               row{os::open_device, EPERM, errc::no_kvm, "--device /dev/kvm"},
               row{os::open_device, ENOENT, errc::no_kvm, "--device /dev/kvm"},
               row{os::open_device, ENOENT, errc::no_kvm, "nested virtualization"},
               row{os::open_device, ENODEV, errc::no_kvm, "no driver"},
               row{os::open_device, ENXIO, errc::no_kvm, "no driver"},
               row{os::open_device, EIO, errc::no_kvm, "/dev/kvm cannot be opened"},
               row{os::open_device, EMFILE, errc::os_error, "ulimit -n"},
               row{"KVM_CREATE_VM", EBUSY, errc::no_kvm, "another hypervisor"},
               row{"KVM_CREATE_VM", EACCES, errc::no_kvm, "security policy"},
               row{"KVM_CREATE_VM", EPERM, errc::no_kvm, "security policy"},
               row{"KVM_CREATE_VM", ENOMEM, errc::os_error, "memory.max"},
               row{"KVM_CREATE_VM", EMFILE, errc::os_error, "ulimit -n"},
               row{"KVM_CREATE_VCPU", ENFILE, errc::os_error, "fs.file-max"},
               row{"mmap", ENOMEM, errc::os_error, "vm.max_map_count"},
               row{"KVM_GET_API_VERSION", ENOTTY, errc::no_kvm, "not the KVM device"},
               row{"KVM_RUN", EIO, errc::os_error, "child of fork"},
               row{"ftruncate", EFBIG, errc::os_error, "ulimit -f"},
               row{"pwrite", EFBIG, errc::os_error, "ulimit -f"},
               row{"KVM_RUN", EINTR, errc::os_error, "KVM_RUN"},
               row{"KVM_SET_SREGS", EINVAL, errc::os_error, "KVM_SET_SREGS"});
  const error why = os::explain(expected.operation, expected.os_error);
  CHECK(why.code == expected.code);
  CHECK(why.os_error == expected.os_error);
  check_mentions(why.operation, expected.text);
}

TEST_CASE("a required capability that is missing has a message that names it", "[kvm]") {
  for (const kvm::capability_use& use : kvm::capability_uses) {
    INFO(use.name);
    CHECK(use.required == (use.missing != nullptr));
    if (use.required) check_mentions(use.missing, use.name);
    CHECK(kvm::name(use.id) == std::string(use.name));
    CHECK_FALSE(use.met_by(0));
    CHECK_FALSE(use.met_by(-1));
  }
  const auto& sync = kvm::capability_uses[kvm::index_of(kvm::capability::sync_regs)];
  CHECK_FALSE(sync.met_by(KVM_SYNC_X86_REGS));
  CHECK(sync.met_by(KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS));
  CHECK(sync.met_by(KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS));
}

TEST_CASE("a descriptor is closed once, by its last owner", "[kvm]") {
  const int number = any_descriptor();
  {
    os::fd first{number};
    os::fd second = std::move(first);
    CHECK_FALSE(first);  // NOLINT(bugprone-use-after-move): emptiness is promised.
    CHECK(second.get() == number);
    const int replaced = any_descriptor();
    os::fd third{replaced};
    third = std::move(second);
    CHECK_FALSE(is_open(replaced));
    CHECK(is_open(number));
    auto& same = third;
    third = std::move(same);
    CHECK(third.get() == number);
  }
  CHECK_FALSE(is_open(number));
}

TEST_CASE("a mapping is unmapped once, by its last owner", "[kvm]") {
  auto first = os::mapping::anonymous(2 * page).value();
  std::byte* const start = first.bytes().data();
  start[page] = std::byte{7};
  os::mapping second = std::move(first);
  CHECK(first.size() == 0);  // NOLINT(bugprone-use-after-move): emptiness is promised.
  CHECK(second.bytes().data() == start);
  second = os::mapping::anonymous(page).value();
  unsigned char resident = 0;
  CHECK(::mincore(start + page, page, &resident) == -1);
  CHECK(errno == ENOMEM);
  CHECK(std::all_of(second.bytes().begin(), second.bytes().end(),
                    [](std::byte b) { return b == std::byte{0}; }));
}

TEST_CASE("mappings of a memory file share it or copy it", "[kvm]") {
  const os::fd file = os::create_memfd("test", 2 * page).value();
  auto shared = os::mapping::of(file, 2 * page, os::sharing::shared).value();
  auto copy = os::mapping::of(file, page, os::sharing::private_, PROT_READ | PROT_WRITE,
                              static_cast<::off_t>(page))
                  .value();
  shared.bytes()[page] = std::byte{1};
  CHECK(copy.bytes()[0] == std::byte{1});
  copy.bytes()[0] = std::byte{2};
  CHECK(shared.bytes()[page] == std::byte{1});

  SECTION("sealing waits for writable shared mappings to go, and holds") {
    CHECK(os::seal(file).error().os_error == EBUSY);
    shared = os::mapping();
    REQUIRE(os::seal(file));
    CHECK(os::mapping::of(file, page, os::sharing::shared).error().os_error == EPERM);
    CHECK(os::mapping::of(file, page, os::sharing::private_));
    CHECK(::ftruncate(file.get(), 0) == -1);
    copy.bytes()[1] = std::byte{3};
    CHECK(copy.bytes()[0] == std::byte{2});
  }
}

TEST_CASE("protect keeps to its own mapping", "[kvm]") {
  auto memory = os::mapping::anonymous(4 * page).value();
  CHECK(memory.protect(page, page, PROT_NONE));
  CHECK(memory.protect(page, page, PROT_READ | PROT_WRITE));
  memory.bytes()[page] = std::byte{1};
  CHECK(memory.protect(4 * page, 0, PROT_NONE));
  for (const auto& [offset, length] : {std::pair{4 * page, page}, std::pair{page, 4 * page},
                                       std::pair{~std::size_t{0} - page + 1, 2 * page},
                                       std::pair{std::size_t{0}, ~std::size_t{0}}}) {
    const auto refused = memory.protect(offset, length, PROT_NONE);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == errc::out_of_range);
  }
  CHECK(memory.protect(1, page, PROT_NONE).error().os_error == EINVAL);
}

TEST_CASE("a mapping without bytes is an error, not an empty mapping", "[kvm]") {
  CHECK(os::mapping::anonymous(0).error().os_error == EINVAL);
}
