/*
 * rpc.c - the handlers of protocol/worker.def, and the notifications. On the main thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/size.h"
#include "emul/core/device.h"
#include "emul/core/engine.h"
#include "emul/core/machine.h"
#include "emul/core/ram.h"
#include "virtio/balloon.h"
#include "vmproc/console.h"
#include "vmproc/setup.h"
#include "vmproc/worker.h"

static const uint64_t LOG_LIMIT = 16 * MiB;

static struct session *session_of(struct rpc_call *c)
{
	return rpc_call_arg(c);
}

static struct worker *worker_of(struct rpc_call *c)
{
	return session_of(c)->worker;
}

static struct vm *vm_of(struct rpc_call *c)
{
	return worker_of(c)->vm;
}

/* Who has not said the token may say nothing else. */
static int before(struct rpc_call *c, json_object **answer, struct err *e)
{
	(void)answer;
	if (session_of(c)->greeted || rpc_call_method(c) == &worker_table.methods[0])
		return 0;
	return rpc_error(e, "role.denied", "say worker.hello first");
}

/* ---- what there is to know ---- */

static uint64_t memory_in_use(const struct machine *m)
{
	struct stat st;

	return m && !fstat(m->ram->memfd, &st) ? (uint64_t)st.st_blocks * 512 : 0;
}

static void fill_open_layers(const struct jail_report *r, struct arena *mem, struct worker_state *s)
{
	s->open_layers.v = arena_alloc(mem, JAIL_LAYERS, sizeof(*s->open_layers.v));
	for (enum jail_layer l = 0; s->open_layers.v && l < JAIL_LAYERS; l++) {
		char *text;

		if (!r->missing[l][0])
			continue;
		text = arena_printf(mem, "%s: %s", jail_layer_name(l), r->missing[l]);
		if (text)
			s->open_layers.v[s->open_layers.n++] = text;
	}
}

void worker_fill_status(struct worker *w, struct arena *mem, struct worker_state *s)
{
	const struct vm_exit *x = vm_exit(w->vm);
	const struct setup *setup = vm_setup(w->vm);
	const struct machine *m = vm_machine(w->vm);
	int64_t heard = console_heard_at(vm_console(w->vm));

	*s = (struct worker_state){ .state = vm_state(w->vm), .phase = vm_phase(w->vm) };
	if (setup && setup->accel.engine) {
		s->accel = setup->accel.engine->name;
		s->accel_reason = arena_strdup(mem, setup->accel.reason);
	}
	if (*vm_reason(w->vm))
		s->reason = arena_strdup(mem, vm_reason(w->vm));
	s->has_vcpus = s->has_cpu_time = s->has_memory = m != NULL;
	s->vcpus = m ? m->n_cpus : 0;
	s->cpu_time = vm_cpu_ns(w->vm);
	s->memory = memory_in_use(m);
	s->has_exit_reason = s->has_exit_code = x->reason != EXIT_NONE;
	s->exit_reason = x->reason;
	s->exit_code = x->code;
	s->has_console_quiet = heard != 0;
	s->console_quiet = mono_ns() - heard;
	fill_open_layers(&w->report, mem, s);
}

static int do_worker_hello(struct rpc_call *c, const void *args, void *reply, struct err *e)
{
	const struct worker_hello_args *a = args;
	struct worker_hello_reply *r = reply;
	struct worker *w = worker_of(c);
	int rc = worker_greet(session_of(c), a->token, e);

	if (rc < 0)
		return rc;
	r->pid = (uint64_t)w->pid;
	r->name = w->name;
	worker_fill_status(w, rpc_call_mem(c), &r->status);
	return 0;
}

static int do_worker_status(struct rpc_call *c, const void *args, void *reply, struct err *e)
{
	struct worker_status_reply *r = reply;

	(void)args;
	(void)e;
	worker_fill_status(worker_of(c), rpc_call_mem(c), &r->status);
	return 0;
}

/* ---- the life of the VM ---- */

static int open_log(struct vm *vm, const struct worker_fd_list *fds, struct err *e)
{
	const struct worker_fd *f = setup_fd(fds, WORKER_FD_CONSOLE_LOG, 0, 0);
	int fd;

	if (!f)
		return 0;
	fd = fcntl(f->fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return err_sys(e, "cannot keep the log of the console");
	console_log(vm_console(vm), fd, LOG_LIMIT);
	return 0;
}

/* Files are closed before anything that came from outside is looked at. */
static int close_files(struct worker *w, const struct worker_fd_list *fds, struct err *e)
{
	int dirs[MACHINE_MAX_SHARES];
	size_t n = 0;

	for (size_t i = 0; i < fds->n && n < ARRAY_SIZE(dirs); i++)
		if (fds->v[i].role == WORKER_FD_SHARE)
			dirs[n++] = fds->v[i].fd;
	return jail_close_files(&w->jail, dirs, n, &w->report, e);
}

static unsigned call_groups(const struct setup *s)
{
	return (s->accel.fd >= 0 ? 1u << JAIL_KVM : 0) |
	       (s->config.n_shares ? 1u << JAIL_SHARE : 0);
}

static int build(struct worker *w, const struct worker_setup_args *a, struct err *e)
{
	struct setup *setup;
	unsigned groups;
	int r = close_files(w, &a->fds, e);

	if (r == 0)
		r = open_log(w->vm, &a->fds, e);
	if (r == 0)
		r = setup_make(&a->definition, &a->fds, vm_io_loop(w->vm), &setup, e);
	if (r < 0)
		return r;
	groups = call_groups(setup);
	r = vm_build(w->vm, setup, e);
	return r < 0 ? r : jail_seal(&w->jail, groups, &w->report, e);
}

static int do_worker_setup(struct rpc_call *c, const void *args, void *reply, struct err *e)
{
	struct worker_setup_reply *r = reply;
	struct worker *w = worker_of(c);
	int rc;

	if (w->built)
		return rpc_error(e, "vm.state", "this worker has been set up already");
	w->built = true;
	rc = build(w, args, e);
	if (rc < 0)
		return rc;
	r->pid = (uint64_t)w->pid;
	r->accel = vm_setup(w->vm)->accel.engine->name;
	r->accel_reason = vm_setup(w->vm)->accel.reason;
	return 0;
}

static int do_worker_run(struct rpc_call *c, const void *args, void *reply, struct err *e)
{
	(void)args;
	(void)reply;
	return vm_run(vm_of(c), e);
}

static int do_worker_pause(struct rpc_call *c, const void *args, void *reply, struct err *e)
{
	(void)args;
	(void)reply;
	return vm_pause(vm_of(c), e);
}

static int do_worker_unpause(struct rpc_call *c, const void *args, void *reply, struct err *e)
{
	(void)args;
	(void)reply;
	return vm_unpause(vm_of(c), e);
}

static int do_worker_reset(struct rpc_call *c, const void *args, void *reply, struct err *e)
{
	(void)args;
	(void)reply;
	return vm_reset(vm_of(c), e);
}

static int do_worker_powerdown(struct rpc_call *c, const void *args, void *reply, struct err *e)
{
	(void)args;
	(void)reply;
	return vm_powerdown(vm_of(c), e);
}

static int do_worker_quit(struct rpc_call *c, const void *args, void *reply, struct err *e)
{
	(void)args;
	(void)reply;
	(void)e;
	vm_kill(vm_of(c));
	return 0;
}

/* ---- console and devices ---- */

static int do_worker_console_attach(struct rpc_call *c, const void *args, void *reply,
				    struct err *e)
{
	const struct worker_console_attach_args *a = args;
	struct worker_console_attach_reply *r = reply;
	int fd = rpc_call_take_fd(c, a->fd), rc;

	if (fd < 0)
		return rpc_error(e, "rpc.params", "the socket is missing");
	rc = console_attach(vm_console(vm_of(c)), fd, a->write, a->force, e);
	if (rc < 0)
		close(fd);
	r->device = "ttyS0";
	return rc;
}

static int do_worker_console_tail(struct rpc_call *c, const void *args, void *reply, struct err *e)
{
	const struct worker_console_tail_args *a = args;
	struct worker_console_tail_reply *r = reply;
	autofree char *text =
	    console_tail(vm_console(vm_of(c)), (unsigned)MIN(MAX(a->lines, 1), 10000));

	r->text = text ? arena_strdup(rpc_call_mem(c), text) : NULL;
	return r->text ? 0 : err_nomem(e);
}

static struct device *find_balloon(const struct machine *m)
{
	struct device *dev;

	if (m)
		list_for_each(dev, &m->devices, struct device, node)
			if (virtio_is_balloon(dev))
				return dev;
	return NULL;
}

static int do_worker_balloon(struct rpc_call *c, const void *args, void *reply, struct err *e)
{
	const struct worker_balloon_args *a = args;
	struct worker_balloon_reply *r = reply;
	struct machine *m = vm_machine(vm_of(c));
	struct device *dev = find_balloon(m);

	if (!dev)
		return rpc_error(e, "not-supported", "this VM has no balloon");
	if (a->size > m->ram->size)
		return rpc_error(e, "rpc.params", "the VM has only %llu bytes of memory",
				 (unsigned long long)m->ram->size);
	virtio_balloon_set(dev, m->ram->size - a->size);
	r->has_memory = true;
	r->memory = m->ram->size - virtio_balloon_actual(dev);
	return 0;
}

static int do_worker_devices(struct rpc_call *c, const void *args, void *reply, struct err *e)
{
	struct worker_devices_reply *r = reply;
	const struct machine *m = vm_machine(vm_of(c));
	json_object *list = json_object_new_array();
	struct device *dev;

	(void)args;
	if (!list)
		return err_nomem(e);
	if (m)
		list_for_each(dev, &m->devices, struct device, node) {
			json_object *o = json_object_new_object();

			json_object_object_add(o, "name", json_object_new_string(dev->name));
			json_object_object_add(o, "model",
					       json_object_new_string(dev->class->name));
			json_object_object_add(o, "doc", json_object_new_string(dev->class->doc));
			json_object_array_add(list, o);
		}
	r->devices = list;
	return 0;
}

/* In the order of the table, which is the order of the file. */
#define METHOD(id, name, role, effect, doc, params, results) do_##id,
#define EVENT(id, name, doc, fields)
static rpc_handler *const handlers[] = {
#include "protocol/worker.def"
};
#undef METHOD
#undef EVENT

const struct rpc_service worker_service = {
	.table = &worker_table,
	.handlers = handlers,
	.before = before,
};

/* ---- notifications; what nobody hears is in worker.status ---- */

static void tell(struct worker *w, const char *name, const void *fields)
{
	if (w->daemon)
		rpc_notify_event(w->daemon->peer, &worker_table, name, fields, NULL);
}

void worker_tell_state(struct worker *w, enum vm_state from, enum vm_state to, const char *why)
{
	struct worker_state_event ev = { .from = from, .to = to, .reason = why };

	tell(w, "state", &ev);
}

void worker_tell_phase(struct worker *w, enum start_phase phase)
{
	struct worker_phase_event ev = { .phase = phase };

	tell(w, "phase", &ev);
}

void worker_tell_exit(struct worker *w, const struct vm_exit *x)
{
	autofree char *tail = console_tail(vm_console(w->vm), WORKER_TAIL_LINES);
	struct worker_exit_event ev = {
		.code = x->code,
		.reason = x->reason,
		.text = *x->text ? x->text : NULL,
		.tail = tail,
	};

	tell(w, "exit", &ev);
}
