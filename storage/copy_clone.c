/*
 * Sharing blocks between the files of two images instead of copying them (FICLONERANGE), where the
 * file system can and both lie on its block boundaries. Called by the threads of copy.c, in turn.
 */
#include <errno.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "storage/copy_int.h"
#include "storage/engine.h"

enum { BLOCK = 4096 };

/* Where the source's bytes at off are stored as they are. */
static int find_source(struct disk *d, uint64_t off, uint64_t want, struct file **f,
		       struct extent *x)
{
	for (;; d = d->backing) {
		int r;

		pthread_mutex_lock(&d->meta);
		r = map_locked(d, off, want, x, NULL);
		pthread_mutex_unlock(&d->meta);
		if (r < 0)
			return r;
		if (x->kind == EXTENT_BACKING && d->backing && off < d->backing->size) {
			want = MIN(x->len, d->backing->size - off);
			continue;
		}
		*f = d->files[x->file];
		return x->kind == EXTENT_DATA && !(x->flags & EXTENT_SEALED) && (*f)->fd >= 0 &&
			       file_has(*f, x->off, x->len)
			   ? 0
			   : -ENOTSUP;
	}
}

static int share(struct file *from, uint64_t from_off, struct file *to, uint64_t to_off,
		 uint64_t len)
{
	struct file_clone_range range = {
		.src_fd = from->fd, .src_offset = from_off, .src_length = len, .dest_offset = to_off
	};

	if (to->fd < 0 || !to->writable || (from_off | to_off | len) % BLOCK)
		return -EINVAL;
	if (ioctl(to->fd, FICLONERANGE, &range) < 0)
		return -errno;
	file_grown(to, to_off + len);
	return 0;
}

/* Into new room of dst; with d->meta and the range held. *done: how far it went. */
static int share_new(struct disk *d, uint64_t off, struct file *from, uint64_t from_off,
		     uint64_t len, uint64_t *done, struct err *e)
{
	struct extent x = { .kind = EXTENT_DATA };
	int r = d->format->alloc(d, off, len, &x, e);

	if (r < 0)
		return r;
	pthread_mutex_unlock(&d->meta);
	r = x.head || x.tail || x.flags & EXTENT_SEALED
		? -EINVAL
		: share(from, from_off, d->files[x.file], x.off, x.len);
	pthread_mutex_lock(&d->meta);
	*done = x.len;
	return extent_settle(d, off, &x, r, e);
}

static int share_extent(struct disk *d, uint64_t off, struct file *from, uint64_t from_off,
			uint64_t len, struct err *e)
{
	struct disk_range range;
	bool full;
	int r = 0;

	if (d->unit == 1) {
		struct extent x;

		r = map_locked(d, off, len, &x, e);
		if (r < 0 || x.kind != EXTENT_DATA || x.len < len)
			return r < 0 ? r : -EINVAL;
		return share(from, from_off, d->files[x.file], x.off, len);
	}
	pthread_mutex_lock(&d->meta);
	range_lock(d, &range, off, len, true);
	for (uint64_t done = 0; r == 0 && len; off += done, from_off += done, len -= done)
		r = share_new(d, off, from, from_off, len, &done, e);
	range_unlock(d, &range);
	full = d->wants_flush;
	pthread_mutex_unlock(&d->meta);
	return r == 0 && full ? engine_flush(d, e) : r;
}

uint64_t piece_clone(struct copier *c, const struct piece *p)
{
	uint64_t at = 0;

	while (at < p->len) {
		uint64_t off = p->off + at, grain = MAX(c->grain, BLOCK), len;
		struct extent x;
		struct file *from;
		struct err e;
		int r = find_source(c->src, off, p->len - at, &from, &x);

		len = r == 0 ? round_down(x.len, grain) : 0;
		if (!len)
			break;
		r = share_extent(c->dst, off - c->opt->off + c->opt->to, from, x.off, len, &e);
		/* What the file system cannot now it cannot later. */
		if (r == -EOPNOTSUPP || r == -EXDEV || r == -ENOTTY || r == -ENOSYS)
			__atomic_store_n(&c->cannot_clone, true, __ATOMIC_RELAXED);
		if (r < 0)
			break;
		at += len;
	}
	return at;
}
