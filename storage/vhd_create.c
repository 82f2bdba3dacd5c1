/* Making a VHD image, and changing its size. Nothing is in flight. */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/size.h"
#include "storage/vhd.h"

enum { OPT_SUBFORMAT, OPT_BLOCK, OPTS };

const struct format_option vhd_options[] = {
	[OPT_SUBFORMAT] = { "subformat", "dynamic", "dynamic or fixed" },
	[OPT_BLOCK] = { "block_size", "2M", "bytes in which space is allocated, 4K..256M" },
	[OPTS] = { NULL, NULL, NULL },
};

enum { EPOCH = 946684800, LOCATOR_OFF = VHD_FOOTER + VHD_HEADER, STEP = 64 << 10 };

/* The specification, "CHS Calculation"; the largest geometry when it stops at 65535 cylinders. */
static uint64_t geometry(uint64_t sectors, uint32_t *c, uint32_t *h, uint32_t *s)
{
	uint64_t all = MIN(sectors, UINT64_C(65535) * 16 * 255), tracks;

	if (all >= UINT64_C(65535) * 16 * 63) {
		*s = 255;
		*h = 16;
		tracks = all / *s;
	} else {
		*s = 17;
		tracks = all / *s;
		*h = (uint32_t)MAX((tracks + 1023) / 1024, 4);
		if (tracks >= *h * UINT64_C(1024) || *h > 16) {
			*s = 31;
			*h = 16;
			tracks = all / *s;
		}
		if (tracks >= *h * UINT64_C(1024)) {
			*s = 63;
			tracks = all / *s;
		}
	}
	*c = (uint32_t)(tracks / *h);
	return (uint64_t)*c * *h * *s;
}

/*
 * Programs that go by the geometry would cut the disk where it is not a whole number of cylinders.
 * With the largest geometry all of them go by the size.
 */
void vhd_put_size(uint8_t f[VHD_FOOTER], uint64_t size)
{
	uint32_t c, h, s;

	if (geometry(size / 512, &c, &h, &s) != size / 512) {
		c = 65535;
		h = 16;
		s = 255;
	}
	put_be64(f + VHD_AT_SIZE, size);
	put_be16(f + VHD_AT_CYLINDERS, (uint16_t)c);
	f[VHD_AT_HEADS] = (uint8_t)h;
	f[VHD_AT_TRACK] = (uint8_t)s;
	put_be32(f + VHD_AT_FOOTER_SUM, vhd_sum(f, VHD_FOOTER, VHD_AT_FOOTER_SUM));
}

static void fill_footer(uint8_t f[VHD_FOOTER], uint64_t size, enum vhd_type type)
{
	memset(f, 0, VHD_FOOTER);
	memcpy(f, "conectix", 8);
	put_be32(f + VHD_AT_FEATURES, 2);
	put_be32(f + VHD_AT_VERSION, 0x10000);
	put_be64(f + VHD_AT_HEADER, type == VHD_FIXED ? UINT64_MAX : VHD_FOOTER);
	put_be32(f + VHD_AT_TIME, (uint32_t)(time(NULL) - EPOCH));
	memcpy(f + VHD_AT_APP, "vmd ", 4);
	put_be32(f + VHD_AT_APP_VERSION, 0x10000);
	memcpy(f + VHD_AT_OS, "Wi2k", 4);
	put_be64(f + VHD_AT_ORIGINAL_SIZE, size);
	put_be32(f + VHD_AT_TYPE, type);
	guid_make(f + VHD_AT_UUID);
	vhd_put_size(f, size);
}

static void fill_header(uint8_t h[VHD_HEADER], uint32_t entries, uint32_t block)
{
	memset(h, 0, VHD_HEADER);
	memcpy(h, "cxsparse", 8);
	put_be64(h + VHD_AT_NEXT, UINT64_MAX);
	put_be32(h + VHD_AT_HEADER_VERSION, 0x10000);
	put_be32(h + VHD_AT_ENTRIES, entries);
	put_be32(h + VHD_AT_BLOCK, block);
}

static void sum_header(uint8_t h[VHD_HEADER])
{
	put_be32(h + VHD_AT_HEADER_SUM, vhd_sum(h, VHD_HEADER, VHD_AT_HEADER_SUM));
}

static int write_free(struct file *f, uint64_t off, uint64_t end, struct err *e)
{
	autofree uint8_t *buf = malloc(STEP);
	int r = buf ? 0 : err_nomem(e);

	if (r == 0)
		memset(buf, 0xff, STEP);
	for (; r == 0 && off < end; off += STEP)
		r = file_pwrite(f, off, buf, MIN(end - off, STEP), e);
	return r;
}

static int create_dynamic(struct file *f, const struct create_args *a, uint64_t size,
			  uint64_t block, struct err *e)
{
	uint8_t footer[VHD_FOOTER], header[VHD_HEADER], locator[512] = { 0 };
	uint64_t entries = (size + block - 1) / block, bat = LOCATOR_OFF + (a->backing ? 512 : 0);
	uint64_t end = bat + round_up(entries * 4, 512);
	int r = 0;

	if (entries > VHD_ENTRIES_MAX)
		return err_set(e, -EINVAL, "a disk of %llu bytes needs bigger blocks",
			       (unsigned long long)size);
	fill_footer(footer, size, a->backing ? VHD_DIFF : VHD_DYNAMIC);
	fill_header(header, (uint32_t)entries, (uint32_t)block);
	put_be64(header + VHD_AT_BAT, bat);
	if (a->backing)
		r = vhd_put_parent(header, a, LOCATOR_OFF, locator, e);
	sum_header(header);
	if (r == 0)
		r = file_pwrite(f, 0, footer, VHD_FOOTER, e);
	if (r == 0)
		r = file_pwrite(f, VHD_FOOTER, header, VHD_HEADER, e);
	if (r == 0)
		r = write_free(f, bat, end, e);
	if (r == 0 && a->backing)
		r = file_pwrite(f, LOCATOR_OFF, locator, 512, e);
	return r < 0 ? r : file_pwrite(f, end, footer, VHD_FOOTER, e);
}

int vhd_create(struct file *f, const struct create_args *a, struct err *e)
{
	const char *kind = a->values[OPT_SUBFORMAT];
	uint8_t footer[VHD_FOOTER];
	uint64_t size, block = 0;

	if (a->size > VHD_SIZE_MAX)
		return err_set(e, -EINVAL, "a VHD disk has at most 2040 GiB");
	size = round_up(a->size, 512);
	if (!size_parse(a->values[OPT_BLOCK], &block) || !is_pow2(block) || block < 4096 ||
	    block > VHD_BLOCK_MAX)
		return err_set(e, -EINVAL, "block_size cannot be \"%.40s\"", a->values[OPT_BLOCK]);
	if (!strcmp(kind, "dynamic"))
		return create_dynamic(f, a, size, block, e);
	if (strcmp(kind, "fixed"))
		return err_set(e, -EINVAL, "subformat cannot be \"%.40s\"", kind);
	if (a->backing)
		return err_set(e, -EINVAL, "a fixed image has no backing image");
	fill_footer(footer, size, VHD_FIXED);
	return file_pwrite(f, size, footer, VHD_FOOTER, e);
}

/* The new footer makes the file longer in the same write; the old one becomes part of the disk. */
static int resize_fixed(struct disk *d, uint64_t size, const uint8_t footer[VHD_FOOTER],
			struct err *e)
{
	struct file *f = disk_file(d);
	int r = file_pwrite(f, size, footer, VHD_FOOTER, e);

	if (r == 0)
		r = file_sync(f, e);
	if (r == 0 && size > d->size)
		r = file_zero(f, d->size, MIN(size - d->size, VHD_FOOTER), false, e);
	return r < 0 ? r : file_truncate(f, size + VHD_FOOTER, e);
}

/* Does the header or a name of the parent lie in [bat_off, end)? */
static bool fenced(const struct vhd *v, uint64_t end)
{
	uint64_t from = v->bat_off, len = end - from;

	if (ranges_overlap(from, len, v->header_off, VHD_HEADER))
		return true;
	for (int i = 0; i < VHD_LOCATORS; i++) {
		const uint8_t *l = v->header + VHD_AT_LOCATORS + i * VHD_LOCATOR;

		if (be32(l) && ranges_overlap(from, len, be64(l + 16), MAX(be32(l + 8), 512)))
			return true;
	}
	return false;
}

/* Blocks that lie before `end` move behind all others, so that the table may reach there. */
static int make_room(struct disk *d, uint64_t end, struct err *e)
{
	struct vhd *v = vhd_of(d);
	autofree struct vhd_place *all = NULL;
	uint32_t n;
	int r = vhd_survey(d, &all, &n, NULL, NULL, e);

	v->end = MAX(v->end, end);
	v->footer_due = true;
	for (uint32_t i = 0; r == 0 && i < n; i++) {
		uint64_t from = all[i].sector * UINT64_C(512), to = vhd_place_after(v, v->end);

		if (from < v->bat_off || from >= end)
			continue;
		r = vhd_copy_block(d, from, to, e);
		if (r == 0)
			r = vhd_set_entry(d, all[i].n, (uint32_t)(to / 512), e);
		v->end = to + vhd_stride(v);
	}
	return r < 0 ? r : vhd_flush(d, e);
}

/* Another table of blocks at the end of the file. */
static int move_bat(struct disk *d, uint64_t at, uint32_t need, struct err *e)
{
	struct vhd *v = vhd_of(d);
	uint64_t old = round_up(v->entries * UINT64_C(4), 512);
	uint64_t end = round_up(need * UINT64_C(4), 512);
	autofree uint8_t *buf = malloc(STEP);
	int r = buf ? 0 : err_nomem(e);

	for (uint64_t i = 0; r == 0 && i < old; i += STEP) {
		uint64_t n = MIN(old - i, STEP);

		r = file_pread(disk_file(d), v->bat_off + i, buf, n, e);
		for (uint64_t k = 0; k < n; k += 4)
			if ((i + k) / 4 >= v->entries)
				put_be32(buf + k, VHD_FREE);
		if (r == 0)
			r = file_pwrite(disk_file(d), at + i, buf, n, e);
	}
	if (r == 0)
		r = write_free(disk_file(d), at + old, at + end, e);
	return r < 0 ? r : file_sync(disk_file(d), e);
}

/* What changes lies in the first sector of the header. */
static int publish_header(struct disk *d, uint64_t bat, uint32_t entries, struct err *e)
{
	struct vhd *v = vhd_of(d);
	uint8_t h[VHD_HEADER];
	int r;

	memcpy(h, v->header, VHD_HEADER);
	put_be64(h + VHD_AT_BAT, bat);
	put_be32(h + VHD_AT_ENTRIES, entries);
	sum_header(h);
	r = file_pwrite(disk_file(d), v->header_off, h, VHD_HEADER, e);
	if (r == 0)
		r = file_sync(disk_file(d), e);
	if (r < 0)
		return r;
	memcpy(v->header, h, VHD_HEADER);
	v->bat_off = bat;
	v->entries = entries;
	return 0;
}

static int grow_bat(struct disk *d, uint32_t need, struct err *e)
{
	struct vhd *v = vhd_of(d);
	size_t words = BITMAP_WORDS((size_t)need) + 1, had = BITMAP_WORDS((size_t)v->entries) + 1;
	uint64_t *full = realloc(v->full, words * 8), at = v->bat_off;
	uint64_t bytes = round_up(need * UINT64_C(4), 512);
	int r;

	if (!full)
		return err_nomem(e);
	if (words > had)
		memset(full + had, 0, (words - had) * 8);
	v->full = full;
	if (fenced(v, at + bytes)) {
		at = round_up(v->end, 4096);
		r = move_bat(d, at, need, e);
		v->end = at + bytes;
		v->footer_due = true;
	} else {
		r = make_room(d, at + bytes, e);
		pages_forget(&v->pages, 0, at, bytes);
		for (uint32_t n = v->entries; r == 0 && n < need; n++)
			r = vhd_set_entry(d, n, VHD_FREE, e);
		if (r == 0)
			r = vhd_flush(d, e);
	}
	if (r < 0)
		return r;
	pages_forget(&v->pages, 0, at, need * UINT64_C(4));
	return publish_header(d, at, need, e);
}

static int drop_blocks(struct disk *d, uint32_t need, struct err *e)
{
	struct vhd *v = vhd_of(d);
	int r = 0;

	for (uint32_t n = need; r == 0 && n < v->entries; n++) {
		r = vhd_set_entry(d, n, VHD_FREE, e);
		bit_clear(v->full, n);
		if (r == 0 && d->wants_flush)
			r = vhd_flush(d, e);
	}
	return r < 0 ? r : vhd_flush(d, e);
}

/* What a longer disk held once behind its end must not come back. */
static int clear_tail(struct disk *d, struct err *e)
{
	struct vhd *v = vhd_of(d);
	uint64_t in = d->size % v->block;
	uint32_t entry, n = (uint32_t)(d->size / v->block);
	int r;

	if (!in)
		return 0;
	r = vhd_entry(d, n, &entry, e);
	if (r == 0)
		r = vhd_check_entry(d, n, entry, e);
	if (r < 0 || entry == VHD_FREE)
		return r;
	return file_zero(disk_file(d), entry * UINT64_C(512) + v->bitmap_bytes + in, v->block - in,
			 true, e);
}

static int resize_dynamic(struct disk *d, uint64_t size, const uint8_t footer[VHD_FOOTER],
			  struct err *e)
{
	struct vhd *v = vhd_of(d);
	uint64_t need = (size + v->block - 1) / v->block;
	bool shrinks = size < d->size;
	int r;

	if (need > VHD_ENTRIES_MAX)
		return err_set(e, -EINVAL, "%s: a disk of %llu bytes needs bigger blocks",
			       disk_file(d)->name, (unsigned long long)size);
	r = vhd_count(d, e);
	if (r == 0 && !shrinks)
		r = clear_tail(d, e);
	if (r == 0)
		r = vhd_flush(d, e);
	if (r == 0 && need > v->entries)
		r = grow_bat(d, (uint32_t)need, e);
	if (r == 0 && shrinks)
		r = drop_blocks(d, (uint32_t)need, e);
	if (r == 0)
		r = file_pwrite(disk_file(d), 0, footer, VHD_FOOTER, e);
	if (r == 0)
		r = file_sync(disk_file(d), e);
	if (r < 0)
		return r;
	memcpy(v->footer, footer, VHD_FOOTER);
	v->footer_due = true;
	d->size = size;
	return shrinks ? vhd_compact(d, e) : vhd_flush(d, e);
}

int vhd_resize(struct disk *d, uint64_t size, struct err *e)
{
	struct vhd *v = vhd_of(d);
	uint8_t footer[VHD_FOOTER];
	int r;

	if (size > VHD_SIZE_MAX)
		return err_set(e, -EINVAL, "a VHD disk has at most 2040 GiB");
	size = round_up(size, 512);
	memcpy(footer, v->footer, VHD_FOOTER);
	/* Else some would go by the geometry. */
	memcpy(footer + VHD_AT_APP, "vmd ", 4);
	vhd_put_size(footer, size);
	if (v->type != VHD_FIXED)
		return resize_dynamic(d, size, footer, e);
	r = resize_fixed(d, size, footer, e);
	if (r < 0)
		return r;
	memcpy(v->footer, footer, VHD_FOOTER);
	d->size = size;
	return 0;
}
