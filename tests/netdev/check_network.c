/* The networks of vmd-net: a user network answers DHCP and forwards ports, a switch learns. */
#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/loop.h"
#include "netdev/port.h"
#include "protocol/types.h"
#include "tests/unit.h"

static const uint8_t guest_mac[6] = { 0x52, 0x54, 0, 1, 2, 3 };

/* A network with n ports, and the guests' ends of them. */
struct lan {
	struct loop *loop;
	struct network *net;
	int fd[4];
};

static void lan_new(struct lan *l, const struct network_class *class, unsigned n)
{
	struct err e = { 0 };

	ck_assert_int_eq(loop_new(&l->loop, &e), 0);
	ck_assert_msg(!class->new_(l->loop, &l->net, &e), "%s", e.msg);
	for (unsigned i = 0; i < n; i++) {
		int fd[2];

		ck_assert_int_eq(
		    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd), 0);
		ck_assert_int_eq(class->port(l->net, fd[0], &e), 0);
		l->fd[i] = fd[1];
	}
}

static void lan_free(struct lan *l, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		close(l->fd[i]);
	l->net->class->free_(l->net);
	loop_free(l->loop);
}

static uint16_t ip_sum(const uint8_t *p, size_t len)
{
	uint32_t s = 0;

	for (size_t i = 0; i < len; i += 2)
		s += be16(p + i);
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return (uint16_t)~s;
}

/* DHCPDISCOVER (RFC 2131) from the guest, as a frame. */
static size_t discover(uint8_t *f)
{
	uint8_t *ip = f + 14, *udp = ip + 20, *dhcp = udp + 8;
	size_t dhcp_len = 300, udp_len = 8 + dhcp_len, ip_len = 20 + udp_len;

	memset(f, 0, 14 + ip_len);
	memset(f, 0xff, 6);
	memcpy(f + 6, guest_mac, 6);
	put_be16(f + 12, 0x0800);
	ip[0] = 0x45;
	put_be16(ip + 2, (uint16_t)ip_len);
	ip[8] = 64;
	ip[9] = 17;
	put_be32(ip + 16, 0xffffffff);
	put_be16(ip + 10, ip_sum(ip, 20));
	put_be16(udp, 68);
	put_be16(udp + 2, 67);
	put_be16(udp + 4, (uint16_t)udp_len);
	dhcp[0] = 1;
	dhcp[1] = 1;
	dhcp[2] = 6;
	put_be32(dhcp + 4, 0x1234);
	memcpy(dhcp + 28, guest_mac, 6);
	put_be32(dhcp + 236, 0x63825363);
	memcpy(dhcp + 240, (uint8_t[]){ 53, 1, 1, 255 }, 4);
	return 14 + ip_len;
}

/* The next frame to the guest, or 0 when none comes although the network has had many turns. */
static ssize_t next_frame(struct lan *l, unsigned port, uint8_t *buf, size_t size)
{
	for (int i = 0; i < 2000; i++) {
		ssize_t n;

		loop_once(l->loop, false);
		n = recv(l->fd[port], buf, size, 0);
		if (n > 0)
			return n;
		usleep(1000);
	}
	return 0;
}

START_TEST(a_guest_gets_its_address_by_dhcp)
{
	uint8_t f[2048];
	ssize_t n;
	struct lan l;

	lan_new(&l, &user_network, 1);
	n = (ssize_t)discover(f);
	ck_assert_int_eq(send(l.fd[0], f, (size_t)n, 0), n);
	do
		n = next_frame(&l, 0, f, sizeof(f));
	while (n && (be16(f + 12) != 0x0800 || f[14 + 9] != 17));
	ck_assert_int_gt(n, 14 + 28 + 240);
	ck_assert_uint_eq(be32(f + 14 + 28 + 16), 0x0a00020f); /* yiaddr: 10.0.2.15 */
	lan_free(&l, 1);
}
END_TEST

START_TEST(a_forwarded_port_is_listened_on_until_it_is_removed)
{
	struct vm_forward fw = {
		.address = "127.0.0.1", .host_port = 0, .guest_port = 80, .count = 1
	};
	struct sockaddr_in a = { .sin_family = AF_INET };
	struct err e = { 0 };
	struct lan l;
	int fd;

	lan_new(&l, &user_network, 1);
	ck_assert_msg(!user_network.forward_add(l.net, &fw, &e), "%s", e.msg);
	ck_assert_uint_ne(fw.host_port, 0);
	inet_pton(AF_INET, "127.0.0.1", &a.sin_addr);
	a.sin_port = htons((uint16_t)fw.host_port);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	close(fd);
	/* The same port again is refused, by kind. */
	ck_assert_int_lt(user_network.forward_add(l.net, &fw, &e), 0);
	ck_assert_str_eq(e.kind, "port.in-use");
	ck_assert_msg(!user_network.forward_remove(l.net, &fw, &e), "%s", e.msg);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_ne(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	close(fd);
	lan_free(&l, 1);
}
END_TEST

START_TEST(rubbish_from_a_guest_does_no_harm)
{
	uint8_t f[1600];
	struct lan l;

	lan_new(&l, &user_network, 1);
	srand(1);
	for (int i = 0; i < 20000; i++) {
		size_t len = (size_t)rand() % sizeof(f);

		if (i % 2)
			len = discover(f);
		for (int k = 0; k < 8 && len; k++)
			f[(size_t)rand() % (i % 2 ? 80 : len)] = (uint8_t)rand();
		send(l.fd[0], f, len ? len : 1, 0);
		loop_once(l.loop, false);
		while (recv(l.fd[0], f, sizeof(f), 0) > 0)
			;
	}
	lan_free(&l, 1);
}
END_TEST

static void frame(uint8_t *f, uint8_t to, uint8_t from)
{
	memset(f, 0, 64);
	f[5] = to;
	f[11] = from;
	if (to == 0xff)
		memset(f, 0xff, 6);
}

START_TEST(a_switch_learns_where_addresses_are)
{
	uint8_t f[64], got[64];
	struct lan l;

	lan_new(&l, &switch_network, 3);
	frame(f, 0xff, 1); /* guest 1 calls everybody */
	ck_assert_int_eq(send(l.fd[0], f, sizeof(f), 0), 64);
	ck_assert_int_eq(next_frame(&l, 1, got, sizeof(got)), 64);
	ck_assert_int_eq(next_frame(&l, 2, got, sizeof(got)), 64);
	frame(f, 1, 2); /* guest 2 answers guest 1 alone */
	ck_assert_int_eq(send(l.fd[1], f, sizeof(f), 0), 64);
	ck_assert_int_eq(next_frame(&l, 0, got, sizeof(got)), 64);
	ck_assert_int_lt(recv(l.fd[2], got, sizeof(got), 0), 0);
	close(l.fd[1]);
	for (int i = 0; i < 3; i++)
		loop_once(l.loop, false);
	ck_assert_uint_eq(l.net->ports, 2);
	frame(f, 2, 1); /* guest 2 is gone: the frame is lost, nobody else gets the memory of it */
	ck_assert_int_eq(send(l.fd[0], f, sizeof(f), 0), 64);
	ck_assert_int_eq(next_frame(&l, 2, got, sizeof(got)), 64);
	l.fd[1] = dup(l.fd[0]);
	lan_free(&l, 3);
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_test(t, a_guest_gets_its_address_by_dhcp);
	tcase_add_test(t, a_forwarded_port_is_listened_on_until_it_is_removed);
	tcase_add_test(t, rubbish_from_a_guest_does_no_harm);
	tcase_add_test(t, a_switch_learns_where_addresses_are);
}

int main(void)
{
	return unit_run("network", cases);
}
