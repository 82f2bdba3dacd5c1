/*
 * many.c - a method for all VMs whose names fit a pattern, many at once: "vmctl stop 'web*'".
 */
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "client/ctl.h"
#include "client/method.h"
#include "protocol/errors.h"

enum { AT_ONCE = 32 }; /* less than the calls that a connection may have under way */

struct many {
	struct ctl *c;
	const struct command *cmd;
	const struct rpc_method *m;
	json_object *params, *names, *answers;
	const struct conn_fds *fds;
	size_t started, running;
	bool done;
	int code; /* of the first that failed */
};

struct one {
	struct many *all;
	json_object *params;
};

static void start_more(struct many *all);

/* For programs: an array, with the name of each VM in its answer. */
static void keep_answer(struct many *all, json_object *params, const char *key, json_object *v)
{
	json_object *o = json_object_new_object(), *vm;

	json_object_object_get_ex(params, "vm", &vm);
	json_object_object_add(o, "vm", json_object_get(vm));
	if (key) {
		json_object_object_add(o, key, json_object_get(v));
	} else {
		json_object_object_foreach(v, k, val)
		    json_object_object_add(o, k, json_object_get(val));
	}
	json_object_array_add(all->answers, o);
}

static void on_answer(void *arg, struct rpc_answer *a)
{
	struct one *one = arg;
	struct many *all = one->all;
	json_object *error;
	char what[200];
	int code = EXIT_DONE;

	command_what(all->cmd, one->params, what, sizeof(what));
	if (a->e && all->c->json) {
		code = rpc_error_exit_code(a->e);
		error = rpc_error_build(a->e, json_object_get(a->data));
		keep_answer(all, one->params, "error", error);
		json_object_put(error);
	} else if (a->e) {
		code = ctl_report(all->c, what, a->e, a->data);
	} else if (all->c->json) {
		keep_answer(all, one->params, NULL, a->result);
	} else {
		ctl_print_result(all->c, all->m, one->params, a->result);
	}
	if (all->code == EXIT_DONE)
		all->code = code;
	json_object_put(one->params);
	free(one);
	all->running--;
	start_more(all);
}

static int start_one(struct many *all, json_object *name, struct err *e)
{
	struct one *one = malloc(sizeof(*one));
	int r;

	if (!one)
		return err_nomem(e);
	one->all = all;
	one->params = json_object_new_object();
	json_object_object_foreach(all->params, key, val)
	    json_object_object_add(one->params, key, json_object_get(val));
	json_object_object_add(one->params, "vm", json_object_get(name));
	r = rpc_send(all->c->peer, all->m->name, json_object_get(one->params), all->fds->v,
		     all->fds->n, on_answer, one, e);
	if (r < 0) {
		json_object_put(one->params);
		free(one);
		return r;
	}
	all->running++;
	return 0;
}

static void start_more(struct many *all)
{
	size_t n = json_object_array_length(all->names);
	struct err e;

	while (all->running < AT_ONCE && all->started < n)
		if (start_one(all, json_object_array_get_idx(all->names, all->started++), &e) < 0) {
			all->code = ctl_report(all->c, all->cmd->name, &e, NULL);
			all->started = n;
		}
	all->done = !all->running;
}

/* The names of the VMs that fit a pattern; the caller puts the array. */
static int names_of(struct ctl *c, const char *pattern, json_object **ret, struct err *e)
{
	json_object *result, *params = json_object_new_object(), *list, *name, *data = NULL;
	int r = ctl_call(c, "vm.list", params, NULL, 0, &result, &data, e);

	json_object_put(data);
	if (r < 0)
		return r;
	*ret = json_object_new_array();
	json_object_object_get_ex(result, "vms", &list);
	for (size_t i = 0; i < json_object_array_length(list); i++)
		if (json_object_object_get_ex(json_object_array_get_idx(list, i), "name", &name) &&
		    !fnmatch(pattern, json_object_get_string(name), 0))
			json_object_array_add(*ret, json_object_get(name));
	json_object_put(result);
	if (!json_object_array_length(*ret) && strcmp(pattern, "*")) {
		json_object_put(*ret);
		return rpc_error(e, "vm.not-found", "no VM fits '%s'", pattern);
	}
	return 0;
}

/* A line for each VM as it is done; the exit code is that of the first failure. */
int command_many(struct ctl *c, const struct command *cmd, const struct rpc_method *m,
		 json_object *params, const char *pattern, const struct conn_fds *fds)
{
	struct many all = { c, cmd, m, .params = params, .fds = fds, .code = EXIT_DONE };
	struct err e = { 0 };

	if (names_of(c, pattern, &all.names, &e) < 0)
		return ctl_report(c, cmd->name, &e, NULL);
	all.answers = json_object_new_array();
	start_more(&all);
	if (!all.done && rpc_wait(c->peer, &all.done, &e) < 0) {
		all.started = json_object_array_length(all.names);
		rpc_peer_free(take(c->peer)); /* each of them fails now */
	}
	if (c->json)
		ctl_print_json(all.answers);
	else if (!json_object_array_length(all.names) && !c->quiet)
		printf("none\n");
	json_object_put(all.answers);
	json_object_put(all.names);
	return all.code;
}
