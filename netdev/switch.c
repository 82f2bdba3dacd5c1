/*
 * switch.c - an Ethernet switch between VMs of one host: it learns which port an address is behind,
 * and sends what it does not know to all others. Runs in vmd-net.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/size.h"
#include "netdev/netdev.h"
#include "netdev/port.h"
#include "protocol/errors.h"

enum { PORTS_MAX = 256, TABLE_SIZE = 1024, HEADER = 14 };
#define FORGET_NS (INT64_C(300) * 1000000000) /* an address that was not heard of for so long */

struct switch_port {
	struct network_switch *sw;
	struct netdev *dev;
};

struct learnt {
	uint8_t mac[6];
	uint16_t port; /* index + 1; 0: an empty place */
	int64_t heard_ns;
};

struct network_switch {
	struct network net;
	struct switch_port *ports[PORTS_MAX];
	struct learnt table[TABLE_SIZE]; /* by a hash of the address; a newer one takes the place */
};

static struct learnt *place_of(struct network_switch *sw, const uint8_t *mac)
{
	uint32_t h = le32(mac) * 2654435761u ^ (uint32_t)le16(mac + 4) * 40503u;

	return &sw->table[(h >> 16 ^ h) % TABLE_SIZE];
}

static void learn(struct network_switch *sw, const uint8_t *mac, unsigned port)
{
	struct learnt *l = place_of(sw, mac);

	if (mac[0] & 1) /* nobody sends from a group */
		return;
	memcpy(l->mac, mac, 6);
	l->port = (uint16_t)(port + 1);
	l->heard_ns = mono_ns();
}

static struct switch_port *port_of(struct network_switch *sw, const uint8_t *mac)
{
	const struct learnt *l = place_of(sw, mac);

	if (mac[0] & 1 || !l->port || memcmp(l->mac, mac, 6) || mono_ns() - l->heard_ns > FORGET_NS)
		return NULL;
	return sw->ports[l->port - 1];
}

static unsigned index_of(const struct switch_port *p)
{
	unsigned i = 0;

	while (p->sw->ports[i] != p)
		i++;
	return i;
}

static bool on_frame(void *arg, const uint8_t *frame, size_t len)
{
	struct switch_port *from = arg, *to;
	struct network_switch *sw = from->sw;
	struct iovec iov = { (void *)(uintptr_t)frame, len };

	if (len < HEADER)
		return true;
	learn(sw, frame + 6, index_of(from));
	to = port_of(sw, frame);
	if (to) {
		if (to != from)
			netdev_send(to->dev, &iov, 1);
		return true;
	}
	for (unsigned i = 0; i < PORTS_MAX; i++)
		if (sw->ports[i] && sw->ports[i] != from)
			netdev_send(sw->ports[i]->dev, &iov, 1);
	return true;
}

static void port_free(void *arg)
{
	struct switch_port *p = arg;

	netdev_close(p->dev);
	free(p);
}

/* The netdev that tells is on the stack: it is freed from the loop. */
static void on_closed(void *arg)
{
	struct switch_port *p = arg;
	struct network_switch *sw = p->sw;
	unsigned i = index_of(p);

	sw->ports[i] = NULL;
	for (unsigned k = 0; k < TABLE_SIZE; k++)
		if (sw->table[k].port == i + 1)
			sw->table[k].port = 0;
	loop_post(sw->net.loop, port_free, p);
	sw->net.ports--;
	if (sw->net.closed)
		sw->net.closed(sw->net.arg);
}

static int switch_port(struct network *n, int fd, struct err *e)
{
	struct network_switch *sw = container_of(n, struct network_switch, net);
	struct switch_port *p = calloc(1, sizeof(*p));
	unsigned i = 0;
	int r;

	while (i < PORTS_MAX && sw->ports[i])
		i++;
	if (!p || i == PORTS_MAX) {
		free(p);
		close(fd);
		return rpc_error(e, "limit.reached", "a switch has at most %d ports", PORTS_MAX);
	}
	p->sw = sw;
	r = netdev_open_socket(n->loop, fd, &p->dev, e);
	if (r < 0) {
		free(p);
		return r;
	}
	sw->ports[i] = p;
	n->ports++;
	netdev_on_close(p->dev, on_closed, p);
	netdev_receive(p->dev, on_frame, p);
	return 0;
}

static int switch_new(struct loop *l, struct network **ret, struct err *e)
{
	struct network_switch *sw = calloc(1, sizeof(*sw));

	if (!sw)
		return err_nomem(e);
	sw->net = (struct network){ .class = &switch_network, .loop = l };
	*ret = &sw->net;
	return 0;
}

static void switch_free(struct network *n)
{
	struct network_switch *sw = container_of(n, struct network_switch, net);

	for (unsigned i = 0; i < PORTS_MAX; i++)
		if (sw->ports[i])
			port_free(sw->ports[i]);
	free(sw);
}

const struct network_class switch_network = {
	.name = "switch",
	.new_ = switch_new,
	.free_ = switch_free,
	.port = switch_port,
};
