/*
 * QED: QEMU's image format of 2010 with backing images and nothing else. The layout is in QEMU's
 * docs/interop/qed_spec.txt ("the spec"). All numbers in the file are little-endian.
 *
 * "Need check" is set in the file before the first table of a session changes and cleared at the
 * end, as the spec asks; our order of writes leaves at worst clusters that nobody uses.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "storage/two_level.h"

enum {
	AT_CLUSTER = 4,
	AT_TABLE = 8,
	AT_HEADER = 12,
	AT_FEATURES = 16,
	AT_COMPAT = 24,
	AT_AUTOCLEAR = 32,
	AT_L1 = 40,
	AT_SIZE = 48,
	AT_BACKING_OFF = 56,
	AT_BACKING_LEN = 60,
	HEADER_LEN = 64,
};

enum {
	FEATURE_BACKING = 1,
	FEATURE_NEED_CHECK = 2,
	FEATURE_BACKING_RAW = 4,
	FEATURES_KNOWN = 7,
};

enum { CLUSTER_MIN = 4 << 10, CLUSTER_MAX = 64 << 20, BACKING_MAX = 1023 };

struct qed {
	struct two_level map;
	uint64_t features;
	uint32_t header_bytes;
	bool marked; /* the file says need-check, because of us */
};

static struct qed *qed_of(struct disk *d)
{
	return d->priv;
}

static bool qed_probe(const struct probe *p)
{
	return p->head_len >= HEADER_LEN && !memcmp(p->head, "QED", 4);
}

static int qed_classify(struct disk *d, uint64_t entry, uint64_t off, struct extent *x,
			struct err *e)
{
	struct two_level *t = &qed_of(d)->map;
	int r = two_level_check_cluster(d, t, entry, off, e);

	x->kind = EXTENT_DATA;
	x->flags = EXTENT_IN_PLACE;
	x->off = entry + (off & (two_level_cluster(t) - 1));
	return r;
}

static int parse_geometry(struct disk *d, const uint8_t *h, struct err *e)
{
	struct qed *q = qed_of(d);
	uint32_t cluster = le32(h + AT_CLUSTER), table = le32(h + AT_TABLE);
	uint32_t header = le32(h + AT_HEADER);
	const char *name = disk_file(d)->name;

	if (!is_pow2(cluster) || cluster < CLUSTER_MIN || cluster > CLUSTER_MAX)
		return err_damaged(e, "%s: clusters of %u bytes", name, cluster);
	if (!is_pow2(table) || table > 16)
		return err_damaged(e, "%s: tables of %u clusters", name, table);
	if (!header || (uint64_t)header * cluster > CLUSTER_MAX)
		return err_damaged(e, "%s: a header of %u clusters", name, header);
	q->header_bytes = header * cluster;
	q->map.cluster_bits = (unsigned)__builtin_ctz(cluster);
	q->map.l1_entries = (uint64_t)table * cluster / 8;
	q->map.l2_bits = (unsigned)__builtin_ctzll(q->map.l1_entries);
	q->map.first = q->header_bytes;
	q->map.zero_entry = 1;
	q->map.classify = qed_classify;
	q->map.l1.off = le64(h + AT_L1);
	if (q->map.l1.off & (cluster - 1) || q->map.l1.off < q->header_bytes ||
	    !file_has(disk_file(d), q->map.l1.off, q->map.l1_entries * 8))
		return err_damaged(e, "%s: the L1 table at byte %llu is not in the file", name,
				   (unsigned long long)q->map.l1.off);
	d->size = le64(h + AT_SIZE);
	d->unit = cluster;
	if (d->size % 512 || d->size > two_level_cover(&q->map))
		return err_damaged(e, "%s: a disk of %llu bytes is not covered by its tables", name,
				   (unsigned long long)d->size);
	return 0;
}

static int parse_backing(struct disk *d, const uint8_t *h, struct err *e)
{
	struct qed *q = qed_of(d);
	uint32_t off = le32(h + AT_BACKING_OFF), len = le32(h + AT_BACKING_LEN);
	int r;

	if (!(q->features & FEATURE_BACKING))
		return 0;
	if (!len || len > BACKING_MAX || !range_fits(off, len, q->header_bytes) || off < HEADER_LEN)
		return err_damaged(e, "%s: the name of the backing image is not in the header",
				   disk_file(d)->name);
	r = two_level_backing_name(d, off, len, e);
	if (r == 0 && q->features & FEATURE_BACKING_RAW) {
		d->backing_format = strdup("raw");
		if (!d->backing_format)
			return err_nomem(e);
	}
	return r < 0 ? r : disk_need_backing(d, e);
}

static int write_features(struct disk *d, uint64_t features, struct err *e)
{
	uint8_t b[24];

	put_le64(b, features);
	/* What we do not know about does not survive a change (the spec, autoclear_features). */
	return file_pwrite(disk_file(d), AT_FEATURES, b, 8, e);
}

/* Before the first change of a table: the mark, and nothing that vouches for more than we know. */
static int qed_mark(struct disk *d, struct err *e)
{
	struct qed *q = qed_of(d);
	uint8_t b[24] = { 0 };
	int r = two_level_extend(d, &q->map, e);

	if (r < 0 || q->marked)
		return r;
	r = file_pread(disk_file(d), AT_FEATURES, b, sizeof(b), e);
	put_le64(b, q->features | FEATURE_NEED_CHECK);
	put_le64(b + (AT_AUTOCLEAR - AT_FEATURES), 0);
	if (r == 0)
		r = file_pwrite(disk_file(d), AT_FEATURES, b, sizeof(b), e);
	q->marked = r == 0;
	return r;
}

static int qed_flush(struct disk *d, struct err *e)
{
	return tables_flush(d, &qed_of(d)->map.tables, qed_mark, e);
}

static int qed_finish(struct disk *d, struct err *e)
{
	struct qed *q = qed_of(d);
	int r;

	if (!q->marked)
		return 0;
	r = write_features(d, q->features, e);
	if (r == 0)
		r = file_sync(disk_file(d), e);
	q->marked = r < 0;
	return r;
}

/* Somebody wrote without an order and did not get to the end. */
static int repair_first(struct disk *d, struct err *e)
{
	struct qed *q = qed_of(d);
	struct disk_check c = { 0 };
	int r = two_level_check(d, &q->map, DISK_REPAIR_ALL, true, &c, e);

	q->features &= ~(uint64_t)FEATURE_NEED_CHECK;
	q->marked = true;
	if (r == 0 && c.corruptions > c.corruptions_fixed)
		r = err_damaged(e, "%s was not closed and cannot be repaired", disk_file(d)->name);
	return r < 0 ? r : qed_flush(d, e);
}

static int qed_open(struct disk *d, struct err *e)
{
	struct qed *q = qed_of(d);
	uint8_t h[HEADER_LEN];
	int r = file_pread(disk_file(d), 0, h, sizeof(h), e);

	if (r < 0)
		return r;
	if (memcmp(h, "QED", 4))
		return err_damaged(e, "%s is not a QED image", disk_file(d)->name);
	q->features = le64(h + AT_FEATURES);
	if (q->features & ~(uint64_t)FEATURES_KNOWN)
		return err_lacking(e, "%s needs unknown QED features (%#llx)", disk_file(d)->name,
				   (unsigned long long)q->features & ~(uint64_t)FEATURES_KNOWN);
	r = parse_geometry(d, h, e);
	if (r == 0)
		r = parse_backing(d, h, e);
	if (r == 0)
		r = two_level_open(d, &q->map, e);
	if (r == 0 && q->features & FEATURE_NEED_CHECK && d->writable &&
	    !(d->flags & DISK_FOR_REPAIR))
		r = repair_first(d, e);
	return r;
}

static void qed_close(struct disk *d)
{
	two_level_close(&qed_of(d)->map);
}

static int qed_map(struct disk *d, uint64_t off, uint64_t want, struct extent *x, struct err *e)
{
	return two_level_map(d, &qed_of(d)->map, off, want, x, e);
}

static int qed_alloc(struct disk *d, uint64_t off, uint64_t want, struct extent *x, struct err *e)
{
	if (x->kind != EXTENT_DATA)
		return -ENOTSUP;
	return two_level_alloc(d, &qed_of(d)->map, off, want, x, e);
}

static int qed_commit(struct disk *d, uint64_t off, const struct extent *x, struct err *e)
{
	return two_level_commit(d, &qed_of(d)->map, off, x, e);
}

static void qed_abandon(struct disk *d, uint64_t off, const struct extent *x)
{
	(void)off;
	two_level_abandon(&qed_of(d)->map, x->off, x->head + x->len + x->tail);
}

static int qed_zero(struct disk *d, uint64_t off, uint64_t *len, bool unmap, struct err *e)
{
	return two_level_zero(d, &qed_of(d)->map, off, len, unmap, e);
}

static int qed_discard(struct disk *d, uint64_t off, uint64_t *len, struct err *e)
{
	return two_level_zero(d, &qed_of(d)->map, off, len, true, e);
}

static int qed_resize(struct disk *d, uint64_t size, struct err *e)
{
	struct qed *q = qed_of(d);
	uint8_t b[8];
	int r = 0;

	size = round_up(size, 512);
	if (size > two_level_cover(&q->map))
		return err_set(e, -EINVAL, "%s: its tables reach no further than %llu bytes",
			       disk_file(d)->name, (unsigned long long)two_level_cover(&q->map));
	if (size < d->size)
		r = two_level_cut(d, &q->map, size, e);
	if (r == 0)
		r = qed_flush(d, e);
	put_le64(b, size);
	if (r == 0)
		r = file_pwrite(disk_file(d), AT_SIZE, b, sizeof(b), e);
	if (r == 0)
		r = file_sync(disk_file(d), e);
	if (r == 0)
		d->size = size;
	return r;
}

static int qed_check(struct disk *d, unsigned repair, struct disk_check *c, struct err *e)
{
	struct qed *q = qed_of(d);
	int r = two_level_check(d, &q->map, repair, true, c, e);

	if (r < 0 || !repair || c->corruptions > c->corruptions_fixed)
		return r;
	if (q->features & FEATURE_NEED_CHECK) {
		q->features &= ~(uint64_t)FEATURE_NEED_CHECK;
		q->marked = true; /* so that the end clears it */
	}
	return qed_flush(d, e);
}

static void qed_info(struct disk *d, struct disk_info *i)
{
	struct qed *q = qed_of(d);

	i->dirty = q->features & FEATURE_NEED_CHECK;
	snprintf(i->detail, sizeof(i->detail), "table_size=%llu\n",
		 (unsigned long long)(q->map.l1_entries * 8 >> q->map.cluster_bits));
}

/* ---- create ---- */

enum { OPT_CLUSTER_SIZE, OPT_TABLE_SIZE, OPTS };

static const struct format_option qed_options[] = {
	[OPT_CLUSTER_SIZE] = { "cluster_size", "64K",
			       "bytes in which space is allocated, 4K..64M" },
	[OPT_TABLE_SIZE] = { "table_size", "4", "clusters of a table: 1, 2, 4, 8 or 16" },
	[OPTS] = { NULL, NULL, NULL },
};

static int qed_backing(uint8_t *h, const struct create_args *a, uint64_t cluster, struct err *e)
{
	size_t n = a->backing ? strlen(a->backing) : 0;
	uint64_t features = n ? FEATURE_BACKING : 0;

	if (n > BACKING_MAX || HEADER_LEN + n > cluster)
		return err_set(e, -ENAMETOOLONG, "the name of the backing image is too long");
	if (!n)
		return 0;
	/* The format has a bit for raw and none for the others. */
	if (!strcmp(a->backing_format, "raw"))
		features |= FEATURE_BACKING_RAW;
	put_le64(h + AT_FEATURES, features);
	put_le32(h + AT_BACKING_OFF, HEADER_LEN);
	put_le32(h + AT_BACKING_LEN, (uint32_t)n);
	memcpy(h + HEADER_LEN, a->backing, n);
	return 0;
}

static int qed_create(struct file *f, const struct create_args *a, struct err *e)
{
	const char *const *v = a->values;
	uint64_t cluster = 0, table = 0, size = round_up(a->size, 512);
	struct two_level t = { 0 };
	uint8_t h[HEADER_LEN + BACKING_MAX] = { 'Q', 'E', 'D', 0 };
	int r;

	if (!size_parse(v[OPT_CLUSTER_SIZE], &cluster) || !is_pow2(cluster) ||
	    cluster < CLUSTER_MIN || cluster > CLUSTER_MAX)
		return err_set(e, -EINVAL, "cluster_size cannot be \"%.40s\"", v[OPT_CLUSTER_SIZE]);
	if (!size_parse(v[OPT_TABLE_SIZE], &table) || !is_pow2(table) || table > 16)
		return err_set(e, -EINVAL, "table_size cannot be \"%.40s\"", v[OPT_TABLE_SIZE]);
	t.cluster_bits = (unsigned)__builtin_ctzll(cluster);
	t.l1_entries = table * cluster / 8;
	t.l2_bits = (unsigned)__builtin_ctzll(t.l1_entries);
	if (size > two_level_cover(&t))
		return err_set(e, -EINVAL,
			       "a disk of %llu bytes needs a larger cluster_size or table_size",
			       (unsigned long long)size);
	put_le32(h + AT_CLUSTER, (uint32_t)cluster);
	put_le32(h + AT_TABLE, (uint32_t)table);
	put_le32(h + AT_HEADER, 1);
	put_le64(h + AT_L1, cluster);
	put_le64(h + AT_SIZE, size);
	r = qed_backing(h, a, cluster, e);
	if (r == 0)
		r = file_truncate(f, cluster + table * cluster, e);
	return r < 0 ? r : file_pwrite(f, 0, h, sizeof(h), e);
}

static int qed_set_backing(struct disk *d, const char *name, const char *format, struct err *e)
{
	struct qed *q = qed_of(d);
	uint8_t h[HEADER_LEN + BACKING_MAX];
	struct create_args a = { .backing = name, .backing_format = format };
	int r = file_pread(disk_file(d), 0, h, sizeof(h), e);

	if (r < 0)
		return r;
	memset(h + AT_BACKING_OFF, 0, 8);
	put_le64(h + AT_FEATURES, 0);
	r = qed_backing(h, &a, q->header_bytes, e);
	if (r < 0)
		return r;
	q->features = le64(h + AT_FEATURES) | (q->features & FEATURE_NEED_CHECK);
	put_le64(h + AT_FEATURES, q->features | (q->marked ? FEATURE_NEED_CHECK : 0));
	r = file_pwrite(disk_file(d), 0, h, sizeof(h), e);
	return r < 0 ? r : file_sync(disk_file(d), e);
}

extern const struct disk_format qed_format;
const struct disk_format qed_format = {
	.name = "qed",
	.doc = "QEMU's image of 2010, with backing images",
	.priv_size = sizeof(struct qed),
	.options = qed_options,
	.probes_backing = true,
	.probe = qed_probe,
	.open = qed_open,
	.close = qed_close,
	.map = qed_map,
	.alloc = qed_alloc,
	.commit = qed_commit,
	.abandon = qed_abandon,
	.zero = qed_zero,
	.discard = qed_discard,
	.flush = qed_flush,
	.finish = qed_finish,
	.create = qed_create,
	.resize = qed_resize,
	.set_backing = qed_set_backing,
	.check = qed_check,
	.info = qed_info,
};
