/*
 * nets.c - networks of the daemon, and the host's end of every card and forwarded port. A card of
 * the kinds "user" and "switch" is a SEQPACKET socket pair: one end goes to the worker, the other
 * to the process of the network, through port_open().
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/own.h"
#include "daemon/vm.h"

struct net {
	struct list node;
	char name[VM_NAME_MAX + 1];
	enum net_kind kind;
	uid_t owner;
};

/* A card that is connected: the end of the pair that is not the worker's. */
struct port {
	struct list node;
	const struct vm *vm;
	char net[VM_NAME_MAX + 1]; /* empty: the VM's own user network */
	int fd;
};

struct nets {
	struct daemon *d;
	struct list nets, ports;
};

/* ---- the list of networks ---- */

static struct net *find(struct nets *n, const char *name)
{
	struct net *net;

	list_for_each(net, &n->nets, struct net, node) if (!strcmp(net->name, name)) return net;
	return NULL;
}

static int save(struct nets *n, struct err *e)
{
	auto_arena mem = { NULL };
	struct nets_file f = { .nets.n = 0 };
	struct net *net;
	size_t count = 0;

	list_for_each(net, &n->nets, struct net, node) count++;
	f.nets.v = arena_alloc(&mem, count, sizeof(*f.nets.v));
	if (!f.nets.v)
		return err_nomem(e);
	list_for_each(net, &n->nets, struct net, node) f.nets.v[f.nets.n++] =
	    (struct net_record){ .name = net->name, .kind = net->kind, .owner = net->owner };
	return state_save(n->d->state_dir, "nets.json", &nets_file_object, &f, e);
}

static struct net *add(struct nets *n, const char *name, enum net_kind kind, uid_t owner)
{
	struct net *net = calloc(1, sizeof(*net)), *at;

	if (!net)
		return NULL;
	snprintf(net->name, sizeof(net->name), "%s", name);
	net->kind = kind;
	net->owner = owner;
	list_for_each(at, &n->nets, struct net, node) if (strcmp(at->name, name) > 0)
	{
		list_add_before(&at->node, &net->node);
		return net;
	}
	list_append(&n->nets, &net->node);
	return net;
}

int nets_new(struct daemon *d, struct err *e)
{
	struct nets *n = calloc(1, sizeof(*n));
	auto_arena mem = { NULL };
	struct nets_file f;
	json_object *json;
	int r;

	if (!n)
		return err_nomem(e);
	n->d = d;
	list_init(&n->nets);
	list_init(&n->ports);
	d->nets = n;
	r = state_load(d->state_dir, "nets.json", &nets_file_object, &f, &mem, &json, e);
	for (size_t i = 0; r == 0 && i < f.nets.n; i++)
		if (!add(n, f.nets.v[i].name, f.nets.v[i].kind, (uid_t)f.nets.v[i].owner))
			r = err_nomem(e);
	json_object_put(json);
	return r;
}

static void port_free(struct port *p)
{
	list_remove(&p->node);
	if (p->fd >= 0)
		close(p->fd);
	free(p);
}

void nets_free(struct nets *n)
{
	struct net *net;
	struct port *p;

	if (!n)
		return;
	list_for_each(p, &n->ports, struct port, node) port_free(p);
	list_for_each(net, &n->nets, struct net, node) free(net);
	free(n);
}

static uint64_t ports_of(struct nets *n, const char *name)
{
	struct port *p;
	uint64_t count = 0;

	list_for_each(p, &n->ports, struct port, node) count += !strcmp(p->net, name);
	return count;
}

int method_net_list(struct rpc_call *c, const struct net_list_args *a, struct net_list_reply *r,
		    struct err *e)
{
	struct nets *n = daemon_of(c)->nets;
	struct net *net;
	size_t count = 0;
	char owner[64];

	(void)a;
	list_for_each(net, &n->nets, struct net, node) count++;
	r->nets.v = arena_alloc(rpc_call_mem(c), count, sizeof(*r->nets.v));
	if (!r->nets.v)
		return err_nomem(e);
	list_for_each(net, &n->nets, struct net, node)
	{
		user_name(net->owner, owner, sizeof(owner));
		r->nets.v[r->nets.n++] =
		    (struct net_info){ .name = net->name,
				       .kind = net->kind,
				       .ports = ports_of(n, net->name),
				       .owner = arena_strdup(rpc_call_mem(c), owner) };
	}
	return 0;
}

int method_net_create(struct rpc_call *c, const struct net_create_args *a,
		      struct net_create_reply *r, struct err *e)
{
	struct nets *n = daemon_of(c)->nets;
	struct net *net = find(n, a->name);
	struct event_net_state ev = { .name = a->name, .active = true };
	int ret;

	if (!vm_name_valid(a->name))
		return rpc_error(e, "rpc.params", "'%.80s' is no name for a network", a->name);
	if (a->kind != NET_SWITCH && a->kind != NET_USER)
		return rpc_error(e, "rpc.params",
				 "a network that VMs share is a switch or a user network");
	if (net && net->kind == a->kind)
		return 0;
	if (net)
		return rpc_error(e, "net.exists", "there is a network '%s' of another kind",
				 a->name);
	net = add(n, a->name, a->kind, rpc_call_cred(c).uid);
	if (!net)
		return err_nomem(e);
	ret = save(n, e);
	if (ret < 0) {
		list_remove(&net->node);
		free(net);
		return ret;
	}
	r->changed = true;
	event_publish(n->d, "net.state", NULL, &ev);
	return 0;
}

int method_net_rm(struct rpc_call *c, const struct net_rm_args *a, struct net_rm_reply *r,
		  struct err *e)
{
	struct nets *n = daemon_of(c)->nets;
	struct net *net = find(n, a->name);
	struct event_net_state ev = { .name = a->name };
	char what[VM_NAME_MAX + 16];
	int ret;

	if (!net)
		return 0;
	snprintf(what, sizeof(what), "network '%s'", net->name);
	ret = call_owns(c, net->owner, what, e);
	if (ret < 0)
		return ret;
	if (ports_of(n, a->name))
		return rpc_error(e, "net.in-use", "the network '%s' is in use", a->name);
	list_remove(&net->node);
	free(net);
	r->changed = true;
	event_publish(n->d, "net.state", NULL, &ev);
	return save(n, e);
}

/* ---- cards ---- */

/*
 * The one place where a network gets a new port. The process vmd-net of the network serves the
 * socket; while there is none, the daemon keeps it open, and frames stay in it: a cable into a
 * switch that is off. name is NULL for a user network of the VM's own.
 */
static int port_open(struct nets *n, struct vm *vm, size_t i, const char *name, int fd,
		     struct err *e)
{
	struct port *p = calloc(1, sizeof(*p));

	(void)i;
	if (!p)
		return err_nomem(e);
	p->vm = vm;
	p->fd = fd;
	snprintf(p->net, sizeof(p->net), "%s", name ? name : "");
	list_append(&n->ports, &p->node);
	return 0;
}

static int open_tap(struct vm *vm, const struct vm_net *net, int *ret, struct err *e)
{
	autoclose int fd = open_as(vm->owner, vm->group, AT_FDCWD, "/dev/net/tun",
				   O_RDWR | O_CLOEXEC | O_NONBLOCK, 0);
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };

	if (fd < 0) {
		err_sys(e, "cannot open /dev/net/tun");
		return err_kind(e, "net.permission");
	}
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", net->ifname ? net->ifname : "vmd%d");
	if (ioctl(fd, TUNSETIFF, &ifr) < 0) {
		int r = err_sys(e, "cannot attach to the tap interface %s", ifr.ifr_name);

		return r == -EBUSY ? err_kind(e, "net.in-use") : err_kind(e, "net.permission");
	}
	*ret = take_fd(&fd);
	return 0;
}

static int pair_with(struct vm *vm, size_t i, const char *name, int *ret, struct err *e)
{
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, "cannot make a socket");
	r = port_open(vm->d->nets, vm, i, name, pair[1], e);
	if (r < 0) {
		close(pair[0]);
		close(pair[1]);
		return r;
	}
	*ret = pair[0];
	return 0;
}

int net_connect(struct vm *vm, size_t i, int *fd, struct err *e)
{
	const struct vm_net *net = &vm->def->nets.v[i];

	*fd = -1;
	switch (net->kind) {
	case NET_NONE: return 0;
	case NET_USER: return pair_with(vm, i, net->name, fd, e);
	case NET_SWITCH: return pair_with(vm, i, net->name, fd, e);
	case NET_TAP: return open_tap(vm, net, fd, e);
	case net_kind_COUNT: break;
	}
	return err_set(e, -EINVAL, "a card of an unknown kind");
}

void net_disconnect(struct vm *vm)
{
	struct port *p;

	list_for_each(p, &vm->d->nets->ports, struct port, node) if (p->vm == vm) port_free(p);
	for (size_t i = 0; i < vm->forwards.n; i++)
		free((char *)vm->forwards.v[i].address);
	free(take(vm->forwards.v));
	vm->forwards.n = 0;
}

/* ---- forwards ---- */

static void fill_address(const struct vm_forward *f, uint16_t port, struct sockaddr_storage *to,
			 socklen_t *len)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)to;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)to;

	memset(to, 0, sizeof(*to));
	if (inet_pton(AF_INET, f->address, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		*len = sizeof(*v4);
	} else {
		inet_pton(AF_INET6, f->address, &v6->sin6_addr);
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		*len = sizeof(*v6);
	}
}

/* Can the port be had? Binding it tells, and says why not; a port of 0 becomes a free one. */
static int try_port(struct vm_forward *f, uint64_t k, struct err *e)
{
	struct sockaddr_storage a;
	socklen_t len;
	autoclose int fd = -1;
	int one = 1, r;

	fill_address(f, (uint16_t)(f->host_port + k), &a, &len);
	fd = socket(a.ss_family,
		    (f->proto == FORWARD_TCP ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(e, "cannot make a socket");
	/* As the listener will: without it, a connection that has just ended would block the port.
	 */
	if (f->proto == FORWARD_TCP)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&a, len) < 0 ||
	    (f->proto == FORWARD_TCP && listen(fd, 1) < 0)) {
		r = err_sys(e, "cannot listen on %s port %llu", f->address,
			    (unsigned long long)(f->host_port + k));
		return r == -EADDRINUSE ? err_kind(e, "port.in-use")
		       : r == -EACCES   ? err_kind(e, "port.permission")
					: r;
	}
	if (f->host_port)
		return 0;
	if (getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		return err_sys(e, "cannot find a free port");
	f->host_port = ntohs(a.ss_family == AF_INET ? ((struct sockaddr_in *)&a)->sin_port
						    : ((struct sockaddr_in6 *)&a)->sin6_port);
	f->has_host_port = true;
	return 0;
}

static int forward_add(struct vm *vm, const struct vm_forward *from, struct err *e)
{
	struct vm_forward f = *from, *v;
	struct event_port_state ev = { .active = true };
	int r = 0;

	for (uint64_t k = 0; r == 0 && k < f.count; k++)
		r = try_port(&f, k, e);
	if (r < 0)
		return r;
	v = reallocarray(vm->forwards.v, vm->forwards.n + 1, sizeof(*v));
	if (!v)
		return err_nomem(e);
	vm->forwards.v = v;
	f.address = strdup(f.address);
	if (!f.address)
		return err_nomem(e);
	v[vm->forwards.n++] = f;
	ev.forward = f;
	event_publish(vm->d, "port.state", vm->def->name, &ev);
	return 0;
}

static bool same_forward(const struct vm_forward *a, const struct vm_forward *b)
{
	return a->proto == b->proto && a->guest_port == b->guest_port && a->count == b->count &&
	       (!b->host_port || a->host_port == b->host_port) && !strcmp(a->address, b->address);
}

static struct vm_forward *forward_find(struct vm *vm, const struct vm_forward *f)
{
	for (size_t i = 0; i < vm->forwards.n; i++)
		if (same_forward(&vm->forwards.v[i], f))
			return &vm->forwards.v[i];
	return NULL;
}

int net_forward(struct vm *vm, const struct vm_forward *f, bool on, struct err *e)
{
	struct vm_forward *have = forward_find(vm, f);
	struct event_port_state ev = { .active = false };
	size_t i;

	if (on)
		return have ? 0 : forward_add(vm, f, e);
	if (!have)
		return 0;
	ev.forward = *have;
	event_publish(vm->d, "port.state", vm->def->name, &ev);
	i = (size_t)(have - vm->forwards.v);
	free((char *)have->address);
	memmove(have, have + 1, (--vm->forwards.n - i) * sizeof(*have));
	return 0;
}

int net_forwards_begin(struct vm *vm, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < vm->def->forwards.n; i++)
		r = net_forward(vm, &vm->def->forwards.v[i], true, e);
	return r;
}

int method_vm_forward(struct rpc_call *c, const struct vm_forward_args *a,
		      struct vm_forward_reply *r, struct err *e)
{
	struct vm *vm;
	bool change = a->action != FORWARD_LIST;
	int ret = vm_of_call(c, a->vm, change, &vm, e);

	if (ret < 0)
		return ret;
	if (change && !a->has_forward)
		return rpc_error(e, "rpc.params", "vm.forward: 'forward' is missing");
	if (change && !vm->worker)
		return rpc_error(e, "vm.state", "'%s' is %s; change its definition instead",
				 vm->def->name, rpc_enum_name(&vm_state_enum, vm->state));
	if (change) {
		r->changed = (forward_find(vm, &a->forward) != NULL) != (a->action == FORWARD_ADD);
		ret = vm_forward_check(&a->forward, e);
		if (ret == 0)
			ret = net_forward(vm, &a->forward, a->action == FORWARD_ADD, e);
		if (ret == 0 && r->changed)
			ret = vm_save(vm, e);
	}
	r->forwards = vm->forwards;
	return ret;
}
