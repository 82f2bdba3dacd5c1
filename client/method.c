/*
 * method.c - any method of methods.def as a command: its parameters from words, its answer as a
 * table, as lines or as JSON.
 */
#include "client/method.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "client/ctl.h"
#include "client/table.h"
#include "client/words.h"
#include "protocol/errors.h"

static const char *const vm_columns[] = { "id",     "name",  "state", "machine", "cpus",
					  "memory", "accel", "pid",   "uptime",  NULL };

static const struct rpc_field *only_list(const struct rpc_object *o)
{
	const struct rpc_field *f = o->fields();

	return f[0].name && f[0].type == RPC_LIST && !f[1].name ? f : NULL;
}

/* "web: running", or "web: no change (running)". */
static bool print_change(json_object *params, json_object *result)
{
	json_object *vm, *state, *changed;
	bool same;

	if (!json_object_object_get_ex(params, "vm", &vm) ||
	    !json_object_object_get_ex(result, "changed", &changed))
		return false;
	same = !json_object_get_boolean(changed);
	if (json_object_object_get_ex(result, "state", &state))
		printf("%s: %s%s\n", json_object_get_string(vm), json_object_get_string(state),
		       same ? " (no change)" : "");
	else
		printf("%s: %s\n", json_object_get_string(vm), same ? "no change" : "done");
	return true;
}

void ctl_print_json(json_object *v)
{
	printf("%s\n",
	       json_object_to_json_string_ext(v, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
						     JSON_C_TO_STRING_NOSLASHESCAPE));
}

void ctl_print_result(const struct ctl *c, const struct rpc_method *m, json_object *params,
		      json_object *result)
{
	const struct rpc_field *list = only_list(&m->reply);
	json_object *v = result;

	if (list)
		json_object_object_get_ex(result, list->name, &v);
	if (c->json)
		ctl_print_json(v);
	else if (c->quiet)
		return;
	else if (list)
		table_print(list->object, v, list->object == &vm_info_object ? vm_columns : NULL);
	else if (!print_change(params, result))
		lines_print(&m->reply, result, 0);
}

void command_what(const struct command *cmd, json_object *params, char *buf, size_t size)
{
	json_object *vm;

	if (json_object_object_get_ex(params, "vm", &vm))
		snprintf(buf, size, "%s %s", cmd->name, json_object_get_string(vm));
	else
		snprintf(buf, size, "%s", cmd->name);
}

static int call_one(struct ctl *c, const struct command *cmd, const struct rpc_method *m,
		    json_object *params, const struct conn_fds *fds)
{
	json_object *result = NULL, *data = NULL;
	struct err e = { 0 };
	char what[200];
	int code = EXIT_DONE;

	command_what(cmd, params, what, sizeof(what));
	if (ctl_call(c, m->name, json_object_get(params), fds->v, fds->n, &result, &data, &e) < 0)
		code = ctl_report(c, what, &e, data);
	else
		ctl_print_result(c, m, params, result);
	json_object_put(result);
	json_object_put(data);
	return code;
}

static bool is_pattern(const char *s)
{
	return strpbrk(s, "*?[") != NULL;
}

int command_method(struct ctl *c, const struct command *cmd, int argc, char **argv)
{
	const struct rpc_method *m = rpc_method_find(&client_table, cmd->method);
	static char all[] = "*";
	struct conn_fds fds = { .n = 0 };
	json_object *params = NULL, *vm;
	struct err e = { 0 };
	int code;

	for (int i = 0; i < argc; i++)
		if (!strcmp(argv[i], "--all") && !rpc_field_find(&m->args, "all"))
			argv[i] = all;
	if (words_parse(m, argc, argv, &fds, &params, &e) < 0) {
		code = ctl_report(c, cmd->name, &e, NULL);
	} else if (c->explain) {
		printf("%s %s\n", m->name,
		       json_object_to_json_string_ext(params, JSON_C_TO_STRING_NOSLASHESCAPE));
		code = EXIT_DONE;
	} else if (json_object_object_get_ex(params, "vm", &vm) &&
		   is_pattern(json_object_get_string(vm))) {
		autofree char *pattern = strdup(json_object_get_string(vm));

		code = command_many(c, cmd, m, params, pattern, &fds);
	} else {
		code = call_one(c, cmd, m, params, &fds);
	}
	conn_fds_close(&fds);
	json_object_put(params);
	return code;
}
