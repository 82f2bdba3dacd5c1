/* VHDX: the metadata of a disk (the spec, 2.6): its size, blocks, sectors. Called at open. */
#include <errno.h>
#include <stdlib.h>

#include "storage/vhdx.h"

enum { ITEMS_MAX = 2047, TABLE = 64 << 10, ENTRY = 32, LOCATOR_MAX = 64 << 10 };
enum { ITEM_IS_USER = 1, ITEM_IS_DISK = 2, ITEM_IS_REQUIRED = 4 };

static const struct {
	uint8_t guid[GUID_BYTES];
	uint32_t flags, len; /* len 0: any */
} items[ITEMS] = {
	[ITEM_FILE] = { { 0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0,
			  0xaa, 0x44, 0xe7, 0x6b },
			ITEM_IS_REQUIRED,
			8 },
	[ITEM_SIZE] = { { 0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe,
			  0xd8, 0x3b, 0xf4, 0xb8 },
			ITEM_IS_DISK | ITEM_IS_REQUIRED,
			8 },
	[ITEM_LOGICAL] = { { 0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47, 0xba, 0x47, 0xf2, 0x33,
			     0xa8, 0xfa, 0xab, 0x5f },
			   ITEM_IS_DISK | ITEM_IS_REQUIRED,
			   4 },
	[ITEM_PHYSICAL] = { { 0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44, 0x9c, 0xc9, 0xe9,
			      0x88, 0x52, 0x51, 0xc5, 0x56 },
			    ITEM_IS_DISK | ITEM_IS_REQUIRED,
			    4 },
	[ITEM_DISK_ID] = { { 0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45, 0x93, 0xef, 0xc3, 0x09,
			     0xe0, 0x00, 0xc7, 0x46 },
			   ITEM_IS_DISK | ITEM_IS_REQUIRED,
			   16 },
	[ITEM_LOCATOR] = { { 0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45, 0xab, 0xf7, 0xd3, 0xd8,
			     0x48, 0x34, 0xab, 0x0c },
			   ITEM_IS_REQUIRED,
			   0 },
};

void vhdx_put_item(uint8_t *table, enum vhdx_item what, unsigned i, uint32_t off, uint32_t len)
{
	uint8_t *p = table + ENTRY + i * ENTRY;

	memcpy(table, "metadata", 8);
	put_le16(table + 10, (uint16_t)(i + 1));
	memcpy(p, items[what].guid, GUID_BYTES);
	put_le32(p + 16, off);
	put_le32(p + 20, len);
	put_le32(p + 24, items[what].flags);
}

static int item_of(const uint8_t *p)
{
	for (int i = 0; i < ITEMS; i++)
		if (!memcmp(p, items[i].guid, GUID_BYTES))
			return i;
	return -1;
}

static int take_item(struct disk *d, const uint8_t *p, struct vhdx_region *found, struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	uint32_t off = le32(p + 16), len = le32(p + 20), flags = le32(p + 24);
	char text[GUID_TEXT];
	int i = item_of(p);

	guid_text_le(p, text);
	if (i < 0 && !(flags & ITEM_IS_REQUIRED))
		return 0;
	if (i < 0)
		return err_lacking(e, "%s: the metadata {%s} is not known", disk_file(d)->name,
				   text);
	if (off < TABLE || !range_fits(off, len, v->meta.len) || found[i].len ||
	    (items[i].len ? len != items[i].len : !len || len > LOCATOR_MAX))
		return err_damaged(e, "%s: the metadata {%s} is misplaced", disk_file(d)->name,
				   text);
	found[i] = (struct vhdx_region){ v->meta.off + off, len };
	return 0;
}

static int read_number(struct disk *d, const struct vhdx_region *r, uint64_t *ret, struct err *e)
{
	uint8_t b[8] = { 0 };
	int q = r->len ? file_pread(disk_file(d), r->off, b, r->len, e)
		       : err_damaged(e, "%s: metadata is missing", disk_file(d)->name);

	*ret = le64(b);
	return q;
}

static int check_numbers(struct disk *d, uint64_t file, uint64_t logical, struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	uint64_t need;

	v->block = (uint32_t)file;
	v->fixed = file >> 32 & 1;
	v->diff = file >> 33 & 1;
	v->logical = (uint32_t)logical;
	if (!is_pow2(v->block) || v->block < MiB || v->block > VHDX_BLOCK_MAX)
		return err_damaged(e, "%s: blocks of %u bytes", disk_file(d)->name, v->block);
	if (logical != 512 && logical != 4096)
		return err_damaged(e, "%s: sectors of %llu bytes", disk_file(d)->name,
				   (unsigned long long)logical);
	if (d->size > VHDX_SIZE_MAX || d->size % logical)
		return err_damaged(e, "%s: a disk of %llu bytes", disk_file(d)->name,
				   (unsigned long long)d->size);
	v->ratio = (UINT64_C(1) << 23) * logical / v->block;
	vhdx_count_entries(v, d->size, &v->blocks, &v->entries);
	need = v->entries * 8;
	if (need > v->bat.len || !file_has(disk_file(d), v->bat.off, need))
		return err_damaged(e, "%s: the table of blocks is too short", disk_file(d)->name);
	return 0;
}

int vhdx_read_metadata(struct disk *d, struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	struct vhdx_region found[ITEMS] = { 0 };
	autofree uint8_t *t = malloc(TABLE);
	uint64_t file = 0, logical = 0, physical = 0;
	int r = t ? file_pread(disk_file(d), v->meta.off, t, TABLE, e) : err_nomem(e);

	if (r < 0)
		return r;
	if (memcmp(t, "metadata", 8) || le16(t + 10) > ITEMS_MAX)
		return err_damaged(e, "%s: the metadata is damaged", disk_file(d)->name);
	for (unsigned i = 0; r == 0 && i < le16(t + 10); i++)
		r = take_item(d, t + ENTRY + i * ENTRY, found, e);
	if (r == 0)
		r = read_number(d, &found[ITEM_FILE], &file, e);
	if (r == 0)
		r = read_number(d, &found[ITEM_SIZE], &d->size, e);
	if (r == 0)
		r = read_number(d, &found[ITEM_LOGICAL], &logical, e);
	if (r == 0)
		r = read_number(d, &found[ITEM_PHYSICAL], &physical, e);
	if (r < 0)
		return r;
	v->physical = (uint32_t)physical;
	v->size_at = found[ITEM_SIZE].off;
	v->locator = found[ITEM_LOCATOR];
	return check_numbers(d, file, logical, e);
}
