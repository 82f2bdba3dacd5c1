/* x64_flags.c - relations, selections and carries of the IR: what ends in the host's flags. */
#include "emul/jit/x64_gen.h"

static const uint8_t conditions[] = {
	[IR_EQ] = CC_E,   [IR_NE] = CC_NE,  [IR_LTS] = CC_L,  [IR_GES] = CC_GE,
	[IR_LTU] = CC_B,  [IR_GEU] = CC_AE, [IR_LES] = CC_LE, [IR_GTS] = CC_G,
	[IR_LEU] = CC_BE, [IR_GTU] = CC_A,  [IR_TSTZ] = CC_E, [IR_TSTNZ] = CC_NE,
};

enum x64_cc x64_compare(struct x64_gen *g, enum ir_cond cond, ir_val a, ir_val b)
{
	bool w = x64_is64(g, a), test = cond == IR_TSTZ || cond == IR_TSTNZ;
	int32_t k;
	int ra = x64_use(g, a);

	if (x64_imm32(g, b, w, &k)) {
		if (test)
			x64_test_imm(&g->a, w, ra, k);
		else if (k == 0)
			x64_op(&g->a, X_TEST | x64_w(w), ra, x64_reg(ra));
		else
			x64_alu_imm(&g->a, ALU_CMP, w, x64_reg(ra), k);
	} else if (test) {
		x64_op(&g->a, X_TEST | x64_w(w), ra, x64_reg(x64_use(g, b)));
	} else {
		x64_alu(&g->a, ALU_CMP, w, ra, x64_reg(x64_use(g, b)));
	}
	return conditions[cond];
}

/* The result is 1 when the condition holds. Moves keep the flags. */
static void set(struct x64_gen *g, enum x64_cc cc)
{
	int d = x64_def_any(g);

	x64_setcc(&g->a, cc, d);
	x64_op(&g->a, X_MOVZXB, d, x64_reg(d));
}

void x64_e_cmp(struct x64_gen *g, const struct ir_insn *in)
{
	int32_t k;
	int d;

	x64_use(g, in->a[0]);
	if (!x64_imm32(g, in->a[1], x64_is64(g, in->a[0]), &k))
		x64_use(g, in->a[1]);
	if (g->vals[g->i].want != X64_NONE && g->locked & 1u << g->vals[g->i].want) {
		set(g, x64_compare(g, in->cond, in->a[0], in->a[1]));
		return;
	}
	d = x64_def(g);
	x64_alu(&g->a, ALU_XOR, false, d, x64_reg(d));
	x64_setcc(&g->a, x64_compare(g, in->cond, in->a[0], in->a[1]), d);
}

static void select_float(struct x64_gen *g, const struct ir_insn *in)
{
	int yes = x64_use_x(g, in->a[2]), d;
	enum x64_cc cc = x64_compare(g, in->cond, in->a[0], in->a[1]);
	uint8_t *no;

	d = x64_def_copy_x(g, in->a[3]); /* moves keep the flags */
	no = x64_jcc8(&g->a, cc ^ 1);
	x64_movaps(&g->a, d, yes);
	x64_here8(&g->a, no);
}

void x64_e_select(struct x64_gen *g, const struct ir_insn *in)
{
	enum x64_cc cc;
	int yes, d;

	if (x64_is_float(in->type)) {
		select_float(g, in);
		return;
	}
	yes = x64_use(g, in->a[2]);
	cc = x64_compare(g, in->cond, in->a[0], in->a[1]);
	d = x64_def_copy(g, in->a[3]);
	x64_op(&g->a, (X_CMOV + cc) | x64_w(in->type == IR_I64), d, x64_reg(yes));
}

void x64_e_addc(struct x64_gen *g, const struct ir_insn *in)
{
	unsigned alu = in->op == IR_ADDC ? ALU_ADD : ALU_SUB;
	bool w = in->type == IR_I64;
	int r[2] = { X64_NONE, X64_NONE }, d;
	int32_t k[2];

	for (unsigned n = 0; n < 2; n++)
		if (!x64_imm32(g, in->a[n + 1], w, &k[n]))
			r[n] = x64_use(g, in->a[n + 1]);
	d = x64_def_copy(g, in->a[0]);
	for (unsigned n = 0; n < 2; n++) {
		if (r[n] != X64_NONE)
			x64_alu(&g->a, alu, w, d, x64_reg(r[n]));
		else if (k[n])
			x64_alu_imm(&g->a, alu, w, x64_reg(d), k[n]);
	}
}

/* Carries and overflows: the host's ADC or SBB with the carry put into its flag first. */
void x64_e_flag(struct x64_gen *g, const struct ir_insn *in)
{
	bool add = in->op == IR_CARRY || in->op == IR_OVERA, w = in->type == IR_I64;
	unsigned alu = add ? ALU_ADD : ALU_SUB;
	int t = x64_scratch(g), ra, rb, c;
	uint64_t k;

	if (!x64_const(g, in->a[2], &k)) {
		c = x64_use(g, in->a[2]);
		x64_mov(&g->a, false, t, c);
		x64_unlock(g, c);
		x64_alu_imm(&g->a, ALU_ADD, false, x64_reg(t), -1);
	} else if (k) {
		x64_byte(&g->a, 0xf9); /* STC */
	}
	if (!x64_const(g, in->a[2], &k) || k)
		alu = add ? ALU_ADC : ALU_SBB;
	/* moves keep the flags */
	ra = x64_use(g, in->a[0]);
	rb = x64_use(g, in->a[1]);
	x64_mov(&g->a, w, t, ra);
	x64_alu(&g->a, alu, w, t, x64_reg(rb));
	set(g, in->op == IR_CARRY || in->op == IR_BORROW ? CC_B : CC_O);
}

void x64_e_parity(struct x64_gen *g, const struct ir_insn *in)
{
	int r = x64_use(g, in->a[0]);

	x64_op(&g->a, X_TEST, r, x64_reg(r)); /* PF looks at the low byte only */
	set(g, CC_P);
}
