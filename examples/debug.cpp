// Has gdb look into a call at its fault. Usually a person types these commands in another terminal;
// here the program starts gdb itself.
// Run: build/examples/debug build/examples/images/guests/kept/divide.elf
// SPDX-License-Identifier: MIT
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <stop_token>
#include <string>
#include <thread>

#include <unistd.h>
#include <guests/divide.hpp>
#include <virtine/gdb.hpp>
#include <virtine/virtine.hpp>

namespace {

namespace gdb = virtine::gdb;

// Waits until the call has opened its socket, and has gdb say where the guest is.
void look(const std::stop_token& ended, const std::string& elf, const std::string& socket) {
  while (!std::filesystem::exists(socket)) {
    if (ended.stop_requested()) return;
    std::this_thread::yield();
  }
  const std::string command = "gdb -nx -batch -ex 'target remote " + socket +
                              "' -ex 'backtrace 2' -ex 'print heads' -ex continue " + elf +
                              " 2>/dev/null";
  if (std::system(command.c_str()) != 0) std::printf("gdb failed\n");
}

int run(const std::string& elf) {
  virtine::virtine_fn<int(int, int), guests::divide> divide;
  const std::string socket = "/tmp/virtine-debug-" + std::to_string(getpid());

  std::jthread debugger([&](const std::stop_token& ended) { look(ended, elf, socket); });
  const auto each =
      gdb::debug(divide, {.socket = socket, .when = gdb::attach::at_fault}).try_call(7, 0);
  debugger.request_stop();
  debugger.join();

  // `continue` from a fault ends the call with it, as it would have without a debugger.
  std::printf("%s\n", each ? "divided by zero!" : virtine::to_string(each.error()).c_str());
  return !each && each.error().code == virtine::errc::no_kvm ? 77 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::printf("usage: debug divide.elf\n");
    return 2;
  }
  if (std::system("gdb --version >/dev/null 2>&1") != 0) {
    std::printf("skipped: gdb is not installed\n");
    return 77;
  }
  return run(argv[1]);
}

// Output:
// 0x... in share (total=7, heads=0) at ...divide.cpp:6
// 6	  return total / heads;
// #0  0x... in share (total=7, heads=0) at ...divide.cpp:6
// #1  0x... in divide (total=7, heads=0) at ...divide.cpp:10
// $1 = 0
//
// Program terminated with signal SIGKILL, Killed.
// The program no longer exists.
// guest_fault: divide error at ... in share(int, int)... (...divide.cpp:6)
