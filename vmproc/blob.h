/*
 * blob.h - a file the guest is loaded from (kernel, initial RAM disk, firmware). It is mapped, not
 * read: between two loads it costs no memory. Main thread.
 */
#ifndef VMPROC_BLOB_H
#define VMPROC_BLOB_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct machine_blob;

struct blob {
	char *name; /* for messages */
	int fd;
	uint8_t *data; /* NULL: there is none */
	size_t len;
};

/* The fd stays the caller's. max: bytes. */
int blob_open(struct blob *b, int fd, const char *name, size_t max, struct err *e);
void blob_close(struct blob *b);

struct machine_blob blob_view(const struct blob *b);

/* Before it is read again: is all of it still there? A mapping cannot tell but by SIGBUS. */
int blob_check(const struct blob *b, struct err *e);
/* It is not needed for now: forget its pages. */
void blob_rest(const struct blob *b);

#endif
