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
#include "daemon/process.h"
#include "daemon/vm.h"

struct worker {
	struct vm *vm;
	pid_t pid;
	uint64_t pid_start;
	int pidfd;
	bool ours;    /* our child: it can be waited for */
	bool greeted; /* it has told its pid */
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

/* ---- the parent's side ---- */

static void on_event(void *arg, const char *method, json_object *params)
{
	struct worker *w = arg;

	vm_worker_event(w->vm, method, params);
}

static void gone(struct worker *w, bool known, int code, int status)
{
	struct vm *vm = w->vm;

	vm->worker = NULL;
	worker_free(w);
	vm_worker_gone(vm, known, code, status);
}

static void never_greeted(void *arg)
{
	gone(arg, false, 0, 0);
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
	/* It has told no pid and will not: there is nothing else to wait for. */
	if (!w->watch && !w->greeted && w->ours)
		loop_post(w->vm->d->loop, never_greeted, w);
}

static const struct rpc_peer_ops peer_ops = { NULL, on_event, on_closed };

static void on_exited(void *arg, int fd, unsigned events)
{
	struct worker *w = arg;
	siginfo_t si = { 0 };
	bool known = false;

	(void)fd;
	(void)events;
	loop_fd_set(w->watch, 0);
	if (w->ours)
		known = waitid((idtype_t)P_PIDFD, (id_t)w->pidfd, &si, WEXITED) == 0;
	/* In a PID namespace the guest's process is a sibling of the one we started, which ends
	 * well. */
	if (known && !w->greeted && si.si_code == CLD_EXITED && si.si_status == 0 && w->peer) {
		loop_watch_free(take(w->watch));
		close(take_fd(&w->pidfd));
		w->pid = 0;
		return;
	}
	/* Its last words may still be in the socket. */
	if (w->peer)
		rpc_peer_drain(w->peer);
	gone(w, known, si.si_code, si.si_status);
}

static int worker_watch(struct worker *w, pid_t pid, struct err *e)
{
	w->pid = pid;
	w->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (w->pidfd < 0)
		return err_sys(e, "cannot watch process %d", (int)pid);
	w->pid_start = process_start_time(pid);
	return loop_fd(w->vm->d->loop, w->pidfd, LOOP_READ, on_exited, w, &w->watch, e);
}

int worker_greeted(struct worker *w, pid_t pid, struct err *e)
{
	w->greeted = true;
	if (w->pid == pid && w->watch)
		return 0;
	loop_watch_free(take(w->watch));
	if (w->pidfd >= 0)
		close(take_fd(&w->pidfd));
	/* The one that we started has ended, or does so now. */
	if (w->ours && w->pid)
		waitpid(w->pid, NULL, 0);
	return worker_watch(w, pid, e);
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
	char *argv[] = { program, (char *)vm->def->name, (char *)"--control-fd=3",
			 (char *)"--pid-namespace", NULL };
	pid_t pid = -1;
	int r;

	if (!w)
		return err_nomem(e);
	r = find_program("vmd-vm", program, sizeof(program), e);
	if (r == 0)
		r = bind_socket(vm, &listen_fd, e);
	if (r == 0)
		r = process_spawn(program, argv, vm->owner, vm->group, listen_fd, log, &pid, e);
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
	if (w->ours && w->pid)
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
