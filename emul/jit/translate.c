/*
 * translate.c - from a guest address to a published unit: watch the page, build the IR, optimise
 * it, compile it, and add it unless the guest wrote the code meanwhile or another vCPU was first.
 * On the vCPU's thread.
 */
#include "base/bytes.h"
#include "emul/jit/core.h"

#define PAGE (UINT64_C(1) << JIT_PAGE_BITS)

bool jit_unit_fits(struct jit_vcpu *v, const struct jit_unit *u, struct jit_fault *fault,
		   bool *faulted)
{
	struct jit_place place;

	if (!u->page2)
		return true;
	if (!jit_mmu_fetch(v, (u->pc & ~(PAGE - 1)) + PAGE, &place, fault)) {
		*faulted = true;
		return false;
	}
	return u->page2 == (uintptr_t)place.host;
}

static bool is_exit(const struct ir_insn *in)
{
	return in->op == IR_GOTO || in->op == IR_PUSHRET;
}

/* The unit with its key and its exits, in the arena. NULL: no room. */
static struct jit_unit *unit_new(struct jit_vcpu *v, const struct jit_build *b)
{
	const struct jit_source *source = &v->builder->source;
	const struct ir *ir = b->ir;
	uint32_t n = 0, k = 0;
	struct jit_unit *u;
	size_t size;

	for (uint32_t i = 0; i < ir->n; i++)
		n += is_exit(&ir->insns[i]);
	size = sizeof(*u) + n * sizeof(u->exits[0]) + jit_source_size(source);
	u = jit_arena_need(&v->arena, size, 16);
	if (!u)
		return NULL;
	memset(u, 0, size);
	u->pc = b->pc;
	u->mode = b->mode;
	u->page = round_down((uintptr_t)b->page.host, PAGE);
	u->page2 = (uintptr_t)b->page2.host;
	u->low = b->low;
	u->len = (uint32_t)(b->high - b->low);
	u->granules = b->granules;
	u->granules2 = b->granules2;
	u->n_exits = n;
	jit_source_keep(source, u, (struct jit_piece *)(void *)&u->exits[n]);
	u->heat = JIT_HOT;
	u->warm = b->warm;
	for (uint32_t i = 0; i < ir->n; i++) {
		const struct ir_insn *in = &ir->insns[i];
		struct jit_exit *x = &u->exits[k];

		if (!is_exit(in))
			continue;
		x->pc = in->imm;
		x->unit = u;
		x->op = in->op;
		x->same_page = !b->page.partial && (in->imm ^ b->pc) < PAGE;
		k++;
	}
	return u;
}

/* More room: give up what is full and begin another region. */
static bool next_region(struct jit_vcpu *v)
{
	struct jit_engine *en = v->engine;
	bool ok;

	pthread_mutex_lock(&en->lock);
	jit_blocks_retire(en);
	ok = jit_cache_open(&en->cache, &v->arena, JIT_REGION_OPEN);
	pthread_mutex_unlock(&en->lock);
	return ok;
}

/* A unit that does not fit gets an empty region once. */
struct jit_unit *jit_compile(struct jit_vcpu *v, struct jit_build *b, bool *smaller)
{
	struct jit_backend *be = v->engine->backend;

	for (unsigned try = 0; try < 2; try++) {
		uint8_t *start = v->arena.at;
		struct jit_unit *u = unit_new(v, b);

		if (u && be->class->compile(be, &v->arena, b->ir, b->warm ? JIT_COUNT : 0, u))
			return u;
		v->arena.at = start;
		if (u && v->arena.end - v->arena.at > (ptrdiff_t)JIT_REGION_SIZE / 2)
			break;
		if (!next_region(v))
			return NULL;
	}
	*smaller = true;
	return NULL;
}

/* A hot unit takes the place of what there is. Lock held. */
static void kill_warm(struct jit_engine *en, const struct jit_unit *u)
{
	struct jit_unit *o = jit_blocks_find(en, u->page, u->pc, u->mode), *next;

	for (; o; o = next) {
		next = jit_blocks_next(o);
		if (o->page2 == u->page2)
			jit_blocks_kill(en, o);
	}
}

/* A unit of another vCPU's that is the same, or u; NULL: the code was written since. */
static struct jit_unit *publish(struct jit_vcpu *v, struct jit_build *b, struct jit_unit *u,
				struct jit_unit *old, struct jit_code_page *page, uint64_t writes)
{
	struct jit_engine *en = v->engine;
	struct jit_unit *ret = NULL;

	pthread_mutex_lock(&en->lock);
	if (jit_watch_same(page, writes) && (!b->watch2 || jit_watch_same(b->watch2, b->writes2))) {
		if (old)
			jit_blocks_kill(en, old);
		for (ret = jit_blocks_find(en, u->page, u->pc, u->mode); ret;
		     ret = jit_blocks_next(ret))
			if (ret->page2 == u->page2 && !(old && ret->warm))
				break;
		if (!ret) {
			if (old)
				kill_warm(en, u);
			jit_cache_enter(&v->arena, u);
			jit_blocks_add(en, u);
			ret = u;
		}
	}
	pthread_mutex_unlock(&en->lock);
	if (ret != u)
		v->arena.at = (uint8_t *)u;
	return ret;
}

static struct jit_unit *attempt(struct jit_vcpu *v, struct jit_build *b, struct jit_unit *old,
				struct jit_code_page *page, bool *smaller)
{
	struct jit_engine *en = v->engine;
	struct jit_unit *u = NULL;
	uint64_t writes;

	pthread_mutex_lock(&en->lock);
	writes = jit_watch_start(v, page);
	pthread_mutex_unlock(&en->lock);
	if (jit_build_unit(b)) {
		ir_optimise(b->ir, (uint32_t)en->en.isa->state_size);
		u = jit_compile(v, b, smaller);
		if (u)
			u = publish(v, b, u, old, page, writes);
	} else {
		*smaller = !b->faulted;
	}
	pthread_mutex_lock(&en->lock);
	jit_watch_end(en, page);
	if (b->watch2)
		jit_watch_end(en, b->watch2);
	pthread_mutex_unlock(&en->lock);
	return u;
}

struct jit_unit *jit_translate(struct jit_vcpu *v, const struct jit_place *place,
			       struct jit_unit *old, struct jit_fault *fault, bool *faulted)
{
	static const struct {
		unsigned blocks, insns;
	} limits[] = { { 24, 64 }, { 1, 16 }, { 1, 1 } };
	const unsigned one = ARRAY_SIZE(limits) - 1;
	struct jit_code_page *page = jit_watch(v->engine, place);

	*faulted = false;
	if (!page)
		return NULL;
	for (unsigned i = place->partial ? one : 0; i < ARRAY_SIZE(limits);) {
		struct jit_build b = {
			.v = v,
			.isa = v->engine->isa,
			.ir = v->ir,
			.pc = *jit_pc(v),
			.mode = v->cpu->mode | (place->partial ? JIT_MODE_PARTIAL : 0),
			.page = *place,
			.max_blocks = limits[i].blocks,
			.max_insns = limits[i].insns,
			.warm = v->engine->patience && !old,
		};
		bool smaller = false;
		struct jit_unit *u = attempt(v, &b, old, page, &smaller);

		if (u)
			return u;
		*faulted = b.faulted;
		*fault = b.fault;
		if (b.faulted || !v->arena.region)
			return NULL;
		i += smaller;
	}
	return NULL;
}
