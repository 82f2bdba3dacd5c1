/*
 * runner.h - the parts of the benchmark runner: systems that run the guest program, samples of
 * their CPU time, and the table.
 */
#ifndef TESTS_BENCH_RUNNER_H
#define TESTS_BENCH_RUNNER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { SYSTEMS_MAX = 4, KERNELS_MAX = 64, SAMPLES_MAX = 64 };

/* The command that runs the guest program in one system. */
struct system {
	const char *name;
	char *argv[32];
};

struct measured {
	double ns[SAMPLES_MAX]; /* CPU nanoseconds an iteration */
	unsigned n;
};

struct result {
	char class[16], kernel[32];
	struct measured by[SYSTEMS_MAX];
};

struct results {
	struct result row[KERNELS_MAX];
	unsigned n;
	struct measured boot[SYSTEMS_MAX]; /* CPU seconds until the guest program runs, in ns */
};

/* CPU time of a process and all it started, user and system, in nanoseconds. */
double cpu_of_tree(pid_t pid);

/* Runs a system once, and adds what it measured. False: it did not get to the end. */
bool run_system(const struct system *s, unsigned index, struct results *r, double limit_s);

/* A RAM disk (cpio, "newc") with that program as /init. False: it cannot be written. */
bool write_initrd(const char *path, const char *program);

double median(const struct measured *m);
/* systems[0] is the native one: the others are multiples of it. */
void print_table(const struct results *r, const struct system *systems, unsigned n_systems);
void print_json(const struct results *r, const struct system *systems, unsigned n_systems);

#endif
