/*
 * adopt.c - a new daemon finds the processes that an earlier one started. The record of a VM holds
 * a token; its socket leads to the process if there is one; the process says what it is doing.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/own.h"
#include "base/size.h"
#include "daemon/process.h"
#include "daemon/vm.h"

/* A process that does not answer is ended: a VM that cannot be steered is not "running". */
static const int64_t HELLO_NS = INT64_C(30) * 1000000000;

struct adoption {
	struct vm *vm;
	struct arena mem;
	struct loop_watch *timer;
};

static void adoption_free(struct adoption *a)
{
	a->vm->d->adopting--;
	loop_watch_free(a->timer);
	arena_free(&a->mem);
	free(a);
}

/* There is no process: what the last daemon wrote about a running VM is not so any more. */
static void no_process(struct vm *vm, const char *reason)
{
	if (vm->state == VM_STOPPED || vm->state == VM_CRASHED)
		return;
	vm->exit_told = false;
	snprintf(vm->reason, sizeof(vm->reason), "%.250s", reason);
	vm_lost_while_away(vm);
}

static void take_over(struct vm *vm, const struct worker_hello_reply *h)
{
	struct event_vm_adopted ev = { .pid = h->pid };

	vm->phase = h->status.phase;
	vm->not_run = h->status.state == VM_STARTING;
	vm->powerdown_asked = vm->state == VM_STOPPING && h->status.state == VM_RUNNING;
	if (h->status.accel)
		snprintf(vm->accel, sizeof(vm->accel), "%s", h->status.accel);
	event_publish(vm->d, "vm.adopted", vm->def->name, &ev);
	log_info("vm adopted", "VM=%s", vm->def->name, "PID=%d", (int)h->pid, NULL);
	vm_set_state(vm,
		     vm->powerdown_asked              ? VM_STOPPING
		     : h->status.state == VM_STARTING ? VM_PAUSED
		     : h->status.state == VM_STOPPING ? VM_RUNNING
						      : h->status.state,
		     NULL);
	if (vm->kill_at)
		vm_give_time(vm, vm->kill_at);
	/* Somebody wanted its end before we knew its process. */
	if (vm->kill_asked)
		vm_end(vm);
	vm_check_waiters(vm);
}

/* It has a process, and the daemon that wanted it died before the machine was set up. */
static void end_half_started(struct vm *vm)
{
	vm->has_exit = vm->exit_told = true;
	vm->exit_reason = EXIT_KILLED;
	vm->exit_code = 0;
	snprintf(vm->reason, sizeof(vm->reason), "the daemon ended while it was being started");
	vm_end(vm);
}

static void hello(void *arg, struct rpc_answer *ans)
{
	const struct rpc_method *m = rpc_method_find(&worker_table, "worker.hello");
	struct adoption *a = arg;
	struct vm *vm = a->vm;
	struct rpc_input in = { .mem = &a->mem, .what = m->name, .lenient = true };
	struct worker_hello_reply h;
	struct err e;
	bool was_starting = vm->state == VM_STARTING;
	int r;

	if (ans->e) {
		/* Lost: the pidfd, or the lack of one, has told already. */
		e = *ans->e;
		r = e.code;
	} else {
		r = rpc_parse(&m->reply, ans->result, &h, &in, &e);
	}
	if (r == 0)
		r = worker_greeted(vm->worker, (pid_t)h.pid, &e);
	if (r < 0) {
		log_warning("a process does not let itself be adopted", "VM=%s", vm->def->name,
			    "REASON=%s", e.msg, NULL);
		if (vm->worker && !worker_pid(vm->worker)) {
			worker_free(take(vm->worker));
			no_process(vm, e.msg);
		}
	} else if (was_starting) {
		end_half_started(vm);
	} else {
		take_over(vm, &h);
	}
	adoption_free(a);
}

static void no_answer(void *arg)
{
	struct adoption *a = arg;
	struct vm *vm = a->vm;

	log_warning("a process does not answer", "VM=%s", vm->def->name, NULL);
	if (vm->old_pid && process_start_time(vm->old_pid) == vm->old_pid_start)
		kill(vm->old_pid, SIGKILL);
	/* Freeing it answers the call, which frees the adoption. */
	worker_free(take(vm->worker));
	no_process(vm, "its process did not answer");
}

static int begin(struct vm *vm, struct err *e)
{
	struct worker_hello_args args = { .token = vm->token };
	struct adoption *a;
	int r = worker_adopt(vm, &vm->worker, e);

	if (r < 0)
		return r;
	a = calloc(1, sizeof(*a));
	if (!a)
		return err_nomem(e);
	a->vm = vm;
	vm->d->adopting++;
	r = loop_timer(vm->d->loop, no_answer, a, &a->timer, e);
	if (r == 0)
		r = rpc_send_args(worker_peer(vm->worker), &worker_table, "worker.hello", &args,
				  hello, a, e);
	if (r < 0) {
		adoption_free(a);
		return r;
	}
	loop_timer_set(a->timer, HELLO_NS);
	return 0;
}

static void adopt(struct vm *vm)
{
	struct err e;

	if (!vm->token[0]) {
		no_process(vm, "the host was restarted");
		return;
	}
	if (begin(vm, &e) == 0)
		return;
	if (vm->worker)
		worker_free(take(vm->worker));
	no_process(vm, "its process ended while no daemon was there");
}

static void nothing(void *arg)
{
	(void)arg;
}

/* Until every process has answered, or for two seconds: then clients see what is. */
static void wait_for_all(struct daemon *d)
{
	int64_t until = mono_ns() + INT64_C(2) * 1000000000;
	autoptr(loop_watch) timer = NULL;

	if (loop_timer(d->loop, nothing, NULL, &timer, NULL) < 0)
		return;
	loop_timer_set(timer, until - mono_ns());
	while (d->adopting && mono_ns() < until)
		loop_once(d->loop, true);
}

/* Removing a VM changes the list, but only from timers: not while we walk it. */
void vms_adopt(struct daemon *d)
{
	struct vm *vm;

	list_for_each(vm, &d->vms, struct vm, node) {
		if (vm->state != VM_STOPPED && vm->state != VM_CRASHED)
			adopt(vm);
		else if (vm->temporary)
			vm_lost_while_away(vm);
		else
			worker_clean_up(vm);
	}
	wait_for_all(d);
}
