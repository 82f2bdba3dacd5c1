/*
 * nbd_client.h - between the files of the NBD client: a remote disk and its connections. Any
 * thread; a connection is used by one at a time.
 */
#ifndef STORAGE_NBD_CLIENT_H
#define STORAGE_NBD_CLIENT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"
#include "storage/file.h"

enum { LINKS_MAX = 4 };

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

/* nbd_client.c: all of the bytes, or an error of kind "disk.remote". send changes iov. */
int nbd_send_all(struct nbd_file *n, int fd, struct iovec *iov, int k, struct err *e);
int nbd_recv_all(struct nbd_file *n, int fd, void *buf, size_t len, struct err *e);
int nbd_skip(struct nbd_file *n, int fd, uint64_t len, struct err *e);

/* The errors: the connection ended (r: a negative errno, 0 at the end of the stream), or what came
 * is not what the protocol has. */
int nbd_gone(struct nbd_file *n, int r, struct err *e);
int nbd_bad_server(struct nbd_file *n, const char *what, struct err *e);

/* The handshake on a new connection; learns size and flags of the disk. */
int nbd_hello(struct nbd_file *n, int fd, struct err *e);
/* Returns an fd on which requests may be sent; the caller's. */
int nbd_connect(struct nbd_file *n, struct err *e);

/* nbd_uri.c: fills export, and socket or host and port, which are n's. */
int nbd_parse_uri(struct nbd_file *n, const char *uri, struct err *e);

#endif
