/*
 * The redologs of Bochs: "growing" images, and the "undoable" and "volatile" ones that lie over a
 * plain base. To be read. Little-endian; the layout is in Bochs' iodev/hdimage/hdimage.h.
 *
 * A catalog says where each extent is; an extent is a bitmap of its sectors and the sectors. The
 * base has no name in the file: by custom the redolog is called like it, plus ".redolog".
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/tables.h"

enum {
	AT_TYPE = 32,
	AT_SUBTYPE = 48,
	AT_VERSION = 64,
	AT_HEADER = 68,
	AT_CATALOG = 72,
	AT_BITMAP = 76,
	AT_EXTENT = 80,
	AT_SIZE_V1 = 84,
	AT_SIZE_V2 = 88,
	HEADER_LEN = 512,
};

enum { NONE = -1, CATALOG_MAX = 1 << 20, EXTENT_MAX = 8 << 20 };

#define MAGIC "Bochs Virtual HD Image"

struct bochs {
	struct tables tables;
	struct table catalog;
	uint64_t base;           /* of extent 0 */
	uint64_t bitmap, extent; /* bytes of each */
	uint64_t bitmap_sectors, extent_sectors;
	bool over_base;
};

static struct bochs *bochs_of(struct disk *d)
{
	return d->priv;
}

/* The strings fill their fields, or end with a NUL. */
static bool field_is(const uint8_t *p, size_t room, const char *text)
{
	size_t n = strlen(text);

	return n <= room && !memcmp(p, text, n) && (n == room || !p[n]);
}

static bool bochs_probe(const struct probe *p)
{
	return p->head_len >= HEADER_LEN && field_is(p->head, 32, MAGIC) &&
	       field_is(p->head + AT_TYPE, 16, "Redolog");
}

static int parse_geometry(struct disk *d, const uint8_t *h, struct err *e)
{
	struct bochs *b = bochs_of(d);
	const char *name = disk_file(d)->name;
	uint32_t version = le32(h + AT_VERSION), entries = le32(h + AT_CATALOG);

	if (version != 0x10000 && version != 0x20000)
		return err_lacking(e, "%s: version %#x of Bochs' images is not known", name,
				   version);
	b->bitmap = le32(h + AT_BITMAP);
	b->extent = le32(h + AT_EXTENT);
	if (b->extent < 512 || b->extent % 512 || b->extent > EXTENT_MAX)
		return err_damaged(e, "%s: extents of %llu bytes", name,
				   (unsigned long long)b->extent);
	if (!b->bitmap || b->bitmap > EXTENT_MAX || b->bitmap * 8 < b->extent / 512)
		return err_damaged(e, "%s: bitmaps of %llu bytes for extents of %llu", name,
				   (unsigned long long)b->bitmap, (unsigned long long)b->extent);
	if (entries > CATALOG_MAX)
		return err_damaged(e, "%s: a catalog of %u extents", name, entries);
	b->catalog = (struct table){ le32(h + AT_HEADER), 4 * (uint64_t)entries, TABLE_INNER };
	if (b->catalog.off < 96 || b->catalog.off % 4 ||
	    !file_has(disk_file(d), b->catalog.off, b->catalog.len))
		return err_damaged(e, "%s: the catalog of %u extents is not in the file", name,
				   entries);
	b->bitmap_sectors = (b->bitmap + 511) / 512;
	b->extent_sectors = b->extent / 512;
	b->base = b->catalog.off + b->catalog.len;
	d->size = le64(h + (version == 0x10000 ? AT_SIZE_V1 : AT_SIZE_V2));
	if (d->size > entries * b->extent)
		return err_damaged(e, "%s: the catalog does not cover a disk of %llu bytes", name,
				   (unsigned long long)d->size);
	return 0;
}

/* BASE.redolog is over BASE; another name is for the caller to explain. */
static int open_base(struct disk *d, struct err *e)
{
	const char *name = disk_file(d)->name, *slash = strrchr(name, '/');
	const char *last = slash ? slash + 1 : name;
	size_t n = strlen(last), suffix = strlen(".redolog");

	if (n > suffix && !strcmp(last + n - suffix, ".redolog")) {
		d->backing_name = strndup(last, n - suffix);
		d->backing_format = strdup("raw");
		if (!d->backing_name || !d->backing_format)
			return err_nomem(e);
	}
	return disk_need_backing(d, e);
}

static int bochs_open(struct disk *d, struct err *e)
{
	struct bochs *b = bochs_of(d);
	uint8_t h[HEADER_LEN];
	int r = file_pread(disk_file(d), 0, h, sizeof(h), e);

	if (r < 0)
		return r;
	if (!field_is(h, 32, MAGIC) || !field_is(h + AT_TYPE, 16, "Redolog"))
		return err_damaged(e, "%s is not a redolog of Bochs", disk_file(d)->name);
	b->over_base =
	    field_is(h + AT_SUBTYPE, 16, "Undoable") || field_is(h + AT_SUBTYPE, 16, "Volatile");
	if (!b->over_base && !field_is(h + AT_SUBTYPE, 16, "Growing"))
		return err_lacking(e, "%s: a redolog of the kind \"%.16s\" is not known",
				   disk_file(d)->name, (const char *)h + AT_SUBTYPE);
	r = parse_geometry(d, h, e);
	if (r == 0)
		r = tables_init(d, &b->tables, e);
	return r == 0 && b->over_base ? open_base(d, e) : r;
}

static void bochs_close(struct disk *d)
{
	tables_free(&bochs_of(d)->tables);
}

/* Where an extent's bitmap is; the sectors follow it. */
static int find_extent(struct disk *d, uint64_t i, uint64_t *at, struct err *e)
{
	struct bochs *b = bochs_of(d);
	uint64_t size = 512 * (b->bitmap_sectors + b->extent_sectors);
	struct table_piece p;
	int r = tables_get(d, &b->tables, &b->catalog, i * 4, &p, e);
	uint32_t entry;

	if (r < 0)
		return r;
	entry = le32(p.data);
	*at = 0;
	if (entry == (uint32_t)NONE)
		return 0;
	*at = b->base + entry * size;
	/* The last sectors may be missing. */
	if (file_has(disk_file(d), *at, b->bitmap_sectors * 512))
		return 0;
	return err_damaged(e, "%s: extent %llu is said to be number %u of the file, past its end",
			   disk_file(d)->name, (unsigned long long)i, entry);
}

static int bochs_map(struct disk *d, uint64_t off, uint64_t want, struct extent *x, struct err *e)
{
	struct bochs *b = bochs_of(d);
	uint64_t in = off % b->extent, sector = in / 512, at, n = 1;
	struct table bitmap = { .rank = TABLE_OUTER };
	struct table_piece p;
	bool set;
	int r = find_extent(d, off / b->extent, &at, e);

	if (r < 0)
		return r;
	x->kind = b->over_base ? EXTENT_BACKING : EXTENT_ZERO;
	x->len = b->extent - in;
	if (!at)
		return 0;
	bitmap.off = at;
	bitmap.len = b->bitmap;
	r = tables_get(d, &b->tables, &bitmap, sector / 8, &p, e);
	if (r < 0)
		return r;
	set = p.data[0] >> (sector % 8) & 1;
	while (n * 512 < want && sector + n < b->extent_sectors &&
	       (sector + n) / 8 - sector / 8 < p.len &&
	       (p.data[(sector + n) / 8 - sector / 8] >> ((sector + n) % 8) & 1) == set)
		n++;
	x->len = n * 512 - in % 512;
	if (!set)
		return 0;
	x->kind = EXTENT_DATA;
	x->off = at + b->bitmap_sectors * 512 + in;
	if (!file_has(disk_file(d), x->off, 1))
		return err_damaged(e,
				   "%s: the sector at byte %llu of the disk is past the end of "
				   "the file",
				   disk_file(d)->name, (unsigned long long)off);
	return 0;
}

static void bochs_info(struct disk *d, struct disk_info *i)
{
	struct bochs *b = bochs_of(d);

	snprintf(i->detail, sizeof(i->detail), "kind=%s\nextent_size=%llu\n",
		 b->over_base ? "undoable or volatile" : "growing", (unsigned long long)b->extent);
}

extern const struct disk_format bochs_format;
const struct disk_format bochs_format = {
	.name = "bochs",
	.doc = "redologs of Bochs, growing or over a base; to read",
	.priv_size = sizeof(struct bochs),
	.probe = bochs_probe,
	.open = bochs_open,
	.close = bochs_close,
	.map = bochs_map,
	.info = bochs_info,
};
