// A static-file server that answers each request, or each connection, in a virtine of its own.
// Run: build/examples/http/http-server DIRECTORY
// SPDX-License-Identifier: MIT

#include <guests/http.hpp>

#include "isolated_server.hpp"
#include "program.hpp"

int main(int argc, char** argv) {
  return http::run_program(argc, argv, http::serve_isolated<guests::http>, true);
}
