/*
 * VDI: room for new blocks, pointing to them, zeroing, and the order in which that reaches the
 * file. With d->meta held, but for flush and what says otherwise.
 */
#include <errno.h>
#include <stdlib.h>

#include "storage/vdi.h"

#define ALLOC_MAX (16 * MiB)

/* In order, so that pages are read one after the other. */
int vdi_count(struct disk *d, struct err *e)
{
	struct vdi *v = vdi_of(d);
	uint64_t data = file_size(disk_file(d));
	struct slots s;
	int r;

	if (v->slots.taken)
		return 0;
	r = slots_init(&s, v->blocks, vdi_slots_max(v), e);
	for (uint32_t n = 0; r == 0 && n < v->blocks; n++) {
		uint32_t entry;

		r = vdi_entry(d, n, &entry, e);
		if (r < 0 || entry >= VDI_ZERO)
			continue;
		r = vdi_check_entry(d, n, entry, e);
		if (r == 0)
			r = slots_mark(&s, entry, e);
		if (r == -EEXIST)
			r = err_damaged(e, "%s: entry %u of the map, %#x, is there twice",
					disk_file(d)->name, n, entry);
	}
	if (r < 0) {
		slots_free(&s);
		return r;
	}
	v->slots = s;
	data = data > v->data_off ? data - v->data_off : 0;
	v->fresh_from = MAX(s.end, (data + v->stride - 1) / v->stride);
	return 0;
}

/* The file covers every slot that was given out, before anything is written there: nobody else's
 * write can then be cut off by making it longer. */
int vdi_cover(struct disk *d, uint64_t end, struct err *e)
{
	struct vdi *v = vdi_of(d);
	uint64_t need = v->data_off + end * v->stride, have = file_size(disk_file(d));

	if (need <= have)
		return 0;
	return file_truncate(disk_file(d), need + (need - v->data_off > ALLOC_MAX ? ALLOC_MAX : 0),
			     e);
}

/* How many blocks from n on have no room of their own, at most max. */
static int count_bare(struct disk *d, uint32_t n, uint64_t max, uint64_t *ret, struct err *e)
{
	struct vdi *v = vdi_of(d);
	uint64_t k = 0;
	int r = 0;

	while (k < max && n + k < v->blocks) {
		uint32_t entry;

		r = vdi_entry(d, n + (uint32_t)k, &entry, e);
		if (r < 0 || entry < VDI_ZERO)
			break;
		k++;
	}
	*ret = k;
	return k ? 0 : r;
}

int vdi_alloc(struct disk *d, uint64_t off, uint64_t want, struct extent *x, struct err *e)
{
	struct vdi *v = vdi_of(d);
	uint32_t n = (uint32_t)(off / v->block), in = (uint32_t)(off % v->block);
	uint64_t k, first, got, room;
	int r;

	if (x->kind != EXTENT_DATA)
		return -ENOTSUP;
	r = vdi_count(d, e);
	k = (in + MIN(want, ALLOC_MAX) + v->block - 1) / v->block;
	if (r == 0)
		r = count_bare(d, n, v->extra ? 1 : k, &k, e);
	if (r == 0 && !k)
		r = err_set(e, -EIO, "a block that has room needs none");
	if (r == 0)
		r = slots_take(&v->slots, k, &first, &got, e);
	if (r < 0)
		return r;
	r = vdi_cover(d, first + got, e);
	if (r < 0) {
		for (k = 0; k < got; k++)
			slots_put(&v->slots, first + k);
		return r;
	}
	x->off = vdi_slot_off(v, first);
	x->flags = first >= v->fresh_from ? EXTENT_FRESH : 0;
	v->fresh_from = MAX(v->fresh_from, first + got);
	room = got * v->block;
	x->head = in;
	x->len = MIN(want, room - in);
	x->tail = (uint32_t)(round_up(in + x->len, v->block) - in - x->len);
	return 0;
}

static uint64_t blocks_of(const struct vdi *v, const struct extent *x)
{
	return (x->head + x->len + x->tail) / v->block;
}

static uint32_t slot_of(const struct vdi *v, const struct extent *x)
{
	return (uint32_t)((x->off - v->extra - v->data_off) / v->stride);
}

int vdi_commit(struct disk *d, uint64_t off, const struct extent *x, struct err *e)
{
	struct vdi *v = vdi_of(d);
	uint32_t n = (uint32_t)(off / v->block), slot = slot_of(v, x);
	int r = 0;

	for (uint32_t k = 0; r == 0 && k < blocks_of(v, x); k++)
		r = vdi_set_entry(d, n + k, slot + k, e);
	return r;
}

void vdi_abandon(struct disk *d, uint64_t off, const struct extent *x)
{
	struct vdi *v = vdi_of(d);
	uint32_t n = (uint32_t)(off / v->block), slot = slot_of(v, x), entry;

	/* What commit() had already pointed to stays; and what cannot be looked up, too. */
	for (uint32_t k = 0; k < blocks_of(v, x); k++)
		if (vdi_entry(d, n + k, &entry, NULL) == 0 && entry != slot + k)
			slots_put(&v->slots, slot + k);
}

/* A block without room becomes zero by its entry alone. */
static int zero_bare(struct disk *d, uint64_t off, uint64_t *len, const struct extent *x,
		     struct err *e)
{
	struct vdi *v = vdi_of(d);
	uint32_t n = (uint32_t)(off / v->block);
	uint64_t k, blocks = (MIN(*len, x->len) + v->block - 1) / v->block;
	int r = 0;

	*len = MIN(*len, x->len);
	if (x->kind == EXTENT_ZERO || v->type != VDI_DIFF)
		return 0;
	blocks = MIN(blocks, PAGE_BYTES);
	for (k = 0; r == 0 && k < blocks; k++)
		r = vdi_set_entry(d, n + (uint32_t)k, VDI_ZERO, e);
	*len = MIN(*len, blocks * v->block);
	return r;
}

int vdi_zero(struct disk *d, uint64_t off, uint64_t *len, bool unmap, struct err *e)
{
	struct extent x = { 0 };
	int r = vdi_format.map(d, off, *len, &x, e);

	if (r < 0)
		return r;
	if (x.kind != EXTENT_DATA)
		return zero_bare(d, off, len, &x, e);
	*len = MIN(*len, x.len);
	pthread_mutex_unlock(&d->meta);
	r = file_zero(disk_file(d), x.off, *len, unmap, e);
	pthread_mutex_lock(&d->meta);
	return r;
}

int vdi_discard(struct disk *d, uint64_t off, uint64_t *len, struct err *e)
{
	return vdi_zero(d, off, len, true, e);
}

/* Other programs trust this number: it is never lower in the file than what entries there use. */
static int set_allocated(struct disk *d, uint32_t now, struct err *e)
{
	struct vdi *v = vdi_of(d);
	uint32_t old = le32(v->header + VDI_AT_ALLOCATED);
	int r;

	if (old == now)
		return 0;
	put_le32(v->header + VDI_AT_ALLOCATED, now);
	r = vdi_write_header(d, e);
	if (r < 0)
		put_le32(v->header + VDI_AT_ALLOCATED, old);
	return r;
}

int vdi_flush(struct disk *d, struct err *e)
{
	struct vdi *v = vdi_of(d);
	uint32_t now;
	int r = 0;

	pthread_mutex_lock(&d->meta);
	now = (uint32_t)v->slots.end;
	pthread_mutex_unlock(&d->meta);
	if (now > le32(v->header + VDI_AT_ALLOCATED))
		r = set_allocated(d, now, e);
	return r < 0 ? r : pages_flush(d, &v->pages, e);
}

/* Flushed before: nothing is in flight. The room that was taken ahead is given back. */
int vdi_finish(struct disk *d, struct err *e)
{
	struct vdi *v = vdi_of(d);
	uint64_t end;
	int r = 0;

	if (!v->slots.taken)
		return 0;
	end = v->data_off + v->slots.end * v->stride;
	if (file_size(disk_file(d)) > end)
		r = file_truncate(disk_file(d), end, e);
	return r < 0 ? r : set_allocated(d, (uint32_t)v->slots.end, e);
}

/* Everything back to the parent: entries first, then the blocks go. */
int vdi_make_empty(struct disk *d, struct err *e)
{
	struct vdi *v = vdi_of(d);
	int r = 0;

	for (uint32_t n = 0; r == 0 && n < v->blocks; n++) {
		r = vdi_set_entry(d, n, VDI_FREE, e);
		if (r == 0 && d->wants_flush)
			r = vdi_flush(d, e);
	}
	if (r == 0)
		r = vdi_flush(d, e);
	slots_free(&v->slots);
	if (r == 0)
		r = vdi_count(d, e);
	if (r == 0)
		r = vdi_finish(d, e);
	if (r == 0)
		v->fresh_from = 0;
	return r;
}
