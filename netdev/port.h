/*
 * port.h - what vmd-net runs: a network with ports. Each port is a SEQPACKET socket, one Ethernet
 * frame a packet. Two kinds: user.c (libslirp, one port) and switch.c. On the loop's thread.
 */
#ifndef NETDEV_PORT_H
#define NETDEV_PORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"

struct network;
struct vm_forward;

struct network_class {
	const char *name;
	int (*new_)(struct loop *l, struct network **ret, struct err *e);
	void (*free_)(struct network *n);
	/* The fd is the network's, also on failure. */
	int (*port)(struct network *n, int fd, struct err *e);
	/* Ports of the host; NULL: this kind has none. *f gets the port that was taken when it asks
	 * for 0. */
	int (*forward_add)(struct network *n, struct vm_forward *f, struct err *e);
	int (*forward_remove)(struct network *n, const struct vm_forward *f, struct err *e);
};

/* What each kind's struct begins with. */
struct network {
	const struct network_class *class;
	struct loop *loop;
	unsigned ports;            /* open ones */
	void (*closed)(void *arg); /* a port has closed; may be NULL */
	void *arg;
};

extern const struct network_class user_network, switch_network;

#endif
