/*
 * bench.h - the benchmark guest: kernels of the classes that matter (int, mem, fp, ctl, os, smc,
 * cold). One static program, built for the guest and natively for the host; it runs as /init or
 * from a shell, and talks to the runner (../bench.c) on its standard output:
 *
 *	> CLASS NAME          a measurement begins
 *	< CLASS NAME COUNT SUM [NS]   it has ended, after COUNT iterations; NS: by the guest's own
 *clock, for what is too short to be sampled from outside
 */
#ifndef TESTS_BENCH_GUEST_BENCH_H
#define TESTS_BENCH_GUEST_BENCH_H

#include <stdint.h>

struct kernel {
	const char *class, *name;
	/* Do n iterations; the result depends on all of them, so that nothing can be left out. */
	uint64_t (*run)(uint64_t n);
	uint64_t step; /* iterations to begin with: some milliseconds on a slow machine */
};

extern const struct kernel int_kernels[], mem_kernels[], fp_kernels[], ctl_kernels[], os_kernels[],
    smc_kernels[], cold_kernels[]; /* each ends with a NULL name */

/* What the compiler must not see through. */
#define hide(x) __asm__ volatile("" : "+r"(x))

static inline uint32_t xorshift(uint32_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 17;
	*s ^= *s << 5;
	return *s;
}

#endif
