/* virtio.h - virtio over MMIO, split rings, polled: virtio 1.2, sections 2.7 and 4.2. */
#ifndef DEMO_VIRTIO_H
#define DEMO_VIRTIO_H

#include "demo.h"

enum {
	VIRTIO_NET = 1,
	VIRTIO_BLOCK = 2,
	VIRTIO_CONSOLE = 3,
	VIRTIO_RNG = 4,
	RING_SIZE = 64, /* entries; each request takes up to three */
	QUEUES_MAX = 4,
};

struct virtq_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

struct virtq {
	struct virtq_desc *desc;
	volatile uint16_t *avail, *used; /* flags, index, then the rings */
	uint16_t size, next, seen;       /* next free descriptor; used entries consumed */
	uint16_t index;                  /* which queue of the device */
};

struct virtio {
	struct demo *demo;
	volatile uint8_t *regs;
	uint64_t base, features;
	uint32_t device;
	bool ready;
	void *driver; /* the driver's buffers, made when it is first used */
	struct virtq queues[QUEUES_MAX];
};

/* One piece of a request: what the device reads, or what it writes. */
struct virtio_part {
	void *data;
	uint32_t len;
	bool from_device;
};

/* NULL when nothing is plugged in there or it is not a version 2 device. */
struct virtio *virtio_probe(struct demo *d, uint64_t base);
const char *virtio_name(uint32_t device);
struct virtio *virtio_find(struct demo *d, uint32_t device, unsigned nth);

/* Reset, agree on features (VERSION_1 and those wanted) and set up queues. Says why it fails. */
bool virtio_start(struct virtio *v, uint64_t wanted, unsigned queues);

/* Put a request on a queue and tell the device. At most RING_SIZE descriptors may be under way. */
void virtio_submit(struct virtio *v, unsigned queue, const struct virtio_part *parts, unsigned n);

/* Did the device finish one? How many bytes it wrote is put in *len. */
bool virtio_done(struct virtio *v, unsigned queue, uint32_t *len);

/* Both, and wait in between: false after five seconds without an answer. */
bool virtio_request(struct virtio *v, unsigned queue, const struct virtio_part *parts, unsigned n,
		    uint32_t *len);

uint32_t virtio_config32(const struct virtio *v, unsigned off);
uint64_t virtio_config64(const struct virtio *v, unsigned off);
uint8_t virtio_config8(const struct virtio *v, unsigned off);

#endif
