/*
 * Limits of a disk: so many requests and bytes in a second, with bursts. One leaky bucket for each,
 * shared by all queues of the disk. Called by queue.c on the loops of the queues, and by whoever
 * sets limits on any thread.
 *
 * A bucket fills with what is let through and leaks at the allowed rate; while it holds more than
 * a burst, requests wait. A request that is bigger than a burst passes when the bucket is empty
 * enough, and the next one waits for it.
 */
#include <errno.h>
#include <time.h>

#include "storage/queue.h"

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int disk_limit(struct disk *d, const struct disk_limits *l, struct err *e)
{
	const uint64_t v[] = { l->requests, l->requests_burst, l->bytes, l->bytes_burst };

	for (size_t i = 0; i < ARRAY_SIZE(v); i++)
		if (v[i] > UINT64_C(1) << 50)
			return err_set(e, -EINVAL, "a limit of %llu in a second is none",
				       (unsigned long long)v[i]);
	pthread_mutex_lock(&d->limit_lock);
	d->limits = *l;
	d->level_requests = d->level_bytes = 0;
	d->limit_time = now_ns();
	pthread_mutex_unlock(&d->limit_lock);
	__atomic_store_n(&d->limited, l->requests || l->bytes, __ATOMIC_RELEASE);
	return 0;
}

/* Without a burst of its own, a tenth of a second's worth, and at least one request's. */
static double room(uint64_t rate, uint64_t burst)
{
	return burst ? (double)burst : MAX((double)rate / 10, 1);
}

static double seconds_over(double level, uint64_t rate, uint64_t burst)
{
	double over = level - room(rate, burst);

	return rate && over >= 0 ? (over + 1) / (double)rate : 0;
}

static void leak(struct disk *d)
{
	int64_t now = now_ns();
	double s = (double)(now - d->limit_time) / 1e9;

	d->limit_time = now;
	d->level_requests = MAX(d->level_requests - s * (double)d->limits.requests, 0);
	d->level_bytes = MAX(d->level_bytes - s * (double)d->limits.bytes, 0);
}

int64_t throttle(struct disk *d, const struct disk_req *q)
{
	double wait, bytes;

	if (!__atomic_load_n(&d->limited, __ATOMIC_ACQUIRE) || q->op == DISK_FLUSH)
		return 0;
	pthread_mutex_lock(&d->limit_lock);
	leak(d);
	wait = seconds_over(d->level_requests, d->limits.requests, d->limits.requests_burst);
	bytes = seconds_over(d->level_bytes, d->limits.bytes, d->limits.bytes_burst);
	wait = MAX(wait, bytes);
	if (wait <= 0) {
		d->level_requests++;
		if (q->op == DISK_READ || q->op == DISK_WRITE)
			d->level_bytes += (double)q->len;
	}
	pthread_mutex_unlock(&d->limit_lock);
	return wait <= 0 ? 0 : (int64_t)(wait * 1e9) + 1;
}
