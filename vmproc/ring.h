/*
 * ring.h - the last bytes a console said, in a memfd, so that another process can look at them
 * when this one is gone. Positions count all bytes ever written and never wrap.
 *
 * Any thread may put and copy; a lock is held for the length of one memcpy.
 */
#ifndef VMPROC_RING_H
#define VMPROC_RING_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/own.h"

enum { RING_SIZE = 128 << 10 };

/* What is in the memfd: one page with this in front, then RING_SIZE bytes. */
struct ring_head {
	char magic[8]; /* "VMDRING1" */
	uint64_t size; /* RING_SIZE */
	uint64_t end;  /* bytes ever written; byte n is at n % size */
};

struct ring {
	pthread_mutex_t lock; /* guards head->end and the bytes */
	struct ring_head *head;
	uint8_t *data;
	int memfd;
};

int ring_new(const char *name, struct ring **ret, struct err *e);
void ring_free(struct ring *r);

void ring_put(struct ring *r, const void *data, size_t len);

/* The position after the last byte, and of the oldest that is still there. */
uint64_t ring_end(struct ring *r);
uint64_t ring_start(struct ring *r);

/*
 * Copy up to len bytes from *pos on, and move *pos past them. When the bytes at *pos are
 * overwritten already, *pos first moves to the oldest; *lost is by how much.
 */
size_t ring_copy(struct ring *r, uint64_t *pos, void *to, size_t len, uint64_t *lost);

AUTOPTR(ring, ring_free)

#endif
