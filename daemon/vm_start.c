/*
 * vm_start.c - from a definition to a running guest: files, networks, process, then the calls
 * worker.hello, setup, console_attach and run, one after the other.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/own.h"
#include "daemon/vm.h"

/* Long enough for a worker that must wait for the host; one that hangs is ended. */
static const int64_t SETUP_NS = INT64_C(60) * 1000000000;

/* What the timer starts or watches over. */
enum step { STEP_CHAIN, STEP_NETS, STEP_WORKER };

struct start {
	struct vm *vm;
	start_done_fn *fn;
	void *arg;
	bool paused, write;
	int console;
	struct worker_fd fds[CONN_FDS];
	size_t n_fds;
	struct arena mem;
	struct loop_watch *timer;
	enum step step;
	struct chain *chain;
	unsigned nets_waiting; /* answers of networks */
	bool aborted;
	struct err why;
};

static void close_files(struct start *s)
{
	for (size_t i = 0; i < s->n_fds; i++)
		close(s->fds[i].fd);
	s->n_fds = 0;
}

static void start_free(struct start *s)
{
	close_files(s);
	if (s->chain)
		chain_free(s->chain);
	if (s->console >= 0)
		close(s->console);
	loop_watch_free(s->timer);
	arena_free(&s->mem);
	free(s);
}

void vm_error_data(struct vm *vm, json_object *data, enum start_phase phase)
{
	json_object *tail = json_object_new_array();
	auto_arena mem = { NULL };
	struct rpc_strings lines = { NULL, 0 };

	vm_tail_strings(vm, &mem, TAIL_LINES, &lines);
	for (size_t i = 0; i < lines.n; i++)
		json_object_array_add(tail, json_object_new_string(lines.v[i]));
	json_object_object_add(data, "vm", json_object_new_string(vm->def->name));
	json_object_object_add(data, "phase",
			       json_object_new_string(rpc_enum_name(&start_phase_enum, phase)));
	json_object_object_add(data, "console_tail", tail);
}

/* ---- what the worker is given ---- */

static int add_fd(struct start *s, enum worker_fd_role role, size_t index, int fd, struct err *e)
{
	if (s->n_fds == CONN_FDS) {
		close(fd);
		return rpc_error(e, "limit.reached", "a VM has at most %d files and cards",
				 CONN_FDS);
	}
	s->fds[s->n_fds++] =
	    (struct worker_fd){ .role = role, .index = index, .has_index = index != 0, .fd = fd };
	return 0;
}

static int add_kvm(struct start *s, struct err *e)
{
	enum vm_accel accel = s->vm->def->accel;
	int fd;

	if (accel != ACCEL_AUTO && accel != ACCEL_KVM)
		return 0;
	fd = open_as(s->vm->owner, s->vm->group, AT_FDCWD, "/dev/kvm", O_RDWR | O_CLOEXEC, 0);
	if (fd >= 0)
		return add_fd(s, WORKER_FD_KVM, 0, fd, e);
	if (accel == ACCEL_AUTO)
		return 0;
	err_sys(e, "cannot open /dev/kvm");
	return err_kind(e, "host.no-kvm");
}

static int add_logs(struct start *s, struct err *e)
{
	int fd, r = vm_rotate_console(s->vm, &fd, e);

	if (r == 0)
		r = add_fd(s, WORKER_FD_CONSOLE_LOG, 0, fd, e);
	if (r < 0)
		return r;
	fd = openat(s->vm->dir, "exit.json", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
		    0600);
	if (fd < 0)
		return err_sys(e, "cannot create the exit record");
	return add_fd(s, WORKER_FD_EXIT_RECORD, 0, fd, e);
}

static int gather(struct start *s, json_object *data, struct err *e)
{
	int r = vm_open_files(s->vm, s->fds, CONN_FDS, &s->n_fds, &s->mem, data, e);

	if (r == 0)
		r = add_kvm(s, e);
	return r < 0 ? r : add_logs(s, e);
}

/* ---- the end of a start ---- */

static void finished(struct start *s, const struct err *e)
{
	struct vm *vm = s->vm;
	start_done_fn *fn = s->fn;
	void *arg = s->arg;

	vm->start = NULL;
	start_free(s);
	fn(vm, arg, e);
}

static void forget_run(struct vm *vm)
{
	net_disconnect(vm);
	worker_clean_up(vm);
	vm->n_files = 0;
	vm->token[0] = 0;
	vm->kill_asked = false;
}

void vm_start_abort(struct vm *vm, const struct err *why)
{
	struct start *s = vm->start;

	if (s->aborted)
		return;
	s->aborted = true;
	s->why = *why;
	if (vm->worker)
		worker_kill(vm->worker);
}

bool vm_start_was_complete(struct vm *vm)
{
	struct start *s = vm->start;

	/* A lost connection is the guest's end as seen from here; any other error came before it
	 * ran. */
	if (s->aborted && (!s->why.kind || strcmp(s->why.kind, "vm.lost")))
		return false;
	vm->start = NULL;
	vm->started = time(NULL);
	vm_set_state(vm, VM_RUNNING, NULL);
	finished(s, NULL);
	return true;
}

/* The last thing the process wrote to its standard error says more than that it died. */
static void add_last_words(struct vm *vm, struct err *e)
{
	char text[512] = "", *line;
	autoclose int fd = openat(vm->dir, "worker.log", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0 || lseek(fd, -(off_t)sizeof(text) + 1, SEEK_END) < -1)
		return;
	n = read(fd, text, sizeof(text) - 1);
	while (n > 0 && text[n - 1] == '\n')
		text[--n] = 0;
	if (n <= 0)
		return;
	line = strrchr(text, '\n');
	line = line ? line + 1 : text;
	snprintf(e->msg + strlen(e->msg), sizeof(e->msg) - strlen(e->msg), ": %s", line);
}

void vm_start_failed(struct vm *vm, const struct err *why)
{
	struct start *s = vm->start;
	struct err e = *why;

	/* A lost connection is only how we learned that the process died. */
	if (s->aborted && s->why.kind && strcmp(s->why.kind, "vm.lost"))
		e = s->why;
	else if (vm->exit_reason == EXIT_LOST)
		add_last_words(vm, &e);
	err_in(&e, "cannot start '%s'", vm->def->name);
	forget_run(vm);
	vm_set_state(vm, VM_STOPPED, e.msg);
	finished(s, &e);
}

/* ---- the calls, in order ---- */

static void answered_run(void *arg, struct rpc_answer *a)
{
	struct start *s = arg;
	struct vm *vm = s->vm;

	if (a->e) {
		vm_start_abort(vm, a->e);
		return;
	}
	s->vm->started = time(NULL);
	/* The state of a VM under "start" is not taken from the worker: say it here. */
	vm->start = NULL;
	vm->not_run = s->paused;
	vm_set_state(vm, s->paused ? VM_PAUSED : VM_RUNNING, NULL);
	finished(s, NULL);
}

static void send_or_abort(struct start *s, const char *method, const void *args, rpc_answer_fn *fn)
{
	struct rpc_peer *p = worker_peer(s->vm->worker);
	struct err e;
	int r = p ? rpc_send_args(p, &worker_table, method, args, fn, s, &e)
		  : rpc_error(&e, "vm.lost", "the connection is closed");

	if (r < 0)
		vm_start_abort(s->vm, &e);
}

static void send_run(struct start *s)
{
	struct worker_run_args none;
	struct rpc_answer yes = { .e = NULL };

	if (s->paused)
		answered_run(s, &yes);
	else
		send_or_abort(s, "worker.run", &none, answered_run);
}

static void answered_console(void *arg, struct rpc_answer *a)
{
	struct start *s = arg;

	if (a->e)
		vm_start_abort(s->vm, a->e);
	else
		send_run(s);
}

static void answered_setup(void *arg, struct rpc_answer *a)
{
	struct start *s = arg;
	struct vm *vm = s->vm;
	struct rpc_input in = { .mem = &s->mem, .what = "worker.setup", .lenient = true };
	const struct rpc_method *m = rpc_method_find(&worker_table, "worker.setup");
	struct worker_console_attach_args attach = { .fd = s->console, .has_fd = true };
	struct worker_setup_reply r;
	struct err e;

	close_files(s);
	if (a->e) {
		vm_start_abort(vm, a->e);
		return;
	}
	if (rpc_parse(&m->reply, a->result, &r, &in, &e) < 0) {
		vm_start_abort(vm, &e);
		return;
	}
	snprintf(vm->accel, sizeof(vm->accel), "%s", r.accel);
	snprintf(vm->accel_reason, sizeof(vm->accel_reason), "%s",
		 r.accel_reason ? r.accel_reason : "");
	loop_timer_set(s->timer, -1);
	if (s->console < 0) {
		send_run(s);
		return;
	}
	attach.write = attach.has_write = s->write;
	send_or_abort(s, "worker.console_attach", &attach, answered_console);
}

static int greeted(struct start *s, json_object *result, struct err *e)
{
	const struct rpc_method *m = rpc_method_find(&worker_table, "worker.hello");
	struct rpc_input in = { .mem = &s->mem, .what = m->name, .lenient = true };
	struct worker_hello_reply r;
	int ret = rpc_parse(&m->reply, result, &r, &in, e);

	if (ret == 0)
		ret = worker_greeted(s->vm->worker, (pid_t)r.pid, e);
	if (ret < 0)
		return ret;
	scope_begin(s->vm);
	return vm_save(s->vm, e); /* with its pid */
}

static void answered_hello(void *arg, struct rpc_answer *a)
{
	struct start *s = arg;
	struct worker_setup_args setup = { .definition = *s->vm->def, .has_definition = true };
	struct err e;

	if (a->e || greeted(s, a->result, &e) < 0) {
		vm_start_abort(s->vm, a->e ? a->e : &e);
		return;
	}
	setup.fds.v = s->fds;
	setup.fds.n = s->n_fds;
	vm_def_drop_fds(&setup.definition);
	send_or_abort(s, "worker.setup", &setup, answered_setup);
}

/* ---- the process ---- */

static int new_token(struct vm *vm, struct err *e)
{
	unsigned char raw[16];

	if (getrandom(raw, sizeof(raw), 0) != sizeof(raw))
		return err_sys(e, "no random numbers");
	for (size_t i = 0; i < sizeof(raw); i++)
		snprintf(vm->token + 2 * i, 3, "%02x", raw[i]);
	return 0;
}

static int spawn(struct start *s, struct err *e)
{
	struct vm *vm = s->vm;
	struct worker_hello_args hello = { .token = vm->token };
	autoclose int log =
	    openat(vm->dir, "worker.log",
		   O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r;

	if (log < 0)
		return err_sys(e, "cannot create the worker's log");
	r = worker_spawn(vm, log, &vm->worker, e);
	if (r < 0)
		return r;
	s->step = STEP_WORKER;
	loop_timer_set(s->timer, SETUP_NS);
	r = rpc_send_args(worker_peer(vm->worker), &worker_table, "worker.hello", &hello,
			  answered_hello, s, e);
	if (r < 0) {
		/* The process has done nothing yet: it need not be waited for. */
		worker_end(take(vm->worker));
	}
	return r;
}

/* ---- the steps before there is a process ---- */

static void fail_early(struct start *s, const struct err *why)
{
	struct vm *vm = s->vm;
	struct daemon *d = vm->d;
	uint64_t id = vm->id;
	struct err e = *why;

	err_in(&e, "cannot start '%s'", vm->def->name);
	forget_run(vm);
	vm_set_state(vm, VM_STOPPED, e.msg);
	finished(s, &e);
	vm_remove_if_asked(d, id);
}

/* Did somebody end the VM meanwhile? Then the start has failed, and s is gone. */
static bool was_ended(struct start *s)
{
	struct err e;

	if (!s->vm->kill_asked)
		return false;
	rpc_error(&e, "start.failed", "it was killed while it started");
	fail_early(s, &e);
	return true;
}

static void start_worker(struct start *s)
{
	struct err e;

	if (!was_ended(s) && spawn(s, &e) < 0)
		fail_early(s, &e);
}

static void nets_answered(void *arg, const struct vm_forward_list *forwards, const struct err *e)
{
	struct start *s = arg;

	s->nets_waiting--;
	if (e && !s->aborted) {
		s->aborted = true;
		s->why = *e;
	}
	if (forwards)
		net_forwards_are(s->vm, forwards);
	if (s->nets_waiting)
		return;
	if (s->aborted)
		fail_early(s, &s->why);
	else
		start_worker(s);
}

static int connect_nets(struct start *s, struct err *e)
{
	const struct vm_def *def = s->vm->def;
	int fd, r = 0;

	for (size_t i = 0; r >= 0 && i < def->nets.n; i++) {
		r = net_connect(s->vm, i, nets_answered, s, &fd, e);
		s->nets_waiting += r > 0;
		if (r >= 0 && fd >= 0)
			r = add_fd(s, WORKER_FD_NET, i, fd, e);
	}
	for (size_t i = 0; r >= 0 && i < def->forwards.n; i++) {
		r = net_forward(s->vm, FORWARD_ADD, &def->forwards.v[i], nets_answered, s, e);
		s->nets_waiting += r >= 0;
	}
	return r;
}

/* What fails here fails when the answers that are under way have come. */
static void start_nets(struct start *s)
{
	struct err e;

	if (was_ended(s))
		return;
	s->step = STEP_NETS;
	s->nets_waiting = 1;
	nets_answered(s, NULL, connect_nets(s, &e) < 0 ? &e : NULL);
}

static void chain_known(void *arg, const struct err *e)
{
	struct start *s = arg;

	chain_free(take(s->chain));
	if (e)
		fail_early(s, e);
	else
		start_nets(s);
}

static void start_chain(struct start *s)
{
	struct err e;

	if (!s->vm->def->disks.n && !s->vm->def->cdroms.n)
		start_nets(s);
	else if (chain_resolve(s->vm, s->fds, CONN_FDS, &s->n_fds, &s->mem, chain_known, s,
			       &s->chain, &e) < 0)
		fail_early(s, &e);
}

static void on_timer(void *arg)
{
	struct start *s = arg;
	struct err e;

	if (s->step == STEP_CHAIN) {
		start_chain(s);
		return;
	}
	rpc_error(&e, "start.timeout", "its process has not set up the machine within a minute");
	vm_start_abort(s->vm, &e);
}

void vm_start_drop(struct vm *vm)
{
	start_free(take(vm->start));
}

/* ---- the beginning ---- */

static struct start *start_new(struct vm *vm, const struct start_options *o, start_done_fn *fn,
			       void *arg)
{
	struct start *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->vm = vm;
	s->fn = fn;
	s->arg = arg;
	s->paused = o->paused;
	s->write = o->write;
	s->console = o->console < 0 ? -1 : fcntl(o->console, F_DUPFD_CLOEXEC, 3);
	return s;
}

int vm_start_begin(struct vm *vm, const struct start_options *o, start_done_fn *fn, void *arg,
		   json_object *data, struct err *e)
{
	struct start *s = start_new(vm, o, fn, arg);
	int r;

	if (!s)
		return err_nomem(e);
	r = vm_check_memory(vm, e);
	if (r < 0) {
		start_free(s);
		return err_in(e, "cannot start '%s'", vm->def->name);
	}
	vm->has_exit = vm->exit_told = vm->kill_asked = vm->powerdown_asked = false;
	vm->phase = PHASE_NONE;
	vm->start = s;
	if (vm->linger)
		loop_timer_set(vm->linger, -1);
	r = new_token(vm, e);
	if (r == 0) {
		vm_set_state(vm, VM_STARTING, NULL);
		vm_set_phase(vm, PHASE_DISKS);
		r = gather(s, data, e);
	}
	if (r == 0)
		r = loop_timer(vm->d->loop, on_timer, s, &s->timer, e);
	if (r == 0) {
		loop_timer_set(s->timer, 0);
		return 0;
	}
	err_in(e, "cannot start '%s'", vm->def->name);
	if (data)
		vm_error_data(vm, data, PHASE_DISKS);
	forget_run(vm);
	vm->start = NULL;
	start_free(s);
	vm_set_state(vm, VM_STOPPED, e->msg);
	return r;
}
