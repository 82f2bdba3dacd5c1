/*
 * fake_worker.c - answers worker.def without a machine behind it: for tests of the daemon. What it
 * shall do is said by the kernel command line of the definition ("append"):
 *
 *	poweroff=N   power off N milliseconds after the start
 *	exit=N       end with this code through the "test device"
 *	crash=TEXT   crash at once
 *	die          the process ends in worker.setup
 *	refuse       worker.setup fails
 *	hang         never answers worker.setup
 *	deaf         does not react to the power button
 *
 * It counts in its console, so that a reader sees whether it was disturbed.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/own.h"
#include "protocol/peer.h"
#include "protocol/vmdef.h"

enum { CONSOLES = 8, RING = 64 * 1024 };

struct fake {
	struct loop *loop;
	struct rpc_peer *peer;
	struct loop_watch *listen, *tick, *off, *term;
	char token[64], append[256], name[80];
	int log, exit_record, console[CONSOLES];
	size_t n_consoles;
	char ring[RING];
	size_t ring_len;
	enum vm_state state;
	enum start_phase phase;
	unsigned long count;
};

static void print(struct fake *f, const char *text)
{
	size_t n = strlen(text);

	if (f->log >= 0 && write(f->log, text, n) < 0)
		perror("console log");
	if (f->ring_len + n > RING)
		f->ring_len = 0;
	memcpy(f->ring + f->ring_len, text, n);
	f->ring_len += n;
	for (size_t i = 0; i < f->n_consoles; i++)
		if (send(f->console[i], text, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 &&
		    errno == EPIPE) {
			close(f->console[i]);
			f->console[i--] = f->console[--f->n_consoles];
		}
}

static const char *option(struct fake *f, const char *name)
{
	char *at = strstr(f->append, name);

	return at ? at + strlen(name) : NULL;
}

static void set_state(struct fake *f, enum vm_state to)
{
	struct worker_state_event ev = { .from = f->state, .to = to };

	f->state = to;
	if (f->peer)
		rpc_notify_event(f->peer, &worker_table, "state", &ev, NULL);
}

static void set_phase(struct fake *f, enum start_phase to)
{
	struct worker_phase_event ev = { .phase = to };

	f->phase = to;
	if (f->peer)
		rpc_notify_event(f->peer, &worker_table, "phase", &ev, NULL);
}

static void end(struct fake *f, enum exit_reason reason, int code, const char *text)
{
	struct worker_exit_event ev = { .code = code, .reason = reason, .text = text };
	json_object *o = rpc_build(&rpc_event_find(&worker_table, "exit")->fields, &ev, NULL, NULL);
	const char *s = json_object_to_json_string(o);

	if (f->exit_record >= 0 && write(f->exit_record, s, strlen(s)) < 0)
		perror("exit record");
	json_object_put(o);
	if (f->peer) {
		rpc_notify_event(f->peer, &worker_table, "exit", &ev, NULL);
		rpc_peer_flush(f->peer);
	}
	exit(0);
}

static void power_off(void *arg)
{
	struct fake *f = arg;

	print(f, "reboot: Power down\n");
	end(f, EXIT_POWEROFF, 0, NULL);
}

static void on_term(void *arg, int signo)
{
	(void)signo;
	power_off(arg);
}

static void tick(void *arg)
{
	struct fake *f = arg;
	char line[64];

	if (f->state == VM_RUNNING) {
		snprintf(line, sizeof(line), "count %lu\n", f->count++);
		print(f, line);
	}
	loop_timer_set(f->tick, 20000000);
}

/* ---- methods ---- */

static struct fake *fake_of(struct rpc_call *c)
{
	return rpc_call_arg(c);
}

static void status(struct fake *f, struct worker_state *s)
{
	s->state = f->state;
	s->phase = f->phase;
	s->accel = "interpreter";
}

static int worker_hello(struct rpc_call *c, const struct worker_hello_args *a,
			struct worker_hello_reply *r, struct err *e)
{
	struct fake *f = fake_of(c);

	if (f->token[0] && strcmp(f->token, a->token))
		return rpc_error(e, "role.denied", "wrong token");
	snprintf(f->token, sizeof(f->token), "%s", a->token);
	r->pid = (uint64_t)getpid();
	r->name = f->name;
	status(f, &r->status);
	return 0;
}

static int worker_setup(struct rpc_call *c, const struct worker_setup_args *a,
			struct worker_setup_reply *r, struct err *e)
{
	struct fake *f = fake_of(c);

	snprintf(f->append, sizeof(f->append), "%s",
		 a->definition.append ? a->definition.append : "");
	for (size_t i = 0; i < a->fds.n; i++) {
		int *to = a->fds.v[i].role == WORKER_FD_CONSOLE_LOG   ? &f->log
			  : a->fds.v[i].role == WORKER_FD_EXIT_RECORD ? &f->exit_record
								      : NULL;

		if (a->fds.v[i].role == WORKER_FD_NET) /* a card that is never read */
			rpc_call_take_fd(c, a->fds.v[i].fd);
		if (to)
			*to = rpc_call_take_fd(c, a->fds.v[i].fd);
	}
	if (option(f, "die")) {
		fprintf(stderr, "vmd-vm: no machine for me\n");
		exit(3);
	}
	if (option(f, "refuse"))
		return rpc_error(e, "kernel.format", "this is no kernel");
	if (option(f, "hang"))
		return RPC_LATER;
	r->pid = (uint64_t)getpid();
	r->accel = "interpreter";
	r->accel_reason = "it is a fake";
	return 0;
}

static int worker_run(struct rpc_call *c, const struct worker_run_args *a,
		      struct worker_run_reply *r, struct err *e)
{
	struct fake *f = fake_of(c);
	const char *s;

	(void)a;
	(void)r;
	(void)e;
	set_state(f, VM_RUNNING);
	set_phase(f, PHASE_KERNEL);
	print(f, "Linux version 0 (fake)\n");
	if ((s = option(f, "crash="))) {
		print(f, "Kernel panic - not syncing\n");
		end(f, EXIT_CRASHED, 7, s);
	}
	if ((s = option(f, "exit=")))
		end(f, EXIT_TEST_EXIT, atoi(s), NULL);
	if ((s = option(f, "poweroff=")))
		loop_timer_set(f->off, atoi(s) * INT64_C(1000000));
	else
		set_phase(f, PHASE_USERSPACE);
	return 0;
}

static int worker_pause(struct rpc_call *c, const struct worker_pause_args *a,
			struct worker_pause_reply *r, struct err *e)
{
	(void)a;
	(void)r;
	(void)e;
	set_state(fake_of(c), VM_PAUSED);
	return 0;
}

static int worker_unpause(struct rpc_call *c, const struct worker_unpause_args *a,
			  struct worker_unpause_reply *r, struct err *e)
{
	(void)a;
	(void)r;
	(void)e;
	set_state(fake_of(c), VM_RUNNING);
	return 0;
}

static int worker_reset(struct rpc_call *c, const struct worker_reset_args *a,
			struct worker_reset_reply *r, struct err *e)
{
	(void)a;
	(void)r;
	(void)e;
	fake_of(c)->count = 0;
	return 0;
}

static int worker_powerdown(struct rpc_call *c, const struct worker_powerdown_args *a,
			    struct worker_powerdown_reply *r, struct err *e)
{
	struct fake *f = fake_of(c);

	(void)a;
	(void)r;
	(void)e;
	if (!option(f, "deaf"))
		loop_timer_set(f->off, 5000000);
	return 0;
}

static int worker_quit(struct rpc_call *c, const struct worker_quit_args *a,
		       struct worker_quit_reply *r, struct err *e)
{
	(void)a;
	(void)r;
	(void)e;
	loop_timer_set(fake_of(c)->off, 0);
	return 0;
}

static int worker_status(struct rpc_call *c, const struct worker_status_args *a,
			 struct worker_status_reply *r, struct err *e)
{
	(void)a;
	(void)e;
	status(fake_of(c), &r->status);
	return 0;
}

static int worker_console_attach(struct rpc_call *c, const struct worker_console_attach_args *a,
				 struct worker_console_attach_reply *r, struct err *e)
{
	struct fake *f = fake_of(c);

	if (f->n_consoles == CONSOLES)
		return rpc_error(e, "limit.reached", "too many consoles");
	f->console[f->n_consoles] = rpc_call_take_fd(c, a->fd);
	if (send(f->console[f->n_consoles], f->ring, f->ring_len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		perror("console");
	f->n_consoles++;
	r->device = "ttyS0";
	return 0;
}

static int worker_console_tail(struct rpc_call *c, const struct worker_console_tail_args *a,
			       struct worker_console_tail_reply *r, struct err *e)
{
	(void)c;
	(void)a;
	(void)e;
	r->text = "";
	return 0;
}

static int worker_balloon(struct rpc_call *c, const struct worker_balloon_args *a,
			  struct worker_balloon_reply *r, struct err *e)
{
	(void)c;
	(void)e;
	r->memory = a->size;
	r->has_memory = true;
	return 0;
}

static int worker_devices(struct rpc_call *c, const struct worker_devices_args *a,
			  struct worker_devices_reply *r, struct err *e)
{
	(void)c;
	(void)a;
	(void)e;
	r->devices = json_object_new_array();
	return 0;
}

#define EVENT(id, name, doc, fields)
#define METHOD(id, name, role, effect, doc, params, results)                            \
	static int id##_call(struct rpc_call *c, const void *a, void *r, struct err *e) \
	{                                                                               \
		return id(c, a, r, e);                                                  \
	}
#include "protocol/worker.def"
#undef METHOD
#define METHOD(id, name, role, effect, doc, params, results) id##_call,
static rpc_handler *const handlers[] = {
#include "protocol/worker.def"
};
static const struct rpc_service service = { &worker_table, handlers, NULL, NULL };

static void on_closed(void *arg, const struct err *why)
{
	struct fake *f = arg;

	(void)why;
	rpc_peer_free(take(f->peer));
}

static const struct rpc_peer_ops ops = { &service, NULL, on_closed };

static void on_connection(void *arg, int fd, unsigned events)
{
	struct fake *f = arg;
	int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	struct err e;

	(void)events;
	if (conn < 0)
		return;
	if (f->peer)
		rpc_peer_free(take(f->peer));
	if (rpc_peer_new(f->loop, conn, &ops, f, &f->peer, &e) < 0)
		fprintf(stderr, "vmd-vm: %s\n", e.msg);
}

int main(int argc, char **argv)
{
	static struct fake f = { .log = -1, .exit_record = -1, .state = VM_STARTING };
	struct err e;
	int fd = 3;

	if (argc > 1 && !strcmp(argv[1], "--describe")) {
		puts("{\"machines\":[{\"name\":\"none\",\"doc\":\"a fake\"}],\"devices\":[]}");
		return 0;
	}
	if (argc > 1 && !strcmp(argv[1], "--describe-kvm")) {
		puts("{\"kvm\":\"a fake\"}");
		return 0;
	}
	for (int i = 1; i < argc; i++)
		if (argv[i][0] == '-')
			sscanf(argv[i], "--control-fd=%d", &fd);
		else
			snprintf(f.name, sizeof(f.name), "%s", argv[i]);
	if (loop_new(&f.loop, &e) < 0 ||
	    loop_fd(f.loop, fd, LOOP_READ, on_connection, &f, &f.listen, &e) < 0 ||
	    loop_timer(f.loop, tick, &f, &f.tick, &e) < 0 ||
	    loop_timer(f.loop, power_off, &f, &f.off, &e) < 0 ||
	    loop_signal(f.loop, SIGTERM, on_term, &f, &f.term, &e) < 0) {
		fprintf(stderr, "vmd-vm: %s\n", e.msg);
		return 1;
	}
	tick(&f);
	return loop_run(f.loop, &e) < 0;
}
