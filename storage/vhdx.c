/*
 * VHDX: opening and reading. Fixed, dynamic and differencing images, with sectors of 512 or 4096
 * bytes. An image that was not closed is replayed from its log: into the file, or, when that may
 * not be written, in memory.
 */
#include "storage/vhdx.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { RUN_MAX = 256 << 10 };

static bool vhdx_probe(const struct probe *p)
{
	return p->head_len >= 8 && !memcmp(p->head, VHDX_SIGNATURE, 8);
}

/* The spec, 2.5: a differencing image has room for the bitmap of every chunk. */
void vhdx_count_entries(const struct vhdx *v, uint64_t size, uint64_t *blocks, uint64_t *entries)
{
	*blocks = size / v->block + !!(size % v->block);
	if (v->diff)
		*entries = (*blocks + v->ratio - 1) / v->ratio * (v->ratio + 1);
	else
		*entries = *blocks + (*blocks ? (*blocks - 1) / v->ratio : 0);
}

static int vhdx_open(struct disk *d, struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	int r = vhdx_read_headers(d, e);

	if (r == 0)
		r = vhdx_replay(d, e);
	if (r == 0)
		r = vhdx_read_regions(d, e);
	if (r == 0)
		r = vhdx_read_metadata(d, e);
	if (r < 0)
		return r;
	if (d->writable && v->log.len < MiB)
		return err_lacking(e, "%s has no log: it can only be read", disk_file(d)->name);
	d->unit = v->logical;
	r = pages_init(&v->pages, d, e);
	return r < 0 || !v->diff ? r : vhdx_open_parent(d, e);
}

static void vhdx_close(struct disk *d)
{
	pages_free(&vhdx_of(d)->pages);
}

int vhdx_get(struct disk *d, uint64_t index, uint64_t *ret, struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	struct page *page;
	uint8_t *p;
	int r = pages_get(d, &v->pages, 0, v->bat.off + index * 8, &page, &p, e);

	*ret = r == 0 ? le64(p) : 0;
	return r;
}

int vhdx_set(struct disk *d, uint64_t index, uint64_t entry, struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	struct page *page;
	uint8_t *p;
	int r = pages_get(d, &v->pages, 0, v->bat.off + index * 8, &page, &p, e);

	if (r < 0 || le64(p) == entry)
		return r;
	put_le64(p, entry);
	pages_dirty(d, &v->pages, page, p);
	return 0;
}

int vhdx_check_offset(struct disk *d, uint64_t index, uint64_t entry, uint64_t len, struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	uint64_t at = entry & VHDX_OFFSET;
	const char *why = NULL;

	if (!file_has(disk_file(d), at, 1))
		why = "points past the end of the file";
	else if (at < MiB || ranges_overlap(at, len, v->bat.off, v->bat.len) ||
		 ranges_overlap(at, len, v->meta.off, v->meta.len) ||
		 ranges_overlap(at, len, v->log.off, v->log.len))
		why = "points into the image's own tables";
	if (!why)
		return 0;
	return err_damaged(e, "%s: entry %llu of the table of blocks, %#llx, %s",
			   disk_file(d)->name, (unsigned long long)index, (unsigned long long)entry,
			   why);
}

/* Bits of the chunk's bitmap from sector s on that are equal, as far as one page shows them. */
static int look_at_bitmap(struct disk *d, uint64_t block, uint64_t s, uint64_t max, bool *set,
			  uint64_t *run, struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	uint64_t index = vhdx_bitmap_index(v, block), entry, n = 1;
	struct page *page;
	uint8_t *p;
	int r = vhdx_get(d, index, &entry, e);

	if (r == 0 && (entry & 7) != VHDX_PRESENT)
		return err_damaged(e, "%s: a block needs bitmap %llu, which is not there",
				   disk_file(d)->name, (unsigned long long)index);
	if (r == 0)
		r = vhdx_check_offset(d, index, entry, MiB, e);
	if (r == 0)
		r = pages_get(d, &v->pages, 0, (entry & VHDX_OFFSET) + s / 8, &page, &p, e);
	if (r < 0)
		return r;
	*set = *p >> (s % 8) & 1;
	while (n < max) {
		const uint8_t *q = p + ((s + n) / 8 - s / 8);

		if (q == page->data + PAGE_BYTES)
			break;
		if ((s + n) % 8 == 0 && *q == (*set ? 0xff : 0))
			n += 8;
		else if ((*q >> ((s + n) % 8) & 1) != *set)
			break;
		else
			n++;
	}
	*run = MIN(n, max);
	return 0;
}

static int map_partial(struct disk *d, uint64_t block, uint32_t in, struct extent *x, struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	uint64_t per = v->block / v->logical, s = block % v->ratio * per + in / v->logical, run = 0;
	bool set = false;
	int r = look_at_bitmap(d, block, s, per - in / v->logical, &set, &run, e);

	if (r < 0)
		return r;
	x->len = run * v->logical - in % v->logical;
	if (set)
		return 0;
	x->kind = EXTENT_BACKING;
	x->flags = 0;
	return 0;
}

static int map_block(struct disk *d, uint64_t block, uint32_t in, struct extent *x, struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	uint64_t index = vhdx_payload_index(v, block), entry;
	int r = vhdx_get(d, index, &entry, e);

	if (r < 0)
		return r;
	x->len = v->block - in;
	switch (entry & 7) {
	case VHDX_NOT_PRESENT: x->kind = EXTENT_BACKING; return 0;
	case VHDX_UNDEFINED:
	case VHDX_ZERO:
	case VHDX_UNMAPPED:
	case VHDX_UNMAPPED_DRAFT: x->kind = EXTENT_ZERO; return 0;
	case VHDX_PRESENT:
	case VHDX_PARTIAL: break;
	default:
		return err_damaged(e,
				   "%s: entry %llu of the table of blocks, %#llx, has an unknown "
				   "state",
				   disk_file(d)->name, (unsigned long long)index,
				   (unsigned long long)entry);
	}
	r = vhdx_check_offset(d, index, entry, v->block, e);
	if (r < 0)
		return r;
	x->kind = EXTENT_DATA;
	x->flags = EXTENT_IN_PLACE;
	x->off = (entry & VHDX_OFFSET) + in;
	if ((entry & 7) == VHDX_PRESENT)
		return 0;
	if (!v->diff)
		return err_damaged(
		    e,
		    "%s: entry %llu of the table of blocks needs a parent, and there "
		    "is none",
		    disk_file(d)->name, (unsigned long long)index);
	return map_partial(d, block, in, x, e);
}

int vhdx_map(struct disk *d, uint64_t off, uint64_t want, struct extent *x, struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	uint64_t block = off / v->block, end = MIN(v->blocks, block + RUN_MAX);
	int r = map_block(d, block, (uint32_t)(off % v->block), x, e);

	if (r < 0 || x->len < v->block - off % v->block)
		return r;
	while (x->len < want && ++block < end) {
		struct extent y = { 0 };

		if (map_block(d, block, 0, &y, NULL) < 0 || y.kind != x->kind ||
		    (y.kind == EXTENT_DATA && y.off != x->off + x->len))
			break;
		x->len += y.len;
		if (y.len < v->block)
			break;
	}
	return 0;
}

static void vhdx_info(struct disk *d, struct disk_info *i)
{
	struct vhdx *v = vhdx_of(d);

	i->unit = v->block;
	i->dirty = !guid_is_zero(v->header + VHDX_AT_LOG_GUID);
	snprintf(i->detail, sizeof(i->detail),
		 "subformat=%s\nlogical_sector=%u\nphysical_sector=%u\nlog_size=%u\n",
		 v->diff    ? "differencing"
		 : v->fixed ? "fixed"
			    : "dynamic",
		 v->logical, v->physical, v->log.len);
}

const struct disk_format vhdx_format = {
	.name = "vhdx",
	.doc = "Virtual hard disk of Hyper-V: fixed, dynamic, differencing",
	.priv_size = sizeof(struct vhdx),
	.options = vhdx_options,
	.probe = vhdx_probe,
	.open = vhdx_open,
	.close = vhdx_close,
	.map = vhdx_map,
	.before_write = vhdx_before_write,
	.alloc = vhdx_alloc,
	.commit = vhdx_commit,
	.abandon = vhdx_abandon,
	.zero = vhdx_zero,
	.discard = vhdx_discard,
	.flush = vhdx_flush,
	.finish = vhdx_finish,
	.create = vhdx_create,
	.resize = vhdx_resize,
	.check = vhdx_check,
	.info = vhdx_info,
};
