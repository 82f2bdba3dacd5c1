/* watch.c - commands that follow something: console, log -f, events -f. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/own.h"
#include "client/console.h"
#include "client/ctl.h"
#include "protocol/errors.h"

/* ---- console ---- */

struct viewing {
	bool done;
	enum console_end how;
};

static void on_end(void *arg, enum console_end how)
{
	struct viewing *v = arg;

	v->how = how;
	v->done = true;
}

struct console_words {
	const char *vm;
	bool force;
	struct console_options o;
};

static int console_parse(struct console_words *w, int argc, char **argv, struct err *e)
{
	*w = (struct console_words){ .o.escape = 0x1d, .o.linger_ns = 2000000000 };
	for (int i = 0; i < argc; i++) {
		if (!strcmp(argv[i], "--watch"))
			w->o.watch = true;
		else if (!strcmp(argv[i], "--force"))
			w->force = true;
		else if (!strcmp(argv[i], "--escape") && i + 1 < argc) {
			if (!console_escape_parse(argv[++i], &w->o.escape))
				return rpc_error(e, "rpc.params",
						 "'%s' is no key; write ^], ctrl-a or none",
						 argv[i]);
		} else if (argv[i][0] == '-' || w->vm)
			return rpc_error(
			    e, "rpc.params",
			    "console takes the name of a VM, --watch, --force and --escape KEY");
		else
			w->vm = argv[i];
	}
	return w->vm ? 0 : rpc_error(e, "rpc.params", "console of which VM?");
}

static int console_open(struct ctl *c, const struct console_words *w, struct conn_fds *fds,
			json_object **result, json_object **data, struct err *e)
{
	json_object *params = json_object_new_object();
	int r = ctl_connect(c, e);

	json_object_object_add(params, "vm", json_object_new_string(w->vm));
	json_object_object_add(params, "write", json_object_new_boolean(!w->o.watch));
	json_object_object_add(params, "force", json_object_new_boolean(w->force));
	if (r < 0) {
		json_object_put(params);
		return r;
	}
	r = rpc_client_call(c->peer, "vm.console", params, NULL, 0, result, fds, data, e);
	if (r == 0 && fds->n != 1)
		r = rpc_error(e, "rpc.internal", "the daemon sent no socket for the console");
	return r;
}

int console_command(struct ctl *c, const struct command *cmd, int argc, char **argv)
{
	json_object *result = NULL, *data = NULL, *device;
	struct conn_fds fds = { .n = 0 };
	struct viewing v = { .done = false };
	autoptr(console) con = NULL;
	struct console_words w;
	struct err e = { 0 };
	int r = console_parse(&w, argc, argv, &e), code = EXIT_DONE;

	(void)cmd;
	if (r == 0)
		r = console_open(c, &w, &fds, &result, &data, &e);
	if (r == 0) {
		if (isatty(STDIN_FILENO) && json_object_object_get_ex(result, "device", &device))
			fprintf(stderr, "connected to %s (%s); leave with Ctrl-] or Enter ~.\r\n",
				w.vm, json_object_get_string(device));
		r = console_new(c->loop, fds.v[0], &w.o, on_end, &v, &con, &e);
		fds.n = 0;
	}
	if (r == 0)
		r = rpc_wait(c->peer, &v.done, &e);
	if (r < 0)
		code = ctl_report(c, "connect to the console", &e, data);
	json_object_put(result);
	json_object_put(data);
	return code;
}

/* ---- log ---- */

static json_object *log_params(const char *vm, const char *lines, const char *boot, uint64_t since)
{
	json_object *p = json_object_new_object();

	json_object_object_add(p, "vm", json_object_new_string(vm));
	if (lines)
		json_object_object_add(p, "lines", json_object_new_string(lines));
	if (boot)
		json_object_object_add(p, "boot", json_object_new_string(boot));
	if (since)
		json_object_object_add(p, "since", json_object_new_uint64(since));
	return p;
}

static void to_number(json_object *p, const char *key)
{
	json_object *v;
	int64_t n;

	if (json_object_object_get_ex(p, key, &v) && json_object_is_type(v, json_type_string) &&
	    json_parse_int64(json_object_get_string(v), &n) == 0)
		json_object_object_add(p, key, json_object_new_int64(n));
}

static int log_once(struct ctl *c, json_object *params, uint64_t *next)
{
	json_object *result = NULL, *data = NULL, *v;
	struct err e = { 0 };
	int code = EXIT_DONE;

	to_number(params, "lines");
	to_number(params, "boot");
	if (ctl_call(c, "vm.log", params, NULL, 0, &result, &data, &e) < 0) {
		code = ctl_report(c, "show the log", &e, data);
	} else if (c->json) {
		printf("%s\n", json_object_to_json_string_ext(result, JSON_C_TO_STRING_PLAIN));
	} else {
		json_object_object_get_ex(result, "text", &v);
		fputs(json_object_get_string(v), stdout);
	}
	if (json_object_object_get_ex(result, "next", &v))
		*next = json_object_get_uint64(v);
	fflush(stdout);
	json_object_put(result);
	json_object_put(data);
	return code;
}

int log_command(struct ctl *c, const struct command *cmd, int argc, char **argv)
{
	const char *vm = NULL, *lines = NULL, *boot = NULL;
	struct timespec pause = { .tv_nsec = 300000000 };
	bool follow = false;
	struct err e = { 0 };
	uint64_t next = 0;
	int code;

	for (int i = 0; i < argc; i++) {
		if (!strcmp(argv[i], "-f") || !strcmp(argv[i], "--follow"))
			follow = true;
		else if (!strcmp(argv[i], "--console"))
			continue; /* there is no other log of a VM */
		else if (!strcmp(argv[i], "--lines") && i + 1 < argc)
			lines = argv[++i];
		else if (!strcmp(argv[i], "--boot") && i + 1 < argc)
			boot = argv[++i];
		else if (argv[i][0] != '-' && !vm)
			vm = argv[i];
		else
			vm = (argc = 0, NULL);
	}
	if (!vm) {
		rpc_error(&e, "rpc.params", "usage: vmctl log %s", cmd->usage);
		return ctl_report(c, NULL, &e, NULL);
	}
	code = log_once(c, log_params(vm, lines, boot, 0), &next);
	while (follow && code == EXIT_DONE && !ferror(stdout)) {
		nanosleep(&pause, NULL);
		code = log_once(c, log_params(vm, NULL, boot, next), &next);
	}
	return code;
}

/* ---- events ---- */

struct following {
	struct ctl *c;
	bool done; /* nobody reads what is printed */
};

static void on_event(void *arg, const char *method, json_object *params)
{
	struct following *f = arg;
	const struct ctl *c = f->c;
	json_object *ts, *kind, *vm;

	if (strcmp(method, "event") && strcmp(method, "job.progress"))
		return;
	if (c->json) {
		printf("%s\n",
		       json_object_to_json_string_ext(params, JSON_C_TO_STRING_PLAIN |
								  JSON_C_TO_STRING_NOSLASHESCAPE));
	} else if (json_object_object_get_ex(params, "kind", &kind)) {
		json_object_object_get_ex(params, "ts", &ts);
		printf("%s  %-18s %s", json_object_get_string(ts), json_object_get_string(kind),
		       json_object_object_get_ex(params, "vm", &vm) ? json_object_get_string(vm)
								    : "");
		json_object_object_foreach(params, key, val)
		{
			if (strcmp(key, "ts") && strcmp(key, "kind") && strcmp(key, "vm") &&
			    strcmp(key, "subscription") && strcmp(key, "seq"))
				printf("  %s=%s", key, json_object_get_string(val));
		}
		printf("\n");
	}
	f->done = fflush(stdout) != 0;
}

int events_command(struct ctl *c, const struct command *cmd, int argc, char **argv)
{
	json_object *params = json_object_new_object(), *vms = json_object_new_array();
	json_object *result = NULL, *data = NULL;
	struct following f = { .c = c };
	bool follow = false;
	struct err e = { 0 };
	int64_t since = 0;
	int code = EXIT_DONE, r;

	(void)cmd;
	for (int i = 0; i < argc; i++) {
		if (!strcmp(argv[i], "-f") || !strcmp(argv[i], "--follow"))
			follow = true;
		else if (!strcmp(argv[i], "--since") && i + 1 < argc)
			json_parse_int64(argv[++i], &since);
		else
			json_object_array_add(vms, json_object_new_string(argv[i]));
	}
	if (json_object_array_length(vms))
		json_object_object_add(params, "vms", vms);
	else
		json_object_put(vms);
	/* Without -f: what is kept of the past. */
	json_object_object_add(params, "since_seq", json_object_new_int64(since));
	if (follow && !since)
		json_object_object_del(params, "since_seq");
	c->event = on_event;
	c->event_arg = &f;
	r = ctl_call(c, "events.subscribe", params, NULL, 0, &result, &data, &e);
	if (r == 0 && follow)
		r = rpc_wait(c->peer, &f.done, &e);
	/* The past follows the answer; another call's answer comes behind it. */
	if (r == 0 && !follow) {
		json_object_put(result);
		r = ctl_call(c, "host.info", json_object_new_object(), NULL, 0, &result, &data, &e);
	}
	if (r < 0)
		code = ctl_report(c, "follow events", &e, data);
	json_object_put(result);
	json_object_put(data);
	return code;
}
