/*
 * bus_access.c - accesses of CPUs and of bus masters. Any thread. An access is cut into pieces
 * that lie in one region and, for a device, are aligned and of a size its window allows.
 */
#include <string.h>

#include "base/bytes.h"
#include "emul/core/bus.h"
#include "emul/core/device.h"
#include "emul/core/ram.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "values in memory are little-endian");

static uint64_t swap(uint64_t v, unsigned size)
{
	return __builtin_bswap64(v) >> (64 - 8 * size);
}

static uint64_t mask(unsigned size)
{
	return UINT64_MAX >> (64 - 8 * size);
}

/* The biggest aligned piece at addr of an access that has so many bytes left. */
static unsigned piece_size(const struct bus_region *r, uint64_t addr, unsigned left)
{
	uint64_t room = r->len - (addr - r->addr);
	unsigned n = 8;

	if (r->dev)
		n = r->dev->class->windows[r->window].max_access;
	while (n > left || n > room || (r->dev && (r->off + (addr - r->addr)) % n))
		n /= 2;
	return n;
}

static uint64_t ram_load(const uint8_t *p, unsigned size)
{
	uint64_t v = 0;

	/* One load when it is aligned: another CPU never sees half of a value. */
	if ((uintptr_t)p % size)
		memcpy(&v, p, size);
	else if (size == 1)
		v = *p;
	else if (size == 2)
		v = __atomic_load_n((const uint16_t *)(const void *)p, __ATOMIC_RELAXED);
	else if (size == 4)
		v = __atomic_load_n((const uint32_t *)(const void *)p, __ATOMIC_RELAXED);
	else
		v = __atomic_load_n((const uint64_t *)(const void *)p, __ATOMIC_RELAXED);
	return v;
}

static void ram_store(uint8_t *p, unsigned size, uint64_t v)
{
	if ((uintptr_t)p % size)
		memcpy(p, &v, size);
	else if (size == 1)
		*p = (uint8_t)v;
	else if (size == 2)
		__atomic_store_n((uint16_t *)(void *)p, (uint16_t)v, __ATOMIC_RELAXED);
	else if (size == 4)
		__atomic_store_n((uint32_t *)(void *)p, (uint32_t)v, __ATOMIC_RELAXED);
	else
		__atomic_store_n((uint64_t *)(void *)p, v, __ATOMIC_RELAXED);
}

/* Narrow reads are taken out of the smallest one the registers know. */
static uint64_t window_read(const struct bus_region *r, uint64_t off, unsigned size)
{
	const struct device_window *w = &r->dev->class->windows[r->window];
	unsigned wide = MAX(size, w->min_access), shift = (unsigned)(off & (wide - 1)) * 8;
	uint64_t v;

	device_lock(r->dev);
	v = w->read(r->dev, round_down(off, wide), wide) & mask(wide);
	device_unlock(r->dev);
	if (w->big_endian)
		v = swap(v, wide);
	return v >> shift & mask(size);
}

static void window_write(const struct bus_region *r, uint64_t off, unsigned size, uint64_t v)
{
	const struct device_window *w = &r->dev->class->windows[r->window];

	device_lock(r->dev);
	if (size < w->min_access)
		guest_note(r->dev, "write of %u bytes at %#llx is too narrow", size,
			   (unsigned long long)off);
	else
		w->write(r->dev, off, w->big_endian ? swap(v, size) : v & mask(size), size);
	device_unlock(r->dev);
}

bool bus_read(struct bus *b, uint64_t addr, unsigned size, uint64_t *val)
{
	struct bus_region r;
	bool all = true;

	*val = 0;
	for (unsigned done = 0, n; done < size; done += n) {
		uint64_t at = addr + done, off, v;

		if (!bus_lookup(b, at, &r)) {
			all = false;
			n = 1;
			continue;
		}
		n = piece_size(&r, at, size - done);
		off = r.off + (at - r.addr);
		v = r.kind == BUS_DEVICE ? window_read(&r, off, n) : ram_load(r.ram->host + off, n);
		*val |= v << (8 * done);
	}
	return all;
}

bool bus_write(struct bus *b, uint64_t addr, unsigned size, uint64_t val)
{
	struct bus_region r;
	bool all = true;

	for (unsigned done = 0, n; done < size; done += n) {
		uint64_t at = addr + done, off;

		if (!bus_lookup(b, at, &r)) {
			all = false;
			n = 1;
			continue;
		}
		n = piece_size(&r, at, size - done);
		off = r.off + (at - r.addr);
		if (r.kind == BUS_RAM) {
			ram_store(r.ram->host + off, n, val >> (8 * done));
			ram_wrote(r.ram, off, n);
		} else if (r.dev) {
			window_write(&r, off, n, val >> (8 * done));
		}
	}
	return all;
}

uint8_t *bus_ram(struct bus *b, uint64_t addr, uint64_t *len, bool for_write)
{
	struct bus_region r;

	if (!bus_lookup(b, addr, &r) || r.kind == BUS_DEVICE || (for_write && r.kind != BUS_RAM))
		return NULL;
	*len = MIN(*len, r.len - (addr - r.addr));
	return r.ram->host + r.off + (addr - r.addr);
}

static bool dma(struct bus *b, uint64_t addr, uint8_t *in, const uint8_t *out, uint64_t len)
{
	struct bus_region r;

	while (len) {
		uint64_t off, n;

		if (!bus_lookup(b, addr, &r) || r.kind != BUS_RAM)
			return false;
		off = r.off + (addr - r.addr);
		n = MIN(len, r.len - (addr - r.addr));
		if (in) {
			memcpy(in, r.ram->host + off, n);
			in += n;
		} else {
			memcpy(r.ram->host + off, out, n);
			ram_wrote(r.ram, off, n);
			out += n;
		}
		len -= n;
		if (len && addr + n < addr)
			return false;
		addr += n;
	}
	return true;
}

bool dma_read(struct bus *b, uint64_t addr, void *buf, uint64_t len)
{
	return dma(b, addr, buf, NULL, len);
}

bool dma_write(struct bus *b, uint64_t addr, const void *buf, uint64_t len)
{
	return dma(b, addr, NULL, buf, len);
}
