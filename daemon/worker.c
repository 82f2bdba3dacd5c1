/*
 * worker.c - the process of a VM: started with a listening socket that it inherits, so that a later
 * daemon can connect to it again; watched through a pidfd, which works for processes that are not
 * our children, too.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/own.h"
#include "daemon/vm.h"

enum { CONTROL_FD = 3, ENV_MAX = 64 };

struct worker {
	struct vm *vm;
	pid_t pid;
	uint64_t pid_start;
	int pidfd;
	bool ours; /* our child: it can be waited for */
	struct loop_watch *watch;
	struct rpc_peer *peer;
};

/* ---- where things are ---- */

static int socket_dir(struct vm *vm, char *buf, size_t len, struct err *e)
{
	if (snprintf(buf, len, "%s/vm-%llu", vm->d->runtime_path, (unsigned long long)vm->id) >=
	    (int)len)
		return err_set(e, -ENAMETOOLONG, "the runtime directory's path is too long");
	return 0;
}

static int socket_path(struct vm *vm, char *buf, size_t len, struct err *e)
{
	int r = socket_dir(vm, buf, len, e);

	if (r == 0)
		strncat(buf, "/control", len - strlen(buf) - 1);
	return r;
}

void worker_clean_up(struct vm *vm)
{
	char path[PATH_MAX];

	if (socket_path(vm, path, sizeof(path), NULL) == 0)
		unlink(path);
	if (socket_dir(vm, path, sizeof(path), NULL) == 0)
		rmdir(path);
}

static bool is_program(const char *path)
{
	return access(path, X_OK) == 0;
}

int find_program(const char *name, char *buf, size_t len, struct err *e)
{
	const char *env = getenv("VMD_LIBEXEC");
	char self[PATH_MAX], *dir;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (env && *env) {
		snprintf(buf, len, "%s/%s", env, name);
		if (is_program(buf))
			return 0;
	}
	self[n > 0 ? n : 0] = 0;
	dir = dirname(self);
	snprintf(buf, len, "%s/%s", dir, name);
	if (is_program(buf))
		return 0;
	snprintf(buf, len, "%s/../vmproc/%s", dir, name);
	if (is_program(buf))
		return 0;
	snprintf(buf, len, "%s/%s", VMD_LIBEXECDIR, name);
	if (is_program(buf))
		return 0;
	return rpc_error(e, "start.no-worker",
			 "the program %s is neither beside the daemon nor in %s", name,
			 VMD_LIBEXECDIR);
}

uint64_t process_start_time(pid_t pid)
{
	char path[64], buf[1024], *at;
	unsigned long long start = 0;
	autoclose int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);
	if (n <= 0)
		return 0;
	buf[n] = 0;
	at = strrchr(buf, ')'); /* the name before it may hold anything */
	if (!at || sscanf(at + 1,
			  " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d "
			  "%*d %*d %*d %*d %llu",
			  &start) != 1)
		return 0;
	return start;
}

/* ---- the child ---- */

/* What a worker may see of our environment: where things are, and how sanitizers shall report. */
static void worker_env(char *env[ENV_MAX])
{
	static const char *const pass[] = { "VMD_",  "ASAN_",    "UBSAN_", "LSAN_", "TSAN_",
					    "HOME=", "XDG_DATA", "LANG=",  "LC_" };
	size_t n = 0;

	env[n++] = (char *)"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	for (char **v = environ; *v && n < ENV_MAX - 1; v++)
		for (size_t i = 0; i < ARRAY_SIZE(pass); i++)
			if (!strncmp(*v, pass[i], strlen(pass[i]))) {
				env[n++] = *v;
				break;
			}
	env[n] = NULL;
}

static int become_owner(const struct vm *vm)
{
	if (geteuid() != 0 || vm->owner == 0)
		return 0;
	return setgroups(0, NULL) < 0 || setresgid(vm->group, vm->group, vm->group) < 0 ||
		       setresuid(vm->owner, vm->owner, vm->owner) < 0
		   ? -1
		   : 0;
}

/* In the child: only what is safe between fork and exec of a process with one thread. */
static void child(struct vm *vm, const char *program, int listen_fd, int log, int report)
{
	char *argv[] = { (char *)program, (char *)vm->def->name, (char *)"--control-fd=3", NULL };
	char *env[ENV_MAX];
	sigset_t none;
	int null, saved, r;

	worker_env(env);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	setsid();
	/* Out of the way of 0 to 3 first; whichever of them is wanted next is a copy then. */
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	listen_fd = fcntl(listen_fd, F_DUPFD_CLOEXEC, 10);
	log = fcntl(log, F_DUPFD_CLOEXEC, 10);
	report = fcntl(report, F_DUPFD_CLOEXEC, 10);
	r = null < 0 || dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0 ||
	    dup2(listen_fd, CONTROL_FD) < 0;
	if (!r)
		r = become_owner(vm) < 0;
	if (!r)
		execve(program, argv, env);
	saved = errno;
	if (write(report, &saved, sizeof(saved)) < 0)
		_exit(126);
	_exit(127);
}

/* The pipe closes with a successful exec; else the errno comes through it. */
static int fork_worker(struct vm *vm, const char *program, int listen_fd, int log, pid_t *pid,
		       struct err *e)
{
	int report[2], error = 0;
	ssize_t n;

	if (pipe2(report, O_CLOEXEC) < 0)
		return err_sys(e, "cannot make a pipe");
	*pid = fork();
	if (*pid == 0)
		child(vm, program, listen_fd, log, report[1]);
	close(report[1]);
	if (*pid < 0) {
		close(report[0]);
		return err_sys(e, "cannot start a process");
	}
	do
		n = read(report[0], &error, sizeof(error));
	while (n < 0 && errno == EINTR);
	close(report[0]);
	if (n == 0)
		return 0;
	waitpid(*pid, NULL, 0);
	errno = n == sizeof(error) ? error : EIO;
	return err_sys(e, "cannot run %s", program);
}

/* ---- the parent's side ---- */

static void on_event(void *arg, const char *method, json_object *params)
{
	struct worker *w = arg;

	vm_worker_event(w->vm, method, params);
}

/*
 * The connection ended: the process is ending, or another daemon has taken our place, or the worker
 * misbehaves. The pidfd tells which; without a connection it cannot be steered, only killed.
 */
static void on_closed(void *arg, const struct err *why)
{
	struct worker *w = arg;

	if (why)
		log_warning("the connection to a worker failed", "VM=%s", w->vm->def->name,
			    "REASON=%s", why->msg, NULL);
	rpc_peer_free(take(w->peer));
}

static const struct rpc_peer_ops peer_ops = { NULL, on_event, on_closed };

static void on_exited(void *arg, int fd, unsigned events)
{
	struct worker *w = arg;
	struct vm *vm = w->vm;
	siginfo_t si = { 0 };
	bool known = false;

	(void)fd;
	(void)events;
	loop_fd_set(w->watch, 0);
	if (w->ours)
		known = waitid((idtype_t)P_PIDFD, (id_t)w->pidfd, &si, WEXITED) == 0;
	/* Its last words may still be in the socket. */
	if (w->peer)
		rpc_peer_drain(w->peer);
	vm->worker = NULL;
	worker_free(w);
	vm_worker_gone(vm, known, si.si_code, si.si_status);
}

int worker_watch(struct worker *w, pid_t pid, struct err *e)
{
	w->pid = pid;
	w->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (w->pidfd < 0)
		return err_sys(e, "cannot watch process %d", (int)pid);
	w->pid_start = process_start_time(pid);
	return loop_fd(w->vm->d->loop, w->pidfd, LOOP_READ, on_exited, w, &w->watch, e);
}

static struct worker *worker_new(struct vm *vm)
{
	struct worker *w = calloc(1, sizeof(*w));

	if (w) {
		w->vm = vm;
		w->pidfd = -1;
	}
	return w;
}

static int connect_worker(struct worker *w, struct err *e)
{
	char path[PATH_MAX];
	int r = socket_path(w->vm, path, sizeof(path), e);

	if (r < 0)
		return r;
	return rpc_connect(w->vm->d->loop, path, SOCK_SEQPACKET, &peer_ops, w, &w->peer, e);
}

static int bind_socket(struct vm *vm, int *fd, struct err *e)
{
	char path[PATH_MAX];
	int r = socket_dir(vm, path, sizeof(path), e);

	if (r < 0)
		return r;
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_sys(e, "cannot create %s", path);
	r = socket_path(vm, path, sizeof(path), e);
	return r < 0 ? r : rpc_listen(path, SOCK_SEQPACKET, 4, fd, e);
}

int worker_spawn(struct vm *vm, int log, struct worker **ret, struct err *e)
{
	struct worker *w = worker_new(vm);
	autoclose int listen_fd = -1;
	char program[PATH_MAX];
	pid_t pid = -1;
	int r;

	if (!w)
		return err_nomem(e);
	r = find_program("vmd-vm", program, sizeof(program), e);
	if (r == 0)
		r = bind_socket(vm, &listen_fd, e);
	if (r == 0)
		r = fork_worker(vm, program, listen_fd, log, &pid, e);
	if (r < 0) {
		worker_free(w);
		return r;
	}
	w->ours = true;
	w->pid = pid;
	r = worker_watch(w, pid, e);
	if (r == 0)
		r = connect_worker(w, e);
	if (r < 0) {
		kill(pid, SIGKILL); /* there may be no pidfd */
		worker_end(w);
		return r;
	}
	*ret = w;
	return 0;
}

int worker_adopt(struct vm *vm, struct worker **ret, struct err *e)
{
	struct worker *w = worker_new(vm);
	int r;

	if (!w)
		return err_nomem(e);
	r = connect_worker(w, e);
	if (r < 0) {
		worker_free(w);
		return r;
	}
	*ret = w;
	return 0;
}

void worker_kill(struct worker *w)
{
	if (w->pidfd >= 0)
		syscall(SYS_pidfd_send_signal, w->pidfd, SIGKILL, NULL, 0);
}

void worker_end(struct worker *w)
{
	worker_kill(w);
	if (w->ours)
		waitpid(w->pid, NULL, 0);
	worker_free(w);
}

void worker_free(struct worker *w)
{
	loop_watch_free(w->watch);
	if (w->peer)
		rpc_peer_free(take(w->peer));
	if (w->pidfd >= 0)
		close(w->pidfd);
	free(w);
}

struct rpc_peer *worker_peer(struct worker *w)
{
	return w->peer;
}

pid_t worker_pid(const struct worker *w)
{
	return w->pid;
}

uint64_t worker_pid_start(const struct worker *w)
{
	return w->pid_start;
}
