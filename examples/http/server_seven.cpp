// The same server with a guest that makes the seven hypercalls of the virtines paper, to compare
// with.
// SPDX-License-Identifier: MIT
#include <guests/http_seven.hpp>
#include <virtine/virtine.hpp>

#include "directory.hpp"
#include "program.hpp"
#include "seven_handlers.hpp"

int main(int argc, char** argv) {
  return http::run_program(argc, argv, [](const http::program_options& given) {
    const http::directory files(given.directory);
    virtine::pool<guests::http_seven> pool{{.max = given.threads, .warm = given.threads}};
    pool.warm_up(given.threads).value();
    http::serve(given, [&] { return http::isolated_with_seven<guests::http_seven>(pool, files); });
  });
}
