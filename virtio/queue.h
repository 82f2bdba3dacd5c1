/*
 * queue.h - the rings of virtio 1.2, split (section 2.7) and packed (section 2.8).
 *
 * A struct virtq is a look at one queue for the time of one turn of work: made by virtio_queue(),
 * used with the device locked, gone after virtio_flush(). Every descriptor is read from guest
 * memory once, into a copy that is checked and then used. Buffers are guest RAM or nothing.
 */
#ifndef VIRTIO_QUEUE_H
#define VIRTIO_QUEUE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct bus;
struct virtio_state;

enum { VIRTQ_MAX_SIZE = 256, VIRTQ_MAX_IOV = 256 };

struct virtq {
	struct bus *bus;
	struct virtio_state *s;
	unsigned n, size; /* which queue; entries */
	bool packed, event_idx, indirect;
	uint8_t *desc, *driver, *device; /* the three areas, in host memory */
	uint16_t first_used;             /* s->used[n] when the driver was last told */
	unsigned taken;                  /* requests of this turn */
	const char *broken;              /* the rule that the driver broke, or NULL */
};

/* One request of the driver: buffers to read, then buffers to write. */
struct virtq_chain {
	uint16_t id;    /* of the buffer, for the used ring */
	uint16_t slots; /* ring entries it took (packed) */
	uint16_t n_out, n_in;
	uint32_t out_len, in_len; /* bytes in all */
	struct iovec iov[VIRTQ_MAX_IOV];
	uint64_t addr[VIRTQ_MAX_IOV]; /* guest addresses of the same, to mark what was written */
};

static inline struct iovec *virtq_in(struct virtq_chain *c)
{
	return c->iov + c->n_out;
}

/* The next request; false: none, or q->broken says why no more are taken. */
bool virtq_pop(struct virtq *q, struct virtq_chain *c);
/* Put it back: the next pop gives it again. Only for the one popped last. */
void virtq_unpop(struct virtq *q, const struct virtq_chain *c);
/* Done with it; the device wrote that many bytes into its in-buffers. */
void virtq_push(struct virtq *q, const struct virtq_chain *c, uint32_t written);
/*
 * The same in two steps, for an answer of several chains: the driver sees nothing of a batch before
 * it is committed, and a batch may be forgotten instead. False: it is full.
 */
enum { VIRTQ_BATCH_MAX = 64 };
struct virtq_batch {
	unsigned chains, slots;
	uint16_t at[VIRTQ_BATCH_MAX]; /* slots in front of each chain */
};
bool virtq_fill(struct virtq *q, struct virtq_batch *b, const struct virtq_chain *c,
		uint32_t written);
void virtq_commit(struct virtq *q, const struct virtq_batch *b);

/* Ask for a kick with the next entry (or not), and whether entries came in between. */
void virtq_kicks(struct virtq *q, bool wanted);
bool virtq_more(const struct virtq *q);
/* Does the driver want an interrupt for what was pushed this turn? */
bool virtq_wants_interrupt(struct virtq *q);

/* Copy between a chain and memory; how many bytes were copied. off: into the out or in part. */
uint32_t virtq_read(const struct virtq_chain *c, uint32_t off, void *buf, uint32_t len);
uint32_t virtq_write(struct virtq_chain *c, uint32_t off, const void *buf, uint32_t len);

#endif
