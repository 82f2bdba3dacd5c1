/*
 * COW: a bitmap of sectors over a backing image, data at fixed places. Two programs share the
 * magic "OOOM" and little else:
 *
 * - version 2 of QEMU (block/cow.c, which QEMU dropped later): big-endian, sectors of 512 bytes,
 *   read and written;
 * - version 3 of User Mode Linux (Linux, arch/um/drivers/cow_user.c): big-endian, read.
 *
 * The version 2 of User Mode Linux has its fields elsewhere and is told apart by what they hold.
 * No image records the format of its backing image.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/tables.h"

enum { MAGIC = 0x4f4f4f4d, AT_VERSION = 4 };

enum { /* version 2 of QEMU */
       Q_AT_BACKING = 8,
       Q_BACKING_LEN = 1024,
       Q_AT_SIZE = 1040,
       Q_AT_SECTOR = 1048,
       Q_HEADER_LEN = 1056,
};

enum { /* version 3 of User Mode Linux */
       U_AT_SIZE = 12,
       U_AT_SECTOR = 20,
       U_AT_ALIGN = 24,
       U_AT_FORMAT = 28,
       U_AT_BACKING = 32,
       U_BACKING_LEN = 4096,
       U_HEADER_LEN = 4128,
       U_PADDING = 4, /* what 64-bit programs before 2005 had behind the time */
};

struct cow {
	struct table bitmap;
	struct tables tables;
	uint64_t data_off, sectors;
	uint32_t sector, version;
};

static struct cow *cow_of(struct disk *d)
{
	return d->priv;
}

static bool cow_probe(const struct probe *p)
{
	return p->head_len >= Q_HEADER_LEN && be32(p->head) == MAGIC &&
	       (be32(p->head + AT_VERSION) == 2 || be32(p->head + AT_VERSION) == 3);
}

static int take_backing(struct disk *d, const uint8_t *name, size_t room, struct err *e)
{
	size_t n = strnlen((const char *)name, room);

	if (!n)
		return 0;
	if (n == room)
		return err_damaged(e, "%s: the name of the backing image has no end",
				   disk_file(d)->name);
	d->backing_name = strndup((const char *)name, n);
	return d->backing_name ? disk_need_backing(d, e) : err_nomem(e);
}

/* Where bitmap and data are, from numbers that are in range. */
static int set_layout(struct disk *d, uint64_t bitmap_off, uint64_t align, struct err *e)
{
	struct cow *c = cow_of(d);

	c->sectors = d->size / c->sector + !!(d->size % c->sector);
	c->bitmap.off = bitmap_off;
	c->bitmap.len = c->sectors / 8 + !!(c->sectors % 8);
	c->data_off = round_up(bitmap_off + c->bitmap.len, align);
	d->unit = c->sector;
	if (c->sectors && !file_has(disk_file(d), bitmap_off, c->bitmap.len))
		return err_damaged(e, "%s: the bitmap of %llu bytes is past the end of the file",
				   disk_file(d)->name, (unsigned long long)c->bitmap.len);
	return tables_init(d, &c->tables, e);
}

static int bad_geometry(struct disk *d, struct err *e)
{
	return err_damaged(e, "%s: a disk of %llu bytes in sectors of %u", disk_file(d)->name,
			   (unsigned long long)d->size, cow_of(d)->sector);
}

static int open_qemu(struct disk *d, const uint8_t *h, struct err *e)
{
	struct cow *c = cow_of(d);
	int r;

	d->size = be64(h + Q_AT_SIZE);
	c->sector = be32(h + Q_AT_SECTOR);
	/* The other version 2 has part of a long name there. */
	if (c->sector != 512) {
		r = err_lacking(e, "%s: this COW image is not QEMU's version 2",
				disk_file(d)->name);
		err_hint(e, "images of User Mode Linux are read from version 3 on: uml_moo them");
		return r;
	}
	if (d->size > INT64_MAX / 2)
		return bad_geometry(d, e);
	r = set_layout(d, Q_HEADER_LEN, 512, e);
	return r < 0 ? r : take_backing(d, h + Q_AT_BACKING, Q_BACKING_LEN, e);
}

static int open_uml(struct disk *d, const uint8_t *h, struct err *e)
{
	struct cow *c = cow_of(d);
	uint32_t align, format;
	uint64_t header = U_HEADER_LEN;
	int r;

	if (!be32(h + U_AT_BACKING)) {
		h += U_PADDING;
		header += U_PADDING;
	}
	d->size = be64(h + U_AT_SIZE);
	c->sector = be32(h + U_AT_SECTOR);
	align = be32(h + U_AT_ALIGN);
	format = be32(h + U_AT_FORMAT);
	if (!is_pow2(c->sector) || c->sector < 512 || c->sector > MiB || d->size > INT64_MAX / 2)
		return bad_geometry(d, e);
	if (!is_pow2(align) || align > MiB || format)
		return err_damaged(e, "%s: an alignment of %u, format %u", disk_file(d)->name,
				   align, format);
	if (d->writable) {
		r = err_lacking(e, "%s: COW images of User Mode Linux can only be read",
				disk_file(d)->name);
		err_hint(e, "open it read-only, or convert it");
		return r;
	}
	r = set_layout(d, round_up(header, align), align, e);
	return r < 0 ? r : take_backing(d, h + U_AT_BACKING, U_BACKING_LEN, e);
}

static int cow_open(struct disk *d, struct err *e)
{
	struct cow *c = cow_of(d);
	autofree uint8_t *h = calloc(1, U_HEADER_LEN + U_PADDING);
	int r;

	if (!h)
		return err_nomem(e);
	r = file_pread(disk_file(d), 0, h, U_HEADER_LEN + U_PADDING, e);
	if (r < 0)
		return r;
	c->version = be32(h + AT_VERSION);
	if (be32(h) != MAGIC)
		return err_damaged(e, "%s is not a COW image", disk_file(d)->name);
	switch (c->version) {
	case 2: return open_qemu(d, h, e);
	case 3: return open_uml(d, h, e);
	default:
		return err_lacking(e, "%s: version %u of COW is not known", disk_file(d)->name,
				   c->version);
	}
}

static void cow_close(struct disk *d)
{
	tables_free(&cow_of(d)->tables);
}

/* Bits are counted from the lowest of each byte. How many in a row, from `first` on, are alike? */
static uint64_t run_of_bits(const uint8_t *p, unsigned first, uint64_t max, bool *set)
{
	uint64_t i = first, end = first + max;

	*set = p[0] >> first & 1;
	while (i < end) {
		if (i % 8 == 0 && end - i >= 8 && p[i / 8] == (*set ? 0xff : 0)) {
			i += 8;
			continue;
		}
		if ((p[i / 8] >> (i % 8) & 1) != *set)
			break;
		i++;
	}
	return i - first;
}

static int cow_map(struct disk *d, uint64_t off, uint64_t want, struct extent *x, struct err *e)
{
	struct cow *c = cow_of(d);
	uint64_t sector = off / c->sector, in = off % c->sector, n;
	uint64_t need = (in + want) / c->sector + 1;
	struct table_piece p;
	bool set;
	int r = tables_get(d, &c->tables, &c->bitmap, sector / 8, &p, e);

	if (r < 0)
		return r;
	n = MIN((uint64_t)p.len * 8 - sector % 8, need);
	n = run_of_bits(p.data, sector % 8, n, &set);
	x->len = n * c->sector - in;
	x->kind = set ? EXTENT_DATA : EXTENT_BACKING;
	x->off = c->data_off + off;
	x->flags = EXTENT_IN_PLACE;
	if (set && !file_has(disk_file(d), x->off, 1))
		return err_damaged(e,
				   "%s: sector %llu is said to be in the file, which ends before",
				   disk_file(d)->name, (unsigned long long)sector);
	/* A stretch that ends past the end of the file: its last part is asked for by itself. */
	if (set && !file_has(disk_file(d), x->off, MIN(x->len, want)))
		x->len = round_up(file_size(disk_file(d)) - x->off, 512);
	return 0;
}

/* ---- writing: version 2 only ---- */

/* Bits that one page holds, so that commit() is one page, too. */
static int cow_alloc(struct disk *d, uint64_t off, uint64_t want, struct extent *x, struct err *e)
{
	struct cow *c = cow_of(d);
	uint64_t in = off % c->sector, n, used;
	struct extent now = { 0 };
	int r;

	if (x->kind != EXTENT_DATA)
		return -ENOTSUP;
	r = cow_map(d, off, want, &now, e);
	if (r < 0)
		return r;
	n = MIN(want, now.len);
	used = in + n;
	x->off = c->data_off + off - in;
	x->head = (uint32_t)in;
	x->len = n;
	x->tail = (uint32_t)(round_up(used, c->sector) - used);
	return 0;
}

static int cow_commit(struct disk *d, uint64_t off, const struct extent *x, struct err *e)
{
	struct cow *c = cow_of(d);
	uint64_t first = off / c->sector, n = (x->head + x->len + x->tail) / c->sector;
	struct table_piece p;
	int r = tables_get(d, &c->tables, &c->bitmap, first / 8, &p, e);

	if (r < 0)
		return r;
	for (uint64_t i = first % 8; i < first % 8 + n; i++)
		p.data[i / 8] |= (uint8_t)(1u << (i % 8));
	tables_dirty(d, &c->tables, &p, p.data, (first % 8 + n + 7) / 8);
	return 0;
}

static void cow_abandon(struct disk *d, uint64_t off, const struct extent *x)
{
	(void)d;
	(void)off;
	(void)x;
}

static int cow_zero(struct disk *d, uint64_t off, uint64_t *len, bool unmap, struct err *e)
{
	struct extent x = { 0 };
	int r = cow_map(d, off, *len, &x, e);

	if (r < 0)
		return r;
	*len = MIN(*len, x.len);
	if (x.kind == EXTENT_DATA)
		return file_zero(disk_file(d), x.off, *len, unmap, e);
	return d->backing || d->backing_name ? -ENOTSUP : 0;
}

static int cow_discard(struct disk *d, uint64_t off, uint64_t *len, struct err *e)
{
	int r = cow_zero(d, off, len, true, e);

	return r == -ENOTSUP ? 0 : r;
}

static int cow_flush(struct disk *d, struct err *e)
{
	return tables_flush(d, &cow_of(d)->tables, NULL, e);
}

/*
 * The data begins where the bitmap ends: only as long as that stays the same can the disk change
 * its size. Bits of sectors that are cut off are cleared.
 */
static int cow_resize(struct disk *d, uint64_t size, struct err *e)
{
	struct cow *c = cow_of(d);
	uint64_t sectors = size / 512 + !!(size % 512), bytes = sectors / 8 + !!(sectors % 8);
	uint8_t b[8];
	int r = 0;

	if (c->version != 2 || round_up(Q_HEADER_LEN + bytes, 512) != c->data_off)
		return err_set(e, -ENOTSUP,
			       "%s: in a COW image the bitmap has no room for a disk of %llu bytes",
			       disk_file(d)->name, (unsigned long long)size);
	put_be64(b, size);
	for (uint64_t i = sectors; r == 0 && i < c->sectors; i++) {
		struct table_piece p;

		r = tables_get(d, &c->tables, &c->bitmap, i / 8, &p, e);
		if (r == 0 && p.data[0] >> (i % 8) & 1) {
			p.data[0] &= (uint8_t) ~(1u << (i % 8));
			tables_dirty(d, &c->tables, &p, p.data, 1);
		}
	}
	if (r == 0)
		r = cow_flush(d, e);
	if (r == 0)
		r = file_pwrite(disk_file(d), Q_AT_SIZE, b, sizeof(b), e);
	if (r == 0)
		r = file_sync(disk_file(d), e);
	if (r < 0)
		return r;
	pages_forget(&c->tables.rank[TABLE_INNER], 0, 0, Q_HEADER_LEN);
	d->size = size;
	c->sectors = sectors;
	c->bitmap.len = bytes;
	return 0;
}

static int clear_beyond(struct disk *d, uint64_t sector, struct err *e)
{
	struct cow *c = cow_of(d);
	struct table_piece p;
	int r = tables_get(d, &c->tables, &c->bitmap, sector / 8, &p, e);

	if (r < 0)
		return r;
	p.data[0] &= (uint8_t) ~(1u << (sector % 8));
	tables_dirty(d, &c->tables, &p, p.data, 1);
	return 0;
}

/* Sectors that are marked and not there: after a power cut of somebody who wrote the mark first. */
static int cow_check(struct disk *d, unsigned repair, struct disk_check *k, struct err *e)
{
	struct cow *c = cow_of(d);
	int r = 0;

	k->units = c->sectors;
	for (uint64_t off = 0; r == 0 && off < d->size;) {
		struct extent x = { 0 };
		struct err why;

		if (cow_map(d, off, d->size - off, &x, &why) == 0) {
			k->units_used += x.kind == EXTENT_DATA ? x.len / c->sector : 0;
			off += x.len;
			continue;
		}
		k->corruptions++;
		disk_finding(k, "%s", why.msg);
		if (repair == DISK_REPAIR_ALL) {
			r = clear_beyond(d, off / c->sector, e);
			k->corruptions_fixed += r == 0;
		}
		off += c->sector;
	}
	return r < 0 || !repair ? r : cow_flush(d, e);
}

static void cow_info(struct disk *d, struct disk_info *i)
{
	snprintf(i->detail, sizeof(i->detail), "version=%u\n", cow_of(d)->version);
}

static int cow_create(struct file *f, const struct create_args *a, struct err *e)
{
	uint64_t sectors = a->size / 512 + !!(a->size % 512);
	uint8_t h[Q_HEADER_LEN] = { 0 };
	int r;

	if (a->backing && strlen(a->backing) >= Q_BACKING_LEN)
		return err_set(e, -ENAMETOOLONG, "the name of the backing image is too long");
	put_be32(h, MAGIC);
	put_be32(h + AT_VERSION, 2);
	put_be64(h + Q_AT_SIZE, a->size);
	put_be32(h + Q_AT_SECTOR, 512);
	if (a->backing)
		memcpy(h + Q_AT_BACKING, a->backing, strlen(a->backing));
	r = file_truncate(f, round_up(Q_HEADER_LEN + (sectors + 7) / 8, 512), e);
	return r < 0 ? r : file_pwrite(f, 0, h, sizeof(h), e);
}

extern const struct disk_format cow_format;
const struct disk_format cow_format = {
	.name = "cow",
	.doc = "sectors over a backing image: QEMU's old one, and User Mode Linux's to read",
	.priv_size = sizeof(struct cow),
	.probes_backing = true,
	.probe = cow_probe,
	.open = cow_open,
	.close = cow_close,
	.map = cow_map,
	.alloc = cow_alloc,
	.commit = cow_commit,
	.abandon = cow_abandon,
	.zero = cow_zero,
	.discard = cow_discard,
	.flush = cow_flush,
	.create = cow_create,
	.resize = cow_resize,
	.check = cow_check,
	.info = cow_info,
};
