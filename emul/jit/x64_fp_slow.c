/*
 * x64_fp_slow.c - what generated code cannot compute with the host's floating-point unit: the same
 * operation of the IR by soft-float. Called through a thunk, on the vCPU's thread, with the guest's
 * MXCSR in the host's unit; sticky flags are added to it.
 */
#include <xmmintrin.h>

#include "emul/jit/ir.h"
#include "emul/jit/softfp.h"
#include "emul/jit/x64.h"

struct operation {
	enum ir_op op;
	enum ir_type type, from;
	enum ir_rm rm;
	bool signal;
};

/* MXCSR (SDM volume 1, 10.2.3): sticky flags IE DE ZE OE UE PE in bits 0-5, rounding in 13-14. */
static unsigned mxcsr_flags(unsigned flags)
{
	return (flags & SOFTFP_INVALID ? 1 : 0) | (flags & SOFTFP_DIVZERO ? 4 : 0) |
	       (flags & SOFTFP_OVERFLOW ? 8 : 0) | (flags & SOFTFP_UNDERFLOW ? 16 : 0) |
	       (flags & SOFTFP_INEXACT ? 32 : 0);
}

static enum softfp_rounding rounding(enum ir_rm rm)
{
	static const uint8_t of_host[] = { SOFTFP_NEAREST_EVEN, SOFTFP_DOWN, SOFTFP_UP,
					   SOFTFP_TO_ZERO };

	switch (rm) {
	case IR_RNE: return SOFTFP_NEAREST_EVEN;
	case IR_RTZ: return SOFTFP_TO_ZERO;
	case IR_RDN: return SOFTFP_DOWN;
	case IR_RUP: return SOFTFP_UP;
	case IR_RMM: return SOFTFP_NEAREST_AWAY;
	case IR_DYN: break;
	}
	return of_host[_mm_getcsr() >> 13 & 3];
}

static enum softfp_format format(enum ir_type t)
{
	return t == IR_F64 ? SOFTFP_F64 : SOFTFP_F32;
}

static unsigned fma_signs(enum ir_op op)
{
	switch ((int)op) {
	case IR_FMSUB: return SOFTFP_NEGATE_C;
	case IR_FNMADD: return SOFTFP_NEGATE_PRODUCT | SOFTFP_NEGATE_C;
	case IR_FNMSUB: return SOFTFP_NEGATE_PRODUCT;
	default: return 0;
	}
}

static uint64_t from_int(struct softfp_env *env, const struct operation *o, uint64_t v)
{
	if (o->op == IR_UTOF)
		return softfp_from_uint(env, format(o->type), o->from == IR_I64 ? v : (uint32_t)v);
	return softfp_from_int(env, format(o->type), o->from == IR_I64 ? (int64_t)v : (int32_t)v);
}

static uint64_t compute(struct softfp_env *env, const struct operation *o, const uint64_t *a)
{
	enum softfp_format f = format(o->type), from = format(o->from);
	unsigned bits = o->type == IR_I64 ? 64 : 32;

	switch ((int)o->op) {
	case IR_FADD: return softfp_add(env, f, a[0], a[1]);
	case IR_FSUB: return softfp_sub(env, f, a[0], a[1]);
	case IR_FMUL: return softfp_mul(env, f, a[0], a[1]);
	case IR_FDIV: return softfp_div(env, f, a[0], a[1]);
	case IR_FSQRT: return softfp_sqrt(env, f, a[0]);
	case IR_FMADD:
	case IR_FMSUB:
	case IR_FNMADD:
	case IR_FNMSUB: return softfp_fma(env, f, a[0], a[1], a[2], fma_signs(o->op));
	case IR_FMIN: return softfp_min(env, f, a[0], a[1], SOFTFP_NUMBER_2019);
	case IR_FMAX: return softfp_max(env, f, a[0], a[1], SOFTFP_NUMBER_2019);
	case IR_FCVT: return softfp_convert(env, from, f, a[0]);
	case IR_FTOS: return softfp_to_int(env, from, a[0], bits, env->rounding);
	case IR_FTOU: return softfp_to_uint(env, from, a[0], bits, env->rounding);
	case IR_STOF:
	case IR_UTOF: return from_int(env, o, a[0]);
	case IR_FRINT: return softfp_round_int(env, f, a[0], env->rounding, o->signal);
	default: return 0;
	}
}

void x64_fp_slow(struct x64_frame *frame, const struct jit_isa *isa)
{
	uint64_t what = frame->args[0];
	struct operation o = { .op = what & 255,
			       .type = what >> 8 & 15,
			       .from = what >> 12 & 15,
			       .rm = what >> 16 & 15,
			       .signal = what >> 20 & 1 };
	struct softfp_env env = {
		.rounding = rounding(o.rm),
		.nan2 = isa->fp.default_nan ? SOFTFP_NAN_DEFAULT : SOFTFP_NAN_A,
		.nan_negative = isa->fp.nan64 >> 63,
		.tiny_before = isa->fp.tiny_before_rounding,
		.flush_inputs = _mm_getcsr() & 1 << 6, /* DAZ, FTZ */
		.flush_results = _mm_getcsr() & 1 << 15,
		.flush_inexact = true,
		.to_int = isa->fp.to_int_saturates ? SOFTFP_INT_NAN_MAX : SOFTFP_INT_INDEFINITE,
	};

	frame->args[0] = compute(&env, &o, frame->args + 1);
	if (env.flags & SOFTFP_IEEE_FLAGS)
		_mm_setcsr(_mm_getcsr() | mxcsr_flags(env.flags));
}
