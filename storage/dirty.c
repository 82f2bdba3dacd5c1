/*
 * Which parts of a disk were written: bitmaps that record from when they are made. The engine
 * marks them before each write, on any thread and without a lock; the list itself changes only
 * while no request is in flight. A format may keep them in the image (qcow2_bitmap.c).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/dirty.h"

#define MAP_BYTES_MAX (64 * MiB)

static uint64_t bits_of(const struct disk *d, const struct dirty *b)
{
	return (d->size + b->granularity - 1) / b->granularity;
}

void dirty_free(struct dirty *b)
{
	if (!b)
		return;
	free(b->name);
	free(b->map);
	free(b);
}

void dirty_free_all(struct disk *d)
{
	while (d->dirty) {
		struct dirty *b = d->dirty;

		d->dirty = b->next;
		dirty_free(b);
	}
}

struct dirty *dirty_find(struct disk *d, const char *name)
{
	struct dirty *b = d->dirty;

	while (b && strcmp(b->name, name))
		b = b->next;
	return b;
}

int dirty_add(struct disk *d, const char *name, uint64_t granularity, struct dirty **ret,
	      struct err *e)
{
	struct dirty *b, **at = &d->dirty;

	if (!is_pow2(granularity) || granularity < 512 || granularity > 2 * GiB)
		return err_set(e, -EINVAL, "a bitmap cannot have pieces of %llu bytes",
			       (unsigned long long)granularity);
	if ((d->size / granularity + 64) / 8 > MAP_BYTES_MAX)
		return err_set(e, -EINVAL, "a bitmap of pieces of %llu bytes is too big",
			       (unsigned long long)granularity);
	b = calloc(1, sizeof(*b));
	if (!b)
		return err_nomem(e);
	b->granularity = granularity;
	b->name = strdup(name);
	b->map = calloc(BITMAP_WORDS(bits_of(d, b)) + 1, 8);
	if (!b->name || !b->map) {
		dirty_free(b);
		return err_nomem(e);
	}
	while (*at)
		at = &(*at)->next;
	*at = b;
	*ret = b;
	return 0;
}

void dirty_mark(struct disk *d, uint64_t off, uint64_t len)
{
	for (struct dirty *b = d->dirty; b && len; b = b->next) {
		uint64_t i = off / b->granularity, last = (off + len - 1) / b->granularity;

		for (; b->recording && !b->inconsistent && i <= last; i++) {
			uint64_t bit = UINT64_C(1) << i % 64;

			if (!(__atomic_load_n(&b->map[i / 64], __ATOMIC_RELAXED) & bit))
				__atomic_fetch_or(&b->map[i / 64], bit, __ATOMIC_RELAXED);
		}
	}
}

/* With the new size in d->size; what is new was not written. */
int dirty_resize(struct disk *d, uint64_t old, struct err *e)
{
	for (struct dirty *b = d->dirty; b; b = b->next) {
		uint64_t was = (old + b->granularity - 1) / b->granularity, now = bits_of(d, b);
		uint64_t *map = calloc(BITMAP_WORDS(now) + 1, 8);

		if (!map)
			return err_nomem(e);
		memcpy(map, b->map, BITMAP_WORDS(MIN(was, now)) * 8);
		for (uint64_t i = MIN(was, now); i < round_up(MIN(was, now), 64); i++)
			bit_clear(map, i);
		free(b->map);
		b->map = map;
	}
	return 0;
}

/* ---- what disk.h promises ---- */

static int not_there(struct disk *d, const char *name, struct err *e)
{
	err_set(e, -ENOENT, "%s has no bitmap \"%.200s\"", disk_file(d)->name, name);
	err_kind(e, "disk.not-found");
	return -ENOENT;
}

int disk_bitmap_create(struct disk *d, const char *name, uint64_t granularity, struct err *e)
{
	struct dirty *b;
	int r;

	if (!d->writable)
		return err_set(e, -EROFS, "%s is open for reading only", disk_file(d)->name);
	if (!*name || strlen(name) > 255)
		return err_set(e, -EINVAL, "a bitmap has a name of 1 to 255 bytes");
	if (dirty_find(d, name))
		return err_set(e, -EEXIST, "%s has a bitmap \"%s\" already", disk_file(d)->name,
			       name);
	r = dirty_add(d, name, granularity ? granularity : 64 * KiB, &b, e);
	if (r == 0)
		b->recording = b->persistent = true;
	return r;
}

int disk_bitmap_delete(struct disk *d, const char *name, struct err *e)
{
	struct dirty **at = &d->dirty, *b;

	if (!d->writable)
		return err_set(e, -EROFS, "%s is open for reading only", disk_file(d)->name);
	while (*at && strcmp((*at)->name, name))
		at = &(*at)->next;
	b = *at;
	if (!b)
		return not_there(d, name, e);
	*at = b->next;
	d->dirty_gone |= b->persistent;
	dirty_free(b);
	return 0;
}

int disk_bitmap_record(struct disk *d, const char *name, bool on, struct err *e)
{
	struct dirty *b = dirty_find(d, name);

	if (!b)
		return not_there(d, name, e);
	b->recording = on;
	return 0;
}

int disk_bitmap_list(struct disk *d, struct disk_bitmap **list, unsigned *n, struct err *e)
{
	unsigned count = 0;
	struct disk_bitmap *all;

	for (struct dirty *b = d->dirty; b; b = b->next)
		count++;
	all = calloc(count + 1, sizeof(*all));
	if (!all)
		return err_nomem(e);
	*n = 0;
	for (struct dirty *b = d->dirty; b; b = b->next) {
		struct disk_bitmap *x = &all[(*n)++];
		uint64_t set = 0;

		for (uint64_t i = 0; i < BITMAP_WORDS(bits_of(d, b)); i++)
			set += (uint64_t)__builtin_popcountll(b->map[i]);
		snprintf(x->name, sizeof(x->name), "%.255s", b->name);
		x->granularity = b->granularity;
		x->dirty = set * b->granularity;
		x->recording = b->recording;
		x->inconsistent = b->inconsistent;
		x->persistent = b->persistent;
	}
	*list = all;
	return 0;
}

int disk_bitmap_next(struct disk *d, const char *name, uint64_t off, uint64_t *start, uint64_t *len,
		     struct err *e)
{
	struct dirty *b = dirty_find(d, name);
	uint64_t i, end, n;

	if (!b)
		return not_there(d, name, e);
	if (b->inconsistent)
		return err_damaged(e, "%s: bitmap \"%s\" was not closed and says nothing",
				   disk_file(d)->name, name);
	n = bits_of(d, b);
	i = bit_next(b->map, off / b->granularity, n);
	for (end = i; end < n && bit_get(b->map, end); end++)
		;
	*start = MAX(off, MIN(i * b->granularity, d->size));
	*len = end > i ? MIN(end * b->granularity, d->size) - *start : 0;
	return 0;
}

int disk_bitmap_clear(struct disk *d, const char *name, uint64_t off, uint64_t len, struct err *e)
{
	struct dirty *b = dirty_find(d, name);

	if (!b)
		return not_there(d, name, e);
	for (uint64_t i = (off + b->granularity - 1) / b->granularity;
	     i < bits_of(d, b) && ((i + 1) * b->granularity <= off + len || off + len == d->size);
	     i++)
		__atomic_fetch_and(&b->map[i / 64], ~(UINT64_C(1) << i % 64), __ATOMIC_RELAXED);
	return 0;
}
