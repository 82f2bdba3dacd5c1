/*
 * The handshake of an NBD connection, server's side: the client names options until it has chosen
 * an export (proto.md, "Fixed newstyle negotiation" and "Option types"). On the connection's
 * thread.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/nbd_int.h"

enum { OPTIONS_LIMIT = 1000 }; /* of one client; it shall come to the point */

static const char *const context_names[] = {
	[NBD_CTX_ALLOCATION] = "base:allocation",
	[NBD_CTX_DEPTH] = "qemu:allocation-depth",
};

/* What an option brings: bytes that are read in order. */
struct words {
	const uint8_t *p;
	size_t len;
};

static bool get32(struct words *w, uint32_t *v)
{
	if (w->len < 4)
		return false;
	*v = be32(w->p);
	w->p += 4;
	w->len -= 4;
	return true;
}

static bool get_string(struct words *w, const char **s, uint32_t *len)
{
	if (!get32(w, len) || *len > NBD_STRING_MAX || *len > w->len)
		return false;
	*s = (const char *)w->p;
	w->p += *len;
	w->len -= *len;
	return true;
}

static int reply(struct nbd_conn *c, uint32_t option, uint32_t type, const void *data, size_t len,
		 struct err *e)
{
	uint8_t *p = nbd_room(c, 20 + len, e);

	if (!p)
		return -EPIPE;
	put_be64(p, NBD_REP_MAGIC);
	put_be32(p + 8, option);
	put_be32(p + 12, type);
	put_be32(p + 16, (uint32_t)len);
	if (len)
		memcpy(p + 20, data, len);
	return 0;
}

static int refuse(struct nbd_conn *c, uint32_t option, uint32_t type, const char *why,
		  struct err *e)
{
	return reply(c, option, type, why, strlen(why), e);
}

static const struct nbd_export *find(const struct nbd_conn *c, const char *name, uint32_t len)
{
	for (unsigned i = 0; i < c->n; i++)
		if (strlen(c->exports[i].name) == len && !memcmp(c->exports[i].name, name, len))
			return &c->exports[i];
	/* Who asks for none gets the only one. */
	return !len && c->n == 1 ? &c->exports[0] : NULL;
}

uint16_t nbd_flags(const struct nbd_export *x)
{
	unsigned f = NBD_HAS_FLAGS | NBD_CAN_FLUSH | NBD_CAN_FUA | NBD_CAN_DF;

	/* All connections share one struct disk: a flush on one covers what all have written. */
	f |= NBD_MULTI_CONN;
	if (x->read_only || !disk_writable(x->disk))
		f |= NBD_READ_ONLY;
	else
		f |= NBD_CAN_TRIM | NBD_CAN_ZERO;
	return (uint16_t)f;
}

/* The last word of an old client: there is no answer but the export itself. */
static int export_name(struct nbd_conn *c, const struct words *w, struct err *e)
{
	uint8_t p[10 + 124] = { 0 };

	c->export = find(c, (const char *)w->p, (uint32_t)w->len);
	if (!c->export)
		return err_set(e, -ENOENT, "the NBD client asked for an export that is not there");
	put_be64(p, disk_size(c->export->disk));
	put_be16(p + 8, nbd_flags(c->export));
	return nbd_put(c, p, c->no_zeroes ? 10 : sizeof(p), e);
}

static int list(struct nbd_conn *c, struct err *e)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < c->n; i++) {
		size_t n = strlen(c->exports[i].name);
		uint8_t p[4 + NBD_STRING_MAX];

		n = MIN(n, NBD_STRING_MAX);
		put_be32(p, (uint32_t)n);
		memcpy(p + 4, c->exports[i].name, n);
		r = reply(c, NBD_OPT_LIST, NBD_REP_SERVER, p, 4 + n, e);
	}
	return r < 0 ? r : reply(c, NBD_OPT_LIST, NBD_REP_ACK, NULL, 0, e);
}

static int tell_text(struct nbd_conn *c, uint32_t option, uint16_t info, const char *text,
		     struct err *e)
{
	uint8_t p[2 + NBD_STRING_MAX];
	size_t n = text ? MIN(strlen(text), NBD_STRING_MAX) : 0;

	if (!text)
		return 0;
	put_be16(p, info);
	memcpy(p + 2, text, n);
	return reply(c, option, NBD_REP_INFO, p, 2 + n, e);
}

static int tell_export(struct nbd_conn *c, uint32_t option, const struct nbd_export *x,
		       struct err *e)
{
	uint8_t p[14];
	int r;

	put_be16(p, NBD_INFO_EXPORT);
	put_be64(p + 2, disk_size(x->disk));
	put_be16(p + 10, nbd_flags(x));
	r = reply(c, option, NBD_REP_INFO, p, 12, e);
	put_be16(p, NBD_INFO_BLOCK_SIZE);
	put_be32(p + 2, 1);
	put_be32(p + 6, MAX(4096, MIN(disk_unit(x->disk), 64 << 10)));
	put_be32(p + 10, NBD_PAYLOAD_MAX);
	return r < 0 ? r : reply(c, option, NBD_REP_INFO, p, 14, e);
}

/* INFO and GO. The kinds of information it asks for are all given anyway. */
static int info(struct nbd_conn *c, uint32_t option, struct words w, struct err *e)
{
	const struct nbd_export *x;
	const char *name;
	uint32_t len;
	int r;

	if (!get_string(&w, &name, &len) || w.len < 2 || w.len - 2 != 2u * be16(w.p))
		return refuse(c, option, NBD_REP_ERR_INVALID, "malformed", e);
	x = find(c, name, len);
	if (!x)
		return refuse(c, option, NBD_REP_ERR_UNKNOWN, "there is no such export", e);
	r = tell_export(c, option, x, e);
	if (r == 0)
		r = tell_text(c, option, NBD_INFO_NAME, x->name, e);
	if (r == 0)
		r = tell_text(c, option, NBD_INFO_DESCRIPTION, x->description, e);
	if (r == 0)
		r = reply(c, option, NBD_REP_ACK, NULL, 0, e);
	if (r == 0 && option == NBD_OPT_GO)
		c->export = x;
	return r;
}

/* "base:" and "qemu:" ask for all of a family, but only in a list. */
static bool fits(const char *query, uint32_t len, const char *name, bool listing)
{
	const char *colon = strchr(name, ':');

	if (strlen(name) == len && !memcmp(query, name, len))
		return true;
	return listing && len == (size_t)(colon - name) + 1 && !memcmp(query, name, len);
}

static int tell_context(struct nbd_conn *c, uint32_t option, unsigned ctx, struct err *e)
{
	uint8_t p[4 + 64];
	size_t n = strlen(context_names[ctx]);

	put_be32(p, option == NBD_OPT_SET_META ? ctx : 0);
	memcpy(p + 4, context_names[ctx], n);
	return reply(c, option, NBD_REP_META, p, 4 + n, e);
}

static int contexts(struct nbd_conn *c, uint32_t option, struct words w, struct err *e)
{
	bool listing = option == NBD_OPT_LIST_META;
	const struct nbd_export *x;
	const char *name, *query;
	uint32_t len, n, qlen;
	unsigned chosen = 0;
	int r = 0;

	if (!get_string(&w, &name, &len) || !get32(&w, &n) || (!c->structured && !c->extended))
		return refuse(c, option, NBD_REP_ERR_INVALID, "malformed, or too early", e);
	x = find(c, name, len);
	if (!x)
		return refuse(c, option, NBD_REP_ERR_UNKNOWN, "there is no such export", e);
	if (listing && !n)
		chosen = (1u << NBD_CTXS) - 1;
	for (uint32_t i = 0; i < n; i++) {
		if (!get_string(&w, &query, &qlen))
			return refuse(c, option, NBD_REP_ERR_INVALID, "malformed", e);
		for (unsigned k = 1; k <= NBD_CTXS; k++)
			if (fits(query, qlen, context_names[k], listing))
				chosen |= 1u << (k - 1);
	}
	if (w.len)
		return refuse(c, option, NBD_REP_ERR_INVALID, "malformed", e);
	for (unsigned k = 1; r == 0 && k <= NBD_CTXS; k++)
		if (chosen & 1u << (k - 1))
			r = tell_context(c, option, k, e);
	if (!listing) {
		c->contexts = chosen;
		c->contexts_of = x;
	}
	return r < 0 ? r : reply(c, option, NBD_REP_ACK, NULL, 0, e);
}

static int simple_switch(struct nbd_conn *c, uint32_t option, const struct words *w, bool *flag,
			 struct err *e)
{
	if (w->len)
		return refuse(c, option, NBD_REP_ERR_INVALID, "it takes no data", e);
	*flag = true;
	return reply(c, option, NBD_REP_ACK, NULL, 0, e);
}

/* 1: go on with requests; 0: with the next option; or an error, also when the client left. */
static int one_option(struct nbd_conn *c, uint32_t option, const struct words *w, struct err *e)
{
	int r;

	switch (option) {
	case NBD_OPT_EXPORT_NAME: r = export_name(c, w, e); break;
	case NBD_OPT_ABORT:
		reply(c, option, NBD_REP_ACK, NULL, 0, e);
		nbd_push(c, e);
		return err_set(e, -ESHUTDOWN, "the NBD client left during the handshake");
	case NBD_OPT_LIST:
		r = w->len ? refuse(c, option, NBD_REP_ERR_INVALID, "it takes no data", e)
			   : list(c, e);
		break;
	case NBD_OPT_INFO:
	case NBD_OPT_GO: r = info(c, option, *w, e); break;
	case NBD_OPT_STRUCTURED: r = simple_switch(c, option, w, &c->structured, e); break;
	case NBD_OPT_EXTENDED: r = simple_switch(c, option, w, &c->extended, e); break;
	case NBD_OPT_LIST_META:
	case NBD_OPT_SET_META: r = contexts(c, option, *w, e); break;
	default: r = refuse(c, option, NBD_REP_ERR_UNSUP, "unknown option", e);
	}
	return r < 0 ? r : c->export != NULL;
}

static int next_option(struct nbd_conn *c, struct err *e)
{
	struct words w;
	uint32_t option, len;
	uint8_t *p;
	int r = nbd_need(c, 16, &p, e);

	if (r <= 0)
		return r < 0 ? r : err_set(e, -ESHUTDOWN, "the NBD client left");
	if (be64(p) != NBD_OPT_MAGIC)
		return err_set(e, -EPROTO, "the NBD client speaks something else");
	option = be32(p + 8);
	len = be32(p + 12);
	nbd_used(c, 16);
	if (len > NBD_OPTION_MAX) {
		r = nbd_take(c, NULL, len, e);
		return r < 0 ? r : refuse(c, option, NBD_REP_ERR_TOO_BIG, "too long", e);
	}
	r = nbd_need(c, len, &p, e);
	if (r <= 0 && len)
		return r < 0 ? r : err_set(e, -EPIPE, "the NBD client left in mid-sentence");
	w = (struct words){ c->in + c->in_at, len };
	/* The answer may not move the buffer: it only fills the other one. */
	r = one_option(c, option, &w, e);
	nbd_used(c, len);
	return r;
}

int nbd_handshake(struct nbd_conn *c, struct err *e)
{
	uint8_t hello[18], *p;
	uint32_t flags;
	int r;

	put_be64(hello, NBD_MAGIC);
	put_be64(hello + 8, NBD_OPT_MAGIC);
	put_be16(hello + 16, NBD_FIXED | NBD_NO_ZEROES);
	r = nbd_put(c, hello, sizeof(hello), e);
	if (r == 0)
		r = nbd_need(c, 4, &p, e);
	if (r <= 0)
		return r;
	flags = be32(p);
	nbd_used(c, 4);
	if (flags & ~(uint32_t)(NBD_FIXED | NBD_NO_ZEROES))
		return err_set(e, -EPROTO, "the NBD client has flags %#x, which are not known",
			       flags);
	c->no_zeroes = flags & NBD_NO_ZEROES;
	for (int i = 0; i < OPTIONS_LIMIT; i++) {
		r = next_option(c, e);
		if (r)
			break;
	}
	if (r == 0)
		return err_set(e, -EPROTO, "the NBD client does not come to the point");
	if (r > 0 && c->contexts_of != c->export)
		c->contexts = 0;
	return r;
}
