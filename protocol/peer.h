/*
 * peer.h - JSON-RPC 2.0 over a connection, both ways: answers the requests of the other side from a
 * table of handlers, and calls the other side. vmd uses it towards clients and workers, vmctl and
 * vmd-vm towards vmd. Everything is on the loop's thread; callbacks and handlers may free the peer.
 */
#ifndef PROTOCOL_PEER_H
#define PROTOCOL_PEER_H

#include <sys/types.h>

#include "protocol/conn.h"
#include "protocol/errors.h"
#include "protocol/methods.h"

struct rpc_peer;
struct rpc_call; /* a request of the other side that is under way */

enum {
	RPC_LATER = 1,       /* a handler's "the answer will come" */
	RPC_CALLS_MAX = 64,  /* under way on one connection */
	RPC_BATCH_MAX = 100, /* requests in one array */
};

/*
 * args and reply are the structs of the method. 0: *reply is the answer. RPC_LATER: one of
 * rpc_call_done() and rpc_call_fail() will be called. Negative: e is.
 *
 * Strings in args live as long as the call. What *reply points to must live until the call is
 * answered: constants, or memory of rpc_call_mem(). JSON in it is taken, descriptors are closed
 * once they are sent.
 */
typedef int rpc_handler(struct rpc_call *c, const void *args, void *reply, struct err *e);

struct rpc_service {
	const struct rpc_table *table;
	rpc_handler *const *handlers; /* in the order of the table */
	/*
	 * Asked before each call, after its method is known and before its parameters are checked.
	 * 0: go on. 1: *answer is the result (taken). RPC_HELD: it will be answered by
	 * rpc_call_answer() or rpc_call_fail(). Negative: refused. May be NULL.
	 */
	int (*before)(struct rpc_call *c, json_object **answer, struct err *e);
	/* Told how each call that passed before() with 0 ended: exactly one of the two is set. */
	void (*after)(struct rpc_call *c, json_object *result, const struct err *e);
};
enum { RPC_HELD = 2 };

struct rpc_peer_ops {
	const struct rpc_service *service; /* NULL: the other side may not call */
	/* A notification that is no call; params are borrowed and may be NULL. May be NULL. */
	void (*event)(void *arg, const char *method, json_object *params);
	/* The connection is of no more use; free the peer now or later. why is NULL at its end. May
	 * be NULL. */
	void (*closed)(void *arg, const struct err *why);
};

struct rpc_cred {
	pid_t pid;
	uid_t uid;
	gid_t gid;
};

/* The fd becomes the peer's, also on failure. */
int rpc_peer_new(struct loop *l, int fd, const struct rpc_peer_ops *ops, void *arg,
		 struct rpc_peer **ret, struct err *e);
/* Calls to the other side fail with "vm.lost"; calls of it go on, unheard. */
void rpc_peer_free(struct rpc_peer *p);
void *rpc_peer_arg(const struct rpc_peer *p);
/* Who is on the other side, as the kernel knew when it connected. */
struct rpc_cred rpc_peer_cred(const struct rpc_peer *p);
size_t rpc_peer_backlog(const struct rpc_peer *p);
int rpc_peer_fd(const struct rpc_peer *p);
bool rpc_peer_is_closed(const struct rpc_peer *p); /* closed() has been called */
/* Read and serve what has arrived already, without waiting; closed() is not called for its end. */
void rpc_peer_drain(struct rpc_peer *p);
/* Write now what can be written without waiting. */
void rpc_peer_flush(struct rpc_peer *p);

AUTOPTR(rpc_peer, rpc_peer_free)

/* ---- calls of the other side ---- */

void rpc_call_done(struct rpc_call *c);                      /* after RPC_LATER: reply is filled */
void rpc_call_fail(struct rpc_call *c, const struct err *e); /* after RPC_LATER or RPC_HELD */
/* After RPC_HELD or RPC_LATER, with a result that is JSON already (borrowed). */
void rpc_call_answer(struct rpc_call *c, json_object *result);

/* Members that an error answer's data shall have beside kind and hint: the call's, fill it. */
json_object *rpc_call_error_data(struct rpc_call *c);
/* What was set by rpc_call_error_data(), or NULL. */
json_object *rpc_call_error_data_peek(const struct rpc_call *c);

void *rpc_call_reply(struct rpc_call *c);
const void *rpc_call_args(struct rpc_call *c);
struct arena *rpc_call_mem(struct rpc_call *c);
struct rpc_peer *rpc_call_peer(struct rpc_call *c); /* NULL when it is gone */
const struct rpc_method *rpc_call_method(const struct rpc_call *c);
json_object *rpc_call_params(struct rpc_call *c);          /* borrowed; may be NULL */
const char *rpc_call_request_id(const struct rpc_call *c); /* NULL when it has none */
struct rpc_cred rpc_call_cred(const struct rpc_call *c);
void *rpc_call_arg(const struct rpc_call *c); /* of the peer; also when that is gone */

/* A descriptor of the arguments becomes the handler's; others are closed with the answer. */
int rpc_call_take_fd(struct rpc_call *c, int fd);

/*
 * Tell the handler when nobody waits any more: cancelled, or the connection is gone. It answers
 * then or later; the answer to a cancelled call is the error "request.cancelled".
 */
void rpc_call_on_cancel(struct rpc_call *c, void (*fn)(struct rpc_call *c, void *arg), void *arg);

/* ---- calls to the other side ---- */

/* The answer: e is NULL and result borrowed, or e is set and data (may be NULL) goes with it. */
struct rpc_answer {
	json_object *result;
	const struct err *e;
	json_object *data;
	struct conn_fds fds; /* close or take them */
};

typedef void rpc_answer_fn(void *arg, struct rpc_answer *a);

/* params is taken (NULL: none). fn may be NULL. Descriptors are duplicated. */
int rpc_send(struct rpc_peer *p, const char *method, json_object *params, const int *fds, size_t n,
	     rpc_answer_fn *fn, void *arg, struct err *e);

/* The same from a struct of arguments. Its descriptors stay the caller's. */
int rpc_send_args(struct rpc_peer *p, const struct rpc_table *t, const char *method,
		  const void *args, rpc_answer_fn *fn, void *arg, struct err *e);

/* Forget fn of all calls under way with this arg: whoever waits is going away. */
void rpc_forget(struct rpc_peer *p, void *arg);

int rpc_notify(struct rpc_peer *p, const char *method, json_object *params, struct err *e);
/* An event of a table from its struct. */
int rpc_notify_event(struct rpc_peer *p, const struct rpc_table *t, const char *name,
		     const void *fields, struct err *e);

/* ---- for clients that wait ---- */

/* Connect to a stream or SEQPACKET socket; paths longer than sun_path go through /proc/self/fd. */
int rpc_connect(struct loop *l, const char *path, int socket_type, const struct rpc_peer_ops *ops,
		void *arg, struct rpc_peer **ret, struct err *e);

/* Bind and listen, replacing a socket that lies there. The same rule for long paths. */
int rpc_listen(const char *path, int socket_type, int backlog, int *ret, struct err *e);

/* Run the loop until *done, or until the connection is of no more use (kind "vm.lost"). */
int rpc_wait(struct rpc_peer *p, const bool *done, struct err *e);

/*
 * Call and run the loop until the answer is there; other watches and events of the loop are served
 * meanwhile. *result and *data (of an error, may be NULL) become the caller's. fds may be NULL:
 * descriptors of the answer are then closed.
 */
int rpc_client_call(struct rpc_peer *p, const char *method, json_object *params, const int *fds,
		    size_t n, json_object **result, struct conn_fds *ret_fds, json_object **data,
		    struct err *e);

#endif
