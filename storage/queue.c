/*
 * A device's queue on a disk. Requests that can be answered at once are; plain reads and writes
 * go to io_uring; the rest goes to the threads. Everything here runs on the thread of the queue's
 * loop but queue_finished(), which pool threads call.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/loop.h"
#include "storage/queue.h"

enum { POOL_THREADS = 4, DEPTH = 4096 };

void queue_ready(struct disk_queue *q, struct disk_req *req, int result)
{
	req->result = result;
	req->next = NULL;
	*q->ready_tail = req;
	q->ready_tail = &req->next;
}

/* done() may submit again; that only adds to the list which is walked here. */
static void deliver(struct disk_queue *q)
{
	struct disk_req *req;

	if (q->delivering)
		return;
	q->delivering = true;
	while ((req = q->ready)) {
		q->ready = req->next;
		if (!q->ready)
			q->ready_tail = &q->ready;
		q->in_flight--;
		req->done(req, req->result);
	}
	q->delivering = false;
}

void queue_finished(struct disk_queue *q, struct disk_req *req)
{
	uint64_t one = 1;
	bool first;

	pthread_mutex_lock(&q->lock);
	first = !q->finished;
	req->next = q->finished;
	q->finished = req;
	/* Under the lock: the queue may be freed as soon as its owner sees this request. */
	if (first && write(q->wake_fd, &one, sizeof(one)) < 0)
		first = false;
	pthread_mutex_unlock(&q->lock);
}

void queue_to_pool(struct disk_queue *q, struct disk_req *req)
{
	pool_push(q->pool, req);
}

static void take_finished(struct disk_queue *q)
{
	struct disk_req *list, *next, *in_order = NULL;

	pthread_mutex_lock(&q->lock);
	list = q->finished;
	q->finished = NULL;
	pthread_mutex_unlock(&q->lock);
	for (; list; list = next) {
		next = list->next;
		list->next = in_order;
		in_order = list;
	}
	for (; in_order; in_order = next) {
		next = in_order->next;
		queue_ready(q, in_order, in_order->result);
	}
}

/* A short transfer or a "not now" is finished by a thread, which starts over. */
static void take_from_ring(struct disk_queue *q)
{
	struct disk_req *req;
	int n;

	while ((req = ring_pop(q->ring, &n))) {
		if (n >= 0 && (uint64_t)n == req->len && req->op == DISK_WRITE)
			file_grown(req->file, req->file_off + req->len);
		direct_release(q->disk, req);
		if (n >= 0 && (uint64_t)n == req->len)
			queue_ready(q, req, 0);
		else
			queue_to_pool(q, req);
	}
}

static void queue_wake(void *arg, int fd, unsigned events)
{
	struct disk_queue *q = arg;
	uint64_t n;

	(void)events;
	if (read(fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		return;
	take_finished(q);
	if (q->ring)
		take_from_ring(q);
	deliver(q);
}

static void ring_flush(struct disk_queue *q)
{
	if (q->ring_dirty && !q->plugged)
		ring_submit(q->ring);
	if (!q->plugged)
		q->ring_dirty = false;
}

static void submit_now(struct disk_queue *q, struct disk_req *req)
{
	switch (direct_try(q->disk, req)) {
	case DIRECT_DONE: queue_ready(q, req, 0); break;
	case DIRECT_AIM:
		if (q->ring && ring_push(q->ring, req)) {
			q->ring_dirty = true;
			ring_flush(q);
			break;
		}
		direct_release(q->disk, req);
		__attribute__((fallthrough));
	case DIRECT_NO: queue_to_pool(q, req); break;
	}
}

/* In the order in which they came. all: the limits do not count any more. */
static void let_go_held(struct disk_queue *q, bool all)
{
	int64_t wait = 0;

	while (q->held) {
		struct disk_req *req = q->held;

		wait = all ? 0 : throttle(q->disk, req);
		if (wait)
			break;
		q->held = req->next;
		if (!q->held)
			q->held_tail = &q->held;
		submit_now(q, req);
	}
	loop_timer_set(q->held_timer, q->held ? wait : -1);
	deliver(q);
}

static void held_time(void *arg)
{
	let_go_held(arg, false);
}

void disk_queue_submit(struct disk_queue *q, struct disk_req *req)
{
	int r = engine_check(q->disk, req, req->e);
	int64_t wait = 0;

	req->queue = q;
	q->in_flight++;
	if (r < 0) {
		queue_ready(q, req, r);
		deliver(q);
		return;
	}
	if (!q->held)
		wait = throttle(q->disk, req);
	if (q->held || wait) {
		if (!q->held)
			loop_timer_set(q->held_timer, wait);
		req->next = NULL;
		*q->held_tail = req;
		q->held_tail = &req->next;
		return;
	}
	submit_now(q, req);
	deliver(q);
}

void disk_queue_plug(struct disk_queue *q)
{
	q->plugged++;
}

void disk_queue_unplug(struct disk_queue *q)
{
	q->plugged--;
	ring_flush(q);
}

/* seccomp: poll */
void disk_queue_drain(struct disk_queue *q)
{
	struct pollfd p = { .fd = q->wake_fd, .events = POLLIN };

	let_go_held(q, true);
	if (q->ring)
		ring_submit(q->ring);
	q->ring_dirty = false;
	deliver(q);
	while (q->in_flight && !q->delivering) {
		let_go_held(q, true); /* done() may have submitted again */
		if (!q->in_flight)
			break;
		if (poll(&p, 1, -1) == 1)
			queue_wake(q, q->wake_fd, LOOP_READ);
		if (q->ring)
			ring_submit(q->ring);
	}
}

enum disk_engine disk_queue_engine(const struct disk_queue *q)
{
	return q->ring ? DISK_ENGINE_URING : DISK_ENGINE_THREADS;
}

static int join_pool(struct disk_queue *q, struct err *e)
{
	struct disk *d = q->disk;
	int r = 0;

	pthread_mutex_lock(&d->pool_lock);
	if (!d->pool)
		r = pool_new(POOL_THREADS, &d->pool, e);
	if (r == 0) {
		d->pool_users++;
		q->pool = d->pool;
	}
	pthread_mutex_unlock(&d->pool_lock);
	return r;
}

static void leave_pool(struct disk_queue *q)
{
	struct disk *d = q->disk;
	struct pool *last = NULL;

	pthread_mutex_lock(&d->pool_lock);
	if (--d->pool_users == 0)
		last = take(d->pool);
	pthread_mutex_unlock(&d->pool_lock);
	if (last)
		pool_free(last);
}

/* seccomp setup: eventfd2 - queues of disks */
static int queue_init(struct disk_queue *q, struct loop *l, unsigned depth, enum disk_engine engine,
		      struct err *e)
{
	int r = 0;

	q->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (q->wake_fd < 0)
		return err_sys(e, "cannot make a queue for a disk");
	if (engine != DISK_ENGINE_THREADS) {
		r = ring_new(MIN(MAX(depth, 1), DEPTH), q->wake_fd, &q->ring, e);
		if (r < 0 && engine == DISK_ENGINE_URING)
			return r;
	}
	r = loop_timer(l, held_time, q, &q->held_timer, e);
	if (r == 0)
		r = join_pool(q, e);
	return r < 0 ? r : loop_fd(l, q->wake_fd, LOOP_READ, queue_wake, q, &q->watch, e);
}

int disk_queue_new(struct disk *d, struct loop *l, unsigned depth, enum disk_engine engine,
		   struct disk_queue **ret, struct err *e)
{
	struct disk_queue *q = calloc(1, sizeof(*q));
	int r;

	if (!q)
		return err_nomem(e);
	q->disk = d;
	q->ready_tail = &q->ready;
	q->held_tail = &q->held;
	pthread_mutex_init(&q->lock, NULL);
	r = queue_init(q, l, depth, engine, e);
	if (r < 0)
		disk_queue_free(q);
	else
		*ret = q;
	return r;
}

void disk_queue_free(struct disk_queue *q)
{
	if (!q)
		return;
	if (q->pool) {
		disk_queue_drain(q);
		leave_pool(q);
	}
	loop_watch_free(q->watch);
	loop_watch_free(q->held_timer);
	if (q->ring)
		ring_free(q->ring);
	if (q->wake_fd >= 0)
		close(q->wake_fd);
	pthread_mutex_destroy(&q->lock);
	free(q);
}
