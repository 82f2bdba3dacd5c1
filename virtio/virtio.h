/*
 * virtio.h - what all virtio devices share (OASIS "Virtual I/O Device (VIRTIO) Version 1.2"):
 * status, features, queues, interrupts. A device type is one file with a struct virtio_type; a
 * transport (mmio.c, pci.c) puts registers in front of it. VIRTIO_CLASSES() at the end of a
 * type's file (classes.h) makes one device class for each transport, so type and transport share
 * one lock and one saved state.
 *
 * Queue work runs on the machine's I/O loop with the device locked: a kick from a vCPU only posts
 * it. In tests without a loop it runs at once.
 */
#ifndef VIRTIO_VIRTIO_H
#define VIRTIO_VIRTIO_H

#include "emul/core/device.h"
#include "virtio/queue.h"

enum { VIRTIO_MAX_QUEUES = 32, VIRTIO_LINE_ONLY = VIRTIO_MAX_QUEUES + 1 };

/* Device status, section 2.1. */
enum {
	VIRTIO_ACKNOWLEDGE = 1,
	VIRTIO_DRIVER = 2,
	VIRTIO_DRIVER_OK = 4,
	VIRTIO_FEATURES_OK = 8,
	VIRTIO_NEEDS_RESET = 64,
	VIRTIO_FAILED = 128,
};

/* Interrupt status: why the line is up. */
enum { VIRTIO_ISR_QUEUE = 1, VIRTIO_ISR_CONFIG = 2 };

#define VIRTIO_F(bit) (UINT64_C(1) << (bit))
/* Section 6: what every device offers. */
#define VIRTIO_F_INDIRECT  VIRTIO_F(28)
#define VIRTIO_F_EVENT_IDX VIRTIO_F(29)
#define VIRTIO_F_VERSION_1 VIRTIO_F(32)
#define VIRTIO_F_PACKED    VIRTIO_F(34)
#define VIRTIO_F_COMMON \
	(VIRTIO_F_INDIRECT | VIRTIO_F_EVENT_IDX | VIRTIO_F_VERSION_1 | VIRTIO_F_PACKED)

/* What the driver sees of the device and its queues; the same for every transport. */
struct virtio_state {
	uint64_t features; /* accepted by the driver */
	uint32_t status, isr;
	uint32_t generation; /* of the configuration */
	uint32_t queue_select, device_features_select, driver_features_select;
	uint32_t config_vector, spare; /* MSI-X; 0xffff: none */
	uint64_t desc[VIRTIO_MAX_QUEUES], driver[VIRTIO_MAX_QUEUES], device[VIRTIO_MAX_QUEUES];
	uint16_t size[VIRTIO_MAX_QUEUES], ready[VIRTIO_MAX_QUEUES], vector[VIRTIO_MAX_QUEUES];
	/* Where we are in the rings: next available entry, next used entry, the last one we told
	 * of. */
	uint16_t avail[VIRTIO_MAX_QUEUES], used[VIRTIO_MAX_QUEUES], told[VIRTIO_MAX_QUEUES];
	uint16_t avail_wrap[VIRTIO_MAX_QUEUES], used_wrap[VIRTIO_MAX_QUEUES];
};

#define VIRTIO_STATE(type)                                                                         \
	STATE(type, v.features), STATE(type, v.status), STATE(type, v.isr),                        \
	    STATE(type, v.generation), STATE(type, v.queue_select),                                \
	    STATE(type, v.device_features_select), STATE(type, v.driver_features_select),          \
	    STATE(type, v.config_vector), STATE(type, v.spare), STATE_ARRAY(type, v.desc),         \
	    STATE_ARRAY(type, v.driver), STATE_ARRAY(type, v.device), STATE_ARRAY(type, v.size),   \
	    STATE_ARRAY(type, v.ready), STATE_ARRAY(type, v.vector), STATE_ARRAY(type, v.avail),   \
	    STATE_ARRAY(type, v.used), STATE_ARRAY(type, v.told), STATE_ARRAY(type, v.avail_wrap), \
	    STATE_ARRAY(type, v.used_wrap)

struct virtio;

struct virtio_type {
	const char *name, *doc;
	uint16_t id;        /* section 5 */
	uint16_t queue_max; /* entries */
	uint32_t config_size;

	unsigned (*queues)(struct virtio *v);
	uint64_t (*features)(struct virtio *v); /* beside VIRTIO_F_COMMON */
	/* Little-endian bytes of the configuration, inside config_size. */
	void (*config_read)(struct virtio *v, uint32_t off, uint8_t *buf, unsigned len);
	void (*config_write)(struct virtio *v, uint32_t off, const uint8_t *buf,
			     unsigned len); /* NULL: read-only */
	void (*ready)(struct virtio *v);    /* DRIVER_OK was set */
	void (*run)(struct virtio *v,
		    unsigned queue); /* entries may be there: on the I/O loop, locked */
	void (*reset)(
	    struct virtio *v); /* the driver's reset: drop what is under way; may be NULL */
	void (*quiesce)(struct virtio *v); /* as of struct device_class; not locked; may be NULL */
};

/* First member of every virtio device's struct. */
struct virtio {
	struct device dev;
	const struct virtio_type *type;
	struct virtio_state *s; /* inside the container's state struct */
	/* Set by the transport: the interrupt for a queue, for the configuration
	 * (VIRTIO_MAX_QUEUES), or none: only the line follows the state (VIRTIO_LINE_ONLY). */
	void (*interrupt)(struct virtio *v, unsigned queue);
	void *transport; /* what belongs to it */
	bool no_dma;     /* it may not touch memory now: rings rest */
	uint32_t kicked; /* queues with posted work; guarded by the device's lock */
	bool posted;
	unsigned generation; /* counts resets, so that completions of an earlier life are dropped */
};

static inline struct virtio *virtio_of(struct device *dev)
{
	return container_of(dev, struct virtio, dev);
}

/* For types, with the device locked. */
bool virtio_has(const struct virtio *v, uint64_t feature);
bool virtio_alive(const struct virtio *v); /* DRIVER_OK and not broken */
/* Look at a queue's rings for this turn; false: it is not ready, or the driver broke a rule. */
bool virtio_queue(struct virtio *v, unsigned queue, struct virtq *q);
/*
 * The next request of this turn; false: none is left, and the driver will kick when there is one.
 * A turn is bounded: what is left after it is posted again, so no guest can hold the loop.
 */
bool virtio_next(struct virtio *v, struct virtq *q, struct virtq_chain *c);
/* Tell the driver about what was pushed, when it wants to hear. Ends the turn. */
void virtio_flush(struct virtio *v, unsigned queue, struct virtq *q);
/* The driver broke a rule: note it, stop touching memory until reset (section 2.1.2). */
void virtio_broken(struct virtio *v, const char *why);
void virtio_config_changed(struct virtio *v);

/* For types, from any thread: run the queue soon on the I/O loop. */
void virtio_post(struct virtio *v, unsigned queue);

/* For transports, with the device locked. */
void virtio_plug(struct virtio *v, const struct virtio_type *type, struct virtio_state *s);
void virtio_reset(struct virtio *v);
uint64_t virtio_offered(struct virtio *v);
void virtio_set_status(struct virtio *v, uint32_t status);
void virtio_set_ready(struct virtio *v, unsigned queue, bool ready);
void virtio_kick(struct virtio *v, unsigned queue);
uint64_t virtio_config_read(struct virtio *v, uint32_t off, unsigned size);
void virtio_config_write(struct virtio *v, uint32_t off, uint64_t val, unsigned size);
void virtio_loaded(struct virtio *v);
/* One half of a register of 64 bits. */
static inline void virtio_put_half(uint64_t *v, uint64_t half, bool high)
{
	half &= UINT32_MAX;
	*v = high ? (*v & UINT32_MAX) | half << 32 : (*v & ~(uint64_t)UINT32_MAX) | half;
}
int virtio_check(struct virtio *v, struct err *e);
void virtio_device_quiesce(struct device *dev);

#endif
