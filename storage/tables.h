/*
 * tables.h - tables of two ranks over pages.h: entries of an outer table point to inner tables,
 * entries of an inner one to data. For QED and qcow; and, with one rank, for COW, Parallels, Bochs
 * and cloop, whose tables are plain arrays in the file.
 *
 * Changes stay in memory until tables_flush(), which keeps the order that a power cut needs: all
 * data that was written, barrier, inner tables, barrier, outer tables, barrier.
 */
#ifndef STORAGE_TABLES_H
#define STORAGE_TABLES_H

#include "storage/pages.h"

enum table_rank { TABLE_INNER, TABLE_OUTER, TABLE_RANKS };

/* Where a table is in the image's main file. */
struct table {
	uint64_t off, len;
	enum table_rank rank;
};

struct tables {
	struct pages rank[TABLE_RANKS];
};

/* A piece of a table in memory; valid until the next call. */
struct table_piece {
	uint8_t *data;
	size_t len; /* bytes of the table from there on that are in this piece */
	struct page *page;
	enum table_rank rank;
};

int tables_init(struct disk *d, struct tables *t, struct err *e);
void tables_free(struct tables *t);

/* From byte `at` of the table on. What is past the end of the file reads as zeroes. -EAGAIN while
 * d->map_in_memory is set and it is not in memory. */
int tables_get(struct disk *d, struct tables *t, const struct table *where, uint64_t at,
	       struct table_piece *ret, struct err *e);
/* [p, p + len) of the piece was changed. */
void tables_dirty(struct disk *d, struct tables *t, const struct table_piece *piece,
		  const uint8_t *p, size_t len);

/*
 * One at a time, without d->meta. prepare() runs before the first barrier when there is a change
 * to write: it marks the image as in use, or makes the file longer. May be NULL.
 */
int tables_flush(struct disk *d, struct tables *t, int (*prepare)(struct disk *d, struct err *e),
		 struct err *e);

#endif
