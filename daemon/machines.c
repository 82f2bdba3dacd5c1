/*
 * machines.c - what can be emulated, and what KVM is good for here: the worker knows, so it is
 * asked
 * ("vmd-vm --describe" and "--describe-kvm"), by a child of the daemon.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/own.h"
#include "base/strbuf.h"
#include "daemon/child.h"
#include "daemon/process.h"
#include "daemon/vm.h"

enum { ANSWER_MAX = 4 * 1024 * 1024, ANSWER_SECONDS = 30 };

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

struct question {
	struct rpc_call *c;
	const char *option; /* of vmd-vm */
	const char *key;    /* "machines", "devices" or "kvm" */
	struct child *child;
};

static int describe(void *arg, int sock, struct child_result *ret, struct err *e)
{
	const struct question *q = arg;
	char program[PATH_MAX];
	auto_strbuf text = { 0 };
	int pipe_fds[2], status, r = find_program("vmd-vm", program, sizeof(program), e);
	pid_t pid;

	(void)sock;
	if (r < 0)
		return r;
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return err_sys(e, "cannot make a pipe");
	alarm(ANSWER_SECONDS); /* ends us, and vmd-vm with us */
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (dup2(pipe_fds[1], STDOUT_FILENO) >= 0)
			execl(program, program, q->option, (char *)NULL);
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

/* The host does not change while the daemon runs: asked once. */
static void answered_kvm(void *arg, json_object *result, struct conn_fds *fds, const struct err *e)
{
	struct question *q = arg;
	struct daemon *d = daemon_of(q->c);
	struct host_info_reply *r = rpc_call_reply(q->c);
	json_object *text = NULL;

	(void)fds;
	if (result && json_object_object_get_ex(result, q->key, &text))
		snprintf(d->kvm, sizeof(d->kvm), "%s", json_object_get_string(text));
	else
		snprintf(d->kvm, sizeof(d->kvm), "usable; not measured: %.150s",
			 e ? e->msg : "the worker does not say");
	r->kvm = d->kvm;
	rpc_call_done(q->c);
	child_free(q->child);
	free(q);
}

static int ask(struct rpc_call *c, const char *option, const char *key, const struct child_ops *ops,
	       struct err *e)
{
	struct question *q = calloc(1, sizeof(*q));
	int r;

	if (!q)
		return err_nomem(e);
	q->c = c;
	q->option = option;
	q->key = key;
	r = child_start(daemon_of(c), geteuid(), getegid(), ops, q, q, &q->child, e);
	if (r == 0)
		return RPC_LATER;
	free(q);
	return r;
}

static const struct child_ops list_ops = { .work = describe, .done = answered };
static const struct child_ops kvm_ops = { .work = describe, .done = answered_kvm };

int kvm_describe(struct rpc_call *c, struct err *e)
{
	return ask(c, "--describe-kvm", "kvm", &kvm_ops, e);
}

int method_machine_list(struct rpc_call *c, const struct machine_list_args *a,
			struct machine_list_reply *r, struct err *e)
{
	(void)a;
	(void)r;
	return ask(c, "--describe", "machines", &list_ops, e);
}

int method_device_list(struct rpc_call *c, const struct device_list_args *a,
		       struct device_list_reply *r, struct err *e)
{
	(void)a;
	(void)r;
	return ask(c, "--describe", "devices", &list_ops, e);
}
