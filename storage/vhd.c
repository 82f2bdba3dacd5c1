/*
 * VHD ("vpc"): opening and reading. Fixed, dynamic and differencing images. Where the size of the
 * disk and its geometry differ, Virtual PC and QEMU meant the geometry, and everybody else the
 * size.
 */
#include "storage/vhd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define COOKIE        "conectix"
#define HEADER_COOKIE "cxsparse"
#define GEOMETRY_MAX  (65535u * 16 * 255)

enum { RUN_MAX = 256 << 10 };

uint32_t vhd_sum(const uint8_t *p, size_t len, size_t at)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i++)
		if (i < at || i >= at + 4)
			sum += p[i];
	return ~sum;
}

static bool is_cookie(const uint8_t *p)
{
	return !memcmp(p, COOKIE, 8);
}

static bool vhd_probe(const struct probe *p)
{
	if (p->head_len >= VHD_FOOTER && is_cookie(p->head))
		return true;
	if (p->tail_len < VHD_FOOTER)
		return false;
	return is_cookie(p->tail + p->tail_len - VHD_FOOTER) ||
	       is_cookie(p->tail + p->tail_len - VHD_FOOTER + 1);
}

static bool good_footer(const uint8_t *f)
{
	return is_cookie(f) &&
	       be32(f + VHD_AT_FOOTER_SUM) == vhd_sum(f, VHD_FOOTER, VHD_AT_FOOTER_SUM);
}

/*
 * The copy at the start of a dynamic image is whole at any moment, the footer at the end is not.
 * Virtual PC before 2004 left out the last byte, which is zero.
 */
static int read_footer(struct disk *d, struct err *e)
{
	struct vhd *v = vhd_of(d);
	struct file *f = disk_file(d);
	uint64_t size = file_size(f);
	uint8_t end[VHD_FOOTER + 1] = { 0 };
	int r;

	if (size < VHD_FOOTER)
		return err_damaged(e, "%s is too short for a VHD image", f->name);
	r = file_pread(f, 0, v->footer, VHD_FOOTER, e);
	if (r == 0)
		r = file_pread(f, size - VHD_FOOTER, end, VHD_FOOTER, e);
	if (r < 0)
		return r;
	v->old_footer = !good_footer(end) && good_footer(end + 1);
	v->copy_only = !good_footer(end) && !v->old_footer;
	if (good_footer(v->footer) && be32(v->footer + VHD_AT_TYPE) != VHD_FIXED)
		return 0;
	if (v->copy_only)
		return err_damaged(e, "%s: no footer of a VHD image is whole", f->name);
	memcpy(v->footer, end + v->old_footer, VHD_FOOTER);
	return 0;
}

static int choose_size(struct disk *d, struct err *e)
{
	const uint8_t *f = vhd_of(d)->footer;
	uint64_t chs = (uint64_t)be16(f + VHD_AT_CYLINDERS) * f[VHD_AT_HEADS] * f[VHD_AT_TRACK];
	bool by_geometry = !memcmp(f + VHD_AT_APP, "vpc ", 4) || !memcmp(f + VHD_AT_APP, "qemu", 4);

	if (be32(f + VHD_AT_VERSION) >> 16 != 1)
		return err_lacking(e, "%s: VHD of version %#x is not supported", disk_file(d)->name,
				   be32(f + VHD_AT_VERSION));
	d->size = be64(f + VHD_AT_SIZE);
	if (by_geometry && chs && chs != GEOMETRY_MAX)
		d->size = chs * 512;
	if (d->size > VHD_SIZE_MAX || d->size % 512)
		return err_damaged(e, "%s: a VHD disk of %llu bytes", disk_file(d)->name,
				   (unsigned long long)d->size);
	return 0;
}

static int check_header(struct disk *d, struct err *e)
{
	struct vhd *v = vhd_of(d);
	struct file *f = disk_file(d);
	uint64_t bat = v->entries * UINT64_C(4);

	if (memcmp(v->header, HEADER_COOKIE, 8) ||
	    be32(v->header + VHD_AT_HEADER_SUM) !=
		vhd_sum(v->header, VHD_HEADER, VHD_AT_HEADER_SUM))
		return err_damaged(e, "%s: the header at byte %llu is damaged", f->name,
				   (unsigned long long)v->header_off);
	if (be32(v->header + VHD_AT_HEADER_VERSION) >> 16 != 1)
		return err_lacking(e, "%s: a VHD header of version %#x is not supported", f->name,
				   be32(v->header + VHD_AT_HEADER_VERSION));
	if (!is_pow2(v->block) || v->block < 4096 || v->block > VHD_BLOCK_MAX)
		return err_damaged(e, "%s: blocks of %u bytes", f->name, v->block);
	if (v->entries > VHD_ENTRIES_MAX || d->size > v->entries * (uint64_t)v->block)
		return err_damaged(e, "%s: a table of %u blocks of %u bytes for %llu bytes",
				   f->name, v->entries, v->block, (unsigned long long)d->size);
	if (v->bat_off % 512 || v->bat_off < VHD_FOOTER || !file_has(f, v->bat_off, bat) ||
	    ranges_overlap(v->bat_off, bat, v->header_off, VHD_HEADER))
		return err_damaged(e, "%s: the table of blocks at byte %llu is misplaced", f->name,
				   (unsigned long long)v->bat_off);
	return 0;
}

static int open_dynamic(struct disk *d, struct err *e)
{
	struct vhd *v = vhd_of(d);
	struct file *f = disk_file(d);
	int r;

	v->header_off = be64(v->footer + VHD_AT_HEADER);
	if (v->header_off % 512 || v->header_off < VHD_FOOTER ||
	    !file_has(f, v->header_off, VHD_HEADER))
		return err_damaged(e, "%s: the header is not in the file", f->name);
	r = file_pread(f, v->header_off, v->header, VHD_HEADER, e);
	if (r < 0)
		return r;
	v->bat_off = be64(v->header + VHD_AT_BAT);
	v->entries = be32(v->header + VHD_AT_ENTRIES);
	v->block = be32(v->header + VHD_AT_BLOCK);
	v->bitmap_bytes = (uint32_t)round_up(v->block / 4096, 512);
	r = check_header(d, e);
	if (r < 0)
		return r;
	v->full = calloc(BITMAP_WORDS((size_t)v->entries) + 1, 8);
	if (!v->full)
		return err_nomem(e);
	d->unit = 512;
	return pages_init(&v->pages, d, e);
}

static int vhd_open(struct disk *d, struct err *e)
{
	struct vhd *v = vhd_of(d);
	uint32_t type;
	int r = read_footer(d, e);

	if (r == 0)
		r = choose_size(d, e);
	if (r < 0)
		return r;
	type = be32(v->footer + VHD_AT_TYPE);
	v->type = type;
	if (type == VHD_FIXED) {
		if (!file_has(disk_file(d), d->size, VHD_FOOTER - v->old_footer))
			return err_damaged(e, "%s is shorter than its disk", disk_file(d)->name);
		return 0;
	}
	if (type != VHD_DYNAMIC && type != VHD_DIFF)
		return err_damaged(e, "%s: VHD images of type %u are not known", disk_file(d)->name,
				   type);
	r = open_dynamic(d, e);
	return r < 0 || type == VHD_DYNAMIC ? r : vhd_open_parent(d, e);
}

static void vhd_close(struct disk *d)
{
	struct vhd *v = vhd_of(d);

	free(v->full);
	pages_free(&v->pages);
}

int vhd_entry(struct disk *d, uint32_t n, uint32_t *ret, struct err *e)
{
	struct vhd *v = vhd_of(d);
	struct page *page;
	uint8_t *p;
	int r = pages_get(d, &v->pages, 0, v->bat_off + n * UINT64_C(4), &page, &p, e);

	*ret = r == 0 ? be32(p) : VHD_FREE;
	return r;
}

int vhd_set_entry(struct disk *d, uint32_t n, uint32_t entry, struct err *e)
{
	struct vhd *v = vhd_of(d);
	struct page *page;
	uint8_t *p;
	int r = pages_get(d, &v->pages, 0, v->bat_off + n * UINT64_C(4), &page, &p, e);

	if (r < 0 || be32(p) == entry)
		return r;
	put_be32(p, entry);
	pages_dirty(d, &v->pages, page, p);
	return 0;
}

int vhd_check_entry(struct disk *d, uint32_t n, uint32_t entry, struct err *e)
{
	struct vhd *v = vhd_of(d);
	uint64_t at = entry * UINT64_C(512);
	const char *why = NULL;

	if (entry == VHD_FREE)
		return 0;
	if (!file_has(disk_file(d), at + v->bitmap_bytes, 1))
		why = "points past the end of the file";
	else if (at < VHD_FOOTER || ranges_overlap(at, vhd_stride(v), v->header_off, VHD_HEADER) ||
		 ranges_overlap(at, vhd_stride(v), v->bat_off, v->entries * UINT64_C(4)))
		why = "points into the image's own tables";
	if (!why)
		return 0;
	return err_damaged(e, "%s: entry %u of the table of blocks, %#x, %s", disk_file(d)->name, n,
			   entry, why);
}

/* Bits of a block's bitmap from sector s on that are equal, as far as one page shows them. */
static int look_at_bitmap(struct disk *d, uint64_t at, uint32_t s, bool *set, uint32_t *run,
			  struct err *e)
{
	struct vhd *v = vhd_of(d);
	uint32_t sectors = v->block / 512, n = 1;
	struct page *page;
	uint8_t *p;
	int r = pages_get(d, &v->pages, 0, at + s / 8, &page, &p, e);

	if (r < 0)
		return r;
	*set = *p & 0x80 >> (s % 8);
	while (s + n < sectors) {
		const uint8_t *q = p + ((s + n) / 8 - s / 8);

		if (q == page->data + PAGE_BYTES)
			break;
		if ((s + n) % 8 == 0 && *q == (*set ? 0xff : 0))
			n += 8;
		else if (!(*q & 0x80 >> ((s + n) % 8)) == *set)
			break;
		else
			n++;
	}
	*run = MIN(n, sectors - s);
	return 0;
}

static int map_block(struct disk *d, uint32_t n, uint32_t entry, uint64_t off, struct extent *x,
		     struct err *e)
{
	struct vhd *v = vhd_of(d);
	uint64_t at = entry * UINT64_C(512);
	uint32_t in = (uint32_t)(off % v->block), run;
	bool set;
	int r = vhd_check_entry(d, n, entry, e);

	if (r < 0)
		return r;
	x->off = at + v->bitmap_bytes + in;
	x->len = v->block - in;
	x->kind = EXTENT_DATA;
	x->flags = EXTENT_IN_PLACE;
	if (bit_get(v->full, n))
		return 0;
	r = look_at_bitmap(d, at, in / 512, &set, &run, e);
	if (r < 0)
		return r;
	if (set && run == v->block / 512)
		bit_set(v->full, n);
	x->len = run * UINT64_C(512) - in % 512;
	if (set)
		return 0;
	x->flags = 0;
	x->kind = v->type == VHD_DIFF ? EXTENT_BACKING : EXTENT_ZERO;
	return 0;
}

int vhd_map(struct disk *d, uint64_t off, uint64_t want, struct extent *x, struct err *e)
{
	struct vhd *v = vhd_of(d);
	uint32_t n, entry, end;
	int r;

	if (v->type == VHD_FIXED) {
		x->kind = EXTENT_DATA;
		x->flags = EXTENT_IN_PLACE;
		x->off = off;
		x->len = d->size - off;
		return 0;
	}
	n = (uint32_t)(off / v->block);
	r = vhd_entry(d, n, &entry, e);
	if (r < 0)
		return r;
	if (entry != VHD_FREE)
		return map_block(d, n, entry, off, x, e);
	x->kind = EXTENT_BACKING;
	x->len = v->block - off % v->block;
	end = (uint32_t)MIN(v->entries, n + (uint64_t)RUN_MAX);
	while (x->len < want && ++n < end && vhd_entry(d, n, &entry, NULL) == 0 &&
	       entry == VHD_FREE)
		x->len += v->block;
	return 0;
}

static void vhd_info(struct disk *d, struct disk_info *i)
{
	static const char *const types[] = { "?", "?", "fixed", "dynamic", "differencing" };
	struct vhd *v = vhd_of(d);
	char app[5] = "";

	for (int k = 0; k < 4; k++) {
		uint8_t c = v->footer[VHD_AT_APP + k];

		app[k] = (char)(c > 32 && c < 127 ? c : ' ');
	}
	if (v->block)
		i->unit = v->block;
	snprintf(i->detail, sizeof(i->detail), "subformat=%s\ncreator=%s\n%s", types[v->type], app,
		 v->copy_only ? "footer=missing at the end, its copy is used\n" : "");
}

const struct disk_format vhd_format = {
	.name = "vhd",
	.alias = "vpc",
	.doc = "Virtual Hard Disk of Microsoft: fixed, dynamic, differencing",
	.priv_size = sizeof(struct vhd),
	.options = vhd_options,
	.probe = vhd_probe,
	.open = vhd_open,
	.close = vhd_close,
	.map = vhd_map,
	.alloc = vhd_alloc,
	.commit = vhd_commit,
	.abandon = vhd_abandon,
	.zero = vhd_zero,
	.discard = vhd_discard,
	.flush = vhd_flush,
	.create = vhd_create,
	.resize = vhd_resize,
	.make_empty = vhd_make_empty,
	.check = vhd_check,
	.info = vhd_info,
};
