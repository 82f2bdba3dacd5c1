/*
 * schema.h - what the .def tables turn into: descriptions of structs, and the one piece of code
 * that moves values between those structs and JSON. Used by all programs, on any thread: the
 * descriptions are constant.
 *
 * How a type is written in a table, kept in C, and said in JSON:
 *
 *	STRING      const char *        string without NUL inside
 *	BOOL        bool                boolean
 *	UINT        uint64_t            integer, or "0x..." where all 64 bits are used
 *	INT         int64_t             integer
 *	SIZE        uint64_t, bytes     integer, or a string such as "20G"; integer in answers
 *	DURATION    int64_t, ns         seconds, or a string such as "30s", "500ms"; seconds in
 *answers ENUM(id)    enum id             one of the words of types.def FD          int, -1 if
 *absent   {"fd": N}, the Nth descriptor that came with the message FILE        struct rpc_file a
 *path, {"fd": N}, or {"fd": N, "path": "what to call it"} OBJECT(id)  struct id           object of
 *types.def LIST(id)    struct id_list      array of such objects STRINGS     struct rpc_strings
 *array of strings JSON        json_object *       anything
 *
 * Strings and JSON in a parsed struct are borrowed from the message; lists live in the arena.
 */
#ifndef PROTOCOL_SCHEMA_H
#define PROTOCOL_SCHEMA_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "protocol/arena.h"

enum rpc_type {
	RPC_STRING,
	RPC_BOOL,
	RPC_UINT,
	RPC_INT,
	RPC_SIZE,
	RPC_DURATION,
	RPC_ENUM,
	RPC_FD,
	RPC_FILE,
	RPC_OBJECT,
	RPC_LIST,
	RPC_STRINGS,
	RPC_JSON,
	RPC_TYPES
};

/*
 * ARGUMENT may be absent, and is positional all the same in vmctl; REQUIRED always is. WHOLE is the
 * only field of a result, and stands for the result itself.
 */
enum rpc_need { RPC_OPTIONAL, RPC_ARGUMENT, RPC_REQUIRED, RPC_WHOLE };

struct rpc_file {
	const char *path; /* NULL when only a descriptor was given */
	int fd;           /* -1 when only a path was given; owned by whoever owns the message */
};

struct rpc_strings {
	const char **v;
	size_t n;
};

struct rpc_value {
	const char *name, *doc;
};

struct rpc_enum {
	const char *name, *doc;
	const struct rpc_value *values; /* the enum's value is the index */
	unsigned n;
};

struct rpc_field {
	const char *name, *doc;
	enum rpc_type type;
	enum rpc_need need;
	const char *absent; /* JSON text of the default, or NULL */
	size_t off, has_off;
	const struct rpc_enum *values;   /* of an ENUM */
	const struct rpc_object *object; /* of an OBJECT or LIST */
};

struct rpc_object {
	const char *name, *doc;
	const struct rpc_field *(*fields)(void); /* ends with a NULL name */
	size_t size;
};

/* What goes with a message that is parsed. path and did_you_mean are set when it fails. */
struct rpc_input {
	struct arena *mem;
	const int *fds;
	size_t n_fds;
	const char *what; /* names the whole in sentences: "vm.start" */
	bool lenient;     /* skip unknown keys: for answers and events, which may grow */
	char path[96];    /* of the wrong value: "disks[1].format" */
	char did_you_mean[64];
};

/*
 * Fill *to from an object (NULL counts as an empty one). null is the same as absent. Unknown keys,
 * missing ones and wrong types fail with kind "rpc.params".
 */
int rpc_parse(const struct rpc_object *o, json_object *from, void *to, struct rpc_input *in,
	      struct err *e);

/*
 * The reverse; the caller owns the result, NULL is out of memory. Optional fields are left out
 * unless their has_ flag is set (strings and JSON: unless they are not NULL). Descriptors are
 * appended to fds as they are met, at most *n_fds of them, and *n_fds becomes their number.
 */
json_object *rpc_build(const struct rpc_object *o, const void *from, int *fds, size_t *n_fds);

/* The same with every default filled in: what is in force. */
json_object *rpc_build_all(const struct rpc_object *o, const void *from);

/* A value as people write it on a command line, to JSON by the field's type. The caller owns it. */
int rpc_from_text(const struct rpc_field *f, const char *text, json_object **ret, struct err *e);

const char *rpc_type_name(enum rpc_type type); /* "size", "duration" ... for sentences */
const char *rpc_enum_name(const struct rpc_enum *en, unsigned value); /* "?" out of range */
int rpc_enum_value(const struct rpc_enum *en, const char *name);      /* -1 when there is none */
/* Lists of any struct, as they lie in a parsed or filled struct. */
size_t rpc_list_n(const void *list);
const void *rpc_list_at(const struct rpc_object *o, const void *list, size_t i);

const struct rpc_field *rpc_field_find(const struct rpc_object *o, const char *name);

/* "30s", "500ms", "2m", "1h", "1.5" (seconds) to nanoseconds; false when it is none of that. */
bool duration_parse(const char *s, int64_t *ret);

/* JSON Schema of an object, for rpc.discover and the manual. The caller owns it. */
json_object *rpc_schema(const struct rpc_object *o);
json_object *rpc_field_schema(const struct rpc_field *f);

#endif
