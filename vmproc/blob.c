#include "vmproc/blob.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "emul/core/machine.h"

/* seccomp setup: mmap(2=0/4), lseek - files the guest is loaded from */
int blob_open(struct blob *b, int fd, const char *name, size_t max, struct err *e)
{
	struct stat st;
	void *map;

	*b = (struct blob){ .name = strdup(name), .fd = -1 };
	if (!b->name)
		return err_nomem(e);
	if (fstat(fd, &st) < 0)
		return err_sys(e, "cannot look at %s", name);
	if (!S_ISREG(st.st_mode)) {
		err_set(e, -EINVAL, "%s is not a regular file", name);
		return err_kind(e, "file.kind");
	}
	if (!st.st_size)
		return err_set(e, -EINVAL, "%s is empty", name);
	if ((uint64_t)st.st_size > max)
		return err_set(e, -EFBIG, "%s has %lld bytes, more than the %zu that fit", name,
			       (long long)st.st_size, max);
	b->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (b->fd < 0)
		return err_sys(e, "cannot keep %s", name);
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, b->fd, 0);
	if (map == MAP_FAILED)
		return err_sys(e, "cannot map %s", name);
	b->data = map;
	b->len = (size_t)st.st_size;
	return 0;
}

void blob_close(struct blob *b)
{
	if (b->data)
		munmap(b->data, b->len);
	if (b->name && b->fd >= 0)
		close(b->fd);
	free(b->name);
	*b = (struct blob){ .fd = -1 };
}

struct machine_blob blob_view(const struct blob *b)
{
	return (struct machine_blob){ .name = b->name, .data = b->data, .len = b->len };
}

int blob_check(const struct blob *b, struct err *e)
{
	struct stat st;

	if (!b->data)
		return 0;
	if (fstat(b->fd, &st) < 0)
		return err_sys(e, "cannot look at %s", b->name);
	if ((uint64_t)st.st_size < b->len) {
		err_set(e, -ENODATA, "%s has become shorter since the VM was started", b->name);
		return err_kind(e, "kernel.truncated");
	}
	return 0;
}

void blob_rest(const struct blob *b)
{
	if (b->data)
		madvise(b->data, b->len, MADV_DONTNEED);
}
