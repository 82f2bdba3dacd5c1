/*
 * open.h - between open.c and chain.c: what is known while one disk is being opened.
 */
#ifndef STORAGE_OPEN_H
#define STORAGE_OPEN_H

#include "storage/engine.h"

struct graph_file {
	uint64_t dev, ino;
};

struct opener {
	unsigned flags;
	uint64_t cache_bytes;
	const struct disk_gate *gate;
	const struct disk_secret *secret;
	const char *const *parents; /* not used yet; may be NULL */
	bool resolving;             /* collect fds, write nothing, keep no lock */
	/* Where implied files come from; NULL: there are none. */
	int (*give)(struct opener *op, const struct disk_ref *ref, struct disk_grant *g,
		    struct err *e);
	struct disk_chain *chain;
	unsigned next; /* link of the chain that is given out next */
	struct graph_file *graph;
	unsigned graph_n;
};

void opener_init(struct opener *op, const struct disk_options *o);
void opener_done(struct opener *op);

/* One layer. f and backing become the disk's, also on failure. */
int opener_disk(struct opener *op, struct file *f, const char *format, int depth,
		struct disk *backing, struct disk **ret, struct err *e);
/* The image itself, with its lock and its overlay. Both fds become the disk's. */
int opener_top(struct opener *op, int fd, const char *name, const char *format, int overlay_fd,
	       struct disk **ret, struct err *e);

int open_image_path(const char *path, unsigned flags, struct err *e);
int temporary_fd(struct err *e);

#endif
