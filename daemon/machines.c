/*
 * machines.c - what can be emulated: the worker knows, so it is asked ("vmd-vm --describe"), by a
 * child of the daemon.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/own.h"
#include "base/strbuf.h"
#include "daemon/child.h"
#include "daemon/process.h"
#include "daemon/vm.h"

enum { ANSWER_MAX = 4 * 1024 * 1024 };

static int read_all(int fd, struct strbuf *to, struct err *e)
{
	char buf[8192];
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "cannot read what vmd-vm says");
		strbuf_add(to, buf, (size_t)n);
		if (to->len > ANSWER_MAX || strbuf_failed(to))
			return err_set(e, -EFBIG, "vmd-vm says too much");
	}
	return 0;
}

static int describe(void *arg, int sock, struct child_result *ret, struct err *e)
{
	char program[PATH_MAX];
	auto_strbuf text = { 0 };
	int pipe_fds[2], status, r = find_program("vmd-vm", program, sizeof(program), e);
	pid_t pid;

	(void)arg;
	(void)sock;
	if (r < 0)
		return r;
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return err_sys(e, "cannot make a pipe");
	pid = fork();
	if (pid == 0) {
		if (dup2(pipe_fds[1], STDOUT_FILENO) >= 0)
			execl(program, program, "--describe", (char *)NULL);
		_exit(127);
	}
	close(pipe_fds[1]);
	if (pid < 0)
		return err_sys(e, "cannot start a process");
	r = read_all(pipe_fds[0], &text, e);
	if (r < 0)
		return r;
	waitpid(pid, &status, 0);
	ret->result = text.data ? json_tokener_parse(text.data) : NULL;
	return ret->result ? 0 : rpc_error(e, "failed", "%s does not describe itself", program);
}

struct question {
	struct rpc_call *c;
	const char *key; /* "machines" or "devices" */
	struct child *child;
};

static void answered(void *arg, json_object *result, struct conn_fds *fds, const struct err *e)
{
	struct question *q = arg;
	json_object *o = json_object_new_object(), *list = NULL;

	(void)fds;
	if (result)
		json_object_object_get_ex(result, q->key, &list);
	json_object_object_add(o, q->key, list ? json_object_get(list) : json_object_new_array());
	if (e)
		rpc_call_fail(q->c, e);
	else
		rpc_call_answer(q->c, o);
	json_object_put(o);
	child_free(q->child);
	free(q);
}

static int ask(struct rpc_call *c, const char *key, struct err *e)
{
	static const struct child_ops ops = { .work = describe, .done = answered };
	struct question *q = calloc(1, sizeof(*q));
	int r;

	if (!q)
		return err_nomem(e);
	q->c = c;
	q->key = key;
	r = child_start(daemon_of(c), geteuid(), getegid(), &ops, q, q, &q->child, e);
	if (r == 0)
		return RPC_LATER;
	free(q);
	return r;
}

int method_machine_list(struct rpc_call *c, const struct machine_list_args *a,
			struct machine_list_reply *r, struct err *e)
{
	(void)a;
	(void)r;
	return ask(c, "machines", e);
}

int method_device_list(struct rpc_call *c, const struct device_list_args *a,
		       struct device_list_reply *r, struct err *e)
{
	(void)a;
	(void)r;
	return ask(c, "devices", e);
}
