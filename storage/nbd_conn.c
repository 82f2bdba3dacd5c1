/* The bytes of one NBD connection: a buffer for each direction. On the connection's thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/nbd_int.h"

static int fill(struct nbd_conn *c, struct err *e)
{
	ssize_t n;

	if (c->in_at == c->in_end) {
		c->in_at = c->in_end = 0;
	} else if (c->in_end == NBD_BUFFER) {
		memmove(c->in, c->in + c->in_at, c->in_end - c->in_at);
		c->in_end -= c->in_at;
		c->in_at = 0;
	}
	n = c->io->recv(c->io->arg, c->in + c->in_end, NBD_BUFFER - c->in_end);
	if (n < 0)
		return err_set(e, (int)n, "nothing comes from the NBD client any more");
	c->in_end += (size_t)n;
	return n > 0;
}

int nbd_need(struct nbd_conn *c, size_t len, uint8_t **p, struct err *e)
{
	while (c->in_end - c->in_at < len) {
		int r = nbd_push(c, e);

		if (r == 0 && c->in_at && NBD_BUFFER - c->in_at < len) {
			memmove(c->in, c->in + c->in_at, c->in_end - c->in_at);
			c->in_end -= c->in_at;
			c->in_at = 0;
		}
		if (r == 0)
			r = fill(c, e);
		if (r < 0)
			return r;
		if (r == 0)
			return c->in_end == c->in_at
				   ? 0
				   : err_set(e, -EPIPE, "the NBD client left in mid-sentence");
	}
	*p = c->in + c->in_at;
	return 1;
}

void nbd_used(struct nbd_conn *c, size_t len)
{
	c->in_at += len;
}

int nbd_take(struct nbd_conn *c, void *buf, uint64_t len, struct err *e)
{
	uint8_t *to = buf;

	while (len) {
		uint8_t *p;
		int r = nbd_need(c, 1, &p, e);
		size_t n;

		if (r <= 0)
			return r < 0 ? r
				     : err_set(e, -EPIPE, "the NBD client left in mid-sentence");
		n = MIN(len, c->in_end - c->in_at);
		if (to) {
			memcpy(to, p, n);
			to += n;
		}
		nbd_used(c, n);
		len -= n;
	}
	return 0;
}

int nbd_send(struct nbd_conn *c, const struct iovec *iov, int n, struct err *e)
{
	struct iovec v[4];
	int k = MIN(n, 4);

	memcpy(v, iov, (size_t)k * sizeof(*v));
	while (k) {
		ssize_t done = c->io->send(c->io->arg, v, k);
		int i = 0;

		if (done <= 0)
			return err_set(e, done ? (int)done : -EPIPE, "the NBD client is gone");
		for (; i < k && (size_t)done >= v[i].iov_len; i++)
			done -= (ssize_t)v[i].iov_len;
		memmove(v, v + i, (size_t)(k - i) * sizeof(*v));
		k -= i;
		if (k) {
			v[0].iov_base = (char *)v[0].iov_base + done;
			v[0].iov_len -= (size_t)done;
		}
	}
	return 0;
}

int nbd_push(struct nbd_conn *c, struct err *e)
{
	struct iovec v = { c->out, c->out_len };

	if (!c->out_len)
		return 0;
	c->out_len = 0;
	return nbd_send(c, &v, 1, e);
}

uint8_t *nbd_room(struct nbd_conn *c, size_t len, struct err *e)
{
	uint8_t *p;

	if (NBD_BUFFER - c->out_len < len && nbd_push(c, e) < 0)
		return NULL;
	p = c->out + c->out_len;
	c->out_len += len;
	return p;
}

int nbd_put(struct nbd_conn *c, const void *data, size_t len, struct err *e)
{
	uint8_t *p = nbd_room(c, len, e);

	if (!p)
		return -EPIPE;
	memcpy(p, data, len);
	return 0;
}
