/*
 * Compressed clusters of a qcow2 image, written: streams lie one after the other, several in one
 * cluster and each perhaps across two; a cluster counts the streams in it (the spec, "Compressed
 * Clusters Descriptor"). With d->meta held.
 */
#include <errno.h>

#include "storage/qcow2.h"

bool q2_packing(struct disk *d, struct packing *p)
{
	struct qcow2 *q = qcow2_of(d);

	p->codec = q->codec;
	return !q->crypt && !q->data_file;
}

/* Where streams are put now: the rest of a cluster that has one already. 0: nowhere. */
static bool has_rest(struct disk *d, uint64_t cluster)
{
	uint64_t refs;

	return q2_ref_get(d, cluster, &refs, NULL) == 0 && refs && refs < q2_ref_max(qcow2_of(d));
}

/* Behind the last stream, and into the next cluster when that is free. 1: done. */
static int alloc_behind(struct disk *d, uint32_t n, uint64_t *at, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t cluster = q->pack_at >> q->cluster_bits, first, got;
	uint64_t rest = round_up(q->pack_at, q->cluster_size) - q->pack_at;
	int r;

	if (!rest || !has_rest(d, cluster))
		return 0;
	if (n > rest) {
		r = q2_take_clusters(d, 1, &first, &got, e);
		if (r < 0)
			return r;
		if (first != cluster + 1) {
			*at = first << q->cluster_bits;
			return 1;
		}
	}
	r = q2_ref_add(d, cluster, 1, 1, e);
	if (r < 0)
		return r;
	*at = q->pack_at;
	return 1;
}

int q2_alloc_packed(struct disk *d, struct extent *x, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t at, first, got;
	int r = q->pack_at ? alloc_behind(d, x->stored, &at, e) : 0;

	if (r < 0)
		return r;
	if (r == 0) {
		r = q2_take_clusters(d, 1, &first, &got, e);
		if (r < 0)
			return r;
		at = first << q->cluster_bits;
	}
	x->off = at;
	x->len = q->cluster_size;
	q->pack_at = at + x->stored;
	return 0;
}

uint64_t q2_packed_entry(const struct qcow2 *q, const struct extent *x)
{
	unsigned bits = 62 - (q->cluster_bits - 8);
	uint64_t sectors = ((x->off & 511) + x->stored - 1) / 512;

	return Q2_COMPRESSED | sectors << bits | x->off;
}

void q2_abandon_packed(struct disk *d, const struct extent *x)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t first = x->off >> q->cluster_bits;
	uint64_t n = ((x->off + x->stored - 1) >> q->cluster_bits) - first + 1;

	/* Some of it may be in the file; nothing is put behind it. */
	q->touched_end = MAX(q->touched_end, round_up(x->off + x->stored, q->cluster_size));
	q->pack_at = 0;
	q2_ref_add(d, first, n, -1, NULL);
}
