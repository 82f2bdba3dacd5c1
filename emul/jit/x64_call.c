/*
 * x64_call.c - calls of helpers. What a helper looks at is in memory before, what it changes is
 * read again behind it; values in registers that C may change go to the frame. Arguments go through
 * the frame too: a helper costs more than that.
 */
#include "emul/jit/x64_gen.h"

static void place_args(struct x64_gen *g, const struct ir_insn *in)
{
	const ir_val *args = g->ir->args + in->args_at;

	for (unsigned k = 0; k < in->n; k++) {
		struct x64_rm m = x64_mem(RSP, offsetof(struct x64_frame, args) + k * 8);
		enum ir_type t = g->ir->insns[args[k]].type;
		int32_t imm;

		if (x64_is_float(t)) {
			int r = x64_use_x(g, args[k]);

			if (t == IR_F32) /* the bits above are zero */
				x64_store_imm(&g->a, true, m, 0);
			x64_op(&g->a, X_MOVS_STORE | (t == IR_F32 ? X_F3 : X_F2), r, m);
		} else if (x64_imm32(g, args[k], true, &imm) && (t == IR_I64 || imm >= 0)) {
			x64_store_imm(&g->a, true, m, imm);
		} else if (t == IR_I64) {
			x64_op(&g->a, X_MOV_STORE | X_W, x64_use(g, args[k]), m);
		} else {
			int r = x64_use(g, args[k]);

			x64_store_imm(&g->a, true, m, 0);
			x64_op(&g->a, X_MOV_STORE, r, m);
		}
		g->locked = g->scratch;
	}
}

static void load_args(struct x64_gen *g, const struct ir_insn *in)
{
	static const uint8_t regs[] = { RSI, RDX, RCX, R8, R9 };

	for (unsigned k = in->n; k--;) {
		struct x64_rm m = x64_mem(RSP, offsetof(struct x64_frame, args) + k * 8);

		if (k < ARRAY_SIZE(regs)) {
			x64_op(&g->a, X_MOV_LOAD | X_W, regs[k], m);
			continue;
		}
		x64_op(&g->a, X_MOV_LOAD | X_W, RAX, m);
		x64_op(&g->a, X_MOV_STORE | X_W, RAX, x64_mem(RSP, 0));
	}
}

static void store_pc(struct x64_gen *g)
{
	struct x64_rm m = x64_mem(RBP, g->x->b.isa->pc_off);

	if ((uint64_t)(int32_t)g->pc == g->pc) {
		x64_store_imm(&g->a, true, m, g->pc);
		return;
	}
	x64_mov_imm(&g->a, RAX, g->pc);
	x64_op(&g->a, X_MOV_STORE | X_W, RAX, m);
}

static void result(struct x64_gen *g, const struct ir_insn *in)
{
	if (in->type == IR_VOID || !g->vals[g->i].uses)
		return;
	if (x64_is_float(in->type)) {
		x64_op(&g->a, X_MOVD_TO | X_W, x64_def_x(g), x64_reg(RAX));
		return;
	}
	x64_claim(g, RAX);
	x64_def_in(g, RAX);
}

/* The pins in registers that C may change. */
static uint32_t volatile_pins(const struct x64_gen *g)
{
	uint32_t set = 0;

	for (unsigned p = 0; p < g->n_pins; p++)
		if (X64_VOLATILE & 1u << g->pins[p].reg)
			set |= 1u << p;
	return set;
}

/*
 * Does the unit end behind the call, with nothing read on the way? So it does after most changes of
 * control registers; then pins need not be read again.
 */
static bool ends(const struct x64_gen *g)
{
	for (uint32_t i = g->i + 1; i < g->ir->n; i++) {
		switch ((int)g->ir->insns[i].op) {
		case IR_LEAVE:
		case IR_GOTO: return true;
		case IR_INSN:
		case IR_CONST: break;
		case IR_PUT: {
			ir_val v = x64_root(g, g->ir->insns[i].a[0]);

			if (v != g->i && g->ir->insns[v].op != IR_CONST)
				return false;
			break;
		}
		default: return false;
		}
	}
	return false;
}

void x64_e_call(struct x64_gen *g, const struct ir_insn *in)
{
	const struct ir_helper *h = in->helper;
	uint32_t reads = x64_call_reads(g, h), writes = x64_call_writes(g, h);
	uint32_t lost = volatile_pins(g), again = writes | lost;
	struct x64_rm fpenv = x64_mem(RBP, X64_CPU(guest_mxcsr));

	place_args(g, in);
	for (uint32_t m = writes; m; m &= m - 1)
		x64_detach(g, g->pins[__builtin_ctz(m)].reg);
	g->locked = 0;
	x64_store_pins(g, g->dirty & (reads | writes | lost));
	g->dirty &= ~(reads | writes);
	x64_spill_volatile(g);
	if (h->flags & (IR_H_RAISES | IR_H_ALL | IR_H_MEMORY))
		store_pc(g);
	if (h->flags & (IR_H_FPENV | IR_H_ALL))
		x64_op(&g->a, 0xae | X_0F, X_STMXCSR, fpenv);
	load_args(g, in);
	x64_mov(&g->a, true, RDI, RBP);
	x64_mov_imm(&g->a, RAX, (uintptr_t)h->fn);
	x64_op(&g->a, 0xff, 2, x64_reg(RAX));
	if (h->flags & (IR_H_FPENV | IR_H_ALL))
		x64_op(&g->a, 0xae | X_0F, X_LDMXCSR, fpenv);
	if (h->flags & IR_H_ALL && ends(g)) /* and nothing is newer than the state */
		again = 0;
	for (; again; again &= again - 1)
		x64_load_pin(g, __builtin_ctz(again));
	result(g, in);
}
