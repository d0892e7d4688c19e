// SPDX-License-Identifier: MIT
#include "sandbox.hpp"

#include <algorithm>
#include <cstring>
#include <optional>

#include <wasm-rt-impl.h>

namespace {

/// Returns a piece of the module's memory, or nothing if it is not all there.
std::optional<std::span<std::byte>> piece(const wasm_rt_memory_t& memory, std::uint32_t at,
                                          std::uint32_t size) {
  // Sound: the memory is `memory.size` bytes long, and std::byte may alias any object.
  const std::span all(reinterpret_cast<std::byte*>(memory.data), memory.size);
  if (at > all.size() || size > all.size() - at) return std::nullopt;
  return all.subspan(at, size);
}

void init_once() {
  static const bool done = [] {
    wasm_rt_init();
    Z_decode_init_module();
    return true;
  }();
  static_cast<void>(done);
}

constexpr std::uint32_t not_supported = 52;  // WASI's ENOSYS.

}  // namespace

extern "C" {

std::uint32_t Z_hostZ_begin(Z_host_instance_t* host, std::uint32_t width, std::uint32_t height) {
  return host->to->begin(width, height) ? 1 : 0;
}

void Z_hostZ_rows(Z_host_instance_t* host, std::uint32_t at, std::uint32_t size) {
  const auto pixels = piece(host->module->w2c_memory, at, size);
  if (!pixels) wasm_rt_trap(WASM_RT_TRAP_OOB);
  host->to->rows(*pixels);
}

// The C library's imports: an environment that is empty, and no files.
std::uint32_t Z_wasi_snapshot_preview1Z_environ_sizes_get(Z_wasi_snapshot_preview1_instance_t* wasi,
                                                          std::uint32_t count, std::uint32_t size) {
  for (const std::uint32_t at : {count, size}) {
    const auto to = piece(wasi->module->w2c_memory, at, sizeof(std::uint32_t));
    if (!to) wasm_rt_trap(WASM_RT_TRAP_OOB);
    std::ranges::fill(*to, std::byte{0});
  }
  return 0;
}
std::uint32_t Z_wasi_snapshot_preview1Z_environ_get(Z_wasi_snapshot_preview1_instance_t*,
                                                    std::uint32_t, std::uint32_t) {
  return 0;
}
std::uint32_t Z_wasi_snapshot_preview1Z_fd_close(Z_wasi_snapshot_preview1_instance_t*,
                                                 std::uint32_t) {
  return not_supported;
}
std::uint32_t Z_wasi_snapshot_preview1Z_fd_seek(Z_wasi_snapshot_preview1_instance_t*, std::uint32_t,
                                                std::uint64_t, std::uint32_t, std::uint32_t) {
  return not_supported;
}
std::uint32_t Z_wasi_snapshot_preview1Z_fd_write(Z_wasi_snapshot_preview1_instance_t*,
                                                 std::uint32_t, std::uint32_t, std::uint32_t,
                                                 std::uint32_t) {
  return not_supported;
}
void Z_wasi_snapshot_preview1Z_proc_exit(Z_wasi_snapshot_preview1_instance_t*, std::uint32_t) {
  wasm_rt_trap(WASM_RT_TRAP_UNREACHABLE);
}

}  // extern "C"

namespace wasm {

sandbox::sandbox() {
  init_once();
  host_.module = &module_;
  wasi_.module = &module_;
  Z_decode_instantiate(&module_, &host_, &wasi_);
  Z_decodeZ__initialize(&module_);
}

sandbox::~sandbox() {
  Z_decode_free(&module_);
}

decoder::outcome sandbox::decode(std::span<const std::byte> file, decoder::sink& to) {
  host_.to = &to;
  // A trap comes back here. Nothing between this and the module has a destructor.
  if (wasm_rt_impl_try() != WASM_RT_TRAP_NONE) return decoder::outcome::damaged;
  const auto size = static_cast<std::uint32_t>(file.size());
  const std::uint32_t at = Z_decodeZ_take(&module_, size);
  const auto room = piece(module_.w2c_memory, at, size);
  if (at == 0 || !room) return decoder::outcome::no_memory;
  std::memcpy(room->data(), file.data(), file.size());
  const auto came_to = static_cast<decoder::outcome>(Z_decodeZ_decode(&module_, at, size));
  Z_decodeZ_give_back(&module_, at);
  return came_to;
}

}  // namespace wasm
