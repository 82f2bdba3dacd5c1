/*
 * Writing compressed units: for copies, where each unit is written once. Any thread, may wait.
 */
#include <errno.h>
#include <stdlib.h>

#include "storage/dirty.h"
#include "storage/engine.h"

bool disk_packing(struct disk *d, struct packing *p)
{
	*p = (struct packing){ 0 };
	return d->writable && d->format->packing && d->format->packing(d, p) &&
	       codec_have(p->codec);
}

/* With d->meta and the range held. */
static int write_stream(struct disk *d, uint64_t off, const void *stream, size_t n, struct err *e)
{
	struct extent x = { .kind = EXTENT_COMPRESSED, .stored = (uint32_t)n };
	int r = d->format->alloc(d, off, MIN(d->unit, d->size - off), &x, e);

	if (r < 0)
		return r;
	pthread_mutex_unlock(&d->meta);
	r = file_pwrite(d->files[x.file], x.off, stream, n, e);
	pthread_mutex_lock(&d->meta);
	return extent_settle(d, off, &x, r, e);
}

int engine_write_packed(struct disk *d, uint64_t off, const void *stream, size_t n, struct err *e)
{
	struct disk_range range;
	bool full;
	int r;

	if (off % d->unit || off >= d->size || !n || n > 2 * (size_t)d->unit)
		return err_set(e, -EINVAL, "a compressed unit must be a whole one");
	dirty_mark(d, off, MIN(d->unit, d->size - off));
	pthread_mutex_lock(&d->meta);
	range_lock(d, &range, off, MIN(d->unit, d->size - off), true);
	r = write_stream(d, off, stream, n, e);
	range_unlock(d, &range);
	full = d->wants_flush;
	pthread_mutex_unlock(&d->meta);
	return r == 0 && full ? engine_flush(d, e) : r;
}

/* The unit as it will be: what it holds now, and the new bytes in it. */
static int fill_unit(struct disk *d, uint64_t off, uint64_t len, struct cursor *c, uint8_t *unit,
		     struct err *e)
{
	uint64_t start = round_down(off, d->unit), have = MIN(d->unit, d->size - start);
	struct iovec v = { unit, have };
	struct cursor old = { &v, 1, 0 };
	int r = len < have ? read_layer(d, start, &old, have, e) : 0;
	uint8_t *to = unit + (off - start);

	while (r == 0 && len) {
		struct iovec part = { 0 };
		int k;
		uint64_t n = cursor_cut(c, len, &part, 1, &k);

		memcpy(to, part.iov_base, n);
		to += n;
		len -= n;
	}
	return r;
}

int packed_write(struct disk *d, uint64_t off, uint64_t len, struct cursor *c, uint64_t *done,
		 struct err *e)
{
	uint64_t start = round_down(off, d->unit);
	size_t room = d->unit + d->unit / 8 + 1024, n = 0;
	autofree uint8_t *unit = NULL, *stream = NULL;
	struct packing p;
	int r = 0;

	disk_packing(d, &p);
	len = MIN(len, start + d->unit - off);
	pthread_mutex_unlock(&d->meta);
	unit = calloc(1, d->unit);
	stream = malloc(room);
	if (!unit || !stream)
		r = err_nomem(e);
	if (r == 0)
		r = fill_unit(d, off, len, c, unit, e);
	if (r == 0)
		n = codec_pack(p.codec, 0, unit, d->unit, stream, room);
	if (r == 0 && !n)
		r = err_set(e, -EIO, "a unit could not be compressed");
	pthread_mutex_lock(&d->meta);
	if (r == 0)
		r = write_stream(d, start, stream, n, e);
	*done = len;
	return r;
}
