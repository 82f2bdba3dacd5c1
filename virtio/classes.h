/*
 * classes.h - VIRTIO_CLASSES(), at the end of a device type's file: a device class of it for every
 * transport.
 *
 * VIRTIO_CLASSES(blk, blk, "disk") makes "virtio-mmio-blk" and "virtio-pci-blk" of struct
 * virtio_blk, whose first member is struct virtio v, and whose last is struct virtio_blk_state s:
 * what PCI adds to the saved state lies right behind it. The file has blk_plug and blk_unplug, and
 * the rows of its tables as macros: blk_PROPS and blk_STATE.
 */
#ifndef VIRTIO_CLASSES_H
#define VIRTIO_CLASSES_H

#include "virtio/mmio.h"
#include "virtio/pci.h"

#define VIRTIO_CLASSES(type_, word_, doc_)     \
	VIRTIO_MMIO_CLASS(type_, word_, doc_); \
	VIRTIO_PCI_CLASS(type_, word_, doc_)

#endif
