#include "protocol/errors.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

#define ERROR(kind, code, exit_code, wire, hint) { kind, code, exit_code, wire, hint },
static const struct rpc_error_kind kinds[] = {
#include "protocol/errors.def"
};

size_t rpc_error_kinds(const struct rpc_error_kind **ret)
{
	*ret = kinds;
	return ARRAY_SIZE(kinds);
}

const struct rpc_error_kind *rpc_error_kind_find(const char *kind)
{
	for (size_t i = 0; kind && i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(kinds[i].kind, kind))
			return &kinds[i];
	return NULL;
}

static const struct rpc_error_kind *kind_or_failed(const char *kind)
{
	const struct rpc_error_kind *k = rpc_error_kind_find(kind);

	return k ? k : rpc_error_kind_find("failed");
}

int rpc_error(struct err *e, const char *kind, const char *fmt, ...)
{
	const struct rpc_error_kind *k = kind_or_failed(kind);
	char msg[sizeof(e->msg)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	err_set(e, -k->code, "%s", msg);
	err_kind(e, k->kind);
	return -k->code;
}

/* Paths may hold any bytes; JSON may not. */
static json_object *text(const char *s)
{
	char clean[sizeof(((struct err *)0)->msg)];
	size_t n = 0;

	while (s[n] && n < sizeof(clean) - 1) {
		unsigned char c = (unsigned char)s[n];

		clean[n++] = (c < ' ' || c == 0x7f) ? ' ' : (char)c;
	}
	clean[n] = 0;
	return json_object_new_string(clean);
}

json_object *rpc_error_build(const struct err *e, json_object *more)
{
	const struct rpc_error_kind *k = kind_or_failed(e->kind);
	json_object *o = json_object_new_object();
	json_object *data = more ? more : json_object_new_object();

	json_object_object_add(o, "code", json_object_new_int(k->wire ? k->wire : -e->code));
	json_object_object_add(o, "message", text(e->msg));
	json_object_object_add(data, "kind", json_object_new_string(k->kind));
	json_object_object_add(data, "hint", text(e->hint[0] ? e->hint : k->hint));
	json_object_object_add(o, "data", data);
	return o;
}

static const char *member(json_object *o, const char *name)
{
	json_object *v;

	return json_object_object_get_ex(o, name, &v) && json_object_is_type(v, json_type_string)
		   ? json_object_get_string(v)
		   : NULL;
}

int rpc_error_read(json_object *error, struct err *e)
{
	json_object *data = NULL, *v;
	const char *kind, *hint, *msg = member(error, "message");
	const struct rpc_error_kind *k;
	int code = EIO;

	json_object_object_get_ex(error, "data", &data);
	kind = member(data, "kind");
	hint = member(data, "hint");
	k = kind_or_failed(kind);
	if (json_object_object_get_ex(error, "code", &v))
		code = json_object_get_int(v);
	if (code <= 0 || code > 4095)
		code = k->code;
	err_set(e, -code, "%s", msg ? msg : "the call failed");
	err_kind(e, k->kind);
	if (hint)
		err_hint(e, "%s", hint);
	return -code;
}

int rpc_error_exit_code(const struct err *e)
{
	return kind_or_failed(e->kind)->exit_code;
}
