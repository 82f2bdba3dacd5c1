/*
 * Tables of a qcow2 image in memory, in slices of at most 4 KiB, within a budget; the clock says
 * which slice goes. A slice that must still be written stays. With d->meta held.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/qcow2.h"

enum { SLICE = 4096 };
#define CACHE_MIN (256 * KiB)
#define CACHE_MAX (32 * MiB)

int q2_cache_init(struct disk *d, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t bytes = d->cache_bytes ? d->cache_bytes : d->size / 1024;

	list_init(&q->slices);
	list_init(&q->dirty);
	q->slice_size = MIN(SLICE, q->cluster_size);
	bytes = MIN(MAX(bytes, CACHE_MIN), CACHE_MAX);
	q->slice_max = (uint32_t)MAX(bytes / q->slice_size, 16);
	q->hash_size = 64;
	while (q->hash_size < q->slice_max)
		q->hash_size *= 2;
	q->hash = calloc(q->hash_size, sizeof(*q->hash));
	return q->hash ? 0 : err_nomem(e);
}

static struct slice **bucket(struct qcow2 *q, uint64_t off)
{
	return &q->hash[(off / q->slice_size) & (q->hash_size - 1)];
}

static void unhash(struct qcow2 *q, struct slice *s)
{
	struct slice **at = bucket(q, s->off);

	while (*at && *at != s)
		at = &(*at)->next;
	if (*at)
		*at = s->next;
}

static void drop(struct qcow2 *q, struct slice *s)
{
	unhash(q, s);
	list_remove(&s->node);
	if (s->dirty)
		q->dirty_n--;
	list_remove(&s->dirty_node);
	q->slice_n--;
	free(s);
}

void q2_cache_free(struct qcow2 *q)
{
	struct slice *s;

	if (!q->hash)
		return;
	list_for_each(s, &q->slices, struct slice, node)
		drop(q, s);
	free(q->hash);
	q->hash = NULL;
}

/* One that may go, after a second chance for each; NULL when all must stay. */
static struct slice *victim(struct qcow2 *q)
{
	for (uint32_t i = 0; i < 2 * q->slice_n; i++) {
		struct slice *s = list_entry(q->slices.next, struct slice, node);

		list_remove(&s->node);
		list_append(&q->slices, &s->node);
		if (s->dirty || s->staged)
			continue;
		if (!s->used)
			return s;
		s->used = false;
	}
	return NULL;
}

static struct slice *new_slice(struct qcow2 *q)
{
	struct slice *s = q->slice_n >= q->slice_max ? victim(q) : NULL;

	if (s) {
		unhash(q, s);
		list_remove(&s->node);
		q->slice_n--;
		return s;
	}
	return malloc(sizeof(*s) + q->slice_size);
}

static int load(struct disk *d, uint64_t off, bool is_l2, struct slice **ret, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	struct slice *s;
	int r;

	if (d->map_in_memory)
		return -EAGAIN;
	if (!file_has(disk_file(d), off, 1))
		return err_damaged(e, "%s: a table at byte %llu is past the end of the file",
				   disk_file(d)->name, (unsigned long long)off);
	s = new_slice(q);
	if (!s)
		return err_nomem(e);
	r = file_pread(disk_file(d), off, s->data, q->slice_size, e);
	if (r < 0) {
		free(s);
		return r;
	}
	s->off = off;
	s->is_l2 = is_l2;
	s->dirty = s->staged = false;
	list_init(&s->dirty_node);
	list_append(&q->slices, &s->node);
	q->slice_n++;
	s->next = *bucket(q, off);
	*bucket(q, off) = s;
	*ret = s;
	return 0;
}

int q2_slice(struct disk *d, uint64_t table, uint64_t at, bool is_l2, uint32_t l1_index,
	     struct slice **ret, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t off = table + round_down(at, q->slice_size);
	struct slice *s = *bucket(q, off);
	int r;

	while (s && s->off != off)
		s = s->next;
	if (!s) {
		r = load(d, off, is_l2, &s, e);
		if (r < 0)
			return r;
	}
	if (s->is_l2 != is_l2) {
		if (s->dirty || s->staged)
			return err_damaged(e, "%s: the table at byte %llu is used as two things",
					   disk_file(d)->name, (unsigned long long)table);
		s->is_l2 = is_l2;
	}
	s->l1_index = l1_index;
	s->used = true;
	*ret = s;
	return 0;
}

void q2_dirty(struct disk *d, struct slice *s)
{
	struct qcow2 *q = qcow2_of(d);

	if (s->dirty)
		return;
	s->dirty = true;
	list_append(&q->dirty, &s->dirty_node);
	if (++q->dirty_n > q->slice_max / 2)
		d->wants_flush = true;
}

void q2_forget(struct qcow2 *q, uint64_t off, uint64_t len)
{
	for (uint64_t at = off; at < off + len; at += q->slice_size) {
		struct slice *s = *bucket(q, at);

		while (s && s->off != at)
			s = s->next;
		if (s && !s->staged)
			drop(q, s);
	}
}
