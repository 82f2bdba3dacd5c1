/*
 * x64_vec.c - vectors of 128 bits on the host's SSE units up to 4.2, by the table in
 * x64_vec_table.c and some by hand; AVX spares copies of the first operand. What the host lacks is
 * a call.
 */
#include "emul/jit/x64_vec.h"

#include <xmmintrin.h>

#include "emul/jit/vec.h"

/* ---- without an instruction ----------------------------------------------------------------- */

void x64_vec_slow(struct x64_frame *f)
{
	struct vec_op o = { .op = f->args[0] & 255,
			    .imm = (uint32_t)(f->args[0] >> 32),
			    .scalar = f->args[1] };
	uint32_t mxcsr = _mm_getcsr(), before = mxcsr;

	memcpy(o.v, f->vec, sizeof(o.v));
	vec_eval(&o, &mxcsr);
	memcpy(f->vec[0], &o.v[0], sizeof(o.v[0]));
	f->args[0] = o.scalar;
	if (mxcsr != before)
		_mm_setcsr(mxcsr);
}

static struct x64_rm arg(unsigned n)
{
	return x64_mem(RSP, offsetof(struct x64_frame, args) + n * 8);
}

static struct x64_rm vec_arg(unsigned n)
{
	return x64_mem(RSP, offsetof(struct x64_frame, vec) + n * 16);
}

void x64_vec_slow_call(struct x64_gen *g, const struct ir_insn *in)
{
	struct x64_asm *a = &g->a;
	int t = x64_scratch(g);

	for (unsigned k = 0; k < in->n; k++) {
		enum ir_type type = g->ir->insns[in->a[k]].type;

		if (type == IR_V128)
			x64_op(a, X_MOVUPS_STORE, x64_use_x(g, in->a[k]), vec_arg(k));
		else if (x64_is_float(type))
			x64_op(a, X_MOVS_STORE | X_F2, x64_use_x(g, in->a[k]), arg(1));
		else
			x64_op(a, X_MOV_STORE | X_W, x64_use(g, in->a[k]), arg(1));
	}
	x64_mov_imm(a, t, in->op | (in->imm & UINT32_MAX) << 32);
	x64_op(a, X_MOV_STORE | X_W, t, arg(0));
	x64_call(a, g->x->t.vec);
	if (in->type == IR_V128)
		x64_op(a, X_MOVUPS_LOAD, x64_def_x(g), vec_arg(0));
	else
		x64_op(a, X_MOV_LOAD | X_W, x64_def(g), arg(0));
}

/* ---- by the table --------------------------------------------------------------------------- */

void x64_vec_two(struct x64_gen *g, uint32_t op, ir_val first, ir_val second, int imm)
{
	int ra = x64_use_x(g, first), rb = x64_use_x(g, second);
	int d = g->x->host.avx ? x64_def_any_x(g) : x64_def_x(g);

	x64_sse(g, op, d, ra, rb);
	if (imm >= 0)
		x64_byte(&g->a, imm);
}

void x64_vec_one(struct x64_gen *g, uint32_t op, ir_val v, int imm)
{
	int r = x64_use_x(g, v), d = x64_def_any_x(g);

	x64_op(&g->a, op, d, x64_reg(r));
	if (imm >= 0)
		x64_byte(&g->a, imm);
}

/* By a constant: opcode and digit say which; by a register: the count is in an xmm register. */
static void vec_shift(struct x64_gen *g, const struct ir_insn *in, uint32_t op)
{
	unsigned digit = x64_vec_rows[in->op - IR_VADD].op[0], lane = in->imm & 3;
	uint64_t k;
	int r, t, d;

	if (x64_const(g, in->a[1], &k)) {
		d = x64_def_copy_x(g, in->a[0]);
		x64_op_ib(&g->a, (0x70 + lane) | X_0F | X_66, digit, x64_reg(d), MIN(k, 255));
		return;
	}
	t = x64_scratch_x(g);
	r = x64_use(g, in->a[1]);
	x64_op(&g->a, X_MOVD_TO | x64_w(x64_is64(g, in->a[1])), t, x64_reg(r));
	d = x64_def_copy_x(g, in->a[0]);
	x64_op(&g->a, op, d, x64_reg(t));
}

static uint32_t scalar_op(const struct ir_insn *in, uint32_t op)
{
	return (op & ~(uint32_t)(3 << 12)) | x64_s((in->imm & 3) == 3);
}

static void vec_fp_row(struct x64_gen *g, const struct ir_insn *in, uint32_t op, unsigned shape)
{
	int imm = shape == X64_V_FP_ARG ? x64_vec_arg(in) : -1;

	if (in->imm & IR_VSCALAR)
		x64_vec_two(g, scalar_op(in, op), in->a[0], in->a[1], imm);
	else if (shape == X64_V_FP_SECOND)
		x64_vec_one(g, op, in->a[1], -1);
	else
		x64_vec_two(g, op, in->a[0], in->a[1], imm);
}

static bool host_has(const struct x64_gen *g, const struct ir_insn *in)
{
	return !(in->op >= IR_VAES && in->op <= IR_VAESKEY) || g->x->host.aes;
}

void x64_e_vrow(struct x64_gen *g, const struct ir_insn *in)
{
	unsigned shape = x64_vec_rows[in->op - IR_VADD].shape, lane = in->imm & 3;
	uint32_t op = x64_vec_op(in);
	uint8_t imm = x64_vec_arg(in);

	if (!host_has(g, in)) {
		x64_vec_slow_call(g, in);
		return;
	}
	switch ((enum x64_vec_shape)shape) {
	case X64_V_ONE: x64_vec_one(g, op, in->a[0], -1); break;
	case X64_V_ONE_ARG: x64_vec_one(g, op, in->a[0], imm); break;
	case X64_V_TWO: x64_vec_two(g, op, in->a[0], in->a[1], -1); break;
	case X64_V_SWAPPED: x64_vec_two(g, op, in->a[1], in->a[0], -1); break;
	case X64_V_TWO_ARG: x64_vec_two(g, op, in->a[0], in->a[1], imm); break;
	case X64_V_SHIFT: vec_shift(g, in, op); break;
	case X64_V_EXTEND: x64_vec_one(g, op + imm - lane - 1, in->a[0], -1); break;
	case X64_V_FP:
	case X64_V_FP_ARG:
	case X64_V_FP_SECOND: vec_fp_row(g, in, op, shape); break;
	case X64_V_OWN: x64_fail(g, "no instruction for a vector operation"); break;
	}
}

/* ---- by hand -------------------------------------------------------------------------------- */

/* VEX takes the mask as fourth register (SDM volume 2, 2.3.6: in the immediate). */
void x64_e_vblendv(struct x64_gen *g, const struct ir_insn *in)
{
	int ra, rb, rc, d;

	if (!g->x->host.avx) {
		x64_vec_slow_call(g, in);
		return;
	}
	ra = x64_use_x(g, in->a[0]);
	rb = x64_use_x(g, in->a[1]);
	rc = x64_use_x(g, in->a[2]);
	d = x64_def_any_x(g);
	x64_vex_ib(&g->a, x64_vec_op(in), d, ra, x64_reg(rb), rc << 4);
}

void x64_e_vmask(struct x64_gen *g, const struct ir_insn *in)
{
	int r = x64_use_x(g, in->a[0]);

	x64_op(&g->a, x64_vec_op(in), x64_def(g), x64_reg(r));
}

void x64_e_vzero(struct x64_gen *g, const struct ir_insn *in)
{
	int r = x64_use_x(g, in->a[0]), d = x64_def(g);

	x64_alu(&g->a, ALU_XOR, false, d, x64_reg(d));
	x64_op(&g->a, X_PTEST, r, x64_reg(r));
	x64_setcc(&g->a, CC_E, d);
}

void x64_e_vaes(struct x64_gen *g, const struct ir_insn *in)
{
	if (host_has(g, in))
		x64_vec_two(g, x64_vec_op(in) + x64_vec_arg(in), in->a[0], in->a[1], -1);
	else
		x64_vec_slow_call(g, in);
}

/* Not changed: the register holds both. */
void x64_e_vlow(struct x64_gen *g, const struct ir_insn *in)
{
	x64_def_copy_x(g, in->a[0]);
}

void x64_e_vfrom(struct x64_gen *g, const struct ir_insn *in)
{
	enum ir_type t = g->ir->insns[in->a[0]].type;
	struct x64_asm *a = &g->a;
	int r;

	if (!x64_is_float(t)) {
		r = x64_use(g, in->a[0]);
		x64_op(a, X_MOVD_TO | x64_w(t == IR_I64), x64_def_x(g), x64_reg(r));
		return;
	}
	r = x64_use_x(g, in->a[0]);
	if (t == IR_F64) /* MOVQ */
		x64_op(a, 0x7e | X_0F | X_F3, x64_def_any_x(g), x64_reg(r));
	else /* INSERTPS of lane 0, zeroes in the others */
		x64_op_ib(a, 0x21 | X_0F3A | X_66, x64_def_any_x(g), x64_reg(r), 0x0e);
}

/* MOVSS, MOVSD between registers. */
void x64_e_vins(struct x64_gen *g, const struct ir_insn *in)
{
	x64_vec_two(g, X_MOVS_LOAD | x64_s((in->imm & 3) == 3), in->a[0], in->a[1], -1);
}

void x64_e_vsplat(struct x64_gen *g, const struct ir_insn *in)
{
	struct x64_asm *a = &g->a;
	int r = x64_use(g, in->a[0]), t = x64_scratch_x(g), d = x64_def_x(g);

	x64_op(a, X_MOVD_TO | X_W, d, x64_reg(r));
	switch (in->imm) {
	case 0: /* PSHUFB by zeroes */
		x64_op(a, X_PXOR, t, x64_reg(t));
		x64_op(a, 0x00 | X_0F38 | X_66, d, x64_reg(t));
		break;
	case 1: /* PSHUFLW, then the low quadword twice */
		x64_op_ib(a, 0x70 | X_0F | X_F2, d, x64_reg(d), 0);
		x64_op(a, X_PUNPCKLQDQ, d, x64_reg(d));
		break;
	case 2: x64_op_ib(a, X_PSHUFD, d, x64_reg(d), 0); break;
	default: x64_op(a, X_PUNPCKLQDQ, d, x64_reg(d)); break;
	}
}

/* PEXTRB, PEXTRW, PEXTRD, PEXTRQ and PINSRx of SSE4.1 (SDM volume 2). */
void x64_e_vget(struct x64_gen *g, const struct ir_insn *in)
{
	static const uint32_t ops[] = { 0x14, 0x15, 0x16, 0x16 | X_W };
	int r = x64_use_x(g, in->a[0]), d = x64_def(g);

	if ((in->imm & 255) >= 2 && !(in->imm >> 8)) /* MOVD, MOVQ are one operation less */
		x64_op(&g->a, X_MOVD_FROM | x64_w((in->imm & 255) == 3), r, x64_reg(d));
	else
		x64_op_ib(&g->a, ops[in->imm & 3] | X_0F3A | X_66, r, x64_reg(d), in->imm >> 8);
}

void x64_e_vset(struct x64_gen *g, const struct ir_insn *in)
{
	static const uint32_t ops[] = { 0x20 | X_0F3A, 0xc4 | X_0F, 0x22 | X_0F3A,
					0x22 | X_0F3A | X_W };
	int r = x64_use(g, in->a[1]), d = x64_def_copy_x(g, in->a[0]);

	x64_op_ib(&g->a, ops[in->imm & 3] | X_66, d, x64_reg(r), in->imm >> 8);
}
