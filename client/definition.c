/*
 * definition.c - define, apply, diff, config, set: the definition of a VM, from a file, from the
 * options of run, or key by key.
 */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "base/strbuf.h"
#include "client/ctl.h"
#include "client/method.h"
#include "client/run.h"
#include "client/words.h"
#include "protocol/errors.h"
#include "protocol/suggest.h"
#include "protocol/vmdef.h"

enum { DEFINITION_MAX = 1 << 20 }; /* bytes */

/* ---- a definition in a file ---- */

static int read_all(int fd, struct strbuf *to, struct err *e)
{
	char buf[4096];
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		if (to->len + (size_t)n > DEFINITION_MAX)
			return rpc_error(e, "vm.definition", "a definition has at most %d bytes",
					 DEFINITION_MAX);
		strbuf_add(to, buf, (size_t)n);
	}
	return n < 0 ? err_sys(e, "cannot read standard input") : 0;
}

static int read_text(const char *path, char **ret, struct err *e)
{
	auto_strbuf text = { 0 };
	size_t len;
	int r;

	if (strcmp(path, "-")) {
		r = file_read(path, DEFINITION_MAX, ret, &len, e);
		return r == -ENOENT ? err_kind(e, "file.not-found") : r;
	}
	r = read_all(STDIN_FILENO, &text, e);
	if (r < 0)
		return r;
	*ret = text.data ? strbuf_take(&text) : strdup("");
	return *ret ? 0 : err_nomem(e);
}

/* Files that a definition names without a slash in front lie beside it. */
static void make_absolute(const struct rpc_object *o, json_object *v, const char *dir)
{
	for (const struct rpc_field *f = o->fields(); f->name; f++) {
		json_object *x;
		char path[PATH_MAX * 2];

		if (!json_object_object_get_ex(v, f->name, &x) || !x)
			continue;
		if (f->type == RPC_LIST && json_object_is_type(x, json_type_array)) {
			for (size_t i = 0; i < json_object_array_length(x); i++)
				make_absolute(f->object, json_object_array_get_idx(x, i), dir);
		} else if (f->type == RPC_FILE && json_object_is_type(x, json_type_string) &&
			   json_object_get_string(x)[0] != '/') {
			snprintf(path, sizeof(path), "%s/%s", dir, json_object_get_string(x));
			json_object_object_add(v, f->name, json_object_new_string(path));
		}
	}
}

static int directory_of(const char *path, char dir[PATH_MAX], struct err *e)
{
	char copy[PATH_MAX];

	snprintf(copy, sizeof(copy), "%s", path);
	return realpath(strcmp(path, "-") ? dirname(copy) : ".", dir)
		   ? 0
		   : err_sys(e, "cannot find the directory of %s", path);
}

static int definition_read(const char *path, json_object **ret, struct err *e)
{
	enum json_tokener_error error;
	autofree char *text = NULL;
	char dir[PATH_MAX];
	json_object *v;
	int r = read_text(path, &text, e);

	if (r == 0)
		r = directory_of(path, dir, e);
	if (r < 0)
		return r;
	v = json_tokener_parse_verbose(text, &error);
	if (!json_object_is_type(v, json_type_object)) {
		r = rpc_error(e, "vm.definition", "%s is no definition: %s",
			      strcmp(path, "-") ? path : "standard input",
			      v ? "it is not one JSON object" : json_tokener_error_desc(error));
		json_object_put(v);
		return r;
	}
	make_absolute(&vm_def_object, v, dir);
	*ret = v;
	return 0;
}

/* "-f FILE", "FILE" or the definition itself. */
static int definition_word(int *argc, char ***argv, json_object **ret, struct err *e)
{
	const char *word = *argc ? (*argv)[0] : NULL;

	if (word && !strcmp(word, "-f") && *argc > 1) {
		(*argc)--;
		word = *++*argv;
	}
	if (!word || (word[0] == '-' && word[1]))
		return rpc_error(e, "rpc.params", "the definition is missing: write -f FILE");
	(*argc)--;
	(*argv)++;
	if (word[0] != '{')
		return definition_read(word, ret, e);
	*ret = json_tokener_parse(word);
	return *ret ? 0 : rpc_error(e, "vm.definition", "the definition is no JSON");
}

/* ---- what has changed ---- */

static void print_steps(json_object *patch)
{
	for (size_t i = 0; i < json_object_array_length(patch); i++) {
		json_object *step = json_object_array_get_idx(patch, i), *op, *path, *value = NULL;

		json_object_object_get_ex(step, "op", &op);
		json_object_object_get_ex(step, "path", &path);
		json_object_object_get_ex(step, "value", &value);
		printf("  %s %s%s%s\n", json_object_get_string(op),
		       json_object_get_string(path) + 1, value ? ": " : "",
		       value ? json_object_to_json_string_ext(value, JSON_C_TO_STRING_NOSLASHESCAPE)
			     : "");
	}
}

static void print_applied(const struct ctl *c, json_object *def, json_object *result, bool dry)
{
	json_object *name = NULL, *changed, *patch, *restart;

	if (c->json) {
		ctl_print_json(result);
		return;
	}
	json_object_object_get_ex(def, "name", &name);
	json_object_object_get_ex(result, "changed", &changed);
	json_object_object_get_ex(result, "patch", &patch);
	json_object_object_get_ex(result, "restart_needed", &restart);
	printf("%s: %s\n", json_object_get_string(name),
	       !json_object_get_boolean(changed) ? "no change"
	       : dry                             ? "would change"
						 : "changed");
	if (c->quiet)
		return;
	print_steps(patch);
	for (size_t i = 0; i < json_object_array_length(restart); i++)
		printf("%s%s%s", i ? ", " : "  at the next start: ",
		       json_object_get_string(json_object_array_get_idx(restart, i)),
		       i + 1 == json_object_array_length(restart) ? "\n" : "");
}

/* def is taken. */
static int apply(struct ctl *c, const char *what, json_object *def, bool dry)
{
	json_object *params = json_object_new_object(), *result = NULL, *data = NULL;
	struct err e = { 0 };
	int code = EXIT_DONE;

	json_object_object_add(params, "definition", json_object_get(def));
	json_object_object_add(params, "dry_run", json_object_new_boolean(dry));
	if (c->explain) {
		printf("vm.apply %s\n",
		       json_object_to_json_string_ext(params, JSON_C_TO_STRING_NOSLASHESCAPE));
		json_object_put(params);
	} else if (ctl_call(c, "vm.apply", params, NULL, 0, &result, &data, &e) < 0) {
		code = ctl_report(c, what, &e, data);
	} else {
		print_applied(c, def, result, dry);
	}
	json_object_put(def);
	json_object_put(result);
	json_object_put(data);
	return code;
}

int apply_command(struct ctl *c, const struct command *cmd, int argc, char **argv)
{
	bool dry = !strcmp(cmd->name, "diff");
	json_object *def = NULL;
	struct err e = { 0 };
	int r, n = 0;

	for (int i = 0; i < argc; i++)
		if (!strcmp(argv[i], "--dry-run"))
			dry = true;
		else
			argv[n++] = argv[i];
	r = definition_word(&n, &argv, &def, &e);
	if (r == 0 && n)
		r = rpc_error(&e, "rpc.params", "'%s' is one word too many", argv[0]);
	if (r == 0)
		return apply(c, cmd->name, def, dry);
	json_object_put(def);
	return ctl_report(c, cmd->name, &e, NULL);
}

/* ---- define ---- */

static int define_by_options(struct ctl *c, struct run_options *o, int argc, char **argv,
			     json_object **def, struct err *e)
{
	const char *name = argc && argv[0][0] != '-' ? argv[0] : NULL;
	int skip = name ? 1 : 0;
	int r = run_options_parse(o, argc - skip, argv + skip, e);

	if (r == 0 && name) {
		o->named = true;
		json_object_object_add(o->def, "name", json_object_new_string(name));
	}
	if (r == 0 && !o->named)
		r = rpc_error(e, "rpc.params", "the VM needs a name: vmctl define NAME ...");
	if (r == 0 && (o->rm || o->detach || o->paused || o->exec || o->timeout_ns))
		r = rpc_error(e, "rpc.params", "options for a run mean nothing for a definition");
	if (r == 0 && (o->source || json_object_object_get_ex(o->def, "kernel", NULL)))
		r = run_source(c, o, e);
	if (r == 0)
		run_default_net(o);
	*def = json_object_get(o->def);
	return r;
}

int define_command(struct ctl *c, const struct command *cmd, int argc, char **argv)
{
	const struct rpc_method *m = rpc_method_find(&client_table, "vm.create");
	json_object *params = json_object_new_object(), *def = NULL, *result = NULL, *data = NULL;
	struct run_options o = { .def = NULL };
	struct err e = { 0 };
	int r, code = EXIT_DONE;

	if (argc && (!strcmp(argv[0], "-f") || argv[0][0] == '{')) {
		r = definition_word(&argc, &argv, &def, &e);
		if (r == 0 && argc)
			r = rpc_error(&e, "rpc.params", "'%s' is one word too many", argv[0]);
	} else {
		r = define_by_options(c, &o, argc, argv, &def, &e);
	}
	json_object_object_add(params, "definition", def);
	if (r == 0 && c->explain)
		ctl_print_json(def);
	else if (r == 0)
		r = ctl_call(c, "vm.create", json_object_get(params), o.fds.v, o.fds.n, &result,
			     &data, &e);
	if (r < 0)
		code = ctl_report(c, cmd->name, &e, data);
	else if (!c->explain)
		ctl_print_result(c, m, params, result);
	if (o.def)
		run_options_free(&o);
	json_object_put(params);
	json_object_put(result);
	json_object_put(data);
	return code;
}

/* ---- config and set ---- */

static int fetch(struct ctl *c, const char *vm, bool all, json_object **ret, json_object **data,
		 struct err *e)
{
	json_object *params = json_object_new_object(), *result = NULL, *def;
	int r;

	json_object_object_add(params, "vm", json_object_new_string(vm));
	json_object_object_add(params, "all", json_object_new_boolean(all));
	r = ctl_call(c, "vm.show", params, NULL, 0, &result, data, e);
	if (r < 0)
		return r;
	json_object_object_get_ex(result, "definition", &def);
	*ret = json_object_get(def);
	json_object_put(result);
	return 0;
}

int config_command(struct ctl *c, const struct command *cmd, int argc, char **argv)
{
	json_object *def = NULL, *data = NULL;
	const char *vm = NULL;
	struct err e = { 0 };
	bool all = false;
	int r = 0, code = EXIT_DONE;

	for (int i = 0; i < argc && r == 0; i++)
		if (!strcmp(argv[i], "--all"))
			all = true;
		else if (argv[i][0] == '-' || vm)
			r = rpc_error(&e, "rpc.params", "usage: vmctl config %s", cmd->usage);
		else
			vm = argv[i];
	if (r == 0 && !vm)
		r = rpc_error(&e, "rpc.params", "usage: vmctl config %s", cmd->usage);
	if (r == 0)
		r = fetch(c, vm, all, &def, &data, &e);
	if (r < 0)
		code = ctl_report(c, "config", &e, data);
	else
		ctl_print_json(def);
	json_object_put(def);
	json_object_put(data);
	return code;
}

/* "cpus=4"; "cpus=" goes back to the default. */
static int set_key(json_object *def, const char *word, struct err *e)
{
	const char *eq = strchr(word, '=');
	const struct rpc_field *f;
	struct suggest near = { .wanted = NULL };
	char key[64];
	json_object *v;
	int r;

	if (!eq)
		return rpc_error(e, "rpc.params", "'%s' is no KEY=VALUE", word);
	snprintf(key, sizeof(key), "%.*s", (int)(eq - word), word);
	f = rpc_field_find(&vm_def_object, key);
	if (!f) {
		near.wanted = key;
		for (f = vm_def_object.fields(); f->name; f++)
			suggest_try(&near, f->name);
		rpc_error(e, "rpc.params", "a definition has no key '%s'", key);
		return near.best ? err_hint(e, "did you mean '%s'?", near.best) : e->code;
	}
	if (!eq[1]) {
		json_object_object_del(def, key);
		return 0;
	}
	if (f->type == RPC_FILE) {
		autofree char *abs = words_absolute(eq + 1);

		v = json_object_new_string(abs ? abs : eq + 1);
	} else {
		r = rpc_from_text(f, eq + 1, &v, e);
		if (r < 0)
			return err_in(e, "%s", key);
	}
	json_object_object_add(def, key, v);
	return 0;
}

int set_command(struct ctl *c, const struct command *cmd, int argc, char **argv)
{
	json_object *def = NULL, *data = NULL;
	struct err e = { 0 };
	int r, code;

	if (argc < 2)
		r = rpc_error(&e, "rpc.params", "usage: vmctl set %s", cmd->usage);
	else
		r = fetch(c, argv[0], false, &def, &data, &e);
	for (int i = 1; i < argc && r == 0; i++)
		r = set_key(def, argv[i], &e);
	if (r == 0)
		return apply(c, "set", def, false);
	code = ctl_report(c, "set", &e, data);
	json_object_put(def);
	json_object_put(data);
	return code;
}
