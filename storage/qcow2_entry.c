/*
 * L2 entries of a qcow2 image, plain and extended (the spec, "L2 table entry", "Extended L2
 * Entries"): from the file and back, with everything in them checked. With d->meta held.
 *
 * A cluster has one piece, or 32 of them in an extended entry. A plain entry is looked at as one
 * with a single piece, so that nobody else has to tell them apart.
 */
#include <errno.h>
#include <string.h>

#include "storage/qcow2.h"

/* Bits that must be zero in an entry of a plain cluster (the spec, "Standard Cluster"). */
#define RESERVED (~(Q2_COPIED | Q2_COMPRESSED | Q2_OFFSET | Q2_ZERO))

static int bad_entry(struct disk *d, uint64_t word, uint64_t off, const char *why, struct err *e)
{
	return err_damaged(e, "%s: the L2 entry %#llx for byte %llu of the disk %s",
			   disk_file(d)->name, (unsigned long long)word, (unsigned long long)off,
			   why);
}

static bool in_own_tables(const struct qcow2 *q, uint64_t at)
{
	return ranges_overlap(at, q->cluster_size, q->l1_off, (uint64_t)q->l1_entries * 8) ||
	       ranges_overlap(at, q->cluster_size, q->reftable_off,
			      (uint64_t)q->reftable_entries * 8);
}

/* Where the cluster lies: in the image, or in the data file at the place it has in the disk. */
static int check_host(struct disk *d, uint64_t word, uint64_t off, bool has_data, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t at = word & Q2_OFFSET;

	if (q->data_file) {
		if (at != round_down(off, q->cluster_size))
			return bad_entry(d, word, off, "is elsewhere in the data file", e);
		return 0;
	}
	if (at & (q->cluster_size - 1))
		return bad_entry(d, word, off, "does not point to a cluster", e);
	if (in_own_tables(q, at))
		return bad_entry(d, word, off, "points into the image's own tables", e);
	if (has_data && !file_has(disk_file(d), at, 1))
		return bad_entry(d, word, off, "points past the end of the file", e);
	return 0;
}

static int decode_extended(struct disk *d, const uint8_t *p, uint64_t off, struct q2_entry *x,
			   struct err *e)
{
	uint64_t word = be64(p), bits = be64(p + 8);

	x->alloc = (uint32_t)bits;
	x->zero = (uint32_t)(bits >> 32);
	if (word & Q2_ZERO)
		return bad_entry(d, word, off, "has reserved bits set", e);
	if (x->compressed)
		return bits ? bad_entry(d, word, off, "is compressed and has subclusters", e) : 0;
	if (x->alloc & x->zero)
		return bad_entry(d, word, off, "has subclusters that are data and zero", e);
	if (x->alloc && !x->has_host)
		return bad_entry(d, word, off, "has subclusters that are nowhere", e);
	return 0;
}

int q2_decode(struct disk *d, const uint8_t *p, uint64_t off, struct q2_entry *x, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t word = be64(p);
	int r = 0;

	*x = (struct q2_entry){ .host = word & Q2_OFFSET };
	x->compressed = word & Q2_COMPRESSED;
	if (x->compressed) {
		x->host = word;
		if (q->data_file)
			return bad_entry(d, word, off, "is compressed in a data file", e);
		return q->extended ? decode_extended(d, p, off, x, e) : 0;
	}
	x->owned = word & Q2_COPIED;
	x->has_host = x->host || (q->data_file && x->owned);
	if (word & RESERVED)
		return bad_entry(d, word, off, "has reserved bits set", e);
	if (x->owned && !x->has_host)
		return bad_entry(d, word, off, "points nowhere", e);
	if (q->extended) {
		r = decode_extended(d, p, off, x, e);
	} else {
		if (q->version < 3 && word & Q2_ZERO)
			return bad_entry(d, word, off, "has a zero flag in version 2", e);
		x->zero = !!(word & Q2_ZERO);
		x->alloc = x->has_host && !x->zero;
	}
	return r < 0 || !x->has_host ? r : check_host(d, word, off, x->alloc, e);
}

void q2_encode(const struct qcow2 *q, const struct q2_entry *x, uint8_t *p)
{
	uint64_t word = x->host;

	if (!x->compressed)
		word = x->has_host ? x->host | (x->owned ? Q2_COPIED : 0) : 0;
	if (q->extended)
		put_be64(p + 8, (uint64_t)x->zero << 32 | x->alloc);
	else if (x->zero)
		word |= Q2_ZERO;
	put_be64(p, word);
}

int q2_compressed(struct disk *d, uint64_t word, uint64_t off, struct extent *x, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	unsigned bits = 62 - (q->cluster_bits - 8);
	uint64_t at = word & ((UINT64_C(1) << bits) - 1);
	uint64_t sectors = (word & (Q2_COMPRESSED - 1)) >> bits, end;

	if (word & Q2_COPIED)
		return bad_entry(d, word, off, "is compressed and marked as not shared", e);
	end = round_down(at, 512) + (sectors + 1) * 512;
	if (at < q->cluster_size || !file_has(disk_file(d), at, 1))
		return bad_entry(d, word, off, "points outside of the file's data", e);
	x->kind = EXTENT_COMPRESSED;
	x->codec = q->codec;
	x->off = at;
	x->stored = (uint32_t)(MIN(end, file_size(disk_file(d))) - at);
	x->unit = q->cluster_size;
	x->unit_off = round_down(off, q->cluster_size);
	x->len = q->cluster_size - (off - x->unit_off);
	return 0;
}

int q2_entry_clusters(struct disk *d, uint64_t word, uint64_t *first, uint64_t *n, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	struct extent x;
	int r;

	*first = (word & Q2_OFFSET) >> q->cluster_bits;
	*n = *first && !q->data_file ? 1 : 0;
	if (!(word & Q2_COMPRESSED) || q->data_file)
		return 0;
	r = q2_compressed(d, word, 0, &x, e);
	if (r < 0)
		return r;
	*first = x.off >> q->cluster_bits;
	*n = ((x.off + x.stored - 1) >> q->cluster_bits) - *first + 1;
	return 0;
}
