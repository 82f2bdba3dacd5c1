/*
 * scroll.h - the last bytes a console said, in a memfd, so that another process can look at them
 * when this one is gone. Positions count all bytes ever written and never wrap.
 *
 * Any thread may put and copy; a lock is held for the length of one memcpy.
 */
#ifndef VMPROC_SCROLL_H
#define VMPROC_SCROLL_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/own.h"

enum { SCROLL_SIZE = 128 << 10 };

/* What is in the memfd: one page with this in front, then SCROLL_SIZE bytes. */
struct scroll_head {
	char magic[8]; /* "VMDTEXT1" */
	uint64_t size; /* SCROLL_SIZE */
	uint64_t end;  /* bytes ever written; byte n is at n % size */
};

struct scroll {
	pthread_mutex_t lock; /* guards head->end and the bytes */
	struct scroll_head *head;
	uint8_t *data;
	int memfd;
};

int scroll_new(const char *name, struct scroll **ret, struct err *e);
void scroll_free(struct scroll *r);

void scroll_put(struct scroll *r, const void *data, size_t len);

/* The position after the last byte, and of the oldest that is still there. */
uint64_t scroll_end(struct scroll *r);
uint64_t scroll_start(struct scroll *r);

/*
 * Copy up to len bytes from *pos on, and move *pos past them. When the bytes at *pos are
 * overwritten already, *pos first moves to the oldest; *lost is by how much.
 */
size_t scroll_copy(struct scroll *r, uint64_t *pos, void *to, size_t len, uint64_t *lost);

AUTOPTR(scroll, scroll_free)

#endif
