/*
 * Making a qcow2 image: header, refcount table, refcount blocks, an empty L1 table, in this order
 * from the start of the file. The file is new and nobody reads it before it is complete.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "storage/luks.h"
#include "storage/qcow2.h"

enum {
	OPT_CLUSTER_SIZE,
	OPT_COMPAT,
	OPT_REFCOUNT_BITS,
	OPT_LAZY,
	OPT_COMPRESSION,
	OPT_CRYPT,
	OPT_ITERATIONS,
	OPT_EXTENDED,
	OPT_DATA_FILE,
	OPT_DATA_RAW,
	OPTS
};

const struct format_option q2_options[] = {
	[OPT_CLUSTER_SIZE] = { "cluster_size", "64K",
			       "bytes in which space is allocated, 512..2M" },
	[OPT_COMPAT] = { "compat", "1.1", "1.1 (version 3) or 0.10 (version 2)" },
	[OPT_REFCOUNT_BITS] = { "refcount_bits", "16", "width of a refcount: 1, 2, 4 ... 64" },
	[OPT_LAZY] = { "lazy_refcounts", "off", "whether other writers may postpone refcounts" },
	[OPT_COMPRESSION] = { "compression_type", "zlib", "zlib or zstd" },
	[OPT_CRYPT] = { "encrypt.format", "off", "off, luks, or aes (old and weak)" },
	[OPT_ITERATIONS] = { "encrypt.iterations", "0",
			     "work of one try of the passphrase; 0: about a second" },
	[OPT_EXTENDED] = { "extended_l2", "off", "on: 32 pieces in a cluster of 16K or more" },
	[OPT_DATA_FILE] = { "data_file", "",
			    "name of a file beside the image that holds the data" },
	[OPT_DATA_RAW] = { "data_file_raw", "off", "on: that file is the disk, byte for byte" },
	[OPTS] = { NULL, NULL, NULL },
};

struct plan {
	uint32_t version, cluster_bits, refcount_order, compression;
	bool lazy, extended, data_raw;
	const char *data_file; /* NULL: none */
	uint32_t crypt;
	uint64_t iterations;
	uint8_t *luks; /* the header; owned */
	size_t luks_len;
	uint64_t l1_entries;
	/* In clusters: how many of each, and of all. They lie in this order. */
	uint64_t table, blocks, l1, luks_n, clusters;
};

static int bad_value(const char *name, const char *v, struct err *e)
{
	return err_set(e, -EINVAL, "%s cannot be \"%.40s\"", name, v);
}

static int parse_switch(const char *name, const char *v, bool *ret, struct err *e)
{
	*ret = !strcmp(v, "on");
	return *ret || !strcmp(v, "off") ? 0 : bad_value(name, v, e);
}

static int parse_crypt(const struct create_args *a, struct plan *p, struct err *e)
{
	const char *v = a->values[OPT_CRYPT], *n = a->values[OPT_ITERATIONS];

	if (!strcmp(v, "luks"))
		p->crypt = Q2_CRYPT_LUKS;
	else if (!strcmp(v, "aes"))
		p->crypt = Q2_CRYPT_AES;
	else if (strcmp(v, "off"))
		return bad_value("encrypt.format", v, e);
	if (p->crypt && !a->secret)
		return err_secret(e, "an encrypted image needs a passphrase");
	if (!size_parse(n, &p->iterations) || p->iterations > LUKS_ITERATIONS_MAX)
		return bad_value("encrypt.iterations", n, e);
	return 0;
}

static int parse_data_file(const struct create_args *a, struct plan *p, struct err *e)
{
	const char *name = a->values[OPT_DATA_FILE];
	int r = parse_switch("data_file_raw", a->values[OPT_DATA_RAW], &p->data_raw, e);

	if (r == 0)
		r = parse_switch("extended_l2", a->values[OPT_EXTENDED], &p->extended, e);
	if (r < 0)
		return r;
	if (p->extended && (p->version < 3 || p->cluster_bits < 14))
		return err_set(e, -EINVAL,
			       "extended_l2 needs version 3 and clusters of at least 16K");
	p->data_file = *name ? name : NULL;
	if (p->data_raw && (!p->data_file || a->backing))
		return err_set(e, -EINVAL,
			       "data_file_raw needs a data file and goes with no backing image");
	if (!p->data_file)
		return 0;
	if (p->version < 3 || p->crypt || strchr(name, '/') || strlen(name) > 255)
		return err_set(e, -EINVAL,
			       "a data file needs version 3, no encryption, and a plain name");
	if (!a->more)
		return err_set(e, -EINVAL, "there is no place for a second file");
	return 0;
}

/* Empty and as long as the disk, so that it can be read as one. */
static int make_data_file(const struct create_args *a, const struct plan *p, struct err *e)
{
	struct file *f;
	int r;

	if (!p->data_file)
		return 0;
	r = a->more(a->arg, p->data_file, &f, e);
	if (r < 0)
		return r;
	r = file_truncate(f, a->size, e);
	if (r == 0)
		r = file_sync(f, e);
	file_close(f);
	return r;
}

static int make_luks(const struct create_args *a, struct plan *p, struct err *e)
{
	struct luks1_new n = { "aes", "xts-plain64", "sha256", 64, (uint32_t)p->iterations };
	struct luks l;
	int r;

	if (p->crypt != Q2_CRYPT_LUKS)
		return 0;
	r = luks1_make(&n, a->secret, &p->luks, &p->luks_len, &l, e);
	luks_forget(&l);
	return r;
}

static int parse_values(const struct create_args *a, struct plan *p, struct err *e)
{
	uint64_t cluster = 0, bits = 0;
	const char *const *v = a->values;

	if (!size_parse(v[OPT_CLUSTER_SIZE], &cluster) || !is_pow2(cluster) || cluster < 512 ||
	    cluster > 2 * MiB)
		return bad_value("cluster_size", v[OPT_CLUSTER_SIZE], e);
	p->cluster_bits = (uint32_t)__builtin_ctzll(cluster);
	if (!size_parse(v[OPT_REFCOUNT_BITS], &bits) || !is_pow2(bits) || bits > 64)
		return bad_value("refcount_bits", v[OPT_REFCOUNT_BITS], e);
	p->refcount_order = (uint32_t)__builtin_ctzll(bits);
	if (!strcmp(v[OPT_COMPAT], "1.1") || !strcmp(v[OPT_COMPAT], "v3"))
		p->version = 3;
	else if (!strcmp(v[OPT_COMPAT], "0.10") || !strcmp(v[OPT_COMPAT], "v2"))
		p->version = 2;
	else
		return bad_value("compat", v[OPT_COMPAT], e);
	if (!strcmp(v[OPT_COMPRESSION], "zstd"))
		p->compression = 1;
	else if (strcmp(v[OPT_COMPRESSION], "zlib"))
		return bad_value("compression_type", v[OPT_COMPRESSION], e);
	if (p->version == 2 && (p->refcount_order != 4 || p->compression))
		return err_set(e, -EINVAL,
			       "version 2 (compat=0.10) has 16-bit refcounts and zlib only");
	return parse_switch("lazy_refcounts", v[OPT_LAZY], &p->lazy, e);
}

/* Each of the three depends on the sum of all: up until it holds. */
static int plan_layout(uint64_t size, struct plan *p, struct err *e)
{
	uint64_t cluster = UINT64_C(1) << p->cluster_bits, before;
	uint64_t cover = UINT64_C(1) << (2 * p->cluster_bits - (p->extended ? 4 : 3));
	uint64_t per_block = cluster * 8 >> p->refcount_order, per_table = cluster / 8;

	p->l1_entries = size / cover + !!(size % cover);
	if (p->l1_entries > Q2_L1_BYTES_MAX / 8) {
		int r = err_set(e, -EINVAL, "a disk of %llu bytes needs bigger clusters",
				(unsigned long long)size);

		err_hint(e, "choose a cluster_size above %llu", (unsigned long long)cluster);
		return r;
	}
	p->l1 = (p->l1_entries * 8 + cluster - 1) / cluster;
	p->luks_n = (p->luks_len + cluster - 1) / cluster;
	p->table = p->blocks = 1;
	do {
		before = p->clusters;
		p->clusters = 1 + p->table + p->blocks + p->l1 + p->luks_n;
		p->blocks = (p->clusters + per_block - 1) / per_block;
		p->table = (p->blocks + per_table - 1) / per_table;
	} while (p->clusters != before ||
		 p->clusters != 1 + p->table + p->blocks + p->l1 + p->luks_n);
	return 0;
}

static size_t put_extension(uint8_t *h, size_t at, uint32_t type, const void *data, size_t len)
{
	put_be32(h + at, type);
	put_be32(h + at + 4, (uint32_t)len);
	memcpy(h + at + 8, data, len);
	return at + 8 + round_up(len, 8);
}

static size_t put_features(uint8_t *h, size_t at)
{
	static const struct {
		uint8_t kind, bit;
		char name[46];
	} rows[] = {
		{ 0, 0, "dirty bit" },
		{ 0, 1, "corrupt bit" },
		{ 0, 2, "external data file" },
		{ 0, 3, "compression type" },
		{ 0, 4, "extended L2 entries" },
		{ 1, 0, "lazy refcounts" },
		{ 2, 0, "bitmaps" },
		{ 2, 1, "raw external data" },
	};

	return put_extension(h, at, Q2_EXT_FEATURES, rows, sizeof(rows));
}

static int fill_header(uint8_t *h, const struct create_args *a, const struct plan *p, struct err *e)
{
	uint64_t cluster = UINT64_C(1) << p->cluster_bits;
	size_t at = Q2_V2_LEN, name = a->backing ? strlen(a->backing) : 0;

	put_be32(h, Q2_MAGIC_VALUE);
	put_be32(h + Q2_AT_VERSION, p->version);
	put_be32(h + Q2_AT_CLUSTER_BITS, p->cluster_bits);
	put_be64(h + Q2_AT_SIZE, a->size);
	put_be32(h + Q2_AT_L1_ENTRIES, (uint32_t)p->l1_entries);
	put_be32(h + Q2_AT_CRYPT, p->crypt);
	put_be64(h + Q2_AT_REFTABLE_OFF, cluster);
	put_be32(h + Q2_AT_REFTABLE_CLUSTERS, (uint32_t)p->table);
	put_be64(h + Q2_AT_L1_OFF, p->l1 ? (1 + p->table + p->blocks) * cluster : 0);
	if (p->version == 3) {
		at = Q2_V3_LEN + 8;
		put_be64(h + Q2_AT_INCOMPATIBLE, (p->compression ? Q2_COMPRESSION : 0) |
						     (p->data_file ? Q2_DATA_FILE : 0) |
						     (p->extended ? Q2_EXTENDED_L2 : 0));
		put_be64(h + Q2_AT_AUTOCLEAR, p->data_raw ? Q2_DATA_RAW : 0);
		put_be64(h + Q2_AT_COMPATIBLE, p->lazy ? Q2_LAZY : 0);
		put_be32(h + Q2_AT_REFCOUNT_ORDER, p->refcount_order);
		put_be32(h + Q2_AT_HEADER_LEN, (uint32_t)at);
		h[Q2_AT_COMPRESSION] = (uint8_t)p->compression;
	}
	if (a->backing)
		at = put_extension(h, at, (uint32_t)Q2_EXT_BACKING_FORMAT, a->backing_format,
				   strlen(a->backing_format));
	if (p->data_file)
		at = put_extension(h, at, Q2_EXT_DATA_FILE, p->data_file, strlen(p->data_file));
	if (p->luks) {
		uint8_t where[16];

		put_be64(where, (p->clusters - p->luks_n) * cluster);
		put_be64(where + 8, p->luks_len);
		at = put_extension(h, at, Q2_EXT_LUKS, where, sizeof(where));
	}
	if (p->version == 3 && at + 8 + 8 * 48 + 8 + name <= cluster)
		at = put_features(h, at);
	at += 8;
	if (name > Q2_BACKING_MAX || at + name > cluster)
		return err_set(e, -ENAMETOOLONG, "the name of the backing image is too long");
	if (name) {
		put_be64(h + Q2_AT_BACKING_OFF, at);
		put_be32(h + Q2_AT_BACKING_LEN, (uint32_t)name);
		memcpy(h + at, a->backing, name);
	}
	return 0;
}

static void fill_counts(uint8_t *blocks, const struct plan *p)
{
	unsigned bits = 1u << p->refcount_order;

	for (uint64_t i = 0; i < p->clusters; i++) {
		if (bits >= 8)
			blocks[(i + 1) * (bits / 8) - 1] = 1;
		else
			blocks[i * bits / 8] |= (uint8_t)(1u << (i * bits % 8));
	}
}

int q2_create(struct file *f, const struct create_args *a, struct err *e)
{
	struct plan p = { 0 };
	autofree uint8_t *buf = NULL;
	uint64_t cluster;
	autofree uint8_t *luks = NULL;
	int r = parse_values(a, &p, e);

	if (r == 0)
		r = parse_crypt(a, &p, e);
	if (r == 0)
		r = parse_data_file(a, &p, e);
	if (r == 0)
		r = make_luks(a, &p, e);
	luks = p.luks;
	if (r == 0)
		r = plan_layout(a->size, &p, e);
	if (r < 0)
		return r;
	if (a->backing && strlen(a->backing_format) > 63)
		return err_set(e, -EINVAL, "there is no disk format \"%.64s\"", a->backing_format);
	cluster = UINT64_C(1) << p.cluster_bits;
	buf = calloc(p.clusters + 1, cluster);
	if (!buf)
		return err_nomem(e);
	r = fill_header(buf, a, &p, e);
	for (uint64_t i = 0; i < p.blocks; i++)
		put_be64(buf + cluster + i * 8, (1 + p.table + i) * cluster);
	fill_counts(buf + (1 + p.table) * cluster, &p);
	if (luks)
		memcpy(buf + (p.clusters - p.luks_n) * cluster, luks, p.luks_len);
	if (r == 0)
		r = make_data_file(a, &p, e);
	return r < 0 ? r : file_pwrite(f, 0, buf, p.clusters * cluster, e);
}
