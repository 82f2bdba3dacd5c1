/*
 * VDI: checks and repairs, and changing the size. Nothing is in flight. A block is moved by copying
 * it, and after a barrier its entry: at any moment each entry points to a whole block.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/vdi.h"

enum { STEP = 1 << 20, MOVES = 256 };

static int copy_slot(struct disk *d, uint64_t from, uint64_t to, struct err *e)
{
	struct vdi *v = vdi_of(d);
	uint64_t step = MIN(v->stride, STEP);
	autofree uint8_t *buf = malloc(step);
	int r = buf ? 0 : err_nomem(e);

	for (uint64_t at = 0; r == 0 && at < v->stride; at += step) {
		uint64_t n = MIN(step, v->stride - at);

		r = file_pread(disk_file(d), v->data_off + from * v->stride + at, buf, n, e);
		if (r == 0)
			r = file_pwrite(disk_file(d), v->data_off + to * v->stride + at, buf, n, e);
	}
	return r;
}

static int recount(struct disk *d, struct err *e)
{
	slots_free(&vdi_of(d)->slots);
	return vdi_count(d, e);
}

/* The highest blocks into the gaps, so that the slots are dense; the file is cut. */
static int compact(struct disk *d, struct err *e)
{
	struct vdi *v = vdi_of(d);
	uint64_t used, moves = 0;
	int r = vdi_count(d, e);

	used = v->slots.used;
	for (uint32_t n = 0; r == 0 && n < v->blocks && v->slots.end > used; n++) {
		uint64_t to, got;
		uint32_t entry;

		r = vdi_entry(d, n, &entry, e);
		if (r < 0 || entry >= VDI_ZERO || entry < used)
			continue;
		r = slots_take(&v->slots, 1, &to, &got, e);
		if (r == 0)
			r = copy_slot(d, entry, to, e);
		if (r == 0)
			r = vdi_set_entry(d, n, (uint32_t)to, e);
		if (r == 0 && ++moves % MOVES == 0)
			r = vdi_flush(d, e);
	}
	if (r == 0)
		r = vdi_flush(d, e);
	if (r == 0)
		r = recount(d, e);
	return r < 0 ? r : vdi_finish(d, e);
}

/* Sector 0 holds all of it: map, blocks and size change in one write. */
static int publish(struct disk *d, uint64_t size, uint32_t blocks, uint64_t map, uint64_t data,
		   struct err *e)
{
	struct vdi *v = vdi_of(d);
	uint8_t old[VDI_HEADER];
	int r;

	memcpy(old, v->header, VDI_HEADER);
	put_le32(v->header + VDI_AT_MAP, (uint32_t)map);
	put_le32(v->header + VDI_AT_DATA, (uint32_t)data);
	put_le32(v->header + VDI_AT_BLOCKS, blocks);
	put_le64(v->header + VDI_AT_SIZE, size);
	r = vdi_write_header(d, e);
	if (r == 0)
		r = file_sync(disk_file(d), e);
	if (r < 0) {
		memcpy(v->header, old, VDI_HEADER);
		return r;
	}
	v->map_off = map;
	v->data_off = data;
	v->blocks = blocks;
	d->size = size;
	return 0;
}

static int shrink(struct disk *d, uint64_t size, uint32_t need, struct err *e)
{
	struct vdi *v = vdi_of(d);
	int r = 0;

	for (uint32_t n = need; r == 0 && n < v->blocks; n++) {
		r = vdi_set_entry(d, n, VDI_FREE, e);
		if (r == 0 && d->wants_flush)
			r = vdi_flush(d, e);
	}
	if (r == 0)
		r = vdi_flush(d, e);
	if (r == 0)
		r = recount(d, e);
	if (r == 0)
		r = compact(d, e);
	return r < 0 ? r : publish(d, size, need, v->map_off, v->data_off, e);
}

/* There is room behind the map. */
static int lengthen_map(struct disk *d, uint32_t need, struct err *e)
{
	int r = 0;

	for (uint32_t n = vdi_of(d)->blocks; r == 0 && n < need; n++) {
		r = vdi_set_entry(d, n, VDI_FREE, e);
		if (r == 0 && d->wants_flush)
			r = vdi_flush(d, e);
	}
	return r < 0 ? r : vdi_flush(d, e);
}

/* The blocks in the first k slots move behind the others. */
static int vacate(struct disk *d, uint64_t k, struct err *e)
{
	struct vdi *v = vdi_of(d);
	uint64_t to = MAX(v->slots.end, k);
	int r = 0;

	for (uint32_t n = 0; r == 0 && n < v->blocks; n++) {
		uint32_t entry;

		r = vdi_entry(d, n, &entry, e);
		if (r < 0 || entry >= k)
			continue;
		r = slots_mark(&v->slots, to, e);
		if (r == 0)
			r = vdi_cover(d, to + 1, e);
		if (r == 0)
			r = copy_slot(d, entry, to, e);
		if (r == 0)
			r = vdi_set_entry(d, n, (uint32_t)to++, e);
	}
	return r < 0 ? r : vdi_flush(d, e);
}

/* The new map, for a numbering of slots that starts k later, where the first slots were. */
static int write_moved_map(struct disk *d, uint32_t need, uint64_t k, struct err *e)
{
	struct vdi *v = vdi_of(d);
	autofree uint8_t *buf = malloc(STEP);
	int r = buf ? 0 : err_nomem(e);

	for (uint32_t n = 0; r == 0 && n < need; n += STEP / 4) {
		uint32_t step = MIN(need - n, STEP / 4);

		for (uint32_t i = 0; r == 0 && i < step; i++) {
			uint32_t entry = VDI_FREE;

			if (n + i < v->blocks)
				r = vdi_entry(d, n + i, &entry, e);
			put_le32(buf + i * 4, entry >= VDI_ZERO ? entry : entry - (uint32_t)k);
		}
		if (r == 0)
			r = file_pwrite(disk_file(d), v->data_off + n * UINT64_C(4), buf,
					step * UINT64_C(4), e);
	}
	return r < 0 ? r : file_sync(disk_file(d), e);
}

static int grow(struct disk *d, uint64_t size, uint32_t need, struct err *e)
{
	struct vdi *v = vdi_of(d);
	uint64_t k = (need * UINT64_C(4) + v->stride - 1) / v->stride, map = v->data_off;
	int r;

	if (need == v->blocks)
		return publish(d, size, need, v->map_off, v->data_off, e);
	if (v->map_off + need * UINT64_C(4) <= v->data_off) {
		r = lengthen_map(d, need, e);
		return r < 0 ? r : publish(d, size, need, v->map_off, v->data_off, e);
	}
	if (map + k * v->stride > UINT32_MAX)
		return err_set(e, -ENOSPC, "%s: there is no room for a longer map",
			       disk_file(d)->name);
	r = vdi_cover(d, k, e);
	if (r == 0)
		r = vacate(d, k, e);
	if (r == 0)
		r = write_moved_map(d, need, k, e);
	if (r == 0)
		r = publish(d, size, need, map, map + k * v->stride, e);
	if (r < 0)
		return r;
	pages_forget(&v->pages, 0, map, need * UINT64_C(4));
	r = recount(d, e);
	return r < 0 ? r : vdi_finish(d, e);
}

/* A fixed image has room for all of its blocks. */
static int fill_fixed(struct disk *d, struct err *e)
{
	struct vdi *v = vdi_of(d);
	int r = 0;

	for (uint32_t n = 0; r == 0 && n < v->blocks; n++) {
		uint64_t to, got;
		uint32_t entry;

		r = vdi_entry(d, n, &entry, e);
		if (r < 0 || entry < VDI_ZERO)
			continue;
		r = slots_take(&v->slots, 1, &to, &got, e);
		if (r == 0)
			r = vdi_cover(d, to + 1, e);
		if (r == 0 && to < v->fresh_from)
			r = file_zero(disk_file(d), vdi_slot_off(v, to), v->block, true, e);
		v->fresh_from = MAX(v->fresh_from, to + 1);
		if (r == 0)
			r = vdi_set_entry(d, n, (uint32_t)to, e);
	}
	return r < 0 ? r : vdi_flush(d, e);
}

int vdi_resize(struct disk *d, uint64_t size, struct err *e)
{
	struct vdi *v = vdi_of(d);
	uint64_t need = size / v->block + !!(size % v->block);
	int r;

	if (need > VDI_BLOCKS_MAX)
		return err_set(e, -EINVAL, "a VDI image has at most %u blocks of %u bytes",
			       VDI_BLOCKS_MAX, v->block);
	r = vdi_count(d, e);
	if (r == 0 && need < v->blocks)
		r = shrink(d, size, (uint32_t)need, e);
	else if (r == 0)
		r = grow(d, size, (uint32_t)need, e);
	return r == 0 && v->type == VDI_FIXED ? fill_fixed(d, e) : r;
}

static void found(struct disk_check *c, const char *text)
{
	if (c->finding)
		c->finding(c->arg, text);
}

static void found_bad(struct disk_check *c, uint32_t n, uint32_t entry, const char *why)
{
	char text[160];

	c->corruptions++;
	snprintf(text, sizeof(text), "entry %u of the map, %#x, %s", n, entry, why);
	found(c, text);
}

/* Entries that point nowhere become free; of two for one block the second gets a copy. */
static int repair_entries(struct disk *d, struct slots *all, struct disk_check *c, struct err *e)
{
	struct vdi *v = vdi_of(d);
	struct slots seen;
	int r = slots_init(&seen, v->blocks, vdi_slots_max(v), e);

	for (uint32_t n = 0; r == 0 && n < v->blocks; n++) {
		uint64_t to, got;
		uint32_t entry;

		r = vdi_entry(d, n, &entry, e);
		if (r < 0 || entry >= VDI_ZERO)
			continue;
		if (vdi_check_entry(d, n, entry, NULL) < 0) {
			r = vdi_set_entry(d, n, VDI_FREE, e);
			c->corruptions_fixed++;
			continue;
		}
		r = slots_mark(&seen, entry, e);
		if (r != -EEXIST)
			continue;
		r = slots_take(all, 1, &to, &got, e);
		if (r == 0)
			r = vdi_cover(d, to + 1, e);
		if (r == 0)
			r = copy_slot(d, entry, to, e);
		if (r == 0)
			r = vdi_set_entry(d, n, (uint32_t)to, e);
		c->corruptions_fixed++;
	}
	slots_free(&seen);
	return r < 0 ? r : vdi_flush(d, e);
}

static int check_entries(struct disk *d, struct slots *s, struct disk_check *c, struct err *e)
{
	struct vdi *v = vdi_of(d);
	int r = 0;

	for (uint32_t n = 0; r == 0 && n < v->blocks; n++) {
		uint32_t entry;

		r = vdi_entry(d, n, &entry, e);
		if (r < 0 || entry >= VDI_ZERO)
			continue;
		c->units_used++;
		if (vdi_check_entry(d, n, entry, NULL) < 0) {
			found_bad(c, n, entry, "points past the end of the file");
			continue;
		}
		r = slots_mark(s, entry, e);
		if (r == -EEXIST) {
			found_bad(c, n, entry, "is there twice");
			r = 0;
		}
	}
	return r;
}

static int check_allocated(struct disk *d, const struct slots *s, struct disk_check *c)
{
	uint32_t allocated = le32(vdi_of(d)->header + VDI_AT_ALLOCATED);
	char text[160];

	if (allocated != s->end) {
		snprintf(text, sizeof(text),
			 "the header counts %u allocated blocks, and it is %llu", allocated,
			 (unsigned long long)s->end);
		found(c, text);
	}
	if (s->end > s->used) {
		snprintf(text, sizeof(text), "%llu blocks of the file are not in use",
			 (unsigned long long)(s->end - s->used));
		found(c, text);
	}
	c->leaks += s->end - s->used + (allocated > s->end ? allocated - s->end : 0);
	if (allocated >= s->end)
		return 0;
	c->corruptions++;
	return 1;
}

int vdi_check(struct disk *d, unsigned repair, struct disk_check *c, struct err *e)
{
	struct vdi *v = vdi_of(d);
	bool low = false;
	struct slots s;
	int r = slots_init(&s, v->blocks, vdi_slots_max(v), e);

	c->units = v->blocks;
	if (r == 0)
		r = check_entries(d, &s, c, e);
	if (r == 0)
		low = check_allocated(d, &s, c);
	if (r == 0 && repair & DISK_REPAIR_ALL && c->corruptions)
		r = repair_entries(d, &s, c, e);
	slots_free(&s);
	if (r < 0 || !repair || (c->corruptions > low && !(repair & DISK_REPAIR_ALL)))
		return r;
	r = recount(d, e);
	if (r == 0)
		r = compact(d, e);
	if (r == 0) {
		c->leaks_fixed += c->leaks;
		c->corruptions_fixed += low;
	}
	return r;
}
