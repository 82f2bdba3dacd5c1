/*
 * cloop version 2: a disk in compressed blocks of one size, to be read (Knoppix). Big-endian; the
 * layout is in cloop.h of the kernel module. A shell script of 128 bytes, block size and number of
 * blocks, one more offset than there are blocks, then zlib streams (RFC 1950).
 */
#include <errno.h>
#include <string.h>

#include "storage/tables.h"

enum { AT_BLOCK = 128, AT_BLOCKS = 132, AT_OFFSETS = 136, HEADER_LEN = 136 };

/* The next line of the script differs from one creator to the other. */
#define SIGNATURE "#!/bin/sh\n#V2.0 Format\n"

struct cloop {
	struct tables tables;
	struct table offsets;
	uint32_t block, blocks;
};

static struct cloop *cloop_of(struct disk *d)
{
	return d->priv;
}

static bool cloop_probe(const struct probe *p)
{
	return p->head_len >= HEADER_LEN && !memcmp(p->head, SIGNATURE, strlen(SIGNATURE));
}

static int cloop_open(struct disk *d, struct err *e)
{
	struct cloop *c = cloop_of(d);
	const char *name = disk_file(d)->name;
	uint8_t h[HEADER_LEN];
	int r = file_pread(disk_file(d), 0, h, sizeof(h), e);

	if (r < 0)
		return r;
	if (memcmp(h, SIGNATURE, strlen(SIGNATURE)))
		return memcmp(h, "#!/bin/sh\n#V", 12)
			   ? err_damaged(e, "%s is not a cloop image", name)
			   : err_lacking(e,
					 "%s: cloop images of another version than 2 are not known",
					 name);
	c->block = be32(h + AT_BLOCK);
	c->blocks = be32(h + AT_BLOCKS);
	if (!c->block || c->block % 512 || c->block > UNIT_MAX)
		return err_damaged(e, "%s: blocks of %u bytes", name, c->block);
	c->offsets = (struct table){ AT_OFFSETS, 8 * ((uint64_t)c->blocks + 1), TABLE_INNER };
	if (!file_has(disk_file(d), c->offsets.off, c->offsets.len))
		return err_damaged(e, "%s: the offsets of %u blocks are past the end of the file",
				   name, c->blocks);
	d->size = (uint64_t)c->blocks * c->block;
	return tables_init(d, &c->tables, e);
}

static void cloop_close(struct disk *d)
{
	tables_free(&cloop_of(d)->tables);
}

static int offset_of(struct disk *d, uint64_t i, uint64_t *ret, struct err *e)
{
	struct cloop *c = cloop_of(d);
	struct table_piece p;
	int r = tables_get(d, &c->tables, &c->offsets, i * 8, &p, e);

	if (r == 0)
		*ret = be64(p.data);
	return r;
}

static int cloop_map(struct disk *d, uint64_t off, uint64_t want, struct extent *x, struct err *e)
{
	struct cloop *c = cloop_of(d);
	uint64_t i = off / c->block, start = 0, end = 0;
	int r = offset_of(d, i, &start, e);

	(void)want;
	if (r == 0)
		r = offset_of(d, i + 1, &end, e);
	if (r < 0)
		return r;
	if (start < c->offsets.off + c->offsets.len || end <= start ||
	    end > file_size(disk_file(d)) || end - start > 2 * (uint64_t)c->block + 1024)
		return err_damaged(e,
				   "%s: block %llu is said to be at bytes %llu to %llu of the file",
				   disk_file(d)->name, (unsigned long long)i,
				   (unsigned long long)start, (unsigned long long)end);
	x->kind = EXTENT_COMPRESSED;
	x->codec = CODEC_ZLIB;
	x->off = start;
	x->stored = (uint32_t)(end - start);
	x->unit = c->block;
	x->unit_off = i * c->block;
	x->len = c->block - off % c->block;
	return 0;
}

extern const struct disk_format cloop_format;
const struct disk_format cloop_format = {
	.name = "cloop",
	.doc = "compressed blocks, version 2; to read",
	.priv_size = sizeof(struct cloop),
	.probe = cloop_probe,
	.open = cloop_open,
	.close = cloop_close,
	.map = cloop_map,
};
