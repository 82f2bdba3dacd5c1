/* selftest_cpu.c - integer instructions, against the same sums done by other means. */
#include "selftest.h"
#include "x86.h"

enum { CF = 1, PF = 4, AF = 16, ZF = 64, SF = 128, OF = 2048, ALL = CF | PF | AF | ZF | SF | OF };

static const uint64_t edges[] = {
	0,           1,
	2,           7,
	0x7f,        0x80,
	0xff,        0x7fffffff,
	0x80000000,  0xffffffff,
	0x100000000, 0x123456789abcdef0,
	INT64_MAX,   (uint64_t)INT64_MIN,
	UINT64_MAX,  UINT64_MAX - 1,
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
	uint64_t low, high, slow, shigh;
	uint64_t want = high_product(a, b);

	asm("mulq %3" : "=a"(low), "=d"(high) : "0"(a), "r"(b) : "cc");
	asm("imulq %3" : "=a"(slow), "=d"(shigh) : "0"(a), "r"(b) : "cc");
	return high == want && low == slow &&
	       shigh == want - ((int64_t)a < 0 ? b : 0) - ((int64_t)b < 0 ? a : 0);
}

/* DIV undoes MUL when a remainder below the divisor is added. */
static bool quotients(uint64_t a, uint64_t b)
{
	uint64_t r = b ? a % b : 0, low, high, q, left;

	if (!b)
		return true;
	asm("mulq %3\n\taddq %4, %%rax\n\tadcq $0, %%rdx"
	    : "=a"(low), "=&d"(high)
	    : "0"(a), "r"(b), "r"(r)
	    : "cc");
	asm("divq %4" : "=a"(q), "=d"(left) : "0"(low), "1"(high), "r"(b) : "cc");
	return q == a && left == r;
}

const char *selftest_arithmetic(struct demo *d)
{
	(void)d;
	for (unsigned i = 0; i < ARRAY_SIZE(edges); i++)
		for (unsigned k = 0; k < ARRAY_SIZE(edges); k++) {
			REQUIRE(products(edges[i], edges[k]), "multiply");
			REQUIRE(quotients(edges[i], edges[k]), "divide");
		}
	return NULL;
}

static bool parity(uint8_t v)
{
	v ^= v >> 4;
	v ^= v >> 2;
	v ^= v >> 1;
	return !(v & 1);
}

static unsigned result_flags(uint8_t r)
{
	return (parity(r) ? PF : 0) | (r ? 0 : ZF) | (r & 0x80 ? SF : 0);
}

/* Every pair of bytes through ADC and SBB, the flags from wider sums. */
static bool byte_flags(unsigned a, unsigned b, unsigned carry)
{
	uint64_t flags;
	uint8_t r = a;
	int sum = (int8_t)a + (int8_t)b + (int)carry, diff = (int8_t)a - (int8_t)b - (int)carry;
	unsigned want;

	asm("btl $0, %3\n\tadcb %2, %0\n\tpushfq\n\tpopq %1"
	    : "+q"(r), "=&r"(flags)
	    : "q"((uint8_t)b), "r"(carry)
	    : "cc");
	want = result_flags(r) | (a + b + carry > 255 ? CF : 0) |
	       ((a & 15) + (b & 15) + carry > 15 ? AF : 0) | (sum != (int8_t)sum ? OF : 0);
	if (r != (uint8_t)(a + b + carry) || (flags & ALL) != want)
		return false;
	r = a;
	asm("btl $0, %3\n\tsbbb %2, %0\n\tpushfq\n\tpopq %1"
	    : "+q"(r), "=&r"(flags)
	    : "q"((uint8_t)b), "r"(carry)
	    : "cc");
	want = result_flags(r) | (a < b + carry ? CF : 0) | ((a & 15) < (b & 15) + carry ? AF : 0) |
	       (diff != (int8_t)diff ? OF : 0);
	return r == (uint8_t)(a - b - carry) && (flags & ALL) == want;
}

const char *selftest_flags(struct demo *d)
{
	(void)d;
	for (unsigned a = 0; a < 256; a++)
		for (unsigned b = 0; b < 256; b++)
			REQUIRE(byte_flags(a, b, (a ^ b) >> 3 & 1), "adc or sbb");
	return NULL;
}

const char *selftest_misaligned(struct demo *d)
{
	uint8_t *page = demo_alloc(d, 8192);

	for (unsigned i = 0; i < 8192; i++)
		page[i] = i * 7 + (i >> 8);
	for (unsigned i = 0; i < 16; i++) {
		uint8_t *p = page + (i < 8 ? i : 4096 - 16 + i);
		uint64_t v, want = 0;

		for (unsigned k = 8; k-- > 0;)
			want = want << 8 | p[k];
		asm volatile("movq (%1), %0" : "=r"(v) : "r"(p) : "memory");
		REQUIRE(v == want, "load");
		asm volatile("movq %0, (%1)" ::"r"(~want), "r"(p) : "memory");
		for (unsigned k = 0; k < 8; k++)
			REQUIRE(p[k] == (uint8_t)(~want >> (8 * k)), "store");
	}
	return NULL;
}

const char *selftest_strings(struct demo *d)
{
	uint8_t *from = demo_alloc(d, 8192), *to = demo_alloc(d, 8192);
	uint64_t count = 5000, di = (uintptr_t)to + 3, si = (uintptr_t)from + 1;
	uint8_t found = 0x5a;

	for (unsigned i = 0; i < 8192; i++)
		from[i] = i * 13 | 1;
	asm volatile("rep movsb" : "+c"(count), "+D"(di), "+S"(si)::"memory");
	REQUIRE(!count && di == (uintptr_t)to + 5003, "registers after rep movsb");
	REQUIRE(!memcmp(to + 3, from + 1, 5000) && !to[2] && !to[5003], "rep movsb");
	count = 100, di = (uintptr_t)to + 799;
	asm volatile("std; rep stosb; cld" : "+c"(count), "+D"(di) : "a"(0) : "memory");
	REQUIRE(!to[700] && !to[799] && to[699] && to[800], "rep stosb downwards");
	to[4000] = found;
	count = 8192, di = (uintptr_t)to;
	for (unsigned i = 0; i < 4000; i++)
		to[i] = to[i] == found ? 1 : to[i];
	asm volatile("repne scasb" : "+c"(count), "+D"(di) : "a"(found) : "memory", "cc");
	REQUIRE(di == (uintptr_t)to + 4001, "repne scasb");
	return NULL;
}
