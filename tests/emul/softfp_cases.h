/*
 * softfp_cases.h - operands for the tests of soft-float: what goes wrong lives at the edges, so
 * half of them are edges. A seed gives the same numbers everywhere.
 */
#ifndef TESTS_EMUL_SOFTFP_CASES_H
#define TESTS_EMUL_SOFTFP_CASES_H

#include <stdio.h>

#include "base/bytes.h"
#include "emul/jit/softfp.h"

struct random {
	uint64_t state;
};

/* xorshift64*, Vigna 2016. */
static inline uint64_t random_next(struct random *r)
{
	r->state ^= r->state >> 12;
	r->state ^= r->state << 25;
	r->state ^= r->state >> 27;
	return r->state * UINT64_C(0x2545f4914f6cdd1d);
}

static const struct {
	int exp_bits, frac_bits, precision;
	const char *name;
} case_formats[] = {
	[SOFTFP_F16] = { 5, 10, 11, "f16" },      [SOFTFP_F32] = { 8, 23, 24, "f32" },
	[SOFTFP_F64] = { 11, 52, 53, "f64" },     [SOFTFP_F80] = { 15, 64, 64, "f80" },
	[SOFTFP_F128] = { 15, 112, 113, "f128" },
};
_Static_assert(ARRAY_SIZE(case_formats) == SOFTFP_FORMATS, "a format has no name");

static inline softfp_bits case_mask(unsigned bits)
{
	return ((softfp_bits)1 << bits) - 1;
}

/* Runs of ones and zeros, few bits, or anything. */
static inline softfp_bits case_fraction(struct random *r, unsigned bits)
{
	softfp_bits v = (softfp_bits)random_next(r) << 64 | random_next(r);
	unsigned n = random_next(r) % bits;

	switch (random_next(r) % 8) {
	case 0: v = 0; break;
	case 1: v = ~(softfp_bits)0; break;
	case 2: v = (softfp_bits)1 << n; break;
	case 3: v = ~(softfp_bits)0 << n; break;
	case 4: v = case_mask(n); break;
	case 5: v = (v & 7) | ~(softfp_bits)0 << n; break;
	default: break;
	}
	return v & case_mask(bits);
}

static inline unsigned case_exponent(struct random *r, unsigned max)
{
	unsigned k = random_next(r) % 8;

	switch (random_next(r) % 8) {
	case 0: return k % 3;
	case 1: return max - k % 3;
	case 2:
	case 3:
	case 4: return max / 2 - 4 + k;
	case 5: return (max / 2 + random_next(r) % 128 - 64) & max;
	default: return random_next(r) % (max + 1);
	}
}

/* A value of the format. F80 gets its leading one where it belongs. */
static inline softfp_bits case_operand(struct random *r, enum softfp_format f)
{
	unsigned stored = f == SOFTFP_F80 ? 63 : case_formats[f].frac_bits;
	unsigned biased = case_exponent(r, case_mask(case_formats[f].exp_bits));
	softfp_bits v = random_next(r) & 1;

	v = v << case_formats[f].exp_bits | biased;
	if (f == SOFTFP_F80)
		v = v << 1 | (biased != 0);
	return v << stored | case_fraction(r, stored);
}

static inline const char *case_show(softfp_bits v, char buf[40])
{
	snprintf(buf, 40, "%016llx:%016llx", (unsigned long long)(v >> 64), (unsigned long long)v);
	return buf;
}

#endif
