/*
 * child.h - work that waits for disks, in a forked process with the rights of a user: the daemon
 * never parses an image. The child tells its progress and its end as JSON packets, with
 * descriptors where it has some.
 */
#ifndef DAEMON_CHILD_H
#define DAEMON_CHILD_H

#include "daemon/daemon.h"

struct child;

/* What the child calls. */
void child_progress(int sock, uint64_t done, uint64_t total);

struct child_result {
	json_object *result; /* the caller's to put; NULL with an error */
	int fds[CONN_FDS];   /* sent along, and closed by the child */
	size_t n_fds;
};

/* In the child: 0 with *ret filled, or an error. Runs once, then the process ends. */
typedef int child_work_fn(void *arg, int sock, struct child_result *ret, struct err *e);

struct child_ops {
	child_work_fn *work;
	void (*progress)(void *arg, uint64_t done, uint64_t total); /* may be NULL */
	/* Once, unless the child is freed before. e NULL: done; result is borrowed, fds to take. */
	void (*done)(void *arg, json_object *result, struct conn_fds *fds, const struct err *e);
};

/* work_arg is what the child gets, in its copy of our memory; arg what the callbacks get. */
int child_start(struct daemon *d, uid_t uid, gid_t gid, const struct child_ops *ops, void *work_arg,
		void *arg, struct child **ret, struct err *e);
/* Ends the process if it is still there. */
void child_free(struct child *c);

AUTOPTR(child, child_free)

#endif
