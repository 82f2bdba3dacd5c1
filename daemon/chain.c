/*
 * chain.c - which files an image brings with it: looked up by a child, which parses images with the
 * rights of the VM's owner. The worker gets them all open, in the order in which it needs them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/own.h"
#include "daemon/child.h"
#include "daemon/vm.h"
#include "storage/disk.h"

struct chain {
	struct vm *vm;
	struct worker_fd *fds;
	size_t max, *n;
	struct arena *mem;
	chain_fn *fn;
	void *arg;
	struct child *child;
};

/* ---- in the child ---- */

static const char *format_of(const struct vm_def *d, size_t i)
{
	return i < d->disks.n ? d->disks.v[i].format : NULL;
}

static unsigned flags_of(const struct vm_def *d, size_t i)
{
	if (i >= d->disks.n)
		return DISK_RDONLY;
	return (d->disks.v[i].readonly ? DISK_RDONLY : 0) |
	       (d->disks.v[i].snapshot ? DISK_SNAPSHOT : 0);
}

static void add_text(json_object *o, const char *key, const char *text)
{
	if (text)
		json_object_object_add(o, key, json_object_new_string(text));
}

/* All links but the first, which is open already. Its format is told, as it was found by looking.
 */
static int add_links(json_object *list, struct child_result *ret, size_t index,
		     struct disk_chain *c, struct err *e)
{
	for (unsigned k = 0; k < c->n; k++) {
		struct disk_link *l = &c->links[k];
		json_object *o = json_object_new_object();

		json_object_object_add(o, "index", json_object_new_uint64(index));
		json_object_object_add(o, "depth", json_object_new_uint64(k));
		add_text(o, "path", l->path);
		add_text(o, "name", l->name);
		add_text(o, "format", l->format);
		json_object_object_add(o, "temporary", json_object_new_boolean(l->temporary));
		json_object_array_add(list, o);
		if (k == 0)
			continue;
		if (ret->n_fds == CONN_FDS)
			return rpc_error(e, "limit.reached", "the images name more than %d files",
					 CONN_FDS);
		ret->fds[ret->n_fds++] = take_fd(&l->fd);
	}
	return 0;
}

static int resolve_one(const struct chain *c, const struct worker_fd *f, json_object *list,
		       struct child_result *ret, struct err *e)
{
	const struct vm_def *d = c->vm->def;
	struct disk_dirs dirs = { .own_dir = true };
	struct disk_gate gate = disk_gate_dirs(&dirs);
	struct disk_options o = { .format = format_of(d, f->index),
				  .flags = flags_of(d, f->index) | DISK_NO_LOCK,
				  .gate = &gate };
	struct disk_chain links = { .n = 0 };
	int r = disk_resolve(f->path, &o, &links, e);

	if (r == 0)
		r = add_links(list, ret, f->index, &links, e);
	disk_chain_free(&links);
	/* The client has sent the image because we cannot reach it: then it stands alone. */
	return r == -ENOENT || r == -EACCES ? 0 : r;
}

static int work(void *arg, int sock, struct child_result *ret, struct err *e)
{
	const struct chain *c = arg;
	json_object *list = json_object_new_array();
	int r = 0;

	(void)sock;
	for (size_t i = 0; r == 0 && i < *c->n; i++)
		if (c->fds[i].role == WORKER_FD_DISK)
			r = resolve_one(c, &c->fds[i], list, ret, e);
	ret->result = list;
	return r;
}

/* ---- in the daemon ---- */

static uint64_t number(json_object *o, const char *key)
{
	json_object *v;

	return json_object_object_get_ex(o, key, &v) ? json_object_get_uint64(v) : 0;
}

/* A copy in the start's memory; false: out of memory. */
static bool text(struct chain *c, json_object *o, const char *key, const char **to)
{
	json_object *v;

	if (!json_object_object_get_ex(o, key, &v))
		return true;
	*to = arena_strdup(c->mem, json_object_get_string(v));
	return *to != NULL;
}

static struct worker_fd *disk_of(struct chain *c, uint64_t index)
{
	for (size_t i = 0; i < *c->n; i++)
		if (c->fds[i].role == WORKER_FD_DISK && c->fds[i].index == index)
			return &c->fds[i];
	return NULL;
}

static int take_link(struct chain *c, json_object *o, struct conn_fds *fds, size_t *next,
		     struct err *e)
{
	uint64_t depth = number(o, "depth");
	struct worker_fd *f = depth ? &c->fds[*c->n] : disk_of(c, number(o, "index"));
	json_object *v;

	if (depth && (*c->n == c->max || *next == fds->n))
		return rpc_error(e, "limit.reached", "a VM has at most %zu files", c->max);
	if (depth) {
		*f = (struct worker_fd){ .role = WORKER_FD_BACKING,
					 .index = number(o, "index"),
					 .has_index = true,
					 .depth = depth,
					 .has_depth = true,
					 .fd = fds->v[*next] };
		fds->v[(*next)++] = -1;
		(*c->n)++;
	}
	if (!f)
		return 0;
	f->temporary = f->has_temporary =
	    json_object_object_get_ex(o, "temporary", &v) && json_object_get_boolean(v);
	if (!text(c, o, "path", &f->path) || !text(c, o, "name", &f->name) ||
	    !text(c, o, "format", &f->format))
		return err_nomem(e);
	return 0;
}

static void done(void *arg, json_object *result, struct conn_fds *fds, const struct err *why)
{
	struct chain *c = arg;
	size_t next = 0, n = result ? json_object_array_length(result) : 0;
	struct err e;
	int r = 0;

	if (why) {
		c->fn(c->arg, why);
		return;
	}
	for (size_t i = 0; r == 0 && i < n; i++)
		r = take_link(c, json_object_array_get_idx(result, i), fds, &next, &e);
	c->fn(c->arg, r < 0 ? &e : NULL);
}

int chain_resolve(struct vm *vm, struct worker_fd *fds, size_t max, size_t *n, struct arena *mem,
		  chain_fn *fn, void *arg, struct chain **ret, struct err *e)
{
	static const struct child_ops ops = { .work = work, .done = done };
	struct chain *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return err_nomem(e);
	*c = (struct chain){ vm, fds, max, n, mem, fn, arg, NULL };
	r = child_start(vm->d, vm->owner, vm->group, &ops, c, c, &c->child, e);
	if (r < 0) {
		free(c);
		return r;
	}
	*ret = c;
	return 0;
}

void chain_free(struct chain *c)
{
	if (c->child)
		child_free(c->child);
	free(c);
}
