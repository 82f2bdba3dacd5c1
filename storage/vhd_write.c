/*
 * VHD: room for blocks, bits of bitmaps, zeroing, and the order in which that reaches the file.
 * With d->meta held, but for flush and what says otherwise.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/vhd.h"

static int by_sector(const void *a, const void *b)
{
	uint32_t x = ((const struct vhd_place *)a)->sector,
		 y = ((const struct vhd_place *)b)->sector;

	return x < y ? -1 : x > y;
}

static int add_place(struct vhd_place **all, uint32_t *n, uint32_t *room, struct vhd_place p,
		     struct err *e)
{
	if (*n == *room) {
		struct vhd_place *more = realloc(*all, (2 * (size_t)*room + 256) * sizeof(**all));

		if (!more)
			return err_nomem(e);
		*all = more;
		*room = 2 * *room + 256;
	}
	(*all)[(*n)++] = p;
	return 0;
}

static int told(struct disk *d, uint32_t n, const char *why,
		void (*bad)(void *arg, uint32_t n, const char *why), void *arg, struct err *e)
{
	if (!bad)
		return err_damaged(e, "%s: entry %u of the table of blocks %s", disk_file(d)->name,
				   n, why);
	bad(arg, n, why);
	return 0;
}

int vhd_survey(struct disk *d, struct vhd_place **ret, uint32_t *count,
	       void (*bad)(void *arg, uint32_t n, const char *why), void *arg, struct err *e)
{
	struct vhd *v = vhd_of(d);
	autofree struct vhd_place *all = NULL;
	uint32_t used = 0, room = 0, kept = 0, entry;
	int r = 0;

	for (uint32_t n = 0; r == 0 && n < v->entries; n++) {
		r = vhd_entry(d, n, &entry, e);
		if (r < 0 || entry == VHD_FREE)
			continue;
		if (vhd_check_entry(d, n, entry, NULL) < 0)
			r = told(d, n, "points outside of the blocks", bad, arg, e);
		else
			r = add_place(&all, &used, &room, (struct vhd_place){ entry, n }, e);
	}
	if (used)
		qsort(all, used, sizeof(*all), by_sector);
	for (uint32_t i = 0; r == 0 && i < used; i++) {
		if (kept && all[i].sector - all[kept - 1].sector < vhd_stride(v) / 512)
			r = told(d, all[i].n, "overlaps another block", bad, arg, e);
		else
			all[kept++] = all[i];
	}
	if (r < 0)
		return r;
	*count = kept;
	*ret = take(all);
	return 0;
}

/* New blocks go where the footer is, or behind whatever else the file ends with. */
int vhd_count(struct disk *d, struct err *e)
{
	struct vhd *v = vhd_of(d);
	uint64_t size = file_size(disk_file(d));
	autofree struct vhd_place *all = NULL;
	uint32_t n;
	int r;

	if (v->counted)
		return 0;
	r = vhd_survey(d, &all, &n, NULL, NULL, e);
	if (r < 0)
		return r;
	v->end =
	    v->copy_only ? round_up(size, 512) : round_up(size - VHD_FOOTER + v->old_footer, 512);
	if (n)
		v->end = MAX(v->end, all[n - 1].sector * UINT64_C(512) + vhd_stride(v));
	v->footer_due = v->copy_only || v->old_footer;
	v->counted = true;
	return 0;
}

/* The data of our blocks lies at a multiple of 4 KiB, the bitmap in front of it. */
uint64_t vhd_place_after(const struct vhd *v, uint64_t end)
{
	return round_up(end + v->bitmap_bytes, 4096) - v->bitmap_bytes;
}

static int write_bitmap(struct disk *d, uint64_t at, uint8_t byte, struct err *e)
{
	struct vhd *v = vhd_of(d);
	autofree uint8_t *bits = malloc(v->bitmap_bytes);
	int r;

	if (!bits)
		return err_nomem(e);
	memset(bits, byte, v->bitmap_bytes);
	r = file_pwrite(disk_file(d), at, bits, v->bitmap_bytes, e);
	if (r == 0)
		pages_update(&v->pages, 0, at, bits, v->bitmap_bytes);
	return r;
}

static int new_block(struct disk *d, uint32_t n, struct err *e)
{
	struct vhd *v = vhd_of(d);
	bool diff = v->type == VHD_DIFF;
	uint64_t at, data, size = file_size(disk_file(d));
	int r = vhd_count(d, e);

	if (r < 0)
		return r;
	at = vhd_place_after(v, v->end);
	data = at + v->bitmap_bytes;
	if (at / 512 >= VHD_FREE)
		return err_set(e, -ENOSPC, "%s: the image is full", disk_file(d)->name);
	if (!diff && data < size)
		r = file_zero(disk_file(d), data, MIN(size - data, v->block), true, e);
	if (r == 0)
		r = write_bitmap(d, at, diff ? 0 : 0xff, e);
	/* Before anything is written there: nobody else's write can be cut off by this. */
	if (r == 0 && size < data + v->block)
		r = file_truncate(disk_file(d), data + v->block, e);
	if (r == 0)
		r = vhd_set_entry(d, n, (uint32_t)(at / 512), e);
	if (r < 0)
		return r;
	if (!diff)
		bit_set(v->full, n);
	v->end = data + v->block;
	v->footer_due = true;
	return 0;
}

int vhd_alloc(struct disk *d, uint64_t off, uint64_t want, struct extent *x, struct err *e)
{
	struct vhd *v = vhd_of(d);
	uint32_t n = (uint32_t)(off / v->block), in = (uint32_t)(off % v->block), entry;
	struct extent now = { 0 };
	int r;

	if (x->kind != EXTENT_DATA)
		return -ENOTSUP;
	r = vhd_entry(d, n, &entry, e);
	if (r == 0 && entry == VHD_FREE) {
		r = new_block(d, n, e);
		if (r == 0)
			r = vhd_entry(d, n, &entry, e);
	}
	if (r == 0)
		r = vhd_map(d, off, want, &now, e);
	if (r < 0)
		return r;
	x->off = round_down(entry * UINT64_C(512) + v->bitmap_bytes + in, 512);
	x->len = MIN(want, now.len);
	x->token = now.kind != EXTENT_DATA;
	x->head = off % 512;
	x->tail = (uint32_t)(round_up(off + x->len, 512) - off - x->len);
	return 0;
}

static int set_bits(struct disk *d, uint64_t at, uint32_t first, uint32_t end, struct err *e)
{
	struct vhd *v = vhd_of(d);

	while (first < end) {
		struct page *page;
		uint8_t *p;
		int r = pages_get(d, &v->pages, 0, at + first / 8, &page, &p, e);

		if (r < 0)
			return r;
		do
			*p |= (uint8_t)(0x80 >> (first++ % 8));
		while (first < end && first % 8);
		pages_dirty(d, &v->pages, page, p);
	}
	return 0;
}

/* The block is there already; the bits of its bitmap follow. */
int vhd_commit(struct disk *d, uint64_t off, const struct extent *x, struct err *e)
{
	struct vhd *v = vhd_of(d);
	uint32_t n = (uint32_t)(off / v->block), first = (uint32_t)(off % v->block / 512), entry;
	uint32_t sectors = (uint32_t)((x->head + x->len + x->tail) / 512);
	int r;

	if (!x->token)
		return 0;
	r = vhd_entry(d, n, &entry, e);
	return r < 0 ? r : set_bits(d, entry * UINT64_C(512), first, first + sectors, e);
}

/* A block without data reads as before. */
void vhd_abandon(struct disk *d, uint64_t off, const struct extent *x)
{
	(void)d;
	(void)off;
	(void)x;
}

/* In place, by holes in the host's file. A differencing image has no way to say zero otherwise. */
int vhd_zero(struct disk *d, uint64_t off, uint64_t *len, bool unmap, struct err *e)
{
	struct vhd *v = vhd_of(d);
	struct extent x = { 0 };
	int r = vhd_map(d, off, *len, &x, e);

	if (r < 0)
		return r;
	*len = MIN(*len, x.len);
	if (x.kind == EXTENT_BACKING && v->type == VHD_DIFF)
		return -ENOTSUP;
	if (x.kind != EXTENT_DATA)
		return 0;
	if (v->type == VHD_FIXED)
		return file_zero(disk_file(d), x.off, *len, unmap, e);
	pthread_mutex_unlock(&d->meta);
	r = file_zero(disk_file(d), x.off, *len, unmap, e);
	pthread_mutex_lock(&d->meta);
	return r;
}

int vhd_discard(struct disk *d, uint64_t off, uint64_t *len, struct err *e)
{
	int r = vhd_zero(d, off, len, true, e);

	return r == -ENOTSUP ? 0 : r;
}

/* Under the lock no block is where the footer goes; a later one goes over it. */
static int write_footer(struct disk *d, struct err *e)
{
	struct vhd *v = vhd_of(d);
	int r = 0;

	pthread_mutex_lock(&d->meta);
	if (v->footer_due) {
		r = file_pwrite(disk_file(d), v->end, v->footer, VHD_FOOTER, e);
		v->footer_due = r < 0;
	}
	pthread_mutex_unlock(&d->meta);
	return r;
}

int vhd_flush(struct disk *d, struct err *e)
{
	struct vhd *v = vhd_of(d);
	int r;

	if (v->type == VHD_FIXED)
		return sync_files(d, e);
	r = write_footer(d, e);
	return r < 0 ? r : pages_flush(d, &v->pages, e);
}

/* Everything back to the parent. */
int vhd_make_empty(struct disk *d, struct err *e)
{
	struct vhd *v = vhd_of(d);
	int r = 0;

	if (v->type == VHD_FIXED)
		return err_lacking(e, "%s: a fixed image cannot be emptied", disk_file(d)->name);
	for (uint32_t n = 0; r == 0 && n < v->entries; n++) {
		r = vhd_set_entry(d, n, VHD_FREE, e);
		if (r == 0 && d->wants_flush)
			r = vhd_flush(d, e);
	}
	memset(v->full, 0, BITMAP_WORDS((size_t)v->entries) * 8);
	if (r == 0)
		r = vhd_flush(d, e);
	return r < 0 ? r : vhd_compact(d, e);
}
