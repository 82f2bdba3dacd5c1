/*
 * x86_tr_sse_fp.c - SSE instructions on floating point, by the rows of x86_sse.def: SDM 1, chapters
 * 10 and 11. Rounding and sticky flags are those of the guest's MXCSR, which the translator keeps
 * in the host's unit.
 */
#include "emul/isa/x86/x86_vec.h"

enum { SS = 2 | IR_VSCALAR, SD = 3 | IR_VSCALAR, PS = 2, PD = 3 };

static ir_val zero(struct x86_ctx *c)
{
	return ir_const(c->ir, IR_V128, 0);
}

/* ---- arithmetic ----------------------------------------------------------------------------- */

static bool arith(struct x86_ctx *c, enum ir_op op, unsigned imm)
{
	ir_val a, b, r;

	if (!x86_vec_begin(c))
		return true;
	b = x86_vec_read(c, 1);
	a = x86_vec_read(c, 0);
	x86_vec_fp_begin(c);
	r = ir_vec(c->ir, op, a, b, imm);
	x86_vec_fp_end(c);
	x86_vec_write(c, 0, r);
	return true;
}

static unsigned relation(const struct x86_ctx *c)
{
	return (x86_imm8(c) & 7) << 8;
}

/* Bit 2: as MXCSR says, whatever bits 1:0 are. */
static unsigned rounding(const struct x86_ctx *c)
{
	unsigned imm = x86_imm8(c);

	return (imm & 4 ? (imm & 8) | 4 : imm & 11) << 8;
}

#define ARITH(name, op, imm)                   \
	TR(name)                               \
	{                                      \
		return arith(c, IR_##op, imm); \
	}
#define FOUR(name, op)          \
	ARITH(name##ps, op, PS) \
	ARITH(name##pd, op, PD) \
	ARITH(name##ss, op, SS) \
	ARITH(name##sd, op, SD)

FOUR(add, VFADD)
FOUR(sub, VFSUB)
FOUR(mul, VFMUL)
FOUR(div, VFDIV)
FOUR(min, VFMIN)
FOUR(max, VFMAX)
FOUR(sqrt, VFSQRT)
ARITH(cmpps, VFCMP, PS | relation(c))
ARITH(cmppd, VFCMP, PD | relation(c))
ARITH(cmpss, VFCMP, SS | relation(c))
ARITH(cmpsd, VFCMP, SD | relation(c))
ARITH(roundps, VFRINT, PS | rounding(c))
ARITH(roundpd, VFRINT, PD | rounding(c))
ARITH(roundss, VFRINT, SS | rounding(c))
ARITH(roundsd, VFRINT, SD | rounding(c))
ARITH(rsqrtps, VFRSQRT, PS)
ARITH(rsqrtss, VFRSQRT, SS)
ARITH(rcpps, VFRCP, PS)
ARITH(rcpss, VFRCP, SS)
ARITH(addsubps, VFADDSUB, PS)
ARITH(addsubpd, VFADDSUB, PD)
ARITH(haddps, VFHADD, PS)
ARITH(haddpd, VFHADD, PD)
ARITH(hsubps, VFHSUB, PS)
ARITH(hsubpd, VFHSUB, PD)

/* Products where the upper bits of the immediate are set, their sum where the lower ones are. */
static bool dot(struct x86_ctx *c, unsigned lane)
{
	unsigned imm = x86_imm8(c), all = lane == PS ? 15 : 3, in = imm >> 4 & all, out = imm & all;
	ir_val a, b, r;

	if (!x86_vec_begin(c))
		return true;
	b = x86_vec_read(c, 1);
	a = x86_vec_read(c, 0);
	x86_vec_fp_begin(c);
	a = ir_vec(c->ir, IR_VBLEND, zero(c), a, lane | in << 8);
	b = ir_vec(c->ir, IR_VBLEND, zero(c), b, lane | in << 8);
	r = ir_vec(c->ir, IR_VFMUL, a, b, lane);
	r = ir_vec(c->ir, IR_VFHADD, r, r, lane);
	if (lane == PS)
		r = ir_vec(c->ir, IR_VFHADD, r, r, lane);
	x86_vec_fp_end(c);
	x86_vec_write(c, 0, ir_vec(c->ir, IR_VBLEND, zero(c), r, lane | out << 8));
	return true;
}

TR(dpps)
{
	return dot(c, PS);
}

TR(dppd)
{
	return dot(c, PD);
}

static bool compare(struct x86_ctx *c, bool signal)
{
	unsigned lane = c->in->ops[1].bytes == 4 || !c->in->opsize ? PS : PD;
	ir_val a, b, r;

	if (!x86_vec_begin(c))
		return true;
	b = x86_vec_read(c, 1);
	a = x86_vec_read(c, 0);
	x86_vec_fp_begin(c);
	r = ir_vec(c->ir, IR_VFORDER, a, b, lane | (unsigned)signal << 8);
	x86_vec_fp_end(c);
	x86_put_flags(c, x86_wide(c, r), FLAGS_ARITH);
	return true;
}

TR(ucomis)
{
	return compare(c, false);
}

TR(comis)
{
	return compare(c, true);
}

/* ---- conversions ---------------------------------------------------------------------------- */

#define CONVERT(name, kind, scalar) ARITH(name, VFCVT, 2 | IR_##kind << 8 | (scalar))

CONVERT(cvtdq2ps, I32_F32, 0)
CONVERT(cvtps2dq, F32_I32, 0)
CONVERT(cvttps2dq, F32_I32_CUT, 0)
CONVERT(cvtdq2pd, I32_F64, 0)
CONVERT(cvtpd2dq, F64_I32, 0)
CONVERT(cvttpd2dq, F64_I32_CUT, 0)
CONVERT(cvtps2pd, F32_F64, 0)
CONVERT(cvtpd2ps, F64_F32, 0)
CONVERT(cvtss2sd, F32_F64, IR_VSCALAR)
CONVERT(cvtsd2ss, F64_F32, IR_VSCALAR)
CONVERT(cvtpd2pi, F64_I32, 0)
CONVERT(cvttpd2pi, F64_I32_CUT, 0)
CONVERT(cvtpi2pd, I32_F64, 0)

/* What is in the upper half must not be seen. */
static bool to_pi(struct x86_ctx *c, enum ir_vcvt kind)
{
	ir_val v, r;

	if (!x86_vec_begin(c))
		return true;
	v = ir_vfrom(c->ir, ir_vlow(c->ir, IR_F64, x86_vec_read(c, 1)));
	x86_vec_fp_begin(c);
	r = ir_vec(c->ir, IR_VFCVT, v, v, 2 | (unsigned)kind << 8);
	x86_vec_fp_end(c);
	x86_vec_write(c, 0, r);
	return true;
}

TR(cvtps2pi)
{
	return to_pi(c, IR_F32_I32);
}

TR(cvttps2pi)
{
	return to_pi(c, IR_F32_I32_CUT);
}

/* The upper half stays. */
TR(cvtpi2ps)
{
	ir_val a, b, r;

	if (!x86_vec_begin(c))
		return true;
	b = x86_vec_read(c, 1);
	a = x86_vec_read(c, 0);
	x86_vec_fp_begin(c);
	r = ir_vec(c->ir, IR_VFCVT, b, b, 2 | IR_I32_F32 << 8);
	x86_vec_fp_end(c);
	x86_vec_write(c, 0, ir_vins(c->ir, a, ir_vlow(c->ir, IR_F64, r)));
	return true;
}

static bool from_int(struct x86_ctx *c, enum ir_type type)
{
	ir_val v, r;

	if (!x86_vec_begin(c))
		return true;
	v = x86_read(c, 1);
	x86_vec_fp_begin(c);
	r = ir_fp(c->ir, IR_STOF, type, IR_DYN, v, IR_NONE, IR_NONE);
	x86_vec_fp_end(c);
	x86_vec_write(c, 0, ir_vins(c->ir, x86_vec_read(c, 0), r));
	return true;
}

static bool to_int(struct x86_ctx *c, enum ir_type type, enum ir_rm rm)
{
	unsigned bytes = c->in->ops[0].bytes;
	ir_val v, r;

	if (!x86_vec_begin(c))
		return true;
	v = ir_vlow(c->ir, type, x86_vec_read(c, 1));
	x86_vec_fp_begin(c);
	r = ir_fp(c->ir, IR_FTOS, x86_type(bytes), rm, v, IR_NONE, IR_NONE);
	x86_vec_fp_end(c);
	x86_put_reg(c, c->in->ops[0].reg, bytes, r);
	return true;
}

#define FROM_INT(name, type)              \
	TR(name)                          \
	{                                 \
		return from_int(c, type); \
	}
#define TO_INT(name, type, rm)              \
	TR(name)                            \
	{                                   \
		return to_int(c, type, rm); \
	}

FROM_INT(cvtsi2ss, IR_F32)
FROM_INT(cvtsi2sd, IR_F64)
TO_INT(cvtss2si, IR_F32, IR_DYN)
TO_INT(cvtsd2si, IR_F64, IR_DYN)
TO_INT(cvttss2si, IR_F32, IR_RTZ)
TO_INT(cvttsd2si, IR_F64, IR_RTZ)
