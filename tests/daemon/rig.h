/*
 * rig.h - a daemon of its own for each test, over the fake worker, with one client. The functions
 * fail the test when something is not as it must be.
 */
#ifndef TESTS_DAEMON_RIG_H
#define TESTS_DAEMON_RIG_H

#include <limits.h>
#include <sys/types.h>

#include "base/strbuf.h"
#include "protocol/peer.h"
#include "tests/unit.h"

struct fixture {
	char dir[PATH_MAX];
	pid_t pid;
	struct loop *loop;
	struct rpc_peer *peer;
	struct strbuf events; /* one per line */
	uint64_t last_seq;
	struct err e; /* of the last call */
	json_object *data;
};

extern const struct rpc_peer_ops client_ops;

/* A path in the directory of the test; two are good at once. */
const char *in_dir(struct fixture *f, const char *name);

/* With everything that is in it; more: a directory below it, or NULL. */
void setup(struct fixture *f);
void setup_in(struct fixture *f, const char *more);
void teardown(struct fixture *f);

void start_daemon(struct fixture *f);
void connect_client(struct fixture *f);
void disconnect(struct fixture *f);
void kill_daemon(struct fixture *f, int signo);
/* kill -9, and the next one. */
void restart(struct fixture *f);

/* result, or NULL with f->e; the caller puts it. */
json_object *call(struct fixture *f, const char *method, const char *params);
json_object *must(struct fixture *f, const char *method, const char *params);
void just(struct fixture *f, const char *method, const char *params);
void fails(struct fixture *f, const char *method, const char *params, const char *kind);
/* A member of the answer to a call, as text that the next call overwrites; "a.b" goes down. */
const char *get(struct fixture *f, const char *method, const char *params, const char *path);
const char *state_of(struct fixture *f, const char *vm);
pid_t pid_of(struct fixture *f, const char *vm);

/* Files in a directory of the test. */
unsigned entries(struct fixture *f, const char *name);

#endif
