/*
 * check_softfp_mpfr.c - soft-float against MPFR: results and flags bit for bit, every format,
 * operation and rounding mode. MPFR gives the exact value (or one truncated to 300 bits, and the
 * word that it was); its rint functions do the rounding. NaN operands are other tests' business.
 */
#include "tests/emul/softfp_cases.h"
#include "tests/unit.h"

#ifndef HAVE_MPFR
int main(void)
{
	puts("built without MPFR");
	return 77;
}
#else

#include <mpfr.h>

enum { CASES = 2500, PRECISION = 300 };

enum op { ADD, SUB, MUL, DIV, SQRT, FMA, REM, CONVERT, ROUND, SCALE, OPS };
static const char *const op_names[OPS] = {
	"add", "sub", "mul", "div", "sqrt", "fma", "rem", "convert", "round", "scale",
};

struct reference {
	mpfr_t in[3], exact, scaled, rounded;
	mpz_t z;
	int32_t power; /* for SCALE */
};

static void reference_init(struct reference *m)
{
	for (unsigned i = 0; i < 3; i++)
		mpfr_init2(m->in[i], 128);
	mpfr_inits2(PRECISION, m->exact, m->rounded, (mpfr_ptr)NULL);
	mpfr_init2(m->scaled, PRECISION + 1);
	mpz_init(m->z);
}

static void reference_clear(struct reference *m)
{
	mpfr_clears(m->in[0], m->in[1], m->in[2], m->exact, m->scaled, m->rounded, (mpfr_ptr)NULL);
	mpz_clear(m->z);
	mpfr_free_cache();
}

static void z_from_bits(mpz_t z, softfp_bits v)
{
	uint64_t words[2] = { (uint64_t)v, (uint64_t)(v >> 64) };

	mpz_import(z, 2, -1, sizeof(words[0]), 0, 0, words);
}

static softfp_bits z_to_bits(const mpz_t z)
{
	uint64_t words[2] = { 0, 0 };

	mpz_export(words, NULL, -1, sizeof(words[0]), 0, 0, z);
	return (softfp_bits)words[1] << 64 | words[0];
}

static int bias_of(enum softfp_format f)
{
	return case_mask(case_formats[f].exp_bits - 1);
}

/* The number that the bits stand for. */
static void decode(struct reference *m, mpfr_t x, enum softfp_format f, softfp_bits v)
{
	unsigned stored = case_formats[f].frac_bits, max = case_mask(case_formats[f].exp_bits);
	unsigned biased = (unsigned)(v >> stored) & max;
	softfp_bits sig = v & case_mask(stored);
	bool sign = v >> (stored + case_formats[f].exp_bits) & 1;

	if (biased == max) {
		if (sig & case_mask(case_formats[f].precision - 1))
			mpfr_set_nan(x);
		else
			mpfr_set_inf(x, sign ? -1 : 1);
		return;
	}
	if (biased && f != SOFTFP_F80)
		sig |= (softfp_bits)1 << stored;
	z_from_bits(m->z, sig);
	mpfr_set_z_2exp(x, m->z,
			(int)(biased ? biased : 1) - bias_of(f) - (case_formats[f].precision - 1),
			MPFR_RNDN);
	mpfr_setsign(x, x, sign, MPFR_RNDN);
}

/* scaled = the exact value in units of the last place, rounded to an integer. */
static void round_scaled(struct reference *m, enum softfp_rounding rounding)
{
	switch (rounding) {
	case SOFTFP_NEAREST_EVEN: mpfr_rint(m->rounded, m->scaled, MPFR_RNDN); break;
	case SOFTFP_TO_ZERO: mpfr_trunc(m->rounded, m->scaled); break;
	case SOFTFP_DOWN: mpfr_floor(m->rounded, m->scaled); break;
	case SOFTFP_UP: mpfr_ceil(m->rounded, m->scaled); break;
	case SOFTFP_NEAREST_AWAY: mpfr_round(m->rounded, m->scaled); break;
	default:
		mpfr_trunc(m->rounded, m->scaled);
		mpfr_get_z(m->z, m->rounded, MPFR_RNDZ);
		if (!mpfr_integer_p(m->scaled) && mpz_even_p(m->z))
			mpfr_rint(m->rounded, m->scaled, MPFR_RNDA);
	}
}

static void scale(struct reference *m, int ternary, int unit)
{
	mpfr_mul_2si(m->scaled, m->exact, -unit, MPFR_RNDN);
	if (ternary && mpfr_sgn(m->scaled) > 0)
		mpfr_nextabove(m->scaled);
	else if (ternary)
		mpfr_nextbelow(m->scaled);
}

static softfp_bits encode_inf(enum softfp_format f, bool sign)
{
	softfp_bits v =
	    (softfp_bits)sign << case_formats[f].exp_bits | case_mask(case_formats[f].exp_bits);

	if (f == SOFTFP_F80)
		return (v << 1 | 1) << 63;
	return v << case_formats[f].frac_bits;
}

/* m->rounded units of 2^unit; it fits the precision or is a power of two. */
static softfp_bits encode(struct reference *m, enum softfp_format f, enum softfp_rounding rounding,
			  int unit, uint16_t *flags)
{
	bool sign = mpfr_signbit(m->rounded), away;
	unsigned p = case_formats[f].precision;
	int biased = unit + (int)p - 1 + bias_of(f);
	softfp_bits sig;

	mpfr_get_z(m->z, m->rounded, MPFR_RNDZ);
	sig = z_to_bits(m->z);
	if (sig >> p) {
		sig >>= 1;
		biased++;
	}
	if (biased > 2 * bias_of(f)) {
		away = rounding == SOFTFP_NEAREST_EVEN || rounding == SOFTFP_NEAREST_AWAY ||
		       rounding == (sign ? SOFTFP_DOWN : SOFTFP_UP);
		*flags |= SOFTFP_OVERFLOW | SOFTFP_INEXACT;
		if (away)
			return encode_inf(f, sign);
		return (((softfp_bits)sign << case_formats[f].exp_bits | 2 * bias_of(f))
			<< case_formats[f].frac_bits) |
		       case_mask(f == SOFTFP_F80 ? p : p - 1);
	}
	if (!(sig >> (p - 1)))
		biased = 0;
	if (f != SOFTFP_F80)
		sig &= case_mask(p - 1);
	return ((softfp_bits)sign << case_formats[f].exp_bits | biased)
		   << case_formats[f].frac_bits |
	       sig;
}

/* The correctly rounded result of m->exact (and a bit more, if ternary), with its flags. */
static softfp_bits reference_round(struct reference *m, enum softfp_format f, int ternary,
				   const struct softfp_env *env, uint16_t *flags)
{
	int emin = 1 - bias_of(f), p = case_formats[f].precision, exp;
	bool tiny;

	if (mpfr_zero_p(m->exact))
		return (softfp_bits)mpfr_signbit(m->exact)
		       << (case_formats[f].exp_bits + case_formats[f].frac_bits);
	if (mpfr_inf_p(m->exact))
		return encode_inf(f, mpfr_signbit(m->exact));
	exp = mpfr_get_exp(m->exact) - 1;
	tiny = exp < emin;
	if (tiny && !env->tiny_before) {
		scale(m, ternary, exp - p + 1);
		round_scaled(m, env->rounding);
		tiny = mpfr_get_exp(m->rounded) - 1 + exp - p + 1 < emin;
	}
	exp = MAX(exp, emin) - p + 1;
	scale(m, ternary, exp);
	round_scaled(m, env->rounding);
	if (!mpfr_integer_p(m->scaled))
		*flags |= SOFTFP_INEXACT | (tiny ? SOFTFP_UNDERFLOW : 0);
	return encode(m, f, env->rounding, exp, flags);
}

static int evaluate(struct reference *m, enum op op, enum softfp_rounding rounding, mpfr_rnd_t rnd)
{
	switch (op) {
	case ADD: return mpfr_add(m->exact, m->in[0], m->in[1], rnd);
	case SUB: return mpfr_sub(m->exact, m->in[0], m->in[1], rnd);
	case MUL: return mpfr_mul(m->exact, m->in[0], m->in[1], rnd);
	case DIV: return mpfr_div(m->exact, m->in[0], m->in[1], rnd);
	case SQRT: return mpfr_sqrt(m->exact, m->in[0], rnd);
	case FMA: return mpfr_fma(m->exact, m->in[0], m->in[1], m->in[2], rnd);
	case REM: return mpfr_remainder(m->exact, m->in[0], m->in[1], rnd);
	case CONVERT: return mpfr_set(m->exact, m->in[0], rnd);
	case SCALE: return mpfr_mul_2si(m->exact, m->in[0], m->power, rnd);
	case ROUND:
		mpfr_set(m->scaled, m->in[0], MPFR_RNDN);
		if (mpfr_number_p(m->scaled))
			round_scaled(m, rounding);
		else
			mpfr_set(m->rounded, m->scaled, MPFR_RNDN);
		mpfr_set(m->exact, m->rounded, MPFR_RNDN);
		mpfr_setsign(m->exact, m->exact, mpfr_signbit(m->in[0]), MPFR_RNDN);
		return 0;
	case OPS: break;
	}
	return 0;
}

static softfp_bits expected(struct reference *m, enum op op, enum softfp_format f,
			    const struct softfp_env *env, uint16_t *flags)
{
	int ternary;

	mpfr_clear_flags();
	ternary = evaluate(m, op, env->rounding, MPFR_RNDZ);
	if (mpfr_divby0_p())
		*flags |= SOFTFP_DIVZERO;
	if (mpfr_nan_p(m->exact)) {
		*flags |= SOFTFP_INVALID;
		return softfp_default_nan(env, f);
	}
	if (mpfr_zero_p(m->exact) && env->rounding == SOFTFP_DOWN && op != REM)
		evaluate(m, op, env->rounding, MPFR_RNDD);
	if (op == ROUND && mpfr_number_p(m->in[0]) && !mpfr_integer_p(m->in[0]))
		*flags |= SOFTFP_INEXACT;
	return reference_round(m, f, ternary, env, flags);
}

static softfp_bits calculate(struct softfp_env *env, enum op op, enum softfp_format f,
			     enum softfp_format to, const softfp_bits v[3], int32_t power)
{
	switch (op) {
	case ADD: return softfp_add(env, f, v[0], v[1]);
	case SUB: return softfp_sub(env, f, v[0], v[1]);
	case MUL: return softfp_mul(env, f, v[0], v[1]);
	case DIV: return softfp_div(env, f, v[0], v[1]);
	case SQRT: return softfp_sqrt(env, f, v[0]);
	case FMA: return softfp_fma(env, f, v[0], v[1], v[2], 0);
	case REM: return softfp_rem(env, f, v[0], v[1], SOFTFP_QUOTIENT_NEAREST);
	case CONVERT: return softfp_convert(env, f, to, v[0]);
	case ROUND: return softfp_round_int(env, f, v[0], env->rounding, true);
	case SCALE: return softfp_scale(env, f, v[0], power);
	case OPS: break;
	}
	return 0;
}

static void compare_one(struct reference *m, struct random *r, enum op op, enum softfp_format f,
			enum softfp_rounding rounding)
{
	enum softfp_format to = op == CONVERT ? random_next(r) % SOFTFP_FORMATS : f;
	struct softfp_env env = { .rounding = rounding, .tiny_before = random_next(r) & 1 };
	softfp_bits v[3], want, got;
	uint16_t flags = 0;
	char s[5][40];

	for (unsigned i = 0; i < 3; i++)
		do {
			v[i] = case_operand(r, f);
			decode(m, m->in[i], f, v[i]);
		} while (mpfr_nan_p(m->in[i]));
	/* Nearly equal magnitudes cancel: the hardest sums. */
	if (op == FMA && random_next(r) % 4 == 0) {
		struct softfp_env near = { 0 };

		v[2] = softfp_mul(&near, f, v[0], v[1]) ^ (random_next(r) & 3);
		v[2] ^= (softfp_bits)1 << (case_formats[f].exp_bits + case_formats[f].frac_bits);
		decode(m, m->in[2], f, v[2]);
		if (mpfr_nan_p(m->in[2]) || softfp_classify(&env, f, v[2]) == SOFTFP_SNAN)
			return;
	}
	m->power = (int32_t)random_next(r) >> (2 + random_next(r) % 30);
	want = expected(m, op, to, &env, &flags);
	got = calculate(&env, op, f, to, v, m->power);
	ck_assert_msg(got == want && (env.flags & SOFTFP_IEEE_FLAGS) == flags,
		      "%s %s to %s, mode %u, tiny before %u: %s %s %s\n"
		      "gives %s flags %x, MPFR %s flags %x",
		      op_names[op], case_formats[f].name, case_formats[to].name, rounding,
		      env.tiny_before, case_show(v[0], s[0]), case_show(v[1], s[1]),
		      case_show(v[2], s[2]), case_show(got, s[3]), env.flags & SOFTFP_IEEE_FLAGS,
		      case_show(want, s[4]), flags);
}

START_TEST(every_operation_rounds_as_mpfr_does)
{
	enum softfp_format f = _i;
	struct random r = { 88172645463325252u + _i };
	struct reference m;

	reference_init(&m);
	for (enum op op = 0; op < OPS; op++)
		for (unsigned mode = 0; mode < SOFTFP_ROUNDINGS; mode++)
			for (unsigned i = 0; i < (op == REM ? CASES / 10 : CASES); i++)
				compare_one(&m, &r, op, f, mode);
	reference_clear(&m);
}
END_TEST

/* The reference: rint, then does it fit? */
static void compare_to_int(struct reference *m, struct random *r, enum softfp_format f,
			   bool is_signed, unsigned bits)
{
	enum softfp_rounding rounding = random_next(r) % SOFTFP_ROUNDINGS;
	softfp_bits v = case_operand(r, f);
	struct softfp_env env = { 0 };
	uint64_t got, want;
	uint16_t flags = 0;
	char s[40];

	decode(m, m->in[0], f, v);
	if (mpfr_nan_p(m->in[0]))
		return;
	got = is_signed ? (uint64_t)softfp_to_int(&env, f, v, bits, rounding)
			: softfp_to_uint(&env, f, v, bits, rounding);
	evaluate(m, ROUND, rounding, MPFR_RNDN);
	mpfr_set_ui_2exp(m->scaled, 1, is_signed ? bits - 1 : bits, MPFR_RNDN);
	if (mpfr_cmp(m->rounded, m->scaled) >= 0) {
		flags = SOFTFP_INVALID;
		want = UINT64_MAX >> (64 - bits + is_signed);
	} else if (is_signed ? (mpfr_neg(m->scaled, m->scaled, MPFR_RNDN),
				mpfr_cmp(m->rounded, m->scaled) < 0)
			     : mpfr_sgn(m->rounded) < 0) {
		flags = SOFTFP_INVALID;
		want = is_signed ? -(UINT64_C(1) << (bits - 1)) : 0;
	} else {
		flags = mpfr_integer_p(m->in[0]) ? 0 : SOFTFP_INEXACT;
		want = is_signed ? (uint64_t)mpfr_get_sj(m->rounded, MPFR_RNDZ)
				 : mpfr_get_uj(m->rounded, MPFR_RNDZ);
	}
	ck_assert_msg(got == want && env.flags == flags,
		      "%s %s to %s%u, mode %u: gives %llx flags %x, MPFR %llx flags %x",
		      case_formats[f].name, case_show(v, s), is_signed ? "i" : "u", bits, rounding,
		      (unsigned long long)got, env.flags, (unsigned long long)want, flags);
}

START_TEST(floats_become_the_integers_that_mpfr_says)
{
	static const unsigned widths[] = { 16, 32, 64 };
	struct random r = { 362436069 };
	struct reference m;

	reference_init(&m);
	for (unsigned i = 0; i < 60000; i++)
		compare_to_int(&m, &r, _i, i & 1, widths[i % 3]);
	reference_clear(&m);
}
END_TEST

START_TEST(integers_become_the_floats_that_mpfr_says)
{
	struct random r = { 521288629 };
	struct reference m;

	reference_init(&m);
	for (unsigned i = 0; i < 20000; i++) {
		uint64_t v = case_fraction(&r, 64) >> (random_next(&r) % 64);
		struct softfp_env env = { .rounding = i % SOFTFP_ROUNDINGS };
		softfp_bits want, got;
		uint16_t flags = 0;

		if (i & 1)
			mpfr_set_sj(m.exact, (int64_t)v, MPFR_RNDN);
		else
			mpfr_set_uj(m.exact, v, MPFR_RNDN);
		want = reference_round(&m, _i, 0, &env, &flags);
		got = i & 1 ? softfp_from_int(&env, _i, v) : softfp_from_uint(&env, _i, v);
		ck_assert(got == want);
		ck_assert_uint_eq(env.flags & SOFTFP_IEEE_FLAGS, flags);
	}
	reference_clear(&m);
}
END_TEST

START_TEST(comparison_agrees_with_mpfr)
{
	static const enum softfp_order order[] = { SOFTFP_LESS, SOFTFP_EQUAL, SOFTFP_GREATER };
	struct random r = { 12345678910 };
	struct softfp_env env = { 0 };
	struct reference m;

	reference_init(&m);
	for (unsigned i = 0; i < 50000; i++) {
		softfp_bits a = case_operand(&r, _i), b = i % 4 ? case_operand(&r, _i) : a;
		enum softfp_order want;
		int c;

		decode(&m, m.in[0], _i, a);
		decode(&m, m.in[1], _i, b);
		c = mpfr_cmp(m.in[0], m.in[1]);
		want = mpfr_unordered_p(m.in[0], m.in[1]) ? SOFTFP_UNORDERED
							  : order[(c > 0) - (c < 0) + 1];
		ck_assert_uint_eq(softfp_compare(&env, _i, a, b), want);
		ck_assert_uint_eq(softfp_compare_quiet(&env, _i, a, b), want);
	}
	reference_clear(&m);
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_loop_test(t, every_operation_rounds_as_mpfr_does, 0, SOFTFP_FORMATS);
	tcase_add_loop_test(t, floats_become_the_integers_that_mpfr_says, 0, SOFTFP_FORMATS);
	tcase_add_loop_test(t, integers_become_the_floats_that_mpfr_says, 0, SOFTFP_FORMATS);
	tcase_add_loop_test(t, comparison_agrees_with_mpfr, 0, SOFTFP_FORMATS);
}

int main(void)
{
	return unit_run("softfp_mpfr", cases);
}
#endif
