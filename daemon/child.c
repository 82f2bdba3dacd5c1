#include "daemon/child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/own.h"

struct child {
	pid_t pid;
	struct conn *conn;
	const struct child_ops *ops;
	void *arg;
	bool told;
};

/* ---- in the child ---- */

static void send_packet(int sock, json_object *o, const int *fds, size_t n)
{
	char control[CMSG_SPACE(CONN_FDS * sizeof(int))] = { 0 };
	size_t len;
	const char *text = json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN, &len);
	struct iovec iov = { (char *)text, len };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n) {
		struct cmsghdr *c;

		h.msg_control = control;
		h.msg_controllen = CMSG_SPACE(n * sizeof(int));
		c = CMSG_FIRSTHDR(&h);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	}
	/* Whoever listened is gone when this fails, and so is the need for an answer. */
	if (sendmsg(sock, &h, MSG_NOSIGNAL) < 0)
		_exit(1);
	json_object_put(o);
}

void child_progress(int sock, uint64_t done, uint64_t total)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "done", json_object_new_uint64(done));
	json_object_object_add(o, "total", json_object_new_uint64(total));
	send_packet(sock, o, NULL, 0);
}

static int become(uid_t uid, gid_t gid)
{
	if (geteuid() != 0 || uid == 0)
		return 0;
	return setgroups(1, &gid) < 0 || setresgid(gid, gid, gid) < 0 ||
		       setresuid(uid, uid, uid) < 0
		   ? -errno
		   : 0;
}

static void run(uid_t uid, gid_t gid, const struct child_ops *ops, void *arg, int sock)
{
	struct child_result ret = { .result = NULL };
	json_object *o = json_object_new_object();
	struct err e;
	sigset_t none;
	int r;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGTERM, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	/* Work that nobody will hear of must not go on. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	r = become(uid, gid);
	if (r < 0)
		err_set(&e, r, "cannot become user %u", uid);
	else
		r = ops->work(arg, sock, &ret, &e);
	if (r < 0)
		json_object_object_add(o, "error", rpc_error_build(&e, NULL));
	else
		json_object_object_add(o, "result", ret.result);
	send_packet(sock, o, ret.fds, r < 0 ? 0 : ret.n_fds);
	_exit(0);
}

/* ---- in the daemon ---- */

static void tell(struct child *c, json_object *result, struct conn_fds *fds, const struct err *e)
{
	if (c->told)
		return;
	c->told = true;
	conn_stop_reading(c->conn);
	c->ops->done(c->arg, result, fds, e);
}

static void on_value(void *arg, json_object *v, struct conn_fds *fds)
{
	struct child *c = arg;
	json_object *done, *total, *error;
	struct err e;

	if (json_object_object_get_ex(v, "error", &error)) {
		rpc_error_read(error, &e);
		tell(c, NULL, fds, &e);
	} else if (json_object_object_get_ex(v, "done", &done) &&
		   json_object_object_get_ex(v, "total", &total)) {
		if (c->ops->progress)
			c->ops->progress(c->arg, json_object_get_uint64(done),
					 json_object_get_uint64(total));
	} else {
		json_object *result = NULL;

		json_object_object_get_ex(v, "result", &result);
		tell(c, result, fds, NULL);
	}
	json_object_put(v);
}

static void on_failed(void *arg, const struct err *why)
{
	struct conn_fds none = { .n = 0 };

	tell(arg, NULL, &none, why);
}

static void on_bad(void *arg, const struct err *why, bool broken)
{
	(void)broken;
	on_failed(arg, why);
}

static void on_eof(void *arg, bool half)
{
	struct err e;

	(void)half;
	rpc_error(&e, "job.lost", "the process that did the work has died");
	on_failed(arg, &e);
}

static const struct conn_ops conn_ops = { on_value, on_bad, on_eof, on_failed };

int child_start(struct daemon *d, uid_t uid, gid_t gid, const struct child_ops *ops, void *work_arg,
		void *arg, struct child **ret, struct err *e)
{
	struct child *c = calloc(1, sizeof(*c));
	int pair[2], r;

	if (!c)
		return err_nomem(e);
	c->ops = ops;
	c->arg = arg;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		free(c);
		return err_sys(e, "cannot make a socket");
	}
	c->pid = fork();
	if (c->pid == 0)
		run(uid, gid, ops, work_arg, pair[1]);
	close(pair[1]);
	if (c->pid < 0) {
		r = err_sys(e, "cannot start a process");
		close(pair[0]);
		free(c);
		return r;
	}
	r = conn_new(d->loop, pair[0], &conn_ops, c, &c->conn, e);
	if (r < 0) {
		child_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

void child_free(struct child *c)
{
	kill(c->pid, SIGKILL);
	waitpid(c->pid, NULL, 0);
	if (c->conn)
		conn_free(c->conn);
	free(c);
}
