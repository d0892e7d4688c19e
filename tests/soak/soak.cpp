// All ways to call, on many threads at once, for long: with faults, deadlines, forks, kills and
// shortages in between. Each result is compared with what it has to be, and nothing may grow.
// usage: soak [--calls N] [--threads N] [--seconds N] [--seed N]
// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <malloc.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cinttypes>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <random>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include <guests/calls.hpp>
#include <guests/jobs.hpp>
#include <guests/lent.hpp>
#include <virtine/c/virtine.hpp>
#include <virtine/loaded_image.hpp>
#include <virtine/posix.hpp>
#include <virtine/virtine.hpp>

#include "../image_bytes.hpp"
#include "../kvm/guests/jobs_types.hpp"
#include "../told_calls.hpp"

using namespace virtine;
using namespace std::chrono_literals;

namespace {

using jobs = guests::jobs;
using steady = std::chrono::steady_clock;

/// More than any call takes here, however many threads and other programs there are.
const call_options patient{.timeout = 5min};

enum form : std::size_t {
  plain,
  spans,
  texts,
  hypercalls,
  each_job,
  together,
  in_session,
  background,
  values,
  from_c,
  shared_vm,
  lent_memory_calls,
  system_calls,
  fault,
  denied,
  rejected,
  too_many,
  late,
  too_busy,
  stopped,
  in_child,
  killed,
  form_count
};
constexpr std::array<const char*, form_count> form_names{
    "plain calls",
    "spans, copied in and out",
    "texts",
    "hypercalls",
    "each()",
    "together()",
    "sessions",
    "async()",
    "functions of values",
    "C interface",
    "machines that share VMs",
    "lent memory",
    "POSIX system calls",
    "faults",
    "denied system calls",
    "rejected hypercalls",
    "too many hypercalls",
    "deadlines",
    "limits of CPU time",
    "stop requests",
    "calls of children of fork",
    "calls of killed children",
};

constexpr std::size_t code_count = 64;

/// What came of calls.
struct tally {
  std::array<std::uint64_t, form_count> calls{};
  std::array<std::uint64_t, form_count> wrong{};
  std::array<std::uint64_t, form_count> short_of{};  // That failed because something was short.
  std::array<std::uint64_t, code_count> expected{};
  std::array<std::uint64_t, code_count> got{};

  void add(const tally& other) {
    const auto sum = [](auto& to, const auto& from) {
      for (std::size_t i = 0; i < to.size(); ++i) to[i] += from[i];
    };
    sum(calls, other.calls);
    sum(wrong, other.wrong);
    sum(short_of, other.short_of);
    sum(expected, other.expected);
    sum(got, other.got);
  }
  [[nodiscard]] static std::uint64_t total(const std::array<std::uint64_t, form_count>& of) {
    std::uint64_t all = 0;
    for (const std::uint64_t each : of) all += each;
    return all;
  }
};

/// Odd while descriptors or memory are short.
std::atomic<std::uint64_t> shortages{0};

std::mutex telling;
void tell_wrong(form what, const std::string& why) {
  static int told = 0;
  const std::lock_guard lock(telling);
  if (++told <= 20) std::fprintf(stderr, "wrong, %s: %s\n", form_names[what], why.c_str());
}

/// One or more calls under way; says what has come of them.
class attempt {
 public:
  attempt(tally& to, form what, std::uint64_t calls = 1) : to_(to), what_(what) {
    to_.calls[what] += calls;
  }

  void value(bool right) {
    if (!right) wrong("a value");
  }
  template <class T, class U>
  void value(const result<T>& got, const U& wanted) {
    if (!got) return failed(got.error());
    value(*got == wanted);
  }
  void value(const result<void>& got) {
    if (!got) failed(got.error());
  }
  template <class T>
  void error(const result<T>& got, errc wanted) {
    if (got) {
      ++to_.expected[index(wanted)];
      return wrong("a value in the place of an error");
    }
    if (got.error().code != wanted && excused(got.error())) return;
    ++to_.expected[index(wanted)];
    ++to_.got[index(got.error().code)];
    if (got.error().code != wanted) wrong(to_string(got.error()));
  }
  void failed(const virtine::error& why) {
    if (excused(why)) return;
    ++to_.got[index(why.code)];
    wrong(to_string(why));
  }
  /// The program's own memory has run out.
  void out_of_memory() {
    if (is_short()) {
      ++to_.short_of[what_];
    } else {
      wrong("no memory");
    }
  }
  void wrong(const std::string& why) {
    ++to_.wrong[what_];
    tell_wrong(what_, why);
  }

 private:
  static std::size_t index(errc code) { return static_cast<std::size_t>(code) % code_count; }
  [[nodiscard]] bool is_short() const { return before_ % 2 != 0 || before_ != shortages.load(); }
  bool excused(const virtine::error& why) {
    if (!is_short() || blame_of(why.code) != blame::host) return false;
    ++to_.short_of[what_];
    return true;
  }

  tally& to_;
  const form what_;
  const std::uint64_t before_ = shortages.load();
};

/// What the handler of hypercalls is to do on this thread.
enum class answering { one, rejecting, stopping };
thread_local answering how = answering::one;
thread_local std::stop_source* to_stop = nullptr;

answer<int> answer_question(tainted<int> /*number*/) {
  if (how == answering::rejecting) return reject{};
  if (how == answering::stopping) to_stop->request_stop();
  return 1;
}

/// An image file of the jobs.
std::vector<std::byte> file_of_jobs() {
  std::vector<exported_function> exports;
  const auto add = [&]<class Entry>() {
    exports.push_back({Entry::name, Entry::signature, Entry::address, Entry::imports});
  };
  add.template operator()<jobs::negate>();
  add.template operator()<jobs::quotient>();
  return image_bytes(jobs::description, exports).bytes;
}

/// All that is called. Used by all threads.
struct world {
  using calls_sig = void(std::span<told_call>, std::span<std::byte>);
  using question_policy = policy<allowed<question, answer<int> (*)(tainted<int>)>>;

  pool<jobs> machines{{.max = 64}};
  virtine_fn<int(int, int), jobs::quotient> divide{machines};
  virtine_fn<void(std::span<int>), jobs::negate> negate{machines};
  virtine_fn<std::uint64_t(std::string_view, std::uint64_t), jobs::length> length{machines};
  virtine_fn<int(), jobs::count> count{machines};
  virtine_fn<int(std::uint64_t), jobs::spin> spin{machines};
  virtine_fn<int(int), jobs::ask, question_policy> ask{
      machines, question_policy(allow<question>(&answer_question))};

  // Made anew when all machines go, because it keeps a VM with its vCPUs.
  struct neighbourhood {
    pool<jobs> machines{{.max = 32, .machines_per_vm = 16}};
    virtine_fn<int(int, int), jobs::quotient> divide{machines};
  };
  std::unique_ptr<neighbourhood> neighbours = std::make_unique<neighbourhood>();

  pool<guests::lent> borrowers{{.max = 16}};
  virtine_fn<std::uint64_t(lent<const std::uint64_t>, std::uint64_t), guests::lent::element>
      element{borrowers};
  std::array<lent_memory, 4> lent_to_them;

  told::scratch directory;
  pool<guests::calls> callers{{.max = 16}};
  decltype(policy{posix::directory<"/d">("/", posix::read_write), posix::clock()}) granted{
      posix::directory<"/d">(directory.path(), posix::read_write), posix::clock()};
  virtine_fn<calls_sig, guests::calls::make_calls, decltype(granted)> files{callers, granted};
  virtine_fn<calls_sig, guests::calls::make_calls> no_files{callers};

  std::vector<std::byte> file = file_of_jobs();
  loaded_image plugin = load_image(std::span<const std::byte>(file)).value();
  loaded_pool<virtine::detail::machine> plugin_machines{plugin, {.max = 16}};
  dynamic_function dynamic = plugin.dynamic("quotient", plugin_machines).value();
  virtine_image* c_image = nullptr;
  ::virtine_function* c_divide = nullptr;

  world() {
    for (std::size_t i = 0; i < lent_to_them.size(); ++i) {
      lent_to_them[i] = lent_memory::allocate((i + 1) << 20).value();
      std::uint64_t next = i;
      for (std::uint64_t& each : lent_to_them[i].elements<std::uint64_t>()) each = next++;
    }
    directory.put("file", "content of a file");
    virtine_error error = VIRTINE_ERROR_INIT;
    if (virtine_load_bytes(file.data(), file.size(), nullptr, &c_image, &error) != 0) {
      throw std::runtime_error(error.text);
    }
    open_c();
  }
  world(const world&) = delete;
  world& operator=(const world&) = delete;
  ~world() {
    virtine_function_free(c_divide);
    virtine_image_free(c_image);
  }

  void open_c() {
    virtine_function_options options = VIRTINE_FUNCTION_OPTIONS_INIT;
    options.max_machines = 16;
    virtine_error error = VIRTINE_ERROR_INIT;
    if (virtine_function_create(c_image, "quotient", nullptr, &options, &c_divide, &error) != 0) {
      throw std::runtime_error(error.text);
    }
  }

  /// Destroys all machines, while nobody calls. Returns how many are left.
  std::size_t clear() {
    machines.trim(0);
    neighbours = std::make_unique<neighbourhood>();
    borrowers.trim(0);
    callers.trim(0);
    plugin_machines.trim(0);
    virtine_function_free(std::exchange(c_divide, nullptr));
    open_c();
    return machines.size() + borrowers.size() + callers.size() + plugin_machines.size();
  }
};

/// What one thread does.
class caller {
 public:
  caller(world& on, std::uint64_t seed) : on_(on), random_(seed) {
    const auto path = script_.text("/d/file");
    const auto own = script_.text("/d/own" + std::to_string(seed));
    room_ = script_.room(64);
    script_.add(SYS_open, {path, O_RDONLY});
    read_ = script_.add(SYS_read, {3, room_, 64});
    script_.add(SYS_open, {own, O_RDWR | O_CREAT | O_TRUNC, 0600});
    script_.add(SYS_write, {4, path, 5});
    written_ = script_.add(SYS_lseek, {4, 0, SEEK_END});
    script_.add(SYS_close, {4});
    script_.add(SYS_unlink, {own});
    script_.add(SYS_clock_gettime, {1, room_});
    socket_.add(SYS_socket, {1, 1, 0});
    for (auto& each : batch_) each = {number(), 1 + number()};
  }

  tally counted;

  /// Makes calls of one form. Returns how many.
  std::uint64_t run() {
    const std::uint64_t before = tally::total(counted.calls);
    const auto what = static_cast<form>(random_() % in_child);
    how = answering::one;
    attempt whole(counted, what, 0);
    try {
      call(what);
    } catch (const failure& why) {
      whole.failed(why.error());
    } catch (const std::bad_alloc&) {
      whole.out_of_memory();
    } catch (const std::system_error&) {
      whole.out_of_memory();
    }
    return tally::total(counted.calls) - before;
  }

 private:
  int number() { return static_cast<int>(random_() % 100'000); }
  attempt begin(form what, std::uint64_t calls = 1) { return {counted, what, calls}; }

  void call(form what) {
    switch (what) {
      case plain:
        for (int i = 0; i < 16; ++i) {
          const int a = number();
          const int b = 1 + number();
          begin(what).value(on_.divide.with(patient).try_call(a, b), a / b);
        }
        return;
      case spans: {
        std::array<int, 300> values{};
        for (int i = 0; int& each : values) each = ++i;
        attempt now = begin(what);
        const auto done = on_.negate.with(patient).try_call(std::span(values));
        now.value(done);
        if (done) now.value(values[0] == -1 && values[299] == -300);
        return;
      }
      case texts: {
        const std::string text(random_() % 4000, 'x');
        begin(what).value(on_.length.with(patient).try_call(text, 7U), text.size() + 7);
        return;
      }
      case hypercalls:
        begin(what).value(on_.ask.with(patient).try_call(4), 4);
        return;
      case each_job: {
        const auto some = std::span(batch_).first(10);
        attempt now = begin(what, some.size());
        const auto results = on_.divide.with(patient).each(some);
        for (std::size_t i = 0; i < results.size(); ++i) now.value(results[i], quotient(some[i]));
        return;
      }
      case together: {
        attempt now = begin(what, batch_.size());
        const auto results = on_.divide.with(patient).together(batch_);
        if (!results) return now.failed(results.error());
        for (std::size_t i = 0; i < batch_.size(); ++i) {
          now.value((*results)[i] == quotient(batch_[i]));
        }
        return;
      }
      case in_session:
        return call_in_session();
      case background: {
        attempt now = begin(what, 2);
        auto first = on_.divide.with(patient).async(40, 5);
        auto second = on_.divide.with(patient).async(42, 6);
        now.value(second.try_get(), 7);
        now.value(first.try_get(), 8);
        return;
      }
      case values: {
        const int a = number();
        attempt now = begin(what);
        const auto got = on_.dynamic.with(patient).try_call({a, 3});
        if (!got) return now.failed(got.error());
        now.value(*got == virtine::value(a / 3));
        return;
      }
      case from_c:
        return call_from_c();
      case shared_vm:
        for (int i = 0; i < 4; ++i) {
          const int a = number();
          begin(what).value(on_.neighbours->divide.with(patient).try_call(a, 7), a / 7);
        }
        // Its place is used again.
        if (random_() % 4 == 0) {
          begin(what).error(on_.neighbours->divide.with(patient).try_call(1, 0), errc::guest_fault);
        }
        return;
      case lent_memory_calls: {
        const std::size_t which = random_() % on_.lent_to_them.size();
        const lent_memory& memory = on_.lent_to_them[which];
        const std::uint64_t at = random_() % (memory.size() / 8);
        begin(what).value(on_.element.with(patient).try_call(memory, at), at + which);
        return;
      }
      case system_calls: {
        attempt now = begin(what);
        for (told_call& each : script_.calls) each.result = 0;
        const auto done =
            on_.files.with(patient).try_call(std::span(script_.calls), std::span(script_.memory));
        if (!done) return now.failed(done.error());
        for (const told_call& each : script_.calls) {
          if (each.result >= 0) continue;
          return now.failed({.code = errc::os_error,
                             .os_error = static_cast<int>(-each.result),
                             .operation = "a system call of the guest"});
        }
        now.value(script_[read_] == 17 && script_[written_] == 5);
        return;
      }
      case fault:
        begin(what).error(on_.divide.with(patient).try_call(number(), 0), errc::guest_fault);
        return;
      case denied:
        begin(what).error(on_.no_files.with(patient).try_call(std::span(socket_.calls),
                                                              std::span(socket_.memory)),
                          errc::system_call_denied);
        return;
      case rejected:
        how = answering::rejecting;
        begin(what).error(on_.ask.with(patient).try_call(2), errc::hypercall_rejected);
        return;
      case too_many: {
        call_options few = patient;
        few.hypercalls = 3;
        begin(what).error(on_.ask.with(few).try_call(9), errc::hypercall_limit);
        return;
      }
      case late:
        begin(what).error(on_.spin.with({.timeout = 1ms}).try_call(for_ever), errc::timed_out);
        return;
      case too_busy: {
        call_options little = patient;
        little.cpu_time = 1ms;
        begin(what).error(on_.spin.with(little).try_call(for_ever), errc::cpu_limit);
        return;
      }
      case stopped: {
        std::stop_source source;
        to_stop = &source;
        how = answering::stopping;
        call_options stoppable = patient;
        stoppable.stop = source.get_token();
        begin(what).error(on_.ask.with(stoppable).try_call(1'000'000), errc::cancelled);
        return;
      }
      default:
        return;
    }
  }

  void call_in_session() {
    attempt now = begin(in_session, 0);
    session open(on_.count);
    const int calls = 200 + number() % 1601;
    for (int i = 1; i <= calls; ++i) {
      ++counted.calls[in_session];
      const auto got = open.with(patient).try_call();
      now.value(got, i);
      if (!got) return;
    }
  }

  void call_from_c() {
    attempt now = begin(from_c);
    const int a = number();
    const std::array arguments{virtine_of_int(a), virtine_of_int(9)};
    virtine_value result = VIRTINE_VALUE_INIT;
    virtine_error why = VIRTINE_ERROR_INIT;
    virtine_call_options options = VIRTINE_CALL_OPTIONS_INIT;
    options.timeout = std::chrono::nanoseconds(patient.timeout).count();
    const int code =
        virtine_call(on_.c_divide, arguments.data(), arguments.size(), &result, &options, &why);
    if (code == VIRTINE_OK) {
      now.value(result.kind == VIRTINE_UINT && result.as.natural == std::uint64_t(a / 9));
    } else if (code < VIRTINE_ARGUMENTS_TOO_LARGE) {
      now.failed({.code = errc::os_error, .os_error = why.os_error, .operation = "virtine_call"});
    } else {
      now.wrong(why.text);
    }
    virtine_value_clear(&result);
  }

  static int quotient(const std::tuple<int, int>& of) { return std::get<0>(of) / std::get<1>(of); }

  static constexpr std::uint64_t for_ever = std::uint64_t{1} << 62;

  world& on_;
  std::mt19937_64 random_;
  std::array<std::tuple<int, int>, 400> batch_;
  told::script script_;
  told::script socket_;
  told::argument room_ = 0;
  std::size_t read_ = 0;
  std::size_t written_ = 0;
};

/// What happens to the process meanwhile: children, some of which are killed, and shortages.
class weather {
 public:
  explicit weather(world& on) : on_(on) {}

  tally counted;
  std::uint64_t descriptors_short = 0;
  std::uint64_t memory_short = 0;

  void run() {
    child_calls();
    child_is_killed();
    run_short(RLIMIT_NOFILE, static_cast<rlim_t>(told::descriptors()) - 1);
    ++descriptors_short;
    run_short(RLIMIT_AS, address_space());
    ++memory_short;
  }

 private:
  void child_calls() {
    const pid_t child = ::fork();
    if (child == 0) {
      ::alarm(300);
      ::_exit(all_right() ? 0 : 1);
    }
    attempt now(counted, in_child, calls_of_child);
    int status = -1;
    if (child < 0 || ::waitpid(child, &status, 0) != child || status != 0) {
      now.wrong("the status of a child is " + std::to_string(status));
    }
  }

  static constexpr std::uint64_t calls_of_child = 7;
  bool all_right() {
    bool right = true;
    for (int i = 1; i < 3; ++i) {
      right = on_.divide.with(patient).try_call(12, i).value_or(0) == 12 / i && right;
    }
    right = !on_.divide.with(patient).try_call(1, 0) && right;
    right = on_.neighbours->divide.with(patient).try_call(12, 4).value_or(0) == 3 && right;
    right = on_.divide.with(patient).async(12, 2).try_get().value_or(0) == 6 && right;
    session open(on_.count);
    right = open.with(patient).try_call().value_or(0) == 1 && right;
    return open.with(patient).try_call().value_or(0) == 2 && right;
  }

  void child_is_killed() {
    std::array<int, 2> pipe{};
    if (::pipe2(pipe.data(), O_CLOEXEC) != 0) return;
    const pid_t child = ::fork();
    if (child == 0) {
      ::alarm(300);
      static_cast<void>(!::write(pipe[1], "", 1));
      static_cast<void>(on_.spin.with(patient).try_call(std::uint64_t{1} << 62));
      ::_exit(0);
    }
    attempt now(counted, killed);
    char begun = 0;
    ::close(pipe[1]);
    if (child < 0) {
      ::close(pipe[0]);
      return now.wrong("there is no child to be killed");
    }
    const bool runs = ::read(pipe[0], &begun, 1) == 1;
    ::close(pipe[0]);
    std::this_thread::sleep_for(2ms);
    int status = 0;
    ::kill(child, SIGKILL);
    ::waitpid(child, &status, 0);
    if (!runs || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
      now.wrong("a child did not live to be killed");
    }
  }

  static rlim_t address_space() {
    std::ifstream file("/proc/self/statm");
    rlim_t pages = 0;
    file >> pages;
    return pages * 4096;
  }

  /// Has nothing more be given than `most`, for a moment.
  static void run_short(int what, rlim_t most) {
    rlimit before{};
    ::getrlimit(static_cast<__rlimit_resource>(what), &before);
    rlimit little = before;
    little.rlim_cur = std::min(most, before.rlim_max);
    ++shortages;
    ::setrlimit(static_cast<__rlimit_resource>(what), &little);
    std::this_thread::sleep_for(2ms);
    ::setrlimit(static_cast<__rlimit_resource>(what), &before);
    ++shortages;
  }

  world& on_;
};

/// What the process, and the kernel for all processes, have at a moment.
struct holdings {
  std::uint64_t descriptors = 0;
  std::uint64_t mappings = 0;
  std::uint64_t threads = 0;
  std::uint64_t resident = 0;        // KiB, as all below.
  std::uint64_t available = 0;       // MemAvailable
  std::uint64_t unreclaimable = 0;   // SUnreclaim
  std::uint64_t kernel_stacks = 0;   // KernelStack
  std::uint64_t page_tables = 0;     // PageTables
  std::map<std::string, int> files;  // What descriptors are of, and how many are.

  static holdings now() {
    ::malloc_trim(0);
    holdings out;
    out.descriptors = told::descriptors();
    for (const auto& each : std::filesystem::directory_iterator("/proc/self/fd")) {
      std::error_code gone;
      const std::string what = std::filesystem::read_symlink(each, gone);
      ++out.files[what.substr(0, what.find(':') == 4 ? 4 : what.npos)];  // "pipe:[number]"
    }
    std::ifstream maps("/proc/self/maps");
    out.mappings = static_cast<std::uint64_t>(
        std::count(std::istreambuf_iterator<char>(maps), std::istreambuf_iterator<char>(), '\n'));
    out.threads = told::threads();
    read("/proc/self/status", {{"VmRSS:", &out.resident}});
    read("/proc/meminfo", {{"MemAvailable:", &out.available},
                           {"SUnreclaim:", &out.unreclaimable},
                           {"KernelStack:", &out.kernel_stacks},
                           {"PageTables:", &out.page_tables}});
    return out;
  }

 private:
  static void read(const char* path,
                   std::initializer_list<std::pair<std::string_view, std::uint64_t*>> names) {
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
      for (const auto& [name, value] : names) {
        if (line.starts_with(name)) *value = std::strtoull(line.c_str() + name.size(), nullptr, 10);
      }
    }
  }
};

struct options {
  std::uint64_t calls = 10'000'000;
  std::uint64_t threads = 64;
  std::uint64_t seconds = UINT64_MAX;
  std::uint64_t seed = 1;
};

std::optional<options> read_options(int argc, char** argv) {
  options out;
  for (int i = 1; i < argc; i += 2) {
    const std::string_view name = argv[i];
    std::uint64_t* const to = name == "--calls"     ? &out.calls
                              : name == "--threads" ? &out.threads
                              : name == "--seconds" ? &out.seconds
                              : name == "--seed"    ? &out.seed
                                                    : nullptr;
    char* end = nullptr;
    if (to == nullptr || i + 1 == argc) return std::nullopt;
    *to = std::strtoull(argv[i + 1], &end, 10);
    if (*end != '\0' || *to == 0) return std::nullopt;
  }
  return out;
}

/// A part of a run, at whose end everybody stands still and all machines are destroyed.
constexpr std::size_t parts = 10;

struct outcome {
  tally counted;
  std::vector<holdings> held;  // At the beginning, and at the end of each part.
  std::uint64_t machines_left = 0;
  std::uint64_t descriptors_short = 0;
  std::uint64_t memory_short = 0;
  double seconds = 0;
};

outcome run(const options& told) {
  outcome out;
  world on;
  static_cast<void>(on.clear());
  out.held.push_back(holdings::now());
  std::vector<std::unique_ptr<caller>> callers;
  for (std::uint64_t i = 0; i < told.threads; ++i) {
    callers.push_back(std::make_unique<caller>(on, told.seed * 1000 + i));
  }
  weather outside(on);
  std::atomic<std::uint64_t> made{0};
  std::atomic<std::uint64_t> until{0};
  std::atomic<bool> over{false};
  const auto begin = steady::now();
  const auto late = [&] {
    return std::chrono::duration<double>(steady::now() - begin).count() >
           static_cast<double>(told.seconds);
  };
  // All threads, the weather and this one.
  std::barrier together_now(static_cast<std::ptrdiff_t>(told.threads) + 2);
  std::vector<std::thread> threads;
  for (auto& each : callers) {
    threads.emplace_back([&, &one = *each] {
      for (;;) {
        together_now.arrive_and_wait();
        if (over) return;
        while (made < until && !late()) made += one.run();
        together_now.arrive_and_wait();
      }
    });
  }
  threads.emplace_back([&] {
    constexpr std::uint64_t between = 5000;  // Calls.
    for (std::uint64_t next = between / 2;;) {
      together_now.arrive_and_wait();
      if (over) return;
      while (made < until && !late()) {
        if (made < next) {
          std::this_thread::sleep_for(1ms);
          continue;
        }
        next = made + between;
        outside.run();
      }
      together_now.arrive_and_wait();
    }
  });
  for (std::size_t part = 1; part <= parts; ++part) {
    until = told.calls / parts * part + (part == parts ? told.calls % parts : 0);
    together_now.arrive_and_wait();
    together_now.arrive_and_wait();
    out.machines_left += on.clear();
    out.held.push_back(holdings::now());
    const auto passed = std::chrono::duration<double>(steady::now() - begin).count();
    std::printf("%3zu %%  %" PRIu64 " calls, %.0f s\n", part * 100 / parts, made.load(), passed);
    std::fflush(stdout);
  }
  over = true;
  together_now.arrive_and_wait();
  for (std::thread& each : threads) each.join();
  out.seconds = std::chrono::duration<double>(steady::now() - begin).count();
  for (const auto& each : callers) out.counted.add(each->counted);
  out.counted.add(outside.counted);
  out.descriptors_short = outside.descriptors_short;
  out.memory_short = outside.memory_short;
  return out;
}

void print(const outcome& all) {
  std::printf("\n%-28s %12s %12s %8s %8s\n", "form", "calls", "calls/s", "short", "wrong");
  for (std::size_t i = 0; i < form_count; ++i) {
    std::printf("%-28s %12" PRIu64 " %12.1f %8" PRIu64 " %8" PRIu64 "\n", form_names[i],
                all.counted.calls[i], static_cast<double>(all.counted.calls[i]) / all.seconds,
                all.counted.short_of[i], all.counted.wrong[i]);
  }
  std::printf("%-28s %12" PRIu64 " %12.1f %8" PRIu64 " %8" PRIu64 "\n", "all",
              tally::total(all.counted.calls),
              static_cast<double>(tally::total(all.counted.calls)) / all.seconds,
              tally::total(all.counted.short_of), tally::total(all.counted.wrong));
  std::printf("\ndescriptors were short %" PRIu64 " times, memory %" PRIu64 " times\n",
              all.descriptors_short, all.memory_short);
  std::printf("\n%-28s %12s %12s\n", "error", "expected", "got");
  for (std::size_t i = 0; i < code_count; ++i) {
    if (all.counted.expected[i] == 0 && all.counted.got[i] == 0) continue;
    std::printf("%-28s %12" PRIu64 " %12" PRIu64 "\n", name(static_cast<errc>(i)),
                all.counted.expected[i], all.counted.got[i]);
  }
  std::printf("\n%-28s %12s %12s %12s\n", "held, without machines", "begin", "after 10 %", "end");
  const auto row = [&](const char* what, std::uint64_t holdings::*of) {
    std::printf("%-28s %12" PRIu64 " %12" PRIu64 " %12" PRIu64 "\n", what, all.held.front().*of,
                all.held[1].*of, all.held.back().*of);
  };
  row("descriptors", &holdings::descriptors);
  row("mappings", &holdings::mappings);
  row("threads", &holdings::threads);
  row("resident, KiB", &holdings::resident);
  row("system: available, KiB", &holdings::available);
  row("system: unreclaimable, KiB", &holdings::unreclaimable);
  row("system: kernel stacks, KiB", &holdings::kernel_stacks);
  row("system: page tables, KiB", &holdings::page_tables);
}

/// Returns whether nothing has grown since the first tenth, beyond what allocators keep for later.
bool has_grown(const outcome& all) {
  const holdings& warm = all.held[1];
  const holdings& end = all.held.back();
  bool grown = all.machines_left > 0;
  if (grown) std::printf("%" PRIu64 " machines were never given back\n", all.machines_left);
  const auto bound = [&](const char* what, std::uint64_t before, std::uint64_t after,
                         std::uint64_t more) {
    if (after <= before + more) return;
    grown = true;
    std::printf("grown: %s, %" PRIu64 " -> %" PRIu64 "\n", what, before, after);
  };
  bound("descriptors", warm.descriptors, end.descriptors, 0);
  if (grown) {
    for (const auto& [what, count] : end.files) std::printf("  %d of %s\n", count, what.c_str());
  }
  // Those that run calls of async() start when they are first needed.
  bound("threads", warm.threads, end.threads, 4);
  // Arenas and stacks that the C library keeps.
  bound("mappings", warm.mappings, end.mappings, 64);
  bound("resident memory, KiB", warm.resident, end.resident, 32 << 10);
  // Of all processes: what others do is in it.
  bound("unreclaimable kernel memory, KiB", warm.unreclaimable, end.unreclaimable, 256 << 10);
  return grown;
}

}  // namespace

int main(int argc, char** argv) {
  const auto told = read_options(argc, argv);
  if (!told) {
    std::fprintf(stderr, "usage: soak [--calls N] [--threads N] [--seconds N] [--seed N]\n");
    return 2;
  }
  if (auto system = kvm::system::open(); !system) {
    std::printf("skipped: %s\n", to_string(system.error()).c_str());
    return 77;
  }
  const outcome all = run(*told);
  print(all);
  bool well = tally::total(all.counted.wrong) == 0 && !has_grown(all);
  well = well && all.counted.expected == all.counted.got;
  std::printf("\n%s\n", well ? "well: no wrong result, no leak, no growth" : "NOT well");
  return well ? 0 : 1;
}
