/*
 * Snapshots inside a qcow2 image: taking one, going back to one, dropping one. Called with no
 * request in flight; each step is durable before the next one builds on it, so that a power cut
 * leaves leaks at worst.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "storage/qcow2.h"

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
	s->extra_len = Q2_EXTRA_LEN;
	s->extra = calloc(1, Q2_EXTRA_LEN + 1);
	s->id = strdup(id);
	s->name = strdup(name);
	if (!s->extra || !s->id || !s->name)
		return err_nomem(e);
	put_be64(s->extra + Q2_EXTRA_SIZE, d->size);
	put_be64(s->extra + Q2_EXTRA_ICOUNT, UINT64_MAX);
	return 0;
}

int q2_snapshot_create(struct disk *d, const char *name, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	struct q2_snapshot s = { 0 }, *all;
	int r;

	if (!*name || strlen(name) > 255)
		return err_set(e, -EINVAL, "a snapshot has a name of 1 to 255 bytes");
	if (q->data_file)
		return err_lacking(e, "%s has its data in another file and cannot keep snapshots",
				   disk_file(d)->name);
	if (find(q, name))
		return err_set(e, -EEXIST, "%s has a snapshot \"%s\" already", disk_file(d)->name,
			       name);
	if (q->snapshot_n == Q2_SNAPSHOTS_MAX)
		return err_set(e, -EFBIG, "%s has as many snapshots as it can", disk_file(d)->name);
	r = q2_settle(d, e);
	if (r == 0)
		r = q2_walk_l1(d, q->l1, q->l1_entries, q2_can_add, 0, e);
	if (r == 0)
		r = describe(d, name, &s, e);
	if (r == 0)
		r = q2_walk_l1(d, q->l1, q->l1_entries, q2_ref_add, 1, e);
	if (r == 0)
		r = q2_copy_l1(d, &s.l1_off, q->l1, q->l1_entries, e);
	if (r == 0)
		r = q2_mark_owned(d, e);
	all = r == 0 ? realloc(q->snapshots, (q->snapshot_n + 1) * sizeof(*all)) : NULL;
	if (r == 0 && !all)
		r = err_nomem(e);
	if (all) {
		q->snapshots = all;
		all[q->snapshot_n] = s;
		r = q2_snapshots_store(d, all, q->snapshot_n + 1, e);
	}
	if (r < 0) {
		q2_snapshot_clear(&s);
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
	r = q2_snapshots_store(d, rest, n, e);
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
	r = q2_walk_l1(d, l1, gone.l1_entries, q2_ref_add, -1, e);
	if (r == 0 && gone.l1_entries)
		r = q2_ref_add(d, gone.l1_off >> q->cluster_bits,
			       q2_clusters(q, (uint64_t)gone.l1_entries * 8), -1, e);
	q2_snapshot_clear(&gone);
	if (r == 0)
		r = q2_settle(d, e);
	return r < 0 ? r : q2_mark_owned(d, e);
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
		r = q2_walk_l1(d, l1, n, q2_can_add, 0, e);
	if (r == 0)
		r = q2_walk_l1(d, l1, n, q2_ref_add, 1, e);
	if (r == 0)
		r = q2_copy_l1(d, &off, l1, n, e);
	if (r == 0)
		r = q2_settle(d, e);
	old = r == 0 ? malloc((size_t)old_n * 8 + 8) : NULL;
	if (!old)
		return r < 0 ? r : err_nomem(e);
	memcpy(old, q->l1, (size_t)old_n * 8);
	r = q2_activate(d, l1, n, off, s->size, e);
	if (r < 0)
		return r;
	take(l1);
	r = q2_walk_l1(d, old, old_n, q2_ref_add, -1, e);
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
