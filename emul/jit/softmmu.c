/*
 * softmmu.c - translation of guest addresses for one vCPU, on its thread: a small first level that
 * generated code reads (cpu->tlb), a large second level whose entries know their address space and
 * the size of their page, and the ISA's walk of the tables behind both.
 *
 * A switch of the address space empties the first level only. Entries of the second carry a context
 * number: one for each address space that is remembered and one for global pages; forgetting a
 * space is giving it a new number.
 */
#include <stdlib.h>

#include "base/bytes.h"
#include "emul/jit/core.h"

#define PAGE      (UINT64_C(1) << JIT_PAGE_BITS)
#define PAGE_MASK (~(PAGE - 1))

static void tag_store(uint64_t *tag, uint64_t v)
{
	__atomic_store_n(tag, v, __ATOMIC_RELAXED);
}

int jit_mmu_init(struct jit_vcpu *v, struct err *e)
{
	struct jit_mmu *m = &v->mmu;

	m->l2 = calloc(1u << JIT_L2_BITS, sizeof(*m->l2));
	if (!m->l2)
		return err_nomem(e);
	m->spaces[0].ctx = m->ctx_now = 1;
	m->ctx_global = m->last_ctx = 2;
	m->next_space = 1;
	jit_flush_all(jit_state(v));
	return 0;
}

void jit_mmu_free(struct jit_vcpu *v)
{
	free(v->mmu.l2);
	v->mmu.l2 = NULL;
}

static void flush_first_level(struct jit_vcpu *v)
{
	for (unsigned r = 0; r < v->engine->isa->n_regimes; r++) {
		for (unsigned i = 0; i < JIT_TLB_SIZE; i++) {
			tag_store(&v->cpu->tlb[r][i].read, JIT_TLB_NEVER);
			tag_store(&v->cpu->tlb[r][i].write, JIT_TLB_NEVER);
		}
	}
	for (unsigned h = 0; h < 2; h++) {
		v->mmu.large[h].low = UINT64_MAX;
		v->mmu.large[h].high = 0;
	}
}

/*
 * The salt of jump cache and return stack: any good hash of what decides which code an address
 * means. It is secret, so that a guest cannot make two tags equal. Where all code is in global
 * pages, as that of a kernel, a switch of the address space changes nothing.
 */
void jit_mmu_salt(struct jit_vcpu *v)
{
	unsigned regime = v->engine->isa->fetch_regime(v->cpu->mode);
	bool local = v->mmu.code_local >> regime & 1;
	uint64_t key =
	    (uint64_t)v->mmu.code_gen << 32 | (local ? v->mmu.ctx_now : v->mmu.ctx_global);

	key = jit_mix(key ^ v->engine->seed) ^ v->cpu->mode;
	if (key != v->salt_key) {
		v->salt_key = key;
		v->cpu->salt = jit_mix(key + v->engine->seed);
	}
}

void jit_mmu_new_code_gen(struct jit_vcpu *v)
{
	v->mmu.code_gen++;
	memset(v->mmu.bloom, 0, sizeof(v->mmu.bloom));
	jit_mmu_salt(v);
}

/* ---- the second level ----------------------------------------------------------------------- */

static struct jit_l2 *l2_set(struct jit_mmu *m, uint64_t va, unsigned bits, unsigned regime)
{
	uint64_t n = va >> bits;

	n ^= n >> JIT_L2_BITS ^ (uint64_t)regime * 0x155 ^ (uint64_t)bits * 0x3b;
	return m->l2[n & ((1u << JIT_L2_BITS) - 1)];
}

static uint64_t l2_tag(uint64_t va, unsigned bits, unsigned regime)
{
	return (va >> bits << bits) | regime;
}

static struct jit_l2 *l2_find(struct jit_mmu *m, uint64_t va, unsigned regime)
{
	for (uint64_t sizes = m->sizes; sizes; sizes &= sizes - 1) {
		unsigned bits = (unsigned)__builtin_ctzll(sizes);
		struct jit_l2 *set = l2_set(m, va, bits, regime);
		uint64_t tag = l2_tag(va, bits, regime);

		for (unsigned i = 0; i < JIT_L2_WAYS; i++)
			if (set[i].tag == tag && set[i].bits == bits &&
			    (set[i].ctx == m->ctx_now || set[i].ctx == m->ctx_global))
				return &set[i];
	}
	return NULL;
}

static struct jit_l2 *l2_add(struct jit_mmu *m, uint64_t va, unsigned regime,
			     const struct jit_page *page)
{
	unsigned bits = page->page_bits;
	struct jit_l2 *set = l2_set(m, va, bits, regime), *e = NULL;
	uint64_t tag = l2_tag(va, bits, regime);

	for (unsigned i = 0; i < JIT_L2_WAYS; i++)
		if (!set[i].bits || (set[i].tag == tag && set[i].bits == bits &&
				     (set[i].ctx == m->ctx_now || set[i].ctx == m->ctx_global)))
			e = &set[i];
	if (!e)
		e = &set[m->next_way++ % JIT_L2_WAYS];
	e->tag = tag;
	e->pa = page->pa >> bits << bits;
	e->ctx = page->global ? m->ctx_global : m->ctx_now;
	e->bits = (uint8_t)bits;
	e->perms = (uint8_t)((page->read ? JIT_PERM_READ : 0) | (page->write ? JIT_PERM_WRITE : 0) |
			     (page->exec ? JIT_PERM_EXEC : 0));
	m->sizes |= UINT64_C(1) << bits;
	return e;
}

/* ---- physical memory ------------------------------------------------------------------------ */

static bool region_load(struct jit_vcpu *v, uint64_t pa)
{
	struct jit_region_cache *c = &v->mmu.region;
	struct bus_region r;

	if (!bus_lookup(v->engine->en.machine->bus, pa, &r) || r.kind == BUS_DEVICE || !r.ram)
		return false;
	c->addr = r.addr;
	c->len = r.len;
	c->ram = r.ram;
	c->off = r.off;
	c->readonly = r.kind == BUS_ROM;
	return true;
}

bool jit_mmu_place(struct jit_vcpu *v, uint64_t pa, struct jit_place *ret)
{
	struct jit_region_cache *c = &v->mmu.region;

	if (pa - c->addr >= c->len && !region_load(v, pa)) {
		*ret = (struct jit_place){ 0 };
		return false;
	}
	ret->ram = c->ram;
	ret->off = pa - c->addr + c->off;
	ret->host = c->ram->host + ret->off;
	ret->readonly = c->readonly;
	return true;
}

void jit_mmu_map_changed(struct jit_vcpu *v)
{
	v->mmu.region.len = 0;
	memset(v->mmu.fetch, 0, sizeof(v->mmu.fetch));
	flush_first_level(v);
	jit_mmu_new_code_gen(v);
}

/* ---- the first level ------------------------------------------------------------------------ */

static bool whole_page(const struct jit_place *p, uint64_t pa)
{
	uint64_t page = p->off & PAGE_MASK;

	return p->host && (p->off & ~PAGE_MASK) == (pa & ~PAGE_MASK) &&
	       range_fits(page, PAGE, p->ram->size);
}

static void note_large(struct jit_mmu *m, uint64_t va, unsigned bits)
{
	uint64_t low = va >> bits << bits, high = low + ((UINT64_C(1) << bits) - 1);
	unsigned h = va >> 63;

	m->large[h].low = MIN(m->large[h].low, low);
	m->large[h].high = MAX(m->large[h].high, high);
}

/*
 * The page has code: the thunk of slow stores makes those beside it. It looks at the granules
 * behind the store once more, so it does not matter what others do meanwhile; and a page that is
 * logged from now on is dirty then (jit_mmu_log_armed).
 */
static void fill_watched(struct jit_vcpu *v, struct jit_tlb *t, unsigned regime, uint64_t page,
			 uint64_t host, const _Atomic uint8_t *flags)
{
	const _Atomic uint64_t *trap = jit_watch_trap(v->engine, host);

	if (!trap)
		return;
	v->cpu->watch[regime][t - v->cpu->tlb[regime]] = trap;
	__atomic_store_n(&t->write, page | JIT_TLB_WATCHED, __ATOMIC_SEQ_CST);
	full_fence();
	if (atomic_load(flags) & RAM_LOG)
		tag_store(&t->write, JIT_TLB_NEVER);
}

/*
 * Stores take the fast path when nobody watches the page. Whoever begins to watch sets its flag
 * first and clears tags then (jit_mmu_protect); we set the tag first and look at the flag then.
 */
static void fill_first_level(struct jit_vcpu *v, uint64_t va, unsigned regime,
			     const struct jit_l2 *e, const struct jit_place *place)
{
	struct jit_tlb *t = &v->cpu->tlb[regime][va >> JIT_PAGE_BITS & (JIT_TLB_SIZE - 1)];
	_Atomic uint8_t *flags = &place->ram->flags[place->off >> RAM_PAGE_BITS];
	uint64_t page = va & PAGE_MASK, host = (uintptr_t)place->host & PAGE_MASK;
	bool write = (e->perms & JIT_PERM_WRITE) && !place->readonly;

	if (e->bits > JIT_PAGE_BITS)
		note_large(&v->mmu, va, e->bits);
	tag_store(&t->read, JIT_TLB_NEVER);
	tag_store(&t->write, JIT_TLB_NEVER);
	__atomic_store_n(&t->spare, host, __ATOMIC_RELAXED);
	t->addend = host - page;
	if (e->perms & JIT_PERM_READ)
		tag_store(&t->read, page);
	if (!write || atomic_load(flags) & RAM_LOG)
		return;
	if (atomic_load(flags) & RAM_CODE) {
		fill_watched(v, t, regime, page, host, flags);
		return;
	}
	__atomic_store_n(&t->write, page, __ATOMIC_SEQ_CST);
	full_fence();
	if (atomic_load(flags) & (RAM_CODE | RAM_LOG))
		tag_store(&t->write, JIT_TLB_NEVER);
}

void jit_mmu_protect(struct jit_engine *en, const uint8_t *host_page)
{
	uint64_t host = (uintptr_t)host_page & PAGE_MASK;

	full_fence();
	for (unsigned n = 0; n < en->n_vcpus; n++) {
		struct jit_cpu *cpu = en->vcpus[n]->cpu;

		for (unsigned r = 0; r < en->isa->n_regimes; r++)
			for (unsigned i = 0; i < JIT_TLB_SIZE; i++)
				if (__atomic_load_n(&cpu->tlb[r][i].spare, __ATOMIC_RELAXED) ==
				    host)
					tag_store(&cpu->tlb[r][i].write, JIT_TLB_NEVER);
	}
}

void jit_mmu_log_armed(struct jit_engine *en, struct ram *ram)
{
	full_fence();
	for (unsigned n = 0; n < en->n_vcpus; n++) {
		for (unsigned i = 0; i < en->isa->n_regimes * JIT_TLB_SIZE; i++) {
			struct jit_tlb *t =
			    &en->vcpus[n]->cpu->tlb[i / JIT_TLB_SIZE][i % JIT_TLB_SIZE];
			uint64_t off =
			    __atomic_load_n(&t->spare, __ATOMIC_RELAXED) - (uintptr_t)ram->host;

			if (off >= ram->size ||
			    __atomic_load_n(&t->write, __ATOMIC_RELAXED) == JIT_TLB_NEVER)
				continue;
			tag_store(&t->write, JIT_TLB_NEVER);
			/* It may be between its look at the tag and the store. */
			atomic_fetch_or(&ram->flags[off >> RAM_PAGE_BITS], RAM_DIRTY);
		}
	}
}

static uint8_t perm_of(enum jit_access access)
{
	return access == JIT_LOAD    ? JIT_PERM_READ
	       : access == JIT_STORE ? JIT_PERM_WRITE
				     : JIT_PERM_EXEC;
}

bool jit_mmu_translate(struct jit_vcpu *v, uint64_t va, enum jit_access access, unsigned regime,
		       uint64_t *pa, struct jit_place *place, struct jit_fault *fault)
{
	struct jit_l2 *e = l2_find(&v->mmu, va, regime), once;
	struct jit_page page = { .page_bits = JIT_PAGE_BITS };
	uint64_t mask;

	if (!e || !(e->perms & perm_of(access))) {
		if (!v->engine->isa->walk(jit_state(v), va, access, regime, &page, fault))
			return false;
		if (page.page_bits >= JIT_PAGE_BITS) {
			e = l2_add(&v->mmu, va, regime, &page);
		} else { /* less than a page has these rights: for this access only */
			once = (struct jit_l2){ .pa = page.pa };
			e = &once;
		}
	}
	mask = e == &once ? 0 : (UINT64_C(1) << e->bits) - 1;
	*pa = (e->pa & ~mask) | (va & mask);
	place->partial = e == &once;
	place->global = e->ctx == v->mmu.ctx_global;
	if (jit_mmu_place(v, *pa, place) && e != &once && access != JIT_FETCH &&
	    whole_page(place, *pa))
		fill_first_level(v, va, regime, e, place);
	return true;
}

bool jit_mmu_fetch(struct jit_vcpu *v, uint64_t va, struct jit_place *ret, struct jit_fault *fault)
{
	struct jit_fetch_page *f =
	    &v->mmu.fetch[va >> JIT_PAGE_BITS & ((1u << JIT_FETCH_BITS) - 1)];
	uint64_t tag = (va & PAGE_MASK) ^ v->cpu->salt, pa;
	unsigned n = va >> JIT_PAGE_BITS & ((1u << JIT_BLOOM_BITS) - 1);
	unsigned regime = v->engine->isa->fetch_regime(v->cpu->mode);

	if (f->tag != tag || !f->place.host) {
		if (!jit_mmu_translate(v, va, JIT_FETCH, regime, &pa, ret, fault))
			return false;
		if (!ret->host || !whole_page(ret, pa)) {
			v->engine->isa->bad_access(jit_state(v), va, JIT_FETCH, false, fault);
			return false;
		}
		if (!ret->global && !(v->mmu.code_local >> regime & 1)) {
			v->mmu.code_local |= UINT32_C(1) << regime;
			jit_mmu_new_code_gen(v);
			tag = (va & PAGE_MASK) ^ v->cpu->salt;
		}
		v->mmu.bloom[n / 64] |= UINT64_C(1) << (n % 64);
		if (ret->partial)
			return true;
		f->tag = tag;
		f->place = *ret;
		f->place.host -= va & ~PAGE_MASK;
		f->place.off -= va & ~PAGE_MASK;
	}
	*ret = f->place;
	ret->host += va & ~PAGE_MASK;
	ret->off += va & ~PAGE_MASK;
	return true;
}

/* ---- what front ends call: frontend.h ------------------------------------------------------- */

static struct jit_vcpu *vcpu_of(void *state)
{
	return jit_cpu_of(state)->vcpu;
}

void jit_flush_all(void *state)
{
	struct jit_vcpu *v = vcpu_of(state);
	struct jit_mmu *m = &v->mmu;

	if (m->last_ctx > UINT32_MAX - 4) {
		memset(m->l2, 0, sizeof(*m->l2) << JIT_L2_BITS);
		m->last_ctx = 0;
	}
	for (unsigned i = 0; i < JIT_SPACES; i++)
		m->spaces[i].ctx = 0;
	m->ctx_global = ++m->last_ctx;
	m->ctx_now = ++m->last_ctx;
	m->next_space = 1;
	m->spaces[0] = (struct jit_space){ m->space, m->ctx_now };
	m->sizes = 0;
	m->code_local = 0;
	flush_first_level(v);
	jit_mmu_new_code_gen(v);
}

void jit_flush_space(void *state, uint64_t space)
{
	struct jit_vcpu *v = vcpu_of(state);
	struct jit_mmu *m = &v->mmu;

	for (unsigned i = 0; i < JIT_SPACES; i++) {
		struct jit_space *s = &m->spaces[i];

		if (!s->ctx || s->space != space)
			continue;
		if (s->ctx == m->ctx_now) {
			m->ctx_now = s->ctx = ++m->last_ctx;
			flush_first_level(v);
			jit_mmu_salt(v);
		} else {
			s->ctx = 0;
		}
	}
}

static bool flush_second_level(struct jit_vcpu *v, uint64_t va)
{
	struct jit_mmu *m = &v->mmu;
	bool large = false;

	for (uint64_t sizes = m->sizes; sizes; sizes &= sizes - 1) {
		unsigned bits = (unsigned)__builtin_ctzll(sizes);

		for (unsigned r = 0; r < v->engine->isa->n_regimes; r++) {
			struct jit_l2 *set = l2_set(m, va, bits, r);

			for (unsigned i = 0; i < JIT_L2_WAYS; i++) {
				if (set[i].tag != l2_tag(va, bits, r) || set[i].bits != bits)
					continue;
				set[i].bits = 0;
				large |= bits > JIT_PAGE_BITS;
			}
		}
	}
	return large;
}

void jit_flush_page(void *state, uint64_t va)
{
	struct jit_vcpu *v = vcpu_of(state);
	struct jit_mmu *m = &v->mmu;
	unsigned n = va >> JIT_PAGE_BITS & ((1u << JIT_BLOOM_BITS) - 1), h = va >> 63;
	bool large = flush_second_level(v, va);

	large |= va >= m->large[h].low && va <= m->large[h].high;
	if (large) {
		flush_first_level(v);
	} else {
		for (unsigned r = 0; r < v->engine->isa->n_regimes; r++) {
			struct jit_tlb *t =
			    &v->cpu->tlb[r][va >> JIT_PAGE_BITS & (JIT_TLB_SIZE - 1)];

			tag_store(&t->read, JIT_TLB_NEVER);
			tag_store(&t->write, JIT_TLB_NEVER);
		}
	}
	if (large || m->bloom[n / 64] >> (n % 64) & 1)
		jit_mmu_new_code_gen(v);
}

void jit_set_space(void *state, uint64_t space)
{
	struct jit_vcpu *v = vcpu_of(state);
	struct jit_mmu *m = &v->mmu;
	struct jit_space *s = NULL;

	if (space == m->space)
		return;
	for (unsigned i = 0; i < JIT_SPACES; i++)
		if (m->spaces[i].ctx && m->spaces[i].space == space)
			s = &m->spaces[i];
	if (!s) {
		s = &m->spaces[m->next_space++ % JIT_SPACES];
		*s = (struct jit_space){ space, ++m->last_ctx };
	}
	m->space = space;
	m->ctx_now = s->ctx;
	flush_first_level(v);
	jit_mmu_salt(v);
}

bool jit_phys_read(void *state, uint64_t pa, unsigned size, uint64_t *val)
{
	struct jit_place p;

	if (!jit_mmu_place(vcpu_of(state), pa, &p) || !range_fits(p.off, size, p.ram->size))
		return false;
	if (size == 8)
		*val = __atomic_load_n((uint64_t *)(void *)p.host, __ATOMIC_RELAXED);
	else
		*val = __atomic_load_n((uint32_t *)(void *)p.host, __ATOMIC_RELAXED);
	return true;
}

bool jit_phys_cas(void *state, uint64_t pa, unsigned size, uint64_t expect, uint64_t v,
		  bool *swapped)
{
	uint32_t old = (uint32_t)expect;
	struct jit_place p;

	if (!jit_mmu_place(vcpu_of(state), pa, &p) || p.readonly ||
	    !range_fits(p.off, size, p.ram->size))
		return false;
	if (size == 8)
		*swapped = __atomic_compare_exchange_n((uint64_t *)(void *)p.host, &expect, v,
						       false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	else
		*swapped =
		    __atomic_compare_exchange_n((uint32_t *)(void *)p.host, &old, (uint32_t)v,
						false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	if (*swapped)
		ram_wrote(p.ram, p.off, size);
	return true;
}

void jit_sync_code(void *state)
{
	jit_watch_barrier(vcpu_of(state)->engine);
}
