#include "protocol/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/list.h"
#include "base/size.h"
#include "protocol/errors.h"
#include "protocol/framing.h"

enum {
	READ_BYTES = 64 * 1024,
	PACKET_BYTES = 1024 * 1024,
	BATCHES = 4,          /* of descriptors that wait for their value */
	SCM_MAX = 253,        /* descriptors in one message, set by the kernel */
	READS_PER_EVENT = 16, /* then others have their turn */
};
static const int64_t HEADER_NS = INT64_C(10) * 1000000000;
static const int64_t HUP_POLL_NS = INT64_C(1) * 1000000000;

/* Descriptors that came in a read which began at from and ended before to. */
struct arrived {
	struct conn_fds fds;
	uint64_t from, to;
};

struct out_msg {
	struct list node;
	char *data;
	size_t len, done;
	struct conn_fds fds;
};

struct conn {
	struct loop *loop;
	int fd;
	bool packets, eof, reading;
	bool broken, reset; /* the other side reads no more; it had left things unread */
	size_t max_packet;  /* that the socket takes */
	const struct conn_ops *ops;
	void *arg;
	struct framing in;
	struct loop_watch *watch, *timer;
	struct arrived arrived[BATCHES];
	size_t n_arrived;
	struct list out;
	size_t backlog;
	bool *freed; /* set when the connection is freed inside a callback */
	char *buf;
};

void conn_fds_close(struct conn_fds *f)
{
	for (size_t i = 0; i < f->n; i++)
		if (f->v[i] >= 0)
			close(f->v[i]);
	f->n = 0;
}

static void update_watch(struct conn *c)
{
	unsigned events = 0;

	if (c->reading && !c->eof)
		events |= LOOP_READ;
	if (!list_empty(&c->out))
		events |= LOOP_WRITE;
	loop_fd_set(c->watch, events);
}

static void out_free(struct out_msg *m)
{
	conn_fds_close(&m->fds);
	free(m->data);
	free(m);
}

static void drop_output(struct conn *c)
{
	struct out_msg *m;

	list_for_each(m, &c->out, struct out_msg, node) {
		list_remove(&m->node);
		out_free(m);
	}
	c->backlog = 0;
}

/*
 * A socket that is closed while something lies in it unread resets the connection: the other side
 * is told so before it is given what we said last. So nothing more is let in, and what is there is
 * taken out. seccomp: shutdown, recvfrom - end of a connection
 */
static void close_socket(int fd)
{
	char byte;

	shutdown(fd, SHUT_RD);
	while (recv(fd, &byte, sizeof(byte), MSG_DONTWAIT | MSG_TRUNC) > 0)
		;
	close(fd);
}

void conn_free(struct conn *c)
{
	if (c->freed)
		*c->freed = true;
	drop_output(c);
	for (size_t i = 0; i < c->n_arrived; i++)
		conn_fds_close(&c->arrived[i].fds);
	loop_watch_free(c->watch);
	loop_watch_free(c->timer);
	framing_free(&c->in);
	free(c->buf);
	if (c->fd >= 0)
		close_socket(c->fd);
	free(c);
}

/* ---- descriptors ---- */

/* All descriptors of a message, so that none is left open by accident. */
static int take_control(struct msghdr *h, size_t max, struct conn_fds *to, struct err *e)
{
	size_t n_all = 0;

	to->n = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (n_all++ < max)
				to->v[to->n++] = fd;
			else
				close(fd);
		}
	}
	if (n_all <= max && !(h->msg_flags & MSG_CTRUNC))
		return 0;
	conn_fds_close(to);
	return rpc_error(e, "limit.reached", "at most %zu descriptors may come with a message",
			 max);
}

static bool mentions_fd(json_object *v)
{
	if (json_object_is_type(v, json_type_array)) {
		for (size_t i = 0, n = json_object_array_length(v); i < n; i++)
			if (mentions_fd(json_object_array_get_idx(v, i)))
				return true;
	} else if (json_object_is_type(v, json_type_object)) {
		json_object_object_foreach(v, key, val)
		{
			if (!strcmp(key, "fd") || mentions_fd(val))
				return true;
		}
	}
	return false;
}

static void drop_arrived(struct conn *c, size_t i)
{
	c->n_arrived--;
	memmove(&c->arrived[i], &c->arrived[i + 1], (c->n_arrived - i) * sizeof(c->arrived[0]));
}

/* The descriptors of the value at f->value_at; those of earlier ranges nobody wanted. */
static void claim_fds(struct conn *c, json_object *v, struct conn_fds *to)
{
	uint64_t at = c->in.value_at;

	to->n = 0;
	while (c->n_arrived && c->arrived[0].to <= at) {
		conn_fds_close(&c->arrived[0].fds);
		drop_arrived(c, 0);
	}
	if (c->n_arrived && c->arrived[0].from <= at && mentions_fd(v)) {
		*to = c->arrived[0].fds;
		drop_arrived(c, 0);
	}
}

static int keep_arrived(struct conn *c, struct conn_fds *fds, uint64_t from, uint64_t to,
			struct err *e)
{
	if (!fds->n)
		return 0;
	if (c->n_arrived == BATCHES) {
		conn_fds_close(fds);
		return rpc_error(e, "limit.reached", "descriptors came that no request mentions");
	}
	c->arrived[c->n_arrived++] = (struct arrived){ *fds, from, to };
	return 0;
}

/* ---- reading ---- */

/* Call back; false when the connection is gone afterwards. Calls may be inside each other. */
#define CALLBACK(c, call)                    \
	({                                   \
		bool gone_ = false;          \
		bool *outer_ = (c)->freed;   \
		(c)->freed = &gone_;         \
		call;                        \
		if (!gone_)                  \
			(c)->freed = outer_; \
		else if (outer_)             \
			*outer_ = true;      \
		!gone_;                      \
	})

static void failed(struct conn *c, const struct err *why)
{
	c->reading = false;
	update_watch(c);
	c->ops->failed(c->arg, why);
}

static bool got_value(struct conn *c, json_object *v, struct conn_fds *fds)
{
	bool alive = CALLBACK(c, c->ops->value(c->arg, v, fds));

	conn_fds_close(fds);
	return alive;
}

static bool got_bad(struct conn *c, const struct err *why, bool broken)
{
	if (broken) {
		c->reading = false;
		update_watch(c);
	}
	return CALLBACK(c, c->ops->bad(c->arg, why, broken));
}

/* False when the connection is gone or shall not be read on. */
static bool got_bytes(struct conn *c, const char *data, size_t len)
{
	while (len) {
		struct conn_fds fds;
		json_object *v;
		struct err e;
		size_t used;
		int r = framing_next(&c->in, data, len, &used, &v, &e);

		data += used;
		len -= used;
		if (r < 0) {
			if (!got_bad(c, &e, c->in.broken) || !c->reading)
				return false;
		} else if (r > 0) {
			claim_fds(c, v, &fds);
			if (!got_value(c, v, &fds) || !c->reading)
				return false;
		}
	}
	/* Only a header must be quick: a body may be long, and its sender slow. */
	loop_timer_set(c->timer, c->broken ? 0 : framing_inside(&c->in) ? HEADER_NS : -1);
	return true;
}

/* One packet: a whole value. */
static bool got_packet(struct conn *c, const char *data, size_t len, struct conn_fds *fds)
{
	struct err e;
	json_object *v;
	size_t used;
	int r;

	framing_free(&c->in);
	if (framing_init(&c->in, &e) < 0) {
		conn_fds_close(fds);
		failed(c, &e);
		return false;
	}
	c->in.mode = FRAMING_PLAIN;
	r = framing_next(&c->in, data, len, &used, &v, &e);
	if (r > 0)
		return got_value(c, v, fds);
	conn_fds_close(fds);
	if (r == 0)
		rpc_error(&e, "rpc.parse", "a packet must be one whole value");
	return got_bad(c, &e, false);
}

static void got_eof(struct conn *c)
{
	struct pollfd p = { .fd = c->fd };
	bool half = !c->packets && poll(&p, 1, 0) >= 0 && !(p.revents & (POLLHUP | POLLERR));

	c->eof = true;
	update_watch(c);
	loop_timer_set(c->timer, half ? HUP_POLL_NS : -1);
	c->ops->eof(c->arg, half);
}

/* Nothing was read. False: stop reading for now, or the connection is gone. */
static bool read_failed(struct conn *c)
{
	struct err e;

	/* Told once and before what was sent earlier, which can still be read. */
	if (errno == ECONNRESET && !c->reset) {
		c->reset = true;
		return true;
	}
	if (errno == EINTR || (errno == EAGAIN && !c->broken))
		return false;
	if (errno == EAGAIN)
		errno = EPIPE;
	err_sys(&e, c->broken ? "cannot write to the socket" : "cannot read from the socket");
	failed(c, &e);
	return false;
}

/* One read. False: stop reading for now, or the connection is gone. */
static bool read_once(struct conn *c)
{
	union {
		char buf[CMSG_SPACE(SCM_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { c->buf, c->packets ? PACKET_BYTES : READ_BYTES };
	struct msghdr h = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control.buf,
			    .msg_controllen = sizeof(control.buf) };
	ssize_t n = recvmsg(c->fd, &h, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	struct conn_fds fds = { .n = 0 };
	struct err e;
	int r;

	if (n < 0)
		return read_failed(c);
	r = take_control(&h, c->packets ? CONN_FDS : CONN_FDS_STREAM, &fds, &e);
	if (r == 0 && h.msg_flags & MSG_TRUNC) {
		conn_fds_close(&fds);
		r = rpc_error(&e, "limit.reached", "a packet may have at most %d bytes",
			      PACKET_BYTES);
	}
	if (r == 0 && !c->packets)
		r = keep_arrived(c, &fds, c->in.at, c->in.at + (uint64_t)n, &e);
	if (r < 0) {
		got_bad(c, &e, true);
		return false;
	}
	if (n == 0) {
		got_eof(c);
		return false;
	}
	return c->packets ? got_packet(c, c->buf, (size_t)n, &fds) && c->reading
			  : got_bytes(c, c->buf, (size_t)n);
}

/* ---- writing ---- */

static ssize_t send_some(struct conn *c, struct out_msg *m)
{
	union {
		char buf[CMSG_SPACE(CONN_FDS * sizeof(int))];
		struct cmsghdr align;
	} control = { .buf = { 0 } };
	struct iovec iov = { m->data + m->done, m->len - m->done };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (m->fds.n) {
		struct cmsghdr *ch;

		h.msg_control = control.buf;
		h.msg_controllen = CMSG_SPACE(m->fds.n * sizeof(int));
		ch = CMSG_FIRSTHDR(&h);
		ch->cmsg_level = SOL_SOCKET;
		ch->cmsg_type = SCM_RIGHTS;
		ch->cmsg_len = CMSG_LEN(m->fds.n * sizeof(int));
		memcpy(CMSG_DATA(ch), m->fds.v, m->fds.n * sizeof(int));
	}
	return sendmsg(c->fd, &h, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/*
 * Who reads no more may have said something before: the owner is told when all of that is read, by
 * read_failed(). False: it has been told.
 */
static bool write_failed(struct conn *c)
{
	struct err e;

	if ((errno == EPIPE || errno == ECONNRESET) && c->reading && !c->eof) {
		c->broken = true;
		drop_output(c);
		loop_timer_set(c->timer, 0);
		return true;
	}
	err_sys(&e, "cannot write to the socket");
	failed(c, &e);
	return false;
}

/* False: failed, and the owner has been told. */
static bool write_out(struct conn *c)
{
	while (!list_empty(&c->out)) {
		struct out_msg *m = list_entry(c->out.next, struct out_msg, node);
		ssize_t n = send_some(c, m);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0 && !write_failed(c))
			return false;
		if (n < 0)
			break;
		conn_fds_close(&m->fds);
		m->done += (size_t)n;
		c->backlog -= (size_t)n;
		if (m->done == m->len) {
			list_remove(&m->node);
			out_free(m);
		}
	}
	update_watch(c);
	return true;
}

static void on_ready(void *arg, int fd, unsigned events)
{
	struct conn *c = arg;

	(void)fd;
	if (events & LOOP_WRITE && !CALLBACK(c, write_out(c)))
		return;
	for (int i = 0; events & LOOP_READ && c->reading && i < READS_PER_EVENT; i++) {
		bool go_on = false;

		if (!CALLBACK(c, go_on = read_once(c)) || !go_on)
			return;
	}
}

/*
 * A header that was never finished; on a half-closed connection: is the other half closed? On one
 * that cannot be written to: what is left to read?
 */
static void on_timer(void *arg)
{
	struct conn *c = arg;
	struct err e;

	if (c->broken && !c->eof) {
		conn_drain(c);
		return;
	}
	if (c->eof) {
		struct pollfd p = { .fd = c->fd };

		if (poll(&p, 1, 0) > 0 && p.revents & (POLLHUP | POLLERR))
			c->ops->eof(c->arg, false);
		else
			loop_timer_set(c->timer, HUP_POLL_NS);
		return;
	}
	if (c->in.mode == FRAMING_HEADERS && !c->in.in_body) {
		rpc_error(&e, "limit.reached", "a header must be complete within 10 seconds");
		got_bad(c, &e, true);
	}
}

/* ---- outside ---- */

static int set_up_socket(struct conn *c, struct err *e)
{
	int type, buffer = 1024 * 1024;
	socklen_t len = sizeof(type);

	if (getsockopt(c->fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
		return err_sys(e, "this is not a socket");
	c->packets = type == SOCK_SEQPACKET;
	if (c->packets)
		setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
	len = sizeof(buffer);
	if (getsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &buffer, &len) < 0 || buffer < 4096)
		buffer = 4096;
	c->max_packet = MIN((size_t)buffer - 1024, (size_t)PACKET_BYTES);
	c->buf = malloc(c->packets ? PACKET_BYTES : READ_BYTES);
	return c->buf ? 0 : err_nomem(e);
}

int conn_new(struct loop *l, int fd, const struct conn_ops *ops, void *arg, struct conn **ret,
	     struct err *e)
{
	autoptr(conn) c = calloc(1, sizeof(*c));
	int r;

	if (!c) {
		close(fd);
		return err_nomem(e);
	}
	list_init(&c->out);
	c->loop = l;
	c->fd = fd;
	c->ops = ops;
	c->arg = arg;
	c->reading = true;
	r = set_up_socket(c, e);
	if (r == 0)
		r = framing_init(&c->in, e);
	if (r == 0)
		r = loop_timer(l, on_timer, c, &c->timer, e);
	if (r == 0)
		r = loop_fd(l, fd, LOOP_READ, on_ready, c, &c->watch, e);
	if (r < 0)
		return r;
	*ret = take(c);
	return 0;
}

static int dup_all(struct conn_fds *to, const int *fds, size_t n, struct err *e)
{
	to->n = 0;
	if (n > CONN_FDS)
		return rpc_error(e, "limit.reached", "at most %d descriptors fit in a message",
				 CONN_FDS);
	for (size_t i = 0; i < n; i++) {
		int fd = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);

		if (fd < 0) {
			int r = err_sys(e, "cannot pass descriptor %d", fds[i]);

			conn_fds_close(to);
			return r;
		}
		to->v[to->n++] = fd;
	}
	return 0;
}

int conn_send(struct conn *c, json_object *v, const int *fds, size_t n, struct err *e)
{
	struct out_msg *m = calloc(1, sizeof(*m));
	auto_strbuf text = { 0 };
	int r;

	if (!m)
		return err_nomem(e);
	r = dup_all(&m->fds, fds, n, e);
	if (r < 0) {
		free(m);
		return r;
	}
	framing_put(&c->in, v, &text);
	m->len = text.len;
	m->data = strbuf_take(&text);
	if (!m->data) {
		out_free(m);
		return err_nomem(e);
	}
	if (c->packets && m->len > c->max_packet) {
		out_free(m);
		return rpc_error(e, "limit.reached", "a packet may have at most %zu bytes",
				 c->max_packet);
	}
	if (c->broken) { /* lost, as if it had been sent a moment earlier */
		out_free(m);
		return 0;
	}
	c->backlog += m->len;
	list_append(&c->out, &m->node);
	update_watch(c);
	return 0;
}

void conn_flush(struct conn *c)
{
	write_out(c);
}

void conn_drain(struct conn *c)
{
	bool go_on = true;

	while (go_on && c->reading && !c->eof)
		if (!CALLBACK(c, go_on = read_once(c)))
			return;
}

size_t conn_backlog(const struct conn *c)
{
	return c->backlog;
}

bool conn_half_closed(const struct conn *c)
{
	return c->eof;
}

int conn_fd(const struct conn *c)
{
	return c->fd;
}

void conn_stop_reading(struct conn *c)
{
	c->reading = false;
	update_watch(c);
}
