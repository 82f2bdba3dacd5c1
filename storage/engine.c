/*
 * The entrance of the engine: checks a request and runs it; merges flushes. Called by jobs and by
 * the threads of queues; any thread, may wait.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/dirty.h"
#include "storage/engine.h"

static int flush_files(struct disk *d, struct err *e)
{
	if (d->format->flush)
		return d->format->flush(d, e);
	for (unsigned i = 0; i < d->nfiles; i++) {
		int r = file_sync(d->files[i], e);

		if (r < 0)
			return r;
	}
	return 0;
}

/* One at a time; those who come while one runs are served together by the next. */
int engine_flush(struct disk *d, struct err *e)
{
	bool ran = false;
	uint64_t mine;
	int r;

	if (!d->writable)
		return 0;
	pthread_mutex_lock(&d->flush_lock);
	mine = d->flush_started + 1;
	while (d->flush_finished < mine) {
		if (d->flush_running) {
			pthread_cond_wait(&d->flush_done, &d->flush_lock);
			continue;
		}
		d->flush_running = true;
		d->flush_started++;
		pthread_mutex_unlock(&d->flush_lock);
		r = flush_files(d, e);
		ran = true;
		pthread_mutex_lock(&d->flush_lock);
		d->flush_running = false;
		d->flush_finished = d->flush_started;
		d->flush_result = r;
		pthread_cond_broadcast(&d->flush_done);
	}
	r = d->flush_result;
	pthread_mutex_unlock(&d->flush_lock);
	if (r < 0 && !ran)
		err_set(e, r, "%s could not be flushed", disk_file(d)->name);
	return r;
}

int engine_begin(struct disk *d, struct err *e)
{
	int r = 0;

	if (!d->format->before_write || __atomic_load_n(&d->begun, __ATOMIC_ACQUIRE))
		return 0;
	pthread_mutex_lock(&d->begin_lock);
	if (!d->begun) {
		r = d->format->before_write(d, e);
		if (r == 0)
			__atomic_store_n(&d->begun, true, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&d->begin_lock);
	return r;
}

int engine_check(struct disk *d, const struct disk_req *q, struct err *e)
{
	if (q->op == DISK_FLUSH)
		return 0;
	if (q->op != DISK_READ && !d->writable) {
		err_set(e, -EROFS, "%s is open for reading only", disk_file(d)->name);
		return -EROFS;
	}
	if (!range_fits(q->off, q->len, d->size))
		return err_set(e, -EINVAL,
			       "%llu bytes at byte %llu are past the end of a disk of %llu bytes",
			       (unsigned long long)q->len, (unsigned long long)q->off,
			       (unsigned long long)d->size);
	return 0;
}

int engine_run(struct disk *d, struct disk_req *q, struct err *e)
{
	struct cursor c = { q->iov, q->iovcnt, 0 };
	int r = engine_check(d, q, e);

	if (r < 0 || (q->op != DISK_FLUSH && !q->len))
		return r;
	if (q->op != DISK_READ && q->op != DISK_FLUSH)
		r = engine_begin(d, e);
	if (r < 0)
		return r;
	if (q->op != DISK_READ)
		dirty_mark(d, q->off, q->op == DISK_FLUSH ? 0 : q->len);
	switch (q->op) {
	case DISK_READ: return engine_read(d, q->off, &c, q->len, e);
	case DISK_WRITE: r = engine_write(d, q->off, &c, q->len, e); break;
	case DISK_ZERO: r = engine_zero(d, q->off, q->len, q->unmap, e); break;
	case DISK_DISCARD: return engine_discard(d, q->off, q->len, e);
	case DISK_FLUSH: return engine_flush(d, e);
	case DISK_OPS: return err_set(e, -EINVAL, "no such request");
	}
	return r == 0 && q->fua ? engine_flush(d, e) : r;
}
