/*
 * connect.c - find the daemon, or start one of the user's own. The socket is made here and handed
 * over the way systemd does it, so that the first call waits in it while the daemon starts.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/own.h"
#include "client/ctl.h"
#include "protocol/errors.h"

#define SYSTEM_SOCKET "/run/vmd/vmd.sock"
#define DAEMON_LOG    "vmd.log" /* beside the socket of a daemon that we start */

enum { DAEMON_LOG_MAX = 1 << 20 }; /* bytes */

/* The user's runtime directory: XDG's, or one of our own in /tmp that nobody else can use. */
static int runtime_dir(char *buf, size_t size, struct err *e)
{
	const char *xdg = getenv("XDG_RUNTIME_DIR");
	struct stat st;

	if (xdg && *xdg == '/')
		snprintf(buf, size, "%s/vmd", xdg);
	else
		snprintf(buf, size, "/tmp/vmd-%u", (unsigned)getuid());
	if (mkdir(buf, 0700) < 0 && errno != EEXIST)
		return err_sys(e, "cannot make %s", buf);
	if (lstat(buf, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != getuid() ||
	    st.st_mode & 022)
		return err_set(e, -EPERM, "%s is not a directory of yours alone", buf);
	return 0;
}

static int socket_path(const struct ctl *c, char *buf, size_t size, struct err *e)
{
	const char *set = getenv("VMD_SOCKET");
	char dir[PATH_MAX - 16];
	int r;

	if (set && c->scope == SCOPE_AUTO) {
		snprintf(buf, size, "%s", set);
		return 0;
	}
	if (c->scope == SCOPE_SYSTEM) {
		snprintf(buf, size, "%s", SYSTEM_SOCKET);
		return 0;
	}
	r = runtime_dir(dir, sizeof(dir), e);
	if (r < 0)
		return r;
	if (c->scope == SCOPE_HERE)
		snprintf(buf, size, "%s/here-%d/vmd.sock", dir, (int)getpid());
	else
		snprintf(buf, size, "%s/vmd.sock", dir);
	return 0;
}

/* vmd beside vmctl (a build tree), where an installation that was moved has it, or where it
 * belongs. */
static void daemon_path(char *buf, size_t size)
{
	static const char *const beside[] = { "vmd", "../sbin/vmd" };
	char self[PATH_MAX], *slash;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	self[n > 0 ? n : 0] = 0;
	slash = strrchr(self, '/');
	for (size_t i = 0; slash && i < ARRAY_SIZE(beside); i++) {
		snprintf(buf, size, "%.*s/%s", (int)(slash - self), self, beside[i]);
		if (access(buf, X_OK) == 0)
			return;
	}
	snprintf(buf, size, "%s", VMD_SBINDIR "/vmd");
}

/*
 * What the daemon says. It goes on after vmctl, so it must not hold vmctl's standard error: whoever
 * reads that through a pipe would wait for the daemon's end. What earlier ones said stays, up to a
 * size.
 */
static int open_log(const char *dir)
{
	char path[PATH_MAX + sizeof(DAEMON_LOG)];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/" DAEMON_LOG, dir);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > DAEMON_LOG_MAX && ftruncate(fd, 0) < 0) {
		close(fd);
		fd = -1;
	}
	return fd >= 0 ? fd : open("/dev/null", O_WRONLY | O_CLOEXEC);
}

static void __attribute__((noreturn))
become_daemon(const char *program, const char *socket, int fd, bool here)
{
	char pid[16], dir[PATH_MAX];
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), log;

	snprintf(dir, sizeof(dir), "%s", socket);
	*strrchr(dir, '/') = 0;
	log = open_log(dir);
	setsid();
	if (fork() != 0)
		_exit(0);
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "1", 1);
	setenv("LISTEN_FDNAMES", "monitor", 1);
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(log, STDERR_FILENO);
	if (fd == 3)
		fcntl(fd, F_SETFD, 0);
	else
		dup2(fd, 3);
	if (here)
		execl(program, "vmd", "--private", socket, (char *)NULL);
	else
		execl(program, "vmd", "--user", (char *)NULL);
	fprintf(stderr, "vmctl: cannot run %s: %s\n", program, strerror(errno));
	_exit(127);
}

/* One at a time: another vmctl may be starting it, and then there is nothing to do. */
static int start_daemon(struct ctl *c, const char *socket, const struct rpc_peer_ops *ops,
			struct err *e)
{
	char dir[PATH_MAX], program[PATH_MAX];
	autoclose int lock = -1;
	autoclose int fd = -1;
	int r;

	snprintf(dir, sizeof(dir), "%s", socket);
	*strrchr(dir, '/') = 0;
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return err_sys(e, "cannot make %s", dir);
	lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (lock < 0 || flock(lock, LOCK_EX) < 0)
		return err_sys(e, "cannot lock %s", dir);
	if (rpc_connect(c->loop, socket, SOCK_STREAM, ops, c, &c->peer, NULL) == 0)
		return 0;
	daemon_path(program, sizeof(program));
	if (access(program, X_OK) < 0)
		return rpc_error(e, "daemon.unreachable", "no daemon runs and %s is missing",
				 program);
	r = rpc_listen(socket, SOCK_STREAM, 64, &fd, e);
	if (r < 0)
		return r;
	switch (fork()) {
	case -1: return err_sys(e, "cannot start the daemon");
	case 0: become_daemon(program, socket, fd, c->scope == SCOPE_HERE);
	}
	if (asprintf(&c->daemon_log, "%s/" DAEMON_LOG, dir) < 0)
		c->daemon_log = NULL;
	return rpc_connect(c->loop, socket, SOCK_STREAM, ops, c, &c->peer, e);
}

static void on_event(void *arg, const char *method, json_object *params)
{
	struct ctl *c = arg;

	if (c->event)
		c->event(c->event_arg, method, params);
}

static const struct rpc_peer_ops ops = { .event = on_event };

int ctl_connect_running(struct ctl *c, struct err *e)
{
	char path[PATH_MAX];
	int r = 0;

	if (c->peer)
		return 0;
	r = socket_path(c, path, sizeof(path), e);
	return r < 0 ? r : rpc_connect(c->loop, path, SOCK_STREAM, &ops, c, &c->peer, e);
}

int ctl_connect(struct ctl *c, struct err *e)
{
	char path[PATH_MAX];
	int r;

	if (c->peer)
		return 0;
	r = socket_path(c, path, sizeof(path), e);
	if (r < 0)
		return r;
	r = rpc_connect(c->loop, path, SOCK_STREAM, &ops, c, &c->peer, e);
	if (r == 0 || c->scope == SCOPE_SYSTEM || (getenv("VMD_SOCKET") && c->scope == SCOPE_AUTO))
		return r;
	return start_daemon(c, path, &ops, e);
}

/* The daemon is gone: it was killed, or replaced while we were asking. */
static bool is_lost(const struct ctl *c, const struct err *e)
{
	return c->peer && rpc_peer_is_closed(c->peer) && e->kind && !strcmp(e->kind, "vm.lost");
}

int ctl_reconnect(struct ctl *c, struct err *e)
{
	if (c->peer)
		rpc_peer_free(c->peer);
	c->peer = NULL;
	return ctl_connect(c, e);
}

/* May it be asked twice without harm? */
static bool is_repeatable(const struct ctl *c, const char *method)
{
	const struct rpc_method *m = rpc_method_find(&client_table, method);

	return m && (m->effect == RPC_READS || c->request_id);
}

int ctl_call(struct ctl *c, const char *method, json_object *params, const int *fds, size_t n,
	     json_object **result, json_object **data, struct err *e)
{
	int r = ctl_connect(c, e);

	if (r < 0) {
		json_object_put(params);
		return r;
	}
	if (c->request_id)
		json_object_object_add(params, "request_id", json_object_new_string(c->request_id));
	r = rpc_client_call(c->peer, method, json_object_get(params), fds, n, result, NULL, data,
			    e);
	/* VMs outlive their daemon, and the next one knows the answer, too. */
	if (r < 0 && is_lost(c, e) && !c->daemon_log && is_repeatable(c, method) &&
	    ctl_reconnect(c, e) == 0)
		r = rpc_client_call(c->peer, method, json_object_get(params), fds, n, result, NULL,
				    data, e);
	json_object_put(params);
	if (r < 0 && c->daemon_log && c->peer && rpc_peer_is_closed(c->peer))
		err_hint(e, "the daemon ended; %s has what it said", c->daemon_log);
	return r;
}
