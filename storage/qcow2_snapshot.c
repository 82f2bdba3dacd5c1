/*
 * Snapshots inside a qcow2 image: the table of them, taking one, going back to one, dropping one.
 * Called with no request in flight; each step is durable before the next one builds on it, so
 * that a power cut leaves leaks at worst.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "storage/qcow2.h"

enum { /* an entry of the table (the spec, "Snapshots") */
       AT_L1_OFF = 0,
       AT_L1_ENTRIES = 8,
       AT_ID_LEN = 12,
       AT_NAME_LEN = 14,
       AT_SEC = 16,
       AT_NSEC = 20,
       AT_VM_CLOCK = 24,
       AT_VMSTATE32 = 32,
       AT_EXTRA_LEN = 36,
       ENTRY_LEN = 40,
       EXTRA_VMSTATE = 0,
       EXTRA_SIZE = 8,
       EXTRA_ICOUNT = 16,
       EXTRA_LEN = 24,
       EXTRA_MAX = 1024,
};

#define TABLE_MAX (Q2_SNAPSHOTS_MAX * (uint64_t)1024)

static void snapshot_clear(struct q2_snapshot *s)
{
	free(s->extra);
	free(s->id);
	free(s->name);
}

void q2_snapshots_free(struct qcow2 *q)
{
	for (uint32_t i = 0; q->snapshots && i < q->snapshot_n; i++)
		snapshot_clear(&q->snapshots[i]);
	free(q->snapshots);
	q->snapshots = NULL;
}

static int damaged(struct disk *d, uint32_t i, const char *why, struct err *e)
{
	return err_damaged(e, "%s: snapshot %u %s", disk_file(d)->name, i, why);
}

static int check_snapshot(struct disk *d, uint32_t i, const struct q2_snapshot *s, struct err *e)
{
	if (s->l1_entries > Q2_L1_BYTES_MAX / 8)
		return damaged(d, i, "has an L1 table that is too big", e);
	if (s->l1_entries)
		return q2_check_table(d, s->l1_off, (uint64_t)s->l1_entries * 8,
				      "L1 table of a snapshot", e);
	return 0;
}

/* One entry at *at; the strings and the extra data follow it. */
static int load_one(struct disk *d, uint32_t i, uint64_t *at, struct err *e)
{
	struct q2_snapshot *s = &qcow2_of(d)->snapshots[i];
	uint8_t h[ENTRY_LEN];
	uint32_t id, name;
	int r = file_pread(disk_file(d), *at, h, sizeof(h), e);

	if (r < 0)
		return r;
	s->l1_off = be64(h + AT_L1_OFF);
	s->l1_entries = be32(h + AT_L1_ENTRIES);
	id = be16(h + AT_ID_LEN);
	name = be16(h + AT_NAME_LEN);
	s->sec = be32(h + AT_SEC);
	s->nsec = be32(h + AT_NSEC);
	s->vm_clock = be64(h + AT_VM_CLOCK);
	s->vmstate_size = be32(h + AT_VMSTATE32);
	s->extra_len = be32(h + AT_EXTRA_LEN);
	if (s->extra_len > EXTRA_MAX)
		return damaged(d, i, "has too much extra data", e);
	if (!file_has(disk_file(d), *at, ENTRY_LEN + (uint64_t)s->extra_len + id + name))
		return damaged(d, i, "is past the end of the file", e);
	s->extra = calloc(1, s->extra_len + 1);
	s->id = calloc(1, id + 1u);
	s->name = calloc(1, name + 1u);
	if (!s->extra || !s->id || !s->name)
		return err_nomem(e);
	*at += ENTRY_LEN;
	r = file_pread(disk_file(d), *at, s->extra, s->extra_len, e);
	if (r == 0)
		r = file_pread(disk_file(d), *at + s->extra_len, s->id, id, e);
	if (r == 0)
		r = file_pread(disk_file(d), *at + s->extra_len + id, s->name, name, e);
	*at = round_up(*at + s->extra_len + id + name, 8);
	if (s->extra_len >= EXTRA_VMSTATE + 8)
		s->vmstate_size = be64(s->extra + EXTRA_VMSTATE);
	s->size = s->extra_len >= EXTRA_SIZE + 8 ? be64(s->extra + EXTRA_SIZE) : d->size;
	return r < 0 ? r : check_snapshot(d, i, s, e);
}

int q2_snapshots_load(struct disk *d, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t at = q->snapshots_off;
	uint32_t n = q->snapshot_n;
	int r;

	q->snapshot_n = 0;
	if (!n)
		return 0;
	if (n > Q2_SNAPSHOTS_MAX)
		return err_damaged(e, "%s: %u snapshots", disk_file(d)->name, n);
	r = q2_check_table(d, at, (uint64_t)n * ENTRY_LEN, "snapshot table", e);
	if (r < 0)
		return r;
	q->snapshots = calloc(n, sizeof(*q->snapshots));
	if (!q->snapshots)
		return err_nomem(e);
	q->snapshot_n = n;
	for (uint32_t i = 0; r == 0 && i < n; i++) {
		r = load_one(d, i, &at, e);
		if (r == 0 && at - q->snapshots_off > TABLE_MAX)
			r = damaged(d, i, "makes the table too big", e);
	}
	q->snapshots_len = at - q->snapshots_off;
	return r;
}

static uint64_t entry_len(const struct q2_snapshot *s)
{
	return round_up(ENTRY_LEN + (uint64_t)s->extra_len + strlen(s->id) + strlen(s->name), 8);
}

static void put_entry(uint8_t *p, const struct q2_snapshot *s)
{
	size_t id = strlen(s->id), name = strlen(s->name);

	put_be64(p + AT_L1_OFF, s->l1_off);
	put_be32(p + AT_L1_ENTRIES, s->l1_entries);
	put_be16(p + AT_ID_LEN, (uint16_t)id);
	put_be16(p + AT_NAME_LEN, (uint16_t)name);
	put_be32(p + AT_SEC, s->sec);
	put_be32(p + AT_NSEC, s->nsec);
	put_be64(p + AT_VM_CLOCK, s->vm_clock);
	put_be32(p + AT_VMSTATE32, s->vmstate_size > UINT32_MAX ? 0 : (uint32_t)s->vmstate_size);
	put_be32(p + AT_EXTRA_LEN, s->extra_len);
	memcpy(p + ENTRY_LEN, s->extra, s->extra_len);
	memcpy(p + ENTRY_LEN + s->extra_len, s->id, id);
	memcpy(p + ENTRY_LEN + s->extra_len + id, s->name, name);
}

/* The entries in new clusters; *off is 0 when there are none. */
static int store_entries(struct disk *d, const struct q2_snapshot *list, uint32_t n, uint64_t *off,
			 uint64_t *len, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	autofree uint8_t *buf = NULL;
	uint64_t first, at = 0;
	int r;

	*off = *len = 0;
	for (uint32_t i = 0; i < n; i++)
		*len += entry_len(&list[i]);
	if (!*len)
		return 0;
	buf = calloc(1, *len);
	if (!buf)
		return err_nomem(e);
	for (uint32_t i = 0; i < n; at += entry_len(&list[i++]))
		put_entry(buf + at, &list[i]);
	r = q2_take_exactly(d, q2_clusters(q, *len), &first, e);
	if (r < 0)
		return r;
	*off = first << q->cluster_bits;
	return file_pwrite(disk_file(d), *off, buf, *len, e);
}

/* The table elsewhere, then the header, then the old table goes. The list stays the caller's. */
static int write_table(struct disk *d, const struct q2_snapshot *list, uint32_t n, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t off, len, old = q->snapshots_off, old_len = q->snapshots_len;
	uint32_t old_n = q->snapshot_n;
	int r = store_entries(d, list, n, &off, &len, e);

	if (r == 0)
		r = q2_settle(d, e);
	if (r < 0)
		return r;
	q->snapshot_n = n;
	q->snapshots_off = off;
	q->snapshots_len = len;
	r = q2_publish_header(d, e);
	if (r < 0) {
		q->snapshot_n = old_n;
		q->snapshots_off = old;
		q->snapshots_len = old_len;
		return r;
	}
	if (old_len)
		r = q2_let_go(d, old >> q->cluster_bits, q2_clusters(q, old_len), false, e);
	return r;
}

/* What to do for each stretch of clusters that a tree of tables uses. */
typedef int walk_fn(struct disk *d, uint64_t first, uint64_t n, int delta, struct err *e);

static int walk_l2(struct disk *d, uint64_t table, walk_fn *fn, int delta, struct err *e)
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

		r = q2_entry_clusters(d, be64(buf + (size_t)i * 8), &first, &n, e);
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

/* Everything that an L1 table reaches, and its L2 tables. The tables in the file are current. */
static int walk_l1(struct disk *d, const uint64_t *l1, uint32_t n, walk_fn *fn, int delta,
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

/* Two entries may share a cluster: counted with room for that. */
static int can_add(struct disk *d, uint64_t first, uint64_t n, int delta, struct err *e)
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

		r = q2_slice(d, table, (uint64_t)i * 8, true, l1_index, &s, e);
		if (r < 0)
			return r;
		p = s->data + (size_t)i * 8 % q->slice_size;
		entry = be64(p);
		if (entry & Q2_COMPRESSED || !(entry & Q2_OFFSET))
			continue;
		r = q2_ref_get(d, (entry & Q2_OFFSET) >> q->cluster_bits, &v, e);
		want = (entry & ~Q2_COPIED) | (v == 1 ? Q2_COPIED : 0);
		if (r == 0 && want != entry) {
			/* Looking up the count may have moved the slice away. */
			r = q2_slice(d, table, (uint64_t)i * 8, true, l1_index, &s, e);
			if (r < 0)
				return r;
			put_be64(s->data + (size_t)i * 8 % q->slice_size, want);
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

static struct q2_snapshot *find(struct qcow2 *q, const char *name)
{
	for (uint32_t i = 0; i < q->snapshot_n; i++)
		if (!strcmp(q->snapshots[i].name, name))
			return &q->snapshots[i];
	for (uint32_t i = 0; i < q->snapshot_n; i++)
		if (!strcmp(q->snapshots[i].id, name))
			return &q->snapshots[i];
	return NULL;
}

static int not_found(struct disk *d, const char *name, struct err *e)
{
	err_set(e, -ENOENT, "%s has no snapshot \"%.200s\"", disk_file(d)->name, name);
	err_kind(e, "disk.not-found");
	return -ENOENT;
}

/* One above the highest number in use. */
static void new_id(const struct qcow2 *q, char *buf, size_t len)
{
	unsigned long max = 0;

	for (uint32_t i = 0; i < q->snapshot_n; i++)
		max = MAX(max, strtoul(q->snapshots[i].id, NULL, 10));
	snprintf(buf, len, "%lu", max + 1);
}

static int describe(struct disk *d, const char *name, struct q2_snapshot *s, struct err *e)
{
	struct timespec now;
	char id[24];

	clock_gettime(CLOCK_REALTIME, &now);
	new_id(qcow2_of(d), id, sizeof(id));
	s->sec = (uint32_t)now.tv_sec;
	s->nsec = (uint32_t)now.tv_nsec;
	s->size = d->size;
	s->l1_entries = qcow2_of(d)->l1_entries;
	s->extra_len = EXTRA_LEN;
	s->extra = calloc(1, EXTRA_LEN + 1);
	s->id = strdup(id);
	s->name = strdup(name);
	if (!s->extra || !s->id || !s->name)
		return err_nomem(e);
	put_be64(s->extra + EXTRA_SIZE, d->size);
	put_be64(s->extra + EXTRA_ICOUNT, UINT64_MAX);
	return 0;
}

/* The L1 table of the snapshot: as the active one, without the marks. */
static int copy_l1(struct disk *d, uint64_t *off, const uint64_t *l1, uint32_t n, struct err *e)
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

int q2_snapshot_create(struct disk *d, const char *name, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	struct q2_snapshot s = { 0 }, *all;
	int r;

	if (!*name || strlen(name) > 255)
		return err_set(e, -EINVAL, "a snapshot has a name of 1 to 255 bytes");
	if (find(q, name))
		return err_set(e, -EEXIST, "%s has a snapshot \"%s\" already", disk_file(d)->name,
			       name);
	if (q->snapshot_n == Q2_SNAPSHOTS_MAX)
		return err_set(e, -EFBIG, "%s has as many snapshots as it can", disk_file(d)->name);
	r = q2_settle(d, e);
	if (r == 0)
		r = walk_l1(d, q->l1, q->l1_entries, can_add, 0, e);
	if (r == 0)
		r = describe(d, name, &s, e);
	if (r == 0)
		r = walk_l1(d, q->l1, q->l1_entries, q2_ref_add, 1, e);
	if (r == 0)
		r = copy_l1(d, &s.l1_off, q->l1, q->l1_entries, e);
	if (r == 0)
		r = q2_mark_owned(d, e);
	all = r == 0 ? realloc(q->snapshots, (q->snapshot_n + 1) * sizeof(*all)) : NULL;
	if (r == 0 && !all)
		r = err_nomem(e);
	if (all) {
		q->snapshots = all;
		all[q->snapshot_n] = s;
		r = write_table(d, all, q->snapshot_n + 1, e);
	}
	if (r < 0) {
		snapshot_clear(&s);
		return r;
	}
	return q2_settle(d, e);
}

/* The list without one of its entries, in the same memory afterwards. */
static int remove_entry(struct disk *d, const struct q2_snapshot *gone, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint32_t n = 0;
	autofree struct q2_snapshot *rest = calloc(q->snapshot_n, sizeof(*rest));
	int r;

	if (!rest)
		return err_nomem(e);
	for (uint32_t i = 0; i < q->snapshot_n; i++)
		if (&q->snapshots[i] != gone)
			rest[n++] = q->snapshots[i];
	r = write_table(d, rest, n, e);
	if (r == 0)
		memcpy(q->snapshots, rest, n * sizeof(*rest));
	return r;
}

int q2_snapshot_delete(struct disk *d, const char *name, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	struct q2_snapshot *s = find(q, name), gone;
	autofree uint64_t *l1 = NULL;
	int r;

	if (!s)
		return not_found(d, name, e);
	gone = *s;
	r = q2_load_table(d, gone.l1_off, gone.l1_entries, &l1, e);
	if (r == 0)
		r = q2_settle(d, e);
	if (r == 0)
		r = remove_entry(d, s, e);
	if (r < 0)
		return r;
	r = walk_l1(d, l1, gone.l1_entries, q2_ref_add, -1, e);
	if (r == 0 && gone.l1_entries)
		r = q2_ref_add(d, gone.l1_off >> q->cluster_bits,
			       q2_clusters(q, (uint64_t)gone.l1_entries * 8), -1, e);
	snapshot_clear(&gone);
	if (r == 0)
		r = q2_settle(d, e);
	return r < 0 ? r : q2_mark_owned(d, e);
}

/* Another L1 table and size become the active ones, by one write of the header. */
static int activate(struct disk *d, uint64_t *l1, uint32_t n, uint64_t off, uint64_t size,
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

/* The disk may have been smaller, or the table may not say how big it was. */
static int load_snapshot_l1(struct disk *d, const struct q2_snapshot *s, uint64_t **ret,
			    uint32_t *n, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t cover = UINT64_C(1) << (q->cluster_bits + q->l2_bits);
	uint64_t need = s->size / cover + !!(s->size % cover), *l1 = NULL, *all;
	int r;

	if (need > Q2_L1_BYTES_MAX / 8 || s->size > INT64_MAX - GiB)
		return err_damaged(e, "%s: snapshot \"%s\" is of a disk that is too big",
				   disk_file(d)->name, s->name);
	r = q2_load_table(d, s->l1_off, s->l1_entries, &l1, e);
	if (r < 0)
		return r;
	*n = MAX((uint32_t)need, s->l1_entries);
	all = realloc(l1, (size_t)*n * 8 + 8);
	if (!all) {
		free(l1);
		return err_nomem(e);
	}
	for (uint32_t i = 0; i < *n; i++)
		all[i] = i < s->l1_entries ? all[i] & ~Q2_COPIED : 0;
	*ret = all;
	return 0;
}

int q2_snapshot_revert(struct disk *d, const char *name, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	struct q2_snapshot *s = find(q, name);
	autofree uint64_t *l1 = NULL, *old = NULL;
	uint64_t off = 0, old_off = q->l1_off;
	uint32_t old_n = q->l1_entries, n = 0;
	int r;

	if (!s)
		return not_found(d, name, e);
	r = load_snapshot_l1(d, s, &l1, &n, e);
	if (r == 0)
		r = q2_settle(d, e);
	if (r == 0)
		r = walk_l1(d, l1, n, can_add, 0, e);
	if (r == 0)
		r = walk_l1(d, l1, n, q2_ref_add, 1, e);
	if (r == 0)
		r = copy_l1(d, &off, l1, n, e);
	if (r == 0)
		r = q2_settle(d, e);
	old = r == 0 ? malloc((size_t)old_n * 8 + 8) : NULL;
	if (!old)
		return r < 0 ? r : err_nomem(e);
	memcpy(old, q->l1, (size_t)old_n * 8);
	r = activate(d, l1, n, off, s->size, e);
	if (r < 0)
		return r;
	take(l1);
	r = walk_l1(d, old, old_n, q2_ref_add, -1, e);
	if (r == 0 && old_n)
		r = q2_ref_add(d, old_off >> q->cluster_bits, q2_clusters(q, (uint64_t)old_n * 8),
			       -1, e);
	if (r == 0)
		r = q2_settle(d, e);
	return r < 0 ? r : q2_mark_owned(d, e);
}

/* Nothing is written: only what is in memory points to the snapshot's tables. */
int q2_snapshot_view(struct disk *d, const char *name, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	struct q2_snapshot *s = find(q, name);
	autofree uint64_t *l1 = NULL;
	uint32_t n = 0;
	int r;

	if (!s)
		return not_found(d, name, e);
	r = load_snapshot_l1(d, s, &l1, &n, e);
	if (r < 0)
		return r;
	free(q->l1);
	q->l1 = take(l1);
	q->l1_entries = n;
	d->size = s->size;
	return 0;
}

int q2_snapshot_list(struct disk *d, struct disk_snapshot **list, unsigned *n, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	struct disk_snapshot *all = calloc(q->snapshot_n + 1, sizeof(*all));

	if (!all)
		return err_nomem(e);
	for (uint32_t i = 0; i < q->snapshot_n; i++) {
		const struct q2_snapshot *s = &q->snapshots[i];

		snprintf(all[i].id, sizeof(all[i].id), "%.63s", s->id);
		snprintf(all[i].name, sizeof(all[i].name), "%.255s", s->name);
		all[i].size = s->size;
		all[i].vmstate_size = s->vmstate_size;
		all[i].time_ns = (int64_t)s->sec * 1000000000 + s->nsec;
		all[i].vm_clock_ns = s->vm_clock;
	}
	*list = all;
	*n = q->snapshot_n;
	return 0;
}
