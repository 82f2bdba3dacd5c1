/*
 * softfp_convert.c - between formats, to integral values, to and from integers: IEEE 754-2019,
 * clauses 5.4.1, 5.4.2, 5.8 and 5.9.
 *
 * Called by generated code's slow paths and the IR interpreter, on any vCPU's thread.
 */
#include "emul/jit/softfp.h"

#include "emul/jit/softfp_parts.h"

softfp_bits softfp_convert(struct softfp_env *env, enum softfp_format from, enum softfp_format to,
			   softfp_bits a)
{
	struct softfp_parts x = softfp_unpack(env, from, a);

	if (part_is_nan(&x))
		return softfp_nan1(env, to, &x);
	if (x.denormal)
		softfp_raise(env, SOFTFP_DENORMAL);
	return softfp_pack_full(env, to, &x);
}

/* The integer nearest in the sense of the rounding mode to a finite number below 2^127. */
static u128 to_integer(const struct softfp_parts *x, enum softfp_rounding rounding, bool *exact)
{
	u128 whole = 0, rest = x->frac;

	if (x->exp >= 0) {
		whole = x->frac >> (127 - x->exp);
		rest = x->exp == 127 ? 0 : x->frac << (x->exp + 1);
	} else {
		rest = shift_jam(rest, -1 - x->exp);
	}
	*exact = rest == 0;
	return whole + rounds_up(rounding, x->sign, whole & 1, rest);
}

softfp_bits softfp_round_int(struct softfp_env *env, enum softfp_format f, softfp_bits a,
			     enum softfp_rounding rounding, bool exact)
{
	struct softfp_parts x = softfp_unpack(env, f, a);
	unsigned zeros;
	bool was_whole;
	u128 whole;

	if (part_is_nan(&x))
		return softfp_nan1(env, f, &x);
	if (x.denormal)
		softfp_raise(env, SOFTFP_DENORMAL);
	if (x.class != PART_FINITE || x.exp >= softfp_layouts[f].precision - 1)
		return softfp_pack_full(env, f, &x);
	whole = to_integer(&x, rounding, &was_whole);
	if (exact && !was_whole)
		softfp_raise(env, SOFTFP_INEXACT);
	if (whole > (x.exp < 0 ? 0 : x.frac >> (127 - x.exp)))
		softfp_raise(env, SOFTFP_ROUNDED_UP);
	if (!whole)
		return softfp_zero(f, x.sign);
	zeros = lz128(whole);
	x.frac = whole << zeros;
	x.exp = 127 - (int)zeros;
	return softfp_pack_full(env, f, &x);
}

/* What a value that does not fit becomes, by the guest's rule. */
static uint64_t misfit(struct softfp_env *env, const struct softfp_parts *x, uint64_t min,
		       uint64_t max, uint64_t indefinite)
{
	bool nan = part_is_nan(x);

	softfp_raise(env, SOFTFP_INVALID);
	switch ((enum softfp_int_rule)env->to_int) {
	case SOFTFP_INT_NAN_MAX: return nan || !x->sign ? max : min;
	case SOFTFP_INT_NAN_ZERO: return nan ? 0 : x->sign ? min : max;
	case SOFTFP_INT_NAN_MIN: return nan || x->sign ? min : max;
	case SOFTFP_INT_NAN_SIGN: return x->sign ? min : max;
	case SOFTFP_INT_INDEFINITE: return indefinite;
	case SOFTFP_INT_ALWAYS_MAX: break;
	}
	return max;
}

/* The magnitude, when it is below 2^64; else false. */
static bool magnitude(const struct softfp_parts *x, enum softfp_rounding rounding, u128 *m,
		      bool *exact)
{
	*m = 0;
	*exact = true;
	if (x->class == PART_ZERO)
		return true;
	if (x->class != PART_FINITE || x->exp >= 64)
		return false;
	*m = to_integer(x, rounding, exact);
	return true;
}

int64_t softfp_to_int(struct softfp_env *env, enum softfp_format f, softfp_bits a, unsigned bits,
		      enum softfp_rounding rounding)
{
	struct softfp_parts x = softfp_unpack(env, f, a);
	uint64_t max = UINT64_MAX >> (65 - bits), min = ~max;
	bool exact;
	u128 m;

	if (!magnitude(&x, rounding, &m, &exact) || m > (u128)max + x.sign)
		return misfit(env, &x, min, max, min);
	if (!exact)
		softfp_raise(env, SOFTFP_INEXACT);
	return x.sign ? -(uint64_t)m : (uint64_t)m;
}

uint64_t softfp_to_uint(struct softfp_env *env, enum softfp_format f, softfp_bits a, unsigned bits,
			enum softfp_rounding rounding)
{
	struct softfp_parts x = softfp_unpack(env, f, a);
	uint64_t max = UINT64_MAX >> (64 - bits);
	bool exact;
	u128 m;

	if (!magnitude(&x, rounding, &m, &exact) || m > max || (x.sign && m))
		return misfit(env, &x, 0, max, max);
	if (!exact)
		softfp_raise(env, SOFTFP_INEXACT);
	return m;
}

static softfp_bits from_magnitude(struct softfp_env *env, enum softfp_format f, bool sign,
				  uint64_t m)
{
	struct softfp_parts p = { .class = PART_FINITE, .sign = sign };
	unsigned zeros;

	if (!m)
		return softfp_zero(f, false);
	zeros = __builtin_clzll(m);
	p.frac = (u128)(m << zeros) << 64;
	p.exp = 63 - (int)zeros;
	return softfp_pack_full(env, f, &p);
}

softfp_bits softfp_from_int(struct softfp_env *env, enum softfp_format f, int64_t v)
{
	return from_magnitude(env, f, v < 0, v < 0 ? -(uint64_t)v : (uint64_t)v);
}

softfp_bits softfp_from_uint(struct softfp_env *env, enum softfp_format f, uint64_t v)
{
	return from_magnitude(env, f, false, v);
}
