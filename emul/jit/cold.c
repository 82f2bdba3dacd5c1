/*
 * cold.c - code that was run only a few times is not compiled: each instruction is translated to IR
 * and that is carried out, once, with nothing kept. It costs about a tenth of compiling it, no
 * memory, and nothing when the guest writes the code anew. On the vCPU's thread.
 *
 * How often a place was jumped to is counted by the host's address of its code and by its first
 * bytes, so that a page that gets other contents does not look hot. Counts are shared by all vCPUs
 * without locks: a lost one does no harm. Two places that contend for a count take it from each
 * other; every so often one of them is called hot for that, so that a loop of such does not stay
 * here forever.
 */
#include "emul/jit/cold.h"

#define PAGE (UINT64_C(1) << JIT_PAGE_BITS)

enum { COUNT_MASK = 15, CONTENTION = 16 };
_Static_assert((int)JIT_PATIENCE_MAX <= COUNT_MASK, "a count reaches the limit");

/* ---- counts --------------------------------------------------------------------------------- */

/* The count of the code at a host address: where it is, and what it is marked with. */
static _Atomic uint16_t *count_of(struct jit_engine *en, const uint8_t *host, uint16_t *mark)
{
	uint64_t h = (uintptr_t)host;

	h ^= (uint64_t)__atomic_load_n(host, __ATOMIC_RELAXED) << 48;
	if ((h & (PAGE - 1)) != PAGE - 1)
		h ^= (uint64_t)__atomic_load_n(host + 1, __ATOMIC_RELAXED) << 56;
	h *= UINT64_C(0x9e3779b97f4a7c15);
	*mark = (uint16_t)(h >> 24 & ~(uint64_t)COUNT_MASK);
	return &en->heat[h >> (64 - JIT_HEAT_BITS)];
}

/* One more run. True: it was often enough before. */
static bool heat(struct jit_vcpu *v, const uint8_t *host)
{
	uint16_t mark, old, n;
	_Atomic uint16_t *c = count_of(v->engine, host, &mark);

	old = atomic_load_explicit(c, memory_order_relaxed);
	n = old & COUNT_MASK;
	if (n && (old & ~COUNT_MASK) != mark) {
		if (++v->contended % CONTENTION == 0)
			return true;
		n = 0;
	}
	if (n >= v->engine->patience)
		return true;
	atomic_store_explicit(c, (uint16_t)(mark | (n + 1)), memory_order_relaxed);
	return false;
}

bool jit_cold_seen(struct jit_engine *en, const uint8_t *host)
{
	uint16_t mark;
	uint16_t c = atomic_load_explicit(count_of(en, host, &mark), memory_order_relaxed);

	return (c & ~COUNT_MASK) == mark && c & COUNT_MASK;
}

void jit_cold_again(struct jit_engine *en, const uint8_t *host)
{
	uint16_t mark;
	_Atomic uint16_t *c = count_of(en, host, &mark);

	if ((atomic_load_explicit(c, memory_order_relaxed) & ~COUNT_MASK) == mark)
		atomic_store_explicit(c, 0, memory_order_relaxed);
}

/* ---- from one instruction to the next ------------------------------------------------------- */

/* The instruction at the pc. False: it cannot be carried out here, and nothing happened. */
static bool step(struct jit_vcpu *v, struct jit_build *b, enum jit_cold_end *end)
{
	uint64_t *pc = jit_pc(v);
	unsigned len;

	if (!jit_build_one(b, &len)) {
		if (!b->faulted)
			return false;
		v->engine->isa->raise(jit_state(v), &b->fault);
		*end = JIT_COLD_LEFT;
		return true;
	}
	if (!jit_cold_fits(b->ir))
		return false;
	*end = jit_cold_execute(v, b->ir);
	if (*end == JIT_COLD_NEXT || *end == JIT_COLD_FELL)
		*pc += len;
	return true;
}

/* Where a jump led: is it time to stop here? */
static bool stops(struct jit_vcpu *v, const uint8_t *host)
{
	return atomic_load_explicit(&v->cpu->pending, memory_order_relaxed) || heat(v, host);
}

/* To the page of the pc, when that is another. False: it cannot be fetched from, or in part only.
 */
static bool follow(struct jit_vcpu *v, struct jit_build *b)
{
	struct jit_fault fault;
	uint64_t pc = *jit_pc(v);

	if ((pc ^ b->pc) < PAGE) {
		b->page.host += (int64_t)(pc - b->pc);
	} else if (!jit_mmu_fetch(v, pc, &b->page, &fault) || b->page.partial) {
		return false; /* and if there is a fault it is found again, and raised */
	}
	b->pc = pc;
	return true;
}

bool jit_cold_run(struct jit_vcpu *v, const struct jit_place *place)
{
	struct jit_build b = {
		.v = v,
		.isa = v->engine->isa,
		.ir = v->ir,
		.pc = *jit_pc(v),
		.mode = v->cpu->mode,
		.page = *place,
		.max_blocks = 1,
		.once = true,
	};
	enum jit_cold_end end = JIT_COLD_JUMPED;
	bool done = false;

	do {
		if ((end != JIT_COLD_NEXT && stops(v, b.page.host)) || !step(v, &b, &end))
			break;
		done = true;
	} while (end != JIT_COLD_LEFT && !place->partial && follow(v, &b));
	return done;
}
