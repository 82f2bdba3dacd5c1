/*
 * The process vmd-vm as a daemon sees it: real guests of a few instructions, on the engine that
 * "auto" gives, in the jail that the host gives.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/io.h"
#include "base/loop.h"
#include "base/own.h"
#include "base/size.h"
#include "protocol/peer.h"
#include "protocol/vmdef.h"
#include "tests/unit.h"

/* ---- the daemon's side ---- */

struct daemon {
	struct loop *loop;
	struct rpc_peer *peer;
	pid_t child, pid;
	char dir[32], socket[64];
	json_object *answer; /* of the last call */
	bool gone, ended;
	int64_t code;
	char reason[32];
};

static void on_event(void *arg, const char *method, json_object *params)
{
	struct daemon *d = arg;
	json_object *v;

	if (strcmp(method, "exit"))
		return;
	d->ended = true;
	if (json_object_object_get_ex(params, "code", &v))
		d->code = json_object_get_int64(v);
	if (json_object_object_get_ex(params, "reason", &v))
		snprintf(d->reason, sizeof(d->reason), "%s", json_object_get_string(v));
}

static void on_closed(void *arg, const struct err *why)
{
	(void)why;
	((struct daemon *)arg)->gone = true;
}

static const struct rpc_peer_ops ops = { NULL, on_event, on_closed };

static void connect_to(struct daemon *d)
{
	struct err e;

	d->gone = false;
	ck_assert_msg(!rpc_connect(d->loop, d->socket, SOCK_SEQPACKET, &ops, d, &d->peer, &e), "%s",
		      e.msg);
}

static void start(struct daemon *d, bool pid_namespace)
{
	const char *top = getenv("top_builddir");
	char program[256], arg[32];
	struct err e;
	int fd;

	*d = (struct daemon){ .dir = "/tmp/check_worker.XXXXXX" };
	snprintf(program, sizeof(program), "%s/vmd-vm", top ? top : ".");
	ck_assert_ptr_nonnull(mkdtemp(d->dir));
	snprintf(d->socket, sizeof(d->socket), "%s/s", d->dir);
	ck_assert_int_eq(loop_new(&d->loop, &e), 0);
	ck_assert_int_eq(rpc_listen(d->socket, SOCK_SEQPACKET, 4, &fd, &e), 0);
	d->child = fork();
	if (d->child == 0) {
		snprintf(arg, sizeof(arg), "--control-fd=%d", fd);
		fcntl(fd, F_SETFD, 0);
		setenv("ASAN_OPTIONS", "detect_leaks=0", 1); /* it cannot be looked into */
		execl(program, program, "test", arg, pid_namespace ? "--pid-namespace" : NULL,
		      (char *)NULL);
		_exit(127);
	}
	close(fd);
	connect_to(d);
}

static void finish(struct daemon *d)
{
	int st;

	if (d->peer)
		rpc_peer_free(d->peer);
	if (d->pid > 0)
		kill(d->pid, SIGKILL);
	kill(d->child, SIGKILL);
	while (wait(&st) > 0)
		;
	json_object_put(d->answer);
	loop_free(d->loop);
	unlink(d->socket);
	rmdir(d->dir);
}

/* The result, which lives until the next call, or NULL and the error. */
static json_object *try_call(struct daemon *d, const char *method, json_object *params,
			     const int *fds, size_t n, struct err *e)
{
	*e = (struct err){ 0 };
	json_object_put(take(d->answer));
	return rpc_client_call(d->peer, method, params, fds, n, &d->answer, NULL, NULL, e) < 0
		   ? NULL
		   : d->answer;
}

static json_object *call(struct daemon *d, const char *method)
{
	struct err e;
	json_object *r = try_call(d, method, NULL, NULL, 0, &e);

	ck_assert_msg(r || !e.code, "%s: %s", method, e.msg);
	return r;
}

static json_object *hello(struct daemon *d, const char *token, struct err *e)
{
	json_object *p = json_object_new_object(), *r, *v;

	json_object_object_add(p, "token", json_object_new_string(token));
	r = try_call(d, "worker.hello", p, NULL, 0, e);
	if (r && json_object_object_get_ex(r, "pid", &v))
		d->pid = json_object_get_int(v);
	return r;
}

/* A member of the status, as text; the caller frees it. */
static char *status(struct daemon *d, const char *member)
{
	json_object *r = call(d, "worker.status"), *s, *v;
	char *text = NULL;

	ck_assert(json_object_object_get_ex(r, "status", &s));
	if (json_object_object_get_ex(s, member, &v))
		text = strdup(json_object_get_string(v));
	return text;
}

static void ck_state(struct daemon *d, const char *want)
{
	autofree char *is = status(d, "state");

	ck_assert_str_eq(is, want);
}

static double cpu_time(struct daemon *d)
{
	autofree char *text = status(d, "cpu_time");

	return text ? atof(text) : -1;
}

/* ---- guests ---- */

/* The RISC-V ISA manual, volume 1, chapters 2 and 34; the test device: 0x5555 is off, 0x3333 fails
 * with the code in the upper half. */
static const uint32_t spin[] = { 0x0000006f };             /* j . */
static const uint32_t idle[] = { 0x10500073, 0xffdff06f }; /* wfi; j -4 */
static const uint32_t off[] = { 0x00100537, 0x000055b7, 0x55558593, 0x00b52023, 0x0000006f };
static const uint32_t late[] = { 0x080002b7, 0xfff28293, 0xfe029ee3, 0x00100537, /* counts down */
				 0x002a35b7, 0x33358593, 0x00b52023, 0x0000006f };
static const uint32_t fail42[] = { 0x00100537, 0x002a35b7, 0x33358593, 0x00b52023, 0x0000006f };

/* A kernel image with the header of Documentation/arch/riscv/boot-image-header in front. */
static int kernel(const uint32_t *code, size_t size)
{
	uint8_t image[256] = { 0 };
	int fd = memfd_create("kernel", MFD_CLOEXEC);

	put_le32(image, 0x0400006f); /* j +64 */
	put_le64(image + 8, 0x200000);
	put_le64(image + 16, sizeof(image));
	put_le32(image + 32, 2);
	memcpy(image + 48, "RISCV\0\0\0", 8);
	memcpy(image + 56, "RSC\x05", 4);
	memcpy(image + 64, code, size);
	ck_assert_int_eq(write_full(fd, image, sizeof(image), NULL), 0);
	return fd;
}

static bool set_up(struct daemon *d, const char *machine, uint64_t memory, int fd, struct err *e)
{
	struct worker_setup_args a = { .definition = { .name = "test", .machine = machine } };
	struct worker_fd f = { .role = WORKER_FD_KERNEL, .fd = fd, .path = "vmlinux" };
	const struct rpc_method *m = rpc_method_find(&worker_table, "worker.setup");
	int fds[CONN_FDS];
	size_t n = CONN_FDS;
	json_object *p;
	bool ok;

	a.definition.memory = memory;
	a.definition.cpus = 2;
	a.definition.has_machine = a.definition.has_memory = a.definition.has_cpus = true;
	a.fds = (struct worker_fd_list){ &f, 1 };
	p = rpc_build(&m->args, &a, fds, &n);
	ok = try_call(d, "worker.setup", p, fds, n, e);
	close(fd);
	return ok;
}

static void run_guest(struct daemon *d, const uint32_t *code, size_t size, bool pid_namespace)
{
	struct err e;

	start(d, pid_namespace);
	ck_assert_ptr_nonnull(hello(d, "secret", &e));
	ck_assert_msg(set_up(d, "riscv-virt", 64 * MiB, kernel(code, size), &e), "%s", e.msg);
	call(d, "worker.run");
}

static void wait_for_end(struct daemon *d)
{
	while (!d->ended && !d->gone)
		loop_once(d->loop, true);
}

static const struct {
	const uint32_t *code;
	size_t size;
	int exit_code;
	const char *reason;
} ends[] = {
	{ off, sizeof(off), 0, "poweroff" },
	{ fail42, sizeof(fail42), 42, "test-exit" },
};

START_TEST(a_guest_that_ends_is_told_with_its_code)
{
	struct daemon d;
	int st;

	run_guest(&d, ends[_i].code, ends[_i].size, false);
	wait_for_end(&d);
	ck_assert(d.ended);
	ck_assert_int_eq(d.code, ends[_i].exit_code);
	ck_assert_str_eq(d.reason, ends[_i].reason);
	ck_assert_int_eq(waitpid(d.child, &st, 0), d.child);
	ck_assert(WIFEXITED(st));
	ck_assert_int_eq(WEXITSTATUS(st), ends[_i].exit_code);
	d.pid = 0;
	finish(&d);
}
END_TEST

START_TEST(nobody_is_heard_without_the_token)
{
	struct daemon d;
	struct err e;

	start(&d, false);
	ck_assert_ptr_null(try_call(&d, "worker.status", NULL, NULL, 0, &e));
	ck_assert_str_eq(e.kind, "role.denied");
	ck_assert_ptr_nonnull(hello(&d, "secret", &e));
	ck_state(&d, "starting");
	rpc_peer_free(d.peer);
	connect_to(&d);
	ck_assert_ptr_null(hello(&d, "guessed", &e));
	ck_assert_str_eq(e.kind, "role.denied");
	ck_assert_ptr_null(try_call(&d, "worker.quit", NULL, NULL, 0, &e));
	ck_assert_str_eq(e.kind, "role.denied");
	finish(&d);
}
END_TEST

START_TEST(a_worker_outlives_its_daemon)
{
	struct daemon d;
	struct err e;

	run_guest(&d, spin, sizeof(spin), false);
	for (int i = 0; i < 10; i++) {
		rpc_peer_free(d.peer);
		connect_to(&d);
		ck_assert_ptr_nonnull(hello(&d, "secret", &e));
		ck_state(&d, "running");
	}
	finish(&d);
}
END_TEST

START_TEST(an_end_that_nobody_saw_is_told_to_the_next_daemon)
{
	struct daemon d;
	struct err e;

	run_guest(&d, late, sizeof(late), false);
	rpc_peer_free(d.peer);
	usleep(_i * 150000);
	connect_to(&d);
	ck_assert_ptr_nonnull(hello(&d, "secret", &e));
	wait_for_end(&d);
	ck_assert(d.ended);
	ck_assert_int_eq(d.code, 42);
	finish(&d);
}
END_TEST

START_TEST(a_paused_guest_uses_no_time)
{
	struct daemon d;
	double t;

	run_guest(&d, spin, sizeof(spin), false);
	while (cpu_time(&d) < 0.01)
		;
	call(&d, "worker.pause");
	ck_state(&d, "paused");
	t = cpu_time(&d);
	usleep(50000);
	ck_assert_double_lt(cpu_time(&d) - t, 0.005);
	call(&d, "worker.reset");
	ck_state(&d, "paused");
	call(&d, "worker.unpause");
	while (cpu_time(&d) < t + 0.01)
		;
	finish(&d);
}
END_TEST

START_TEST(an_idle_guest_uses_hardly_any_time)
{
	struct daemon d;
	double t;

	run_guest(&d, idle, sizeof(idle), false);
	usleep(100000);
	t = cpu_time(&d);
	usleep(500000);
	ck_assert_double_lt(cpu_time(&d) - t, 0.1);
	finish(&d);
}
END_TEST

static bool process_exists(pid_t pid)
{
	return kill(pid, 0) == 0;
}

START_TEST(a_killed_worker_leaves_nothing)
{
	struct daemon d;
	int st, left = 0;

	run_guest(&d, spin, sizeof(spin), _i);
	/* The one that was started has made room for another child of ours; unless the host has no
	 * PID namespace for it. */
	if (_i && d.pid != d.child) {
		ck_assert_int_eq(waitpid(d.child, &st, 0), d.child);
		ck_assert_int_eq(st, 0);
	}
	ck_assert(process_exists(d.pid));
	kill(d.pid, SIGKILL);
	while (wait(&st) > 0)
		left++;
	ck_assert_int_eq(left, 1);
	ck_assert(!process_exists(d.pid));
	while (!d.gone)
		loop_once(d.loop, true);
	d.pid = 0;
	finish(&d);
}
END_TEST

/* The value of a line of /proc/PID/status. */
static long proc_status(pid_t pid, const char *key, int base)
{
	char path[64], line[256];
	long v = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)) && line[strlen(key)] == ':')
			v = strtol(line + strlen(key) + 1, NULL, base);
	fclose(f);
	return v;
}

START_TEST(the_jail_is_closed_before_the_guest_runs)
{
	autofree char *layers = NULL;
	struct daemon d;
	struct err e;

	start(&d, true);
	ck_assert_ptr_nonnull(hello(&d, "secret", &e));
	ck_assert(set_up(&d, "riscv-virt", 64 * MiB, kernel(spin, sizeof(spin)), &e));
	layers = status(&d, "open_layers");
	ck_assert_int_eq(proc_status(d.pid, "NoNewPrivs", 10), 1);
	ck_assert_int_eq(proc_status(d.pid, "CapEff", 16), 0);
	ck_assert_int_eq(proc_status(d.pid, "CapPrm", 16), 0);
	if (!layers)
		ck_assert_int_eq(proc_status(d.pid, "Seccomp", 10), 2);
	finish(&d);
}
END_TEST

/* An ELF header for a CPU, alone. */
static int elf(unsigned machine)
{
	uint8_t h[64] = { 0 };
	int fd = memfd_create("kernel", MFD_CLOEXEC);

	memcpy(h, ELFMAG, SELFMAG);
	h[EI_CLASS] = ELFCLASS64;
	h[EI_DATA] = ELFDATA2LSB;
	put_le16(h + 18, (uint16_t)machine);
	put_le64(h + 32, 64);
	put_le16(h + 56, 1);
	ck_assert_int_eq(write_full(fd, h, sizeof(h), NULL), 0);
	return fd;
}

static int compressed(void)
{
	int fd = memfd_create("kernel", MFD_CLOEXEC);

	ck_assert_int_eq(write_full(fd, "\xfd\x37zXZ and more", 14, NULL), 0);
	return fd;
}

START_TEST(what_cannot_start_says_why)
{
	static const char *const kinds[] = { "kernel.wrong-cpu", "kernel.truncated",
					     "kernel.format", "memory.too-small",
					     "machine.not-found" };
	int fd = _i == 0   ? elf(EM_X86_64)
		 : _i == 1 ? elf(EM_RISCV)
		 : _i == 2 ? compressed()
			   : kernel(spin, sizeof(spin));
	struct daemon d;
	struct err e;

	start(&d, false);
	ck_assert_ptr_nonnull(hello(&d, "secret", &e));
	ck_assert(!set_up(&d, _i == 4 ? "pdp11" : "riscv-virt", _i == 3 ? 4096 : 64 * MiB, fd, &e));
	ck_assert_str_eq(e.kind, kinds[_i]);
	ck_assert_str_ne(e.msg, "");
	ck_assert_str_ne(e.hint, "");
	/* And cannot be run all the same. */
	ck_assert_ptr_null(try_call(&d, "worker.run", NULL, NULL, 0, &e));
	ck_assert_str_eq(e.kind, "vm.state");
	finish(&d);
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_loop_test(t, a_guest_that_ends_is_told_with_its_code, 0, ARRAY_SIZE(ends));
	tcase_add_test(t, nobody_is_heard_without_the_token);
	tcase_add_test(t, a_worker_outlives_its_daemon);
	tcase_add_loop_test(t, an_end_that_nobody_saw_is_told_to_the_next_daemon, 0, 4);
	tcase_add_test(t, a_paused_guest_uses_no_time);
	tcase_add_test(t, an_idle_guest_uses_hardly_any_time);
	tcase_add_loop_test(t, a_killed_worker_leaves_nothing, 0, 2);
	tcase_add_test(t, the_jail_is_closed_before_the_guest_runs);
	tcase_add_loop_test(t, what_cannot_start_says_why, 0, 5);
}

int main(void)
{
	return unit_run("worker", cases);
}
