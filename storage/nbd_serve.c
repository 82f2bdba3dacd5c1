/*
 * Requests of an NBD client: taken from the buffer, carried out, and answered in order (proto.md,
 * "Transmission phase"). On the connection's thread; it waits for the disk.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/nbd_int.h"

enum { EXTENTS_MAX = 1024 }; /* in one answer about blocks */

struct request {
	uint16_t flags, type;
	uint64_t cookie, off, len;
};

static int nbd_errno(int r)
{
	switch (r) {
	case -EPERM:
	case -EACCES:
	case -EROFS: return NBD_EPERM;
	case -ENOMEM: return NBD_ENOMEM;
	case -EINVAL: return NBD_EINVAL;
	case -ENOSPC:
	case -EDQUOT:
	case -EFBIG: return NBD_ENOSPC;
	case -ENOTSUP: return NBD_ENOTSUP;
	default: return NBD_EIO;
	}
}

/* ---- answers ---- */

static size_t head_len(const struct nbd_conn *c)
{
	return c->extended ? 32 : 20;
}

/* The head of a chunk; what follows it has len bytes. */
static void put_head(const struct nbd_conn *c, uint8_t *p, const struct request *q, uint16_t flags,
		     uint16_t type, uint64_t len)
{
	put_be32(p, c->extended ? NBD_CHUNK_EXT : NBD_CHUNK_MAGIC);
	put_be16(p + 4, flags);
	put_be16(p + 6, type);
	put_be64(p + 8, q->cookie);
	if (c->extended) {
		put_be64(p + 16, q->off);
		put_be64(p + 24, len);
	} else {
		put_be32(p + 16, (uint32_t)len);
	}
}

static void put_simple(uint8_t *p, const struct request *q, uint32_t error)
{
	put_be32(p, NBD_REPLY_MAGIC);
	put_be32(p + 4, error);
	put_be64(p + 8, q->cookie);
}

static bool has_chunks(const struct nbd_conn *c)
{
	return c->structured || c->extended;
}

static int answer_done(struct nbd_conn *c, const struct request *q, struct err *e)
{
	size_t len = has_chunks(c) ? head_len(c) : 16;
	uint8_t *p = nbd_room(c, len, e);

	if (!p)
		return -EPIPE;
	if (has_chunks(c))
		put_head(c, p, q, NBD_CHUNK_DONE, NBD_CHUNK_NONE, 0);
	else
		put_simple(p, q, 0);
	return 0;
}

static int answer_error(struct nbd_conn *c, const struct request *q, int error, const char *why,
			struct err *e)
{
	size_t head = head_len(c), n = MIN(strlen(why), 500);
	uint8_t *p;

	if (!has_chunks(c)) {
		p = nbd_room(c, 16, e);
		if (p)
			put_simple(p, q, (uint32_t)error);
		return p ? 0 : -EPIPE;
	}
	p = nbd_room(c, head + 6 + n, e);
	if (!p)
		return -EPIPE;
	put_head(c, p, q, NBD_CHUNK_DONE, NBD_CHUNK_ERROR, 6 + n);
	put_be32(p + head, (uint32_t)error);
	put_be16(p + head + 4, (uint16_t)n);
	memcpy(p + head + 6, why, n);
	return 0;
}

static int answer(struct nbd_conn *c, const struct request *q, int r, const struct err *why,
		  struct err *e)
{
	return r < 0 ? answer_error(c, q, nbd_errno(r), why->msg, e) : answer_done(c, q, e);
}

/* ---- reading ---- */

static size_t read_head(const struct nbd_conn *c, uint8_t *p, const struct request *q)
{
	size_t head = head_len(c);

	if (!has_chunks(c)) {
		put_simple(p, q, 0);
		return 16;
	}
	put_head(c, p, q, NBD_CHUNK_DONE, NBD_CHUNK_DATA, 8 + q->len);
	put_be64(p + head, q->off);
	return head + 8;
}

/* Straight into the buffer of answers. */
static int read_small(struct nbd_conn *c, const struct request *q, struct err *e)
{
	size_t head = has_chunks(c) ? head_len(c) + 8 : 16;
	uint8_t *p = nbd_room(c, head + q->len, e);
	struct err why;
	int r;

	if (!p)
		return -EPIPE;
	r = disk_read(c->export->disk, q->off, p + head, q->len, &why);
	if (r < 0) {
		c->out_len -= head + q->len;
		return answer_error(c, q, nbd_errno(r), why.msg, e);
	}
	read_head(c, p, q);
	return 0;
}

static int read_big(struct nbd_conn *c, const struct request *q, struct err *e)
{
	autofree uint8_t *buf = malloc(q->len);
	uint8_t head[64];
	struct iovec v[2] = { { head, 0 }, { buf, q->len } };
	struct err why;
	int r;

	if (!buf)
		return answer_error(c, q, NBD_ENOMEM, "out of memory", e);
	r = disk_read(c->export->disk, q->off, buf, q->len, &why);
	if (r < 0)
		return answer_error(c, q, nbd_errno(r), why.msg, e);
	v[0].iov_len = read_head(c, head, q);
	r = nbd_push(c, e);
	return r < 0 ? r : nbd_send(c, v, 2, e);
}

static int do_read(struct nbd_conn *c, const struct request *q, struct err *e)
{
	if (q->len > NBD_PAYLOAD_MAX)
		return answer_error(c, q, NBD_EINVAL, "more than 32 MiB in one read", e);
	return q->len <= NBD_BUFFER - 64 ? read_small(c, q, e) : read_big(c, q, e);
}

/* ---- writing ---- */

static int finish_write(struct nbd_conn *c, const struct request *q, int r, struct err *why,
			struct err *e)
{
	if (r == 0 && q->flags & NBD_FUA)
		r = disk_flush(c->export->disk, why);
	return answer(c, q, r, why, e);
}

/* The payload follows the request; it is taken whatever becomes of the request. */
static int do_write(struct nbd_conn *c, const struct request *q, const char *bad, struct err *e)
{
	autofree uint8_t *big = NULL;
	struct err why;
	uint8_t *p;
	int r;

	if (bad || q->len > NBD_PAYLOAD_MAX) {
		r = nbd_take(c, NULL, q->len, e);
		return r < 0 ? r
			     : answer_error(c, q, NBD_EINVAL,
					    bad ? bad : "more than 32 MiB in one write", e);
	}
	if (q->len <= NBD_BUFFER) {
		r = q->len ? nbd_need(c, q->len, &p, e) : 1;
		if (r <= 0)
			return r < 0 ? r
				     : err_set(e, -EPIPE, "the NBD client left in mid-sentence");
		r = q->len ? disk_write(c->export->disk, q->off, p, q->len, &why) : 0;
		nbd_used(c, q->len);
		return finish_write(c, q, r, &why, e);
	}
	big = malloc(q->len);
	r = nbd_take(c, big, q->len, e);
	if (r < 0)
		return r;
	if (!big)
		return answer_error(c, q, NBD_ENOMEM, "out of memory", e);
	r = disk_write(c->export->disk, q->off, big, q->len, &why);
	return finish_write(c, q, r, &why, e);
}

/* ---- where data is ---- */

struct spans {
	unsigned n;
	struct {
		uint64_t len, flags;
	} v[EXTENTS_MAX];
};

static uint64_t state_of(unsigned ctx, const struct disk_map *m)
{
	if (ctx == NBD_CTX_DEPTH)
		return m->status == DISK_IS_HOLE ? 0 : m->depth + 1;
	if (m->status == DISK_IS_DATA)
		return 0;
	return m->status == DISK_IS_HOLE || m->in_file ? NBD_STATE_HOLE | NBD_STATE_ZERO
						       : NBD_STATE_ZERO;
}

static int collect(struct nbd_conn *c, const struct request *q, unsigned ctx, struct spans *s,
		   struct err *e)
{
	uint64_t off = q->off, end = q->off + q->len;

	s->n = 0;
	while (off < end) {
		struct disk_map m;
		uint64_t flags;
		int r = disk_map(c->export->disk, off, &m, e);

		if (r < 0)
			return s->n ? 0 : r;
		m.len = MIN(m.len, end - off);
		/* Before extended headers a length has 32 bits. */
		if (!c->extended)
			m.len = MIN(m.len, UINT64_C(1) << 31);
		flags = state_of(ctx, &m);
		if (s->n && s->v[s->n - 1].flags == flags &&
		    (c->extended || s->v[s->n - 1].len + m.len <= UINT64_C(1) << 31)) {
			s->v[s->n - 1].len += m.len;
		} else {
			if (s->n == EXTENTS_MAX || (s->n && q->flags & NBD_REQ_ONE))
				return 0;
			s->v[s->n].len = m.len;
			s->v[s->n++].flags = flags;
		}
		off += m.len;
	}
	return 0;
}

static int tell_spans(struct nbd_conn *c, const struct request *q, unsigned ctx, bool last,
		      const struct spans *s, struct err *e)
{
	size_t head = head_len(c), each = c->extended ? 16 : 8, intro = c->extended ? 8 : 4;
	uint8_t *p = nbd_room(c, head + intro + s->n * each, e);

	if (!p)
		return -EPIPE;
	put_head(c, p, q, last ? NBD_CHUNK_DONE : 0,
		 c->extended ? NBD_CHUNK_STATUS_EXT : NBD_CHUNK_STATUS, intro + s->n * each);
	p += head;
	put_be32(p, ctx);
	if (c->extended)
		put_be32(p + 4, s->n);
	p += intro;
	for (unsigned i = 0; i < s->n; i++, p += each) {
		if (c->extended) {
			put_be64(p, s->v[i].len);
			put_be64(p + 8, s->v[i].flags);
		} else {
			put_be32(p, (uint32_t)s->v[i].len);
			put_be32(p + 4, (uint32_t)s->v[i].flags);
		}
	}
	return 0;
}

static int do_status(struct nbd_conn *c, const struct request *q, struct err *e)
{
	autofree struct spans *s = malloc(sizeof(*s));
	unsigned left = c->contexts;
	int r = 0;

	if (!left || !q->len)
		return answer_error(c, q, NBD_EINVAL, "no context was chosen, or no bytes", e);
	if (!s)
		return answer_error(c, q, NBD_ENOMEM, "out of memory", e);
	for (unsigned k = 1; r == 0 && left; k++) {
		struct err why;

		if (!(left & 1u << (k - 1)))
			continue;
		left &= ~(1u << (k - 1));
		r = collect(c, q, k, s, &why);
		if (r < 0)
			return answer_error(c, q, nbd_errno(r), why.msg, e);
		r = tell_spans(c, q, k, !left, s, e);
	}
	return r;
}

/* ---- one request ---- */

static const struct {
	bool writes, has_range;
	uint16_t flags;
} commands[NBD_CMDS] = {
	[NBD_CMD_READ] = { false, true, NBD_DF },
	[NBD_CMD_WRITE] = { true, true, NBD_FUA | NBD_PAYLOAD_LEN },
	[NBD_CMD_DISC] = { false, false, NBD_FUA },
	[NBD_CMD_FLUSH] = { false, false, 0 },
	[NBD_CMD_TRIM] = { true, true, NBD_FUA },
	[NBD_CMD_CACHE] = { false, true, 0 },
	[NBD_CMD_WRITE_ZEROES] = { true, true, NBD_FUA | NBD_NO_HOLE | NBD_FAST_ZERO },
	[NBD_CMD_BLOCK_STATUS] = { false, true, NBD_REQ_ONE },
};

/* Why it cannot be carried out; NULL: it can. */
static const char *check(const struct nbd_conn *c, const struct request *q, int *error)
{
	*error = NBD_EINVAL;
	if (q->type >= NBD_CMDS)
		return "unknown command";
	if (q->flags & ~commands[q->type].flags)
		return "flags that this command does not have";
	if (commands[q->type].writes && nbd_flags(c->export) & NBD_READ_ONLY) {
		*error = NBD_EPERM;
		return "the export is read-only";
	}
	if (commands[q->type].has_range &&
	    !range_fits(q->off, q->len, disk_size(c->export->disk))) {
		if (commands[q->type].writes && q->type != NBD_CMD_TRIM)
			*error = NBD_ENOSPC;
		return "past the end of the disk";
	}
	if (q->flags & NBD_FAST_ZERO) {
		*error = NBD_ENOTSUP;
		return "zeroes may be slow";
	}
	return NULL;
}

static int carry_out(struct nbd_conn *c, const struct request *q, struct err *e)
{
	struct disk *d = c->export->disk;
	struct err why;
	int error, r;
	const char *bad = check(c, q, &error);

	if (q->type == NBD_CMD_WRITE && !bad)
		return do_write(c, q, NULL, e);
	/* A payload that will not be used must not be taken for the next request. */
	if (q->type == NBD_CMD_WRITE || (c->extended && q->flags & NBD_PAYLOAD_LEN)) {
		r = nbd_take(c, NULL, q->len, e);
		if (r < 0)
			return r;
	}
	if (bad)
		return answer_error(c, q, error, bad, e);
	switch (q->type) {
	case NBD_CMD_READ: return do_read(c, q, e);
	case NBD_CMD_FLUSH: return answer(c, q, disk_flush(d, &why), &why, e);
	case NBD_CMD_TRIM:
		return finish_write(c, q, disk_discard(d, q->off, q->len, &why), &why, e);
	case NBD_CMD_CACHE: return answer_done(c, q, e);
	case NBD_CMD_WRITE_ZEROES:
		r = disk_zero(d, q->off, q->len, !(q->flags & NBD_NO_HOLE), &why);
		return finish_write(c, q, r, &why, e);
	case NBD_CMD_BLOCK_STATUS: return do_status(c, q, e);
	}
	return answer_error(c, q, NBD_EINVAL, "unknown command", e);
}

/* 1: there was one; 0: the client left. */
static int next_request(struct nbd_conn *c, struct request *q, struct err *e)
{
	size_t len = c->extended ? NBD_REQ_EXT_BYTES : NBD_REQ_BYTES;
	uint8_t *p;
	int r = nbd_need(c, len, &p, e);

	if (r <= 0)
		return r;
	if (be32(p) != (c->extended ? NBD_REQ_EXT : NBD_REQ_MAGIC))
		return err_set(e, -EPROTO, "the NBD client lost its framing");
	q->flags = be16(p + 4);
	q->type = be16(p + 6);
	q->cookie = be64(p + 8);
	q->off = be64(p + 16);
	q->len = c->extended ? be64(p + 24) : be32(p + 24);
	nbd_used(c, len);
	return 1;
}

static int serve(struct nbd_conn *c, void (*ready)(void *arg), struct err *e)
{
	struct request q;
	int r = nbd_handshake(c, e);

	if (r <= 0)
		return r;
	if (ready)
		ready(c->io->arg);
	while ((r = next_request(c, &q, e)) > 0) {
		if (q.type == NBD_CMD_DISC)
			break;
		r = carry_out(c, &q, e);
		if (r < 0)
			return r;
	}
	return r < 0 ? r : nbd_push(c, e);
}

int nbd_serve(const struct nbd_io *io, const struct nbd_export *exports, unsigned n,
	      void (*ready)(void *arg), struct err *e)
{
	struct nbd_conn c = { .io = io, .exports = exports, .n = n };
	autofree uint8_t *bufs = malloc(2 * NBD_BUFFER);

	if (!bufs)
		return err_nomem(e);
	c.in = bufs;
	c.out = bufs + NBD_BUFFER;
	return serve(&c, ready, e);
}
