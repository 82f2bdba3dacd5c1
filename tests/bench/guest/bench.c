/* bench.c - runs each kernel long enough, several times; see bench.h. */
#define _GNU_SOURCE
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const struct kernel *const groups[] = { int_kernels, mem_kernels, fp_kernels,  ctl_kernels,
					       os_kernels,  smc_kernels, cold_kernels };

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* How many iterations fill the time. */
static uint64_t calibrate(const struct kernel *k, double seconds)
{
	uint64_t n = k->step;

	for (;;) {
		double t = now();

		k->run(n);
		t = now() - t;
		if (t > seconds / 4)
			return (uint64_t)((double)n * seconds / t) + 1;
		n *= t < seconds / 40 ? 8 : 2;
	}
}

static void measure(const struct kernel *k, double seconds, int repeats)
{
	uint64_t n, sum = 0;
	double began;

	if (!strcmp(k->class, "cold")) { /* once: that is the point */
		printf("> %s %s\n", k->class, k->name);
		began = now();
		sum = k->run(1);
		began = now() - began;
		printf("< %s %s 1 %llx %.0f\n", k->class, k->name, (unsigned long long)sum,
		       began * 1e9);
		return;
	}
	n = calibrate(k, seconds);
	for (int i = 0; i < repeats; i++) {
		printf("> %s %s\n", k->class, k->name);
		sum += k->run(n);
		printf("< %s %s %llu %llx\n", k->class, k->name, (unsigned long long)n,
		       (unsigned long long)sum);
	}
}

/* As /init there is nothing yet: the few things that kernels of class os need. */
static void be_init(void)
{
	mkdir("/proc", 0755);
	mkdir("/dev", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
}

static const char *option(const char *name, const char *preset)
{
	const char *v = getenv(name);

	return v ? v : preset;
}

int main(int argc, char **argv)
{
	double seconds = atof(option("BENCH_SECONDS", "0.4"));
	int repeats = atoi(option("BENCH_REPEATS", "5"));
	const char *only = option("BENCH_ONLY", "");

	if (argc > 1 && !strcmp(argv[1], "nothing")) /* what "fork+exec" executes */
		return 0;
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (getpid() == 1)
		be_init();
	printf("= ready\n");
	for (size_t g = 0; g < sizeof(groups) / sizeof(groups[0]); g++)
		for (const struct kernel *k = groups[g]; k->name; k++)
			if (!*only || strstr(only, k->class) || strstr(only, k->name))
				measure(k, seconds, repeats);
	printf("= done\n");
	fflush(stdout);
	if (getpid() == 1)
		reboot(RB_POWER_OFF);
	return 0;
}
