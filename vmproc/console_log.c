#include "vmproc/console_log.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/io.h"
#include "base/own.h"

struct console_log {
	int fd;
	uint64_t size, limit;
	bool broken; /* the disk is full, or worse: try no more */
};

/* seccomp: fcntl, pread64, pwrite64, ftruncate, newfstatat(3=0x1000/0x1000) - console log */
struct console_log *console_log_new(int fd, uint64_t limit)
{
	struct console_log *l = calloc(1, sizeof(*l));
	struct stat st;
	int flags;

	if (!l) {
		close(fd);
		return NULL;
	}
	l->fd = fd;
	l->limit = limit;
	/* Cutting off the front writes at offsets, which O_APPEND would not let us do. */
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_APPEND) < 0 || fstat(fd, &st) < 0)
		l->broken = true;
	else
		l->size = (uint64_t)st.st_size;
	return l;
}

void console_log_free(struct console_log *l)
{
	close(l->fd);
	free(l);
}

/* Move the newer half to the front. */
static int cut(struct console_log *l)
{
	uint64_t from = l->size - l->limit / 2, to = 0;
	char buf[16 << 10];

	while (from < l->size) {
		size_t n = MIN(sizeof(buf), l->size - from);

		if (pread_full(l->fd, buf, n, from, NULL) < 0 ||
		    pwrite_full(l->fd, buf, n, to, NULL) < 0)
			return -1;
		from += n;
		to += n;
	}
	if (ftruncate(l->fd, (off_t)to) < 0)
		return -1;
	l->size = to;
	return 0;
}

static void append(struct console_log *l, const char *text, size_t len)
{
	if (l->broken)
		return;
	if (pwrite_full(l->fd, text, len, l->size, NULL) < 0) {
		l->broken = true;
		return;
	}
	l->size += len;
	if (l->size > l->limit && cut(l) < 0)
		l->broken = true;
}

void console_log_put(struct console_log *l, const char *text, size_t len, uint64_t lost)
{
	char note[64];
	int n;

	if (lost) {
		n = snprintf(note, sizeof(note), "\n[%llu bytes were missed]\n",
			     (unsigned long long)lost);
		append(l, note, (size_t)n);
	}
	append(l, text, len);
}
