/*
 * A file with some stretches replaced in memory: how an image with an open log is read when it may
 * not be written. Reading only. Any thread.
 */
#include <errno.h>
#include <stdlib.h>

#include "storage/vhdx.h"

struct patched {
	struct file f, *below;
	struct vhdx_patch *p; /* in the order in which they were written */
	size_t n;
};

static struct patched *patched_of(struct file *f)
{
	return container_of(f, struct patched, f);
}

/* One buffer: what is below, then every patch that touches it, later ones over earlier ones. */
static int read_one(struct patched *p, uint64_t off, uint8_t *buf, size_t len, struct err *e)
{
	int r = file_pread(p->below, off, buf, len, e);

	for (size_t i = 0; r == 0 && i < p->n; i++) {
		const struct vhdx_patch *x = &p->p[i];
		uint64_t from = MAX(x->off, off), to = MIN(x->off + x->len, off + len);

		if (from >= to)
			continue;
		if (x->data)
			memcpy(buf + (from - off), x->data + (from - x->off), to - from);
		else
			memset(buf + (from - off), 0, to - from);
	}
	return r;
}

static int patched_readv(struct file *f, uint64_t off, const struct iovec *iov, int n,
			 struct err *e)
{
	int r = 0;

	for (int i = 0; r == 0 && i < n; i++) {
		r = read_one(patched_of(f), off, iov[i].iov_base, iov[i].iov_len, e);
		off += iov[i].iov_len;
	}
	return r;
}

static int patched_writev(struct file *f, uint64_t off, const struct iovec *iov, int n,
			  struct err *e)
{
	(void)off;
	(void)iov;
	(void)n;
	return err_set(e, -EROFS, "%s is open for reading only", f->name);
}

static int patched_zero(struct file *f, uint64_t off, uint64_t len, bool punch, struct err *e)
{
	(void)punch;
	(void)len;
	return patched_writev(f, off, NULL, 0, e);
}

static int patched_truncate(struct file *f, uint64_t size, struct err *e)
{
	return patched_writev(f, size, NULL, 0, e);
}

static int patched_sync(struct file *f, struct err *e)
{
	(void)f;
	(void)e;
	return 0;
}

static bool patched_is_data(struct file *f, uint64_t off, uint64_t *len)
{
	*len = file_size(f) - off;
	return true;
}

static void patches_free(struct vhdx_patch *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(p[i].data);
	free(p);
}

static void patched_close(struct file *f)
{
	struct patched *p = patched_of(f);

	file_close(p->below);
	patches_free(p->p, p->n);
	free(f->name);
	free(p);
}

static const struct file_ops patched_ops = {
	.readv = patched_readv,
	.writev = patched_writev,
	.zero = patched_zero,
	.truncate = patched_truncate,
	.sync = patched_sync,
	.is_data = patched_is_data,
	.close = patched_close,
};

int vhdx_patch_file(struct file *f, struct vhdx_patch *patches, size_t n, uint64_t size,
		    struct file **ret, struct err *e)
{
	struct patched *p = calloc(1, sizeof(*p));
	char *name = strdup(f->name);

	if (!p || !name) {
		free(p);
		free(name);
		return err_nomem(e);
	}
	p->f = (struct file){ .ops = &patched_ops,
			      .fd = -1,
			      .align = 1,
			      .size = MAX(size, file_size(f)),
			      .name = name,
			      .dev = f->dev,
			      .ino = f->ino };
	p->below = f;
	p->p = patches;
	p->n = n;
	*ret = &p->f;
	return 0;
}
