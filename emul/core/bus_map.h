/*
 * bus_map.h - the flat map of a bus, built from entries. For bus.c only; pure functions.
 */
#ifndef EMUL_CORE_BUS_MAP_H
#define EMUL_CORE_BUS_MAP_H

#include <stddef.h>

#include "emul/core/bus.h"

/* What was put on the bus; a device's window is there even while it is at BUS_NOWHERE. */
struct bus_entry {
	uint64_t addr, len;
	enum bus_kind kind;
	struct ram *ram;
	uint64_t off;
	struct device *dev;
	unsigned window;
};

/* In the order of addresses, without overlaps. */
struct bus_map {
	size_t n;
	struct bus_region regions[];
};

/* Older entries (lower index) hide younger ones. NULL: out of memory. Free with free(). */
struct bus_map *bus_map_build(const struct bus_entry *entries, unsigned n);
bool bus_map_find(const struct bus_map *map, uint64_t addr, struct bus_region *ret);

static inline size_t bus_map_size(const struct bus_map *map)
{
	return sizeof(*map) + map->n * sizeof(map->regions[0]);
}

#endif
