// A server whose guests have a machine for each request, or for each connection.
// Must not know what requests and replies look like.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>

#include <virtine/virtine.hpp>

#include "directory.hpp"
#include "handlers.hpp"
#include "program.hpp"

namespace http {

/// The most connections of a thread that have a machine each, which takes a thread and half a MiB.
inline constexpr std::size_t most_machines = 64;

/// Serves as serve() does. `Image` is what answer_fn wants.
template <class Image>
void serve_isolated(program_options given) {
  const directory files(given.directory);
  if (given.isolates == isolation::by_request) {
    virtine::pool<Image> pool{{.max = given.threads, .warm = given.threads}};
    pool.warm_up(given.threads).value();
    serve(given, [&] { return isolated<Image>(pool, files); });
    return;
  }
  given.loop.connections = std::min(given.loop.connections, most_machines);
  virtine::pool<Image> pool{{.max = given.threads * given.loop.connections}};
  pool.warm_up(given.threads).value();
  serve(given, [&] { return isolated_by_connection<Image>(pool, files); });
}

}  // namespace http
