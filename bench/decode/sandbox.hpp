// The decoder as WebAssembly that wasm2c has made C of, called as RLBox calls libraries: the file
// is copied into the sandbox, the rows are copied out of it.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "codec.hpp"
#include "decode_wasm.h"

/// What the module calls with: whose memory its pieces are in, and where the rows go.
struct Z_host_instance_t {
  Z_decode_instance_t* module = nullptr;
  decoder::sink* to = nullptr;
};

/// What the C library calls with.
struct Z_wasi_snapshot_preview1_instance_t {
  Z_decode_instance_t* module = nullptr;
};

namespace wasm {

/// An instance of the module, with a memory of its own.
class sandbox {
 public:
  sandbox();
  sandbox(const sandbox&) = delete;
  sandbox& operator=(const sandbox&) = delete;
  ~sandbox();

  /// Decodes a file; whatever the module does wrong counts as `damaged`, and is its last call.
  decoder::outcome decode(std::span<const std::byte> file, decoder::sink& to);

 private:
  Z_decode_instance_t module_{};
  Z_host_instance_t host_{};
  Z_wasi_snapshot_preview1_instance_t wasi_{};
};

}  // namespace wasm
