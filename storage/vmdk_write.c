/*
 * VMDK: room for grains in sparse extents, pointing to them, zeroing. With d->meta held, but for
 * flush and finish.
 */
#include <errno.h>
#include <stdlib.h>

#include "storage/vmdk.h"

#define ALLOC_MAX (16 * MiB)

static bool has_parent(const struct disk *d)
{
	const struct vmdk *v = d->priv;

	return d->backing || d->backing_name || v->parent_cid != VMDK_NO_PARENT;
}

static int cannot_write(struct disk *d, uint64_t off, struct err *e)
{
	err_lacking(e, "%s: byte %llu of the disk is in an extent that can only be read",
		    disk_file(d)->name, (unsigned long long)off);
	return -ENOTSUP;
}

int vmdk_count(struct disk *d, struct vmdk_extent *x, struct err *e)
{
	struct file *f = d->files[x->file];
	uint8_t one = 1;
	int r;

	if (x->counted)
		return 0;
	r = file_pwrite(f, VMDK_AT_UNCLEAN, &one, 1, e);
	if (r < 0)
		return r;
	x->fresh_from = file_size(f);
	x->end = round_up(x->fresh_from, x->grain);
	x->counted = x->marked_unclean = true;
	return 0;
}

/* n bytes at the end of the file, which is made to reach there before anything is written. */
static int take_room(struct disk *d, struct vmdk_extent *x, uint64_t n, uint64_t *at, struct err *e)
{
	struct file *f = d->files[x->file];
	uint64_t end = x->end + n;
	int r = 0;

	if ((end - 1) / 512 > UINT32_MAX)
		return err_set(e, -ENOSPC, "%s: the extent is full", f->name);
	if (end > file_size(f))
		r = file_truncate(f, end + (end > 4 * ALLOC_MAX ? ALLOC_MAX : 0), e);
	if (r < 0)
		return r;
	*at = x->end;
	x->end = round_up(end, x->grain);
	return 0;
}

/* A table full of zeroes for this grain, where the directory has none. */
static int own_table(struct disk *d, struct vmdk_extent *x, uint64_t directory, uint64_t grain,
		     struct err *e)
{
	uint64_t at, bytes = round_up(x->table_entries * UINT64_C(4), 512);
	int r = vmdk_entry_at(d, x, directory, grain, &at, e);

	if (r < 0 || at)
		return r;
	r = take_room(d, x, bytes, &at, e);
	if (r == 0 && at < x->fresh_from)
		r = file_zero(d->files[x->file], at, bytes, false, e);
	if (r < 0)
		return r;
	x->fresh_from = MAX(x->fresh_from, at + bytes);
	pages_forget(&vmdk_of(d)->pages, x->file, at, bytes);
	return vmdk_set32(d, x, directory + grain / x->table_entries * 4, (uint32_t)(at / 512), e);
}

static int own_tables(struct disk *d, struct vmdk_extent *x, uint64_t grain, struct err *e)
{
	int r = vmdk_count(d, x, e);

	if (r == 0)
		r = own_table(d, x, x->directory, grain, e);
	return r < 0 || !x->redundant ? r : own_table(d, x, x->redundant, grain, e);
}

/* In both tables. */
static int set_entry(struct disk *d, struct vmdk_extent *x, uint64_t grain, uint32_t entry,
		     struct err *e)
{
	uint64_t at;
	int r = 0;

	if (x->redundant)
		r = vmdk_entry_at(d, x, x->redundant, grain, &at, e);
	if (r == 0 && x->redundant)
		r = vmdk_set32(d, x, at, entry, e);
	if (r == 0)
		r = vmdk_entry_at(d, x, x->directory, grain, &at, e);
	return r < 0 ? r : vmdk_set32(d, x, at, entry, e);
}

/* How many grains from n on have no room, at most max, in one table. */
static int count_bare(struct disk *d, struct vmdk_extent *x, uint64_t n, uint64_t max,
		      uint64_t *ret, struct err *e)
{
	uint64_t k = 0, at;
	int r = vmdk_entry_at(d, x, x->directory, n, &at, e);

	max = MIN(max, x->table_entries - n % x->table_entries);
	while (r == 0 && k < max) {
		uint32_t entry;

		r = vmdk_get32(d, x, at + k * 4, &entry, e);
		if (r < 0 || (entry && !(x->zeroed && entry == 1)))
			break;
		k++;
	}
	*ret = k;
	return k ? 0 : r;
}

int vmdk_alloc(struct disk *d, uint64_t off, uint64_t want, struct extent *ret, struct err *e)
{
	struct vmdk_extent *x = vmdk_find(d, off);
	uint64_t n, k, at;
	uint32_t in;
	int r;

	if (vmdk_of(d)->stream && ret->kind == EXTENT_COMPRESSED)
		return vmdk_stream_alloc(d, off, ret, e);
	if (vmdk_of(d)->stream || ret->kind != EXTENT_DATA)
		return -ENOTSUP;
	if (x->kind != VMDK_SPARSE || !x->writable || x->packed)
		return cannot_write(d, off, e);
	n = (off - x->start) / x->grain;
	in = (uint32_t)((off - x->start) % x->grain);
	want = MIN(want, x->len - (off - x->start));
	k = (in + MIN(want, ALLOC_MAX) + x->grain - 1) / x->grain;
	r = own_tables(d, x, n, e);
	if (r == 0)
		r = count_bare(d, x, n, k, &k, e);
	if (r == 0 && !k)
		r = err_set(e, -EIO, "a grain that has room needs none");
	if (r == 0)
		r = take_room(d, x, k * x->grain, &at, e);
	if (r < 0)
		return r;
	ret->file = x->file;
	ret->off = at;
	ret->flags = at >= x->fresh_from ? EXTENT_FRESH : 0;
	x->fresh_from = MAX(x->fresh_from, at + k * x->grain);
	ret->head = in;
	ret->len = MIN(want, k * x->grain - in);
	ret->tail = (uint32_t)(round_up(in + ret->len, x->grain) - in - ret->len);
	return 0;
}

static uint64_t grains_of(const struct vmdk_extent *x, const struct extent *a)
{
	return (a->head + a->len + a->tail) / x->grain;
}

int vmdk_commit(struct disk *d, uint64_t off, const struct extent *a, struct err *e)
{
	struct vmdk_extent *x = vmdk_find(d, off);
	uint64_t n = (off - x->start) / x->grain;
	int r = 0;

	if (a->kind == EXTENT_COMPRESSED)
		return vmdk_stream_commit(d, off, a, e);
	for (uint64_t k = 0; r == 0 && k < grains_of(x, a); k++)
		r = set_entry(d, x, n + k, (uint32_t)((a->off + k * x->grain) / 512), e);
	return r;
}

/* What was not pointed to is lost to the file until it is converted; the last of it is not. */
void vmdk_abandon(struct disk *d, uint64_t off, const struct extent *a)
{
	struct vmdk_extent *x = vmdk_find(d, off);
	uint64_t n = (off - x->start) / x->grain, k = grains_of(x, a), at;
	uint32_t entry;

	if (a->kind == EXTENT_COMPRESSED) {
		vmdk_stream_abandon(d, a);
		return;
	}
	while (k && x->end == a->off + k * x->grain) {
		if (vmdk_entry_at(d, x, x->redundant ? x->redundant : x->directory, n + k - 1, &at,
				  NULL) < 0 ||
		    vmdk_get32(d, x, at, &entry, NULL) < 0 ||
		    entry == (a->off + (k - 1) * x->grain) / 512)
			return;
		x->end -= x->grain;
		k--;
	}
}

/* Grains without room become zero by their entry, where that can be said. */
static int zero_bare(struct disk *d, struct vmdk_extent *x, uint64_t in, uint64_t *len,
		     struct err *e)
{
	uint64_t n = in / x->grain, k;
	uint64_t want = MIN(*len, x->len - in);
	int r;

	if (!has_parent(d))
		return 0;
	if (!x->zeroed || x->kind != VMDK_SPARSE || !x->writable)
		return -ENOTSUP;
	k = (want + x->grain - 1) / x->grain;
	r = own_tables(d, x, n, e);
	if (r == 0)
		r = count_bare(d, x, n, k, &k, e);
	for (uint64_t i = 0; r == 0 && i < k; i++)
		r = set_entry(d, x, n + i, 1, e);
	*len = MIN(*len, k * x->grain);
	return r;
}

int vmdk_zero(struct disk *d, uint64_t off, uint64_t *len, bool unmap, struct err *e)
{
	struct vmdk_extent *m = vmdk_find(d, off);
	struct extent x = { 0 };
	int r;

	if (vmdk_of(d)->stream)
		return vmdk_stream_zero(d, off, len, e);
	r = vmdk_format.map(d, off, *len, &x, e);
	if (r < 0)
		return r;
	*len = MIN(*len, x.len);
	if (x.kind == EXTENT_ZERO)
		return 0;
	if (x.kind == EXTENT_BACKING)
		return zero_bare(d, m, off - m->start, len, e);
	if (!(x.flags & EXTENT_IN_PLACE))
		return cannot_write(d, off, e);
	pthread_mutex_unlock(&d->meta);
	r = file_zero(d->files[x.file], x.off, *len, unmap, e);
	pthread_mutex_lock(&d->meta);
	return r;
}

int vmdk_discard(struct disk *d, uint64_t off, uint64_t *len, struct err *e)
{
	int r = vmdk_zero(d, off, len, true, e);

	return r == -ENOTSUP ? 0 : r;
}

int vmdk_flush(struct disk *d, struct err *e)
{
	struct vmdk *v = vmdk_of(d);

	return v->stream ? sync_files(d, e) : pages_flush(d, &v->pages, e);
}

/* Flushed before: nothing is in flight. The room that was taken ahead is given back. */
int vmdk_finish(struct disk *d, struct err *e)
{
	struct vmdk *v = vmdk_of(d);
	uint8_t zero = 0;
	int r = 0;

	if (v->stream)
		return vmdk_stream_finish(d, e);
	for (unsigned i = 0; r == 0 && i < v->n; i++) {
		struct vmdk_extent *x = &v->x[i];

		if (x->counted && file_size(d->files[x->file]) > x->end)
			r = file_truncate(d->files[x->file], x->end, e);
		if (r == 0 && x->marked_unclean)
			r = file_pwrite(d->files[x->file], VMDK_AT_UNCLEAN, &zero, 1, e);
		x->marked_unclean = x->marked_unclean && r < 0;
	}
	return r;
}
