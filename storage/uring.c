/*
 * One io_uring for one queue: plain reads and writes of host files. The thread of the queue's loop
 * only. Everything may be missing: the library, the kernel's support, the permission.
 */
#include <errno.h>
#include <stdlib.h>

#include "storage/queue.h"

#ifdef HAVE_URING
#include <liburing.h>

struct ring {
	struct io_uring u;
};

/* seccomp setup: io_uring_setup io_uring_register - queues of disks */
int ring_new(unsigned depth, int wake_fd, struct ring **ret, struct err *e)
{
	struct ring *r = calloc(1, sizeof(*r));
	int n;

	if (!r)
		return err_nomem(e);
	n = io_uring_queue_init(depth, &r->u, 0);
	if (n < 0) {
		free(r);
		errno = -n;
		return err_sys(e, "the host does not permit io_uring");
	}
	n = io_uring_register_eventfd(&r->u, wake_fd);
	if (n < 0) {
		ring_free(r);
		errno = -n;
		return err_sys(e, "io_uring cannot wake a thread here");
	}
	*ret = r;
	return 0;
}

bool ring_push(struct ring *r, struct disk_req *req)
{
	struct io_uring_sqe *s = io_uring_get_sqe(&r->u);

	if (!s) {
		ring_submit(r);
		s = io_uring_get_sqe(&r->u);
	}
	if (!s)
		return false;
	if (req->op == DISK_READ)
		io_uring_prep_readv(s, req->file->fd, req->iov, (unsigned)req->iovcnt,
				    req->file_off);
	else
		io_uring_prep_writev(s, req->file->fd, req->iov, (unsigned)req->iovcnt,
				     req->file_off);
	io_uring_sqe_set_data(s, req);
	return true;
}

/* seccomp: io_uring_enter */
void ring_submit(struct ring *r)
{
	while (io_uring_submit(&r->u) == -EINTR)
		;
}

struct disk_req *ring_pop(struct ring *r, int *result)
{
	struct io_uring_cqe *c;
	struct disk_req *req;

	if (io_uring_peek_cqe(&r->u, &c) || !c)
		return NULL;
	req = io_uring_cqe_get_data(c);
	*result = c->res;
	io_uring_cqe_seen(&r->u, c);
	return req;
}

void ring_free(struct ring *r)
{
	io_uring_queue_exit(&r->u);
	free(r);
}

#else

int ring_new(unsigned depth, int wake_fd, struct ring **ret, struct err *e)
{
	(void)depth;
	(void)wake_fd;
	(void)ret;
	return err_set(e, -ENOSYS, "this vmd was built without io_uring");
}

bool ring_push(struct ring *r, struct disk_req *req)
{
	(void)r;
	(void)req;
	return false;
}

void ring_submit(struct ring *r)
{
	(void)r;
}

struct disk_req *ring_pop(struct ring *r, int *result)
{
	(void)r;
	(void)result;
	return NULL;
}

void ring_free(struct ring *r)
{
	(void)r;
}

#endif
