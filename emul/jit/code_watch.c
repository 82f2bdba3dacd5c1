/*
 * code_watch.c - which guest memory is code: a page that a unit was made from has RAM_CODE set, so
 * that no store to it takes the fast path, and a bit for each granule of 64 bytes with code in it.
 * A page is found by its host address, which no alias of it in the guest's physical map can change.
 *
 * What a store to such a granule does is the ISA's rule (code_barrier of struct jit_isa):
 * - It counts at once. Units whose bytes it changed are stale, and other CPUs that run leave the
 * code they are in. The unit that makes the store is left before (jit_watch_hits()).
 * - It counts at a barrier. The first store to a granule marks it dirty, the others cost nothing;
 * the next barrier of any CPU looks at the units there. In both cases a unit whose bytes are what
 * they were stays as it is, and a stale one is kept until they come back (blocks.c).
 *
 * A store while a unit is being made: the translator counts itself in (busy), reads the bytes, and
 * publishes the unit only if no store to the page was counted since. The storer stores first and
 * looks then; the translator counts itself in first and reads then; so one of them sees the other.
 *
 * But generated code looks first (at its TLB's tag) and stores then. So when a page begins to be
 * watched, another CPU may be between the two, and nobody hears of its store. Such a page is due
 * until every CPU has been outside of generated code since: its units are compared with memory
 * then, and at every barrier before.
 *
 * Pages are kept until the engine is freed. Everything but trap and idle is guarded by
 * engine->lock.
 */
#include <stdlib.h>

#include "base/bytes.h"
#include "emul/jit/core.h"

enum { MANY_WRITES = 64 };

struct jit_code_page {
	uint64_t page; /* host address */
	struct ram *ram;
	uint64_t ram_page; /* number of the page in it */
	struct jit_code_page *_Atomic next;
	_Atomic uint64_t trap; /* granules whose writes are to be looked at */
	_Atomic uint32_t idle; /* writes that were not, since there was one */
	uint32_t busy;
	uint64_t granules, dirty, writes;
	uint64_t pass;          /* engine->pass when it began to be watched; 0: all have passed */
	struct jit_unit *units; /* linked by page_next[0] or [1] */
	struct jit_code_page *due_next;
	bool due;
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

/* ---- pages that are due --------------------------------------------------------------------- */

static void set_trap(struct jit_engine *en, struct jit_code_page *p)
{
	uint64_t trap = en->isa->code_barrier ? p->granules & ~p->dirty : p->granules;

	atomic_store(&p->trap, p->busy ? UINT64_MAX : trap);
}

static void due_add(struct jit_engine *en, struct jit_code_page *p)
{
	if (p->due)
		return;
	p->due = true;
	p->due_next = en->due;
	en->due = p;
	atomic_fetch_add(&en->n_due, 1);
}

/* The page has just begun to be watched, by v, which is in no code. */
static void wait_for_pass(struct jit_vcpu *v, struct jit_code_page *p)
{
	struct jit_engine *en = v->engine;

	p->pass = atomic_fetch_add(&en->pass, 1) + 1;
	atomic_store(&v->passed, p->pass);
	due_add(en, p);
	for (unsigned i = 0; i < en->n_vcpus; i++)
		if (en->vcpus[i] != v && atomic_load(&en->vcpus[i]->passed) != UINT64_MAX)
			jit_vcpu_notify(en->vcpus[i], JIT_PENDING_WORK);
}

static uint64_t all_passed(const struct jit_engine *en)
{
	uint64_t seen = UINT64_MAX;

	for (unsigned i = 0; i < en->n_vcpus; i++)
		seen = MIN(seen, atomic_load(&en->vcpus[i]->passed));
	return seen;
}

static unsigned which_of(const struct jit_code_page *p, const struct jit_unit *u)
{
	return u->page == p->page ? 0 : 1;
}

/* The units with code in one of these granules: those whose bytes are others are stale. */
static bool compare(struct jit_engine *en, struct jit_code_page *p, uint64_t granules)
{
	struct jit_unit *u, *next;
	bool changed = false;

	for (u = p->units; u; u = next) {
		next = u->page_next[which_of(p, u)];
		if (!((which_of(p, u) ? u->granules2 : u->granules) & granules))
			continue;
		if (jit_source_same(u))
			continue;
		jit_blocks_stale(en, u);
		changed = true;
	}
	p->dirty &= ~granules;
	set_trap(en, p);
	return changed;
}

/* barrier: dirty granules too. */
static void do_due(struct jit_engine *en, bool barrier)
{
	struct jit_code_page **at = &en->due, *p;
	uint64_t seen = all_passed(en);

	while ((p = *at)) {
		bool passed = p->pass && seen >= p->pass;

		if (barrier || passed)
			compare(en, p, p->pass ? UINT64_MAX : p->dirty);
		if (passed)
			p->pass = 0;
		if (p->pass || p->dirty) {
			at = &p->due_next;
			continue;
		}
		p->due = false;
		*at = p->due_next;
		atomic_fetch_sub(&en->n_due, 1);
	}
}

const _Atomic uint64_t *jit_watch_trap(struct jit_engine *en, uint64_t page)
{
	const struct jit_code_page *p = jit_watch_find(en, page);

	return p ? &p->trap : NULL;
}

void jit_watch_barrier(struct jit_engine *en)
{
	full_fence();
	if (!atomic_load(&en->n_due))
		return;
	pthread_mutex_lock(&en->lock);
	do_due(en, true);
	pthread_mutex_unlock(&en->lock);
}

void jit_watch_pass(struct jit_vcpu *v, bool asleep)
{
	struct jit_engine *en = v->engine;
	uint64_t pass = atomic_load(&en->pass);

	if (atomic_exchange(&v->passed, asleep ? UINT64_MAX : pass) >= pass)
		return;
	pthread_mutex_lock(&en->lock);
	do_due(en, false);
	pthread_mutex_unlock(&en->lock);
}

/* ---- watching ------------------------------------------------------------------------------- */

uint64_t jit_watch_start(struct jit_vcpu *v, struct jit_code_page *p)
{
	struct jit_engine *en = v->engine;

	p->busy++;
	set_trap(en, p);
	if (!(atomic_fetch_or(&p->ram->flags[p->ram_page], RAM_CODE) & RAM_CODE)) {
		jit_mmu_protect(en, (const uint8_t *)(uintptr_t)p->page);
		if (en->n_vcpus > 1)
			wait_for_pass(v, p);
	}
	return p->writes;
}

void jit_watch_end(struct jit_engine *en, struct jit_code_page *p)
{
	p->busy--;
	set_trap(en, p);
}

bool jit_watch_same(const struct jit_code_page *p, uint64_t writes)
{
	return p->writes == writes;
}

void jit_watch_add(struct jit_engine *en, struct jit_code_page *p, struct jit_unit *u,
		   unsigned which)
{
	u->page_next[which] = p->units;
	p->units = u;
	p->granules |= which ? u->granules2 : u->granules;
	atomic_store_explicit(&p->idle, 0, memory_order_relaxed);
	set_trap(en, p);
}

void jit_watch_remove(struct jit_engine *en, struct jit_code_page *p, struct jit_unit *u,
		      unsigned which)
{
	struct jit_unit **at = &p->units;
	uint64_t left = 0;

	while (*at && *at != u)
		at = &(*at)->page_next[which_of(p, *at)];
	if (*at)
		*at = u->page_next[which];
	for (struct jit_unit *o = p->units; o; o = o->page_next[which_of(p, o)])
		left |= which_of(p, o) ? o->granules2 : o->granules;
	p->granules = left;
	set_trap(en, p);
}

/* ---- stores --------------------------------------------------------------------------------- */

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
	uint64_t base = which_of(p, u) ? RAM_PAGE_SIZE : 0;

	if (u->page != p->page && u->page2 != p->page)
		return false;
	for (unsigned i = 0; i < u->n_pieces; i++)
		if (ranges_overlap(u->pieces[i].off, u->pieces[i].len, base + off, len))
			return true;
	return !u->n_pieces && (base ? u->granules2 : u->granules) & granules_of(off, len);
}

bool jit_watch_hits(struct jit_engine *en, const uint8_t *host, unsigned len, uintptr_t ra)
{
	uint64_t page = round_down((uintptr_t)host, RAM_PAGE_SIZE);
	unsigned off = (unsigned)((uintptr_t)host - page);
	const struct jit_code_page *p = jit_watch_find(en, page);
	const struct jit_unit *u;

	if (!p || !(atomic_load(&p->trap) & granules_of(off, len)))
		return false;
	u = jit_cache_find(&en->cache, ra);
	return u && !(u->mode & JIT_MODE_PARTIAL) && unit_has(p, u, off, len);
}

/*
 * Many writes beside the code, or to what is dirty: perhaps the page is no code any more. Then
 * stores are fast again, until code is made from it once more. Not at once: a guest that writes
 * code will run it next, and write there again.
 */
static void many_writes(struct jit_engine *en, struct jit_code_page *p)
{
	if (atomic_fetch_add_explicit(&p->idle, 1, memory_order_relaxed) < MANY_WRITES)
		return;
	pthread_mutex_lock(&en->lock);
	atomic_store_explicit(&p->idle, 0, memory_order_relaxed);
	compare(en, p, p->dirty);
	if (!p->granules && !p->busy)
		atomic_fetch_and(&p->ram->flags[p->ram_page], (uint8_t)~RAM_CODE);
	pthread_mutex_unlock(&en->lock);
}

/* Code that others are in may have changed. */
static void leave_code(struct jit_engine *en, struct jit_vcpu *v)
{
	for (unsigned i = 0; i < en->n_vcpus; i++)
		if (en->vcpus[i] != v)
			jit_vcpu_notify(en->vcpus[i], JIT_PENDING_WORK);
}

void jit_watch_wrote(struct jit_engine *en, struct jit_vcpu *v, const uint8_t *host, unsigned len)
{
	uint64_t page = round_down((uintptr_t)host, RAM_PAGE_SIZE);
	uint64_t granules = granules_of((unsigned)((uintptr_t)host - page), len);
	struct jit_code_page *p = jit_watch_find(en, page);

	if (!p)
		return;
	full_fence();
	if (!(atomic_load(&p->trap) & granules)) {
		many_writes(en, p);
		return;
	}
	pthread_mutex_lock(&en->lock);
	if (p->busy)
		p->writes++;
	if (v && en->isa->code_barrier) {
		p->dirty |= granules & p->granules;
		set_trap(en, p);
		if (p->dirty)
			due_add(en, p);
	} else if (compare(en, p, granules)) {
		leave_code(en, v);
	}
	pthread_mutex_unlock(&en->lock);
}

/* ram->code_wrote: a device wrote, or the monitor. */
static void code_wrote(void *arg, struct ram *ram, uint64_t off, uint64_t len)
{
	struct jit_engine *en = arg;

	while (len) {
		uint64_t n = MIN(len, RAM_PAGE_SIZE - (off & (RAM_PAGE_SIZE - 1)));

		jit_watch_wrote(en, NULL, ram->host + off, (unsigned)n);
		off += n;
		len -= n;
	}
}

static void log_armed(void *arg, struct ram *ram)
{
	jit_mmu_log_armed(arg, ram);
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
	r->ram->log_armed = c->on ? log_armed : NULL;
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
