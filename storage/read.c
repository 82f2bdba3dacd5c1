/*
 * Reading through any format: requests are split at extents, compressed units are expanded, and
 * what a layer does not have is asked from the layer below. Any thread, may wait.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/engine.h"

int map_locked(struct disk *d, uint64_t off, uint64_t want, struct extent *x, struct err *e)
{
	int r;

	memset(x, 0, sizeof(*x));
	r = d->format->map(d, off, want, x, e);
	if (r < 0)
		return r;
	if (!x->len || x->file >= d->nfiles)
		return err_set(e, -EIO, "%s made an extent that is no extent", d->format->name);
	x->len = MIN(x->len, want);
	return 0;
}

/* Units need not be of one size. */
static int unit_buffers(struct disk *d, const struct extent *x, uint8_t **in, struct err *e)
{
	if (x->unit > UNIT_MAX || x->stored > UNIT_MAX + 64 * KiB)
		return err_damaged(e, "%u bytes that become %u are more than a unit may have",
				   x->stored, x->unit);
	if (x->unit > d->unit_room) {
		free(d->unit_data);
		d->unit_data = malloc(x->unit);
		d->unit_room = d->unit_data ? x->unit : 0;
	}
	*in = malloc(x->stored);
	return *in && d->unit_data ? 0 : err_nomem(e);
}

/* The unit stays expanded for the next request: small reads in a row pay once. */
static int read_compressed(struct disk *d, uint64_t off, const struct extent *x, uint64_t changes,
			   struct cursor *c, uint64_t len, struct err *e)
{
	autofree uint8_t *in = NULL;
	int r = 0;

	pthread_mutex_lock(&d->unit_lock);
	if (!d->unit_data || d->unit_key != x->off || d->unit_changes != changes) {
		d->unit_key = UINT64_MAX;
		r = unit_buffers(d, x, &in, e);
		if (r == 0)
			r = file_pread(d->files[x->file], x->off, in, x->stored, e);
		if (r == 0)
			r = codec_expand(x->codec, in, x->stored, d->unit_data, x->unit, e);
		if (r == 0) {
			d->unit_key = x->off;
			d->unit_changes = changes;
		} else {
			err_in(e, "%s: the unit at byte %llu of the disk", disk_file(d)->name,
			       (unsigned long long)x->unit_off);
		}
	}
	if (r == 0)
		cursor_fill(c, d->unit_data + (off - x->unit_off), len);
	pthread_mutex_unlock(&d->unit_lock);
	return r;
}

static int read_data(struct disk *d, const struct extent *x, struct cursor *c, uint64_t len,
		     struct err *e)
{
	uint64_t at = x->off;

	while (len) {
		struct iovec v[IOV_STEP];
		int k, r;
		uint64_t n = cursor_cut(c, len, v, IOV_STEP, &k);

		r = file_preadv(d->files[x->file], at, v, k, e);
		if (r < 0)
			return r;
		at += n;
		len -= n;
	}
	return 0;
}

static int read_backing(struct disk *d, uint64_t off, struct cursor *c, uint64_t len, struct err *e)
{
	uint64_t have = 0;
	int r = 0;

	if (d->backing && off < d->backing->size)
		have = MIN(len, d->backing->size - off);
	if (have)
		r = read_layer(d->backing, off, c, have, e);
	if (r == 0)
		cursor_fill(c, NULL, len - have);
	return r;
}

static int read_extent(struct disk *d, uint64_t off, const struct extent *x, uint64_t changes,
		       struct cursor *c, struct err *e)
{
	switch (x->kind) {
	case EXTENT_DATA:
		return x->flags & EXTENT_SEALED ? sealed_read(d, x, c, x->len, e)
						: read_data(d, x, c, x->len, e);
	case EXTENT_COMPRESSED: return read_compressed(d, off, x, changes, c, x->len, e);
	case EXTENT_BACKING: return read_backing(d, off, c, x->len, e);
	case EXTENT_MEMORY: cursor_fill(c, x->mem, x->len); return 0;
	case EXTENT_ZERO: cursor_fill(c, NULL, x->len); return 0;
	}
	return err_set(e, -EIO, "%s made an extent of no kind", d->format->name);
}

int read_layer(struct disk *d, uint64_t off, struct cursor *c, uint64_t len, struct err *e)
{
	while (len) {
		struct extent x;
		uint64_t changes;
		int r;

		pthread_mutex_lock(&d->meta);
		r = map_locked(d, off, len, &x, e);
		changes = d->map_changes;
		pthread_mutex_unlock(&d->meta);
		if (r == 0)
			r = read_extent(d, off, &x, changes, c, e);
		if (r < 0)
			return r;
		off += x.len;
		len -= x.len;
	}
	return 0;
}

int engine_read(struct disk *d, uint64_t off, struct cursor *c, uint64_t len, struct err *e)
{
	struct disk_range range;
	int r;

	/* A full disk is no reason why it cannot be read. */
	if (d->flags & DISK_COPY_ON_READ && d->writable && d->backing)
		disk_copy_up(d, off, len, NULL);
	if (!has_ranges(d))
		return read_layer(d, off, c, len, e);
	pthread_mutex_lock(&d->meta);
	range_lock(d, &range, off, len, false);
	pthread_mutex_unlock(&d->meta);
	r = read_layer(d, off, c, len, e);
	pthread_mutex_lock(&d->meta);
	range_unlock(d, &range);
	pthread_mutex_unlock(&d->meta);
	return r;
}
