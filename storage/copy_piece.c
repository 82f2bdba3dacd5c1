/*
 * One piece of a copy: read, looked through, perhaps compressed; then written, or left out where
 * the destination has it already. Called by the threads of copy.c.
 */
#include <errno.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "storage/copy_int.h"

/* Where all units are compressed, noise becomes longer than it was. */
static size_t packed_room(const struct copier *c)
{
	return c->grain + c->grain / 1024 + 64;
}

int piece_start(struct copy_thread *t, struct err *e)
{
	const struct copier *c = t->copier;
	size_t units = c->packs ? c->piece / c->grain + 1 : 0;

	if (posix_memalign((void **)&t->data, 4096, c->piece))
		return err_nomem(e);
	if (c->opt->compare && posix_memalign((void **)&t->old, 4096, c->piece))
		return err_nomem(e);
	if (c->packs) {
		t->packed = malloc(units * packed_room(c));
		t->packed_len = calloc(units, sizeof(*t->packed_len));
		if (!t->packed || !t->packed_len)
			return err_nomem(e);
		return packer_new(c->packing.codec, c->opt->level, &t->packer, e);
	}
	return 0;
}

void piece_stop(struct copy_thread *t)
{
	free(t->data);
	free(t->old);
	free(t->packed);
	free(t->packed_len);
	packer_free(t->packer);
}

static uint64_t in_dst(const struct copier *c, uint64_t off)
{
	return off - c->opt->off + c->opt->to;
}

/* ---- before its turn ---- */

static bool was_packed(const struct copier *c, uint64_t off)
{
	struct disk_map m;

	return disk_map(c->src, off, &m, NULL) == 0 && m.compressed;
}

static void pack_units(struct copy_thread *t, const struct piece *p)
{
	const struct copier *c = t->copier;
	uint32_t unit = (uint32_t)c->grain;

	for (uint64_t at = 0, k = 0; at < p->len; at += unit, k++) {
		uint8_t *in = t->data + at;
		uint64_t have = MIN(unit, p->len - at);
		size_t n;

		memset(in + have, 0, unit - have);
		if (bytes_are_zero(in, unit)) {
			t->packed_len[k] = 0;
			continue;
		}
		if (c->opt->keep_packed && !was_packed(c, p->off + at)) {
			t->packed_len[k] = SIZE_MAX;
			continue;
		}
		n = packer_pack(t->packer, in, unit, t->packed + k * packed_room(c),
				c->packing.always ? packed_room(c) : unit - 1);
		t->packed_len[k] = n ? n : SIZE_MAX;
	}
}

int piece_prepare(struct copy_thread *t, struct piece *p, struct err *e)
{
	struct copier *c = t->copier;
	int r = disk_read(c->src, p->off, t->data, p->len, e);

	if (r == 0 && c->opt->compare)
		r = disk_read(c->dst, in_dst(c, p->off), t->old, p->len, e);
	if (r == 0 && c->packs)
		pack_units(t, p);
	return r;
}

/* ---- in its turn ---- */

static int put_zeroes(struct copier *c, uint64_t off, uint64_t len, struct err *e)
{
	if (c->opt->blank && !c->opt->full)
		return 0;
	return disk_zero(c->dst, in_dst(c, off), len, !c->opt->full, e);
}

int piece_gap(struct copy_thread *t, struct piece *p, struct err *e)
{
	/* With compare, a gap is what both have in common. */
	if (t->copier->opt->overlay && p->hole)
		return 0;
	return t->copier->opt->compare ? 0 : put_zeroes(t->copier, p->off, p->len, e);
}

enum run { RUN_SAME, RUN_ZERO, RUN_DATA };

static enum run kind_at(const struct copy_thread *t, uint64_t at, uint64_t len)
{
	const struct copier *c = t->copier;

	if (c->opt->compare && !memcmp(t->data + at, t->old + at, len))
		return RUN_SAME;
	if (!c->opt->full && bytes_are_zero(t->data + at, len))
		return RUN_ZERO;
	return RUN_DATA;
}

static int put_run(struct copy_thread *t, const struct piece *p, enum run kind, uint64_t at,
		   uint64_t len, struct err *e)
{
	struct copier *c = t->copier;

	switch (kind) {
	case RUN_SAME: return 0;
	case RUN_ZERO: return put_zeroes(c, p->off + at, len, e);
	case RUN_DATA: return disk_write(c->dst, in_dst(c, p->off + at), t->data + at, len, e);
	}
	return 0;
}

/* Runs of equal kind go out in one call. */
static int write_runs(struct copy_thread *t, const struct piece *p, struct err *e)
{
	uint64_t step = t->copier->step, start = 0;
	enum run kind = kind_at(t, 0, MIN(step, p->len));
	int r = 0;

	for (uint64_t at = step; r == 0 && at < p->len; at += step) {
		enum run k = kind_at(t, at, MIN(step, p->len - at));

		if (k == kind)
			continue;
		r = put_run(t, p, kind, start, at - start, e);
		start = at;
		kind = k;
	}
	return r < 0 ? r : put_run(t, p, kind, start, p->len - start, e);
}

static int write_packed(struct copy_thread *t, const struct piece *p, struct err *e)
{
	struct copier *c = t->copier;
	int r = 0;

	for (uint64_t at = 0, k = 0; r == 0 && at < p->len; at += c->grain, k++) {
		uint64_t have = MIN(c->grain, p->len - at);
		size_t n = t->packed_len[k];

		if (c->opt->compare && !memcmp(t->data + at, t->old + at, have))
			continue;
		if (!n)
			r = put_zeroes(c, p->off + at, have, e);
		else if (n == SIZE_MAX)
			r = disk_write(c->dst, in_dst(c, p->off + at), t->data + at, have, e);
		else
			r = engine_write_packed(c->dst, in_dst(c, p->off + at),
						t->packed + k * packed_room(c), n, e);
	}
	return r;
}

int piece_write(struct copy_thread *t, struct piece *p, struct err *e)
{
	return t->copier->packs ? write_packed(t, p, e) : write_runs(t, p, e);
}
