/*
 * interp_plan.c - where the values of a unit are while it is interpreted, and which instructions
 * need none of their own: a GET that is read where the register is, an operation that writes its
 * result where a PUT wants it, an addition that a load does itself, constants.
 *
 * What a fault or a helper may see is never changed early: an operation takes over a PUT only when
 * nothing between them looks at the state.
 */
#include "emul/jit/interp.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "emul/jit/ir_info.h"

enum { SLOTS = JIT_SCRATCH, NO_SLOT = INT32_MIN };

static int32_t slot_at(unsigned slot)
{
	return (int32_t)(offsetof(struct jit_cpu, scratch) + 8 * (size_t)slot -
			 sizeof(struct jit_cpu));
}

int interp_const_operand(const struct ir *ir, const struct ir_insn *in)
{
	uint64_t k;
	int i = -1;

	if ((in->op >= IR_ADD && in->op <= IR_ANDN) || (in->op >= IR_SHL && in->op <= IR_ROTR) ||
	    (in->op >= IR_MINU && in->op <= IR_CLMULH) || in->op == IR_CMP || in->op == IR_BRANCH)
		i = 1;
	else if (in->op == IR_PUT || in->op == IR_TPUT)
		i = 0;
	return i >= 0 && ir_is_const(ir, in->a[i], &k) ? i : -1;
}

static bool has_address(enum ir_op op)
{
	return op == IR_LOAD || op == IR_STORE || op == IR_PROBE;
}

/* The constant of an address that is base + constant, when the access can add it itself. */
static bool folds_add(const struct interp_plan *p, const struct ir_insn *in)
{
	const struct ir_insn *add = &p->ir->insns[in->a[0]];
	uint64_t k;

	return has_address(in->op) && add->op == IR_ADD && p->vals[in->a[0]].uses == 1 &&
	       ir_is_const(p->ir, add->a[1], &k) &&
	       (add->type == IR_I32 || (int64_t)k == (int32_t)k);
}

static bool overlap(uint64_t a, unsigned an, uint64_t b, unsigned bn)
{
	return ranges_overlap(a, an, b, bn);
}

static bool call_writes(const struct ir_insn *in, uint64_t off, unsigned n)
{
	if (in->helper->flags & (IR_H_ALL | IR_H_RAISES))
		return true;
	for (const struct ir_range *r = in->helper->writes; r && r->len; r++)
		if (overlap(r->off, r->len, off, n))
			return true;
	return false;
}

static unsigned put_bytes(const struct ir *ir, const struct ir_insn *put)
{
	return ir_bytes(ir_type_of(ir, put->a[0]));
}

/* Does instruction k, in its place, change [off, off + n) of the state? */
static bool writes_at(const struct interp_plan *p, uint32_t k, uint64_t off, unsigned n)
{
	const struct ir_insn *in = &p->ir->insns[k];
	const struct interp_val *v = &p->vals[k];

	if (in->op == IR_PUT)
		return !v->merged && overlap(in->imm, put_bytes(p->ir, in), off, n);
	if (in->op == IR_CALL && call_writes(in, off, n))
		return true;
	return v->in_state && overlap((uint64_t)v->at, ir_bytes(in->type), off, n);
}

/* ---- uses ----------------------------------------------------------------------------------- */

static void count_uses(struct interp_plan *p)
{
	struct ir *ir = p->ir;

	for (uint32_t i = 0; i < ir->n; i++) {
		const ir_val *a = ir_operands(ir, &ir->insns[i]);

		for (unsigned k = 0; k < ir->insns[i].n; k++)
			if (p->vals[a[k]].uses < UINT16_MAX)
				p->vals[a[k]].uses++;
	}
	for (uint32_t i = 0; i < ir->n; i++)
		if (folds_add(p, &ir->insns[i]))
			p->vals[ir->insns[i].a[0]].folded = true;
}

/* Last uses, constants that need a place, uses behind a label. */
static void find_lasts(struct interp_plan *p, const uint32_t *segment)
{
	struct ir *ir = p->ir;

	for (uint32_t i = 0; i < ir->n; i++) {
		const struct ir_insn *in = &ir->insns[i];
		const ir_val *a = ir_operands(ir, &ir->insns[i]);
		int as_const = interp_const_operand(ir, in);

		if (p->vals[i].folded)
			continue;
		p->vals[i].last = i;
		for (unsigned k = 0; k < in->n; k++) {
			ir_val v = a[k];

			if (k == 0 && has_address(in->op) && p->vals[v].folded)
				v = ir->insns[v].a[0];
			p->vals[v].last = i;
			p->vals[v].far_use |= segment[v] != segment[i];
			if ((int)k != as_const)
				p->vals[v].has_slot = true;
		}
	}
}

/* A value that is alive where a loop begins is needed until its end. */
static void extend_over_loops(struct interp_plan *p)
{
	struct ir *ir = p->ir;
	bool again = true;

	while (again) {
		again = false;
		for (uint32_t j = 0; j < ir->n; j++) {
			const struct ir_insn *in = &ir->insns[j];
			uint32_t l;

			if (in->op != IR_JUMP && in->op != IR_BRANCH)
				continue;
			l = p->label_at[in->imm];
			if (l > j)
				continue;
			p->vals[l].polled = true;
			for (uint32_t v = 0; v < l; v++) {
				if (p->vals[v].last >= l && p->vals[v].last < j &&
				    p->vals[v].far_use) {
					p->vals[v].last = j;
					again = true;
				}
			}
		}
	}
}

/* ---- merging with the state ----------------------------------------------------------------- */

/* Operations that read all their operands before they write one result. */
static bool writes_once(const struct ir_insn *in)
{
	return in->type != IR_VOID && in->type != IR_V128 && in->op != IR_CONST &&
	       in->op != IR_GET && in->op != IR_TGET && in->op != IR_CALL;
}

/* May instruction k stand between an operation and its PUT to [off, off + n)? */
static bool may_pass(struct interp_plan *p, uint32_t k, uint64_t off, unsigned n)
{
	struct ir_insn *in = &p->ir->insns[k];

	if (in->op == IR_INSN || in->op == IR_CONST)
		return true;
	if (in->op == IR_GET)
		return !overlap(in->imm, ir_bytes(in->type), off, n);
	if (in->op == IR_PUT && overlap(in->imm, put_bytes(p->ir, in), off, n))
		return false;
	if (in->op != IR_PUT && ir_infos[in->op].flags != 'P')
		return false;
	for (unsigned i = 0; i < in->n; i++) {
		const struct ir_insn *a = &p->ir->insns[in->a[i]];
		const struct interp_val *v = &p->vals[in->a[i]];

		if (a->op == IR_GET && overlap(a->imm, ir_bytes(a->type), off, n))
			return false;
		if (v->in_state && overlap((uint64_t)v->at, ir_bytes(a->type), off, n))
			return false;
		if (v->folded && a->op == IR_ADD)
			return false;
	}
	return true;
}

static void merge_put(struct interp_plan *p, uint32_t i)
{
	struct ir *ir = p->ir;
	const struct ir_insn *put = &ir->insns[i];
	ir_val v = put->a[0];
	unsigned n = put_bytes(ir, put);

	if (!writes_once(&ir->insns[v]) || p->vals[v].in_state || p->vals[v].far_use ||
	    p->vals[v].folded)
		return;
	for (uint32_t k = v + 1; k < i; k++)
		if (!may_pass(p, k, put->imm, n))
			return;
	for (uint32_t k = i + 1; k < p->vals[v].last; k++) {
		const struct ir_insn *in = &ir->insns[k];

		if ((in->op == IR_PUT && overlap(in->imm, put_bytes(ir, in), put->imm, n)) ||
		    (in->op == IR_CALL && call_writes(in, put->imm, n)))
			return;
	}
	p->vals[v].in_state = true;
	p->vals[v].at = (int32_t)put->imm;
	p->vals[i].merged = true;
}

static void fold_get(struct interp_plan *p, uint32_t i)
{
	const struct ir_insn *in = &p->ir->insns[i];

	if (p->vals[i].far_use)
		return;
	for (uint32_t k = i + 1; k < p->vals[i].last; k++)
		if (writes_at(p, k, in->imm, ir_bytes(in->type)))
			return;
	p->vals[i].folded = true;
	p->vals[i].at = (int32_t)in->imm;
}

/* ---- places --------------------------------------------------------------------------------- */

struct slots {
	uint16_t free[SLOTS];
	unsigned n;
};

/* Sixteen bytes come from slots of their own, below the temporaries: see interp_plan_make(). */
static bool give_places(struct interp_plan *p, unsigned n_slots, unsigned n_wide)
{
	struct ir *ir = p->ir;
	autofree uint32_t *expire = malloc(2 * (size_t)ir->n * sizeof(*expire));
	struct slots narrow = { .n = 0 }, wide = { .n = 0 };
	uint32_t *next = expire + ir->n;

	if (!expire)
		return false;
	memset(expire, 0xff, 2 * (size_t)ir->n * sizeof(*expire));
	for (unsigned i = 0; i < n_slots; i++)
		narrow.free[narrow.n++] = (uint16_t)(n_slots - 1 - i);
	for (unsigned i = 0; i < n_wide; i++)
		wide.free[wide.n++] = (uint16_t)(n_slots + 2 * i);
	for (uint32_t i = 0; i < ir->n; i++) {
		const struct ir_insn *in = &ir->insns[i];
		struct interp_val *v = &p->vals[i];
		struct slots *s = in->type == IR_V128 ? &wide : &narrow;

		for (uint32_t d = expire[i]; d != UINT32_MAX; d = next[d]) {
			struct slots *ds = ir->insns[d].type == IR_V128 ? &wide : &narrow;

			ds->free[ds->n++] = (uint16_t)p->vals[d].uses;
		}
		if (in->type == IR_VOID || v->folded || v->in_state)
			continue;
		if (in->op == IR_CONST && !v->has_slot) {
			v->folded = true;
			continue;
		}
		if (!s->n)
			return false;
		v->uses = s->free[--s->n]; /* the count is not needed any more */
		v->at = slot_at(v->uses);
		if (v->last > i) {
			next[i] = expire[v->last];
			expire[v->last] = i;
		} else {
			s->free[s->n++] = v->uses;
		}
	}
	return true;
}

static bool any_wide(const struct ir *ir)
{
	for (uint32_t i = 0; i < ir->n; i++)
		if (ir->insns[i].type == IR_V128)
			return true;
	return false;
}

bool interp_plan_make(struct interp_plan *p, struct ir *ir)
{
	autofree uint32_t *segment = calloc(ir->n + 1, sizeof(*segment));
	unsigned temp_slots = 2 * ir->n_temps, n_wide = any_wide(ir) ? 64 : 0;
	uint32_t seg = 0;

	p->ir = ir;
	p->vals = calloc(ir->n + 1, sizeof(*p->vals));
	p->label_at = calloc(ir->n_labels + 1, sizeof(*p->label_at));
	if (!segment || !p->vals || !p->label_at || temp_slots + 2 * n_wide + 32 > SLOTS)
		return false;
	for (uint32_t i = 0; i < ir->n; i++) {
		if (ir->insns[i].op == IR_LABEL) {
			p->label_at[ir->insns[i].imm] = i;
			seg++;
		}
		segment[i] = seg;
	}
	p->temps = slot_at(SLOTS - temp_slots);
	count_uses(p);
	find_lasts(p, segment);
	extend_over_loops(p);
	for (uint32_t i = 0; i < ir->n; i++)
		if (ir->insns[i].op == IR_PUT)
			merge_put(p, i);
	for (uint32_t i = 0; i < ir->n; i++)
		if (ir->insns[i].op == IR_GET)
			fold_get(p, i);
	return give_places(p, SLOTS - temp_slots - 2 * n_wide, n_wide);
}

void interp_plan_free(struct interp_plan *p)
{
	free(p->vals);
	free(p->label_at);
}
