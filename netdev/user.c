/*
 * user.c - a user-mode network: libslirp as the router of one guest, with NAT, DHCP, DNS, IPv6 and
 * forwarded ports. Runs in vmd-net, which has neither guest memory nor disks, because libslirp
 * parses what guests send.
 *
 * libslirp wants to say before each wait which descriptors it waits for. They are kept in an epoll
 * set of their own, which the loop watches as one descriptor; the set is brought up to date after
 * everything that may have changed it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <libslirp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/list.h"
#include "base/size.h"
#include "netdev/netdev.h"
#include "netdev/port.h"
#include "protocol/errors.h"
#include "protocol/types.h"

enum { FDS_MAX = 1024, EVENTS = 64, TCP_BACKLOG_TRIES = 16 };

/* A descriptor of libslirp's: what it waits for, and what happened. */
struct watched {
	int fd;
	uint32_t wanted, in_set, got; /* epoll events */
	unsigned turn;                /* of the last fill that mentioned it */
};

struct user {
	struct network net;
	Slirp *slirp;
	struct netdev *port;
	int epoll;
	struct loop_watch *ready, *tick;
	struct watched fds[FDS_MAX];
	unsigned n_fds, turn;
	struct list timers;
	bool refill_posted;
};

struct timer {
	struct list node;
	struct user *u;
	struct loop_watch *watch;
	SlirpTimerId id;
	void *cb_opaque;
};

static void refill(struct user *u);

/*
 * What libslirp calls for connections, datagrams and the name servers of the host.
 *
 * seccomp network: socket, bind, listen, accept, accept4, connect, shutdown - sockets of the guest
 * seccomp network: getsockopt, setsockopt, getsockname, getpeername, fcntl - the same
 * seccomp network: recvfrom, recvmsg, sendto, sendmsg, ioctl(1=FIONREAD), ioctl(1=FIONBIO) - data
 * seccomp network: openat, newfstatat, fstat, lseek - /etc/resolv.conf
 * seccomp network: epoll_create1, getrandom - ports and sets
 */

/* ---- callbacks of libslirp ---- */

static ssize_t send_packet(const void *buf, size_t len, void *opaque)
{
	struct user *u = opaque;
	struct iovec iov = { (void *)(uintptr_t)buf, len };

	if (u->port)
		netdev_send(u->port, &iov, 1);
	return (ssize_t)len;
}

static void guest_error(const char *msg, void *opaque)
{
	(void)msg; /* about the guest's packets: of no use to the operator */
	(void)opaque;
}

static int64_t clock_get_ns(void *opaque)
{
	(void)opaque;
	return mono_ns();
}

static void on_timer(void *arg)
{
	struct timer *t = arg;

	slirp_handle_timer(t->u->slirp, t->id, t->cb_opaque);
	refill(t->u);
}

static void *timer_new(SlirpTimerId id, void *cb_opaque, void *opaque)
{
	struct user *u = opaque;
	struct timer *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	*t = (struct timer){ .u = u, .id = id, .cb_opaque = cb_opaque };
	if (loop_timer(u->net.loop, on_timer, t, &t->watch, NULL) < 0) {
		free(t);
		return NULL;
	}
	list_append(&u->timers, &t->node);
	return t;
}

static void timer_free(void *timer, void *opaque)
{
	struct timer *t = timer;

	(void)opaque;
	if (!t)
		return;
	list_remove(&t->node);
	loop_watch_free(t->watch);
	free(t);
}

static void timer_mod(void *timer, int64_t expire_ms, void *opaque)
{
	struct timer *t = timer;

	(void)opaque;
	if (t)
		loop_timer_set(t->watch, MAX(expire_ms * 1000000 - mono_ns(), INT64_C(0)));
}

static struct watched *find(struct user *u, int fd)
{
	for (unsigned i = 0; i < u->n_fds; i++)
		if (u->fds[i].fd == fd)
			return &u->fds[i];
	return NULL;
}

static void register_fd(int fd, void *opaque)
{
	(void)fd; /* it is added when a fill mentions it */
	(void)opaque;
}

/* It is closed behind this call, and its number may come back as another socket. */
static void unregister_fd(int fd, void *opaque)
{
	struct user *u = opaque;
	struct watched *w = find(u, fd);

	if (!w)
		return;
	if (w->in_set)
		epoll_ctl(u->epoll, EPOLL_CTL_DEL, fd, NULL);
	*w = (struct watched){ .fd = -1 }; /* stays in its place: libslirp holds indices */
}

static void notify(void *opaque)
{
	(void)opaque; /* one thread: a refill follows every entry into libslirp */
}

static const SlirpCb callbacks = {
	.send_packet = send_packet,
	.guest_error = guest_error,
	.clock_get_ns = clock_get_ns,
	.timer_new_opaque = timer_new,
	.timer_free = timer_free,
	.timer_mod = timer_mod,
	.register_poll_fd = register_fd,
	.unregister_poll_fd = unregister_fd,
	.notify = notify,
};

/* ---- waiting ---- */

static const struct {
	int slirp;
	uint32_t epoll;
} kinds[] = {
	{ SLIRP_POLL_IN, EPOLLIN },   { SLIRP_POLL_OUT, EPOLLOUT }, { SLIRP_POLL_PRI, EPOLLPRI },
	{ SLIRP_POLL_ERR, EPOLLERR }, { SLIRP_POLL_HUP, EPOLLHUP },
};

static uint32_t to_epoll(int slirp)
{
	uint32_t e = 0;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		e |= slirp & kinds[i].slirp ? kinds[i].epoll : 0;
	return e;
}

static int from_epoll(uint32_t epoll)
{
	int s = 0;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		s |= epoll & kinds[i].epoll ? kinds[i].slirp : 0;
	return s;
}

static int add_poll(int fd, int events, void *opaque)
{
	struct user *u = opaque;
	struct watched *w = find(u, fd);

	if (!w)
		w = find(u, -1); /* a place that is free again */
	if (!w && u->n_fds == FDS_MAX)
		return -1; /* a connection too many waits until others have ended */
	if (!w)
		w = &u->fds[u->n_fds++];
	if (w->fd != fd)
		*w = (struct watched){ .fd = fd };
	w->wanted = to_epoll(events);
	w->turn = u->turn;
	return (int)(w - u->fds);
}

static int get_revents(int index, void *opaque)
{
	struct user *u = opaque;

	return index >= 0 && (unsigned)index < u->n_fds ? from_epoll(u->fds[index].got) : 0;
}

static void set_epoll(struct user *u, struct watched *w, uint32_t wanted)
{
	struct epoll_event ev = { .events = wanted, .data.fd = w->fd };

	if (wanted == w->in_set || w->fd < 0)
		return;
	if (!wanted)
		epoll_ctl(u->epoll, EPOLL_CTL_DEL, w->fd, NULL);
	else if (epoll_ctl(u->epoll, w->in_set ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, w->fd, &ev) < 0 &&
		 errno == ENOENT)
		epoll_ctl(u->epoll, EPOLL_CTL_ADD, w->fd,
			  &ev); /* another socket of the same number */
	w->in_set = wanted;
}

/* Ask libslirp what it waits for, and bring the set to it. */
static void refill(struct user *u)
{
	uint32_t timeout_ms = 1000;

	u->turn++;
	slirp_pollfds_fill(u->slirp, &timeout_ms, add_poll, u);
	for (unsigned i = 0; i < u->n_fds; i++)
		set_epoll(u, &u->fds[i], u->fds[i].turn == u->turn ? u->fds[i].wanted : 0);
	loop_timer_set(u->tick, (int64_t)timeout_ms * 1000000);
}

/* Something is ready, or libslirp's own time-out is over. */
static void turn(struct user *u)
{
	struct epoll_event ev[EVENTS];
	int n = epoll_wait(u->epoll, ev, EVENTS, 0);

	for (unsigned i = 0; i < u->n_fds; i++)
		u->fds[i].got = 0;
	for (int i = 0; i < n; i++) {
		struct watched *w = find(u, ev[i].data.fd);

		if (w)
			w->got = ev[i].events;
	}
	slirp_pollfds_poll(u->slirp, n < 0, get_revents, u);
	refill(u);
}

static void on_ready(void *arg, int fd, unsigned events)
{
	(void)fd;
	(void)events;
	turn(arg);
}

static void on_tick(void *arg)
{
	turn(arg);
}

/* ---- the port ---- */

static void refill_posted(void *arg)
{
	struct user *u = arg;

	u->refill_posted = false;
	refill(u);
}

/*
 * IPv4 fragments are not passed on: the reassembly of libslirp (ip_reass, seen with 4.7.0) follows
 * a wild pointer when fragments of a hostile guest overlap. A guest that sends a datagram larger
 * than its MTU loses it; TCP never does.
 */
static bool is_fragment(const uint8_t *frame, size_t len)
{
	enum { ETHERTYPE = 12, IPV4 = 0x0800, FLAGS = 14 + 6, MORE_OR_OFFSET = 0x3fff };

	return len >= 14 + 20 && be16(frame + ETHERTYPE) == IPV4 &&
	       be16(frame + FLAGS) & MORE_OR_OFFSET;
}

/* Many frames come in one turn: the set is brought up to date once behind them. */
static bool on_frame(void *arg, const uint8_t *frame, size_t len)
{
	struct user *u = arg;

	if (!is_fragment(frame, len))
		slirp_input(u->slirp, frame, (int)len);
	if (!u->refill_posted)
		u->refill_posted = loop_post(u->net.loop, refill_posted, u);
	return true;
}

static void on_closed(void *arg)
{
	struct user *u = arg;

	u->net.ports--;
	if (u->net.closed)
		u->net.closed(u->net.arg);
}

static int user_port(struct network *n, int fd, struct err *e)
{
	struct user *u = container_of(n, struct user, net);
	int r;

	if (u->port) {
		close(fd);
		return rpc_error(e, "net.in-use", "a user network has one port");
	}
	r = netdev_open_socket(n->loop, fd, &u->port, e);
	if (r < 0)
		return r;
	netdev_on_close(u->port, on_closed, u);
	netdev_receive(u->port, on_frame, u);
	n->ports++;
	return 0;
}

/* ---- forwards ---- */

/* The guest's address is the first that DHCP gives. */
static void guest_address(struct sockaddr_storage *a, socklen_t *len, int family, uint16_t port)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)a;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)a;

	memset(a, 0, sizeof(*a));
	if (family == AF_INET) {
		*v4 = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port) };
		inet_pton(AF_INET, "10.0.2.15", &v4->sin_addr);
		*len = sizeof(*v4);
	} else {
		/* Where a guest without DHCPv6 is: its address follows from its MAC, which libslirp
		 * learns. */
		*v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons(port) };
		*len = sizeof(*v6);
	}
}

static int host_address(const struct vm_forward *f, uint16_t port, struct sockaddr_storage *a,
			socklen_t *len, struct err *e)
{
	const char *text = f->address ? f->address : "127.0.0.1";
	struct sockaddr_in *v4 = (struct sockaddr_in *)a;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)a;

	memset(a, 0, sizeof(*a));
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		*len = sizeof(*v4);
		return 0;
	}
	if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		*len = sizeof(*v6);
		return 0;
	}
	return rpc_error(e, "rpc.params", "'%s' is no address of this host", text);
}

/* libslirp cannot tell which port it got, so a free one is found first. */
static int free_port(const struct vm_forward *f, uint16_t *port, struct err *e)
{
	autoclose int fd = -1;
	struct sockaddr_storage a;
	socklen_t len;
	int r = host_address(f, 0, &a, &len, e);

	if (r < 0)
		return r;
	fd = socket(a.ss_family,
		    (f->proto == FORWARD_UDP ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, len) < 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		return err_sys(e, "cannot find a free port");
	*port = ntohs(a.ss_family == AF_INET ? ((struct sockaddr_in *)&a)->sin_port
					     : ((struct sockaddr_in6 *)&a)->sin6_port);
	return 0;
}

static int flags_of(const struct vm_forward *f)
{
	return f->proto == FORWARD_UDP ? SLIRP_HOSTFWD_UDP : 0;
}

static int remove_one(struct user *u, const struct vm_forward *f, uint16_t port, struct err *e)
{
	struct sockaddr_storage a;
	socklen_t len;
	int r = host_address(f, port, &a, &len, e);

	if (r < 0)
		return r;
	if (slirp_remove_hostxfwd(u->slirp, (struct sockaddr *)&a, len, flags_of(f)) < 0)
		return rpc_error(e, "net.not-found", "port %u is not forwarded", port);
	return 0;
}

static int add_one(struct user *u, const struct vm_forward *f, uint16_t port, uint16_t guest_port,
		   struct err *e)
{
	struct sockaddr_storage host, guest;
	socklen_t host_len, guest_len;
	int r = host_address(f, port, &host, &host_len, e);

	if (r < 0)
		return r;
	guest_address(&guest, &guest_len, AF_INET, guest_port);
	if (slirp_add_hostxfwd(u->slirp, (struct sockaddr *)&host, host_len,
			       (struct sockaddr *)&guest, guest_len, flags_of(f)) == 0)
		return 0;
	if (errno == EADDRINUSE)
		return rpc_error(e, "port.in-use", "port %u of %s is in use by another program",
				 port, f->address ? f->address : "127.0.0.1");
	if (errno == EACCES)
		return rpc_error(e, "port.permission", "port %u may not be used by this user",
				 port);
	return err_sys(e, "cannot listen on port %u", port);
}

/* A range is there as a whole or not at all. */
static int user_forward_add(struct network *n, struct vm_forward *f, struct err *e)
{
	struct user *u = container_of(n, struct user, net);
	uint16_t port = (uint16_t)f->host_port;
	int r = 0;

	if (!port) {
		r = free_port(f, &port, e);
		if (r < 0)
			return r;
	}
	for (unsigned i = 0; i < f->count; i++) {
		r = add_one(u, f, (uint16_t)(port + i), (uint16_t)(f->guest_port + i), e);
		while (r < 0 && i--)
			remove_one(u, f, (uint16_t)(port + i), NULL);
		if (r < 0)
			break;
	}
	if (r == 0) {
		f->host_port = port;
		f->has_host_port = true;
		refill(u);
	}
	return r;
}

static int user_forward_remove(struct network *n, const struct vm_forward *f, struct err *e)
{
	struct user *u = container_of(n, struct user, net);
	int r = 0;

	for (unsigned i = 0; i < f->count; i++) {
		int one = remove_one(u, f, (uint16_t)(f->host_port + i), r ? NULL : e);

		r = r ? r : one;
	}
	refill(u);
	return r;
}

/* ---- life ---- */

static void user_free(struct network *n)
{
	struct user *u = container_of(n, struct user, net);
	struct timer *t;

	if (u->port)
		netdev_close(u->port);
	if (u->slirp)
		slirp_cleanup(u->slirp);
	list_for_each(t, &u->timers, struct timer, node) timer_free(t, u);
	loop_watch_free(u->ready);
	loop_watch_free(u->tick);
	if (u->epoll >= 0)
		close(u->epoll);
	free(u);
}

/* 10.0.2.0/24 and fec0::/64: router and host .2, name server .3, the guest .15. */
static void configure(SlirpConfig *c)
{
	*c = (SlirpConfig){ .version = 4,
			    .in_enabled = true,
			    .in6_enabled = true,
			    .vprefix_len = 64,
			    .vhostname = "vmd" };
	inet_pton(AF_INET, "10.0.2.0", &c->vnetwork);
	inet_pton(AF_INET, "255.255.255.0", &c->vnetmask);
	inet_pton(AF_INET, "10.0.2.2", &c->vhost);
	inet_pton(AF_INET, "10.0.2.15", &c->vdhcp_start);
	inet_pton(AF_INET, "10.0.2.3", &c->vnameserver);
	inet_pton(AF_INET6, "fec0::", &c->vprefix_addr6);
	inet_pton(AF_INET6, "fec0::2", &c->vhost6);
	inet_pton(AF_INET6, "fec0::3", &c->vnameserver6);
}

static int user_new(struct loop *l, struct network **ret, struct err *e)
{
	struct user *u = calloc(1, sizeof(*u));
	SlirpConfig config;
	int r;

	if (!u)
		return err_nomem(e);
	u->net = (struct network){ .class = &user_network, .loop = l };
	list_init(&u->timers);
	u->epoll = epoll_create1(EPOLL_CLOEXEC);
	configure(&config);
	r = u->epoll < 0 ? err_sys(e, "cannot make an epoll set")
			 : loop_fd(l, u->epoll, LOOP_READ, on_ready, u, &u->ready, e);
	if (r == 0)
		r = loop_timer(l, on_tick, u, &u->tick, e);
	if (r == 0) {
		u->slirp = slirp_new(&config, &callbacks, u);
		r = u->slirp ? 0 : err_set(e, -ENOMEM, "libslirp could not start");
	}
	if (r < 0) {
		user_free(&u->net);
		return r;
	}
	refill(u);
	*ret = &u->net;
	return 0;
}

const struct network_class user_network = {
	.name = "user",
	.new_ = user_new,
	.free_ = user_free,
	.port = user_port,
	.forward_add = user_forward_add,
	.forward_remove = user_forward_remove,
};
