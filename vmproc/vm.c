#include "vmproc/vm.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/loop.h"
#include "base/size.h"
#include "emul/core/machine.h"
#include "vmproc/console.h"
#include "vmproc/crew.h"
#include "vmproc/phase.h"
#include "vmproc/setup.h"
#include "vmproc/thread.h"

/* A kernel that has said its last words and then nothing for this long is dead. */
static const int64_t PANIC_WAIT_NS = 2000000000;
/* A guest that panics and resets was well before, when it had run this long: it may try again. */
static const int64_t WELL_NS = 60000000000;

enum wish { WISH_NONE, WISH_RESET, WISH_POWEROFF, WISH_CRASH };

struct vm {
	struct loop *loop;
	struct vm_events events;
	struct io_thread *io;
	struct console *console;
	struct setup *setup;
	struct machine *machine;
	struct crew *crew;
	struct phase_watch watch;
	struct loop_watch *panic_timer;
	enum vm_state state;
	unsigned holds; /* the machine stands still while there are any */
	bool paused;    /* one of them is the user's */
	char reason[256];
	struct vm_exit exit;
	int64_t booted_at;    /* mono_ns() of the last power-on or reset */
	pthread_mutex_t lock; /* guards the wish: any thread may have one */
	enum wish wish;
	int wish_code;
	char wish_text[256];
};

static void set_state(struct vm *vm, enum vm_state to, const char *reason)
{
	enum vm_state from = vm->state;

	snprintf(vm->reason, sizeof(vm->reason), "%s", reason ? reason : "");
	if (from == to)
		return;
	vm->state = to;
	if (vm->events.state)
		vm->events.state(vm->events.arg, from, to, reason);
}

static int wrong_state(const struct vm *vm, const char *what, struct err *e)
{
	err_set(e, -EBUSY, "a VM that is %s cannot be %s", rpc_enum_name(&vm_state_enum, vm->state),
		what);
	return err_kind(e, "vm.state");
}

/* Something for the I/O thread, which owns the queues of disks and networks; the caller waits. */
struct errand {
	void (*fn)(struct machine *m);
	struct machine *machine;
	sem_t done;
};

static void run_errand(void *arg)
{
	struct errand *w = arg;

	w->fn(w->machine);
	sem_post(&w->done);
}

static void on_io_thread(struct vm *vm, void (*fn)(struct machine *m))
{
	struct errand w = { .fn = fn, .machine = vm->machine };

	sem_init(&w.done, 0, 0);
	if (loop_post(io_thread_loop(vm->io), run_errand, &w))
		while (sem_wait(&w.done) < 0)
			;
	sem_destroy(&w.done);
}

/* CPUs first, then what they started, then time. */
static void hold(struct vm *vm)
{
	if (vm->holds++)
		return;
	crew_hold(vm->crew);
	on_io_thread(vm, machine_quiesce);
}

static void release(struct vm *vm)
{
	if (--vm->holds)
		return;
	on_io_thread(vm, machine_resume);
	crew_release(vm->crew);
}

static void end(struct vm *vm, enum exit_reason why, int code, const char *text)
{
	if (vm->exit.reason != EXIT_NONE)
		return;
	vm->exit.reason = why;
	vm->exit.code = code;
	snprintf(vm->exit.text, sizeof(vm->exit.text), "%s", text ? text : "");
	if (vm->crew)
		hold(vm);
	set_state(vm, why == EXIT_CRASHED ? VM_CRASHED : VM_STOPPED, text);
	if (vm->events.ended)
		vm->events.ended(vm->events.arg, &vm->exit);
}

static void crash(struct vm *vm, const char *text)
{
	end(vm, EXIT_CRASHED, VM_CRASH_CODE, text);
}

static int load(struct vm *vm, struct err *e)
{
	int r = setup_before_load(vm->setup, e);

	if (r == 0)
		r = machine_reset(vm->machine, e);
	setup_after_load(vm->setup);
	return r;
}

/* A wish that came while the CPUs were being stopped for the same thing. */
static void forget_wish(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	vm->wish = WISH_NONE;
	pthread_mutex_unlock(&vm->lock);
}

/* Devices must be quiet before they are reset, so that nothing old completes in the new life. */
static int restart(struct vm *vm, struct err *e)
{
	int r;

	hold(vm);
	forget_wish(vm);
	phase_restart(&vm->watch);
	vm->booted_at = mono_ns();
	r = load(vm, e);
	if (r == 0)
		release(vm);
	return r;
}

static void guest_resets(struct vm *vm)
{
	bool was_well = vm->watch.phase == PHASE_USERSPACE && mono_ns() - vm->booted_at > WELL_NS;
	struct err e;

	if (vm->watch.panic[0] && !was_well) {
		crash(vm, vm->watch.panic);
		return;
	}
	if (restart(vm, &e) < 0)
		crash(vm, e.msg);
	else if (vm->state == VM_STOPPING)
		set_state(vm, VM_RUNNING, NULL);
}

/* On the main thread: do what the guest wanted. Its CPUs stop by themselves meanwhile. */
static void on_wish(void *arg)
{
	struct vm *vm = arg;
	char text[sizeof(vm->wish_text)];
	enum wish wish;
	int code;

	pthread_mutex_lock(&vm->lock);
	wish = vm->wish;
	code = vm->wish_code;
	memcpy(text, vm->wish_text, sizeof(text));
	vm->wish = WISH_NONE;
	pthread_mutex_unlock(&vm->lock);

	if (vm->exit.reason != EXIT_NONE)
		return;
	/* The text that led here may still be on its way. */
	console_drain(vm->console, 0);
	switch (wish) {
	case WISH_NONE: break;
	case WISH_RESET: guest_resets(vm); break;
	case WISH_POWEROFF: end(vm, code ? EXIT_TEST_EXIT : EXIT_POWEROFF, code, NULL); break;
	case WISH_CRASH: crash(vm, text); break;
	}
	if (vm->exit.reason == EXIT_NONE)
		crew_go_on(vm->crew);
}

/* From any thread. The first wish stands until the main thread has seen it. */
static void have_wish(struct vm *vm, enum wish wish, int code, const char *text)
{
	bool first;

	pthread_mutex_lock(&vm->lock);
	first = vm->wish == WISH_NONE;
	if (first) {
		vm->wish = wish;
		vm->wish_code = code;
		snprintf(vm->wish_text, sizeof(vm->wish_text), "%s", text);
	}
	pthread_mutex_unlock(&vm->lock);
	if (!first)
		return;
	if (vm->crew)
		crew_stop_soon(vm->crew);
	loop_post(vm->loop, on_wish, vm);
}

static void guest_poweroff(void *arg, int code)
{
	have_wish(arg, WISH_POWEROFF, code, "");
}

static void guest_reset(void *arg)
{
	have_wish(arg, WISH_RESET, 0, "");
}

static void guest_crashed(void *arg, const char *why)
{
	have_wish(arg, WISH_CRASH, 0, why);
}

struct phase_note {
	struct vm *vm;
	enum start_phase phase;
};

static void on_phase(void *arg)
{
	struct phase_note *n = arg;

	phase_reach(&n->vm->watch, n->phase);
	free(n);
}

static void guest_phase(void *arg, const char *phase)
{
	int value = rpc_enum_value(&start_phase_enum, phase);
	struct vm *vm = arg;
	struct phase_note *n;

	if (value < 0)
		return;
	n = malloc(sizeof(*n));
	if (!n)
		return;
	n->vm = vm;
	n->phase = (enum start_phase)value;
	if (!loop_post(vm->loop, on_phase, n))
		free(n);
}

static void phase_moved(void *arg, enum start_phase phase)
{
	struct vm *vm = arg;

	if (vm->events.phase)
		vm->events.phase(vm->events.arg, phase);
}

static void on_panic_timer(void *arg)
{
	struct vm *vm = arg;

	if (vm->watch.stands && vm->exit.reason == EXIT_NONE)
		crash(vm, vm->watch.panic);
}

static void console_heard(void *arg, const char *text, size_t len)
{
	struct vm *vm = arg;

	phase_hear(&vm->watch, text, len);
	loop_timer_set(vm->panic_timer, vm->watch.stands ? PANIC_WAIT_NS : -1);
}

int vm_new(struct loop *loop, const struct vm_events *events, struct vm **ret, struct err *e)
{
	autoptr(vm) vm = calloc(1, sizeof(*vm));
	int r;

	if (!vm)
		return err_nomem(e);
	pthread_mutex_init(&vm->lock, NULL);
	vm->loop = loop;
	vm->state = VM_STARTING;
	if (events)
		vm->events = *events;
	phase_init(&vm->watch, phase_moved, vm);
	r = io_thread_new(&vm->io, e);
	if (r == 0)
		r = console_new(loop, &vm->console, e);
	if (r == 0)
		r = loop_timer(loop, on_panic_timer, vm, &vm->panic_timer, e);
	if (r < 0)
		return r;
	console_listen(vm->console, console_heard, vm);
	*ret = take(vm);
	return 0;
}

/* Disks are closed after the machine, which has queues on them. */
void vm_free(struct vm *vm)
{
	if (vm->crew)
		crew_free(vm->crew);
	if (vm->io)
		io_thread_stop(vm->io);
	if (vm->machine)
		machine_free(vm->machine);
	if (vm->setup)
		setup_free(vm->setup);
	loop_watch_free(vm->panic_timer);
	if (vm->console)
		console_free(vm->console);
	if (vm->io)
		io_thread_free(vm->io);
	pthread_mutex_destroy(&vm->lock);
	free(vm);
}

int vm_build(struct vm *vm, struct setup *s, struct err *e)
{
	struct machine_events ev = {
		.poweroff = guest_poweroff,
		.reset = guest_reset,
		.crashed = guest_crashed,
		.phase = guest_phase,
		.arg = vm,
	};
	int r;

	vm->setup = s;
	phase_reach(&vm->watch, PHASE_DISKS);
	s->config.console = console_chardev(vm->console);
	r = machine_new(s->board, s->isa, &s->config, &ev, vm->loop, io_thread_loop(vm->io),
			s->accel.engine, s->accel.fd, &vm->machine, e);
	if (r == 0)
		r = io_thread_run(vm->io, e);
	if (r == 0)
		r = load(vm, e);
	if (r == 0)
		r = crew_new(vm->machine->cpus, vm->machine->n_cpus, &vm->crew, e);
	if (r == 0)
		vm->holds = 1; /* as the crew begins; the clock stands too */
	return r;
}

int vm_run(struct vm *vm, struct err *e)
{
	if (vm->state != VM_STARTING || !vm->crew)
		return wrong_state(vm, "started", e);
	vm->booted_at = mono_ns();
	set_state(vm, VM_RUNNING, NULL);
	release(vm);
	return 0;
}

int vm_pause(struct vm *vm, struct err *e)
{
	if (vm->state == VM_PAUSED)
		return 0;
	if (vm->state != VM_RUNNING)
		return wrong_state(vm, "paused", e);
	vm->paused = true;
	hold(vm);
	set_state(vm, VM_PAUSED, NULL);
	return 0;
}

int vm_unpause(struct vm *vm, struct err *e)
{
	if (vm->state == VM_RUNNING)
		return 0;
	if (vm->state != VM_PAUSED)
		return wrong_state(vm, "unpaused", e);
	vm->paused = false;
	set_state(vm, VM_RUNNING, NULL);
	release(vm);
	return 0;
}

int vm_reset(struct vm *vm, struct err *e)
{
	int r;

	if (vm->state != VM_RUNNING && vm->state != VM_PAUSED && vm->state != VM_STOPPING)
		return wrong_state(vm, "reset", e);
	r = restart(vm, e);
	if (r < 0)
		crash(vm, e ? e->msg : "the guest could not be loaded again");
	else if (vm->state == VM_STOPPING)
		set_state(vm, VM_RUNNING, NULL);
	return r;
}

int vm_powerdown(struct vm *vm, struct err *e)
{
	if (vm->state != VM_RUNNING && vm->state != VM_STOPPING)
		return wrong_state(vm, "shut down", e);
	if (!vm->machine->board->powerdown) {
		err_set(e, -EOPNOTSUPP, "a %s has no power button", vm->machine->board->name);
		err_hint(e, "shut the guest down from inside, or end it with 'vmctl kill'");
		return err_kind(e, "not-supported");
	}
	set_state(vm, VM_STOPPING, NULL);
	vm->machine->board->powerdown(vm->machine);
	return 0;
}

void vm_kill(struct vm *vm)
{
	end(vm, EXIT_KILLED, 0, NULL);
}

struct loop *vm_io_loop(struct vm *vm)
{
	return io_thread_loop(vm->io);
}

struct console *vm_console(struct vm *vm)
{
	return vm->console;
}

enum vm_state vm_state(const struct vm *vm)
{
	return vm->state;
}

enum start_phase vm_phase(const struct vm *vm)
{
	return vm->watch.phase;
}

const char *vm_reason(const struct vm *vm)
{
	return vm->reason;
}

const struct vm_exit *vm_exit(const struct vm *vm)
{
	return &vm->exit;
}

int64_t vm_cpu_ns(const struct vm *vm)
{
	return vm->crew ? crew_cpu_ns(vm->crew) : 0;
}

struct machine *vm_machine(const struct vm *vm)
{
	return vm->machine;
}

const struct setup *vm_setup(const struct vm *vm)
{
	return vm->setup;
}
