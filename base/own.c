#include "base/own.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

void free_ptr(void *p)
{
	free(*(void **)p);
}

void close_fd(const int *fd)
{
	int keep = errno;

	if (*fd >= 0)
		close(*fd);
	errno = keep;
}
