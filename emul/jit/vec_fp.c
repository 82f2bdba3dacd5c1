/*
 * vec_fp.c - vector operations on floating point, by soft-float under the rules of SSE (SDM volume
 * 1, 11.5 and appendix D). See vec.h.
 */
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#include "base/bytes.h"
#include "emul/jit/softfp.h"
#include "emul/jit/vec.h"

/* Bits of MXCSR. */
enum { DAZ = 1 << 6, FTZ = 1 << 15, RC_AT = 13 };

struct fp {
	struct softfp_env env;
	const struct vec_op *o;
	enum softfp_format f;
	unsigned lane, arg, n; /* n: lanes to be worked on */
	struct vec r;
};

static enum softfp_rounding rounding(unsigned rc)
{
	static const uint8_t of[] = { SOFTFP_NEAREST_EVEN, SOFTFP_DOWN, SOFTFP_UP, SOFTFP_TO_ZERO };

	return (enum softfp_rounding)of[rc & 3];
}

static struct softfp_env env_of(uint32_t mxcsr)
{
	return (struct softfp_env){
		.rounding = (uint8_t)rounding(mxcsr >> RC_AT),
		.nan2 = SOFTFP_NAN_A,
		.to_int = SOFTFP_INT_INDEFINITE,
		.nan_negative = true,
		.flush_inputs = mxcsr & DAZ,
		.flush_results = mxcsr & FTZ,
		.flush_inexact = true,
	};
}

static uint32_t mxcsr_flags(unsigned f)
{
	return (f & SOFTFP_INVALID ? 1 : 0) | (f & SOFTFP_DENORMAL ? 2 : 0) |
	       (f & SOFTFP_DIVZERO ? 4 : 0) | (f & SOFTFP_OVERFLOW ? 8 : 0) |
	       (f & SOFTFP_UNDERFLOW ? 16 : 0) | (f & SOFTFP_INEXACT ? 32 : 0);
}

static uint64_t two(struct fp *p, unsigned op, uint64_t a, uint64_t b)
{
	struct softfp_env env = p->env;
	uint64_t r;

	env.flags = 0;
	switch (op) {
	case IR_VFADD: r = (uint64_t)softfp_add(&env, p->f, a, b); break;
	case IR_VFSUB: r = (uint64_t)softfp_sub(&env, p->f, a, b); break;
	case IR_VFMUL: r = (uint64_t)softfp_mul(&env, p->f, a, b); break;
	case IR_VFDIV: r = (uint64_t)softfp_div(&env, p->f, a, b); break;
	case IR_VFMIN: r = (uint64_t)softfp_min(&env, p->f, a, b, SOFTFP_OR_SECOND); break;
	case IR_VFMAX: r = (uint64_t)softfp_max(&env, p->f, a, b, SOFTFP_OR_SECOND); break;
	default: r = (uint64_t)softfp_sqrt(&env, p->f, b); break;
	}
	p->env.flags |= env.flags;
	return r;
}

static bool is_nan(const struct fp *p, uint64_t a)
{
	return p->f == SOFTFP_F64 ? a << 1 > UINT64_C(0x7ff) << 53
				  : (uint32_t)(a << 1) > UINT32_C(0xff) << 24;
}

static bool is_subnormal(const struct fp *p, uint64_t a)
{
	return p->f == SOFTFP_F64 ? a << 1 && !(a << 1 >> 53)
				  : (uint32_t)(a << 1) && !((uint32_t)(a << 1) >> 24);
}

static enum softfp_order order(struct fp *p, bool signal, uint64_t a, uint64_t b)
{
	struct softfp_env env = p->env;
	enum softfp_order r;

	env.flags = 0;
	r = signal ? softfp_compare(&env, p->f, a, b) : softfp_compare_quiet(&env, p->f, a, b);
	if (!env.flush_inputs && !is_nan(p, a) && !is_nan(p, b) &&
	    (is_subnormal(p, a) || is_subnormal(p, b)))
		env.flags |= SOFTFP_DENORMAL;
	p->env.flags |= env.flags;
	return r;
}

static uint64_t compare(struct fp *p, uint64_t a, uint64_t b)
{
	unsigned rel = p->arg & 3;
	enum softfp_order r = order(p, rel == 1 || rel == 2, a, b);
	bool yes = rel == 0   ? r == SOFTFP_EQUAL
		   : rel == 1 ? r == SOFTFP_LESS
		   : rel == 2 ? r == SOFTFP_LESS || r == SOFTFP_EQUAL
			      : r == SOFTFP_UNORDERED;

	return yes != (p->arg >> 2) ? UINT64_MAX : 0;
}

static uint64_t to_integral(struct fp *p, uint64_t a)
{
	struct softfp_env env = p->env;
	uint64_t r;

	env.flags = 0;
	r = (uint64_t)softfp_round_int(
	    &env, p->f, a, p->arg & 4 ? (enum softfp_rounding)env.rounding : rounding(p->arg),
	    !(p->arg & 8));
	env.flags &= (uint16_t)~SOFTFP_DENORMAL;
	p->env.flags |= env.flags;
	return r;
}

static uint64_t about(struct fp *p, uint64_t a)
{
	uint32_t bits = (uint32_t)a;
	float x;

	memcpy(&x, &bits, 4);
#if defined(__SSE__)
	x = _mm_cvtss_f32(p->o->op == IR_VFRCP ? _mm_rcp_ss(_mm_set_ss(x))
					       : _mm_rsqrt_ss(_mm_set_ss(x)));
	memcpy(&bits, &x, 4);
	return bits;
#else
	{
		struct softfp_env env = { .nan2 = SOFTFP_NAN_A, .nan_negative = true };
		uint64_t one = 0x3f800000;

		if (p->o->op == IR_VFRSQRT)
			a = (uint64_t)softfp_sqrt(&env, SOFTFP_F32, a);
		return (uint64_t)softfp_div(&env, SOFTFP_F32, one, a);
	}
#endif
}

/* ---- shapes --------------------------------------------------------------------------------- */

static void by_lanes(struct fp *p)
{
	for (unsigned n = 0; n < p->n; n++) {
		uint64_t a = vec_get(&p->o->v[0], p->lane, n), b = vec_get(&p->o->v[1], p->lane, n);
		uint64_t z;

		switch (p->o->op) {
		case IR_VFCMP: z = compare(p, a, b); break;
		case IR_VFRINT: z = to_integral(p, b); break;
		case IR_VFRCP:
		case IR_VFRSQRT: z = about(p, b); break;
		case IR_VFADDSUB: z = two(p, n & 1 ? IR_VFADD : IR_VFSUB, a, b); break;
		default: z = two(p, p->o->op, a, b); break;
		}
		vec_set(&p->r, p->lane, n, z);
	}
}

static void neighbours(struct fp *p)
{
	unsigned half = p->n / 2, op = p->o->op == IR_VFHADD ? IR_VFADD : IR_VFSUB;

	for (unsigned n = 0; n < p->n; n++) {
		const struct vec *v = &p->o->v[n >= half];

		vec_set(&p->r, p->lane, n,
			two(p, op, vec_get(v, p->lane, n % half * 2),
			    vec_get(v, p->lane, n % half * 2 + 1)));
	}
}

static uint64_t convert_one(struct softfp_env *env, unsigned kind, uint64_t a)
{
	const enum softfp_format s = SOFTFP_F32, d = SOFTFP_F64;
	enum softfp_rounding now = (enum softfp_rounding)env->rounding, cut = SOFTFP_TO_ZERO;

	switch (kind) {
	case IR_I32_F32: return (uint64_t)softfp_from_int(env, s, (int32_t)a);
	case IR_F32_I32: return (uint64_t)softfp_to_int(env, s, a, 32, now);
	case IR_F32_I32_CUT: return (uint64_t)softfp_to_int(env, s, a, 32, cut);
	case IR_I32_F64: return (uint64_t)softfp_from_int(env, d, (int32_t)a);
	case IR_F64_I32: return (uint64_t)softfp_to_int(env, d, a, 32, now);
	case IR_F64_I32_CUT: return (uint64_t)softfp_to_int(env, d, a, 32, cut);
	case IR_F32_F64: return (uint64_t)softfp_convert(env, s, d, a);
	default: return (uint64_t)softfp_convert(env, d, s, a);
	}
}

static void convert(struct fp *p)
{
	bool from8 = p->arg == IR_F64_I32 || p->arg == IR_F64_I32_CUT || p->arg == IR_F64_F32;
	bool to8 = p->arg == IR_I32_F64 || p->arg == IR_F32_F64;
	bool scalar = p->o->imm & IR_VSCALAR;
	unsigned n = scalar ? 1 : from8 || to8 ? 2 : 4;

	if (!scalar)
		memset(&p->r, 0, sizeof(p->r));
	for (unsigned i = 0; i < n; i++) {
		struct softfp_env env = p->env;

		env.flags = 0;
		vec_set(&p->r, to8 ? 3 : 2, i,
			convert_one(&env, p->arg, vec_get(&p->o->v[1], from8 ? 3 : 2, i)));
		p->env.flags |= env.flags;
	}
}

static uint64_t relation(struct fp *p)
{
	static const uint8_t results[] = { [SOFTFP_GREATER] = 0,
					   [SOFTFP_LESS] = 1,
					   [SOFTFP_EQUAL] = 64,
					   [SOFTFP_UNORDERED] = 69 };

	return results[order(p, p->arg & 1, vec_get(&p->o->v[0], p->lane, 0),
			     vec_get(&p->o->v[1], p->lane, 0))];
}

void vec_fp(struct vec_op *o, uint32_t *mxcsr)
{
	unsigned lane = o->imm & 255;
	struct fp p = {
		.env = env_of(*mxcsr),
		.o = o,
		.f = lane == 3 ? SOFTFP_F64 : SOFTFP_F32,
		.lane = lane,
		.arg = o->imm >> 8 & 255,
		.n = o->imm & IR_VSCALAR ? 1 : 16u >> lane,
		.r = o->v[0],
	};

	switch (o->op) {
	case IR_VFORDER: o->scalar = relation(&p); break;
	case IR_VFHADD:
	case IR_VFHSUB: neighbours(&p); break;
	case IR_VFCVT: convert(&p); break;
	default: by_lanes(&p); break;
	}
	*mxcsr |= mxcsr_flags(p.env.flags);
	if (o->op != IR_VFORDER)
		o->v[0] = p.r;
}
