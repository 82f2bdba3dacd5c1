/*
 * VDI: the image format of VirtualBox: opening and reading. Dynamic, fixed and differencing images
 * of version 1. A differencing image names its parent by UUID only; the opener says where it is
 * (disk_options.parents). Refused by name: version 0, undo images.
 */
#include "storage/vdi.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { RUN_MAX = 256 << 10 }; /* entries that one map() looks at */

static bool vdi_probe(const struct probe *p)
{
	return p->head_len >= VDI_HEADER && le32(p->head + VDI_AT_MAGIC) == VDI_MAGIC;
}

static int check_numbers(struct disk *d, struct err *e)
{
	const char *name = disk_file(d)->name;
	struct vdi *v = vdi_of(d);

	if (le32(v->header + VDI_AT_SECTOR) != 512)
		return err_lacking(e, "%s: VDI sectors of %u bytes are not supported", name,
				   le32(v->header + VDI_AT_SECTOR));
	if (!is_pow2(v->block) || v->block < 512 || v->block > VDI_BLOCK_MAX)
		return err_damaged(e, "%s: blocks of %u bytes", name, v->block);
	if (v->extra % 512 || v->extra > VDI_BLOCK_MAX)
		return err_damaged(e, "%s: %u extra bytes in each block", name, v->extra);
	if (v->blocks > VDI_BLOCKS_MAX || d->size > (uint64_t)v->blocks * v->block)
		return err_damaged(e, "%s: a map of %u blocks for a disk of %llu bytes", name,
				   v->blocks, (unsigned long long)d->size);
	if (v->map_off % 512 || v->data_off % 512 || v->map_off < VDI_HEADER ||
	    v->map_off + v->blocks * UINT64_C(4) > v->data_off)
		return err_damaged(e, "%s: the map and the blocks overlap", name);
	if (!file_has(disk_file(d), v->map_off, v->blocks * UINT64_C(4)))
		return err_damaged(e, "%s: the map of blocks is past the end of the file", name);
	return 0;
}

static int check_kind(struct disk *d, struct err *e)
{
	const uint8_t *h = vdi_of(d)->header;
	const char *name = disk_file(d)->name;
	uint32_t version = le32(h + VDI_AT_VERSION);

	if (le32(h + VDI_AT_MAGIC) != VDI_MAGIC)
		return err_damaged(e, "%s is no VDI image", name);
	if (version >> 16 != 1)
		return err_lacking(e, "%s: version %u.%u of VDI is not supported", name,
				   version >> 16, version & 0xffff);
	switch (le32(h + VDI_AT_TYPE)) {
	case VDI_DYNAMIC:
	case VDI_FIXED:
	case VDI_DIFF: return 0;
	case VDI_UNDO: return err_lacking(e, "%s: undo images of VDI are not supported", name);
	}
	return err_damaged(e, "%s: VDI images of type %u are not known", name,
			   le32(h + VDI_AT_TYPE));
}

/* The parent must be the image this one was made from, as it was then. */
static int open_parent(struct disk *d, struct err *e)
{
	const uint8_t *h = vdi_of(d)->header, *p;
	char want[GUID_TEXT];
	int r;

	d->backing_format = strdup("vdi");
	if (!d->backing_format)
		return err_nomem(e);
	r = disk_need_backing(d, e);
	if (r < 0 || !d->backing || d->backing->format != &vdi_format)
		return r;
	p = vdi_of(d->backing)->header;
	guid_text_le(h + VDI_AT_LINK, want);
	if (memcmp(h + VDI_AT_LINK, p + VDI_AT_UUID, GUID_BYTES))
		return err_damaged(e, "%s: %s is not its parent, which has the UUID %s",
				   disk_file(d)->name, disk_file(d->backing)->name, want);
	if (!guid_is_zero(h + VDI_AT_PARENT_MODIFICATION) &&
	    memcmp(h + VDI_AT_PARENT_MODIFICATION, p + VDI_AT_MODIFICATION, GUID_BYTES))
		return err_damaged(e, "%s: its parent %s was changed after it was made",
				   disk_file(d)->name, disk_file(d->backing)->name);
	return 0;
}

static int vdi_open(struct disk *d, struct err *e)
{
	struct vdi *v = vdi_of(d);
	uint64_t size;
	int r = file_pread(disk_file(d), 0, v->header, VDI_HEADER, e);

	if (r == 0)
		r = check_kind(d, e);
	if (r < 0)
		return r;
	v->type = le32(v->header + VDI_AT_TYPE);
	v->map_off = le32(v->header + VDI_AT_MAP);
	v->data_off = le32(v->header + VDI_AT_DATA);
	v->block = le32(v->header + VDI_AT_BLOCK);
	v->extra = le32(v->header + VDI_AT_EXTRA);
	v->blocks = le32(v->header + VDI_AT_BLOCKS);
	v->stride = (uint64_t)v->block + v->extra;
	size = le64(v->header + VDI_AT_SIZE);
	if (size > INT64_MAX)
		return err_damaged(e, "%s: a disk of %llu bytes", disk_file(d)->name,
				   (unsigned long long)size);
	d->size = size;
	r = check_numbers(d, e);
	if (r < 0)
		return r;
	d->unit = v->block;
	r = pages_init(&v->pages, d, e);
	return r < 0 || v->type != VDI_DIFF ? r : open_parent(d, e);
}

static void vdi_close(struct disk *d)
{
	struct vdi *v = vdi_of(d);

	pages_free(&v->pages);
	slots_free(&v->slots);
}

int vdi_entry(struct disk *d, uint32_t n, uint32_t *ret, struct err *e)
{
	struct vdi *v = vdi_of(d);
	struct page *page;
	uint8_t *p;
	int r = pages_get(d, &v->pages, 0, v->map_off + n * UINT64_C(4), &page, &p, e);

	if (r == 0)
		*ret = le32(p);
	return r;
}

int vdi_set_entry(struct disk *d, uint32_t n, uint32_t entry, struct err *e)
{
	struct vdi *v = vdi_of(d);
	struct page *page;
	uint8_t *p;
	int r = pages_get(d, &v->pages, 0, v->map_off + n * UINT64_C(4), &page, &p, e);

	if (r < 0 || le32(p) == entry)
		return r;
	put_le32(p, entry);
	pages_dirty(d, &v->pages, page, p);
	return 0;
}

int vdi_check_entry(struct disk *d, uint32_t n, uint32_t entry, struct err *e)
{
	struct vdi *v = vdi_of(d);

	if (entry >= VDI_ZERO)
		return 0;
	if (entry >= vdi_slots_max(v))
		return err_damaged(e, "%s: entry %u of the map, %#x, is far too big",
				   disk_file(d)->name, n, entry);
	if (!file_has(disk_file(d), vdi_slot_off(v, entry), 1))
		return err_damaged(e,
				   "%s: entry %u of the map, %#x, points past the end of the file",
				   disk_file(d)->name, n, entry);
	return 0;
}

static int classify(struct disk *d, uint32_t n, struct extent *x, struct err *e)
{
	struct vdi *v = vdi_of(d);
	uint32_t entry = VDI_FREE;
	int r = vdi_entry(d, n, &entry, e);

	if (r == 0)
		r = vdi_check_entry(d, n, entry, e);
	if (r < 0)
		return r;
	x->len = v->block;
	x->kind = entry == VDI_FREE   ? EXTENT_BACKING
		  : entry == VDI_ZERO ? EXTENT_ZERO
				      : EXTENT_DATA;
	if (x->kind == EXTENT_DATA) {
		x->off = vdi_slot_off(v, entry);
		x->flags = EXTENT_IN_PLACE;
	}
	return 0;
}

static int vdi_map(struct disk *d, uint64_t off, uint64_t want, struct extent *x, struct err *e)
{
	struct vdi *v = vdi_of(d);
	uint32_t n = (uint32_t)(off / v->block), in = (uint32_t)(off % v->block);
	uint32_t end = (uint32_t)MIN(v->blocks, n + (uint64_t)RUN_MAX);
	int r = classify(d, n, x, e);

	if (r < 0)
		return r;
	x->off += in;
	x->len -= in;
	while (x->len < want && ++n < end) {
		struct extent y = { 0 };

		if (classify(d, n, &y, NULL) < 0 || y.kind != x->kind ||
		    (y.kind == EXTENT_DATA && y.off != x->off + x->len))
			break;
		x->len += y.len;
	}
	return 0;
}

int vdi_write_header(struct disk *d, struct err *e)
{
	return file_pwrite(disk_file(d), 0, vdi_of(d)->header, VDI_HEADER, e);
}

/* VirtualBox refuses a child when its parent has another modification UUID than it remembers. */
static int vdi_before_write(struct disk *d, struct err *e)
{
	struct vdi *v = vdi_of(d);
	uint8_t old[GUID_BYTES];
	int r;

	memcpy(old, v->header + VDI_AT_MODIFICATION, GUID_BYTES);
	guid_make(v->header + VDI_AT_MODIFICATION);
	r = vdi_write_header(d, e);
	if (r == 0)
		r = file_sync(disk_file(d), e);
	if (r < 0)
		memcpy(v->header + VDI_AT_MODIFICATION, old, GUID_BYTES);
	return r;
}

static void vdi_info(struct disk *d, struct disk_info *i)
{
	struct vdi *v = vdi_of(d);
	char uuid[GUID_TEXT], link[GUID_TEXT];

	guid_text_le(v->header + VDI_AT_UUID, uuid);
	guid_text_le(v->header + VDI_AT_LINK, link);
	snprintf(i->detail, sizeof(i->detail), "variant=%s\nuuid=%s\n%s%s%s",
		 v->type == VDI_FIXED  ? "fixed"
		 : v->type == VDI_DIFF ? "differencing"
				       : "dynamic",
		 uuid, v->type == VDI_DIFF ? "parent_uuid=" : "", v->type == VDI_DIFF ? link : "",
		 v->type == VDI_DIFF ? "\n" : "");
}

const struct disk_format vdi_format = {
	.name = "vdi",
	.doc = "VirtualBox image: dynamic, fixed, differencing",
	.priv_size = sizeof(struct vdi),
	.options = vdi_options,
	.probe = vdi_probe,
	.open = vdi_open,
	.close = vdi_close,
	.map = vdi_map,
	.before_write = vdi_before_write,
	.alloc = vdi_alloc,
	.commit = vdi_commit,
	.abandon = vdi_abandon,
	.zero = vdi_zero,
	.discard = vdi_discard,
	.flush = vdi_flush,
	.finish = vdi_finish,
	.create = vdi_create,
	.resize = vdi_resize,
	.make_empty = vdi_make_empty,
	.check = vdi_check,
	.info = vdi_info,
};
