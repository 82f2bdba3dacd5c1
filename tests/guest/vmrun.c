/*
 * vmrun.c - plays the daemon for one worker: starts vmd-vm, sets up a VM, copies its console to
 * standard output, and ends as the guest ends. For tests that boot guests without a daemon, and for
 * looking at a worker alone.
 *
 * Exit codes: the guest's own; 7 it crashed; 6 time is up; 5 it printed what it must not; 4 it did
 * not print what it must; 1 anything else.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <regex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/loop.h"
#include "base/size.h"
#include "base/strbuf.h"
#include "protocol/peer.h"
#include "protocol/vmdef.h"
#include "storage/disk.h"
#include "tests/guest/vmrun.h"

enum { END_TIMEOUT = 6, END_BAD = 5, END_MISSING = 4 };

struct run {
	struct options o;
	struct loop *loop;
	struct rpc_peer *peer;
	struct loop_watch *console_watch, *timer, *input_watch, *shaker, *scales;
	int console;
	pid_t first; /* the process that was started */
	pid_t pid;   /* the worker, which may be another */
	struct strbuf text;
	bool ended, gone, stopped, matched, paused;
	int code;
	char directory[64], socket[96];
};

static _Noreturn void die(struct run *run, const char *what, const struct err *e)
{
	fprintf(stderr, "vmrun: %s%s%s\n", what, e ? ": " : "", e ? e->msg : "");
	if (e && e->hint[0])
		fprintf(stderr, "vmrun: %s\n", e->hint);
	if (run->pid > 0)
		kill(run->pid, SIGKILL);
	unlink(run->socket);
	rmdir(run->directory);
	exit(1);
}

static void stop(struct run *run, int code)
{
	if (!run->stopped)
		run->code = code;
	run->stopped = true;
}

/* ---- starting the worker ---- */

static void start_process(struct run *run, int listen_fd)
{
	char arg[32];
	const char *argv[8] = { run->o.program, "guest", arg };
	int n = 3;

	snprintf(arg, sizeof(arg), "--control-fd=%d", listen_fd);
	if (run->o.pid_namespace)
		argv[n++] = "--pid-namespace";
	if (run->o.no_jail)
		argv[n++] = "--no-jail";
	run->first = run->pid = fork();
	if (run->pid)
		return;
	setsid();
	fcntl(listen_fd, F_SETFD, 0);
	execv(run->o.program, (char *const *)argv);
	perror(run->o.program);
	_exit(127);
}

static void on_event(void *arg, const char *method, json_object *params)
{
	struct run *run = arg;
	struct worker_exit_event ev;
	struct rpc_input in = { .what = method };
	struct arena mem = { 0 };

	if (run->o.verbose)
		fprintf(stderr, "vmrun: %s %s\n", method, json_object_to_json_string(params));
	if (strcmp(method, "exit"))
		return;
	in.mem = &mem;
	if (rpc_parse(&rpc_event_find(&worker_table, "exit")->fields, params, &ev, &in, NULL) ==
	    0) {
		if (ev.reason == EXIT_CRASHED)
			fprintf(stderr, "vmrun: the guest crashed: %s\n", ev.text ? ev.text : "?");
		run->ended = true;
		stop(run, (int)ev.code);
	}
	arena_free(&mem);
}

static void on_closed(void *arg, const struct err *why)
{
	struct run *run = arg;

	(void)why;
	run->gone = true;
	if (!run->ended) {
		fprintf(stderr, "vmrun: the worker is gone\n");
		stop(run, 1);
	}
}

static const struct rpc_peer_ops peer_ops = { NULL, on_event, on_closed };

static void start_worker(struct run *run)
{
	struct err e;
	int fd;

	snprintf(run->directory, sizeof(run->directory), "/tmp/vmrun.XXXXXX");
	if (!mkdtemp(run->directory))
		die(run, "cannot make a directory", NULL);
	snprintf(run->socket, sizeof(run->socket), "%s/worker", run->directory);
	if (rpc_listen(run->socket, SOCK_SEQPACKET, 4, &fd, &e) < 0)
		die(run, "no socket", &e);
	start_process(run, fd);
	close(fd);
	if (rpc_connect(run->loop, run->socket, SOCK_SEQPACKET, &peer_ops, run, &run->peer, &e) < 0)
		die(run, "no connection", &e);
}

/* ---- calls ---- */

static json_object *call(struct run *run, const char *method, json_object *params, const int *fds,
			 size_t n)
{
	json_object *result = NULL;
	struct err e;

	if (rpc_client_call(run->peer, method, params, fds, n, &result, NULL, NULL, &e) < 0)
		die(run, method, &e);
	if (run->o.verbose)
		fprintf(stderr, "vmrun: %s -> %s\n", method, json_object_to_json_string(result));
	return result;
}

static void call_args(struct run *run, const char *method, const void *args)
{
	const struct rpc_method *m = rpc_method_find(&worker_table, method);
	int fds[CONN_FDS];
	size_t n = CONN_FDS;
	json_object *params = rpc_build(&m->args, args, fds, &n);

	json_object_put(call(run, method, params, fds, n));
}

static void hello(struct run *run)
{
	struct worker_hello_args a = { .token = "vmrun" };
	const struct rpc_method *m = rpc_method_find(&worker_table, "worker.hello");
	json_object *r = call(run, "worker.hello", rpc_build(&m->args, &a, NULL, NULL), NULL, 0),
		    *v;

	if (json_object_object_get_ex(r, "pid", &v))
		run->pid = json_object_get_int(v);
	json_object_put(r);
}

static void status(struct run *run)
{
	json_object *r = call(run, "worker.status", NULL, NULL, 0);

	fprintf(stderr, "vmrun: status %s\n", json_object_to_json_string(r));
	json_object_put(r);
}

/* ---- the files of the machine ---- */

struct files {
	struct worker_fd fd[CONN_FDS];
	size_t n;
	struct vm_disk disks[OPTIONS_MAX];
	struct vm_share shares[OPTIONS_MAX];
	struct vm_net nets[OPTIONS_MAX];
	struct disk_chain chains[OPTIONS_MAX];
};

static struct worker_fd *add(struct run *run, struct files *f, enum worker_fd_role role,
			     uint64_t index, int fd, const char *path)
{
	if (f->n == CONN_FDS)
		die(run, "too many files", NULL);
	if (fd < 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		die(run, "a file cannot be opened", NULL);
	}
	f->fd[f->n] = (struct worker_fd){ .role = role, .index = index, .fd = fd, .path = path };
	f->fd[f->n].has_index = true;
	return &f->fd[f->n++];
}

static void add_file(struct run *run, struct files *f, enum worker_fd_role role, const char *path)
{
	if (path)
		add(run, f, role, 0, open(path, O_RDONLY | O_CLOEXEC), path);
}

static void add_disk(struct run *run, struct files *f, size_t i)
{
	const struct disk_arg *d = &run->o.disks[i];
	struct disk_dirs dirs = { .own_dir = true };
	struct disk_gate gate = disk_gate_dirs(&dirs);
	struct disk_options o = { .gate = &gate };
	struct err e;

	o.flags =
	    (d->readonly ? DISK_RDONLY : 0) | (d->snapshot ? DISK_SNAPSHOT : 0) | DISK_PROBE_RAW;
	if (disk_resolve(d->path, &o, &f->chains[i], &e) < 0)
		die(run, d->path, &e);
	for (unsigned k = 0; k < f->chains[i].n; k++) {
		struct disk_link *l = &f->chains[i].links[k];
		struct worker_fd *w =
		    add(run, f, k ? WORKER_FD_BACKING : WORKER_FD_DISK, i, l->fd, l->path);

		w->depth = k;
		w->has_depth = true;
		w->format = l->format;
		w->name = l->name;
		w->temporary = w->has_temporary = l->temporary;
	}
	f->disks[i] = (struct vm_disk){ .path = { d->path, -1 },
					.readonly = d->readonly,
					.has_readonly = true,
					.snapshot = d->snapshot,
					.has_snapshot = true };
}

static void add_all(struct run *run, struct files *f)
{
	const struct options *o = &run->o;

	add_file(run, f, WORKER_FD_KERNEL, o->kernel);
	add_file(run, f, WORKER_FD_INITRD, o->initrd);
	add_file(run, f, WORKER_FD_FIRMWARE, o->firmware);
	for (size_t i = 0; i < o->n_disks; i++)
		add_disk(run, f, i);
	for (size_t i = 0; i < o->n_shares; i++) {
		add(run, f, WORKER_FD_SHARE, i,
		    open(o->shares[i], O_PATH | O_DIRECTORY | O_CLOEXEC), o->shares[i]);
		f->shares[i] = (struct vm_share){ .dir = { o->shares[i], -1 }, .tag = "share" };
	}
	for (size_t i = 0; i < o->n_nets; i++) {
		if (o->net_fds[i] >= 0)
			add(run, f, WORKER_FD_NET, i, o->net_fds[i], "net");
		f->nets[i] = (struct vm_net){ .kind = o->net_fds[i] >= 0 ? NET_SWITCH : NET_NONE,
					      .name = "n",
					      .has_kind = true };
	}
	if (o->log)
		add(run, f, WORKER_FD_CONSOLE_LOG, 0,
		    open(o->log, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), o->log);
	if (access("/dev/kvm", R_OK | W_OK) == 0)
		add(run, f, WORKER_FD_KVM, 0, open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
}

static void setup(struct run *run)
{
	struct worker_setup_args a = { .definition = { .name = "guest" } };
	struct vm_def *d = &a.definition;
	const struct options *o = &run->o;
	struct files f = { .n = 0 };

	add_all(run, &f);
	d->machine = o->machine;
	d->cpu = o->cpu;
	d->cpus = o->cpus;
	d->memory = o->memory;
	d->accel = o->accel;
	d->append = o->append;
	d->has_machine = d->has_cpus = d->has_memory = d->has_accel = true;
	d->disks = (struct vm_disk_list){ f.disks, o->n_disks };
	d->nets = (struct vm_net_list){ f.nets, o->n_nets };
	d->shares = (struct vm_share_list){ f.shares, o->n_shares };
	a.fds = (struct worker_fd_list){ f.fd, f.n };
	call_args(run, "worker.setup", &a);
	for (size_t i = 0; i < f.n; i++)
		if (f.fd[i].role != WORKER_FD_DISK && f.fd[i].role != WORKER_FD_BACKING)
			close(f.fd[i].fd);
	for (size_t i = 0; i < o->n_disks; i++)
		disk_chain_free(&f.chains[i]);
}

/* ---- the console ---- */

static bool matches(const char *regex, const char *text)
{
	regex_t re;
	bool yes;

	if (regcomp(&re, regex, REG_EXTENDED | REG_NOSUB))
		return false;
	yes = regexec(&re, text, 0, NULL, 0) == 0;
	regfree(&re);
	return yes;
}

/*
 * Memory by what it is for, in KiB of the proportional set size: pages that are mapped twice, as
 * those of translated code are, count once.
 */
static bool show_memory(struct run *run)
{
	unsigned long kb, sum[3] = { 0 };
	enum { OWN, GUEST, CODE } what = OWN;
	char path[64], line[512];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps", (int)run->pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (run->o.verbose)
			fputs(line, stderr);
		if (strchr(line, '-') && strchr(line, '-') < strchr(line, ' '))
			what = strstr(line, "memfd:ram")        ? GUEST
			       : strstr(line, "memfd:vmd-code") ? CODE
								: OWN;
		if (sscanf(line, "Pss: %lu", &kb) == 1)
			sum[what] += kb;
	}
	if (f)
		fclose(f);
	fprintf(stderr, "vmrun: memory own=%luK code=%luK guest=%luK\n", sum[OWN], sum[CODE],
		sum[GUEST]);
	return !run->o.memory_limit || sum[OWN] + sum[CODE] <= run->o.memory_limit / KiB;
}

/* A guest that idles: its worker gives memory back when it notices. Until the time is up. */
static void on_scales(void *arg)
{
	struct run *run = arg;

	if (show_memory(run))
		stop(run, 0);
	else
		loop_timer_set(run->scales, INT64_C(1000000000));
}

static void look(struct run *run)
{
	const struct options *o = &run->o;

	if (o->bad && matches(o->bad, run->text.data))
		stop(run, END_BAD);
	if (!o->until || run->matched || !matches(o->until, run->text.data))
		return;
	run->matched = true;
	if (o->send && write(run->console, o->send, strlen(o->send)) < 0)
		stop(run, 1);
	if (o->memory_limit)
		loop_timer_set(run->scales, 0);
	else if (o->show_memory)
		show_memory(run);
	if (!o->send && !o->memory_limit)
		stop(run, 0);
}

static void on_console(void *arg, int fd, unsigned events)
{
	struct run *run = arg;
	char buf[16 << 10];
	ssize_t n = read(fd, buf, sizeof(buf));

	(void)events;
	if (n <= 0) {
		loop_fd_set(run->console_watch, 0);
		return;
	}
	if (!run->o.quiet && write(STDOUT_FILENO, buf, (size_t)n) < 0)
		stop(run, 1);
	for (ssize_t i = 0; i < n; i++)
		if (!buf[i])
			buf[i] = '?';
	strbuf_add(&run->text, buf, (size_t)n);
	look(run);
}

static void on_input(void *arg, int fd, unsigned events)
{
	struct run *run = arg;
	char buf[1024];
	ssize_t n = read(fd, buf, sizeof(buf));

	(void)events;
	if (n <= 0)
		loop_fd_set(run->input_watch, 0);
	else if (write(run->console, buf, (size_t)n) < 0)
		stop(run, 1);
}

static void attach(struct run *run)
{
	struct worker_console_attach_args a = { .write = true, .has_write = true };
	struct err e;
	int p[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p) < 0)
		die(run, "no socket for the console", NULL);
	a.fd = p[1];
	call_args(run, "worker.console_attach", &a);
	close(p[1]);
	run->console = p[0];
	if (loop_fd(run->loop, p[0], LOOP_READ, on_console, run, &run->console_watch, &e) < 0)
		die(run, "console", &e);
	if (run->o.input &&
	    loop_fd(run->loop, STDIN_FILENO, LOOP_READ, on_input, run, &run->input_watch, &e) < 0)
		die(run, "input", &e);
}

static void on_timeout(void *arg)
{
	struct run *run = arg;

	fprintf(stderr, "vmrun: the time is up\n");
	stop(run, END_TIMEOUT);
}

static void on_shake(void *arg)
{
	struct run *run = arg;

	run->paused = !run->paused;
	rpc_send(run->peer, run->paused ? "worker.pause" : "worker.unpause", NULL, NULL, 0, NULL,
		 NULL, NULL);
	loop_timer_set(run->shaker, run->paused ? 2000000 : 15000000);
}

/* What the guest said last may still be on its way when the worker has said that it ended. */
static void rest_of_console(struct run *run)
{
	char buf[4096];
	ssize_t n;

	if (!run->ended)
		return;
	while ((n = read(run->console, buf, sizeof(buf))) > 0) {
		if (!run->o.quiet && write(STDOUT_FILENO, buf, (size_t)n) < 0)
			return;
		strbuf_add(&run->text, buf, (size_t)n);
	}
}

static int finish(struct run *run)
{
	struct rusage u;
	int st;

	if (run->o.show_status && !run->gone)
		status(run);
	if (!run->ended && run->pid > 0)
		kill(run->pid, SIGKILL);
	rest_of_console(run);
	while (wait(&st) > 0)
		;
	getrusage(RUSAGE_CHILDREN, &u);
	if (run->o.show_cpu)
		fprintf(stderr, "vmrun: cpu %.3f\n",
			(double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
			    (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6);
	unlink(run->socket);
	rmdir(run->directory);
	if (run->code == 0 && run->o.must &&
	    !(run->text.data && matches(run->o.must, run->text.data))) {
		fprintf(stderr, "vmrun: the console did not show: %s\n", run->o.must);
		return END_MISSING;
	}
	return run->code;
}

int main(int argc, char **argv)
{
	struct run run = { .console = -1 };
	struct err e;

	if (!options_parse(argc, argv, &run.o))
		return 1;
	signal(SIGPIPE, SIG_IGN);
	if (loop_new(&run.loop, &e) < 0)
		die(&run, "loop", &e);
	start_worker(&run);
	hello(&run);
	setup(&run);
	attach(&run);
	if (loop_timer(run.loop, on_timeout, &run, &run.timer, &e) < 0)
		die(&run, "timer", &e);
	loop_timer_set(run.timer, run.o.timeout * INT64_C(1000000000));
	if (loop_timer(run.loop, on_scales, &run, &run.scales, &e) < 0)
		die(&run, "timer", &e);
	json_object_put(call(&run, "worker.run", NULL, NULL, 0));
	if (run.o.shake && loop_timer(run.loop, on_shake, &run, &run.shaker, &e) == 0)
		loop_timer_set(run.shaker, 0);
	while (!run.stopped)
		loop_once(run.loop, true);
	return finish(&run);
}
