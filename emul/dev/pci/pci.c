/*
 * pci.c - functions on a PCI bus: configuration space, BARs, the interrupt pins. Functions are
 * plugged while no CPU runs; the table of them does not change afterwards.
 */
#include "emul/dev/pci/pci.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "emul/core/bus.h"
#include "emul/core/device.h"
#include "emul/dev/pci/pci_bus.h"

int pci_bus_new(struct bus *bus, const struct pci_range *ranges, struct irq *out,
		struct pci_bus **ret, struct err *e)
{
	struct pci_bus *pb = calloc(1, sizeof(*pb));

	if (!pb)
		return err_nomem(e);
	pb->bus = bus;
	pb->ranges = ranges;
	for (unsigned i = 0; i < 4; i++)
		irq_or_init(&pb->pins[i], &out[i]);
	*ret = pb;
	return 0;
}

void pci_bus_free(struct pci_bus *pb)
{
	for (unsigned i = 0; i < 4; i++)
		irq_or_fini(&pb->pins[i]);
	free(pb);
}

void pci_bus_msi(struct pci_bus *pb, pci_msi_fn *fn, void *arg)
{
	pb->msi = fn;
	pb->msi_arg = arg;
}

static int slot_find(struct pci_bus *pb, unsigned slot, struct err *e)
{
	unsigned from = slot == PCI_ANY_SLOT ? 1 : slot,
		 to = slot == PCI_ANY_SLOT ? PCI_SLOTS : slot + 1;

	for (unsigned i = from; i < to && i < PCI_SLOTS; i++)
		if (!pb->functions[i << 3])
			return (int)i;
	return err_set(e, -EBUSY,
		       slot == PCI_ANY_SLOT ? "no PCI slot is free" : "PCI slot %u is taken", slot);
}

static void lay_out(struct pci_function *f, const struct pci_id *id)
{
	uint8_t *c = f->initial, *w = f->writable;

	put_le16(c, id->vendor);
	put_le16(c + 2, id->device);
	c[8] = id->revision;
	c[9] = (uint8_t)id->class_code;
	put_le16(c + 10, (uint16_t)(id->class_code >> 8));
	put_le16(c + 0x2c, id->sub_vendor);
	put_le16(c + 0x2e, id->sub_device);
	c[PCI_INTX_PIN] = id->pin;
	put_le16(w + PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
				      PCI_COMMAND_SERR | PCI_COMMAND_INTX_OFF);
	w[0x0c] = 0xff; /* cache line size */
	w[PCI_INTX_LINE] = 0xff;
	f->caps_end = 0x40;
}

int pci_plug(struct pci_function *f, struct device *dev, struct pci_bus *bus, unsigned slot,
	     uint8_t *config, const struct pci_id *id, struct err *e)
{
	int s;

	if (!bus)
		return err_set(e, -EINVAL, "there is no PCI bus to sit on");
	s = slot_find(bus, slot, e);
	if (s < 0)
		return s;
	f->dev = dev;
	f->bus = bus;
	f->config = config;
	f->devfn = (unsigned)s << 3;
	lay_out(f, id);
	/* The swizzle of PCI-to-PCI Bridge 1.2, table 9-1, is also the way of host bridges. */
	if (id->pin)
		irq_connect(&f->intx, irq_or_set, &bus->pins[((unsigned)s + id->pin - 1) % 4], 0);
	bus->functions[f->devfn] = f;
	return 0;
}

void pci_unplug(struct pci_function *f)
{
	if (!f->bus)
		return;
	irq_set(&f->intx, false);
	f->bus->functions[f->devfn] = NULL;
	f->bus = NULL;
}

int pci_add_bar(struct pci_function *f, unsigned n, enum pci_bar_kind kind, unsigned window,
		struct err *e)
{
	uint64_t size = f->dev->window_size[window], mask = ~(size - 1);
	unsigned at = PCI_BAR0 + 4 * n;
	uint8_t flags = kind == PCI_BAR_IO ? 1 : kind == PCI_BAR_MEM64 ? 0xc : 0;

	if (!is_pow2(size) || size < 16 || n + (kind == PCI_BAR_MEM64) >= PCI_BARS)
		return err_set(e, -EINVAL, "BAR %u cannot have that size", n);
	f->bars[n] = (struct pci_bar){ .kind = kind, .window = window, .size = size };
	put_le32(f->initial + at, flags);
	put_le32(f->writable + at, (uint32_t)mask);
	if (kind == PCI_BAR_MEM64)
		put_le32(f->writable + at + 4, (uint32_t)(mask >> 32));
	return bus_add_window(f->bus->bus, BUS_NOWHERE, f->dev, window, e);
}

int pci_add_capability(struct pci_function *f, uint8_t id, unsigned len, struct err *e)
{
	unsigned at = f->caps_end;

	if (!range_fits(at, len, PCI_CONFIG_SIZE))
		return err_set(e, -ENOSPC, "configuration space is full");
	f->caps_end = (unsigned)round_up(at + len, 4);
	f->initial[at] = id;
	f->initial[PCI_STATUS] |= PCI_STATUS_CAPS;
	/* In the order in which they were added. */
	f->initial[f->last_cap ? f->last_cap + 1u : PCI_CAPS] = (uint8_t)at;
	f->last_cap = (uint8_t)at;
	return (int)at;
}

static uint64_t bar_address(const struct pci_function *f, unsigned n)
{
	const uint8_t *at = f->config + PCI_BAR0 + 4 * n;
	uint64_t v = le32(at);

	if (f->bars[n].kind == PCI_BAR_MEM64)
		v |= (uint64_t)le32(at + 4) << 32;
	return v & ~(f->bars[n].size - 1);
}

/* Where the CPUs see a BAR: only inside the windows of the bridge. */
static uint64_t bar_on_bus(const struct pci_function *f, unsigned n)
{
	const struct pci_bar *bar = &f->bars[n];
	bool io = bar->kind == PCI_BAR_IO;
	uint16_t command = le16(f->config + PCI_COMMAND);
	uint64_t addr = bar_address(f, n);

	if (!(command & (io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY)))
		return BUS_NOWHERE;
	for (const struct pci_range *r = f->bus->ranges; r && r->size; r++)
		if (r->io == io && addr >= r->pci && range_fits(addr - r->pci, bar->size, r->size))
			return addr - r->pci + r->cpu;
	return BUS_NOWHERE;
}

static void map_bars(struct pci_function *f)
{
	for (unsigned n = 0; n < PCI_BARS; n++)
		if (f->bars[n].kind != PCI_BAR_NONE)
			bus_move_window(f->bus->bus, f->dev, f->bars[n].window, bar_on_bus(f, n));
}

void pci_reset(struct pci_function *f)
{
	memcpy(f->config, f->initial, PCI_CONFIG_SIZE);
	for (unsigned i = 0; i < f->msix.vectors; i++)
		f->msix.table[i * 4 + 3] = 1; /* masked */
	map_bars(f);
	pci_intx(f, false);
}

void pci_loaded(struct pci_function *f)
{
	map_bars(f);
}

bool pci_config_sound(const struct pci_function *f)
{
	for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++) {
		uint8_t may = f->writable[i] | (i == PCI_STATUS ? PCI_STATUS_INTX : 0);

		if ((f->config[i] ^ f->initial[i]) & ~may)
			return false;
	}
	return true;
}

void pci_intx(struct pci_function *f, bool level)
{
	bool off = le16(f->config + PCI_COMMAND) & PCI_COMMAND_INTX_OFF;

	f->config[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTX;
	f->config[PCI_STATUS] |= level ? PCI_STATUS_INTX : 0;
	irq_set(&f->intx, level && !off);
}

bool pci_is_master(const struct pci_function *f)
{
	return le16(f->config + PCI_COMMAND) & PCI_COMMAND_MASTER;
}

static uint32_t function_read(struct pci_function *f, unsigned off, unsigned size)
{
	uint32_t v = 0;

	if (f->reading)
		f->reading(f, off, size);
	memcpy(&v, f->config + off, size);
	return v;
}

static void function_write(struct pci_function *f, unsigned off, uint32_t val, unsigned size)
{
	bool intx = f->config[PCI_STATUS] & PCI_STATUS_INTX;

	for (unsigned i = 0; i < size; i++) {
		uint8_t w = f->writable[off + i], b = (uint8_t)(val >> (8 * i));

		f->config[off + i] = (uint8_t)((f->config[off + i] & ~w) | (b & w));
	}
	if (ranges_overlap(off, size, PCI_COMMAND, 2) ||
	    ranges_overlap(off, size, PCI_BAR0, 4 * PCI_BARS))
		map_bars(f);
	if (f->msix.cap && ranges_overlap(off, size, f->msix.cap + 2, 2))
		pci_msix_unmasked(f);
	pci_intx(f, intx);
	if (f->wrote)
		f->wrote(f, off, size);
}

/* A bridge is a function of its own bus; it is locked already. */
static struct pci_function *function_lock(struct pci_bus *pb, struct device *bridge, unsigned devfn)
{
	struct pci_function *f = devfn < PCI_SLOTS * 8 ? pb->functions[devfn] : NULL;

	if (f && f->dev != bridge)
		device_lock(f->dev);
	return f;
}

static void function_unlock(struct pci_function *f, struct device *bridge)
{
	if (f->dev != bridge)
		device_unlock(f->dev);
}

uint32_t pci_config_read(struct pci_bus *pb, struct device *bridge, unsigned devfn, unsigned off,
			 unsigned size)
{
	struct pci_function *f = function_lock(pb, bridge, devfn);
	uint32_t v = UINT32_MAX; /* what a function without extended space answers there */

	if (!f)
		return v;
	if (off < PCI_CONFIG_SIZE)
		v = function_read(f, off, size);
	function_unlock(f, bridge);
	return v;
}

void pci_config_write(struct pci_bus *pb, struct device *bridge, unsigned devfn, unsigned off,
		      uint32_t val, unsigned size)
{
	struct pci_function *f = function_lock(pb, bridge, devfn);

	if (!f)
		return;
	if (off < PCI_CONFIG_SIZE)
		function_write(f, off, val, size);
	function_unlock(f, bridge);
}
