/*
 * clock.c - guest time, and the alarms on it. Guest time is host monotonic time plus an offset
 * while the clock runs; while it stands it is one number. Both are read without a lock.
 *
 * The next alarm is a timerfd on the loop, which any thread may set.
 */
#include "emul/core/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/list.h"
#include "base/loop.h"
#include "base/size.h"

#define RUNNING INT64_MIN /* of stood_at: the clock does not stand */

struct clock {
	struct loop *loop;
	_Atomic int64_t stood_at; /* guest time while it stands, or RUNNING */
	_Atomic int64_t offset;   /* guest time - host time while it runs */
	int timer_fd;
	struct loop_watch *watch;
	pthread_mutex_t lock; /* guards the alarms, their times, and what follows */
	pthread_cond_t rung;
	struct list alarms; /* that are set, in the order of time */
	struct alarm *ringing;
	pthread_t ringer; /* the thread that calls ringing->fn */
};

struct alarm {
	struct clock *clock;
	alarm_fn *fn;
	void *arg;
	struct list node;
	int64_t at;
};

int64_t clock_now(const struct clock *c)
{
	int64_t at = atomic_load_explicit(&c->stood_at, memory_order_acquire);

	return at == RUNNING ? mono_ns() + atomic_load_explicit(&c->offset, memory_order_acquire)
			     : at;
}

int64_t clock_wall_ns(const struct clock *c)
{
	struct timespec ts;

	if (!c->loop)
		return clock_now(c);
	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static struct alarm *first(const struct clock *c)
{
	return list_empty(&c->alarms) ? NULL : list_entry(c->alarms.next, struct alarm, node);
}

/* Set the timerfd to the first alarm. Locked. */
static void arm(struct clock *c)
{
	struct alarm *a = first(c);
	struct itimerspec its = { 0 };
	int64_t at;

	if (c->timer_fd < 0)
		return;
	if (a && atomic_load(&c->stood_at) == RUNNING) {
		/* A time of zero would switch it off; one that has passed rings at once. */
		if (__builtin_sub_overflow(a->at, atomic_load(&c->offset), &at) || at < 1)
			at = a->at > 0 && at > 0 ? INT64_MAX : 1;
		its.it_value.tv_sec = at / 1000000000;
		its.it_value.tv_nsec = at % 1000000000;
	}
	timerfd_settime(c->timer_fd, TFD_TIMER_ABSTIME, &its, NULL);
}

/* Ring the first alarm if it is due at that time. Locked, but not around the call. */
static bool ring_one(struct clock *c, int64_t now)
{
	struct alarm *a = first(c);

	if (!a || a->at > now)
		return false;
	list_remove(&a->node);
	a->at = CLOCK_NEVER;
	c->ringing = a;
	c->ringer = pthread_self();
	pthread_mutex_unlock(&c->lock);
	a->fn(a->arg);
	pthread_mutex_lock(&c->lock);
	c->ringing = NULL;
	pthread_cond_broadcast(&c->rung);
	return true;
}

static void on_timer(void *arg, int fd, unsigned events)
{
	struct clock *c = arg;
	uint64_t n;

	(void)events;
	if (read(fd, &n, sizeof(n)) < 0)
		return; /* it was set anew meanwhile */
	pthread_mutex_lock(&c->lock);
	if (atomic_load(&c->stood_at) == RUNNING) {
		int64_t now = clock_now(c);

		while (ring_one(c, now))
			;
	}
	arm(c);
	pthread_mutex_unlock(&c->lock);
}

int clock_new(struct loop *loop, struct clock **ret, struct err *e)
{
	autoptr(clock) c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return err_nomem(e);
	list_init(&c->alarms);
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->rung, NULL);
	c->timer_fd = -1;
	c->loop = loop;
	if (loop) {
		c->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
		if (c->timer_fd < 0)
			return err_sys(e, "cannot make a timer");
		r = loop_fd(loop, c->timer_fd, LOOP_READ, on_timer, c, &c->watch, e);
		if (r < 0)
			return r;
	}
	*ret = take(c);
	return 0;
}

void clock_free(struct clock *c)
{
	loop_watch_free(c->watch);
	if (c->timer_fd >= 0)
		close(c->timer_fd);
	pthread_cond_destroy(&c->rung);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

void clock_run(struct clock *c)
{
	pthread_mutex_lock(&c->lock);
	if (c->loop && atomic_load(&c->stood_at) != RUNNING) {
		atomic_store(&c->offset, atomic_load(&c->stood_at) - mono_ns());
		atomic_store(&c->stood_at, RUNNING);
		arm(c);
	}
	pthread_mutex_unlock(&c->lock);
}

void clock_stop(struct clock *c)
{
	pthread_mutex_lock(&c->lock);
	atomic_store(&c->stood_at, clock_now(c));
	arm(c);
	pthread_mutex_unlock(&c->lock);
}

void clock_set(struct clock *c, int64_t ns)
{
	pthread_mutex_lock(&c->lock);
	atomic_store(&c->stood_at, ns);
	pthread_mutex_unlock(&c->lock);
}

void clock_step(struct clock *c, int64_t ns)
{
	int64_t to;

	pthread_mutex_lock(&c->lock);
	if (__builtin_add_overflow(clock_now(c), ns, &to))
		to = CLOCK_NEVER - 1;
	for (;;) {
		struct alarm *a = first(c);

		if (!a || a->at > to)
			break;
		if (a->at > clock_now(c))
			atomic_store(&c->stood_at, a->at);
		ring_one(c, to);
	}
	atomic_store(&c->stood_at, to);
	pthread_mutex_unlock(&c->lock);
}

int64_t clock_next(const struct clock *c)
{
	struct clock *w = (struct clock *)(uintptr_t)c; /* the lock is not part of what it is */
	struct alarm *a;
	int64_t at;

	pthread_mutex_lock(&w->lock);
	a = first(c);
	at = a ? a->at : CLOCK_NEVER;
	pthread_mutex_unlock(&w->lock);
	return at;
}

int alarm_new(struct clock *c, alarm_fn *fn, void *arg, struct alarm **ret, struct err *e)
{
	struct alarm *a = calloc(1, sizeof(*a));

	if (!a)
		return err_nomem(e);
	a->clock = c;
	a->fn = fn;
	a->arg = arg;
	a->at = CLOCK_NEVER;
	list_init(&a->node);
	*ret = a;
	return 0;
}

void alarm_free(struct alarm *a)
{
	struct clock *c;

	if (!a)
		return;
	c = a->clock;
	pthread_mutex_lock(&c->lock);
	list_remove(&a->node);
	while (c->ringing == a && !pthread_equal(c->ringer, pthread_self()))
		pthread_cond_wait(&c->rung, &c->lock);
	list_remove(&a->node); /* the call may have set it */
	pthread_mutex_unlock(&c->lock);
	free(a);
}

void alarm_set(struct alarm *a, int64_t at_ns)
{
	struct clock *c = a->clock;
	struct alarm *was, *b = NULL, *before = NULL;

	pthread_mutex_lock(&c->lock);
	if (at_ns != a->at) {
		was = first(c);
		list_remove(&a->node);
		a->at = at_ns;
		if (at_ns != CLOCK_NEVER) {
			list_for_each(b, &c->alarms, struct alarm, node)
			{
				if (b->at > at_ns) {
					before = b;
					break;
				}
			}
			list_add_before(before ? &before->node : &c->alarms, &a->node);
		}
		if (was == a || first(c) == a)
			arm(c);
	}
	pthread_mutex_unlock(&c->lock);
}
