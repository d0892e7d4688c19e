// Fuzzes the system calls of guests that have directories, while a second thread moves, swaps and
// cuts what is in one of them: nothing outside of the directories is opened, read or changed, and
// nothing changes in one that is granted to be read. An input is what the guest has in its memory
// besides some paths, and its system calls: a byte for the call, and a byte for each argument.
// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <mutex>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include <virtine/allow_entropy.hpp>
#include <virtine/os/fd.hpp>
#include <virtine/posix.hpp>

#include "input.hpp"
#include "own_folder.hpp"
#include "plain_guest.hpp"

namespace {

using namespace virtine;

constexpr std::uint64_t most = 64 << 10;  ///< Bytes that a guest may write below its directory.

constexpr std::array paths{"/",
                           ".",
                           "..",
                           "",
                           "/file",
                           "/d",
                           "/d/inner",
                           "/d/../file",
                           "/d/.",
                           "/file/",
                           "//d/./inner",
                           "/link",
                           "/up/outside/secret",
                           "../outside/secret",
                           "/../outside/secret",
                           "/d/../../outside/secret",
                           "/swap",
                           "/swap/secret",
                           "/swap/deep/secret",
                           "/swap/deep/",
                           "/swap_link/secret",
                           "/magic/etc/passwd",
                           "/ro",
                           "/ro/file",
                           "/ro/d/inner",
                           "/ro/../file",
                           "/ro/new",
                           "/new",
                           "/new/dir",
                           "/d/new",
                           "/moving",
                           "/moving/inner",
                           "/moving/..",
                           "/fifo",
                           "inner",
                           "secret",
                           "new",
                           "deep/secret",
                           "/e/inner",
                           "/ro/"};
constexpr std::size_t slot = 64;
constexpr std::size_t scratch_at = 4096;
constexpr std::size_t memory_size = 8192;
static_assert(paths.size() * slot <= scratch_at);

constexpr std::array<std::uint32_t, 50> calls{SYS_read,
                                              SYS_pread64,
                                              SYS_readv,
                                              SYS_write,
                                              SYS_pwrite64,
                                              SYS_writev,
                                              SYS_lseek,
                                              SYS_fstat,
                                              SYS_getdents64,
                                              SYS_fcntl,
                                              SYS_ioctl,
                                              SYS_ftruncate,
                                              SYS_close,
                                              SYS_open,
                                              SYS_openat,
                                              SYS_stat,
                                              SYS_lstat,
                                              SYS_newfstatat,
                                              SYS_access,
                                              SYS_faccessat,
                                              SYS_unlink,
                                              SYS_unlinkat,
                                              SYS_rmdir,
                                              SYS_mkdir,
                                              SYS_mkdirat,
                                              SYS_rename,
                                              SYS_renameat,
                                              SYS_readlink,
                                              SYS_readlinkat,
                                              SYS_uname,
                                              SYS_getcwd,
                                              SYS_clock_gettime,
                                              SYS_clock_getres,
                                              SYS_gettimeofday,
                                              SYS_time,
                                              SYS_nanosleep,
                                              SYS_clock_nanosleep,
                                              SYS_getpid,
                                              SYS_gettid,
                                              SYS_getppid,
                                              SYS_sched_yield,
                                              SYS_getrandom,
                                              SYS_openat2,
                                              SYS_symlink,
                                              SYS_link,
                                              SYS_chdir,
                                              SYS_dup,
                                              SYS_mmap,
                                              SYS_socket,
                                              SYS_execve};

constexpr auto at_base = [](std::uint64_t offset) { return plain_guest::base + offset; };
constexpr std::array<std::uint64_t, 32> words{static_cast<std::uint64_t>(AT_FDCWD),
                                              O_RDWR,
                                              O_WRONLY,
                                              O_RDWR | O_CREAT,
                                              O_WRONLY | O_CREAT | O_EXCL,
                                              O_RDWR | O_TRUNC,
                                              O_WRONLY | O_APPEND,
                                              O_DIRECTORY,
                                              O_DIRECTORY | O_CREAT,
                                              O_NOFOLLOW | O_CLOEXEC,
                                              O_PATH,
                                              AT_EMPTY_PATH,
                                              AT_REMOVEDIR,
                                              AT_SYMLINK_NOFOLLOW,
                                              0644,
                                              0777,
                                              at_base(scratch_at),
                                              at_base(scratch_at + 1),
                                              at_base(memory_size - 4),
                                              at_base(memory_size),
                                              at_base(0) - 1,
                                              512,
                                              4096,
                                              40000,
                                              most,
                                              most + 1,
                                              std::uint64_t{1} << 31,
                                              std::uint64_t{1} << 32,
                                              std::uint64_t{1} << 63,
                                              static_cast<std::uint64_t>(INT64_MAX),
                                              UINT64_MAX,
                                              UINT64_MAX - 4095};

/// The host's files: what is granted, and a neighbour that is watched.
class host_files {
 public:
  host_files() {
    for (const char* const each : {"/granted", "/ro", "/ro/d", "/outside", "/outside/deep"}) {
      require(::mkdir(path(each).c_str(), 0755) == 0);
    }
    std::random_device random;
    for (char& each : secret_) each = static_cast<char>(random());
    for (const char* const each : {"/outside/secret", "/outside/deep/secret"})
      put(each, {secret_.data(), secret_.size()});
    for (const char* const each : {"/ro/file", "/ro/d/inner"}) put(each, "to read");
    make_granted();
    watch_ = os::fd(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    constexpr std::uint32_t changes =
        IN_MODIFY | IN_ATTRIB | IN_CREATE | IN_DELETE | IN_MOVE | IN_CLOSE_WRITE;
    for (const char* const each : {"/outside", "/outside/deep"}) {
      watch(each, changes | IN_OPEN | IN_ACCESS);
    }
    for (const char* const each : {"/ro", "/ro/d"}) watch(each, changes);
    mover_ = std::jthread([this](const std::stop_token& stop) { move_about(stop); });
  }
  host_files(const host_files&) = delete;
  host_files& operator=(const host_files&) = delete;
  ~host_files() {
    mover_.request_stop();
    mover_.join();
  }

  [[nodiscard]] std::string path(const char* name) const { return top_.path() + name; }
  [[nodiscard]] std::span<const char> secret() const { return secret_; }

  /// Says whether something was opened, read or changed that must not be, and prints what.
  [[nodiscard]] bool touched() const {
    alignas(inotify_event) std::array<std::byte, 4096> bytes;
    if (::read(watch_.get(), bytes.data(), bytes.size()) < 0) return false;
    inotify_event first;
    std::memcpy(&first, bytes.data(), sizeof first);
    // Sound: characters that end with a zero byte, if there are any.
    const char* const name = reinterpret_cast<const char*>(bytes.data()) + sizeof first;
    std::fprintf(stderr, "event %#x of folder %d: %s\n", first.mask, first.wd,
                 first.len > 0 ? name : "itself");
    return true;
  }

  /// Makes the directory anew that guests may change.
  void begin_anew() {
    const std::lock_guard lock(mutex_);
    std::error_code ignored;
    for (const auto& each : std::filesystem::directory_iterator(path("/granted"))) {
      std::filesystem::remove_all(each.path(), ignored);
    }
    make_granted();
  }

  /// Returns which descriptor the process would get next, while the other thread has none open.
  [[nodiscard]] int next_descriptor() {
    const std::lock_guard lock(mutex_);
    return os::fd(::open("/dev/null", O_RDONLY | O_CLOEXEC)).get();
  }

 private:
  void put(const char* name, std::string_view text) const {
    std::ofstream(path(name)).write(text.data(), static_cast<std::streamsize>(text.size()));
  }
  void watch(const char* name, std::uint32_t what) const {
    require(::inotify_add_watch(watch_.get(), path(name).c_str(), what) >= 0);
  }

  void make_granted() const {
    for (const char* const each :
         {"/granted/d", "/granted/moving", "/granted/swap", "/granted/swap/deep"}) {
      ::mkdir(path(each).c_str(), 0755);
    }
    for (const char* const each : {"/granted/file", "/granted/d/inner", "/granted/swap/secret",
                                   "/granted/swap/deep/secret"}) {
      put(each, "the guest's");
    }
    const auto link = [&](const std::string& to, const char* at) {
      static_cast<void>(::symlink(to.c_str(), path(at).c_str()));
    };
    link(path("/outside/secret"), "/granted/link");
    link(path("/outside"), "/granted/swap_link");
    link("..", "/granted/up");
    link("/proc/self/root", "/granted/magic");
    ::mkfifo(path("/granted/fifo").c_str(), 0644);
  }

  /// Opens a directory that guests may change. The other thread leaves nothing through a link
  /// that a guest has moved to where a directory was.
  [[nodiscard]] os::fd folder(const char* name) const {
    return os::fd(::open(path(name).c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  }

  static void exchange(const os::fd& a_in, const char* a, const os::fd& b_in, const char* b) {
    // Sound: the kernel reads two texts that end with a zero byte.
    ::syscall(SYS_renameat2, a_in.get(), a, b_in.get(), b, 2 /* RENAME_EXCHANGE */);
  }
  static void move(const os::fd& from, const os::fd& to, const char* from_name,
                   const char* to_name) {
    // Either may be missing.
    static_cast<void>(::renameat(from.get(), from_name, to.get(), to_name));
  }

  void move_once(unsigned what) const {
    const os::fd all = folder("/granted");
    switch (what % 8) {
      case 0:
        return exchange(all, "swap", all, "swap_link");
      case 1:
        exchange(all, "file", all, "link");
        return exchange(all, "file", all, "link");
      case 2:
        move(all, all, "d", "e");
        return move(all, all, "e", "d");
      case 3:
        return exchange(folder("/granted/swap"), "deep", all, "up");
      case 4: {
        const os::fd file(
            ::openat(all.get(), "file", O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
        static_cast<void>(::ftruncate(file.get(), what % 8192));
        return;
      }
      case 5: {
        const os::fd in = folder("/granted/d");
        ::unlinkat(in.get(), "inner", 0);
        static_cast<void>(::symlinkat(path("/outside/secret").c_str(), in.get(), "inner"));
        ::unlinkat(in.get(), "inner", 0);
        static_cast<void>(::mknodat(in.get(), "inner", S_IFREG | 0644, 0));
        return;
      }
      case 6: {
        const os::fd in = folder("/granted/moving");
        move(all, in, "d", "d");
        move(in, all, "d", "d");
        return;
      }
      default:
        static_cast<void>(::symlinkat(path("/outside").c_str(), all.get(), "new"));
        ::unlinkat(all.get(), "new", 0);
        return;
    }
  }

  void move_about(const std::stop_token& stop) {
    std::minstd_rand random(1);
    while (!stop.stop_requested()) {
      {
        const std::lock_guard lock(mutex_);
        for (int i = 0; i < 4; ++i) move_once(static_cast<unsigned>(random()));
      }
      // The other thread gets the mutex, and the processor where there is only one.
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
  }

  own_folder top_;
  std::array<char, 32> secret_{};
  os::fd watch_;
  std::mutex mutex_;
  std::jthread mover_;
};

/// Descriptors of the host's that never make anybody wait: their other ends are closed.
struct given_files {
  os::fd null{::open("/dev/null", O_RDWR | O_CLOEXEC)};
  os::fd file{::memfd_create("given", MFD_CLOEXEC)};
  os::fd reads, writes, socket;

  given_files() {
    require(::ftruncate(file.get(), 100) == 0);
    std::array<int, 2> ends{};
    require(::pipe2(ends.data(), O_CLOEXEC) == 0);
    reads = os::fd(ends[0]);
    ::close(ends[1]);
    require(::pipe2(ends.data(), O_CLOEXEC) == 0);
    writes = os::fd(ends[1]);
    ::close(ends[0]);
    require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
    socket = os::fd(ends[0]);
    ::close(ends[1]);
  }
};

std::uint64_t take_argument(fuzz_input& input) {
  const auto which = input.take<std::uint8_t>();
  if (which < 64) return which;
  if (which < 64 + paths.size()) return plain_guest::base + (which - 64) * slot;
  if (which < 128 + words.size()) return words[which % words.size()];
  return input.take<std::uint64_t>();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static host_files files;
  static const given_files given;
  static std::string output;
  static policy rules{posix::directory<"/">(files.path("/granted"), posix::read_write, most),
                      posix::directory<"/ro">(files.path("/ro"), posix::read_only),
                      posix::descriptor<3>(given.null.get(), posix::read_write),
                      posix::descriptor<4>(given.file.get(), posix::read_write),
                      posix::descriptor<5>(given.reads.get(), posix::read_only),
                      posix::descriptor<6>(given.writes.get(), posix::write_only),
                      posix::descriptor<7>(given.socket.get(), posix::read_write),
                      posix::output(output, 4096),
                      posix::clock(),
                      allow_entropy()};
  static unsigned inputs = 0;
  const unsigned number = inputs++;
  if (number % 64 == 0) files.begin_anew();
  // Not always, since the other thread is waited for.
  const bool looks_for_leaks = number % 16 == 0;

  const int descriptor = looks_for_leaks ? files.next_descriptor() : -1;
  fuzz_input input(data, size);
  std::vector<std::byte> memory(memory_size);
  for (std::size_t i = 0; i < paths.size(); ++i) {
    std::memcpy(memory.data() + i * slot, paths[i], std::string_view(paths[i]).size());
  }
  const auto own = input.take_bytes(input.take<std::uint8_t>());
  std::copy(own.begin(), own.end(), memory.begin() + scratch_at);
  plain_guest guest(memory);
  {
    decltype(rules)::call_state open;
    output.clear();
    require(rules.serve({.number = SYS_getpid}, guest, open).has_value());  // Gives it what it has.
    for (int made = 0; made < 32 && !input.empty(); ++made) {
      const std::uint8_t which = input.take<std::uint8_t>();
      detail::system_call call{calls[which % calls.size()], {}};
      for (std::size_t i = 0; i < 4; ++i) call.arguments[i] = take_argument(input);
      const auto answer = rules.serve(call, guest, open);
      if (!answer) {
        require(answer.error().code == errc::system_call_denied);
        continue;
      }
      // A result of Linux's: a number, or an error's.
      require(answer->value >= -4095);
      require(answer->wait.count() >= 0);
      require(open.written_below(0) <= most && open.written_below(1) == 0);
      require(output.size() <= 4096);
    }
  }
  // All that the guest had open is closed.
  if (looks_for_leaks) require(files.next_descriptor() == descriptor);
  require(!files.touched());
  // Not by memmem(), from whose calls a fuzzer learns what to put into inputs.
  static const auto secret = std::as_bytes(files.secret());
  static const std::boyer_moore_horspool_searcher finder(secret.begin(), secret.end());
  require(std::search(guest.bytes().begin(), guest.bytes().end(), finder) == guest.bytes().end());
  return 0;
}
