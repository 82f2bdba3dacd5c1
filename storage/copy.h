/*
 * copy.h - moving the content of one disk into another, and comparing two: for convert, commit,
 * rebase, backup and compare. Called by vmctl and by jobs, on any thread; may wait. It starts
 * threads of its own, which end before it returns.
 */
#ifndef STORAGE_COPY_H
#define STORAGE_COPY_H

#include "storage/disk.h"

struct disk_copy {
	uint64_t off, len; /* the part of the source; len 0: up to its end */
	uint64_t to;       /* where it begins in the destination */
	/* The destination reads as zeroes everywhere, so that zeroes need not be written. */
	bool blank;
	/* The destination has content of its own (a backing image): what is equal stays. */
	bool compare;
	/* With compare: layers of the source from this depth on are known to be equal to it; 0:
	 * none. */
	unsigned shared_depth;
	/* Only what the source has of its own: where it has nothing, the destination stays as it
	 * is. */
	bool overlay;
	bool pack;        /* write units compressed, where the format can */
	int level;        /* of compression; 0: fast */
	bool keep_packed; /* units that are compressed in the source, and only those */
	unsigned threads; /* 0: as many as are useful here */
	uint32_t sparse;  /* the shortest run of zero bytes that is looked for; 0: 4096 */
	bool full;        /* zeroes are written as data, too: the file has no holes */
	bool no_clone;    /* no sharing of blocks between files */
	/* Told how far it is, in bytes of the disk; one thread at a time. False: stop, and the copy
	 * ends with -ECANCELED. May be NULL. */
	bool (*progress)(void *arg, uint64_t done, uint64_t total);
	void *arg;
};

/* The same bytes in dst afterwards. dst must be large enough; it is not flushed. */
int disk_copy(struct disk *src, struct disk *dst, const struct disk_copy *c, struct err *e);

/* Does this open disk take compressed units? */
bool disk_can_pack(struct disk *d);

struct disk_difference {
	bool differ;
	uint64_t off;      /* of the first byte that differs, or of the end of the shorter one */
	bool sizes_differ; /* and what is past the end of the shorter one is not all zero */
};

/* Past the end of the shorter one, zeroes count as equal; strict: a different size differs. */
int disk_compare(struct disk *a, struct disk *b, bool strict, struct disk_difference *ret,
		 bool (*progress)(void *arg, uint64_t done, uint64_t total), void *arg,
		 struct err *e);

#endif
