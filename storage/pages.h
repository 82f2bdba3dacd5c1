/*
 * pages.h - tables of an image in memory: pages of its files, within a budget. For formats whose
 * tables are arrays of entries that are each valid by itself (VDI, VHD, VMDK, VHDX).
 *
 * A changed entry stays in memory until pages_flush(), which first makes all data durable and then
 * writes the entries, in whole sectors of 512 bytes: what shares a page with a table and is none
 * is never written. Everything with d->meta held, but for those that say otherwise.
 */
#ifndef STORAGE_PAGES_H
#define STORAGE_PAGES_H

#include "storage/format.h"

enum { PAGE_BYTES = 4096, PAGE_SECTORS = PAGE_BYTES / 512 };

struct page {
	struct list node, dirty_node;
	struct page *next; /* in the hash chain */
	uint64_t off;      /* in the file */
	unsigned file;     /* in d->files */
	uint8_t dirty;     /* a bit for each sector */
	bool used, staged;
	uint8_t data[PAGE_BYTES];
};

struct pages {
	struct page **hash, *last;
	uint32_t hash_size, n, max, dirty_n;
	struct list all, dirty;
};

/* A changed page on its way into the file. */
struct page_copy {
	struct page *page;
	uint64_t off;
	unsigned file;
	uint8_t sectors;
	uint8_t data[PAGE_BYTES];
};

struct page_batch {
	struct page_copy *v; /* owned; sorted by file and offset */
	size_t n;
};

int pages_init(struct pages *p, struct disk *d, struct err *e);
void pages_free(struct pages *p);

/* The page with byte `at` of that file; *data points to the byte. It stays until the next call. */
int pages_get(struct disk *d, struct pages *p, unsigned file, uint64_t at, struct page **ret,
	      uint8_t **data, struct err *e);
/* The sector of data[0] was changed. */
void pages_dirty(struct disk *d, struct pages *p, struct page *page, const uint8_t *data);
/* What is there is about to be written around the cache. */
void pages_forget(struct pages *p, unsigned file, uint64_t off, uint64_t len);

/* The same, and these bytes were written there: no entry of a table, but it may be looked at. */
void pages_update(struct pages *p, unsigned file, uint64_t off, const void *data, uint64_t len);

/* The changed pages as they are now. Either of the other two must follow. */
int pages_stage(struct disk *d, struct pages *p, struct page_batch *b, struct err *e);
/* Without d->meta. */
int pages_write(struct disk *d, const struct page_batch *b, struct err *e);
/* They are in the file, or (failed) as dirty as before. Frees the batch; takes d->meta itself. */
void pages_settle(struct disk *d, struct pages *p, struct page_batch *b, bool failed);

/* Stage, sync all files, write, sync again. Without d->meta, one at a time. */
int pages_flush(struct disk *d, struct pages *p, struct err *e);

int sync_files(struct disk *d, struct err *e); /* all of the image's; without d->meta */

#endif
