#include "base/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/list.h"

struct posted {
	struct list node;
	loop_fn *fn;
	void *arg;
};

struct loop {
	struct event_base *base;
	struct event *wake;
	int wake_fd;
	pthread_mutex_t lock; /* guards posted and stopping */
	struct list posted;
	bool stopping;
};

struct loop_watch {
	struct loop *loop;
	struct event *ev;
	loop_fd_fn *fd_fn;
	loop_fn *timer_fn;
	loop_signal_fn *signal_fn;
	void *arg;
	int fd;
};

static void wake(struct loop *l)
{
	uint64_t one = 1;

	if (write(l->wake_fd, &one, sizeof(one)) < 0)
		return; /* the counter is full: it is awake already */
}

static void run_posted(evutil_socket_t fd, short what, void *arg)
{
	struct loop *l = arg;
	struct list mine;
	struct posted *p;
	uint64_t n;
	bool stop;

	(void)what;
	if (read((int)fd, &n, sizeof(n)) < 0)
		return;
	list_init(&mine);
	pthread_mutex_lock(&l->lock);
	list_for_each(p, &l->posted, struct posted, node) {
		list_remove(&p->node);
		list_append(&mine, &p->node);
	}
	stop = l->stopping;
	pthread_mutex_unlock(&l->lock);
	list_for_each(p, &mine, struct posted, node) {
		list_remove(&p->node);
		p->fn(p->arg);
		free(p);
	}
	if (stop)
		event_base_loopbreak(l->base);
}

/*
 * An epoll that keeps nanoseconds: timers of guests are shorter than a millisecond.
 *
 * seccomp setup: epoll_create1, epoll_create, timerfd_create, pipe2, socketpair(0=1), eventfd2
 * seccomp: epoll_ctl, epoll_wait, epoll_pwait, timerfd_settime, read, write, close - event loops
 */
static struct event_base *base_new(void)
{
	struct event_config *cfg = event_config_new();
	struct event_base *base;

	if (!cfg)
		return NULL;
	event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_PRECISE_TIMER |
				       EVENT_BASE_FLAG_IGNORE_ENV);
	base = event_base_new_with_config(cfg);
	event_config_free(cfg);
	return base;
}

int loop_new(struct loop **ret, struct err *e)
{
	autoptr(loop) l = calloc(1, sizeof(*l));

	if (!l)
		return err_nomem(e);
	list_init(&l->posted);
	pthread_mutex_init(&l->lock, NULL);
	l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->wake_fd < 0)
		return err_sys(e, "cannot make an eventfd");
	l->base = base_new();
	if (l->base)
		l->wake = event_new(l->base, l->wake_fd, EV_READ | EV_PERSIST, run_posted, l);
	if (!l->wake || event_add(l->wake, NULL) < 0)
		return err_set(e, -ENOMEM, "cannot make an event loop");
	*ret = take(l);
	return 0;
}

void loop_free(struct loop *l)
{
	struct posted *p;

	list_for_each(p, &l->posted, struct posted, node)
		free(p);
	if (l->wake)
		event_free(l->wake);
	if (l->base)
		event_base_free(l->base);
	if (l->wake_fd >= 0)
		close(l->wake_fd);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

int loop_run(struct loop *l, struct err *e)
{
	int r = event_base_loop(l->base, EVLOOP_NO_EXIT_ON_EMPTY);

	pthread_mutex_lock(&l->lock);
	l->stopping = false;
	pthread_mutex_unlock(&l->lock);
	return r < 0 ? err_set(e, -EIO, "the event loop failed") : 0;
}

void loop_stop(struct loop *l)
{
	pthread_mutex_lock(&l->lock);
	l->stopping = true;
	pthread_mutex_unlock(&l->lock);
	wake(l);
}

void loop_once(struct loop *l, bool wait)
{
	event_base_loop(l->base, wait ? EVLOOP_ONCE : EVLOOP_NONBLOCK);
}

bool loop_post(struct loop *l, loop_fn *fn, void *arg)
{
	struct posted *p = malloc(sizeof(*p));
	bool first;

	if (!p)
		return false;
	p->fn = fn;
	p->arg = arg;
	pthread_mutex_lock(&l->lock);
	first = list_empty(&l->posted);
	list_append(&l->posted, &p->node);
	pthread_mutex_unlock(&l->lock);
	if (first)
		wake(l);
	return true;
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
	struct loop_watch *w = arg;

	if (w->fd_fn)
		w->fd_fn(w->arg, (int)fd,
			 (what & EV_READ ? LOOP_READ : 0) | (what & EV_WRITE ? LOOP_WRITE : 0));
	else if (w->timer_fn)
		w->timer_fn(w->arg);
	else
		w->signal_fn(w->arg, (int)fd);
}

static int watch_new(struct loop *l, int fd, short what, void *arg, struct loop_watch **ret,
		     struct err *e)
{
	autoptr(loop_watch) w = calloc(1, sizeof(*w));

	if (!w)
		return err_nomem(e);
	w->loop = l;
	w->fd = fd;
	w->arg = arg;
	w->ev = event_new(l->base, fd, what, on_event, w);
	if (!w->ev)
		return err_nomem(e);
	*ret = take(w);
	return 0;
}

void loop_fd_set(struct loop_watch *w, unsigned events)
{
	short what = EV_PERSIST;

	event_del(w->ev);
	if (!events)
		return;
	what |= events & LOOP_READ ? EV_READ : 0;
	what |= events & LOOP_WRITE ? EV_WRITE : 0;
	event_assign(w->ev, w->loop->base, w->fd, what, on_event, w);
	event_add(w->ev, NULL);
}

int loop_fd(struct loop *l, int fd, unsigned events, loop_fd_fn *fn, void *arg,
	    struct loop_watch **ret, struct err *e)
{
	int r = watch_new(l, fd, EV_PERSIST, arg, ret, e);

	if (r < 0)
		return r;
	(*ret)->fd_fn = fn;
	loop_fd_set(*ret, events);
	return 0;
}

int loop_timer(struct loop *l, loop_fn *fn, void *arg, struct loop_watch **ret, struct err *e)
{
	int r = watch_new(l, -1, 0, arg, ret, e);

	if (r < 0)
		return r;
	(*ret)->timer_fn = fn;
	return 0;
}

void loop_timer_set(struct loop_watch *w, int64_t in_ns)
{
	struct timeval tv = { .tv_sec = in_ns / 1000000000, .tv_usec = in_ns % 1000000000 / 1000 };

	event_del(w->ev);
	if (in_ns >= 0)
		event_add(w->ev, &tv);
}

int loop_signal(struct loop *l, int signo, loop_signal_fn *fn, void *arg, struct loop_watch **ret,
		struct err *e)
{
	int r = watch_new(l, signo, EV_SIGNAL | EV_PERSIST, arg, ret, e);

	if (r < 0)
		return r;
	(*ret)->signal_fn = fn;
	event_add((*ret)->ev, NULL);
	return 0;
}

void loop_watch_free(struct loop_watch *w)
{
	if (!w)
		return;
	if (w->ev)
		event_free(w->ev);
	free(w);
}
