/*
 * Power cuts and faults. An image in memory with a log of its writes: at random moments the file
 * is rebuilt as a power cut could leave it, opened, checked and compared. Every sector must hold
 * what it held at the last acknowledged flush, or something that was written to it later; a
 * snapshot must be whole. The test proves itself: with syncs dropped it must find damage.
 *
 * VMD_STATES=N examines that many states per variant; VMD_SEED=N repeats a run.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "storage/format.h"
#include "tests/storage/recorder.h"
#include "tests/unit.h"

enum { SECTORS = 1500, LATER = 24 };

struct sector {
	uint32_t flushed, now, later[LATER];
	unsigned n;
};

struct world {
	const char *format, *options;
	struct recorder *rec;
	struct disk *d;
	struct sector s[SECTORS];
	uint32_t snap[SECTORS];
	bool has_snap, snap_busy, reverting;
	uint32_t tag;
	uint64_t rng, seed;
	unsigned states, want, bad;
	char why[300];
};

static const struct {
	const char *format, *options;
} variants[] = {
	{ "qcow2", "cluster_size=4K" },
	{ "qcow2", "cluster_size=512,refcount_bits=64" },
	{ "qcow2", "cluster_size=64K" },
	{ "qcow2", "compat=0.10,cluster_size=1K" },
};

static uint64_t env_number(const char *name, uint64_t otherwise)
{
	const char *s = getenv(name);

	return s ? strtoull(s, NULL, 0) : otherwise;
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

	if (disk_read(d, 0, buf, sizeof(buf), &e) < 0) {
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

static void examine(struct world *w, uint64_t seed)
{
	struct disk_options o = { .format = w->format };
	uint8_t *data;
	size_t len;
	struct file *f;
	struct disk *d;
	struct err e;

	recorder_cut(w->rec, seed, &data, &len);
	ck_assert(file_in_memory(data, len, 64 * MiB, &f, &e) == 0);
	free(data);
	if (disk_new_from_file(f, &o, &d, &e) < 0) {
		w->bad++;
		snprintf(w->why, sizeof(w->why), "%.250s", e.msg);
		return;
	}
	examine_disk(w, d);
	disk_close(d);
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
	*n = MIN(*n, SECTORS - *from);
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
	return disk_write(w->d, (uint64_t)from * 512, buf, (size_t)n * 512, e);
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
		return disk_zero(w->d, (uint64_t)from * 512, (uint64_t)n * 512, rnd(w, 2), e);
	r = disk_discard(w->d, (uint64_t)from * 512, (uint64_t)n * 512, e);
	for (int i = 0; i < n; i++) {
		uint8_t buf[512];

		if (disk_read(w->d, (uint64_t)(from + i) * 512, buf, 512, e) == 0)
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
	if (dice < 84)
		return op_snapshot(w, e);
	r = disk_flush(w->d, e);
	if (r == 0)
		acknowledged(w);
	return r;
}

static void world_start(struct world *w, int variant, uint64_t seed)
{
	struct disk_create c = { .size = SECTORS * 512 };
	struct disk_options o = { .cache_bytes = 1 };
	struct file *f;
	struct err e;

	*w = (struct world){ .format = variants[variant].format,
			     .options = variants[variant].options,
			     .seed = seed,
			     .rng = seed * 0x9e3779b97f4a7c15u + 3 };
	c.format = o.format = w->format;
	c.options = w->options;
	w->rec = recorder_new(NULL, 0, &f);
	ck_assert_msg(disk_create_file(f, &c, &e) == 0, "%s", e.msg);
	ck_assert(file_sync(f, &e) == 0);
	ck_assert_msg(disk_new_from_file(f, &o, &w->d, &e) == 0, "%s", e.msg);
}

static void world_end(struct world *w)
{
	recorder_on_op(w->rec, NULL, NULL);
	recorder_fail(w->rec, 0, 0);
	disk_close(w->d);
	recorder_free(w->rec);
}

static unsigned run_cuts(struct world *w, int variant, uint64_t seed, unsigned want, bool drop)
{
	struct err e;

	world_start(w, variant, seed);
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

START_TEST(after_a_power_cut_nothing_acknowledged_is_lost)
{
	static struct world w;
	unsigned want = (unsigned)env_number("VMD_STATES", 1200), done = 0;
	uint64_t seed = env_number("VMD_SEED", 1) * 1000003;

	while (done < want) {
		done += run_cuts(&w, _i, seed, want - done, false);
		ck_assert_msg(!w.bad, "%s %s, seed %llu, state %u: %s", w.format, w.options,
			      (unsigned long long)seed, w.states, w.why);
		seed += 7919;
	}
}
END_TEST

START_TEST(dropped_syncs_are_noticed)
{
	static struct world w;

	run_cuts(&w, _i, 5, 200, true);
	ck_assert_uint_gt(w.bad, 20);
}
END_TEST

/* ---- faults ---- */

/* A request that failed did something or nothing: what is there now is right. */
static void look_again(struct world *w)
{
	static uint8_t buf[SECTORS * 512];
	struct err e;

	ck_assert_msg(disk_read(w->d, 0, buf, sizeof(buf), &e) == 0, "%s", e.msg);
	for (int i = 0; i < SECTORS; i++)
		issue(w, i, value_of(buf + (size_t)i * 512));
}

/* The n-th operation on the file fails; everything is tried again and must be right then. */
static bool run_fault(struct world *w, int variant, unsigned n, int error)
{
	struct disk_check c = { .finding = note_finding, .arg = w };
	bool told = false, failed;
	struct err e;

	world_start(w, variant, 11);
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

	for (size_t k = 0; k < ARRAY_SIZE(errors); k++)
		for (unsigned n = 1 + (unsigned)k; run_fault(&w, _i, n, errors[k]); n += 3)
			;
}
END_TEST

static void cases(TCase *t)
{
	int n = ARRAY_SIZE(variants);

	tcase_add_loop_test(t, after_a_power_cut_nothing_acknowledged_is_lost, 0, n);
	tcase_add_loop_test(t, dropped_syncs_are_noticed, 0, n);
	tcase_add_loop_test(t, a_fault_is_reported_and_leaves_the_image_consistent, 0, n);
}

int main(void)
{
	return unit_run("power", cases);
}
