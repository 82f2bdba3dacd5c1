/*
 * io.h - whole reads and writes. Each goes on after EINTR and short transfers, and is all or an
 * error; the sentence of the error does not name the file, the caller adds that with err_in().
 */
#ifndef BASE_IO_H
#define BASE_IO_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

int read_full(int fd, void *buf, size_t len, struct err *e);
int write_full(int fd, const void *buf, size_t len, struct err *e);
int pread_full(int fd, void *buf, size_t len, uint64_t off, struct err *e);
int pwrite_full(int fd, const void *buf, size_t len, uint64_t off, struct err *e);

/* A whole file in memory (free it); a NUL follows that *len does not count. Refuses more than max.
 */
int file_read(const char *path, size_t max, char **data, size_t *len, struct err *e);
int file_read_at(int dir, const char *name, size_t max, char **data, size_t *len, struct err *e);

/*
 * Replace a file as a whole: written aside, synced, renamed, directory synced. After a crash the
 * old or the new content is there, never a mixture. dir may be AT_FDCWD.
 */
int file_replace_at(int dir, const char *name, const void *data, size_t len, struct err *e);

/* The same without syncing: safe from the end of this process, not from a power cut. */
int file_replace_unsynced_at(int dir, const char *name, const void *data, size_t len,
			     struct err *e);

#endif
