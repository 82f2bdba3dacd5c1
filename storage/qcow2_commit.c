/*
 * The commit of a qcow2 image: everything that changed in memory goes to the file in the order
 * that survives a power cut. Called by the engine's flush, one at a time, on the thread that
 * flushes. Copies are taken under d->meta; requests go on while they are written.
 *
 *	refcounts, new L2 tables (nothing in the file points to them)   with the data: barrier 1
 *	entries of the refcount table, or all of it and the header       barrier 2, rarely needed
 *	L2 entries, L1 entries                                           barrier 3
 *	then what was let go loses its references, in memory
 *
 * Nothing that is dirtied after the copies were taken is written by this commit: its data may not
 * be covered by barrier 1.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/qcow2.h"

enum { L1_PIECE = 512 };

struct out {
	uint64_t off;
	uint32_t len;
	uint8_t *data; /* owned */
};

struct batch {
	struct out *v;
	size_t n, room;
};

struct commit {
	struct batch early, table, header, late;
	struct slice **staged;
	size_t staged_n;
	uint32_t *l1, l1_n, *ref, ref_n;
	struct let_go *let_go;
	size_t let_go_n;
	bool moved;
};

static void batch_free(struct batch *b)
{
	for (size_t i = 0; i < b->n; i++)
		free(b->v[i].data);
	free(b->v);
}

/* Room for len bytes at off; the caller fills it. NULL: no memory. */
static uint8_t *batch_add(struct batch *b, uint64_t off, uint32_t len)
{
	if (b->n == b->room) {
		struct out *v = realloc(b->v, (2 * b->room + 16) * sizeof(*v));

		if (!v)
			return NULL;
		b->v = v;
		b->room = 2 * b->room + 16;
	}
	b->v[b->n] = (struct out){ off, len, malloc(len) };
	return b->v[b->n].data ? b->v[b->n++].data : NULL;
}

static int by_offset(const void *a, const void *b)
{
	const struct out *x = a, *y = b;

	return x->off < y->off ? -1 : x->off > y->off;
}

/* Neighbours go out in one call. */
static int batch_write(struct disk *d, struct batch *b, struct err *e)
{
	size_t i = 0;

	if (b->n)
		qsort(b->v, b->n, sizeof(*b->v), by_offset);
	while (i < b->n) {
		struct iovec iov[64];
		uint64_t start = b->v[i].off, end = start;
		int k = 0, r;

		for (; k < 64 && i < b->n && b->v[i].off == end; i++) {
			iov[k++] = (struct iovec){ b->v[i].data, b->v[i].len };
			end += b->v[i].len;
		}
		r = file_pwritev(disk_file(d), start, iov, k, e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* A new table is not reachable before its L1 entry is written: it may go out with the data. */
static int stage_slices(struct disk *d, struct commit *c, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	struct slice *s;

	c->staged = calloc(q->dirty_n + 1, sizeof(*c->staged));
	if (!c->staged)
		return err_nomem(e);
	list_for_each(s, &q->dirty, struct slice, dirty_node) {
		bool late = s->is_l2 && !bit_get(q->l1_dirty, s->l1_index);
		uint8_t *copy = batch_add(late ? &c->late : &c->early, s->off, q->slice_size);

		if (!copy)
			return err_nomem(e);
		memcpy(copy, s->data, q->slice_size);
		list_remove(&s->dirty_node);
		s->dirty = false;
		s->staged = true;
		q->dirty_n--;
		c->staged[c->staged_n++] = s;
	}
	return 0;
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Whole sectors of the table of entries, so that none is written twice or torn. */
static int stage_entries(struct batch *b, uint64_t off, const uint64_t *t, uint32_t entries,
			 uint32_t *changed, uint32_t n, struct err *e)
{
	uint32_t done = 0;

	if (n)
		qsort(changed, n, sizeof(*changed), by_number);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t first = changed[i] / (L1_PIECE / 8) * (L1_PIECE / 8);
		uint32_t count = MIN(entries - first, L1_PIECE / 8);
		uint8_t *p;

		if (done > changed[i])
			continue;
		p = batch_add(b, off + (uint64_t)first * 8, count * 8);
		if (!p)
			return err_nomem(e);
		for (uint32_t k = 0; k < count; k++)
			put_be64(p + (size_t)k * 8, t[first + k]);
		done = first + count;
	}
	return 0;
}

static int stage_reftable(struct disk *d, struct commit *c, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint32_t bytes = q->reftable_entries * 8;
	uint8_t *p;

	if (!c->moved)
		return stage_entries(&c->table, q->reftable_off, q->reftable, q->reftable_entries,
				     c->ref, c->ref_n, e);
	p = batch_add(&c->table, q->reftable_off, bytes);
	if (!p)
		return err_nomem(e);
	for (uint32_t i = 0; i < q->reftable_entries; i++)
		put_be64(p + (size_t)i * 8, q->reftable[i]);
	p = batch_add(&c->header, Q2_AT_REFTABLE_OFF, 12);
	if (!p)
		return err_nomem(e);
	put_be64(p, q->reftable_off);
	put_be32(p + 8, bytes >> q->cluster_bits);
	return 0;
}

static int stage(struct disk *d, struct commit *c, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	int r = stage_slices(d, c, e);

	c->l1_n = q->l1_changed_n;
	c->l1 = take(q->l1_changed);
	c->ref_n = q->ref_changed_n;
	c->ref = take(q->ref_changed);
	c->let_go_n = q->let_go_n;
	c->let_go = take(q->let_go);
	c->moved = q->reftable_moved;
	q->l1_changed_n = q->l1_changed_room = q->ref_changed_n = q->ref_changed_room = 0;
	q->let_go_n = q->let_go_room = 0;
	q->reftable_moved = false;
	d->wants_flush = false;
	if (r == 0)
		r = stage_entries(&c->late, q->l1_off, q->l1, q->l1_entries, c->l1, c->l1_n, e);
	for (uint32_t i = 0; i < c->l1_n; i++)
		bit_clear(q->l1_dirty, c->l1[i]);
	return r < 0 ? r : stage_reftable(d, c, e);
}

static int write_out(struct disk *d, struct commit *c, struct err *e)
{
	struct file *f = disk_file(d);
	int r = 0;

	if (qcow2_of(d)->header_doubt && !c->moved)
		r = q2_publish_header(d, e);
	if (r == 0 && qcow2_of(d)->data_file)
		r = file_sync(d->files[qcow2_of(d)->data_file], e);
	if (r == 0)
		r = batch_write(d, &c->early, e);
	if (r == 0)
		r = file_sync(f, e);
	if (r == 0 && c->table.n) {
		r = batch_write(d, &c->table, e);
		if (r == 0)
			r = file_sync(f, e);
	}
	if (r == 0 && c->header.n) {
		r = batch_write(d, &c->header, e);
		if (r == 0)
			r = file_sync(f, e);
	}
	if (r == 0 && c->late.n) {
		r = batch_write(d, &c->late, e);
		if (r == 0)
			r = file_sync(f, e);
	}
	return r;
}

static void mark_l1(struct qcow2 *q, uint32_t i)
{
	if (bit_get(q->l1_dirty, i))
		return;
	if (q2_remember(&q->l1_changed, &q->l1_changed_n, &q->l1_changed_room, i, NULL) == 0)
		bit_set(q->l1_dirty, i);
}

/* It failed: everything is as dirty as before, and a retry does it all again. */
static void unstage(struct disk *d, struct commit *c)
{
	struct qcow2 *q = qcow2_of(d);

	for (size_t i = 0; i < c->staged_n; i++)
		q2_dirty(d, c->staged[i]);
	for (uint32_t i = 0; i < c->l1_n; i++)
		mark_l1(q, c->l1[i]);
	for (uint32_t i = 0; i < c->ref_n; i++)
		q2_remember(&q->ref_changed, &q->ref_changed_n, &q->ref_changed_room, c->ref[i],
			    NULL);
	for (size_t i = 0; i < c->let_go_n; i++)
		q2_let_go(d, c->let_go[i].first, c->let_go[i].n, c->let_go[i].punch, NULL);
	q->reftable_moved |= c->moved;
}

/*
 * One stretch of clusters with equal counts of a reference that is gone from the file. The hole
 * is punched while the cluster is still counted, so nobody can have been given it.
 */
static int release_some(struct disk *d, uint64_t first, uint64_t n, bool punch, uint64_t *done,
			struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t v, w, k = 1;
	int r = q2_ref_get(d, first, &v, e);

	while (r == 0 && k < n) {
		r = q2_ref_get(d, first + k, &w, e);
		if (r < 0 || (w == 1) != (v == 1))
			break;
		k++;
	}
	*done = 0;
	if (r == 0 && punch && v == 1) {
		pthread_mutex_unlock(&d->meta);
		file_discard(disk_file(d), first << q->cluster_bits, k << q->cluster_bits);
		pthread_mutex_lock(&d->meta);
	}
	while (r == 0 && *done < k) {
		r = q2_ref_add(d, first + *done, 1, -1, e);
		*done += r == 0;
	}
	return r;
}

static int release(struct disk *d, struct commit *c, struct err *e)
{
	int r = 0;

	pthread_mutex_lock(&d->meta);
	for (size_t i = 0; r == 0 && i < c->let_go_n; i++) {
		struct let_go *l = &c->let_go[i];

		while (r == 0 && l->n) {
			uint64_t done;

			r = release_some(d, l->first, l->n, l->punch, &done, e);
			l->first += done;
			l->n -= done;
		}
	}
	for (size_t i = 0; r < 0 && i < c->let_go_n; i++)
		q2_let_go(d, c->let_go[i].first, c->let_go[i].n, c->let_go[i].punch, NULL);
	pthread_mutex_unlock(&d->meta);
	return r;
}

static void commit_free(struct commit *c)
{
	batch_free(&c->early);
	batch_free(&c->table);
	batch_free(&c->header);
	batch_free(&c->late);
	free(c->staged);
	free(c->l1);
	free(c->ref);
	free(c->let_go);
}

int q2_flush(struct disk *d, struct err *e)
{
	struct commit c = { 0 };
	int r;

	pthread_mutex_lock(&d->meta);
	r = stage(d, &c, e);
	pthread_mutex_unlock(&d->meta);
	if (r == 0)
		r = write_out(d, &c, e);
	pthread_mutex_lock(&d->meta);
	for (size_t i = 0; i < c.staged_n; i++)
		c.staged[i]->staged = false;
	if (r < 0)
		unstage(d, &c);
	pthread_mutex_unlock(&d->meta);
	if (r == 0)
		r = release(d, &c, e);
	commit_free(&c);
	return r;
}

static bool all_settled(struct disk *d)
{
	struct qcow2 *q = qcow2_of(d);
	bool settled;

	pthread_mutex_lock(&d->meta);
	settled = !q->dirty_n && !q->let_go_n && !q->l1_changed_n && !q->ref_changed_n &&
		  !q->reftable_moved;
	pthread_mutex_unlock(&d->meta);
	return settled;
}

/* Letting go dirties refcounts, whose commit lets nothing go: twice is enough. */
int q2_settle(struct disk *d, struct err *e)
{
	int r = q2_flush(d, e);

	while (r == 0 && !all_settled(d))
		r = q2_flush(d, e);
	return r;
}

int q2_finish(struct disk *d, struct err *e)
{
	int r = q2_settle(d, e);

	if (r == 0)
		r = q2_bitmaps_save(d, e);
	return r < 0 ? r : q2_settle(d, e);
}
