/*
 * x64_fp.c - floating-point arithmetic of the IR on the host's SSE and FMA units. Sticky flags stay
 * in MXCSR; the dynamic rounding mode is the one in MXCSR; another one is put there around the
 * instruction. A NaN result jumps out of line and becomes what the guest's rules say. What the host
 * cannot do exactly (rounding to nearest, ties away; no FMA) is a call of soft-float.
 */
#include "emul/jit/x64_fp.h"

bool x64_f64(const struct x64_gen *g, ir_val v)
{
	return g->ir->insns[v].type == IR_F64;
}

/* ---- soft-float ----------------------------------------------------------------------------- */

static struct x64_rm arg(unsigned n)
{
	return x64_mem(RSP, offsetof(struct x64_frame, args) + n * 8);
}

/* Call x64_fp_slow() with the operands where regs says; all registers are kept. */
static void soft_call(struct x64_gen *g, const struct ir_insn *in, const int8_t *regs)
{
	struct x64_asm *a = &g->a;

	x64_store_imm(
	    a, true, arg(0),
	    X64_SOFT(in->op, in->type, g->ir->insns[in->a[0]].type, in->fp.rm, in->fp.signal));
	for (unsigned k = 0; k < in->n; k++) {
		if (x64_is_float(g->ir->insns[in->a[k]].type))
			x64_op(a, X_MOVS_STORE | X_F2, regs[k], arg(k + 1));
		else
			x64_op(a, X_MOV_STORE | X_W, regs[k], arg(k + 1));
	}
	x64_call(a, g->x->t.fp);
}

static void soft_result(struct x64_gen *g, const struct ir_insn *in, int d)
{
	if (x64_is_float(in->type))
		x64_op(&g->a, X_MOVS_LOAD | X_F2, d, arg(0));
	else
		x64_op(&g->a, X_MOV_LOAD | X_W, d, arg(0));
}

/* The whole operation. */
void x64_soft(struct x64_gen *g, const struct ir_insn *in)
{
	int8_t regs[4];
	int d;

	for (unsigned k = 0; k < in->n; k++)
		regs[k] = x64_is_float(g->ir->insns[in->a[k]].type) ? x64_use_x(g, in->a[k])
								    : x64_use(g, in->a[k]);
	d = x64_is_float(in->type) ? x64_def_x(g) : x64_def(g);
	soft_call(g, in, regs);
	soft_result(g, in, d);
}

/* r: 0 to 2 the operands, 3 the result. */
void x64_late_soft(struct x64_gen *g, struct x64_late *l)
{
	const struct ir_insn *in = &g->ir->insns[l->insn];

	for (unsigned k = 0; k < ARRAY_SIZE(l->from); k++)
		if (l->from[k])
			x64_here(&g->a, l->from[k]);
	soft_call(g, in, l->r);
	soft_result(g, in, l->r[3]);
	x64_jmp_back(&g->a, l->back);
}

/* ---- NaN results ---------------------------------------------------------------------------- */

static void late_nan(struct x64_gen *g, struct x64_late *l)
{
	bool d = g->ir->insns[l->insn].type == IR_F64;

	x64_here(&g->a, l->from[0]);
	x64_op_data(g, X_MOVS_LOAD | (d ? X_F2 : X_F3), l->r[3], g->x->k->nan[d], 0);
	x64_jmp_back(&g->a, l->back);
}

bool x64_default_nan(const struct x64_gen *g)
{
	return g->x->b.isa->fp.default_nan;
}

/* A NaN in d is made the guest's. With default_nan the operands are not needed any more. */
void x64_nan_check(struct x64_gen *g, const struct ir_insn *in, int d, const int8_t *regs)
{
	struct x64_late l = { .emit = x64_default_nan(g) ? late_nan : x64_late_soft };

	for (unsigned k = 0; regs && k < in->n; k++)
		l.r[k] = regs[k];
	l.r[3] = d;
	x64_op(&g->a, X_UCOMIS | (in->type == IR_F64 ? X_66 : 0), d, x64_reg(d));
	l.from[0] = x64_jcc(&g->a, CC_P);
	l.back = g->a.p;
	x64_late_add(g, &l);
}

/* ---- rounding ------------------------------------------------------------------------------- */

static struct x64_rm mxcsr(unsigned n)
{
	return x64_mem(RSP, offsetof(struct x64_frame, mxcsr) + n * 4);
}

/* MXCSR with another rounding mode (SDM volume 1, 10.2.3): bits 13 and 14. t: scratch. */
void x64_round_begin(struct x64_gen *g, const struct ir_insn *in, int t)
{
	static const uint8_t modes[] = { [IR_RNE] = 0, [IR_RDN] = 1, [IR_RUP] = 2, [IR_RTZ] = 3 };
	struct x64_asm *a = &g->a;

	if (in->fp.rm == IR_DYN)
		return;
	x64_op(a, 0xae | X_0F, X_STMXCSR, mxcsr(0));
	x64_op(a, X_MOV_LOAD, t, mxcsr(0));
	x64_alu_imm(a, ALU_AND, false, x64_reg(t), ~0x6000);
	x64_alu_imm(a, ALU_OR, false, x64_reg(t), modes[in->fp.rm] << 13);
	x64_op(a, X_MOV_STORE, t, mxcsr(1));
	x64_op(a, 0xae | X_0F, X_LDMXCSR, mxcsr(1));
}

void x64_round_end(struct x64_gen *g, const struct ir_insn *in, int t)
{
	struct x64_asm *a = &g->a;

	if (in->fp.rm == IR_DYN)
		return;
	x64_op(a, 0xae | X_0F, X_STMXCSR, mxcsr(1));
	x64_op(a, X_MOV_LOAD, t, mxcsr(1));
	x64_alu_imm(a, ALU_AND, false, x64_reg(t), 0x3f);
	x64_alu_store(a, ALU_OR, false, mxcsr(0), t);
	x64_op(a, 0xae | X_0F, X_LDMXCSR, mxcsr(0));
}

int x64_round_scratch(struct x64_gen *g, const struct ir_insn *in)
{
	return in->fp.rm == IR_DYN ? X64_NONE : x64_scratch(g);
}

/* ---- arithmetic ----------------------------------------------------------------------------- */

uint32_t x64_s(bool f64)
{
	return f64 ? X_F2 : X_F3;
}

/* The result's register: when NaNs come from the operands, these must survive. */
int x64_fp_result(struct x64_gen *g)
{
	return x64_default_nan(g) && g->x->host.avx ? x64_def_any_x(g) : x64_def_x(g);
}

void x64_e_farith(struct x64_gen *g, const struct ir_insn *in)
{
	static const uint32_t ops[] = { X_ADDS, X_SUBS, X_MULS, X_DIVS };
	uint32_t op = ops[in->op - IR_FADD] | x64_s(in->type == IR_F64);
	int8_t regs[2];
	int t, d;

	if (in->fp.rm == IR_RMM) {
		x64_soft(g, in);
		return;
	}
	t = x64_round_scratch(g, in);
	regs[0] = x64_use_x(g, in->a[0]);
	regs[1] = x64_use_x(g, in->a[1]);
	d = x64_fp_result(g);
	x64_round_begin(g, in, t);
	x64_sse(g, op, d, regs[0], regs[1]);
	x64_round_end(g, in, t);
	x64_nan_check(g, in, d, regs);
}

/* d = a op b; without VEX d is not b. */
void x64_sse(struct x64_gen *g, uint32_t op, int d, int ra, int rb)
{
	struct x64_asm *a = &g->a;

	if (g->x->host.avx) {
		x64_vex(a, op, d, ra, x64_reg(rb));
		return;
	}
	if (d != ra)
		x64_movaps(a, d, ra);
	x64_op(a, op, d, x64_reg(rb));
}

void x64_e_fsqrt(struct x64_gen *g, const struct ir_insn *in)
{
	int8_t regs[1];
	int t, d;

	if (in->fp.rm == IR_RMM) {
		x64_soft(g, in);
		return;
	}
	t = x64_round_scratch(g, in);
	regs[0] = x64_use_x(g, in->a[0]);
	d = x64_fp_result(g);
	x64_round_begin(g, in, t);
	x64_op(&g->a, X_SQRTS | x64_s(in->type == IR_F64), d, x64_reg(regs[0]));
	x64_round_end(g, in, t);
	x64_nan_check(g, in, d, regs);
}

/*
 * The addend may be lost when the result is in its place. With default NaNs that does not matter:
 * what soft-float is asked for then is only whether the product is invalid, which x86 does not say
 * when the addend is a quiet NaN (SDM volume 1, 14.5.2), and IEEE 754 and guests may.
 */
void x64_e_fma(struct x64_gen *g, const struct ir_insn *in)
{
	/* VFMADD, VFMSUB, VFNMSUB, VFNMADD, 231 */
	static const uint8_t ops[] = { 0xb9, 0xbb, 0xbf, 0xbd };
	uint32_t op = ops[in->op - IR_FMADD] | X_0F38 | X_66 | x64_w(in->type == IR_F64);
	struct x64_late l = { .emit = x64_late_soft };
	int t, d;

	if (in->fp.rm == IR_RMM || !g->x->host.fma) {
		x64_soft(g, in);
		return;
	}
	t = x64_round_scratch(g, in);
	for (unsigned k = 0; k < 2; k++)
		l.r[k] = x64_use_x(g, in->a[k]);
	if (x64_default_nan(g)) {
		d = l.r[2] = x64_def_copy_x(g, in->a[2]);
	} else {
		l.r[2] = x64_use_x(g, in->a[2]);
		d = x64_def_x(g);
		x64_movaps(&g->a, d, l.r[2]);
	}
	x64_round_begin(g, in, t);
	x64_vex(&g->a, op, d, l.r[0], x64_reg(l.r[1]));
	x64_round_end(g, in, t);
	l.r[3] = d;
	x64_op(&g->a, X_UCOMIS | (in->type == IR_F64 ? X_66 : 0), d, x64_reg(d));
	l.from[0] = x64_jcc(&g->a, CC_P);
	l.back = g->a.p;
	x64_late_add(g, &l);
}

/* Equal operands are the same number or zeroes: then the sign is what differs. */
static void late_equal(struct x64_gen *g, struct x64_late *l)
{
	bool min = g->ir->insns[l->insn].op == IR_FMIN;

	x64_here(&g->a, l->from[0]);
	x64_movaps(&g->a, l->r[3], l->r[0]);
	x64_op(&g->a, min ? X_ORPS : X_ANDPS, l->r[3], x64_reg(l->r[1]));
	x64_jmp_back(&g->a, l->back);
}

void x64_e_fminmax(struct x64_gen *g, const struct ir_insn *in)
{
	struct x64_late nan = { .emit = x64_late_soft }, equal = { .emit = late_equal };
	bool f64 = in->type == IR_F64;
	int ra = x64_use_x(g, in->a[0]), rb = x64_use_x(g, in->a[1]), d = x64_def_x(g);

	nan.r[0] = equal.r[0] = ra;
	nan.r[1] = equal.r[1] = rb;
	nan.r[3] = equal.r[3] = d;
	x64_op(&g->a, X_UCOMIS | (f64 ? X_66 : 0), ra, x64_reg(rb));
	nan.from[0] = x64_jcc(&g->a, CC_P);
	equal.from[0] = x64_jcc(&g->a, CC_E);
	x64_sse(g, (in->op == IR_FMIN ? X_MINS : X_MAXS) | x64_s(f64), d, ra, rb);
	nan.back = equal.back = g->a.p;
	x64_late_add(g, &nan);
	x64_late_add(g, &equal);
}

/* ---- bits ----------------------------------------------------------------------------------- */

void x64_e_fsign(struct x64_gen *g, const struct ir_insn *in)
{
	bool f64 = in->type == IR_F64;
	int d = x64_def_copy_x(g, in->a[0]);

	if (in->op == IR_FNEG)
		x64_op_data(g, X_XORPS, d, g->x->k->sign[f64], 0);
	else
		x64_op_data(g, X_ANDPS, d, g->x->k->abs[f64], 0);
}

void x64_e_fcopys(struct x64_gen *g, const struct ir_insn *in)
{
	bool f64 = in->type == IR_F64;
	int t, rb, d;

	if (x64_root(g, in->a[0]) == x64_root(g, in->a[1])) {
		x64_def_copy_x(g, in->a[0]);
		return;
	}
	t = x64_scratch_x(g);
	rb = x64_use_x(g, in->a[1]);
	x64_movaps(&g->a, t, rb);
	x64_op_data(g, X_ANDPS, t, g->x->k->sign[f64], 0);
	d = x64_def_copy_x(g, in->a[0]);
	x64_op_data(g, X_ANDPS, d, g->x->k->abs[f64], 0);
	x64_op(&g->a, X_ORPS, d, x64_reg(t));
}

void x64_e_fbits(struct x64_gen *g, const struct ir_insn *in)
{
	int r = x64_use_x(g, in->a[0]);

	x64_op(&g->a, X_MOVD_FROM | x64_w(in->type == IR_I64), r, x64_reg(x64_def(g)));
}

void x64_e_bitsf(struct x64_gen *g, const struct ir_insn *in)
{
	int r = x64_use(g, in->a[0]);

	x64_op(&g->a, X_MOVD_TO | x64_w(in->type == IR_F64), x64_def_x(g), x64_reg(r));
}

void x64_e_fbox(struct x64_gen *g, const struct ir_insn *in)
{
	int d = x64_def_copy_x(g, in->a[0]);

	x64_op_data(g, X_ORPS, d, g->x->k->box, 0);
}

void x64_e_funbox(struct x64_gen *g, const struct ir_insn *in)
{
	struct x64_late l = { .emit = late_nan };
	int d = x64_def_copy_x(g, in->a[0]);

	/* PTEST: CF when no bit of the mask is clear in d */
	x64_op_data(g, X_PTEST, d, g->x->k->box, 0);
	l.r[3] = d;
	l.from[0] = x64_jcc(&g->a, CC_AE);
	l.back = g->a.p;
	x64_late_add(g, &l);
}
