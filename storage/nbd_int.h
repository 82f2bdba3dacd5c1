/*
 * nbd_int.h - one connection of a client, between the files of the server: nbd_handshake.c,
 * nbd_serve.c, nbd_server.c. On the thread of the connection.
 */
#ifndef STORAGE_NBD_INT_H
#define STORAGE_NBD_INT_H

#include "storage/format.h"
#include "storage/nbd.h"
#include "storage/nbd_proto.h"

enum nbd_context {
	NBD_CTX_ALLOCATION = 1, /* base:allocation */
	NBD_CTX_DEPTH = 2,      /* qemu:allocation-depth */
	NBD_CTXS = 2
};

#define NBD_BUFFER (256 * KiB)

struct nbd_conn {
	const struct nbd_io *io;
	const struct nbd_export *exports;
	unsigned n;

	const struct nbd_export *export; /* chosen by the handshake */
	bool no_zeroes, structured, extended;
	unsigned contexts; /* bits 1 << (nbd_context - 1) that the client asked for */
	const struct nbd_export *contexts_of;

	uint8_t *in; /* NBD_BUFFER; [in_at, in_end) is not looked at yet */
	size_t in_at, in_end;
	uint8_t *out; /* NBD_BUFFER; the first out_len bytes wait to be sent */
	size_t out_len;
};

/* At least len bytes (at most NBD_BUFFER) at *p; answers that wait go out before it waits itself.
 * 0: the client left before the first of them. */
int nbd_need(struct nbd_conn *c, size_t len, uint8_t **p, struct err *e);
void nbd_used(struct nbd_conn *c, size_t len);
/* Reads len bytes into buf, or throws them away when it is NULL. */
int nbd_take(struct nbd_conn *c, void *buf, uint64_t len, struct err *e);
/* Room for len bytes of an answer; at most NBD_BUFFER. NULL: the client is gone. */
uint8_t *nbd_room(struct nbd_conn *c, size_t len, struct err *e);
int nbd_put(struct nbd_conn *c, const void *data, size_t len, struct err *e);
int nbd_push(struct nbd_conn *c, struct err *e); /* sends what waits */
int nbd_send(struct nbd_conn *c, const struct iovec *iov, int n, struct err *e);

/* 1: c->export is chosen; 0: the client left; or an error. */
int nbd_handshake(struct nbd_conn *c, struct err *e);
uint16_t nbd_flags(const struct nbd_export *x);

#endif
