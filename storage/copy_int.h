/*
 * copy_int.h - between copy.c, which cuts and orders, and copy_piece.c, which reads and writes one
 * piece.
 */
#ifndef STORAGE_COPY_INT_H
#define STORAGE_COPY_INT_H

#include <pthread.h>

#include "storage/copy.h"
#include "storage/engine.h"

struct piece {
	uint64_t seq, off, len; /* in the source */
	bool hole;              /* with overlay: nothing is there, not even zeroes */
	bool clone;             /* its blocks may perhaps be shared */
	bool gap;               /* nothing is there, or nothing that must be copied */
};

struct copier {
	struct disk *src, *dst;
	const struct disk_copy *opt;
	struct packing packing;
	bool packs;
	uint64_t begin, end; /* of the source */
	uint64_t grain;      /* units of the destination; pieces are made of whole ones */
	uint64_t piece;      /* the largest */
	bool cannot_clone;   /* atomic: sharing blocks was tried in vain */
	uint64_t step;       /* a run of zeroes is worth leaving out from here on */

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t turn;
	uint64_t next, next_seq, turn_seq, done;
	struct disk_map seen; /* of [seen_off, seen_end) */
	uint64_t seen_off, seen_end;
	int result;
	struct err err;
};

struct copy_thread {
	struct copier *copier;
	pthread_t thread;
	uint8_t *data;   /* of one piece */
	uint8_t *old;    /* what the destination has there, when it is compared */
	uint8_t *packed; /* compressed units of the piece, one after the other */
	struct packer *packer;
	size_t *packed_len; /* of each unit; 0: zeroes, SIZE_MAX: as it is */
};

int piece_start(struct copy_thread *t, struct err *e);
void piece_stop(struct copy_thread *t);

/* Reads and compresses; at the same time as other threads. */
int piece_prepare(struct copy_thread *t, struct piece *p, struct err *e);
/* Shares blocks of the files instead, from the beginning of the piece on; returns how many bytes
 * of it are done. In order. */
uint64_t piece_clone(struct copier *c, const struct piece *p);
/* Puts it into the destination; one at a time, in order. */
int piece_write(struct copy_thread *t, struct piece *p, struct err *e);
int piece_gap(struct copy_thread *t, struct piece *p, struct err *e);

#endif
