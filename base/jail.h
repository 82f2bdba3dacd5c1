/*
 * jail.h - what a process gives up before it touches anything a guest, an image or a packet says.
 * For the programs that do such work (vmd-vm, vmd-net, vmd-job); called from their main().
 *
 * Two steps. jail_enter() comes first of all, while the process has one thread: namespaces with an
 * empty root, no capabilities, no new privileges, limits, Landlock, and a filter of system calls
 * that still allows what preparing needs. jail_seal() comes when everything is prepared, on all
 * threads at once: only what running needs is left, and no page can become executable any more.
 *
 * Which system calls a program needs is written beside the code that makes them, in comments
 * "seccomp [group]: call[(arg=value[/mask])], ... - why" (value "self": the process itself). An awk
 * script collects them from the sources of a program into a table.
 */
#ifndef BASE_JAIL_H
#define BASE_JAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* A layer that is closed does not depend on the others. */
enum jail_layer {
	JAIL_USER,        /* user namespace */
	JAIL_NET,         /* network namespace with nothing in it */
	JAIL_IPC,         /* IPC and UTS namespaces */
	JAIL_PID,         /* PID namespace: it sees no other process */
	JAIL_ROOT,        /* mount namespace with an empty, read-only root */
	JAIL_CAPS,        /* no capabilities, and no way to get new privileges */
	JAIL_HIDDEN,      /* not dumpable: nobody but root can look into it */
	JAIL_LIMITS,      /* descriptors, core dumps, processes */
	JAIL_LANDLOCK,    /* no files by name, no TCP, no signals and sockets out of it */
	JAIL_NO_NEW_EXEC, /* memory that was writable never becomes executable */
	JAIL_SECCOMP,     /* a list of system calls */
	JAIL_LAYERS
};
enum { JAIL_ALL = (1 << JAIL_LAYERS) - 1 };

/* When a call is needed; a group that is not in use is closed by jail_seal(). */
enum jail_group { JAIL_ALWAYS, JAIL_SETUP, JAIL_KVM, JAIL_SHARE, JAIL_NETWORK, JAIL_GROUPS };

enum { JAIL_ANY = -1 };

struct jail_call {
	const char *name;
	enum jail_group group;
	int arg;   /* 0..5: (argument & mask) == value; JAIL_ANY: whatever the arguments */
	bool self; /* value is the process itself */
	uint64_t value, mask;
};

struct jail_config {
	const struct jail_call *calls;
	size_t n_calls;
	unsigned skip;    /* bits of layers to leave open; for tests and tools */
	unsigned max_fds; /* 0: 1024 */
	bool network;     /* it works for the host's network: vmd-net in user mode */
};

/* What became of each layer. */
struct jail_report {
	unsigned closed;                /* bits */
	char missing[JAIL_LAYERS][128]; /* why one is not; empty when it is, or was not asked for */
};

/*
 * When the host gives a PID namespace, the caller goes on as its first process: a new one, with the
 * same parent; the old one exits with 0. *pid is how the parent's namespace calls it. fds[n] is
 * what of its descriptors above 2 it keeps; all others are closed.
 *
 * A layer that the host refuses is left out and reported; it is an error only when nothing is left
 * that keeps the process from files (ROOT, LANDLOCK).
 */
int jail_enter(const struct jail_config *c, const int *fds, size_t n, struct jail_report *report,
	       int *pid, struct err *e);

/* dirs[n]: directories whose content stays reachable through these descriptors. Before
 * jail_seal(), from the main thread. */
int jail_close_files(const struct jail_config *c, const int *dirs, size_t n,
		     struct jail_report *report, struct err *e);

/* groups: bits of those in use. */
int jail_seal(const struct jail_config *c, unsigned groups, struct jail_report *report,
	      struct err *e);

const char *jail_layer_name(enum jail_layer layer); /* "user namespace" */

/*
 * Try, from inside such a jail, what it must refuse; one process for each. Writes a line for each
 * to standard output. Returns how many were not refused. The caller has one thread. What the host
 * gives no layer against is said and not counted; with skip == JAIL_ALL everything is tried.
 */
int jail_self_test(const struct jail_config *c);

#endif
