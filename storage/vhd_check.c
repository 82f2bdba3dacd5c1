/*
 * VHD: checks and repairs, and moving blocks together. Nothing is in flight. A block is moved by
 * copying it with its bitmap, and after a barrier its entry.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/vhd.h"

enum { STEP = 1 << 20, MOVES = 64 };

struct vhd_gap { /* room between blocks, looked through from the start */
	uint64_t at;
	uint32_t next; /* the first block behind it, in the list of places */
};

int vhd_copy_block(struct disk *d, uint64_t from, uint64_t to, struct err *e)
{
	struct vhd *v = vhd_of(d);
	autofree uint8_t *buf = malloc(STEP);
	int r = buf ? 0 : err_nomem(e);

	for (uint64_t at = 0; r == 0 && at < vhd_stride(v); at += STEP) {
		uint64_t n = MIN(vhd_stride(v) - at, STEP);

		r = file_pread(disk_file(d), from + at, buf, n, e);
		if (r == 0)
			r = file_pwrite(disk_file(d), to + at, buf, n, e);
	}
	pages_forget(&v->pages, 0, to, vhd_stride(v));
	return r;
}

/* Where a block may not lie; the end of what is in the way at [at, at + len), or 0. */
static uint64_t in_the_way(const struct vhd *v, uint64_t at, uint64_t len)
{
	uint64_t bat = v->entries * UINT64_C(4), end = 0;

	if (ranges_overlap(at, len, 0, VHD_FOOTER))
		end = VHD_FOOTER;
	if (ranges_overlap(at, len, v->header_off, VHD_HEADER))
		end = MAX(end, v->header_off + VHD_HEADER);
	if (ranges_overlap(at, len, v->bat_off, bat))
		end = MAX(end, v->bat_off + round_up(bat, 512));
	for (int i = 0; i < VHD_LOCATORS; i++) {
		const uint8_t *l = v->header + VHD_AT_LOCATORS + i * VHD_LOCATOR;
		uint64_t room = MAX(round_up(be32(l + 8), 512), 512);

		if (be32(l) && ranges_overlap(at, len, be64(l + 16), room))
			end = MAX(end, be64(l + 16) + room);
	}
	return end;
}

/* The next place for a block before `limit`; false when there is none. */
static bool next_gap(const struct vhd *v, const struct vhd_place *all, uint32_t n,
		     struct vhd_gap *g, uint64_t limit)
{
	uint64_t stride = vhd_stride(v);

	for (;;) {
		uint64_t at = vhd_place_after(v, g->at), end = in_the_way(v, at, stride), block;

		if (at + stride > limit)
			return false;
		if (end) {
			g->at = end;
			continue;
		}
		while (g->next < n && all[g->next].sector * UINT64_C(512) + stride <= at)
			g->next++;
		block = g->next < n ? all[g->next].sector * UINT64_C(512) : UINT64_MAX;
		if (block >= at + stride) {
			g->at = at;
			return true;
		}
		g->at = block + stride;
	}
}

static uint64_t end_of_tables(const struct vhd *v)
{
	uint64_t end =
	    MAX(v->header_off + VHD_HEADER, v->bat_off + round_up(v->entries * UINT64_C(4), 512));

	for (int i = 0; i < VHD_LOCATORS; i++) {
		const uint8_t *l = v->header + VHD_AT_LOCATORS + i * VHD_LOCATOR;

		if (be32(l))
			end = MAX(end, be64(l + 16) + MAX(round_up(be32(l + 8), 512), 512));
	}
	return end;
}

/* The last blocks into the gaps, then the file is cut behind the last one. */
int vhd_compact(struct disk *d, struct err *e)
{
	struct vhd *v = vhd_of(d);
	autofree struct vhd_place *all = NULL;
	struct vhd_gap g = { VHD_FOOTER, 0 };
	uint32_t n, left, moves = 0;
	uint64_t end = 0;
	int r = vhd_survey(d, &all, &n, NULL, NULL, e);

	for (left = n; r == 0 && left; left--) {
		uint64_t from = all[left - 1].sector * UINT64_C(512);

		if (!next_gap(v, all, left, &g, from))
			break;
		r = vhd_copy_block(d, from, g.at, e);
		if (r == 0)
			r = vhd_set_entry(d, all[left - 1].n, (uint32_t)(g.at / 512), e);
		g.at += vhd_stride(v);
		end = g.at;
		if (r == 0 && ++moves % MOVES == 0)
			r = vhd_flush(d, e);
	}
	if (r == 0)
		r = vhd_flush(d, e);
	if (r < 0)
		return r;
	if (left)
		end = MAX(end, all[left - 1].sector * UINT64_C(512) + vhd_stride(v));
	v->end = MAX(end, end_of_tables(v));
	v->counted = v->footer_due = true;
	r = file_truncate(disk_file(d), v->end, e);
	return r < 0 ? r : vhd_flush(d, e);
}

struct finder {
	struct disk_check *c;
	struct disk *d;
	bool repair;
};

static void found_bad(void *arg, uint32_t n, const char *why)
{
	struct finder *f = arg;

	f->c->corruptions++;
	disk_finding(f->c, "entry %u of the table of blocks %s", n, why);
	if (f->repair && vhd_set_entry(f->d, n, VHD_FREE, NULL) == 0)
		f->c->corruptions_fixed++;
}

static void found_leak(struct disk_check *c, uint64_t n, const char *what)
{
	if (!n)
		return;
	c->leaks += n;
	disk_finding(c, "%llu %s", (unsigned long long)n, what);
}

static uint64_t count_gaps(const struct vhd *v, const struct vhd_place *all, uint32_t n,
			   uint64_t size)
{
	uint64_t limit = size > VHD_FOOTER ? round_down(size - VHD_FOOTER, 512) : 0, gaps = 0;
	struct vhd_gap g = { VHD_FOOTER, 0 };

	while (next_gap(v, all, n, &g, limit)) {
		g.at += vhd_stride(v);
		gaps++;
	}
	return gaps;
}

int vhd_check(struct disk *d, unsigned repair, struct disk_check *c, struct err *e)
{
	struct vhd *v = vhd_of(d);
	struct finder f = { c, d, repair & DISK_REPAIR_ALL };
	autofree struct vhd_place *all = NULL;
	uint64_t size = file_size(disk_file(d));
	uint32_t n;
	int r;

	if (v->type == VHD_FIXED) {
		c->units = c->units_used = 1;
		return 0;
	}
	r = vhd_survey(d, &all, &n, found_bad, &f, e);
	if (r < 0)
		return r;
	c->units = v->entries;
	c->units_used = n;
	found_leak(c, count_gaps(v, all, n, size), "blocks of the file are not in use");
	if (v->copy_only && !v->counted)
		found_leak(c, 1, "footer is missing at the end of the file; its copy is used");
	if (!repair || (c->corruptions && !f.repair))
		return 0;
	r = vhd_flush(d, e);
	if (r == 0 && c->leaks) {
		r = vhd_compact(d, e);
		c->leaks_fixed += r == 0 ? c->leaks : 0;
	}
	v->copy_only = v->copy_only && r < 0;
	return r;
}
