/*
 * main.c - vmd-vm, the process of one virtual machine. The daemon starts it:
 *
 *	vmd-vm NAME --control-fd=N     serve the VM; N is a listening SEQPACKET socket
 *	vmd-vm --describe              print what this build can emulate, as JSON
 *	vmd-vm --describe-kvm          measure what KVM is good for here, and print it as JSON
 *	vmd-vm --self-test-jail        try to break out of the jail; 0 when nothing worked
 *
 * --no-jail leaves the jail open: for debuggers and profilers, never for guests one does not trust.
 * --pid-namespace puts it into a PID namespace of its own, which makes it another process than the
 * one that was started: a child of the same parent, whose number worker.hello tells.
 */
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/loop.h"
#include "vmproc/sandbox.h"
#include "vmproc/worker.h"

struct options {
	const char *name;
	int control_fd;
	bool describe, describe_kvm, self_test, no_jail, pid_namespace;
};

static int usage(void)
{
	fputs("usage: vmd-vm NAME --control-fd=N [--pid-namespace] [--no-jail]\n"
	      "       vmd-vm --describe | --describe-kvm | --self-test-jail\n"
	      "vmd starts this program; see vmd(8).\n",
	      stderr);
	return 2;
}

static bool parse_fd(const char *text, int *ret)
{
	char *end;
	long v = strtol(text, &end, 10);

	*ret = (int)v;
	return *text && !*end && v > 2 && v < 1 << 20 && fcntl((int)v, F_GETFD) >= 0;
}

static bool parse(int argc, char **argv, struct options *o)
{
	bool ok = true;

	*o = (struct options){ .control_fd = -1 };
	for (int i = 1; ok && i < argc; i++) {
		const char *a = argv[i];

		if (!strncmp(a, "--control-fd=", 13))
			ok = parse_fd(a + 13, &o->control_fd);
		else if (!strcmp(a, "--describe"))
			o->describe = true;
		else if (!strcmp(a, "--describe-kvm"))
			o->describe_kvm = true;
		else if (!strcmp(a, "--self-test-jail"))
			o->self_test = true;
		else if (!strcmp(a, "--no-jail"))
			o->no_jail = true;
		else if (!strcmp(a, "--pid-namespace"))
			o->pid_namespace = true;
		else if (*a != '-' && !o->name)
			o->name = a;
		else
			ok = false;
	}
	return ok &&
	       (o->describe || o->describe_kvm || o->self_test || (o->name && o->control_fd >= 0));
}

/* The less the C library keeps for itself, the smaller the process: few threads allocate much. */
static void be_small(void)
{
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_TRIM_THRESHOLD, 128 << 10);
	mallopt(M_MMAP_THRESHOLD, 128 << 10);
}

static int complain(const char *what, const struct err *e)
{
	log_error(what, "REASON=%s", e->msg, NULL);
	return 1;
}

static int serve(const struct options *o)
{
	struct worker w = { .jail = sandbox_config() };
	struct err e;
	int code;

	if (o->no_jail)
		w.jail.skip = JAIL_ALL;
	if (!o->pid_namespace)
		w.jail.skip |= 1u << JAIL_PID;
	if (jail_enter(&w.jail, &o->control_fd, 1, &w.report, &w.pid, &e) < 0)
		return complain("the jail cannot be closed", &e);
	if (worker_init(&w, o->name, o->control_fd, &e) < 0 || loop_run(w.loop, &e) < 0) {
		code = complain("the worker cannot work", &e);
		worker_fini(&w);
		return code;
	}
	code = vm_exit(w.vm)->code;
	worker_fini(&w);
	return code;
}

int main(int argc, char **argv)
{
	struct options o;
	struct jail_config jail = sandbox_config();

	if (!parse(argc, argv, &o))
		return usage();
	log_setup("vmd-vm", LOG_LEVEL_INFO, NULL);
	signal(SIGPIPE, SIG_IGN);
	if (o.describe)
		return worker_describe();
	if (o.describe_kvm)
		return worker_describe_kvm();
	if (o.self_test)
		return jail_self_test(&jail) ? 1 : 0;
	be_small();
	return serve(&o);
}
