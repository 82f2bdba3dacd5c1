/*
 * access.c - the slow paths of loads, stores and atomics: what the first-level TLB does not have,
 * misaligned and page-crossing accesses, devices, pages whose stores are watched.
 *
 * Called by generated code (through thunks), by the interpreter and by helpers, on the vCPU's
 * thread. A fault does not return. An access that crosses a page finds both pages before it touches
 * either; its two parts are separate accesses, as on real machines.
 */
#include "base/bytes.h"
#include "emul/jit/core.h"

#define PAGE (UINT64_C(1) << JIT_PAGE_BITS)

/* Guest memory may be anywhere, and other vCPUs race for it by design. */
#define GUEST_MEMORY __attribute__((no_sanitize("alignment"), no_sanitize("thread")))

struct access {
	struct jit_vcpu *v;
	uint64_t va;
	struct ir_mem mem;
	uintptr_t ra;
	enum jit_access kind;
	unsigned size; /* bytes */
};

static struct access access_of(struct jit_cpu *cpu, uint64_t va, uint64_t mem, uintptr_t ra,
			       enum jit_access kind)
{
	struct access a = { cpu->vcpu, va, jit_mem_of(mem), ra, kind, 0 };

	a.size = 1u << a.mem.size;
	return a;
}

static _Noreturn void bad_access(struct access *a, uint64_t va, bool misaligned)
{
	struct jit_fault fault = { 0 };

	if (a->ra) /* the ISA may look at the state */
		a->v->engine->backend->class->restore(a->v->engine->backend, a->v->cpu,
						      jit_cache_find(&a->v->engine->cache, a->ra),
						      a->ra);
	a->v->engine->isa->bad_access(jit_state(a->v), va, a->kind, misaligned, &fault);
	jit_fault_now(a->v, 0, &fault);
}

static bool crosses(const struct access *a, unsigned size)
{
	return (a->va & (PAGE - 1)) + size > PAGE;
}

/* Rights change within the page, in steps of at least 4 bytes: those of the last byte, or a fault.
 */
static void find_end(struct access *a, uint64_t last)
{
	struct jit_place place;
	struct jit_fault fault;
	uint64_t pa;

	if (!jit_mmu_translate(a->v, last & ~UINT64_C(3), a->kind, a->mem.regime, &pa, &place,
			       &fault))
		jit_fault_now(a->v, a->ra, &fault);
}

/* Where va leads, or a fault. */
static struct jit_place find(struct access *a, uint64_t va, uint64_t *pa)
{
	struct jit_place place;
	struct jit_fault fault;

	if (!jit_mmu_translate(a->v, va, a->kind, a->mem.regime, pa, &place, &fault))
		jit_fault_now(a->v, a->ra, &fault);
	if (place.partial && !crosses(a, a->size))
		find_end(a, va + a->size - 1);
	return place;
}

static void check_align(struct access *a)
{
	if (!(a->va & (a->size - 1)) || a->mem.align == IR_ALIGN_ANY)
		return;
	if (a->mem.align == IR_ALIGN_VECTOR)
		jit_fault_now(a->v, a->ra, &a->v->engine->isa->vector_misaligned);
	bad_access(a, a->va, true);
}

GUEST_MEMORY static uint64_t host_load(const uint8_t *p, unsigned size)
{
	switch (size) {
	case 1: return __atomic_load_n(p, __ATOMIC_RELAXED);
	case 2: return __atomic_load_n((const uint16_t *)(const void *)p, __ATOMIC_RELAXED);
	case 4: return __atomic_load_n((const uint32_t *)(const void *)p, __ATOMIC_RELAXED);
	default: return __atomic_load_n((const uint64_t *)(const void *)p, __ATOMIC_RELAXED);
	}
}

GUEST_MEMORY static void host_store(uint8_t *p, unsigned size, uint64_t v)
{
	switch (size) {
	case 1: __atomic_store_n(p, (uint8_t)v, __ATOMIC_RELAXED); break;
	case 2: __atomic_store_n((uint16_t *)(void *)p, (uint16_t)v, __ATOMIC_RELAXED); break;
	case 4: __atomic_store_n((uint32_t *)(void *)p, (uint32_t)v, __ATOMIC_RELAXED); break;
	default: __atomic_store_n((uint64_t *)(void *)p, v, __ATOMIC_RELAXED); break;
	}
}

static uint64_t swap_bytes(uint64_t v, unsigned size)
{
	return __builtin_bswap64(v) >> (64 - 8 * size);
}

/* A value as the guest means it, from bytes taken as a little-endian number, and back. */
static uint64_t in_order(const struct ir_mem *m, uint64_t v, unsigned size)
{
	return m->big ? swap_bytes(v, size) : v;
}

static uint64_t extend(const struct ir_mem *m, uint64_t v)
{
	unsigned unused = 64 - (8u << m->size);

	return m->sign && m->size < 3 ? (uint64_t)((int64_t)(v << unused) >> unused) : v;
}

/* ---- watched pages -------------------------------------------------------------------------- */

/*
 * Before a store: one that changes the unit it is made from is made by an instruction that stands
 * alone, so that what it wrote is what comes next. Nothing has been done of it yet.
 */
static void before(struct access *a, const struct jit_place *place, unsigned size)
{
	struct jit_engine *en = a->v->engine;

	if (en->isa->code_barrier || !a->ra || !place->host || place->readonly ||
	    !(atomic_load_explicit(&place->ram->flags[place->off >> RAM_PAGE_BITS],
				   memory_order_relaxed) &
	      RAM_CODE))
		return;
	if (jit_watch_hits(en, place->host, size, a->ra))
		jit_step_now(a->v, a->ra);
}

/* [host, host + size) of one page was written by this vCPU. */
static void wrote(struct jit_vcpu *v, const struct jit_place *place, unsigned size)
{
	_Atomic uint8_t *flags = &place->ram->flags[place->off >> RAM_PAGE_BITS];
	uint8_t f;

	full_fence();
	f = atomic_load_explicit(flags, memory_order_relaxed);
	if (f & RAM_LOG) {
		atomic_fetch_or(flags, RAM_DIRTY);
		atomic_fetch_and(flags, (uint8_t)~RAM_LOG);
	}
	if (f & RAM_CODE)
		jit_watch_wrote(v->engine, v, place->host, size);
}

/* ---- one page ------------------------------------------------------------------------------- */

static uint64_t load_part(struct access *a, uint64_t va, unsigned size,
			  const struct jit_place *place, uint64_t pa)
{
	uint64_t v;

	const struct jit_isa *isa = a->v->engine->isa;

	if (place->host)
		return host_load(place->host, size);
	if (isa->own_access && isa->own_access(jit_state(a->v), pa, size, false, &v))
		return v;
	if (bus_read(a->v->engine->en.machine->bus, pa, size, &v))
		return v;
	if (!isa->open_bus)
		bad_access(a, va, false);
	return UINT64_MAX >> (64 - 8 * size);
}

static void store_part(struct access *a, uint64_t va, unsigned size, const struct jit_place *place,
		       uint64_t pa, uint64_t v)
{
	const struct jit_isa *isa = a->v->engine->isa;

	if (place->host && !place->readonly) {
		host_store(place->host, size, v);
		wrote(a->v, place, size);
		return;
	}
	if (!place->host && isa->own_access && isa->own_access(jit_state(a->v), pa, size, true, &v))
		return;
	if (!bus_write(a->v->engine->en.machine->bus, pa, size, v) && !isa->open_bus)
		bad_access(a, va, false);
}

/* The two pages of an access that crosses from one to the other. */
struct two {
	uint64_t pa[2];
	struct jit_place place[2];
	unsigned first; /* bytes in the first page */
};

static struct two find_two(struct access *a)
{
	struct two t = { .first = (unsigned)(PAGE - (a->va & (PAGE - 1))) };

	t.place[0] = find(a, a->va, &t.pa[0]);
	t.place[1] = find(a, a->va + t.first, &t.pa[1]);
	return t;
}

static struct jit_place byte_of(const struct two *t, unsigned i, uint64_t *pa)
{
	unsigned part = i >= t->first, at = part ? i - t->first : i;
	struct jit_place p = t->place[part];

	*pa = t->pa[part] + at;
	if (p.host) {
		p.host += at;
		p.off += at;
	}
	return p;
}

/* As a little-endian number. */
static uint64_t load_two(struct access *a, const struct two *t)
{
	uint64_t v = 0, pa;

	for (unsigned i = 0; i < a->size; i++) {
		struct jit_place p = byte_of(t, i, &pa);

		v |= load_part(a, a->va + i, 1, &p, pa) << (8 * i);
	}
	return v;
}

static void store_two(struct access *a, const struct two *t, uint64_t v)
{
	uint64_t pa;

	for (unsigned i = 0; i < a->size; i++) {
		struct jit_place p = byte_of(t, i, &pa);

		store_part(a, a->va + i, 1, &p, pa, v >> (8 * i) & 0xff);
	}
}

static uint64_t load_any(struct access *a)
{
	struct jit_place place;
	struct two t;
	uint64_t pa, v;

	check_align(a);
	if (crosses(a, a->size)) {
		t = find_two(a);
		v = load_two(a, &t);
	} else {
		place = find(a, a->va, &pa);
		v = load_part(a, a->va, a->size, &place, pa);
	}
	return extend(&a->mem, in_order(&a->mem, v, a->size));
}

static void before_two(struct access *a, const struct two *t)
{
	before(a, &t->place[0], t->first);
	before(a, &t->place[1], a->size - t->first);
}

static void store_any(struct access *a, uint64_t v)
{
	struct jit_place place;
	struct two t;
	uint64_t pa;

	check_align(a);
	v = in_order(&a->mem, v, a->size);
	if (crosses(a, a->size)) {
		t = find_two(a);
		before_two(a, &t);
		store_two(a, &t, v);
		return;
	}
	place = find(a, a->va, &pa);
	before(a, &place, a->size);
	store_part(a, a->va, a->size, &place, pa, v);
}

uint64_t jit_slow_load(struct jit_cpu *cpu, uint64_t va, uint64_t mem, uintptr_t ra)
{
	struct access a = access_of(cpu, va, mem, ra, JIT_LOAD);

	return load_any(&a);
}

void jit_slow_store(struct jit_cpu *cpu, uint64_t va, uint64_t v, uint64_t mem, uintptr_t ra)
{
	struct access a = access_of(cpu, va, mem, ra, JIT_STORE);

	store_any(&a, v);
}

void jit_slow_wrote(struct jit_cpu *cpu, uint64_t va, uint64_t mem, uintptr_t ra)
{
	struct access a = access_of(cpu, va, mem, ra, JIT_STORE);
	struct jit_place place;
	uint64_t pa;

	place = find(&a, va, &pa);
	if (place.host && !place.readonly)
		wrote(a.v, &place, a.size);
}

/* Sixteen bytes are two accesses of eight; the first byte of the second page is found first. */
void jit_slow_load128(struct jit_cpu *cpu, uint64_t va, uint64_t mem, uintptr_t ra, uint64_t ret[2])
{
	struct access a = access_of(cpu, va, mem, ra, JIT_LOAD);
	unsigned low = a.mem.big ? 1 : 0;

	check_align(&a);
	a.mem.align = IR_ALIGN_ANY;
	a.mem.size = 3;
	a.size = 8;
	ret[low] = load_any(&a);
	a.va += 8;
	ret[1 - low] = load_any(&a);
}

void jit_slow_store128(struct jit_cpu *cpu, uint64_t va, const uint64_t v[2], uint64_t mem,
		       uintptr_t ra)
{
	struct access a = access_of(cpu, va, mem, ra, JIT_STORE);
	unsigned low = a.mem.big ? 1 : 0;
	struct jit_place place;
	uint64_t pa;

	check_align(&a);
	place = find(&a, va, &pa);
	before(&a, &place, MIN(16, (unsigned)(PAGE - (va & (PAGE - 1)))));
	if (crosses(&a, 16)) {
		place = find(&a, (va & ~(PAGE - 1)) + PAGE, &pa);
		before(&a, &place, (unsigned)((va + 16) & (PAGE - 1)));
	}
	a.mem.align = IR_ALIGN_ANY;
	a.mem.size = 3;
	a.size = 8;
	store_any(&a, v[low]);
	a.va += 8;
	store_any(&a, v[1 - low]);
}

void jit_slow_probe(struct jit_cpu *cpu, uint64_t va, uint64_t mem, uintptr_t ra)
{
	struct access a = access_of(cpu, va, mem, ra, JIT_STORE);
	uint64_t pa;

	check_align(&a);
	find(&a, va, &pa);
	if (crosses(&a, a.size))
		find(&a, va + a.size - 1, &pa);
}

/* ---- atomics -------------------------------------------------------------------------------- */

static uint64_t rmw_result(const struct ir_mem *m, uint64_t old, uint64_t v)
{
	unsigned unused = 64 - (8u << m->size);
	int64_t so = (int64_t)(old << unused), sv = (int64_t)(v << unused);
	uint64_t uo = old << unused, uv = v << unused;

	switch ((enum ir_rmw)m->rmw) {
	case IR_SWAP: return v;
	case IR_RADD: return old + v;
	case IR_RAND: return old & v;
	case IR_ROR: return old | v;
	case IR_RXOR: return old ^ v;
	case IR_RMINS: return so < sv ? old : v;
	case IR_RMAXS: return so > sv ? old : v;
	case IR_RMINU: return uo < uv ? old : v;
	case IR_RMAXU: return uo > uv ? old : v;
	}
	return v;
}

GUEST_MEMORY static bool host_cas(uint8_t *p, unsigned size, uint64_t *expect, uint64_t v)
{
	uint32_t e4 = (uint32_t)*expect;
	uint16_t e2 = (uint16_t)*expect;
	uint8_t e1 = (uint8_t)*expect;
	bool ok;

	switch (size) {
	case 1:
		ok = __atomic_compare_exchange_n(p, &e1, (uint8_t)v, false, __ATOMIC_SEQ_CST,
						 __ATOMIC_SEQ_CST);
		*expect = e1;
		return ok;
	case 2:
		ok = __atomic_compare_exchange_n((uint16_t *)(void *)p, &e2, (uint16_t)v, false,
						 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
		*expect = e2;
		return ok;
	case 4:
		ok = __atomic_compare_exchange_n((uint32_t *)(void *)p, &e4, (uint32_t)v, false,
						 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
		*expect = e4;
		return ok;
	default:
		return __atomic_compare_exchange_n((uint64_t *)(void *)p, expect, v, false,
						   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	}
}

static uint64_t clip(uint64_t v, unsigned size)
{
	return size == 8 ? v : v & ((UINT64_C(1) << (8 * size)) - 1);
}

/* What memory holds after an operation that found old there. */
static uint64_t after(const struct access *a, uint64_t old, const uint64_t *compare, uint64_t v)
{
	if (!compare)
		v = rmw_result(&a->mem, old, v);
	else if (old != clip(*compare, a->size))
		v = old;
	return in_order(&a->mem, clip(v, a->size), a->size);
}

static uint64_t atomic_in_ram(struct access *a, const struct jit_place *p, const uint64_t *compare,
			      uint64_t v)
{
	uint64_t bytes = host_load(p->host, a->size), old;

	do {
		old = clip(in_order(&a->mem, bytes, a->size), a->size);
	} while (!host_cas(p->host, a->size, &bytes, after(a, old, compare, v)));
	wrote(a->v, p, a->size);
	return extend(&a->mem, old);
}

/* Two pages: atomic among vCPUs that do the same. The pages were found, so nothing faults. */
static uint64_t atomic_in_two(struct access *a, const uint64_t *compare, uint64_t v)
{
	pthread_mutex_t *lock = &a->v->engine->split_lock;
	struct two t = find_two(a);
	bool ram = t.place[0].host && t.place[1].host;
	uint64_t old;

	before_two(a, &t);
	if (ram)
		pthread_mutex_lock(lock);
	old = clip(in_order(&a->mem, load_two(a, &t), a->size), a->size);
	store_two(a, &t, after(a, old, compare, v));
	if (ram)
		pthread_mutex_unlock(lock);
	return extend(&a->mem, old);
}

/* Old value, as the guest means it. compare: store v only when it is *compare. */
static uint64_t atomic_any(struct access *a, const uint64_t *compare, uint64_t v)
{
	struct jit_place p;
	uint64_t pa, old;

	check_align(a);
	if (crosses(a, a->size))
		return atomic_in_two(a, compare, v);
	p = find(a, a->va, &pa);
	before(a, &p, a->size);
	if (p.host && !p.readonly)
		return atomic_in_ram(a, &p, compare, v);
	old = clip(in_order(&a->mem, load_part(a, a->va, a->size, &p, pa), a->size), a->size);
	store_part(a, a->va, a->size, &p, pa, after(a, old, compare, v));
	return extend(&a->mem, old);
}

uint64_t jit_slow_rmw(struct jit_cpu *cpu, uint64_t va, uint64_t v, uint64_t mem, uintptr_t ra)
{
	struct access a = access_of(cpu, va, mem, ra, JIT_STORE);

	return atomic_any(&a, NULL, v);
}

uint64_t jit_slow_cmpxchg(struct jit_cpu *cpu, uint64_t va, uint64_t expect, uint64_t v,
			  uint64_t mem, uintptr_t ra)
{
	struct access a = access_of(cpu, va, mem, ra, JIT_STORE);

	return atomic_any(&a, &expect, v);
}

/* ---- for helpers: frontend.h ---------------------------------------------------------------- */

static uint64_t mem_bits(struct ir_mem mem)
{
	uint64_t bits = 0;

	memcpy(&bits, &mem, sizeof(mem));
	return bits;
}

uint64_t jit_load(void *state, uint64_t va, struct ir_mem mem)
{
	return jit_slow_load(jit_cpu_of(state), va, mem_bits(mem), 0);
}

void jit_store(void *state, uint64_t va, uint64_t v, struct ir_mem mem)
{
	jit_slow_store(jit_cpu_of(state), va, v, mem_bits(mem), 0);
}

void jit_probe_store(void *state, uint64_t va, unsigned bytes, unsigned regime)
{
	struct ir_mem mem = { .size = (uint8_t)__builtin_ctz(bytes), .regime = (uint8_t)regime };

	jit_slow_probe(jit_cpu_of(state), va, mem_bits(mem), 0);
}

uint8_t *jit_span(void *state, uint64_t va, enum jit_access access, unsigned regime, unsigned *len)
{
	struct jit_vcpu *v = jit_cpu_of(state)->vcpu;
	struct jit_place place;
	struct jit_fault fault;
	uint64_t pa;

	if (!jit_mmu_translate(v, va, access, regime, &pa, &place, &fault))
		jit_fault_now(v, 0, &fault);
	*len = (unsigned)(PAGE - (va & (PAGE - 1)));
	if (!place.host || place.partial || !range_fits(place.off, *len, place.ram->size))
		return NULL;
	if (access == JIT_STORE &&
	    (place.readonly ||
	     atomic_load(&place.ram->flags[place.off >> RAM_PAGE_BITS]) & (RAM_CODE | RAM_LOG)))
		return NULL;
	return place.host;
}

/* Who began to watch the page meanwhile is told, too. */
void jit_span_wrote(void *state, uint8_t *at, unsigned len)
{
	struct jit_vcpu *v = jit_cpu_of(state)->vcpu;
	struct jit_region_cache *c = &v->mmu.region;

	full_fence();
	if (c->ram && at >= c->ram->host && at < c->ram->host + c->ram->size)
		ram_wrote(c->ram, (uint64_t)(at - c->ram->host), len);
}

GUEST_MEMORY static unsigned __int128 host_cas128(uint8_t *p, unsigned __int128 expect,
						  unsigned __int128 v)
{
#if defined(__x86_64__)
	uint64_t low = (uint64_t)expect, high = (uint64_t)(expect >> 64);

	__asm__ volatile("lock cmpxchg16b %2"
			 : "+a"(low), "+d"(high), "+m"(*(unsigned __int128 *)(void *)p)
			 : "b"((uint64_t)v), "c"((uint64_t)(v >> 64))
			 : "memory", "cc");
	return (unsigned __int128)high << 64 | low;
#else
	__atomic_compare_exchange_n((unsigned __int128 *)(void *)p, &expect, v, false,
				    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	return expect;
#endif
}

/* What is no RAM has no atomic access of this size: two of eight bytes. */
unsigned __int128 jit_cmpxchg128(void *state, uint64_t va, unsigned __int128 expect,
				 unsigned __int128 v, unsigned regime)
{
	struct ir_mem mem = { .size = 3, .regime = (uint8_t)regime };
	struct access a = access_of(jit_cpu_of(state), va, mem_bits(mem), 0, JIT_STORE);
	unsigned __int128 old;
	struct jit_place p;
	uint64_t pa;

	a.size = 16;
	p = find(&a, va, &pa);
	if (p.host && !p.readonly) {
		old = host_cas128(p.host, expect, v);
		wrote(a.v, &p, 16);
		return old;
	}
	old = jit_load(state, va, mem) | (unsigned __int128)jit_load(state, va + 8, mem) << 64;
	if (old == expect) {
		jit_store(state, va, (uint64_t)v, mem);
		jit_store(state, va + 8, (uint64_t)(v >> 64), mem);
	}
	return old;
}
