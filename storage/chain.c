/*
 * A resolved image: its files as fds, found by a process that may open them (vmctl, vmd), used by
 * one that may not (the worker, a job). May wait.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "storage/open.h"

static void link_free(struct disk_link *l)
{
	if (l->fd >= 0)
		close(l->fd);
	free(l->path);
	free(l->name);
	free(l->format);
}

void disk_chain_free(struct disk_chain *c)
{
	for (unsigned i = 0; i < c->n; i++)
		link_free(&c->links[i]);
	free(c->links);
	*c = (struct disk_chain){ 0 };
}

static char *copy(const char *s)
{
	return s ? strdup(s) : NULL;
}

/* fd becomes the chain's, also on failure. */
static int chain_add(struct disk_chain *c, int fd, const char *path, const char *name,
		     const char *format, struct err *e)
{
	autoclose int own = fd;
	struct disk_link *all, l = { .fd = -1 };

	if (c->n == FILES_MAX)
		return err_damaged(e, "more than %d files in one chain of images", FILES_MAX);
	all = realloc(c->links, (c->n + 1) * sizeof(*all));
	if (!all)
		return err_nomem(e);
	c->links = all;
	l.path = copy(path);
	l.name = copy(name);
	l.format = copy(format);
	if (!l.path || (name && !l.name) || (format && !l.format)) {
		link_free(&l);
		return err_nomem(e);
	}
	l.fd = take_fd(&own);
	all[c->n++] = l;
	return 0;
}

static int dup_into(struct disk_chain *c, int fd, const char *path, const char *name,
		    const char *format, struct err *e)
{
	int copy_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (copy_fd < 0)
		return err_sys(e, "cannot keep %s open", path);
	return chain_add(c, copy_fd, path, name, format, e);
}

/* The gate's answer is used, and a copy of it kept. */
static int give_and_keep(struct opener *op, const struct disk_ref *ref, struct disk_grant *g,
			 struct err *e)
{
	const char *format;
	int r = op->gate->open(op->gate->arg, ref, g, e);

	if (r < 0)
		return r;
	if (g->file)
		return err_set(e, -EINVAL, "%s is no file that can be passed on", ref->name);
	format = g->format ? g->format : ref->format;
	if (ref->kind == DISK_REF_DATA || ref->kind == DISK_REF_EXTENT)
		format = NULL;
	r = dup_into(op->chain, g->fd, g->path, ref->name, format, e);
	if (r < 0) {
		close(g->fd);
		free(g->path);
		free(g->format);
	}
	return r;
}

static int resolve_top(struct opener *op, const char *path, const struct disk_options *o,
		       struct err *e)
{
	struct disk *d = NULL;
	int fd = open_image_path(path, op->flags, e), r;
	bool snapshot = op->flags & DISK_SNAPSHOT;

	if (fd < 0)
		return fd;
	r = dup_into(op->chain, fd, path, NULL, NULL, e);
	if (r < 0) {
		close(fd);
		return r;
	}
	r = opener_top(op, fd, path, o ? o->format : NULL, -1, &d, e);
	if (r < 0)
		return r;
	op->chain->links[0].format = copy(disk_format_name(d));
	disk_close(d);
	if (!op->chain->links[0].format)
		return err_nomem(e);
	if (!snapshot)
		return 0;
	fd = temporary_fd(e);
	if (fd < 0)
		return fd;
	r = chain_add(op->chain, fd, "the temporary overlay", NULL, NULL, e);
	if (r == 0)
		op->chain->links[op->chain->n - 1].temporary = true;
	return r;
}

int disk_resolve(const char *path, const struct disk_options *o, struct disk_chain *ret,
		 struct err *e)
{
	static const struct disk_options none;
	struct disk_chain c = { 0 };
	struct opener op;
	int r;

	opener_init(&op, o ? o : &none);
	op.resolving = true;
	op.chain = &c;
	if (op.gate)
		op.give = give_and_keep;
	r = resolve_top(&op, path, o, e);
	opener_done(&op);
	if (r < 0)
		disk_chain_free(&c);
	else
		*ret = c;
	return r;
}

/* In the order of the chain, and only what the image names. */
static int give_next(struct opener *op, const struct disk_ref *ref, struct disk_grant *g,
		     struct err *e)
{
	struct disk_link *l = op->next < op->chain->n ? &op->chain->links[op->next] : NULL;

	if (!l || l->temporary || !l->name || l->fd < 0 ||
	    (ref->name && strcmp(l->name, ref->name))) {
		err_set(e, -EPERM, "%s names %.200s, which was not there when it was looked at",
			ref->from, ref->name ? ref->name : "a parent");
		return err_kind(e, "disk.denied"), -EPERM;
	}
	op->next++;
	*g = (struct disk_grant){ .fd = -1, .path = strdup(l->path), .format = copy(l->format) };
	if (!g->path || (l->format && !g->format)) {
		free(g->path);
		free(g->format);
		return err_nomem(e);
	}
	g->fd = take_fd(&l->fd);
	return 0;
}

int disk_open_chain(struct disk_chain *c, const struct disk_options *o, struct disk **ret,
		    struct err *e)
{
	struct disk_link *last = c->n ? &c->links[c->n - 1] : NULL;
	int overlay = -1, r;
	struct opener op;

	if (!c->n || c->links[0].fd < 0 || !c->links[0].format)
		return err_set(e, -EINVAL, "a chain of images without an image");
	opener_init(&op, o ? o : &(struct disk_options){ 0 });
	op.gate = NULL;
	op.give = give_next;
	op.chain = c;
	op.next = 1;
	if (last->temporary)
		overlay = take_fd(&last->fd);
	r = opener_top(&op, take_fd(&c->links[0].fd), c->links[0].path, c->links[0].format, overlay,
		       ret, e);
	opener_done(&op);
	return r;
}
