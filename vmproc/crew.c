#include "vmproc/crew.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "emul/core/engine.h"
#include "vmproc/thread.h"

struct member {
	struct crew *crew;
	struct vcpu *cpu;
	pthread_t thread;
};

struct crew {
	pthread_mutex_t
	    lock;          /* guards holds, soon, quit and standing; nothing is called under it */
	pthread_cond_t go; /* to the members: look again */
	pthread_cond_t stood; /* to the holder: all stand still */
	unsigned holds, standing, n;
	bool soon, quit;
	struct member members[];
};

static bool must_stand(const struct crew *c)
{
	return (c->holds || c->soon) && !c->quit;
}

/* Until this CPU may run; false: until it shall end. */
static bool wait_for_go(struct crew *c)
{
	bool quit;

	pthread_mutex_lock(&c->lock);
	if (must_stand(c)) {
		if (++c->standing == c->n)
			pthread_cond_broadcast(&c->stood);
		while (must_stand(c))
			pthread_cond_wait(&c->go, &c->lock);
		c->standing--;
	}
	quit = c->quit;
	pthread_mutex_unlock(&c->lock);
	return !quit;
}

static void *member_main(void *arg)
{
	struct member *m = arg;

	while (wait_for_go(m->crew))
		if (vcpu_run(m->cpu) == VCPU_DEAD)
			crew_stop_soon(m->crew);
	return NULL;
}

static void kick_all(struct crew *c)
{
	for (unsigned i = 0; i < c->n; i++)
		vcpu_kick(c->members[i].cpu);
}

void crew_hold(struct crew *c)
{
	pthread_mutex_lock(&c->lock);
	c->holds++;
	pthread_mutex_unlock(&c->lock);
	kick_all(c);
	pthread_mutex_lock(&c->lock);
	while (c->standing < c->n)
		pthread_cond_wait(&c->stood, &c->lock);
	pthread_mutex_unlock(&c->lock);
}

void crew_release(struct crew *c)
{
	pthread_mutex_lock(&c->lock);
	c->holds--;
	pthread_cond_broadcast(&c->go);
	pthread_mutex_unlock(&c->lock);
}

void crew_stop_soon(struct crew *c)
{
	pthread_mutex_lock(&c->lock);
	c->soon = true;
	pthread_mutex_unlock(&c->lock);
	kick_all(c);
}

void crew_go_on(struct crew *c)
{
	pthread_mutex_lock(&c->lock);
	c->soon = false;
	pthread_cond_broadcast(&c->go);
	pthread_mutex_unlock(&c->lock);
}

/* seccomp: clock_gettime - CPU time of threads */
int64_t crew_cpu_ns(struct crew *c)
{
	int64_t sum = 0;

	for (unsigned i = 0; i < c->n; i++) {
		struct timespec ts;
		clockid_t id;

		if (!pthread_getcpuclockid(c->members[i].thread, &id) && !clock_gettime(id, &ts))
			sum += ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
	}
	return sum;
}

int crew_new(struct vcpu *const *cpus, unsigned n, struct crew **ret, struct err *e)
{
	autoptr(crew) c = calloc(1, sizeof(*c) + n * sizeof(c->members[0]));
	int r;

	if (!c)
		return err_nomem(e);
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->go, NULL);
	pthread_cond_init(&c->stood, NULL);
	c->holds = 1;
	for (unsigned i = 0; i < n; i++) {
		struct member *m = &c->members[i];
		char name[16];

		m->crew = c;
		m->cpu = cpus[i];
		snprintf(name, sizeof(name), "cpu%u", i);
		r = thread_start(&m->thread, name, member_main, m, e);
		if (r < 0)
			return r;
		pthread_mutex_lock(&c->lock);
		c->n = i + 1;
		pthread_mutex_unlock(&c->lock);
	}
	*ret = take(c);
	return 0;
}

void crew_free(struct crew *c)
{
	pthread_mutex_lock(&c->lock);
	c->quit = true;
	pthread_cond_broadcast(&c->go);
	pthread_mutex_unlock(&c->lock);
	kick_all(c);
	for (unsigned i = 0; i < c->n; i++)
		pthread_join(c->members[i].thread, NULL);
	pthread_cond_destroy(&c->go);
	pthread_cond_destroy(&c->stood);
	pthread_mutex_destroy(&c->lock);
	free(c);
}
