/*
 * worker.h - the process of one VM as the daemon sees it: a socket it listens on, the daemon's
 * connection, and the calls of protocol/worker.def. Main thread.
 */
#ifndef VMPROC_WORKER_H
#define VMPROC_WORKER_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/jail.h"
#include "base/list.h"
#include "protocol/peer.h"
#include "vmproc/vm.h"

enum { WORKER_SESSIONS = 4, WORKER_TOKEN_MAX = 128, WORKER_TAIL_LINES = 20 };

/* One connection. It is the daemon's once it has said the token. */
struct session {
	struct list node;
	struct worker *worker;
	struct rpc_peer *peer;
	bool greeted;
};

struct worker {
	const char *name;
	struct loop *loop;
	pid_t pid; /* as the daemon sees it */
	int listen_fd;
	struct loop_watch *accepts, *patience, *sigterm;
	struct list sessions; /* the oldest first */
	unsigned n_sessions;
	struct session *daemon; /* the one that is told what happens, or NULL */
	char token[WORKER_TOKEN_MAX + 1];
	struct vm *vm;
	struct jail_config jail;
	struct jail_report report;
	bool built;  /* worker.setup was called, whatever became of it */
	bool ending; /* the guest has ended: the loop stops when that has been told */
};

/* listen_fd stays the caller's. The name and the jail's table live as long as the worker. */
int worker_init(struct worker *w, const char *name, int listen_fd, struct err *e);
void worker_fini(struct worker *w);

/* rpc.c: what the worker answers, and what it tells. */
extern const struct rpc_service worker_service;
void worker_fill_status(struct worker *w, struct arena *mem, struct worker_state *s);
void worker_tell_state(struct worker *w, enum vm_state from, enum vm_state to, const char *why);
void worker_tell_phase(struct worker *w, enum start_phase phase);
void worker_tell_exit(struct worker *w, const struct vm_exit *x);

/* The session has said the right token (rpc.c calls this). */
int worker_greet(struct session *s, const char *token, struct err *e);

/* describe.c: machines and devices of this build as JSON, on standard output. */
int worker_describe(void);
int worker_describe_kvm(void);

#endif
