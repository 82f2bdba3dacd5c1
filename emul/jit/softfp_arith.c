/*
 * softfp_arith.c - add, subtract, multiply, fused multiply-add and scale of IEEE 754-2019, clauses
 * 5.3.3 and 5.4.1.
 *
 * Called by generated code's slow paths and the IR interpreter, on any vCPU's thread.
 */
#include "emul/jit/softfp.h"

#include "emul/jit/softfp_parts.h"

/* A number of 256 bits: what the product of two significands takes. */
struct u256 {
	u128 hi, lo;
};

static void note_denormals(struct softfp_env *env, const struct softfp_parts *a,
			   const struct softfp_parts *b)
{
	if (a->denormal || b->denormal)
		softfp_raise(env, SOFTFP_DENORMAL);
}

/* Clause 6.3: an exact sum of zero is +0, but -0 when rounding down. */
static struct softfp_parts zero_sum(const struct softfp_env *env)
{
	return (struct softfp_parts){ .class = PART_ZERO, .sign = env->rounding == SOFTFP_DOWN };
}

struct softfp_parts softfp_sum(const struct softfp_env *env, struct softfp_parts a,
			       struct softfp_parts b)
{
	unsigned zeros;

	if (a.exp < b.exp || (a.exp == b.exp && a.frac < b.frac)) {
		struct softfp_parts t = a;

		a = b;
		b = t;
	}
	b.frac = shift_jam(b.frac, a.exp - b.exp);
	if (a.sign == b.sign) {
		a.frac += b.frac;
		if (a.frac < b.frac) {
			a.frac = TOP | shift_jam(a.frac, 1);
			a.exp++;
		}
		return a;
	}
	a.frac -= b.frac;
	if (!a.frac)
		return zero_sum(env);
	zeros = lz128(a.frac);
	a.frac <<= zeros;
	a.exp -= zeros;
	return a;
}

static softfp_bits add_parts(struct softfp_env *env, enum softfp_format f,
			     const struct softfp_parts *a, const struct softfp_parts *b)
{
	struct softfp_parts sum;

	if (a->class == PART_INF && b->class == PART_INF && a->sign != b->sign)
		return softfp_invalid(env, f);
	note_denormals(env, a, b);
	if (a->class == PART_FINITE && b->class == PART_FINITE)
		sum = softfp_sum(env, *a, *b);
	else if (a->class == PART_ZERO && b->class == PART_ZERO)
		sum = a->sign == b->sign ? *a : zero_sum(env);
	else
		sum = a->class >= b->class ? *a : *b;
	return softfp_pack(env, f, &sum);
}

softfp_bits softfp_add(struct softfp_env *env, enum softfp_format f, softfp_bits a, softfp_bits b)
{
	struct softfp_parts x = softfp_unpack(env, f, a), y = softfp_unpack(env, f, b);

	if (part_is_nan(&x) || part_is_nan(&y))
		return softfp_nan2(env, f, &x, &y);
	return add_parts(env, f, &x, &y);
}

softfp_bits softfp_sub(struct softfp_env *env, enum softfp_format f, softfp_bits a, softfp_bits b)
{
	struct softfp_parts x = softfp_unpack(env, f, a), y = softfp_unpack(env, f, b);

	if (part_is_nan(&x) || part_is_nan(&y))
		return softfp_nan2(env, f, &x, &y);
	y.sign = !y.sign;
	return add_parts(env, f, &x, &y);
}

static struct u256 multiply(u128 a, u128 b)
{
	uint64_t ah = a >> 64, al = a, bh = b >> 64, bl = b;
	u128 low = (u128)al * bl, mid1 = (u128)ah * bl, mid2 = (u128)al * bh;
	u128 mid = (low >> 64) + (uint64_t)mid1 + (uint64_t)mid2;

	return (struct u256){
		.hi = (u128)ah * bh + (mid1 >> 64) + (mid2 >> 64) + (mid >> 64),
		.lo = mid << 64 | (uint64_t)low,
	};
}

/* The exact product of two finite numbers: the sign, the exponent, and 256 bits that start at TOP.
 */
static struct softfp_parts product(enum softfp_format f, const struct softfp_parts *a,
				   const struct softfp_parts *b, u128 *low)
{
	struct softfp_parts p = { .class = PART_FINITE,
				  .sign = a->sign != b->sign,
				  .exp = a->exp + b->exp + 1 };
	struct u256 w = { .lo = 0 };

	if (is_narrow(f))
		w.hi = (a->frac >> 64) * (b->frac >> 64);
	else
		w = multiply(a->frac, b->frac);
	if (!(w.hi & TOP)) {
		w.hi = w.hi << 1 | w.lo >> 127;
		w.lo <<= 1;
		p.exp--;
	}
	p.frac = w.hi;
	*low = w.lo;
	return p;
}

softfp_bits softfp_mul(struct softfp_env *env, enum softfp_format f, softfp_bits a, softfp_bits b)
{
	struct softfp_parts x = softfp_unpack(env, f, a), y = softfp_unpack(env, f, b), p;
	bool inf = x.class == PART_INF || y.class == PART_INF;
	bool zero = x.class == PART_ZERO || y.class == PART_ZERO;
	u128 low;

	if (part_is_nan(&x) || part_is_nan(&y))
		return softfp_nan2(env, f, &x, &y);
	if (inf && zero)
		return softfp_invalid(env, f);
	note_denormals(env, &x, &y);
	if (inf)
		return softfp_inf(f, x.sign != y.sign);
	if (zero)
		return softfp_zero(f, x.sign != y.sign);
	p = product(f, &x, &y, &low);
	p.frac |= low != 0;
	return softfp_pack(env, f, &p);
}

static struct u256 shift_jam256(struct u256 v, unsigned n)
{
	if (n >= 256)
		return (struct u256){ .lo = v.hi || v.lo };
	if (n >= 128)
		return (struct u256){ .lo = shift_jam(v.hi, n - 128) | (v.lo != 0) };
	if (!n)
		return v;
	return (struct u256){ .hi = v.hi >> n, .lo = v.hi << (128 - n) | shift_jam(v.lo, n) };
}

static bool below256(struct u256 a, struct u256 b)
{
	return a.hi < b.hi || (a.hi == b.hi && a.lo < b.lo);
}

/* softfp_sum() of a product with more than 128 bits and an addend. */
static struct softfp_parts wide_sum(const struct softfp_env *env, struct softfp_parts p, u128 low,
				    const struct softfp_parts *c)
{
	struct u256 x = { p.frac, low }, y = { c->frac, 0 };
	bool swap = p.exp < c->exp || (p.exp == c->exp && below256(x, y));
	struct u256 big = swap ? y : x, small = swap ? x : y, r;
	unsigned zeros;

	small = shift_jam256(small, swap ? c->exp - p.exp : p.exp - c->exp);
	p.exp = swap ? c->exp : p.exp;
	if (p.sign == c->sign) {
		r.lo = big.lo + small.lo;
		r.hi = big.hi + small.hi + (r.lo < big.lo);
		p.frac = r.hi | (r.lo != 0);
		if (r.hi < big.hi || (r.hi == big.hi && r.lo < big.lo)) {
			p.frac = TOP | shift_jam(p.frac, 1);
			p.exp++;
		}
		return p;
	}
	r.lo = big.lo - small.lo;
	r.hi = big.hi - small.hi - (big.lo < small.lo);
	if (!r.hi && !r.lo)
		return zero_sum(env);
	zeros = r.hi ? lz128(r.hi) : 128 + lz128(r.lo);
	if (zeros >= 128)
		p.frac = r.lo << (zeros - 128);
	else if (zeros)
		p.frac = r.hi << zeros | r.lo >> (128 - zeros) | (r.lo << zeros != 0);
	else
		p.frac = r.hi | (r.lo != 0);
	p.sign = swap ? c->sign : p.sign;
	p.exp -= zeros;
	return p;
}

/* All three are numbers, a and b finite and not zero. */
static struct softfp_parts fused(const struct softfp_env *env, enum softfp_format f,
				 const struct softfp_parts *a, const struct softfp_parts *b,
				 const struct softfp_parts *c, bool negate)
{
	u128 low;
	struct softfp_parts p = product(f, a, b, &low);

	p.sign ^= negate;
	if (c->class == PART_INF)
		return *c;
	if (c->class == PART_ZERO) {
		p.frac |= low != 0;
		return p;
	}
	if (is_narrow(f))
		return softfp_sum(env, p, *c);
	return wide_sum(env, p, low, c);
}

/* Clause 7.2 c: whether inf * 0 + qNaN is invalid is the implementation's. */
static softfp_bits fma_nan(struct softfp_env *env, enum softfp_format f,
			   const struct softfp_parts *a, const struct softfp_parts *b,
			   const struct softfp_parts *c, bool infzero)
{
	if (infzero && !env->infzero_quiet)
		softfp_raise(env, SOFTFP_INVALID);
	if (infzero && !env->infzero_nan) {
		if (c->class == PART_SNAN)
			softfp_raise(env, SOFTFP_INVALID);
		return softfp_default_nan(env, f);
	}
	return softfp_nan3(env, f, a, b, c);
}

softfp_bits softfp_fma(struct softfp_env *env, enum softfp_format f, softfp_bits a, softfp_bits b,
		       softfp_bits c, unsigned signs)
{
	struct softfp_parts x = softfp_unpack(env, f, a), y = softfp_unpack(env, f, b);
	struct softfp_parts z = softfp_unpack(env, f, c), r;
	bool inf = x.class == PART_INF || y.class == PART_INF;
	bool zero = x.class == PART_ZERO || y.class == PART_ZERO;
	bool negate = signs & SOFTFP_NEGATE_PRODUCT, sign = (x.sign != y.sign) != negate;
	softfp_bits bits;

	if (part_is_nan(&x) || part_is_nan(&y) || part_is_nan(&z))
		return fma_nan(env, f, &x, &y, &z, inf && zero);
	z.sign ^= (signs & SOFTFP_NEGATE_C) != 0;
	if ((inf && zero) || (inf && z.class == PART_INF && z.sign != sign))
		return softfp_invalid(env, f);
	note_denormals(env, &x, &y);
	note_denormals(env, &z, &z);
	if (inf)
		r = (struct softfp_parts){ .class = PART_INF, .sign = sign };
	else if (!zero)
		r = fused(env, f, &x, &y, &z, negate);
	else
		r = z.class != PART_ZERO || z.sign == sign ? z : zero_sum(env);
	bits = softfp_pack(env, f, &r);
	if (signs & SOFTFP_NEGATE_RESULT)
		bits ^= softfp_zero(f, true);
	return bits;
}

softfp_bits softfp_scale(struct softfp_env *env, enum softfp_format f, softfp_bits a, int32_t n)
{
	/* More than the widest range twice over: what is further away rounds the same. */
	const int32_t far = 100000;
	struct softfp_parts x = softfp_unpack(env, f, a);

	if (part_is_nan(&x))
		return softfp_nan1(env, f, &x);
	if (x.denormal)
		softfp_raise(env, SOFTFP_DENORMAL);
	x.exp += n < -far ? -far : n > far ? far : n;
	return softfp_pack_full(env, f, &x);
}
