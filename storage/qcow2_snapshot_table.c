/* The table of snapshots of a qcow2 image: read at open, written anew when it changes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

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
       EXTRA_MAX = 1024,
};

#define TABLE_MAX (Q2_SNAPSHOTS_MAX * (uint64_t)1024)

void q2_snapshot_clear(struct q2_snapshot *s)
{
	free(s->extra);
	free(s->id);
	free(s->name);
}

void q2_snapshots_free(struct qcow2 *q)
{
	for (uint32_t i = 0; q->snapshots && i < q->snapshot_n; i++)
		q2_snapshot_clear(&q->snapshots[i]);
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
	if (s->extra_len >= Q2_EXTRA_VMSTATE + 8)
		s->vmstate_size = be64(s->extra + Q2_EXTRA_VMSTATE);
	s->size = s->extra_len >= Q2_EXTRA_SIZE + 8 ? be64(s->extra + Q2_EXTRA_SIZE) : d->size;
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
int q2_snapshots_store(struct disk *d, const struct q2_snapshot *list, uint32_t n, struct err *e)
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
