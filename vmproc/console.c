#include "vmproc/console.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/size.h"
#include "emul/core/chardev.h"
#include "vmproc/console_log.h"
#include "vmproc/scroll.h"
#include "vmproc/text.h"

/*
 * The first byte after a silence wakes the loop at once; while more comes, the loop looks every
 * few milliseconds, so that a guest that prints byte by byte costs few wake-ups.
 */
enum { CHUNK = 16 << 10, INPUT_ROOM = 4096 };
static const int64_t LOOK_AGAIN_NS = 3000000;

struct reader {
	struct list node;
	struct console *console;
	int fd;
	struct loop_watch *watch;
	uint64_t pos; /* in the ring: what it has had */
	bool wants;   /* its socket is full: wait until it can be written */
	bool ended;   /* it sends no more, but may still read */
};

struct console {
	struct chardev chardev;
	struct loop *loop;
	struct scroll *ring;
	struct loop_watch *again; /* the timer of LOOK_AGAIN_NS */
	atomic_bool awake;        /* the loop will look by itself */
	atomic_bool starved;      /* the device did not take all input */
	struct list readers;
	unsigned n_readers;
	struct reader *writer; /* one of the readers, or NULL */
	uint8_t input[INPUT_ROOM];
	size_t input_len;
	struct console_log *log;
	uint64_t heard_pos; /* the listener and the log have had the bytes before */
	int64_t heard_at;
	console_heard_fn *heard;
	void *heard_arg;
};

static void on_output(void *arg);
static void on_ready(void *arg);

/* From a vCPU thread, with the device locked. */
static void chardev_said(struct chardev *dev, const void *data, size_t len)
{
	struct console *c = container_of(dev, struct console, chardev);

	scroll_put(c->ring, data, len);
	if (!atomic_exchange(&c->awake, true) && !loop_post(c->loop, on_output, c))
		atomic_store(&c->awake, false);
}

static void chardev_has_room(struct chardev *dev)
{
	struct console *c = container_of(dev, struct console, chardev);

	if (atomic_exchange(&c->starved, false) && !loop_post(c->loop, on_ready, c))
		atomic_store(&c->starved, true);
}

static void reader_free(struct reader *r)
{
	struct console *c = r->console;

	if (c->writer == r)
		c->writer = NULL;
	list_remove(&r->node);
	c->n_readers--;
	loop_watch_free(r->watch);
	close(r->fd);
	free(r);
}

/* A reader's watch: for input unless it has ended or the guest is behind, for room when it must
 * wait. */
static void reader_watch(struct reader *r)
{
	bool full = r->console->writer == r && r->console->input_len == INPUT_ROOM;
	unsigned ev = 0;

	if (!r->ended && !full)
		ev |= LOOP_READ;
	if (r->wants)
		ev |= LOOP_WRITE;
	loop_fd_set(r->watch, ev);
}

/* seccomp: sendto, recvfrom - console readers */
static bool reader_say(struct reader *r, const void *data, size_t len, size_t *sent)
{
	ssize_t n = send(r->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN && errno != EINTR)
		return false;
	*sent = n < 0 ? 0 : (size_t)n;
	return true;
}

/* False when it is gone. */
static bool reader_feed(struct reader *r)
{
	uint8_t buf[CHUNK];
	size_t n, sent;

	r->wants = false;
	do {
		uint64_t lost, at = r->pos;

		n = scroll_copy(r->console->ring, &at, buf, sizeof(buf), &lost);
		if (lost) {
			char note[64];
			int len = snprintf(note, sizeof(note), "\r\n[%llu bytes were missed]\r\n",
					   (unsigned long long)lost);

			if (!reader_say(r, note, (size_t)len, &sent))
				return false;
		}
		if (!n)
			break;
		if (!reader_say(r, buf, n, &sent))
			return false;
		r->pos = at - n + sent;
	} while (sent == n);
	r->wants = n > 0;
	return true;
}

static void feed_readers(struct console *c)
{
	struct reader *r;

	list_for_each(r, &c->readers, struct reader, node) {
		bool waited = r->wants;

		if (waited)
			continue;
		if (!reader_feed(r))
			reader_free(r);
		else if (r->wants)
			reader_watch(r);
	}
}

/* The listener and the log get everything the ring still has. False: there was nothing new. */
static bool feed_listeners(struct console *c)
{
	char buf[CHUNK];
	uint64_t lost;
	size_t n;
	bool any = false;

	while ((n = scroll_copy(c->ring, &c->heard_pos, buf, sizeof(buf), &lost))) {
		any = true;
		if (c->log)
			console_log_put(c->log, buf, n, lost);
		if (c->heard)
			c->heard(c->heard_arg, buf, n);
	}
	if (any)
		c->heard_at = mono_ns();
	return any;
}

static void on_output(void *arg)
{
	struct console *c = arg;

	if (feed_listeners(c)) {
		feed_readers(c);
		loop_timer_set(c->again, LOOK_AGAIN_NS);
		return;
	}
	/* Silence. Look once more after saying so: a byte may have come in between. */
	atomic_store(&c->awake, false);
	if (scroll_end(c->ring) != c->heard_pos && !atomic_exchange(&c->awake, true))
		loop_timer_set(c->again, LOOK_AGAIN_NS);
}

/* starved is set before the device is asked, so that its answer "there is room" cannot be missed.
 */
static void feed_guest(struct console *c)
{
	size_t n;

	if (!c->chardev.on_input)
		return;
	while (c->input_len) {
		atomic_store(&c->starved, true);
		n = c->chardev.on_input(c->chardev.dev, c->input, c->input_len);
		n = MIN(n, c->input_len);
		memmove(c->input, c->input + n, c->input_len - n);
		c->input_len -= n;
		if (!n)
			return;
	}
	atomic_store(&c->starved, false);
}

static void on_ready(void *arg)
{
	struct console *c = arg;

	feed_guest(c);
	if (c->writer)
		reader_watch(c->writer);
}

static bool is_hung_up(int fd)
{
	struct pollfd p = { .fd = fd };

	return poll(&p, 1, 0) > 0 && p.revents & (POLLHUP | POLLERR | POLLNVAL);
}

/* False when it is gone. Input of those who may not write is read and forgotten. */
static bool reader_hear(struct reader *r)
{
	struct console *c = r->console;
	bool writes = c->writer == r;
	uint8_t unused[256], *to = writes ? c->input + c->input_len : unused;
	size_t room = writes ? INPUT_ROOM - c->input_len : sizeof(unused);
	ssize_t n;

	if (!room)
		return true;
	n = recv(r->fd, to, room, MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0) {
		r->ended = true;
		return !is_hung_up(r->fd);
	}
	if (writes) {
		c->input_len += (size_t)n;
		feed_guest(c);
	}
	return true;
}

static void on_reader(void *arg, int fd, unsigned events)
{
	struct reader *r = arg;
	bool there = true;

	(void)fd;
	if (events & LOOP_READ && !r->ended)
		there = reader_hear(r);
	if (there && events & LOOP_WRITE)
		there = reader_feed(r);
	if (there)
		reader_watch(r);
	else
		reader_free(r);
}

/* Readers that have gone while they were not watched. */
static void prune(struct console *c)
{
	struct reader *r;

	list_for_each(r, &c->readers, struct reader, node)
		if (is_hung_up(r->fd))
			reader_free(r);
}

static int take_over(struct console *c, bool force, struct err *e)
{
	static const char note[] = "\r\n[somebody else writes now; you can go on reading]\r\n";
	struct reader *old = c->writer;
	size_t sent;

	if (!old || old->ended)
		return 0;
	if (!force) {
		err_set(e, -EBUSY, "somebody else writes to this console");
		return err_kind(e, "console.busy");
	}
	c->writer = NULL;
	reader_say(old, note, sizeof(note) - 1, &sent);
	reader_watch(old);
	return 0;
}

int console_attach(struct console *c, int fd, bool write, bool force, struct err *e)
{
	uint64_t end = scroll_end(c->ring);
	struct reader *r;
	int rc;

	prune(c);
	if (c->n_readers >= CONSOLE_MAX_READERS) {
		err_set(e, -EDQUOT, "%d clients read this console already", CONSOLE_MAX_READERS);
		return err_kind(e, "limit.reached");
	}
	rc = write ? take_over(c, force, e) : 0;
	if (rc < 0)
		return rc;
	r = calloc(1, sizeof(*r));
	if (!r)
		return err_nomem(e);
	rc = loop_fd(c->loop, fd, LOOP_READ, on_reader, r, &r->watch, e);
	if (rc < 0) {
		free(r);
		return rc;
	}
	r->console = c;
	r->fd = fd;
	r->pos = MAX(scroll_start(c->ring), end > CONSOLE_REPLAY ? end - CONSOLE_REPLAY : 0);
	list_append(&c->readers, &r->node);
	c->n_readers++;
	if (write)
		c->writer = r;
	if (!reader_feed(r))
		reader_free(r);
	else
		reader_watch(r);
	return 0;
}

unsigned console_readers(const struct console *c)
{
	return c->n_readers;
}

void console_listen(struct console *c, console_heard_fn *fn, void *arg)
{
	c->heard = fn;
	c->heard_arg = arg;
}

void console_log(struct console *c, int fd, uint64_t limit)
{
	if (c->log)
		console_log_free(c->log);
	c->log = console_log_new(fd, limit);
}

char *console_tail(struct console *c, unsigned lines)
{
	autofree char *buf = malloc(CONSOLE_REPLAY);
	uint64_t end = scroll_end(c->ring), lost;
	uint64_t pos = end > CONSOLE_REPLAY ? end - CONSOLE_REPLAY : 0;
	size_t n;

	if (!buf)
		return NULL;
	n = scroll_copy(c->ring, &pos, buf, CONSOLE_REPLAY, &lost);
	return text_last_lines(buf, n, lines);
}

int64_t console_heard_at(const struct console *c)
{
	return c->heard_at;
}

struct chardev *console_chardev(struct console *c)
{
	return &c->chardev;
}

int console_memfd(const struct console *c)
{
	return c->ring->memfd;
}

/* Bytes that some reader has not had yet. */
static struct reader *first_behind(struct console *c)
{
	struct reader *r;

	list_for_each(r, &c->readers, struct reader, node)
		if (r->pos != scroll_end(c->ring))
			return r;
	return NULL;
}

/* seccomp: poll, ppoll - the last words of a console */
void console_drain(struct console *c, int64_t ns)
{
	int64_t until = mono_ns() + ns, left;
	struct reader *r;

	feed_listeners(c);
	feed_readers(c);
	while ((r = first_behind(c)) && (left = until - mono_ns()) > 0) {
		struct pollfd p = { .fd = r->fd, .events = POLLOUT };

		poll(&p, 1, (int)(left / 1000000) + 1);
		if (p.revents && !reader_feed(r))
			reader_free(r);
	}
}

int console_new(struct loop *loop, struct console **ret, struct err *e)
{
	autoptr(console) c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return err_nomem(e);
	list_init(&c->readers);
	c->loop = loop;
	c->chardev.write = chardev_said;
	c->chardev.ready = chardev_has_room;
	r = scroll_new("vmd-console", &c->ring, e);
	if (r == 0)
		r = loop_timer(loop, on_output, c, &c->again, e);
	if (r < 0)
		return r;
	*ret = take(c);
	return 0;
}

void console_free(struct console *c)
{
	struct reader *r;

	list_for_each(r, &c->readers, struct reader, node)
		reader_free(r);
	if (c->log)
		console_log_free(c->log);
	loop_watch_free(c->again);
	if (c->ring)
		scroll_free(c->ring);
	free(c);
}
