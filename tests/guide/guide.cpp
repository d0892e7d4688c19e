// What docs/guide.md says of hosts, in its own words. guide-agrees compares them.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <iostream>
#include <map>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include <guests/asker.hpp>
#include <guests/listing.hpp>
#include <guests/math.hpp>
#include <guests/predicate.hpp>
#include <guests/predicate/predicate.hpp>
#include <guests/sieve.hpp>
#include <guests/sum.hpp>
#include <virtine/bare_machine.hpp>
#include <virtine/gdb.hpp>
#include <virtine/posix.hpp>
#include <virtine/prometheus.hpp>
#include <virtine/snapshot_file.hpp>
#include <virtine/virtine.hpp>
#ifdef VIRTINE_GUIDE_RUST
#include <guests/rust_listing.hpp>
#include <guests/rust_sum.hpp>
#endif

#include "../kvm/gdb_client.hpp"
#include "guests/shared.hpp"

using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

// A folder of the test's own, which it works in.
class own_folder {
 public:
  own_folder()
      : before_(fs::current_path()),
        path_(fs::temp_directory_path() / ("virtine-guide-" + std::to_string(::getpid()))) {
    fs::create_directory(path_);
    fs::current_path(path_);
  }
  ~own_folder() {
    std::error_code ignored;
    fs::current_path(before_, ignored);
    fs::remove_all(path_, ignored);
  }
  own_folder(const own_folder&) = delete;
  own_folder& operator=(const own_folder&) = delete;

 private:
  fs::path before_;
  fs::path path_;
};

// Whether a call with little time gave `expected`: where the machine is busy with other things, its
// time may well be over.
template <class T>
bool is_or_too_late(const virtine::result<T>& reply, T expected) {
  return reply ? *reply == expected : reply.error().code == virtine::errc::timed_out;
}

}  // namespace

TEST_CASE("a function of a guest is called by its type", "[guide]") {
  const std::array values{1, 2, 3};
  // clang-format off
virtine::virtine_fn<long(std::span<const int>), guests::sum> sum;
  // clang-format on
  CHECK(sum(values) == 6);
  const virtine::result<long> r = sum.try_call(values);
  REQUIRE(r);
  CHECK(*r == 6);
}

TEST_CASE("memory and files are lent", "[guide]") {
  // clang-format off
auto table = virtine::lent_memory::allocate(1'000'000 * sizeof(int)).value();
std::ranges::fill(table.elements<int>(), 1);

virtine::virtine_fn<long(virtine::lent<const int>), guests::sum> sum;
long million = sum(table);
  // clang-format on
  CHECK(million == 1'000'000);
  const own_folder folder;
  const std::array parameters_of_model{1, 2, 3};
  std::ofstream("model.bin", std::ios::binary)
      .write(reinterpret_cast<const char*>(parameters_of_model.data()), sizeof parameters_of_model);
  // clang-format off
auto model = virtine::lent_memory::of_file("model.bin").value();
long parameters = sum(model);
  // clang-format on
  CHECK(parameters == 6);
}

#ifdef VIRTINE_GUIDE_RUST
TEST_CASE("a guest in Rust", "[guide]") {
  const std::array values{1, 2, 3};
  virtine::virtine_fn<std::int64_t(std::span<const int>), guests::rust_sum> sum;
  CHECK(sum(values) == 6);
}
#endif

namespace {

using listing = std::size_t(int, std::span<char>);

// clang-format off
std::string squares_below(int end, const virtine::function<listing>& squares) {
  std::string out(64, '\0');
  std::size_t size = squares(end, out);
  if (size > 32 << 10) throw std::length_error("more squares than anybody wants");
  if (size > out.size()) {
    out.resize(size);
    size = squares(end, out);   // The same again: it has the same state and arguments.
  }
  out.resize(std::min(size, out.size()));
  return out;
}
// clang-format on

}  // namespace

TEST_CASE("results of any size, in each language", "[guide]") {
  const auto check = [](const virtine::function<listing>& squares) {
    CHECK(squares_below(0, squares).empty());
    CHECK(squares_below(4, squares) == "0\n1\n4\n9\n");
    std::string exact(66, '\0');
    CHECK(squares(20, exact) == exact.size());
    CHECK(exact.ends_with("324\n361\n"));
    const std::string many = squares_below(1000, squares);
    CHECK(many.ends_with("996004\n998001\n"));
    CHECK_THROWS_AS(squares_below(10'000, squares), std::length_error);
  };
  check(virtine::virtine_fn<listing, guests::listing::squares>{});
  check(virtine::virtine_fn<listing, guests::listing::squares_in_c>{});
#ifdef VIRTINE_GUIDE_RUST
  using bytes_listing = std::size_t(std::int32_t, std::span<std::uint8_t>);
  const virtine::virtine_fn<bytes_listing, guests::rust_listing> squares;
  std::vector<std::uint8_t> out(8);
  CHECK(squares(4, out) == 8);
  CHECK(std::string(out.begin(), out.end()) == "0\n1\n4\n9\n");
  CHECK(squares(5, out) == 11);
#endif
}

TEST_CASE("pools, calls that nobody waits for, and limits", "[guide]") {
  const auto policy = virtine::policy{};
  // clang-format off
virtine::pool<guests::math> pool{{.max = 16}};
virtine::virtine_fn<int(int), guests::math::fib, decltype(policy)> fib{pool, policy};
  // clang-format on
  CHECK(fib(10) == 55);

  // clang-format off
std::map<std::string, virtine::function<int(int)>, std::less<>> functions;
functions.insert({"fib", fib});
int thirteen = functions.at("fib")(7);
  // clang-format on
  CHECK(thirteen == 13);

  try {
    // clang-format off
virtine::pending<int> later = fib.with({.timeout = 50ms}).async(20);
// ...
int n = later.get();  // or try_get(), ready(), wait(), cancel()
    // clang-format on
    CHECK(n == 6765);
  } catch (const virtine::failure& why) {
    CHECK(why.error().code == virtine::errc::timed_out);
  }

  // clang-format off
virtine::call_usage used;
fib.with({.usage = &used})(20);
double microseconds = std::chrono::duration<double, std::micro>(used.guest_cpu).count();
std::cout << used.exits << " exits, " << used.pages_written << " pages, " << microseconds << " us\n";
  // clang-format on
  CHECK(used.exits >= 1);
  CHECK(microseconds > 0);

  // clang-format off
std::string text = virtine::to_prometheus(std::array{virtine::named_stats{"fib", fib.pool().stats()}});
  // clang-format on
  CHECK(text.find("virtine_pool_machines{pool=\"fib\"} ") != std::string::npos);

  const std::stop_source source;
  const std::stop_token token = source.get_token();
  // clang-format off
auto r = fib.with({.timeout = 50ms, .stop = token, .hypercalls = 100}).try_call(40);
  // clang-format on
  CHECK(is_or_too_late(r, 102334155));
}

namespace {
// clang-format off
volatile std::sig_atomic_t interrupted = 0;

void on_signal(int) {
  interrupted = 1;
  virtine::ask_stop_if();  // Ends a call that was just about to enter its guest, too.
}

bool is_interrupted() {
  return interrupted != 0;
}
// clang-format on
}  // namespace

TEST_CASE("a flag that a signal handler sets ends a call", "[guide]") {
  virtine::virtine_fn<int(int), guests::math::fib> fib;
  on_signal(0);
  // clang-format off
auto r = fib.with({.stop_if = is_interrupted}).try_call(40);  // Else errc::cancelled.
  // clang-format on
  REQUIRE_FALSE(r);
  CHECK(r.error().code == virtine::errc::cancelled);
  interrupted = 0;
}

TEST_CASE("what an initialiser left is saved and loaded", "[guide]") {
  const own_folder here;
  const std::string file = "snapshot";
  int logged = 0;
  const auto log = [&](const std::string&) { ++logged; };
  for (int time = 0; time < 2; ++time) {
    // clang-format off
auto loaded = virtine::load_snapshot<guests::sieve>(file);
if (!loaded) {                                                // then the initialiser runs,
  log(to_string(loaded.error()));                               // and what it leaves can be
  auto saved = virtine::save_snapshot<guests::sieve>(file);   // saved for the next process
  if (!saved) log(to_string(saved.error()));
}
    // clang-format on
    CHECK(fs::exists(file));
    virtine::virtine_fn<bool(std::uint16_t), guests::sieve::is_prime> is_prime;
    CHECK(is_prime(65521));
    CHECK_FALSE(is_prime(65523));
  }
  CHECK(logged == 1);
}

TEST_CASE("many calls", "[guide]") {
  const std::vector<order> orders{{.quantity = 1000, .price = 1000}, {.quantity = 1, .price = 1}};
  std::vector<bool> used;
  const auto use = [&](const virtine::result<bool>& reply) { used.push_back(reply.value()); };
  // clang-format off
virtine::virtine_fn<bool(order), guests::predicate> is_large;

for (const auto& reply : is_large.each(orders)) use(reply);   // std::vector<virtine::result<bool>>
auto selected = is_large.together(orders);                    // virtine::result<std::vector<bool>>

virtine::session waiting(is_large);                           // its calls share one machine
bool large = waiting(orders.front());
  // clang-format on
  CHECK(used == std::vector{true, false});
  CHECK(selected.value() == used);
  CHECK(large);
}

TEST_CASE("hypercalls under a policy", "[guide]") {
  const std::vector<int> table(100, 7);
  // clang-format off
auto policy = virtine::policy{
    virtine::allow<log_line>([](virtine::tainted<std::string_view> text) {
      std::cout << text.verify(virtine::at_most<256>).value_or("(too long)") << '\n';
    }),
    virtine::allow<lookup>([&](virtine::tainted<std::uint32_t> key) -> virtine::answer<int> {
      auto index = key.verify(virtine::between<0u, 99u>);
      if (!index) return virtine::reject{};  // ends the call: errc::hypercall_rejected
      return table[*index];
    })};
  // clang-format on
  virtine::virtine_fn<int(std::uint32_t), guests::asker::poll_debugger, decltype(policy)>
      poll_debugger{policy};
  CHECK(poll_debugger(99) == 7);
  const auto rejected = poll_debugger.try_call(100);
  REQUIRE_FALSE(rejected);
  CHECK(rejected.error().code == virtine::errc::hypercall_rejected);
}

TEST_CASE("a policy of POSIX grants", "[guide]") {
  const own_folder here;
  fs::create_directory("files");
  std::ofstream("files/word") << "word";
  const std::string folder = "files";
  const virtine::os::fd opened(::open("files/word", O_RDONLY | O_CLOEXEC));
  const int fd = opened.get();
  std::string heard;
  const auto handler = [&](virtine::tainted<std::string_view> line) {
    heard = line.verify(virtine::at_most<256>).value();
  };
  // clang-format off
namespace posix = virtine::posix;

std::string text;
virtine::policy policy{
    virtine::allow<log_line>(handler),
    posix::output(text, 64 << 10),                               // stdout and stderr; or a callable
    posix::directory<"/data">(folder, posix::read_only),         // or posix::read_write
    posix::descriptor<3>(fd, posix::read_only),                  // stays the caller's
    posix::clock(), virtine::allow_entropy(),
    posix::arguments({"tool", "-v"}), posix::environment({"LANG=C"}),
    posix::others_fail_with_enosys()};                           // else they end the call
  // clang-format on
  virtine::virtine_fn<int(), guests::asker::count_grants, decltype(policy)> count_grants{policy};
  CHECK(count_grants() == 6);
  CHECK(text == "found 6");
  CHECK(heard == "hello");
}

TEST_CASE("grants that come from configuration", "[guide]") {
  namespace posix = virtine::posix;
  const own_folder here;
  fs::create_directory("files");
  std::ofstream("files/word") << "word";
  const std::string folder = "files";
  const std::string out = ".";
  const virtine::os::fd opened(::open("files/word", O_RDONLY | O_CLOEXEC));
  const int fd = opened.get();
  // clang-format off
std::vector<posix::directory_entry> wanted{{"/data", folder}};  // read_only if nothing is said
wanted.push_back({"/data/out", out, posix::read_write, 1 << 20});
auto configured = virtine::try_policy(posix::directories(wanted), posix::descriptors({{3, fd}}));
  // clang-format on
  REQUIRE(configured);
  CHECK(to_string(*configured).starts_with("directory /data: files, read only\n"));
}

TEST_CASE("a machine by hand", "[guide]") {
  auto machine =
      virtine::bare_machine::create({.mode = virtine::x86::cpu_mode::real16, .memory = 64 << 10})
          .value();
  constexpr std::array code{std::byte{0x40}, std::byte{0xf4}};  // inc ax; hlt
  machine->load(virtine::guest_address{0x8000}, code).value();
  kvm_regs registers{};
  registers.rip = 0x8000;
  registers.rax = 41;
  registers.rflags = virtine::x86::initial_rflags;
  machine->set_registers(registers).value();
  virtine::kvm::exit exit = machine->run().value();  // virtine::kvm::hlt_exit
  auto answer = machine->registers().value().rax;    // 42
  machine->reset().value();                          // all as it was before run()

  CHECK(std::holds_alternative<virtine::kvm::hlt_exit>(exit));
  CHECK(answer == 42);
  CHECK(machine->registers().value().rax == 0);
}

TEST_CASE("a debugger attaches to calls", "[guide]") {
  const own_folder here;
  virtine::virtine_fn<int(int, int), guests::asker::divide> divide;
  auto calls = std::async(std::launch::async, [&] {
    // clang-format off
auto three = virtine::gdb::debug(divide, {.socket = "divide.sock"})(6, 2);
auto why = virtine::gdb::debug(divide, {.socket = "fault.sock",
                                        .when = virtine::gdb::attach::at_fault}).try_call(1, 0);
    // clang-format on
    return std::pair(three, std::move(why));
  });
  {
    auto client = gdb_client::debugger::connect("divide.sock", calls);
    CHECK(client.ask("?") == "T05");
    CHECK(client.ask("c") == "W00");
  }
  {
    auto client = gdb_client::debugger::connect("fault.sock", calls);
    CHECK(client.ask("?") == "T08");
    CHECK(client.ask("C08") == "X09");
  }
  const auto [three, why] = calls.get();
  CHECK(three == 3);
  REQUIRE_FALSE(why);
  CHECK(why.error().code == virtine::errc::guest_fault);
}
