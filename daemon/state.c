#include "daemon/state.h"

#include <errno.h>
#include <string.h>

#include "base/io.h"
#include "base/own.h"
#include "protocol/errors.h"

#define FIELD(name, type, need, doc)        RPC_DESCRIBE(name, type, need, NULL, doc)
#define FIELD_OR(name, type, default_, doc) RPC_DESCRIBE(name, type, OPTIONAL, default_, doc)
#define TYPE(id, doc, fields)     \
	RPC_FIELDS_OF(id, fields) \
	const struct rpc_object id##_object = { #id, doc, id##_fields, sizeof(struct id) };
#include "daemon/state.def"

enum { FILE_MAX = 64 * 1024 * 1024 };

int state_load(int dir, const char *name, const struct rpc_object *o, void *to, struct arena *mem,
	       json_object **json, struct err *e)
{
	struct rpc_input in = { .mem = mem, .what = name, .lenient = true };
	autofree char *text = NULL;
	size_t len;
	int r = file_read_at(dir, name, FILE_MAX, &text, &len, e);

	memset(to, 0, o->size);
	*json = NULL;
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	*json = json_tokener_parse(text);
	r = *json ? rpc_parse(o, *json, to, &in, e)
		  : err_set(e, -EINVAL, "%s is damaged: it is not JSON", name);
	if (r < 0) {
		json_object_put(*json);
		*json = NULL;
	}
	return r;
}

typedef int replace_fn(int dir, const char *name, const void *data, size_t len, struct err *e);

static int save(int dir, const char *name, json_object *v, replace_fn *replace, struct err *e)
{
	size_t len;
	const char *text = json_object_to_json_string_length(
	    v, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE,
	    &len);
	int r = text ? replace(dir, name, text, len, e) : err_nomem(e);

	if (r == -ENOSPC || r == -EDQUOT)
		err_kind(e, "state.full");
	return r;
}

int state_save_json(int dir, const char *name, json_object *v, struct err *e)
{
	return save(dir, name, v, file_replace_at, e);
}

static int save_struct(int dir, const char *name, const struct rpc_object *o, const void *from,
		       replace_fn *replace, struct err *e)
{
	json_object *v = rpc_build(o, from, NULL, NULL);
	int r = v ? save(dir, name, v, replace, e) : err_nomem(e);

	json_object_put(v);
	return r;
}

int state_save(int dir, const char *name, const struct rpc_object *o, const void *from,
	       struct err *e)
{
	return save_struct(dir, name, o, from, file_replace_at, e);
}

int state_save_run(int dir, const char *name, const struct rpc_object *o, const void *from,
		   struct err *e)
{
	return save_struct(dir, name, o, from, file_replace_unsynced_at, e);
}
