/*
 * pcie_host.c - a generic PCI Express host bridge: configuration space as memory (ECAM, PCI
 * Express Base 3.0 section 7.2.2) of one bus, and windows into memory and I/O space, where what
 * no function answers reads as ones. Lines 0 to 3 are INTA to INTD behind the swizzle. Functions
 * have no extended configuration space (above 256 bytes).
 *
 * The board puts the windows of PCI space on the bus after everything else, so that BARs show in
 * front of them.
 */
#include <errno.h>

#include "emul/core/device.h"
#include "emul/dev/pci/pci.h"

enum { ECAM, IO, MEM32, MEM64 };

struct pcie_state {
	uint8_t config[PCI_CONFIG_SIZE];
};

struct pcie_host {
	struct device dev;
	struct pcie_state s;
	struct pci_function function;
	struct pci_bus *bus;
	void *ranges;
};

static struct pcie_host *host_of(struct device *dev)
{
	return container_of(dev, struct pcie_host, dev);
}

struct pci_bus *pcie_host_bus(struct device *bridge)
{
	return host_of(bridge)->bus;
}

static uint64_t ecam_read(struct device *dev, uint64_t off, unsigned size)
{
	uint32_t v = UINT32_MAX;

	if (off >> 20 == 0)
		v = pci_config_read(host_of(dev)->bus, dev, off >> 12 & 0xff, off & 0xfff, size);
	return v;
}

static void ecam_write(struct device *dev, uint64_t off, uint64_t val, unsigned size)
{
	if (off >> 20 == 0)
		pci_config_write(host_of(dev)->bus, dev, off >> 12 & 0xff, off & 0xfff,
				 (uint32_t)val, size);
}

/* Nobody answered: a master abort (PCI Local Bus 3.0, section 3.7.4.2). */
static uint64_t empty_read(struct device *dev, uint64_t off, unsigned size)
{
	(void)dev;
	(void)off;
	(void)size;
	return UINT64_MAX;
}

static void empty_write(struct device *dev, uint64_t off, uint64_t val, unsigned size)
{
	(void)val;
	guest_note(dev, "write of %u bytes to empty PCI space at %#llx", size,
		   (unsigned long long)off);
}

static int pcie_plug(struct device *dev, struct err *e)
{
	static const struct pci_id id = { .vendor = 0x1b36,
					  .device = 0x0008,
					  .sub_vendor = 0x1af4,
					  .sub_device = 0x1100,
					  .class_code = 0x060000 };
	struct pcie_host *h = host_of(dev);
	int r;

	for (const struct pci_range *p = h->ranges; p && p->size; p++) {
		unsigned w = p->io ? IO : p->cpu >> 32 ? MEM64 : MEM32;

		if (dev->window_size[w])
			return err_set(e, -EINVAL, "two ranges of one kind");
		dev->window_size[w] = p->size;
	}
	r = pci_bus_new(dev->bus, h->ranges, dev->irq, &h->bus, e);
	return r ? r : pci_plug(&h->function, dev, h->bus, 0, h->s.config, &id, e);
}

static void pcie_unplug(struct device *dev)
{
	struct pcie_host *h = host_of(dev);

	pci_unplug(&h->function);
	pci_bus_free(h->bus);
}

static void pcie_reset(struct device *dev)
{
	pci_reset(&host_of(dev)->function);
}

static void pcie_loaded(struct device *dev)
{
	pci_loaded(&host_of(dev)->function);
}

static int pcie_check(struct device *dev, struct err *e)
{
	return pci_config_sound(&host_of(dev)->function)
		   ? 0
		   : err_set(e, -EINVAL, "configuration space has bits that cannot be set");
}

static const struct state_field fields[] = {
	STATE_ARRAY(pcie_state, config),
	{ 0 },
};

#define EMPTY(n)                                                                 \
	{                                                                        \
		.name = n, .min_access = 1, .max_access = 8, .read = empty_read, \
		.write = empty_write                                             \
	}

static const struct device_window windows[] = {
	[ECAM] = { .name = "ecam",
		   .size = 256 * MiB,
		   .min_access = 1,
		   .max_access = 4,
		   .read = ecam_read,
		   .write = ecam_write },
	[IO] = EMPTY("io"),
	[MEM32] = EMPTY("mem32"),
	[MEM64] = EMPTY("mem64"),
	{ 0 },
};

static const struct device_prop props[] = {
	PROP(POINTER, pcie_host, ranges, NULL, "list of struct pci_range"),
	{ 0 },
};

const struct device_class pcie_host_class = {
	.name = "pcie-host",
	.doc = "generic PCI Express host bridge with ECAM",
	.size = sizeof(struct pcie_host),
	.state_off = offsetof(struct pcie_host, s),
	.state_size = sizeof(struct pcie_state),
	.state = fields,
	.windows = windows,
	.props = props,
	.n_irqs = 4,
	.plug = pcie_plug,
	.unplug = pcie_unplug,
	.reset = pcie_reset,
	.loaded = pcie_loaded,
	.check = pcie_check,
};
