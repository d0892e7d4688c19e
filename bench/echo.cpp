// When an echo comes to its milestones, as the virtines paper has them: the guest runs, has
// received, has sent. In bare protected mode after booting, and as an ordinary guest; on a machine
// that was used before, and on a new one.
// SPDX-License-Identifier: MIT
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>

#include <guests/echo.hpp>
#include <guests/echo32.hpp>
#include <virtine/virtine.hpp>

#include "echoing.hpp"
#include "floor_exit.hpp"
#include "harness.hpp"

namespace {

// A connection whose client has sent something, and gets it back.
class conversation {
 public:
  conversation() {
    int ends[2];
    bench::check(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "socketpair");
    client_ = virtine::os::fd(ends[0]);
    server_ = virtine::os::fd(ends[1]);
  }

  template <class Echoer>
  echo::milestones operator()(Echoer& echo) const {
    constexpr std::string_view text = "hello, virtine";
    bench::check(::write(client_.get(), text.data(), text.size()) == std::ssize(text), "write");
    const echo::milestones made = echo(server_.get());
    std::array<char, 64> got;
    const auto size = ::read(client_.get(), got.data(), got.size());
    bench::check(size == std::ssize(text) && std::string_view(got.data(), text.size()) == text,
                 "an echo");
    return made;
  }

 private:
  virtine::os::fd client_;
  virtine::os::fd server_;
};

template <class Image>
void measure(bench::program& program, const std::string& name) {
  const bench::floor_exit exit;
  const conversation talk;
  virtine::pool<Image> pool;
  echo::echoer<Image> echo(pool);
  bench::group warm;
  warm.floor(name + ".floor", [&] { exit(); });
  warm.row(name + ".entry", [&] { return talk(echo).entry; });
  warm.row(name + ".received", [&] { return talk(echo).received; });
  warm.row(name + ".sent", [&] { return talk(echo).sent; });
  program.measure(std::move(warm));

  bench::group cold({.samples = 300, .burst = 1});
  cold.floor(name + ".cold.floor", [] { bench::floor_exit{}(); });
  // The call makes the machine, so the milestones count that too.
  const auto on_new_machine = [&] {
    virtine::pool<Image> once;
    echo::echoer<Image> fresh(once);
    return talk(fresh);
  };
  cold.row(name + ".cold.entry", [&] { return on_new_machine().entry; });
  cold.row(name + ".cold.received", [&] { return on_new_machine().received; });
  cold.row(name + ".cold.sent", [&] { return on_new_machine().sent; });
  program.measure(std::move(cold));
}

}  // namespace

int main(int argc, char** argv) {
  bench::require_kvm();
  bench::program program("echo", argc, argv);
  measure<guests::echo32>(program, "echo.bare");
  measure<guests::echo>(program, "echo.user");
  return program.finish();
}
