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

static bool is_own_zero(uint64_t entry)
{
	return !(entry & Q2_COMPRESSED) && entry & Q2_ZERO && entry & Q2_COPIED &&
	       entry & Q2_OFFSET;
}

static bool is_in_place(uint64_t entry)
{
	return !(entry & (Q2_COMPRESSED | Q2_ZERO)) && entry & Q2_COPIED && entry & Q2_OFFSET;
}

/* How many entries from i on need new room, at most n. */
static uint64_t need_room(struct qcow2 *q, const struct slice *s, uint32_t i, uint64_t n)
{
	uint64_t k = 0;

	while (k < n && i + k < q->slice_size / 8) {
		uint64_t entry = be64(s->data + (i + k) * 8);

		if (is_in_place(entry) || is_own_zero(entry))
			break;
		k++;
	}
	return k;
}

static void set_extent(struct qcow2 *q, struct extent *x, uint64_t off, uint64_t want,
		       uint64_t clusters)
{
	uint64_t room = clusters << q->cluster_bits, used;

	x->head = (uint32_t)(off & (q->cluster_size - 1));
	x->len = MIN(want, room - x->head);
	used = x->head + x->len;
	x->tail = (uint32_t)(round_up(used, q->cluster_size) - used);
}

int q2_alloc(struct disk *d, uint64_t off, uint64_t want, struct extent *x, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t n = MIN(want, ALLOC_MAX), entry, first, got;
	struct slice *s;
	uint32_t i;
	int r;

	if (x->kind == EXTENT_COMPRESSED) {
		r = own_table(d, off, e);
		return r < 0 ? r : q2_alloc_packed(d, x, e);
	}
	n = q2_clusters(q, (off & (q->cluster_size - 1)) + n);
	r = own_table(d, off, e);
	if (r == 0)
		r = q2_l2_entry(d, off, &s, &i, e);
	if (r < 0)
		return r;
	entry = be64(s->data + (size_t)i * 8);
	r = entry & Q2_COMPRESSED ? 0 : q2_check_entry(d, entry, off, e);
	if (r < 0)
		return r;
	if (is_own_zero(entry)) {
		x->off = entry & Q2_OFFSET;
		x->token = REUSED;
		set_extent(q, x, off, want, 1);
		q2_seal(q, off - x->head, x);
		return 0;
	}
	r = q2_take_clusters(d, MAX(need_room(q, s, i, n), 1), &first, &got, e);
	if (r < 0)
		return r;
	x->off = first << q->cluster_bits;
	x->flags = x->off >= MAX(file_size(disk_file(d)), q->touched_end) ? EXTENT_FRESH : 0;
	set_extent(q, x, off, want, got);
	q2_seal(q, off - x->head, x);
	return 0;
}

/* The entry is replaced: what it used is let go. An entry that is damaged leaks instead. */
static int replace(struct disk *d, struct slice *s, uint32_t i, uint64_t entry, bool punch,
		   struct err *e)
{
	uint64_t old = be64(s->data + (size_t)i * 8), first, n;
	int r = 0;

	if (old == entry)
		return 0;
	if (!((old ^ entry) & Q2_OFFSET) && !((old | entry) & Q2_COMPRESSED)) {
		put_be64(s->data + (size_t)i * 8, entry);
		q2_dirty(d, s);
		return 0;
	}
	if (q2_entry_clusters(d, old, &first, &n, NULL) == 0)
		r = q2_let_go(d, first, n, punch, e);
	if (r < 0)
		return r;
	put_be64(s->data + (size_t)i * 8, entry);
	q2_dirty(d, s);
	return 0;
}

int q2_publish(struct disk *d, uint64_t off, const struct extent *x, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t n = q2_clusters(q, x->head + x->len);
	struct slice *s;
	uint32_t i;
	int r = q2_l2_entry(d, off, &s, &i, e);

	if (r == 0 && x->kind == EXTENT_COMPRESSED)
		return replace(d, s, i, q2_packed_entry(q, x), false, e);
	for (uint64_t k = 0; r == 0 && k < n; k++)
		r = replace(d, s, i + (uint32_t)k, (x->off + (k << q->cluster_bits)) | Q2_COPIED,
			    false, e);
	return r;
}

void q2_abandon(struct disk *d, uint64_t off, const struct extent *x)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t n = q2_clusters(q, x->head + x->len), first = x->off >> q->cluster_bits;
	struct slice *s;
	uint32_t i;

	if (x->kind == EXTENT_COMPRESSED) {
		q2_abandon_packed(d, x);
		return;
	}
	/* Some of it may be in the file. */
	q->touched_end = MAX(q->touched_end, x->off + (n << q->cluster_bits));
	if (x->token == REUSED || q2_l2_entry(d, off, &s, &i, NULL) < 0)
		return;
	for (uint64_t k = 0; k < n; k++) {
		uint64_t entry = s ? be64(s->data + (i + k) * 8) : 0;

		/* What commit() had already pointed to stays. */
		if ((entry & Q2_OFFSET) >> q->cluster_bits != first + k)
			q2_ref_set(d, first + k, 0, NULL);
	}
}

/* Sets whole units to one kind of nothing; *len comes back as what one slice or hole covers. */
static int set_nothing(struct disk *d, uint64_t off, uint64_t *len, uint64_t nothing, bool keep,
		       struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t n = q2_clusters(q, *len);
	struct slice *s;
	uint32_t i;
	int r = q2_l2_entry(d, off, &s, &i, e);

	if (r < 0)
		return r;
	if (!s && (!nothing || !has_backing(d))) {
		struct extent x = { 0 };

		r = q2_map(d, off, *len, &x, e);
		*len = MIN(*len, x.len);
		return r;
	}
	r = own_table(d, off, e);
	if (r == 0)
		r = q2_l2_entry(d, off, &s, &i, e);
	n = MIN(n, q->slice_size / 8 - i);
	*len = MIN(*len, n << q->cluster_bits);
	for (uint64_t k = 0; r == 0 && k < n; k++) {
		uint64_t old = be64(s->data + (i + k) * 8), entry = nothing;

		if (old == 0 && !has_backing(d))
			continue;
		if (keep && (is_in_place(old) || is_own_zero(old)))
			entry = (old & Q2_OFFSET) | Q2_COPIED | Q2_ZERO;
		r = replace(d, s, i + (uint32_t)k, entry, !keep, e);
	}
	return r;
}

int q2_zero(struct disk *d, uint64_t off, uint64_t *len, bool unmap, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);

	if (q->version < 3)
		return has_backing(d) ? -ENOTSUP : set_nothing(d, off, len, 0, false, e);
	return set_nothing(d, off, len, unmap && !has_backing(d) ? 0 : Q2_ZERO, !unmap, e);
}

/* Version 2 over a backing image has no way to say "zero": the old content stays. */
int q2_discard(struct disk *d, uint64_t off, uint64_t *len, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);

	if (has_backing(d) && q->version < 3)
		return 0;
	return set_nothing(d, off, len, has_backing(d) ? Q2_ZERO : 0, false, e);
}

int q2_unmap(struct disk *d, uint64_t off, uint64_t *len, struct err *e)
{
	return set_nothing(d, off, len, 0, false, e);
}
