/* k_int.c - integer kernels: arithmetic, tables, sorting; what a compiler or a database does. */
#include <string.h>

#include "bench.h"

static uint64_t crc_bits(uint64_t n)
{
	uint32_t crc = ~0u;

	for (uint64_t i = 0; i < n; i++) {
		crc ^= (uint32_t)i & 0xff;
		for (int b = 0; b < 8; b++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return crc;
}

/* FIPS 180-4, section 6.2; constants are the fractional parts of cube roots, made at the start. */
static uint32_t sha_k[64];

static uint32_t frac_cbrt(unsigned p)
{
	/* 2^32 times the fraction of the cube root of p, by bisection in integers. */
	unsigned __int128 lo = 0, hi = (unsigned __int128)8 << 32,
			  target = (unsigned __int128)p << 96;

	while (hi - lo > 1) {
		unsigned __int128 mid = (lo + hi) / 2;

		if (mid * mid <= target / mid)
			lo = mid;
		else
			hi = mid;
	}
	return (uint32_t)lo;
}

static void sha_constants(void)
{
	unsigned n = 0;

	for (unsigned p = 2; n < 64; p++) {
		unsigned d = 2;

		while (d * d <= p && p % d)
			d++;
		if (d * d > p)
			sha_k[n++] = frac_cbrt(p);
	}
}

static uint32_t rotr(uint32_t x, unsigned n)
{
	return x >> n | x << (32 - n);
}

static uint64_t sha256_blocks(uint64_t n)
{
	uint32_t h[8] = { 1, 2, 3, 4, 5, 6, 7, 8 }, w[64];

	if (!sha_k[0])
		sha_constants();
	for (uint64_t i = 0; i < n; i++) {
		uint32_t v[8];

		for (unsigned t = 0; t < 16; t++)
			w[t] = h[t % 8] + t + (uint32_t)i;
		for (unsigned t = 16; t < 64; t++)
			w[t] =
			    (rotr(w[t - 2], 17) ^ rotr(w[t - 2], 19) ^ w[t - 2] >> 10) + w[t - 7] +
			    (rotr(w[t - 15], 7) ^ rotr(w[t - 15], 18) ^ w[t - 15] >> 3) + w[t - 16];
		memcpy(v, h, sizeof(v));
		for (unsigned t = 0; t < 64; t++) {
			uint32_t t1 = v[7] + (rotr(v[4], 6) ^ rotr(v[4], 11) ^ rotr(v[4], 25)) +
				      ((v[4] & v[5]) ^ (~v[4] & v[6])) + sha_k[t] + w[t];
			uint32_t t2 = (rotr(v[0], 2) ^ rotr(v[0], 13) ^ rotr(v[0], 22)) +
				      ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));

			memmove(v + 1, v, 7 * sizeof(v[0]));
			v[4] += t1;
			v[0] = t1 + t2;
		}
		for (unsigned t = 0; t < 8; t++)
			h[t] += v[t];
	}
	return h[0];
}

static void quick(int32_t *a, int lo, int hi)
{
	while (lo < hi) {
		int32_t p = a[(lo + hi) / 2];
		int i = lo, j = hi;

		while (i <= j) {
			while (a[i] < p)
				i++;
			while (a[j] > p)
				j--;
			if (i <= j) {
				int32_t t = a[i];

				a[i++] = a[j];
				a[j--] = t;
			}
		}
		quick(a, lo, j);
		lo = i;
	}
}

static uint64_t quicksort(uint64_t n)
{
	static int32_t a[4096];
	uint64_t sum = 0;
	uint32_t s = 1;

	for (uint64_t i = 0; i < n; i++) {
		for (int k = 0; k < 4096; k++)
			a[k] = (int32_t)xorshift(&s);
		quick(a, 0, 4095);
		sum += (uint32_t)a[100];
	}
	return sum;
}

static uint64_t matrix(uint64_t n)
{
	static int32_t a[48][48], b[48][48], c[48][48];

	for (uint64_t r = 0; r < n; r++)
		for (int i = 0; i < 48; i++)
			for (int j = 0; j < 48; j++) {
				int32_t s = (int32_t)r;

				for (int k = 0; k < 48; k++)
					s += a[i][k] * b[k][j];
				c[i][j] = s;
				a[j][i] ^= s;
				b[i][j] += 3;
			}
	return (uint32_t)c[5][7];
}

/* Words, numbers and blanks in a text, a character at a time. */
static uint64_t state_machine(uint64_t n)
{
	static const char text[] =
	    "let x1 = 42 in while (x1 > 0) { print 3.14; x1 = x1 - 1 } -- done\n";
	uint64_t words = 0, numbers = 0;

	for (uint64_t i = 0; i < n; i++) {
		enum { BLANK, WORD, NUMBER } state = BLANK;

		for (const char *p = text; *p; p++) {
			int letter = (*p | 32) >= 'a' && (*p | 32) <= 'z',
			    digit = *p >= '0' && *p <= '9';

			switch (state) {
			case BLANK:
				if (letter)
					state = WORD, words++;
				else if (digit)
					state = NUMBER, numbers++;
				break;
			case WORD:
				if (!letter && !digit)
					state = BLANK;
				break;
			case NUMBER:
				if (!digit && *p != '.')
					state = BLANK;
				break;
			}
		}
	}
	return words * 1000 + numbers;
}

static uint64_t sieve(uint64_t n)
{
	static uint8_t flags[8192];
	uint64_t count = 0;

	for (uint64_t r = 0; r < n; r++) {
		memset(flags, 1, sizeof(flags));
		for (int i = 2; i < 8192; i++) {
			if (!flags[i])
				continue;
			count++;
			for (int k = i + i; k < 8192; k += i)
				flags[k] = 0;
		}
	}
	return count;
}

static uint64_t gcd(uint64_t n)
{
	uint64_t sum = 0;
	uint32_t s = 12345;

	for (uint64_t i = 0; i < n; i++) {
		uint32_t a = xorshift(&s), b = xorshift(&s) | 1;

		while (b) {
			uint32_t t = a % b;

			a = b;
			b = t;
		}
		sum += a;
	}
	return sum;
}

static uint64_t multiply(uint64_t n)
{
	uint64_t a = 0x9e3779b97f4a7c15u, sum = 0;

	for (uint64_t i = 0; i < n; i++) {
		unsigned __int128 p = (unsigned __int128)a * (a ^ i);

		a = (uint64_t)(p >> 64) ^ (uint64_t)p;
		sum += a * 31 + (a >> 7);
	}
	return sum;
}

static uint64_t hash_lists(uint64_t n)
{
	static struct node {
		struct node *next;
		uint32_t key, count;
	} pool[2048], *heads[256];
	unsigned used = 0;
	uint64_t sum = 0;
	uint32_t s = 99;

	memset(heads, 0, sizeof(heads));
	for (uint64_t i = 0; i < n; i++) {
		uint32_t key = xorshift(&s) % 3000;
		struct node **h = &heads[key * 2654435761u >> 24], *p = *h;

		while (p && p->key != key)
			p = p->next;
		if (!p && used < 2048) {
			p = &pool[used++];
			*p = (struct node){ *h, key, 0 };
			*h = p;
		}
		sum += p ? ++p->count : 0;
	}
	return sum;
}

const struct kernel int_kernels[] = {
	{ "int", "crc-bits", crc_bits, 10000 },
	{ "int", "sha256", sha256_blocks, 100 },
	{ "int", "quicksort", quicksort, 1 },
	{ "int", "matrix", matrix, 1 },
	{ "int", "state-machine", state_machine, 200 },
	{ "int", "sieve", sieve, 2 },
	{ "int", "gcd", gcd, 500 },
	{ "int", "multiply", multiply, 10000 },
	{ "int", "hash-lists", hash_lists, 5000 },
	{ 0 },
};
