/*
 * selftest_float.c - the F and D extensions, when the hart has them: ISA volume I, chapters 21 and
 * 22. The program itself is compiled without them; each check says so to the assembler.
 */
#include "riscv.h"
#include "selftest.h"

#define FLOAT(text) ".option push\n\t.option arch, +d\n\t" text "\n\t.option pop"

/* One instruction on ft0, ft1 and ft2 into ft0, with a rounding mode; the flags come back too. */
#define CALCULATE(insn, a, b, c, rm, flags)                                                        \
	({                                                                                         \
		uint64_t r_;                                                                       \
		asm volatile(FLOAT("fscsr %5\n\tfmv.d.x ft0, %2\n\tfmv.d.x ft1, %3\n\t"            \
				   "fmv.d.x ft2, %4\n\t" insn "\n\tfmv.x.d %0, ft0\n\tfrflags %1") \
			     : "=&r"(r_), "=&r"(flags)                                             \
			     : "r"(a), "r"(b), "r"(c), "r"((uint64_t)(rm) << 5));                  \
		r_;                                                                                \
	})

/* The same with an integer result. */
#define CONVERT(insn, a, flags)                                                               \
	({                                                                                    \
		uint64_t r_;                                                                  \
		asm volatile(FLOAT("fscsr zero\n\tfmv.d.x ft0, %2\n\t" insn "\n\tfrflags %1") \
			     : "=&r"(r_), "=&r"(flags)                                        \
			     : "r"(a));                                                       \
		r_;                                                                           \
	})

enum flag { NX = 1, UF = 2, OF = 4, DZ = 8, NV = 16 };
enum mode { RNE = 0, RTZ = 1, RDN = 2, RUP = 3, RMM = 4 };

#define ONE    0x3ff0000000000000
#define THREE  0x4008000000000000
#define INF    0x7ff0000000000000
#define QNAN   0x7ff8000000000000
#define SNAN   0x7ff0000000000001
#define MAXD   0x7fefffffffffffff
#define DENORM 0x0000000000000001
#define MINUS  0x8000000000000000
#define BOXED  0xffffffff00000000

static bool has_float(const struct demo *d)
{
	for (const char *s = d->isa ? d->isa + 4 : ""; *s && *s != '_'; s++)
		if (*s == 'd')
			return true;
	return false;
}

#define EXPECT(insn, a, b, c, rm, result, raised)                                  \
	do {                                                                       \
		uint64_t flags_, got_ = CALCULATE(insn, a, b, c, rm, flags_);      \
                                                                                   \
		REQUIRE(got_ == (uint64_t)(result), insn " gives another result"); \
		REQUIRE(flags_ == (raised), insn " raises other flags");           \
	} while (0)

#define EXPECT_INT(insn, a, result, raised)                                        \
	do {                                                                       \
		uint64_t flags_, got_ = CONVERT(insn, a, flags_);                  \
                                                                                   \
		REQUIRE(got_ == (uint64_t)(result), insn " gives another result"); \
		REQUIRE(flags_ == (raised), insn " raises other flags");           \
	} while (0)

static const char *check_values(void)
{
	EXPECT("fadd.d ft0, ft0, ft1", ONE, ONE, 0, RNE, 0x4000000000000000, 0);
	EXPECT("fsub.d ft0, ft0, ft1", ONE, ONE, 0, RDN, MINUS, 0);
	EXPECT("fdiv.d ft0, ft0, ft1", ONE, THREE, 0, RNE, 0x3fd5555555555555, NX);
	EXPECT("fdiv.d ft0, ft0, ft1", ONE, THREE, 0, RUP, 0x3fd5555555555556, NX);
	EXPECT("fdiv.d ft0, ft0, ft1", ONE | MINUS, THREE, 0, RDN, 0xbfd5555555555556, NX);
	EXPECT("fsqrt.d ft0, ft0", 0x4000000000000000, 0, 0, RNE, 0x3ff6a09e667f3bcd, NX);
	EXPECT("fmadd.d ft0, ft0, ft1, ft2", THREE, THREE, ONE, RNE, 0x4024000000000000, 0);
	EXPECT("fnmsub.d ft0, ft0, ft1, ft2", ONE, ONE, ONE, RNE, 0, 0);
	/* Half a unit in the last place: to even, and away from zero. */
	EXPECT("fadd.d ft0, ft0, ft1", ONE, 0x3ca0000000000000, 0, RNE, ONE, NX);
	EXPECT("fadd.d ft0, ft0, ft1", ONE, 0x3ca0000000000000, 0, RMM, ONE + 1, NX);
	EXPECT("fadd.s ft0, ft0, ft1", BOXED | 0x3f800000, BOXED | 0x33800000, 0, RMM,
	       BOXED | 0x3f800001, NX);
	/* An operand that is not boxed is the canonical NaN, quiet. */
	EXPECT("fadd.s ft0, ft0, ft1", 0x3f800000, BOXED | 0x3f800000, 0, RNE, BOXED | 0x7fc00000,
	       0);
	EXPECT("fsgnj.s ft0, ft0, ft1", 0x3f800000, BOXED, 0, RNE, BOXED | 0x7fc00000, 0);
	EXPECT("fcvt.s.d ft0, ft0", MAXD, 0, 0, RTZ, BOXED | 0x7f7fffff, OF | NX);
	EXPECT("fcvt.d.s ft0, ft0", BOXED | 0x00000001, 0, 0, RNE, 0x36a0000000000000, 0);
	return NULL;
}

const char *selftest_floats(struct demo *d)
{
	if (!has_float(d))
		return SKIP "no D extension";
	csr_set(sstatus, SSTATUS_FS_INITIAL);
	return check_values();
}

static const char *check_flags(void)
{
	EXPECT("fdiv.d ft0, ft0, ft1", ONE, 0, 0, RNE, INF, DZ);
	EXPECT("fdiv.d ft0, ft0, ft1", 0, 0, 0, RNE, QNAN, NV);
	EXPECT("fsub.d ft0, ft0, ft1", INF, INF, 0, RNE, QNAN, NV);
	EXPECT("fsqrt.d ft0, ft0", ONE | MINUS, 0, 0, RNE, QNAN, NV);
	EXPECT("fmul.d ft0, ft0, ft1", MAXD, THREE, 0, RNE, INF, OF | NX);
	EXPECT("fmul.d ft0, ft0, ft1", MAXD, THREE, 0, RTZ, MAXD, OF | NX);
	EXPECT("fmul.d ft0, ft0, ft1", DENORM, 0x3fe0000000000000, 0, RNE, 0, UF | NX);
	EXPECT("fmul.d ft0, ft0, ft1", DENORM, 0x3fe0000000000000, 0, RUP, DENORM, UF | NX);
	EXPECT("fmul.d ft0, ft0, ft1", DENORM, ONE, 0, RNE, DENORM, 0);
	EXPECT("fadd.d ft0, ft0, ft1", QNAN | 5, ONE, 0, RNE, QNAN, 0);
	EXPECT("fadd.d ft0, ft0, ft1", SNAN, ONE, 0, RNE, QNAN, NV);
	EXPECT("fmadd.d ft0, ft0, ft1, ft2", INF, 0, QNAN, RNE, QNAN, NV);
	EXPECT("fmin.d ft0, ft0, ft1", QNAN, ONE, 0, RNE, ONE, 0);
	EXPECT("fmin.d ft0, ft0, ft1", SNAN, ONE, 0, RNE, ONE, NV);
	EXPECT("fmin.d ft0, ft0, ft1", 0, MINUS, 0, RNE, MINUS, 0);
	EXPECT("fmax.d ft0, ft0, ft1", 0, MINUS, 0, RNE, 0, 0);
	EXPECT_INT("feq.d %0, ft0, ft0", QNAN, 0, 0);
	EXPECT_INT("flt.d %0, ft0, ft0", QNAN, 0, NV);
	EXPECT_INT("fcvt.w.d %0, ft0", QNAN, INT32_MAX, NV);
	EXPECT_INT("fcvt.wu.d %0, ft0, rtz", ONE | MINUS, 0, NV);
	EXPECT_INT("fcvt.wu.d %0, ft0", 0x41efffffffe00000, UINT64_MAX, 0);
	EXPECT_INT("fcvt.l.d %0, ft0, rup", 0x3ff8000000000000, 2, NX);
	EXPECT_INT("fcvt.lu.d %0, ft0", INF, UINT64_MAX, NV);
	EXPECT_INT("fclass.d %0, ft0", SNAN, 1 << 8, 0);
	EXPECT_INT("fclass.d %0, ft0", DENORM | MINUS, 1 << 2, 0);
	return NULL;
}

const char *selftest_float_flags(struct demo *d)
{
	if (!has_float(d))
		return SKIP "no D extension";
	csr_set(sstatus, SSTATUS_FS_INITIAL);
	return check_flags();
}

static void use_float(void *arg)
{
	(void)arg;
	asm volatile(FLOAT("fmv.d.x ft0, zero"));
}

const char *selftest_float_off(struct demo *d)
{
	if (!has_float(d))
		return SKIP "no D extension";
	csr_clear(sstatus, SSTATUS_FS);
	REQUIRE(trap_cause_of(use_float, NULL) == CAUSE_ILLEGAL, "no trap while FS is off");
	csr_set(sstatus, SSTATUS_FS_INITIAL);
	REQUIRE(trap_cause_of(use_float, NULL) < 0, "a trap while FS is on");
	REQUIRE((csr_read(sstatus) & SSTATUS_FS) == SSTATUS_FS, "FS is not dirty after a write");
	REQUIRE(csr_read(sstatus) >> 63, "SD does not follow FS");
	return NULL;
}
