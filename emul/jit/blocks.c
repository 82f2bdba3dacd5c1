/*
 * blocks.c - the translations of a machine, found by page of physical memory, virtual pc and mode.
 *
 * All vCPUs share them. Looking one up takes no lock: a chain is read with acquire loads, and a
 * unit that is taken out of its chain keeps its link and its memory until every vCPU has been at a
 * safe point since (jit_blocks_retire). Everything else happens under engine->lock.
 *
 * A unit whose bytes in memory are others now is stale: taken out of use, and found again by its
 * first bytes when they are what they were. Guests that write code write the same again and again.
 */
#include "base/bytes.h"
#include "emul/jit/core.h"

#define PAGE (UINT64_C(1) << JIT_PAGE_BITS)

static struct jit_unit *_Atomic *bucket(struct jit_engine *en, uint64_t page, uint64_t pc,
					uint32_t mode)
{
	uint64_t h = jit_mix(page ^ pc << 1 ^ (uint64_t)mode << 48);

	return &en->hash[h & ((1u << JIT_HASH_BITS) - 1)];
}

static struct jit_unit *first_of(struct jit_unit *u, uint64_t page, uint64_t pc, uint32_t mode)
{
	while (u && !(u->pc == pc && u->page == page && u->mode == mode))
		u = atomic_load_explicit(&u->next, memory_order_acquire);
	return u;
}

struct jit_unit *jit_blocks_find(struct jit_engine *en, uint64_t page, uint64_t pc, uint32_t mode)
{
	return first_of(atomic_load_explicit(bucket(en, page, pc, mode), memory_order_acquire),
			page, pc, mode);
}

struct jit_unit *jit_blocks_next(struct jit_unit *u)
{
	return first_of(atomic_load_explicit(&u->next, memory_order_acquire), u->page, u->pc,
			u->mode);
}

void jit_blocks_add(struct jit_engine *en, struct jit_unit *u)
{
	struct jit_unit *_Atomic *b = bucket(en, u->page, u->pc, u->mode);

	jit_watch_add(en, jit_watch_find(en, u->page), u, 0);
	if (u->page2)
		jit_watch_add(en, jit_watch_find(en, u->page2), u, 1);
	atomic_store_explicit(&u->next, atomic_load(b), memory_order_relaxed);
	atomic_store_explicit(b, u, memory_order_release);
}

static void hash_remove(struct jit_engine *en, struct jit_unit *u)
{
	struct jit_unit *_Atomic *at = bucket(en, u->page, u->pc, u->mode);
	struct jit_unit *o;

	while ((o = atomic_load(at)) && o != u)
		at = &o->next;
	if (o)
		atomic_store_explicit(at, atomic_load(&u->next), memory_order_release);
}

/* The exit no longer counts among those that lead to its target. */
static void forget_link(struct jit_exit *x)
{
	struct jit_unit *target = atomic_load_explicit(&x->target, memory_order_relaxed);
	struct jit_exit **at;

	if (!target)
		return;
	for (at = &target->incoming; *at; at = &(*at)->next) {
		if (*at == x) {
			*at = x->next;
			break;
		}
	}
	atomic_store_explicit(&x->target, NULL, memory_order_relaxed);
}

/* Out of use: found by nobody, linked to nothing, and whoever comes to its entry leaves. */
static void withdraw(struct jit_engine *en, struct jit_unit *u)
{
	const struct jit_backend_class *be = en->backend->class;
	struct jit_exit *x, *next;

	u->dead = true;
	hash_remove(en, u);
	jit_watch_remove(en, jit_watch_find(en, u->page), u, 0);
	if (u->page2)
		jit_watch_remove(en, jit_watch_find(en, u->page2), u, 1);
	for (x = u->incoming; x; x = next) {
		next = x->next;
		atomic_store_explicit(&x->target, NULL, memory_order_relaxed);
		be->unlink(en->backend, x);
	}
	u->incoming = NULL;
	for (unsigned i = 0; i < u->n_exits; i++) {
		x = &u->exits[i];
		if (!atomic_load_explicit(&x->target, memory_order_relaxed))
			continue;
		forget_link(x);
		be->unlink(en->backend, x);
	}
	be->kill(en->backend, u);
}

/* ---- units whose bytes may come back -------------------------------------------------------- */

static struct jit_unit **stale_bucket(struct jit_engine *en, uint64_t page, uint64_t pc,
				      uint32_t mode, uint64_t head)
{
	uint64_t h = jit_mix(jit_mix(page ^ pc << 1 ^ (uint64_t)mode << 48) ^ head);

	return &en->stale[h & ((1u << JIT_STALE_HASH_BITS) - 1)];
}

static void stale_add(struct jit_engine *en, struct jit_unit *u)
{
	struct jit_unit **b = stale_bucket(en, u->page, u->pc, u->mode, u->head);

	u->stale = true;
	u->page_next[0] = *b;
	*b = u;
	en->head_lens |= UINT32_C(1) << u->head_len;
}

static void stale_remove(struct jit_engine *en, struct jit_unit *u)
{
	struct jit_unit **at = stale_bucket(en, u->page, u->pc, u->mode, u->head);

	while (*at && *at != u)
		at = &(*at)->page_next[0];
	if (*at)
		*at = u->page_next[0];
	u->stale = false;
}

void jit_blocks_stale(struct jit_engine *en, struct jit_unit *u)
{
	if (u->dead)
		return;
	withdraw(en, u);
	if (u->n_pieces && !u->page2 && !(u->mode & JIT_MODE_PARTIAL))
		stale_add(en, u);
}

void jit_blocks_kill(struct jit_engine *en, struct jit_unit *u)
{
	if (u->stale)
		stale_remove(en, u);
	else if (!u->dead)
		withdraw(en, u);
}

/* One whose first head_len bytes are what memory has there, and then all the others. */
static struct jit_unit *stale_find(struct jit_engine *en, uint64_t page, uint64_t pc, uint32_t mode,
				   unsigned head_len)
{
	enum { TRIES = 8 };
	struct jit_unit *u;
	unsigned n = 0;
	uint64_t head;

	if (!jit_source_head(page, pc, head_len, &head))
		return NULL;
	for (u = *stale_bucket(en, page, pc, mode, head); u && n < TRIES; u = u->page_next[0]) {
		if (u->pc != pc || u->page != page || u->mode != mode || u->head != head)
			continue;
		if (jit_source_same(u))
			return u;
		n++;
	}
	return NULL;
}

/* The lock is held from the comparison on: a store after it finds the unit among those of the page.
 */
struct jit_unit *jit_blocks_revive(struct jit_vcpu *v, const struct jit_place *place, uint64_t pc,
				   uint32_t mode)
{
	struct jit_engine *en = v->engine;
	uint64_t page = round_down((uintptr_t)place->host, RAM_PAGE_SIZE);
	struct jit_code_page *watch = jit_watch_find(en, page);
	struct jit_unit *u = NULL;

	if (!watch || !en->head_lens)
		return NULL;
	pthread_mutex_lock(&en->lock);
	jit_watch_start(v, watch);
	for (uint32_t lens = en->head_lens; lens && !u; lens &= lens - 1)
		u = stale_find(en, page, pc, mode, (unsigned)__builtin_ctz(lens));
	if (u) {
		stale_remove(en, u);
		u->dead = false;
		en->backend->class->revive(en->backend, u);
		jit_blocks_add(en, u);
	}
	jit_watch_end(en, watch);
	pthread_mutex_unlock(&en->lock);
	return u;
}

void jit_blocks_link(struct jit_engine *en, struct jit_exit *x, struct jit_unit *target)
{
	pthread_mutex_lock(&en->lock);
	if (!x->unit->dead && !target->dead && !atomic_load(&x->target)) {
		if (!x->same_page || target->page2 || target->page != x->unit->page) {
			en->backend->class->probe_always(en->backend, x);
		} else {
			atomic_store_explicit(&x->target, target, memory_order_release);
			x->next = target->incoming;
			target->incoming = x;
			en->backend->class->link(en->backend, x, target->entry);
		}
	}
	pthread_mutex_unlock(&en->lock);
}

/* Regions whose units no vCPU can be in, or come to, any more. */
void jit_blocks_collect(struct jit_engine *en)
{
	uint64_t seen = UINT64_MAX;

	for (unsigned i = 0; i < en->n_vcpus; i++)
		seen = MIN(seen, atomic_load(&en->vcpus[i]->epoch));
	for (unsigned i = 0; i < JIT_REGIONS; i++) {
		struct jit_region *r = &en->cache.regions[i];

		if (r->state == JIT_REGION_DYING && r->retired <= seen)
			r->state = JIT_REGION_FREE;
	}
}

/*
 * Kill the units of the oldest region. A vCPU sees the new epoch at
 * its next safe point: there it changes its salt, so that no entry of its jump cache and return
 * stack leads into the region, and says so by its own epoch.
 */
bool jit_blocks_retire_oldest(struct jit_engine *en)
{
	struct jit_region *r = jit_cache_oldest(&en->cache);

	if (!r)
		return false;
	for (struct jit_unit *u = r->first; u; u = u->after) {
		if (!u->dead)
			jit_cold_again(en, (uint8_t *)(uintptr_t)u->page + (u->pc & (PAGE - 1)));
		jit_blocks_kill(en, u);
	}
	r->retired = atomic_fetch_add(&en->epoch, 1) + 1;
	r->state = JIT_REGION_DYING;
	for (unsigned i = 0; i < en->n_vcpus; i++)
		jit_vcpu_notify(en->vcpus[i], JIT_PENDING_WORK);
	return true;
}

void jit_blocks_retire(struct jit_engine *en)
{
	enum { SPARE = 8 };

	jit_blocks_collect(en);
	if (jit_cache_count(&en->cache, JIT_REGION_FREE) +
		jit_cache_count(&en->cache, JIT_REGION_DYING) <
	    SPARE)
		jit_blocks_retire_oldest(en);
}
