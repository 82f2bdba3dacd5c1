/*
 * vm_life.c - the states of a VM: who changes them, who is told, and what is done when the process
 * has ended.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/log.h"
#include "base/own.h"
#include "daemon/vm.h"
#include "protocol/errors.h"

/* How long a VM that is removed when it stops can still be asked how it ended. */
static const int64_t LINGER_NS = INT64_C(10) * 1000000000;

static void save_or_warn(struct vm *vm)
{
	struct err e;

	if (vm_save(vm, &e) < 0)
		log_warning("the state of a VM is not on disk", "VM=%s", vm->def->name, "REASON=%s",
			    e.msg, NULL);
}

void vm_set_state(struct vm *vm, enum vm_state to, const char *reason)
{
	struct event_vm_state ev = { .from = vm->state, .to = to, .reason = reason };

	if (vm->state == to)
		return;
	vm->state = to;
	/* Once the guest has said how it ended, that is the reason. */
	if (reason || !vm->exit_told)
		snprintf(vm->reason, sizeof(vm->reason), "%s", reason ? reason : "");
	save_or_warn(vm);
	event_publish(vm->d, "vm.state", vm->def->name, &ev);
	log_info("vm state", "VM=%s", vm->def->name, "STATE=%s", rpc_enum_name(&vm_state_enum, to),
		 "REASON=%s", vm->reason, NULL);
	vm_check_waiters(vm);
	daemon_check_idle(vm->d);
}

void vm_set_phase(struct vm *vm, enum start_phase phase)
{
	struct event_vm_phase ev = { .phase = phase };

	if (vm->phase == phase)
		return;
	vm->phase = phase;
	if (phase != PHASE_NONE)
		event_publish(vm->d, "vm.phase", vm->def->name, &ev);
	vm_check_waiters(vm);
}

/* ---- waiters ---- */

void waiter_free(struct waiter *w)
{
	list_remove(&w->node);
	rpc_call_on_cancel(w->call, NULL, NULL);
	loop_watch_free(w->timer);
	free(w);
}

static void on_cancel(struct rpc_call *c, void *arg)
{
	struct err e;

	waiter_free(arg);
	rpc_error(&e, "request.cancelled", "nobody waits any more");
	rpc_call_fail(c, &e);
}

static void on_expired(void *arg)
{
	struct waiter *w = arg;

	w->expired(w);
}

int vm_wait_for(struct vm *vm, struct rpc_call *c, const struct waiter *how, int64_t timeout_ns,
		struct err *e)
{
	struct waiter *w = calloc(1, sizeof(*w));
	int r = 0;

	if (!w)
		return err_nomem(e);
	*w = *how;
	w->vm = vm;
	w->call = c;
	list_init(&w->node);
	if (timeout_ns >= 0)
		r = loop_timer(vm->d->loop, on_expired, w, &w->timer, e);
	if (r < 0) {
		free(w);
		return r;
	}
	if (w->timer)
		loop_timer_set(w->timer, timeout_ns);
	list_append(&vm->waiters, &w->node);
	rpc_call_on_cancel(c, on_cancel, w);
	if (w->ready(w))
		w->done(w);
	return RPC_LATER;
}

/* Answering one may change the VM, so look from the start each time. */
void vm_check_waiters(struct vm *vm)
{
	struct waiter *w;
	bool again = true;

	while (again) {
		again = false;
		list_for_each(w, &vm->waiters, struct waiter, node)
			if (w->ready(w)) {
				w->done(w);
				again = true;
				break;
			}
	}
}

void vm_release_waiters(struct vm *vm)
{
	while (!list_empty(&vm->waiters)) {
		struct waiter *w = list_entry(vm->waiters.next, struct waiter, node);

		w->done(w);
	}
}

/* ---- the time a VM is given ---- */

static void on_time_is_over(void *arg)
{
	struct vm *vm = arg;

	if (!vm->worker)
		return;
	if (time(NULL) < vm->kill_at) {
		vm_give_time(vm, vm->kill_at);
		return;
	}
	vm->has_exit = vm->exit_told = true;
	vm->exit_reason = EXIT_TIME_OVER;
	vm->exit_code = 0;
	vm_end(vm);
}

void vm_give_time(struct vm *vm, time_t until)
{
	time_t left = until - time(NULL);
	struct err e;

	vm->kill_at = until;
	if (!vm->kill_timer &&
	    loop_timer(vm->d->loop, on_time_is_over, vm, &vm->kill_timer, &e) < 0)
		return;
	loop_timer_set(vm->kill_timer, (left > 0 ? left : 0) * INT64_C(1000000000));
}

/* ---- what the worker says ---- */

void vm_exit_info(struct vm *vm, const struct worker_exit_event *x)
{
	struct event_vm_exit ev = { .exit_reason = x->reason,
				    .exit_code = x->code,
				    .reason = x->text };

	if (vm->exit_told)
		return;
	vm->has_exit = vm->exit_told = true;
	vm->exit_reason = x->reason;
	vm->exit_code = x->code;
	if (x->text)
		snprintf(vm->reason, sizeof(vm->reason), "%s", x->text);
	event_publish(vm->d, "vm.exit", vm->def->name, &ev);
}

static void state_event(struct vm *vm, const struct worker_state_event *ev)
{
	/* While the power button is pressed, and before the start is complete, we know better. */
	if (vm->start || vm->exit_told || (vm->powerdown_asked && ev->to == VM_RUNNING))
		return;
	if (ev->to == VM_RUNNING || ev->to == VM_PAUSED)
		vm_set_state(vm, ev->to, ev->reason);
}

void vm_worker_event(struct vm *vm, const char *method, json_object *params)
{
	const struct rpc_event *row = rpc_event_find(&worker_table, method);
	auto_arena mem = { NULL };
	struct rpc_input in = { .mem = &mem, .what = method, .lenient = true };
	union {
		struct worker_state_event state;
		struct worker_phase_event phase;
		struct worker_exit_event exit;
	} ev;
	struct err e;

	if (!row)
		return;
	if (rpc_parse(&row->fields, params, &ev, &in, &e) < 0) {
		log_warning("a worker says what cannot be", "VM=%s", vm->def->name, "REASON=%s",
			    e.msg, NULL);
		return;
	}
	if (!strcmp(method, "state"))
		state_event(vm, &ev.state);
	else if (!strcmp(method, "phase"))
		vm_set_phase(vm, ev.phase.phase);
	else
		vm_exit_info(vm, &ev.exit);
}

/* ---- the end ---- */

void vm_end(struct vm *vm)
{
	vm->kill_asked = true;
	if (vm->worker)
		worker_kill(vm->worker);
}

/* The guest's last words on disk, for an exit that no daemon was there to hear of. */
static void read_exit_record(struct vm *vm)
{
	const struct rpc_event *row = rpc_event_find(&worker_table, "exit");
	struct worker_exit_event ev;
	auto_arena mem = { NULL };
	json_object *json = NULL;
	struct err e;

	if (!vm->exit_told &&
	    state_load(vm->dir, "exit.json", &row->fields, &ev, &mem, &json, &e) == 0 && json)
		vm_exit_info(vm, &ev);
	json_object_put(json);
}

static void say_panic(struct vm *vm)
{
	auto_arena mem = { NULL };
	struct event_vm_guest_panic ev = { .reason = vm->reason };

	vm_tail_strings(vm, &mem, TAIL_LINES, &ev.tail);
	ev.has_tail = true;
	event_publish(vm->d, "vm.guest-panic", vm->def->name, &ev);
}

static void on_linger(void *arg)
{
	vm_remove(arg);
}

/* The process is gone and vm->exit_reason says why. Nothing of the run is left afterwards. */
void vm_finish(struct vm *vm)
{
	bool heard = !list_empty(&vm->waiters);
	char reason[sizeof(vm->reason)];
	bool crashed = vm->exit_reason == EXIT_CRASHED || vm->exit_reason == EXIT_LOST;
	struct err e;

	snprintf(reason, sizeof(reason), "%s", vm->reason);
	net_disconnect(vm);
	worker_clean_up(vm);
	vm->n_files = 0;
	vm->token[0] = 0;
	vm->powerdown_asked = vm->kill_asked = false;
	if (vm->kill_timer)
		loop_timer_set(vm->kill_timer, -1);
	vm->kill_at = 0;
	if (crashed)
		say_panic(vm);
	vm_set_state(vm, crashed ? VM_CRASHED : VM_STOPPED, reason[0] ? reason : NULL);
	if (!vm->temporary)
		return;
	/* Not inside a callback of the VM itself; and whoever has not asked yet still may. */
	if (vm->linger || loop_timer(vm->d->loop, on_linger, vm, &vm->linger, &e) == 0)
		loop_timer_set(vm->linger, heard ? 0 : LINGER_NS);
}

static void describe_death(struct vm *vm, bool known, int code, int status)
{
	if (!known)
		snprintf(vm->reason, sizeof(vm->reason), "its process ended without a word");
	else if (code == CLD_EXITED)
		snprintf(vm->reason, sizeof(vm->reason), "its process ended with exit code %d",
			 status);
	else
		snprintf(vm->reason, sizeof(vm->reason), "its process was killed by signal %d (%s)",
			 status, strsignal(status));
}

static struct vm *vm_by_id(struct daemon *d, uint64_t id)
{
	struct vm *vm;

	list_for_each(vm, &d->vms, struct vm, node)
		if (vm->id == id)
			return vm;
	return NULL;
}

/* By id: a failed start may have removed it already. */
void vm_remove_if_asked(struct daemon *d, uint64_t id)
{
	struct vm *vm = vm_by_id(d, id);

	if (!vm || !vm->removing)
		return;
	if (vm->remove_disks)
		vm_delete_disks(vm);
	vm_remove(vm);
}

void vm_worker_gone(struct vm *vm, bool known, int code, int status)
{
	struct daemon *d = vm->d;
	uint64_t id = vm->id;
	struct err why;

	read_exit_record(vm);
	if (!vm->exit_told) {
		vm->has_exit = vm->exit_told = true;
		vm->exit_code = 0;
		vm->exit_reason = vm->kill_asked ? EXIT_KILLED : EXIT_LOST;
		if (!vm->kill_asked)
			describe_death(vm, known, code, status);
		else
			vm->reason[0] = 0;
	}
	if (vm->start && vm->exit_reason != EXIT_KILLED && vm->exit_reason != EXIT_LOST &&
	    vm_start_was_complete(vm)) {
		/* A guest that ended before its start was acknowledged. */
		vm_finish(vm);
	} else if (vm->start) {
		rpc_error(&why, "start.failed", "%s",
			  vm->reason[0] ? vm->reason : "it was killed while it started");
		vm_start_failed(vm, &why);
	} else {
		vm_finish(vm);
	}
	vm_remove_if_asked(d, id);
}

/* Found by a new daemon: the process is not there any more. */
void vm_lost_while_away(struct vm *vm)
{
	bool ended = vm->state == VM_STOPPED || vm->state == VM_CRASHED;
	char reason[sizeof(vm->reason)];

	snprintf(reason, sizeof(reason), "%s", vm->reason);
	vm->exit_told = ended;
	read_exit_record(vm);
	if (!vm->exit_told) {
		vm->has_exit = vm->exit_told = true;
		vm->exit_code = 0;
		vm->exit_reason = EXIT_LOST;
		snprintf(vm->reason, sizeof(vm->reason), "%s", reason);
	} else if (!ended && vm->exit_reason != EXIT_CRASHED) {
		vm->reason[0] = 0;
	}
	vm_finish(vm);
}
