/* errors.h - struct err on the wire, by the rows of errors.def. Any thread. */
#ifndef PROTOCOL_ERRORS_H
#define PROTOCOL_ERRORS_H

#include <json-c/json.h>
#include <stddef.h>

#include "base/err.h"

struct rpc_error_kind {
	const char *kind;
	int code;      /* positive errno */
	int exit_code; /* of vmctl */
	int wire;      /* JSON-RPC's own code, or 0 for the errno */
	const char *hint;
};

size_t rpc_error_kinds(const struct rpc_error_kind **ret);

/* NULL when there is no such kind. */
const struct rpc_error_kind *rpc_error_kind_find(const char *kind);

/* Set an error by its kind, with the kind's errno. Returns the negative errno. */
int rpc_error(struct err *e, const char *kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * {"code", "message", "data": {"kind", "hint", ...}}. more: further members of data, taken; may be
 * NULL. An error without a kind is "failed". The caller owns the result.
 */
json_object *rpc_error_build(const struct err *e, json_object *more);

/* The reverse. A kind that this version does not know becomes "failed". Returns the code. */
int rpc_error_read(json_object *error, struct err *e);

/* What vmctl exits with. */
int rpc_error_exit_code(const struct err *e);

#endif
