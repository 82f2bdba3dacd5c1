/*
 * Power cuts and faults, for every format that is written. An image in memory with a log of its
 * writes: at random moments its files are rebuilt as a power cut could leave them, opened, checked
 * and compared. Every sector must hold what it held at the last acknowledged flush, or something
 * that was written to it later; a snapshot must be whole. The test proves itself: with syncs
 * dropped it must find damage.
 *
 * VMD_STATES=N examines that many states per format; VMD_SEED=N repeats a run; VMD_FAULT_STEP=1
 * breaks every single operation in every way; VMD_FORMAT=NAME leaves out the other formats.
 */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "storage/format.h"
#include "tests/storage/recorder.h"
#include "tests/storage/variants.h"
#include "tests/unit.h"

enum { SECTORS = 1500, LATER = 24, GROUP = 100 };
#define BASE_SIZE (SECTORS * 512u + 3000)

struct sector {
	uint32_t flushed, now, later[LATER];
	unsigned n;
};

struct world {
	const struct variant *v;
	struct recorder *rec;
	uint64_t size;
	bool can_resize, can_snapshot;
	struct disk *d;
	struct sector s[SECTORS];
	uint32_t snap[SECTORS];
	bool has_snap, snap_busy, reverting;
	uint32_t tag;
	uint64_t rng, seed;
	unsigned states, want, bad;
	char why[300];
};

/* Where a sector of the test lies on the disk. */
static uint64_t place(const struct world *w, int i)
{
	if (!w->v->spread)
		return (uint64_t)i * 512;
	return (uint64_t)(i / GROUP) * w->v->spread + (uint64_t)(i % GROUP) * 512;
}

/* How many of n sectors from i on lie in a row. */
static int row(const struct world *w, int i, int n)
{
	return w->v->spread ? MIN(n, GROUP - i % GROUP) : n;
}

static int read_all(struct world *w, struct disk *d, uint8_t *buf, struct err *e)
{
	int r = 0, n;

	for (int i = 0; r == 0 && i < SECTORS; i += n) {
		n = row(w, i, SECTORS - i);
		r = disk_read(d, place(w, i), buf + (size_t)i * 512, (size_t)n * 512, e);
	}
	return r;
}

static uint64_t rnd(struct world *w, uint64_t n)
{
	w->rng ^= w->rng << 13;
	w->rng ^= w->rng >> 7;
	w->rng ^= w->rng << 17;
	return (w->rng >> 8) % n;
}

static void fill(uint8_t *p, uint32_t tag)
{
	for (int i = 0; i < 128; i++)
		put_le32(p + i * 4, tag);
}

/* The value of a sector; all ones when it is torn. */
static uint32_t value_of(const uint8_t *p)
{
	return memcmp(p, p + 4, 508) ? UINT32_MAX : le32(p);
}

static bool allowed(const struct world *w, int i, uint32_t v)
{
	const struct sector *s = &w->s[i];

	if (v == s->flushed || v == s->now || (w->reverting && v == w->snap[i]))
		return true;
	for (unsigned k = 0; k < s->n && k < LATER; k++)
		if (s->later[k] == v)
			return true;
	return s->n > LATER;
}

static void complain(struct world *w, const char *fmt, uint64_t a, uint64_t b)
{
	w->bad++;
	snprintf(w->why, sizeof(w->why), fmt, (unsigned long long)a, (unsigned long long)b);
}

static void note_finding(void *arg, const char *text)
{
	struct world *w = arg;

	snprintf(w->why, sizeof(w->why), "%s", text);
}

static void compare(struct world *w, struct disk *d, bool with_snap)
{
	static uint8_t buf[SECTORS * 512];
	struct err e;

	if (read_all(w, d, buf, &e) < 0) {
		w->bad++;
		snprintf(w->why, sizeof(w->why), "%.250s", e.msg);
		return;
	}
	for (int i = 0; i < SECTORS; i++) {
		uint32_t v = value_of(buf + (size_t)i * 512);

		if (with_snap ? v != w->snap[i] : !allowed(w, i, v)) {
			complain(
			    w, with_snap ? "snapshot: sector %llu is %llu" : "sector %llu is %llu",
			    (uint64_t)i, v);
			return;
		}
	}
}

static void examine_disk(struct world *w, struct disk *d)
{
	struct disk_check c = { .finding = note_finding, .arg = w };
	unsigned bad = w->bad;
	struct err e;

	if (disk_check(d, 0, &c, &e) < 0 || c.corruptions) {
		w->bad++;
		return;
	}
	compare(w, d, false);
	if (w->has_snap && !w->snap_busy && w->bad == bad) {
		if (disk_snapshot_revert(d, "s", &e) < 0)
			complain(w, "the snapshot is gone", 0, 0);
		else
			compare(w, d, true);
	}
}

/* Files of a cut for images that name them. */
static int give_cut(void *arg, const struct disk_ref *ref, struct disk_grant *g, struct err *e)
{
	struct cut *c = arg;
	const char *slash = strrchr(ref->name, '/'), *name = slash ? slash + 1 : ref->name;

	for (unsigned i = 0; i < c->n; i++)
		if (!strcmp(c->f[i].name, name)) {
			g->path = strdup(name);
			return file_in_memory(c->f[i].data, c->f[i].len, 256 * MiB, &g->file, e);
		}
	return err_set(e, -ENOENT, "there is no file %s", name);
}

static void examine(struct world *w, uint64_t seed)
{
	struct disk_options o = variant_options(w->v);
	struct disk_gate gate;
	struct cut c;
	struct file *f;
	struct disk *d;
	struct err e;

	recorder_cut(w->rec, seed, &c);
	gate = (struct disk_gate){ give_cut, &c };
	o.gate = &gate;
	ck_assert(file_in_memory(c.f[0].data, c.f[0].len, 256 * MiB, &f, &e) == 0);
	if (disk_new_from_file(f, &o, &d, &e) < 0) {
		w->bad++;
		snprintf(w->why, sizeof(w->why), "%.250s", e.msg);
	} else {
		examine_disk(w, d);
		disk_close(d);
	}
	cut_free(&c);
}

static void maybe_cut(void *arg)
{
	struct world *w = arg;

	if (w->states >= w->want || rnd(w, 4))
		return;
	w->states++;
	examine(w, w->seed + w->states);
}

static void issue(struct world *w, int i, uint32_t v)
{
	struct sector *s = &w->s[i];

	if (s->n < LATER)
		s->later[s->n] = v;
	s->n++;
	s->now = v;
}

static void acknowledged(struct world *w)
{
	for (int i = 0; i < SECTORS; i++) {
		w->s[i].flushed = w->s[i].now;
		w->s[i].n = 0;
	}
}

static void pick(struct world *w, int *from, int *n)
{
	*from = (int)rnd(w, SECTORS);
	*n = 1 + (int)rnd(w, rnd(w, 5) ? 12 : 200);
	*n = row(w, *from, MIN(*n, SECTORS - *from));
}

static int op_write(struct world *w, struct err *e)
{
	static uint8_t buf[SECTORS * 512];
	int from, n;

	pick(w, &from, &n);
	w->tag++;
	for (int i = 0; i < n; i++) {
		issue(w, from + i, w->tag);
		fill(buf + (size_t)i * 512, w->tag);
	}
	return disk_write(w->d, place(w, from), buf, (size_t)n * 512, e);
}

static int op_nothing(struct world *w, bool discard, struct err *e)
{
	int from, n, r;

	pick(w, &from, &n);
	for (int i = 0; i < n; i++) {
		uint32_t old = w->s[from + i].now;

		issue(w, from + i, 0);
		if (discard)
			issue(w, from + i, old); /* either is right for ever */
	}
	if (!discard)
		return disk_zero(w->d, place(w, from), (uint64_t)n * 512, rnd(w, 2), e);
	r = disk_discard(w->d, place(w, from), (uint64_t)n * 512, e);
	for (int i = 0; r == 0 && i < n; i++) {
		uint8_t buf[512];

		r = disk_read(w->d, place(w, from + i), buf, 512, e);
		if (r == 0)
			w->s[from + i].now = value_of(buf);
	}
	return r;
}

static int op_snapshot(struct world *w, struct err *e)
{
	int r;

	w->snap_busy = true;
	if (!w->has_snap) {
		r = disk_snapshot_create(w->d, "s", e);
		for (int i = 0; i < SECTORS && r == 0; i++)
			w->snap[i] = w->s[i].now;
		w->has_snap = r == 0;
	} else if (rnd(w, 2)) {
		w->reverting = true;
		r = disk_snapshot_revert(w->d, "s", e);
		for (int i = 0; i < SECTORS; i++)
			issue(w, i, w->snap[i]);
		if (r == 0)
			acknowledged(w);
		w->reverting = false;
	} else {
		r = disk_snapshot_delete(w->d, "s", e);
		w->has_snap = false;
	}
	w->snap_busy = false;
	return r;
}

/* To and fro: what the test knows lies in front. */
static int op_resize(struct world *w, struct err *e)
{
	uint64_t more = w->v->spread ? w->v->spread : 300000;
	bool shrinks = disk_size(w->d) > w->size;
	int r = disk_resize(w->d, shrinks ? w->size : w->size + more, e);

	/* Some formats cannot become smaller. */
	return shrinks && r == -ENOTSUP ? 0 : r;
}

static int step(struct world *w, struct err *e)
{
	uint64_t dice = rnd(w, 100);
	int r;

	if (dice < 55)
		return op_write(w, e);
	if (dice < 70)
		return op_nothing(w, false, e);
	if (dice < 80)
		return op_nothing(w, true, e);
	if (dice < 84 && w->can_snapshot)
		return op_snapshot(w, e);
	if (dice < 86 && w->can_resize)
		return op_resize(w, e);
	r = disk_flush(w->d, e);
	if (r == 0)
		acknowledged(w);
	return r;
}

/* An image of the whole size with something in it, for others to be over. */
static struct disk *make_base(struct world *w, struct disk_create *c)
{
	struct variant plain = { .format = c->backing_format, .options = "" };
	struct disk_create b = variant_create(&plain, BASE_SIZE);
	struct disk_options o = variant_options(&plain);
	struct disk *d;
	struct err e;
	uint8_t sector[512];
	struct file *f = recorder_file(w->rec, "base");

	if (w->v->spread)
		b.size = place(w, SECTORS);
	ck_assert_msg(disk_create_file(f, &b, &e) == 0, "%s", e.msg);
	ck_assert_msg(disk_new_from_file(f, &o, &d, &e) == 0, "%s", e.msg);
	for (int i = 0; i < SECTORS; i += 3) {
		fill(sector, 0x10000000 + (uint32_t)i);
		w->s[i].flushed = w->s[i].now = 0x10000000 + (uint32_t)i;
		ck_assert(disk_write(d, place(w, i), sector, 512, &e) == 0);
	}
	disk_close(d);
	if (w->v->flags & V_BACKING)
		return NULL;
	o.flags = DISK_RDONLY;
	ck_assert(disk_new_from_file(recorder_file(w->rec, "base"), &o, &d, &e) == 0);
	return d;
}

static void world_start(struct world *w, const struct variant *v, uint64_t seed)
{
	struct disk_create c;
	struct disk_options o = variant_options(v);
	struct disk_gate gate;
	struct file *f;
	struct err e;

	*w = (struct world){ .v = v, .seed = seed, .rng = seed * 0x9e3779b97f4a7c15u + 3 };
	w->size = v->spread ? place(w, SECTORS - 1) + 512 : SECTORS * 512;
	c = variant_create(v, w->size);
	o.cache_bytes = 1;
	w->rec = recorder_new();
	gate = recorder_gate(w->rec);
	o.gate = &gate;
	f = recorder_file(w->rec, "image");
	if (c.backing)
		c.parent = make_base(w, &c);
	ck_assert_msg(disk_create_files(f, &c, recorder_more, w->rec, &e) == 0, "%s", e.msg);
	if (c.parent)
		disk_close(c.parent);
	recorder_settle(w->rec);
	ck_assert_msg(disk_new_from_file(f, &o, &w->d, &e) == 0, "%s", e.msg);
	w->size = disk_size(w->d);
	w->can_resize = w->d->format->resize && !(v->flags & V_NO_RESIZE);
	w->can_snapshot = w->d->format->snapshot_create && !(v->flags & V_NO_SNAPSHOTS);
}

static void world_end(struct world *w)
{
	recorder_on_op(w->rec, NULL, NULL);
	recorder_fail(w->rec, 0, 0);
	disk_close(w->d);
	recorder_free(w->rec);
}

static unsigned run_cuts(struct world *w, const struct variant *v, uint64_t seed, unsigned want,
			 bool drop)
{
	struct err e;

	world_start(w, v, seed);
	w->want = want;
	if (drop)
		recorder_drop_syncs(w->rec);
	recorder_on_op(w->rec, maybe_cut, w);
	for (int i = 0; i < 400 && w->states < want && (drop || !w->bad); i++) {
		int r = step(w, &e);

		ck_assert_msg(r == 0, "%s", e.msg);
	}
	world_end(w);
	return w->states;
}

/* The line of the table with this number, or NULL where it is not for this test. */
static const struct variant *chosen(int i)
{
	const struct variant *v = variant_at((unsigned)i);
	const char *only = getenv("VMD_FORMAT");

	if (!(v->flags & V_POWER) || (only && strcmp(only, v->format)) || !variant_possible(v))
		return NULL;
	return v;
}

START_TEST(after_a_power_cut_nothing_acknowledged_is_lost)
{
	static struct world w;
	const struct variant *v = chosen(_i);
	uint64_t seed = env_number("VMD_SEED", 1) * 1000003;
	unsigned want, done = 0;
	char name[200];

	if (!v)
		return;
	want = (unsigned)env_number("VMD_STATES", 2400) / variant_share(v, V_POWER);
	while (done < want) {
		done += run_cuts(&w, v, seed, want - done, false);
		ck_assert_msg(!w.bad, "%s, seed %llu, state %u: %s", variant_name(v, name),
			      (unsigned long long)seed, w.states, w.why);
		seed += 7919;
	}
}
END_TEST

START_TEST(dropped_syncs_are_noticed)
{
	static struct world w;
	const struct variant *v = chosen(_i);

	if (!v)
		return;
	run_cuts(&w, v, 5, 200, true);
	ck_assert_uint_gt(w.bad, 20);
}
END_TEST

/* ---- faults ---- */

/* A request that failed did something or nothing: what is there now is right. */
static void look_again(struct world *w)
{
	static uint8_t buf[SECTORS * 512];
	struct err e;

	ck_assert_msg(read_all(w, w->d, buf, &e) == 0, "%s", e.msg);
	for (int i = 0; i < SECTORS; i++)
		issue(w, i, value_of(buf + (size_t)i * 512));
}

/* The n-th operation on the file fails; everything is tried again and must be right then. */
static bool run_fault(struct world *w, const struct variant *v, unsigned n, int error)
{
	struct disk_check c = { .finding = note_finding, .arg = w };
	bool told = false, failed;
	struct err e;

	world_start(w, v, 11);
	recorder_fail(w->rec, n, error);
	for (int i = 0; i < 60; i++) {
		if (step(w, &e) < 0) {
			told = true;
			look_again(w);
		}
	}
	failed = recorder_failed(w->rec);
	told |= recorder_failed_read(w->rec); /* it may have been looked up for speed only */
	recorder_fail(w->rec, 0, 0);
	ck_assert_msg(told || !failed, "operation %u failed and nobody was told", n);
	ck_assert_msg(disk_flush(w->d, &e) == 0, "operation %u: %s", n, e.msg);
	ck_assert_msg(disk_check(w->d, 0, &c, &e) == 0, "operation %u: %s", n, e.msg);
	ck_assert_msg(!c.corruptions, "operation %u failed with %d: %s", n, error, w->why);
	compare(w, w->d, false);
	ck_assert_msg(!w->bad, "operation %u failed with %d: %s", n, error, w->why);
	examine(w, 1);
	ck_assert_msg(!w->bad, "operation %u failed with %d, reopened: %s", n, error, w->why);
	world_end(w);
	return failed;
}

START_TEST(a_fault_is_reported_and_leaves_the_image_consistent)
{
	static const int errors[] = { -EIO, -ENOSPC, -1 };
	static struct world w;
	const struct variant *v = chosen(_i);
	unsigned step = (unsigned)env_number("VMD_FAULT_STEP", 3);

	for (size_t k = 0; v && k < ARRAY_SIZE(errors); k++)
		for (unsigned n = 1 + (unsigned)k % step; run_fault(&w, v, n, errors[k]); n += step)
			;
}
END_TEST

static void cases(TCase *t)
{
	int n = (int)variant_count();

	tcase_add_loop_test(t, after_a_power_cut_nothing_acknowledged_is_lost, 0, n);
	tcase_add_loop_test(t, dropped_syncs_are_noticed, 0, n);
	tcase_add_loop_test(t, a_fault_is_reported_and_leaves_the_image_consistent, 0, n);
}

int main(void)
{
	/* Images are made and thrown away by the thousand: their memory stays ours. */
	mallopt(M_MMAP_THRESHOLD, 1 << 30);
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	return unit_run("power", cases);
}
