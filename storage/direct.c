/*
 * The short way of a request: when it is one stretch of a host file and the tables that say so
 * are in memory, it is answered from the page cache at once, or aimed at io_uring. Runs on the
 * thread of a queue's loop and never waits: not for a lock, not for a table, not for the file.
 */
#include <errno.h>
#include <string.h>

#include "storage/dirty.h"
#include "storage/queue.h"

/* seccomp: preadv2 pwritev2 */
static bool answer_now(struct file *f, struct disk_req *q)
{
	bool read = q->op == DISK_READ;
	bool *cannot = read ? &f->no_nowait_read : &f->no_nowait_write;
	ssize_t n;

	if (__atomic_load_n(cannot, __ATOMIC_RELAXED) || f->align > 1)
		return false;
	n = read ? preadv2(f->fd, q->iov, q->iovcnt, (off_t)q->file_off, RWF_NOWAIT)
		 : pwritev2(f->fd, q->iov, q->iovcnt, (off_t)q->file_off, RWF_NOWAIT);
	if (n < 0 && (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL))
		__atomic_store_n(cannot, true, __ATOMIC_RELAXED);
	if (n < 0 || (uint64_t)n != q->len)
		return false;
	if (!read)
		file_grown(f, q->file_off + q->len);
	return true;
}

static bool is_aligned(const struct file *f, const struct disk_req *q)
{
	uint64_t all = q->file_off;

	for (int i = 0; f->align > 1 && i < q->iovcnt; i++)
		all |= (uintptr_t)q->iov[i].iov_base | q->iov[i].iov_len;
	return f->align == 1 || !(all & (f->align - 1));
}

static enum direct use_extent(struct disk *d, const struct extent *x, struct disk_req *q)
{
	struct file *f = d->files[x->file];

	if (x->len < q->len)
		return DIRECT_NO;
	if (x->kind == EXTENT_ZERO || x->kind == EXTENT_BACKING) {
		struct cursor c = { q->iov, q->iovcnt, 0 };

		if (q->op != DISK_READ)
			return DIRECT_NO;
		cursor_fill(&c, NULL, q->len);
		return DIRECT_DONE;
	}
	if (x->kind != EXTENT_DATA || x->flags & EXTENT_SEALED || f->fd < 0 || q->iovcnt > 1024)
		return DIRECT_NO;
	if (q->op == DISK_WRITE && !(x->flags & EXTENT_IN_PLACE))
		return DIRECT_NO;
	q->file_off = x->off;
	q->file = f;
	if (answer_now(f, q))
		return DIRECT_DONE;
	return is_aligned(f, q) ? DIRECT_AIM : DIRECT_NO;
}

/* The layer that has the bytes, when one layer has them all. Layers below do not change. */
static bool find_layer(struct disk *d, struct disk_req *q, struct disk **ret, struct extent *x)
{
	for (;; d = d->backing) {
		int r;

		if (pthread_mutex_trylock(&d->meta))
			return false;
		d->map_in_memory = true;
		r = map_locked(d, q->off, q->len, x, NULL);
		d->map_in_memory = false;
		pthread_mutex_unlock(&d->meta);
		if (r < 0 || x->len < q->len)
			return false;
		*ret = d;
		if (x->kind != EXTENT_BACKING || !d->backing || q->op != DISK_READ ||
		    q->off >= d->backing->size)
			return true;
		if (d->flags & DISK_COPY_ON_READ && d->writable)
			return false;
		if (!range_fits(q->off, q->len, d->backing->size))
			return false;
	}
}

enum direct direct_try(struct disk *d, struct disk_req *q)
{
	enum direct how = DIRECT_NO;
	struct disk *layer;
	struct extent x;
	bool held;

	if ((q->op != DISK_READ && q->op != DISK_WRITE) || q->fua || !q->len)
		return DIRECT_NO;
	if (q->op == DISK_WRITE && d->format->before_write &&
	    !__atomic_load_n(&d->begun, __ATOMIC_ACQUIRE))
		return DIRECT_NO;
	/* The request's own word; its neighbours in the list change its links. */
	q->range.held = false;
	if (has_ranges(d)) {
		if (pthread_mutex_trylock(&d->meta))
			return DIRECT_NO;
		held = range_try(d, &q->range, q->off, q->len, false);
		pthread_mutex_unlock(&d->meta);
		if (!held)
			return DIRECT_NO;
	}
	if (q->op == DISK_WRITE)
		dirty_mark(d, q->off, q->len);
	if (find_layer(d, q, &layer, &x))
		how = use_extent(layer, &x, q);
	if (how != DIRECT_AIM)
		direct_release(d, q);
	return how;
}

void direct_release(struct disk *d, struct disk_req *q)
{
	if (!q->range.held)
		return;
	pthread_mutex_lock(&d->meta);
	range_unlock(d, &q->range);
	pthread_mutex_unlock(&d->meta);
}
