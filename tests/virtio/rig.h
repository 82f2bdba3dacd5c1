/*
 * rig.h - a driver for virtio devices on MMIO registers, as a guest would have it: on the board
 * "none", with rings in its memory. Both kinds of rings. For the tests of this folder.
 */
#ifndef TESTS_VIRTIO_RIG_H
#define TESTS_VIRTIO_RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "emul/core/device.h"
#include "emul/core/machine.h"

enum { RIG_QUEUES = 5, RIG_SIZE = 16, RIG_BUFFERS = 8 };

struct rig_queue {
	uint64_t desc, driver, device; /* guest addresses */
	uint16_t avail, used, free;    /* next entries; free: next descriptor slot (split) */
	bool avail_wrap, used_wrap;
};

struct rig {
	struct loop *io;
	struct machine *m;
	struct device *dev;
	uint64_t features, next; /* accepted; next free guest memory */
	bool packed;
	struct rig_queue q[RIG_QUEUES];
	bool irq;
};

struct rig_buffer {
	uint64_t addr;
	uint32_t len;
	bool in; /* the device writes it */
};

/* A machine with a device of that class, not plugged yet: set its properties, then rig_plug(). */
void rig_new(struct rig *r, const char *class);
void rig_plug(struct rig *r);
/* Status handshake with these features (VERSION_1 and the ring kind are added); n queues made
 * ready. */
void rig_start(struct rig *r, uint64_t features, unsigned n_queues, bool packed);
void rig_free(struct rig *r);

uint32_t rig_read(struct rig *r, uint32_t reg);
void rig_write(struct rig *r, uint32_t reg, uint32_t v);

uint64_t rig_alloc(struct rig *r, uint32_t len); /* guest memory, aligned to 64 */
void rig_put(struct rig *r, uint64_t addr, const void *data, uint32_t len);
void rig_get(struct rig *r, uint64_t addr, void *data, uint32_t len);

/* Offer a chain and kick. */
void rig_submit(struct rig *r, unsigned queue, const struct rig_buffer *b, unsigned n);
/* The next answer; the bytes written by the device, or -1 when none comes. */
int64_t rig_wait(struct rig *r, unsigned queue);
bool rig_needs_reset(struct rig *r);

#endif
