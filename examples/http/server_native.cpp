// The same server WITHOUT isolation, for nothing but to compare with.
// SPDX-License-Identifier: MIT
#include "directory.hpp"
#include "native.hpp"
#include "program.hpp"

int main(int argc, char** argv) {
  return http::run_program(argc, argv, [](const http::program_options& given) {
    const http::directory files(given.directory);
    http::serve(given, [&] { return http::not_isolated(files); });
  });
}
