/* Where the clusters of a qcow2 image are: L1 and L2 tables, read. With d->meta held. */
#include <errno.h>

#include "storage/qcow2.h"

int q2_l2_entry(struct disk *d, uint64_t off, struct slice **s, uint32_t *i, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t l1 = off >> (q->cluster_bits + q->l2_bits), table;
	uint64_t in = (off >> q->cluster_bits & (q->l2_entries - 1)) * q->entry_len;

	*s = NULL;
	*i = (uint32_t)(in % q->slice_size / q->entry_len);
	table = l1 < q->l1_entries ? q->l1[l1] & Q2_OFFSET : 0;
	if (!table)
		return 0;
	return q2_slice(d, table, in, true, (uint32_t)l1, s, e);
}

/* How many pieces from p on are alike in both masks. */
static uint32_t alike(const struct qcow2 *q, const struct q2_entry *n, uint32_t p)
{
	uint32_t k = p + 1;

	while (k < q->pieces && (n->alloc >> k & 1) == (n->alloc >> p & 1) &&
	       (n->zero >> k & 1) == (n->zero >> p & 1))
		k++;
	return k;
}

static int classify(struct disk *d, const uint8_t *entry, uint64_t off, struct extent *x,
		    struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t in = off & (q->cluster_size - 1);
	uint32_t p = (uint32_t)(in >> q->piece_bits);
	struct q2_entry n;
	int r = q2_decode(d, entry, off, &n, e);

	if (r < 0)
		return r;
	if (n.compressed)
		return q2_compressed(d, n.host, off, x, e);
	x->len = ((uint64_t)alike(q, &n, p) << q->piece_bits) - in;
	x->kind = EXTENT_BACKING;
	if (n.zero >> p & 1)
		x->kind = EXTENT_ZERO;
	if (n.alloc >> p & 1) {
		x->kind = EXTENT_DATA;
		x->off = n.host + in;
		x->file = q->data_file;
		x->flags = n.owned ? EXTENT_IN_PLACE : 0;
		q2_seal(q, off, x);
	}
	return 0;
}

/* Does the next extent go on where x ends? */
static bool continues(const struct extent *x, const struct extent *y)
{
	if (x->kind != y->kind || x->flags != y->flags || x->kind == EXTENT_COMPRESSED)
		return false;
	return x->kind != EXTENT_DATA || x->off + x->len == y->off;
}

/* No table: the same for all that it would cover. */
static void map_hole(struct qcow2 *q, uint64_t off, uint64_t want, struct extent *x)
{
	uint64_t cover = UINT64_C(1) << (q->cluster_bits + q->l2_bits);
	uint64_t l1 = off / cover;

	x->kind = EXTENT_BACKING;
	x->len = cover - off % cover;
	while (x->len < want && ++l1 < q->l1_entries && !(q->l1[l1] & Q2_OFFSET))
		x->len += cover;
	if (l1 >= q->l1_entries)
		x->len = MAX(x->len, want);
}

int q2_map(struct disk *d, uint64_t off, uint64_t want, struct extent *x, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t start;
	struct slice *s;
	uint32_t i;
	int r = q2_l2_entry(d, off, &s, &i, e);

	if (r < 0)
		return r;
	if (!s) {
		map_hole(q, off, want, x);
		return 0;
	}
	r = classify(d, q2_at(q, s, i), off, x, e);
	if (r < 0)
		return r;
	start = round_down(off, q->cluster_size) - ((uint64_t)i << q->cluster_bits);
	while (x->len < want) {
		uint64_t next = off + x->len;
		uint64_t k = (next - start) >> q->cluster_bits;
		struct extent y = { 0 };

		if (k >= q2_slice_entries(q) ||
		    classify(d, q2_at(q, s, (uint32_t)k), next, &y, NULL) < 0 || !continues(x, &y))
			break;
		x->len += y.len;
	}
	return 0;
}
