/* vmrun.h - the command line of vmrun.c. */
#ifndef TESTS_GUEST_VMRUN_H
#define TESTS_GUEST_VMRUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/types.h"

enum { OPTIONS_MAX = 8 };

struct disk_arg {
	const char *path;
	bool readonly, snapshot;
};

struct options {
	const char *program;
	const char *machine, *cpu, *kernel, *initrd, *firmware, *append, *log;
	uint64_t cpus, memory;
	enum vm_accel accel;
	struct disk_arg disks[OPTIONS_MAX];
	const char *shares[OPTIONS_MAX];
	int net_fds[OPTIONS_MAX]; /* -1: a card without a cable */
	size_t n_disks, n_shares, n_nets;
	const char *must, *bad, *until, *send; /* regular expressions; what to type at until */
	uint64_t memory_limit;
	int64_t timeout;
	bool verbose, quiet, input, no_jail, pid_namespace, shake, show_status, show_cpu,
	    show_memory;
};

bool options_parse(int argc, char **argv, struct options *o);

#endif
