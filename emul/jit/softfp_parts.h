/*
 * softfp_parts.h - how the files of softfp see a number: taken apart, its leading one at bit 127.
 *
 * For softfp*.c only. Every operation is unpack, exact work on 128-bit significands (what falls off
 * the right end is kept as a one in the last bit, "jammed"), and softfp_pack(), the only place that
 * rounds. The widest significand has 113 bits, so that there are always 15 bits below it.
 */
#ifndef EMUL_JIT_SOFTFP_PARTS_H
#define EMUL_JIT_SOFTFP_PARTS_H

#include "emul/jit/softfp.h"

typedef unsigned __int128 u128;

#define TOP ((u128)1 << 127)

struct softfp_layout {
	uint8_t exp_bits, frac_bits; /* fields as stored */
	uint8_t precision;           /* significand with its leading one, stored or not */
	int16_t bias;                /* largest exponent too; the smallest is 1 - bias */
};

extern const struct softfp_layout softfp_layouts[SOFTFP_FORMATS];

enum part_class {
	PART_ZERO,
	PART_FINITE,
	PART_INF,
	PART_QNAN,
	PART_SNAN,
};

/* Finite: (-1)^sign * frac * 2^(exp - 127), TOP set in frac. NaN: TOP and the fraction below it. */
struct softfp_parts {
	u128 frac;
	int32_t exp;
	uint8_t class; /* enum part_class */
	bool sign;
	bool denormal; /* it was stored as a subnormal and not flushed */
	bool invalid;  /* an encoding of F80 that is no number; class is PART_SNAN */
};

static inline void softfp_raise(struct softfp_env *env, unsigned flags)
{
	env->flags |= flags;
}

static inline bool part_is_nan(const struct softfp_parts *p)
{
	return p->class >= PART_QNAN;
}

static inline unsigned lz128(u128 v)
{
	uint64_t hi = v >> 64;

	return hi ? __builtin_clzll(hi) : 64 + __builtin_clzll((uint64_t)v);
}

/* Shift right; every bit that is lost is jammed. */
static inline u128 shift_jam(u128 v, unsigned n)
{
	if (n >= 128)
		return v != 0;
	return n ? v >> n | (v << (128 - n) != 0) : v;
}

/* The significands of F16, F32 and F64 leave the lower half empty. */
static inline bool is_narrow(enum softfp_format f)
{
	return f <= SOFTFP_F64;
}

/* May set FLUSHED; nothing else. */
struct softfp_parts softfp_unpack(struct softfp_env *env, enum softfp_format f, softfp_bits v);

/* Round (finite) or encode; a NaN has been chosen and made quiet before. */
softfp_bits softfp_pack(struct softfp_env *env, enum softfp_format f, const struct softfp_parts *p);

/* The same without x87's precision control, which is for + - * / and sqrt: SDM 1, 8.1.5.2. */
softfp_bits softfp_pack_full(struct softfp_env *env, enum softfp_format f,
			     const struct softfp_parts *p);

softfp_bits softfp_zero(enum softfp_format f, bool sign);
softfp_bits softfp_inf(enum softfp_format f, bool sign);

/* The result when at least one of the operands is a NaN. Raises INVALID for a signalling one. */
softfp_bits softfp_nan1(struct softfp_env *env, enum softfp_format f, const struct softfp_parts *a);
softfp_bits softfp_nan2(struct softfp_env *env, enum softfp_format f, const struct softfp_parts *a,
			const struct softfp_parts *b);
softfp_bits softfp_nan3(struct softfp_env *env, enum softfp_format f, const struct softfp_parts *a,
			const struct softfp_parts *b, const struct softfp_parts *c);

/* INVALID and the default NaN: 0/0, inf - inf and so on. */
softfp_bits softfp_invalid(struct softfp_env *env, enum softfp_format f);

/* The exact sum of two finite numbers, or zero with the sign the rounding mode gives it. */
struct softfp_parts softfp_sum(const struct softfp_env *env, struct softfp_parts a,
			       struct softfp_parts b);

/* Does what is cut off, seen as a part of 2^128 below the last bit kept, round the number up? */
static inline bool rounds_up(enum softfp_rounding rounding, bool sign, bool odd, u128 rest)
{
	switch (rounding) {
	case SOFTFP_NEAREST_EVEN: return rest > TOP || (rest == TOP && odd);
	case SOFTFP_TO_ZERO: return false;
	case SOFTFP_DOWN: return rest && sign;
	case SOFTFP_UP: return rest && !sign;
	case SOFTFP_NEAREST_AWAY: return rest >= TOP;
	case SOFTFP_TO_ODD: return rest && !odd;
	case SOFTFP_ROUNDINGS: break;
	}
	return false;
}

#endif
