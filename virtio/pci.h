/*
 * pci.h - virtio as a PCI function (virtio 1.2, section 4.1), without the legacy interface, and the
 * macro that makes a device class of a type on this transport; see classes.h.
 *
 * Property "pci" is the bus it sits on (struct pci_bus). Without one, which only tests do, its
 * windows are where the board puts them, and line 0 is the interrupt.
 */
#ifndef VIRTIO_PCI_H
#define VIRTIO_PCI_H

#include "emul/dev/pci/pci.h"
#include "virtio/virtio.h"

enum { VIRTIO_PCI_VECTORS = VIRTIO_MAX_QUEUES + 1 };

struct virtio_pci_state {
	uint8_t config[PCI_CONFIG_SIZE];
	uint32_t table[VIRTIO_PCI_VECTORS * 4], pending[(VIRTIO_PCI_VECTORS + 31) / 32];
};

struct virtio_pci {
	struct pci_function f;
	void *pci; /* struct pci_bus */
	struct virtio_pci_state *s;
	unsigned access; /* where the capability is through which configuration space looks in */
};

extern const struct device_window virtio_pci_windows[];

/* Before the type's own plug, and after it. */
void virtio_pci_init(struct virtio *v, struct virtio_pci *p, struct virtio_pci_state *s);
int virtio_pci_plug(struct virtio *v, struct err *e);
void virtio_pci_unplug(struct virtio *v);

void virtio_pci_reset(struct device *dev);
void virtio_pci_loaded(struct device *dev);
int virtio_pci_check(struct device *dev, struct err *e);

#define VIRTIO_PCI_CLASS(type_, word_, doc_)                                                   \
	struct type_##_pci_state {                                                             \
		struct virtio_##type_##_state s;                                               \
		struct virtio_pci_state pci;                                                   \
	};                                                                                     \
	struct type_##_pci {                                                                   \
		struct virtio_##type_ t;                                                       \
		struct virtio_pci_state s;                                                     \
		struct virtio_pci p;                                                           \
	};                                                                                     \
	_Static_assert(offsetof(struct type_##_pci, s) - offsetof(struct virtio_##type_, s) == \
			   offsetof(struct type_##_pci_state, pci),                            \
		       "the state is not the last member");                                    \
	static int type_##_pci_plug(struct device *dev, struct err *e)                         \
	{                                                                                      \
		struct type_##_pci *c = container_of(dev, struct type_##_pci, t.v.dev);        \
		int r;                                                                         \
                                                                                               \
		virtio_pci_init(&c->t.v, &c->p, &c->s);                                        \
		r = type_##_plug(dev, e);                                                      \
		if (r == 0) {                                                                  \
			r = virtio_pci_plug(&c->t.v, e);                                       \
			if (r < 0)                                                             \
				type_##_unplug(dev);                                           \
		}                                                                              \
		return r;                                                                      \
	}                                                                                      \
	static void type_##_pci_unplug(struct device *dev)                                     \
	{                                                                                      \
		virtio_pci_unplug(virtio_of(dev));                                             \
		type_##_unplug(dev);                                                           \
	}                                                                                      \
	static const struct device_prop type_##_pci_props[] = {                                \
		type_##_PROPS{ .name = "pci",                                                  \
			       .type = PROP_POINTER,                                           \
			       .off = offsetof(struct type_##_pci, p.pci),                     \
			       .doc = "the PCI bus" },                                         \
		{ 0 },                                                                         \
	};                                                                                     \
	static const struct state_field type_##_pci_fields[] = {                               \
		type_##_STATE,                                                                 \
		STATE_ARRAY(type_##_pci_state, pci.config),                                    \
		STATE_ARRAY(type_##_pci_state, pci.table),                                     \
		STATE_ARRAY(type_##_pci_state, pci.pending),                                   \
		{ 0 },                                                                         \
	};                                                                                     \
	extern const struct device_class virtio_pci_##type_##_class;                           \
	const struct device_class virtio_pci_##type_##_class = {                               \
		.name = "virtio-pci-" #word_,                                                  \
		.doc = "virtio " doc_ " on PCI",                                               \
		.size = sizeof(struct type_##_pci),                                            \
		.dev_off = offsetof(struct type_##_pci, t.v.dev),                              \
		.state_off = offsetof(struct type_##_pci, t.s),                                \
		.state_size = sizeof(struct type_##_pci_state),                                \
		.state = type_##_pci_fields,                                                   \
		.windows = virtio_pci_windows,                                                 \
		.props = type_##_pci_props,                                                    \
		.n_irqs = 1,                                                                   \
		.plug = type_##_pci_plug,                                                      \
		.unplug = type_##_pci_unplug,                                                  \
		.reset = virtio_pci_reset,                                                     \
		.quiesce = virtio_device_quiesce,                                              \
		.loaded = virtio_pci_loaded,                                                   \
		.check = virtio_pci_check,                                                     \
	}

#endif
