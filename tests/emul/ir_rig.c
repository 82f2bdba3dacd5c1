/* ir_rig.c - see ir_rig.h. */
#include "tests/emul/ir_rig.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/strbuf.h"
#include "emul/core/ram.h"
#include "emul/jit/cold.h"
#include "emul/jit/engines.h"

/* Machines are dear to make; one for each engine is kept. */
static struct rig {
	struct toy toy;
	bool made;
} rigs[3];
static uint32_t first_mxcsr;

/* The last without compiling anything. */
enum { COLD = 2 };
static const struct engine_class *const engines[] = { &interpreter_engine, &jit_engine,
						      &interpreter_engine };

uint32_t rig_r(unsigned n)
{
	return (uint32_t)offsetof(struct toy_state, r) + 8 * n;
}

uint32_t rig_w(unsigned n)
{
	return (uint32_t)offsetof(struct toy_state, w) + 4 * n;
}

uint32_t rig_v(unsigned n)
{
	return (uint32_t)offsetof(struct toy_state, big) + 16 * n;
}

uint32_t rig_pc(void)
{
	return (uint32_t)offsetof(struct toy_state, pc);
}

static uint32_t sum_of(const uint8_t *p, size_t n)
{
	uint32_t s = 1;

	while (n--)
		s = s * 31 + *p++;
	return s;
}

/* These units are not published, so the region is not retired as others are: it is used again. */
static void forget_last(struct jit_vcpu *v)
{
	struct jit_region *r = v->arena.region;

	if (!r)
		return;
	v->arena.at =
	    v->engine->cache.write + (size_t)(r - v->engine->cache.regions) * JIT_REGION_SIZE;
	memset(r->index, 0, sizeof(r->index));
	r->first = r->last = NULL;
}

static void make_ir(struct ir *ir, ir_rig_build *build, void *arg, bool optimise)
{
	const char *why = NULL;

	ir_clear(ir);
	build(ir, arg);
	ck_assert_msg(ir_valid(ir, &why), "%s", why);
	if (optimise)
		ir_optimise(ir, sizeof(struct toy_state));
	if (!ir_valid(ir, &why)) {
		auto_strbuf out = { 0 };

		ir_print(ir, &out);
		ck_abort_msg("optimised: %s\n%s", why, out.data);
	}
}

static struct jit_unit *make(struct jit_vcpu *v)
{
	struct jit_build b = { .v = v,
			       .isa = v->engine->isa,
			       .ir = v->ir,
			       .pc = 0x1000,
			       .low = 0x1000,
			       .high = 0x1004 };
	bool smaller = false;
	struct jit_unit *u;

	forget_last(v);
	b.page.host = v->engine->en.machine->ram->host + 0x1000;
	u = jit_compile(v, &b, &smaller);
	ck_assert_ptr_nonnull(u);
	jit_cache_enter(&v->arena, u);
	return u;
}

/* Returns the target of the exit that it left by, as far as there is one. */
static uint64_t enter(struct jit_vcpu *v, const struct jit_unit *u, const struct ir_result *first)
{
	struct jit_backend *be = v->engine->backend;
	uint64_t left;

	if (!u) {
		/* Where a unit leaves the pc may be stale, which it is not here. */
		if (jit_cold_execute(v, v->ir) == JIT_COLD_LEFT)
			*jit_pc(v) = first->state.pc;
		return first->left;
	}
	left = be->class->enter(be, v->cpu, u->entry);
	return left ? ((struct jit_exit *)(uintptr_t)left)->pc : 0;
}

/* first: what the first way gave, for what this one does not tell. */
static struct ir_result run(struct rig *rig, const struct jit_unit *u, const struct toy_state *from,
			    const struct ir_result *first)
{
	struct jit_vcpu *v = container_of(rig->toy.m.cpus[0], struct jit_vcpu, vcpu);
	struct ir_result res = { 0 };

	for (unsigned i = 0; i < RIG_DATA_LEN; i++)
		rig->toy.ram->host[RIG_DATA + i] = (uint8_t)(i * 7);
	memcpy(jit_state(v), from, sizeof(*from));
	jit_flush_all(jit_state(v));
	v->cpu->guest_mxcsr = first_mxcsr ? first_mxcsr : 0x1f80;
	if (_setjmp(v->top))
		res.faulted = true;
	else
		res.left = enter(v, u, first);
	memcpy(&res.state, jit_state(v), sizeof(res.state));
	res.mxcsr = first_mxcsr ? v->cpu->guest_mxcsr : 0;
	res.fp_flags = jit_fp_flags_take(jit_state(v));
	res.memory = sum_of(rig->toy.ram->host + RIG_DATA, RIG_DATA_LEN);
	return res;
}

static void differ(struct rig *rig, ir_rig_build *build, void *arg, bool optimise, const char *name,
		   const struct ir_result *a, const struct ir_result *b)
{
	struct jit_vcpu *v = container_of(rig->toy.m.cpus[0], struct jit_vcpu, vcpu);
	const uint32_t *x = (const void *)a, *y = (const void *)b;
	auto_strbuf out = { 0 };

	ir_clear(v->ir);
	build(v->ir, arg);
	if (optimise)
		ir_optimise(v->ir, sizeof(struct toy_state));
	ir_print(v->ir, &out);
	fprintf(stderr, "%s", out.data); /* too long for a message */
	strbuf_drop(&out, out.len);
	for (size_t i = 0; i < sizeof(*a) / 4; i++)
		if (x[i] != y[i])
			strbuf_printf(&out, "at %zu: %#x, but %#x\n", 4 * i, x[i], y[i]);
	ck_abort_msg("%s: %s differs%s:\n%s", name,
		     rig == &rigs[COLD] ? "cold code" : rig->toy.en->class->name,
		     optimise ? " when optimised" : "", out.data);
}

static struct jit_vcpu *vcpu_of(unsigned rig)
{
	struct toy *t = &rigs[rig].toy;

	if (!rigs[rig].made) {
		toy_new(t, engines[rig], 1);
		t->m.ram = t->ram;
		rigs[rig].made = true;
	}
	return container_of(t->m.cpus[0], struct jit_vcpu, vcpu);
}

struct ir_result ir_rig_run(const struct toy_state *from, ir_rig_build *build, void *arg,
			    const char *name)
{
	struct ir_result first = { 0 }, next;

	for (unsigned i = 0; i < ARRAY_SIZE(rigs); i++) {
		if (engines[i]->probe(&toy_isa, NULL) < 0)
			continue;
		for (unsigned optimise = 0; optimise < 2; optimise++) {
			struct jit_vcpu *v = vcpu_of(i);

			make_ir(v->ir, build, arg, optimise);
			if (i == COLD && !jit_cold_fits(v->ir))
				continue;
			next = run(&rigs[i], i == COLD ? NULL : make(v), from, &first);
			if (i == 0 && !optimise)
				first = next;
			else if (memcmp(&first, &next, sizeof(first)))
				differ(&rigs[i], build, arg, optimise, name, &first, &next);
		}
	}
	return first;
}

void ir_rig_mxcsr(uint32_t mxcsr)
{
	first_mxcsr = mxcsr;
}

void ir_rig_stop(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rigs); i++) {
		if (rigs[i].made)
			toy_free(&rigs[i].toy);
		rigs[i].made = false;
	}
}
