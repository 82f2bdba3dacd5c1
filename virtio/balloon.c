/*
 * balloon.c - virtio memory balloon (virtio 1.2, section 5.5): pages that the guest gives back, on
 * request or because they are free (reporting), go back to the host. Runs on the I/O loop.
 */
#include "virtio/balloon.h"

#include "emul/core/bus.h"
#include "emul/core/ram.h"
#include "virtio/classes.h"

enum { ID = 5, QUEUE_SIZE = 128, INFLATE = 0, DEFLATE = 1, PAGE_BITS = 12, STAT_SIZE = 10 };

/* Features, section 5.5.3. */
#define F_MUST_TELL_HOST VIRTIO_F(0)
#define F_STATS_VQ       VIRTIO_F(1)
#define F_DEFLATE_ON_OOM VIRTIO_F(2)
#define F_REPORTING      VIRTIO_F(5)

enum { C_NUM_PAGES = 0, C_ACTUAL = 4, CONFIG_SIZE = 16 };

struct virtio_balloon_state {
	struct virtio_state v;
	uint32_t target, actual; /* pages of 4 KiB */
	uint64_t stats[BALLOON_STATS];
	uint8_t holds_stats,
	    spare[7]; /* the driver's statistics buffer is with us: giving it back asks for more */
};

struct virtio_balloon {
	struct virtio v;
	struct virtq_chain chain, stats_chain;
	struct virtio_balloon_state s; /* last: see classes.h */
};

static struct virtio_balloon *balloon_of(struct virtio *v)
{
	return container_of(v, struct virtio_balloon, v);
}

/* Queues that were not negotiated have no number: section 5.5.2. */
static unsigned stats_queue(const struct virtio *v)
{
	return virtio_has(v, F_STATS_VQ) ? 2 : UINT32_MAX;
}

static unsigned reporting_queue(const struct virtio *v)
{
	return virtio_has(v, F_REPORTING) ? 2U + virtio_has(v, F_STATS_VQ) : UINT32_MAX;
}

/* Whole pages of RAM in that range; what is no RAM is the guest's mistake and stays as it is. */
static void discard(struct virtio *v, uint64_t addr, uint64_t len)
{
	struct bus_region r;
	uint64_t off;

	if (!bus_lookup(v->dev.bus, addr, &r) || r.kind != BUS_RAM) {
		guest_note(&v->dev, "%#llx is no memory to give back", (unsigned long long)addr);
		return;
	}
	off = r.off + (addr - r.addr);
	len = MIN(len, r.len - (addr - r.addr));
	len = round_down(off + len, RAM_PAGE_SIZE);
	off = round_up(off, RAM_PAGE_SIZE);
	if (len > off)
		ram_discard(r.ram, off, len - off, NULL);
}

static void inflate(struct virtio *v, const struct virtq_chain *c)
{
	uint8_t pfn[4];

	for (uint32_t off = 0; virtq_read(c, off, pfn, 4) == 4; off += 4)
		discard(v, (uint64_t)le32(pfn) << PAGE_BITS, UINT64_C(1) << PAGE_BITS);
}

static void report(struct virtio *v, const struct virtq_chain *c)
{
	for (unsigned i = c->n_out; i < c->n_out + c->n_in; i++)
		discard(v, c->addr[i], c->iov[i].iov_len);
}

/* Statistics: pairs of a tag and a value. The buffer is kept until somebody asks again. */
static void take_stats(struct virtio_balloon *b, unsigned n)
{
	uint8_t stat[STAT_SIZE];
	struct virtq q;

	if (!virtio_queue(&b->v, n, &q))
		return;
	while (virtio_next(&b->v, &q, &b->chain)) {
		if (b->s.holds_stats)
			virtq_push(&q, &b->stats_chain, 0);
		for (uint32_t off = 0; virtq_read(&b->chain, off, stat, STAT_SIZE) == STAT_SIZE;
		     off += STAT_SIZE)
			if (le16(stat) < BALLOON_STATS)
				b->s.stats[le16(stat)] = le64(stat + 2);
		b->stats_chain = b->chain;
		b->s.holds_stats = 1;
	}
	virtio_flush(&b->v, n, &q);
}

static void balloon_run(struct virtio *v, unsigned n)
{
	struct virtio_balloon *b = balloon_of(v);
	struct virtq q;

	if (n == stats_queue(v)) {
		take_stats(b, n);
		return;
	}
	if (!virtio_queue(v, n, &q))
		return;
	while (virtio_next(v, &q, &b->chain)) {
		if (n == INFLATE)
			inflate(v, &b->chain);
		else if (n == reporting_queue(v))
			report(v, &b->chain);
		virtq_push(&q, &b->chain, 0);
	}
	virtio_flush(v, n, &q);
}

void virtio_balloon_set(struct device *dev, uint64_t bytes)
{
	struct virtio_balloon *b = balloon_of(virtio_of(dev));

	device_lock(dev);
	b->s.target = (uint32_t)MIN(bytes >> PAGE_BITS, (uint64_t)UINT32_MAX);
	virtio_config_changed(&b->v);
	device_unlock(dev);
}

uint64_t virtio_balloon_actual(struct device *dev)
{
	uint64_t bytes;

	device_lock(dev);
	bytes = (uint64_t)balloon_of(virtio_of(dev))->s.actual << PAGE_BITS;
	device_unlock(dev);
	return bytes;
}

void virtio_balloon_stats(struct device *dev, uint64_t stats[BALLOON_STATS])
{
	struct virtio_balloon *b = balloon_of(virtio_of(dev));
	struct virtq q;

	device_lock(dev);
	memcpy(stats, b->s.stats, sizeof(b->s.stats));
	if (b->s.holds_stats && virtio_queue(&b->v, stats_queue(&b->v), &q)) {
		b->s.holds_stats = 0;
		virtq_push(&q, &b->stats_chain, 0);
		virtio_flush(&b->v, stats_queue(&b->v), &q);
	}
	device_unlock(dev);
}

static unsigned balloon_queues(struct virtio *v)
{
	(void)v;
	return 4;
}

static uint64_t balloon_features(struct virtio *v)
{
	(void)v;
	return F_MUST_TELL_HOST | F_STATS_VQ | F_DEFLATE_ON_OOM | F_REPORTING;
}

static void balloon_config_read(struct virtio *v, uint32_t off, uint8_t *buf, unsigned len)
{
	struct virtio_balloon *b = balloon_of(v);
	uint8_t c[CONFIG_SIZE] = { 0 };

	put_le32(c + C_NUM_PAGES, b->s.target);
	put_le32(c + C_ACTUAL, b->s.actual);
	memcpy(buf, c + off, len);
}

static void balloon_config_write(struct virtio *v, uint32_t off, const uint8_t *buf, unsigned len)
{
	if (off == C_ACTUAL && len == 4)
		balloon_of(v)->s.actual = le32(buf);
}

static void balloon_reset(struct virtio *v)
{
	struct virtio_balloon *b = balloon_of(v);

	b->s.actual = 0;
	b->s.holds_stats = 0;
	memset(b->s.stats, 0xff, sizeof(b->s.stats));
}

static const struct virtio_type balloon_type = {
	.name = "balloon",
	.doc = "memory balloon",
	.id = ID,
	.queue_max = QUEUE_SIZE,
	.config_size = CONFIG_SIZE,
	.queues = balloon_queues,
	.features = balloon_features,
	.config_read = balloon_config_read,
	.config_write = balloon_config_write,
	.run = balloon_run,
	.reset = balloon_reset,
};

static int balloon_plug(struct device *dev, struct err *e)
{
	struct virtio_balloon *b = container_of(dev, struct virtio_balloon, v.dev);

	(void)e;
	virtio_plug(&b->v, &balloon_type, &b->s.v);
	return 0;
}

static void balloon_unplug(struct device *dev)
{
	(void)dev;
}

#define balloon_PROPS
#define balloon_STATE                                                                      \
	VIRTIO_STATE(virtio_balloon_state), STATE(virtio_balloon_state, target),           \
	    STATE(virtio_balloon_state, actual), STATE_ARRAY(virtio_balloon_state, stats), \
	    STATE(virtio_balloon_state, holds_stats), STATE_ARRAY(virtio_balloon_state, spare)

VIRTIO_CLASSES(balloon, balloon, "memory balloon");

bool virtio_is_balloon(const struct device *dev)
{
	return dev->class == &virtio_mmio_balloon_class || dev->class == &virtio_pci_balloon_class;
}
