/*
 * softfp_compare.c - comparison, minimum and maximum, classes: IEEE 754-2019,
 * clauses 5.11, 9.6, 5.7.
 *
 * Called by generated code's slow paths and the IR interpreter, on any vCPU's thread.
 */
#include "emul/jit/softfp.h"

#include "emul/jit/softfp_parts.h"

static enum softfp_order by_magnitude(const struct softfp_parts *a, const struct softfp_parts *b)
{
	if (a->class != b->class)
		return a->class < b->class ? SOFTFP_LESS : SOFTFP_GREATER;
	if (a->class != PART_FINITE)
		return SOFTFP_EQUAL;
	if (a->exp != b->exp)
		return a->exp < b->exp ? SOFTFP_LESS : SOFTFP_GREATER;
	if (a->frac != b->frac)
		return a->frac < b->frac ? SOFTFP_LESS : SOFTFP_GREATER;
	return SOFTFP_EQUAL;
}

/* Neither is a NaN. */
static enum softfp_order order_of(const struct softfp_parts *a, const struct softfp_parts *b)
{
	if (a->class == PART_ZERO && b->class == PART_ZERO)
		return SOFTFP_EQUAL;
	if (a->sign != b->sign)
		return a->sign ? SOFTFP_LESS : SOFTFP_GREATER;
	return a->sign ? by_magnitude(b, a) : by_magnitude(a, b);
}

static enum softfp_order compare(struct softfp_env *env, enum softfp_format f, softfp_bits a,
				 softfp_bits b, bool signalling)
{
	struct softfp_parts x = softfp_unpack(env, f, a), y = softfp_unpack(env, f, b);

	if (part_is_nan(&x) || part_is_nan(&y)) {
		if (signalling || x.class == PART_SNAN || y.class == PART_SNAN)
			softfp_raise(env, SOFTFP_INVALID);
		return SOFTFP_UNORDERED;
	}
	if (x.denormal || y.denormal)
		softfp_raise(env, SOFTFP_DENORMAL);
	return order_of(&x, &y);
}

enum softfp_order softfp_compare_quiet(struct softfp_env *env, enum softfp_format f, softfp_bits a,
				       softfp_bits b)
{
	return compare(env, f, a, b, false);
}

enum softfp_order softfp_compare(struct softfp_env *env, enum softfp_format f, softfp_bits a,
				 softfp_bits b)
{
	return compare(env, f, a, b, true);
}

/* With at least one NaN: does a NaN come out? If not, the number among the two does. */
static bool nan_comes_out(const struct softfp_parts *x, const struct softfp_parts *y,
			  enum softfp_minmax kind)
{
	bool both = part_is_nan(x) && part_is_nan(y);

	switch (kind) {
	case SOFTFP_NUMBER_2019: return both;
	case SOFTFP_NUMBER_2008:
	case SOFTFP_MAGNITUDE_2008: return both || x->class == PART_SNAN || y->class == PART_SNAN;
	case SOFTFP_NAN_WINS: return true;
	case SOFTFP_OR_SECOND: break;
	}
	return false;
}

/* Zeros have an order here: -0 is the lesser. */
static bool first_is_less(const struct softfp_parts *x, const struct softfp_parts *y)
{
	enum softfp_order o = order_of(x, y);

	return o == SOFTFP_LESS || (o == SOFTFP_EQUAL && x->sign);
}

/* Is the first the one wanted? Neither is a NaN. */
static bool first_wins(const struct softfp_parts *x, const struct softfp_parts *y,
		       enum softfp_minmax kind, bool max)
{
	enum softfp_order o = by_magnitude(x, y);

	if (kind == SOFTFP_OR_SECOND)
		return order_of(x, y) == (max ? SOFTFP_GREATER : SOFTFP_LESS);
	if (kind == SOFTFP_MAGNITUDE_2008 && o != SOFTFP_EQUAL)
		return (o == SOFTFP_LESS) != max;
	return first_is_less(x, y) != max;
}

static softfp_bits minmax(struct softfp_env *env, enum softfp_format f, softfp_bits a,
			  softfp_bits b, enum softfp_minmax kind, bool max)
{
	struct softfp_parts x = softfp_unpack(env, f, a), y = softfp_unpack(env, f, b);
	softfp_bits sign = softfp_zero(f, true);
	bool first, nan = part_is_nan(&x) || part_is_nan(&y);

	if (nan && nan_comes_out(&x, &y, kind))
		return softfp_nan2(env, f, &x, &y);
	if (nan && (kind == SOFTFP_OR_SECOND || x.class == PART_SNAN || y.class == PART_SNAN))
		softfp_raise(env, SOFTFP_INVALID);
	else if (!nan && (x.denormal || y.denormal))
		softfp_raise(env, SOFTFP_DENORMAL);
	if (nan)
		first = kind != SOFTFP_OR_SECOND && part_is_nan(&y);
	else
		first = first_wins(&x, &y, kind, max);
	/* As it came in, but for what was flushed. */
	if ((first ? &x : &y)->class == PART_ZERO)
		return softfp_zero(f, (first ? &x : &y)->sign);
	return (first ? a : b) & (sign | (sign - 1));
}

softfp_bits softfp_min(struct softfp_env *env, enum softfp_format f, softfp_bits a, softfp_bits b,
		       enum softfp_minmax kind)
{
	return minmax(env, f, a, b, kind, false);
}

softfp_bits softfp_max(struct softfp_env *env, enum softfp_format f, softfp_bits a, softfp_bits b,
		       enum softfp_minmax kind)
{
	return minmax(env, f, a, b, kind, true);
}

enum softfp_class softfp_classify(const struct softfp_env *env, enum softfp_format f, softfp_bits a)
{
	struct softfp_env look = { .quiet_inverted = env->quiet_inverted };
	struct softfp_parts p = softfp_unpack(&look, f, a);

	switch ((enum part_class)p.class) {
	case PART_ZERO: return p.sign ? SOFTFP_NEG_ZERO : SOFTFP_POS_ZERO;
	case PART_INF: return p.sign ? SOFTFP_NEG_INF : SOFTFP_POS_INF;
	case PART_QNAN: return SOFTFP_QNAN;
	case PART_SNAN: return SOFTFP_SNAN;
	case PART_FINITE: break;
	}
	if (p.denormal)
		return p.sign ? SOFTFP_NEG_SUBNORMAL : SOFTFP_POS_SUBNORMAL;
	return p.sign ? SOFTFP_NEG_NORMAL : SOFTFP_POS_NORMAL;
}
