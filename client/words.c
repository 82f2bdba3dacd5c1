/* words.c - see words.h. */
#include "client/words.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/own.h"
#include "protocol/errors.h"
#include "protocol/suggest.h"

char *words_absolute(const char *path)
{
	char cwd[PATH_MAX], *abs = NULL;

	if (*path == '/')
		return strdup(path);
	if (!getcwd(cwd, sizeof(cwd)) || asprintf(&abs, "%s/%s", cwd, path) < 0)
		return NULL;
	return abs;
}

int words_file(const char *path, int flags, struct conn_fds *fds, json_object **ret, struct err *e)
{
	autofree char *abs = words_absolute(path);
	int fd = open(path, flags | O_CLOEXEC);
	json_object *o;

	if (!abs)
		return err_nomem(e);
	if (fd < 0 && (flags & O_ACCMODE) == O_RDWR && (errno == EACCES || errno == EROFS))
		fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) { /* the daemon says what is wrong with it, or makes it */
		*ret = json_object_new_string(abs);
		return *ret ? 0 : err_nomem(e);
	}
	if (fds->n == CONN_FDS) {
		close(fd);
		return rpc_error(e, "limit.reached", "more than %d files in one call", CONN_FDS);
	}
	o = json_object_new_object();
	json_object_object_add(o, "fd", json_object_new_uint64(fds->n));
	json_object_object_add(o, "path", json_object_new_string(abs));
	fds->v[fds->n++] = fd;
	*ret = o;
	return 0;
}

/* "8080" or "8080-8090" */
static bool ports(const char *s, unsigned *first, unsigned *count)
{
	unsigned last;
	int used = 0;

	if (sscanf(s, "%5u-%5u%n", first, &last, &used) == 2 && !s[used]) {
		*count = last - *first + 1;
		return *first && last <= 65535 && last >= *first;
	}
	*count = 1;
	return sscanf(s, "%5u%n", first, &used) == 1 && !s[used] && *first <= 65535;
}

int words_forward(const char *text, json_object **ret, struct err *e)
{
	autofree char *copy = strdup(text);
	char *slash, *guest, *host, *address = NULL;
	unsigned h, g, hn, gn;
	json_object *o;

	if (!copy)
		return err_nomem(e);
	slash = strrchr(copy, '/');
	if (slash)
		*slash++ = 0;
	guest = strrchr(copy, ':');
	if (!guest || (slash && strcmp(slash, "udp") && strcmp(slash, "tcp")))
		goto bad;
	*guest++ = 0;
	host = strrchr(copy, ':');
	if (host) {
		*host++ = 0;
		address = copy;
	} else {
		host = copy;
	}
	if (!ports(host, &h, &hn) || !ports(guest, &g, &gn) || !g || hn != gn)
		goto bad;
	o = json_object_new_object();
	if (slash)
		json_object_object_add(o, "proto", json_object_new_string(slash));
	if (address)
		json_object_object_add(o, "address", json_object_new_string(address));
	json_object_object_add(o, "host_port", json_object_new_int((int)h));
	json_object_object_add(o, "guest_port", json_object_new_int((int)g));
	if (hn > 1)
		json_object_object_add(o, "count", json_object_new_int((int)hn));
	*ret = o;
	return 0;
bad:
	return rpc_error(e, "rpc.params",
			 "'%s' is no forward; write [ADDRESS:]HOST:GUEST[/udp], such as 8080:80",
			 text);
}

/* The field that a flag means: dashes of the command line are underscores of the table. */
static const struct rpc_field *flag_field(const struct rpc_method *m, const char *flag, size_t len)
{
	for (const struct rpc_field *f = m->args.fields(); f->name; f++) {
		size_t i = 0;

		while (i < len && f->name[i] &&
		       (f->name[i] == flag[i] || (f->name[i] == '_' && flag[i] == '-')))
			i++;
		if (i == len && !f->name[i])
			return f;
	}
	return NULL;
}

static int unknown_flag(const struct rpc_method *m, const char *word, struct err *e)
{
	struct suggest s = { .wanted = word + 2 };

	for (const struct rpc_field *f = m->args.fields(); f->name; f++)
		suggest_try(&s, f->name);
	rpc_error(e, "rpc.params", "there is no option '%s'", word);
	if (s.best)
		err_hint(e, "did you mean --%s?", s.best);
	return e->code;
}

struct parsing {
	const struct rpc_method *m;
	struct conn_fds *fds;
	json_object *params;
};

static int set_value(struct parsing *p, const struct rpc_field *f, const char *text, struct err *e)
{
	json_object *v = NULL;
	int r;

	if (f->type == RPC_FILE && !strcmp(p->m->name, "disk.create") && !strcmp(f->name, "path")) {
		/* A new file: an old one of this name must not be opened and written over. */
		autofree char *abs = words_absolute(text);

		v = abs ? json_object_new_string(abs) : NULL;
		r = v ? 0 : err_nomem(e);
	} else if (f->type == RPC_FILE)
		r = words_file(text, O_RDWR, p->fds, &v, e);
	else if (f->type == RPC_OBJECT && f->object == &vm_forward_object)
		r = words_forward(text, &v, e);
	else
		r = rpc_from_text(f, text, &v, e);
	if (r < 0)
		return err_in(e, "%s", f->name);
	json_object_object_add(p->params, f->name, v);
	return 0;
}

/* A word of a list of words, such as the names of "list". */
static int add_word(struct parsing *p, const struct rpc_field *f, const char *text)
{
	json_object *list;

	if (!json_object_object_get_ex(p->params, f->name, &list)) {
		list = json_object_new_array();
		json_object_object_add(p->params, f->name, list);
	}
	json_object_array_add(list, json_object_new_string(text));
	return 0;
}

static int set_positional(struct parsing *p, const char *word, struct err *e)
{
	for (const struct rpc_field *f = p->m->args.fields(); f->name; f++) {
		if (f->need != RPC_REQUIRED && f->need != RPC_ARGUMENT)
			continue;
		if (f->type == RPC_STRINGS)
			return add_word(p, f, word);
		if (!json_object_object_get_ex(p->params, f->name, NULL))
			return set_value(p, f, word, e);
	}
	return rpc_error(e, "rpc.params", "'%s' is one word too many", word);
}

/* --flag, with its value in the same word or the next one; *i moves over what was used. */
static int set_flag(struct parsing *p, int argc, char **argv, int *i, struct err *e)
{
	const char *word = argv[*i], *name = word + 2, *eq = strchr(name, '=');
	size_t len = eq ? (size_t)(eq - name) : strlen(name);
	const struct rpc_field *f = flag_field(p->m, name, len);

	if (!f && !eq && !strncmp(name, "no-", 3)) {
		f = flag_field(p->m, name + 3, len - 3);
		if (f && f->type == RPC_BOOL)
			return set_value(p, f, "false", e);
		f = NULL;
	}
	if (!f)
		return unknown_flag(p->m, word, e);
	if (eq)
		return set_value(p, f, eq + 1, e);
	if (f->type == RPC_BOOL)
		return set_value(p, f, "true", e);
	if (*i + 1 >= argc)
		return rpc_error(e, "rpc.params", "%s needs a value: %s", word, f->doc);
	return set_value(p, f, argv[++*i], e);
}

static int check_required(struct parsing *p, struct err *e)
{
	for (const struct rpc_field *f = p->m->args.fields(); f->name; f++)
		if (f->need == RPC_REQUIRED && !json_object_object_get_ex(p->params, f->name, NULL))
			return rpc_error(e, "rpc.params", "%s is missing: %s", f->name, f->doc);
	return 0;
}

int words_parse(const struct rpc_method *m, int argc, char **argv, struct conn_fds *fds,
		json_object **params, struct err *e)
{
	struct parsing p = { m, fds, json_object_new_object() };
	bool flags = true;
	int r = 0;

	for (int i = 0; i < argc && r == 0; i++) {
		const char *word = argv[i], *eq = strchr(word, '=');
		const struct rpc_field *f = eq ? flag_field(m, word, (size_t)(eq - word)) : NULL;

		if (flags && !strcmp(word, "--"))
			flags = false;
		else if (flags && !strcmp(word, "-f") && flag_field(m, "force", 5))
			r = set_value(&p, flag_field(m, "force", 5), "true", e);
		else if (flags && !strncmp(word, "--", 2))
			r = set_flag(&p, argc, argv, &i, e);
		else if (flags && word[0] == '-' && word[1])
			r = unknown_flag(m, word, e);
		else
			r = f ? set_value(&p, f, eq + 1, e) : set_positional(&p, word, e);
	}
	if (r == 0)
		r = check_required(&p, e);
	if (r < 0) {
		json_object_put(p.params);
		return r;
	}
	*params = p.params;
	return 0;
}
