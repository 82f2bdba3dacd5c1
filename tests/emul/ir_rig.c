/* ir_rig.c - see ir_rig.h. */
#include "tests/emul/ir_rig.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/strbuf.h"
#include "emul/core/ram.h"
#include "emul/jit/core.h"
#include "emul/jit/engines.h"

/* Machines are dear to make; one for each engine is kept. */
static struct rig {
	struct toy toy;
	bool made;
} rigs[2];
static uint32_t first_mxcsr;

static const struct engine_class *const engines[] = { &interpreter_engine, &jit_engine };

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

static struct jit_unit *make(struct jit_vcpu *v, ir_rig_build *build, void *arg, bool optimise)
{
	struct jit_build b = { .v = v,
			       .isa = v->engine->isa,
			       .ir = v->ir,
			       .pc = 0x1000,
			       .low = 0x1000,
			       .high = 0x1004 };
	const char *why = NULL;
	bool smaller = false;
	struct jit_unit *u;

	forget_last(v);
	ir_clear(b.ir);
	build(b.ir, arg);
	ck_assert_msg(ir_valid(b.ir, &why), "%s", why);
	if (optimise)
		ir_optimise(b.ir, sizeof(struct toy_state));
	if (!ir_valid(b.ir, &why)) {
		auto_strbuf out = { 0 };

		ir_print(b.ir, &out);
		ck_abort_msg("optimised: %s\n%s", why, out.data);
	}
	b.page.host = v->engine->en.machine->ram->host + 0x1000;
	u = jit_compile(v, &b, &smaller);
	ck_assert_ptr_nonnull(u);
	jit_cache_enter(&v->arena, u);
	return u;
}

static struct ir_result run(struct rig *rig, const struct toy_state *from, ir_rig_build *build,
			    void *arg, bool optimise)
{
	struct jit_vcpu *v = container_of(rig->toy.m.cpus[0], struct jit_vcpu, vcpu);
	struct jit_backend *be = v->engine->backend;
	struct ir_result res = { 0 };
	struct jit_unit *u;
	uint64_t left;

	for (unsigned i = 0; i < RIG_DATA_LEN; i++)
		rig->toy.ram->host[RIG_DATA + i] = (uint8_t)(i * 7);
	u = make(v, build, arg, optimise);
	memcpy(jit_state(v), from, sizeof(*from));
	jit_flush_all(jit_state(v));
	v->cpu->guest_mxcsr = first_mxcsr ? first_mxcsr : 0x1f80;
	if (_setjmp(v->top)) {
		res.faulted = true;
	} else {
		left = be->class->enter(be, v->cpu, u->entry);
		if (left)
			res.left = ((struct jit_exit *)(uintptr_t)left)->pc;
	}
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
	ck_abort_msg("%s: %s differs%s:\n%s", name, rig->toy.en->class->name,
		     optimise ? " when optimised" : "", out.data);
}

struct ir_result ir_rig_run(const struct toy_state *from, ir_rig_build *build, void *arg,
			    const char *name)
{
	unsigned n = jit_engine.probe(&toy_isa, NULL) == 0 ? 2 : 1;
	struct ir_result first, next;

	for (unsigned i = 0; i < n; i++) {
		for (unsigned optimise = 0; optimise < 2; optimise++) {
			if (!rigs[i].made) {
				toy_new(&rigs[i].toy, engines[i], 1);
				rigs[i].toy.m.ram = rigs[i].toy.ram;
				rigs[i].made = true;
			}
			next = run(&rigs[i], from, build, arg, optimise);
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
