// Images as functions of the language virtine_image: their body is the image file in Base64. So
// owners, rights, dependencies and dumps are those of functions.
// SPDX-License-Identifier: MIT
#ifndef VIRTINE_PG_IMAGES_H
#define VIRTINE_PG_IMAGES_H

#include "postgres.h"

#include "access/htup.h"
#include "virtine/c/virtine.h"

// Returns the function that is the image `name`, which has to be "schema.image"; InvalidOid if
// there is none. An error if `user` may not use the schema.
extern Oid virtine_find_image(const char *name, Oid user);

// Loads the image of the function whose row of pg_proc this is, within the limits of the settings.
// An error if `user` may not execute the function.
extern virtine_image *virtine_load_image(HeapTuple function, Oid user);

#endif
