/*
 * code_watch.c - which guest memory is code: a page that a unit was made from has RAM_CODE set, so
 * that no store to it takes the fast path, and a bit for each granule of 64 bytes with code in it.
 *
 * A store is followed by a look at the bits, and kills the units whose bytes it changed. A page is
 * found by its host address, which no alias of it in the guest's physical map can change.
 *
 * A store while a unit is being made: the translator counts itself in (busy), reads the bytes, and
 * publishes the unit only if no store to the page was counted since. The storer stores first and
 * looks then; the translator counts itself in first and reads then; so one of them sees the other.
 *
 * Pages are kept until the engine is freed. Everything but the bits and counts is guarded by
 * engine->lock.
 */
#include <stdlib.h>

#include "base/bytes.h"
#include "emul/jit/core.h"

enum { IDLE_WRITES = 32 };

struct jit_code_page {
	uint64_t page; /* host address */
	struct ram *ram;
	uint64_t ram_page; /* number of the page in it */
	struct jit_code_page *_Atomic next;
	_Atomic uint64_t granules;
	_Atomic uint64_t writes;
	_Atomic uint32_t busy;
	unsigned idle;          /* writes since there were units */
	struct jit_unit *units; /* linked by page_next[0] or [1] */
};

static struct jit_code_page *_Atomic *bucket(struct jit_engine *en, uint64_t page)
{
	return &en->pages[jit_mix(page) & ((1u << JIT_PAGE_HASH_BITS) - 1)];
}

struct jit_code_page *jit_watch_find(struct jit_engine *en, uint64_t page)
{
	struct jit_code_page *p = atomic_load_explicit(bucket(en, page), memory_order_acquire);

	while (p && p->page != page)
		p = atomic_load_explicit(&p->next, memory_order_acquire);
	return p;
}

static struct jit_code_page *page_new(struct jit_engine *en, const struct jit_place *place,
				      uint64_t page)
{
	struct jit_code_page *p = calloc(1, sizeof(*p));
	struct jit_code_page *_Atomic *b = bucket(en, page);

	if (!p)
		return NULL;
	p->page = page;
	p->ram = place->ram;
	p->ram_page = round_down(place->off, RAM_PAGE_SIZE) >> RAM_PAGE_BITS;
	atomic_store_explicit(&p->next, atomic_load(b), memory_order_relaxed);
	atomic_store_explicit(b, p, memory_order_release);
	return p;
}

struct jit_code_page *jit_watch(struct jit_engine *en, const struct jit_place *place)
{
	uint64_t page = round_down((uintptr_t)place->host, RAM_PAGE_SIZE);
	struct jit_code_page *p = jit_watch_find(en, page);

	if (!p) {
		pthread_mutex_lock(&en->lock);
		p = jit_watch_find(en, page);
		if (!p)
			p = page_new(en, place, page);
		pthread_mutex_unlock(&en->lock);
	}
	return p;
}

/* Returns the count of writes; the caller reads the page's bytes after this. */
uint64_t jit_watch_start(struct jit_engine *en, struct jit_code_page *p)
{
	uint64_t writes;

	atomic_fetch_add(&p->busy, 1);
	if (!(atomic_fetch_or(&p->ram->flags[p->ram_page], RAM_CODE) & RAM_CODE))
		jit_mmu_protect(en, (const uint8_t *)(uintptr_t)p->page);
	writes = atomic_load(&p->writes);
	full_fence();
	return writes;
}

void jit_watch_end(struct jit_code_page *p)
{
	atomic_fetch_sub(&p->busy, 1);
}

bool jit_watch_same(struct jit_code_page *p, uint64_t writes)
{
	return atomic_load(&p->writes) == writes;
}

void jit_watch_add(struct jit_code_page *p, struct jit_unit *u, unsigned which)
{
	u->page_next[which] = p->units;
	p->units = u;
	atomic_fetch_or(&p->granules, which ? u->granules2 : u->granules);
}

static unsigned which_of(const struct jit_code_page *p, const struct jit_unit *u)
{
	return u->page == p->page ? 0 : 1;
}

void jit_watch_remove(struct jit_code_page *p, struct jit_unit *u, unsigned which)
{
	struct jit_unit **at = &p->units;
	uint64_t left = 0;

	while (*at && *at != u)
		at = &(*at)->page_next[which_of(p, *at)];
	if (*at)
		*at = u->page_next[which];
	for (struct jit_unit *o = p->units; o; o = o->page_next[which_of(p, o)])
		left |= which_of(p, o) ? o->granules2 : o->granules;
	atomic_store(&p->granules, left);
}

/* Bits of the granules that [off, off + len) of a page touches. */
static uint64_t granules_of(unsigned off, unsigned len)
{
	unsigned first = off >> JIT_GRANULE_BITS, last = (off + len - 1) >> JIT_GRANULE_BITS;

	return UINT64_MAX >> (63 - (last - first)) << first;
}

/* Does the unit contain bytes of [off, off + len) of the page? */
static bool unit_has(const struct jit_code_page *p, const struct jit_unit *u, unsigned off,
		     unsigned len)
{
	uint64_t in = u->low & (RAM_PAGE_SIZE - 1), first;
	unsigned which = which_of(p, u);

	if (!((which ? u->granules2 : u->granules) & granules_of(off, len)))
		return false;
	if (which == 0)
		return ranges_overlap(in, MIN(u->len, RAM_PAGE_SIZE - in), off, len);
	first = RAM_PAGE_SIZE - in;
	return ranges_overlap(0, u->len - first, off, len);
}

void jit_watch_wrote(struct jit_engine *en, const uint8_t *host, unsigned len)
{
	uint64_t page = round_down((uintptr_t)host, RAM_PAGE_SIZE);
	unsigned off = (unsigned)((uintptr_t)host - page);
	struct jit_code_page *p = jit_watch_find(en, page);
	struct jit_unit *u, *next;

	if (!p)
		return;
	full_fence();
	if (atomic_load(&p->granules) && !(atomic_load(&p->granules) & granules_of(off, len)) &&
	    !atomic_load(&p->busy))
		return;
	pthread_mutex_lock(&en->lock);
	atomic_fetch_add(&p->writes, 1);
	for (u = p->units; u; u = next) {
		next = u->page_next[which_of(p, u)];
		if (unit_has(p, u, off, len))
			jit_blocks_kill(en, u);
	}
	/*
	 * Nothing left, for some time: stores are fast again, until code is made from the page once
	 * more. Not at once: a guest that writes code will run it next, and write there again.
	 */
	p->idle = p->units || atomic_load(&p->busy) ? 0 : p->idle + 1;
	if (p->idle > IDLE_WRITES)
		atomic_fetch_and(&p->ram->flags[p->ram_page], (uint8_t)~RAM_CODE);
	pthread_mutex_unlock(&en->lock);
}

/* ram->code_wrote: a device wrote, or the monitor. */
static void code_wrote(void *arg, struct ram *ram, uint64_t off, uint64_t len)
{
	struct jit_engine *en = arg;

	while (len) {
		uint64_t n = MIN(len, RAM_PAGE_SIZE - (off & (RAM_PAGE_SIZE - 1)));

		jit_watch_wrote(en, ram->host + off, (unsigned)n);
		off += n;
		len -= n;
	}
}

struct connect {
	struct jit_engine *en;
	bool on;
};

static void connect_one(void *arg, const struct bus_region *r)
{
	struct connect *c = arg;

	if (r->kind == BUS_DEVICE || !r->ram)
		return;
	r->ram->code_arg = c->on ? c->en : NULL;
	r->ram->code_wrote = c->on ? code_wrote : NULL;
}

void jit_watch_connect(struct jit_engine *en)
{
	bus_each(en->en.machine->bus, connect_one, &(struct connect){ en, true });
}

void jit_watch_disconnect(struct jit_engine *en)
{
	bus_each(en->en.machine->bus, connect_one, &(struct connect){ en, false });
	for (unsigned i = 0; i < ARRAY_SIZE(en->pages); i++) {
		struct jit_code_page *p = atomic_load(&en->pages[i]), *next;

		for (; p; p = next) {
			next = atomic_load(&p->next);
			free(p);
		}
		atomic_store(&en->pages[i], NULL);
	}
}
