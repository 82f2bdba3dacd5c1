/*
 * interp_slow.c - the operations of the interpreter that are not worth a label each: floating
 * point, by soft-float under the ISA's rules, and vectors.
 */
#include <string.h>

#include "emul/jit/interp.h"
#include "emul/jit/ir_info.h"
#include "emul/jit/softfp.h"
#include "emul/jit/vec.h"

static uint64_t get(const char *state, int32_t off, bool wide)
{
	uint64_t v = 0;

	memcpy(&v, state + off, wide ? 8 : 4);
	return v;
}

static void put(char *state, int32_t off, bool wide, uint64_t v)
{
	memcpy(state + off, &v, wide ? 8 : 4);
}

/* ---- floating point ------------------------------------------------------------------------- */

static enum softfp_rounding rounding(const struct jit_cpu *cpu, unsigned rm)
{
	/* RC of MXCSR: nearest, down, up, to zero */
	static const uint8_t dynamic[] = { SOFTFP_NEAREST_EVEN, SOFTFP_DOWN, SOFTFP_UP,
					   SOFTFP_TO_ZERO };
	static const uint8_t fixed[] = {
		[IR_RNE] = SOFTFP_NEAREST_EVEN, [IR_RTZ] = SOFTFP_TO_ZERO,
		[IR_RDN] = SOFTFP_DOWN,         [IR_RUP] = SOFTFP_UP,
		[IR_RMM] = SOFTFP_NEAREST_AWAY,
	};

	return rm == IR_DYN ? dynamic[cpu->guest_mxcsr >> 13 & 3] : fixed[rm];
}

static struct softfp_env env_of(const struct jit_cpu *cpu, const struct jit_fp_rules *r,
				unsigned rm)
{
	struct softfp_env env = {
		.rounding = (uint8_t)rounding(cpu, rm),
		.nan2 = r->default_nan ? SOFTFP_NAN_DEFAULT : SOFTFP_NAN_A,
		.to_int = r->to_int_saturates ? SOFTFP_INT_NAN_MAX : SOFTFP_INT_INDEFINITE,
		.tiny_before = r->tiny_before_rounding,
		.flush_inputs = cpu->guest_mxcsr & 1 << 6, /* DAZ, FTZ */
		.flush_results = cpu->guest_mxcsr & 1 << 15,
		.flush_inexact = true,
		.nan_negative = r->nan64 >> 63,
		.nan_ones = (r->nan32 & 0x3fffff) != 0,
		.quiet_inverted = !(r->nan32 & 0x400000),
	};

	return env;
}

/* IE DE ZE OE UE PE, from bit 0 */
static uint32_t mxcsr_flags(unsigned f)
{
	return (f & SOFTFP_INVALID ? 1 : 0) | (f & SOFTFP_DENORMAL ? 2 : 0) |
	       (f & SOFTFP_DIVZERO ? 4 : 0) | (f & SOFTFP_OVERFLOW ? 8 : 0) |
	       (f & SOFTFP_UNDERFLOW ? 16 : 0) | (f & SOFTFP_INEXACT ? 32 : 0);
}

struct fp_op {
	unsigned op, cond, rm;
	enum ir_type type, from;
	bool signal;
	uint64_t a, b, c;
};

static bool compare(struct softfp_env *env, enum softfp_format f, const struct fp_op *o)
{
	enum softfp_order r = o->signal ? softfp_compare(env, f, o->a, o->b)
					: softfp_compare_quiet(env, f, o->a, o->b);

	switch (o->cond) {
	case IR_FEQ: return r == SOFTFP_EQUAL;
	case IR_FLT: return r == SOFTFP_LESS;
	case IR_FLE: return r == SOFTFP_LESS || r == SOFTFP_EQUAL;
	default: return r == SOFTFP_UNORDERED;
	}
}

static uint64_t convert(struct softfp_env *env, const struct fp_op *o)
{
	enum softfp_format from = o->from == IR_F64 ? SOFTFP_F64 : SOFTFP_F32;
	enum softfp_format to = o->type == IR_F64 ? SOFTFP_F64 : SOFTFP_F32;
	unsigned bits = o->type == IR_I64 ? 64 : 32;

	switch (o->op) {
	case IR_FCVT: return (uint64_t)softfp_convert(env, from, to, o->a);
	case IR_FTOS: return (uint64_t)softfp_to_int(env, from, o->a, bits, env->rounding);
	case IR_FTOU: return softfp_to_uint(env, from, o->a, bits, env->rounding);
	case IR_STOF:
		return (uint64_t)softfp_from_int(env, to,
						 o->from == IR_I64 ? (int64_t)o->a : (int32_t)o->a);
	default: return (uint64_t)softfp_from_uint(env, to, o->a); /* UTOF */
	}
}

static uint64_t arithmetic(struct softfp_env *env, const struct fp_op *o)
{
	enum softfp_format f = o->from == IR_F64 ? SOFTFP_F64 : SOFTFP_F32;

	switch (o->op) {
	case IR_FADD: return (uint64_t)softfp_add(env, f, o->a, o->b);
	case IR_FSUB: return (uint64_t)softfp_sub(env, f, o->a, o->b);
	case IR_FMUL: return (uint64_t)softfp_mul(env, f, o->a, o->b);
	case IR_FDIV: return (uint64_t)softfp_div(env, f, o->a, o->b);
	case IR_FSQRT: return (uint64_t)softfp_sqrt(env, f, o->a);
	case IR_FMADD: return (uint64_t)softfp_fma(env, f, o->a, o->b, o->c, 0);
	case IR_FMSUB: return (uint64_t)softfp_fma(env, f, o->a, o->b, o->c, SOFTFP_NEGATE_C);
	case IR_FNMADD:
		return (uint64_t)softfp_fma(env, f, o->a, o->b, o->c,
					    SOFTFP_NEGATE_PRODUCT | SOFTFP_NEGATE_C);
	case IR_FNMSUB:
		return (uint64_t)softfp_fma(env, f, o->a, o->b, o->c, SOFTFP_NEGATE_PRODUCT);
	case IR_FMIN: return (uint64_t)softfp_min(env, f, o->a, o->b, SOFTFP_NUMBER_2019);
	case IR_FMAX: return (uint64_t)softfp_max(env, f, o->a, o->b, SOFTFP_NUMBER_2019);
	case IR_FRINT: return (uint64_t)softfp_round_int(env, f, o->a, env->rounding, o->signal);
	case IR_FCMP: return compare(env, f, o);
	default: return convert(env, o);
	}
}

void interp_fp(struct jit_cpu *cpu, const struct jit_fp_rules *rules, const struct interp_insn *i)
{
	char *state = jit_state_of(cpu);
	struct fp_op o = {
		.op = i->imm & 255,
		.type = i->imm >> 8 & 255,
		.from = i->imm >> 16 & 255,
		.cond = i->imm >> 24 & 255,
		.rm = i->imm >> 32 & 255,
		.signal = i->imm >> 40 & 1,
	};
	bool wide = o.from == IR_F64 || o.from == IR_I64;
	struct softfp_env env = env_of(cpu, rules, o.op == IR_FCMP ? IR_RNE : o.rm);

	o.a = get(state, i->a, wide);
	o.b = get(state, i->b, wide);
	if (o.op >= IR_FMADD && o.op <= IR_FNMSUB)
		o.c = get(state, i->c, wide);
	put(state, i->d, o.type == IR_F64 || o.type == IR_I64, arithmetic(&env, &o));
	cpu->guest_mxcsr |= mxcsr_flags(env.flags);
}

/* ---- vectors -------------------------------------------------------------------------------- */

void interp_vector(struct jit_cpu *cpu, const struct interp_insn *i)
{
	char *state = jit_state_of(cpu);
	unsigned op = i->imm & 255, type = i->imm >> 8 & 255, from = i->imm >> 16 & 255;
	const int32_t at[] = { i->a, i->b, i->c };
	struct vec_op v = { .op = (uint8_t)op, .imm = i->spare };

	for (unsigned k = 0; k < ir_infos[op].n; k++) {
		if (k + 1 == ir_infos[op].n && from != IR_V128)
			v.scalar = get(state, at[k], from == IR_I64 || from == IR_F64);
		else
			memcpy(&v.v[k], state + at[k], sizeof(v.v[k]));
	}
	vec_eval(&v, &cpu->guest_mxcsr);
	if (type == IR_V128)
		memcpy(state + i->d, &v.v[0], sizeof(v.v[0]));
	else
		put(state, i->d, type == IR_I64 || type == IR_F64, v.scalar);
}

bool interp_select128(struct jit_cpu *cpu, const struct interp_insn *i)
{
	const char *state = jit_state_of(cpu);
	bool wide = i->spare >> 8;

	return ir_eval_cond((enum ir_cond)(i->spare & 255), wide, get(state, i->a, wide),
			    get(state, i->b, wide));
}
