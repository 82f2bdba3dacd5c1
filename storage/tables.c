/* Tables of two ranks in memory, and writing what changed in order; see tables.h. */
#include "storage/tables.h"

#include <errno.h>

int tables_init(struct disk *d, struct tables *t, struct err *e)
{
	int r = 0;

	for (int i = 0; r == 0 && i < TABLE_RANKS; i++)
		r = pages_init(&t->rank[i], d, e);
	return r;
}

void tables_free(struct tables *t)
{
	for (int i = 0; i < TABLE_RANKS; i++)
		pages_free(&t->rank[i]);
}

int tables_get(struct disk *d, struct tables *t, const struct table *where, uint64_t at,
	       struct table_piece *ret, struct err *e)
{
	uint64_t off = where->off + at;
	int r;

	if (at >= where->len)
		return err_damaged(e, "%s: the table at byte %llu of the file has no entry at %llu",
				   disk_file(d)->name, (unsigned long long)where->off,
				   (unsigned long long)at);
	r = pages_get(d, &t->rank[where->rank], 0, off, &ret->page, &ret->data, e);
	ret->len = MIN(PAGE_BYTES - off % PAGE_BYTES, where->len - at);
	ret->rank = where->rank;
	return r;
}

void tables_dirty(struct disk *d, struct tables *t, const struct table_piece *piece,
		  const uint8_t *p, size_t len)
{
	size_t at = (size_t)(p - piece->page->data);

	for (size_t sector = at / 512; sector <= (at + len - 1) / 512; sector++)
		pages_dirty(d, &t->rank[piece->rank], piece->page,
			    piece->page->data + sector * 512);
}

/* All or none of the ranks are staged. */
static int stage(struct disk *d, struct tables *t, struct page_batch b[TABLE_RANKS], struct err *e)
{
	int r = 0;

	pthread_mutex_lock(&d->meta);
	for (int i = 0; r == 0 && i < TABLE_RANKS; i++)
		r = pages_stage(d, &t->rank[i], &b[i], e);
	pthread_mutex_unlock(&d->meta);
	return r;
}

int tables_flush(struct disk *d, struct tables *t, int (*prepare)(struct disk *d, struct err *e),
		 struct err *e)
{
	struct page_batch b[TABLE_RANKS] = { 0 };
	int r = stage(d, t, b, e);

	if (r == 0 && prepare && (b[TABLE_INNER].n || b[TABLE_OUTER].n))
		r = prepare(d, e);
	if (r == 0)
		r = sync_files(d, e);
	for (int i = 0; r == 0 && i < TABLE_RANKS; i++) {
		if (!b[i].n)
			continue;
		r = pages_write(d, &b[i], e);
		if (r == 0)
			r = sync_files(d, e);
	}
	for (int i = 0; i < TABLE_RANKS; i++)
		pages_settle(d, &t->rank[i], &b[i], r < 0);
	return r;
}
