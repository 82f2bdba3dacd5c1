/*
 * disk.c - vmctl disk: the table of its commands, their words, and opening a person's own images.
 * Files that an image names are taken from beneath its own directory, which is said, or from
 * beneath a directory that was allowed.
 */
#include "client/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/own.h"
#include "base/strbuf.h"
#include "client/words.h"
#include "protocol/errors.h"
#include "protocol/suggest.h"

enum { SECRET_MAX = 8 << 20 };

static const struct {
	const char *name, *value, *doc;
} options[] = {
#define OPTION(id, name, value, doc) { name, value, doc },
#include "client/disk.def"
#undef OPTION
};

static const struct {
	const char *verb;
	int least, most;
	uint64_t options;
	int (*run)(struct disk_call *d);
} rows[] = {
#define OPT(id) (UINT64_C(1) << DISK_OPT_##id)
#define DISK_COMMAND(id, verb, least, most, words, opts, doc) \
	{ verb, least, most, opts, disk_##id##_run },
#include "client/disk.def"
#undef DISK_COMMAND
};

static int disk_run(struct ctl *c, const struct command *cmd, int argc, char **argv);

const struct command disk_commands[] = {
#define DISK_COMMAND(id, verb, least, most, words, opts, text) \
	{ .name = "disk " verb,                                \
	  .usage = (opts) ? "[options] " words : words,        \
	  .doc = text,                                         \
	  .group = "storage",                                  \
	  .run = disk_run },
#include "client/disk.def"
#undef DISK_COMMAND
};
const unsigned disk_commands_n = ARRAY_SIZE(disk_commands);

static uint64_t options_of(const struct command *cmd)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (!strcmp(cmd->name + strlen("disk "), rows[i].verb))
			return rows[i].options;
	return 0;
}

const char *disk_option_at(unsigned i, const struct command *cmd, const char **value,
			   const char **doc)
{
	if (cmd->run != disk_run)
		return NULL;
	for (unsigned k = 0; k < DISK_OPTS; k++) {
		if (!(options_of(cmd) & UINT64_C(1) << k) || i--)
			continue;
		*value = options[k].value;
		*doc = options[k].doc;
		return options[k].name;
	}
	return NULL;
}

const char *disk_option_name(unsigned i, const char **value, const char **doc)
{
	if (i >= DISK_OPTS)
		return NULL;
	*value = options[i].value;
	*doc = options[i].doc;
	return options[i].name;
}

/* ---- words ---- */

static int find_option(const char *name, size_t len, uint64_t allowed)
{
	for (int i = 0; i < DISK_OPTS; i++)
		if (allowed & UINT64_C(1) << i && strlen(options[i].name) == len &&
		    !strncmp(options[i].name, name, len))
			return i;
	return -1;
}

static int no_option(const char *word, uint64_t allowed, struct err *e)
{
	struct suggest s = { .wanted = word + 2 };

	for (int i = 0; i < DISK_OPTS; i++)
		if (allowed & UINT64_C(1) << i)
			suggest_try(&s, options[i].name);
	rpc_error(e, "rpc.params", "there is no option '%s'", word);
	if (s.best)
		err_hint(e, "did you mean --%s?", s.best);
	return e->code;
}

static int set_option(struct disk_words *w, int o, const char *value, struct err *e)
{
	if (o != DISK_OPT_ALLOW) {
		w->v[o] = value;
		return 0;
	}
	if (w->n_allow == DISK_ALLOW_MAX)
		return rpc_error(e, "rpc.params", "--allow more than %d times", DISK_ALLOW_MAX);
	w->allow[w->n_allow++] = value;
	return 0;
}

/* --name VALUE, --name=VALUE, name=VALUE; *i moves over what was used. 1: it is a plain word. */
static int parse_word(struct disk_words *w, uint64_t allowed, int argc, char **argv, int *i,
		      struct err *e)
{
	const char *word = strcmp(argv[*i], "-c") ? argv[*i] : "--compress",
		   *dashes = !strncmp(word, "--", 2) ? word + 2 : NULL;
	const char *name = dashes ? dashes : word, *eq = strchr(name, '=');
	int o = find_option(name, eq ? (size_t)(eq - name) : strlen(name), allowed);

	if (!dashes && (!eq || o < 0))
		return word[0] == '-' && word[1] ? no_option(word, allowed, e) : 1;
	if (o < 0)
		return no_option(word, allowed, e);
	if (!options[o].value)
		return eq ? rpc_error(e, "rpc.params", "%s takes no value", word)
			  : set_option(w, o, "", e);
	if (eq)
		return set_option(w, o, eq + 1, e);
	if (*i + 1 >= argc)
		return rpc_error(e, "rpc.params", "%s needs a value: %s", word, options[o].doc);
	return set_option(w, o, argv[++*i], e);
}

static int parse(struct disk_call *d, size_t row, int argc, char **argv, struct err *e)
{
	struct disk_words *w = &d->w;
	bool open = true;

	w->verb = rows[row].verb;
	for (int i = 0; i < argc; i++) {
		int r = 1;

		if (open && !strcmp(argv[i], "--")) {
			open = false;
			continue;
		}
		if (open)
			r = parse_word(w, rows[row].options, argc, argv, &i, e);
		if (r < 0)
			return r;
		if (r && w->n == rows[row].most)
			return rpc_error(e, "rpc.params", "'%s' is one word too many", argv[i]);
		if (r)
			w->arg[w->n++] = argv[i];
	}
	if (w->n < rows[row].least)
		return rpc_error(e, "rpc.params", "usage: vmctl disk %s %s", w->verb,
				 d->cmd->usage);
	return 0;
}

bool disk_given(const struct disk_call *d, enum disk_option o)
{
	return d->w.v[o] != NULL;
}

/* ---- the passphrase ---- */

static int read_secret(struct disk_call *d, struct err *e)
{
	const char *path = d->w.v[DISK_OPT_SECRET_FILE];
	autoclose int fd = -1;
	ssize_t n;

	if (!path)
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	d->secret = malloc(SECRET_MAX);
	if (!d->secret)
		return err_nomem(e);
	n = fd < 0 ? -1 : read(fd, d->secret, SECRET_MAX);
	if (n < 0) {
		int r = err_sys(e, "cannot read %s", path);

		err_kind(e, r == -ENOENT ? "file.not-found" : "file.permission");
		return r;
	}
	d->secret_len = (size_t)n;
	if (n && ((char *)d->secret)[n - 1] == '\n')
		d->secret_len--;
	return 0;
}

/* ---- which files ---- */

static void say_opened(void *arg, const struct disk_ref *ref, const char *path)
{
	struct disk_call *d = arg;

	if (!d->ctl->quiet && !d->ctl->json)
		fprintf(stderr, "vmctl: %s uses %s\n", ref->from, path);
}

static void remember_denied(struct disk_call *d, const struct disk_ref *ref)
{
	char buf[2 * PATH_MAX], from[PATH_MAX], real[PATH_MAX];

	snprintf(from, sizeof(from), "%s", ref->from);
	if (ref->name[0] == '/')
		snprintf(buf, sizeof(buf), "%s", ref->name);
	else
		snprintf(buf, sizeof(buf), "%s/%s", dirname(from), ref->name);
	free(d->denied_dir);
	d->denied_dir = realpath(buf, real) ? strdup(dirname(real)) : NULL;
}

/* A file that was named on the command line is allowed; all others by their place. */
static int gate_open(void *arg, const struct disk_ref *ref, struct disk_grant *g, struct err *e)
{
	struct disk_call *d = arg;
	int r;

	if (d->parent && ref->name && !strcmp(ref->name, d->parent) && ref->kind != DISK_REF_DATA &&
	    ref->kind != DISK_REF_EXTENT) {
		/* The very pointer: the image named none. */
		d->parent_used |= ref->name == d->parent;
		g->format = NULL;
		g->path = strdup(d->parent);
		g->fd = open(d->parent, (ref->write ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK);
		if (g->fd >= 0 && g->path)
			return 0;
		free(g->path);
		r = err_sys(e, "cannot open %s", d->parent);
		err_kind(e, r == -ENOENT ? "disk.not-found" : "disk.permission");
		return r;
	}
	r = d->inner.open(d->inner.arg, ref, g, e);
	if (r < 0 && e && e->kind && !strcmp(e->kind, "disk.denied") && ref->name &&
	    (!ref->probed || d->dirs.trust_probed))
		remember_denied(d, ref);
	return r;
}

/*
 * What looks like a guest's own disk, by the ending .raw, and is found to be another format, may
 * have been made so by the guest: then it brings in nothing.
 */
static bool is_trusted(const char *path)
{
	const char *dot = strrchr(path, '.');

	return !dot || strcasecmp(dot, ".raw");
}

int disk_call_open(struct disk_call *d, const char *path, const char *format, unsigned flags,
		   struct disk **ret, struct err *e)
{
	const char *parents[] = { d->parent, NULL };
	struct disk_secret secret = { d->secret, d->secret_len };
	struct disk_options o = { .format = format,
				  .flags = flags,
				  .gate = &d->gate,
				  .parents = parents,
				  .secret = d->secret ? &secret : NULL };

	d->dirs.trust_probed = is_trusted(path);
	return disk_open(path, &o, ret, e);
}

int disk_call_open_backing(struct disk_call *d, struct disk *disk, const char *path,
			   struct disk **ret, struct err *e)
{
	struct disk_options o = { .gate = &d->gate };
	struct disk_grant g = { .fd = -1 };
	autofree char *name = NULL, *format = NULL;
	struct disk_info i;
	struct disk_ref ref;
	int r;

	disk_info(disk, &i);
	if (!i.backing_name || !i.backing_format)
		return err_set(e, -EINVAL, "%s names no backing image with its format", path);
	ref = (struct disk_ref){ .kind = DISK_REF_BACKING,
				 .name = i.backing_name,
				 .format = i.backing_format,
				 .from = path,
				 .probed = i.probed,
				 .write = true,
				 .depth = 1 };
	r = d->gate.open(d->gate.arg, &ref, &g, e);
	if (r < 0)
		return r;
	name = g.path;
	format = g.format;
	o.format = format ? format : i.backing_format;
	return disk_open_fd(g.fd, name, &o, ret, e);
}

const char *disk_format_for(const char *given, const char *path)
{
	static const struct {
		const char *ending, *format;
	} endings[] = { { "img", "raw" },
			{ "iso", "raw" },
			{ "vpc", "vhd" },
			{ "hdd", "parallels" },
			{ "hds", "parallels" } };
	const char *dot = strrchr(path, '.');
	bool can_create;

	if (given)
		return given;
	if (!dot || strchr(dot, '/'))
		return "raw";
	for (size_t i = 0; i < ARRAY_SIZE(endings); i++)
		if (!strcasecmp(dot + 1, endings[i].ending))
			return endings[i].format;
	for (unsigned i = 0; disk_format_at(i, NULL, NULL, &can_create); i++)
		if (can_create && !strcasecmp(dot + 1, disk_format_at(i, NULL, NULL, NULL)))
			return disk_format_at(i, NULL, NULL, NULL);
	return "raw";
}

/* ---- a call ---- */

void disk_quote(struct strbuf *b, const char *word)
{
	if (*word && !strpbrk(word, " \t\n'\"\\$`*?[]{}()<>|&;#~!")) {
		strbuf_puts(b, word);
		return;
	}
	strbuf_puts(b, "'");
	for (; *word; word++)
		if (*word == '\'')
			strbuf_puts(b, "'\\''");
		else
			strbuf_printf(b, "%c", *word);
	strbuf_puts(b, "'");
}

static char *typed_line(const struct command *cmd, int argc, char **argv)
{
	auto_strbuf b = { 0 };

	strbuf_printf(&b, "vmctl %s", cmd->name);
	for (int i = 0; i < argc; i++) {
		strbuf_puts(&b, " ");
		disk_quote(&b, argv[i]);
	}
	return strbuf_take(&b);
}

/* The command as it was typed, with the permission after its name. */
static json_object *how_to_allow(const struct disk_call *d)
{
	json_object *data = json_object_new_object();
	auto_strbuf b = { 0 };

	strbuf_printf(&b, "vmctl %s --allow ", d->cmd->name);
	disk_quote(&b, d->denied_dir);
	strbuf_puts(&b, d->typed + strlen("vmctl ") + strlen(d->cmd->name));
	json_object_object_add(data, "next", json_object_new_string(b.data));
	return data;
}

int disk_call_fail(struct disk_call *d, const char *path, struct err *e)
{
	json_object *data = NULL;
	char what[PATH_MAX + 40];
	int code;

	if (e->code == -ECANCELED) {
		if (!d->ctl->quiet)
			fprintf(stderr, "vmctl: cancelled; nothing was changed\n");
		return EXIT_INTERRUPTED;
	}
	if (d->denied_dir && d->typed && e->kind && !strcmp(e->kind, "disk.denied")) {
		err_hint(e, "if you trust this image, allow that directory");
		data = how_to_allow(d);
	}
	snprintf(what, sizeof(what), "%s%s%s", d->w.verb, path ? " " : "", path ? path : "");
	code = ctl_report(d->ctl, what, e, data);
	json_object_put(data);
	return code;
}

static int call_begin(struct disk_call *d, struct err *e)
{
	const char *backing = d->w.v[DISK_OPT_BACKING];

	d->dirs = (struct disk_dirs){
		.own_dir = true, .allow = d->w.allow, .opened = say_opened, .arg = d
	};
	d->inner = disk_gate_dirs(&d->dirs);
	d->gate = (struct disk_gate){ gate_open, d };
	if (backing) {
		d->parent = words_absolute(backing);
		if (!d->parent)
			return err_nomem(e);
	}
	return read_secret(d, e);
}

static void call_end(struct disk_call *d)
{
	if (d->secret)
		explicit_bzero(d->secret, d->secret_len);
	free(d->secret);
	free(d->parent);
	free(d->denied_dir);
	free(d->typed);
}

static int disk_run(struct ctl *c, const struct command *cmd, int argc, char **argv)
{
	struct disk_call d = { .ctl = c, .cmd = cmd };
	size_t row = (size_t)(cmd - disk_commands);
	struct err e = { 0 };
	int code;

	for (row = 0; strcmp(rows[row].verb, cmd->name + strlen("disk ")); row++)
		;
	d.typed = typed_line(cmd, argc, argv);
	if (parse(&d, row, argc, argv, &e) < 0)
		return free(d.typed), ctl_report(c, NULL, &e, NULL);
	code = call_begin(&d, &e) < 0 ? disk_call_fail(&d, NULL, &e) : rows[row].run(&d);
	call_end(&d);
	return code;
}
