/*
 * Checking a qcow2 image: every reference is counted from the tables and compared with the
 * refcounts. Called by jobs, and at open after a crash of a writer with lazy refcounts; no request
 * is in flight.
 *
 * Too high a count is a leak: space nobody uses. Too low a count, a mark "not shared" on a shared
 * cluster, and an entry that points where it may not are corruption. A missing mark is neither:
 * it costs one copy.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/qcow2.h"

struct tally {
	struct disk *d;
	struct disk_check *c;
	uint32_t *used; /* references to each cluster of the file */
	uint64_t n;
	uint64_t *is_block; /* a bit for each cluster that is a refcount block */
};

static void use(struct tally *t, uint64_t first, uint64_t n, const char *what)
{
	for (uint64_t i = first; i < first + n; i++) {
		if (i < t->n) {
			t->used[i]++;
			continue;
		}
		t->c->corruptions++;
		disk_finding(t->c, "%s at cluster %llu is past the end of the file", what,
			     (unsigned long long)i);
		return;
	}
}

static void use_bytes(struct tally *t, uint64_t off, uint64_t len, const char *what)
{
	struct qcow2 *q = qcow2_of(t->d);

	if (len)
		use(t, off >> q->cluster_bits, q2_clusters(q, (off & (q->cluster_size - 1)) + len),
		    what);
}

static void tally_entry(struct tally *t, const uint8_t *entry, uint64_t off, bool active)
{
	struct q2_entry x;
	uint64_t first, n;
	struct err e;

	if (q2_decode(t->d, entry, off, &x, &e) < 0 ||
	    q2_entry_clusters(t->d, be64(entry), &first, &n, &e) < 0) {
		t->c->corruptions++;
		disk_finding(t->c, "%s", e.msg);
		return;
	}
	use(t, first, n, "data");
	if (active && (n || x.has_host)) {
		t->c->units_used++;
		t->c->compressed += x.compressed;
	}
}

static int tally_l1(struct tally *t, const uint64_t *l1, uint32_t n, bool active, struct err *e)
{
	struct qcow2 *q = qcow2_of(t->d);
	autofree uint8_t *buf = malloc(q->cluster_size);

	if (!buf)
		return err_nomem(e);
	for (uint32_t i = 0; i < n; i++) {
		uint64_t at = l1[i] & Q2_OFFSET;
		struct err why;

		if (!at)
			continue;
		if (q2_check_table(t->d, at, q->cluster_size, "L2 table", &why) < 0) {
			t->c->corruptions++;
			disk_finding(t->c, "L1 entry %u: %s", i, why.msg);
			continue;
		}
		if (file_pread(disk_file(t->d), at, buf, q->cluster_size, e) < 0)
			return -EIO;
		use(t, at >> q->cluster_bits, 1, "an L2 table");
		for (uint32_t k = 0; k < q->l2_entries; k++)
			tally_entry(t, buf + (size_t)k * q->entry_len,
				    ((uint64_t)i << q->l2_bits | k) << q->cluster_bits, active);
	}
	return 0;
}

static void tally_blocks(struct tally *t)
{
	struct qcow2 *q = qcow2_of(t->d);

	for (uint32_t i = 0; i < q->reftable_entries; i++) {
		uint64_t at = q->reftable[i], cluster = at >> q->cluster_bits;
		struct err e;

		if (!at)
			continue;
		if (q2_check_table(t->d, at, q->cluster_size, "refcount block", &e) < 0) {
			t->c->corruptions++;
			disk_finding(t->c, "entry %u of the refcount table: %s", i, e.msg);
			continue;
		}
		if (cluster >= t->n || bit_get(t->is_block, cluster)) {
			t->c->corruptions++;
			disk_finding(t->c, "refcount block %u is used twice", i);
			continue;
		}
		bit_set(t->is_block, cluster);
		use(t, cluster, 1, "a refcount block");
	}
}

static void use_bitmap(void *arg, uint64_t off, uint64_t len)
{
	use_bytes(arg, off, len, "a bitmap");
}

static int tally_all(struct tally *t, struct err *e)
{
	struct qcow2 *q = qcow2_of(t->d);
	int r = q2_bitmaps_walk(t->d, use_bitmap, t, e);

	if (r < 0)
		return r;

	use(t, 0, 1, "the header");
	use_bytes(t, q->reftable_off, (uint64_t)q->reftable_entries * 8, "the refcount table");
	use_bytes(t, q->l1_off, (uint64_t)q->l1_entries * 8, "the L1 table");
	use_bytes(t, q->snapshots_off, q->snapshots_len, "the snapshot table");
	use_bytes(t, q->luks_off, q->luks_len, "the LUKS header");
	tally_blocks(t);
	r = tally_l1(t, q->l1, q->l1_entries, true, e);
	for (uint32_t i = 0; r == 0 && i < q->snapshot_n; i++) {
		const struct q2_snapshot *s = &q->snapshots[i];
		autofree uint64_t *l1 = NULL;

		use_bytes(t, s->l1_off, (uint64_t)s->l1_entries * 8, "an L1 table of a snapshot");
		r = q2_load_table(t->d, s->l1_off, s->l1_entries, &l1, e);
		if (r == 0)
			r = tally_l1(t, l1, s->l1_entries, false, e);
	}
	return r;
}

static bool has_block(const struct tally *t, uint64_t cluster)
{
	struct qcow2 *q = qcow2_of(t->d);
	uint64_t block = cluster / q2_refs_per_block(q), at;

	at = block < q->reftable_entries ? q->reftable[block] >> q->cluster_bits : 0;
	return at && at < t->n && bit_get(t->is_block, at);
}

/* Some cluster that is free by the tally, for a block that counts what has no counts. */
static int place_block(struct tally *t, uint64_t block, struct err *e)
{
	struct qcow2 *q = qcow2_of(t->d);
	uint64_t per = q2_refs_per_block(q);

	for (uint64_t k = 1; k < t->n; k++) {
		if (t->used[k] || (k / per != block && !has_block(t, k)))
			continue;
		t->used[k] = 1;
		bit_set(t->is_block, k);
		return q2_ref_place(t->d, block, k, e);
	}
	return err_damaged(e, "%s: there is no room for the refcounts", disk_file(t->d)->name);
}

static int compare_one(struct tally *t, uint64_t cluster, unsigned repair, struct err *e)
{
	uint64_t v = 0, used = cluster < t->n ? t->used[cluster] : 0;
	int r = has_block(t, cluster) ? q2_ref_get(t->d, cluster, &v, e) : 0;
	bool leak = v > used, fix;

	if (r < 0 || v == used)
		return r;
	fix = leak ? repair : repair == DISK_REPAIR_ALL;
	disk_finding(t->c, "cluster %llu: refcount %llu, used %llu times",
		     (unsigned long long)cluster, (unsigned long long)v, (unsigned long long)used);
	if (fix && !has_block(t, cluster))
		r = place_block(t, cluster / q2_refs_per_block(qcow2_of(t->d)), e);
	if (r == 0 && fix)
		r = q2_ref_set(t->d, cluster, cluster < t->n ? t->used[cluster] : 0, e);
	if (leak) {
		t->c->leaks++;
		t->c->leaks_fixed += fix;
	} else {
		t->c->corruptions++;
		t->c->corruptions_fixed += fix;
	}
	if (r == 0 && t->d->wants_flush)
		r = q2_flush(t->d, e);
	return r;
}

/* Clusters of the file, and what blocks count beyond its end. */
static int compare(struct tally *t, unsigned repair, struct err *e)
{
	struct qcow2 *q = qcow2_of(t->d);
	uint64_t per = q2_refs_per_block(q);
	int r = 0;

	for (uint64_t i = 0; r == 0 && i < t->n; i++)
		r = compare_one(t, i, repair, e);
	for (uint64_t b = t->n / per; r == 0 && b < q->reftable_entries; b++) {
		if (!has_block(t, b * per))
			continue;
		for (uint64_t i = MAX(b * per, t->n); r == 0 && i < (b + 1) * per; i++)
			r = compare_one(t, i, repair, e);
	}
	return r;
}

/* A mark on a cluster that others use too would let them see each other's writes. */
static int check_marks(struct tally *t, struct err *e)
{
	struct qcow2 *q = qcow2_of(t->d);
	autofree uint8_t *buf = malloc(q->cluster_size);

	if (!buf)
		return err_nomem(e);
	for (uint32_t i = 0; i < (q->data_file ? 0 : q->l1_entries); i++) {
		uint64_t at = q->l1[i] & Q2_OFFSET;

		if (!at || q2_check_table(t->d, at, q->cluster_size, "", NULL) < 0)
			continue;
		if (file_pread(disk_file(t->d), at, buf, q->cluster_size, e) < 0)
			return -EIO;
		for (uint32_t k = 0; k < q->l2_entries; k++) {
			uint64_t entry = be64(buf + (size_t)k * q->entry_len);
			uint64_t cluster = (entry & Q2_OFFSET) >> q->cluster_bits;

			if (entry & Q2_COMPRESSED || !(entry & Q2_COPIED) || cluster >= t->n ||
			    t->used[cluster] <= 1)
				continue;
			t->c->corruptions++;
			disk_finding(t->c, "cluster %llu is used %u times but marked as not shared",
				     (unsigned long long)cluster, t->used[cluster]);
		}
	}
	return 0;
}

static int start_tally(struct tally *t, struct disk *d, struct disk_check *c, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);

	*t = (struct tally){ .d = d, .c = c, .n = q2_clusters(q, file_size(disk_file(d))) };
	if (t->n > UINT64_C(1) << 30)
		return err_set(e, -EFBIG, "%s has too many clusters to check", disk_file(d)->name);
	t->used = calloc(t->n + 1, sizeof(*t->used));
	t->is_block = calloc(BITMAP_WORDS(t->n) + 1, 8);
	return t->used && t->is_block ? 0 : err_nomem(e);
}

static int clear_marks(struct disk *d, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	int r = q2_settle(d, e);

	q->incompatible &= ~(uint64_t)(Q2_DIRTY | Q2_CORRUPT);
	return r < 0 ? r : q2_publish_header(d, e);
}

int q2_check(struct disk *d, unsigned repair, struct disk_check *c, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	struct tally t;
	int r = repair ? q2_settle(d, e) : 0;

	c->units = q2_clusters(q, d->size);
	if (r == 0)
		r = start_tally(&t, d, c, e);
	else
		t = (struct tally){ 0 };
	if (r == 0)
		r = tally_all(&t, e);
	if (r == 0)
		r = check_marks(&t, e);
	if (r == 0)
		r = compare(&t, repair, e);
	free(t.used);
	free(t.is_block);
	if (r < 0 || !repair)
		return r;
	r = q2_settle(d, e);
	if (r == 0 && repair == DISK_REPAIR_ALL)
		r = q2_mark_owned(d, e);
	if (r == 0 && repair == DISK_REPAIR_ALL && c->corruptions == c->corruptions_fixed)
		r = clear_marks(d, e);
	return r;
}

int q2_rebuild(struct disk *d, struct err *e)
{
	struct disk_check c = { 0 };
	int r = q2_check(d, DISK_REPAIR_ALL, &c, e);

	if (r == 0 && c.corruptions != c.corruptions_fixed) {
		r = err_damaged(e, "%s was not closed and has damage that cannot be repaired",
				disk_file(d)->name);
		err_hint(e, "check it, and copy what can be read to a new image");
	}
	return r;
}
