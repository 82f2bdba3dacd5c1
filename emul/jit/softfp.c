/*
 * softfp.c - taking numbers apart, and putting them together again rounded.
 *
 * Used by the other softfp*.c, on any thread. Section numbers are those of IEEE 754-2019.
 */
#include "emul/jit/softfp.h"

#include "emul/jit/softfp_parts.h"

/* Table 3.5; F80: Intel SDM volume 1, section 4.2.2. */
const struct softfp_layout softfp_layouts[SOFTFP_FORMATS] = {
	[SOFTFP_F16] = { 5, 10, 11, 15 },        [SOFTFP_F32] = { 8, 23, 24, 127 },
	[SOFTFP_F64] = { 11, 52, 53, 1023 },     [SOFTFP_F80] = { 15, 64, 64, 16383 },
	[SOFTFP_F128] = { 15, 112, 113, 16383 },
};

static softfp_bits encode(enum softfp_format f, bool sign, unsigned biased, u128 frac)
{
	const struct softfp_layout *l = &softfp_layouts[f];
	u128 stored = frac >> (128 - l->precision);

	if (f != SOFTFP_F80)
		stored &= ((u128)1 << l->frac_bits) - 1;
	return ((u128)sign << l->exp_bits | biased) << l->frac_bits | stored;
}

softfp_bits softfp_zero(enum softfp_format f, bool sign)
{
	return encode(f, sign, 0, 0);
}

softfp_bits softfp_inf(enum softfp_format f, bool sign)
{
	return encode(f, sign, (1u << softfp_layouts[f].exp_bits) - 1, TOP);
}

softfp_bits softfp_default_nan(const struct softfp_env *env, enum softfp_format f)
{
	u128 frac = TOP | TOP >> 1;

	if (env->nan_ones)
		frac = ~(u128)0;
	if (env->quiet_inverted)
		frac = ~(TOP >> 1);
	return encode(f, env->nan_negative, (1u << softfp_layouts[f].exp_bits) - 1, frac);
}

softfp_bits softfp_invalid(struct softfp_env *env, enum softfp_format f)
{
	softfp_raise(env, SOFTFP_INVALID);
	return softfp_default_nan(env, f);
}

/* Intel SDM volume 1, section 8.2.2: with the leading one missing it is no number (since the 387).
 */
static bool f80_is_invalid(unsigned biased, u128 stored)
{
	return biased && !(stored >> 63);
}

static void unpack_special(const struct softfp_env *env, struct softfp_parts *p)
{
	bool top = (p->frac >> 126) & 1;

	if (!(p->frac << 1))
		p->class = PART_INF;
	else
		p->class = top != env->quiet_inverted ? PART_QNAN : PART_SNAN;
}

static void unpack_subnormal(struct softfp_env *env, struct softfp_parts *p)
{
	unsigned zeros;

	if (p->frac == 0 || env->flush_inputs) {
		if (p->frac)
			softfp_raise(env, SOFTFP_FLUSHED);
		p->class = PART_ZERO;
		return;
	}
	zeros = lz128(p->frac);
	p->frac <<= zeros;
	p->exp -= zeros;
	p->denormal = true;
}

static struct softfp_parts unpack_any(struct softfp_env *env, enum softfp_format f, softfp_bits v)
{
	const struct softfp_layout *l = &softfp_layouts[f];
	unsigned max = (1u << l->exp_bits) - 1;
	unsigned biased = (unsigned)(v >> l->frac_bits) & max;
	u128 stored = v & (((u128)1 << l->frac_bits) - 1);
	struct softfp_parts p = { .class = PART_FINITE };

	p.sign = (v >> (l->frac_bits + l->exp_bits)) & 1;
	p.frac = stored << (128 - l->precision);
	p.exp = (int)biased - l->bias;
	if (f == SOFTFP_F80 && f80_is_invalid(biased, stored)) {
		p.class = PART_SNAN;
		p.invalid = true;
	} else if (biased == 0) {
		p.exp = 1 - l->bias;
		unpack_subnormal(env, &p);
	} else {
		p.frac |= TOP;
		if (biased == max)
			unpack_special(env, &p);
	}
	return p;
}

/* The common case, normal numbers of at most 64 bits, is worth a way of its own. */
struct softfp_parts softfp_unpack(struct softfp_env *env, enum softfp_format f, softfp_bits v)
{
	const struct softfp_layout *l = &softfp_layouts[f];
	unsigned max = (1u << l->exp_bits) - 1;
	uint64_t low = v;
	unsigned biased;

	if (!is_narrow(f))
		return unpack_any(env, f, v);
	biased = (unsigned)(low >> l->frac_bits) & max;
	if (biased == 0 || biased == max)
		return unpack_any(env, f, v);
	return (struct softfp_parts){
		.frac = TOP | (u128)(low << (64 - l->precision)) << 64,
		.exp = (int)biased - l->bias,
		.class = PART_FINITE,
		.sign = low >> (l->frac_bits + l->exp_bits) & 1,
	};
}

/* Clause 7.4: infinity or the largest number, as the rounding mode looks at it. */
static softfp_bits pack_overflow(struct softfp_env *env, enum softfp_format f, bool sign,
				 unsigned precision, int emax)
{
	enum softfp_rounding r = env->rounding;
	bool to_inf = r == SOFTFP_NEAREST_EVEN || r == SOFTFP_NEAREST_AWAY ||
		      (r == SOFTFP_UP && !sign) || (r == SOFTFP_DOWN && sign);

	env->flags &= ~SOFTFP_ROUNDED_UP;
	softfp_raise(env, SOFTFP_OVERFLOW | SOFTFP_INEXACT | (to_inf ? SOFTFP_ROUNDED_UP : 0));
	if (to_inf)
		return softfp_inf(f, sign);
	return encode(f, sign, emax + softfp_layouts[f].bias, ~(u128)0 << (128 - precision));
}

static softfp_bits pack_flushed(struct softfp_env *env, enum softfp_format f, bool sign)
{
	softfp_raise(env, SOFTFP_TINY | SOFTFP_UNDERFLOW);
	if (env->flush_inexact)
		softfp_raise(env, SOFTFP_INEXACT);
	return softfp_zero(f, sign);
}

/* Give a subnormal of the narrower range its leading one, where the wider format has room for it.
 */
static softfp_bits encode_wider(enum softfp_format f, bool sign, int exp, u128 frac)
{
	unsigned zeros;

	if (!frac)
		return softfp_zero(f, sign);
	zeros = lz128(frac);
	return encode(f, sign, exp - (int)zeros + softfp_layouts[f].bias, frac << zeros);
}

static unsigned precision_of(const struct softfp_env *env, enum softfp_format f)
{
	if (f == SOFTFP_F80 && env->narrow == SOFTFP_24_BITS)
		return 24;
	if (f == SOFTFP_F80 && env->narrow == SOFTFP_53_BITS)
		return 53;
	if (f == SOFTFP_F64 && env->narrow == SOFTFP_AS_F32)
		return 24;
	return softfp_layouts[f].precision;
}

/* Clause 7.5: tiny after rounding means that the smallest normal number is not reached even so. */
static bool is_tiny(const struct softfp_env *env, const struct softfp_parts *p, unsigned precision,
		    int emin)
{
	u128 kept = ~(u128)0 << (128 - precision);

	if (p->exp >= emin)
		return false;
	if (env->tiny_before || p->exp < emin - 1 || (p->frac & kept) != kept)
		return true;
	return !rounds_up(env->rounding, p->sign, true, p->frac << precision);
}

static softfp_bits pack_finite(struct softfp_env *env, enum softfp_format f,
			       const struct softfp_parts *p)
{
	bool as_f32 = f == SOFTFP_F64 && env->narrow == SOFTFP_AS_F32;
	int emax = softfp_layouts[as_f32 ? SOFTFP_F32 : f].bias, emin = 1 - emax, exp = p->exp;
	unsigned precision = precision_of(env, f);
	bool tiny = is_tiny(env, p, precision, emin), odd;
	u128 frac = p->frac, unit = (u128)1 << (128 - precision), rest;

	if (tiny && env->flush_results)
		return pack_flushed(env, f, p->sign);
	if (tiny)
		softfp_raise(env, SOFTFP_TINY);
	if (exp < emin) {
		frac = shift_jam(frac, emin - exp);
		exp = emin;
	}
	odd = (frac & unit) != 0;
	rest = frac << precision;
	frac &= -unit;
	if (rest)
		softfp_raise(env, SOFTFP_INEXACT | (tiny ? SOFTFP_UNDERFLOW : 0));
	if (rounds_up(env->rounding, p->sign, odd, rest)) {
		softfp_raise(env, SOFTFP_ROUNDED_UP);
		frac += unit;
		if (!frac) {
			frac = TOP;
			exp++;
		}
	}
	if (exp > emax)
		return pack_overflow(env, f, p->sign, precision, emax);
	if (as_f32)
		return encode_wider(f, p->sign, exp, frac);
	return encode(f, p->sign, frac & TOP ? exp + emax : 0, frac);
}

/* The common case again: a normal result of at most 64 bits that cannot overflow. */
static softfp_bits pack_normal(struct softfp_env *env, const struct softfp_layout *l,
			       const struct softfp_parts *p)
{
	unsigned below = 64 - l->precision;
	uint64_t frac = (uint64_t)(p->frac >> 64) | ((uint64_t)p->frac != 0);
	uint64_t rest = frac << l->precision, kept = frac >> below, bits;
	bool up = rounds_up(env->rounding, p->sign, kept & 1, (u128)rest << 64);

	if (rest)
		softfp_raise(env, SOFTFP_INEXACT | (up ? SOFTFP_ROUNDED_UP : 0));
	/* The leading one, and a carry out of the fraction, count up the exponent. */
	bits = ((uint64_t)p->sign << l->exp_bits | (unsigned)(p->exp + l->bias - 1))
	       << l->frac_bits;
	return bits + kept + up;
}

softfp_bits softfp_pack(struct softfp_env *env, enum softfp_format f, const struct softfp_parts *p)
{
	const struct softfp_layout *l = &softfp_layouts[f];

	switch ((enum part_class)p->class) {
	case PART_ZERO: return softfp_zero(f, p->sign);
	case PART_FINITE:
		if (is_narrow(f) && !env->narrow && p->exp > -l->bias && p->exp < l->bias)
			return pack_normal(env, l, p);
		return pack_finite(env, f, p);
	case PART_INF: return softfp_inf(f, p->sign);
	case PART_QNAN:
	case PART_SNAN: break;
	}
	return encode(f, p->sign, (1u << l->exp_bits) - 1, p->frac);
}

softfp_bits softfp_pack_full(struct softfp_env *env, enum softfp_format f,
			     const struct softfp_parts *p)
{
	uint8_t narrow = env->narrow;
	softfp_bits bits;

	if (f == SOFTFP_F80)
		env->narrow = SOFTFP_FULL;
	bits = softfp_pack(env, f, p);
	env->narrow = narrow;
	return bits;
}
