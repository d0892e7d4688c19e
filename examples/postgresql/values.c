// SPDX-License-Identifier: MIT
#include "values.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

static SqlType number(SqlKind kind, Oid type, int16 size) {
  SqlType out = {.kind = kind, .type = type, .size = size};

  return out;
}

static SqlType row_type(Oid type, TupleDesc row, bool is_result) {
  SqlType out = {.kind = SQL_ROW, .type = type};
  int i;

  out.row = CreateTupleDescCopy(row);
  out.row->tdtypeid = row->tdtypeid;
  out.row->tdtypmod = row->tdtypmod;
  if (is_result) BlessTupleDesc(out.row);
  out.count = row->natts;
  out.columns = palloc(Max(out.count, 1) * sizeof(SqlType));
  for (i = 0; i < out.count; ++i) {
    const Form_pg_attribute column = TupleDescAttr(row, i);

    if (column->attisdropped || column->atttypmod != -1) {
      ereport(ERROR,
              errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
              errmsg("column %d of type %s was dropped or has a modifier, which virtines do not take",
                     i + 1, format_type_be(type)));
    }
    out.columns[i] = virtine_sql_type(column->atttypid, NULL, is_result);
    if (out.columns[i].kind == SQL_ROW || out.columns[i].kind == SQL_VOID) {
      ereport(ERROR,
              errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
              errmsg("virtines do not take rows within rows"));
    }
  }
  return out;
}

SqlType virtine_sql_type(Oid type, TupleDesc row, bool is_result) {
  const Oid base = getBaseType(type);
  const bool is_domain = base != type;
  Oid element;
  SqlType out;

  switch (base) {
    case VOIDOID:
      return number(SQL_VOID, type, 0);
    case BOOLOID:
      out = number(SQL_BOOL, base, 1);
      break;
    case INT2OID:
      out = number(SQL_INT, base, 2);
      break;
    case INT4OID:
      out = number(SQL_INT, base, 4);
      break;
    case INT8OID:
      out = number(SQL_INT, base, 8);
      break;
    case FLOAT4OID:
      out = number(SQL_FLOAT, base, 4);
      break;
    case FLOAT8OID:
      out = number(SQL_FLOAT, base, 8);
      break;
    case TEXTOID:
    case VARCHAROID:
      out = number(SQL_TEXT, base, 0);
      break;
    case BYTEAOID:
      out = number(SQL_BYTEA, base, 0);
      break;
    default:
      element = get_element_type(base);
      if (element == INT2OID || element == INT4OID || element == INT8OID || element == FLOAT4OID ||
          element == FLOAT8OID) {
        out = number(SQL_ARRAY, base, 0);
        out.count = 1;
        out.columns = palloc(sizeof(SqlType));
        out.columns[0] = virtine_sql_type(element, NULL, false);
        break;
      }
      if (base == RECORDOID && row != NULL) return row_type(base, row, is_result);
      if (get_typtype(base) == TYPTYPE_COMPOSITE) {
        const uint64 version = assign_record_type_identifier(base, -1);
        TupleDesc found = lookup_rowtype_tupdesc(base, -1);

        out = row_type(base, found, is_result);
        out.version = version;
        ReleaseTupleDesc(found);
        break;
      }
      ereport(ERROR,
              errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
              errmsg("virtines do not take the type %s", format_type_be(type)),
              errhint("They take smallint, integer, bigint, real, double precision, boolean, text, "
                      "bytea, arrays of numbers, and rows of these."));
  }
  if (is_domain && is_result) {
    out.is_domain = true;
    out.type = type;
  }
  return out;
}

bool virtine_is_current(const SqlType *sql) {
  return sql->version == 0 ||
         assign_record_type_identifier(getBaseType(sql->type), -1) == sql->version;
}

static bool same_number(const SqlType *sql, const GuestType *guest) {
  return sql->size == (int) guest->size &&
         ((sql->kind == SQL_INT && guest->kind == GUEST_INT && guest->is_signed) ||
          (sql->kind == SQL_FLOAT && guest->kind == GUEST_FLOAT));
}

static bool is_byte(const GuestType *guest) {
  return guest->kind == GUEST_INT && guest->size == 1;
}

// Where a struct of C with these members, in this order, has its members; false if one of them has
// no fixed place.
static bool place_columns(const SqlType *row, uint32 *places, uint32 *size, uint32 *alignment) {
  int i;

  *size = 0;
  *alignment = 1;
  for (i = 0; i < row->count; ++i) {
    const uint32 room = (uint32) row->columns[i].size;

    if (room == 0) return false;
    *size = TYPEALIGN(room, *size);
    places[i] = *size;
    *size += room;
    *alignment = Max(*alignment, room);
  }
  *size = TYPEALIGN(*alignment, *size);
  return true;
}

// The same of a row whose columns are known to have one.
static uint32 place_fixed(const SqlType *row, uint32 *places) {
  uint32 size, alignment;

  if (!place_columns(row, places, &size, &alignment)) {
    elog(ERROR, "a column of %s has no fixed place", format_type_be(row->type));
  }
  return size;
}

// Before a member of the union is read: of a value of another kind it would be what a guest wrote,
// taken for a pointer or a length of the server's.
static void require_kind(const virtine_value *value, virtine_kind kind) {
  if (value->kind != (uint32) kind) {
    elog(ERROR, "a virtine's result is of kind %u where it must be %u", value->kind, (uint32) kind);
  }
}

static bool is_struct_of(const SqlType *row, const GuestType *guest) {
  uint32 places[MaxTupleAttributeNumber], size, alignment;

  return guest->kind == GUEST_OBJECT && place_columns(row, places, &size, &alignment) &&
         size == guest->size && alignment == guest->alignment;
}

static bool fits(const SqlType *sql, const GuestType *guest, bool is_result);

static bool parts_fit(const SqlType *row, const GuestType *guest, bool is_result) {
  int i;

  if (guest->kind != GUEST_TUPLE || guest->count != row->count) return false;
  for (i = 0; i < row->count; ++i) {
    if (!fits(&row->columns[i], &guest->parts[i], is_result)) return false;
  }
  return true;
}

static bool fits(const SqlType *sql, const GuestType *guest, bool is_result) {
  // SQL has one kind of NULL, so that an optional in an optional is nothing that it could have.
  if (guest->kind == GUEST_OPTIONAL) {
    return guest->parts[0].kind != GUEST_OPTIONAL && fits(sql, &guest->parts[0], is_result);
  }
  switch (sql->kind) {
    case SQL_VOID:
      return guest->kind == GUEST_VOID;
    case SQL_BOOL:
      return guest->kind == GUEST_BOOL;
    case SQL_INT:
      return guest->kind == GUEST_INT;
    case SQL_FLOAT:
      return guest->kind == GUEST_FLOAT;
    case SQL_TEXT:
    case SQL_BYTEA:
      return guest->kind == GUEST_BYTES ||
             (!is_result && (guest->kind == GUEST_TEXT ||
                             (guest->kind == GUEST_SPAN && is_byte(&guest->parts[0]))));
    case SQL_ARRAY:
      if (guest->kind == GUEST_OBJECT) {
        return guest->alignment == (uint32) sql->columns[0].size &&
               guest->size % guest->alignment == 0;
      }
      return !is_result && guest->kind == GUEST_SPAN &&
             same_number(&sql->columns[0], &guest->parts[0]);
    case SQL_ROW:
      return parts_fit(sql, guest, is_result) || is_struct_of(sql, guest);
  }
  return false;
}

void virtine_check_argument(const SqlType *sql, const GuestType *guest, bool can_be_null,
                            const char *what) {
  if (!fits(sql, guest, false) || guest->is_output) {
    ereport(ERROR,
            errcode(ERRCODE_DATATYPE_MISMATCH),
            errmsg("%s is of type %s, which the function of the image does not take there", what,
                   format_type_be(sql->type)));
  }
  if (can_be_null && guest->kind != GUEST_OPTIONAL) {
    ereport(ERROR,
            errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
            errmsg("%s can be NULL, and the function of the image has no place for that", what),
            errhint("Declare the function STRICT, or take a std::optional."));
  }
}

void virtine_check_result(const SqlType *sql, const GuestType *guest) {
  if (!fits(sql, guest, true)) {
    ereport(ERROR,
            errcode(ERRCODE_DATATYPE_MISMATCH),
            errmsg("the function of the image does not return %s", format_type_be(sql->type)));
  }
}

void virtine_check_elements(const SqlType *sql, const GuestType *element, bool is_set) {
  bool good;

  if (is_set) {
    good = sql->kind == SQL_ROW ? is_struct_of(sql, element) : same_number(sql, element);
  } else if (sql->kind == SQL_ARRAY) {
    good = same_number(&sql->columns[0], element);
  } else {
    good = (sql->kind == SQL_TEXT || sql->kind == SQL_BYTEA) && is_byte(element);
  }
  if (!good) {
    ereport(ERROR,
            errcode(ERRCODE_DATATYPE_MISMATCH),
            errmsg("what the function of the image writes is not %s%s", is_set ? "a set of " : "",
                   format_type_be(sql->type)));
  }
}

static void write_column(char *to, Datum datum, const SqlType *sql) {
  if (sql->kind == SQL_BOOL) {
    *to = DatumGetBool(datum) ? 1 : 0;
  } else {
    store_att_byval(to, datum, sql->size);
  }
}

static virtine_value row_to_guest(Datum datum, const SqlType *sql, const GuestType *guest,
                                  int argument) {
  const HeapTupleHeader header = DatumGetHeapTupleHeader(datum);
  HeapTupleData tuple = {.t_len = HeapTupleHeaderGetDatumLength(header), .t_data = header};
  Datum *values = palloc(sql->count * sizeof(Datum));
  bool *nulls = palloc(sql->count * sizeof(bool));
  int i;

  // The row may be older than a change of its type.
  if (HeapTupleHeaderGetNatts(header) > sql->count) {
    ereport(ERROR,
            errcode(ERRCODE_DATATYPE_MISMATCH),
            errmsg("the type of argument %d has more columns than the image's function knows",
                   argument));
  }
  ItemPointerSetInvalid(&tuple.t_self);
  heap_deform_tuple(&tuple, sql->row, values, nulls);
  if (guest->kind == GUEST_TUPLE) {
    virtine_value *const parts = palloc(Max(sql->count, 1) * sizeof(virtine_value));

    for (i = 0; i < sql->count; ++i) {
      parts[i] =
          virtine_to_guest(values[i], nulls[i], &sql->columns[i], &guest->parts[i], argument);
    }
    return virtine_of_list(parts, (size_t) sql->count);
  } else {
    uint32 places[MaxTupleAttributeNumber];
    const uint32 size = place_fixed(sql, places);
    char *const bytes = palloc0(size);

    for (i = 0; i < sql->count; ++i) {
      if (nulls[i]) {
        ereport(ERROR,
                errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                errmsg("column %d of argument %d is NULL, which a struct has no place for", i + 1,
                       argument));
      }
      write_column(bytes + places[i], values[i], &sql->columns[i]);
    }
    return virtine_of_bytes(bytes, size);
  }
}

virtine_value virtine_to_guest(Datum datum, bool is_null, const SqlType *sql,
                               const GuestType *guest, int argument) {
  virtine_value none = VIRTINE_VALUE_INIT;

  if (guest->kind == GUEST_OPTIONAL) {
    if (is_null) return none;
    guest = &guest->parts[0];
  }
  if (is_null) {
    ereport(ERROR,
            errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
            errmsg("argument %d is NULL, or has a NULL in it, which its virtine does not take",
                   argument));
  }
  switch (sql->kind) {
    case SQL_VOID:
      break;
    case SQL_BOOL:
      return virtine_of_bool(DatumGetBool(datum));
    case SQL_INT:
      return virtine_of_int(sql->size == 2   ? DatumGetInt16(datum)
                            : sql->size == 4 ? DatumGetInt32(datum)
                                             : DatumGetInt64(datum));
    case SQL_FLOAT:
      return virtine_of_double(sql->size == 4 ? (double) DatumGetFloat4(datum)
                                              : DatumGetFloat8(datum));
    case SQL_TEXT:
    case SQL_BYTEA: {
      const struct varlena *const bytes = PG_DETOAST_DATUM_PACKED(datum);

      return virtine_of_bytes(VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
    }
    case SQL_ARRAY: {
      ArrayType *const array = DatumGetArrayTypeP(datum);
      const int count = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));

      if (array_contains_nulls(array)) {
        ereport(ERROR,
                errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                errmsg("argument %d is an array with a NULL, which its virtine does not take",
                       argument));
      }
      return virtine_of_bytes(ARR_DATA_PTR(array), (size_t) count * sql->columns[0].size);
    }
    case SQL_ROW:
      return row_to_guest(datum, sql, guest, argument);
  }
  return none;
}

static Datum int_from_guest(const virtine_value *value, const SqlType *sql) {
  const bool too_large = value->kind == VIRTINE_UINT && value->as.natural > PG_INT64_MAX;
  const int64 given = value->as.integer;

  if (too_large || (sql->size == 2 && given != (int16) given) ||
      (sql->size == 4 && given != (int32) given)) {
    ereport(ERROR,
            errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
            errmsg("what the virtine returned is out of the range of type %s",
                   format_type_be(sql->type)));
  }
  return sql->size == 2   ? Int16GetDatum((int16) given)
         : sql->size == 4 ? Int32GetDatum((int32) given)
                          : Int64GetDatum(given);
}

// The number or bool that lies at `from`.
static Datum read_column(const char *from, const SqlType *sql) {
  // A guest can write anything where a bool is.
  if (sql->kind == SQL_BOOL) return BoolGetDatum(*from != 0);
  switch (sql->size) {
    case 2: {
      int16 number;

      memcpy(&number, from, sizeof number);
      return Int16GetDatum(number);
    }
    case 4: {
      // A float4 is passed as the int4 of the same bits.
      int32 number;

      memcpy(&number, from, sizeof number);
      return Int32GetDatum(number);
    }
    default: {
      int64 number;

      memcpy(&number, from, sizeof number);
      return Int64GetDatum(number);
    }
  }
}

Datum virtine_from_elements(const char *bytes, Size size, const SqlType *sql) {
  if (sql->kind == SQL_ARRAY) {
    const SqlType *const element = &sql->columns[0];
    const Size count = size / element->size;
    Datum *const values = palloc(Max(count, 1) * sizeof(Datum));
    Size i;

    for (i = 0; i < count; ++i) values[i] = read_column(bytes + i * element->size, element);
    return PointerGetDatum(construct_array(values, (int) count, element->type, element->size,
                                           element->size < 8 || FLOAT8PASSBYVAL,
                                           element->size == 2   ? TYPALIGN_SHORT
                                           : element->size == 4 ? TYPALIGN_INT
                                                                : TYPALIGN_DOUBLE));
  }
  // It could be no text of this database.
  if (sql->kind == SQL_TEXT) pg_verify_mbstr(GetDatabaseEncoding(), bytes, (int) size, false);
  return PointerGetDatum(cstring_to_text_with_len(bytes, (int) size));
}

void virtine_check_domain(Datum datum, bool is_null, const SqlType *sql) {
  if (sql->is_domain) domain_check(datum, is_null, sql->type, NULL, NULL);
}

void virtine_from_element(const char *bytes, const SqlType *sql, Datum *values, bool *nulls) {
  if (sql->kind == SQL_ROW) {
    uint32 places[MaxTupleAttributeNumber];
    int i;

    place_fixed(sql, places);
    for (i = 0; i < sql->count; ++i) {
      values[i] = read_column(bytes + places[i], &sql->columns[i]);
      nulls[i] = false;
      virtine_check_domain(values[i], false, &sql->columns[i]);
    }
  } else {
    values[0] = read_column(bytes, sql);
    nulls[0] = false;
    virtine_check_domain(values[0], false, sql);
  }
}

static Datum row_from_guest(const virtine_value *value, const SqlType *sql,
                            const GuestType *guest) {
  Datum *const values = palloc(Max(sql->count, 1) * sizeof(Datum));
  bool *const nulls = palloc(Max(sql->count, 1) * sizeof(bool));
  int i;

  if (guest->kind == GUEST_OBJECT) {
    uint32 places[MaxTupleAttributeNumber];

    require_kind(value, VIRTINE_BYTES);
    if (value->as.bytes.size != place_fixed(sql, places)) {
      elog(ERROR, "a virtine's result is of %zu bytes, and is no %s", value->as.bytes.size,
           format_type_be(sql->type));
    }
    virtine_from_element(value->as.bytes.data, sql, values, nulls);
  } else {
    require_kind(value, VIRTINE_LIST);
    if (guest->kind != GUEST_TUPLE || value->as.list.count != (size_t) sql->count) {
      elog(ERROR, "a virtine's result has %zu parts, and is no %s", value->as.list.count,
           format_type_be(sql->type));
    }
    for (i = 0; i < sql->count; ++i) {
      values[i] = virtine_from_guest(&value->as.list.items[i], &sql->columns[i], &guest->parts[i],
                                     &nulls[i]);
    }
  }
  return HeapTupleGetDatum(heap_form_tuple(sql->row, values, nulls));
}

static Datum unchecked_from_guest(const virtine_value *value, const SqlType *sql,
                                  const GuestType *guest) {
  switch (sql->kind) {
    case SQL_VOID:
      break;
    case SQL_BOOL:
      require_kind(value, VIRTINE_BOOL);
      return BoolGetDatum(value->as.boolean != 0);
    case SQL_INT:
      if (value->kind != VIRTINE_INT) require_kind(value, VIRTINE_UINT);
      return int_from_guest(value, sql);
    case SQL_FLOAT:
      require_kind(value, VIRTINE_DOUBLE);
      return sql->size == 4 ? Float4GetDatum((float4) value->as.floating)
                            : Float8GetDatum(value->as.floating);
    case SQL_TEXT:
    case SQL_BYTEA:
    case SQL_ARRAY:
      require_kind(value, VIRTINE_BYTES);
      return virtine_from_elements(value->as.bytes.data, value->as.bytes.size, sql);
    case SQL_ROW:
      return row_from_guest(value, sql, guest);
  }
  return (Datum) 0;
}

Datum virtine_from_guest(const virtine_value *value, const SqlType *sql, const GuestType *guest,
                         bool *is_null) {
  Datum out = (Datum) 0;

  *is_null = value->kind == VIRTINE_NONE && sql->kind != SQL_VOID;
  if (guest->kind == GUEST_OPTIONAL) guest = &guest->parts[0];
  if (!*is_null) out = unchecked_from_guest(value, sql, guest);
  virtine_check_domain(out, *is_null, sql);
  return out;
}
