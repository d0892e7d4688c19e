// What runs once before the snapshot of an image: its C library starts, the constructors of its
// static objects run, then the initialiser that it names. Linked into images that have any.
// Must not know what they do.
// SPDX-License-Identifier: MIT

using step = void (*)();

extern "C" {
// The linker script puts the constructors between these, in the order in which they are to run.
extern const step virtine_constructors_begin[];
extern const step virtine_constructors_end[];

[[gnu::weak]] void virtine_start_libc();
[[gnu::weak]] void virtine_warm_heap();
[[gnu::weak]] void virtine_pieces_begin();
[[gnu::weak]] void virtine_initialiser();
[[gnu::weak]] void virtine_gather_output();
[[gnu::weak]] void virtine_drop_output();
[[gnu::weak]] void virtine_ask_for_environment();

void virtine_init() {
  if (virtine_start_libc != nullptr) virtine_start_libc();
  if (virtine_warm_heap != nullptr) virtine_warm_heap();
  if (virtine_gather_output != nullptr) virtine_gather_output();
  if (virtine_pieces_begin != nullptr) virtine_pieces_begin();
  for (const step* each = virtine_constructors_begin; each != virtine_constructors_end; ++each) {
    (*each)();
  }
  if (virtine_initialiser != nullptr) virtine_initialiser();
  // Otherwise every call would begin with it.
  if (virtine_drop_output != nullptr) virtine_drop_output();
  if (virtine_ask_for_environment != nullptr) virtine_ask_for_environment();
}
}
