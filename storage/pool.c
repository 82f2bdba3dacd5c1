/*
 * A few threads that run the requests which may wait: everything without io_uring, and with it
 * what is more than one plain read or write. One pool per disk, shared by its queues.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "storage/queue.h"

enum { THREADS_MAX = 16, STACK = 256 << 10 };

struct pool {
	pthread_mutex_t lock; /* guards the rest */
	pthread_cond_t work;
	struct disk_req *head, **tail;
	bool stop;
	unsigned n;
	pthread_t threads[THREADS_MAX];
};

static struct disk_req *pool_next(struct pool *p)
{
	struct disk_req *req = NULL;

	pthread_mutex_lock(&p->lock);
	while (!p->head && !p->stop)
		pthread_cond_wait(&p->work, &p->lock);
	if (p->head) {
		req = p->head;
		p->head = req->next;
		if (!p->head)
			p->tail = &p->head;
	}
	pthread_mutex_unlock(&p->lock);
	return req;
}

static void *pool_thread(void *arg)
{
	struct pool *p = arg;
	struct disk_req *req;

	while ((req = pool_next(p))) {
		req->result = engine_run(req->queue->disk, req, req->e);
		queue_finished(req->queue, req);
	}
	return NULL;
}

/* Signals are for the thread of main(). */
static int start_threads(struct pool *p, unsigned n, struct err *e)
{
	pthread_attr_t attr;
	sigset_t all, old;
	int r = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	while (r == 0 && p->n < n) {
		r = pthread_create(&p->threads[p->n], &attr, pool_thread, p);
		if (r == 0)
			p->n++;
	}
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return p->n ? 0 : err_set(e, -r, "cannot start a thread for a disk");
}

int pool_new(unsigned n, struct pool **ret, struct err *e)
{
	struct pool *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return err_nomem(e);
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->work, NULL);
	p->tail = &p->head;
	r = start_threads(p, MIN(n, THREADS_MAX), e);
	if (r < 0)
		pool_free(p);
	else
		*ret = p;
	return r;
}

void pool_push(struct pool *p, struct disk_req *req)
{
	req->next = NULL;
	pthread_mutex_lock(&p->lock);
	*p->tail = req;
	p->tail = &req->next;
	pthread_cond_signal(&p->work);
	pthread_mutex_unlock(&p->lock);
}

void pool_free(struct pool *p)
{
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->n; i++)
		pthread_join(p->threads[i], NULL);
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->work);
	free(p);
}
