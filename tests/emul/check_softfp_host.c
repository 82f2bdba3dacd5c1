/*
 * check_softfp_host.c - soft-float against the host's own SSE, FMA, F16C and x87 units: NaN choice,
 * flush modes and the denormal flag too, which MPFR knows nothing of. Skipped on other hosts.
 */
#include "tests/emul/softfp_cases.h"
#include "tests/unit.h"

#ifndef __x86_64__
int main(void)
{
	puts("not an x86-64 host");
	return 77;
}
#else

enum { CASES = 40000, MXCSR_DAZ = 0x40, MXCSR_MASKS = 0x1f80, MXCSR_FTZ = 0x8000 };

/* Rounding of MXCSR and x87: Intel SDM volume 1, table 4-8. */
static const uint8_t rounding_field[] = {
	[SOFTFP_NEAREST_EVEN] = 0,
	[SOFTFP_DOWN] = 1,
	[SOFTFP_UP] = 2,
	[SOFTFP_TO_ZERO] = 3,
};

/* Flags in the order of MXCSR and the x87 status word: IE DE ZE OE UE PE. */
static unsigned host_flags(unsigned flags)
{
	return (flags & SOFTFP_INVALID ? 1 : 0) | (flags & SOFTFP_DENORMAL ? 2 : 0) |
	       (flags & SOFTFP_DIVZERO ? 4 : 0) | (flags & SOFTFP_OVERFLOW ? 8 : 0) |
	       (flags & SOFTFP_UNDERFLOW ? 16 : 0) | (flags & SOFTFP_INEXACT ? 32 : 0);
}

static struct softfp_env sse_rules(struct random *r, uint32_t *csr)
{
	struct softfp_env env = {
		.rounding = random_next(r) % ARRAY_SIZE(rounding_field),
		.nan2 = SOFTFP_NAN_A,
		.nan3 = SOFTFP_NAN_ABC,
		.to_int = SOFTFP_INT_INDEFINITE,
		.nan_negative = true,
		.flush_results = random_next(r) % 4 == 0,
		.flush_inexact = true,
		.flush_inputs = random_next(r) % 4 == 0,
		.infzero_nan = true,
		.infzero_quiet = true,
	};

	*csr = MXCSR_MASKS | (unsigned)rounding_field[env.rounding] << 13;
	*csr |= (env.flush_results ? MXCSR_FTZ : 0) | (env.flush_inputs ? MXCSR_DAZ : 0);
	return env;
}

/* Runs one instruction under the given MXCSR and leaves what it became in *csr. */
#define SSE(insn, x, y, csr)                                                      \
	do {                                                                      \
		uint32_t normal_ = MXCSR_MASKS;                                   \
                                                                                  \
		asm volatile("ldmxcsr %1\n\t" insn "\n\tstmxcsr %1\n\tldmxcsr %3" \
			     : "+x"(x), "+m"(*(csr))                              \
			     : "x"(y), "m"(normal_));                             \
	} while (0)

enum op { ADD, SUB, MUL, DIV, SQRT, MIN, MAX, FMA, FNMADD, FMSUB, CONVERT, ROUND, OPS };
static const char *const op_names[] = {
	"add", "sub",   "mul",    "div",   "sqrt",    "min",
	"max", "fmadd", "fnmadd", "fmsub", "convert", "round",
};
_Static_assert(ARRAY_SIZE(op_names) == OPS, "an operation has no name");

#define SSE_FMA(insn, x, y, z, csr)                                               \
	do {                                                                      \
		uint32_t normal_ = MXCSR_MASKS;                                   \
                                                                                  \
		asm volatile("ldmxcsr %1\n\t" insn "\n\tstmxcsr %1\n\tldmxcsr %4" \
			     : "+x"(x), "+m"(*(csr))                              \
			     : "x"(y), "x"(z), "m"(normal_));                     \
	} while (0)

/* The 213 form, x = y * x + z, looks at y, x and z in this order. */
#define HOST_ARITHMETIC(type, s)                                                          \
	static type host_##type(enum op op, type x, type y, type z, uint32_t *csr)        \
	{                                                                                 \
		switch (op) {                                                             \
		case ADD: SSE("adds" s " %2, %0", x, y, csr); break;                      \
		case SUB: SSE("subs" s " %2, %0", x, y, csr); break;                      \
		case MUL: SSE("muls" s " %2, %0", x, y, csr); break;                      \
		case DIV: SSE("divs" s " %2, %0", x, y, csr); break;                      \
		case SQRT: SSE("sqrts" s " %0, %0", x, y, csr); break;                    \
		case MIN: SSE("mins" s " %2, %0", x, y, csr); break;                      \
		case MAX: SSE("maxs" s " %2, %0", x, y, csr); break;                      \
		case FMA: SSE_FMA("vfmadd213s" s " %3, %2, %0", x, y, z, csr); break;     \
		case FNMADD: SSE_FMA("vfnmadd213s" s " %3, %2, %0", x, y, z, csr); break; \
		case FMSUB: SSE_FMA("vfmsub213s" s " %3, %2, %0", x, y, z, csr); break;   \
		case ROUND: SSE("rounds" s " $4, %0, %0", x, y, csr); break;              \
		default: break;                                                           \
		}                                                                         \
		return x;                                                                 \
	}
HOST_ARITHMETIC(float, "s")
HOST_ARITHMETIC(double, "d")

static softfp_bits host_sse(enum op op, enum softfp_format f, const softfp_bits v[3], uint32_t *csr)
{
	union {
		softfp_bits bits;
		float s;
		double d;
	} x = { v[0] }, y = { v[1] }, z = { v[2] };
	float s = x.s;
	double d = x.d;
	bool fma = op >= FMA && op <= FMSUB;

	if (op == CONVERT && f == SOFTFP_F32)
		SSE("cvtss2sd %2, %0", d, s, csr);
	else if (op == CONVERT)
		SSE("cvtsd2ss %2, %0", s, d, csr);
	else if (f == SOFTFP_F32)
		s = fma ? host_float(op, y.s, x.s, z.s, csr) : host_float(op, x.s, y.s, z.s, csr);
	else
		d = fma ? host_double(op, y.d, x.d, z.d, csr) : host_double(op, x.d, y.d, z.d, csr);
	x.bits = 0;
	if ((f == SOFTFP_F32) != (op == CONVERT))
		x.s = s;
	else
		x.d = d;
	return x.bits;
}

static softfp_bits soft_sse(struct softfp_env *env, enum op op, enum softfp_format f,
			    const softfp_bits v[3])
{
	softfp_bits result = 0;

	switch (op) {
	case ADD: return softfp_add(env, f, v[0], v[1]);
	case SUB: return softfp_sub(env, f, v[0], v[1]);
	case MUL: return softfp_mul(env, f, v[0], v[1]);
	case DIV: return softfp_div(env, f, v[0], v[1]);
	case SQRT: return softfp_sqrt(env, f, v[0]);
	case MIN: return softfp_min(env, f, v[0], v[1], SOFTFP_OR_SECOND);
	case MAX: return softfp_max(env, f, v[0], v[1], SOFTFP_OR_SECOND);
	case FMA: return softfp_fma(env, f, v[0], v[1], v[2], 0);
	case FNMADD: return softfp_fma(env, f, v[0], v[1], v[2], SOFTFP_NEGATE_PRODUCT);
	case FMSUB: return softfp_fma(env, f, v[0], v[1], v[2], SOFTFP_NEGATE_C);
	case CONVERT:
		return softfp_convert(env, f, f == SOFTFP_F32 ? SOFTFP_F64 : SOFTFP_F32, v[0]);
	case ROUND:
		result = softfp_round_int(env, f, v[0], env->rounding, true);
		env->flags &= ~SOFTFP_DENORMAL; /* SSE4.1 does not tell */
		break;
	case OPS: break;
	}
	return result;
}

static void compare_sse(struct random *r, enum op op, enum softfp_format f)
{
	uint32_t csr, before;
	struct softfp_env env = sse_rules(r, &csr);
	softfp_bits v[3], want, got;
	char s[5][40];

	for (unsigned i = 0; i < 3; i++)
		v[i] = case_operand(r, f);
	before = csr;
	want = host_sse(op, f, v, &csr);
	got = soft_sse(&env, op, f, v);
	ck_assert_msg(got == want && host_flags(env.flags) == (csr & 0x3f),
		      "%s %s, MXCSR %x: %s %s %s\ngives %s flags %x, the host %s flags %x",
		      op_names[op], case_formats[f].name, before, case_show(v[0], s[0]),
		      case_show(v[1], s[1]), case_show(v[2], s[2]), case_show(got, s[3]),
		      host_flags(env.flags), case_show(want, s[4]), csr & 0x3f);
}

START_TEST(arithmetic_is_what_the_sse_unit_does)
{
	struct random r = { 2463534242 };
	bool fma = __builtin_cpu_supports("fma");

	for (enum op op = 0; op < OPS; op++)
		for (unsigned i = 0; i < CASES && (fma || op < FMA || op > FMSUB); i++)
			compare_sse(&r, op, i & 1 ? SOFTFP_F32 : SOFTFP_F64);
}
END_TEST

/* UCOMISD and COMISD: CF, PF and ZF say what came out. */
static unsigned host_compare(bool quiet, double x, double y, uint32_t *csr)
{
	uint32_t normal = MXCSR_MASKS;
	bool below, equal, unordered;

	if (quiet)
		asm volatile("ldmxcsr %3\n\tucomisd %5, %4\n\tstmxcsr %3\n\tldmxcsr %6"
			     : "=@ccb"(below), "=@ccz"(equal), "=@ccp"(unordered), "+m"(*csr)
			     : "x"(x), "x"(y), "m"(normal));
	else
		asm volatile("ldmxcsr %3\n\tcomisd %5, %4\n\tstmxcsr %3\n\tldmxcsr %6"
			     : "=@ccb"(below), "=@ccz"(equal), "=@ccp"(unordered), "+m"(*csr)
			     : "x"(x), "x"(y), "m"(normal));
	if (unordered)
		return SOFTFP_UNORDERED;
	return equal ? SOFTFP_EQUAL : below ? SOFTFP_LESS : SOFTFP_GREATER;
}

START_TEST(comparisons_are_what_the_sse_unit_does)
{
	struct random r = { 1234567 };

	for (unsigned i = 0; i < CASES; i++) {
		uint64_t a = case_operand(&r, SOFTFP_F64);
		uint64_t b = i % 8 ? case_operand(&r, SOFTFP_F64) : a;
		bool quiet = random_next(&r) & 1;
		uint32_t csr;
		struct softfp_env env = sse_rules(&r, &csr);
		enum softfp_order got;
		double x, y;

		memcpy(&x, &a, sizeof(x));
		memcpy(&y, &b, sizeof(y));
		got = quiet ? softfp_compare_quiet(&env, SOFTFP_F64, a, b)
			    : softfp_compare(&env, SOFTFP_F64, a, b);
		ck_assert_uint_eq(got, host_compare(quiet, x, y, &csr));
		ck_assert_uint_eq(host_flags(env.flags), csr & 0x3f);
	}
}
END_TEST

#define SSE_TO_INT(insn, y, csr)                                                  \
	({                                                                        \
		uint32_t normal_ = MXCSR_MASKS;                                   \
		int64_t to_;                                                      \
                                                                                  \
		asm volatile("ldmxcsr %1\n\t" insn "\n\tstmxcsr %1\n\tldmxcsr %3" \
			     : "=r"(to_), "+m"(*(csr))                            \
			     : "x"(y), "m"(normal_));                             \
		to_;                                                              \
	})

START_TEST(integers_are_what_the_sse_unit_makes)
{
	struct random r = { 7654321 };

	for (unsigned i = 0; i < CASES; i++) {
		uint64_t a = case_operand(&r, SOFTFP_F64);
		bool chop = random_next(&r) & 1;
		unsigned bits = i & 1 ? 64 : 32;
		uint32_t csr;
		struct softfp_env env = sse_rules(&r, &csr);
		int64_t want, got;
		double x;

		memcpy(&x, &a, sizeof(x));
		if (bits == 64)
			want = chop ? SSE_TO_INT("cvttsd2si %2, %0", x, &csr)
				    : SSE_TO_INT("cvtsd2si %2, %0", x, &csr);
		else
			want = (int32_t)(chop ? SSE_TO_INT("cvttsd2si %2, %k0", x, &csr)
					      : SSE_TO_INT("cvtsd2si %2, %k0", x, &csr));
		got =
		    softfp_to_int(&env, SOFTFP_F64, a, bits, chop ? SOFTFP_TO_ZERO : env.rounding);
		ck_assert_int_eq(got, want);
		ck_assert_uint_eq(host_flags(env.flags), csr & 0x3f);
	}
}
END_TEST

enum x87_op { FADD, FSUB, FMUL, FDIV, FSQRT, FPREM, FPREM1, FRNDINT, X87_OPS };
static const char *const x87_names[] = {
	"fadd", "fsub", "fmul", "fdiv", "fsqrt", "fprem", "fprem1", "frndint",
};

#define X87(insn, x, y, cw, sw)                                          \
	asm volatile("fninit\n\tfldcw %3\n\tfldt %4\n\tfldt %0\n\t" insn \
		     "\n\tfnstsw %1\n\tfnclex\n\tfstpt %0\n\tfninit"     \
		     : "+m"(x), "=m"(sw)                                 \
		     : "m"(x), "m"(cw), "m"(y)                           \
		     : "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)")

/* st(0) = x, st(1) = y; the result replaces x. Returns the status word. */
static uint16_t host_x87(enum x87_op op, softfp_bits *x, softfp_bits y, uint16_t cw)
{
	uint16_t sw = 0;

	switch (op) {
	case FADD: X87("fadd %%st(1), %%st", *x, y, cw, sw); break;
	case FSUB: X87("fsub %%st(1), %%st", *x, y, cw, sw); break;
	case FMUL: X87("fmul %%st(1), %%st", *x, y, cw, sw); break;
	case FDIV: X87("fdiv %%st(1), %%st", *x, y, cw, sw); break;
	case FSQRT: X87("fsqrt", *x, y, cw, sw); break;
	case FPREM: X87("fprem", *x, y, cw, sw); break;
	case FPREM1: X87("fprem1", *x, y, cw, sw); break;
	case FRNDINT: X87("frndint", *x, y, cw, sw); break;
	case X87_OPS: break;
	}
	*x &= case_mask(80);
	return sw;
}

static softfp_bits soft_x87(struct softfp_env *env, enum x87_op op, softfp_bits x, softfp_bits y,
			    uint16_t *condition)
{
	enum softfp_format f = SOFTFP_F80;
	enum softfp_quotient kind = SOFTFP_QUOTIENT_TRUNCATED;
	struct softfp_remainder rem;

	switch (op) {
	case FADD: return softfp_add(env, f, x, y);
	case FSUB: return softfp_sub(env, f, x, y);
	case FMUL: return softfp_mul(env, f, x, y);
	case FDIV: return softfp_div(env, f, x, y);
	case FSQRT: return softfp_sqrt(env, f, x);
	case FRNDINT: return softfp_round_int(env, f, x, env->rounding, true);
	case FPREM1: kind = SOFTFP_QUOTIENT_NEAREST; break;
	case FPREM:
	case X87_OPS: break;
	}
	rem = softfp_rem_partial(env, f, x, y, kind);
	/* C2 is "go on"; C0, C3 and C1 are bits 2, 1 and 0 of the quotient. */
	*condition = rem.partial ? 0x400
				 : (rem.quotient & 4) << 6 | (rem.quotient & 2) << 13 |
				       (rem.quotient & 1) << 9;
	return rem.value;
}

static void compare_x87(struct random *r, enum x87_op op)
{
	static const struct {
		uint8_t field, narrow;
	} precisions[] = { { 3, SOFTFP_FULL }, { 2, SOFTFP_53_BITS }, { 0, SOFTFP_24_BITS } };
	unsigned p = random_next(r) % ARRAY_SIZE(precisions);
	struct softfp_env env = { .rounding = random_next(r) % ARRAY_SIZE(rounding_field),
				  .nan2 = SOFTFP_NAN_LARGER,
				  .nan_negative = true,
				  .narrow = precisions[p].narrow };
	uint16_t cw = 0x3f | precisions[p].field << 8 | rounding_field[env.rounding] << 10;
	softfp_bits x = case_operand(r, SOFTFP_F80), y = case_operand(r, SOFTFP_F80), got, want = x;
	uint16_t sw, condition = 0, mask = 0;
	char s[4][40];

	/* One in sixteen is an unnormal, a pseudo-denormal or the like. */
	if (random_next(r) % 16 == 0)
		want = x ^= (softfp_bits)1 << 63;
	sw = host_x87(op, &want, y, cw);
	got = soft_x87(&env, op, x, y, &condition);
	if ((op == FPREM || op == FPREM1) && !(env.flags & SOFTFP_INVALID))
		mask = 0x4700;
	else if (env.flags & SOFTFP_ROUNDED_UP)
		condition = 0x200;
	if (op != FPREM && op != FPREM1 && env.flags & SOFTFP_INEXACT)
		mask = 0x200;
	ck_assert_msg(got == want && host_flags(env.flags) == (sw & 0x3f) &&
			  ((condition ^ sw) & mask) == 0,
		      "%s, control %x: %s %s\ngives %s status %x, the host %s %x", x87_names[op],
		      cw, case_show(x, s[0]), case_show(y, s[1]), case_show(got, s[2]),
		      host_flags(env.flags) | condition, case_show(want, s[3]), sw & 0x473f);
}

START_TEST(extended_precision_is_what_the_x87_unit_does)
{
	struct random r = { 987654321 + _i };

	for (unsigned i = 0; i < CASES; i++)
		compare_x87(&r, _i);
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_test(t, arithmetic_is_what_the_sse_unit_does);
	tcase_add_test(t, comparisons_are_what_the_sse_unit_does);
	tcase_add_test(t, integers_are_what_the_sse_unit_makes);
	tcase_add_loop_test(t, extended_precision_is_what_the_x87_unit_does, 0, X87_OPS);
}

int main(void)
{
	return unit_run("softfp_host", cases);
}
#endif
