#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "tests/guest/vmrun.h"

static const char usage_text[] =
    "usage: vmrun [OPTION]...\n"
    "  --program PATH       vmd-vm (preset: ./vmd-vm, or $VMD_VM)\n"
    "  --machine NAME --cpu NAME --cpus N --memory SIZE --accel NAME\n"
    "  --kernel F --initrd F --firmware F --append TEXT\n"
    "  --disk PATH[,ro][,snapshot]   --share DIR   --net FD (or: none)\n"
    "  --must RE            the console must have shown this at the end\n"
    "  --bad RE             stop when it shows this\n"
    "  --until RE           stop when it shows this (or type --send TEXT then)\n"
    "  --timeout S  --log F  --input  --quiet  --verbose  --no-jail  --pid-namespace\n"
    "  --shake              pause it and let it go on, again and again\n"
    "  --status  --cpu-time  --show-memory (at --until)\n"
    "  --memory-limit SIZE  wait from --until on, until its own memory is that small\n";

static const struct option longs[] = {
	{ "program", required_argument, NULL, 'P' },
	{ "machine", required_argument, NULL, 'M' },
	{ "cpu", required_argument, NULL, 'U' },
	{ "cpus", required_argument, NULL, 'c' },
	{ "memory", required_argument, NULL, 'm' },
	{ "accel", required_argument, NULL, 'a' },
	{ "kernel", required_argument, NULL, 'k' },
	{ "initrd", required_argument, NULL, 'i' },
	{ "firmware", required_argument, NULL, 'f' },
	{ "append", required_argument, NULL, 'A' },
	{ "disk", required_argument, NULL, 'd' },
	{ "share", required_argument, NULL, 's' },
	{ "net", required_argument, NULL, 'n' },
	{ "must", required_argument, NULL, 'E' },
	{ "bad", required_argument, NULL, 'B' },
	{ "until", required_argument, NULL, 'u' },
	{ "send", required_argument, NULL, 'S' },
	{ "timeout", required_argument, NULL, 't' },
	{ "log", required_argument, NULL, 'l' },
	{ "memory-limit", required_argument, NULL, 'L' },
	{ "input", no_argument, NULL, 'I' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "verbose", no_argument, NULL, 'v' },
	{ "no-jail", no_argument, NULL, 'J' },
	{ "pid-namespace", no_argument, NULL, 'N' },
	{ "shake", no_argument, NULL, 'K' },
	{ "status", no_argument, NULL, 'T' },
	{ "cpu-time", no_argument, NULL, 'C' },
	{ "show-memory", no_argument, NULL, 'X' },
	{ NULL, 0, NULL, 0 },
};

static bool add_disk(struct options *o, char *arg)
{
	struct disk_arg *d = &o->disks[o->n_disks];
	char *word = strtok(arg, ",");

	if (o->n_disks == OPTIONS_MAX || !word)
		return false;
	d->path = word;
	while ((word = strtok(NULL, ","))) {
		d->readonly |= !strcmp(word, "ro");
		d->snapshot |= !strcmp(word, "snapshot");
	}
	o->n_disks++;
	return true;
}

static bool add_net(struct options *o, const char *arg)
{
	if (o->n_nets == OPTIONS_MAX)
		return false;
	o->net_fds[o->n_nets++] = strcmp(arg, "none") ? atoi(arg) : -1;
	return true;
}

static bool set_accel(struct options *o, const char *arg)
{
	int v = rpc_enum_value(&vm_accel_enum, arg);

	o->accel = (enum vm_accel)v;
	return v >= 0;
}

static bool one_value(struct options *o, int c, char *arg)
{
	switch (c) {
	case 'P': o->program = arg; break;
	case 'M': o->machine = arg; break;
	case 'U': o->cpu = arg; break;
	case 'c': o->cpus = strtoul(arg, NULL, 10); break;
	case 'm': return size_parse(arg, &o->memory);
	case 'a': return set_accel(o, arg);
	case 'k': o->kernel = arg; break;
	case 'i': o->initrd = arg; break;
	case 'f': o->firmware = arg; break;
	case 'A': o->append = arg; break;
	case 'd': return add_disk(o, arg);
	case 's':
		if (o->n_shares == OPTIONS_MAX)
			return false;
		o->shares[o->n_shares++] = arg;
		break;
	case 'n': return add_net(o, arg);
	case 'E': o->must = arg; break;
	case 'B': o->bad = arg; break;
	case 'u': o->until = arg; break;
	case 'S': o->send = arg; break;
	case 't': o->timeout = atoll(arg); break;
	case 'l': o->log = arg; break;
	case 'L': return size_parse(arg, &o->memory_limit);
	default: return false;
	}
	return true;
}

static bool one_flag(struct options *o, int c)
{
	switch (c) {
	case 'I': return o->input = true;
	case 'q': return o->quiet = true;
	case 'v': return o->verbose = true;
	case 'J': return o->no_jail = true;
	case 'N': return o->pid_namespace = true;
	case 'K': return o->shake = true;
	case 'T': return o->show_status = true;
	case 'C': return o->show_cpu = true;
	case 'X': return o->show_memory = true;
	default: return false;
	}
}

bool options_parse(int argc, char **argv, struct options *o)
{
	const char *program = getenv("VMD_VM");
	int c;

	*o = (struct options){ .program = program ? program : "./vmd-vm",
			       .machine = "riscv-virt",
			       .cpus = 1,
			       .memory = UINT64_C(256) << 20,
			       .timeout = 300 };
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (!one_flag(o, c) && !one_value(o, c, optarg)) {
			fputs(usage_text, stderr);
			return false;
		}
	}
	return optind == argc;
}
