/*
 * Changing where the clusters of a qcow2 image are: room for new data, pointing to it, zeroing,
 * giving back. With d->meta held; everything is in memory until the next commit.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/qcow2.h"

enum { REUSED = 1 }; /* x->token: the cluster was there as the room of a zero cluster */
#define ALLOC_MAX (2 * MiB)

/* Also when it was left out at open: "unallocated" is not "zero" then. */
static bool has_backing(const struct disk *d)
{
	return d->backing || d->backing_name;
}

int q2_set_l1(struct qcow2 *q, uint32_t i, uint64_t entry, struct err *e)
{
	int r;

	if (!bit_get(q->l1_dirty, i)) {
		r = q2_remember(&q->l1_changed, &q->l1_changed_n, &q->l1_changed_room, i, e);
		if (r < 0)
			return r;
		bit_set(q->l1_dirty, i);
	}
	q->l1[i] = entry;
	return 0;
}

/* What a table that is shared with a snapshot holds, at another place. */
static int copy_table(struct disk *d, uint64_t from, uint64_t to, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	autofree uint8_t *buf = malloc(q->cluster_size);
	int r;

	if (!buf)
		return err_nomem(e);
	r = file_pread(disk_file(d), from, buf, q->cluster_size, e);
	return r < 0 ? r : file_pwrite(disk_file(d), to, buf, q->cluster_size, e);
}

/* An L2 table for this place that may be changed: new, or copied when it is shared. */
static int own_table(struct disk *d, uint64_t off, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint32_t i = (uint32_t)(off >> (q->cluster_bits + q->l2_bits));
	uint64_t old, at, first;
	int r;

	if (i >= q->l1_entries)
		return err_damaged(e, "%s: the L1 table does not cover the disk",
				   disk_file(d)->name);
	old = q->l1[i] & Q2_OFFSET;
	if (old && q->l1[i] & Q2_COPIED)
		return 0;
	r = q2_take_exactly(d, 1, &first, e);
	if (r < 0)
		return r;
	at = first << q->cluster_bits;
	q2_forget(q, at, q->cluster_size);
	r = old ? copy_table(d, old, at, e)
		: file_zero(disk_file(d), at, q->cluster_size, false, e);
	if (r == 0)
		r = q2_set_l1(q, i, at | Q2_COPIED, e);
	if (r < 0) {
		q2_ref_set(d, first, 0, NULL);
		return r;
	}
	return old ? q2_let_go(d, old >> q->cluster_bits, 1, false, e) : 0;
}

/* Room that the image has for this cluster already, and nobody else sees. */
static bool has_room(const struct q2_entry *n)
{
	return n->has_host && n->owned && !n->compressed;
}

/* It cannot be filled piece by piece: all of it goes to the new place. */
static bool moves_whole(const struct q2_entry *n)
{
	return n->compressed || n->has_host;
}

/* How many entries from i on need new room, at most n. */
static uint64_t need_room(struct disk *d, struct slice *s, uint32_t i, uint64_t off, uint64_t n)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t k = 0;

	while (k < n && i + k < q2_slice_entries(q)) {
		struct q2_entry x;

		if (q2_decode(d, q2_at(q, s, i + (uint32_t)k), off + (k << q->cluster_bits), &x,
			      NULL) < 0 ||
		    has_room(&x))
			break;
		k++;
	}
	return k;
}

/*
 * The range in pieces, from off - x->head on; host is where the first cluster lies, n how many
 * there are. whole: that an end is filled up to that of its cluster.
 */
static void set_extent(struct qcow2 *q, struct extent *x, uint64_t off, uint64_t want,
		       uint64_t host, uint64_t n, bool whole_first, bool whole_last)
{
	uint64_t piece = UINT64_C(1) << q->piece_bits, in = off & (q->cluster_size - 1), used;

	x->head = (uint32_t)(whole_first ? in : off & (piece - 1));
	x->len = MIN(want, (n << q->cluster_bits) - in);
	used = off + x->len;
	x->tail = (uint32_t)(round_up(used, whole_last ? q->cluster_size : piece) - used);
	x->off = host + in - x->head;
	x->file = q->data_file;
}

/* In a data file everything has its place. */
static void alloc_in_data_file(struct disk *d, uint64_t off, uint64_t want, uint32_t i,
			       struct extent *x)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t n = MIN(q2_slice_entries(q) - i, ALLOC_MAX >> q->cluster_bits);

	set_extent(q, x, off, want, round_down(off, q->cluster_size), MAX(n, 1), false, false);
	x->token = REUSED;
	x->flags =
	    x->off >= MAX(file_size(d->files[q->data_file]), q->touched_end) ? EXTENT_FRESH : 0;
}

static int alloc_new(struct disk *d, uint64_t off, uint64_t want, struct slice *s, uint32_t i,
		     const struct q2_entry *old, struct extent *x, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t n = q2_clusters(q, (off & (q->cluster_size - 1)) + MIN(want, ALLOC_MAX));
	uint64_t base = round_down(off, q->cluster_size), first, got, end, last;
	struct q2_entry tail = *old;
	int r = q2_take_clusters(d, MAX(need_room(d, s, i, base, n), 1), &first, &got, e);

	if (r == 0) /* taking may have moved the slice away */
		r = q2_l2_entry(d, off, &s, &i, e);
	if (r < 0)
		return r;
	end = MIN(off + want, base + (got << q->cluster_bits));
	last = (end - 1 - base) >> q->cluster_bits;
	if (last)
		r = q2_decode(d, q2_at(q, s, i + (uint32_t)last), end - 1, &tail, e);
	if (r < 0) {
		for (uint64_t k = 0; k < got; k++)
			q2_ref_set(d, first + k, 0, NULL);
		return r;
	}
	set_extent(q, x, off, want, first << q->cluster_bits, got, moves_whole(old),
		   moves_whole(&tail));
	x->flags = x->off >= MAX(file_size(disk_file(d)), q->touched_end) ? EXTENT_FRESH : 0;
	return 0;
}

int q2_alloc(struct disk *d, uint64_t off, uint64_t want, struct extent *x, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	struct q2_entry old;
	struct slice *s;
	uint32_t i;
	int r = own_table(d, off, e);

	if (r == 0 && x->kind == EXTENT_COMPRESSED)
		return q2_alloc_packed(d, x, e);
	if (r == 0)
		r = q2_l2_entry(d, off, &s, &i, e);
	if (r == 0)
		r = q2_decode(d, q2_at(q, s, i), off, &old, e);
	if (r < 0)
		return r;
	if (q->data_file) {
		alloc_in_data_file(d, off, want, i, x);
	} else if (has_room(&old)) {
		set_extent(q, x, off, want, old.host, 1, false, false);
		x->token = REUSED;
	} else {
		r = alloc_new(d, off, want, s, i, &old, x, e);
	}
	if (r == 0)
		q2_seal(q, off - x->head, x);
	return r;
}

/* The entry is replaced: what it used is let go. An entry that is damaged leaks instead. */
static int replace(struct disk *d, struct slice *s, uint32_t i, const struct q2_entry *entry,
		   bool punch, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint8_t *p = q2_at(q, s, i), now[16] = { 0 };
	uint64_t old = be64(p), first, n;
	int r = 0;

	q2_encode(q, entry, now);
	if (!memcmp(p, now, q->entry_len))
		return 0;
	if (((old ^ be64(now)) & Q2_OFFSET || (old | be64(now)) & Q2_COMPRESSED) &&
	    q2_entry_clusters(d, old, &first, &n, NULL) == 0)
		r = q2_let_go(d, first, n, punch, e);
	if (r < 0)
		return r;
	memcpy(p, now, q->entry_len);
	q2_dirty(d, s);
	return 0;
}

/* The pieces of the cluster at `base` that lie in [from, to). */
static uint32_t piece_mask(const struct qcow2 *q, uint64_t base, uint64_t from, uint64_t to)
{
	uint64_t a = from > base ? (from - base) >> q->piece_bits : 0;
	uint64_t b = to - base >= q->cluster_size
			 ? q->pieces
			 : (to - base + (1u << q->piece_bits) - 1) >> q->piece_bits;

	return (uint32_t)(((UINT64_C(1) << b) - 1) & ~((UINT64_C(1) << a) - 1));
}

static int publish_cluster(struct disk *d, struct slice *s, uint32_t i, uint64_t base,
			   uint64_t host, uint32_t mask, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	struct q2_entry old, n = { .has_host = true, .owned = true, .host = host };

	if (q2_decode(d, q2_at(q, s, i), base, &old, NULL) < 0)
		old = (struct q2_entry){ 0 };
	n.alloc = mask;
	if (!old.compressed && (!old.has_host || old.host == host)) {
		n.alloc |= old.alloc;
		n.zero = old.zero & ~mask;
	}
	return replace(d, s, i, &n, false, e);
}

int q2_publish(struct disk *d, uint64_t off, const struct extent *x, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t from = off - x->head, to = off + x->len + x->tail;
	uint64_t base = round_down(from, q->cluster_size), host = x->off - (from - base);
	struct slice *s;
	uint32_t i;
	int r = q2_l2_entry(d, from, &s, &i, e);

	if (r == 0 && x->kind == EXTENT_COMPRESSED) {
		struct q2_entry n = { .compressed = true, .host = q2_packed_entry(q, x) };

		return replace(d, s, i, &n, false, e);
	}
	for (; r == 0 && base < to; i++, base += q->cluster_size, host += q->cluster_size)
		r = publish_cluster(d, s, i, base, host, piece_mask(q, base, from, to), e);
	return r;
}

void q2_abandon(struct disk *d, uint64_t off, const struct extent *x)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t len = (uint64_t)x->head + x->len + x->tail, first = x->off >> q->cluster_bits;
	uint64_t n = q2_clusters(q, (x->off & (q->cluster_size - 1)) + len);
	struct slice *s;
	uint32_t i;

	if (x->kind == EXTENT_COMPRESSED) {
		q2_abandon_packed(d, x);
		return;
	}
	/* Some of it may be in the file. */
	q->touched_end = MAX(q->touched_end, x->off + len);
	if (x->token == REUSED || q2_l2_entry(d, off, &s, &i, NULL) < 0)
		return;
	for (uint64_t k = 0; k < n; k++) {
		uint64_t word = s ? be64(q2_at(q, s, i + (uint32_t)k)) : 0;

		/* What commit() had already pointed to stays. */
		if ((word & Q2_OFFSET) >> q->cluster_bits != first + k)
			q2_ref_set(d, first + k, 0, NULL);
	}
}

enum nothing { AS_ZERO, AS_UNALLOCATED };

/* -ENOTSUP: a part of a stream cannot go. */
static int empty_pieces(struct disk *d, struct slice *s, uint32_t i, uint64_t base, uint32_t mask,
			enum nothing how, bool keep, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint32_t all = q2_all_pieces(q);
	struct q2_entry n;

	if (q2_decode(d, q2_at(q, s, i), base, &n, mask == all ? NULL : e) < 0) {
		if (mask != all)
			return -EIO;
		n = (struct q2_entry){ 0 }; /* damaged: it leaks */
	}
	if (n.compressed && mask != all)
		return -ENOTSUP;
	if (n.compressed || (mask == all && !(keep && n.owned)))
		n = (struct q2_entry){ .zero = n.compressed ? 0 : n.zero };
	if (how == AS_ZERO && !has_backing(d) && !n.has_host && !(n.zero & mask))
		how = AS_UNALLOCATED; /* as it is; it reads as zeroes */
	n.alloc &= ~mask;
	n.zero = how == AS_ZERO ? n.zero | mask : n.zero & ~mask;
	if (!n.alloc && !keep)
		n.has_host = false;
	if (!n.has_host)
		n.owned = false;
	return replace(d, s, i, &n, !keep, e);
}

/* Sets whole pieces to one kind of nothing; *len comes back as what one slice or hole covers. */
static int set_nothing(struct disk *d, uint64_t off, uint64_t *len, enum nothing how, bool keep,
		       struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t base = round_down(off, q->cluster_size), end;
	struct slice *s;
	uint32_t i;
	int r = q2_l2_entry(d, off, &s, &i, e);

	if (r < 0)
		return r;
	if (!s && (how == AS_UNALLOCATED || !has_backing(d))) {
		struct extent x = { 0 };

		r = q2_map(d, off, *len, &x, e);
		*len = MIN(*len, x.len);
		return r;
	}
	r = own_table(d, off, e);
	if (r == 0)
		r = q2_l2_entry(d, off, &s, &i, e);
	end = base + ((uint64_t)(q2_slice_entries(q) - i) << q->cluster_bits);
	*len = MIN(*len, end - off);
	if (r == 0 && q->data_file && !keep)
		file_discard(d->files[q->data_file], off, *len);
	for (end = off + *len; r == 0 && base < end; i++, base += q->cluster_size) {
		/* The disk may end inside of a piece. */
		uint64_t to = end == d->size ? round_up(end, q->cluster_size) : end;

		r = empty_pieces(d, s, i, base, piece_mask(q, base, off, to), how, keep, e);
	}
	return r;
}

/* The data file is the disk: what it holds must be zero. */
static int zero_data_file(struct disk *d, uint64_t off, uint64_t len, bool unmap, struct err *e)
{
	return file_zero(d->files[qcow2_of(d)->data_file], off, len, unmap, e);
}

int q2_zero(struct disk *d, uint64_t off, uint64_t *len, bool unmap, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);

	if (q->autoclear & Q2_DATA_RAW && q->data_file)
		return zero_data_file(d, off, *len, unmap, e);
	if (q->version < 3)
		return has_backing(d) ? -ENOTSUP
				      : set_nothing(d, off, len, AS_UNALLOCATED, false, e);
	return set_nothing(d, off, len, unmap && !has_backing(d) ? AS_UNALLOCATED : AS_ZERO, !unmap,
			   e);
}

/* Version 2 over a backing image has no way to say "zero": the old content stays. */
int q2_discard(struct disk *d, uint64_t off, uint64_t *len, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	int r;

	if (q->autoclear & Q2_DATA_RAW && q->data_file)
		return zero_data_file(d, off, *len, true, e);
	if (has_backing(d) && q->version < 3)
		return 0;
	r = set_nothing(d, off, len, has_backing(d) ? AS_ZERO : AS_UNALLOCATED, false, e);
	return r == -ENOTSUP ? 0 : r; /* a part of a stream stays */
}

int q2_unmap(struct disk *d, uint64_t off, uint64_t *len, struct err *e)
{
	return set_nothing(d, off, len, AS_UNALLOCATED, false, e);
}
