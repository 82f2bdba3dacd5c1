/*
 * Zeroing and discarding: whole units by the format, the rest by writing. Any thread, may wait.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/engine.h"

/* Does it read as zeroes without a look at data? With d->meta held. */
static bool is_zero_mapped(struct disk *d, uint64_t off, uint64_t len)
{
	while (len) {
		struct extent x;

		if (map_locked(d, off, len, &x, NULL) < 0)
			return false;
		if (x.kind != EXTENT_ZERO && (x.kind != EXTENT_BACKING || d->backing))
			return false;
		off += x.len;
		len -= x.len;
	}
	return true;
}

static int write_zeroes(struct disk *d, uint64_t off, uint64_t len, struct err *e)
{
	struct iovec v[16];
	bool zero;

	pthread_mutex_lock(&d->meta);
	zero = d->unit > 1 && is_zero_mapped(d, off, len);
	pthread_mutex_unlock(&d->meta);
	while (len && !zero) {
		struct cursor c = { v, 0, 0 };
		uint64_t step = 0;
		int r;

		for (; c.n < 16 && step < len; c.n++) {
			v[c.n].iov_base = (void *)(uintptr_t)zero_bytes();
			v[c.n].iov_len = MIN(len - step, ZERO_BYTES);
			step += v[c.n].iov_len;
		}
		r = engine_write(d, off, &c, step, e);
		if (r < 0)
			return r;
		off += step;
		len -= step;
	}
	return 0;
}

/* The whole units (or pieces of them) of [off, off + len): the last one of the disk may be cut
 * short. */
static bool whole_units(const struct disk *d, uint64_t off, uint64_t len, uint64_t *start,
			uint64_t *end)
{
	uint32_t piece = d->piece ? d->piece : d->unit;

	*start = round_up(off, piece);
	*end = off + len == d->size ? d->size : round_down(off + len, piece);
	return *start < *end;
}

static int zero_units(struct disk *d, uint64_t off, uint64_t end, bool unmap, bool discard,
		      struct err *e)
{
	struct disk_range range;
	bool full;
	int r = 0;

	if (d->unit == 1) {
		uint64_t len = end - off;

		return discard ? d->format->discard(d, off, &len, e)
			       : d->format->zero(d, off, &len, unmap, e);
	}
	pthread_mutex_lock(&d->meta);
	range_lock(d, &range, off, end - off, true);
	while (r == 0 && off < end) {
		uint64_t len = end - off;

		d->map_changes++;
		r = discard ? d->format->discard(d, off, &len, e)
			    : d->format->zero(d, off, &len, unmap, e);
		off += len;
	}
	range_unlock(d, &range);
	full = d->wants_flush;
	pthread_mutex_unlock(&d->meta);
	return r == 0 && full ? engine_flush(d, e) : r;
}

int engine_zero(struct disk *d, uint64_t off, uint64_t len, bool unmap, struct err *e)
{
	uint64_t start, end;
	int r;

	if (!d->format->zero || !whole_units(d, off, len, &start, &end))
		return write_zeroes(d, off, len, e);
	r = zero_units(d, start, end, unmap, false, e);
	if (r == -ENOTSUP)
		return write_zeroes(d, off, len, e);
	if (r == 0 && start > off)
		r = write_zeroes(d, off, start - off, e);
	if (r == 0 && off + len > end)
		r = write_zeroes(d, end, off + len - end, e);
	return r;
}

int engine_discard(struct disk *d, uint64_t off, uint64_t len, struct err *e)
{
	uint64_t start, end;

	if (!d->format->discard || !whole_units(d, off, len, &start, &end))
		return 0;
	return zero_units(d, start, end, true, true, e);
}
