/*
 * server.c - the monitor socket: who may connect, how many, and in which role. Handlers live in
 * the file of their noun.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/own.h"
#include "daemon/daemon.h"

struct client {
	struct list node;
	struct daemon *d;
	struct rpc_peer *peer;
	uid_t uid;
};

struct daemon *daemon_of(struct rpc_call *c)
{
	return rpc_call_arg(c);
}

enum rpc_role call_role(const struct rpc_call *c)
{
	struct rpc_cred cred = rpc_call_cred(c);

	if (cred.uid == 0 || cred.uid == geteuid())
		return RPC_ADMIN;
	return config_role(&((struct daemon *)rpc_call_arg(c))->config.v, cred.uid, cred.gid);
}

int call_owns(struct rpc_call *c, uid_t owner, const char *what, struct err *e)
{
	char name[64];

	if (call_role(c) == RPC_ADMIN || rpc_call_cred(c).uid == owner)
		return 0;
	user_name(owner, name, sizeof(name));
	return rpc_error(e, "role.denied", "%s belongs to %s", what, name);
}

static int before(struct rpc_call *c, json_object **answer, struct err *e)
{
	const struct rpc_method *m = rpc_call_method(c);

	if (call_role(c) < m->role)
		return rpc_error(e, "role.denied", "%s is for the role %s, yours is %s", m->name,
				 rpc_role_name(m->role), rpc_role_name(call_role(c)));
	if (daemon_of(c)->stopping && m->effect != RPC_READS)
		return rpc_error(e, "daemon.unreachable", "the daemon is about to end");
	return requests_before(c, answer, e);
}

static const struct rpc_service service = { &client_table, daemon_handlers, before,
					    requests_after };

/* The peer's arg is the daemon, so that calls that outlive it have one; find the client by peer. */
static struct client *client_of(struct daemon *d, const struct rpc_peer *p)
{
	struct client *c;

	list_for_each(c, &d->clients, struct client, node)
		if (c->peer == p)
			return c;
	return NULL;
}

static void client_free(struct client *c)
{
	struct daemon *d = c->d;

	list_remove(&c->node);
	d->n_clients--;
	events_client_gone(d, c->peer);
	rpc_peer_free(c->peer);
	free(c);
	daemon_check_idle(d);
}

/* The callback does not say which connection it is about: those that are closed say so themselves.
 */
static void on_closed(void *arg, const struct err *why)
{
	struct daemon *d = arg;
	struct client *c;

	(void)why;
	list_for_each(c, &d->clients, struct client, node)
		if (rpc_peer_is_closed(c->peer)) {
			client_free(c);
			return;
		}
}

static const struct rpc_peer_ops peer_ops = { &service, NULL, on_closed };

static void refuse(int fd, const char *kind, const char *text)
{
	json_object *o = json_object_new_object();
	const char *line;
	struct err e;

	rpc_error(&e, kind, "%s", text);
	json_object_object_add(o, "jsonrpc", json_object_new_string("2.0"));
	json_object_object_add(o, "id", NULL);
	json_object_object_add(o, "error", rpc_error_build(&e, NULL));
	line = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
	/* A new socket has room for one line; whoever cannot take it learns less. */
	if (send(fd, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
		send(fd, "\n", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	json_object_put(o);
}

static bool admitted(struct daemon *d, int fd, uid_t *uid)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	const struct daemon_limits *limits = &d->config.v.limits;
	unsigned same = 0;
	uint64_t most =
	    limits->has_connections_per_user ? limits->connections_per_user : CLIENTS_PER_UID_MAX;
	struct client *c;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return false;
	*uid = cred.uid;
	if (d->mode != MODE_SYSTEM && cred.uid != 0 && cred.uid != geteuid()) {
		refuse(fd, "role.denied", "this daemon belongs to another user");
		return false;
	}
	list_for_each(c, &d->clients, struct client, node)
		same += c->uid == cred.uid;
	if (d->n_clients < CLIENTS_MAX && same < most)
		return true;
	refuse(fd, "limit.reached", "there are too many connections");
	return false;
}

static void on_connection(void *arg, int listen_fd, unsigned events)
{
	struct daemon *d = arg;
	autoclose int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct client *c;
	uid_t uid;
	struct err e;

	(void)events;
	if (fd < 0 || !admitted(d, fd, &uid))
		return;
	c = calloc(1, sizeof(*c));
	if (!c)
		return;
	c->d = d;
	c->uid = uid;
	list_init(&c->node);
	if (rpc_peer_new(d->loop, take_fd(&fd), &peer_ops, d, &c->peer, &e) < 0) {
		log_warning("a client was turned away", "REASON=%s", e.msg, NULL);
		free(c);
		return;
	}
	list_append(&d->clients, &c->node);
	d->n_clients++;
	daemon_check_idle(d);
}

int server_start(struct daemon *d, int fd, struct err *e)
{
	return loop_fd(d->loop, fd, LOOP_READ, on_connection, d, &d->listen, e);
}

void server_stop(struct daemon *d)
{
	loop_watch_free(take(d->listen));
	while (!list_empty(&d->clients)) {
		struct client *c = list_entry(d->clients.next, struct client, node);

		rpc_peer_flush(c->peer);
		if (!list_empty(&d->clients) && client_of(d, c->peer) == c)
			client_free(c);
	}
}
