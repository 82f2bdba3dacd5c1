/* Where the clusters of a qcow2 image are: L1 and L2 tables, read. With d->meta held. */
#include <errno.h>

#include "storage/qcow2.h"

/* Bits that must be zero in an entry of a plain cluster (the spec, "Standard Cluster"). */
#define RESERVED (~(Q2_COPIED | Q2_COMPRESSED | Q2_OFFSET | Q2_ZERO))

static int bad_entry(struct disk *d, uint64_t entry, uint64_t off, const char *why, struct err *e)
{
	return err_damaged(e, "%s: the L2 entry %#llx for byte %llu of the disk %s",
			   disk_file(d)->name, (unsigned long long)entry, (unsigned long long)off,
			   why);
}

int q2_check_entry(struct disk *d, uint64_t entry, uint64_t off, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t at = entry & Q2_OFFSET;

	if (entry & RESERVED)
		return bad_entry(d, entry, off, "has reserved bits set", e);
	if (q->version < 3 && entry & Q2_ZERO)
		return bad_entry(d, entry, off, "has a zero flag in version 2", e);
	if (!at)
		return entry & Q2_COPIED ? bad_entry(d, entry, off, "points nowhere", e) : 0;
	if (at & (q->cluster_size - 1))
		return bad_entry(d, entry, off, "does not point to a cluster", e);
	if (ranges_overlap(at, q->cluster_size, q->l1_off, (uint64_t)q->l1_entries * 8) ||
	    ranges_overlap(at, q->cluster_size, q->reftable_off, (uint64_t)q->reftable_entries * 8))
		return bad_entry(d, entry, off, "points into the image's own tables", e);
	if (!(entry & Q2_ZERO) && !file_has(disk_file(d), at, 1))
		return bad_entry(d, entry, off, "points past the end of the file", e);
	return 0;
}

/* The spec, "Compressed Clusters Descriptor". */
static int compressed(struct disk *d, uint64_t entry, uint64_t off, struct extent *x, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	unsigned bits = 62 - (q->cluster_bits - 8);
	uint64_t at = entry & ((UINT64_C(1) << bits) - 1);
	uint64_t sectors = (entry & (Q2_COMPRESSED - 1)) >> bits, end;

	if (entry & Q2_COPIED)
		return bad_entry(d, entry, off, "is compressed and marked as not shared", e);
	end = round_down(at, 512) + (sectors + 1) * 512;
	if (at < q->cluster_size || !file_has(disk_file(d), at, 1))
		return bad_entry(d, entry, off, "points outside of the file's data", e);
	x->kind = EXTENT_COMPRESSED;
	x->codec = q->codec;
	x->off = at;
	x->stored = (uint32_t)(MIN(end, file_size(disk_file(d))) - at);
	x->unit = q->cluster_size;
	x->unit_off = round_down(off, q->cluster_size);
	x->len = q->cluster_size - (off - x->unit_off);
	return 0;
}

int q2_entry_clusters(struct disk *d, uint64_t entry, uint64_t *first, uint64_t *n, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	struct extent x;
	int r;

	*first = (entry & Q2_OFFSET) >> q->cluster_bits;
	*n = *first ? 1 : 0;
	if (!(entry & Q2_COMPRESSED))
		return 0;
	r = compressed(d, entry, 0, &x, e);
	if (r < 0)
		return r;
	*first = x.off >> q->cluster_bits;
	*n = ((x.off + x.stored - 1) >> q->cluster_bits) - *first + 1;
	return 0;
}

int q2_l2_entry(struct disk *d, uint64_t off, struct slice **s, uint32_t *i, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t l1 = off >> (q->cluster_bits + q->l2_bits), table;
	uint64_t in = (off >> q->cluster_bits & (q->l2_entries - 1)) * 8;

	*s = NULL;
	*i = (uint32_t)(in % q->slice_size / 8);
	table = l1 < q->l1_entries ? q->l1[l1] & Q2_OFFSET : 0;
	if (!table)
		return 0;
	return q2_slice(d, table, in, true, (uint32_t)l1, s, e);
}

static int classify(struct disk *d, uint64_t entry, uint64_t off, struct extent *x, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t in = off & (q->cluster_size - 1);
	int r;

	x->len = q->cluster_size - in;
	x->kind = EXTENT_BACKING;
	if (!entry)
		return 0;
	if (entry & Q2_COMPRESSED)
		return compressed(d, entry, off, x, e);
	r = q2_check_entry(d, entry, off, e);
	if (r < 0)
		return r;
	if (entry & Q2_ZERO) {
		x->kind = EXTENT_ZERO;
	} else if (entry & Q2_OFFSET) {
		x->kind = EXTENT_DATA;
		x->off = (entry & Q2_OFFSET) + in;
		x->flags = entry & Q2_COPIED ? EXTENT_IN_PLACE : 0;
		q2_seal(q, off, x);
	}
	return 0;
}

/* Does the next cluster go on where x ends? */
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
	struct slice *s;
	uint32_t i;
	int r = q2_l2_entry(d, off, &s, &i, e);

	if (r < 0)
		return r;
	if (!s) {
		map_hole(q, off, want, x);
		return 0;
	}
	r = classify(d, be64(s->data + (size_t)i * 8), off, x, e);
	if (r < 0)
		return r;
	while (x->len < want && ++i < q->slice_size / 8) {
		struct extent y = { 0 };

		if (classify(d, be64(s->data + (size_t)i * 8), off + x->len, &y, NULL) < 0 ||
		    !continues(x, &y))
			break;
		x->len += y.len;
	}
	return 0;
}
