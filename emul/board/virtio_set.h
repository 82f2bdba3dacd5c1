/*
 * virtio_set.h - the virtio devices that a configuration asks for: disks, network cards, shares,
 * random numbers, balloon, in this order. The board says where they go. Main thread, while the
 * board is built.
 */
#ifndef EMUL_BOARD_VIRTIO_SET_H
#define EMUL_BOARD_VIRTIO_SET_H

#include "base/err.h"

struct device;
struct machine;

/* The bus of a disk or a card that sits on PCI; NULL or "virtio" is a slot. */
#define VIRTIO_SET_PCI "virtio-pci"

struct virtio_set {
	unsigned slots;          /* memory-mapped transports the board has room for */
	unsigned n_slots;        /* of them in use */
	unsigned blk_queues;     /* of a disk; 0: as many as the device has by itself */
	struct device *pci_host; /* NULL: the board has no PCI */
	/* Plugs a configured device into the slot: its window, its line. */
	int (*plug)(struct machine *m, unsigned slot, struct device *dev, struct err *e);
};

/* Creates, configures and plugs them all; counts set->n_slots. */
int virtio_set_add(struct machine *m, struct virtio_set *set, struct err *e);

#endif
