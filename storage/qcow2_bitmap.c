/*
 * Persistent bitmaps in a qcow2 image (the spec, "Bitmaps extension" and what follows). They are
 * read at open; before the first write each is marked as in use, durably; when the image is closed
 * in good order they are written to new clusters, and a new directory replaces the old one. A
 * bitmap that was in use already stays as it is, and says nothing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/dirty.h"
#include "storage/qcow2.h"

enum { /* the extension, and an entry of the directory */
       EXT_COUNT = 0,
       EXT_DIR_SIZE = 8,
       EXT_DIR_OFF = 16,
       EXT_LEN = 24,
       AT_TABLE_OFF = 0,
       AT_TABLE_ENTRIES = 8,
       AT_FLAGS = 12,
       AT_TYPE = 16,
       AT_GRANULARITY = 17,
       AT_NAME_LEN = 18,
       AT_EXTRA_LEN = 20,
       ENTRY_LEN = 24,
       IN_USE = 1,
       AUTO = 2,
       DIR_MAX = 1 << 20,
       COUNT_MAX = 1024,
};

#define ALL_ONES UINT64_C(1)

static int damaged(struct disk *d, const char *why, struct err *e)
{
	return err_damaged(e, "%s: the directory of bitmaps %s", disk_file(d)->name, why);
}

/* The directory in memory; *n entries. NULL and 0 where there are none that count. */
static int read_directory(struct disk *d, uint8_t **dir, uint32_t *size, uint32_t *n, uint64_t *off,
			  struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	const struct q2_ext *x = q2_extension(q, Q2_EXT_BITMAPS);
	autofree uint8_t *buf = NULL;
	uint64_t len;
	int r;

	*dir = NULL;
	*n = *size = 0;
	if (!x || !(q->autoclear & Q2_BITMAPS))
		return 0;
	if (x->len < EXT_LEN)
		return damaged(d, "is cut short", e);
	*n = be32(x->data + EXT_COUNT);
	len = be64(x->data + EXT_DIR_SIZE);
	*off = be64(x->data + EXT_DIR_OFF);
	if (!*n || *n > COUNT_MAX || len > DIR_MAX || len < (uint64_t)*n * ENTRY_LEN)
		return damaged(d, "has a size that makes no sense", e);
	r = q2_check_table(d, *off, len, "directory of bitmaps", e);
	if (r < 0)
		return r;
	buf = malloc(len);
	if (!buf)
		return err_nomem(e);
	r = file_pread(disk_file(d), *off, buf, len, e);
	if (r < 0)
		return r;
	*size = (uint32_t)len;
	*dir = take(buf);
	return 0;
}

/* The length of the entry at `at`, or 0 when it is not whole. */
static uint32_t entry_len(const uint8_t *dir, uint32_t size, uint32_t at)
{
	uint64_t len;

	if (size - at < ENTRY_LEN)
		return 0;
	len = round_up(
	    ENTRY_LEN + (uint64_t)be16(dir + at + AT_NAME_LEN) + be32(dir + at + AT_EXTRA_LEN), 8);
	return len <= size - at ? (uint32_t)len : 0;
}

static int read_table(struct disk *d, const uint8_t *p, uint64_t **ret, struct err *e)
{
	uint32_t n = be32(p + AT_TABLE_ENTRIES);
	uint64_t off = be64(p + AT_TABLE_OFF);
	int r;

	if (n > DIR_MAX)
		return damaged(d, "has a bitmap that is too big", e);
	r = n ? q2_check_table(d, off, (uint64_t)n * 8, "table of a bitmap", e) : 0;
	return r < 0 ? r : q2_load_table(d, off, n, ret, e);
}

/* Bits of a bitmap are the least significant first; so are ours, in words of little-endian. */
static int read_map(struct disk *d, const uint8_t *p, struct dirty *b, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t bytes = (d->size / b->granularity + !!(d->size % b->granularity) + 7) / 8;
	uint32_t n = be32(p + AT_TABLE_ENTRIES);
	autofree uint64_t *table = NULL;
	uint8_t *map = (uint8_t *)b->map;
	int r = read_table(d, p, &table, e);

	if (r == 0 && (uint64_t)n << q->cluster_bits < bytes)
		return damaged(d, "has a bitmap that is too short", e);
	for (uint32_t i = 0; r == 0 && (uint64_t)i << q->cluster_bits < bytes; i++) {
		uint64_t at = (uint64_t)i << q->cluster_bits, off = table[i] & Q2_OFFSET;
		size_t len = MIN(bytes - at, q->cluster_size);

		if (!off)
			memset(map + at, table[i] & ALL_ONES ? 0xff : 0, len);
		else if ((r = q2_check_table(d, off, q->cluster_size, "bitmap", e)) == 0)
			r = file_pread(disk_file(d), off, map + at, len, e);
	}
	for (uint64_t i = 0; r == 0 && i < BITMAP_WORDS(bytes * 8); i++)
		b->map[i] = le64(&b->map[i]);
	return r;
}

static int load_one(struct disk *d, const uint8_t *p, struct err *e)
{
	uint32_t n = be16(p + AT_NAME_LEN), extra = be32(p + AT_EXTRA_LEN);
	autofree char *name = strndup((const char *)p + ENTRY_LEN + extra, n);
	struct dirty *b;
	int r;

	if (!name)
		return err_nomem(e);
	if (p[AT_TYPE] != 1 || p[AT_GRANULARITY] < 9 || p[AT_GRANULARITY] > 31 || !*name ||
	    dirty_find(d, name))
		return damaged(d, "has an entry that makes no sense", e);
	r = dirty_add(d, name, UINT64_C(1) << p[AT_GRANULARITY], &b, e);
	if (r < 0)
		return r;
	b->persistent = true;
	b->recording = be32(p + AT_FLAGS) & AUTO;
	b->inconsistent = be32(p + AT_FLAGS) & IN_USE;
	return b->inconsistent ? 0 : read_map(d, p, b, e);
}

/* What to do for each entry of the directory. */
static int each_entry(struct disk *d, uint8_t *dir, uint32_t size, uint32_t n,
		      int (*fn)(struct disk *d, uint8_t *p, void *arg, struct err *e), void *arg,
		      struct err *e)
{
	uint32_t at = 0;
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < n; i++) {
		uint32_t len = entry_len(dir, size, at);

		if (!len)
			return damaged(d, "is cut short", e);
		r = fn(d, dir + at, arg, e);
		at += len;
	}
	return r;
}

static int load_entry(struct disk *d, uint8_t *p, void *arg, struct err *e)
{
	(void)arg;
	return load_one(d, p, e);
}

int q2_bitmaps_load(struct disk *d, struct err *e)
{
	autofree uint8_t *dir = NULL;
	uint32_t size, n;
	uint64_t off;
	int r = read_directory(d, &dir, &size, &n, &off, e);

	return r < 0 || !n ? r : each_entry(d, dir, size, n, load_entry, NULL, e);
}

static int mark_entry(struct disk *d, uint8_t *p, void *arg, struct err *e)
{
	(void)d;
	(void)arg;
	(void)e;
	put_be32(p + AT_FLAGS, be32(p + AT_FLAGS) | IN_USE);
	return 0;
}

int q2_bitmaps_begin(struct disk *d, struct err *e)
{
	autofree uint8_t *dir = NULL;
	uint32_t size, n;
	uint64_t off;
	int r = read_directory(d, &dir, &size, &n, &off, e);

	if (r < 0 || !n)
		return r;
	r = each_entry(d, dir, size, n, mark_entry, NULL, e);
	if (r == 0)
		r = file_pwrite(disk_file(d), off, dir, size, e);
	return r < 0 ? r : file_sync(disk_file(d), e);
}

/* ---- the clusters they use ---- */

struct walk {
	void (*use)(void *arg, uint64_t off, uint64_t len);
	void *arg;
};

static int walk_entry(struct disk *d, uint8_t *p, void *arg, struct err *e)
{
	const struct walk *w = arg;
	struct qcow2 *q = qcow2_of(d);
	autofree uint64_t *table = NULL;
	uint32_t n = be32(p + AT_TABLE_ENTRIES);
	int r = read_table(d, p, &table, e);

	if (r < 0)
		return r;
	w->use(w->arg, be64(p + AT_TABLE_OFF), (uint64_t)n * 8);
	for (uint32_t i = 0; i < n; i++)
		if (table[i] & Q2_OFFSET)
			w->use(w->arg, table[i] & Q2_OFFSET, q->cluster_size);
	return 0;
}

int q2_bitmaps_walk(struct disk *d, void (*use)(void *arg, uint64_t off, uint64_t len), void *arg,
		    struct err *e)
{
	struct walk w = { use, arg };
	autofree uint8_t *dir = NULL;
	uint32_t size, n;
	uint64_t off;
	int r = read_directory(d, &dir, &size, &n, &off, e);

	if (r < 0 || !n)
		return r;
	use(arg, off, size);
	return each_entry(d, dir, size, n, walk_entry, &w, e);
}

/* ---- saving ---- */

static int save_map(struct disk *d, const struct dirty *b, uint8_t *p, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t bits = d->size / b->granularity + !!(d->size % b->granularity);
	uint64_t bytes = (bits + 7) / 8, n = q2_clusters(q, bytes), first;
	autofree uint64_t *table = calloc(n + 1, 8);
	autofree uint8_t *buf = malloc(q->cluster_size);
	int r = table && buf ? 0 : err_nomem(e);

	for (uint64_t i = 0; r == 0 && i < n; i++) {
		const uint64_t *from = b->map + (i << q->cluster_bits) / 8;
		uint64_t words =
		    MIN(BITMAP_WORDS(bits) - (i << q->cluster_bits) / 8, q->cluster_size / 8);

		memset(buf, 0, q->cluster_size);
		for (uint64_t k = 0; k < words; k++)
			put_le64(buf + k * 8, from[k]);
		if (bytes_are_zero(buf, q->cluster_size))
			continue;
		r = q2_take_exactly(d, 1, &first, e);
		if (r == 0)
			r = file_pwrite(disk_file(d), first << q->cluster_bits, buf,
					q->cluster_size, e);
		table[i] = first << q->cluster_bits;
	}
	if (r == 0 && n)
		r = q2_take_exactly(d, q2_clusters(q, n * 8), &first, e);
	if (r == 0 && n)
		r = q2_store_table(d, first << q->cluster_bits, table, (uint32_t)n, 0, e);
	put_be64(p + AT_TABLE_OFF, n ? first << q->cluster_bits : 0);
	put_be32(p + AT_TABLE_ENTRIES, (uint32_t)n);
	return r;
}

static uint32_t new_len(const struct dirty *b)
{
	return (uint32_t)round_up(ENTRY_LEN + strlen(b->name), 8);
}

static int save_one(struct disk *d, const struct dirty *b, uint8_t *p, struct err *e)
{
	put_be32(p + AT_FLAGS, (b->recording ? AUTO : 0) | (b->inconsistent ? IN_USE : 0));
	p[AT_TYPE] = 1;
	p[AT_GRANULARITY] = (uint8_t)__builtin_ctzll(b->granularity);
	put_be16(p + AT_NAME_LEN, (uint16_t)strlen(b->name));
	memcpy(p + ENTRY_LEN, b->name, strlen(b->name));
	return save_map(d, b, p, e);
}

/* The new directory in new clusters; ext: what points to it, zero when there are no bitmaps. */
static int save_directory(struct disk *d, uint8_t ext[EXT_LEN], struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	autofree uint8_t *dir = NULL;
	uint64_t size = 0, at = 0, first;
	uint32_t n = 0;
	int r = 0;

	for (struct dirty *b = d->dirty; b; b = b->next)
		if (b->persistent) {
			size += new_len(b);
			n++;
		}
	memset(ext, 0, EXT_LEN);
	if (!n)
		return 0;
	dir = calloc(1, size);
	if (!dir)
		return err_nomem(e);
	for (struct dirty *b = d->dirty; r == 0 && b; b = b->next)
		if (b->persistent) {
			r = save_one(d, b, dir + at, e);
			at += new_len(b);
		}
	if (r == 0)
		r = q2_take_exactly(d, q2_clusters(q, size), &first, e);
	if (r == 0)
		r = file_pwrite(disk_file(d), first << q->cluster_bits, dir, size, e);
	put_be32(ext + EXT_COUNT, n);
	put_be64(ext + EXT_DIR_SIZE, size);
	put_be64(ext + EXT_DIR_OFF, r == 0 ? first << q->cluster_bits : 0);
	return r;
}

struct old {
	struct disk *d;
	struct let_go *v;
	size_t n;
	int r;
};

static void remember_old(void *arg, uint64_t off, uint64_t len)
{
	struct old *o = arg;
	struct qcow2 *q = qcow2_of(o->d);
	struct let_go *v = realloc(o->v, (o->n + 1) * sizeof(*v));

	if (!v) {
		o->r = -ENOMEM;
		return;
	}
	o->v = v;
	v[o->n++] = (struct let_go){ .first = off >> q->cluster_bits,
				     .n = q2_clusters(q, len),
				     .punch = true };
}

static bool any_persistent(const struct disk *d)
{
	const struct dirty *b = d->dirty;

	while (b && !b->persistent)
		b = b->next;
	return b;
}

/*
 * The new directory is durable before the header names it, and the old one goes after that. An
 * image of version 2 has no autoclear bits and so cannot keep any.
 */
int q2_bitmaps_save(struct disk *d, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	struct old old = { .d = d };
	uint8_t ext[EXT_LEN];
	int r;

	if (q->version < 3 || (!any_persistent(d) && !d->dirty_gone))
		return 0;
	r = q2_bitmaps_walk(d, remember_old, &old, e);
	if (r == 0)
		r = old.r;
	if (r == 0)
		r = save_directory(d, ext, e);
	if (r == 0)
		r = q2_extension_set(q, Q2_EXT_BITMAPS, be32(ext) ? ext : NULL, EXT_LEN, e);
	if (r == 0)
		r = q2_write_extensions(d, e);
	if (r == 0) {
		q->autoclear =
		    be32(ext) ? q->autoclear | Q2_BITMAPS : q->autoclear & ~(uint64_t)Q2_BITMAPS;
		r = q2_publish_header(d, e);
	}
	for (size_t i = 0; r == 0 && i < old.n; i++)
		r = q2_let_go(d, old.v[i].first, old.v[i].n, old.v[i].punch, e);
	free(old.v);
	d->dirty_gone = false;
	return r;
}
