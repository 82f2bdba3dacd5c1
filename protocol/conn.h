/*
 * conn.h - a UNIX socket over which JSON values and descriptors go both ways, on a loop. A stream
 * socket is framed as framing.h says; on a SEQPACKET socket one packet is one value. Everything is
 * on the loop's thread; callbacks may free the connection.
 *
 * Descriptors belong to the value whose first byte they were sent with. The kernel may glue bytes
 * without descriptors in front of a message that has some, but never behind one, so a read tells
 * the range in which that first byte lies: the descriptors go to the value that begins in the range
 * and mentions {"fd": N}.
 */
#ifndef PROTOCOL_CONN_H
#define PROTOCOL_CONN_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/loop.h"

enum {
	CONN_FDS = 64,        /* with one packet, between our own processes */
	CONN_FDS_STREAM = 16, /* with one value of a stream */
};

struct conn_fds {
	int v[CONN_FDS];
	size_t n;
};

void conn_fds_close(struct conn_fds *f);

struct conn;

struct conn_ops {
	/* A value that is the callee's; descriptors it wants it copies, and sets n to 0. */
	void (*value)(void *arg, json_object *v, struct conn_fds *fds);
	/* Bytes that are no value. The connection reads on unless it is broken. */
	void (*bad)(void *arg, const struct err *why, bool broken);
	/* Nothing more will come; what is sent still arrives if the other side only closed its
	 * half. */
	void (*eof)(void *arg, bool half);
	/* Reading or writing failed. */
	void (*failed)(void *arg, const struct err *why);
};

/* The fd becomes the connection's, also on failure, and non-blocking. */
int conn_new(struct loop *l, int fd, const struct conn_ops *ops, void *arg, struct conn **ret,
	     struct err *e);
void conn_free(struct conn *c); /* what was not written yet is lost */

/*
 * Queue a value and descriptors (duplicates are made; the caller keeps its own). It is written when
 * the loop runs, or by conn_flush().
 */
int conn_send(struct conn *c, json_object *v, const int *fds, size_t n, struct err *e);
void conn_flush(struct conn *c);
/* Read what has arrived already. */
void conn_drain(struct conn *c);

size_t conn_backlog(const struct conn *c); /* bytes queued and not written */
bool conn_half_closed(const struct conn *c);
int conn_fd(const struct conn *c);
void conn_stop_reading(struct conn *c);

AUTOPTR(conn, conn_free)

#endif
