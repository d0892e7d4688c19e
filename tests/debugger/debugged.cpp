// Makes one call under a debugger and prints how it ended: debugged SOCKET|:PORT entry|fault|none
// LENGTH
// SPDX-License-Identifier: MIT
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include <guests/chain.hpp>
#include <virtine/gdb.hpp>
#include <virtine/virtine.hpp>

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  if (auto system = virtine::kvm::system::open(); !system) {
    std::printf("skipped: %s\n", virtine::to_string(system.error()).c_str());
    return 77;
  }
  virtine::virtine_fn<int(int), guests::chain> chain;
  const std::string_view when = argv[2];
  const int length = std::atoi(argv[3]);
  virtine::gdb::options how{.when = when == "fault" ? virtine::gdb::attach::at_fault
                                                    : virtine::gdb::attach::at_entry};
  if (argv[1][0] == ':') {
    how.port = static_cast<std::uint16_t>(std::atoi(argv[1] + 1));
  } else {
    how.socket = argv[1];
  }
  const auto weight =
      when == "none" ? chain.try_call(length) : virtine::gdb::debug(chain, how).try_call(length);
  if (weight) {
    std::printf("weight %d\n", *weight);
  } else {
    std::printf("%s\n", virtine::to_string(weight.error()).c_str());
  }
  return 0;
}
