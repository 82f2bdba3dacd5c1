/*
 * x86_tr_sse.c - MMX and SSE instructions on packed integers, and moves, by the rows of
 * x86_sse.def. An instruction is what the vector operation of the IR says; MMX ones work on the low
 * half, and those whose result has lanes of both operands on the two halves of one vector.
 */
#include "emul/isa/x86/x86_vec.h"

static ir_val zero(struct x86_ctx *c)
{
	return ir_const(c->ir, IR_V128, 0);
}

/* The low halves of two vectors as one. */
static ir_val both(struct x86_ctx *c, ir_val low, ir_val high)
{
	return ir_vec(c->ir, IR_VZIPL, low, high, 3);
}

static ir_val high_half(struct x86_ctx *c, ir_val v)
{
	return ir_vec(c->ir, IR_VZIPH, v, v, 3);
}

/* ---- two operands --------------------------------------------------------------------------- */

static bool two(struct x86_ctx *c, enum ir_op op, unsigned imm)
{
	ir_val a, b;

	if (!x86_vec_begin(c))
		return true;
	b = x86_vec_read(c, 1);
	a = x86_vec_read(c, 0);
	x86_vec_write(c, 0, ir_vec(c->ir, op, a, b, imm));
	return true;
}

/* The first operand is the second of the operation. */
static bool swapped(struct x86_ctx *c, enum ir_op op)
{
	ir_val a, b;

	if (!x86_vec_begin(c))
		return true;
	b = x86_vec_read(c, 1);
	a = x86_vec_read(c, 0);
	x86_vec_write(c, 0, ir_vec(c->ir, op, b, a, 0));
	return true;
}

/* Lanes of the first operand in the low half, of the second in the high one. */
static bool halves(struct x86_ctx *c, enum ir_op op, unsigned lane)
{
	ir_val a, b;

	if (!x86_is_mmx(c))
		return two(c, op, lane);
	if (!x86_vec_begin(c))
		return true;
	b = x86_vec_read(c, 1);
	a = both(c, x86_vec_read(c, 0), b);
	x86_vec_write(c, 0, ir_vec(c->ir, op, a, a, lane));
	return true;
}

static bool zip_high(struct x86_ctx *c, unsigned lane)
{
	ir_val a, b;

	if (!x86_is_mmx(c))
		return two(c, IR_VZIPH, lane);
	if (!x86_vec_begin(c))
		return true;
	b = x86_vec_read(c, 1);
	a = x86_vec_read(c, 0);
	x86_vec_write(c, 0, high_half(c, ir_vec(c->ir, IR_VZIPL, a, b, lane)));
	return true;
}

#define TWO(name, op, lane)                   \
	TR(name)                              \
	{                                     \
		return two(c, IR_##op, lane); \
	}
#define HALVES(name, op, lane)                   \
	TR(name)                                 \
	{                                        \
		return halves(c, IR_##op, lane); \
	}
#define HIGH(name, lane)                  \
	TR(name)                          \
	{                                 \
		return zip_high(c, lane); \
	}

TWO(paddb, VADD, 0)
TWO(paddw, VADD, 1)
TWO(paddd, VADD, 2)
TWO(paddq, VADD, 3)
TWO(psubb, VSUB, 0)
TWO(psubw, VSUB, 1)
TWO(psubd, VSUB, 2)
TWO(psubq, VSUB, 3)
TWO(paddsb, VADDSS, 0)
TWO(paddsw, VADDSS, 1)
TWO(paddusb, VADDUS, 0)
TWO(paddusw, VADDUS, 1)
TWO(psubsb, VSUBSS, 0)
TWO(psubsw, VSUBSS, 1)
TWO(psubusb, VSUBUS, 0)
TWO(psubusw, VSUBUS, 1)
TWO(pcmpeqb, VCMPEQ, 0)
TWO(pcmpeqw, VCMPEQ, 1)
TWO(pcmpeqd, VCMPEQ, 2)
TWO(pcmpeqq, VCMPEQ, 3)
TWO(pcmpgtb, VCMPGT, 0)
TWO(pcmpgtw, VCMPGT, 1)
TWO(pcmpgtd, VCMPGT, 2)
TWO(pcmpgtq, VCMPGT, 3)
TWO(pand, VAND, 0)
TWO(por, VOR, 0)
TWO(pminsb, VMINS, 0)
TWO(pminsw, VMINS, 1)
TWO(pminsd, VMINS, 2)
TWO(pminub, VMINU, 0)
TWO(pminuw, VMINU, 1)
TWO(pminud, VMINU, 2)
TWO(pmaxsb, VMAXS, 0)
TWO(pmaxsw, VMAXS, 1)
TWO(pmaxsd, VMAXS, 2)
TWO(pmaxub, VMAXU, 0)
TWO(pmaxuw, VMAXU, 1)
TWO(pmaxud, VMAXU, 2)
TWO(pavgb, VAVG, 0)
TWO(pavgw, VAVG, 1)
TWO(psignb, VSIGN, 0)
TWO(psignw, VSIGN, 1)
TWO(psignd, VSIGN, 2)
TWO(pmullw, VMUL, 1)
TWO(pmulld, VMUL, 2)
TWO(pmulhw, VMULHS, 1)
TWO(pmulhuw, VMULHU, 1)
TWO(pmulhrsw, VMULHR, 1)
TWO(pmuldq, VMULES, 2)
TWO(pmuludq, VMULEU, 2)
TWO(pmaddwd, VMADD, 1)
TWO(pmaddubsw, VMADDUS, 0)
TWO(psadbw, VSAD, 0)
TWO(punpcklbw, VZIPL, 0)
TWO(punpcklwd, VZIPL, 1)
TWO(punpckldq, VZIPL, 2)
TWO(punpcklqdq, VZIPL, 3)
TWO(punpckhqdq, VZIPH, 3)
TWO(packusdw, VPACKUS, 2)
TWO(aesenc, VAES, 0)
TWO(aesenclast, VAES, 1 << 8)
TWO(aesdec, VAES, 2 << 8)
TWO(aesdeclast, VAES, 3 << 8)
HIGH(punpckhbw, 0)
HIGH(punpckhwd, 1)
HIGH(punpckhdq, 2)
HALVES(packsswb, VPACKSS, 1)
HALVES(packssdw, VPACKSS, 2)
HALVES(packuswb, VPACKUS, 1)
HALVES(phaddw, VHADD, 1)
HALVES(phaddd, VHADD, 2)
HALVES(phaddsw, VHADDSS, 1)
HALVES(phsubw, VHSUB, 1)
HALVES(phsubd, VHSUB, 2)
HALVES(phsubsw, VHSUBSS, 1)

TR(pandn)
{
	return swapped(c, IR_VANDN);
}

static bool same_register(const struct x86_ctx *c)
{
	const struct x86_operand *o = c->in->ops;

	return o[1].kind == o[0].kind && o[0].kind == X86_OP_XMM && o[0].reg == o[1].reg;
}

/* Of a register with itself it is how zero is made. */
TR(pxor)
{
	if (!same_register(c))
		return two(c, IR_VXOR, 0);
	if (x86_vec_begin(c))
		x86_vec_write(c, 0, zero(c));
	return true;
}

/* ---- one operand, immediates ---------------------------------------------------------------- */

static bool one(struct x86_ctx *c, enum ir_op op, unsigned imm)
{
	if (x86_vec_begin(c))
		x86_vec_write(c, 0, ir_vec(c->ir, op, x86_vec_read(c, 1), IR_NONE, imm));
	return true;
}

#define ONE(name, op, imm)                   \
	TR(name)                             \
	{                                    \
		return one(c, IR_##op, imm); \
	}
#define WITH_ARG(name, op, lane)                                   \
	TR(name)                                                   \
	{                                                          \
		return two(c, IR_##op, (lane) | x86_imm8(c) << 8); \
	}

ONE(pabsb, VABS, 0)
ONE(pabsw, VABS, 1)
ONE(pabsd, VABS, 2)
ONE(phminposuw, VMINPOS, 0)
ONE(aesimc, VAESMIX, 0)
ONE(pmovsxbw, VEXTS, 0 | 1 << 8)
ONE(pmovsxbd, VEXTS, 0 | 2 << 8)
ONE(pmovsxbq, VEXTS, 0 | 3 << 8)
ONE(pmovsxwd, VEXTS, 1 | 2 << 8)
ONE(pmovsxwq, VEXTS, 1 | 3 << 8)
ONE(pmovsxdq, VEXTS, 2 | 3 << 8)
ONE(pmovzxbw, VEXTU, 0 | 1 << 8)
ONE(pmovzxbd, VEXTU, 0 | 2 << 8)
ONE(pmovzxbq, VEXTU, 0 | 3 << 8)
ONE(pmovzxwd, VEXTU, 1 | 2 << 8)
ONE(pmovzxwq, VEXTU, 1 | 3 << 8)
ONE(pmovzxdq, VEXTU, 2 | 3 << 8)
ONE(movsldup, VPERM, 2 | 0xa0 << 8)
ONE(movshdup, VPERM, 2 | 0xf5 << 8)
ONE(pshufd, VPERM, 2 | x86_imm8(c) << 8)
ONE(pshuflw, VPERM, 1 | x86_imm8(c) << 8)
ONE(pshufhw, VPERMH, 1 | x86_imm8(c) << 8)
ONE(aeskeygenassist, VAESKEY, x86_imm8(c) << 8)
WITH_ARG(shufps, VPERM2, 2)
WITH_ARG(shufpd, VPERM2, 3)
WITH_ARG(blendps, VBLEND, 2)
WITH_ARG(blendpd, VBLEND, 3)
WITH_ARG(pblendw, VBLEND, 1)

TR(mpsadbw)
{
	return two(c, IR_VMSAD, (x86_imm8(c) & 7) << 8);
}

TR(pclmulqdq)
{
	return two(c, IR_VCLMUL, (x86_imm8(c) & 0x11) << 8);
}

TR(pshufb)
{
	ir_val a, b, keep;

	if (!x86_is_mmx(c))
		return two(c, IR_VSHUF, 0);
	if (!x86_vec_begin(c))
		return true;
	b = x86_vec_read(c, 1);
	keep = ir_const(c->ir, IR_V128, UINT64_C(0x8787878787878787));
	a = x86_vec_read(c, 0);
	b = ir_vec(c->ir, IR_VAND, b, keep, 0);
	x86_vec_write(c, 0, ir_vec(c->ir, IR_VSHUF, a, b, 0));
	return true;
}

/* Bytes from n on of the second operand with the first above it. */
TR(palignr)
{
	unsigned n = x86_imm8(c);
	ir_val a, b;

	if (!x86_vec_begin(c))
		return true;
	b = x86_vec_read(c, 1);
	a = x86_vec_read(c, 0);
	if (x86_is_mmx(c)) {
		b = both(c, b, a);
		a = zero(c);
	} else if (n > 16) {
		n -= 16;
		b = a;
		a = zero(c);
	}
	x86_vec_write(c, 0, ir_vec(c->ir, IR_VALIGN, a, b, (n > 16 ? 16 : n) << 8));
	return true;
}

static bool byte_shift(struct x86_ctx *c, bool left)
{
	unsigned n = x86_imm8(c) > 16 ? 16 : x86_imm8(c);
	ir_val v;

	if (!x86_vec_begin(c))
		return true;
	v = x86_vec_read(c, 0);
	if (left)
		v = ir_vec(c->ir, IR_VALIGN, v, zero(c), (16 - n) << 8);
	else
		v = ir_vec(c->ir, IR_VALIGN, zero(c), v, n << 8);
	x86_vec_write(c, 0, v);
	return true;
}

TR(pslldq)
{
	return byte_shift(c, true);
}

TR(psrldq)
{
	return byte_shift(c, false);
}

static bool blendv(struct x86_ctx *c, unsigned lane)
{
	ir_val a, b;

	if (!x86_vec_begin(c))
		return true;
	b = x86_vec_read(c, 1);
	a = x86_vec_read(c, 0);
	x86_vec_write(c, 0, ir_vec3(c->ir, IR_VBLENDV, a, b, x86_xmm(c, 0), lane));
	return true;
}

TR(pblendvb)
{
	return blendv(c, 0);
}

TR(blendvps)
{
	return blendv(c, 2);
}

TR(blendvpd)
{
	return blendv(c, 3);
}

/* ---- shifts --------------------------------------------------------------------------------- */

static bool shift(struct x86_ctx *c, enum ir_op op, unsigned lane)
{
	ir_val n, v;

	if (!x86_vec_begin(c))
		return true;
	if (c->in->ops[1].kind == X86_OP_IMM)
		n = ir_i32(c->ir, x86_imm8(c));
	else
		n = ir_vec(c->ir, IR_VGET, x86_vec_read(c, 1), IR_NONE, 3);
	v = x86_vec_read(c, 0);
	x86_vec_write(c, 0, ir_vec(c->ir, op, v, n, lane));
	return true;
}

#define SHIFT(name, op, lane)                   \
	TR(name)                                \
	{                                       \
		return shift(c, IR_##op, lane); \
	}

SHIFT(psllw, VSHL, 1)
SHIFT(pslld, VSHL, 2)
SHIFT(psllq, VSHL, 3)
SHIFT(psrlw, VSHR, 1)
SHIFT(psrld, VSHR, 2)
SHIFT(psrlq, VSHR, 3)
SHIFT(psraw, VSAR, 1)
SHIFT(psrad, VSAR, 2)

/* ---- moves ---------------------------------------------------------------------------------- */

TR(mova)
{
	if (x86_vec_begin(c))
		x86_vec_write(c, 0, x86_vec_read(c, 1));
	return true;
}

TR(movu)
{
	if (x86_vec_begin(c))
		x86_vec_write_any(c, 0, x86_vec_read_any(c, 1));
	return true;
}

/* MOVSS, MOVSD: between registers the rest stays; from memory it is zero. */
TR(movscal)
{
	enum ir_type t = c->in->rep == 0xf2 ? IR_F64 : IR_F32;
	ir_val v;

	if (!x86_vec_begin(c))
		return true;
	v = x86_vec_read(c, 1);
	if (c->in->ops[0].kind == X86_OP_XMM && c->in->ops[1].kind == X86_OP_XMM)
		v = ir_vins(c->ir, x86_vec_read(c, 0), ir_vlow(c->ir, t, v));
	x86_vec_write(c, 0, v);
	return true;
}

/* 8 bytes of any of memory, MMX and XMM to any, zeroes above. */
TR(movq)
{
	ir_val v;

	if (!x86_vec_begin(c))
		return true;
	v = x86_vec_read(c, 1);
	if (c->in->ops[0].kind == X86_OP_XMM && c->in->ops[1].kind == X86_OP_XMM)
		v = ir_vfrom(c->ir, ir_vlow(c->ir, IR_F64, v));
	x86_vec_write(c, 0, v);
	return true;
}

TR(movlp)
{
	ir_val v;

	if (!x86_vec_begin(c))
		return true;
	v = x86_vec_read(c, 1);
	if (c->in->ops[0].kind == X86_OP_XMM)
		v = ir_vins(c->ir, x86_vec_read(c, 0), ir_vlow(c->ir, IR_F64, v));
	x86_vec_write(c, 0, v);
	return true;
}

TR(movhp)
{
	return two(c, IR_VZIPL, 3);
}

TR(movhp_to)
{
	if (x86_vec_begin(c))
		x86_vec_write(c, 0, high_half(c, x86_vec_read(c, 1)));
	return true;
}

TR(movhlps)
{
	ir_val a, b;

	if (!x86_vec_begin(c))
		return true;
	b = x86_vec_read(c, 1);
	a = x86_vec_read(c, 0);
	x86_vec_write(c, 0, ir_vec(c->ir, IR_VZIPH, b, a, 3));
	return true;
}

TR(movddup)
{
	ir_val v;

	if (!x86_vec_begin(c))
		return true;
	v = x86_vec_read(c, 1);
	x86_vec_write(c, 0, both(c, v, v));
	return true;
}

TR(movd_to)
{
	if (x86_vec_begin(c))
		x86_vec_write(c, 0, ir_vfrom(c->ir, x86_read(c, 1)));
	return true;
}

TR(movd_from)
{
	if (x86_vec_begin(c))
		x86_write(c, 0,
			  ir_vec(c->ir, IR_VGET, x86_vec_read(c, 1), IR_NONE,
				 c->in->ops[0].bytes == 8 ? 3 : 2));
	return true;
}

/* ---- lanes ---------------------------------------------------------------------------------- */

static unsigned lane_number(const struct x86_ctx *c, unsigned lane)
{
	unsigned bytes = x86_is_mmx(c) ? 8 : 16;

	return lane | (x86_imm8(c) & ((bytes >> lane) - 1)) << 8;
}

static unsigned lane_of_opcode(const struct x86_ctx *c)
{
	switch (c->in->op) {
	case 0x14:
	case 0x20: return 0;
	case 0x15:
	case 0xc4:
	case 0xc5: return 1;
	default: return c->in->ops[c->in->op < 0x20 ? 0 : 1].bytes == 8 ? 3 : 2;
	}
}

TR(pextr)
{
	unsigned n = lane_number(c, lane_of_opcode(c));

	if (x86_vec_begin(c))
		x86_write(c, 0, ir_vec(c->ir, IR_VGET, x86_vec_read(c, 1), IR_NONE, n));
	return true;
}

TR(pextrw)
{
	return x86_tr_pextr(c);
}

TR(pinsr)
{
	unsigned n = lane_number(c, lane_of_opcode(c));
	ir_val v;

	if (!x86_vec_begin(c))
		return true;
	v = x86_read(c, 1);
	x86_vec_write(c, 0, ir_vec(c->ir, IR_VSET, x86_vec_read(c, 0), v, n));
	return true;
}

TR(pinsrw)
{
	return x86_tr_pinsr(c);
}

/* Bits 7:6 the source's lane, 5:4 the destination's, 3:0 lanes that become zero. */
TR(insertps)
{
	unsigned imm = x86_imm8(c), from = c->in->ops[1].kind == X86_OP_MEM ? 0 : imm >> 6;
	ir_val v;

	if (!x86_vec_begin(c))
		return true;
	v = ir_vec(c->ir, IR_VGET, x86_vec_read(c, 1), IR_NONE, 2 | from << 8);
	v = ir_vec(c->ir, IR_VSET, x86_vec_read(c, 0), v, 2 | (imm >> 4 & 3) << 8);
	if (imm & 15)
		v = ir_vec(c->ir, IR_VBLEND, v, zero(c), 2 | (imm & 15) << 8);
	x86_vec_write(c, 0, v);
	return true;
}

static bool mask(struct x86_ctx *c, unsigned lane)
{
	ir_val v;

	if (!x86_vec_begin(c))
		return true;
	v = ir_vec(c->ir, IR_VMASK, x86_vec_read(c, 1), IR_NONE, lane);
	x86_put_reg(c, c->in->ops[0].reg, 4, v);
	return true;
}

TR(pmovmskb)
{
	return mask(c, 0);
}

TR(movmskps)
{
	return mask(c, 2);
}

TR(movmskpd)
{
	return mask(c, 3);
}

TR(ptest)
{
	ir_val a, b, zf, cf;

	if (!x86_vec_begin(c))
		return true;
	b = x86_vec_read(c, 1);
	a = x86_vec_read(c, 0);
	zf = ir_vec(c->ir, IR_VZERO, ir_vec(c->ir, IR_VAND, a, b, 0), IR_NONE, 0);
	cf = ir_vec(c->ir, IR_VZERO, ir_vec(c->ir, IR_VANDN, b, a, 0), IR_NONE, 0);
	zf = ir_op2(c->ir, IR_OR, ir_op2i(c->ir, IR_SHL, zf, 6), cf);
	x86_put_flags(c, x86_wide(c, zf), FLAGS_ARITH);
	return true;
}
