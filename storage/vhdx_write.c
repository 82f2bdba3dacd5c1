/*
 * VHDX: room for blocks and bitmaps, pointing to them, zeroing. With d->meta held, but for what
 * says otherwise.
 */
#include <errno.h>
#include <stdlib.h>

#include "storage/slots.h"
#include "storage/vhdx.h"

#define SLOTS_MAX (UINT64_C(1) << 27) /* 128 TiB */

static int take_slots(struct slots *s, uint64_t off, uint64_t len, struct err *e)
{
	for (uint64_t i = off / MiB; i < (off + len + MiB - 1) / MiB; i++) {
		int r = slots_mark(s, i, e);

		if (r < 0)
			return r;
	}
	return 0;
}

static int told(struct disk *d, uint64_t index, const char *why,
		int (*bad)(void *arg, uint64_t index, const char *why, struct err *e), void *arg,
		struct err *e)
{
	if (bad)
		return bad(arg, index, why, e);
	return err_damaged(e, "%s: entry %llu of the table of blocks %s", disk_file(d)->name,
			   (unsigned long long)index, why);
}

static bool is_bitmap(const struct vhdx *v, uint64_t index)
{
	return index % (v->ratio + 1) == v->ratio;
}

static bool has_room(const struct vhdx *v, uint64_t index, uint64_t entry)
{
	unsigned state = entry & 7;

	if (is_bitmap(v, index))
		return v->diff && state == VHDX_PRESENT;
	return state == VHDX_PRESENT || state == VHDX_PARTIAL;
}

int vhdx_survey(struct disk *d, struct slots *s, uint64_t *used,
		int (*bad)(void *arg, uint64_t index, const char *why, struct err *e), void *arg,
		struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	int r = slots_init(s, 64, SLOTS_MAX, e);

	*used = 0;
	if (r == 0)
		r = take_slots(s, 0, MiB, e);
	if (r == 0)
		r = take_slots(s, v->log.off, v->log.len, e);
	if (r == 0)
		r = take_slots(s, v->meta.off, v->meta.len, e);
	if (r == 0)
		r = take_slots(s, v->bat.off, v->bat.len, e);
	if (r == -EEXIST)
		return err_damaged(e, "%s: the regions overlap", disk_file(d)->name);
	for (uint64_t i = 0; r == 0 && i < v->entries; i++) {
		uint64_t entry, len = is_bitmap(v, i) ? MiB : v->block;

		r = vhdx_get(d, i, &entry, e);
		if (r < 0 || !has_room(v, i, entry))
			continue;
		*used += !is_bitmap(v, i);
		if (vhdx_check_offset(d, i, entry, len, NULL) < 0) {
			r = told(d, i, "points outside of the blocks", bad, arg, e);
			continue;
		}
		r = take_slots(s, entry & VHDX_OFFSET, len, e);
		if (r == -EEXIST || r == -ERANGE)
			r = told(d, i, "overlaps another block", bad, arg, e);
	}
	return r;
}

int vhdx_count(struct disk *d, struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	struct slots s;
	uint64_t used;
	int r;

	if (v->counted)
		return 0;
	r = vhdx_survey(d, &s, &used, NULL, NULL, e);
	if (r == 0) {
		v->end = MAX(round_up(file_size(disk_file(d)), MiB), s.end * MiB);
		v->counted = true;
	}
	slots_free(&s);
	return r;
}

/* len bytes that read as zeroes. The file reaches there before anything is written: nobody else's
 * write can be cut off by making it longer. */
static int take_room(struct disk *d, uint64_t len, uint64_t *at, struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	int r = vhdx_count(d, e);

	if (r < 0)
		return r;
	if (v->end + len > file_size(disk_file(d)))
		r = file_truncate(disk_file(d), v->end + len, e);
	if (r < 0)
		return r;
	*at = v->end;
	v->end += len;
	return 0;
}

/* Where the bits of a block are in the file; makes the bitmap when there is none. */
static int own_bits(struct disk *d, uint64_t block, uint64_t *at, struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	uint64_t index = vhdx_bitmap_index(v, block), entry, room;
	int r = vhdx_get(d, index, &entry, e);

	if (r == 0 && (entry & 7) != VHDX_PRESENT) {
		r = take_room(d, MiB, &room, e);
		entry = room | VHDX_PRESENT;
		if (r == 0)
			pages_forget(&v->pages, 0, room, MiB);
		if (r == 0)
			r = vhdx_set(d, index, entry, e);
	} else if (r == 0) {
		r = vhdx_check_offset(d, index, entry, MiB, e);
	}
	*at = (entry & VHDX_OFFSET) + block % v->ratio * (v->block / v->logical / 8);
	return r;
}

/* Bits [first, end) of the block whose bits are at `at`. */
static int put_bits(struct disk *d, uint64_t at, uint64_t first, uint64_t end, bool set,
		    struct err *e)
{
	struct vhdx *v = vhdx_of(d);

	while (first < end) {
		struct page *page;
		uint8_t *p, old;
		int r = pages_get(d, &v->pages, 0, at + first / 8, &page, &p, e);

		if (r < 0)
			return r;
		old = *p;
		do
			*p = (uint8_t)(set ? *p | 1u << (first % 8) : *p & ~(1u << (first % 8)));
		while (++first < end && first % 8);
		if (*p != old)
			pages_dirty(d, &v->pages, page, p);
	}
	return 0;
}

int vhdx_new_block(struct disk *d, uint64_t block, struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	uint64_t index = vhdx_payload_index(v, block), entry, at, bits;
	bool partial;
	int r = vhdx_get(d, index, &entry, e);

	if (r < 0)
		return r;
	partial = v->diff && (entry & 7) == VHDX_NOT_PRESENT;
	if (partial) {
		r = own_bits(d, block, &bits, e);
		if (r == 0)
			r = put_bits(d, bits, 0, v->block / v->logical, false, e);
	}
	if (r == 0)
		r = take_room(d, v->block, &at, e);
	if (r < 0)
		return r;
	return vhdx_set(d, index, at | (partial ? VHDX_PARTIAL : VHDX_PRESENT), e);
}

int vhdx_alloc(struct disk *d, uint64_t off, uint64_t want, struct extent *x, struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	uint64_t block = off / v->block, entry, in = off % v->block;
	struct extent now = { 0 };
	int r;

	if (x->kind != EXTENT_DATA)
		return -ENOTSUP;
	r = vhdx_get(d, vhdx_payload_index(v, block), &entry, e);
	if (r == 0 && (entry & 7) != VHDX_PRESENT && (entry & 7) != VHDX_PARTIAL) {
		r = vhdx_new_block(d, block, e);
		if (r == 0)
			r = vhdx_get(d, vhdx_payload_index(v, block), &entry, e);
	}
	if (r == 0)
		r = vhdx_map(d, off, want, &now, e);
	if (r < 0)
		return r;
	x->off = (entry & VHDX_OFFSET) + round_down(in, v->logical);
	x->len = MIN(MIN(want, now.len), v->block - in);
	x->token = now.kind != EXTENT_DATA;
	x->head = (uint32_t)(off % v->logical);
	x->tail = (uint32_t)(round_up(off + x->len, v->logical) - off - x->len);
	return 0;
}

/* The block is there already; the bits of its bitmap follow. */
int vhdx_commit(struct disk *d, uint64_t off, const struct extent *x, struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	uint64_t block = off / v->block, first = off % v->block / v->logical, bits;
	int r;

	if (!x->token)
		return 0;
	r = own_bits(d, block, &bits, e);
	if (r < 0)
		return r;
	return put_bits(d, bits, first, first + (x->head + x->len + x->tail) / v->logical, true, e);
}

/* A block without data reads as before. */
void vhdx_abandon(struct disk *d, uint64_t off, const struct extent *x)
{
	(void)d;
	(void)off;
	(void)x;
}

/* Whole blocks that are not there can be said to be zero. */
static int zero_bare(struct disk *d, uint64_t off, uint64_t *len, struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	uint64_t block = off / v->block, index = vhdx_payload_index(v, block), entry;
	uint64_t whole = MIN(v->block, d->size - block * v->block);
	int r = vhdx_get(d, index, &entry, e);

	if (r < 0)
		return r;
	if (off % v->block || *len < whole || (entry & 7) != VHDX_NOT_PRESENT)
		return -ENOTSUP;
	*len = whole;
	return vhdx_set(d, index, VHDX_ZERO, e);
}

int vhdx_zero(struct disk *d, uint64_t off, uint64_t *len, bool unmap, struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	struct extent x = { 0 };
	int r = vhdx_map(d, off, *len, &x, e);

	if (r < 0)
		return r;
	if (x.kind == EXTENT_BACKING && v->diff)
		return zero_bare(d, off, len, e);
	*len = MIN(*len, x.len);
	if (x.kind != EXTENT_DATA)
		return 0;
	pthread_mutex_unlock(&d->meta);
	r = file_zero(disk_file(d), x.off, *len, unmap, e);
	pthread_mutex_lock(&d->meta);
	return r;
}

int vhdx_discard(struct disk *d, uint64_t off, uint64_t *len, struct err *e)
{
	struct extent x = { 0 };
	int r = vhdx_zero(d, off, len, true, e);

	if (r != -ENOTSUP)
		return r;
	/* Parts of blocks over a parent stay as they are. */
	r = vhdx_map(d, off, *len, &x, e);
	*len = MIN(*len, x.len);
	return r;
}
