// SPDX-License-Identifier: MIT
#include "signature.h"

#include "miscadmin.h"

typedef struct Reader {
  const char *at;
  bool good;
} Reader;

static bool skip(Reader *reader, char c) {
  if (*reader->at != c) return false;
  ++reader->at;
  return true;
}

static void expect(Reader *reader, char c) {
  if (!skip(reader, c)) reader->good = false;
}

static uint32 read_number(Reader *reader) {
  uint64 out = 0;

  if (*reader->at < '0' || *reader->at > '9') reader->good = false;
  while (*reader->at >= '0' && *reader->at <= '9' && out <= PG_UINT32_MAX) {
    out = out * 10 + (uint64) (*reader->at++ - '0');
  }
  if (out > PG_UINT32_MAX) reader->good = false;
  return (uint32) out;
}

static GuestType read_type(Reader *reader);

static GuestType one_part(GuestKind kind, GuestType part) {
  GuestType out = {.kind = kind, .count = 1};

  out.parts = palloc(sizeof(GuestType));
  out.parts[0] = part;
  return out;
}

static GuestType read_tuple(Reader *reader) {
  GuestType out = {.kind = GUEST_TUPLE};
  int room = 4;

  if (*reader->at == '|') {
    // A variant, which SQL has nothing for; its parts are read to come to its end.
    out.kind = GUEST_OTHER;
    while (reader->good && skip(reader, '|')) read_type(reader);
    expect(reader, '>');
    return out;
  }
  out.parts = palloc(room * sizeof(GuestType));
  if (skip(reader, '>')) return out;
  do {
    if (out.count == room) {
      room *= 2;
      out.parts = repalloc(out.parts, room * sizeof(GuestType));
    }
    out.parts[out.count++] = read_type(reader);
  } while (reader->good && skip(reader, ','));
  expect(reader, '>');
  return out;
}

static GuestType read_type(Reader *reader) {
  const char c = *reader->at;
  GuestType out = {.kind = GUEST_OTHER};

  check_stack_depth();
  if (c >= '0' && c <= '9') {
    // An array of composite types.
    read_number(reader);
    expect(reader, '*');
    if (reader->good) read_type(reader);
    return out;
  }
  if (c != '\0') ++reader->at;
  switch (c) {
    case 'v':
      out.kind = GUEST_VOID;
      break;
    case 'b':
      out.kind = GUEST_BOOL;
      out.size = 1;
      break;
    case 'e':
      return read_type(reader);
    case 'i':
    case 'u':
      out.kind = GUEST_INT;
      out.is_signed = c == 'i';
      out.size = read_number(reader);
      break;
    case 'f':
      out.size = read_number(reader);
      if (out.size <= sizeof(double)) out.kind = GUEST_FLOAT;
      break;
    case 's':
      out.kind = GUEST_TEXT;
      break;
    case '[': {
      const bool is_output = skip(reader, '=');

      out = one_part(GUEST_SPAN, read_type(reader));
      out.is_output = is_output;
      expect(reader, ']');
      break;
    }
    case 'y':
      out.kind = GUEST_BYTES;
      out.size = read_number(reader);
      break;
    case 'o':
      return one_part(GUEST_OPTIONAL, read_type(reader));
    case '<':
      return read_tuple(reader);
    case '{':
      out.kind = GUEST_OBJECT;
      out.size = read_number(reader);
      expect(reader, '.');
      out.alignment = read_number(reader);
      expect(reader, '}');
      break;
    default:
      reader->good = false;
  }
  return out;
}

bool virtine_read_signature(const char *text, GuestSignature *signature) {
  Reader reader = {text, true};
  int room = 8;

  signature->count = 0;
  signature->parameters = palloc(room * sizeof(GuestType));
  signature->result = read_type(&reader);
  expect(&reader, '(');
  if (!skip(&reader, ')')) {
    do {
      if (signature->count == room) {
        room *= 2;
        signature->parameters = repalloc(signature->parameters, room * sizeof(GuestType));
      }
      signature->parameters[signature->count++] = read_type(&reader);
    } while (reader.good && skip(&reader, ','));
    expect(&reader, ')');
  }
  return reader.good && *reader.at == '\0';
}
