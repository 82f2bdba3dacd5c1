/*
 * nbd_client.c - a connection to an NBD server: bytes, the fixed newstyle handshake (proto.md), and
 * how it is made. For nbd_file.c; any thread.
 */
#include "storage/nbd_client.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/own.h"
#include "storage/nbd_proto.h"

enum { REPLIES_MAX = 100, WAIT_SECONDS = 10 };

/* ---- bytes ---- */

int nbd_gone(struct nbd_file *n, int r, struct err *e)
{
	err_set(e, r ? r : -EPIPE, "the NBD server of %s is gone", n->f.name);
	return err_kind(e, "disk.remote"), r ? r : -EPIPE;
}

int nbd_send_all(struct nbd_file *n, int fd, struct iovec *iov, int k, struct err *e)
{
	while (k) {
		struct msghdr h = { .msg_iov = iov, .msg_iovlen = (size_t)MIN(k, 64) };
		ssize_t done = sendmsg(fd, &h, MSG_NOSIGNAL);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return nbd_gone(n, -errno, e);
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

int nbd_recv_all(struct nbd_file *n, int fd, void *buf, size_t len, struct err *e)
{
	uint8_t *p = buf;

	while (len) {
		ssize_t got = recv(fd, p, len, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return nbd_gone(n, got ? -errno : 0, e);
		p += got;
		len -= (size_t)got;
	}
	return 0;
}

int nbd_skip(struct nbd_file *n, int fd, uint64_t len, struct err *e)
{
	uint8_t buf[4096];
	int r = 0;

	for (uint64_t step; r == 0 && len; len -= step) {
		step = MIN(len, sizeof(buf));
		r = nbd_recv_all(n, fd, buf, step, e);
	}
	return r;
}

/* ---- the handshake ---- */

int nbd_bad_server(struct nbd_file *n, const char *what, struct err *e)
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
	return nbd_send_all(n, fd, v, len ? 2 : 1, e);
}

/* One reply to an option; data of at most NBD_OPTION_MAX bytes is malloced. */
static int recv_reply(struct nbd_file *n, int fd, uint32_t option, uint32_t *type, uint8_t **data,
		      uint32_t *len, struct err *e)
{
	uint8_t h[20];
	int r = nbd_recv_all(n, fd, h, sizeof(h), e);

	*data = NULL;
	if (r < 0)
		return r;
	*type = be32(h + 12);
	*len = be32(h + 16);
	if (be64(h) != NBD_REP_MAGIC || be32(h + 8) != option || *len > NBD_OPTION_MAX)
		return nbd_bad_server(n, "answers something else", e);
	*data = malloc(*len + 1);
	if (!*data)
		return err_nomem(e);
	(*data)[*len] = 0;
	r = nbd_recv_all(n, fd, *data, *len, e);
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
	return r < 0 ? r : nbd_bad_server(n, "does not come to the point", e);
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

int nbd_hello(struct nbd_file *n, int fd, struct err *e)
{
	uint8_t h[18], flags[4];
	struct iovec v = { flags, 4 };
	int r = nbd_recv_all(n, fd, h, sizeof(h), e);

	if (r < 0)
		return r;
	if (be64(h) != NBD_MAGIC || be64(h + 8) != NBD_OPT_MAGIC || !(be16(h + 16) & NBD_FIXED))
		return nbd_bad_server(n, "speaks no newstyle NBD", e);
	put_be32(flags, be16(h + 16) & (NBD_FIXED | NBD_NO_ZEROES));
	r = nbd_send_all(n, fd, &v, 1, e);
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

int nbd_connect(struct nbd_file *n, struct err *e)
{
	autoclose int fd = n->socket ? connect_unix(n, e)
			   : n->host ? connect_tcp(n, e)
				     : nbd_gone(n, 0, e);
	struct timeval t = { .tv_sec = WAIT_SECONDS };
	uint64_t size = n->size;
	int r;

	if (fd < 0)
		return fd;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	r = nbd_hello(n, fd, e);
	if (r < 0)
		return r;
	if (size && size != n->size)
		return nbd_bad_server(n, "gives a disk of another size now", e);
	t.tv_sec = 0;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	return take_fd(&fd);
}
