/*
 * Refcounts of a qcow2 image, and with them finding room for clusters. With d->meta held.
 *
 * A cluster that was let go keeps its count until the commit that makes this durable; so nobody
 * is given a cluster that something in the file may still point to.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/qcow2.h"

uint64_t q2_refs_per_block(const struct qcow2 *q)
{
	return (uint64_t)q->cluster_size * 8 >> q->refcount_order;
}

uint64_t q2_ref_max(const struct qcow2 *q)
{
	return q->refcount_order == 6 ? UINT64_MAX : (UINT64_C(1) << (1u << q->refcount_order)) - 1;
}

/* Widths below a byte begin at its least significant bit (the spec, "refcount_order"). */
static uint64_t count_get(const struct qcow2 *q, const uint8_t *p, uint64_t i)
{
	unsigned bits = 1u << q->refcount_order;

	switch (q->refcount_order) {
	case 3: return p[i];
	case 4: return be16(p + 2 * i);
	case 5: return be32(p + 4 * i);
	case 6: return be64(p + 8 * i);
	default: return p[i * bits / 8] >> (i * bits % 8) & ((1u << bits) - 1);
	}
}

static void count_set(const struct qcow2 *q, uint8_t *p, uint64_t i, uint64_t v)
{
	unsigned bits = 1u << q->refcount_order, shift = i * bits % 8;

	switch (q->refcount_order) {
	case 3: p[i] = (uint8_t)v; break;
	case 4: put_be16(p + 2 * i, (uint16_t)v); break;
	case 5: put_be32(p + 4 * i, (uint32_t)v); break;
	case 6: put_be64(p + 8 * i, v); break;
	default:
		p[i * bits / 8] &= (uint8_t) ~(((1u << bits) - 1) << shift);
		p[i * bits / 8] |= (uint8_t)(v << shift);
	}
}

static uint64_t counts_per_slice(const struct qcow2 *q)
{
	return (uint64_t)q->slice_size * 8 >> q->refcount_order;
}

/* The slice with the count of a cluster, or NULL where there is no block: all counts are 0. */
static int count_slice(struct disk *d, uint64_t cluster, struct slice **ret, uint64_t *i,
		       struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t per_block = q2_refs_per_block(q), block = cluster / per_block;
	uint64_t in = cluster % per_block, table;

	*i = in % counts_per_slice(q);
	*ret = NULL;
	table = block < q->reftable_entries ? q->reftable[block] : 0;
	if (!table)
		return 0;
	if (table & (q->cluster_size - 1) || table >= Q2_OFFSET_MAX)
		return err_damaged(e, "%s: entry %llu of the refcount table is not a cluster",
				   disk_file(d)->name, (unsigned long long)block);
	return q2_slice(d, table, in << q->refcount_order >> 3, false, 0, ret, e);
}

int q2_ref_get(struct disk *d, uint64_t cluster, uint64_t *ret, struct err *e)
{
	struct slice *s;
	uint64_t i;
	int r = count_slice(d, cluster, &s, &i, e);

	*ret = r == 0 && s ? count_get(qcow2_of(d), s->data, i) : 0;
	return r;
}

int q2_remember(uint32_t **list, uint32_t *n, uint32_t *room, uint32_t v, struct err *e)
{
	if (*n == *room) {
		uint32_t *all = realloc(*list, (2 * (size_t)*room + 16) * sizeof(*all));

		if (!all)
			return err_nomem(e);
		*list = all;
		*room = 2 * *room + 16;
	}
	(*list)[(*n)++] = v;
	return 0;
}

/* A new block of counts in a given free cluster; it does not count itself yet. */
int q2_ref_place(struct disk *d, uint64_t block, uint64_t cluster, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t off = cluster << q->cluster_bits;
	int r = q2_remember(&q->ref_changed, &q->ref_changed_n, &q->ref_changed_room,
			    (uint32_t)block, e);

	if (r < 0)
		return r;
	q2_forget(q, off, q->cluster_size);
	r = file_zero(disk_file(d), off, q->cluster_size, false, e);
	if (r < 0) {
		q->ref_changed_n--;
		return r;
	}
	q->reftable[block] = off;
	return 0;
}

int q2_ref_set(struct disk *d, uint64_t cluster, uint64_t value, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	struct slice *s;
	uint64_t i;
	int r = count_slice(d, cluster, &s, &i, e);

	if (r < 0)
		return r;
	if (!s)
		return value ? err_damaged(e, "%s: no refcounts for cluster %llu",
					   disk_file(d)->name, (unsigned long long)cluster)
			     : 0;
	count_set(q, s->data, i, value);
	q2_dirty(d, s);
	if (!value)
		q->free_hint = MIN(q->free_hint, cluster);
	if (!value && q->pack_at >> q->cluster_bits == cluster)
		q->pack_at = 0;
	return 0;
}

static int bad_count(struct disk *d, uint64_t cluster, uint64_t v, int delta, struct err *e)
{
	if (delta < 0)
		return err_damaged(e, "%s: cluster %llu is used but its refcount is %llu",
				   disk_file(d)->name, (unsigned long long)cluster,
				   (unsigned long long)v);
	return err_set(e, -ERANGE, "%s: the refcount of cluster %llu is at its limit of %llu",
		       disk_file(d)->name, (unsigned long long)cluster, (unsigned long long)v);
}

int q2_ref_add(struct disk *d, uint64_t cluster, uint64_t n, int delta, struct err *e)
{
	for (uint64_t k = 0; k < n; k++) {
		uint64_t v;
		int r = q2_ref_get(d, cluster + k, &v, e);

		if (r < 0)
			return r;
		if (!v || (delta > 0 && v == q2_ref_max(qcow2_of(d))))
			return bad_count(d, cluster + k, v, delta, e);
		r = q2_ref_set(d, cluster + k, v + (uint64_t)delta, e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Room for n table clusters at `at`, and the blocks that count them; all of it counted. */
static int cover_itself(struct disk *d, uint64_t block, uint64_t blocks, uint64_t at, uint64_t n,
			struct err *e)
{
	int r = 0;

	for (uint64_t i = 0; r == 0 && i < blocks; i++)
		r = q2_ref_place(d, block + i, at + n + i, e);
	for (uint64_t i = 0; r == 0 && i < n + blocks; i++)
		r = q2_ref_set(d, at + i, 1, e);
	return r;
}

/*
 * The table of refcount blocks is full: a bigger one, at the first place the old one does not
 * cover, with the blocks that cover itself. The next commit writes and publishes it.
 */
static int grow_reftable(struct disk *d, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t per_block = q2_refs_per_block(q), old_n = q->reftable_entries, k = 1;
	uint64_t at = old_n * per_block, n = q2_clusters(q, (old_n + old_n / 2 + 1) * 8);
	uint64_t *old = q->reftable, old_off = q->reftable_off, *table;
	uint32_t changed = q->ref_changed_n;
	int r;

	while (k * per_block < n + k)
		k++;
	while (n * (q->cluster_size / 8) < old_n + k)
		n++;
	if (n << q->cluster_bits > Q2_REFTABLE_BYTES_MAX)
		return err_set(e, -EFBIG, "%s: the image cannot grow any more", disk_file(d)->name);
	table = calloc(n, q->cluster_size);
	if (!table)
		return err_nomem(e);
	memcpy(table, old, old_n * 8);
	q->reftable = table;
	q->reftable_entries = (uint32_t)(n << q->cluster_bits >> 3);
	r = cover_itself(d, old_n, k, at, n, e);
	if (r < 0) {
		q->reftable = old;
		q->reftable_entries = (uint32_t)old_n;
		q->ref_changed_n = changed;
		free(table);
		return r;
	}
	free(old);
	q->reftable_off = at << q->cluster_bits;
	q->reftable_moved = true;
	return q2_let_go(d, old_off >> q->cluster_bits, q2_clusters(q, old_n * 8), false, e);
}

/* A block of counts for a place that has none: it lies first in what it covers. */
static int add_block(struct disk *d, uint64_t block, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t cluster = block * q2_refs_per_block(q);
	int r;

	if (!block)
		return err_damaged(e, "%s: the first clusters have no refcounts",
				   disk_file(d)->name);
	r = q2_ref_place(d, block, cluster, e);
	if (r < 0)
		return r;
	r = q2_ref_set(d, cluster, 1, e);
	if (r < 0) { /* a block that does not count itself must not be used */
		q->reftable[block] = 0;
		q->ref_changed_n--;
	}
	return r;
}

/* How many from cluster on are free, at most n, inside one slice. */
static uint64_t free_here(struct qcow2 *q, const struct slice *s, uint64_t i, uint64_t n)
{
	uint64_t end = MIN(counts_per_slice(q), i + n), k = i;

	while (k < end && !count_get(q, s->data, k))
		k++;
	return k - i;
}

/* The first free cluster at or after the hint; its slice and place in it. */
static int find_free(struct disk *d, uint64_t *cluster, struct slice **s, uint64_t *i,
		     struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t c = q->free_hint, per = counts_per_slice(q);
	int r;

	for (;;) {
		uint64_t block = c / q2_refs_per_block(q);

		if (c >= Q2_OFFSET_MAX >> q->cluster_bits)
			return err_set(e, -EFBIG, "%s: the image cannot grow any more",
				       disk_file(d)->name);
		if (block >= q->reftable_entries) {
			r = grow_reftable(d, e);
			if (r < 0)
				return r;
			continue;
		}
		if (!q->reftable[block]) {
			r = add_block(d, block, e);
			if (r < 0)
				return r;
		}
		r = count_slice(d, c, s, i, e);
		if (r < 0)
			return r;
		while (*i < per && count_get(q, (*s)->data, *i)) {
			(*i)++;
			c++;
		}
		q->free_hint = c;
		if (*i < per)
			break;
	}
	*cluster = c;
	return 0;
}

/* A damaged image counts its own tables as free: nothing may be put over them. */
static int check_free(struct disk *d, uint64_t first, uint64_t n, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t off = first << q->cluster_bits, len = n << q->cluster_bits;
	uint64_t block = q->reftable[first / q2_refs_per_block(q)];

	if (!first || ranges_overlap(off, len, q->l1_off, (uint64_t)q->l1_entries * 8) ||
	    ranges_overlap(off, len, q->reftable_off, (uint64_t)q->reftable_entries * 8) ||
	    ranges_overlap(off, len, q->snapshots_off, q->snapshots_len) ||
	    ranges_overlap(off, len, q->luks_off, q->luks_len) ||
	    ranges_overlap(off, len, block, q->cluster_size)) {
		int r = err_damaged(e, "%s: cluster %llu is a table but counted as free",
				    disk_file(d)->name, (unsigned long long)first);

		err_hint(e, "check and repair the image");
		return r;
	}
	return 0;
}

int q2_take_clusters(struct disk *d, uint64_t n, uint64_t *first, uint64_t *got, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	struct slice *s;
	uint64_t i;
	int r = find_free(d, first, &s, &i, e);

	if (r < 0)
		return r;
	*got = free_here(q, s, i, n);
	r = check_free(d, *first, *got, e);
	if (r < 0)
		return r;
	for (uint64_t k = 0; k < *got; k++)
		count_set(q, s->data, i + k, 1);
	q2_dirty(d, s);
	q->free_hint = *first + *got;
	return 0;
}

static void give_back(struct disk *d, uint64_t first, uint64_t n)
{
	for (uint64_t k = 0; k < n; k++)
		q2_ref_set(d, first + k, 0, NULL);
}

/* Pieces in a row are joined; a piece that is cut off is given back at the end. */
int q2_take_exactly(struct disk *d, uint64_t n, uint64_t *first, struct err *e)
{
	uint64_t have = 0, start = 0;
	struct let_go *cut = NULL;
	size_t cuts = 0;
	int r = 0;

	while (r == 0 && have < n) {
		uint64_t at, got;

		r = q2_take_clusters(d, n - have, &at, &got, e);
		if (r < 0)
			break;
		if (have && at != start + have) {
			struct let_go *all = realloc(cut, (cuts + 1) * sizeof(*cut));

			if (!all) {
				r = err_nomem(e);
				give_back(d, at, got);
				break;
			}
			cut = all;
			cut[cuts++] = (struct let_go){ start, have, false };
			have = 0;
		}
		if (!have)
			start = at;
		have += got;
	}
	if (r < 0)
		give_back(d, start, have);
	for (size_t k = 0; k < cuts; k++)
		give_back(d, cut[k].first, cut[k].n);
	free(cut);
	*first = start;
	return r;
}

int q2_let_go(struct disk *d, uint64_t first, uint64_t n, bool punch, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	struct let_go *last = q->let_go_n ? &q->let_go[q->let_go_n - 1] : NULL;

	if (!n)
		return 0;
	if (last && last->first + last->n == first && last->punch == punch) {
		last->n += n;
		return 0;
	}
	if (q->let_go_n == q->let_go_room) {
		size_t room = 2 * q->let_go_room + 64;
		struct let_go *all = realloc(q->let_go, room * sizeof(*all));

		if (!all)
			return err_nomem(e);
		q->let_go = all;
		q->let_go_room = room;
	}
	q->let_go[q->let_go_n++] = (struct let_go){ first, n, punch };
	if (q->let_go_n > 16384)
		d->wants_flush = true;
	return 0;
}
