// A static-file server that answers each request in a virtine of its own.
// Run: build/examples/http/http-server DIRECTORY
// SPDX-License-Identifier: MIT

#include <guests/http.hpp>
#include <virtine/virtine.hpp>

#include "directory.hpp"
#include "handlers.hpp"
#include "program.hpp"

int main(int argc, char** argv) {
  return http::run_program(argc, argv, [](const http::program_options& given) {
    const http::directory files(given.directory);
    virtine::pool<guests::http> pool{{.max = given.threads, .warm = given.threads}};
    pool.warm_up(given.threads).value();
    http::serve(given, [&] { return http::isolated<guests::http>(pool, files); });
  });
}
