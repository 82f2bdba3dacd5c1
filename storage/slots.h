/*
 * slots.h - room in a file that is cut into equal slots: which are taken. For formats that number
 * their blocks (VDI, VHDX, VMDK). With the lock of whoever has it.
 */
#ifndef STORAGE_SLOTS_H
#define STORAGE_SLOTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bitmap.h"
#include "base/err.h"

struct slots {
	uint64_t *taken; /* a bit for each; NULL: not counted yet */
	uint64_t n;      /* bits there are */
	uint64_t limit;  /* there may never be more */
	uint64_t first;  /* none below is free */
	uint64_t end;    /* none from here on is taken */
	uint64_t used;
};

int slots_init(struct slots *s, uint64_t n, uint64_t limit, struct err *e);
void slots_free(struct slots *s);

/* -EEXIST when it was taken already, -ERANGE when there is no such slot. */
int slots_mark(struct slots *s, uint64_t i, struct err *e);
/* Up to want free ones in a row; the lowest that there are. -ENOSPC: none. */
int slots_take(struct slots *s, uint64_t want, uint64_t *first, uint64_t *got, struct err *e);
/* Exactly want in a row. */
int slots_take_row(struct slots *s, uint64_t want, uint64_t *first, struct err *e);
void slots_put(struct slots *s, uint64_t i);

static inline bool slots_has(const struct slots *s, uint64_t i)
{
	return i < s->n && bit_get(s->taken, i);
}

#endif
