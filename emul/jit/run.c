/*
 * run.c - a vCPU's own thread: from unit to unit, and what happens between two instructions:
 * interrupts, faults, work that others left, waiting.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "emul/jit/core.h"

enum { TOO_OFTEN = 1 << 20 };
#define SECOND INT64_C(1000000000)

/* ---- work and waking ------------------------------------------------------------------------ */

void jit_vcpu_notify(struct jit_vcpu *v, uint32_t pending)
{
	atomic_fetch_or(&v->cpu->pending, pending);
	if (atomic_load(&v->sleeping)) {
		pthread_mutex_lock(&v->lock);
		pthread_cond_broadcast(&v->cond);
		pthread_mutex_unlock(&v->lock);
	}
}

/* Run what is in the queue. The lock is held on entry and on return, and given up for each item. */
void jit_vcpu_work(struct jit_vcpu *v)
{
	while (v->work) {
		struct jit_work *w = v->work;
		struct jit_vcpu *waiter = w->waiter;

		v->work = w->next;
		if (!v->work)
			v->work_end = &v->work;
		pthread_mutex_unlock(&v->lock);
		w->fn(jit_state(v), w->arg);
		if (waiter) {
			pthread_mutex_lock(&waiter->lock);
			w->done = true;
			pthread_cond_broadcast(&waiter->cond);
			pthread_mutex_unlock(&waiter->lock);
		} else {
			free(w);
		}
		pthread_mutex_lock(&v->lock);
	}
}

/* Units may have been given up, and the map may have changed, since this CPU last looked. */
static void catch_up(struct jit_vcpu *v)
{
	uint64_t epoch = atomic_load(&v->engine->epoch), map = atomic_load(&v->engine->map_seq);

	if (map != v->seen_map) {
		v->seen_map = map;
		jit_mmu_map_changed(v);
	}
	if (epoch != v->seen_epoch) {
		v->seen_epoch = epoch;
		jit_mmu_new_code_gen(v);
	}
	atomic_store(&v->epoch, epoch);
	jit_watch_pass(v, false);
}

/* True: vcpu_run() is to return. */
static bool service(struct jit_vcpu *v)
{
	uint32_t p = atomic_exchange(&v->cpu->pending, 0);

	if (p & JIT_PENDING_WORK) {
		pthread_mutex_lock(&v->lock);
		jit_vcpu_work(v);
		pthread_mutex_unlock(&v->lock);
	}
	catch_up(v);
	return p & JIT_PENDING_KICK;
}

/* False: the time is over, and nothing is pending. INT64_MAX: for ever. */
static bool sleep_for(struct jit_vcpu *v, int64_t ns)
{
	struct timespec end;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += ns / SECOND;
	pthread_mutex_lock(&v->lock);
	atomic_store(&v->sleeping, true);
	while (!atomic_load(&v->cpu->pending) && !r) {
		if (ns == INT64_MAX)
			pthread_cond_wait(&v->cond, &v->lock);
		else
			r = pthread_cond_timedwait(&v->cond, &v->lock, &end);
	}
	atomic_store(&v->sleeping, false);
	pthread_mutex_unlock(&v->lock);
	return !r;
}

/* Until something is pending. This CPU is in no code meanwhile. */
static void sleep_until_pending(struct jit_vcpu *v)
{
	atomic_store(&v->epoch, UINT64_MAX);
	jit_watch_pass(v, true);
	if (jit_trim_due(v) || !sleep_for(v, JIT_IDLE_NS)) {
		jit_trim(v->engine);
		sleep_for(v, INT64_MAX);
	}
	jit_trim_woke(v);
	catch_up(v);
}

/*
 * The state was written from outside: the ISA sets up what it keeps beside it. On the vCPU's
 * thread, or, when that is not in vcpu_run(), under its lock: another CPU wants to start it.
 */
void jit_vcpu_enter(struct jit_vcpu *v)
{
	if (v->entered)
		return;
	v->entered = true;
	if (v->engine->isa->enter)
		v->engine->isa->enter(jit_state(v));
}

/* ---- from unit to unit ---------------------------------------------------------------------- */

/*
 * The unit at the vCPU's pc, found or made. NULL: a fault was raised, there is no room now, or what
 * was there is done.
 */
static struct jit_unit *find_unit(struct jit_vcpu *v)
{
	struct jit_engine *en = v->engine;
	struct jit_place place;
	struct jit_fault fault;
	struct jit_unit *u = NULL;
	uint64_t pc = *jit_pc(v);
	bool faulted = false;
	uint32_t mode;

	if (!jit_mmu_fetch(v, pc, &place, &fault)) {
		faulted = true;
	} else {
		place.partial |= v->step;
		v->step = false;
		mode = v->cpu->mode | (place.partial ? JIT_MODE_PARTIAL : 0);
		u = jit_blocks_find(en, round_down((uintptr_t)place.host, RAM_PAGE_SIZE), pc, mode);
		while (u && !jit_unit_fits(v, u, &fault, &faulted) && !faulted)
			u = jit_blocks_next(u);
		if (faulted)
			u = NULL;
		else if (!u && !place.partial)
			u = jit_blocks_revive(v, &place, pc, mode);
		if (!faulted && !u && jit_cold_run(v, &place)) {
			v->stuck = 0;
			return NULL;
		}
		if (!faulted && !u)
			u = jit_translate(v, &place, NULL, &fault, &faulted);
	}
	if (faulted)
		en->isa->raise(jit_state(v), &fault);
	else if (!u)
		v->stuck++;
	else
		v->stuck = 0;
	return u;
}

/* Where to go on: the code for the pc. x: the exit that led here, to be linked, or NULL. */
static const void *find_entry(struct jit_vcpu *v, struct jit_exit *x)
{
	uint64_t pc = *jit_pc(v);
	struct jit_jump *j = &v->cpu->jump[jit_jump_index(pc)];
	struct jit_backend *be = v->engine->backend;
	struct jit_unit *u;

	if (v->step) {
		u = find_unit(v);
		return u ? u->entry : NULL;
	}
	if (!x && j->tag == (pc ^ v->cpu->salt) && be->class->alive(be, j->code))
		return j->code;
	u = find_unit(v);
	if (!u)
		return NULL;
	j->tag = pc ^ v->cpu->salt;
	j->code = u->entry;
	if (x && x->pc == pc)
		jit_blocks_link(v->engine, x, u);
	return u->entry;
}

/* There may be a hot one already: that of another vCPU, or of another way to the place. */
static bool replace_warm(struct jit_vcpu *v, struct jit_unit *u)
{
	struct jit_engine *en = v->engine;
	struct jit_unit *o = jit_blocks_find(en, u->page, *jit_pc(v), u->mode);

	while (o && (o->warm || o->page2))
		o = jit_blocks_next(o);
	if (!o)
		return false;
	pthread_mutex_lock(&en->lock);
	jit_blocks_kill(en, u);
	pthread_mutex_unlock(&en->lock);
	return true;
}

/*
 * A unit was entered often, or a loop in it ran often: the place where it left becomes the head of
 * another, with all that is around it. The old one goes, so that whatever leads there comes to the
 * new one. If there is no room it stays.
 */
static void compile_hot(struct jit_vcpu *v, struct jit_unit *u)
{
	struct jit_place place;
	struct jit_fault fault;
	bool faulted;

	if (replace_warm(v, u))
		return;
	if (v->cpu->mode == u->mode && jit_mmu_fetch(v, *jit_pc(v), &place, &fault) &&
	    jit_translate(v, &place, u, &fault, &faulted))
		return;
	__atomic_store_n(&u->heat, JIT_HOT, __ATOMIC_RELAXED);
}

static void set_mode(struct jit_vcpu *v)
{
	uint32_t mode = v->engine->isa->mode(jit_state(v));

	if (mode != v->cpu->mode) {
		v->cpu->mode = mode;
		jit_mmu_salt(v);
	}
}

/*
 * What is to be done before the next instruction. Returns the reason to leave vcpu_run(), or -1;
 * *x is forgotten when time may have passed that its unit did not survive.
 */
static int between(struct jit_vcpu *v, struct jit_exit **x)
{
	const struct jit_isa *isa = v->engine->isa;
	uint64_t pins;

	for (;;) {
		if (atomic_load_explicit(&v->cpu->pending, memory_order_acquire)) {
			*x = NULL;
			if (service(v))
				return VCPU_KICKED;
		}
		jit_vcpu_enter(v);
		pins = atomic_load(&v->pins);
		if (atomic_load(&v->off)) {
			if (!v->told_off) {
				v->told_off = true;
				return VCPU_OFF;
			}
		} else if (!v->halted || (pins && isa->wakes(jit_state(v), pins))) {
			v->halted = false;
			if (pins && isa->interrupt(jit_state(v), pins))
				*x = NULL;
			return -1;
		}
		*x = NULL;
		sleep_until_pending(v);
	}
}

static enum vcpu_exit run(struct jit_vcpu *v)
{
	struct jit_backend *be = v->engine->backend;
	struct jit_exit *x = NULL;
	const void *entry;
	uint64_t left;
	int why;

	for (;;) {
		why = between(v, &x);
		if (why >= 0)
			return (enum vcpu_exit)why;
		set_mode(v);
		entry = find_entry(v, x);
		x = NULL;
		if (entry) {
			left = be->class->enter(be, v->cpu, entry);
			if (left & JIT_LEFT_HOT)
				compile_hot(v,
					    (struct jit_unit *)(uintptr_t)(left & ~JIT_LEFT_HOT));
			else
				x = (struct jit_exit *)(uintptr_t)left;
		} else if (v->stuck) {
			if (v->stuck > TOO_OFTEN)
				return VCPU_DEAD;
			atomic_fetch_or(&v->cpu->pending, JIT_PENDING_WORK);
			sched_yield();
		}
	}
}

enum vcpu_exit jit_vcpu_run(struct vcpu *vcpu)
{
	struct jit_vcpu *v = container_of(vcpu, struct jit_vcpu, vcpu);
	struct machine_events *ev = &v->engine->en.machine->events;
	enum vcpu_exit why;

	pthread_mutex_lock(&v->lock);
	v->inside = true;
	pthread_mutex_unlock(&v->lock);
	catch_up(v);
	/* Faults come back here. */
	_setjmp(v->top);
	why = run(v);
	atomic_store(&v->epoch, UINT64_MAX);
	jit_watch_pass(v, true);
	pthread_mutex_lock(&v->lock);
	jit_vcpu_work(v);
	v->inside = false;
	pthread_mutex_unlock(&v->lock);
	if (why == VCPU_DEAD && ev->crashed)
		ev->crashed(ev->arg, "there is no memory for translated code");
	return why;
}

void jit_fault_now(struct jit_vcpu *v, uintptr_t ra, const struct jit_fault *fault)
{
	struct jit_backend *be = v->engine->backend;

	be->class->restore(be, v->cpu, ra ? jit_cache_find(&v->engine->cache, ra) : NULL, ra);
	v->engine->isa->raise(jit_state(v), fault);
	_longjmp(v->top, 1);
}

void jit_step_now(struct jit_vcpu *v, uintptr_t ra)
{
	struct jit_backend *be = v->engine->backend;

	be->class->restore(be, v->cpu, jit_cache_find(&v->engine->cache, ra), ra);
	v->step = true;
	_longjmp(v->top, 1);
}
