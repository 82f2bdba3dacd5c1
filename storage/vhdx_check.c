/* VHDX: checks and repairs, and making the disk longer. Nothing is in flight. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/slots.h"
#include "storage/vhdx.h"

struct finder {
	struct disk *d;
	struct disk_check *c;
	bool repair;
};

static int found_bad(void *arg, uint64_t index, const char *why, struct err *e)
{
	struct finder *f = arg;
	int r;

	f->c->corruptions++;
	disk_finding(f->c, "entry %llu of the table of blocks %s", (unsigned long long)index, why);
	if (!f->repair)
		return 0;
	r = vhdx_set(f->d, index, VHDX_NOT_PRESENT, e);
	f->c->corruptions_fixed += r == 0;
	return r;
}

/* Free MiB behind the first block: what lies before it is left free by some creators. */
static uint64_t count_free(struct disk *d, const struct slots *s, uint64_t mib)
{
	struct vhdx *v = vhdx_of(d);
	uint64_t first = s->end, n = 0;

	for (uint64_t b = 0; b < v->blocks; b++) {
		uint64_t entry;

		if (vhdx_get(d, vhdx_payload_index(v, b), &entry, NULL) == 0 &&
		    ((entry & 7) == VHDX_PRESENT || (entry & 7) == VHDX_PARTIAL))
			first = MIN(first, (entry & VHDX_OFFSET) / MiB);
	}
	for (uint64_t i = first; i < mib; i++)
		n += !slots_has(s, i);
	return n;
}

int vhdx_check(struct disk *d, unsigned repair, struct disk_check *c, struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	struct finder f = { d, c, repair & DISK_REPAIR_ALL };
	uint64_t used, mib = file_size(disk_file(d)) / MiB, end, unused = 0;
	struct slots s;
	int r = vhdx_survey(d, &s, &used, found_bad, &f, e);

	end = s.end;
	c->units += v->blocks;
	c->units_used += used;
	if (r == 0)
		unused = count_free(d, &s, mib);
	if (unused) {
		c->leaks += unused;
		disk_finding(c, "%llu MiB of the file are not in use", (unsigned long long)unused);
	}
	slots_free(&s);
	if (r < 0 || !repair)
		return r;
	r = vhdx_flush(d, e);
	/* What is free at the end can go; what lies between blocks stays for a conversion. */
	if (r == 0 && mib > end && (!c->corruptions || f.repair)) {
		r = file_truncate(disk_file(d), end * MiB, e);
		c->leaks_fixed += r == 0 ? mib - end : 0;
		v->counted = false;
	}
	return r;
}

/* A longer table of blocks at the end of the file; the tables of regions change one by one. */
static int move_bat(struct disk *d, uint64_t entries, struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	struct vhdx_region bat = { v->end, (uint32_t)round_up(entries * 8, MiB) };
	autofree uint8_t *buf = malloc(VHDX_TABLE_LEN);
	int r = buf ? file_truncate(disk_file(d), bat.off + bat.len, e) : err_nomem(e);

	for (uint64_t at = 0; r == 0 && at < v->entries * 8; at += VHDX_TABLE_LEN) {
		uint64_t n = MIN(v->entries * 8 - at, VHDX_TABLE_LEN);

		r = file_pread(disk_file(d), v->bat.off + at, buf, n, e);
		if (r == 0)
			r = file_pwrite(disk_file(d), bat.off + at, buf, n, e);
	}
	if (r == 0)
		r = file_sync(disk_file(d), e);
	if (r < 0)
		return r;
	v->end = bat.off + bat.len;
	vhdx_put_regions(buf, &bat, &v->meta);
	r = file_pwrite(disk_file(d), VHDX_TABLE_TWO, buf, VHDX_TABLE_LEN, e);
	if (r == 0)
		r = file_sync(disk_file(d), e);
	if (r == 0)
		r = file_pwrite(disk_file(d), VHDX_TABLE_ONE, buf, VHDX_TABLE_LEN, e);
	if (r == 0)
		r = file_sync(disk_file(d), e);
	if (r < 0)
		return r;
	v->bat = bat;
	pages_forget(&v->pages, 0, bat.off, bat.len);
	return 0;
}

/* What others left in the last block behind the end of the disk must not be seen. */
static int clear_tail(struct disk *d, struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	uint64_t in = d->size % v->block, entry;
	int r;

	if (!in)
		return 0;
	r = vhdx_get(d, vhdx_payload_index(v, d->size / v->block), &entry, e);
	if (r < 0 || ((entry & 7) != VHDX_PRESENT && (entry & 7) != VHDX_PARTIAL))
		return r;
	return file_zero(disk_file(d), (entry & VHDX_OFFSET) + in, v->block - in, true, e);
}

static int set_size(struct disk *d, uint64_t size, struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	struct page *page;
	uint8_t *p;
	int r = pages_get(d, &v->pages, 0, v->size_at, &page, &p, e);

	if (r < 0)
		return r;
	put_le64(p, size);
	pages_dirty(d, &v->pages, page, p);
	return vhdx_flush(d, e);
}

static int fill_fixed(struct disk *d, uint64_t first, struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	int r = 0;

	for (uint64_t b = first; r == 0 && b < v->blocks; b++) {
		r = vhdx_new_block(d, b, e);
		if (r == 0 && d->wants_flush)
			r = vhdx_flush(d, e);
	}
	return r < 0 ? r : vhdx_flush(d, e);
}

int vhdx_resize(struct disk *d, uint64_t size, struct err *e)
{
	struct vhdx *v = vhdx_of(d);
	uint64_t blocks, entries, had = v->blocks;
	int r;

	size = round_up(size, v->logical);
	if (size < d->size)
		return err_lacking(e, "%s: VHDX images cannot be made smaller", disk_file(d)->name);
	if (size > VHDX_SIZE_MAX)
		return err_set(e, -EINVAL, "a VHDX disk has at most 64 TiB");
	if (v->size_at % 8)
		return err_lacking(e, "%s: the size is kept where it cannot be changed",
				   disk_file(d)->name);
	vhdx_count_entries(v, size, &blocks, &entries);
	r = vhdx_flush(d, e);
	if (r == 0)
		r = vhdx_count(d, e);
	if (r == 0)
		r = clear_tail(d, e);
	if (r == 0 && entries * 8 > v->bat.len)
		r = move_bat(d, entries, e);
	for (uint64_t i = v->entries; r == 0 && i < entries; i++) {
		r = vhdx_set(d, i, 0, e);
		if (r == 0 && d->wants_flush)
			r = vhdx_flush(d, e);
	}
	if (r == 0)
		r = set_size(d, size, e);
	if (r < 0)
		return r;
	v->blocks = blocks;
	v->entries = entries;
	d->size = size;
	return v->fixed ? fill_fixed(d, had, e) : 0;
}
