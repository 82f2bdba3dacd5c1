/*
 * Bringing into an image what it shows of the layers below it: as it is read (copy-on-read), or
 * for whoever wants the image to stand by itself. Any thread, may wait.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/engine.h"

enum { PIECE = 1 << 20 };

/* Zeroes from below: a note of them will do where the format has one. Whole units. */
static int copy_zeroes(struct disk *d, uint64_t off, uint64_t *len, struct err *e)
{
	int r = -ENOTSUP;

	if (!d->format->zero || off % d->unit)
		return r;
	if (off + *len < d->size)
		*len = round_down(*len, d->unit);
	if (!*len)
		return r;
	pthread_mutex_lock(&d->meta);
	d->map_changes++;
	r = d->format->zero(d, off, len, true, e);
	pthread_mutex_unlock(&d->meta);
	return r;
}

static int copy_data(struct disk *d, uint64_t off, uint64_t *len, uint8_t *buf, struct err *e)
{
	struct iovec v = { buf, MIN(*len, PIECE) };
	struct cursor c = { &v, 1, 0 };
	int r = read_layer(d, off, &c, v.iov_len, e);

	c = (struct cursor){ &v, 1, 0 };
	*len = v.iov_len;
	pthread_mutex_lock(&d->meta);
	for (uint64_t left = *len, done; r == 0 && left; left -= done, off += done)
		r = write_held(d, off, left, &c, &done, e);
	pthread_mutex_unlock(&d->meta);
	return r;
}

/* Holding the range alone. */
static int copy_range(struct disk *d, uint64_t off, uint64_t end, struct err *e)
{
	autofree uint8_t *buf = malloc(PIECE);
	struct disk_map m;
	int r = buf ? 0 : err_nomem(e);

	while (r == 0 && off < end) {
		uint64_t len;

		r = disk_map(d, off, &m, e);
		len = r == 0 ? MIN(m.len, end - off) : 0;
		if (r == 0 && m.depth && m.status != DISK_IS_HOLE) {
			r = m.status == DISK_IS_ZERO ? copy_zeroes(d, off, &len, e) : -ENOTSUP;
			if (r == -ENOTSUP)
				r = copy_data(d, off, &len, buf, e);
		}
		off += len;
	}
	return r;
}

int disk_copy_up(struct disk *d, uint64_t off, uint64_t len, struct err *e)
{
	uint64_t start = round_down(off, d->unit), end;
	struct disk_range range;
	bool full;
	int r;

	if (!range_fits(off, len, d->size))
		return err_set(e, -EINVAL, "a range past the end of the disk");
	end = MIN(round_up(off + len, d->unit), d->size);
	if (!d->writable || !d->format->alloc)
		return err_set(e, -EROFS, "%s cannot be written", disk_file(d)->name);
	if (!d->backing || !len)
		return 0;
	r = engine_begin(d, e);
	if (r < 0)
		return r;
	pthread_mutex_lock(&d->meta);
	range_lock(d, &range, start, end - start, true);
	pthread_mutex_unlock(&d->meta);
	r = copy_range(d, start, end, e);
	pthread_mutex_lock(&d->meta);
	range_unlock(d, &range);
	full = d->wants_flush;
	pthread_mutex_unlock(&d->meta);
	return r == 0 && full ? engine_flush(d, e) : r;
}
