/*
 * A remote disk as a file: the client's side of NBD (proto.md). Any thread; a request waits for
 * its answer, and each of several connections carries one at a time where the server allows more
 * than one.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "storage/format.h"
#include "storage/nbd.h"
#include "storage/nbd_proto.h"

enum { LINKS_MAX = 4, REPLIES_MAX = 100, WAIT_SECONDS = 10 };

struct link {
	int fd; /* -1: not connected */
	bool busy;
};

struct nbd_file {
	struct file f;
	char *host, *port, *socket, *export; /* host or socket */
	uint16_t flags;
	bool structured, has_status;
	uint32_t block_max;
	uint64_t size;

	pthread_mutex_t lock; /* guards which links are busy */
	pthread_cond_t idle;
	struct link links[LINKS_MAX];
	unsigned links_n;
	uint64_t cookie;
};

struct answer {
	uint64_t len; /* bytes of data that came */
	uint32_t error;
	bool status_known, is_data;
	uint64_t status_len;
};

static struct nbd_file *nbd_of(struct file *f)
{
	return container_of(f, struct nbd_file, f);
}

/* ---- bytes ---- */

static int gone(struct nbd_file *n, int r, struct err *e)
{
	err_set(e, r ? r : -EPIPE, "the NBD server of %s is gone", n->f.name);
	return err_kind(e, "disk.remote"), r ? r : -EPIPE;
}

static int send_all(struct nbd_file *n, int fd, struct iovec *iov, int k, struct err *e)
{
	while (k) {
		struct msghdr h = { .msg_iov = iov, .msg_iovlen = (size_t)MIN(k, 64) };
		ssize_t done = sendmsg(fd, &h, MSG_NOSIGNAL);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return gone(n, -errno, e);
		while (k && (size_t)done >= iov->iov_len) {
			done -= (ssize_t)iov->iov_len;
			iov++;
			k--;
		}
		if (k) {
			iov->iov_base = (char *)iov->iov_base + done;
			iov->iov_len -= (size_t)done;
		}
	}
	return 0;
}

static int recv_all(struct nbd_file *n, int fd, void *buf, size_t len, struct err *e)
{
	uint8_t *p = buf;

	while (len) {
		ssize_t got = recv(fd, p, len, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return gone(n, got ? -errno : 0, e);
		p += got;
		len -= (size_t)got;
	}
	return 0;
}

static int skip(struct nbd_file *n, int fd, uint64_t len, struct err *e)
{
	uint8_t buf[4096];
	int r = 0;

	for (uint64_t step; r == 0 && len; len -= step) {
		step = MIN(len, sizeof(buf));
		r = recv_all(n, fd, buf, step, e);
	}
	return r;
}

/* ---- the handshake ---- */

static int bad_server(struct nbd_file *n, const char *what, struct err *e)
{
	err_set(e, -EPROTO, "%s: the NBD server %s", n->f.name, what);
	return err_kind(e, "disk.remote"), -EPROTO;
}

static int send_option(struct nbd_file *n, int fd, uint32_t option, const void *data, size_t len,
		       struct err *e)
{
	uint8_t h[16];
	struct iovec v[2] = { { h, 16 }, { (void *)(uintptr_t)data, len } };

	put_be64(h, NBD_OPT_MAGIC);
	put_be32(h + 8, option);
	put_be32(h + 12, (uint32_t)len);
	return send_all(n, fd, v, len ? 2 : 1, e);
}

/* One reply to an option; data of at most NBD_OPTION_MAX bytes is malloced. */
static int recv_reply(struct nbd_file *n, int fd, uint32_t option, uint32_t *type, uint8_t **data,
		      uint32_t *len, struct err *e)
{
	uint8_t h[20];
	int r = recv_all(n, fd, h, sizeof(h), e);

	*data = NULL;
	if (r < 0)
		return r;
	*type = be32(h + 12);
	*len = be32(h + 16);
	if (be64(h) != NBD_REP_MAGIC || be32(h + 8) != option || *len > NBD_OPTION_MAX)
		return bad_server(n, "answers something else", e);
	*data = malloc(*len + 1);
	if (!*data)
		return err_nomem(e);
	(*data)[*len] = 0;
	r = recv_all(n, fd, *data, *len, e);
	if (r < 0) {
		free(*data);
		*data = NULL;
	}
	return r;
}

static void learn(struct nbd_file *n, const uint8_t *p, uint32_t len)
{
	uint16_t kind = len >= 2 ? be16(p) : UINT16_MAX;

	if (kind == NBD_INFO_EXPORT && len == 12) {
		n->size = be64(p + 2);
		n->flags = be16(p + 10);
	}
	if (kind == NBD_INFO_BLOCK_SIZE && len == 14)
		n->block_max = MAX(MIN(be32(p + 10), NBD_PAYLOAD_MAX), 64 << 10);
}

/* 1: acknowledged; 0: refused, which some options may be. */
static int ask(struct nbd_file *n, int fd, uint32_t option, const void *data, size_t len,
	       uint32_t *context, struct err *e)
{
	int r = send_option(n, fd, option, data, len, e);

	for (int i = 0; r == 0 && i < REPLIES_MAX; i++) {
		autofree uint8_t *p = NULL;
		uint32_t type, plen;

		r = recv_reply(n, fd, option, &type, &p, &plen, e);
		if (r < 0)
			return r;
		if (type == NBD_REP_ACK)
			return 1;
		if (type & NBD_REP_ERROR) {
			err_set(e, -ENOENT, "%s: the NBD server says: %.*s", n->f.name,
				(int)MIN(plen, 200u), plen ? (char *)p : "no");
			return 0;
		}
		if (type == NBD_REP_INFO)
			learn(n, p, plen);
		if (type == NBD_REP_META && plen > 4 && context)
			*context = be32(p);
	}
	return r < 0 ? r : bad_server(n, "does not come to the point", e);
}

static int ask_contexts(struct nbd_file *n, int fd, struct err *e)
{
	static const char want[] = "base:allocation";
	size_t len = strlen(n->export);
	uint8_t p[4 + NBD_STRING_MAX + 8 + sizeof(want)];
	uint32_t context = 0;
	int r;

	put_be32(p, (uint32_t)len);
	memcpy(p + 4, n->export, len);
	put_be32(p + 4 + len, 1);
	put_be32(p + 8 + len, sizeof(want) - 1);
	memcpy(p + 12 + len, want, sizeof(want) - 1);
	r = ask(n, fd, NBD_OPT_SET_META, p, 12 + len + sizeof(want) - 1, &context, e);
	n->has_status = r > 0 && context;
	return r < 0 ? r : 0;
}

static int go(struct nbd_file *n, int fd, struct err *e)
{
	size_t len = strlen(n->export);
	uint8_t p[4 + NBD_STRING_MAX + 4];
	int r;

	put_be32(p, (uint32_t)len);
	memcpy(p + 4, n->export, len);
	put_be16(p + 4 + len, 1);
	put_be16(p + 6 + len, NBD_INFO_BLOCK_SIZE);
	r = ask(n, fd, NBD_OPT_GO, p, 8 + len, NULL, e);
	if (r == 0)
		return err_kind(e, "disk.not-found"), -ENOENT;
	return r < 0 ? r : 0;
}

static int handshake(struct nbd_file *n, int fd, struct err *e)
{
	uint8_t h[18], flags[4];
	struct iovec v = { flags, 4 };
	int r = recv_all(n, fd, h, sizeof(h), e);

	if (r < 0)
		return r;
	if (be64(h) != NBD_MAGIC || be64(h + 8) != NBD_OPT_MAGIC || !(be16(h + 16) & NBD_FIXED))
		return bad_server(n, "speaks no newstyle NBD", e);
	put_be32(flags, be16(h + 16) & (NBD_FIXED | NBD_NO_ZEROES));
	r = send_all(n, fd, &v, 1, e);
	if (r == 0)
		r = ask(n, fd, NBD_OPT_STRUCTURED, NULL, 0, NULL, e);
	if (r < 0)
		return r;
	n->structured = r > 0;
	r = n->structured ? ask_contexts(n, fd, e) : 0;
	return r < 0 ? r : go(n, fd, e);
}

static int connect_unix(struct nbd_file *n, struct err *e)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(n->socket) >= sizeof(a.sun_path))
		return err_set(e, -ENAMETOOLONG, "%s: too long for a socket", n->socket);
	strcpy(a.sun_path, n->socket);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		int r = err_sys(e, "cannot connect to %s", n->socket);

		return err_kind(e, r == -ENOENT ? "disk.not-found" : "disk.remote"), r;
	}
	return take_fd(&fd);
}

static int connect_tcp(struct nbd_file *n, struct err *e)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *all, *a;
	int one = 1, fd = -1, r = getaddrinfo(n->host, n->port, &hints, &all);

	if (r) {
		err_set(e, -EHOSTUNREACH, "cannot find %s: %s", n->host, gai_strerror(r));
		return err_kind(e, "disk.remote"), -EHOSTUNREACH;
	}
	for (a = all; a && fd < 0; a = a->ai_next) {
		fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
		if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
			int saved = errno;

			close(fd);
			fd = -1;
			errno = saved;
		}
	}
	freeaddrinfo(all);
	if (fd < 0) {
		r = err_sys(e, "cannot connect to %s port %s", n->host, n->port);
		return err_kind(e, "disk.remote"), r;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

/* Returns an fd on which requests may be sent. */
static int connect_link(struct nbd_file *n, struct err *e)
{
	autoclose int fd = n->socket ? connect_unix(n, e)
			   : n->host ? connect_tcp(n, e)
				     : gone(n, 0, e);
	struct timeval t = { .tv_sec = WAIT_SECONDS };
	uint64_t size = n->size;
	int r;

	if (fd < 0)
		return fd;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	r = handshake(n, fd, e);
	if (r < 0)
		return r;
	if (size && size != n->size)
		return bad_server(n, "gives a disk of another size now", e);
	t.tv_sec = 0;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	return take_fd(&fd);
}

/* ---- requests ---- */

/* An idle link, connected. One that cannot be added is one less. */
static struct link *link_get(struct nbd_file *n, struct err *e)
{
	struct link *l = NULL;

	pthread_mutex_lock(&n->lock);
	while (!l) {
		for (unsigned i = 0; i < n->links_n && !l; i++)
			if (!n->links[i].busy)
				l = &n->links[i];
		if (!l)
			pthread_cond_wait(&n->idle, &n->lock);
	}
	l->busy = true;
	pthread_mutex_unlock(&n->lock);
	if (l->fd < 0)
		l->fd = connect_link(n, e);
	if (l->fd >= 0)
		return l;
	pthread_mutex_lock(&n->lock);
	l->busy = false;
	pthread_cond_signal(&n->idle);
	pthread_mutex_unlock(&n->lock);
	return NULL;
}

/* After an error nobody knows what comes next on it. */
static void link_put(struct nbd_file *n, struct link *l, bool broken)
{
	if (broken) {
		close(l->fd);
		l->fd = -1;
	}
	pthread_mutex_lock(&n->lock);
	l->busy = false;
	pthread_cond_signal(&n->idle);
	pthread_mutex_unlock(&n->lock);
}

static int host_errno(uint32_t error)
{
	switch (error) {
	case NBD_EPERM: return -EPERM;
	case NBD_ENOMEM: return -ENOMEM;
	case NBD_EINVAL: return -EINVAL;
	case NBD_ENOSPC: return -ENOSPC;
	case NBD_ENOTSUP: return -EOPNOTSUPP;
	default: return -EIO;
	}
}

static int recv_status(struct nbd_file *n, int fd, uint32_t len, struct answer *a, struct err *e)
{
	uint8_t p[12];
	int r;

	if (len < 12 || (len - 4) % 8)
		return bad_server(n, "tells of blocks in no known way", e);
	r = recv_all(n, fd, p, sizeof(p), e);
	if (r < 0)
		return r;
	a->status_known = true;
	a->status_len = be32(p + 4);
	a->is_data = !(be32(p + 8) & NBD_STATE_ZERO);
	return skip(n, fd, len - 12, e);
}

static int recv_error(struct nbd_file *n, int fd, uint32_t len, struct answer *a, struct err *e)
{
	uint8_t p[6];
	int r;

	if (len < sizeof(p))
		return bad_server(n, "fails in no known way", e);
	r = recv_all(n, fd, p, sizeof(p), e);
	a->error = be32(p);
	if (!a->error)
		a->error = NBD_EIO;
	return r < 0 ? r : skip(n, fd, len - sizeof(p), e);
}

/* A piece of [off, off + len), into buf. */
static int recv_piece(struct nbd_file *n, int fd, uint16_t type, uint32_t got, uint64_t off,
		      uint8_t *buf, uint64_t len, struct answer *a, struct err *e)
{
	uint8_t p[12];
	uint64_t size, at;
	int r;

	if (got < 8 || (type == NBD_CHUNK_HOLE && got != 12))
		return bad_server(n, "sends data in no known way", e);
	r = recv_all(n, fd, p, type == NBD_CHUNK_HOLE ? 12 : 8, e);
	if (r < 0)
		return r;
	size = type == NBD_CHUNK_HOLE ? be32(p + 8) : got - 8;
	at = be64(p) - off;
	if (!buf || be64(p) < off || !range_fits(at, size, len))
		return bad_server(n, "sends what was not asked for", e);
	a->len += size;
	if (type == NBD_CHUNK_DATA)
		return recv_all(n, fd, buf + at, size, e);
	memset(buf + at, 0, size);
	return 0;
}

static int recv_chunk(struct nbd_file *n, int fd, uint64_t cookie, uint64_t off, uint8_t *buf,
		      uint64_t len, bool *done, struct answer *a, struct err *e)
{
	uint8_t h[20];
	uint16_t type;
	uint32_t got;
	int r = recv_all(n, fd, h, 16, e);

	if (r < 0)
		return r;
	if (be32(h) == NBD_REPLY_MAGIC && be64(h + 8) == cookie) {
		*done = true;
		a->error = be32(h + 4);
		a->len = a->error || !buf ? 0 : len;
		return a->len ? recv_all(n, fd, buf, len, e) : 0;
	}
	if (be32(h) != NBD_CHUNK_MAGIC || be64(h + 8) != cookie || !n->structured)
		return bad_server(n, "lost its framing", e);
	r = recv_all(n, fd, h + 16, 4, e);
	type = be16(h + 6);
	got = be32(h + 16);
	*done = be16(h + 4) & NBD_CHUNK_DONE;
	if (r < 0)
		return r;
	if (type == NBD_CHUNK_DATA || type == NBD_CHUNK_HOLE)
		return recv_piece(n, fd, type, got, off, buf, len, a, e);
	if (type == NBD_CHUNK_STATUS)
		return recv_status(n, fd, got, a, e);
	if (type & 0x8000)
		return recv_error(n, fd, got, a, e);
	return skip(n, fd, got, e);
}

/* One request and its answer. iov: what is written, with room for one more in front. */
static int talk(struct nbd_file *n, int fd, uint16_t type, uint16_t flags, uint64_t off,
		uint64_t len, struct iovec *iov, int k, uint8_t *in, struct answer *a,
		struct err *e)
{
	uint64_t cookie = __atomic_add_fetch(&n->cookie, 1, __ATOMIC_RELAXED);
	uint8_t h[NBD_REQ_BYTES];
	bool done = false;
	int r;

	put_be32(h, NBD_REQ_MAGIC);
	put_be16(h + 4, flags);
	put_be16(h + 6, type);
	put_be64(h + 8, cookie);
	put_be64(h + 16, off);
	put_be32(h + 24, (uint32_t)len);
	iov[0] = (struct iovec){ h, sizeof(h) };
	r = send_all(n, fd, iov, k + 1, e);
	while (r == 0 && !done)
		r = recv_chunk(n, fd, cookie, off, in, len, &done, a, e);
	if (r == 0 && in && !a->error && a->len != len)
		r = bad_server(n, "left out a part of what was asked for", e);
	return r;
}

/* At most block_max bytes. in: for reading; out, n_out: for writing. */
static int request(struct nbd_file *n, uint16_t type, uint16_t flags, uint64_t off, uint64_t len,
		   const struct iovec *out, int n_out, uint8_t *in, struct answer *a, struct err *e)
{
	struct iovec v[65];
	struct link *l = link_get(n, e);
	int r;

	if (!l)
		return e && e->code ? e->code : -EIO;
	*a = (struct answer){ 0 };
	if (n_out)
		memcpy(v + 1, out, (size_t)n_out * sizeof(*v));
	r = talk(n, l->fd, type, flags, off, len, v, n_out, in, a, e);
	link_put(n, l, r < 0);
	if (r == 0 && a->error) {
		r = host_errno(a->error);
		err_set(e, r, "%s: the NBD server refused it (%u)", n->f.name, a->error);
		if (r == -ENOSPC)
			err_kind(e, "disk.full");
	}
	return r;
}

/* ---- as a file ---- */

static int nbd_readv(struct file *f, uint64_t off, const struct iovec *iov, int k, struct err *e)
{
	struct nbd_file *n = nbd_of(f);
	struct answer a;

	for (int i = 0; i < k; i++) {
		uint8_t *to = iov[i].iov_base;
		size_t left = iov[i].iov_len;

		while (left) {
			uint64_t have = off < n->size ? MIN(left, n->size - off) : 0;
			uint64_t step = MIN(have, n->block_max);
			int r =
			    step ? request(n, NBD_CMD_READ, 0, off, step, NULL, 0, to, &a, e) : 0;

			if (r < 0)
				return r;
			if (!step) {
				step = left;
				memset(to, 0, left);
			}
			to += step;
			off += step;
			left -= step;
		}
	}
	return 0;
}

static int nbd_writev(struct file *f, uint64_t off, const struct iovec *iov, int k, struct err *e)
{
	struct nbd_file *n = nbd_of(f);
	struct answer a;

	for (int i = 0; i < k; i++)
		for (size_t at = 0, step; at < iov[i].iov_len; at += step, off += step) {
			struct iovec v = { (char *)iov[i].iov_base + at, 0 };
			int r;

			step = v.iov_len = MIN(iov[i].iov_len - at, n->block_max);
			r = request(n, NBD_CMD_WRITE, 0, off, step, &v, 1, NULL, &a, e);
			if (r < 0)
				return r;
		}
	return 0;
}

/* Lengths have 32 bits. */
#define STEP_MAX (UINT64_C(1) << 30)

static int nbd_zero(struct file *f, uint64_t off, uint64_t len, bool punch, struct err *e)
{
	struct nbd_file *n = nbd_of(f);
	struct answer a;

	if (!(n->flags & NBD_CAN_ZERO))
		return -EOPNOTSUPP;
	for (uint64_t step; len; off += step, len -= step) {
		int r;

		step = MIN(len, STEP_MAX);
		r = request(n, NBD_CMD_WRITE_ZEROES, punch ? 0 : NBD_NO_HOLE, off, step, NULL, 0,
			    NULL, &a, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int nbd_truncate(struct file *f, uint64_t size, struct err *e)
{
	if (size == nbd_of(f)->size)
		return 0;
	return err_set(e, -ENOTSUP, "%s: a disk over NBD cannot change its size", f->name);
}

static int nbd_sync(struct file *f, struct err *e)
{
	struct nbd_file *n = nbd_of(f);
	struct answer a;

	if (!(n->flags & NBD_CAN_FLUSH))
		return 0;
	return request(n, NBD_CMD_FLUSH, 0, 0, 0, NULL, 0, NULL, &a, e);
}

static bool nbd_is_data(struct file *f, uint64_t off, uint64_t *len)
{
	struct nbd_file *n = nbd_of(f);
	uint64_t left = n->size - off;
	struct answer a;

	*len = left;
	if (!n->has_status || request(n, NBD_CMD_BLOCK_STATUS, 0, off, MIN(left, STEP_MAX), NULL, 0,
				      NULL, &a, NULL) < 0)
		return true;
	if (!a.status_known || !a.status_len)
		return true;
	*len = MIN(left, a.status_len);
	return a.is_data;
}

static void nbd_close(struct file *f)
{
	struct nbd_file *n = nbd_of(f);
	uint8_t h[NBD_REQ_BYTES] = { 0 };

	put_be32(h, NBD_REQ_MAGIC);
	put_be16(h + 6, NBD_CMD_DISC);
	for (unsigned i = 0; i < n->links_n; i++)
		if (n->links[i].fd >= 0) {
			send(n->links[i].fd, h, sizeof(h), MSG_NOSIGNAL);
			close(n->links[i].fd);
		}
	pthread_mutex_destroy(&n->lock);
	pthread_cond_destroy(&n->idle);
	free(n->host);
	free(n->port);
	free(n->socket);
	free(n->export);
	free(f->name);
	free(n);
}

static const struct file_ops nbd_ops = {
	.readv = nbd_readv,
	.writev = nbd_writev,
	.zero = nbd_zero,
	.truncate = nbd_truncate,
	.sync = nbd_sync,
	.is_data = nbd_is_data,
	.close = nbd_close,
};

/* ---- URIs (doc/uri.md) ---- */

bool nbd_is_uri(const char *s)
{
	return !strncmp(s, "nbd://", 6) || !strncmp(s, "nbd+unix://", 11);
}

/* %41 and the like are undone. Returns malloced text, or NULL when it is wrong. */
static char *unescape(const char *s, size_t len)
{
	char *out = malloc(len + 1), *to = out;

	for (size_t i = 0; out && i < len; i++) {
		unsigned v = (unsigned char)s[i];

		if (s[i] == '%' && (i + 2 >= len || sscanf(s + i + 1, "%2x", &v) != 1 || !v)) {
			free(out);
			return NULL;
		}
		if (s[i] == '%')
			i += 2;
		*to++ = (char)v;
	}
	if (out)
		*to = 0;
	return out;
}

static int bad_uri(const char *uri, struct err *e)
{
	int r = err_set(e, -EINVAL, "%.200s is no address of an NBD disk", uri);

	err_hint(e, "write nbd+unix:///EXPORT?socket=PATH or nbd://HOST:PORT/EXPORT");
	return r;
}

static int parse_uri(struct nbd_file *n, const char *uri, struct err *e)
{
	bool is_unix = !strncmp(uri, "nbd+unix", 8);
	const char *at = strstr(uri, "//") + 2, *path = at + strcspn(at, "/?");
	const char *query = strchr(path, '?'), *colon;
	size_t len;

	if (*path == '/')
		path++;
	len = query ? (size_t)(query - path) : strlen(path);
	n->export = len <= NBD_STRING_MAX ? unescape(path, len) : NULL;
	if (!n->export)
		return bad_uri(uri, e);
	if (is_unix) {
		const char *socket = query ? strstr(query, "socket=") : NULL;

		n->socket = socket ? unescape(socket + 7, strcspn(socket + 7, "&")) : NULL;
		return n->socket ? 0 : bad_uri(uri, e);
	}
	len = strcspn(at, "/?");
	colon = memrchr(at, ':', len);
	if (colon && memchr(colon, ']', len - (size_t)(colon - at)))
		colon = NULL;
	n->port = colon ? strndup(colon + 1, len - (size_t)(colon - at) - 1) : strdup("10809");
	n->host = *at == '[' ? strndup(at + 1, strcspn(at + 1, "]"))
			     : strndup(at, colon ? (size_t)(colon - at) : len);
	return n->host && *n->host && n->port && *n->port ? 0 : bad_uri(uri, e);
}

static struct nbd_file *nbd_alloc(const char *name, bool write, struct err *e)
{
	struct nbd_file *n = calloc(1, sizeof(*n));

	if (n)
		n->f.name = strdup(name);
	if (!n || !n->f.name) {
		free(n);
		err_nomem(e);
		return NULL;
	}
	pthread_mutex_init(&n->lock, NULL);
	pthread_cond_init(&n->idle, NULL);
	n->f.ops = &nbd_ops;
	n->f.fd = -1;
	n->f.align = 1;
	n->f.writable = write;
	n->links_n = 1;
	n->block_max = NBD_PAYLOAD_MAX;
	n->links[0].fd = -1;
	return n;
}

/* Connected for the first time: may it be used as was asked? */
static int accept_server(struct nbd_file *n, struct err *e)
{
	if (n->f.writable && n->flags & NBD_READ_ONLY) {
		err_set(e, -EROFS, "%s is exported for reading only", n->f.name);
		return err_kind(e, "disk.permission"), -EROFS;
	}
	if (n->size > INT64_MAX)
		return bad_server(n, "gives a disk that is too big", e);
	n->f.size = n->size;
	return 0;
}

int nbd_file_from_fd(int fd, const char *export, bool write, struct file **ret, struct err *e)
{
	autoclose int own = fd;
	struct nbd_file *n = nbd_alloc("a disk over NBD", write, e);
	autoptr(file) f = n ? &n->f : NULL;
	int r;

	if (!n)
		return -ENOMEM;
	n->export = strndup(export, NBD_STRING_MAX);
	if (!n->export)
		return err_nomem(e);
	n->links[0].fd = take_fd(&own);
	r = handshake(n, n->links[0].fd, e);
	if (r == 0)
		r = accept_server(n, e);
	if (r == 0)
		*ret = take(f);
	return r;
}

int nbd_file_open(const char *uri, bool write, struct file **ret, struct err *e)
{
	struct nbd_file *n = nbd_alloc(uri, write, e);
	autoptr(file) f = n ? &n->f : NULL;
	int r;

	if (!n)
		return -ENOMEM;
	r = parse_uri(n, uri, e);
	if (r == 0)
		r = n->links[0].fd = connect_link(n, e);
	if (r >= 0)
		r = accept_server(n, e);
	if (r < 0)
		return r;
	if (n->flags & NBD_MULTI_CONN)
		for (n->links_n = LINKS_MAX, r = 1; r < LINKS_MAX; r++)
			n->links[r].fd = -1;
	*ret = take(f);
	return 0;
}
