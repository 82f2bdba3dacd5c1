/*
 * x64_share.c - finds accesses that can share a check of their address: the same base and near
 * displacements, in a run of code without labels and calls. Before code is written; see x64_tlb.c.
 */
#include "emul/jit/x64_gen.h"

enum {
	SPAN = 512, /* the more, the likelier that it crosses into another page, which costs */
	ACTIVE = 8, /* bases looked at at a time */
};

struct finder {
	uint8_t active[ACTIVE];
	unsigned next;
};

static bool shareable(const struct x64_gen *g, const struct ir_insn *in)
{
	return (in->op == IR_LOAD || in->op == IR_STORE) && in->mem.align == IR_ALIGN_ANY &&
	       g->ir->insns[in->a[0]].type == IR_I64;
}

static bool join(struct x64_gen *g, struct x64_group *s, const struct ir_insn *in, ir_val base,
		 int32_t disp)
{
	int32_t end = disp + (1 << in->mem.size);
	int32_t lo = disp < s->lo ? disp : s->lo, hi = end > s->hi ? end : s->hi;

	if (s->base != base || s->regime != in->mem.regime || hi - lo > SPAN)
		return false;
	s->lo = lo;
	s->hi = hi;
	s->write |= in->op == IR_STORE;
	s->last = g->i;
	s->n++;
	return true;
}

static void access(struct x64_gen *g, struct finder *f, const struct ir_insn *in)
{
	int32_t disp;
	ir_val base;
	uint32_t k;

	x64_address(g, in->a[0], &base, &disp);
	base = x64_root(g, base);
	if (g->ir->insns[base].op == IR_CONST)
		return;
	for (unsigned n = 0; n < ACTIVE; n++) {
		k = f->active[n];
		if (k && join(g, &g->groups[k], in, base, disp)) {
			g->vals[g->i].group = k;
			return;
		}
	}
	if (g->n_groups == X64_MAX_GROUPS - 1)
		return;
	k = ++g->n_groups;
	g->groups[k] = (struct x64_group){ .base = base,
					   .lo = disp,
					   .hi = disp + (1 << in->mem.size),
					   .first = g->i,
					   .last = g->i,
					   .n = 1,
					   .regime = in->mem.regime,
					   .write = in->op == IR_STORE };
	f->active[f->next++ % ACTIVE] = k;
	g->vals[g->i].group = k;
}

/* A helper may change the translation of addresses. */
static bool ends(const struct ir_insn *in)
{
	return in->op == IR_LABEL || (in->op == IR_CALL && !(in->helper->flags & IR_H_PURE));
}

void x64_share_plan(struct x64_gen *g)
{
	struct finder f = { { 0 }, 0 };

	g->n_groups = 0;
	for (g->i = 0; g->i < g->ir->n; g->i++) {
		const struct ir_insn *in = &g->ir->insns[g->i];

		if (ends(in))
			f = (struct finder){ { 0 }, 0 };
		else if (shareable(g, in))
			access(g, &f, in);
	}
	for (uint32_t i = 0; i < g->ir->n; i++)
		if (g->vals[i].group && g->groups[g->vals[i].group].n == 1)
			g->vals[i].group = 0;
	for (uint32_t k = 1; k <= g->n_groups; k++) {
		struct x64_val *v = &g->vals[x64_group_val(g, k)];

		*v = (struct x64_val){ .reg = X64_NONE,
				       .want = X64_NONE,
				       .spill = X64_NONE,
				       .last = g->groups[k].last };
	}
}
