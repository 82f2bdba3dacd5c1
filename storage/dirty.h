/* dirty.h - the bitmaps of what was written, between dirty.c, the engine and the formats. */
#ifndef STORAGE_DIRTY_H
#define STORAGE_DIRTY_H

#include "base/bitmap.h"
#include "storage/format.h"

struct dirty {
	struct dirty *next;
	char *name;
	uint64_t granularity; /* bytes for which a bit stands, a power of two */
	bool recording;
	bool persistent;   /* kept in the image when it is closed */
	bool inconsistent; /* somebody wrote without it: says nothing, kept as it is */
	uint64_t *map;
};

/* Any thread; before the bytes are written. */
void dirty_mark(struct disk *d, uint64_t off, uint64_t len);

/* With no request in flight. */
struct dirty *dirty_find(struct disk *d, const char *name);
int dirty_add(struct disk *d, const char *name, uint64_t granularity, struct dirty **ret,
	      struct err *e);
int dirty_resize(struct disk *d, uint64_t old, struct err *e);
void dirty_free(struct dirty *b);
void dirty_free_all(struct disk *d);

#endif
