// What runs once before the snapshot of an image: the constructors of its static objects, then the
// initialiser that it names. Linked into images that have either.
// Must not know what they do.
// SPDX-License-Identifier: MIT

using step = void (*)();

extern "C" {
// The linker script puts the constructors between these, in the order in which they are to run.
extern const step virtine_constructors_begin[];
extern const step virtine_constructors_end[];

[[gnu::weak]] void virtine_initialiser();

void virtine_init() {
  for (const step* each = virtine_constructors_begin; each != virtine_constructors_end; ++each) {
    (*each)();
  }
  if (virtine_initialiser != nullptr) virtine_initialiser();
}
}
