// The server with a bug in its guest, for the tests to exploit. Says where they want to get to.
// SPDX-License-Identifier: MIT
#include <cstdio>
#include <string_view>

#include <guests/http_planted.hpp>
#include <virtine/virtine.hpp>

#include "../isolated_server.hpp"
#include "../program.hpp"

int main(int argc, char** argv) {
  const auto run = [](const http::program_options& given) {
    for (const virtine::symbol& each : guests::http_planted::description.symbols) {
      if (std::string_view(each.name) != "attack") continue;
      std::printf("attack is at %llx\n", static_cast<unsigned long long>(each.address));
    }
    http::serve_isolated<guests::http_planted>(given);
  };
  return http::run_program(argc, argv, run, true);
}
