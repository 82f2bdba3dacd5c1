/*
 * nets.c - networks of the daemon, and the host's end of every card and forwarded port. A card of
 * the kinds "user" and "switch" is a SEQPACKET socket pair: one end goes to the worker, the other
 * to the process of the network (netproc.c). A user network belongs to one card.
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
#include "daemon/netproc.h"

struct net {
	struct list node;
	char name[VM_NAME_MAX + 1];
	enum net_kind kind;
	uid_t owner;
};

struct nets {
	struct daemon *d;
	struct list nets, procs;
};

/* ---- the list of networks ---- */

static struct net *find(struct nets *n, const char *name)
{
	struct net *net;

	list_for_each(net, &n->nets, struct net, node)
		if (!strcmp(net->name, name))
			return net;
	return NULL;
}

static int save(struct nets *n, struct err *e)
{
	auto_arena mem = { NULL };
	struct nets_file f = { .nets.n = 0 };
	struct net *net;
	size_t count = 0;

	list_for_each(net, &n->nets, struct net, node)
		count++;
	f.nets.v = arena_alloc(&mem, count, sizeof(*f.nets.v));
	if (!f.nets.v)
		return err_nomem(e);
	list_for_each(net, &n->nets, struct net, node)
		f.nets.v[f.nets.n++] = (struct net_record){ .name = net->name,
							    .kind = net->kind,
							    .owner = net->owner };
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
	list_for_each(at, &n->nets, struct net, node)
		if (strcmp(at->name, name) > 0) {
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
	list_init(&n->procs);
	d->nets = n;
	r = state_load(d->state_dir, "nets.json", &nets_file_object, &f, &mem, &json, e);
	for (size_t i = 0; r == 0 && i < f.nets.n; i++)
		if (!add(n, f.nets.v[i].name, f.nets.v[i].kind, (uid_t)f.nets.v[i].owner))
			r = err_nomem(e);
	json_object_put(json);
	if (r == 0)
		netproc_find_all(d, &n->procs);
	return r;
}

void nets_free(struct nets *n)
{
	struct net *net;

	if (!n)
		return;
	netproc_free_all(&n->procs);
	list_for_each(net, &n->nets, struct net, node)
		free(net);
	free(n);
}

/* Cards of running VMs in a network. */
static uint64_t ports_of(struct nets *n, const char *name)
{
	uint64_t count = 0;
	struct vm *vm;

	list_for_each(vm, &n->d->vms, struct vm, node)
		for (size_t i = 0; vm->worker && i < vm->def->nets.n; i++)
			count += vm->def->nets.v[i].kind == NET_SWITCH &&
				 !strcmp(vm->def->nets.v[i].name, name);
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
	list_for_each(net, &n->nets, struct net, node)
		count++;
	r->nets.v = arena_alloc(rpc_call_mem(c), count, sizeof(*r->nets.v));
	if (!r->nets.v)
		return err_nomem(e);
	list_for_each(net, &n->nets, struct net, node) {
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

static int key_of(const struct vm *vm, size_t i, char *buf, size_t len)
{
	const struct vm_net *net = &vm->def->nets.v[i];

	if (net->kind == NET_SWITCH)
		return snprintf(buf, len, "switch-%s", net->name);
	return snprintf(buf, len, "vm-%llu-%zu", (unsigned long long)vm->id, i);
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

/* A socket pair between the worker and the process of the network. */
static int connect_card(struct vm *vm, size_t i, netproc_fn *fn, void *arg, int *ret, struct err *e)
{
	struct nets *n = vm->d->nets;
	char key[VM_NAME_MAX + 16];
	struct netproc *p;
	int pair[2], r;

	key_of(vm, i, key, sizeof(key));
	r = netproc_get(vm->d, &n->procs, key, vm->def->nets.v[i].kind, vm->owner, vm->group, &p,
			e);
	if (r < 0)
		return r;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, "cannot make a socket");
	r = netproc_port(p, pair[1], fn, arg, e);
	close(pair[1]);
	if (r < 0)
		close(pair[0]);
	else
		*ret = pair[0];
	return r < 0 ? r : 1;
}

int net_connect(struct vm *vm, size_t i, netproc_fn *fn, void *arg, int *fd, struct err *e)
{
	const struct vm_net *net = &vm->def->nets.v[i];

	*fd = -1;
	switch (net->kind) {
	case NET_NONE: return 0;
	case NET_USER:
	case NET_SWITCH: return connect_card(vm, i, fn, arg, fd, e);
	case NET_TAP: return open_tap(vm, net, fd, e);
	case net_kind_COUNT: break;
	}
	return err_set(e, -EINVAL, "a card of an unknown kind");
}

static void forget_forwards(struct vm *vm)
{
	for (size_t i = 0; i < vm->forwards.n; i++)
		free((char *)vm->forwards.v[i].address);
	free(take(vm->forwards.v));
	vm->forwards.n = 0;
}

/* The processes end by themselves when the worker's end of the last socket closes. */
void net_disconnect(struct vm *vm)
{
	forget_forwards(vm);
}

/* ---- forwards ---- */

static void say_forward(struct vm *vm, const struct vm_forward *f, bool active)
{
	struct event_port_state ev = { .forward = *f, .active = active };

	event_publish(vm->d, "port.state", vm->def->name, &ev);
}

static bool same_forward(const struct vm_forward *a, const struct vm_forward *b)
{
	return a->proto == b->proto && a->host_port == b->host_port &&
	       a->guest_port == b->guest_port && a->count == b->count &&
	       !strcmp(a->address, b->address);
}

static bool in_list(const struct vm_forward_list *l, const struct vm_forward *f)
{
	for (size_t i = 0; i < l->n; i++)
		if (same_forward(&l->v[i], f))
			return true;
	return false;
}

/* What the network says is so; tell what is different from before. */
void net_forwards_are(struct vm *vm, const struct vm_forward_list *now)
{
	struct vm_forward *v = calloc(now->n + 1, sizeof(*v));
	size_t n = 0;

	if (!v)
		return;
	for (size_t i = 0; i < vm->forwards.n; i++)
		if (!in_list(now, &vm->forwards.v[i]))
			say_forward(vm, &vm->forwards.v[i], false);
	for (size_t i = 0; i < now->n; i++) {
		char *address = strdup(now->v[i].address);

		if (!address)
			break;
		if (!in_list(&vm->forwards, &now->v[i]))
			say_forward(vm, &now->v[i], true);
		v[n] = now->v[i];
		v[n++].address = address;
	}
	forget_forwards(vm);
	vm->forwards.v = v;
	vm->forwards.n = n;
}

/* Forwards belong to the first user card. */
static int forward_proc(struct vm *vm, struct netproc **ret, struct err *e)
{
	char key[VM_NAME_MAX + 16];

	for (size_t i = 0; i < vm->def->nets.n; i++) {
		if (vm->def->nets.v[i].kind != NET_USER)
			continue;
		key_of(vm, i, key, sizeof(key));
		*ret = netproc_find(vm->d, &vm->d->nets->procs, key);
		return *ret ? 0 : rpc_error(e, "failed", "the process of the network has ended");
	}
	return rpc_error(e, "vm.definition",
			 "ports can be forwarded through a card of kind user only");
}

int net_forward(struct vm *vm, enum forward_action action, const struct vm_forward *f,
		netproc_fn *fn, void *arg, struct err *e)
{
	struct netproc *p;
	int r = forward_proc(vm, &p, e);

	return r < 0 ? r : netproc_forward(p, action, f, fn, arg, e);
}

static void forwarded(void *arg, const struct vm_forward_list *forwards, const struct err *why)
{
	struct rpc_call *c = arg;
	const struct vm_forward_args *a = rpc_call_args(c);
	struct vm_forward_reply *r = rpc_call_reply(c);
	struct vm *vm = vm_by_name(daemon_of(c), a->vm);
	size_t before = vm ? vm->forwards.n : 0;
	struct err e;

	if (why) {
		rpc_call_fail(c, why);
		return;
	}
	if (vm && vm->worker) {
		net_forwards_are(vm, forwards);
		r->changed = vm->forwards.n != before;
		r->forwards = vm->forwards;
		if (r->changed && vm_save(vm, &e) < 0)
			log_warning("forwards are not on disk", "VM=%s", vm->def->name, "REASON=%s",
				    e.msg, NULL);
	}
	rpc_call_done(c);
}

/* Removing needs the port that was taken when the caller asked for any. */
static void complete(const struct vm *vm, struct vm_forward *f)
{
	for (size_t i = 0; !f->host_port && i < vm->forwards.n; i++)
		if (vm->forwards.v[i].guest_port == f->guest_port &&
		    vm->forwards.v[i].proto == f->proto)
			*f = vm->forwards.v[i];
}

int method_vm_forward(struct rpc_call *c, const struct vm_forward_args *a,
		      struct vm_forward_reply *r, struct err *e)
{
	struct vm_forward f = a->forward;
	struct vm *vm;
	bool change = a->action != FORWARD_LIST;
	int ret = vm_of_call(c, a->vm, change, &vm, e);

	if (ret < 0)
		return ret;
	r->forwards = vm->forwards;
	if (!change)
		return 0;
	if (!a->has_forward)
		return rpc_error(e, "rpc.params", "vm.forward: 'forward' is missing");
	if (!vm->worker)
		return rpc_error(e, "vm.state", "'%s' is %s; change its definition instead",
				 vm->def->name, rpc_enum_name(&vm_state_enum, vm->state));
	if (a->action == FORWARD_REMOVE)
		complete(vm, &f);
	ret = vm_forward_check(&f, e);
	if (ret == 0)
		ret = net_forward(vm, a->action, &f, forwarded, c, e);
	return ret < 0 ? ret : RPC_LATER;
}
