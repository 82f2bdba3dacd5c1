/*
 * bus.c - the address space: what is where, and how an access gets there.
 *
 * Entries say what was put where. Of them a flat map is built: pieces in the order of addresses,
 * without overlaps; of two entries at one place the older shows. Readers (any thread) find a
 * piece in the current map and copy it out, which is all they do inside a read section; a writer
 * swaps a new map in, waits until every read section that was open is over, and frees the old
 * one. What a piece points to (RAM, devices) lives as long as the machine.
 *
 * Locks: a device's lock may be held when b->lock is taken, never the other way round.
 */
#include "emul/core/bus.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "emul/core/bus_map.h"
#include "emul/core/device.h"
#include "emul/core/ram.h"

enum { READER_SLOTS = 16, MAX_LISTENERS = 4, MAX_ENTRIES = 1024 };

/* Counters of open read sections; each on its own cache line, so that CPUs do not fight for it. */
struct reader_slot {
	_Atomic unsigned open;
} __attribute__((aligned(64)));

struct bus {
	struct reader_slot readers[READER_SLOTS];
	struct bus_map *_Atomic map;
	pthread_mutex_t lock; /* guards what follows, and building the map */
	struct bus_entry *entries;
	unsigned n_entries;
	struct {
		void (*changed)(void *arg);
		void *arg;
	} listeners[MAX_LISTENERS];
	unsigned n_listeners;
};

/* Threads are told apart by where their stacks are. */
static struct reader_slot *read_begin(struct bus *b)
{
	uintptr_t at = (uintptr_t)__builtin_frame_address(0);
	struct reader_slot *slot = &b->readers[(at >> 16) * 0x9e3779b1u >> 20 & (READER_SLOTS - 1)];

	atomic_fetch_add(&slot->open, 1);
	return slot;
}

static void read_end(struct reader_slot *slot)
{
	atomic_fetch_sub_explicit(&slot->open, 1, memory_order_release);
}

/* Locked. On failure the old map stays: the guest's move is lost, which it can see. */
static bool rebuild(struct bus *b)
{
	struct bus_map *map = bus_map_build(b->entries, b->n_entries), *old;

	if (!map)
		return false;
	old = atomic_exchange(&b->map, map);
	for (unsigned i = 0; i < READER_SLOTS; i++)
		while (atomic_load(&b->readers[i].open))
			sched_yield();
	free(old);
	return true;
}

static void tell_listeners(struct bus *b)
{
	for (unsigned i = 0; i < b->n_listeners; i++)
		b->listeners[i].changed(b->listeners[i].arg);
}

int bus_new(struct bus **ret, struct err *e)
{
	autoptr(bus) b = aligned_alloc(64, sizeof(*b));

	if (!b)
		return err_nomem(e);
	memset(b, 0, sizeof(*b));
	pthread_mutex_init(&b->lock, NULL);
	b->entries = calloc(MAX_ENTRIES, sizeof(*b->entries));
	if (!b->entries || !rebuild(b))
		return err_nomem(e);
	*ret = take(b);
	return 0;
}

void bus_free(struct bus *b)
{
	free(atomic_load(&b->map));
	free(b->entries);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

static const char *entry_name(const struct bus_entry *t)
{
	return t->dev ? t->dev->name : t->kind == BUS_ROM ? "ROM" : "RAM";
}

/* Locked. */
static int entry_check(struct bus *b, const struct bus_entry *t, struct err *e)
{
	if (!t->len)
		return err_set(e, -EINVAL, "%s has no size", entry_name(t));
	if (b->n_entries == MAX_ENTRIES)
		return err_set(e, -ENOSPC, "there are too many regions on the bus");
	if (t->addr == BUS_NOWHERE)
		return 0;
	if (t->len - 1 > UINT64_MAX - t->addr)
		return err_set(e, -EINVAL, "%s goes past the end of the address space",
			       entry_name(t));
	for (unsigned i = 0; i < b->n_entries; i++) {
		const struct bus_entry *o = &b->entries[i];

		if (o->addr != BUS_NOWHERE && ranges_overlap(o->addr, o->len, t->addr, t->len))
			return err_set(e, -EEXIST, "%s at %#llx lies over %s at %#llx",
				       entry_name(t), (unsigned long long)t->addr, entry_name(o),
				       (unsigned long long)o->addr);
	}
	return 0;
}

static int entry_add(struct bus *b, const struct bus_entry *t, struct err *e)
{
	int r;

	pthread_mutex_lock(&b->lock);
	r = entry_check(b, t, e);
	if (!r) {
		b->entries[b->n_entries++] = *t;
		if (!rebuild(b)) {
			b->n_entries--;
			r = err_nomem(e);
		}
	}
	pthread_mutex_unlock(&b->lock);
	if (!r)
		tell_listeners(b);
	return r;
}

int bus_add_ram(struct bus *b, uint64_t addr, struct ram *ram, uint64_t off, uint64_t len,
		bool readonly, struct err *e)
{
	struct bus_entry t = {
		.addr = addr,
		.len = len,
		.kind = readonly ? BUS_ROM : BUS_RAM,
		.ram = ram,
		.off = off,
	};

	if (!range_fits(off, len, ram->size))
		return err_set(e, -EINVAL, "the memory at %#llx is longer than its block",
			       (unsigned long long)addr);
	return entry_add(b, &t, e);
}

int bus_add_window(struct bus *b, uint64_t addr, struct device *dev, unsigned window, struct err *e)
{
	struct bus_entry t = {
		.addr = addr,
		.len = dev->window_size[window],
		.kind = BUS_DEVICE,
		.dev = dev,
		.window = window,
	};

	return entry_add(b, &t, e);
}

int bus_add_flash(struct bus *b, uint64_t addr, struct ram *ram, struct device *dev,
		  unsigned window, struct err *e)
{
	struct bus_entry t = {
		.addr = addr,
		.len = dev->window_size[window],
		.kind = BUS_ROM,
		.ram = ram,
		.dev = dev,
		.window = window,
	};

	if (t.len > ram->size)
		return err_set(e, -EINVAL, "%s is longer than its memory", dev->name);
	return entry_add(b, &t, e);
}

/* Change one field of the entry of a window; nothing happens when it has that value. */
static void entry_change(struct bus *b, struct device *dev, unsigned window, bool move,
			 uint64_t addr, bool shown)
{
	bool changed = false;

	pthread_mutex_lock(&b->lock);
	for (unsigned i = 0; i < b->n_entries; i++) {
		struct bus_entry *t = &b->entries[i], was = *t;

		if (t->dev != dev || t->window != window)
			continue;
		if (move)
			t->addr = addr;
		else if (t->ram)
			t->kind = shown ? BUS_ROM : BUS_DEVICE;
		if (t->addr == was.addr && t->kind == was.kind)
			continue;
		changed = rebuild(b);
		if (!changed)
			*t = was;
	}
	pthread_mutex_unlock(&b->lock);
	if (changed)
		tell_listeners(b);
}

void bus_move_window(struct bus *b, struct device *dev, unsigned window, uint64_t addr)
{
	if (addr != BUS_NOWHERE && dev->window_size[window] - 1 > UINT64_MAX - addr)
		addr = BUS_NOWHERE;
	entry_change(b, dev, window, true, addr, false);
}

void bus_show_rom(struct bus *b, struct device *dev, unsigned window, bool shown)
{
	entry_change(b, dev, window, false, 0, shown);
}

bool bus_lookup(struct bus *b, uint64_t addr, struct bus_region *ret)
{
	struct reader_slot *slot = read_begin(b);
	bool found = bus_map_find(atomic_load(&b->map), addr, ret);

	read_end(slot);
	return found;
}

void bus_each(struct bus *b, void (*fn)(void *arg, const struct bus_region *r), void *arg)
{
	autofree struct bus_map *copy = NULL;
	size_t size;

	pthread_mutex_lock(&b->lock);
	size = bus_map_size(atomic_load(&b->map));
	copy = malloc(size);
	if (copy)
		memcpy(copy, atomic_load(&b->map), size);
	pthread_mutex_unlock(&b->lock);
	for (size_t i = 0; copy && i < copy->n; i++)
		fn(arg, &copy->regions[i]);
}

int bus_listen(struct bus *b, void (*changed)(void *arg), void *arg, struct err *e)
{
	if (b->n_listeners == MAX_LISTENERS)
		return err_set(e, -ENOSPC, "too many listeners on one bus");
	b->listeners[b->n_listeners].changed = changed;
	b->listeners[b->n_listeners++].arg = arg;
	return 0;
}
