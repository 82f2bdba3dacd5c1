/* k_mem.c - memory kernels: dependent loads over sets of several sizes, copies, the stack. */
#include <stdlib.h>
#include <string.h>

#include "bench.h"

/* A ring through all cells in random order, so that each load waits for the one before. */
static void **ring(size_t cells, size_t stride)
{
	void **base = aligned_alloc(4096, cells * stride);
	size_t *order = malloc(cells * sizeof(*order));
	uint32_t s = 7;

	for (size_t i = 0; i < cells; i++)
		order[i] = i;
	for (size_t i = cells - 1; i; i--) {
		size_t k = xorshift(&s) % (i + 1), t = order[i];

		order[i] = order[k];
		order[k] = t;
	}
	for (size_t i = 0; i < cells; i++)
		*(void **)((char *)base + order[i] * stride) =
		    (char *)base + order[(i + 1) % cells] * stride;
	free(order);
	return base;
}

static uint64_t chase(void ***at, size_t cells, size_t stride, uint64_t n)
{
	void **p;

	if (!*at)
		*at = ring(cells, stride);
	p = *at;
	while (n--)
		p = *p;
	*at = p;
	return (uintptr_t)p;
}

static uint64_t chase16k(uint64_t n)
{
	static void **at;

	return chase(&at, 16384 / 64, 64, n);
}

static uint64_t chase512k(uint64_t n)
{
	static void **at;

	return chase(&at, 524288 / 64, 64, n);
}

static uint64_t chase32m(uint64_t n)
{
	static void **at;

	return chase(&at, 33554432 / 64, 64, n);
}

/* A cell a page: what the look-up of translations costs. */
static uint64_t chase_pages(uint64_t n)
{
	static void **at;

	return chase(&at, 2048, 4096 + 64, n);
}

static uint64_t copy_bytes(uint64_t n)
{
	static char a[8192], b[8192];

	while (n--) {
		const char *s = a;
		char *d = b;

		for (int i = 0; i < 8192; i++)
			*d++ = *s++;
		a[n % 8192] ^= b[(n * 7) % 8192] + 1;
	}
	return (uint64_t)b[77];
}

static uint64_t copy_libc(uint64_t n)
{
	static char a[65536], b[65536];

	while (n--) {
		size_t len = sizeof(a) - 1 - n % 5;

		hide(len);
		memcpy(b, a, len);
		a[n % 65536] ^= b[(n * 7) % 65536] + 1;
	}
	return (uint64_t)b[77];
}

static uint64_t stack_slots(uint64_t n)
{
	volatile uint32_t v[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };

	while (n--)
		for (int i = 0; i < 8; i++)
			v[i] = v[(i + 1) % 8] + v[i];
	return v[3];
}

const struct kernel mem_kernels[] = {
	{ "mem", "chase-16k", chase16k, 10000 },     { "mem", "chase-512k", chase512k, 10000 },
	{ "mem", "chase-32m", chase32m, 10000 },     { "mem", "chase-pages", chase_pages, 10000 },
	{ "mem", "copy-bytes", copy_bytes, 4 },      { "mem", "copy-libc", copy_libc, 10 },
	{ "mem", "stack-slots", stack_slots, 1000 }, { 0 },
};
