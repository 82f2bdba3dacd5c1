/*
 * Writing compressed units: for copies, where each unit is written once. Any thread, may wait.
 */
#include <errno.h>

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
	d->map_changes++;
	if (r == 0)
		r = d->format->commit(d, off, &x, e);
	if (r < 0)
		d->format->abandon(d, off, &x);
	return r;
}

int engine_write_packed(struct disk *d, uint64_t off, const void *stream, size_t n, struct err *e)
{
	struct disk_range range;
	bool full;
	int r;

	if (off % d->unit || off >= d->size || !n || n > d->unit)
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
