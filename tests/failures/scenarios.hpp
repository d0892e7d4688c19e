// What the scenarios of the kvm tests leave out of what makes system calls.
// Knows nothing of how the host fails.
// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "failing.hpp"

#include <guests/draws.hpp>
#include <guests/lent.hpp>
#include <virtine/kvm/system.hpp>
#include <virtine/loaded_image.hpp>
#include <virtine/os/other_core.hpp>

#include "../image_bytes.hpp"
#include "../kvm/scenarios.hpp"

namespace scenario {

using namespace std::chrono_literals;

/// A file or a socket of the test's own, in which nothing fails.
class own_file {
 public:
  explicit own_file(int file = -1) : file_(file) {}
  own_file(own_file&& other) noexcept : file_(std::exchange(other.file_, -1)) {}
  own_file& operator=(own_file&& other) noexcept {
    std::swap(file_, other.file_);
    return *this;
  }
  ~own_file() {
    if (file_ >= 0) ::close(file_);
  }
  [[nodiscard]] int get() const { return file_; }

 private:
  int file_;
};

/// The calls of a script, with what each comes to where nothing fails.
class expected_calls {
 public:
  told::script script;

  void add(std::int64_t comes_to, std::uint64_t number,
           std::initializer_list<told::argument> arguments) {
    expected_.emplace_back(script.add(number, arguments), comes_to);
  }

  /// Makes them. The first that fails otherwise than expected is the error.
  template <class Policy>
  result<void> run(Policy&& granted) {
    using sig = void(std::span<told_call>, std::span<std::byte>);
    auto fn = virtine::os::or_out_of_memory([&]() {
      using made = virtine::virtine_fn<sig, guests::calls::make_calls, std::decay_t<Policy>>;
      return result<std::unique_ptr<made>>(std::make_unique<made>(std::forward<Policy>(granted)));
    });
    if (!fn) return fn.error();
    for (told_call& each : script.calls) each.result = 0;
    if (auto ran = (*fn)->try_call(std::span(script.calls), std::span(script.memory)); !ran) {
      return ran.error();
    }
    for (const auto& [call, wanted] : expected_) {
      const std::int64_t got = script[call];
      if (got == wanted || (wanted == some && got > 0)) continue;
      if (got >= 0) return expect(false);
      return error{.code = errc::os_error,
                   .os_error = static_cast<int>(-got),
                   .operation = "a system call of the guest"};
    }
    return {};
  }

  static constexpr std::int64_t some = INT64_MAX;  // Any number above 0.

 private:
  std::vector<std::pair<std::size_t, std::int64_t>> expected_;
};

struct made_files {
  static constexpr const char* name = "files and directories that a guest makes";
  told::scratch directory;
  expected_calls calls;

  made_files() {
    told::script& its = calls.script;
    const auto folder = its.text("/d/folder");
    const auto first = its.text("/d/folder/first");
    const auto second = its.text("/d/folder/second");
    const auto beside = its.text("second");
    const auto text = its.text("text");
    const auto room = its.room(4096);
    constexpr std::int64_t far = 1 << 20;
    calls.add(0, SYS_mkdir, {folder, 0700});
    calls.add(3, SYS_open, {first, O_RDWR | O_CREAT, 0600});
    calls.add(4, SYS_write, {3, text, 4});
    calls.add(4, SYS_pwrite64, {3, text, 4, 0});
    calls.add(0, SYS_lseek, {3, 0, SEEK_SET});
    calls.add(4, SYS_read, {3, room, 4});
    calls.add(4, SYS_pread64, {3, room, 4, 0});
    calls.add(far, SYS_lseek, {3, far, SEEK_SET});
    calls.add(-ENOSPC, SYS_write, {3, text, 4});  // The hole counts.
    calls.add(0, SYS_ftruncate, {3, 100});
    calls.add(0, SYS_fstat, {3, room});
    calls.add(0, SYS_close, {3});
    calls.add(0, SYS_rename, {first, second});
    calls.add(0, SYS_access, {second, R_OK});
    calls.add(0, SYS_stat, {second, room});
    calls.add(-EINVAL, SYS_readlink, {second, room, 10});
    calls.add(3, SYS_open, {folder, O_RDONLY | O_DIRECTORY});
    calls.add(calls.some, SYS_getdents64, {3, room, 4096});
    calls.add(4, SYS_openat, {3, beside, O_RDONLY});
    calls.add(0, SYS_unlink, {second});
    calls.add(0, SYS_rmdir, {folder});
  }
  result<void> run() {
    std::error_code ignored;
    std::filesystem::remove_all(directory.path("folder"), ignored);
    auto granted =
        virtine::posix::try_directory<"/d">(directory.path(), virtine::posix::read_write, 64 << 10);
    if (!granted) return granted.error();
    return calls.run(virtine::policy{*std::move(granted)});
  }
};

struct given_files {
  static constexpr const char* name = "descriptors that a guest is given";
  told::scratch directory;
  expected_calls calls;

  given_files() {
    told::script& its = calls.script;
    const auto text = its.text("text");
    const auto room = its.room(4096);
    const auto one = its.vectors({{text, 4}});
    calls.add(4, SYS_write, {5, text, 4});
    calls.add(4, SYS_pwrite64, {5, text, 4, 0});
    calls.add(0, SYS_lseek, {5, 0, SEEK_SET});
    calls.add(4, SYS_read, {5, room, 4});
    calls.add(4, SYS_pread64, {5, room, 4, 0});
    calls.add(0, SYS_fstat, {5, room});
    calls.add(4, SYS_writev, {7, one, 1});
    calls.add(2, SYS_read, {6, room, 2});
    calls.add(4, SYS_write, {8, text, 4});
    calls.add(2, SYS_read, {9, room, 100});
    calls.add(4, SYS_write, {10, text, 4});
  }
  result<void> run() {
    const own_file file(::open(directory.path("file").c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600));
    std::array<int, 2> both{};
    if (::pipe(both.data()) != 0) return expect(false);
    const own_file out(both[0]);
    const own_file in(both[1]);
    if (::socketpair(AF_UNIX, SOCK_DGRAM, 0, both.data()) != 0) return expect(false);
    const own_file left(both[0]);
    const own_file right(both[1]);
    // So that it never waits.
    if (::write(in.get(), "in", 2) != 2 || ::write(left.get(), "in", 2) != 2) return expect(false);
    const own_file master(::posix_openpt(O_RDWR | O_NOCTTY));
    std::array<char, 64> terminal_name{};
    if (::grantpt(master.get()) != 0 || ::unlockpt(master.get()) != 0 ||
        ::ptsname_r(master.get(), terminal_name.data(), terminal_name.size()) != 0) {
      return expect(false);
    }
    const own_file terminal(::open(terminal_name.data(), O_RDWR | O_NOCTTY));
    using virtine::posix::read_write;
    auto granted = virtine::posix::try_descriptors({{5, file.get(), read_write},
                                                    {6, out.get()},
                                                    {7, in.get(), virtine::posix::write_only},
                                                    {8, left.get(), read_write},
                                                    {9, right.get(), read_write},
                                                    {10, terminal.get(), read_write}});
    if (!granted) return granted.error();
    auto policy = virtine::try_policy(*std::move(granted));
    if (!policy) return policy.error();
    return calls.run(*std::move(policy));
  }
};

struct empty_pipe {
  static constexpr const char* name = "a guest that waits for a pipe until its deadline";
  std::array<int, 2> both{};
  own_file out;
  own_file in;
  told::script script;

  empty_pipe() {
    static_cast<void>(!::pipe(both.data()));
    out = own_file(both[0]);
    in = own_file(both[1]);
    const auto room = script.room(16);
    script.add(SYS_read, {0, room, 16});
  }
  result<void> run() {
    auto granted = virtine::posix::try_descriptor<0>(out.get(), virtine::posix::read_only);
    if (!granted) return granted.error();
    virtine::policy policy{*granted};
    virtine::virtine_fn<void(std::span<told_call>, std::span<std::byte>), guests::calls::make_calls,
                        decltype(policy)>
        reads(policy);
    const auto ended =
        reads.with({.timeout = 3ms}).try_call(std::span(script.calls), std::span(script.memory));
    if (ended) {
      // The guest was told why.
      if (script[0] >= 0) return expect(false);
      return error{.code = errc::os_error,
                   .os_error = static_cast<int>(-script[0]),
                   .operation = "a system call of the guest"};
    }
    if (ended.error().code == errc::timed_out) return {};
    return ended.error();
  }
};

struct random_numbers {
  static constexpr const char* name = "a guest that draws random bytes";
  std::array<std::byte, 32> bytes{};
  virtine::virtine_fn<void(std::span<std::byte>), guests::draws::draw,
                      decltype(virtine::policy{virtine::allow_entropy()})>
      draw{virtine::policy{virtine::allow_entropy()}};
  result<void> run() {
    auto drawn = draw.try_call(bytes);
    // Bytes that are not random would be worse.
    if (!drawn && drawn.error().code == errc::hypercall_rejected) {
      return error{.code = errc::os_error, .os_error = errno, .operation = "getrandom"};
    }
    return drawn;
  }
};

struct late_call {
  static constexpr const char* name = "a call that does not end";
  virtine::virtine_fn<int(std::uint64_t), jobs::spin> spin;
  result<void> run() {
    const auto ended = spin.with({.timeout = 2ms}).try_call(std::uint64_t{1} << 62);
    if (ended) return expect(false);
    if (ended.error().code == errc::timed_out) return {};
    return ended.error();
  }
};

struct busy_call {
  static constexpr const char* name = "a call that takes too much CPU time";
  virtine::virtine_fn<int(std::uint64_t), jobs::spin> spin;
  result<void> run() {
    const auto ended = spin.with({.cpu_time = 2ms}).try_call(std::uint64_t{1} << 62);
    if (ended) return expect(false);
    // Where nobody can tell CPU time the time counts that has passed.
    if (ended.error().code == errc::cpu_limit || ended.error().code == errc::timed_out) return {};
    return ended.error();
  }
};

struct lent_calls {
  static constexpr const char* name = "a call that is lent memory, and one that is lent a file";
  static constexpr std::size_t size = (2 << 20) + 8192;
  told::scratch directory;
  virtine::virtine_fn<std::uint64_t(virtine::lent<const std::byte>), guests::lent::size> measure;

  lent_calls() { directory.put("file", std::string(5000, 'x')); }
  result<void> run() {
    const auto memory = virtine::lent_memory::allocate(size);
    if (!memory) return memory.error();
    if (auto right = expect(measure.try_call(*memory), std::uint64_t{size}); !right) return right;
    const auto file = virtine::lent_memory::of_file(directory.path("file").string());
    if (!file) return file.error();
    return expect(measure.try_call(*file), std::uint64_t{5000});
  }
};

struct shared_machines {
  static constexpr const char* name = "machines that share a VM, and use a place again";
  virtine::pool<jobs> pool{{.max = 3, .machines_per_vm = 2}};
  quotient_fn divide{pool};
  result<void> run() {
    auto held = pool.borrow();
    if (!held) return held.error();
    const auto faulted = divide.try_call(1, 0);
    auto right = expect(divide.try_call(12, 4), 3);
    held->give_back(0);
    if (faulted) return expect(false);
    if (right && faulted.error().code != errc::guest_fault) right = faulted.error();
    pool.trim(0);
    return right;
  }
};

struct loaded_file {
  static constexpr const char* name = "an image file";
  told::scratch directory;
  std::string path = directory.path("jobs.virtine");
  loaded_file() {
    using entry = jobs::quotient;
    const image_bytes file(jobs::description,
                           {{entry::name, entry::signature, entry::address, entry::imports}});
    // Sound: bytes are characters.
    directory.put("jobs.virtine",
                  {reinterpret_cast<const char*>(file.bytes.data()), file.bytes.size()});
  }
  result<void> run() {
    const auto image = virtine::load_image(path);
    if (!image) return image.error();
    auto divide = image->function<int(int, int)>("quotient");
    if (!divide) return divide.error();
    return expect(divide->try_call(12, 4), 3);
  }
};

struct replaced_snapshot {
  static constexpr const char* name = "a saved snapshot that takes another's place";
  told::scratch directory;
  std::string path = directory.path("link");
  replaced_snapshot() {
    std::filesystem::create_symlink("snapshot", path);
    static_cast<void>(virtine::save_snapshot<guests::prepared>(path));
  }
  result<void> run() {
    if (auto saved = virtine::save_snapshot<guests::prepared>(path); !saved) return saved;
    const auto loaded = virtine::load_snapshot<guests::prepared>(path);
    return loaded ? result<void>() : loaded.error();
  }
};

struct bare_file {
  static constexpr const char* name = "a bare machine that is loaded from a file";
  told::scratch directory;
  std::string path = directory.path("code");
  std::string parameter = directory.path("ept");

  // On a host whose KVM has the processor walk page tables, as far as files tell.
  bare_file() {
    directory.put("code", guests::halves64::description.segments[0].content);
    directory.put("ept", "Y\n");
    failing::other_paths[failing::site_of("machine/bare_processor.hpp", "access")] = "/nonexistent";
    failing::other_paths[failing::site_of("machine/bare_processor.hpp", "open")] =
        parameter.c_str();
  }
  bare_file(const bare_file&) = delete;
  bare_file& operator=(const bare_file&) = delete;
  ~bare_file() { failing::other_paths = {}; }
  result<void> run() {
    auto made = virtine::bare_machine::create(virtine::bare_options{});
    if (!made) return made.error();
    const auto where = virtine::guest_address{virtine::bare_machine::load_address};
    if (auto put = (*made)->load_file(where, path); !put) return put;
    kvm_regs regs{};
    regs.rip = guests::halves64::halves::address;
    regs.rsp = virtine::bare_machine::stack_top;
    regs.rflags = virtine::x86::initial_rflags;
    if (auto set = (*made)->set_registers(regs); !set) return set;
    auto registers = (*made)->registers();
    if (!registers) return registers.error();
    if (auto left = (*made)->run(); !left) return left.error();
    return (*made)->reset();
  }
};

struct layer_of_kvm {
  static constexpr const char* name = "each request of KVM's";
  result<void> run() {
    using namespace virtine::kvm;
    result<void> all;
    const auto need = [&](const auto& made) {
      if (all && !made) all = made.error();
    };
    auto system = virtine::kvm::system::open();
    if (!system) return system.error();
    auto vm = system->create_vm();
    if (!vm) return vm.error();
    need(vm->check_extension(capability::xsave));
    need(vm->set_tss_addr(0xfffbd000));
    need(vm->set_nr_mmu_pages(100));
    kvm_enable_cap cap{};
    cap.cap = KVM_CAP_X86_USER_SPACE_MSR;
    need(vm->enable_cap(cap));
    need(vm->set_msr_filter({}));
    auto memory = virtine::os::mapping::anonymous(4096);
    if (!memory) return memory.error();
    need(vm->set_user_memory_region(slot_of(0, 0, memory->bytes())));
    auto made = vm->create_vcpu(0, system->vcpu_mmap_size());
    if (!made) return made.error();
    vcpu& its = *made;
    need(its.set_cpuid2(system->supported_cpuid()));
    const auto both = [&](auto got, auto set) {
      need(got);
      if (got) need((its.*set)(*got));
    };
    both(its.get_sregs(), &vcpu::set_sregs);
    both(its.get_regs(), &vcpu::set_regs);
    both(its.get_xsave(), &vcpu::set_xsave);
    both(its.get_xcrs(), &vcpu::set_xcrs);
    both(its.get_debugregs(), &vcpu::set_debugregs);
    both(its.get_vcpu_events(), &vcpu::set_vcpu_events);
    both(its.get_mp_state(), &vcpu::set_mp_state);
    msr_entries<1> efer{};
    efer.entries[0].index = 0xc0000080;
    need(its.get_msrs(efer));
    need(its.set_msrs(efer));
    // Not every KVM has it.
    if (auto nested = its.get_nested_state(); nested || nested.error().os_error != EINVAL) {
      need(nested);
    }
    if (auto set = its.set_nested_state({}); set || set.error().os_error != EINVAL) need(set);
    its.request_immediate_exit(true);
    if (auto ran = its.run(); ran || ran.error().os_error != EINTR) need(ran);
    return all;
  }
};

struct missing_device {
  static constexpr const char* name = "a KVM device that is not there";
  result<void> run() {
    const auto opened = virtine::kvm::system::open("/dev/kvm/none");
    if (!opened && opened.error().code != virtine::errc::no_kvm) return opened.error();
    return {};
  }
};

struct other_core {
  static constexpr const char* name = "a thread that leaves a core";
  cpu_set_t before{};
  other_core() { static_cast<void>(::sched_getaffinity(0, sizeof before, &before)); }
  result<void> run() {
    // As a failure before may have left it.
    static_cast<void>(::sched_setaffinity(0, sizeof before, &before));
    virtine::os::leave_core(::sched_getcpu());
    return {};
  }
};

/// gdb, as far as letting the call go on takes.
class going_debugger {
 public:
  template <class Address>
  explicit going_debugger(const Address& address)
      : thread_([this, address] {
          while (!over_) {
            const own_file socket(::socket(address.ss_family, SOCK_STREAM, 0));
            // Sound: the kernel takes every kind of address by this type.
            if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address),
                          address.ss_family == AF_UNIX ? sizeof(sockaddr_un)
                                                       : sizeof(sockaddr_in)) != 0) {
              std::this_thread::sleep_for(200us);
              continue;
            }
            const auto go_on = [&] {
              constexpr std::string_view packet = "+$c#63";
              static_cast<void>(::send(socket.get(), packet.data(), packet.size(), MSG_NOSIGNAL));
            };
            go_on();
            std::array<char, 100> answer;
            const timeval little{.tv_sec = 0, .tv_usec = 50'000};
            ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &little, sizeof little);
            while (!over_) {
              const auto size = ::recv(socket.get(), answer.data(), answer.size(), 0);
              if (size == 0) return;
              if (size < 0) continue;
              // A breakpoint that could not be taken out stops the guest again.
              const std::string_view said(answer.data(), static_cast<std::size_t>(size));
              if (said.find("$T") != said.npos) go_on();
            }
            return;
          }
        }) {}
  going_debugger(const going_debugger&) = delete;
  going_debugger& operator=(const going_debugger&) = delete;
  ~going_debugger() {
    over_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> over_{false};
  std::thread thread_;
};

template <bool BySocket>
struct debugged {
  static constexpr const char* name =
      BySocket ? "a call for a debugger at a socket" : "a call for a debugger at a port";
  told::scratch directory;
  quotient_fn divide;
  sockaddr_storage address{};
  virtine::gdb::options how;

  debugged() {
    // Of a debugger whose packet was lost nothing comes.
    how.limits.timeout = 10s;
    if constexpr (BySocket) {
      how.socket = directory.path("socket");
      address.ss_family = AF_UNIX;
      std::memcpy(reinterpret_cast<sockaddr_un&>(address).sun_path, how.socket.c_str(),
                  how.socket.size());
    } else {
      auto& its = reinterpret_cast<sockaddr_in&>(address);
      its.sin_family = AF_INET;
      its.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      // A port that is free now.
      const own_file socket(::socket(AF_INET, SOCK_STREAM, 0));
      auto* const any = reinterpret_cast<sockaddr*>(&address);
      static_cast<void>(::bind(socket.get(), any, sizeof its));
      socklen_t length = sizeof its;
      static_cast<void>(::getsockname(socket.get(), any, &length));
      how.port = ntohs(its.sin_port);
    }
  }
  result<void> run() {
    const going_debugger debugger(address);
    const auto got = virtine::gdb::debug(divide, how).try_call(12, 4);
    // It could not be heard, or its socket is still there.
    ::unlink(how.socket.c_str());
    return expect(got, 3);
  }
};

/// Calls `visit.template operator()<S>()` for each scenario S.
template <class Visit>
void for_each_more(Visit visit) {
  visit.template operator()<made_files>();
  visit.template operator()<given_files>();
  visit.template operator()<empty_pipe>();
  visit.template operator()<random_numbers>();
  visit.template operator()<late_call>();
  visit.template operator()<busy_call>();
  visit.template operator()<lent_calls>();
  visit.template operator()<shared_machines>();
  visit.template operator()<loaded_file>();
  visit.template operator()<replaced_snapshot>();
  visit.template operator()<bare_file>();
  visit.template operator()<layer_of_kvm>();
  visit.template operator()<missing_device>();
  visit.template operator()<other_core>();
  visit.template operator()<debugged<true>>();
  visit.template operator()<debugged<false>>();
}

}  // namespace scenario
