/* What vcc writes into a program about its marked functions, and libvirtine_c reads. C99 and C++.
 * vcc puts the text below the next line into what it compiles, on one line; a change of it needs a
 * new virtine_c_version.
 * SPDX-License-Identifier: MIT */
enum { virtine_c_version = 2 };

/* Of each of `size` bytes from `offset` on, the bits `keep` are values, the others padding. */
struct virtine_c_pad {
  unsigned offset, size, keep;
};

/* A number of 1 to 8 bytes that may be `least` to `most` only: a bool, an enum. */
struct virtine_c_value {
  unsigned offset, size;
  long long least, most;
};

struct virtine_c_type {
  unsigned long size, alignment;
  const struct virtine_c_pad *pads;
  unsigned long pad_count;
  const struct virtine_c_value *values;
  unsigned long value_count;
};

/* The image of one compilation: an image file. One that was made when the program was linked has no
   size here: in front of it are 16 bytes, the first 8 its size. */
struct virtine_c_image {
  unsigned long version;
  const char *bytes;
  unsigned long size;
  void *state; /* the runtime's, at first NULL */
};

struct virtine_c_function {
  const char *name, *file; /* as the user wrote them */
  unsigned line;
  unsigned entry;  /* the number of its export, fN */
  unsigned grants; /* 1 output, 2 clock, 4 entropy, 8 all that the program can do */
  unsigned result; /* where the result is in the frame */
  unsigned long long timeout; /* milliseconds, 0: none */
  struct virtine_c_image *image;
  struct virtine_c_type frame; /* its pads are those of the arguments, its values the result's */
};

/* What an argument points to. Its address in the guest goes to `slot` of the frame. */
struct virtine_c_ref {
  const char *name;
  void *host;
  const struct virtine_c_type *type;
  const long long *counts; /* of elements, one for each dimension; of a text none */
  unsigned count_count;
  unsigned slot;
  unsigned kind; /* 1 elements in, 2 elements in and out, 3 text */
};

void virtine_c_call(const struct virtine_c_function *function, void *frame,
                    const struct virtine_c_ref *refs, unsigned long count);
