// The types of a guest's function, as the image says them. Knows nothing of SQL.
// SPDX-License-Identifier: MIT
#ifndef VIRTINE_PG_SIGNATURE_H
#define VIRTINE_PG_SIGNATURE_H

#include "postgres.h"

typedef enum GuestKind {
  GUEST_VOID,
  GUEST_BOOL,
  GUEST_INT,    // signed or not, and enums
  GUEST_FLOAT,
  GUEST_TEXT,   // std::string_view
  GUEST_SPAN,   // parts[0] are its elements
  GUEST_BYTES,  // virtine::bytes<size>
  GUEST_TUPLE,
  GUEST_OPTIONAL,  // of parts[0]
  GUEST_OBJECT,    // a struct or array, as bytes
  GUEST_OTHER      // what no SQL type stands for
} GuestKind;

typedef struct GuestType {
  GuestKind kind;
  bool is_signed;
  bool is_output;    // of a span
  uint32 size;       // of a number or object; the most that bytes hold
  uint32 alignment;  // of an object
  int count;         // of parts
  struct GuestType *parts;
} GuestType;

typedef struct GuestSignature {
  GuestType result;
  int count;
  GuestType *parameters;
} GuestSignature;

// Reads a signature as docs/guest-abi.md has it, into the current memory context. Returns false if
// it is none. The text may be anything, since images come from users.
extern bool virtine_read_signature(const char *text, GuestSignature *signature);

#endif
