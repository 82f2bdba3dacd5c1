/*
 * opt_if.c - a branch around one or two cheap guest instructions becomes a selection: what such a
 * branch depends on is often data that no processor predicts. In place, in front of the optimiser,
 * on the thread that compiles.
 *
 *	BRANCH.c a, b -> L	old = GET [x]
 *	INSN			-
 *	v = ...			v = ...
 *	PUT [x] v		w = SELECT.c a, b, old, v
 *	LABEL L			PUT [x] w
 *
 * With two instructions, the places of their INSNs are the second GET and the first PUT.
 */
#include <stdlib.h>

#include "emul/jit/ir.h"
#include "emul/jit/ir_info.h"

enum { MAX_PUTS = 2, MAX_WORK = 3 };

struct region {
	uint32_t branch, label; /* places in the unit */
	uint32_t jump;          /* to the label right behind it, or 0 */
	uint32_t insn[MAX_PUTS], put[MAX_PUTS];
	unsigned n_insns, n_puts, work;
};

static bool is_int(const struct ir *ir, ir_val v)
{
	return ir->insns[v].type == IR_I32 || ir->insns[v].type == IR_I64;
}

/* Work that is no more than a cycle or two, and cannot fault. */
static bool cheap(const struct ir *ir, uint32_t i)
{
	const struct ir_insn *in = &ir->insns[i];

	switch ((int)in->op) {
	case IR_DIVU:
	case IR_DIVS:
	case IR_REMU:
	case IR_REMS:
	case IR_CLMUL:
	case IR_CLMULH:
	case IR_MULHS:
	case IR_MULHU:
	case IR_MULHSU: return false;
	case IR_GET: return is_int(ir, i);
	default: return ir_is_pure(in) && is_int(ir, i);
	}
}

static bool add(const struct ir *ir, struct region *r, uint32_t i)
{
	const struct ir_insn *in = &ir->insns[i];

	if (in->op == IR_INSN) {
		if (r->n_insns == MAX_PUTS || r->n_insns != r->n_puts)
			return false;
		r->insn[r->n_insns++] = i;
		return true;
	}
	if (in->op == IR_PUT) {
		if (r->n_puts == MAX_PUTS || r->n_puts + 1 != r->n_insns || !is_int(ir, in->a[0]))
			return false;
		r->put[r->n_puts++] = i;
		return true;
	}
	r->work += in->op != IR_CONST && in->op != IR_GET && in->op != IR_TRUNC;
	return cheap(ir, i) && r->work <= MAX_WORK;
}

static bool find(const struct ir *ir, uint32_t branch, const uint32_t *refs, struct region *r)
{
	uint64_t label = ir->insns[branch].imm;
	uint32_t i = branch + 1;

	*r = (struct region){ .branch = branch };
	for (; i < ir->n && ir->insns[i].op != IR_JUMP; i++) {
		bool place = ir->insns[i].op == IR_LABEL;

		if (place && refs[ir->insns[i].imm])
			break;
		if (!place && !add(ir, r, i))
			return false;
	}
	if (i < ir->n && ir->insns[i].op == IR_JUMP && ir->insns[i].imm == label)
		r->jump = i++;
	r->label = i;
	return i < ir->n && ir->insns[i].op == IR_LABEL && ir->insns[i].imm == label &&
	       refs[label] == (r->jump ? 2 : 1) && r->n_puts && r->n_puts == r->n_insns;
}

static void convert(struct ir *ir, const struct region *r)
{
	static const struct ir_insn nothing = { .op = IR_CONST, .type = IR_I64 };
	struct ir_insn branch = ir->insns[r->branch];
	uint32_t last = r->n_puts - 1;

	for (uint32_t k = 0; k <= last; k++) {
		struct ir_insn put = ir->insns[r->put[k]];
		uint32_t get = k ? r->insn[0] : r->branch;
		uint32_t to = k == last ? r->label : r->insn[1];
		uint8_t type = ir->insns[put.a[0]].type;

		ir->insns[get] = (struct ir_insn){ .op = IR_GET, .type = type, .imm = put.imm };
		ir->insns[r->put[k]] = (struct ir_insn){
			.op = IR_SELECT,
			.type = type,
			.cond = branch.cond,
			.n = 4,
			.a = { branch.a[0], branch.a[1], get, put.a[0] },
		};
		put.a[0] = r->put[k];
		ir->insns[to] = put;
	}
	if (last == 0)
		ir->insns[r->insn[0]] = nothing;
	if (r->jump)
		ir->insns[r->jump] = nothing;
}

void ir_select_branches(struct ir *ir)
{
	autofree uint32_t *refs = calloc(ir->n_labels + 1, sizeof(*refs));
	struct region r;

	if (!refs || ir->failed)
		return;
	for (uint32_t i = 0; i < ir->n; i++)
		if (ir->insns[i].op == IR_BRANCH || ir->insns[i].op == IR_JUMP)
			refs[ir->insns[i].imm]++;
	for (uint32_t i = 0; i < ir->n; i++)
		if (ir->insns[i].op == IR_BRANCH && find(ir, i, refs, &r))
			convert(ir, &r);
}
