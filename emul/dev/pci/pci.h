/*
 * pci.h - what a device that sits on PCI uses: configuration space, base address registers,
 * capabilities, interrupts. (PCI Local Bus 3.0, PCI Express Base 3.0.)
 *
 * A function is part of a device. Its configuration space is in the device's state; what it looks
 * like after reset, and which bits the guest may write, is laid down in plug and kept beside it.
 *
 *	plug:	pci_plug(), pci_add_bar(), pci_add_capability(), pci_add_msix()
 *	reset:	pci_reset()
 *	update:	pci_intx()
 *	loaded:	pci_loaded(), then update()
 *	unplug:	pci_unplug()
 *
 * Locks: the host bridge's, then the function's device. A device never calls the bridge.
 */
#ifndef EMUL_DEV_PCI_PCI_H
#define EMUL_DEV_PCI_PCI_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "emul/core/irq.h"

struct bus;
struct device;
struct pci_bus;
struct pci_function;

enum {
	PCI_CONFIG_SIZE = 256,
	PCI_BARS = 6,
	PCI_SLOTS = 32,
	PCI_ANY_SLOT = 255,
	PCI_MSIX_MAX = 64, /* vectors of one function */
};

/* Offsets in configuration space, and bits there. */
enum {
	PCI_COMMAND = 0x04,
	PCI_COMMAND_IO = 1,
	PCI_COMMAND_MEMORY = 2,
	PCI_COMMAND_MASTER = 4,
	PCI_COMMAND_SERR = 0x100,
	PCI_COMMAND_INTX_OFF = 0x400,
	PCI_STATUS = 0x06,
	PCI_STATUS_INTX = 0x08,
	PCI_STATUS_CAPS = 0x10,
	PCI_BAR0 = 0x10,
	PCI_CAPS = 0x34,
	PCI_INTX_LINE = 0x3c,
	PCI_INTX_PIN = 0x3d,
	PCI_CAP_VENDOR = 0x09,
	PCI_CAP_MSIX = 0x11,
};

enum pci_bar_kind { PCI_BAR_NONE, PCI_BAR_IO, PCI_BAR_MEM32, PCI_BAR_MEM64 };

struct pci_id {
	uint16_t vendor, device, sub_vendor, sub_device;
	uint32_t class_code; /* 24 bits */
	uint8_t revision;
	uint8_t pin; /* 1 ... 4: INTA ... INTD; 0: none */
};

/* The state of MSI-X; members of the device's state struct, saved with it. */
struct pci_msix {
	uint32_t *table;   /* [vectors * 4]: address low, high, data, mask */
	uint32_t *pending; /* [(vectors + 31) / 32] */
	unsigned vectors;
	unsigned cap; /* where the capability is; 0: none */
};

struct pci_bar {
	enum pci_bar_kind kind;
	unsigned window; /* of the device */
	uint64_t size;
};

struct pci_function {
	struct device *dev;
	struct pci_bus *bus;
	unsigned devfn;
	uint8_t *config; /* in the device's state */
	uint8_t initial[PCI_CONFIG_SIZE], writable[PCI_CONFIG_SIZE];
	unsigned caps_end; /* where the next capability goes */
	uint8_t last_cap;
	struct pci_bar bars[PCI_BARS];
	struct irq intx;
	struct pci_msix msix;
	/* Set by the device, all with it locked. Before bytes are read; after they were written. */
	void (*reading)(struct pci_function *f, unsigned off, unsigned size);
	void (*wrote)(struct pci_function *f, unsigned off, unsigned size);
};

/* ---- the device's side: with the device locked, or in plug ---- */

/* config: PCI_CONFIG_SIZE bytes of its state. slot may be PCI_ANY_SLOT. */
int pci_plug(struct pci_function *f, struct device *dev, struct pci_bus *bus, unsigned slot,
	     uint8_t *config, const struct pci_id *id, struct err *e);
void pci_unplug(struct pci_function *f);

/* A window of the device, whose size is a power of two, at base address register n (a MEM64 takes
 * n + 1 too). The window is put on the bus here. */
int pci_add_bar(struct pci_function *f, unsigned n, enum pci_bar_kind kind, unsigned window,
		struct err *e);

/* Room for a capability of len bytes (its two header bytes included); returns its offset. Fill
 * f->initial and f->writable there. -ENOSPC when the space is full. */
int pci_add_capability(struct pci_function *f, uint8_t id, unsigned len, struct err *e);

/*
 * MSI-X with the table at table_off and the pending bits at pba_off in the window of BAR bar.
 * Nothing is added, and 0 returned, where the board has nobody who takes messages: the device
 * then uses INTx. 1: it has MSI-X.
 */
int pci_add_msix(struct pci_function *f, unsigned vectors, unsigned bar, uint32_t table_off,
		 uint32_t pba_off, uint32_t *table, uint32_t *pending, struct err *e);

/* State is zero: make it what it is after power-on. */
void pci_reset(struct pci_function *f);
/* After a load: put the windows where the configuration space says. */
void pci_loaded(struct pci_function *f);
/* Does the loaded configuration space differ from reset only in bits that can be written? */
bool pci_config_sound(const struct pci_function *f);

/* The level of the interrupt pin; from update(). */
void pci_intx(struct pci_function *f, bool level);

bool pci_msix_on(const struct pci_function *f);
/* Send the message of a vector, or note it as pending while it is masked. */
void pci_msix_send(struct pci_function *f, unsigned vector);
/* Accesses to the table and pending bits: offset from the table; pending at its own offset. */
uint64_t pci_msix_table_read(struct pci_function *f, uint64_t off, unsigned size);
void pci_msix_table_write(struct pci_function *f, uint64_t off, uint64_t val, unsigned size);
uint64_t pci_msix_pending_read(struct pci_function *f, uint64_t off, unsigned size);

/* May it write and read guest memory now? */
bool pci_is_master(const struct pci_function *f);

/* ---- the bridge's side ---- */

/* A part of PCI space that the CPUs see. */
struct pci_range {
	bool io;
	uint64_t pci, cpu, size; /* size 0 ends a list */
};

/* Who takes message-signalled interrupts: with the function's device locked. */
typedef void pci_msi_fn(void *arg, uint64_t addr, uint32_t data, unsigned devfn);

/* ranges and out (four lines, INTA ... INTD after the swizzle) stay the caller's. */
int pci_bus_new(struct bus *bus, const struct pci_range *ranges, struct irq *out,
		struct pci_bus **ret, struct err *e);
void pci_bus_free(struct pci_bus *pb); /* after its functions */
void pci_bus_msi(struct pci_bus *pb, pci_msi_fn *fn, void *arg);

/* devfn: slot << 3 | function. Sizes 1, 2 and 4, aligned. bridge: the device that is locked. */
uint32_t pci_config_read(struct pci_bus *pb, struct device *bridge, unsigned devfn, unsigned off,
			 unsigned size);
void pci_config_write(struct pci_bus *pb, struct device *bridge, unsigned devfn, unsigned off,
		      uint32_t val, unsigned size);

/* Property "pci" of PCI devices: the bus of a host bridge device, after its plug. */
struct pci_bus *pcie_host_bus(struct device *bridge);

#endif
