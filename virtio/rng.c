/* rng.c - virtio entropy device (virtio 1.2, section 5.4): random bytes of the host for the guest.
 */
#include <errno.h>
#include <sys/random.h>

#include "virtio/classes.h"

enum { ID = 4, REQUEST = 0, CHUNK = 4096 };

struct virtio_rng_state {
	struct virtio_state v;
};

struct virtio_rng {
	struct virtio v;
	struct virtq_chain chain;
	struct virtio_rng_state s; /* last: see classes.h */
};

/* seccomp: getrandom - entropy for the guest */
static uint32_t fill(struct virtq_chain *c)
{
	uint8_t buf[CHUNK];
	uint32_t want = MIN(c->in_len, (uint32_t)CHUNK);
	ssize_t n = getrandom(buf, want, 0);

	return n > 0 ? virtq_write(c, 0, buf, (uint32_t)n) : 0;
}

static void rng_run(struct virtio *v, unsigned n)
{
	struct virtio_rng *r = container_of(v, struct virtio_rng, v);
	struct virtq q;

	if (!virtio_queue(v, n, &q))
		return;
	while (virtio_next(v, &q, &r->chain))
		virtq_push(&q, &r->chain, fill(&r->chain));
	virtio_flush(v, n, &q);
}

static unsigned rng_queues(struct virtio *v)
{
	(void)v;
	return 1;
}

static uint64_t rng_features(struct virtio *v)
{
	(void)v;
	return 0;
}

static const struct virtio_type rng_type = {
	.name = "rng",
	.doc = "entropy",
	.id = ID,
	.queue_max = 64,
	.queues = rng_queues,
	.features = rng_features,
	.run = rng_run,
};

static int rng_plug(struct device *dev, struct err *e)
{
	struct virtio_rng *r = container_of(dev, struct virtio_rng, v.dev);

	(void)e;
	virtio_plug(&r->v, &rng_type, &r->s.v);
	return 0;
}

static void rng_unplug(struct device *dev)
{
	(void)dev;
}

#define rng_PROPS
#define rng_STATE VIRTIO_STATE(virtio_rng_state)

VIRTIO_CLASSES(rng, rng, "entropy source");
