/* k_cold.c - three thousand small functions, each run once: what it costs to meet new code. */
#include "bench.h"

#define FN(n)                                                      \
	static uint64_t __attribute__((noinline)) f##n(uint64_t x) \
	{                                                          \
		x ^= x >> 3;                                       \
		x = x * (0x##n##u | 1) + (x << 2);                 \
		if (x & 0x40)                                      \
			x += 0x##n##u;                             \
		return x - (x >> 5);                               \
	}
#define REF(n) f##n,

#define TEN(M, p) M(p##0) M(p##1) M(p##2) M(p##3) M(p##4) M(p##5) M(p##6) M(p##7) M(p##8) M(p##9)
#define HUNDRED(M, p)                                                                              \
	TEN(M, p##0)                                                                               \
	TEN(M, p##1)                                                                               \
	TEN(M, p##2) TEN(M, p##3) TEN(M, p##4) TEN(M, p##5) TEN(M, p##6) TEN(M, p##7) TEN(M, p##8) \
	    TEN(M, p##9)
#define THOUSAND(M, p)                                                                       \
	HUNDRED(M, p##0)                                                                     \
	HUNDRED(M, p##1)                                                                     \
	HUNDRED(M, p##2) HUNDRED(M, p##3) HUNDRED(M, p##4) HUNDRED(M, p##5) HUNDRED(M, p##6) \
	    HUNDRED(M, p##7) HUNDRED(M, p##8) HUNDRED(M, p##9)
#define ALL(M) THOUSAND(M, 1) THOUSAND(M, 2) THOUSAND(M, 3)

ALL(FN)

static uint64_t (*const functions[])(uint64_t) = { ALL(REF) };

static uint64_t once(uint64_t n)
{
	uint64_t sum = n;

	for (unsigned i = 0; i < sizeof(functions) / sizeof(functions[0]); i++)
		sum = functions[i](sum);
	return sum;
}

const struct kernel cold_kernels[] = {
	{ "cold", "functions", once, 1 },
	{ 0 },
};
