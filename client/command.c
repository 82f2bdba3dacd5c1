/*
 * command.c - the commands of vmctl. Most are a method of methods.def: its words are the noun and
 * the verb (the noun vm left out), its help, parameters and answer come from the table. Those
 * that do more than one call stand in the list below.
 */
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/own.h"
#include "base/strbuf.h"
#include "client/ctl.h"
#include "client/disk.h"
#include "client/table.h"
#include "client/words.h"
#include "protocol/errors.h"
#include "protocol/suggest.h"

enum { MAX_COMMANDS = 128 };

static const struct command special[] = {
	{ .name = "run",
	  .usage = "[options] SOURCE [-- COMMAND]",
	  .group = "first use",
	  .run = run_command,
	  .doc = "Make a VM from a disk image, ISO, kernel, 'demo' or 'debian', start it, and "
		 "connect to its console." },
	{ .name = "doctor",
	  .usage = "",
	  .group = "first use",
	  .method = "host.doctor",
	  .run = doctor_command },
	{ .name = "console",
	  .usage = "[--watch] [--force] [--escape KEY] VM",
	  .group = "talk",
	  .method = "vm.console",
	  .run = console_command },
	{ .name = "log",
	  .usage = "[-f] [--lines N] [--boot N] VM",
	  .group = "look",
	  .method = "vm.log",
	  .run = log_command },
	{ .name = "forward",
	  .usage = "VM [list | add FORWARD | rm FORWARD]",
	  .group = "change",
	  .method = "vm.forward",
	  .run = forward_command },
	{ .name = "events",
	  .usage = "[-f] [--since SEQ] [VM ...]",
	  .group = "look",
	  .method = "events.subscribe",
	  .run = events_command },
	{ .name = "api",
	  .usage = "METHOD [JSON]",
	  .group = "plumbing",
	  .run = api_command,
	  .doc = "Call any method of the socket; prints the raw JSON answer." },
	{ .name = "completion",
	  .usage = "bash|zsh|fish",
	  .group = "plumbing",
	  .run = completion_command,
	  .doc = "Print completions for a shell: source <(vmctl completion bash)." },
	{ .name = "help",
	  .usage = "[COMMAND]",
	  .group = "first use",
	  .run = help_command,
	  .doc = "Explain a command, or list all." },
};

/* Words and groups of methods where they are not "noun verb". */
static const struct {
	const char *method, *name, *group;
} names[] = {
	{ "vm.list", "list", "look" },          { "vm.show", "show", "look" },
	{ "vm.start", "start", "power" },       { "vm.stop", "stop", "power" },
	{ "vm.reset", "reset", "power" },       { "vm.pause", "pause", "power" },
	{ "vm.unpause", "unpause", "power" },   { "vm.kill", "kill", "power" },
	{ "vm.wait", "wait", "power" },         { "vm.create", "define", "change" },
	{ "vm.apply", "apply", "change" },      { "vm.rm", "rm", "change" },
	{ "machine.list", "machines", "host" }, { "device.list", "devices", "host" },
	{ "vm.devices", "vm devices", "look" }, { "vm.balloon", "balloon", "change" },
	{ "host.info", "host", "host" },        { "job.list", "jobs", "storage" },
};

/* Methods that make no sense as a command of their own. */
static const char *const hidden[] = { "vm.run", "events.unsubscribe", "rpc.discover" };

static bool is_taken(const char *method)
{
	for (size_t i = 0; i < ARRAY_SIZE(special); i++)
		if (special[i].method && !strcmp(special[i].method, method))
			return true;
	for (size_t i = 0; i < ARRAY_SIZE(hidden); i++)
		if (!strcmp(hidden[i], method))
			return true;
	/* "disk create" works here, "disk.create" in the daemon. */
	for (unsigned i = 0; i < disk_commands_n; i++)
		if (!strncmp(method, "disk.", 5) && !strcmp(disk_commands[i].name + 5, method + 5))
			return true;
	return false;
}

/* "disk.create" to "disk create"; the string lives in the table that is made once. */
static const char *words_of(const char *method, const char **group)
{
	char *words;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(names[i].method, method)) {
			*group = names[i].group;
			return names[i].name;
		}
	*group = strncmp(method, "disk.", 5) && strncmp(method, "job.", 4) ? "host" : "storage";
	words = strdup(method);
	if (words && strchr(words, '.'))
		*strchr(words, '.') = ' ';
	return words;
}

const struct command *commands(void)
{
	static struct command
	    all[MAX_COMMANDS + 1]; /* made at the first call, constant afterwards */
	size_t n = 0;

	if (all[0].name)
		return all;
	for (size_t i = 0; i < ARRAY_SIZE(special); i++) {
		const struct rpc_method *m =
		    special[i].method ? rpc_method_find(&client_table, special[i].method) : NULL;

		all[n] = special[i];
		if (!all[n].doc && m)
			all[n].doc = m->doc;
		n++;
	}
	for (unsigned i = 0; i < disk_commands_n && n < MAX_COMMANDS; i++)
		all[n++] = disk_commands[i];
	for (size_t i = 0; i < client_table.n_methods && n < MAX_COMMANDS; i++) {
		const struct rpc_method *m = &client_table.methods[i];

		if (is_taken(m->name))
			continue;
		all[n].name = words_of(m->name, &all[n].group);
		all[n].doc = m->doc;
		all[n].method = m->name;
		all[n].run = command_method;
		n++;
	}
	return all;
}

/* How many of the words the name of a command takes, 0 when it is not this one. */
static int match(const struct command *cmd, int argc, char **argv)
{
	const char *at = cmd->name;
	int n = 0;

	while (*at) {
		size_t len = strcspn(at, " ");

		if (n == argc || strlen(argv[n]) != len || strncmp(argv[n], at, len))
			return 0;
		n++;
		at += len + (at[len] == ' ');
	}
	return n;
}

const struct command *command_find(int argc, char **argv, int *words)
{
	static char ls[] = "list", status[] = "show";
	const struct command *best = NULL;

	if (argc && !strcmp(argv[0], "ls"))
		argv[0] = ls;
	if (argc && !strcmp(argv[0], "status"))
		argv[0] = status;
	*words = 0;
	for (const struct command *c = commands(); c->name; c++) {
		int n = match(c, argc, argv);

		if (n > *words) {
			*words = n;
			best = c;
		}
	}
	return best;
}

const char *command_suggest(const char *words)
{
	struct suggest s = { .wanted = words };

	for (const struct command *c = commands(); c->name; c++)
		suggest_try(&s, c->name);
	return s.best;
}

/* ---- a method as a command ---- */

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

static void print_json(json_object *v)
{
	printf("%s\n",
	       json_object_to_json_string_ext(v, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
						     JSON_C_TO_STRING_NOSLASHESCAPE));
}

static void print_result(const struct ctl *c, const struct rpc_method *m, json_object *params,
			 json_object *result)
{
	const struct rpc_field *list = only_list(&m->reply);
	json_object *v = result;

	if (list)
		json_object_object_get_ex(result, list->name, &v);
	if (c->json)
		print_json(v);
	else if (c->quiet)
		return;
	else if (list)
		table_print(list->object, v, list->object == &vm_info_object ? vm_columns : NULL);
	else if (!print_change(params, result))
		lines_print(&m->reply, result, 0);
}

static int call_one(struct ctl *c, const struct command *cmd, const struct rpc_method *m,
		    json_object *params, const struct conn_fds *fds)
{
	json_object *result = NULL, *data = NULL, *vm;
	struct err e = { 0 };
	char what[200];
	int code = EXIT_DONE;

	snprintf(what, sizeof(what), "%s%s%s", cmd->name,
		 json_object_object_get_ex(params, "vm", &vm) ? " " : "",
		 json_object_object_get_ex(params, "vm", &vm) ? json_object_get_string(vm) : "");
	if (ctl_call(c, m->name, json_object_get(params), fds->v, fds->n, &result, &data, &e) < 0)
		code = ctl_report(c, what, &e, data);
	else
		print_result(c, m, params, result);
	json_object_put(result);
	json_object_put(data);
	return code;
}

static bool is_pattern(const char *s)
{
	return strpbrk(s, "*?[") != NULL;
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
	if (!json_object_array_length(*ret)) {
		json_object_put(*ret);
		return rpc_error(e, "vm.not-found", "no VM fits '%s'", pattern);
	}
	return 0;
}

/* One call for each VM that fits; the exit code is that of the first failure. */
static int call_each(struct ctl *c, const struct command *cmd, const struct rpc_method *m,
		     json_object *params, const char *pattern, const struct conn_fds *fds)
{
	json_object *found = NULL;
	struct err e = { 0 };
	int code = EXIT_DONE;

	if (names_of(c, pattern, &found, &e) < 0)
		return ctl_report(c, cmd->name, &e, NULL);
	for (size_t i = 0; i < json_object_array_length(found); i++) {
		int one;

		json_object_object_add(params, "vm",
				       json_object_get(json_object_array_get_idx(found, i)));
		one = call_one(c, cmd, m, params, fds);
		if (code == EXIT_DONE)
			code = one;
	}
	json_object_put(found);
	return code;
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

		code = call_each(c, cmd, m, params, pattern, &fds);
	} else {
		code = call_one(c, cmd, m, params, &fds);
	}
	conn_fds_close(&fds);
	json_object_put(params);
	return code;
}
