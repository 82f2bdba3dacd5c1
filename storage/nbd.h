/*
 * nbd.h - disks over a socket: a server that exports open disks, and a remote disk as a file.
 *
 * The server has a thread for each connection. What a client sends at once is answered at once:
 * requests are taken from one buffer and answers gathered in another, so a deep queue costs few
 * system calls. A bad request is answered and its payload skipped; the connection ends when its
 * framing is lost.
 */
#ifndef STORAGE_NBD_H
#define STORAGE_NBD_H

#include "storage/disk.h"

struct nbd_export {
	const char *name; /* "" is what a client gets that asks for none */
	const char *description;
	struct disk *disk;
	bool read_only; /* also when the disk is writable */
};

/* Where the bytes of a connection come from and go to; so tests need no socket. */
struct nbd_io {
	/* Like recv() and send(): at least one byte, 0 at the end, or a negative errno. */
	ssize_t (*recv)(void *arg, void *buf, size_t len);
	ssize_t (*send)(void *arg, const struct iovec *iov, int n);
	void *arg;
};

/*
 * Serves one client until it leaves; on the calling thread. 0: it left in good order. The exports
 * must outlive the call. ready() is called once, when the handshake is done; may be NULL.
 */
int nbd_serve(const struct nbd_io *io, const struct nbd_export *exports, unsigned n,
	      void (*ready)(void *arg), struct err *e);

struct nbd_server;

struct nbd_server_config {
	const struct nbd_export *exports; /* outlive the server */
	unsigned n;
	unsigned clients_max; /* 0: 100 */
	bool until_idle;      /* end when the last client has left */
};

/* listen_fd becomes the server's, also on failure. */
int nbd_server_new(int listen_fd, const struct nbd_server_config *c, struct nbd_server **ret,
		   struct err *e);
/* Until stop_fd becomes readable. Then what is in flight ends, and connections are closed. */
int nbd_server_run(struct nbd_server *s, int stop_fd, struct err *e);
void nbd_server_free(struct nbd_server *s);

/* "nbd+unix:///EXPORT?socket=PATH", "nbd://HOST[:PORT]/EXPORT" */
bool nbd_is_uri(const char *s);

AUTOPTR(nbd_server, nbd_server_free)

#endif
