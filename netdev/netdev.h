/*
 * netdev.h - the host side of a network card: Ethernet frames out and in.
 *
 * A back end is one file descriptor that the worker was given: a SEQPACKET socketpair to vmd-net
 * or to another program, or a tap device. Frames carry a virtio-net header of 12 bytes in front
 * when NETDEV_VNET is among its features, so that offloads pass through; without it a frame is
 * bare. A netdev belongs to the loop it was opened on, and all calls are made on that thread.
 */
#ifndef NETDEV_NETDEV_H
#define NETDEV_NETDEV_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/own.h"

struct loop;
struct netdev;

/* What a back end can take and give. */
enum {
	NETDEV_VNET = 1, /* frames have a virtio_net_hdr (12 bytes, num_buffers last) in front */
	NETDEV_CSUM = 2, /* may be given, and gives, partial checksums */
	NETDEV_TSO = 4,  /* the same for segmentation of IPv4 and IPv6 TCP */
};

enum { NETDEV_FRAME_MAX = 65550 + 12 }; /* bytes, header included */

/* A frame came in; false: no room now, netdev_resume() asks for it again. */
typedef bool netdev_recv_fn(void *arg, const uint8_t *frame, size_t len);

/* fd becomes the netdev's. */
int netdev_open_socket(struct loop *loop, int fd, struct netdev **ret, struct err *e);
int netdev_open_tap(struct loop *loop, int fd, struct netdev **ret, struct err *e);
void netdev_close(struct netdev *n);

unsigned netdev_features(const struct netdev *n);
/* Which of the offered features the guest's driver uses; NETDEV_VNET stays as it is. */
void netdev_use(struct netdev *n, unsigned features);

void netdev_receive(struct netdev *n, netdev_recv_fn *fn,
		    void *arg); /* NULL: frames wait in the kernel */
void netdev_resume(struct netdev *n);

/* Called once when the peer has closed its end, from within the netdev: do not close it there. */
void netdev_on_close(struct netdev *n, void (*fn)(void *arg), void *arg);

/* False: the back end is full, and the frame is lost as on a wire. */
bool netdev_send(struct netdev *n, const struct iovec *iov, unsigned n_iov);

AUTOPTR(netdev, netdev_close)

#endif
