/*
 * The process of a network, in its jail: serves its methods, keeps its forwards for a daemon that
 * comes again, refuses one without the token, and ends with its last port.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/own.h"
#include "protocol/peer.h"
#include "tests/unit.h"

struct bench {
	char dir[64], path[96];
	struct loop *loop;
	struct rpc_peer *peer;
	pid_t pid;
};

static const struct rpc_peer_ops ops = { .service = NULL };

static void connect_again(struct bench *b)
{
	struct err e = { 0 };

	if (b->peer)
		rpc_peer_free(b->peer);
	ck_assert_msg(!rpc_connect(b->loop, b->path, SOCK_SEQPACKET, &ops, NULL, &b->peer, &e),
		      "%s", e.msg);
}

static void bench_new(struct bench *b, const char *kind)
{
	char arg[2][32], program[4096];
	struct err e = { 0 };
	int fd, passed;

	*b = (struct bench){ .dir = "/tmp/check_vmd_net.XXXXXX" };
	ck_assert_ptr_nonnull(mkdtemp(b->dir));
	snprintf(b->path, sizeof(b->path), "%s/sock", b->dir);
	ck_assert_int_eq(rpc_listen(b->path, SOCK_SEQPACKET, 4, &fd, &e), 0);
	snprintf(arg[0], sizeof(arg[0]), "--kind=%s", kind);
	passed = dup(fd);
	snprintf(arg[1], sizeof(arg[1]), "--control-fd=%d", passed);
	snprintf(program, sizeof(program), "%s/vmd-net", getenv("top_builddir"));
	b->pid = fork();
	if (b->pid == 0) {
		execl(program, "vmd-net", "test", arg[0], arg[1], (char *)NULL);
		_exit(127);
	}
	close(fd);
	close(passed);
	ck_assert_int_eq(loop_new(&b->loop, &e), 0);
	connect_again(b);
}

static void bench_free(struct bench *b)
{
	rpc_peer_free(b->peer);
	loop_free(b->loop);
	unlink(b->path);
	rmdir(b->dir);
}

static json_object *call(struct bench *b, const char *method, const char *params, const int *fds,
			 size_t n, struct err *e)
{
	json_object *result = NULL, *data = NULL;

	*e = (struct err){ 0 };
	if (rpc_client_call(b->peer, method, json_tokener_parse(params), fds, n, &result, NULL,
			    &data, e) < 0)
		result = NULL;
	json_object_put(data);
	return result;
}

static size_t count(json_object *result, const char *list)
{
	json_object *v = NULL;

	ck_assert(json_object_object_get_ex(result, list, &v));
	return json_object_array_length(v);
}

/* The connection breaks when the process ends. */
static bool has_ended(struct bench *b)
{
	const bool never = false;

	return rpc_wait(b->peer, &never, NULL) < 0;
}

START_TEST(a_network_outlives_its_daemon_and_ends_with_its_last_port)
{
	struct bench b;
	struct err e;
	json_object *r;
	int fd[2];

	bench_new(&b, "user");
	ck_assert_ptr_null(call(&b, "net.forward", "{}", NULL, 0, &e));
	ck_assert_str_eq(e.kind, "role.denied");
	r = call(&b, "net.hello", "{\"token\":\"secret\"}", NULL, 0, &e);
	ck_assert_msg(r != NULL, "%s", e.msg);
	json_object_put(r);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd), 0);
	r = call(&b, "net.port", "{\"fd\":{\"fd\":0}}", &fd[0], 1, &e);
	ck_assert_msg(r != NULL, "%s", e.msg);
	json_object_put(r);
	close(fd[0]);
	r = call(&b, "net.forward", "{\"action\":\"add\",\"forward\":{\"guest_port\":80}}", NULL, 0,
		 &e);
	ck_assert_msg(r != NULL, "%s", e.msg);
	ck_assert_uint_eq(count(r, "forwards"), 1);
	json_object_put(r);
	/* Another daemon comes: without the token it is refused, with it it finds everything. */
	connect_again(&b);
	ck_assert_ptr_null(call(&b, "net.hello", "{\"token\":\"guess\"}", NULL, 0, &e));
	connect_again(&b);
	r = call(&b, "net.hello", "{\"token\":\"secret\"}", NULL, 0, &e);
	ck_assert_msg(r != NULL, "%s", e.msg);
	ck_assert_uint_eq(count(r, "forwards"), 1);
	json_object_put(r);
	close(fd[1]);
	ck_assert_msg(has_ended(&b), "the process is still there");
	bench_free(&b);
}
END_TEST

START_TEST(a_switch_forwards_no_ports)
{
	json_object *r, *pid;
	struct bench b;
	struct err e;

	bench_new(&b, "switch");
	r = call(&b, "net.hello", "{\"token\":\"secret\"}", NULL, 0, &e);
	ck_assert_msg(r != NULL, "%s", e.msg);
	json_object_object_get_ex(r, "pid", &pid);
	ck_assert_int_gt(json_object_get_int(pid), 1);
	ck_assert_ptr_null(call(&b, "net.forward",
				"{\"action\":\"add\",\"forward\":{\"guest_port\":80}}", NULL, 0,
				&e));
	ck_assert_str_eq(e.kind, "rpc.params");
	kill(json_object_get_int(pid), SIGKILL);
	ck_assert(has_ended(&b));
	json_object_put(r);
	bench_free(&b);
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_test(t, a_network_outlives_its_daemon_and_ends_with_its_last_port);
	tcase_add_test(t, a_switch_forwards_no_ports);
}

int main(void)
{
	return unit_run("vmd_net", cases);
}
