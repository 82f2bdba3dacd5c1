/*
 * Writing a Parallels image: clusters at the end of the file, and the table. "In use" is in the
 * file before the first entry of a session changes, and cleared at the end. Data is durable before
 * the entry that points to it (pages_flush()).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/parallels.h"

uint64_t prl_slot_up(const struct prl_image *im, uint64_t off)
{
	if (off <= im->data_off)
		return im->data_off;
	return im->data_off + round_up(off - im->data_off, im->cluster);
}

/* Whoever had it open did not get to the end: what it points to is looked at first. */
int prl_prepare(struct disk *d, struct err *e)
{
	struct parallels *p = parallels_of(d);
	struct prl_image *im = prl_top(d);
	struct disk_check c = { 0 };
	uint8_t b[4] = { 0 };
	int r = 0;

	p->end = prl_slot_up(im, file_size(disk_file(d)));
	if (im->empty) {
		r = file_zero(disk_file(d), PRL_HEADER_LEN, (uint64_t)im->entries * 4, false, e);
		if (r == 0)
			r = file_sync(disk_file(d), e);
		if (r == 0)
			r = file_pwrite(disk_file(d), PRL_AT_FLAGS, b, sizeof(b), e);
		im->empty = false;
	}
	if (r < 0 || !im->dirty || d->flags & DISK_FOR_REPAIR)
		return r;
	r = prl_check(d, DISK_REPAIR_ALL, &c, e);
	if (r == 0 && c.corruptions > c.corruptions_fixed)
		r = err_damaged(e, "%s was not closed and cannot be repaired", disk_file(d)->name);
	p->marked = true;
	im->dirty = false;
	return r;
}

int prl_put_entry(struct disk *d, uint64_t cluster, uint32_t entry, struct err *e)
{
	struct page *page;
	uint8_t *p;
	int r =
	    pages_get(d, &parallels_of(d)->pages, 0, PRL_HEADER_LEN + cluster * 4, &page, &p, e);

	if (r < 0)
		return r;
	put_le32(p, entry);
	pages_dirty(d, &parallels_of(d)->pages, page, p);
	return 0;
}

int prl_alloc(struct disk *d, uint64_t off, uint64_t want, struct extent *x, struct err *e)
{
	struct parallels *p = parallels_of(d);
	struct prl_image *im = prl_top(d);
	uint64_t first = off / im->cluster, in = off % im->cluster, n = 0, at, used;
	/* Entries of one page: commit() does all or nothing. */
	uint64_t most = (PAGE_BYTES - (PRL_HEADER_LEN + first * 4) % PAGE_BYTES) / 4;

	if (x->kind != EXTENT_DATA)
		return -ENOTSUP;
	while (n < most && n * im->cluster < in + want) {
		int r = prl_entry(d, im, first + n, &at, n ? NULL : e);

		if (r < 0 && !n)
			return r;
		if (r < 0 || at)
			break;
		n++;
	}
	at = prl_slot_up(im, MAX(p->end, file_size(disk_file(d))));
	if (!n || (at + n * im->cluster) / im->step > UINT32_MAX)
		return err_set(e, -EFBIG, "%s cannot grow any more", disk_file(d)->name);
	p->end = at + n * im->cluster;
	used = in + MIN(want, n * im->cluster - in);
	x->flags = at >= file_size(disk_file(d)) && at >= p->touched_end ? EXTENT_FRESH : 0;
	x->off = at;
	x->head = (uint32_t)in;
	x->len = used - in;
	x->tail = (uint32_t)(n * im->cluster - used);
	return 0;
}

int prl_commit(struct disk *d, uint64_t off, const struct extent *x, struct err *e)
{
	struct prl_image *im = prl_top(d);
	uint64_t n = (x->head + x->len + x->tail) / im->cluster;
	int r = 0;

	for (uint64_t i = 0; r == 0 && i < n; i++)
		r = prl_put_entry(d, off / im->cluster + i,
				  (uint32_t)((x->off + i * im->cluster) / im->step), e);
	return r;
}

void prl_abandon(struct disk *d, uint64_t off, const struct extent *x)
{
	struct parallels *p = parallels_of(d);
	uint64_t end = x->off + x->head + x->len + x->tail;

	(void)off;
	p->touched_end = MAX(p->touched_end, end);
	if (end == p->end)
		p->end = x->off;
}

/* A cluster keeps its place; its space is given back by a hole. */
int prl_zero(struct disk *d, uint64_t off, uint64_t *len, bool unmap, struct err *e)
{
	struct extent x = { 0 };
	int r = d->format->map(d, off, *len, &x, e);

	if (r < 0)
		return r;
	*len = MIN(*len, x.len);
	return x.kind == EXTENT_DATA ? file_zero(d->files[x.file], x.off, *len, unmap, e) : 0;
}

int prl_discard(struct disk *d, uint64_t off, uint64_t *len, struct err *e)
{
	return prl_zero(d, off, len, true, e);
}

/*
 * Part of the header: into the file, and into the page in memory, which holds the first entries,
 * too, and must not bring the old header back.
 */
int prl_set_header(struct disk *d, size_t at, const void *data, size_t len, struct err *e)
{
	struct page *page;
	uint8_t *p;
	int r;

	pthread_mutex_lock(&d->meta);
	r = pages_get(d, &parallels_of(d)->pages, 0, 0, &page, &p, e);
	if (r == 0)
		memcpy(p + at, data, len);
	pthread_mutex_unlock(&d->meta);
	return r < 0 ? r : file_pwrite(disk_file(d), at, data, len, e);
}

/* The extension holds bitmaps of changes, which would miss ours: it is let go. */
static int mark(struct disk *d, struct err *e)
{
	struct parallels *p = parallels_of(d);
	uint8_t b[8] = { 0 };
	uint64_t end;
	int r = 0;

	pthread_mutex_lock(&d->meta);
	end = p->end;
	pthread_mutex_unlock(&d->meta);
	if (file_size(disk_file(d)) < end)
		r = file_truncate(disk_file(d), end, e);
	if (r == 0 && !p->marked)
		r = prl_set_header(d, PRL_AT_EXTENSION, b, 8, e);
	put_le32(b, PRL_DIRTY);
	if (r == 0 && !p->marked)
		r = prl_set_header(d, PRL_AT_IN_USE, b, 4, e);
	p->marked |= r == 0;
	return r;
}

int prl_flush(struct disk *d, struct err *e)
{
	struct parallels *p = parallels_of(d);
	bool changes;
	int r = 0;

	pthread_mutex_lock(&d->meta);
	changes = p->pages.dirty_n;
	pthread_mutex_unlock(&d->meta);
	if (changes)
		r = mark(d, e);
	return r < 0 ? r : pages_flush(d, &p->pages, e);
}

int prl_finish(struct disk *d, struct err *e)
{
	struct parallels *p = parallels_of(d);
	uint8_t b[4];
	int r;

	if (!p->marked)
		return 0;
	put_le32(b, PRL_CLEAN);
	r = prl_set_header(d, PRL_AT_IN_USE, b, sizeof(b), e);
	if (r == 0)
		r = file_sync(disk_file(d), e);
	p->marked = r < 0;
	return r;
}
