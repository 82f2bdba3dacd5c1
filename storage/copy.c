/*
 * Copying a disk: the source's map is cut into pieces, each piece is read, looked through for
 * zeroes and perhaps compressed on one of several threads, and written when its turn comes. So
 * the pieces of a new image lie in it in order, whatever thread made them.
 */
#include "storage/copy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "storage/copy_int.h"

enum { THREADS_MAX = 16, PLAIN_THREADS = 2 };
#define PIECE       (512 * KiB)
#define CLONE_PIECE (64 * MiB)

/* ---- cutting the source into pieces; with c->lock held ---- */

/* How far from off on the source has nothing, and how far something. */
static int look(struct copier *c, uint64_t off, struct disk_map *m, struct err *e)
{
	int r;

	if (off < c->seen_end && off >= c->seen_off) {
		*m = c->seen;
		m->len -= off - c->seen_off;
		m->file_off += off - c->seen_off;
		return 0;
	}
	r = disk_map(c->src, off, m, e);
	if (r < 0)
		return r;
	m->len = MIN(m->len, c->end - off);
	c->seen = *m;
	c->seen_off = off;
	c->seen_end = off + m->len;
	return 0;
}

/* Nothing to copy at off; m->len may become shorter. */
static bool is_nothing(const struct copier *c, uint64_t off, struct disk_map *m)
{
	struct disk_map there;

	if (!c->opt->compare)
		return m->status != DISK_IS_DATA && !c->opt->full;
	if (c->opt->shared_depth && m->depth >= c->opt->shared_depth)
		return true;
	if (m->status == DISK_IS_DATA ||
	    disk_map(c->dst, off - c->opt->off + c->opt->to, &there, NULL) < 0 ||
	    there.status == DISK_IS_DATA)
		return false;
	m->len = MIN(m->len, there.len);
	return true;
}

/* From off on as far as the source has nothing. */
static int measure_gap(struct copier *c, uint64_t off, uint64_t *end, bool *hole, struct err *e)
{
	struct disk_map m;

	for (*end = off; *end < c->end; *end += m.len) {
		int r = look(c, *end, &m, e);

		if (r < 0)
			return r;
		if (!is_nothing(c, *end, &m))
			break;
		if (*end == off)
			*hole = m.status == DISK_IS_HOLE;
		else if (c->opt->overlay && *hole != (m.status == DISK_IS_HOLE))
			break;
	}
	return 0;
}

static bool may_clone(const struct copier *c)
{
	const struct disk_copy *o = c->opt;

	return !o->no_clone && !o->compare && !o->full && !c->packs &&
	       !__atomic_load_n(&c->cannot_clone, __ATOMIC_RELAXED);
}

/* Data from off on, at most a piece; it ends with a unit of the destination. */
static int measure_data(struct copier *c, uint64_t off, uint64_t *end, struct err *e)
{
	uint64_t most = MIN(off + (may_clone(c) ? CLONE_PIECE : c->piece), c->end);
	struct disk_map m;

	for (*end = off; *end < most; *end = MIN(round_up(*end + m.len, c->grain), c->end)) {
		int r = look(c, *end, &m, e);

		if (r < 0)
			return r;
		if (is_nothing(c, *end, &m) && m.len >= c->grain)
			break;
	}
	*end = MIN(*end, most);
	return 0;
}

/* 1: a piece; 0: no more. Offsets are aligned to the grain, but for the end of the disk. */
static int next_piece(struct copier *c, struct piece *p, struct err *e)
{
	uint64_t off = c->next, gap, end;
	bool hole = false, clone = may_clone(c);
	int r;

	if (off >= c->end)
		return 0;
	r = measure_gap(c, off, &gap, &hole, e);
	if (r < 0)
		return r;
	if (gap < c->end)
		gap = round_down(gap, c->grain);
	*p = (struct piece){
		.seq = c->next_seq, .off = off, .len = gap - off, .gap = true, .hole = hole
	};
	if (gap == off) {
		r = measure_data(c, off, &end, e);
		if (r < 0)
			return r;
		p->gap = false;
		p->clone = clone;
		p->len = end - off;
	}
	c->next = off + p->len;
	c->next_seq++;
	return 1;
}

/* ---- turns ---- */

static void fail(struct copier *c, const struct err *e, int r)
{
	if (c->result == 0) {
		c->result = r;
		c->err = *e;
	}
	pthread_cond_broadcast(&c->turn);
}

static bool take_turn(struct copier *c, const struct piece *p)
{
	bool go;

	pthread_mutex_lock(&c->lock);
	while (c->result == 0 && c->turn_seq != p->seq)
		pthread_cond_wait(&c->turn, &c->lock);
	go = c->result == 0;
	pthread_mutex_unlock(&c->lock);
	return go;
}

static void end_turn(struct copier *c, const struct piece *p)
{
	struct err e;

	pthread_mutex_lock(&c->lock);
	c->turn_seq++;
	c->done += p->len;
	pthread_cond_broadcast(&c->turn);
	if (c->opt->progress && c->result == 0 &&
	    !c->opt->progress(c->opt->arg, c->done, c->end - c->begin)) {
		err_set(&e, -ECANCELED, "cancelled");
		fail(c, &e, -ECANCELED);
	}
	pthread_mutex_unlock(&c->lock);
}

/* ---- one thread ---- */

/* What cannot be shared is copied, piece by piece, within the turn. */
static int clone_or_copy(struct copy_thread *t, struct piece *p, struct err *e)
{
	struct copier *c = t->copier;
	struct piece part = *p;
	int r = 0;

	if (!take_turn(c, p))
		return -ECANCELED;
	for (uint64_t at = piece_clone(c, p); r == 0 && at < p->len; at += part.len) {
		part.off = p->off + at;
		part.len = MIN(c->piece, p->len - at);
		r = piece_prepare(t, &part, e);
		if (r == 0)
			r = piece_write(t, &part, e);
	}
	if (r == 0)
		end_turn(c, p);
	return r;
}

static int one_piece(struct copy_thread *t, struct piece *p, struct err *e)
{
	struct copier *c = t->copier;
	int r;

	if (!p->gap && p->clone)
		return clone_or_copy(t, p, e);
	r = p->gap ? 0 : piece_prepare(t, p, e);

	if (r < 0)
		return r;
	if (!take_turn(c, p))
		return -ECANCELED;
	r = p->gap ? piece_gap(t, p, e) : piece_write(t, p, e);
	if (r == 0)
		end_turn(c, p);
	return r;
}

static void *work(void *arg)
{
	struct copy_thread *t = arg;
	struct copier *c = t->copier;
	struct err e = { 0 };
	struct piece p;
	int r = piece_start(t, &e);

	while (r >= 0) {
		pthread_mutex_lock(&c->lock);
		r = c->result < 0 ? 0 : next_piece(c, &p, &e);
		pthread_mutex_unlock(&c->lock);
		if (r <= 0)
			break;
		r = one_piece(t, &p, &e);
	}
	if (r < 0) {
		pthread_mutex_lock(&c->lock);
		fail(c, &e, r);
		pthread_mutex_unlock(&c->lock);
	}
	piece_stop(t);
	return NULL;
}

static unsigned thread_count(const struct copier *c)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned n = c->opt->threads, useful = (unsigned)((c->end - c->begin) / c->piece) + 1;

	if (!n)
		n = (unsigned)MAX(cpus, 1);
	if (!c->opt->threads && !c->packs)
		n = MIN(n, PLAIN_THREADS);
	return MIN(MIN(n, THREADS_MAX), useful);
}

/* This thread is one of them. A thread that cannot be started is one less. */
static void run(struct copier *c)
{
	struct copy_thread all[THREADS_MAX];
	unsigned n = thread_count(c), started = 1;

	for (unsigned i = 0; i < n; i++)
		all[i] = (struct copy_thread){ .copier = c };
	while (started < n && pthread_create(&all[started].thread, NULL, work, &all[started]) == 0)
		started++;
	work(&all[0]);
	for (unsigned i = 1; i < started; i++)
		pthread_join(all[i].thread, NULL);
}

static int prepare(struct copier *c, struct err *e)
{
	const struct disk_copy *o = c->opt;
	uint64_t size = disk_size(c->src);

	c->begin = o->off;
	if (o->off > size || !range_fits(o->off, o->len, size))
		return err_set(e, -EINVAL, "the part to copy is not inside the disk");
	c->end = o->len ? o->off + o->len : size;
	if (!range_fits(o->to, c->end - c->begin, disk_size(c->dst)))
		return err_set(e, -EINVAL, "a disk of %llu bytes has no room for %llu",
			       (unsigned long long)disk_size(c->dst),
			       (unsigned long long)(c->end - c->begin));
	c->next = c->begin;
	c->packs =
	    disk_packing(c->dst, &c->packing) && (o->pack || o->keep_packed || c->packing.always);
	if (o->pack && !c->packs)
		return err_lacking(e, "%s images cannot be written compressed",
				   disk_format_name(c->dst));
	/* Pieces are cut in the source; units are of the destination. They agree when both begin
	 * at the same place. */
	c->grain = (o->to - o->off) % disk_unit(c->dst) ? 1 : disk_unit(c->dst);
	if (c->begin % c->grain || (o->overlay && disk_unit(c->src) % c->grain))
		c->grain = 1;
	if (o->keep_packed && c->grain == 1)
		c->packs = false;
	if (c->packs && c->grain == 1)
		return err_set(e, -EINVAL, "compressed units must be copied whole");
	c->piece = MAX(PIECE, c->grain);
	c->step = MAX(o->sparse ? o->sparse : 4096, c->grain);
	return 0;
}

int disk_copy(struct disk *src, struct disk *dst, const struct disk_copy *o, struct err *e)
{
	struct copier c = { .src = src, .dst = dst, .opt = o };
	int r = prepare(&c, e);

	if (r < 0 || c.begin == c.end)
		return r;
	pthread_mutex_init(&c.lock, NULL);
	pthread_cond_init(&c.turn, NULL);
	run(&c);
	pthread_mutex_destroy(&c.lock);
	pthread_cond_destroy(&c.turn);
	if (c.result < 0 && e)
		*e = c.err;
	return c.result;
}

bool disk_can_pack(struct disk *d)
{
	struct packing p;

	return disk_packing(d, &p);
}
