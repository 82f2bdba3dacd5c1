/*
 * qcow, version 1: QEMU's first image format, with backing images, compression and AES. All
 * numbers in the file are big-endian. There is no document; libqcow's "QEMU Copy-On-Write file
 * format" describes it, section "qcow version 1".
 *
 * Space is taken from the end of the file and never given back: a cluster that was compressed and
 * is written again leaves its stream behind.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "storage/crypt.h"
#include "storage/two_level.h"

enum {
	MAGIC = 0x514649fb,
	AT_VERSION = 4,
	AT_BACKING_OFF = 8,
	AT_BACKING_LEN = 16,
	AT_MTIME = 20,
	AT_SIZE = 24,
	AT_CLUSTER_BITS = 32,
	AT_L2_BITS = 33,
	AT_CRYPT = 36,
	AT_L1 = 40,
	HEADER_LEN = 48,
};

enum { CLUSTER_BITS_MIN = 9, CLUSTER_BITS_MAX = 16, L2_BITS_MIN = 6, L2_BITS_MAX = 13 };
enum { BACKING_MAX = 1023, KEY_LEN = 16 };

#define COMPRESSED (UINT64_C(1) << 63)
#define L1_MAX     (4 * MiB) /* entries; the 32 MiB of QEMU */

struct qcow {
	struct two_level map;
	uint32_t crypt;
};

static struct qcow *qcow_of(struct disk *d)
{
	return d->priv;
}

static bool qcow_probe(const struct probe *p)
{
	return p->head_len >= HEADER_LEN && be32(p->head) == MAGIC &&
	       be32(p->head + AT_VERSION) == 1;
}

static int classify_stream(struct disk *d, uint64_t entry, uint64_t off, struct extent *x,
			   struct err *e)
{
	struct two_level *t = &qcow_of(d)->map;
	unsigned shift = 63 - t->cluster_bits;

	x->kind = EXTENT_COMPRESSED;
	x->codec = CODEC_DEFLATE;
	x->stored = (uint32_t)((entry & ~COMPRESSED) >> shift);
	x->off = entry & ((UINT64_C(1) << shift) - 1);
	x->unit = (uint32_t)two_level_cluster(t);
	x->unit_off = round_down(off, x->unit);
	if (x->stored && x->off >= t->first && file_has(disk_file(d), x->off, x->stored) &&
	    !ranges_overlap(x->off, x->stored, t->l1.off, t->l1.len))
		return 0;
	return err_damaged(
	    e,
	    "%s: the stream for byte %llu of the disk, %u bytes at byte %llu, is not "
	    "in the file",
	    disk_file(d)->name, (unsigned long long)off, x->stored, (unsigned long long)x->off);
}

static int qcow_classify(struct disk *d, uint64_t entry, uint64_t off, struct extent *x,
			 struct err *e)
{
	struct qcow *q = qcow_of(d);
	int r;

	if (entry & COMPRESSED)
		return classify_stream(d, entry, off, x, e);
	r = two_level_check_cluster(d, &q->map, entry, off, e);
	x->kind = EXTENT_DATA;
	x->flags = EXTENT_IN_PLACE | (q->crypt ? EXTENT_SEALED : 0);
	x->off = entry + (off & (two_level_cluster(&q->map) - 1));
	x->seal = off;
	return r;
}

static int parse_geometry(struct disk *d, const uint8_t *h, struct err *e)
{
	struct qcow *q = qcow_of(d);
	struct two_level *t = &q->map;
	uint64_t cover;

	t->cluster_bits = h[AT_CLUSTER_BITS];
	t->l2_bits = h[AT_L2_BITS];
	if (t->cluster_bits < CLUSTER_BITS_MIN || t->cluster_bits > CLUSTER_BITS_MAX)
		return err_damaged(e, "%s: clusters of 2^%u bytes", disk_file(d)->name,
				   t->cluster_bits);
	if (t->l2_bits < L2_BITS_MIN || t->l2_bits > L2_BITS_MAX)
		return err_damaged(e, "%s: tables of 2^%u entries", disk_file(d)->name, t->l2_bits);
	d->size = be64(h + AT_SIZE);
	d->unit = (uint32_t)two_level_cluster(t);
	cover = two_level_cluster(t) << t->l2_bits;
	t->l1_entries = d->size / cover + !!(d->size % cover);
	t->l1.off = be64(h + AT_L1);
	t->first = HEADER_LEN;
	t->big_endian = true;
	t->classify = qcow_classify;
	if (t->l1_entries > L1_MAX)
		return err_damaged(e, "%s: a disk of %llu bytes is too big", disk_file(d)->name,
				   (unsigned long long)d->size);
	if (t->l1.off % 8 || t->l1.off < HEADER_LEN ||
	    !file_has(disk_file(d), t->l1.off, t->l1_entries * 8))
		return err_damaged(e, "%s: the L1 table at byte %llu is not in the file",
				   disk_file(d)->name, (unsigned long long)t->l1.off);
	return 0;
}

static int parse_backing(struct disk *d, const uint8_t *h, struct err *e)
{
	uint64_t off = be64(h + AT_BACKING_OFF);
	uint32_t len = be32(h + AT_BACKING_LEN);
	int r;

	if (!off || !len)
		return 0;
	if (len > BACKING_MAX || off < HEADER_LEN || !file_has(disk_file(d), off, len))
		return err_damaged(e, "%s: the name of the backing image is not in the file",
				   disk_file(d)->name);
	r = two_level_backing_name(d, off, len, e);
	qcow_of(d)->map.first = off + len;
	return r < 0 ? r : disk_need_backing(d, e);
}

/* AES-128 in CBC over sectors of 512 bytes, numbered by their place in the disk; the key is the
 * start of the passphrase, and nothing tells a wrong one. */
static int set_cipher(struct disk *d, struct err *e)
{
	struct qcow *q = qcow_of(d);
	const struct disk_secret *s = NULL;
	uint8_t key[KEY_LEN] = { 0 };
	int r;

	if (q->crypt > 1)
		return err_lacking(e, "%s is encrypted in an unknown way (%u)", disk_file(d)->name,
				   q->crypt);
	if (!q->crypt)
		return 0;
	r = disk_need_secret(d, &s, e);
	if (r < 0 || !s)
		return r;
	memcpy(key, s->data, MIN(s->len, KEY_LEN));
	r = cipher_new("aes", "cbc-plain64", key, KEY_LEN, 512, &d->cipher, e);
	wipe(key, sizeof(key));
	return r;
}

static int qcow_open(struct disk *d, struct err *e)
{
	struct qcow *q = qcow_of(d);
	uint8_t h[HEADER_LEN];
	int r = file_pread(disk_file(d), 0, h, sizeof(h), e);

	if (r < 0)
		return r;
	if (be32(h) != MAGIC || be32(h + AT_VERSION) != 1)
		return err_damaged(e, "%s is not a qcow image of version 1", disk_file(d)->name);
	q->crypt = be32(h + AT_CRYPT);
	r = parse_geometry(d, h, e);
	if (r == 0)
		r = parse_backing(d, h, e);
	if (r == 0)
		r = set_cipher(d, e);
	return r < 0 ? r : two_level_open(d, &q->map, e);
}

static void qcow_close(struct disk *d)
{
	two_level_close(&qcow_of(d)->map);
}

static int qcow_map(struct disk *d, uint64_t off, uint64_t want, struct extent *x, struct err *e)
{
	return two_level_map(d, &qcow_of(d)->map, off, want, x, e);
}

static int alloc_stream(struct disk *d, uint64_t off, struct extent *x, struct err *e)
{
	struct two_level *t = &qcow_of(d)->map;
	uint64_t at;
	int r;

	/* The length has cluster_bits bits. An encrypted image holds no streams. */
	if (qcow_of(d)->crypt || !x->stored || x->stored >= two_level_cluster(t))
		return -ENOTSUP;
	r = two_level_room(d, t, off, x->stored, 1, &at, e);
	if (r < 0)
		return r;
	if (at >> (63 - t->cluster_bits)) {
		two_level_abandon(t, at, x->stored);
		return err_set(e, -EFBIG, "%s cannot grow any more", disk_file(d)->name);
	}
	x->off = at;
	x->len = two_level_cluster(t);
	return 0;
}

static int qcow_alloc(struct disk *d, uint64_t off, uint64_t want, struct extent *x, struct err *e)
{
	int r;

	if (x->kind == EXTENT_COMPRESSED)
		return alloc_stream(d, off, x, e);
	r = two_level_alloc(d, &qcow_of(d)->map, off, want, x, e);
	if (r == 0 && qcow_of(d)->crypt) {
		x->flags = EXTENT_SEALED;
		x->seal = off - x->head;
	}
	return r;
}

static int qcow_commit(struct disk *d, uint64_t off, const struct extent *x, struct err *e)
{
	struct two_level *t = &qcow_of(d)->map;

	if (x->kind == EXTENT_COMPRESSED)
		return two_level_set(
		    d, t, off, COMPRESSED | (uint64_t)x->stored << (63 - t->cluster_bits) | x->off,
		    e);
	return two_level_commit(d, t, off, x, e);
}

static void qcow_abandon(struct disk *d, uint64_t off, const struct extent *x)
{
	(void)off;
	two_level_abandon(&qcow_of(d)->map, x->off,
			  x->kind == EXTENT_COMPRESSED ? x->stored : x->head + x->len + x->tail);
}

static int qcow_zero(struct disk *d, uint64_t off, uint64_t *len, bool unmap, struct err *e)
{
	return two_level_zero(d, &qcow_of(d)->map, off, len, unmap, e);
}

static int qcow_discard(struct disk *d, uint64_t off, uint64_t *len, struct err *e)
{
	int r = qcow_zero(d, off, len, true, e);

	return r == -ENOTSUP ? 0 : r; /* what cannot be given back stays */
}

static int extend(struct disk *d, struct err *e)
{
	return two_level_extend(d, &qcow_of(d)->map, e);
}

static int qcow_flush(struct disk *d, struct err *e)
{
	return tables_flush(d, &qcow_of(d)->map.tables, extend, e);
}

/* A longer L1 table at the end of the file. The old one stays behind, unused. */
static int move_l1(struct disk *d, uint64_t entries, uint64_t *ret, struct err *e)
{
	struct two_level *t = &qcow_of(d)->map;
	uint64_t at = round_up(MAX(t->end, file_size(disk_file(d))), two_level_cluster(t));
	uint64_t old = t->l1_entries * 8, len = entries * 8, step;
	uint8_t buf[4096];
	int r = file_zero(disk_file(d), at, round_up(len, two_level_cluster(t)), false, e);

	for (uint64_t k = 0; r == 0 && k < old; k += step) {
		step = MIN(old - k, sizeof(buf));
		r = file_pread(disk_file(d), t->l1.off + k, buf, step, e);
		if (r == 0)
			r = file_pwrite(disk_file(d), at + k, buf, step, e);
	}
	if (r == 0)
		r = file_sync(disk_file(d), e);
	*ret = at;
	return r;
}

static int qcow_resize(struct disk *d, uint64_t size, struct err *e)
{
	struct two_level *t = &qcow_of(d)->map;
	uint64_t cover = two_level_cluster(t) << t->l2_bits, l1 = t->l1.off;
	uint64_t entries = size / cover + !!(size % cover);
	uint8_t h[HEADER_LEN];
	int r = 0;

	if (entries > L1_MAX)
		return err_set(e, -EINVAL, "%s: a disk of %llu bytes needs bigger clusters",
			       disk_file(d)->name, (unsigned long long)size);
	if (size < d->size)
		r = two_level_cut(d, t, size, e);
	if (r == 0)
		r = qcow_flush(d, e);
	if (r == 0 && entries > t->l1_entries)
		r = move_l1(d, entries, &l1, e);
	if (r == 0)
		r = file_pread(disk_file(d), 0, h, sizeof(h), e);
	if (r < 0)
		return r;
	put_be64(h + AT_SIZE, size);
	put_be64(h + AT_L1, l1);
	r = file_pwrite(disk_file(d), 0, h, sizeof(h), e);
	if (r == 0)
		r = file_sync(disk_file(d), e);
	if (r < 0)
		return r;
	/* A shorter table keeps its place; what is behind its end was emptied. */
	pages_forget(&t->tables.rank[TABLE_OUTER], 0, 0, PAGE_BYTES);
	pages_forget(&t->tables.rank[TABLE_OUTER], 0, l1, entries * 8);
	t->l1.off = l1;
	t->l1_entries = entries;
	t->l1.len = entries * 8;
	t->end = MAX(t->end, file_size(disk_file(d)));
	d->size = size;
	return 0;
}

static int qcow_check(struct disk *d, unsigned repair, struct disk_check *c, struct err *e)
{
	int r = two_level_check(d, &qcow_of(d)->map, repair, false, c, e);

	return r < 0 || !repair ? r : qcow_flush(d, e);
}

static void qcow_info(struct disk *d, struct disk_info *i)
{
	i->encrypted = qcow_of(d)->crypt;
	snprintf(i->detail, sizeof(i->detail), "l2_bits=%u\n", qcow_of(d)->map.l2_bits);
}

/* ---- create ---- */

enum { OPT_CLUSTER_SIZE, OPT_ENCRYPTION, OPTS };

static const struct format_option qcow_options[] = {
	[OPT_CLUSTER_SIZE] = { "cluster_size", "4K",
			       "bytes in which space is allocated, 512..64K" },
	[OPT_ENCRYPTION] = { "encryption", "off",
			     "whether to encipher with AES (weak: old images)" },
	[OPTS] = { NULL, NULL, NULL },
};

static int create_header(uint8_t *h, const struct create_args *a, uint64_t cluster, struct err *e)
{
	size_t name = a->backing ? strlen(a->backing) : 0;
	const char *crypt = a->values[OPT_ENCRYPTION];

	if (name > BACKING_MAX)
		return err_set(e, -ENAMETOOLONG, "the name of the backing image is too long");
	if (strcmp(crypt, "on") && strcmp(crypt, "off"))
		return err_set(e, -EINVAL, "encryption cannot be \"%.40s\"", crypt);
	put_be32(h, MAGIC);
	put_be32(h + AT_VERSION, 1);
	put_be64(h + AT_SIZE, a->size);
	h[AT_CLUSTER_BITS] = (uint8_t)__builtin_ctzll(cluster);
	/* Tables of one page; QEMU's are one cluster, and with 4 KiB that is the same. */
	h[AT_L2_BITS] = 9;
	put_be32(h + AT_CRYPT, !strcmp(crypt, "on"));
	put_be64(h + AT_L1, round_up(HEADER_LEN + name, 8));
	if (name) {
		put_be64(h + AT_BACKING_OFF, HEADER_LEN);
		put_be32(h + AT_BACKING_LEN, (uint32_t)name);
		memcpy(h + HEADER_LEN, a->backing, name);
	}
	return 0;
}

static int qcow_create(struct file *f, const struct create_args *a, struct err *e)
{
	uint8_t h[HEADER_LEN + BACKING_MAX + 8] = { 0 };
	uint64_t cluster = 0, l1, cover, entries;
	int r;

	if (!size_parse(a->values[OPT_CLUSTER_SIZE], &cluster) || !is_pow2(cluster) ||
	    cluster < 1u << CLUSTER_BITS_MIN || cluster > 1u << CLUSTER_BITS_MAX)
		return err_set(e, -EINVAL, "cluster_size cannot be \"%.40s\"",
			       a->values[OPT_CLUSTER_SIZE]);
	r = create_header(h, a, cluster, e);
	if (r < 0)
		return r;
	cover = cluster << h[AT_L2_BITS];
	entries = a->size / cover + !!(a->size % cover);
	if (entries > L1_MAX)
		return err_set(e, -EINVAL, "a disk of %llu bytes needs bigger clusters",
			       (unsigned long long)a->size);
	l1 = be64(h + AT_L1);
	r = file_truncate(f, round_up(l1 + entries * 8, 512), e);
	return r < 0 ? r : file_pwrite(f, 0, h, l1, e);
}

extern const struct disk_format qcow_format;
const struct disk_format qcow_format = {
	.name = "qcow",
	.doc = "QEMU's first image, with backing images and compression",
	.priv_size = sizeof(struct qcow),
	.options = qcow_options,
	.probes_backing = true,
	.probe = qcow_probe,
	.open = qcow_open,
	.close = qcow_close,
	.map = qcow_map,
	.alloc = qcow_alloc,
	.commit = qcow_commit,
	.abandon = qcow_abandon,
	.zero = qcow_zero,
	.discard = qcow_discard,
	.flush = qcow_flush,
	.create = qcow_create,
	.resize = qcow_resize,
	.check = qcow_check,
	.info = qcow_info,
};
