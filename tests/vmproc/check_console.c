/* The console: its ring, readers fast and slow, the one writer, its log. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/loop.h"
#include "base/own.h"
#include "emul/core/chardev.h"
#include "tests/unit.h"
#include "vmproc/console.h"
#include "vmproc/scroll.h"
#include "vmproc/text.h"

struct bench {
	struct loop *loop;
	struct console *console;
};

static struct bench setup(void)
{
	struct bench b = { 0 };

	ck_assert_int_eq(loop_new(&b.loop, NULL), 0);
	ck_assert_int_eq(console_new(b.loop, &b.console, NULL), 0);
	return b;
}

static void teardown(struct bench *b)
{
	console_free(b->console);
	loop_free(b->loop);
}

static void say(struct bench *b, const char *text)
{
	chardev_write(console_chardev(b->console), text, strlen(text));
	console_drain(b->console, 0);
}

/* Attach one end of a pair; the other is returned. */
static int attach(struct bench *b, bool write, bool force)
{
	struct err e = { 0 };
	int p[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p), 0);
	ck_assert_int_eq(console_attach(b->console, p[0], write, force, &e), 0);
	return p[1];
}

/* Everything that is there to be read, as text. */
static size_t heard(struct bench *b, int fd, char *buf, size_t room)
{
	size_t n = 0;
	ssize_t r;

	do {
		console_drain(b->console, 0);
		loop_once(b->loop, false);
		r = recv(fd, buf + n, room - 1 - n, MSG_DONTWAIT);
		n += r > 0 ? (size_t)r : 0;
	} while (r > 0);
	buf[n] = 0;
	return n;
}

START_TEST(a_new_reader_gets_what_was_said_before)
{
	struct bench b = setup();
	char buf[256];
	int fd;

	say(&b, "Linux version 6.1\n");
	fd = attach(&b, false, false);
	say(&b, "more\n");
	heard(&b, fd, buf, sizeof(buf));
	ck_assert_str_eq(buf, "Linux version 6.1\nmore\n");
	close(fd);
	teardown(&b);
}
END_TEST

START_TEST(a_new_reader_gets_64_kib_at_most)
{
	static char buf[200 << 10];
	struct bench b = setup();
	int fd;

	for (int i = 0; i < 10000; i++)
		say(&b, "0123456789\n");
	fd = attach(&b, false, false);
	ck_assert_uint_eq(heard(&b, fd, buf, sizeof(buf)), CONSOLE_REPLAY);
	close(fd);
	teardown(&b);
}
END_TEST

START_TEST(a_slow_reader_misses_output_and_nobody_else_does)
{
	static char line[1001], got[64 << 10], log[2 << 20];
	struct bench b = setup();
	int slow = attach(&b, false, false), quick = attach(&b, false, false);
	autoclose int file = memfd_create("log", 0);
	size_t quick_sum = 0, slow_sum = 0, n;

	console_log(b.console, dup(file), 4 << 20);
	memset(line, 'x', 999);
	line[999] = '\n';
	for (int i = 0; i < 1000; i++) {
		say(&b, line);
		quick_sum += heard(&b, quick, got, sizeof(got));
	}
	ck_assert_uint_eq(quick_sum, 1000000);
	ck_assert_int_eq(pread(file, log, sizeof(log), 0), 1000000);
	while ((n = heard(&b, slow, got, sizeof(got)))) {
		slow_sum += n;
		if (strstr(got, "bytes were missed]"))
			break;
	}
	ck_assert_ptr_nonnull(strstr(got, "bytes were missed]"));
	ck_assert_uint_lt(slow_sum, 1000000);
	close(slow);
	close(quick);
	teardown(&b);
}
END_TEST

struct fifo {
	char got[4096];
	size_t len, room;
};

/* A device that takes what it has room for. */
static size_t fifo_input(void *dev, const uint8_t *data, size_t len)
{
	struct fifo *f = dev;
	size_t n = MIN(len, f->room);

	memcpy(f->got + f->len, data, n);
	f->len += n;
	f->room -= n;
	return n;
}

static void plug(struct bench *b, struct fifo *f)
{
	console_chardev(b->console)->on_input = fifo_input;
	console_chardev(b->console)->dev = f;
}

static void settle(struct bench *b)
{
	for (int i = 0; i < 20; i++)
		loop_once(b->loop, false);
}

START_TEST(input_waits_until_the_device_has_room)
{
	struct bench b = setup();
	struct fifo f = { .room = 4 };
	int fd = attach(&b, true, false);

	plug(&b, &f);
	ck_assert_int_eq(write(fd, "hello world", 11), 11);
	settle(&b);
	ck_assert_uint_eq(f.len, 4);
	f.room = 100;
	chardev_ready(console_chardev(b.console));
	settle(&b);
	ck_assert_mem_eq(f.got, "hello world", 11);
	close(fd);
	teardown(&b);
}
END_TEST

START_TEST(a_second_writer_is_refused_unless_it_takes_over)
{
	struct bench b = setup();
	struct fifo f = { .room = 100 };
	int first = attach(&b, true, false), second, p[2];
	struct err e = { 0 };
	char buf[256];

	plug(&b, &f);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, p), 0);
	ck_assert_int_lt(console_attach(b.console, p[0], true, false, &e), 0);
	ck_assert_str_eq(e.kind, "console.busy");
	second = attach(&b, true, true);
	heard(&b, first, buf, sizeof(buf));
	ck_assert_ptr_nonnull(strstr(buf, "somebody else writes"));
	ck_assert_int_eq(write(first, "old", 3), 3);
	ck_assert_int_eq(write(second, "new", 3), 3);
	settle(&b);
	ck_assert_uint_eq(f.len, 3);
	ck_assert_mem_eq(f.got, "new", 3);
	say(&b, "both hear\n");
	ck_assert_uint_gt(heard(&b, first, buf, sizeof(buf)), 0);
	ck_assert_uint_gt(heard(&b, second, buf, sizeof(buf)), 0);
	close(first);
	close(second);
	close(p[0]);
	close(p[1]);
	teardown(&b);
}
END_TEST

START_TEST(input_that_ends_leaves_the_reader_reading)
{
	struct bench b = setup();
	struct fifo f = { .room = 100 };
	int fd = attach(&b, true, false);
	char buf[64];

	plug(&b, &f);
	ck_assert_int_eq(write(fd, "x", 1), 1);
	shutdown(fd, SHUT_WR);
	settle(&b);
	ck_assert_uint_eq(console_readers(b.console), 1);
	say(&b, "still here\n");
	heard(&b, fd, buf, sizeof(buf));
	ck_assert_str_eq(buf, "still here\n");
	close(fd);
	say(&b, "x");
	settle(&b);
	ck_assert_uint_eq(console_readers(b.console), 0);
	teardown(&b);
}
END_TEST

START_TEST(readers_that_leave_are_forgotten)
{
	struct bench b = setup();

	for (int i = 0; i < 100; i++) {
		int fd = attach(&b, i % 2, true);

		close(fd);
		settle(&b);
	}
	ck_assert_uint_eq(console_readers(b.console), 0);
	teardown(&b);
}
END_TEST

START_TEST(there_is_a_limit_to_readers)
{
	struct bench b = setup();
	int fds[CONSOLE_MAX_READERS], p[2];
	struct err e = { 0 };

	for (int i = 0; i < CONSOLE_MAX_READERS; i++)
		fds[i] = attach(&b, false, false);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, p), 0);
	ck_assert_int_lt(console_attach(b.console, p[0], false, false, &e), 0);
	ck_assert_str_eq(e.kind, "limit.reached");
	close(fds[3]);
	ck_assert_int_eq(console_attach(b.console, p[0], false, false, &e), 0);
	for (int i = 0; i < CONSOLE_MAX_READERS; i++)
		close(i == 3 ? p[1] : fds[i]);
	teardown(&b);
}
END_TEST

START_TEST(the_log_keeps_its_newest_half_at_the_limit)
{
	struct bench b = setup();
	autoclose int file = memfd_create("log", 0);
	char buf[32];
	struct stat st;

	console_log(b.console, dup(file), 64 << 10);
	for (int i = 0; i < 20000; i++) {
		snprintf(buf, sizeof(buf), "line %05d\n", i);
		say(&b, buf);
	}
	ck_assert_int_eq(fstat(file, &st), 0);
	ck_assert_int_le(st.st_size, 64 << 10);
	ck_assert_int_ge(st.st_size, 32 << 10);
	ck_assert_int_eq(pread(file, buf, 11, st.st_size - 11), 11);
	ck_assert_mem_eq(buf, "line 19999\n", 11);
	teardown(&b);
}
END_TEST

static void *flood(void *arg)
{
	for (int i = 0; i < 200000; i++)
		chardev_write(arg, "0123456789abcde\n", 16);
	return NULL;
}

static void count(void *arg, const char *text, size_t len)
{
	(void)text;
	*(uint64_t *)arg += len;
}

START_TEST(a_flood_from_another_thread_is_not_torn)
{
	struct bench b = setup();
	uint64_t seen = 0;
	pthread_t t;

	console_listen(b.console, count, &seen);
	ck_assert_int_eq(pthread_create(&t, NULL, flood, console_chardev(b.console)), 0);
	pthread_join(t, NULL);
	for (int i = 0; i < 10; i++)
		loop_once(b.loop, false);
	/* What fits in the ring has come, and nothing was torn. */
	ck_assert_uint_gt(seen, 0);
	ck_assert_uint_eq(seen % 16, 0);
	teardown(&b);
}
END_TEST

START_TEST(the_ring_can_be_read_by_another_process_afterwards)
{
	struct bench b = setup();
	struct scroll_head h;
	char text[6];
	int fd = dup(console_memfd(b.console));

	say(&b, "hello\n");
	teardown(&b);
	ck_assert_int_eq(pread(fd, &h, sizeof(h), 0), sizeof(h));
	ck_assert_mem_eq(h.magic, "VMDTEXT1", 8);
	ck_assert_uint_eq(h.end, 6);
	ck_assert_int_eq(pread(fd, text, 6, 4096), 6);
	ck_assert_mem_eq(text, "hello\n", 6);
	close(fd);
}
END_TEST

static const struct {
	const char *in;
	unsigned lines;
	const char *out;
} tails[] = {
	{ "", 5, "" },
	{ "a\nb\nc\n", 2, "b\nc" },
	{ "a\nb\nc", 2, "b\nc" },
	{ "a\r\nb\r\n\r\n", 2, "a\nb" },
	{ "\x1b[1;31mred\x1b[0m\x07\n", 1, "red" },
	{ "caf\xc3\xa9 \xff\xc0\x80 \xed\xa0\x80\n", 1,
	  "caf\xc3\xa9 \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd "
	  "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
	{ "tab\there\n\x1b", 2, "tab\there\n" },
	{ "cut \xf0\x9f\x98", 1, "cut \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
};

START_TEST(the_last_lines_are_clean_text)
{
	autofree char *got = text_last_lines(tails[_i].in, strlen(tails[_i].in), tails[_i].lines);

	ck_assert_str_eq(got, tails[_i].out);
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_test(t, a_new_reader_gets_what_was_said_before);
	tcase_add_test(t, a_new_reader_gets_64_kib_at_most);
	tcase_add_test(t, a_slow_reader_misses_output_and_nobody_else_does);
	tcase_add_test(t, input_waits_until_the_device_has_room);
	tcase_add_test(t, a_second_writer_is_refused_unless_it_takes_over);
	tcase_add_test(t, input_that_ends_leaves_the_reader_reading);
	tcase_add_test(t, readers_that_leave_are_forgotten);
	tcase_add_test(t, there_is_a_limit_to_readers);
	tcase_add_test(t, the_log_keeps_its_newest_half_at_the_limit);
	tcase_add_test(t, a_flood_from_another_thread_is_not_torn);
	tcase_add_test(t, the_ring_can_be_read_by_another_process_afterwards);
	tcase_add_loop_test(t, the_last_lines_are_clean_text, 0, ARRAY_SIZE(tails));
}

int main(void)
{
	return unit_run("console", cases);
}
