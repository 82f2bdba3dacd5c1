/* report.c - errors for people: what, why, hint, next; for programs one JSON object. */
#include <stdio.h>
#include <string.h>

#include "client/ctl.h"
#include "protocol/errors.h"

static void print_tail(json_object *data)
{
	json_object *tail;

	if (!json_object_object_get_ex(data, "console_tail", &tail) ||
	    !json_object_array_length(tail))
		return;
	fprintf(stderr, "  console, the last lines:\n");
	for (size_t i = 0; i < json_object_array_length(tail); i++)
		fprintf(stderr, "  | %s\n",
			json_object_get_string(json_object_array_get_idx(tail, i)));
}

static const char *data_string(json_object *data, const char *key)
{
	json_object *v;

	return json_object_object_get_ex(data, key, &v) && json_object_is_type(v, json_type_string)
		   ? json_object_get_string(v)
		   : NULL;
}

/* "cannot start 'web': REASON" under "cannot start web" would say it twice. */
static const char *reason_of(const struct err *e)
{
	static const char start[] = "cannot start '";
	const char *colon = strncmp(e->msg, start, strlen(start)) ? NULL : strstr(e->msg, "': ");

	return colon ? colon + 3 : e->msg;
}

int ctl_report(const struct ctl *c, const char *what, const struct err *e, json_object *data)
{
	const struct rpc_error_kind *kind = e->kind ? rpc_error_kind_find(e->kind) : NULL;
	const char *hint = e->hint[0] ? e->hint : data_string(data, "hint");
	const char *next = data_string(data, "next"), *phase = data_string(data, "phase");

	if (c->json) {
		json_object *o = json_object_new_object(),
			    *more = data ? json_object_get(data) : NULL;

		json_object_object_add(o, "error", rpc_error_build(e, more));
		fprintf(stderr, "%s\n",
			json_object_to_json_string_ext(o, JSON_C_TO_STRING_NOSLASHESCAPE));
		json_object_put(o);
		return rpc_error_exit_code(e);
	}
	if (!hint && kind)
		hint = kind->hint;
	if (what)
		fprintf(stderr, "vmctl: cannot %s\n  why:   %s\n", what, reason_of(e));
	else
		fprintf(stderr, "vmctl: %s\n", e->msg);
	if (phase)
		fprintf(stderr, "  phase: %s\n", phase);
	if (hint)
		fprintf(stderr, "  hint:  %s\n", hint);
	if (next)
		fprintf(stderr, "  next:  %s\n", next);
	print_tail(data);
	return rpc_error_exit_code(e);
}
