/*
 * Writing through any format: in place where that is allowed, else into new room that is filled
 * up with what the disk held there, and then made visible. Any thread, may wait.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/engine.h"

static int write_data(struct disk *d, const struct extent *x, struct cursor *c, uint64_t len,
		      struct err *e)
{
	uint64_t at = x->off;

	if (x->flags & EXTENT_SEALED)
		return sealed_write(d, x, c, len, e);
	while (len) {
		struct iovec v[IOV_STEP];
		int k, r;
		uint64_t n = cursor_cut(c, len, v, IOV_STEP, &k);

		r = file_pwritev(d->files[x->file], at, v, k, e);
		if (r < 0)
			return r;
		at += n;
		len -= n;
	}
	return 0;
}

/* What the disk holds there now, for the rest of a unit that is written in part. */
static int read_old(struct disk *d, uint64_t off, uint8_t *buf, uint32_t len, struct err *e)
{
	uint64_t have = off < d->size ? MIN(len, d->size - off) : 0;
	struct iovec v = { buf, have };
	struct cursor c = { &v, 1, 0 };

	memset(buf + have, 0, len - have);
	return have ? read_layer(d, off, &c, have, e) : 0;
}

/* Head, data and tail go out together where the buffers are few; that is one system call. */
static int write_filled(struct disk *d, const struct extent *x, const uint8_t *head,
			const uint8_t *tail, struct cursor *c, struct err *e)
{
	uint64_t at = x->off, left = x->len;
	bool first = true, tail_left = tail != NULL;

	if (!head)
		at += x->head;
	while (left || tail_left) {
		struct iovec v[IOV_STEP + 2];
		uint64_t n = 0;
		int k = 0, got, r;

		if (first && head)
			v[k++] = (struct iovec){ (void *)(uintptr_t)head, x->head };
		n = cursor_cut(c, left, v + k, IOV_STEP, &got);
		k += got;
		left -= n;
		if (!left && tail_left) {
			v[k++] = (struct iovec){ (void *)(uintptr_t)tail, x->tail };
			tail_left = false;
		}
		r = file_pwritev(d->files[x->file], at, v, k, e);
		if (r < 0)
			return r;
		at += n + (first && head ? x->head : 0);
		first = false;
	}
	return 0;
}

static int write_new(struct disk *d, uint64_t off, const struct extent *x, struct cursor *c,
		     struct err *e)
{
	autofree uint8_t *fill = NULL;
	const uint8_t *head = NULL, *tail = NULL;
	int r = 0;

	if (x->head || x->tail) {
		fill = malloc((size_t)x->head + x->tail);
		if (!fill)
			return err_nomem(e);
		r = read_old(d, off - x->head, fill, x->head, e);
		if (r == 0)
			r = read_old(d, off + x->len, fill + x->head, x->tail, e);
		if (r < 0)
			return r;
		if (x->flags & EXTENT_SEALED)
			return sealed_write_new(d, x, fill, fill + x->head, c, e);
		if (x->head && !(x->flags & EXTENT_FRESH && bytes_are_zero(fill, x->head)))
			head = fill;
		if (x->tail &&
		    !(x->flags & EXTENT_FRESH && bytes_are_zero(fill + x->head, x->tail)))
			tail = fill + x->head;
	}
	if (x->flags & EXTENT_SEALED)
		return sealed_write_new(d, x, NULL, NULL, c, e);
	return write_filled(d, x, head, tail, c, e);
}

int extent_settle(struct disk *d, uint64_t off, const struct extent *x, int written, struct err *e)
{
	int r = written;

	d->map_changes++;
	if (r == 0)
		r = d->format->commit(d, off, x, e);
	if (r < 0)
		d->format->abandon(d, off, x);
	return r;
}

/* With d->meta held, which is dropped while data moves. */
static int write_allocating(struct disk *d, uint64_t off, uint64_t len, struct cursor *c,
			    uint64_t *done, struct err *e)
{
	struct extent x = { .kind = EXTENT_DATA };
	struct packing p;
	int r = d->format->alloc(d, off, len, &x, e);

	if (r == -ENOTSUP && disk_packing(d, &p) && p.always)
		return packed_write(d, off, len, c, done, e);
	if (r < 0)
		return r;
	pthread_mutex_unlock(&d->meta);
	r = write_new(d, off, &x, c, e);
	pthread_mutex_lock(&d->meta);
	*done = x.len;
	return extent_settle(d, off, &x, r, e);
}

/* With d->meta and the range held. Stops without an error where it would need the range alone. */
static int write_step(struct disk *d, uint64_t off, uint64_t len, bool alone, struct cursor *c,
		      uint64_t *done, struct err *e)
{
	struct extent x;
	int r = map_locked(d, off, len, &x, e);

	*done = 0;
	if (r < 0)
		return r;
	if (!alone && sealed_in_part(d, &x, x.len))
		return 0;
	if (x.kind == EXTENT_DATA && x.flags & EXTENT_IN_PLACE) {
		pthread_mutex_unlock(&d->meta);
		r = write_data(d, &x, c, x.len, e);
		pthread_mutex_lock(&d->meta);
		*done = x.len;
		return r;
	}
	if (!alone)
		return 0;
	if (!d->format->alloc)
		return err_lacking(e, "%s images cannot be written", d->format->name);
	return write_allocating(d, off, len, c, done, e);
}

int write_held(struct disk *d, uint64_t off, uint64_t len, struct cursor *c, uint64_t *done,
	       struct err *e)
{
	return write_step(d, off, len, true, c, done, e);
}

static int write_ranged(struct disk *d, uint64_t off, struct cursor *c, uint64_t len, struct err *e)
{
	struct disk_range range;
	bool alone = false, full;
	int r = 0;

	pthread_mutex_lock(&d->meta);
	range_lock(d, &range, off, len, alone);
	while (r == 0 && len) {
		uint64_t done;

		r = write_step(d, off, len, alone, c, &done, e);
		off += done;
		len -= done;
		if (r == 0 && !done) {
			range_unlock(d, &range);
			alone = true;
			range_lock(d, &range, off, len, alone);
		}
	}
	range_unlock(d, &range);
	full = d->wants_flush;
	pthread_mutex_unlock(&d->meta);
	return r == 0 && full ? engine_flush(d, e) : r;
}

int engine_write(struct disk *d, uint64_t off, struct cursor *c, uint64_t len, struct err *e)
{
	struct extent x;
	int r;

	if (has_ranges(d))
		return write_ranged(d, off, c, len, e);
	while (len) {
		r = map_locked(d, off, len, &x, e);
		if (r == 0)
			r = write_data(d, &x, c, x.len, e);
		if (r < 0)
			return r;
		off += x.len;
		len -= x.len;
	}
	return 0;
}
