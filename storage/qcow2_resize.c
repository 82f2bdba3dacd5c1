/* Changing the size of the disk in a qcow2 image. Called with no request in flight. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/qcow2.h"

/* A longer L1 table elsewhere, then the header (with the new size), then the old one goes. */
static int grow_l1(struct disk *d, uint32_t need, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t *l1 = calloc(need, 8), *dirty = calloc(BITMAP_WORDS((size_t)need) + 1, 8);
	uint64_t first, old = q->l1_off, old_n = q->l1_entries;
	int r = l1 && dirty ? 0 : err_nomem(e);

	if (r == 0)
		r = q2_take_exactly(d, q2_clusters(q, (uint64_t)need * 8), &first, e);
	if (r == 0)
		memcpy(l1, q->l1, old_n * 8);
	if (r == 0)
		r = q2_store_table(d, first << q->cluster_bits, l1, need, 0, e);
	if (r == 0)
		r = q2_settle(d, e);
	if (r < 0) {
		free(l1);
		free(dirty);
		return r;
	}
	free(q->l1);
	free(q->l1_dirty);
	q->l1 = l1;
	q->l1_dirty = dirty;
	q->l1_entries = need;
	q->l1_off = first << q->cluster_bits;
	return q2_let_go(d, old >> q->cluster_bits, q2_clusters(q, old_n * 8), false, e);
}

/* What is past the new end must not come back when the disk grows again. */
static int drop_tail(struct disk *d, uint64_t size, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t off = round_up(size, q->cluster_size);
	int r = 0;

	while (r == 0 && off < d->size) {
		uint64_t len = d->size - off;

		r = q2_unmap(d, off, &len, e);
		off += len;
		if (r == 0 && d->wants_flush)
			r = q2_flush(d, e);
	}
	return r < 0 ? r : q2_settle(d, e);
}

int q2_resize(struct disk *d, uint64_t size, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	unsigned cover_bits = q->cluster_bits + q->l2_bits;
	uint64_t need = (size >> cover_bits) + !!(size & ((UINT64_C(1) << cover_bits) - 1));
	uint64_t old = d->size;
	int r = q2_settle(d, e);

	if (need > Q2_L1_BYTES_MAX / 8)
		return err_set(e, -EINVAL, "%s: a disk of %llu bytes needs bigger clusters",
			       disk_file(d)->name, (unsigned long long)size);
	if (r == 0 && size < old)
		r = drop_tail(d, size, e);
	if (r == 0 && q->data_file && q->autoclear & Q2_DATA_RAW)
		r = file_truncate(d->files[q->data_file], size, e);
	if (r == 0 && need > q->l1_entries)
		r = grow_l1(d, (uint32_t)need, e);
	if (r < 0)
		return r;
	d->size = size;
	r = q2_publish_header(d, e);
	if (r < 0)
		d->size = old;
	return r < 0 ? r : q2_settle(d, e);
}
