// SQL's types beside a guest's: whether one can stand for the other, and values from one to the
// other. Knows nothing of how guests are called.
// SPDX-License-Identifier: MIT
#ifndef VIRTINE_PG_VALUES_H
#define VIRTINE_PG_VALUES_H

#include "postgres.h"

#include "access/tupdesc.h"
#include "virtine/c/virtine.h"

#include "signature.h"

typedef enum SqlKind {
  SQL_VOID,
  SQL_BOOL,
  SQL_INT,
  SQL_FLOAT,
  SQL_TEXT,
  SQL_BYTEA,
  SQL_ARRAY,  // of numbers: columns[0]
  SQL_ROW
} SqlKind;

typedef struct SqlType {
  SqlKind kind;
  Oid type;
  int16 size;         // of a number
  bool is_domain;     // of results: the domain's constraints are checked
  TupleDesc row;      // of a row
  uint64 version;     // of a composite type: another one once that was altered
  int count;          // of its columns; of an array, 1
  struct SqlType *columns;
} SqlType;

// Tells what a type is, into the current memory context; an error if it is one that guests are not
// given. `row` is the shape of a row whose type is RECORD.
extern SqlType virtine_sql_type(Oid type, TupleDesc row, bool is_result);

// Returns whether a type is what virtine_sql_type() found: a composite type can be altered.
extern bool virtine_is_current(const SqlType *sql);

// Checks that values of `sql` can become values of `guest`, or for a result the other way round; an
// error that names `what` if not. `can_be_null` demands a place for NULL.
extern void virtine_check_argument(const SqlType *sql, const GuestType *guest, bool can_be_null,
                                   const char *what);
extern void virtine_check_result(const SqlType *sql, const GuestType *guest);
// The same for what a function writes into a span: a text or array, or, of a set, its rows.
extern void virtine_check_elements(const SqlType *sql, const GuestType *element, bool is_set);

// Returns the value of an argument; it refers to memory of the current context.
extern virtine_value virtine_to_guest(Datum datum, bool is_null, const SqlType *sql,
                                      const GuestType *guest, int number);
// Returns the datum of a result.
extern Datum virtine_from_guest(const virtine_value *value, const SqlType *sql,
                                const GuestType *guest, bool *is_null);
// Checks a result whose type is a domain.
extern void virtine_check_domain(Datum datum, bool is_null, const SqlType *sql);
// Returns the text, bytea or array of so many bytes of elements.
extern Datum virtine_from_elements(const char *bytes, Size size, const SqlType *sql);
// Sets the columns of a row of a set, or the one value of it, from the bytes of an element, and
// checks those that are of domains.
extern void virtine_from_element(const char *bytes, const SqlType *sql, Datum *values, bool *nulls);

#endif
