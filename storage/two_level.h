/*
 * two_level.h - what QED and qcow version 1 have in common: an L1 table of L2 tables of clusters,
 * 64-bit entries, no reference counts, new clusters and tables at the end of the file.
 *
 * A format sets the fields of the first part at open and says with classify() what an entry
 * means; 0 is always "not in this image". With d->meta held, but for flush, resize and check.
 */
#ifndef STORAGE_TWO_LEVEL_H
#define STORAGE_TWO_LEVEL_H

#include "storage/tables.h"

struct two_level {
	struct table l1;
	uint64_t l1_entries;
	unsigned cluster_bits, l2_bits; /* an L2 table has 2^l2_bits entries */
	bool big_endian;
	uint64_t first;      /* no table and no cluster below */
	uint64_t zero_entry; /* "reads as zeroes", or 0: there is no such entry */
	/*
	 * What this entry, which is not 0, says about the byte at off: kind, off (of that byte),
	 * flags; for a stream all that read.c needs. An entry that points where it may not is
	 * err_damaged(). len is the caller's.
	 */
	int (*classify)(struct disk *d, uint64_t entry, uint64_t off, struct extent *x,
			struct err *e);

	struct tables tables;
	uint64_t end;         /* where the next cluster or table goes, at least */
	uint64_t touched_end; /* a write that failed may have left bytes up to here */
};

/* After the fields are set. */
int two_level_open(struct disk *d, struct two_level *t, struct err *e);

/* d->backing_name from the file; off and len are checked by the format. */
int two_level_backing_name(struct disk *d, uint64_t off, uint32_t len, struct err *e);
void two_level_close(struct two_level *t);

static inline uint64_t two_level_cluster(const struct two_level *t)
{
	return UINT64_C(1) << t->cluster_bits;
}

/* How far the tables reach: bytes of the disk. */
uint64_t two_level_cover(const struct two_level *t);
/* Is a whole cluster there, aligned, behind the headers and not over the L1 table? The last one
 * may be cut short by the end of the file. */
int two_level_check_cluster(struct disk *d, const struct two_level *t, uint64_t at, uint64_t off,
			    struct err *e);

int two_level_map(struct disk *d, struct two_level *t, uint64_t off, uint64_t want,
		  struct extent *x, struct err *e);
int two_level_alloc(struct disk *d, struct two_level *t, uint64_t off, uint64_t want,
		    struct extent *x, struct err *e);
int two_level_commit(struct disk *d, struct two_level *t, uint64_t off, const struct extent *x,
		     struct err *e);
/* The same for an entry that the format makes itself. */
int two_level_set(struct disk *d, struct two_level *t, uint64_t off, uint64_t entry, struct err *e);
/* An L2 table for off, and room for bytes at the end of the file, aligned to a power of two. */
int two_level_room(struct disk *d, struct two_level *t, uint64_t off, uint64_t bytes,
		   uint64_t align, uint64_t *at, struct err *e);
void two_level_abandon(struct two_level *t, uint64_t at, uint64_t bytes);
int two_level_zero(struct disk *d, struct two_level *t, uint64_t off, uint64_t *len, bool unmap,
		   struct err *e);
/* Makes the file as long as what is in it; the prepare() of tables_flush(). */
int two_level_extend(struct disk *d, struct two_level *t, struct err *e);
/* Before the disk becomes shorter: what is behind the new end must not come back. */
int two_level_cut(struct disk *d, struct two_level *t, uint64_t size, struct err *e);

/* two_level_check.c. leaks: is space without an owner worth telling? */
int two_level_check(struct disk *d, struct two_level *t, unsigned repair, bool leaks,
		    struct disk_check *c, struct err *e);

#endif
