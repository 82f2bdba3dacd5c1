/*
 * bench.c - "make bench": the guest program natively, under vmd's engines and under the peer, in
 * turns, and the table of multiples of native.
 *
 *	bench [--json] [--rounds N] [--only WORDS] [--seconds S] [--engines jit,interpreter]
 *	      [--peer PROGRAM] --kernel IMAGE --native PROGRAM --guest PROGRAM --runner VMRUN
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/runner.h"

static struct {
	bool json;
	int rounds;
	const char *only, *seconds, *engines, *peer, *kernel, *native, *guest, *runner;
	char initrd[64], append[512];
} o = {
	.rounds = 3, .only = "", .seconds = "0.2", .engines = "jit", .peer = "qemu-system-riscv64"
};

static void parse(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "only", required_argument, NULL, 'o' },
		{ "seconds", required_argument, NULL, 's' },
		{ "engines", required_argument, NULL, 'e' },
		{ "peer", required_argument, NULL, 'p' },
		{ "kernel", required_argument, NULL, 'k' },
		{ "native", required_argument, NULL, 'n' },
		{ "guest", required_argument, NULL, 'g' },
		{ "runner", required_argument, NULL, 'v' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) >= 0)
		switch (c) {
		case 'j': o.json = true; break;
		case 'r': o.rounds = atoi(optarg); break;
		case 'o': o.only = optarg; break;
		case 's': o.seconds = optarg; break;
		case 'e': o.engines = optarg; break;
		case 'p': o.peer = optarg; break;
		case 'k': o.kernel = optarg; break;
		case 'n': o.native = optarg; break;
		case 'g': o.guest = optarg; break;
		case 'v': o.runner = optarg; break;
		default: exit(2);
		}
	if (!o.kernel || !o.native || !o.guest || !o.runner) {
		fprintf(stderr, "bench: --kernel, --native, --guest and --runner are needed\n");
		exit(2);
	}
}

static void fill(struct system *s, const char *name, const char *const *words)
{
	unsigned n = 0;

	s->name = name;
	while (words[n]) {
		s->argv[n] = strdup(words[n]);
		n++;
	}
	s->argv[n] = NULL;
}

static unsigned make_systems(struct system *s)
{
	static char engines[64];
	char *save = NULL, *engine;
	unsigned n = 0;

	fill(&s[n++], "native", (const char *const[]){ o.native, NULL });
	fill(&s[n++], "peer",
	     (const char *const[]){ o.peer, "-M", "virt", "-m", "512", "-display", "none",
				    "-monitor", "none", "-serial", "stdio", "-no-reboot", "-kernel",
				    o.kernel, "-initrd", o.initrd, "-append", o.append, NULL });
	snprintf(engines, sizeof(engines), "%s", o.engines);
	for (engine = strtok_r(engines, ",", &save); engine && n < SYSTEMS_MAX;
	     engine = strtok_r(NULL, ",", &save))
		fill(&s[n++], engine,
		     (const char *const[]){ o.runner, "--accel", engine, "--memory", "512M",
					    "--kernel", o.kernel, "--initrd", o.initrd, "--append",
					    o.append, NULL });
	return n;
}

int main(int argc, char **argv)
{
	static struct results r;
	struct system systems[SYSTEMS_MAX];
	unsigned n;
	bool all = true;

	parse(argc, argv);
	snprintf(o.initrd, sizeof(o.initrd), "/tmp/vmd-bench-%d.cpio", (int)getpid());
	if (!write_initrd(o.initrd, o.guest)) {
		fprintf(stderr, "bench: cannot make a RAM disk of %s\n", o.guest);
		return 1;
	}
	snprintf(o.append, sizeof(o.append),
		 "console=ttyS0 quiet BENCH_SECONDS=%s BENCH_REPEATS=2 BENCH_ONLY=%s", o.seconds,
		 o.only);
	setenv("BENCH_SECONDS", o.seconds, 1);
	setenv("BENCH_REPEATS", "2", 1);
	setenv("BENCH_ONLY", o.only, 1);
	n = make_systems(systems);
	for (int round = 0; round < o.rounds; round++)
		for (unsigned s = 0; s < n; s++) {
			fprintf(stderr, "bench: round %d of %d, %s\n", round + 1, o.rounds,
				systems[s].name);
			if (!run_system(&systems[s], s, &r, 1800)) {
				fprintf(stderr, "bench: %s did not get to the end\n",
					systems[s].name);
				all = false;
			}
		}
	o.json ? print_json(&r, systems, n) : print_table(&r, systems, n);
	unlink(o.initrd);
	return all ? 0 : 1;
}
