/*
 * boot.c - a Linux kernel on the RISC-V virt board with its console on standard output: for trying
 * things by hand.
 *
 *	boot [-i ISA] [-e jit|interpreter] [-c CPUS] [-m MIB] [-f FIRMWARE] [-r INITRD] [-a APPEND]
 *	     [-t SECONDS] [-u TEXT] KERNEL
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "emul/jit/engines.h"
#include "tests/guest/riscv/vm.h"

static void load(const char *path, struct machine_blob *b)
{
	struct err e = { 0 };

	if (vm_blob(path, b, &e) < 0) {
		fprintf(stderr, "%s: %s\n", path, e.msg);
		exit(EXIT_FAILURE);
	}
}

int main(int argc, char **argv)
{
	struct machine_config config = { .cpus = 1,
					 .memory = 256 * MiB,
					 .append = "console=ttyS0" };
	const struct engine_class *engine = &interpreter_engine;
	const char *isa = "riscv64", *until = NULL;
	struct vm_result result;
	struct err e = { 0 };
	int c, limit = 600;

	while ((c = getopt(argc, argv, "i:e:c:m:f:r:a:t:u:")) != -1) {
		switch (c) {
		case 'i': isa = optarg; break;
		case 'e': engine = strcmp(optarg, "jit") ? &interpreter_engine : &jit_engine; break;
		case 'c': config.cpus = (unsigned)atoi(optarg); break;
		case 'm': config.memory = (uint64_t)atoi(optarg) * MiB; break;
		case 'f': load(optarg, &config.firmware); break;
		case 'r': load(optarg, &config.initrd); break;
		case 'a': config.append = optarg; break;
		case 't': limit = atoi(optarg); break;
		case 'u': until = optarg; break;
		default: return EXIT_FAILURE;
		}
	}
	if (optind < argc)
		load(argv[optind], &config.kernel);
	if (vm_run("riscv-virt", isa, engine, &config, until, limit, true, &result, &e) < 0) {
		fprintf(stderr, "boot: %s\n", e.msg);
		return EXIT_FAILURE;
	}
	fprintf(stderr, "\nboot: off %d reset %d dead %d code %d, %.2f CPU seconds\n", result.off,
		result.reset, result.dead, result.code, result.cpu);
	strbuf_free(&result.console);
	free((void *)config.kernel.data);
	free((void *)config.initrd.data);
	free((void *)config.firmware.data);
	return EXIT_SUCCESS;
}
