/*
 * A remote disk as a file: requests to an NBD server (proto.md). Any thread; a request waits for
 * its answer, and each of several connections carries one at a time where the server allows more
 * than one.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "storage/format.h"
#include "storage/nbd.h"
#include "storage/nbd_client.h"
#include "storage/nbd_proto.h"

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
		l->fd = nbd_connect(n, e);
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
		return nbd_bad_server(n, "tells of blocks in no known way", e);
	r = nbd_recv_all(n, fd, p, sizeof(p), e);
	if (r < 0)
		return r;
	a->status_known = true;
	a->status_len = be32(p + 4);
	a->is_data = !(be32(p + 8) & NBD_STATE_ZERO);
	return nbd_skip(n, fd, len - 12, e);
}

static int recv_error(struct nbd_file *n, int fd, uint32_t len, struct answer *a, struct err *e)
{
	uint8_t p[6];
	int r;

	if (len < sizeof(p))
		return nbd_bad_server(n, "fails in no known way", e);
	r = nbd_recv_all(n, fd, p, sizeof(p), e);
	a->error = be32(p);
	if (!a->error)
		a->error = NBD_EIO;
	return r < 0 ? r : nbd_skip(n, fd, len - sizeof(p), e);
}

/* A piece of [off, off + len), into buf. */
static int recv_piece(struct nbd_file *n, int fd, uint16_t type, uint32_t got, uint64_t off,
		      uint8_t *buf, uint64_t len, struct answer *a, struct err *e)
{
	uint8_t p[12];
	uint64_t size, at;
	int r;

	if (got < 8 || (type == NBD_CHUNK_HOLE && got != 12))
		return nbd_bad_server(n, "sends data in no known way", e);
	r = nbd_recv_all(n, fd, p, type == NBD_CHUNK_HOLE ? 12 : 8, e);
	if (r < 0)
		return r;
	size = type == NBD_CHUNK_HOLE ? be32(p + 8) : got - 8;
	at = be64(p) - off;
	if (!buf || be64(p) < off || !range_fits(at, size, len))
		return nbd_bad_server(n, "sends what was not asked for", e);
	a->len += size;
	if (type == NBD_CHUNK_DATA)
		return nbd_recv_all(n, fd, buf + at, size, e);
	memset(buf + at, 0, size);
	return 0;
}

static int recv_chunk(struct nbd_file *n, int fd, uint64_t cookie, uint64_t off, uint8_t *buf,
		      uint64_t len, bool *done, struct answer *a, struct err *e)
{
	uint8_t h[20];
	uint16_t type;
	uint32_t got;
	int r = nbd_recv_all(n, fd, h, 16, e);

	if (r < 0)
		return r;
	if (be32(h) == NBD_REPLY_MAGIC && be64(h + 8) == cookie) {
		*done = true;
		a->error = be32(h + 4);
		a->len = a->error || !buf ? 0 : len;
		return a->len ? nbd_recv_all(n, fd, buf, len, e) : 0;
	}
	if (be32(h) != NBD_CHUNK_MAGIC || be64(h + 8) != cookie || !n->structured)
		return nbd_bad_server(n, "lost its framing", e);
	r = nbd_recv_all(n, fd, h + 16, 4, e);
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
	return nbd_skip(n, fd, got, e);
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
	r = nbd_send_all(n, fd, iov, k + 1, e);
	while (r == 0 && !done)
		r = recv_chunk(n, fd, cookie, off, in, len, &done, a, e);
	if (r == 0 && in && !a->error && a->len != len)
		r = nbd_bad_server(n, "left out a part of what was asked for", e);
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
		return nbd_bad_server(n, "gives a disk that is too big", e);
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
	r = nbd_hello(n, n->links[0].fd, e);
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
	r = nbd_parse_uri(n, uri, e);
	if (r == 0)
		r = n->links[0].fd = nbd_connect(n, e);
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
