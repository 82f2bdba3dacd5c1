/* Comparing the content of two disks, by their maps where that is enough. Called by jobs. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/copy.h"
#include "storage/engine.h"

#define PIECE (512 * KiB)

struct comparing {
	struct disk *a, *b;
	uint64_t off, end, total;
	uint8_t *in_a, *in_b; /* PIECE each */
	bool (*progress)(void *arg, uint64_t done, uint64_t total);
	void *arg;
};

static int cancelled(struct comparing *c, struct err *e)
{
	if (!c->progress || c->progress(c->arg, c->off, c->total))
		return 0;
	return err_set(e, -ECANCELED, "cancelled");
}

/* How far from off on d has nothing; at least one byte is looked at. */
static int gap_at(struct disk *d, uint64_t off, bool *gap, uint64_t *len, struct err *e)
{
	struct disk_map m;
	int r = disk_map(d, off, &m, e);

	*gap = m.status != DISK_IS_DATA;
	*len = m.len;
	return r;
}

static uint64_t first_difference(const uint8_t *a, const uint8_t *b, uint64_t len)
{
	uint64_t i = 0;

	while (i < len && a[i] == b[i])
		i++;
	return i;
}

/* One step: where both have nothing, far; else one piece is read. *at: of a difference. */
static int step_both(struct comparing *c, uint64_t *step, bool *differ, uint64_t *at, struct err *e)
{
	uint64_t la = 0, lb = 0;
	bool ga = false, gb = false;
	int r = gap_at(c->a, c->off, &ga, &la, e);

	if (r == 0)
		r = gap_at(c->b, c->off, &gb, &lb, e);
	if (r < 0)
		return r;
	*step = MIN(MIN(la, lb), c->end - c->off);
	if (ga && gb)
		return 0;
	*step = MIN(*step, PIECE);
	r = disk_read(c->a, c->off, c->in_a, *step, e);
	if (r == 0)
		r = disk_read(c->b, c->off, c->in_b, *step, e);
	if (r == 0 && memcmp(c->in_a, c->in_b, *step)) {
		*differ = true;
		*at = c->off + first_difference(c->in_a, c->in_b, *step);
	}
	return r;
}

/* The rest of the longer one: only zeroes? */
static int step_tail(struct comparing *c, uint64_t *step, bool *differ, uint64_t *at, struct err *e)
{
	uint64_t len = 0;
	bool gap = false;
	int r = gap_at(c->a, c->off, &gap, &len, e);

	*step = MIN(len, c->end - c->off);
	if (r < 0 || gap)
		return r;
	*step = MIN(*step, PIECE);
	r = disk_read(c->a, c->off, c->in_a, *step, e);
	for (uint64_t i = 0; r == 0 && i < *step && !*differ; i++)
		if (c->in_a[i]) {
			*differ = true;
			*at = c->off + i;
		}
	return r;
}

static int run(struct comparing *c, uint64_t end,
	       int (*step_fn)(struct comparing *c, uint64_t *step, bool *differ, uint64_t *at,
			      struct err *e),
	       struct disk_difference *ret, struct err *e)
{
	uint64_t step = 0;
	int r = 0;

	for (c->end = end; r == 0 && c->off < end && !ret->differ; c->off += step) {
		r = step_fn(c, &step, &ret->differ, &ret->off, e);
		if (r == 0)
			r = cancelled(c, e);
	}
	return r;
}

int disk_compare(struct disk *a, struct disk *b, bool strict, struct disk_difference *ret,
		 bool (*progress)(void *arg, uint64_t done, uint64_t total), void *arg,
		 struct err *e)
{
	autofree uint8_t *bufs = malloc(2 * PIECE);
	uint64_t sa = disk_size(a), sb = disk_size(b);
	struct comparing c = { .a = sa < sb ? b : a,
			       .b = sa < sb ? a : b,
			       .total = MAX(sa, sb),
			       .in_a = bufs,
			       .in_b = bufs + PIECE,
			       .progress = progress,
			       .arg = arg };
	int r;

	if (!bufs)
		return err_nomem(e);
	*ret = (struct disk_difference){ .off = MIN(sa, sb), .sizes_differ = sa != sb };
	if (strict && sa != sb) {
		ret->differ = true;
		return 0;
	}
	r = run(&c, MIN(sa, sb), step_both, ret, e);
	return r < 0 || ret->differ ? r : run(&c, MAX(sa, sb), step_tail, ret, e);
}
