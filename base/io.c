#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/own.h"

int read_full(int fd, void *buf, size_t len, struct err *e)
{
	while (len) {
		ssize_t n = read(fd, buf, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "read");
		if (n == 0)
			return err_set(e, -EIO, "the file ends too early");
		buf = (char *)buf + n;
		len -= (size_t)n;
	}
	return 0;
}

int write_full(int fd, const void *buf, size_t len, struct err *e)
{
	while (len) {
		ssize_t n = write(fd, buf, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "write");
		buf = (const char *)buf + n;
		len -= (size_t)n;
	}
	return 0;
}

int pread_full(int fd, void *buf, size_t len, uint64_t off, struct err *e)
{
	while (len) {
		ssize_t n = pread(fd, buf, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "read at byte %llu", (unsigned long long)off);
		if (n == 0)
			return err_set(e, -EIO, "the file ends at byte %llu, too early",
				       (unsigned long long)off);
		buf = (char *)buf + n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int pwrite_full(int fd, const void *buf, size_t len, uint64_t off, struct err *e)
{
	while (len) {
		ssize_t n = pwrite(fd, buf, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "write at byte %llu", (unsigned long long)off);
		buf = (const char *)buf + n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int file_read_at(int dir, const char *name, size_t max, char **data, size_t *len, struct err *e)
{
	autoclose int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	autofree char *buf = NULL;
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, "cannot open %s", name);
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EINVAL, "%s is not a regular file", name);
	if ((uint64_t)st.st_size > max)
		return err_set(e, -EFBIG, "%s has %llu bytes, more than the %zu allowed", name,
			       (unsigned long long)st.st_size, max);
	buf = malloc((size_t)st.st_size + 1);
	if (!buf)
		return err_nomem(e);
	r = read_full(fd, buf, (size_t)st.st_size, e);
	if (r < 0)
		return err_in(e, "%s", name);
	buf[st.st_size] = 0;
	*len = (size_t)st.st_size;
	*data = take(buf);
	return 0;
}

int file_read(const char *path, size_t max, char **data, size_t *len, struct err *e)
{
	return file_read_at(AT_FDCWD, path, max, data, len, e);
}

static int write_aside(int dir, const char *aside, const void *data, size_t len, bool sync,
		       struct err *e)
{
	autoclose int fd =
	    openat(dir, aside, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r;

	if (fd < 0)
		return err_sys(e, "cannot create %s", aside);
	r = write_full(fd, data, len, e);
	if (r < 0)
		return err_in(e, "%s", aside);
	if (sync && fsync(fd) < 0)
		return err_sys(e, "cannot sync %s", aside);
	return 0;
}

/* The rename is only safe from a power cut when the directory is synced too. */
static int sync_parent(int dir, const char *name, struct err *e)
{
	char parent[PATH_MAX];
	autoclose int fd = -1;

	snprintf(parent, sizeof(parent), "%s", name);
	fd = openat(dir, dirname(parent), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return err_sys(e, "cannot sync the directory of %s", name);
	return 0;
}

static int replace(int dir, const char *name, const void *data, size_t len, bool sync,
		   struct err *e)
{
	char aside[PATH_MAX];
	int r;

	if (snprintf(aside, sizeof(aside), "%s.new", name) >= (int)sizeof(aside))
		return err_set(e, -ENAMETOOLONG, "%s: the name is too long", name);
	r = write_aside(dir, aside, data, len, sync, e);
	if (r < 0) {
		unlinkat(dir, aside, 0);
		return r;
	}
	if (renameat(dir, aside, dir, name) < 0) {
		r = err_sys(e, "cannot replace %s", name);
		unlinkat(dir, aside, 0);
		return r;
	}
	return sync ? sync_parent(dir, name, e) : 0;
}

int file_replace_at(int dir, const char *name, const void *data, size_t len, struct err *e)
{
	return replace(dir, name, data, len, true, e);
}

int file_replace_unsynced_at(int dir, const char *name, const void *data, size_t len, struct err *e)
{
	return replace(dir, name, data, len, false, e);
}
