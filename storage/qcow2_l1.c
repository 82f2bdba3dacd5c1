/*
 * Whole trees of tables of a qcow2 image: what one reaches gains or loses a reference, another one
 * becomes the active one, all marks are made anew. For snapshots and for emptying an image; called
 * with no request in flight.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/qcow2.h"

static int walk_l2(struct disk *d, uint64_t table, q2_walk_fn *fn, int delta, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	autofree uint8_t *buf = malloc(q->cluster_size);
	uint64_t from = 0, count = 0;
	int r;

	if (!buf)
		return err_nomem(e);
	r = q2_check_table(d, table, q->cluster_size, "L2 table", e);
	if (r == 0)
		r = file_pread(disk_file(d), table, buf, q->cluster_size, e);
	for (uint32_t i = 0; r == 0 && i < q->l2_entries; i++) {
		uint64_t first, n;

		r = q2_entry_clusters(d, be64(buf + (size_t)i * q->entry_len), &first, &n, e);
		if (r < 0 || !n)
			continue;
		if (first == from + count) {
			count += n;
			continue;
		}
		if (count)
			r = fn(d, from, count, delta, e);
		from = first;
		count = n;
	}
	return r == 0 && count ? fn(d, from, count, delta, e) : r;
}

int q2_walk_l1(struct disk *d, const uint64_t *l1, uint32_t n, q2_walk_fn *fn, int delta,
	       struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < n; i++) {
		uint64_t at = l1[i] & Q2_OFFSET;

		if (!at)
			continue;
		r = walk_l2(d, at, fn, delta, e);
		if (r == 0)
			r = fn(d, at >> q->cluster_bits, 1, delta, e);
		if (r == 0 && d->wants_flush)
			r = q2_flush(d, e);
	}
	return r;
}

int q2_can_add(struct disk *d, uint64_t first, uint64_t n, int delta, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);

	(void)delta;
	for (uint64_t i = 0; i < n; i++) {
		uint64_t v;
		int r = q2_ref_get(d, first + i, &v, e);

		if (r < 0)
			return r;
		if (!v)
			return err_damaged(e, "%s: cluster %llu is used but its refcount is 0",
					   disk_file(d)->name, (unsigned long long)(first + i));
		if (v >= q2_ref_max(q)) {
			r = err_set(e, -ERANGE,
				    "%s: refcounts of %u bits cannot count another snapshot",
				    disk_file(d)->name, 1u << q->refcount_order);
			return r;
		}
	}
	return 0;
}

static int mark_table(struct disk *d, uint32_t l1_index, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t table = q->l1[l1_index] & Q2_OFFSET;
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < q->l2_entries; i++) {
		uint64_t entry, v, want;
		struct slice *s;
		uint8_t *p;

		r = q2_slice(d, table, (uint64_t)i * q->entry_len, true, l1_index, &s, e);
		if (r < 0)
			return r;
		p = s->data + (size_t)i * q->entry_len % q->slice_size;
		entry = be64(p);
		if (entry & Q2_COMPRESSED || !(entry & Q2_OFFSET) || q->data_file)
			continue;
		r = q2_ref_get(d, (entry & Q2_OFFSET) >> q->cluster_bits, &v, e);
		want = (entry & ~Q2_COPIED) | (v == 1 ? Q2_COPIED : 0);
		if (r == 0 && want != entry) {
			/* Looking up the count may have moved the slice away. */
			r = q2_slice(d, table, (uint64_t)i * q->entry_len, true, l1_index, &s, e);
			if (r < 0)
				return r;
			put_be64(s->data + (size_t)i * q->entry_len % q->slice_size, want);
			q2_dirty(d, s);
		}
	}
	return r;
}

int q2_mark_owned(struct disk *d, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < q->l1_entries; i++) {
		uint64_t at = q->l1[i] & Q2_OFFSET, v;

		if (!at)
			continue;
		r = q2_ref_get(d, at >> q->cluster_bits, &v, e);
		if (r == 0)
			r = mark_table(d, i, e);
		if (r < 0)
			return r;
		at |= v == 1 ? Q2_COPIED : 0;
		if (at != q->l1[i])
			r = q2_set_l1(q, i, at, e);
		if (r == 0 && d->wants_flush)
			r = q2_flush(d, e);
	}
	return r < 0 ? r : q2_settle(d, e);
}

int q2_copy_l1(struct disk *d, uint64_t *off, const uint64_t *l1, uint32_t n, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t first = 0;
	int r = 0;

	if (n)
		r = q2_take_exactly(d, q2_clusters(q, (uint64_t)n * 8), &first, e);
	if (r == 0)
		r = q2_store_table(d, first << q->cluster_bits, l1, n, Q2_COPIED, e);
	*off = first << q->cluster_bits;
	return r;
}

int q2_activate(struct disk *d, uint64_t *l1, uint32_t n, uint64_t off, uint64_t size,
		struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t *dirty = calloc(BITMAP_WORDS((size_t)n) + 1, 8);
	uint64_t old_size = d->size, old_off = q->l1_off;
	uint32_t old_n = q->l1_entries;
	int r;

	if (!dirty)
		return err_nomem(e);
	q->l1_off = off;
	q->l1_entries = n;
	d->size = size;
	r = q2_publish_header(d, e);
	if (r < 0) {
		q->l1_off = old_off;
		q->l1_entries = old_n;
		d->size = old_size;
		free(dirty);
		return r;
	}
	free(q->l1_dirty);
	free(q->l1);
	q->l1_dirty = dirty;
	q->l1 = l1;
	return 0;
}

/* A tree without anything becomes the active one; the old one is let go afterwards. */
int q2_make_empty(struct disk *d, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	autofree uint64_t *l1 = calloc(q->l1_entries + 1, 8), *old = NULL;
	uint32_t n = q->l1_entries;
	uint64_t off = 0, old_off = q->l1_off;
	int r = l1 ? q2_settle(d, e) : err_nomem(e);

	if (r == 0)
		r = q2_copy_l1(d, &off, l1, n, e);
	if (r == 0)
		r = q2_settle(d, e);
	if (r < 0)
		return r;
	old = q->l1;
	q->l1 = NULL;
	r = q2_activate(d, l1, n, off, d->size, e);
	if (r < 0) {
		q->l1 = take(old);
		return r;
	}
	take(l1);
	r = q2_walk_l1(d, old, n, q2_ref_add, -1, e);
	if (r == 0 && n)
		r = q2_ref_add(d, old_off >> q->cluster_bits, q2_clusters(q, (uint64_t)n * 8), -1,
			       e);
	q->pack_at = 0;
	return r < 0 ? r : q2_settle(d, e);
}
