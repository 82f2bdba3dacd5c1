#include "vmproc/thread.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/loop.h"

/* Only what is touched of it costs memory. */
enum { STACK_SIZE = 512 << 10 };

struct start {
	void *(*fn)(void *);
	void *arg;
	char name[16];
};

static void *begin(void *arg)
{
	struct start s = *(struct start *)arg;

	free(arg);
	pthread_setname_np(pthread_self(), s.name);
	return s.fn(s.arg);
}

/*
 * Signals to the process are for the main thread, whose loop knows them. SIGUSR1 is left open: an
 * engine may need a signal to get a CPU out of the kernel.
 */
static void block_signals(sigset_t *old)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	pthread_sigmask(SIG_BLOCK, &set, old);
}

/*
 * seccomp: clone(0=0x10000/0x10000), set_robust_list, rseq, exit, sched_getaffinity - threads
 * seccomp: prctl(0=15), madvise, munmap, rt_sigprocmask, gettid, sched_yield, futex - threads
 */
int thread_start(pthread_t *ret, const char *name, void *(*fn)(void *), void *arg, struct err *e)
{
	struct start *s = calloc(1, sizeof(*s));
	pthread_attr_t attr;
	sigset_t old;
	int rc;

	if (!s)
		return err_nomem(e);
	s->fn = fn;
	s->arg = arg;
	strncpy(s->name, name, sizeof(s->name) - 1);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	block_signals(&old);
	rc = pthread_create(ret, &attr, begin, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (!rc)
		return 0;
	free(s);
	errno = rc;
	return err_sys(e, "cannot start the thread %s", name);
}

struct io_thread {
	struct loop *loop;
	pthread_t thread;
	bool runs;
};

static void *io_main(void *arg)
{
	struct io_thread *t = arg;

	loop_run(t->loop, NULL);
	return NULL;
}

int io_thread_new(struct io_thread **ret, struct err *e)
{
	autoptr(io_thread) t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return err_nomem(e);
	r = loop_new(&t->loop, e);
	if (r < 0)
		return r;
	*ret = take(t);
	return 0;
}

struct loop *io_thread_loop(struct io_thread *t)
{
	return t->loop;
}

int io_thread_run(struct io_thread *t, struct err *e)
{
	int r = thread_start(&t->thread, "io", io_main, t, e);

	if (r == 0)
		t->runs = true;
	return r;
}

void io_thread_stop(struct io_thread *t)
{
	if (!t->runs)
		return;
	loop_stop(t->loop);
	pthread_join(t->thread, NULL);
	t->runs = false;
}

void io_thread_free(struct io_thread *t)
{
	io_thread_stop(t);
	if (t->loop)
		loop_free(t->loop);
	free(t);
}
