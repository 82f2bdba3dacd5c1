/*
 * softfp.h - IEEE 754 arithmetic in integers: the exact fallback behind the host's floating point.
 *
 * Generated code and the IR interpreter call it, on any vCPU's thread, when the host unit cannot
 * give what the guest would see: NaN choice, tininess, rounding modes the host lacks, formats it
 * has not. There is no state but the caller's struct softfp_env, so calls never meet each other.
 * Nothing here fails or allocates. Section numbers are those of IEEE 754-2019.
 *
 * Values travel as the bits of their format in the low bits of a softfp_bits; bits above the
 * format are ignored in operands and zero in results.
 */
#ifndef EMUL_JIT_SOFTFP_H
#define EMUL_JIT_SOFTFP_H

#include <stdbool.h>
#include <stdint.h>

typedef unsigned __int128 softfp_bits;

enum softfp_format {
	SOFTFP_F16,
	SOFTFP_F32,
	SOFTFP_F64,
	SOFTFP_F80, /* x87: 15 bits of exponent, 64 of significand with its leading one */
	SOFTFP_F128,
	SOFTFP_FORMATS,
};

enum softfp_rounding {
	SOFTFP_NEAREST_EVEN,
	SOFTFP_TO_ZERO,
	SOFTFP_DOWN,
	SOFTFP_UP,
	SOFTFP_NEAREST_AWAY,
	SOFTFP_TO_ODD, /* inexact results get a last bit of one: safe to round again to less */
	SOFTFP_ROUNDINGS,
};

/* Sticky: operations only ever set them. The first five are exceptions in the sense of clause 7. */
enum softfp_flag {
	SOFTFP_INEXACT = 1 << 0,
	SOFTFP_UNDERFLOW = 1 << 1, /* tiny and inexact, or flushed */
	SOFTFP_OVERFLOW = 1 << 2,
	SOFTFP_DIVZERO = 1 << 3,
	SOFTFP_INVALID = 1 << 4,
	SOFTFP_DENORMAL = 1 << 5, /* an operand was subnormal and used as such */
	SOFTFP_FLUSHED = 1 << 6,  /* an operand was subnormal and taken as zero */
	SOFTFP_TINY = 1 << 7,     /* result was tiny, exact or not: for guests that trap on it */
	SOFTFP_ROUNDED_UP =
	    1 << 8, /* rounding made the magnitude larger: C1 of x87, FR of others */
};

#define SOFTFP_IEEE_FLAGS 0x1f

/* Which NaN an operation with two operands hands on. A signalling one is made quiet. */
enum softfp_nan2 {
	SOFTFP_NAN_DEFAULT,
	SOFTFP_NAN_A,      /* the first operand if it is a NaN, else the second */
	SOFTFP_NAN_B,      /* the second if it is a NaN */
	SOFTFP_NAN_SNAN_A, /* the first signalling one, else the first quiet one */
	SOFTFP_NAN_SNAN_B, /* the same, the second operand looked at first */
	SOFTFP_NAN_LARGER, /* quiet before signalling, then the larger significand, then the + one
			    */
};

/* The order in which a * b + c looks at its operands; whether sNaN come first, nan2 says. */
enum softfp_nan3 {
	SOFTFP_NAN_ABC,
	SOFTFP_NAN_ACB,
	SOFTFP_NAN_CAB,
	SOFTFP_NAN_CBA,
};

/* What a float too big for an integer, or a NaN, becomes. */
enum softfp_int_rule {
	SOFTFP_INT_NAN_MAX,    /* saturate; a NaN is the largest integer */
	SOFTFP_INT_NAN_ZERO,   /* saturate; a NaN is zero */
	SOFTFP_INT_NAN_MIN,    /* saturate; a NaN is the smallest integer */
	SOFTFP_INT_NAN_SIGN,   /* saturate; a NaN is largest or smallest by its sign */
	SOFTFP_INT_INDEFINITE, /* all of them: 100...0 signed, 111...1 unsigned */
	SOFTFP_INT_ALWAYS_MAX, /* all of them: the largest integer */
};

/* Rounding to less than the format: fewer bits (F80), or an f32's bits and range (F64). */
enum softfp_narrow {
	SOFTFP_FULL,
	SOFTFP_24_BITS, /* + - * / and sqrt of F80, range as ever: x87 precision control */
	SOFTFP_53_BITS,
	SOFTFP_AS_F32, /* F64 only: single-precision arithmetic of registers that hold f64 */
};

/*
 * The guest's rules and its sticky flags. All zero is a modern machine: round to nearest even, one
 * positive default NaN for every NaN result, tininess found after rounding, subnormals honoured,
 * conversions that saturate.
 */
struct softfp_env {
	uint16_t flags;    /* enum softfp_flag */
	uint8_t rounding;  /* enum softfp_rounding */
	uint8_t narrow;    /* enum softfp_narrow */
	uint8_t nan2;      /* enum softfp_nan2 */
	uint8_t nan3;      /* enum softfp_nan3 */
	uint8_t to_int;    /* enum softfp_int_rule */
	bool tiny_before;  /* tininess is found before rounding */
	bool nan_negative; /* sign of the default NaN */
	bool nan_ones;     /* its fraction is all ones instead of the quiet bit alone */
	/* A set leading fraction bit means signalling; the default NaN is 0x7fbfffff and the like.
	 */
	bool quiet_inverted;
	bool flush_results; /* tiny results are zero, with UNDERFLOW */
	bool flush_inexact; /* ... and with INEXACT */
	bool flush_inputs;  /* subnormal operands are zero */
	bool infzero_nan;   /* inf * 0 + NaN hands the NaN on instead of making a default one */
	bool infzero_quiet; /* inf * 0 + qNaN is not an invalid operation */
};

/* Arithmetic of clause 5.4. */
softfp_bits softfp_add(struct softfp_env *env, enum softfp_format f, softfp_bits a, softfp_bits b);
softfp_bits softfp_sub(struct softfp_env *env, enum softfp_format f, softfp_bits a, softfp_bits b);
softfp_bits softfp_mul(struct softfp_env *env, enum softfp_format f, softfp_bits a, softfp_bits b);
softfp_bits softfp_div(struct softfp_env *env, enum softfp_format f, softfp_bits a, softfp_bits b);
softfp_bits softfp_sqrt(struct softfp_env *env, enum softfp_format f, softfp_bits a);

/*
 * a * b + c, rounded once. The signs are changed as told, but never that of a NaN; a guest that
 * negates NaN operands flips their sign bit itself.
 */
enum softfp_fma_signs {
	SOFTFP_NEGATE_PRODUCT = 1 << 0,
	SOFTFP_NEGATE_C = 1 << 1,
	SOFTFP_NEGATE_RESULT = 1 << 2, /* after rounding */
};

softfp_bits softfp_fma(struct softfp_env *env, enum softfp_format f, softfp_bits a, softfp_bits b,
		       softfp_bits c, unsigned signs);

/*
 * What is left of a after taking away b as often as the quotient says. At most "steps" bits of
 * quotient are worked out (a negative number means all): what remains then is a value of a's
 * magnitude reduced, and the return value of softfp_rem_partial() tells that it is not the end.
 */
enum softfp_quotient {
	SOFTFP_QUOTIENT_NEAREST, /* remainder of clause 5.3.1 */
	SOFTFP_QUOTIENT_TRUNCATED,
};

softfp_bits softfp_rem(struct softfp_env *env, enum softfp_format f, softfp_bits a, softfp_bits b,
		       enum softfp_quotient kind);

struct softfp_remainder {
	softfp_bits value;
	uint64_t quotient; /* its low 64 bits, without a sign */
	bool partial;      /* more than 63 bits apart: call again with value as a */
};

/* One step of x87's FPREM and FPREM1, Intel SDM volume 2A. */
struct softfp_remainder softfp_rem_partial(struct softfp_env *env, enum softfp_format f,
					   softfp_bits a, softfp_bits b, enum softfp_quotient kind);

/* a * 2^n, rounded once: scaleB of clause 5.3.3. */
softfp_bits softfp_scale(struct softfp_env *env, enum softfp_format f, softfp_bits a, int32_t n);

/* Comparison, clause 5.11. */
enum softfp_order {
	SOFTFP_LESS,
	SOFTFP_EQUAL,
	SOFTFP_GREATER,
	SOFTFP_UNORDERED,
};

/* Quiet: INVALID for signalling NaNs only. Signalling: for every NaN. */
enum softfp_order softfp_compare_quiet(struct softfp_env *env, enum softfp_format f, softfp_bits a,
				       softfp_bits b);
enum softfp_order softfp_compare(struct softfp_env *env, enum softfp_format f, softfp_bits a,
				 softfp_bits b);

enum softfp_minmax {
	SOFTFP_NUMBER_2019,    /* minimumNumber: a number beats any NaN; -0 is below +0 */
	SOFTFP_NUMBER_2008,    /* minNum: a number beats a quiet NaN only */
	SOFTFP_MAGNITUDE_2008, /* minNumMag: the same by magnitude first */
	SOFTFP_NAN_WINS,       /* minimum of 2019: any NaN is the result */
	SOFTFP_OR_SECOND,      /* "a < b ? a : b", INVALID for any NaN: SSE */
};

softfp_bits softfp_min(struct softfp_env *env, enum softfp_format f, softfp_bits a, softfp_bits b,
		       enum softfp_minmax kind);
softfp_bits softfp_max(struct softfp_env *env, enum softfp_format f, softfp_bits a, softfp_bits b,
		       enum softfp_minmax kind);

/* In the order of the bits of RISC-V's fclass: 1 << softfp_classify() is its result. */
enum softfp_class {
	SOFTFP_NEG_INF,
	SOFTFP_NEG_NORMAL,
	SOFTFP_NEG_SUBNORMAL,
	SOFTFP_NEG_ZERO,
	SOFTFP_POS_ZERO,
	SOFTFP_POS_SUBNORMAL,
	SOFTFP_POS_NORMAL,
	SOFTFP_POS_INF,
	SOFTFP_SNAN, /* also the encodings of F80 that are no number */
	SOFTFP_QNAN,
};

enum softfp_class softfp_classify(const struct softfp_env *env, enum softfp_format f,
				  softfp_bits a);

/* Between formats. A NaN keeps the leading bits of its fraction, unless nan2 is NAN_DEFAULT. */
softfp_bits softfp_convert(struct softfp_env *env, enum softfp_format from, enum softfp_format to,
			   softfp_bits a);

/* To an integral value in the same format; INEXACT is raised only when "exact" says so. */
softfp_bits softfp_round_int(struct softfp_env *env, enum softfp_format f, softfp_bits a,
			     enum softfp_rounding rounding, bool exact);

/*
 * To integers of 8 to 64 bits, rounded as told. The result is extended to 64 bits by its own sign.
 * What does not fit is INVALID, and becomes what env->to_int says. DENORMAL is not raised.
 */
int64_t softfp_to_int(struct softfp_env *env, enum softfp_format f, softfp_bits a, unsigned bits,
		      enum softfp_rounding rounding);
uint64_t softfp_to_uint(struct softfp_env *env, enum softfp_format f, softfp_bits a, unsigned bits,
			enum softfp_rounding rounding);

softfp_bits softfp_from_int(struct softfp_env *env, enum softfp_format f, int64_t v);
softfp_bits softfp_from_uint(struct softfp_env *env, enum softfp_format f, uint64_t v);

/* The default NaN, as env says it looks. */
softfp_bits softfp_default_nan(const struct softfp_env *env, enum softfp_format f);

#endif
