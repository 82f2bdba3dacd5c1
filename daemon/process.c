/*
 * process.c - starting the programs that do the work of VMs and networks: with a listening socket
 * as descriptor 3, a session of their own, and nothing else of the daemon.
 */
#include "daemon/process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/own.h"
#include "protocol/errors.h"

enum { CONTROL_FD = 3, ENV_MAX = 64 };

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
	snprintf(buf, len, "%s/../libexec/vmd/%s", dir, name); /* installed, and moved since */
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

static int become_user(uid_t uid, gid_t gid)
{
	if (geteuid() != 0 || uid == 0)
		return 0;
	return setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 ||
		       setresuid(uid, uid, uid) < 0
		   ? -1
		   : 0;
}

/* In the child: only what is safe between fork and exec of a process with one thread. */
static void child(const char *program, char *const argv[], uid_t uid, gid_t gid, int listen_fd,
		  int log, int report)
{
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
		r = become_user(uid, gid) < 0;
	if (!r)
		execve(program, argv, env);
	saved = errno;
	if (write(report, &saved, sizeof(saved)) < 0)
		_exit(126);
	_exit(127);
}

/* The pipe closes with a successful exec; else the errno comes through it. */
int process_spawn(const char *program, char *const argv[], uid_t uid, gid_t gid, int listen_fd,
		  int log, pid_t *pid, struct err *e)
{
	int report[2], error = 0;
	ssize_t n;

	if (pipe2(report, O_CLOEXEC) < 0)
		return err_sys(e, "cannot make a pipe");
	*pid = fork();
	if (*pid == 0)
		child(program, argv, uid, gid, listen_fd, log, report[1]);
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
