/* Frames over a socket: whole, in order, and they wait when the guest has no room. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/loop.h"
#include "netdev/netdev.h"
#include "tests/unit.h"

struct sink {
	unsigned got, room;
	size_t bytes;
	bool in_order;
};

static bool take_frame(void *arg, const uint8_t *frame, size_t len)
{
	struct sink *s = arg;

	if (!s->room)
		return false;
	s->room--;
	s->in_order &= frame[0] == (uint8_t)s->got;
	s->got++;
	s->bytes += len;
	return true;
}

START_TEST(frames_wait_while_there_is_no_room_and_none_is_lost)
{
	struct sink s = { .room = 3, .in_order = true };
	autoptr(loop) l = NULL;
	autoptr(netdev) n = NULL;
	uint8_t frame[1514] = { 0 };
	int fd[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd), 0);
	ck_assert_int_eq(loop_new(&l, NULL), 0);
	ck_assert_int_eq(netdev_open_socket(l, fd[0], &n, NULL), 0);
	for (int i = 0; i < 10; i++) {
		frame[0] = (uint8_t)i;
		ck_assert_int_eq(write(fd[1], frame, sizeof(frame)), sizeof(frame));
	}
	loop_once(l, false);
	ck_assert_uint_eq(s.got, 0); /* nobody listens yet */
	netdev_receive(n, take_frame, &s);
	loop_once(l, true);
	ck_assert_uint_eq(s.got, 3);
	s.room = 100;
	netdev_resume(n);
	loop_once(l, false);
	ck_assert_uint_eq(s.got, 10);
	ck_assert_uint_eq(s.bytes, 10 * sizeof(frame));
	ck_assert(s.in_order);
	close(fd[1]);
	netdev_close(take(n));
}
END_TEST

START_TEST(a_frame_of_several_pieces_is_one_message)
{
	autoptr(loop) l = NULL;
	autoptr(netdev) n = NULL;
	char first[] = "abc", second[] = "defg", got[16];
	struct iovec iov[2] = { { first, 3 }, { second, 4 } };
	int fd[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd), 0);
	ck_assert_int_eq(loop_new(&l, NULL), 0);
	ck_assert_int_eq(netdev_open_socket(l, fd[0], &n, NULL), 0);
	ck_assert(netdev_send(n, iov, 2));
	ck_assert_int_eq(read(fd[1], got, sizeof(got)), 7);
	ck_assert_mem_eq(got, "abcdefg", 7);
	close(fd[1]);
	ck_assert(!netdev_send(n, iov, 2)); /* no peer: lost, as on a wire, and no signal */
	netdev_close(take(n));
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_test(t, frames_wait_while_there_is_no_room_and_none_is_lost);
	tcase_add_test(t, a_frame_of_several_pieces_is_one_message);
}

int main(void)
{
	return unit_run("netdev", cases);
}
