/*
 * check_softfp.c - the rules of soft-float that differ from guest to guest, each from a manual, and
 * laws that need no reference. Rounding itself is compared with MPFR and the host elsewhere.
 */
#include "tests/emul/softfp_cases.h"
#include "tests/unit.h"

#define F32_QNAN_A  0x7fc0000a
#define F32_QNAN_B  0xffc0000b
#define F32_QNAN_C  0x7fc0000c
#define F32_SNAN_A  0x7f80000a
#define F32_SNAN_B  0xff80000b
#define F32_ONE     0x3f800000
#define F32_INF     0x7f800000
#define F32_MINUS   0x80000000
#define F32_MIN     0x00800000 /* smallest normal */
#define F32_DENORM  0x00000003
#define F32_MAX     0x7f7fffff
#define F32_DEFAULT 0x7fc00000

/* "Which NaN" for two operands: Arm ARM, FPProcessNaNs; SPARC V8, appendix N.5; SDM 1, table 4-7.
 */
static const struct {
	enum softfp_nan2 rule;
	uint32_t a, b, result;
} nan2_cases[] = {
	{ SOFTFP_NAN_DEFAULT, F32_QNAN_A, F32_ONE, F32_DEFAULT },
	{ SOFTFP_NAN_DEFAULT, F32_SNAN_A, F32_QNAN_B, F32_DEFAULT },
	{ SOFTFP_NAN_A, F32_QNAN_A, F32_SNAN_B, F32_QNAN_A },
	{ SOFTFP_NAN_A, F32_ONE, F32_SNAN_B, F32_QNAN_B },
	{ SOFTFP_NAN_B, F32_QNAN_A, F32_QNAN_B, F32_QNAN_B },
	{ SOFTFP_NAN_B, F32_SNAN_A, F32_ONE, F32_QNAN_A },
	{ SOFTFP_NAN_SNAN_A, F32_QNAN_A, F32_SNAN_B, F32_QNAN_B },
	{ SOFTFP_NAN_SNAN_A, F32_QNAN_A, F32_QNAN_B, F32_QNAN_A },
	{ SOFTFP_NAN_SNAN_A, F32_SNAN_A, F32_SNAN_B, F32_QNAN_A },
	{ SOFTFP_NAN_SNAN_B, F32_SNAN_A, F32_QNAN_B, F32_QNAN_A },
	{ SOFTFP_NAN_SNAN_B, F32_QNAN_A, F32_QNAN_B, F32_QNAN_B },
	{ SOFTFP_NAN_SNAN_B, F32_SNAN_A, F32_SNAN_B, F32_QNAN_B },
	{ SOFTFP_NAN_LARGER, F32_QNAN_A, F32_QNAN_B, F32_QNAN_B },
	{ SOFTFP_NAN_LARGER, F32_QNAN_A, F32_SNAN_B, F32_QNAN_A },
	{ SOFTFP_NAN_LARGER, 0xffc0000a, F32_QNAN_A, F32_QNAN_A },
};

START_TEST(each_rule_hands_on_its_own_nan)
{
	for (unsigned i = 0; i < ARRAY_SIZE(nan2_cases); i++) {
		struct softfp_env env = { .nan2 = nan2_cases[i].rule };
		uint32_t a = nan2_cases[i].a, b = nan2_cases[i].b, want = nan2_cases[i].result;
		bool signalling = a == F32_SNAN_A || b == F32_SNAN_B;

		ck_assert_uint_eq((uint32_t)softfp_add(&env, SOFTFP_F32, a, b), want);
		ck_assert_uint_eq((uint32_t)softfp_mul(&env, SOFTFP_F32, a, b), want);
		ck_assert_uint_eq((uint32_t)softfp_div(&env, SOFTFP_F32, a, b), want);
		ck_assert_uint_eq(env.flags, signalling ? SOFTFP_INVALID : 0);
	}
}
END_TEST

START_TEST(fused_operands_are_looked_at_in_the_order_of_the_rule)
{
	static const struct {
		enum softfp_nan2 nan2;
		enum softfp_nan3 nan3;
		uint32_t a, b, c, result;
	} rows[] = {
		{ SOFTFP_NAN_A, SOFTFP_NAN_ABC, F32_QNAN_A, F32_QNAN_B, F32_QNAN_C, F32_QNAN_A },
		{ SOFTFP_NAN_A, SOFTFP_NAN_ABC, F32_ONE, F32_QNAN_B, F32_QNAN_C, F32_QNAN_B },
		{ SOFTFP_NAN_A, SOFTFP_NAN_ACB, F32_ONE, F32_QNAN_B, F32_QNAN_C, F32_QNAN_C },
		{ SOFTFP_NAN_A, SOFTFP_NAN_CAB, F32_QNAN_A, F32_QNAN_B, F32_QNAN_C, F32_QNAN_C },
		{ SOFTFP_NAN_A, SOFTFP_NAN_CBA, F32_QNAN_A, F32_QNAN_B, F32_ONE, F32_QNAN_B },
		{ SOFTFP_NAN_SNAN_A, SOFTFP_NAN_CAB, F32_SNAN_A, F32_QNAN_B, F32_QNAN_C,
		  F32_QNAN_A },
		{ SOFTFP_NAN_DEFAULT, SOFTFP_NAN_ABC, F32_QNAN_A, F32_ONE, F32_ONE, F32_DEFAULT },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct softfp_env env = { .nan2 = rows[i].nan2, .nan3 = rows[i].nan3 };

		ck_assert_uint_eq((uint32_t)softfp_fma(&env, SOFTFP_F32, rows[i].a, rows[i].b,
						       rows[i].c, SOFTFP_NEGATE_RESULT),
				  rows[i].result);
	}
}
END_TEST

START_TEST(infinity_times_zero_plus_nan_follows_the_guest)
{
	/* Arm ARM, FPMulAdd: default NaN, invalid. x86: the NaN, no exception. PowerPC: VXIMZ. */
	static const struct {
		bool nan, quiet;
		uint32_t result;
		uint16_t flags;
	} rows[] = {
		{ false, false, F32_DEFAULT, SOFTFP_INVALID },
		{ true, true, F32_QNAN_C, 0 },
		{ true, false, F32_QNAN_C, SOFTFP_INVALID },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct softfp_env env = { .nan2 = SOFTFP_NAN_A,
					  .infzero_nan = rows[i].nan,
					  .infzero_quiet = rows[i].quiet };

		ck_assert_uint_eq((uint32_t)softfp_fma(&env, SOFTFP_F32, F32_INF, 0, F32_QNAN_C, 0),
				  rows[i].result);
		ck_assert_uint_eq(env.flags, rows[i].flags);
	}
}
END_TEST

START_TEST(default_nans_look_as_the_guests_have_them)
{
	static const struct {
		struct softfp_env env;
		uint32_t f32;
		uint64_t f64;
	} rows[] = {
		{ { 0 }, 0x7fc00000, 0x7ff8000000000000 },
		{ { .nan_negative = true }, 0xffc00000, 0xfff8000000000000 },
		{ { .nan_ones = true }, 0x7fffffff, 0x7fffffffffffffff },
		{ { .quiet_inverted = true }, 0x7fbfffff, 0x7ff7ffffffffffff },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct softfp_env env = rows[i].env;

		ck_assert(softfp_div(&env, SOFTFP_F32, 0, 0) == rows[i].f32);
		ck_assert(softfp_div(&env, SOFTFP_F64, 0, 0) == rows[i].f64);
		ck_assert_uint_eq(softfp_classify(&env, SOFTFP_F32, rows[i].f32), SOFTFP_QNAN);
	}
}
END_TEST

START_TEST(with_the_quiet_bit_inverted_a_signalling_nan_becomes_the_default_one)
{
	struct softfp_env env = { .quiet_inverted = true, .nan2 = SOFTFP_NAN_SNAN_A };

	ck_assert(softfp_add(&env, SOFTFP_F32, 0x7f800001, F32_ONE) == 0x7f800001);
	ck_assert_uint_eq(env.flags, 0);
	ck_assert(softfp_add(&env, SOFTFP_F32, 0x7f800001, 0x7fc00001) == 0x7fbfffff);
	ck_assert_uint_eq(env.flags, SOFTFP_INVALID);
	/* Narrowed to nothing it would be an infinity. */
	ck_assert(softfp_convert(&env, SOFTFP_F64, SOFTFP_F32, 0x7ff0000000000001) == 0x7fbfffff);
}
END_TEST

START_TEST(misfits_become_the_integers_of_the_rule)
{
	static const uint32_t inputs[] = { F32_QNAN_A, F32_QNAN_B, F32_INF, F32_INF | F32_MINUS };
	enum { MIN32 = INT32_MIN, MAX32 = INT32_MAX };
	static const int32_t want[][ARRAY_SIZE(inputs)] = {
		[SOFTFP_INT_NAN_MAX] = { MAX32, MAX32, MAX32, MIN32 },
		[SOFTFP_INT_NAN_ZERO] = { 0, 0, MAX32, MIN32 },
		[SOFTFP_INT_NAN_MIN] = { MIN32, MIN32, MAX32, MIN32 },
		[SOFTFP_INT_NAN_SIGN] = { MAX32, MIN32, MAX32, MIN32 },
		[SOFTFP_INT_INDEFINITE] = { MIN32, MIN32, MIN32, MIN32 },
		[SOFTFP_INT_ALWAYS_MAX] = { MAX32, MAX32, MAX32, MAX32 },
	};

	for (unsigned rule = 0; rule < ARRAY_SIZE(want); rule++)
		for (unsigned i = 0; i < ARRAY_SIZE(inputs); i++) {
			struct softfp_env env = { .to_int = rule };

			ck_assert_int_eq(
			    softfp_to_int(&env, SOFTFP_F32, inputs[i], 32, SOFTFP_TO_ZERO),
			    want[rule][i]);
			ck_assert_uint_eq(env.flags, SOFTFP_INVALID);
		}
}
END_TEST

START_TEST(minimum_and_maximum_come_in_the_variants_of_the_standards)
{
	static const struct {
		enum softfp_minmax kind;
		uint32_t a, b, min, max;
		uint16_t flags;
	} rows[] = {
		{ SOFTFP_NUMBER_2019, F32_SNAN_A, F32_ONE, F32_ONE, F32_ONE, SOFTFP_INVALID },
		{ SOFTFP_NUMBER_2019, F32_ONE, F32_QNAN_B, F32_ONE, F32_ONE, 0 },
		{ SOFTFP_NUMBER_2019, F32_QNAN_A, F32_QNAN_B, F32_QNAN_A, F32_QNAN_A, 0 },
		{ SOFTFP_NUMBER_2019, 0, F32_MINUS, F32_MINUS, 0, 0 },
		{ SOFTFP_NUMBER_2019, F32_MINUS, 0, F32_MINUS, 0, 0 },
		{ SOFTFP_NUMBER_2008, F32_SNAN_A, F32_ONE, F32_QNAN_A, F32_QNAN_A, SOFTFP_INVALID },
		{ SOFTFP_NUMBER_2008, F32_ONE, F32_QNAN_B, F32_ONE, F32_ONE, 0 },
		{ SOFTFP_NAN_WINS, F32_ONE, F32_QNAN_B, F32_QNAN_B, F32_QNAN_B, 0 },
		{ SOFTFP_MAGNITUDE_2008, F32_MAX | F32_MINUS, F32_ONE, F32_ONE, F32_MAX | F32_MINUS,
		  0 },
		{ SOFTFP_MAGNITUDE_2008, F32_ONE | F32_MINUS, F32_ONE, F32_ONE | F32_MINUS, F32_ONE,
		  0 },
		{ SOFTFP_OR_SECOND, F32_QNAN_A, F32_ONE, F32_ONE, F32_ONE, SOFTFP_INVALID },
		{ SOFTFP_OR_SECOND, F32_ONE, F32_SNAN_B, F32_SNAN_B, F32_SNAN_B, SOFTFP_INVALID },
		{ SOFTFP_OR_SECOND, 0, F32_MINUS, F32_MINUS, F32_MINUS, 0 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct softfp_env env = { .nan2 = SOFTFP_NAN_A };
		uint32_t a = rows[i].a, b = rows[i].b;

		ck_assert_uint_eq((uint32_t)softfp_min(&env, SOFTFP_F32, a, b, rows[i].kind),
				  rows[i].min);
		ck_assert_uint_eq((uint32_t)softfp_max(&env, SOFTFP_F32, a, b, rows[i].kind),
				  rows[i].max);
		ck_assert_uint_eq(env.flags, rows[i].flags);
	}
}
END_TEST

START_TEST(flushing_says_what_the_guest_says)
{
	/* Arm ARM, FPUnpack and FPRound: IDC alone, UFC alone. SDM 1, 10.2.3.3: UE with PE. */
	struct softfp_env env = { .flush_inputs = true, .flush_results = true };

	ck_assert(softfp_add(&env, SOFTFP_F32, F32_DENORM | F32_MINUS, F32_MINUS) == F32_MINUS);
	ck_assert_uint_eq(env.flags, SOFTFP_FLUSHED);
	env.flags = 0;
	ck_assert(softfp_mul(&env, SOFTFP_F32, F32_MIN, 0x3f000000) == 0);
	ck_assert_uint_eq(env.flags, SOFTFP_UNDERFLOW | SOFTFP_TINY);
	env.flush_inexact = true;
	ck_assert(softfp_mul(&env, SOFTFP_F32, F32_MIN | F32_MINUS, 0x3f000000) == F32_MINUS);
	ck_assert_uint_eq(env.flags, SOFTFP_UNDERFLOW | SOFTFP_TINY | SOFTFP_INEXACT);
}
END_TEST

START_TEST(tininess_before_and_after_rounding_differ_just_below_the_normal_numbers)
{
	/* (1 - 2^-13) * (1 + 2^-13) 2^-126 rounds to the smallest normal number. */
	struct softfp_env before = { .tiny_before = true }, after = { 0 };

	ck_assert(softfp_mul(&before, SOFTFP_F32, 0x3f7ff800, 0x00800400) == F32_MIN);
	ck_assert(softfp_mul(&after, SOFTFP_F32, 0x3f7ff800, 0x00800400) == F32_MIN);
	ck_assert_uint_eq(before.flags & SOFTFP_IEEE_FLAGS, SOFTFP_UNDERFLOW | SOFTFP_INEXACT);
	ck_assert_uint_eq(after.flags & SOFTFP_IEEE_FLAGS, SOFTFP_INEXACT);
}
END_TEST

START_TEST(every_class_is_told)
{
	static const uint32_t values[] = {
		[SOFTFP_NEG_INF] = F32_INF | F32_MINUS,
		[SOFTFP_NEG_NORMAL] = F32_ONE | F32_MINUS,
		[SOFTFP_NEG_SUBNORMAL] = F32_DENORM | F32_MINUS,
		[SOFTFP_NEG_ZERO] = F32_MINUS,
		[SOFTFP_POS_ZERO] = 0,
		[SOFTFP_POS_SUBNORMAL] = F32_DENORM,
		[SOFTFP_POS_NORMAL] = F32_MAX,
		[SOFTFP_POS_INF] = F32_INF,
		[SOFTFP_SNAN] = F32_SNAN_A,
		[SOFTFP_QNAN] = F32_QNAN_A,
	};
	struct softfp_env env = { .flush_inputs = true };

	for (unsigned i = 0; i < ARRAY_SIZE(values); i++)
		ck_assert_uint_eq(softfp_classify(&env, SOFTFP_F32, values[i]), i);
	ck_assert_uint_eq(env.flags, 0);
}
END_TEST

START_TEST(rounding_to_odd_and_again_is_rounding_once)
{
	struct random r = { 42 };

	for (unsigned i = 0; i < 100000; i++) {
		softfp_bits a = case_operand(&r, SOFTFP_F128);
		struct softfp_env odd = { .rounding = SOFTFP_TO_ODD, .nan2 = SOFTFP_NAN_A };
		struct softfp_env once = { .rounding = i % SOFTFP_ROUNDINGS, .nan2 = SOFTFP_NAN_A };
		struct softfp_env twice = once;
		softfp_bits half = softfp_convert(&odd, SOFTFP_F128, SOFTFP_F64, a);

		half = softfp_convert(&twice, SOFTFP_F64, SOFTFP_F32, half);
		ck_assert(half == softfp_convert(&once, SOFTFP_F128, SOFTFP_F32, a));
	}
}
END_TEST

START_TEST(single_arithmetic_in_double_registers_is_single_arithmetic)
{
	struct random r = { 43 };

	for (unsigned i = 0; i < 100000; i++) {
		softfp_bits a = case_operand(&r, SOFTFP_F32), b = case_operand(&r, SOFTFP_F32);
		struct softfp_env wide = { .rounding = i % SOFTFP_ROUNDINGS, .nan2 = SOFTFP_NAN_A };
		struct softfp_env narrow = wide, none = { .nan2 = SOFTFP_NAN_A };
		softfp_bits x = softfp_convert(&none, SOFTFP_F32, SOFTFP_F64, a), want, got;
		softfp_bits y = softfp_convert(&none, SOFTFP_F32, SOFTFP_F64, b);

		wide.narrow = SOFTFP_AS_F32;
		got = i & 1 ? softfp_mul(&wide, SOFTFP_F64, x, y)
			    : softfp_add(&wide, SOFTFP_F64, x, y);
		want = i & 1 ? softfp_mul(&narrow, SOFTFP_F32, a, b)
			     : softfp_add(&narrow, SOFTFP_F32, a, b);
		ck_assert(got == softfp_convert(&none, SOFTFP_F32, SOFTFP_F64, want));
		/* The conversions before have made the NaNs quiet and the subnormals normal. */
		if (softfp_classify(&none, SOFTFP_F32, want) != SOFTFP_QNAN)
			ck_assert_uint_eq(wide.flags & SOFTFP_IEEE_FLAGS,
					  narrow.flags & SOFTFP_IEEE_FLAGS);
	}
}
END_TEST

START_TEST(bits_above_the_format_do_not_matter)
{
	softfp_bits dirt = ~(softfp_bits)0 << 32;
	struct softfp_env env = { 0 };

	ck_assert(softfp_add(&env, SOFTFP_F32, dirt | F32_ONE, dirt | F32_ONE) == 0x40000000);
	ck_assert(softfp_min(&env, SOFTFP_F32, dirt | F32_ONE, F32_MAX, SOFTFP_NAN_WINS) ==
		  F32_ONE);
	ck_assert(softfp_round_int(&env, SOFTFP_F32, dirt | F32_ONE, SOFTFP_UP, true) == F32_ONE);
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_test(t, each_rule_hands_on_its_own_nan);
	tcase_add_test(t, fused_operands_are_looked_at_in_the_order_of_the_rule);
	tcase_add_test(t, infinity_times_zero_plus_nan_follows_the_guest);
	tcase_add_test(t, default_nans_look_as_the_guests_have_them);
	tcase_add_test(t, with_the_quiet_bit_inverted_a_signalling_nan_becomes_the_default_one);
	tcase_add_test(t, misfits_become_the_integers_of_the_rule);
	tcase_add_test(t, minimum_and_maximum_come_in_the_variants_of_the_standards);
	tcase_add_test(t, flushing_says_what_the_guest_says);
	tcase_add_test(t, tininess_before_and_after_rounding_differ_just_below_the_normal_numbers);
	tcase_add_test(t, every_class_is_told);
	tcase_add_test(t, rounding_to_odd_and_again_is_rounding_once);
	tcase_add_test(t, single_arithmetic_in_double_registers_is_single_arithmetic);
	tcase_add_test(t, bits_above_the_format_do_not_matter);
}

int main(void)
{
	return unit_run("softfp", cases);
}
