/* table.h - tables and lines for people, from the same fields that programs get as JSON. */
#ifndef CLIENT_TABLE_H
#define CLIENT_TABLE_H

#include <json-c/json.h>

#include "protocol/schema.h"

/*
 * A table of a list's objects. columns: names of fields, NULL-ended; NULL: those that any of the
 * objects has. Full width and no decoration when standard output is no terminal.
 */
void table_print(const struct rpc_object *o, json_object *list, const char *const *columns);

/* "name: value" lines of an object. */
void lines_print(const struct rpc_object *o, json_object *v, int indent);

/* A value as people read it: sizes, durations, words. Returns malloced text. */
char *value_text(const struct rpc_field *f, json_object *v);

#endif
