/*
 * x64_fp_convert.c - comparisons of floating-point numbers, and conversions between formats and
 * integers. x86 answers 100...0 for what does not fit a signed integer (SDM volume 1, 4.8.4.3);
 * then, and for unsigned results it cannot make, soft-float says what the guest gets.
 */
#include "emul/jit/x64_fp.h"

/* After UCOMISx: unordered sets ZF, PF and CF; greater clears all of them. */
void x64_e_fcmp(struct x64_gen *g, const struct ir_insn *in)
{
	bool swap = in->cond == IR_FLT || in->cond == IR_FLE; /* so that CF tells NaNs apart */
	uint32_t op = (in->fp.signal ? X_COMIS : X_UCOMIS) | (x64_f64(g, in->a[0]) ? X_66 : 0);
	int ra = x64_use_x(g, in->a[swap]), rb = x64_use_x(g, in->a[!swap]);
	struct x64_asm *a = &g->a;
	int d, t;

	if (in->cond == IR_FEQ) {
		t = x64_scratch(g);
		d = x64_def(g);
		x64_op(a, op, ra, x64_reg(rb));
		x64_setcc(a, CC_NP, t);
		x64_setcc(a, CC_E, d);
		x64_alu(a, ALU_AND, false, d, x64_reg(t));
		x64_op(a, X_MOVZXB, d, x64_reg(d));
		return;
	}
	d = x64_def(g);
	x64_alu(a, ALU_XOR, false, d, x64_reg(d));
	x64_op(a, op, ra, x64_reg(rb));
	x64_setcc(a, in->cond == IR_FLT ? CC_A : in->cond == IR_FLE ? CC_AE : CC_P, d);
}

void x64_e_fcvt(struct x64_gen *g, const struct ir_insn *in)
{
	bool exact = in->type == IR_F64;
	int8_t regs[1];
	int t = X64_NONE, d;

	if (!exact && in->fp.rm == IR_RMM) {
		x64_soft(g, in);
		return;
	}
	if (!exact)
		t = x64_round_scratch(g, in);
	regs[0] = x64_use_x(g, in->a[0]);
	d = x64_fp_result(g);
	if (!exact)
		x64_round_begin(g, in, t);
	x64_sse(g, X_CVTS2S | x64_s(!exact), d, regs[0], regs[0]);
	if (!exact)
		x64_round_end(g, in, t);
	x64_nan_check(g, in, d, regs);
}

/* ---- to integers ---------------------------------------------------------------------------- */

void x64_e_ftos(struct x64_gen *g, const struct ir_insn *in)
{
	struct x64_late l = { .emit = x64_late_soft };
	bool w = in->type == IR_I64, cut = in->fp.rm == IR_RTZ;
	uint32_t op = (cut ? X_CVTTS2SI : X_CVTS2SI) | x64_s(x64_f64(g, in->a[0])) | x64_w(w);
	int t = X64_NONE;

	if (in->fp.rm == IR_RMM) {
		x64_soft(g, in);
		return;
	}
	if (!cut)
		t = x64_round_scratch(g, in);
	l.r[0] = x64_use_x(g, in->a[0]);
	l.r[3] = x64_def(g);
	if (!cut)
		x64_round_begin(g, in, t);
	x64_op(&g->a, op, l.r[3], x64_reg(l.r[0]));
	if (!cut)
		x64_round_end(g, in, t);
	if (!g->x->b.isa->fp.to_int_saturates)
		return;
	x64_alu_imm(&g->a, ALU_CMP, w, x64_reg(l.r[3]), 1); /* overflows for 100...0 alone */
	l.from[0] = x64_jcc(&g->a, CC_O);
	l.back = g->a.p;
	x64_late_add(g, &l);
}

/* Bits of a power of two: numbers below are positive and smaller, as integers too. */
static uint64_t power(bool f64, unsigned e)
{
	return f64 ? (uint64_t)(1023 + e) << 52 : (uint64_t)(127 + e) << 23;
}

/* In range of the signed 64-bit conversion, or soft-float. */
void x64_e_ftou(struct x64_gen *g, const struct ir_insn *in)
{
	struct x64_late l = { .emit = x64_late_soft };
	bool w = in->type == IR_I64, f64 = x64_f64(g, in->a[0]), cut = in->fp.rm == IR_RTZ;
	/* rounding up must not leave the range */
	uint64_t limit = power(f64, w ? 63 : cut ? 32 : 31);
	int t, u;

	if (!cut && in->fp.rm != IR_DYN) {
		x64_soft(g, in);
		return;
	}
	l.r[0] = x64_use_x(g, in->a[0]);
	l.r[3] = x64_def(g);
	t = x64_scratch(g);
	u = x64_scratch(g);
	x64_op(&g->a, X_MOVD_FROM | x64_w(f64), l.r[0], x64_reg(t));
	x64_mov_imm(&g->a, u, limit);
	x64_alu(&g->a, ALU_CMP, f64, t, x64_reg(u));
	l.from[0] = x64_jcc(&g->a, CC_AE);
	x64_op(&g->a, (cut ? X_CVTTS2SI : X_CVTS2SI) | X_W | x64_s(f64), l.r[3], x64_reg(l.r[0]));
	l.back = g->a.p;
	x64_late_add(g, &l);
}

/* ---- from integers -------------------------------------------------------------------------- */

/* The destination's upper part would be a false dependency. */
static void from_int(struct x64_gen *g, const struct ir_insn *in, int d, int r, bool w)
{
	x64_op(&g->a, X_XORPS, d, x64_reg(d));
	x64_op(&g->a, X_CVTSI2S | x64_s(in->type == IR_F64) | x64_w(w), d, x64_reg(r));
}

void x64_e_stof(struct x64_gen *g, const struct ir_insn *in)
{
	int t, r, d;

	if (in->fp.rm == IR_RMM) {
		x64_soft(g, in);
		return;
	}
	t = x64_round_scratch(g, in);
	r = x64_use(g, in->a[0]);
	d = x64_def_x(g);
	x64_round_begin(g, in, t);
	from_int(g, in, d, r, x64_is64(g, in->a[0]));
	x64_round_end(g, in, t);
}

void x64_e_utof(struct x64_gen *g, const struct ir_insn *in)
{
	struct x64_late l = { .emit = x64_late_soft };
	bool w = x64_is64(g, in->a[0]);
	int r, d, t;

	if (in->fp.rm != IR_DYN) {
		x64_soft(g, in);
		return;
	}
	r = x64_use(g, in->a[0]);
	d = x64_def_x(g);
	if (!w) {
		t = x64_scratch(g);
		x64_mov(&g->a, false, t, r);
		from_int(g, in, d, t, true);
		return;
	}
	l.r[0] = r;
	l.r[3] = d;
	x64_op(&g->a, X_TEST | X_W, r, x64_reg(r));
	l.from[0] = x64_jcc(&g->a, CC_S);
	from_int(g, in, d, r, true);
	l.back = g->a.p;
	x64_late_add(g, &l);
}

/* ROUNDSx (SDM volume 2): bit 2 takes MXCSR's mode, bit 3 keeps the inexact flag clear. */
void x64_e_frint(struct x64_gen *g, const struct ir_insn *in)
{
	static const uint8_t modes[] = {
		[IR_RNE] = 0, [IR_RDN] = 1, [IR_RUP] = 2, [IR_RTZ] = 3, [IR_DYN] = 4
	};
	int8_t regs[1];
	int d;

	if (in->fp.rm == IR_RMM) {
		x64_soft(g, in);
		return;
	}
	regs[0] = x64_use_x(g, in->a[0]);
	d = x64_fp_result(g);
	x64_op_ib(&g->a, in->type == IR_F64 ? X_ROUNDSD : X_ROUNDSS, d, x64_reg(regs[0]),
		  modes[in->fp.rm] | (in->fp.signal ? 0 : 8));
	x64_nan_check(g, in, d, regs);
}
