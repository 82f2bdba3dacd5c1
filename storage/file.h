/*
 * file.h - one host file under an image. Formats and the engine see files only through this, so
 * that tests can put a recorder, a fault or plain memory below them.
 *
 * Any thread. Reads and writes are whole or an error. What lies past the end reads as zeroes
 * (the last block of an image may be cut short); a format that must not read there checks with
 * file_has() first.
 */
#ifndef STORAGE_FILE_H
#define STORAGE_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/own.h"

struct file;

struct file_ops {
	int (*readv)(struct file *f, uint64_t off, const struct iovec *iov, int n, struct err *e);
	int (*writev)(struct file *f, uint64_t off, const struct iovec *iov, int n, struct err *e);
	/* punch: give the space back. -EOPNOTSUPP: the caller writes zeroes. */
	int (*zero)(struct file *f, uint64_t off, uint64_t len, bool punch, struct err *e);
	int (*truncate)(struct file *f, uint64_t size, struct err *e);
	int (*sync)(struct file *f, struct err *e);
	/* How far from off on the file is all data (true) or all hole (false). */
	bool (*is_data)(struct file *f, uint64_t off, uint64_t *len);
	void (*close)(struct file *f); /* frees f */
};

struct file {
	const struct file_ops *ops;
	int fd; /* -1: not a host file, nothing may go around ops */
	bool writable;
	bool directory;                       /* a folder: it has an fd and no bytes */
	bool unsafe;                          /* syncs are left out */
	bool no_nowait_write, no_nowait_read; /* remembered: the file system cannot */
	bool no_zero, no_punch;
	uint32_t align;    /* of memory, offset and length for an O_DIRECT file; else 1 */
	uint64_t size;     /* only through file_size() */
	char *name;        /* for sentences; owned */
	uint64_t dev, ino; /* tell files apart; 0 when it is not a host file */
};

/* A regular file or a block device, or, to be read, a folder. The fd becomes the file's, also on
 * failure. */
int file_from_fd(int fd, const char *name, bool write, struct file **ret, struct err *e);
/* A file in memory that starts with a copy of data. limit: how large it may become. */
int file_in_memory(const void *data, size_t len, uint64_t limit, struct file **ret, struct err *e);
/* The bytes of a file in memory, as long as it is not written. */
const uint8_t *file_memory(struct file *f, size_t *len);

void file_close(struct file *f);

static inline uint64_t file_size(struct file *f)
{
	return __atomic_load_n(&f->size, __ATOMIC_ACQUIRE);
}

/* After a write that may have made the file longer. */
void file_grown(struct file *f, uint64_t end);

bool file_has(struct file *f, uint64_t off, uint64_t len);

int file_pread(struct file *f, uint64_t off, void *buf, size_t len, struct err *e);
int file_pwrite(struct file *f, uint64_t off, const void *buf, size_t len, struct err *e);
int file_preadv(struct file *f, uint64_t off, const struct iovec *iov, int n, struct err *e);
int file_pwritev(struct file *f, uint64_t off, const struct iovec *iov, int n, struct err *e);
/* Always leaves zeroes; writes them when the host has no better way. */
int file_zero(struct file *f, uint64_t off, uint64_t len, bool punch, struct err *e);
int file_truncate(struct file *f, uint64_t size, struct err *e);
int file_sync(struct file *f, struct err *e);
/* The space is not needed; nothing happens when the host cannot give it back. */
void file_discard(struct file *f, uint64_t off, uint64_t len);

/* ZERO_BYTES bytes of zeroes; nothing may write them. */
const void *zero_bytes(void);
#define ZERO_BYTES (64u << 10)

/* Are all of these bytes zero? */
bool bytes_are_zero(const void *p, size_t len);

AUTOPTR(file, file_close)

#endif
