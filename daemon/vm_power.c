/* vm_power.c - methods that start and stop VMs, and those that wait for it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/vm.h"

/* ---- start ---- */

static bool phase_reached(const struct waiter *w)
{
	return w->vm->phase >= w->want || !w->vm->worker;
}

static void start_reply(struct vm *vm, struct rpc_call *c)
{
	struct vm_start_reply *r = rpc_call_reply(c);

	r->id = vm->id;
	r->pid = vm->worker ? (uint64_t)worker_pid(vm->worker) : 0;
	r->state = vm->state;
	r->changed = true;
	rpc_call_done(c);
}

static void start_waited(struct waiter *w)
{
	struct rpc_call *c = w->call;
	struct vm *vm = w->vm;
	bool reached = vm->phase >= w->want;
	struct err e;

	waiter_free(w);
	if (reached) {
		start_reply(vm, c);
		return;
	}
	vm_error_data(vm, rpc_call_error_data(c), vm->phase);
	rpc_error(&e, vm->state == VM_CRASHED ? "start.guest-panic" : "start.failed",
		  "'%s' ended before it had started%s%s", vm->def->name, vm->reason[0] ? ": " : "",
		  vm->reason);
	rpc_call_fail(c, &e);
}

static void start_expired(struct waiter *w)
{
	struct rpc_call *c = w->call;
	struct vm *vm = w->vm;
	enum start_phase want = w->want;
	struct err e;

	waiter_free(w);
	vm_error_data(vm, rpc_call_error_data(c), vm->phase);
	rpc_error(&e, "start.timeout", "'%s' has not come to the phase '%s', it is at '%s'",
		  vm->def->name, rpc_enum_name(&start_phase_enum, want),
		  rpc_enum_name(&start_phase_enum, vm->phase));
	rpc_call_fail(c, &e);
}

static const struct waiter start_wait = { .ready = phase_reached,
					  .done = start_waited,
					  .expired = start_expired };

static void on_started(struct vm *vm, void *arg, const struct err *why)
{
	struct rpc_call *c = arg;
	const struct vm_start_args *a = rpc_call_args(c);
	struct waiter how = start_wait;
	struct err e;

	if (why) {
		vm_error_data(vm, rpc_call_error_data(c), vm->phase);
		rpc_call_fail(c, why);
		return;
	}
	how.want = a->wait;
	if (!a->has_wait)
		start_reply(vm, c);
	else if (vm_wait_for(vm, c, &how, a->timeout, &e) < 0)
		rpc_call_fail(c, &e);
}

int method_vm_start(struct rpc_call *c, const struct vm_start_args *a, struct vm_start_reply *r,
		    struct err *e)
{
	struct start_options o = { .paused = a->paused, .write = a->write, .console = a->console };
	struct vm *vm;
	int ret = vm_of_call(c, a->vm, true, &vm, e);

	if (ret < 0)
		return ret;
	if (vm->worker || vm->start) {
		r->id = vm->id;
		r->pid = vm->worker ? (uint64_t)worker_pid(vm->worker) : 0;
		r->state = vm->state;
		return 0;
	}
	ret = vm_start_begin(vm, &o, on_started, c, rpc_call_error_data(c), e);
	return ret < 0 ? ret : RPC_LATER;
}

/* ---- one call of the worker, then a state ---- */

/* All of these replies begin alike, and are named as the wire names them. */
_Static_assert(sizeof(struct vm_pause_reply) == sizeof(struct vm_stop_reply) &&
		   sizeof(struct vm_unpause_reply) == sizeof(struct vm_stop_reply) &&
		   sizeof(struct vm_reset_reply) == sizeof(struct vm_stop_reply) &&
		   sizeof(struct vm_kill_reply) == sizeof(struct vm_stop_reply),
	       "replies of the power methods differ");

static void reply_state(struct rpc_call *c, enum vm_state state, bool changed)
{
	struct vm_stop_reply *r = rpc_call_reply(c);

	r->state = state;
	r->changed = changed;
	rpc_call_done(c);
}

static void steered(void *arg, struct rpc_answer *a)
{
	struct rpc_call *c = arg;
	/* The method says what the state is afterwards. */
	const char *method = rpc_call_method(c)->name;
	const char *name = ((const struct vm_pause_args *)rpc_call_args(c))->vm;
	struct vm *vm = vm_by_name(daemon_of(c), name);

	if (a->e) {
		rpc_call_fail(c, a->e);
		return;
	}
	if (vm && vm->worker && !vm->powerdown_asked) {
		if (!strcmp(method, "vm.pause"))
			vm_set_state(vm, VM_PAUSED, NULL);
		else if (!strcmp(method, "vm.unpause"))
			vm_set_state(vm, VM_RUNNING, NULL);
		vm->not_run = vm->not_run && strcmp(method, "vm.unpause");
	}
	reply_state(c, vm ? vm->state : VM_STOPPED, true);
}

static int steer(struct rpc_call *c, struct vm *vm, const char *method, struct err *e)
{
	struct rpc_peer *p = vm->worker ? worker_peer(vm->worker) : NULL;
	int r;

	if (!p)
		return rpc_error(e, "vm.lost", "the process of '%s' does not listen",
				 vm->def->name);
	r = rpc_send(p, method, NULL, NULL, 0, steered, c, e);
	return r < 0 ? r : RPC_LATER;
}

static int not_running(struct vm *vm, const char *verb, struct err *e)
{
	return rpc_error(e, "vm.state", "cannot %s '%s': it is %s", verb, vm->def->name,
			 rpc_enum_name(&vm_state_enum, vm->state));
}

int method_vm_pause(struct rpc_call *c, const struct vm_pause_args *a, struct vm_pause_reply *r,
		    struct err *e)
{
	struct vm *vm;
	int ret = vm_of_call(c, a->vm, true, &vm, e);

	if (ret < 0)
		return ret;
	r->state = vm->state;
	if (vm->state == VM_PAUSED)
		return 0;
	return vm->state == VM_RUNNING ? steer(c, vm, "worker.pause", e)
				       : not_running(vm, "pause", e);
}

/* A VM that was started with "paused" has not run yet. */
int method_vm_unpause(struct rpc_call *c, const struct vm_unpause_args *a,
		      struct vm_unpause_reply *r, struct err *e)
{
	struct vm *vm;
	int ret = vm_of_call(c, a->vm, true, &vm, e);

	if (ret < 0)
		return ret;
	r->state = vm->state;
	if (vm->state == VM_RUNNING)
		return 0;
	if (vm->state != VM_PAUSED)
		return not_running(vm, "unpause", e);
	return steer(c, vm, vm->not_run ? "worker.run" : "worker.unpause", e);
}

int method_vm_reset(struct rpc_call *c, const struct vm_reset_args *a, struct vm_reset_reply *r,
		    struct err *e)
{
	struct vm *vm;
	int ret = vm_of_call(c, a->vm, true, &vm, e);

	(void)r;
	if (ret < 0)
		return ret;
	if (vm->state != VM_RUNNING && vm->state != VM_PAUSED && vm->state != VM_STOPPING)
		return not_running(vm, "reset", e);
	vm_set_phase(vm, PHASE_FIRMWARE);
	return steer(c, vm, "worker.reset", e);
}

/* ---- the end of a run ---- */

static bool is_off(const struct waiter *w)
{
	return !w->vm->worker && !w->vm->start &&
	       (w->vm->state == VM_STOPPED || w->vm->state == VM_CRASHED);
}

static void is_off_now(struct waiter *w)
{
	struct rpc_call *c = w->call;
	enum vm_state state = w->vm->state;

	waiter_free(w);
	reply_state(c, state, true);
}

static const struct waiter off = { .ready = is_off, .done = is_off_now };

int method_vm_kill(struct rpc_call *c, const struct vm_kill_args *a, struct vm_kill_reply *r,
		   struct err *e)
{
	struct vm *vm;
	int ret = vm_of_call(c, a->vm, true, &vm, e);

	if (ret < 0)
		return ret;
	r->state = vm->state;
	if (!vm_is_busy(vm))
		return 0;
	vm_end(vm);
	return vm_wait_for(vm, c, &off, -1, e);
}

/* The guest took too long: end it when that was asked for, else give up. */
static void stop_expired(struct waiter *w)
{
	struct rpc_call *c = w->call;
	const struct vm_stop_args *a = rpc_call_args(c);
	struct vm *vm = w->vm;
	struct err e;

	if (a->force) {
		vm_end(vm);
		return;
	}
	waiter_free(w);
	vm->powerdown_asked = false;
	vm_set_state(vm, VM_RUNNING, "the guest did not react to the power button");
	vm_error_data(vm, rpc_call_error_data(c), vm->phase);
	rpc_error(&e, "stop.timeout", "'%s' has not powered off in time", vm->def->name);
	rpc_call_fail(c, &e);
}

static void pressed(void *arg, struct rpc_answer *a)
{
	struct rpc_call *c = arg;
	const struct vm_stop_args *args = rpc_call_args(c);
	struct vm *vm = vm_by_name(daemon_of(c), args->vm);
	struct waiter how = off;
	struct err e;

	how.expired = stop_expired;
	if (a->e && vm && vm->worker && !args->force) {
		vm->powerdown_asked = false;
		rpc_call_fail(c, a->e);
	} else if (!vm || !args->wait) {
		reply_state(c, vm ? vm->state : VM_STOPPED, true);
	} else if (vm_wait_for(vm, c, &how,
			       args->has_timeout ? args->timeout : vm->def->shutdown_timeout,
			       &e) < 0) {
		rpc_call_fail(c, &e);
	}
}

/* A paused guest cannot react, so it goes on first. */
static int press_power_button(struct rpc_call *c, struct vm *vm, struct err *e)
{
	struct rpc_peer *p = worker_peer(vm->worker);
	int r = 0;

	if (!p)
		return rpc_error(e, "vm.lost", "the process of '%s' does not listen",
				 vm->def->name);
	if (vm->state == VM_PAUSED)
		r = rpc_send(p, vm->not_run ? "worker.run" : "worker.unpause", NULL, NULL, 0, NULL,
			     NULL, e);
	if (r == 0)
		r = rpc_send(p, "worker.powerdown", NULL, NULL, 0, pressed, c, e);
	if (r < 0)
		return r;
	vm->not_run = false;
	vm->powerdown_asked = true;
	vm_set_state(vm, VM_STOPPING, NULL);
	return RPC_LATER;
}

int method_vm_stop(struct rpc_call *c, const struct vm_stop_args *a, struct vm_stop_reply *r,
		   struct err *e)
{
	struct vm *vm;
	int ret = vm_of_call(c, a->vm, true, &vm, e);

	if (ret < 0)
		return ret;
	r->state = vm->state;
	if (!vm_is_busy(vm))
		return 0;
	/* Nothing runs in it yet that could be asked. */
	if (vm->start || (a->force && a->has_timeout && a->timeout == 0)) {
		vm_end(vm);
		return vm_wait_for(vm, c, &off, -1, e);
	}
	ret = press_power_button(c, vm, e);
	if (ret < 0 && a->force) {
		vm_end(vm);
		ret = vm_wait_for(vm, c, &off, -1, e);
	}
	return ret;
}

/* ---- wait ---- */

static bool wait_state(const struct waiter *w)
{
	return w->vm->state == (enum vm_state)w->want;
}

static void wait_reply(struct waiter *w)
{
	struct rpc_call *c = w->call;
	struct vm_wait_reply *r = rpc_call_reply(c);
	struct vm *vm = w->vm;
	struct arena *mem = rpc_call_mem(c);

	waiter_free(w);
	r->state = vm->state;
	r->phase = vm->phase;
	r->exit_reason = vm->exit_reason;
	r->exit_code = vm->exit_code;
	r->has_exit_reason = r->has_exit_code = vm->has_exit && !vm->worker;
	r->reason = vm->reason[0] ? clean_text(mem, vm->reason, strlen(vm->reason)) : NULL;
	if (!vm->worker && vm->has_exit && vm->exit_reason != EXIT_POWEROFF) {
		vm_tail_strings(vm, mem, TAIL_LINES, &r->tail);
		r->has_tail = true;
	}
	rpc_call_done(c);
}

static void wait_expired(struct waiter *w)
{
	struct rpc_call *c = w->call;
	struct vm *vm = w->vm;
	struct err e;

	waiter_free(w);
	vm_error_data(vm, rpc_call_error_data(c), vm->phase);
	rpc_error(&e, "wait.timeout", "'%s' is still %s", vm->def->name,
		  rpc_enum_name(&vm_state_enum, vm->state));
	rpc_call_fail(c, &e);
}

int method_vm_wait(struct rpc_call *c, const struct vm_wait_args *a, struct vm_wait_reply *r,
		   struct err *e)
{
	struct waiter how = { .ready = is_off, .done = wait_reply, .expired = wait_expired };
	struct vm *vm;
	int ret = vm_of_call(c, a->vm, false, &vm, e);

	(void)r;
	if (ret < 0)
		return ret;
	if (a->has_state) {
		how.ready = wait_state;
		how.want = a->state;
	} else if (a->has_phase) {
		how.ready = phase_reached;
		how.want = a->phase;
	}
	return vm_wait_for(vm, c, &how, a->has_timeout ? a->timeout : -1, e);
}
