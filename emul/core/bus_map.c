/* bus_map.c - entries of a bus to a flat map, and the search in it. */
#include "emul/core/bus_map.h"

#include <stdlib.h>

#include "base/bytes.h"

/* The last address of a region; an end could be 2^64. */
static uint64_t last(const struct bus_region *r)
{
	return r->addr + (r->len - 1);
}

static int by_address(const void *a, const void *b)
{
	const struct bus_region *x = a, *y = b;

	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

/* The part [from, to] of an entry as a region. */
static struct bus_region part(const struct bus_entry *t, uint64_t from, uint64_t to)
{
	return (struct bus_region){
		.addr = from,
		.len = to - from + 1,
		.kind = t->kind,
		.ram = t->ram,
		.off = t->off + (from - t->addr),
		.dev = t->dev,
		.window = t->window,
	};
}

/* Add what the regions that are there leave free of an entry. They are sorted. */
static void fill_in(struct bus_map *map, const struct bus_entry *t)
{
	uint64_t from = t->addr, end = t->addr + (t->len - 1);
	size_t n = map->n;

	for (size_t i = 0; i < n; i++) {
		const struct bus_region *r = &map->regions[i];

		if (last(r) < from)
			continue;
		if (r->addr > end)
			break;
		if (r->addr > from)
			map->regions[map->n++] = part(t, from, r->addr - 1);
		if (last(r) >= end)
			goto sort;
		from = last(r) + 1;
	}
	map->regions[map->n++] = part(t, from, end);
sort:
	qsort(map->regions, map->n, sizeof(map->regions[0]), by_address);
}

struct bus_map *bus_map_build(const struct bus_entry *entries, unsigned n)
{
	/* An entry over c runs of regions adds at most c + 1 and makes one run of them: 2n is
	 * enough. */
	struct bus_map *map =
	    calloc(1, sizeof(*map) + (2 * (size_t)n + 1) * sizeof(map->regions[0]));

	for (unsigned i = 0; map && i < n; i++)
		if (entries[i].addr != BUS_NOWHERE)
			fill_in(map, &entries[i]);
	return map;
}

bool bus_map_find(const struct bus_map *map, uint64_t addr, struct bus_region *ret)
{
	size_t lo = 0, hi = map->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (map->regions[mid].addr <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (!lo || last(&map->regions[lo - 1]) < addr)
		return false;
	*ret = map->regions[lo - 1];
	return true;
}
