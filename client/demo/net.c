/*
 * net.c - asks for an address by DHCP on each virtio network device: virtio 1.2 section 5.1,
 * RFC 2131 and 2132. Boot hart, polled; packets are built and read by offset.
 */
#include "virtio.h"

enum { RX = 0, TX = 1, BUFFERS = 8, BUFFER_SIZE = 2048, HEADER = 12, TRIES = 4 };
enum { ETH_SIZE = 14, IP_SIZE = 20, UDP_SIZE = 8, BOOTP_SIZE = 236, COOKIE_SIZE = 4 };
enum { AT_IP = HEADER + ETH_SIZE, AT_UDP = AT_IP + IP_SIZE, AT_BOOTP = AT_UDP + UDP_SIZE };
enum { AT_OPTIONS = AT_BOOTP + BOOTP_SIZE + COOKIE_SIZE, PACKET_SIZE = AT_OPTIONS + 64 };
enum dhcp_option { MASK = 1, ROUTER = 3, DNS = 6, WANTED = 50, TYPE = 53, SERVER = 54, LIST = 55 };
enum dhcp_type { DISCOVER = 1, OFFER = 2, REQUEST = 3, ACK = 5 };

#define FEATURE_MAC (UINT64_C(1) << 5)
#define XID         0x766d6400

struct net {
	uint8_t mac[6];
	uint32_t next; /* receive buffer the device fills next */
	uint8_t packet[BUFFER_SIZE];
	uint8_t buffers[BUFFERS][BUFFER_SIZE];
};

struct lease {
	uint32_t address, mask, router, dns, server;
};

static void give_buffer(struct virtio *v, struct net *n, unsigned i)
{
	virtio_submit(v, RX, &(struct virtio_part){ n->buffers[i], BUFFER_SIZE, true }, 1);
}

static struct net *open_net(struct virtio *v)
{
	struct net *n = v->driver;
	bool fresh = !v->ready;

	if (!virtio_start(v, FEATURE_MAC, 2))
		return NULL;
	if (!n)
		n = v->driver = demo_alloc(v->demo, sizeof(*n));
	for (unsigned i = 0; i < 6; i++)
		n->mac[i] = virtio_config8(v, i);
	if (fresh)
		n->next = 0;
	for (unsigned i = 0; fresh && i < BUFFERS; i++)
		give_buffer(v, n, i);
	return n;
}

static uint16_t ip_checksum(const uint8_t *p, unsigned len)
{
	uint32_t sum = 0;

	for (unsigned i = 0; i < len; i += 2)
		sum += be16(p + i);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static uint8_t *option(uint8_t *p, enum dhcp_option code, uint32_t v)
{
	*p++ = code;
	*p++ = 4;
	put_be32(p, v);
	return p + 4;
}

static void build_headers(struct net *n, uint8_t *p)
{
	uint16_t udp_size = PACKET_SIZE - AT_UDP;

	memset(p, 0, PACKET_SIZE);
	memset(p + HEADER, 0xff, 6);
	memcpy(p + HEADER + 6, n->mac, 6);
	put_be16(p + HEADER + 12, 0x0800);
	p[AT_IP] = 0x45;
	put_be16(p + AT_IP + 2, udp_size + IP_SIZE);
	p[AT_IP + 8] = 64;
	p[AT_IP + 9] = 17;
	put_be32(p + AT_IP + 16, 0xffffffff);
	put_be16(p + AT_IP + 10, ip_checksum(p + AT_IP, IP_SIZE));
	put_be16(p + AT_UDP, 68);
	put_be16(p + AT_UDP + 2, 67);
	put_be16(p + AT_UDP + 4, udp_size);
}

/* RFC 2131, figure 1. With a lease: the request for what was offered. */
static bool send(struct virtio *v, struct net *n, enum dhcp_type type, const struct lease *l)
{
	uint8_t *p = n->packet, *b = p + AT_BOOTP, *o = p + AT_OPTIONS;
	uint32_t len;

	build_headers(n, p);
	b[0] = 1, b[1] = 1, b[2] = 6;
	put_be32(b + 4, XID);
	put_be16(b + 10, 0x8000); /* answer by broadcast */
	memcpy(b + 28, n->mac, 6);
	put_be32(b + BOOTP_SIZE, 0x63825363);
	*o++ = TYPE, *o++ = 1, *o++ = type;
	*o++ = LIST, *o++ = 3, *o++ = MASK, *o++ = ROUTER, *o++ = DNS;
	if (type == REQUEST) {
		o = option(o, WANTED, l->address);
		o = option(o, SERVER, l->server);
	}
	*o = 255;
	return virtio_request(v, TX, &(struct virtio_part){ p, PACKET_SIZE, false }, 1, &len);
}

static uint32_t read_options(const uint8_t *p, const uint8_t *end, struct lease *l)
{
	uint32_t type = 0, v;

	while (p < end && *p != 255) {
		if (!*p) {
			p++;
			continue;
		}
		if (end - p < 2 || end - p - 2 < p[1])
			break;
		v = p[1] >= 4 ? be32(p + 2) : 0;
		switch (*p) {
		case TYPE: type = p[2]; break;
		case MASK: l->mask = v; break;
		case ROUTER: l->router = v; break;
		case DNS: l->dns = v; break;
		case SERVER: l->server = v; break;
		}
		p += 2 + p[1];
	}
	return type;
}

/* The type of the DHCP message in a packet for us; 0 for any other packet. */
static uint32_t parse(const struct net *n, const uint8_t *p, uint32_t len, struct lease *l)
{
	unsigned ip = len > AT_BOOTP ? (p[AT_IP] & 15) * 4 : 0, bootp = AT_IP + ip + UDP_SIZE;

	if (len < AT_OPTIONS || be16(p + HEADER + 12) != 0x0800 || p[AT_IP + 9] != 17 ||
	    ip < IP_SIZE || len < bootp + BOOTP_SIZE + COOKIE_SIZE || be16(p + bootp - 6) != 68)
		return 0;
	if (be32(p + bootp + 4) != XID || memcmp(p + bootp + 28, n->mac, 6) ||
	    be32(p + bootp + BOOTP_SIZE) != 0x63825363)
		return 0;
	l->address = be32(p + bootp + 16);
	return read_options(p + bootp + BOOTP_SIZE + COOKIE_SIZE, p + len, l);
}

static bool await(struct virtio *v, struct net *n, enum dhcp_type type, struct lease *l)
{
	uint64_t start = arch_ticks();
	uint32_t len, got;

	while (ticks_to_us(v->demo, arch_ticks() - start) < 1000000) {
		if (!virtio_done(v, RX, &len))
			continue;
		got = parse(n, n->buffers[n->next], len < BUFFER_SIZE ? len : BUFFER_SIZE, l);
		give_buffer(v, n, n->next);
		n->next = (n->next + 1) % BUFFERS;
		if (got == (uint32_t)type)
			return true;
	}
	return false;
}

static void say_address(const char *what, uint32_t a)
{
	say("%s%u.%u.%u.%u", what, a >> 24, a >> 16 & 255, a >> 8 & 255, a & 255);
}

static unsigned prefix_of(uint32_t mask)
{
	unsigned n = 0;

	for (; mask; mask <<= 1)
		n++;
	return n;
}

static bool show(struct virtio *v, unsigned nth)
{
	struct net *n = open_net(v);
	struct lease l = { 0 };
	bool have = false;

	if (!n)
		return false;
	for (unsigned i = 0; i < TRIES && !have; i++)
		have = send(v, n, DISCOVER, &l) && await(v, n, OFFER, &l) &&
		       send(v, n, REQUEST, &l) && await(v, n, ACK, &l);
	say("net %u    %02x:%02x:%02x:%02x:%02x:%02x", nth, n->mac[0], n->mac[1], n->mac[2],
	    n->mac[3], n->mac[4], n->mac[5]);
	if (!have) {
		say(", no answer to DHCP\n");
		return false;
	}
	say_address(", address ", l.address);
	say("/%u", prefix_of(l.mask));
	say_address(", router ", l.router);
	say_address(", name server ", l.dns);
	say("\n");
	return true;
}

bool net_command(struct demo *d, const char *arg)
{
	struct virtio *v;
	bool ok = true;
	unsigned n;

	(void)arg;
	for (n = 0; (v = virtio_find(d, VIRTIO_NET, n)); n++)
		ok = show(v, n) && ok;
	if (!n)
		say("no network\n");
	return ok;
}
