/* selftest_cpu.c - integer instructions, against the same sums done by other means. */
#include "riscv.h"
#include "selftest.h"

#define ALU(insn, a, b)                                                       \
	({                                                                    \
		uint64_t r_;                                                  \
		asm volatile(insn " %0, %1, %2" : "=r"(r_) : "r"(a), "r"(b)); \
		r_;                                                           \
	})

static const uint64_t edges[] = {
	0,
	1,
	2,
	7,
	0x7fffffff,
	0x80000000,
	0xffffffff,
	0x100000000,
	0x123456789abcdef0,
	INT64_MAX,
	(uint64_t)INT64_MIN,
	UINT64_MAX,
	UINT64_MAX - 1,
	(uint64_t)INT32_MIN,
};

/* The upper half from four products of halves. */
static uint64_t high_product(uint64_t a, uint64_t b)
{
	uint64_t al = (uint32_t)a, ah = a >> 32, bl = (uint32_t)b, bh = b >> 32;
	uint64_t mid = ah * bl + (al * bl >> 32), mid2 = al * bh + (uint32_t)mid;

	return ah * bh + (mid >> 32) + (mid2 >> 32);
}

static bool products(uint64_t a, uint64_t b)
{
	uint64_t high = high_product(a, b);
	uint64_t mixed = high - ((int64_t)a < 0 ? b : 0);

	return ALU("mulhu", a, b) == high && ALU("mulhsu", a, b) == mixed &&
	       ALU("mulh", a, b) == mixed - ((int64_t)b < 0 ? a : 0) &&
	       ALU("mulw", a, b) == (uint64_t)(int32_t)ALU("mul", a, b);
}

/* Shift and subtract. Division by zero: ISA volume I, table "Semantics for division by zero". */
static bool quotients(uint64_t a, uint64_t b)
{
	uint64_t q = 0, r = 0, sq, sr;
	bool na = (int64_t)a < 0, nb = (int64_t)b < 0;
	uint64_t ma = na ? -a : a, mb = nb ? -b : b;

	for (int i = 63; i >= 0 && b; i--) {
		bool carry = r >> 63;

		r = r << 1 | (a >> i & 1);
		if (carry || r >= b)
			r -= b, q |= UINT64_C(1) << i;
	}
	if (!b)
		q = UINT64_MAX, r = a;
	sq = b ? ALU("divu", ma, mb) : UINT64_MAX;
	sq = b && na != nb ? -sq : sq;
	sr = b ? ALU("remu", ma, mb) : a;
	sr = b && na ? -sr : sr;
	return ALU("divu", a, b) == q && ALU("remu", a, b) == r && ALU("div", a, b) == sq &&
	       ALU("rem", a, b) == sr;
}

const char *selftest_arithmetic(struct demo *d)
{
	(void)d;
	for (unsigned i = 0; i < ARRAY_SIZE(edges); i++)
		for (unsigned k = 0; k < ARRAY_SIZE(edges); k++) {
			uint64_t a = edges[i], b = edges[k];

			REQUIRE(products(a, b), "multiply");
			REQUIRE(quotients(a, b), "divide");
			REQUIRE(ALU("sltu", a, b) == (ALU("sub", a, b) > a), "unsigned compare");
			REQUIRE(ALU("slt", a, b) ==
				    ALU("sltu", a ^ (UINT64_C(1) << 63), b ^ (UINT64_C(1) << 63)),
				"signed compare");
			REQUIRE(ALU("addw", a, b) == (uint64_t)(int64_t)(int32_t)(a + b), "addw");
			REQUIRE((ALU("and", a, b) | ALU("xor", a, b)) == ALU("or", a, b), "logic");
		}
	REQUIRE(ALU("divw", 0x80000000, -1l) == (uint64_t)INT32_MIN, "divw overflow");
	REQUIRE(ALU("remw", 0x80000000, -1l) == 0, "remw overflow");
	REQUIRE(ALU("divuw", 0xffffffff00000005, 0x100000000) == UINT64_MAX, "divuw by zero");
	return NULL;
}

const char *selftest_shifts(struct demo *d)
{
	(void)d;
	for (unsigned i = 0; i < ARRAY_SIZE(edges); i++) {
		uint64_t a = edges[i], left = a, right = a;
		int64_t arithmetic = a;

		for (unsigned n = 0; n < 64; n++) {
			/* Only the low six bits count, five for words. */
			REQUIRE(ALU("sll", a, n | 0x40) == left, "sll");
			REQUIRE(ALU("srl", a, n | 0x80) == right, "srl");
			REQUIRE(ALU("sra", a, n | 0xc0) == (uint64_t)arithmetic, "sra");
			if (n < 32) {
				REQUIRE(ALU("sllw", a, n | 0x20) == (uint64_t)(int32_t)left,
					"sllw");
				REQUIRE(ALU("srlw", a, n | 0x20) ==
					    (uint64_t)(int64_t)(int32_t)((uint32_t)a >> n),
					"srlw");
				REQUIRE(ALU("sraw", a, n | 0x20) ==
					    (uint64_t)(int64_t)((int32_t)a >> n),
					"sraw");
			}
			left *= 2;
			right /= 2;
			arithmetic = (arithmetic - (arithmetic & 1)) / 2;
		}
	}
	return NULL;
}

#define CHECK_SIZE(type, load, store)                                                      \
	do {                                                                               \
		type v_, want_ = 0, put_ = (type)UINT64_C(0x8877665544332211);             \
                                                                                           \
		for (unsigned k_ = sizeof(type); k_-- > 0;)                                \
			want_ = (type)((uint64_t)want_ << 8 | p[k_]);                      \
		asm volatile(load " %0, (%1)" : "=r"(v_) : "r"(p) : "memory");             \
		REQUIRE(v_ == want_, load);                                                \
		asm volatile(store " %0, (%1)" ::"r"(put_), "r"(p) : "memory");            \
		for (unsigned k_ = 0; k_ < sizeof(type); k_++, put_ = (uint64_t)put_ >> 8) \
			REQUIRE(p[k_] == (uint8_t)put_, store);                            \
	} while (0)

/* Every offset within a word, and across a page. Whether hardware or firmware does it is theirs. */
const char *selftest_misaligned(struct demo *d)
{
	uint8_t *page = demo_alloc(d, 8192);

	for (unsigned i = 0; i < 8192; i++)
		page[i] = i * 7 + (i >> 8);
	for (unsigned i = 0; i < 16; i++) {
		uint8_t *p = page + (i < 8 ? i : 4096 - 16 + i);

		CHECK_SIZE(int64_t, "ld", "sd");
		CHECK_SIZE(int32_t, "lw", "sw");
		CHECK_SIZE(uint32_t, "lwu", "sw");
		CHECK_SIZE(int16_t, "lh", "sh");
		CHECK_SIZE(uint16_t, "lhu", "sh");
	}
	return NULL;
}
