/*
 * Opening a qcow2 image: the header is checked field by field before anything is used as a size
 * or an offset, then the L1 table, the refcount table and the snapshot table are loaded. Called
 * once per disk, before any request.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/dirty.h"
#include "storage/qcow2.h"

/* Bit numbers of incompatible features we know by name but cannot work with, or can. */
static const char *const feature_names[] = {
	[0] = "dirty bit",        [1] = "corrupt bit",         [2] = "external data file",
	[3] = "compression type", [4] = "extended L2 entries",
};

static const char *image_name(struct disk *d)
{
	return disk_file(d)->name;
}

int q2_check_table(struct disk *d, uint64_t off, uint64_t len, const char *what, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);

	if (off & (q->cluster_size - 1) || off < q->cluster_size || off >= Q2_OFFSET_MAX)
		return err_damaged(e, "%s: the %s at byte %llu is not where clusters are",
				   image_name(d), what, (unsigned long long)off);
	if (!file_has(disk_file(d), off, len))
		return err_damaged(e, "%s: the %s of %llu bytes is past the end of the file",
				   image_name(d), what, (unsigned long long)len);
	return 0;
}

int q2_load_table(struct disk *d, uint64_t off, uint32_t n, uint64_t **ret, struct err *e)
{
	autofree uint64_t *t = malloc((size_t)n * 8 + 8);
	int r;

	if (!t)
		return err_nomem(e);
	r = file_pread(disk_file(d), off, t, (size_t)n * 8, e);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < n; i++)
		t[i] = be64(&t[i]);
	*ret = take(t);
	return 0;
}

int q2_store_table(struct disk *d, uint64_t off, const uint64_t *t, uint32_t n, uint64_t clear,
		   struct err *e)
{
	autofree uint8_t *buf = malloc((size_t)n * 8 + 8);

	if (!buf)
		return err_nomem(e);
	for (uint32_t i = 0; i < n; i++)
		put_be64(buf + (size_t)i * 8, t[i] & ~clear);
	return n ? file_pwrite(disk_file(d), off, buf, (size_t)n * 8, e) : 0;
}

/* The name from the image's own feature table, else ours, else the number. */
static int refuse_feature(struct disk *d, const uint8_t *h, size_t len, unsigned bit, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	size_t at = q->header_len;

	while (at + 8 <= len && be32(h + at)) {
		uint32_t type = be32(h + at), n = be32(h + at + 4);

		if (n > len - at - 8)
			break;
		for (uint32_t i = 0; type == Q2_EXT_FEATURES && i + 48 <= n; i += 48) {
			const uint8_t *row = h + at + 8 + i;

			if (row[0] == 0 && row[1] == bit)
				return err_lacking(e,
						   "%s needs the qcow2 feature \"%.46s\", which "
						   "is not supported",
						   image_name(d), (const char *)row + 2);
		}
		at += 8 + round_up(n, 8);
	}
	if (bit < ARRAY_SIZE(feature_names))
		return err_lacking(e, "%s needs the qcow2 feature \"%s\", which is not supported",
				   image_name(d), feature_names[bit]);
	return err_lacking(e, "%s needs the unknown qcow2 feature of bit %u", image_name(d), bit);
}

static int parse_version3(struct disk *d, const uint8_t *h, size_t len, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);

	if (len < Q2_V3_LEN)
		return err_damaged(e, "%s: the header is cut short", image_name(d));
	q->incompatible = be64(h + Q2_AT_INCOMPATIBLE);
	q->compatible = be64(h + Q2_AT_COMPATIBLE);
	q->autoclear = be64(h + Q2_AT_AUTOCLEAR);
	q->refcount_order = be32(h + Q2_AT_REFCOUNT_ORDER);
	q->header_len = be32(h + Q2_AT_HEADER_LEN);
	if (q->header_len < Q2_V3_LEN || q->header_len % 8 || q->header_len > len)
		return err_damaged(e, "%s: a header of %u bytes makes no sense", image_name(d),
				   q->header_len);
	if (q->refcount_order > 6)
		return err_damaged(e, "%s: refcounts of 2^%u bits", image_name(d),
				   q->refcount_order);
	for (unsigned bit = 0; bit < 64; bit++)
		if (q->incompatible & ~(uint64_t)Q2_KNOWN & UINT64_C(1) << bit)
			return refuse_feature(d, h, len, bit, e);
	return 0;
}

/* The shape of L2 entries (the spec, "Extended L2 Entries"). */
static int set_entries(struct disk *d, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);

	q->extended = q->incompatible & Q2_EXTENDED_L2;
	if (q->extended && q->cluster_bits < 14)
		return err_damaged(e, "%s: extended L2 entries for clusters of %u bytes",
				   image_name(d), q->cluster_size);
	q->entry_len = q->extended ? 16 : 8;
	q->pieces = q->extended ? 32 : 1;
	q->piece_bits = q->cluster_bits - (q->extended ? 5 : 0);
	q->l2_bits = q->cluster_bits - (q->extended ? 4 : 3);
	q->l2_entries = 1u << q->l2_bits;
	d->piece = 1u << q->piece_bits;
	return 0;
}

/* The data is elsewhere, in a file that a header extension names. */
static int open_data_file(struct disk *d, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	const struct q2_ext *x = q2_extension(q, Q2_EXT_DATA_FILE);
	autofree char *name = NULL;

	if (!(q->incompatible & Q2_DATA_FILE))
		return 0;
	if (!x || !x->len || x->len > Q2_BACKING_MAX || memchr(x->data, 0, x->len))
		return err_lacking(e, "%s does not name its data file", image_name(d));
	if (q->crypt)
		return err_damaged(e, "%s has a data file and what cannot be with one",
				   image_name(d));
	name = strndup((const char *)x->data, x->len);
	if (!name)
		return err_nomem(e);
	return disk_need_file(d, DISK_REF_DATA, name, d->writable, &q->data_file, e);
}

static int parse_compression(struct disk *d, const uint8_t *h, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	unsigned type = q->header_len > Q2_V3_LEN ? h[Q2_AT_COMPRESSION] : 0;
	bool flag = q->incompatible & Q2_COMPRESSION;

	if (flag != (type != 0))
		return err_damaged(e, "%s: compression type %u and its feature bit disagree",
				   image_name(d), type);
	if (type > 1)
		return err_lacking(e, "%s: compression type %u is not known", image_name(d), type);
	q->codec = type ? CODEC_ZSTD : CODEC_DEFLATE;
	if (!codec_have(q->codec))
		return err_lacking(e,
				   "%s is compressed with zstd, which this vmd was built without",
				   image_name(d));
	return 0;
}

static int parse_fixed(struct disk *d, const uint8_t *h, size_t len, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	int r = 0;

	q->version = be32(h + Q2_AT_VERSION);
	if (q->version != 2 && q->version != 3)
		return err_lacking(e, "%s: qcow2 version %u is not known", image_name(d),
				   q->version);
	q->cluster_bits = be32(h + Q2_AT_CLUSTER_BITS);
	if (q->cluster_bits < 9 || q->cluster_bits > 21)
		return err_damaged(e, "%s: clusters of 2^%u bytes", image_name(d), q->cluster_bits);
	q->cluster_size = 1u << q->cluster_bits;
	q->refcount_order = 4;
	q->header_len = Q2_V2_LEN;
	if (q->version == 3)
		r = parse_version3(d, h, MIN(len, q->cluster_size), e);
	if (r == 0)
		r = set_entries(d, e);
	if (r == 0)
		r = parse_compression(d, h, e);
	q->crypt = be32(h + Q2_AT_CRYPT);
	d->size = be64(h + Q2_AT_SIZE);
	d->unit = q->cluster_size;
	return r;
}

static int load_l1(struct disk *d, const uint8_t *h, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	unsigned cover_bits = q->cluster_bits + q->l2_bits;
	uint64_t need = (d->size >> cover_bits) + !!(d->size & ((UINT64_C(1) << cover_bits) - 1));
	int r = 0;

	q->l1_entries = be32(h + Q2_AT_L1_ENTRIES);
	q->l1_off = be64(h + Q2_AT_L1_OFF);
	if (q->l1_entries > Q2_L1_BYTES_MAX / 8 || need > Q2_L1_BYTES_MAX / 8)
		return err_damaged(e, "%s: the L1 table is too big", image_name(d));
	if (q->l1_entries < need)
		return err_damaged(e, "%s: an L1 table of %u entries does not cover the disk",
				   image_name(d), q->l1_entries);
	if (q->l1_entries)
		r = q2_check_table(d, q->l1_off, (uint64_t)q->l1_entries * 8, "L1 table", e);
	if (r == 0)
		r = q2_load_table(d, q->l1_off, q->l1_entries, &q->l1, e);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < q->l1_entries; i++) {
		uint64_t at = q->l1[i] & ~Q2_COPIED;

		if (at & ~Q2_OFFSET || at & (q->cluster_size - 1) || (!at && q->l1[i]))
			return err_damaged(e, "%s: L1 entry %u is not a table", image_name(d), i);
	}
	q->l1_dirty = calloc(BITMAP_WORDS((size_t)q->l1_entries) + 1, 8);
	return q->l1_dirty ? 0 : err_nomem(e);
}

static int load_reftable(struct disk *d, const uint8_t *h, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint32_t clusters = be32(h + Q2_AT_REFTABLE_CLUSTERS);
	uint64_t bytes = (uint64_t)clusters << q->cluster_bits;
	int r;

	q->reftable_off = be64(h + Q2_AT_REFTABLE_OFF);
	if (!clusters || bytes > Q2_REFTABLE_BYTES_MAX)
		return err_damaged(e, "%s: a refcount table of %u clusters", image_name(d),
				   clusters);
	r = q2_check_table(d, q->reftable_off, bytes, "refcount table", e);
	q->reftable_entries = (uint32_t)(bytes / 8);
	return r < 0 ? r : q2_load_table(d, q->reftable_off, q->reftable_entries, &q->reftable, e);
}

static int write_header(struct disk *d, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint8_t h[Q2_V3_LEN];
	int r = file_pread(disk_file(d), 0, h, sizeof(h), e);

	if (r < 0)
		return r;
	put_be64(h + Q2_AT_SIZE, d->size);
	put_be32(h + Q2_AT_L1_ENTRIES, q->l1_entries);
	put_be64(h + Q2_AT_L1_OFF, q->l1_off);
	put_be64(h + Q2_AT_REFTABLE_OFF, q->reftable_off);
	put_be32(h + Q2_AT_REFTABLE_CLUSTERS,
		 (uint32_t)((uint64_t)q->reftable_entries * 8 >> q->cluster_bits));
	put_be32(h + Q2_AT_SNAPSHOTS, q->snapshot_n);
	put_be64(h + Q2_AT_SNAPSHOTS_OFF, q->snapshots_off);
	if (q->version == 3) {
		put_be64(h + Q2_AT_INCOMPATIBLE, q->incompatible);
		put_be64(h + Q2_AT_COMPATIBLE, q->compatible);
		put_be64(h + Q2_AT_AUTOCLEAR, q->autoclear);
	}
	return file_pwrite(disk_file(d), 0, h, q->version == 3 ? Q2_V3_LEN : Q2_V2_LEN, e);
}

int q2_publish_header(struct disk *d, struct err *e)
{
	int r = write_header(d, e);

	if (r == 0)
		r = file_sync(disk_file(d), e);
	qcow2_of(d)->header_doubt = r < 0;
	return r;
}

/*
 * Before the first change: what unknown autoclear bits vouch for would become wrong, so the bits
 * go; bitmaps are marked as in use; and after a crash with lazy refcounts these are made right.
 */
static int prepare_to_write(struct disk *d, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t keep = Q2_BITMAPS | (q->data_file ? Q2_DATA_RAW : 0);
	int r = 0;

	if (!d->writable)
		return 0;
	if (q->incompatible & Q2_CORRUPT && !(d->flags & DISK_FOR_REPAIR)) {
		r = err_damaged(e, "%s is marked as corrupt and can only be read", image_name(d));
		err_hint(e, "copy it to a new image, or check and repair it");
		return r;
	}
	if (q->autoclear & ~keep) {
		q->autoclear &= keep;
		r = q2_publish_header(d, e);
	}
	if (r == 0)
		r = q2_bitmaps_begin(d, e);
	if (r == 0 && q->incompatible & Q2_DIRTY && !(d->flags & DISK_FOR_REPAIR))
		r = q2_rebuild(d, e);
	return r;
}

/* Damaged ones are given up when the image is opened to be repaired. */
static int load_bitmaps(struct disk *d, struct err *e)
{
	int r = q2_bitmaps_load(d, e);

	if (r == 0 || r == -ENOMEM || !(d->flags & DISK_FOR_REPAIR))
		return r;
	dirty_free_all(d);
	qcow2_of(d)->autoclear &= ~(uint64_t)Q2_BITMAPS;
	return 0;
}

int q2_open(struct disk *d, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	size_t len = MIN(file_size(disk_file(d)), 2 * MiB);
	autofree uint8_t *h = calloc(1, len + Q2_V3_LEN + 8);
	int r;

	list_init(&q->slices);
	list_init(&q->dirty);
	if (!h)
		return err_nomem(e);
	r = file_pread(disk_file(d), 0, h, len, e);
	if (r < 0)
		return r;
	if (len < Q2_V2_LEN || be32(h) != Q2_MAGIC_VALUE)
		return err_damaged(e, "%s is not a qcow2 image", image_name(d));
	r = parse_fixed(d, h, len, e);
	if (r == 0)
		r = q2_parse_extensions(d, h, len, e);
	if (r == 0)
		r = q2_parse_backing(d, h, len, e);
	if (r == 0)
		r = q2_crypt_open(d, e);
	if (r == 0)
		r = open_data_file(d, e);
	if (r == 0)
		r = load_l1(d, h, e);
	if (r == 0)
		r = load_reftable(d, h, e);
	if (r == 0)
		r = q2_cache_init(d, e);
	q->snapshot_n = be32(h + Q2_AT_SNAPSHOTS);
	q->snapshots_off = be64(h + Q2_AT_SNAPSHOTS_OFF);
	if (r == 0)
		r = q2_snapshots_load(d, e);
	if (r == 0)
		r = load_bitmaps(d, e);
	if (r == 0 && d->backing_name)
		r = disk_need_backing(d, e);
	return r < 0 ? r : prepare_to_write(d, e);
}

void q2_close(struct disk *d)
{
	struct qcow2 *q = qcow2_of(d);

	q2_cache_free(q);
	q2_snapshots_free(q);
	q2_extensions_free(q);
	free(q->l1);
	free(q->l1_dirty);
	free(q->l1_changed);
	free(q->reftable);
	free(q->ref_changed);
	free(q->let_go);
}
