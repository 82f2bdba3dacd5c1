/*
 * net.c - virtio network device (virtio 1.2, section 5.1): frames between the rings and a netdev,
 * on the I/O loop. Offloads are offered when the back end has them; the header of 12 bytes is then
 * passed through unread.
 */
#include <errno.h>

#include "emul/core/machine.h"
#include "netdev/netdev.h"
#include "virtio/classes.h"

enum { ID = 1, QUEUE_SIZE = 256, RX = 0, TX = 1, CTRL = 2, HEADER_SIZE = 12 };

/* Features, section 5.1.3. */
#define F_CSUM       VIRTIO_F(0)
#define F_GUEST_CSUM VIRTIO_F(1)
#define F_MAC        VIRTIO_F(5)
#define F_GUEST_TSO4 VIRTIO_F(7)
#define F_GUEST_TSO6 VIRTIO_F(8)
#define F_HOST_TSO4  VIRTIO_F(11)
#define F_HOST_TSO6  VIRTIO_F(12)
#define F_MRG_RXBUF  VIRTIO_F(15)
#define F_STATUS     VIRTIO_F(16)
#define F_CTRL_VQ    VIRTIO_F(17)
#define F_CTRL_RX    VIRTIO_F(18)

enum { C_MAC = 0, C_STATUS = 6, C_MAX_PAIRS = 8, CONFIG_SIZE = 10, LINK_UP = 1 };

/* The control queue, section 5.1.6.5: class, command, then data; answered by one byte. */
enum { CTRL_RX_CLASS = 0, CTRL_RX_PROMISC = 0, CTRL_RX_ALLMULTI = 1, CTRL_OK = 0, CTRL_ERR = 1 };

struct virtio_net_state {
	struct virtio_state v;
	uint8_t promiscuous, all_multicast, spare[6];
};

struct virtio_net {
	struct virtio v;
	void *netdev; /* struct netdev, or NULL: no cable */
	uint64_t mac; /* six bytes, the first in the low bits */
	struct virtq_chain chain;
	struct virtio_net_state s; /* last: see classes.h */
};

static struct virtio_net *net_of(struct virtio *v)
{
	return container_of(v, struct virtio_net, v);
}

static bool has_vnet(const struct virtio_net *n)
{
	return n->netdev && netdev_features(n->netdev) & NETDEV_VNET;
}

/* ---- To the guest ---- */

static bool is_for_guest(const struct virtio_net *n, const uint8_t *frame, size_t len)
{
	uint8_t mac[8];

	if (len < 14 || n->s.promiscuous)
		return len >= 14;
	if (frame[0] & 1) /* broadcast and multicast; address filters are not offered */
		return true;
	put_le64(mac, n->mac);
	return !memcmp(frame, mac, 6);
}

static void forget(struct virtq *q, uint16_t avail, uint16_t wrap)
{
	q->s->avail[q->n] = avail;
	q->s->avail_wrap[q->n] = wrap;
}

/* Spread header and frame over as many chains as it takes (one without MRG_RXBUF). */
static bool put_frame(struct virtio_net *n, struct virtq *q, const uint8_t *head,
		      const uint8_t *frame, uint32_t len)
{
	bool many = virtio_has(&n->v, F_MRG_RXBUF);
	struct virtq_batch batch = { .chains = 0 };
	uint32_t done = 0;
	uint8_t *count = NULL;
	uint16_t before = q->s->avail[q->n], wrap = q->s->avail_wrap[q->n];

	while (done < len || !batch.chains) {
		uint32_t skip = batch.chains ? 0 : HEADER_SIZE, n_put;

		if (!virtio_next(&n->v, q, &n->chain)) {
			forget(q, before, wrap);
			return false;
		}
		if (skip) {
			if (virtq_write(&n->chain, 0, head, HEADER_SIZE) != HEADER_SIZE ||
			    virtq_in(&n->chain)->iov_len < HEADER_SIZE) {
				q->broken = "a receive buffer without room for the header";
				return false;
			}
			count = (uint8_t *)virtq_in(&n->chain)->iov_base + 10;
		}
		n_put = virtq_write(&n->chain, skip, frame + done, len - done);
		done += n_put;
		if (!virtq_fill(q, &batch, &n->chain, skip + n_put)) {
			forget(q, before, wrap);
			return true; /* buffers too small for such a frame: it is lost */
		}
		if (!many)
			break; /* what does not fit is cut off, as a card would */
	}
	put_le16(count, (uint16_t)batch.chains);
	virtq_commit(q, &batch);
	return true;
}

static bool receive(void *arg, const uint8_t *frame, size_t len)
{
	static const uint8_t plain[HEADER_SIZE];
	struct virtio_net *n = arg;
	const uint8_t *head = plain;
	struct virtq q;
	bool taken = true;

	if (has_vnet(n)) {
		if (len < HEADER_SIZE)
			return true;
		head = frame;
		frame += HEADER_SIZE;
		len -= HEADER_SIZE;
	}
	device_lock(&n->v.dev);
	if (is_for_guest(n, frame, len) && virtio_queue(&n->v, RX, &q)) {
		taken = put_frame(n, &q, head, frame, (uint32_t)len) || q.broken;
		virtio_flush(&n->v, RX, &q);
	}
	device_unlock(&n->v.dev);
	return taken;
}

/* ---- From the guest ---- */

static void send_one(struct virtio_net *n)
{
	struct virtq_chain *c = &n->chain;
	struct iovec *iov = c->iov;
	unsigned count = c->n_out;
	uint32_t skip = HEADER_SIZE;

	if (c->out_len < HEADER_SIZE || !n->netdev)
		return;
	if (!has_vnet(n)) {
		while (count && skip >= iov->iov_len) {
			skip -= (uint32_t)iov->iov_len;
			iov++;
			count--;
		}
		if (!count)
			return;
		iov->iov_base = (uint8_t *)iov->iov_base + skip;
		iov->iov_len -= skip;
	}
	netdev_send(n->netdev, iov, count);
}

static void run_tx(struct virtio_net *n)
{
	struct virtq q;

	if (!virtio_queue(&n->v, TX, &q))
		return;
	while (virtio_next(&n->v, &q, &n->chain)) {
		send_one(n);
		virtq_push(&q, &n->chain, 0);
	}
	virtio_flush(&n->v, TX, &q);
}

static uint8_t control(struct virtio_net *n)
{
	uint8_t cmd[3];

	if (virtq_read(&n->chain, 0, cmd, 3) != 3 || cmd[0] != CTRL_RX_CLASS || cmd[2] > 1)
		return CTRL_ERR;
	switch (cmd[1]) {
	case CTRL_RX_PROMISC: n->s.promiscuous = cmd[2]; return CTRL_OK;
	case CTRL_RX_ALLMULTI: n->s.all_multicast = cmd[2]; return CTRL_OK;
	}
	return CTRL_ERR;
}

static void run_ctrl(struct virtio_net *n)
{
	struct virtq q;

	if (!virtio_queue(&n->v, CTRL, &q))
		return;
	while (virtio_next(&n->v, &q, &n->chain)) {
		uint8_t answer = control(n);

		virtq_push(&q, &n->chain, virtq_write(&n->chain, 0, &answer, 1));
	}
	virtio_flush(&n->v, CTRL, &q);
}

/* Buffers came: let the back end use what the driver negotiated, and give what waits. */
static void run_rx(struct virtio_net *n)
{
	unsigned use = NETDEV_VNET;

	if (!n->netdev)
		return;
	use |= virtio_has(&n->v, F_GUEST_CSUM) ? NETDEV_CSUM : 0;
	use |= virtio_has(&n->v, F_GUEST_TSO4) ? NETDEV_TSO : 0;
	/* Frames come inside the call, and receive() locks. */
	device_unlock(&n->v.dev);
	netdev_use(n->netdev, use);
	netdev_resume(n->netdev);
	device_lock(&n->v.dev);
}

static void net_run(struct virtio *v, unsigned queue)
{
	struct virtio_net *n = net_of(v);

	switch (queue) {
	case RX: run_rx(n); break;
	case TX: run_tx(n); break;
	case CTRL: run_ctrl(n); break;
	}
}

static unsigned net_queues(struct virtio *v)
{
	(void)v;
	return 3;
}

static uint64_t net_features(struct virtio *v)
{
	struct virtio_net *n = net_of(v);
	unsigned has = n->netdev ? netdev_features(n->netdev) : 0;
	uint64_t f = F_MAC | F_MRG_RXBUF | F_STATUS | F_CTRL_VQ | F_CTRL_RX;

	if (has & NETDEV_VNET && has & NETDEV_CSUM)
		f |= F_CSUM | F_GUEST_CSUM;
	if (has & NETDEV_VNET && has & NETDEV_TSO)
		f |= F_GUEST_TSO4 | F_GUEST_TSO6 | F_HOST_TSO4 | F_HOST_TSO6;
	return f;
}

static void net_config_read(struct virtio *v, uint32_t off, uint8_t *buf, unsigned len)
{
	struct virtio_net *n = net_of(v);
	uint8_t c[CONFIG_SIZE] = { 0 }, mac[8];

	put_le64(mac, n->mac);
	memcpy(c + C_MAC, mac, 6);
	put_le16(c + C_STATUS, n->netdev ? LINK_UP : 0);
	put_le16(c + C_MAX_PAIRS, 1);
	memcpy(buf, c + off, len);
}

static void net_ready(struct virtio *v)
{
	virtio_kick(v, RX);
}

static void net_reset(struct virtio *v)
{
	struct virtio_net *n = net_of(v);

	n->s.promiscuous = n->s.all_multicast = 0;
}

static const struct virtio_type net_type = {
	.name = "net",
	.doc = "network card",
	.id = ID,
	.queue_max = QUEUE_SIZE,
	.config_size = CONFIG_SIZE,
	.queues = net_queues,
	.features = net_features,
	.config_read = net_config_read,
	.ready = net_ready,
	.run = net_run,
	.reset = net_reset,
};

static int net_plug(struct device *dev, struct err *e)
{
	struct virtio_net *n = container_of(dev, struct virtio_net, v.dev);

	(void)e;
	virtio_plug(&n->v, &net_type, &n->s.v);
	if (n->netdev)
		netdev_receive(n->netdev, receive, n);
	return 0;
}

static void net_unplug(struct device *dev)
{
	struct virtio_net *n = container_of(dev, struct virtio_net, v.dev);

	if (n->netdev)
		netdev_receive(n->netdev, NULL, NULL);
}

#define net_PROPS                                                                               \
	PROP(POINTER, virtio_net, netdev, NULL, "the back end; without one there is no cable"), \
	    PROP(UINT, virtio_net, mac, "0", "address, the first byte in the low bits"),
#define net_STATE                                                             \
	VIRTIO_STATE(virtio_net_state), STATE(virtio_net_state, promiscuous), \
	    STATE(virtio_net_state, all_multicast), STATE_ARRAY(virtio_net_state, spare)

VIRTIO_CLASSES(net, net, "network card");
