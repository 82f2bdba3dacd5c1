/*
 * jail_test.c - breaking out, as far as a program can try: each attempt in a process of its own
 * that went to jail like the real one. Called by the --self-test-jail of the jailed programs, and
 * by tests, on the main thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/jail.h"

/* What the attempts aim at, made outside before the jail closes. */
struct target {
	int socket;    /* a UNIX socket that is not connected */
	pid_t victim;  /* a process outside */
	uint8_t *page; /* memory that was written */
	int memfd;
};

static bool open_file(struct target *t)
{
	(void)t;
	return open("/etc/passwd", O_RDONLY) >= 0;
}

static bool open_root(struct target *t)
{
	(void)t;
	return open("/", O_RDONLY | O_DIRECTORY) >= 0;
}

static bool make_file(struct target *t)
{
	(void)t;
	return open("/tmp", O_WRONLY | O_TMPFILE, 0600) >= 0;
}

static bool open_proc(struct target *t)
{
	(void)t;
	return open("/proc/self/mem", O_RDWR) >= 0;
}

static bool internet(struct target *t)
{
	(void)t;
	return socket(AF_INET, SOCK_STREAM, 0) >= 0;
}

static bool unix_socket(struct target *t)
{
	(void)t;
	return socket(AF_UNIX, SOCK_STREAM, 0) >= 0;
}

static bool connect_bus(struct target *t)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "/run/systemd/notify" };

	return !connect(t->socket, (struct sockaddr *)&a, sizeof(a)) || errno == ECONNREFUSED;
}

static bool run_program(struct target *t)
{
	char *const args[] = { (char *)"false", NULL }, *const env[] = { NULL };

	(void)t;
	execve("/bin/false", args, env); /* its exit code is ALLOWED */
	return false;
}

static bool run_fd(struct target *t)
{
	char *const args[] = { (char *)"x", NULL }, *const env[] = { NULL };

	syscall(SYS_execveat, t->memfd, "", args, env, AT_EMPTY_PATH);
	return errno == ENOEXEC;
}

static bool trace_other(struct target *t)
{
	return ptrace(PTRACE_SEIZE, t->victim, NULL, NULL) >= 0;
}

static bool read_other(struct target *t)
{
	char byte;
	struct iovec to = { &byte, 1 }, from = { t->page, 1 };

	return process_vm_readv(t->victim, &to, 1, &from, 1, 0) >= 0;
}

static bool kill_other(struct target *t)
{
	return !kill(t->victim, 0);
}

static bool kill_parent(struct target *t)
{
	(void)t;
	return getppid() > 0 && !kill(getppid(), 0);
}

static bool make_executable(struct target *t)
{
	return !mprotect(t->page, 4096, PROT_READ | PROT_EXEC);
}

static bool map_wx(struct target *t)
{
	(void)t;
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0) != MAP_FAILED;
}

static bool map_x(struct target *t)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, t->memfd, 0) != MAP_FAILED;
}

static bool new_process(struct target *t)
{
	long pid = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);

	(void)t;
	if (pid == 0)
		_exit(0);
	return pid > 0;
}

static bool new_user_ns(struct target *t)
{
	(void)t;
	return !unshare(CLONE_NEWUSER);
}

static bool mount_it(struct target *t)
{
	(void)t;
	return !mount("none", "/", "no such thing", 0, NULL) || errno == ENODEV;
}

static bool unmount_it(struct target *t)
{
	(void)t;
	return !umount2("/", MNT_EXPIRE | MNT_FORCE) || errno == EINVAL;
}

static bool change_root(struct target *t)
{
	(void)t;
	return !chroot("/");
}

static bool become_root(struct target *t)
{
	(void)t;
	return getuid() != 0 && !setuid(0);
}

static bool host_name(struct target *t)
{
	(void)t;
	return !syscall(SYS_sethostname, "x", -1) || errno == EINVAL;
}

static bool show_itself(struct target *t)
{
	(void)t;
	return !prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static bool more_files(struct target *t)
{
	struct rlimit l = { 1 << 20, 1 << 20 };

	(void)t;
	return !setrlimit(RLIMIT_NOFILE, &l);
}

static bool by_handle(struct target *t)
{
	struct {
		struct file_handle h;
		uint8_t bytes[8];
	} h = { .h = { .handle_bytes = 8, .handle_type = 1 } };

	(void)t;
	return open_by_handle_at(AT_FDCWD, &h.h, O_RDONLY) >= 0 || errno == ESTALE;
}

static bool kernel_program(struct target *t)
{
	(void)t;
	return syscall(SYS_bpf, 0, NULL, 0) >= 0 || errno == EFAULT || errno == EINVAL;
}

static bool kernel_ring(struct target *t)
{
	uint64_t params[32] = { 0 };

	(void)t;
	return syscall(SYS_io_uring_setup, 8, params) >= 0;
}

static bool fault_fd(struct target *t)
{
	(void)t;
	return syscall(SYS_userfaultfd, 0) >= 0;
}

static bool measure(struct target *t)
{
	uint8_t attr[128] = { 0 };

	(void)t;
	return syscall(SYS_perf_event_open, attr, 0, -1, -1, 0) >= 0;
}

static bool kernel_keys(struct target *t)
{
	(void)t;
	return syscall(SYS_add_key, "user", "vmd", "x", 1, -2) >= 0;
}

/* by: the layers each of which refuses it. */
#define BIT(layer) (1u << JAIL_##layer)
static const struct attempt {
	const char *what;
	bool (*try)(struct target *t);
	unsigned by;
} attempts[] = {
	{ "open a file of the host", open_file, BIT(ROOT) | BIT(LANDLOCK) | BIT(SECCOMP) },
	{ "list the root directory", open_root, BIT(LANDLOCK) | BIT(SECCOMP) },
	{ "make a file", make_file, BIT(ROOT) | BIT(LANDLOCK) | BIT(SECCOMP) },
	{ "open its own memory through /proc", open_proc,
	  BIT(ROOT) | BIT(LANDLOCK) | BIT(SECCOMP) },
	{ "make an internet socket", internet, BIT(SECCOMP) },
	{ "make a UNIX socket", unix_socket, BIT(SECCOMP) },
	{ "connect a socket", connect_bus, BIT(ROOT) | BIT(SECCOMP) },
	{ "run a program", run_program, BIT(ROOT) | BIT(LANDLOCK) | BIT(SECCOMP) },
	{ "run a program from memory", run_fd, BIT(SECCOMP) },
	{ "trace another process", trace_other, BIT(PID) | BIT(LANDLOCK) | BIT(SECCOMP) },
	{ "read another process's memory", read_other, BIT(PID) | BIT(LANDLOCK) | BIT(SECCOMP) },
	{ "signal another process", kill_other, BIT(PID) | BIT(SECCOMP) },
	{ "signal its parent", kill_parent, BIT(PID) | BIT(SECCOMP) },
	{ "make written memory executable", make_executable, BIT(NO_NEW_EXEC) | BIT(SECCOMP) },
	{ "map writable executable memory", map_wx, BIT(NO_NEW_EXEC) | BIT(SECCOMP) },
	{ "map a memory file as code", map_x, BIT(SECCOMP) },
	{ "start a process", new_process, BIT(SECCOMP) },
	{ "make a user namespace", new_user_ns, BIT(SECCOMP) },
	{ "mount something", mount_it, BIT(CAPS) | BIT(SECCOMP) },
	{ "unmount something", unmount_it, BIT(CAPS) | BIT(SECCOMP) },
	{ "change its root", change_root, BIT(CAPS) | BIT(SECCOMP) },
	{ "become root", become_root, BIT(CAPS) | BIT(SECCOMP) },
	{ "change the host's name", host_name, BIT(CAPS) | BIT(SECCOMP) },
	{ "let others look into it", show_itself, BIT(SECCOMP) },
	{ "raise its limits", more_files, BIT(CAPS) | BIT(SECCOMP) },
	{ "open a file by handle", by_handle, BIT(CAPS) | BIT(SECCOMP) },
	{ "load a kernel program", kernel_program, BIT(SECCOMP) },
	{ "make a ring to the kernel", kernel_ring, BIT(SECCOMP) },
	{ "catch page faults", fault_fd, BIT(SECCOMP) },
	{ "use performance counters", measure, BIT(SECCOMP) },
	{ "use the kernel's key store", kernel_keys, BIT(SECCOMP) },
};

/* As exit codes; ALLOWED is that of /bin/false. */
enum { REFUSED, ALLOWED, OPEN, NO_JAIL };

/* In the child. The first of the two processes of jail_enter() ends in there, with 0. */
static _Noreturn void attempt_run(const struct jail_config *c, const struct attempt *a)
{
	struct target t = { .victim = getppid() };
	struct jail_report report;
	struct err e;
	int pid, fds[2];

	t.socket = fds[0] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	t.memfd = fds[1] = memfd_create("code", MFD_CLOEXEC);
	t.page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (t.socket < 0 || t.memfd < 0 || ftruncate(t.memfd, 4096) < 0 || t.page == MAP_FAILED)
		_exit(NO_JAIL);
	t.page[0] = 0xc3;
	if (jail_enter(c, fds, 2, &report, &pid, &e) < 0 ||
	    jail_close_files(c, NULL, 0, &report, &e) < 0 || jail_seal(c, 0, &report, &e) < 0)
		_exit(NO_JAIL);
	if (c->skip != JAIL_ALL && !(a->by & report.closed))
		_exit(OPEN);
	_exit(a->try(&t) ? ALLOWED : REFUSED);
}

/* All children are the attempt's: the caller has no others. */
static int attempt_wait(void)
{
	int status, worst = REFUSED;

	for (;;) {
		pid_t pid = waitpid(-1, &status, 0);

		if (pid < 0 && errno == EINTR)
			continue;
		if (pid < 0)
			return worst;
		if (WIFEXITED(status) && WEXITSTATUS(status) > worst)
			worst = WEXITSTATUS(status);
		if (WIFSIGNALED(status) && WTERMSIG(status) != SIGSYS)
			worst = NO_JAIL;
	}
}

int jail_self_test(const struct jail_config *c)
{
	static const char *const words[] = {
		[REFUSED] = "refused",
		[OPEN] = "open: the host gives nothing against it",
		[ALLOWED] = "ALLOWED",
		[NO_JAIL] = "NOT TRIED: there was no jail",
	};
	int failed = 0;

	for (size_t i = 0; i < ARRAY_SIZE(attempts); i++) {
		const struct attempt *a = &attempts[i];
		int result;
		pid_t pid;

		fflush(NULL);
		pid = fork();
		if (pid == 0)
			attempt_run(c, a);
		result = pid < 0 ? NO_JAIL : attempt_wait();
		printf("%-40s %s\n", a->what, words[result]);
		failed += result == ALLOWED || result == NO_JAIL;
	}
	return failed;
}
