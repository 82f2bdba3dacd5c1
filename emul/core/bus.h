/*
 * bus.h - an address space: RAM, ROM and device windows at guest physical addresses.
 *
 * The map is flat and immutable; a change builds a new one and swaps it in, so that vCPU and I/O
 * threads look it up without a lock. bus_read() and bus_write() clip, align, split and lock the
 * device; a device sees only aligned accesses of a size its window allows.
 *
 * DMA reaches RAM only. A DMA address that is no RAM fails that transfer, never enters a device.
 */
#ifndef EMUL_CORE_BUS_H
#define EMUL_CORE_BUS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/own.h"

struct bus;
struct device;
struct ram;

enum bus_kind { BUS_RAM, BUS_ROM, BUS_DEVICE };

struct bus_region {
	uint64_t addr, len;
	enum bus_kind kind;
	struct ram *ram;    /* RAM and ROM: the block, and where in it */
	uint64_t off;       /* DEVICE: in the window */
	struct device *dev; /* DEVICE: whose window; ROM: who gets the writes, or NULL */
	unsigned window;
};

int bus_new(struct bus **ret, struct err *e);
void bus_free(struct bus *b);

/* The map may change at any time; from the main thread only. Overlaps are errors that name both. */
int bus_add_ram(struct bus *b, uint64_t addr, struct ram *ram, uint64_t off, uint64_t len,
		bool readonly, struct err *e);
int bus_add_window(struct bus *b, uint64_t addr, struct device *dev, unsigned window,
		   struct err *e);

/*
 * A window that shows memory when it is read and registers when it is written: flash. While it is
 * not shown, reads go to the registers too. ram is as long as the window.
 */
int bus_add_flash(struct bus *b, uint64_t addr, struct ram *ram, struct device *dev,
		  unsigned window, struct err *e);
void bus_show_rom(struct bus *b, struct device *dev, unsigned window, bool shown);

/*
 * For PCI: a window that moves or vanishes while the machine runs; bus_show_rom() is of the same
 * kind. From any thread with the device locked. A window moved over another is hidden by what was
 * there first. The window was added with bus_add_window(), at BUS_NOWHERE if need be.
 */
#define BUS_NOWHERE UINT64_MAX
void bus_move_window(struct bus *b, struct device *dev, unsigned window, uint64_t addr);

/* One access of 1, 2, 4 or 8 bytes, little-endian value. False: nothing answers there (reads give
 * 0). */
bool bus_read(struct bus *b, uint64_t addr, unsigned size, uint64_t *val);
bool bus_write(struct bus *b, uint64_t addr, unsigned size, uint64_t val);

/* Host memory at addr, when RAM (or, not for writing, ROM) is there; *len: bytes wanted in,
 * contiguous bytes out. */
uint8_t *bus_ram(struct bus *b, uint64_t addr, uint64_t *len, bool for_write);

/* The region that holds addr; false when there is none. The copy stays good until the map changes.
 */
bool bus_lookup(struct bus *b, uint64_t addr, struct bus_region *ret);

/* Every region in the order of addresses. */
void bus_each(struct bus *b, void (*fn)(void *arg, const struct bus_region *r), void *arg);

/*
 * Called after the map changed, on the thread that changed it, which may hold the lock of a device:
 * a listener must not wait for a CPU. Up to four listeners.
 */
int bus_listen(struct bus *b, void (*changed)(void *arg), void *arg, struct err *e);

/* All of it or false; a partial transfer may have happened. Marks pages with ram_wrote(). */
bool dma_read(struct bus *b, uint64_t addr, void *buf, uint64_t len);
bool dma_write(struct bus *b, uint64_t addr, const void *buf, uint64_t len);

AUTOPTR(bus, bus_free)

#endif
