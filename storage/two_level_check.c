/*
 * Checking two levels of tables: every table and cluster is inside the file and used once; what
 * nobody uses is a leak. Repair takes bad entries away, gives what is used twice a second place,
 * and cuts unused clusters off the end. Called by jobs, and by qed.c at open after a crash; no
 * request is in flight, nothing is waiting to be written.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bitmap.h"
#include "storage/two_level.h"

#define GRAINS_MAX (UINT64_C(1) << 32)

struct audit {
	struct disk *d;
	struct two_level *t;
	struct disk_check *c;
	bool fix;
	unsigned grain_bits; /* clusters and tables are whole grains */
	uint64_t grains;     /* of the file */
	uint64_t *alone;     /* a bit for each grain of a table or a cluster */
	uint64_t *shared;    /* and of streams, which lie side by side */
};

/* false: somebody else has some of it. */
static bool claim(struct audit *a, uint64_t off, uint64_t len, bool alone)
{
	uint64_t end = MIN((off + len - 1) >> a->grain_bits, a->grains - 1);
	bool good = true;

	for (uint64_t i = off >> a->grain_bits; i <= end; i++) {
		if (bit_get(a->alone, i) || (alone && bit_get(a->shared, i)))
			good = false;
		bit_set(alone ? a->alone : a->shared, i);
	}
	return good;
}

static uint64_t get(const struct two_level *t, const uint8_t *p)
{
	return t->big_endian ? be64(p) : le64(p);
}

static void clear_entry(struct audit *a, struct table_piece *p)
{
	memset(p->data, 0, 8);
	tables_dirty(a->d, &a->t->tables, p, p->data, 8);
	a->c->corruptions_fixed++;
}

/* Two users of one cluster: the second gets a copy. */
static int separate(struct audit *a, uint64_t off, uint64_t from, struct err *e)
{
	uint64_t cluster = two_level_cluster(a->t), at;
	uint64_t step = MIN(cluster, MiB);
	autofree uint8_t *buf = malloc(step);
	int r = buf ? two_level_room(a->d, a->t, off, cluster, cluster, &at, e) : err_nomem(e);

	for (uint64_t k = 0; r == 0 && k < cluster; k += step) {
		r = file_pread(disk_file(a->d), from + k, buf, step, e);
		if (r == 0)
			r = file_pwrite(disk_file(a->d), at + k, buf, step, e);
	}
	if (r == 0)
		r = two_level_set(a->d, a->t, off, at, e);
	if (r == 0)
		a->c->corruptions_fixed++;
	return r;
}

static int audit_entry(struct audit *a, uint64_t off, struct table_piece *p, struct err *e)
{
	uint64_t entry = get(a->t, p->data);
	struct extent x = { 0 };
	struct err why;
	bool mine;

	if (!entry || entry == a->t->zero_entry)
		return 0;
	if (a->t->classify(a->d, entry, off, &x, &why) < 0) {
		a->c->corruptions++;
		disk_finding(a->c, "%s", why.msg);
		if (a->fix)
			clear_entry(a, p);
		return 0;
	}
	a->c->units_used++;
	if (x.kind == EXTENT_COMPRESSED) {
		a->c->compressed++;
		mine = claim(a, x.off, x.stored, false);
	} else {
		mine = claim(a, x.off, two_level_cluster(a->t), true);
	}
	if (mine)
		return 0;
	a->c->corruptions++;
	disk_finding(a->c,
		     "%s: the entry for byte %llu of the disk uses byte %llu of the file, which is "
		     "used already",
		     disk_file(a->d)->name, (unsigned long long)off, (unsigned long long)x.off);
	return a->fix && x.kind == EXTENT_DATA ? separate(a, off, x.off, e) : 0;
}

static int audit_table(struct audit *a, uint64_t at, uint64_t first, struct err *e)
{
	struct table where = { at, UINT64_C(8) << a->t->l2_bits, TABLE_INNER };
	uint64_t n = where.len / 8, hole;

	for (uint64_t i = 0; i < n; i++) {
		struct table_piece p;
		int r;

		if (i % (PAGE_BYTES / 8) == 0 && !a->fix && file_has(disk_file(a->d), at, 1) &&
		    !disk_file(a->d)->ops->is_data(disk_file(a->d), at + i * 8, &hole) &&
		    hole >= PAGE_BYTES) {
			i += round_down(MIN(hole / 8, n), PAGE_BYTES / 8) - 1;
			continue;
		}
		/* Each time anew: what repairs an entry may move pages. */
		r = tables_get(a->d, &a->t->tables, &where, i * 8, &p, e);
		if (r == 0 && get(a->t, p.data))
			r = audit_entry(a, (first + i) << a->t->cluster_bits, &p, e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The table of one L1 entry: is it one, and nobody else's? */
static int audit_l1_entry(struct audit *a, uint64_t i, struct err *e)
{
	uint64_t bytes = UINT64_C(8) << a->t->l2_bits, at;
	uint64_t align = MIN(bytes, two_level_cluster(a->t));
	struct table_piece p;
	int r = tables_get(a->d, &a->t->tables, &a->t->l1, i * 8, &p, e);

	if (r < 0)
		return r;
	at = get(a->t, p.data);
	if (!at)
		return 0;
	if (at & (align - 1) || at < a->t->first || !file_has(disk_file(a->d), at, bytes) ||
	    ranges_overlap(at, bytes, a->t->l1.off, a->t->l1.len) || !claim(a, at, bytes, true)) {
		a->c->corruptions++;
		disk_finding(
		    a->c,
		    "%s: L1 entry %llu points to byte %llu of the file, where no table can be",
		    disk_file(a->d)->name, (unsigned long long)i, (unsigned long long)at);
		if (a->fix)
			clear_entry(a, &p);
		return 0;
	}
	return audit_table(a, at, i << a->t->l2_bits, e);
}

static int audit_all(struct audit *a, struct err *e)
{
	struct file *f = disk_file(a->d);
	int r = 0;

	for (uint64_t i = 0; r == 0 && i < a->t->l1_entries; i++) {
		uint64_t hole;

		if (i % 512 == 0 && !f->ops->is_data(f, a->t->l1.off + i * 8, &hole) && hole >= 8) {
			i += MIN(hole / 8, a->t->l1_entries) - 1;
			continue;
		}
		r = audit_l1_entry(a, i, e);
		if (r == 0 && a->d->wants_flush)
			r = a->d->format->flush(a->d, e);
	}
	return r;
}

static int count_leaks(struct audit *a, unsigned repair, struct err *e)
{
	uint64_t cluster = two_level_cluster(a->t), clusters, used, last = 0;

	claim(a, 0, a->t->first, true);
	if (a->t->l1.len)
		claim(a, a->t->l1.off, a->t->l1.len, true);
	clusters = a->grains << a->grain_bits >> a->t->cluster_bits;
	for (uint64_t i = 0; i < clusters; i++) {
		used = i << (a->t->cluster_bits - a->grain_bits);
		if (bit_get(a->alone, used))
			last = i + 1;
		else
			a->c->leaks++;
	}
	if (!repair || last == clusters || a->t->end > clusters * cluster)
		return 0;
	a->c->leaks_fixed += clusters - last;
	a->t->end = last * cluster;
	return file_truncate(disk_file(a->d), a->t->end, e);
}

static int start(struct audit *a, struct err *e)
{
	uint64_t table = UINT64_C(8) << a->t->l2_bits, size = file_size(disk_file(a->d));

	a->grain_bits = (unsigned)__builtin_ctzll(MIN(table, two_level_cluster(a->t)));
	a->grains = (size >> a->grain_bits) + !!(size & ((UINT64_C(1) << a->grain_bits) - 1));
	if (a->grains > GRAINS_MAX)
		return err_set(e, -EFBIG, "%s has too many clusters to check",
			       disk_file(a->d)->name);
	a->alone = calloc(BITMAP_WORDS(a->grains) + 1, 8);
	a->shared = calloc(BITMAP_WORDS(a->grains) + 1, 8);
	return a->alone && a->shared ? 0 : err_nomem(e);
}

int two_level_check(struct disk *d, struct two_level *t, unsigned repair, bool leaks,
		    struct disk_check *c, struct err *e)
{
	struct audit a = { .d = d, .t = t, .c = c, .fix = repair == DISK_REPAIR_ALL };
	int r = start(&a, e);

	c->units = (d->size + two_level_cluster(t) - 1) >> t->cluster_bits;
	if (r == 0)
		r = audit_all(&a, e);
	if (r == 0 && leaks)
		r = count_leaks(&a, repair, e);
	free(a.alone);
	free(a.shared);
	return r;
}
