/* dmg.h - between dmg.c, which maps, and dmg_table.c, which finds the chunks. */
#ifndef STORAGE_DMG_H
#define STORAGE_DMG_H

#include "storage/format.h"

enum dmg_kind { DMG_ZERO, DMG_RAW, DMG_PACKED };

struct dmg_chunk {
	uint64_t sector, count; /* of the disk */
	uint64_t off, len;      /* in file number `file` */
	uint16_t file;
	uint8_t kind, codec;
};

/* One file of the image: its part of the data. */
struct dmg_segment {
	uint64_t at, off, len; /* bytes: at in all data, off in the file */
	unsigned file;
};

struct dmg {
	struct dmg_segment *segments;
	unsigned segment_n;
	struct dmg_chunk *chunks; /* sorted by sector */
	size_t n, room;
	uint64_t sectors; /* of the trailer; 0: it does not say */
};

static inline struct dmg *dmg_of(struct disk *d)
{
	return d->priv;
}

/* dmg_table.c: adds the chunks of one "mish" table. */
int dmg_add_table(struct disk *d, const uint8_t *p, size_t len, struct err *e);
/* All tables of a resource fork, or of a property list (dmg_plist.c). */
int dmg_read_resources(struct disk *d, uint64_t off, uint64_t len, struct err *e);
int dmg_read_plist(struct disk *d, uint64_t off, uint64_t len, struct err *e);

#define DMG_TABLES_MAX (16 * MiB)

#endif
