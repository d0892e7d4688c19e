// SPDX-License-Identifier: MIT
#include "images.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/proclang.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "guest_call.h"

PG_FUNCTION_INFO_V1(virtine_image_call);
PG_FUNCTION_INFO_V1(virtine_image_validator);

Oid virtine_find_image(const char *name, Oid user) {
  List *const names = stringToQualifiedNameList(name);
  oidvector *const nothing = buildoidvector(NULL, 0);
  HeapTuple tuple;
  Form_pg_proc form;
  bool is_image;
  Oid schema, found;

  // What it is must not depend on who calls, nor on the empty search_path of a restore.
  if (list_length(names) != 2) {
    ereport(ERROR,
            errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
            errmsg("the name of an image has to have its schema: \"%s\"", name));
  }
  schema = get_namespace_oid(strVal(linitial(names)), true);
  if (!OidIsValid(schema)) return InvalidOid;
  if (pg_namespace_aclcheck(schema, user, ACL_USAGE) != ACLCHECK_OK) {
    aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_SCHEMA, strVal(linitial(names)));
  }
  tuple = SearchSysCache3(PROCNAMEARGSNSP, CStringGetDatum(strVal(lsecond(names))),
                          PointerGetDatum(nothing), ObjectIdGetDatum(schema));
  if (!HeapTupleIsValid(tuple)) return InvalidOid;
  form = (Form_pg_proc) GETSTRUCT(tuple);
  found = form->oid;
  is_image = form->prolang == get_language_oid("virtine_image", false);
  ReleaseSysCache(tuple);
  if (!is_image) {
    ereport(ERROR,
            errcode(ERRCODE_WRONG_OBJECT_TYPE),
            errmsg("%s is a function, but not of the language virtine_image", name));
  }
  return found;
}

virtine_image *virtine_load_image(HeapTuple function, Oid user) {
  const Form_pg_proc form = (Form_pg_proc) GETSTRUCT(function);
  const virtine_load_options limits = virtine_limits_of_images();
  virtine_error error = VIRTINE_ERROR_INIT;
  virtine_image *image = NULL;
  bool is_null;
  Datum body;
  bytea *bytes;

  if (pg_proc_aclcheck(form->oid, user, ACL_EXECUTE) != ACLCHECK_OK) {
    aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FUNCTION, NameStr(form->proname));
  }
  body = SysCacheGetAttr(PROCOID, function, Anum_pg_proc_prosrc, &is_null);
  if (is_null) elog(ERROR, "image %u has no body", form->oid);
  bytes = DatumGetByteaPP(DirectFunctionCall2(binary_decode, body, CStringGetTextDatum("base64")));
  if (virtine_load_bytes(VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes), &limits, &image, &error)) {
    virtine_report(&error, NameStr(form->proname));
  }
  pfree(bytes);
  return image;
}

Datum virtine_image_call(PG_FUNCTION_ARGS) {
  ereport(ERROR,
          errcode(ERRCODE_WRONG_OBJECT_TYPE),
          errmsg("an image cannot be called"),
          errhint("Make functions of the language virtine of it: AS 'schema.image export'."));
  PG_RETURN_VOID();
}

Datum virtine_image_validator(PG_FUNCTION_ARGS) {
  const Oid oid = PG_GETARG_OID(0);
  HeapTuple tuple;
  Form_pg_proc form;

  if (!CheckFunctionValidatorAccess(fcinfo->flinfo->fn_oid, oid)) PG_RETURN_VOID();
  tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(oid));
  if (!HeapTupleIsValid(tuple)) elog(ERROR, "cache lookup failed for function %u", oid);
  form = (Form_pg_proc) GETSTRUCT(tuple);
  if (form->pronargs != 0 || form->prorettype != VOIDOID || form->proretset) {
    ereport(ERROR,
            errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
            errmsg("an image takes nothing and returns void"));
  }
  if (check_function_bodies) virtine_image_free(virtine_load_image(tuple, form->proowner));
  ReleaseSysCache(tuple);
  PG_RETURN_VOID();
}
