/*
 * softfp_div.c - divide, square root and remainders of IEEE 754-2019, clauses 5.3.1 and 5.4.1.
 *
 * Called by generated code's slow paths and the IR interpreter, on any vCPU's thread.
 */
#include "emul/jit/softfp.h"

#include "emul/jit/softfp_parts.h"

/* a / b for significands in the upper halves: 62 bits or more, for F80 64 more; last one jammed. */
static u128 divide_halves(enum softfp_format f, u128 a, u128 b)
{
	uint64_t d = b >> 64;
	u128 n = a >> 1, q = n / d, r = n % d;

	if (f != SOFTFP_F80)
		return q << 64 | (r != 0);
	r <<= 64;
	return q << 64 | r / d | (r % d != 0);
}

/* a / b to 120 bits, one at a time. a < 2 b; the last bit is jammed. */
static u128 divide_wide(u128 a, u128 b)
{
	u128 q = 0, r = a >> 1;

	b >>= 1;
	for (unsigned i = 0; i < 120; i++) {
		q <<= 1;
		if (r >= b) {
			r -= b;
			q |= 1;
		}
		r <<= 1;
	}
	return q << 8 | (r != 0);
}

static softfp_bits divide(struct softfp_env *env, enum softfp_format f,
			  const struct softfp_parts *a, const struct softfp_parts *b)
{
	struct softfp_parts q = { .class = PART_FINITE,
				  .sign = a->sign != b->sign,
				  .exp = a->exp - b->exp };
	unsigned zeros;

	if (f != SOFTFP_F128)
		q.frac = divide_halves(f, a->frac, b->frac);
	else
		q.frac = divide_wide(a->frac, b->frac);
	zeros = lz128(q.frac);
	q.frac <<= zeros;
	q.exp -= zeros;
	return softfp_pack(env, f, &q);
}

softfp_bits softfp_div(struct softfp_env *env, enum softfp_format f, softfp_bits a, softfp_bits b)
{
	struct softfp_parts x = softfp_unpack(env, f, a), y = softfp_unpack(env, f, b);
	bool sign = x.sign != y.sign;

	if (part_is_nan(&x) || part_is_nan(&y))
		return softfp_nan2(env, f, &x, &y);
	if (x.class == y.class && x.class != PART_FINITE)
		return softfp_invalid(env, f);
	if (y.class == PART_ZERO && x.class == PART_FINITE)
		softfp_raise(env, SOFTFP_DIVZERO);
	else if (x.denormal || y.denormal)
		softfp_raise(env, SOFTFP_DENORMAL);
	if (x.class == PART_INF || y.class == PART_ZERO)
		return softfp_inf(f, sign);
	if (x.class == PART_ZERO || y.class == PART_INF)
		return softfp_zero(f, sign);
	return divide(env, f, &x, &y);
}

/* The root of a 32-bit number, bit by bit. */
static uint32_t root32(uint32_t v)
{
	uint32_t root = 0, rest = 0;

	for (unsigned i = 0; i < 16; i++) {
		rest = rest << 2 | v >> 30;
		v <<= 2;
		root <<= 1;
		if (rest > root << 1) {
			rest -= (root << 1) + 1;
			root |= 1;
		}
	}
	return root;
}

/*
 * Zimmermann, "Karatsuba Square Root" (INRIA RR-3805, 1999): the root of the upper half gives half
 * the bits, one division the others, and the guess is at most one too big. Bit 63 or 62 is set.
 */
static uint32_t root64(uint64_t v)
{
	uint64_t high = root32(v >> 32), rest = (v >> 32) - high * high;
	uint64_t n = rest << 16 | (v >> 16 & 0xffff), q = n / (2 * high);
	uint64_t root = (high << 16) + q;
	int64_t left = (int64_t)((n % (2 * high)) << 16 | (v & 0xffff)) - (int64_t)(q * q);

	return root - (left < 0);
}

/*
 * The same one size up, with two bits more: the last one is jammed, and the one before tells
 * whether half a unit of the root is reached, which it is when more than the root is left.
 */
static u128 root128(u128 v)
{
	uint64_t high = root64(v >> 64), rest = (v >> 64) - high * high;
	u128 n = (u128)rest << 32 | (uint32_t)(v >> 32), q = n / (2 * high);
	u128 root = ((u128)high << 32) + q;
	__int128 left = (__int128)((n % (2 * high)) << 32 | (uint32_t)v) - (__int128)(q * q);

	if (left < 0) {
		root--;
		left += 2 * (__int128)root + 1;
	}
	return root << 64 | (u128)(left > (__int128)root) << 63 | (left != 0);
}

/* 118 bits of the root of v * 2^128, one at a time; the last bit of the result is jammed. */
static u128 root_wide(u128 v)
{
	u128 root = 0, rest = 0;

	for (unsigned i = 0; i < 118; i++) {
		rest = rest << 2 | v >> 126;
		v <<= 2;
		root <<= 1;
		if (rest > root << 1) {
			rest -= (root << 1) + 1;
			root |= 1;
		}
	}
	return root << 10 | (rest || v);
}

softfp_bits softfp_sqrt(struct softfp_env *env, enum softfp_format f, softfp_bits a)
{
	struct softfp_parts x = softfp_unpack(env, f, a);
	u128 v;

	if (part_is_nan(&x))
		return softfp_nan1(env, f, &x);
	if (x.class == PART_ZERO)
		return softfp_zero(f, x.sign);
	if (x.sign)
		return softfp_invalid(env, f);
	if (x.class == PART_INF)
		return softfp_inf(f, false);
	if (x.denormal)
		softfp_raise(env, SOFTFP_DENORMAL);
	/* An even exponent needs the significand in [1/4, 1/2) of the range, an odd one in the
	 * rest. */
	v = x.exp & 1 ? x.frac : x.frac >> 1;
	x.exp = (x.exp - (x.exp & 1)) / 2;
	x.frac = f == SOFTFP_F128 ? root_wide(v) : root128(v);
	return softfp_pack(env, f, &x);
}

/* Integer division of significands 2^d apart: shift and subtract. Returns what is left of r. */
static u128 reduce(u128 r, u128 b, int d, uint64_t *quotient)
{
	*quotient = 0;
	for (int i = d; i >= 0; i--) {
		*quotient <<= 1;
		if (r >= b) {
			r -= b;
			*quotient |= 1;
		}
		if (i)
			r <<= 1;
	}
	return r;
}

/* |a| modulo |b| * 2^up, both finite; the sign follows a, or turns when rounded to nearest. */
static struct softfp_parts remainder_parts(const struct softfp_parts *a,
					   const struct softfp_parts *b, int up, bool nearest,
					   uint64_t *quotient)
{
	int d = a->exp - b->exp - up;
	u128 r = a->frac >> 1, m = b->frac >> 1;
	struct softfp_parts p = *a;
	unsigned zeros;

	*quotient = 0;
	if (d < -1 || (d == -1 && !nearest))
		return p;
	if (d == -1)
		r >>= 1;
	else
		r = reduce(r, m, d, quotient);
	if (nearest && (r > m - r || (r == m - r && *quotient & 1))) {
		r = m - r;
		p.sign = !p.sign;
		++*quotient;
	}
	if (!r)
		return (struct softfp_parts){ .class = PART_ZERO, .sign = a->sign };
	zeros = lz128(r);
	p.frac = r << zeros;
	p.exp = b->exp + up + 1 - (int)zeros;
	return p;
}

static bool rem_special(struct softfp_env *env, enum softfp_format f, const struct softfp_parts *x,
			const struct softfp_parts *y, softfp_bits *result)
{
	if (part_is_nan(x) || part_is_nan(y)) {
		*result = softfp_nan2(env, f, x, y);
		return true;
	}
	if (x->class == PART_INF || y->class == PART_ZERO) {
		*result = softfp_invalid(env, f);
		return true;
	}
	if (x->denormal || y->denormal)
		softfp_raise(env, SOFTFP_DENORMAL);
	if (x->class == PART_FINITE && y->class == PART_FINITE)
		return false;
	*result = softfp_pack_full(env, f, x);
	return true;
}

softfp_bits softfp_rem(struct softfp_env *env, enum softfp_format f, softfp_bits a, softfp_bits b,
		       enum softfp_quotient kind)
{
	struct softfp_parts x = softfp_unpack(env, f, a), y = softfp_unpack(env, f, b), r;
	softfp_bits result;
	uint64_t quotient;

	if (rem_special(env, f, &x, &y, &result))
		return result;
	r = remainder_parts(&x, &y, 0, kind == SOFTFP_QUOTIENT_NEAREST, &quotient);
	return softfp_pack_full(env, f, &r);
}

/* Intel SDM: exponents 64 and more apart are brought nearer by 32 to 63; we take 32 + d mod 32. */
struct softfp_remainder softfp_rem_partial(struct softfp_env *env, enum softfp_format f,
					   softfp_bits a, softfp_bits b, enum softfp_quotient kind)
{
	struct softfp_parts x = softfp_unpack(env, f, a), y = softfp_unpack(env, f, b), r;
	struct softfp_remainder result = { 0 };
	int d = x.exp - y.exp;

	if (rem_special(env, f, &x, &y, &result.value))
		return result;
	result.partial = d >= 64;
	r = remainder_parts(&x, &y, result.partial ? d - (32 + d % 32) : 0,
			    kind == SOFTFP_QUOTIENT_NEAREST && !result.partial, &result.quotient);
	if (result.partial)
		result.quotient = 0;
	result.value = softfp_pack_full(env, f, &r);
	return result;
}
