/*
 * mmio.h - virtio registers at plain addresses (virtio 1.2, section 4.2, version 2), and the macro
 * that makes a device class of a type on this transport.
 */
#ifndef VIRTIO_MMIO_H
#define VIRTIO_MMIO_H

#include "virtio/virtio.h"

extern const struct device_window virtio_mmio_windows[];

/* Before the type's own plug: interrupts go to line 0. */
void virtio_mmio_init(struct virtio *v);

void virtio_device_reset(struct device *dev);
void virtio_device_loaded(struct device *dev);
int virtio_device_check(struct device *dev, struct err *e);

/* See classes.h. */
#define VIRTIO_MMIO_CLASS(type_, word_, doc_)                                        \
	static int type_##_mmio_plug(struct device *dev, struct err *e)              \
	{                                                                            \
		virtio_mmio_init(virtio_of(dev));                                    \
		return type_##_plug(dev, e);                                         \
	}                                                                            \
	static const struct device_prop type_##_props[] = { type_##_PROPS{ 0 } };    \
	static const struct state_field type_##_fields[] = { type_##_STATE, { 0 } }; \
	extern const struct device_class virtio_mmio_##type_##_class;                \
	const struct device_class virtio_mmio_##type_##_class = {                    \
		.name = "virtio-mmio-" #word_,                                       \
		.doc = "virtio " doc_ " on MMIO registers",                          \
		.size = sizeof(struct virtio_##type_),                               \
		.dev_off = offsetof(struct virtio_##type_, v.dev),                   \
		.state_off = offsetof(struct virtio_##type_, s),                     \
		.state_size = sizeof(struct virtio_##type_##_state),                 \
		.state = type_##_fields,                                             \
		.windows = virtio_mmio_windows,                                      \
		.props = type_##_props,                                              \
		.n_irqs = 1,                                                         \
		.plug = type_##_mmio_plug,                                           \
		.unplug = type_##_unplug,                                            \
		.reset = virtio_device_reset,                                        \
		.quiesce = virtio_device_quiesce,                                    \
		.loaded = virtio_device_loaded,                                      \
		.check = virtio_device_check,                                        \
	}

#endif
