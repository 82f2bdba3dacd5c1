/* queue.h - between queue.c, direct.c, pool.c and uring.c. */
#ifndef STORAGE_QUEUE_H
#define STORAGE_QUEUE_H

#include "storage/engine.h"

struct pool;
struct ring;

struct disk_queue {
	struct disk *disk;
	struct loop_watch *watch;
	int wake_fd;
	struct pool *pool;
	struct ring *ring; /* NULL: threads do everything */
	unsigned in_flight, plugged;
	bool delivering, ring_dirty;
	struct disk_req *ready, **ready_tail; /* finished, done() not called yet */
	struct disk_req *held, **held_tail;   /* back, because of the disk's limits */
	struct loop_watch *held_timer;

	pthread_mutex_t lock; /* guards finished, which pool threads fill */
	struct disk_req *finished;
};

/* queue.c: from a pool thread, req->result is set. */
void queue_finished(struct disk_queue *q, struct disk_req *req);
/* On the loop's thread: done() will be called soon. */
void queue_ready(struct disk_queue *q, struct disk_req *req, int result);
void queue_to_pool(struct disk_queue *q, struct disk_req *req);

/*
 * direct.c: the loop's thread, never waits. DIRECT_DONE: req->result is set. DIRECT_AIM: it is one
 * stretch of a host file (req->file, req->file_off), and its range is held. DIRECT_NO: by the
 * engine.
 */
enum direct { DIRECT_NO, DIRECT_DONE, DIRECT_AIM };
enum direct direct_try(struct disk *d, struct disk_req *req);
void direct_release(struct disk *d, struct disk_req *req);

/* throttle.c: nanoseconds until this request may go; 0: now, and it counts. */
int64_t throttle(struct disk *d, const struct disk_req *req);

/* pool.c: n threads that run requests. Push from any thread. */
int pool_new(unsigned n, struct pool **ret, struct err *e);
void pool_push(struct pool *p, struct disk_req *req);
void pool_free(struct pool *p); /* when nothing is in it */

/* uring.c: the loop's thread. */
int ring_new(unsigned depth, int wake_fd, struct ring **ret, struct err *e);
bool ring_push(struct ring *r, struct disk_req *req); /* false: it is full */
void ring_submit(struct ring *r);
/* The next finished request and its result in bytes, or NULL. */
struct disk_req *ring_pop(struct ring *r, int *result);
void ring_free(struct ring *r);

#endif
