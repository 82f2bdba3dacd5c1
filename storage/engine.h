/*
 * engine.h - between the files of the engine: a cursor over the buffers of a request, and the
 * operations that read.c, write.c, zero.c and engine.c offer each other.
 */
#ifndef STORAGE_ENGINE_H
#define STORAGE_ENGINE_H

#include "storage/format.h"

/* A place in an array of buffers. */
struct cursor {
	const struct iovec *iov;
	int n;
	size_t skip;
};

enum { IOV_STEP = 62 };

/* The next len bytes, or what max buffers hold of them, as an array of their own. */
static inline uint64_t cursor_cut(struct cursor *c, uint64_t len, struct iovec *out, int max,
				  int *k)
{
	uint64_t done = 0;

	*k = 0;
	while (done < len && *k < max && c->n) {
		size_t have = c->iov->iov_len - c->skip, step = MIN(have, len - done);

		if (step) {
			out[*k].iov_base = (char *)c->iov->iov_base + c->skip;
			out[(*k)++].iov_len = step;
		}
		done += step;
		c->skip += step;
		if (c->skip == c->iov->iov_len) {
			c->iov++;
			c->n--;
			c->skip = 0;
		}
	}
	return done;
}

/* Fill the next len bytes from src, or with zeroes when it is NULL. */
static inline void cursor_fill(struct cursor *c, const uint8_t *src, uint64_t len)
{
	struct iovec v[IOV_STEP];
	int k;

	while (len) {
		len -= cursor_cut(c, len, v, IOV_STEP, &k);
		for (int i = 0; i < k; i++) {
			if (src) {
				memcpy(v[i].iov_base, src, v[i].iov_len);
				src += v[i].iov_len;
			} else {
				memset(v[i].iov_base, 0, v[i].iov_len);
			}
		}
	}
}

/* A request must hold its range where units can move. */
static inline bool has_ranges(const struct disk *d)
{
	return d->unit > 1 && d->writable;
}

/* map() with its answer checked and cut to want; with d->meta held. */
int map_locked(struct disk *d, uint64_t off, uint64_t want, struct extent *x, struct err *e);

/* write.c: the data of an extent of alloc() is in the file (written: 0) or is not (an error): it
 * becomes visible, or is forgotten. With d->meta held. Returns what there is to report. */
int extent_settle(struct disk *d, uint64_t off, const struct extent *x, int written, struct err *e);

/* packed.c: into the unit at off, for a format whose units are all compressed. With d->meta held,
 * which is dropped while data moves, and the range alone. */
int packed_write(struct disk *d, uint64_t off, uint64_t len, struct cursor *c, uint64_t *done,
		 struct err *e);

/* Through all layers; the caller holds the range, where ranges matter. */
int read_layer(struct disk *d, uint64_t off, struct cursor *c, uint64_t len, struct err *e);

/* sealed.c: an extent that d->cipher enciphers. Reading: len bytes of it. */
int sealed_read(struct disk *d, const struct extent *x, struct cursor *c, uint64_t len,
		struct err *e);
/* In place: whoever writes a part of a cipher's sector holds the range alone. */
bool sealed_in_part(const struct disk *d, const struct extent *x, uint64_t len);
int sealed_write(struct disk *d, const struct extent *x, struct cursor *c, uint64_t len,
		 struct err *e);
/* Whole new units: x->head bytes of head, x->len of c, x->tail of tail. */
int sealed_write_new(struct disk *d, const struct extent *x, const uint8_t *head,
		     const uint8_t *tail, struct cursor *c, struct err *e);

/* write.c: with d->meta and the range held alone; *done may be less than len. */
int write_held(struct disk *d, uint64_t off, uint64_t len, struct cursor *c, uint64_t *done,
	       struct err *e);

int engine_read(struct disk *d, uint64_t off, struct cursor *c, uint64_t len, struct err *e);
int engine_write(struct disk *d, uint64_t off, struct cursor *c, uint64_t len, struct err *e);
int engine_zero(struct disk *d, uint64_t off, uint64_t len, bool unmap, struct err *e);
int engine_discard(struct disk *d, uint64_t off, uint64_t len, struct err *e);
int engine_flush(struct disk *d, struct err *e);
int engine_begin(struct disk *d, struct err *e); /* before the first change */

#endif
