/*
 * Ranges of the disk that requests in flight stand on. A request that only reads or overwrites in
 * place shares its units; one that changes where units lie has them alone. So nobody reads a
 * place in the file that another request is giving back. Any thread, with d->meta held.
 */
#include "storage/format.h"

bool range_try(struct disk *d, struct disk_range *r, uint64_t off, uint64_t len, bool exclusive)
{
	uint64_t end = round_up(off + len, d->unit);
	struct disk_range *o;

	off = round_down(off, d->unit);
	list_for_each(o, &d->ranges, struct disk_range, node)
		if (off < o->end && o->off < end && (exclusive || o->exclusive))
			return false;
	r->off = off;
	r->end = end;
	r->exclusive = exclusive;
	r->held = true;
	list_append(&d->ranges, &r->node);
	return true;
}

void range_lock(struct disk *d, struct disk_range *r, uint64_t off, uint64_t len, bool exclusive)
{
	while (!range_try(d, r, off, len, exclusive))
		pthread_cond_wait(&d->ranges_changed, &d->meta);
}

void range_unlock(struct disk *d, struct disk_range *r)
{
	list_remove(&r->node);
	r->held = false;
	pthread_cond_broadcast(&d->ranges_changed);
}
