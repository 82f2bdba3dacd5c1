/*
 * netdev.c - Ethernet frames over a file descriptor: a SEQPACKET socket (one frame a message) or a
 * tap device (one frame a read). On the thread of the loop it was opened on; see netdev.h.
 */
#include "netdev/netdev.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/loop.h"

enum { VNET_HEADER = 12, TURN = 64 /* frames a turn, so that nobody holds the loop */ };

struct netdev {
	struct loop *loop;
	struct loop_watch *watch;
	int fd;
	bool tap;
	unsigned features;
	netdev_recv_fn *recv;
	void *arg;
	void (*closed)(void *arg);
	void *closed_arg;
	size_t waiting; /* bytes of a frame in buf that the receiver had no room for */
	uint8_t buf[NETDEV_FRAME_MAX];
};

/* seccomp: recvfrom, read - frames for the guest */
static ssize_t frame_in(struct netdev *n)
{
	return n->tap ? read(n->fd, n->buf, sizeof(n->buf))
		      : recv(n->fd, n->buf, sizeof(n->buf), MSG_DONTWAIT);
}

/* The peer has ended: a cable without the other end. */
static void gone(struct netdev *n)
{
	void (*closed)(void *) = n->closed;

	loop_fd_set(n->watch, 0);
	n->closed = NULL;
	if (closed)
		closed(n->closed_arg);
}

/* Frames until the receiver is full, the kernel is empty, or the turn is over. */
static void pump(struct netdev *n)
{
	for (int i = 0; i < TURN && n->recv; i++) {
		ssize_t len = n->waiting ? (ssize_t)n->waiting : frame_in(n);

		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0 && errno == EAGAIN)
			break;
		if (len <= 0) {
			gone(n);
			return;
		}
		n->waiting = 0;
		if (!n->recv(n->arg, n->buf, (size_t)len)) {
			n->waiting = (size_t)len;
			loop_fd_set(n->watch, 0);
			return;
		}
	}
	loop_fd_set(n->watch, n->recv ? LOOP_READ : 0);
}

static void readable(void *arg, int fd, unsigned events)
{
	(void)fd;
	(void)events;
	pump(arg);
}

static int netdev_new(struct loop *loop, int fd, bool tap, struct netdev **ret, struct err *e)
{
	autoclose int mine = fd;
	autoptr(netdev) n = calloc(1, sizeof(*n));
	int r;

	if (!n)
		return err_nomem(e);
	n->fd = -1;
	if (fcntl(mine, F_SETFL, O_NONBLOCK) < 0)
		return err_sys(e, "network socket");
	n->loop = loop;
	n->tap = tap;
	n->fd = take_fd(&mine);
	r = loop_fd(loop, n->fd, 0, readable, n, &n->watch, e);
	if (r < 0)
		return r;
	*ret = take(n);
	return 0;
}

int netdev_open_socket(struct loop *loop, int fd, struct netdev **ret, struct err *e)
{
	return netdev_new(loop, fd, false, ret, e);
}

int netdev_open_tap(struct loop *loop, int fd, struct netdev **ret, struct err *e)
{
	int size = VNET_HEADER, r = netdev_new(loop, fd, true, ret, e);

	if (r < 0)
		return r;
	/* A tap that was opened with IFF_VNET_HDR takes this; another one passes bare frames. */
	/* seccomp setup: ioctl(1=TUNSETVNETHDRSZ) */
	if (ioctl((*ret)->fd, TUNSETVNETHDRSZ, &size) == 0)
		(*ret)->features = NETDEV_VNET | NETDEV_CSUM | NETDEV_TSO;
	return 0;
}

void netdev_close(struct netdev *n)
{
	loop_watch_free(n->watch);
	if (n->fd >= 0)
		close(n->fd);
	free(n);
}

unsigned netdev_features(const struct netdev *n)
{
	return n->features;
}

/* seccomp: ioctl(1=TUNSETOFFLOAD) - offloads of a tap device */
void netdev_use(struct netdev *n, unsigned features)
{
	unsigned offload = 0;

	if (!(n->features & NETDEV_VNET))
		return;
	if (features & NETDEV_CSUM)
		offload |= TUN_F_CSUM;
	if (features & NETDEV_TSO && features & NETDEV_CSUM)
		offload |= TUN_F_TSO4 | TUN_F_TSO6;
	/* Without the call the tap gives whole, checked frames, which every guest takes. */
	if (ioctl(n->fd, TUNSETOFFLOAD, offload) < 0)
		n->features &= ~(unsigned)(NETDEV_CSUM | NETDEV_TSO);
}

void netdev_receive(struct netdev *n, netdev_recv_fn *fn, void *arg)
{
	n->recv = fn;
	n->arg = arg;
	loop_fd_set(n->watch, fn ? LOOP_READ : 0);
}

void netdev_on_close(struct netdev *n, void (*fn)(void *arg), void *arg)
{
	n->closed = fn;
	n->closed_arg = arg;
}

void netdev_resume(struct netdev *n)
{
	pump(n);
}

/* seccomp: sendmsg, writev - frames of the guest */
bool netdev_send(struct netdev *n, const struct iovec *iov, unsigned n_iov)
{
	struct msghdr msg = { .msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = n_iov };
	ssize_t len;

	do
		len = n->tap ? writev(n->fd, iov, (int)n_iov)
			     : sendmsg(n->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (len < 0 && errno == EINTR);
	return len >= 0;
}
