/*
 * NBD in one process: our client against our server over a socket pair and a model in memory; a
 * conversation that ends anywhere; requests that are wrong; extended headers by hand, which the
 * client does not speak.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "storage/format.h"
#include "storage/nbd.h"
#include "storage/nbd_proto.h"
#include "tests/unit.h"

enum { SIZE = 3 << 20 };

/* ---- a disk in memory ---- */

static struct disk *new_disk(const char *format)
{
	struct disk_create c = { .format = format, .size = SIZE };
	struct disk_options o = { .format = format };
	struct disk *d;
	struct file *f;
	struct err e;

	ck_assert_int_eq(file_in_memory(NULL, 0, 16 << 20, &f, &e), 0);
	f->writable = true;
	ck_assert_msg(disk_create_file(f, &c, &e) == 0, "%s", e.msg);
	ck_assert_msg(disk_new_from_file(f, &o, &d, &e) == 0, "%s", e.msg);
	return d;
}

/* ---- a server on a thread ---- */

struct server {
	int fd;
	struct nbd_export export;
	pthread_t thread;
	int result;
};

static ssize_t fd_recv(void *arg, void *buf, size_t len)
{
	return recv(*(int *)arg, buf, len, 0);
}

static ssize_t fd_send(void *arg, const struct iovec *iov, int n)
{
	struct msghdr h = { .msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n };

	return sendmsg(*(int *)arg, &h, MSG_NOSIGNAL);
}

static void *server_main(void *arg)
{
	struct server *s = arg;
	struct nbd_io io = { fd_recv, fd_send, &s->fd };
	struct err e;

	s->result = nbd_serve(&io, &s->export, 1, NULL, &e);
	return NULL;
}

/* Returns the client's end. */
static int server_start(struct server *s, struct disk *d, bool read_only)
{
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	*s = (struct server){ .fd = pair[0],
			      .export = { .name = "it", .disk = d, .read_only = read_only } };
	ck_assert_int_eq(pthread_create(&s->thread, NULL, server_main, s), 0);
	return pair[1];
}

static void server_join(struct server *s, int result)
{
	pthread_join(s->thread, NULL);
	close(s->fd);
	ck_assert_int_eq(s->result, result);
}

static void random_operations(const char *format)
{
	struct disk *d = new_disk(format);
	uint8_t *model = calloc(1, SIZE), *buf = malloc(SIZE);
	unsigned seed = 7;
	struct server s;
	struct file *f;
	struct err e;

	ck_assert_msg(nbd_file_from_fd(server_start(&s, d, false), "it", true, &f, &e) == 0, "%s",
		      e.msg);
	ck_assert_uint_eq(file_size(f), SIZE);
	for (int i = 0; i < 2000; i++) {
		uint64_t off = (uint64_t)rand_r(&seed) % SIZE;
		uint64_t len =
		    (uint64_t)rand_r(&seed) % MIN(SIZE - off, i % 50 ? 9000u : 2u << 20) + 1;

		len = MIN(len, SIZE - off);
		switch (rand_r(&seed) % 4) {
		case 0:
			memset(model + off, i, len);
			ck_assert_int_eq(file_pwrite(f, off, model + off, len, &e), 0);
			break;
		case 1:
			memset(model + off, 0, len);
			ck_assert_int_eq(file_zero(f, off, len, i & 1, &e), 0);
			break;
		case 2: ck_assert_int_eq(file_sync(f, &e), 0); break;
		default:
			ck_assert_int_eq(file_pread(f, off, buf, len, &e), 0);
			ck_assert_mem_eq(buf, model + off, len);
		}
	}
	for (uint64_t off = 0, len; off < SIZE; off += len)
		if (!f->ops->is_data(f, off, &len))
			ck_assert(bytes_are_zero(model + off, len));
	file_close(f);
	server_join(&s, 0);
	ck_assert_int_eq(disk_read(d, 0, buf, SIZE, &e), 0);
	ck_assert_mem_eq(buf, model, SIZE);
	disk_close(d);
	free(model);
	free(buf);
}

START_TEST(what_is_written_over_nbd_is_read_back)
{
	random_operations("raw");
	random_operations("qcow2");
}
END_TEST

START_TEST(a_read_only_export_is_not_written)
{
	struct disk *d = new_disk("raw");
	struct server s;
	struct file *f;
	struct err e;

	ck_assert_int_lt(nbd_file_from_fd(server_start(&s, d, true), "it", true, &f, &e), 0);
	ck_assert_str_eq(e.kind, "disk.permission");
	server_join(&s, 0);
	ck_assert_int_lt(nbd_file_from_fd(server_start(&s, d, true), "other", false, &f, &e), 0);
	ck_assert_str_eq(e.kind, "disk.not-found");
	pthread_join(s.thread, NULL);
	close(s.fd);
	disk_close(d);
}
END_TEST

/* ---- conversations in memory ---- */

struct talk {
	uint8_t in[4096], *out;
	size_t in_len, in_at, out_len, step;
};

static ssize_t talk_recv(void *arg, void *buf, size_t len)
{
	struct talk *t = arg;
	size_t n = MIN(MIN(len, t->step), t->in_len - t->in_at);

	memcpy(buf, t->in + t->in_at, n);
	t->in_at += n;
	return (ssize_t)n;
}

static ssize_t talk_send(void *arg, const struct iovec *iov, int n)
{
	struct talk *t = arg;
	size_t all = 0;

	for (int i = 0; i < n; i++) {
		ck_assert_uint_le(t->out_len + iov[i].iov_len, 1 << 20);
		memcpy(t->out + t->out_len, iov[i].iov_base, iov[i].iov_len);
		t->out_len += iov[i].iov_len;
		all += iov[i].iov_len;
	}
	return (ssize_t)all;
}

static void say(struct talk *t, const void *data, size_t len)
{
	memcpy(t->in + t->in_len, data, len);
	t->in_len += len;
}

static void say_option(struct talk *t, uint32_t option, const void *data, size_t len)
{
	uint8_t h[16];

	put_be64(h, NBD_OPT_MAGIC);
	put_be32(h + 8, option);
	put_be32(h + 12, (uint32_t)len);
	say(t, h, sizeof(h));
	say(t, data, len);
}

static void say_request(struct talk *t, bool extended, uint16_t type, uint16_t flags, uint64_t off,
			uint64_t len)
{
	uint8_t h[32];

	put_be32(h, extended ? NBD_REQ_EXT : NBD_REQ_MAGIC);
	put_be16(h + 4, flags);
	put_be16(h + 6, type);
	put_be64(h + 8, 0x1234);
	put_be64(h + 16, off);
	if (extended)
		put_be64(h + 24, len);
	else
		put_be32(h + 24, (uint32_t)len);
	say(t, h, extended ? 32 : 28);
}

static void begin(struct talk *t, bool structured, bool extended)
{
	static const uint8_t want[] = "\0\0\0\2it\0\0\0\1\0\0\0\17base:allocation";
	static const uint8_t name[] = "\0\0\0\2it\0\0";
	uint8_t flags[4];

	*t = (struct talk){ .out = malloc(1 << 20), .step = SIZE_MAX };
	put_be32(flags, NBD_FIXED | NBD_NO_ZEROES);
	say(t, flags, 4);
	say_option(t, 77, "what", 4); /* unknown: refused, and nothing else happens */
	if (structured)
		say_option(t, NBD_OPT_STRUCTURED, "", 0);
	if (extended)
		say_option(t, NBD_OPT_EXTENDED, "", 0);
	say_option(t, NBD_OPT_LIST, "", 0);
	if (structured || extended)
		say_option(t, NBD_OPT_SET_META, want, sizeof(want) - 1);
	say_option(t, NBD_OPT_INFO, name, 8);
	say_option(t, NBD_OPT_GO, name, 8);
}

static int run(struct talk *t, struct disk *d)
{
	struct nbd_export x = { .name = "it", .description = "a test", .disk = d };
	struct nbd_io io = { talk_recv, talk_send, t };
	struct err e;

	t->in_at = t->out_len = 0;
	return nbd_serve(&io, &x, 1, NULL, &e);
}

/* Every kind of request, right and wrong. */
static void say_much(struct talk *t, bool extended)
{
	uint8_t data[100];

	memset(data, 5, sizeof(data));
	say_request(t, extended, NBD_CMD_WRITE, (uint16_t)(extended ? NBD_PAYLOAD_LEN : 0), 1000,
		    100);
	say(t, data, 100);
	say_request(t, extended, NBD_CMD_READ, 0, 990, 120);
	say_request(t, extended, NBD_CMD_READ, 0, SIZE - 1, 2);
	say_request(t, extended, NBD_CMD_WRITE, (uint16_t)(extended ? NBD_PAYLOAD_LEN : 0),
		    SIZE - 1, 9);
	say(t, data, 9);
	say_request(t, extended, NBD_CMD_WRITE_ZEROES, 0, 1010, 10);
	say_request(t, extended, NBD_CMD_TRIM, 0, 64 << 10, 64 << 10);
	say_request(t, extended, NBD_CMD_FLUSH, 0, 0, 0);
	say_request(t, extended, 99, 0, 0, 0);
	say_request(t, extended, NBD_CMD_BLOCK_STATUS, 0, 0, SIZE);
	say_request(t, extended, NBD_CMD_DISC, 0, 0, 0);
}

START_TEST(a_conversation_may_end_at_every_byte)
{
	for (int how = 0; how < 3; how++) {
		struct disk *d = new_disk("qcow2");
		struct talk t;
		size_t all;

		begin(&t, how > 0, how > 1);
		say_much(&t, how > 1);
		all = t.in_len;
		t.step = 1;
		ck_assert_int_eq(run(&t, d), 0);
		for (t.in_len = 0; t.in_len < all; t.in_len++) {
			t.step = t.in_len % 3 ? SIZE_MAX : 7;
			run(&t, d);
			ck_assert_uint_eq(t.in_at, t.in_len);
		}
		free(t.out);
		disk_close(d);
	}
}
END_TEST

/* Skips the handshake's answers: the transmission begins after the second block of GO's ACK. */
static const uint8_t *after_handshake(const struct talk *t)
{
	uint8_t ack[20];

	put_be64(ack, NBD_REP_MAGIC);
	put_be32(ack + 8, NBD_OPT_GO);
	put_be32(ack + 12, NBD_REP_ACK);
	put_be32(ack + 16, 0);
	for (size_t i = 0; i + 20 <= t->out_len; i++)
		if (!memcmp(t->out + i, ack, 20))
			return t->out + i + 20;
	ck_abort_msg("no export was chosen");
	return NULL;
}

struct seen {
	unsigned done, errors, status, data;
};

/* Every chunk has the right magic number, cookie and length. */
static void look(const struct talk *t, bool extended, struct seen *s)
{
	const uint8_t *p = after_handshake(t), *end = t->out + t->out_len;
	size_t head = extended ? 32 : 20;

	*s = (struct seen){ 0 };
	while (p < end) {
		uint64_t len = extended ? be64(p + 24) : be32(p + 16);
		uint16_t type = be16(p + 6);

		ck_assert_uint_eq(be32(p), extended ? NBD_CHUNK_EXT : NBD_CHUNK_MAGIC);
		ck_assert_uint_eq(be64(p + 8), 0x1234);
		s->done += be16(p + 4) & NBD_CHUNK_DONE;
		s->errors += type == NBD_CHUNK_ERROR;
		s->status += type == (extended ? NBD_CHUNK_STATUS_EXT : NBD_CHUNK_STATUS);
		if (type == NBD_CHUNK_DATA) {
			s->data++;
			ck_assert_uint_eq(be64(p + head), 990);
			ck_assert_uint_eq(len, 8 + 120);
			ck_assert_uint_eq(p[head + 8], 0);
			ck_assert_uint_eq(p[head + 8 + 10], 5);
			ck_assert_uint_eq(p[head + 8 + 109], 5);
			ck_assert_uint_eq(p[head + 8 + 110], 0);
		}
		p += head + len;
	}
	ck_assert_ptr_eq(p, end);
}

START_TEST(every_request_is_answered_once_and_wrong_ones_do_no_harm)
{
	for (int extended = 0; extended < 2; extended++) {
		struct disk *d = new_disk("raw");
		struct seen s;
		struct talk t;

		begin(&t, true, extended);
		say_much(&t, extended);
		ck_assert_int_eq(run(&t, d), 0);
		look(&t, extended, &s);
		ck_assert_uint_eq(s.done, 9);
		ck_assert_uint_eq(s.errors, 3);
		ck_assert_uint_eq(s.data, 1);
		ck_assert_uint_eq(s.status, 1);
		free(t.out);
		disk_close(d);
	}
}
END_TEST

START_TEST(addresses_are_told_from_paths)
{
	ck_assert(nbd_is_uri("nbd://host/x"));
	ck_assert(nbd_is_uri("nbd+unix:///?socket=/x"));
	ck_assert(!nbd_is_uri("nbd.raw"));
	ck_assert(!nbd_is_uri("/nbd://"));
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_test(t, what_is_written_over_nbd_is_read_back);
	tcase_add_test(t, a_read_only_export_is_not_written);
	tcase_add_test(t, a_conversation_may_end_at_every_byte);
	tcase_add_test(t, every_request_is_answered_once_and_wrong_ones_do_no_harm);
	tcase_add_test(t, addresses_are_told_from_paths);
}

int main(void)
{
	return unit_run("nbd", cases);
}
