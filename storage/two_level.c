/*
 * Two levels of tables: mapping, room for new clusters, pointing to them, zeroing. Called by
 * qed.c and qcow.c; threads and locks as in two_level.h.
 */
#include "storage/two_level.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int two_level_open(struct disk *d, struct two_level *t, struct err *e)
{
	t->end = round_up(file_size(disk_file(d)), two_level_cluster(t));
	t->l1.len = t->l1_entries * 8;
	t->l1.rank = TABLE_OUTER;
	return tables_init(d, &t->tables, e);
}

void two_level_close(struct two_level *t)
{
	tables_free(&t->tables);
}

uint64_t two_level_cover(const struct two_level *t)
{
	unsigned bits = t->cluster_bits + t->l2_bits;

	if (bits >= 63 || t->l1_entries > UINT64_MAX >> bits)
		return UINT64_MAX;
	return t->l1_entries << bits;
}

static uint64_t get(const struct two_level *t, const uint8_t *p)
{
	return t->big_endian ? be64(p) : le64(p);
}

static void put(const struct two_level *t, uint8_t *p, uint64_t v)
{
	if (t->big_endian)
		put_be64(p, v);
	else
		put_le64(p, v);
}

static uint64_t l1_index(const struct two_level *t, uint64_t off)
{
	return off >> t->cluster_bits >> t->l2_bits;
}

/* What was given out counts as part of the file before it is. */
static uint64_t file_end(struct disk *d, const struct two_level *t)
{
	return MAX(t->end, file_size(disk_file(d)));
}

static uint64_t table_bytes(const struct two_level *t)
{
	return UINT64_C(8) << t->l2_bits;
}

static uint64_t table_align(const struct two_level *t)
{
	return MIN(two_level_cluster(t), table_bytes(t));
}

int two_level_check_cluster(struct disk *d, const struct two_level *t, uint64_t at, uint64_t off,
			    struct err *e)
{
	uint64_t cluster = two_level_cluster(t);

	if (!(at & (cluster - 1)) && at >= t->first && at < file_end(d, t) &&
	    !ranges_overlap(at, cluster, t->l1.off, t->l1.len))
		return 0;
	return err_damaged(e,
			   "%s: the entry for byte %llu of the disk points to byte %llu of the "
			   "file, where no cluster can be",
			   disk_file(d)->name, (unsigned long long)off, (unsigned long long)at);
}

static int check_table(struct disk *d, const struct two_level *t, uint64_t at, uint64_t i,
		       struct err *e)
{
	if (!(at & (table_align(t) - 1)) && at >= t->first &&
	    range_fits(at, table_bytes(t), file_end(d, t)) &&
	    !ranges_overlap(at, table_bytes(t), t->l1.off, t->l1.len))
		return 0;
	return err_damaged(e,
			   "%s: L1 entry %llu points to byte %llu of the file, where no table "
			   "can be",
			   disk_file(d)->name, (unsigned long long)i, (unsigned long long)at);
}

/* A stretch of entries in memory: of an L2 table, or nothing where there is no table. */
struct entries {
	uint8_t *p; /* NULL: no table */
	size_t n;
	struct table_piece piece;
	uint64_t hole; /* without a table: bytes of the disk from off on for which that holds */
};

static int find(struct disk *d, struct two_level *t, uint64_t off, struct entries *en,
		struct err *e)
{
	uint64_t i = l1_index(t, off), cover = two_level_cluster(t) << t->l2_bits;
	struct table l2 = { 0, table_bytes(t), TABLE_INNER };
	struct table_piece l1;
	int r;

	*en = (struct entries){ 0 };
	if (i >= t->l1_entries)
		return err_damaged(e, "%s: the L1 table does not cover byte %llu",
				   disk_file(d)->name, (unsigned long long)off);
	r = tables_get(d, &t->tables, &t->l1, i * 8, &l1, e);
	if (r < 0)
		return r;
	l2.off = get(t, l1.data);
	en->hole = cover - (off & (cover - 1));
	if (!l2.off) {
		for (size_t k = 8; k + 8 <= l1.len && !get(t, l1.data + k); k += 8)
			en->hole += cover;
		return 0;
	}
	r = check_table(d, t, l2.off, i, e);
	if (r < 0)
		return r;
	r = tables_get(d, &t->tables, &l2, (off >> t->cluster_bits) % (table_bytes(t) / 8) * 8,
		       &en->piece, e);
	en->p = en->piece.data;
	en->n = en->piece.len / 8;
	return r;
}

static int classify(struct disk *d, struct two_level *t, uint64_t entry, uint64_t off,
		    struct extent *x, struct err *e)
{
	int r = 0;

	*x = (struct extent){ .kind = EXTENT_BACKING };
	if (entry && entry == t->zero_entry)
		x->kind = EXTENT_ZERO;
	else if (entry)
		r = t->classify(d, entry, off, x, e);
	x->len = two_level_cluster(t) - (off & (two_level_cluster(t) - 1));
	return r;
}

/* Does the next cluster go on where x ends? */
static bool continues(const struct extent *x, const struct extent *y)
{
	if (x->kind != y->kind || x->kind == EXTENT_COMPRESSED)
		return false;
	return x->kind != EXTENT_DATA || (x->file == y->file && x->off + x->len == y->off);
}

int two_level_map(struct disk *d, struct two_level *t, uint64_t off, uint64_t want,
		  struct extent *x, struct err *e)
{
	struct entries en;
	int r = find(d, t, off, &en, e);

	if (r < 0)
		return r;
	if (!en.p) {
		x->kind = EXTENT_BACKING;
		x->len = en.hole;
		return 0;
	}
	r = classify(d, t, get(t, en.p), off, x, e);
	for (size_t i = 1; r == 0 && x->len < want && i < en.n; i++) {
		uint64_t entry = get(t, en.p + 8 * i);
		struct extent y;

		if (classify(d, t, entry, off + x->len, &y, NULL) < 0 || !continues(x, &y))
			break;
		x->len += y.len;
	}
	return r;
}

/* ---- writing ---- */

static int take_end(struct disk *d, struct two_level *t, uint64_t bytes, uint64_t align,
		    uint64_t *at, struct err *e)
{
	uint64_t end = round_up(file_end(d, t), align);

	if (end > INT64_MAX / 2)
		return err_set(e, -EFBIG, "%s cannot grow any more", disk_file(d)->name);
	*at = end;
	t->end = end + bytes;
	return 0;
}

/* Nothing was ever written there, not even by a write that failed. */
static bool is_fresh(struct disk *d, const struct two_level *t, uint64_t at)
{
	return at >= file_size(disk_file(d)) && at >= t->touched_end;
}

/* An empty table. With small clusters it shares its pages with others, so it goes through them. */
static int clear_table(struct disk *d, struct two_level *t, uint64_t at, struct err *e)
{
	struct table where = { at, table_bytes(t), TABLE_INNER };
	int r = 0;

	if (two_level_cluster(t) >= PAGE_BYTES)
		return is_fresh(d, t, at) ? 0 : file_zero(disk_file(d), at, where.len, false, e);
	for (uint64_t done = 0; r == 0 && done < where.len;) {
		struct table_piece piece;

		r = tables_get(d, &t->tables, &where, done, &piece, e);
		if (r < 0)
			return r;
		memset(piece.data, 0, piece.len);
		tables_dirty(d, &t->tables, &piece, piece.data, piece.len);
		done += piece.len;
	}
	return r;
}

static int need_table(struct disk *d, struct two_level *t, uint64_t off, struct err *e)
{
	struct table_piece l1;
	uint64_t at = 0, old = t->end;
	int r;

	if (l1_index(t, off) >= t->l1_entries)
		return err_damaged(e, "%s: the L1 table does not cover byte %llu",
				   disk_file(d)->name, (unsigned long long)off);
	r = tables_get(d, &t->tables, &t->l1, l1_index(t, off) * 8, &l1, e);
	if (r < 0 || get(t, l1.data))
		return r;
	r = take_end(d, t, table_bytes(t), two_level_cluster(t), &at, e);
	if (r == 0)
		r = clear_table(d, t, at, e);
	if (r < 0) {
		/* Pages of it may be cleared and waiting to be written: the place is lost. */
		if (at && two_level_cluster(t) >= PAGE_BYTES) {
			t->touched_end = MAX(t->touched_end, at + table_bytes(t));
			t->end = old;
		}
		return r;
	}
	put(t, l1.data, at);
	tables_dirty(d, &t->tables, &l1, l1.data, 8);
	return 0;
}

int two_level_room(struct disk *d, struct two_level *t, uint64_t off, uint64_t bytes,
		   uint64_t align, uint64_t *at, struct err *e)
{
	int r = need_table(d, t, off, e);

	return r < 0 ? r : take_end(d, t, bytes, align, at, e);
}

void two_level_abandon(struct two_level *t, uint64_t at, uint64_t bytes)
{
	t->touched_end = MAX(t->touched_end, at + bytes);
	if (at + bytes == t->end)
		t->end = at;
}

/* As many entries of one page as cannot be written in place; so commit() is one page, too. */
int two_level_alloc(struct disk *d, struct two_level *t, uint64_t off, uint64_t want,
		    struct extent *x, struct err *e)
{
	uint64_t cluster = two_level_cluster(t), in = off & (cluster - 1), n = 0, at, used;
	struct entries en;
	int r = need_table(d, t, off, e);

	if (r == 0)
		r = find(d, t, off, &en, e);
	if (r < 0)
		return r;
	while (n < en.n && n * cluster < in + want) {
		uint64_t pos = off - in + n * cluster;
		struct extent y;

		r = classify(d, t, get(t, en.p + 8 * n), pos, &y, n ? NULL : e);
		if (r < 0 && !n)
			return r;
		if (r < 0 || (y.kind == EXTENT_DATA && y.flags & EXTENT_IN_PLACE))
			break;
		n++;
	}
	if (!n)
		return err_set(e, -EIO, "%s: nothing to allocate", disk_file(d)->name);
	r = take_end(d, t, n * cluster, cluster, &at, e);
	if (r < 0)
		return r;
	x->kind = EXTENT_DATA;
	x->flags = is_fresh(d, t, at) ? EXTENT_FRESH : 0;
	x->off = at;
	x->head = (uint32_t)in;
	x->len = MIN(want, n * cluster - in);
	used = in + x->len;
	x->tail = (uint32_t)(n * cluster - used);
	return 0;
}

int two_level_commit(struct disk *d, struct two_level *t, uint64_t off, const struct extent *x,
		     struct err *e)
{
	uint64_t cluster = two_level_cluster(t),
		 n = (x->head + x->len + x->tail) >> t->cluster_bits;
	struct entries en;
	int r = find(d, t, off - x->head, &en, e);

	if (r < 0)
		return r;
	if (!en.p || en.n < n)
		return err_set(e, -EIO, "%s: a table is gone", disk_file(d)->name);
	for (uint64_t i = 0; i < n; i++)
		put(t, en.p + 8 * i, x->off + i * cluster);
	tables_dirty(d, &t->tables, &en.piece, en.p, n * 8);
	return 0;
}

int two_level_set(struct disk *d, struct two_level *t, uint64_t off, uint64_t entry, struct err *e)
{
	struct entries en;
	int r = find(d, t, off, &en, e);

	if (r < 0)
		return r;
	if (!en.p)
		return err_set(e, -EIO, "%s: a table is gone", disk_file(d)->name);
	put(t, en.p, entry);
	tables_dirty(d, &t->tables, &en.piece, en.p, 8);
	return 0;
}

/* For clusters that are not in the file, from off on and in one page. */
static int set_zero(struct disk *d, struct two_level *t, uint64_t off, uint64_t *len, struct err *e)
{
	uint64_t n = 0, cluster = two_level_cluster(t);
	struct entries en;
	int r = need_table(d, t, off, e);

	if (r == 0)
		r = find(d, t, off, &en, e);
	if (r < 0)
		return r;
	for (; n < en.n && n * cluster < *len && !get(t, en.p + 8 * n); n++)
		put(t, en.p + 8 * n, t->zero_entry);
	tables_dirty(d, &t->tables, &en.piece, en.p, n * 8);
	*len = MIN(*len, n * cluster);
	return 0;
}

static bool has_backing(const struct disk *d)
{
	return d->backing || d->backing_name;
}

/* A cluster keeps its place: there is no list of free ones. Its space is given back by a hole. */
int two_level_zero(struct disk *d, struct two_level *t, uint64_t off, uint64_t *len, bool unmap,
		   struct err *e)
{
	struct extent x = { 0 };
	int r = two_level_map(d, t, off, *len, &x, e);

	if (r < 0)
		return r;
	*len = MIN(*len, x.len);
	switch (x.kind) {
	case EXTENT_DATA:
		/* A hole does not decipher to zeroes. */
		if (!(x.flags & EXTENT_IN_PLACE) || x.flags & EXTENT_SEALED)
			return -ENOTSUP;
		return file_zero(d->files[x.file], x.off, *len, unmap, e);
	case EXTENT_BACKING:
		if (!has_backing(d))
			return 0;
		return t->zero_entry ? set_zero(d, t, off, len, e) : -ENOTSUP;
	case EXTENT_COMPRESSED: return has_backing(d) ? -ENOTSUP : two_level_set(d, t, off, 0, e);
	case EXTENT_ZERO:
	case EXTENT_MEMORY: break;
	}
	return 0;
}

int two_level_extend(struct disk *d, struct two_level *t, struct err *e)
{
	uint64_t end;

	pthread_mutex_lock(&d->meta);
	end = t->end;
	pthread_mutex_unlock(&d->meta);
	return file_size(disk_file(d)) < end ? file_truncate(disk_file(d), end, e) : 0;
}

int two_level_cut(struct disk *d, struct two_level *t, uint64_t size, struct err *e)
{
	uint64_t off = round_up(size, two_level_cluster(t));
	uint64_t end = round_up(d->size, two_level_cluster(t));
	int r = 0;

	while (r == 0 && off < end) {
		uint64_t len = end - off;
		struct extent x = { 0 };

		r = two_level_map(d, t, off, len, &x, e);
		len = MIN(len, x.len);
		if (r == 0 && (x.kind == EXTENT_COMPRESSED || x.flags & EXTENT_SEALED)) {
			len = MIN(len, two_level_cluster(t));
			r = two_level_set(d, t, off, 0, e);
		} else if (r == 0 && x.kind == EXTENT_DATA) {
			r = file_zero(d->files[x.file], x.off, len, true, e);
		}
		off += len;
		if (r == 0 && d->wants_flush)
			r = d->format->flush(d, e);
	}
	return r;
}

int two_level_backing_name(struct disk *d, uint64_t off, uint32_t len, struct err *e)
{
	int r;

	d->backing_name = calloc(1, len + 1);
	if (!d->backing_name)
		return err_nomem(e);
	r = file_pread(disk_file(d), off, d->backing_name, len, e);
	if (r == 0 && strlen(d->backing_name) != len)
		return err_damaged(e, "%s: the name of the backing image is not a name",
				   disk_file(d)->name);
	return r;
}
