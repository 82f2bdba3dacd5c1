/*
 * vmd_net.c - vmd-net, the process of one network: makes it, closes its jail, and serves what
 * protocol/net.def says until the last port has closed. Lives on without a daemon.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/list.h"
#include "base/log.h"
#include "netdev/net_jail.h"
#include "netdev/port.h"
#include "protocol/errors.h"
#include "protocol/peer.h"

enum { FORWARDS_MAX = 1024, TOKEN_SIZE = 128, LINGER_S = 60 /* without any port, at the start */ };

struct vmd_net {
	const char *name;
	struct loop *loop;
	struct network *net;
	struct net_jail jail;
	struct loop_watch *listen, *linger;
	struct rpc_peer *daemon;
	char token[TOKEN_SIZE];
	bool known; /* the newest connection has told the token */
	struct vm_forward forwards[FORWARDS_MAX];
	char addresses[FORWARDS_MAX][48];
	unsigned n_forwards;
};

static struct vmd_net *net_of(struct rpc_call *c)
{
	return rpc_call_arg(c);
}

static struct vm_forward_list forwards_of(struct vmd_net *n)
{
	return (struct vm_forward_list){ n->forwards, n->n_forwards };
}

/* ---- methods ---- */

static int net_hello(struct rpc_call *c, const struct net_hello_args *a, struct net_hello_reply *r,
		     struct err *e)
{
	struct vmd_net *n = net_of(c);

	if (strlen(a->token) >= TOKEN_SIZE)
		return rpc_error(e, "rpc.params", "a token has less than %d characters",
				 TOKEN_SIZE);
	if (!n->token[0])
		snprintf(n->token, sizeof(n->token), "%s", a->token);
	if (strcmp(n->token, a->token))
		return rpc_error(e, "role.denied", "that is not the token of network %s", n->name);
	n->known = true;
	r->pid = (uint64_t)n->jail.pid;
	r->ports = n->net->ports;
	r->forwards = forwards_of(n);
	return 0;
}

static int net_port(struct rpc_call *c, const struct net_port_args *a, struct net_port_reply *r,
		    struct err *e)
{
	struct vmd_net *n = net_of(c);
	int ret = n->net->class->port(n->net, rpc_call_take_fd(c, a->fd), e);

	loop_timer_set(n->linger, -1);
	r->ports = n->net->ports;
	return ret;
}

static bool same_forward(const struct vm_forward *a, const struct vm_forward *b)
{
	return a->proto == b->proto && a->host_port == b->host_port && a->count == b->count &&
	       !strcmp(a->address, b->address);
}

static unsigned find_forward(const struct vmd_net *n, const struct vm_forward *f)
{
	unsigned i = 0;

	while (i < n->n_forwards && !same_forward(&n->forwards[i], f))
		i++;
	return i;
}

static int check_forward(const struct vmd_net *n, const struct vm_forward *f, struct err *e)
{
	if (!n->net->class->forward_add)
		return rpc_error(e, "rpc.params", "a network of kind %s forwards no ports",
				 n->net->class->name);
	if (f->guest_port < 1 || !f->count || f->guest_port + f->count > 65536 ||
	    f->host_port + f->count > 65536)
		return rpc_error(e, "rpc.params", "ports go from 1 to 65535");
	if (strlen(f->address) >= sizeof(n->addresses[0]))
		return rpc_error(e, "rpc.params", "'%.50s' is no address", f->address);
	return 0;
}

static int add_forward(struct vmd_net *n, const struct vm_forward *wanted, bool *changed,
		       struct err *e)
{
	struct vm_forward f = *wanted;
	unsigned i = find_forward(n, &f);
	int r;

	*changed = i == n->n_forwards || n->forwards[i].guest_port != f.guest_port;
	if (!*changed)
		return 0;
	if (n->n_forwards == FORWARDS_MAX)
		return rpc_error(e, "limit.reached", "at most %d forwards", FORWARDS_MAX);
	r = n->net->class->forward_add(n->net, &f, e);
	if (r < 0)
		return r;
	i = n->n_forwards++;
	snprintf(n->addresses[i], sizeof(n->addresses[i]), "%s", f.address);
	f.address = n->addresses[i];
	f.has_proto = f.has_address = f.has_host_port = f.has_guest_port = f.has_count = true;
	n->forwards[i] = f;
	return 0;
}

static int remove_forward(struct vmd_net *n, const struct vm_forward *f, bool *changed,
			  struct err *e)
{
	unsigned i = find_forward(n, f);
	int r;

	*changed = i < n->n_forwards;
	if (!*changed)
		return 0;
	r = n->net->class->forward_remove(n->net, &n->forwards[i], e);
	if (r < 0)
		return r;
	n->n_forwards--;
	if (i != n->n_forwards) {
		n->forwards[i] = n->forwards[n->n_forwards];
		memcpy(n->addresses[i], n->addresses[n->n_forwards], sizeof(n->addresses[i]));
		n->forwards[i].address = n->addresses[i];
	}
	return 0;
}

static int net_forward(struct rpc_call *c, const struct net_forward_args *a,
		       struct net_forward_reply *r, struct err *e)
{
	struct vmd_net *n = net_of(c);
	int ret = 0;

	if (a->action != FORWARD_LIST && !a->has_forward)
		return rpc_error(e, "rpc.params", "forward is missing");
	if (a->action != FORWARD_LIST)
		ret = check_forward(n, &a->forward, e);
	if (ret == 0 && a->action == FORWARD_ADD)
		ret = add_forward(n, &a->forward, &r->changed, e);
	else if (ret == 0 && a->action == FORWARD_REMOVE)
		ret = remove_forward(n, &a->forward, &r->changed, e);
	r->forwards = forwards_of(n);
	return ret;
}

#define METHOD(id, name, role, effect, doc, params, results)                               \
	static int id##_handler(struct rpc_call *c, const void *a, void *r, struct err *e) \
	{                                                                                  \
		return id(c, a, r, e);                                                     \
	}
#include "protocol/net.def"
#undef METHOD
#define METHOD(id, name, role, effect, doc, params, results) id##_handler,
static rpc_handler *const handlers[] = {
#include "protocol/net.def"
};
#undef METHOD

static int before(struct rpc_call *c, json_object **answer, struct err *e)
{
	struct vmd_net *n = net_of(c);

	(void)answer;
	if (n->known || !strcmp(rpc_call_method(c)->name, "net.hello"))
		return 0;
	return rpc_error(e, "role.denied", "the first call is net.hello");
}

static const struct rpc_service service = { .table = &net_table,
					    .handlers = handlers,
					    .before = before };

/* ---- connections, life ---- */

static void forget_peer(void *arg)
{
	rpc_peer_free(arg);
}

static void on_closed(void *arg, const struct err *why)
{
	struct vmd_net *n = arg;

	(void)why;
	loop_post(n->loop, forget_peer, n->daemon);
	n->daemon = NULL;
	n->known = false;
}

static const struct rpc_peer_ops peer_ops = { .service = &service, .closed = on_closed };

static void on_connect(void *arg, int fd, unsigned events)
{
	struct vmd_net *n = arg;
	int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (conn < 0)
		return;
	if (n->daemon)
		rpc_peer_free(n->daemon); /* the newest is the daemon's */
	n->daemon = NULL;
	n->known = false;
	if (rpc_peer_new(n->loop, conn, &peer_ops, n, &n->daemon, NULL) < 0)
		n->daemon = NULL;
}

static void on_port_closed(void *arg)
{
	struct vmd_net *n = arg;

	if (!n->net->ports)
		loop_stop(n->loop);
}

static void on_linger(void *arg)
{
	struct vmd_net *n = arg;

	loop_stop(n->loop);
}

static int serve(struct vmd_net *n, const struct network_class *class, int fd, struct err *e)
{
	int r = loop_new(&n->loop, e);

	if (r == 0)
		r = class->new_(n->loop, &n->net, e);
	if (r == 0)
		r = loop_fd(n->loop, fd, LOOP_READ, on_connect, n, &n->listen, e);
	if (r == 0)
		r = loop_timer(n->loop, on_linger, n, &n->linger, e);
	if (r == 0)
		r = net_jail_seal(&n->jail, e);
	if (r < 0)
		return r;
	n->net->closed = on_port_closed;
	n->net->arg = n;
	loop_timer_set(n->linger, INT64_C(1000000000) * LINGER_S);
	return loop_run(n->loop, e);
}

static void net_free(struct vmd_net *n)
{
	if (n->daemon)
		rpc_peer_free(n->daemon);
	if (n->net)
		n->net->class->free_(n->net);
	loop_watch_free(n->listen);
	loop_watch_free(n->linger);
	if (n->loop)
		loop_free(n->loop);
	free(n);
}

int main(int argc, char **argv)
{
	static const struct network_class *const classes[] = { &user_network, &switch_network };
	const struct network_class *class = NULL;
	struct vmd_net *n = calloc(1, sizeof(*n));
	struct err e = { 0 };
	int fd = -1;

	for (int i = 1; n && i < argc; i++) {
		if (!strncmp(argv[i], "--control-fd=", 13))
			fd = atoi(argv[i] + 13);
		else if (!strncmp(argv[i], "--kind=", 7))
			for (size_t k = 0; k < ARRAY_SIZE(classes); k++)
				class = strcmp(classes[k]->name, argv[i] + 7) ? class : classes[k];
		else
			n->name = argv[i];
	}
	if (!n || !n->name || !class || fd < 0) {
		fprintf(
		    stderr,
		    "vmd-net is started by vmd: vmd-net NAME --kind=user|switch --control-fd=N\n");
		free(n);
		return 2;
	}
	log_setup("vmd-net", LOG_LEVEL_INFO, NULL);
	signal(SIGPIPE, SIG_IGN);
	if (net_jail_enter(&n->jail, class == &user_network, fd, &e) < 0 ||
	    serve(n, class, fd, &e) < 0) {
		log_error("network ended", "NET=%s", n->name, "WHY=%s", e.msg, NULL);
		net_free(n);
		return 1;
	}
	net_free(n);
	return 0;
}
