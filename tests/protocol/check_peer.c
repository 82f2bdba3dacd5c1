/* Calls in both directions over socket pairs: answers, errors, batches, descriptors, limits. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/io.h"
#include "base/strbuf.h"
#include "protocol/peer.h"
#include "tests/unit.h"

/* The service under test: what a few methods of the client table answer. */
struct world {
	struct loop *loop;
	struct rpc_peer *server, *client;
	int raw; /* the other end when there is no client peer */
	struct rpc_call *held;
	unsigned events, cancelled;
	bool server_closed, client_closed, free_in_handler;
	char last_event[64];
};

static int unexpected(struct rpc_call *c, const void *a, void *r, struct err *e)
{
	(void)a;
	(void)r;
	return rpc_error(e, "not-supported", "%s", rpc_call_method(c)->name);
}

static int vm_list(struct rpc_call *c, const void *a, void *r, struct err *e)
{
	struct vm_list_reply *reply = r;

	(void)a;
	(void)e;
	reply->vms.v = arena_alloc(rpc_call_mem(c), 1, sizeof(*reply->vms.v));
	reply->vms.v[0] =
	    (struct vm_info){ .id = 7, .name = "web", .machine = "none", .owner = "me" };
	reply->vms.n = 1;
	return 0;
}

static int vm_start(struct rpc_call *c, const void *args, void *r, struct err *e)
{
	const struct vm_start_args *a = args;

	(void)r;
	json_object_object_add(rpc_call_error_data(c), "vm", json_object_new_string(a->vm));
	return rpc_error(e, "vm.not-found", "there is no VM '%s'", a->vm);
}

static void on_cancel(struct rpc_call *c, void *arg)
{
	struct world *w = arg;
	struct err e;

	w->cancelled++;
	w->held = NULL;
	rpc_error(&e, "request.cancelled", "nobody waits");
	rpc_call_fail(c, &e);
}

static int vm_wait(struct rpc_call *c, const void *a, void *r, struct err *e)
{
	struct world *w = rpc_call_arg(c);

	(void)a;
	(void)r;
	(void)e;
	w->held = c;
	rpc_call_on_cancel(c, on_cancel, w);
	return RPC_LATER;
}

/* Answers with the size of the file it was given, and hands a descriptor back. */
static int vm_console(struct rpc_call *c, const void *args, void *r, struct err *e)
{
	const struct vm_console_args *a = args;
	struct vm_console_reply *reply = r;
	struct stat st;

	if (!a->has_fd)
		return rpc_error(e, "rpc.params", "no descriptor came");
	ck_assert_int_eq(fstat(a->fd, &st), 0);
	reply->device = arena_printf(rpc_call_mem(c), "%lld", (long long)st.st_size);
	reply->fd = fcntl(a->fd, F_DUPFD_CLOEXEC, 3);
	reply->has_fd = true;
	return 0;
}

static int host_info(struct rpc_call *c, const void *a, void *r, struct err *e)
{
	struct world *w = rpc_call_arg(c);

	rpc_peer_free(w->server);
	w->server = NULL;
	return unexpected(c, a, r, e);
}

static int discover(struct rpc_call *c, const void *a, void *r, struct err *e)
{
	struct rpc_discover_reply *reply = r;

	(void)c;
	(void)a;
	(void)e;
	reply->document = rpc_openrpc(&client_table);
	return 0;
}

static rpc_handler *handlers[128];

static void set_handlers(void)
{
	static const struct {
		const char *name;
		rpc_handler *fn;
	} known[] = { { "vm.list", vm_list },     { "vm.start", vm_start },
		      { "vm.wait", vm_wait },     { "vm.console", vm_console },
		      { "host.info", host_info }, { "rpc.discover", discover } };

	for (size_t i = 0; i < client_table.n_methods; i++) {
		handlers[i] = unexpected;
		for (size_t j = 0; j < ARRAY_SIZE(known); j++)
			if (!strcmp(known[j].name, client_table.methods[i].name))
				handlers[i] = known[j].fn;
	}
}

static const struct rpc_service service = { &client_table, handlers, NULL, NULL };

static void server_closed(void *arg, const struct err *why)
{
	(void)why;
	((struct world *)arg)->server_closed = true;
}

static void client_closed(void *arg, const struct err *why)
{
	(void)why;
	((struct world *)arg)->client_closed = true;
}

static void client_event(void *arg, const char *method, json_object *params)
{
	struct world *w = arg;

	(void)params;
	w->events++;
	snprintf(w->last_event, sizeof(w->last_event), "%s", method);
}

static const struct rpc_peer_ops server_ops = { &service, NULL, server_closed };
static const struct rpc_peer_ops client_ops = { NULL, client_event, client_closed };

static void world_init(struct world *w, int type, bool raw)
{
	int sv[2];
	struct err e;

	*w = (struct world){ .raw = -1 };
	set_handlers();
	ck_assert_int_eq(loop_new(&w->loop, &e), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, sv), 0);
	ck_assert_int_eq(rpc_peer_new(w->loop, sv[0], &server_ops, w, &w->server, &e), 0);
	if (raw)
		w->raw = sv[1];
	else
		ck_assert_int_eq(rpc_peer_new(w->loop, sv[1], &client_ops, w, &w->client, &e), 0);
}

static void world_free(struct world *w)
{
	if (w->client)
		rpc_peer_free(w->client);
	if (w->server)
		rpc_peer_free(w->server);
	if (w->raw >= 0)
		close(w->raw);
	loop_free(w->loop);
}

/* Until nothing happens any more; then what the raw end has received. */
static char *exchange(struct world *w, const char *text, size_t len, size_t step)
{
	auto_strbuf out = { 0 };
	char buf[4096];
	ssize_t n;
	size_t at = 0;

	do {
		size_t part = MIN(step, len - at);

		if (part)
			ck_assert_int_eq(send(w->raw, text + at, part, MSG_NOSIGNAL),
					 (ssize_t)part);
		at += part;
		for (int i = 0; i < 8; i++)
			loop_once(w->loop, false);
		while ((n = recv(w->raw, buf, sizeof(buf), MSG_DONTWAIT)) > 0)
			strbuf_add(&out, buf, (size_t)n);
	} while (at < len);
	return out.data ? strbuf_take(&out) : strdup("");
}

#define LIST_ANSWER(id)                                                                       \
	"{\"jsonrpc\":\"2.0\",\"id\":" id ",\"result\":{\"vms\":[{\"id\":7,\"name\":\"web\"," \
	"\"state\":\"stopped\",\"machine\":\"none\",\"cpus\":0,\"memory\":0,\"owner\":\"me\"}]}}"
#define ERROR_ANSWER(id, code, message, data)                                                    \
	"{\"jsonrpc\":\"2.0\",\"id\":" id ",\"error\":{\"code\":" code ",\"message\":\"" message \
	"\",\"data\":{" data "}}}"
#define REQUEST_HINT               \
	"\"hint\":\"a request is " \
	"{\\\"jsonrpc\\\":\\\"2.0\\\",\\\"id\\\":1,\\\"method\\\":\\\"vm.list\\\"}\""
#define BAD_REQUEST(message) \
	ERROR_ANSWER("null", "-32600", message, "\"kind\":\"rpc.request\"," REQUEST_HINT)

static const struct {
	const char *in, *out;
} wire[] = {
	{ "{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"vm.list\"}", LIST_ANSWER("0") "\n" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":\"a/b\",\"method\":\"vm.list\",\"params\":[]}",
	  LIST_ANSWER("\"a/b\"") "\n" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"vm.list\",\"params\":{}}",
	  LIST_ANSWER("null") "\n" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1.5,\"method\":\"vm.list\"}", LIST_ANSWER("1.5") "\n" },
	{ "{\"jsonrpc\":\"2.0\",\"method\":\"vm.list\"}", "" },
	{ "{\"jsonrpc\":\"2.0\",\"method\":\"no.such\"}", "" },
	{ "{\"jsonrpc\":\"2.0\",\"method\":\"$/whatever\",\"params\":{\"x\":1}}", "" },
	{ " \n{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.list\"}{\"jsonrpc\":\"2.0\",\"id\":2,"
	  "\"method\":\"vm.list\"}\r\n",
	  LIST_ANSWER("1") "\n" LIST_ANSWER("2") "\n" },
	{ "[{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"method\":\"vm.list\"},{\"jsonrpc\":\"2.0\","
	  "\"method\":\"vm.list\"},7]",
	  "[" LIST_ANSWER("\"a\"") "," BAD_REQUEST("a request is an object") "]\n" },
	{ "[{\"jsonrpc\":\"2.0\",\"method\":\"vm.list\"},{\"jsonrpc\":\"2.0\",\"method\":\"x\"}]",
	  "" },
	{ "[]", BAD_REQUEST("a batch has at least one request") "\n" },
	{ "7 ", BAD_REQUEST("a request is an object") "\n" },
	{ "{\"id\":1,\"method\":\"vm.list\"}",
	  ERROR_ANSWER("1", "-32600", "a request has \\\"jsonrpc\\\": \\\"2.0\\\"",
		       "\"kind\":\"rpc.request\"," REQUEST_HINT) "\n" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":[],\"method\":\"vm.list\"}",
	  BAD_REQUEST("an id is a string, a number or null") "\n" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.lsit\"}",
	  ERROR_ANSWER("1", "-32601", "there is no method 'vm.lsit'",
		       "\"kind\":\"rpc.method\",\"hint\":\"did you mean 'vm.list'?\"") "\n" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.start\",\"params\":[\"web\"]}",
	  ERROR_ANSWER(
	      "1", "2", "there is no VM 'web'",
	      "\"vm\":\"web\",\"kind\":\"vm.not-found\",\"hint\":\"'vmctl list' shows the VMs "
	      "there are\"") "\n" },
	{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.start\",\"params\":{\"vm\":\"web\","
	  "\"psaued\":1}}",
	  ERROR_ANSWER("1", "-32602", "vm.start: there is no 'psaued'",
		       "\"path\":\"psaued\",\"did_you_mean\":\"paused\",\"kind\":\"rpc.params\","
		       "\"hint\":\"did you mean 'paused'?\"") "\n" },
};

/* At once, and split at every byte. */
START_TEST(what_goes_in_comes_out)
{
	static const size_t steps[] = { SIZE_MAX, 1, 2, 7 };

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		struct world w;
		char *out;

		world_init(&w, SOCK_STREAM, true);
		out = exchange(&w, wire[_i].in, strlen(wire[_i].in), steps[i]);
		ck_assert_str_eq(out, wire[_i].out);
		free(out);
		world_free(&w);
	}
}
END_TEST

START_TEST(headers_are_answered_with_headers)
{
	static const char in[] =
	    "Content-Length: 44\r\n\r\n{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"no.such\"} ";
	struct world w;
	char *out, *body;

	world_init(&w, SOCK_STREAM, true);
	out = exchange(&w, in, sizeof(in) - 1, SIZE_MAX);
	ck_assert_int_eq(strncmp(out, "Content-Length: ", 16), 0);
	body = strstr(out, "\r\n\r\n");
	ck_assert_ptr_nonnull(body);
	ck_assert_uint_eq(strlen(body + 4), strtoul(out + 16, NULL, 10));
	free(out);
	world_free(&w);
}
END_TEST

START_TEST(half_a_connection_still_gets_its_answers)
{
	static const char in[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.list\"}";
	struct world w;
	char *out;

	world_init(&w, SOCK_STREAM, true);
	ck_assert_int_eq(send(w.raw, in, sizeof(in) - 1, 0), sizeof(in) - 1);
	shutdown(w.raw, SHUT_WR);
	out = exchange(&w, "", 0, 1);
	ck_assert_str_eq(out, LIST_ANSWER("1") "\n");
	ck_assert(w.server_closed);
	free(out);
	world_free(&w);
}
END_TEST

static int call(struct world *w, const char *method, const char *params, const int *fds, size_t n,
		json_object **ret, struct conn_fds *ret_fds, struct err *e)
{
	return rpc_client_call(w->client, method, params ? json_tokener_parse(params) : NULL, fds,
			       n, ret, ret_fds, NULL, e);
}

static const int types[] = { SOCK_STREAM, SOCK_SEQPACKET };

START_TEST(a_client_gets_results_and_errors)
{
	struct world w;
	json_object *ret;
	struct err e;

	world_init(&w, types[_i], false);
	ck_assert_int_eq(call(&w, "vm.list", NULL, NULL, 0, &ret, NULL, &e), 0);
	ck_assert(json_object_object_get_ex(ret, "vms", NULL));
	json_object_put(ret);
	ck_assert_int_eq(call(&w, "vm.start", "{\"vm\":\"x\"}", NULL, 0, &ret, NULL, &e), -ENOENT);
	ck_assert_str_eq(e.kind, "vm.not-found");
	ck_assert_str_eq(e.msg, "there is no VM 'x'");
	ck_assert_int_eq(call(&w, "rpc.discover", NULL, NULL, 0, &ret, NULL, &e), 0);
	ck_assert(json_object_object_get_ex(ret, "openrpc", NULL));
	json_object_put(ret);
	world_free(&w);
}
END_TEST

static int temporary(size_t bytes)
{
	char name[] = "/tmp/vmd-peer-XXXXXX";
	int fd = mkostemp(name, O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	unlink(name);
	ck_assert_int_eq(ftruncate(fd, (off_t)bytes), 0);
	return fd;
}

static int open_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

START_TEST(descriptors_go_both_ways_and_none_is_left_open)
{
	struct world w;
	struct conn_fds got;
	json_object *ret, *v;
	struct err e;
	int fds[2], before;

	world_init(&w, types[_i], false);
	fds[0] = temporary(111);
	fds[1] = temporary(222);
	before = open_fds();
	for (int i = 0; i < 20; i++) {
		struct stat st;

		ck_assert_int_eq(call(&w, "vm.console", "{\"vm\":\"x\",\"fd\":{\"fd\":1}}", fds, 2,
				      &ret, &got, &e),
				 0);
		json_object_object_get_ex(ret, "device", &v);
		ck_assert_str_eq(json_object_get_string(v), "222");
		ck_assert_uint_eq(got.n, 1);
		ck_assert_int_eq(fstat(got.v[0], &st), 0);
		ck_assert_int_eq(st.st_size, 222);
		conn_fds_close(&got);
		json_object_put(ret);
		/* Descriptors that no parameter mentions are closed. */
		ck_assert_int_eq(call(&w, "vm.list", NULL, fds, 2, &ret, NULL, &e), 0);
		json_object_put(ret);
	}
	ck_assert_int_eq(
	    call(&w, "vm.console", "{\"vm\":\"x\",\"fd\":{\"fd\":2}}", fds, 2, &ret, NULL, &e),
	    -EINVAL);
	/* A stream keeps the last ones until it is clear that no value wants them. */
	ck_assert_int_eq(call(&w, "vm.list", NULL, NULL, 0, &ret, NULL, &e), 0);
	json_object_put(ret);
	ck_assert_int_eq(open_fds(), before);
	close(fds[0]);
	close(fds[1]);
	world_free(&w);
}
END_TEST

/* The kernel glues plain bytes in front of a message with descriptors into one read. */
START_TEST(descriptors_find_their_request_in_a_glued_read)
{
	static const char plain[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.list\"}\n";
	static const char with[] =
	    "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"vm.console\",\"params\":"
	    "{\"vm\":\"x\",\"fd\":{\"fd\":0}}}\n";
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { (char *)with, sizeof(with) - 1 };
	struct msghdr h = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control,
			    .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&h);
	int fd = temporary(333);
	struct world w;
	char *out;

	world_init(&w, SOCK_STREAM, true);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	ck_assert_int_gt(send(w.raw, plain, sizeof(plain) - 1, 0), 0);
	ck_assert_int_gt(sendmsg(w.raw, &h, 0), 0);
	ck_assert_int_gt(send(w.raw, plain, sizeof(plain) - 1, 0), 0);
	out = exchange(&w, "", 0, 1);
	ck_assert_ptr_nonnull(
	    strstr(out, "\"id\":2,\"result\":{\"fd\":{\"fd\":0},\"device\":\"333\"}"));
	free(out);
	close(fd);
	world_free(&w);
}
END_TEST

START_TEST(a_waiting_call_can_be_cancelled)
{
	static const char in[] =
	    "{\"jsonrpc\":\"2.0\",\"id\":\"w\",\"method\":\"vm.wait\",\"params\":{\"vm\":"
	    "\"x\"}}{\"jsonrpc\":\"2.0\",\"method\":\"$/cancelRequest\",\"params\":"
	    "{\"id\":\"w\"}}";
	struct world w;
	char *out;

	world_init(&w, SOCK_STREAM, true);
	out = exchange(&w, in, sizeof(in) - 1, SIZE_MAX);
	ck_assert_uint_eq(w.cancelled, 1);
	ck_assert_ptr_nonnull(strstr(out, "\"id\":\"w\",\"error\":{\"code\":125"));
	ck_assert_ptr_nonnull(strstr(out, "\"kind\":\"request.cancelled\""));
	free(out);
	world_free(&w);
}
END_TEST

START_TEST(a_call_outlives_its_connection)
{
	static const char in[] =
	    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.wait\",\"params\":{\"vm\":\"x\"}}";
	struct world w;

	world_init(&w, SOCK_STREAM, true);
	free(exchange(&w, in, sizeof(in) - 1, SIZE_MAX));
	ck_assert_ptr_nonnull(w.held);
	close(w.raw);
	w.raw = -1;
	for (int i = 0; i < 4; i++)
		loop_once(w.loop, false);
	ck_assert(w.server_closed);
	rpc_peer_free(w.server);
	w.server = NULL;
	ck_assert_uint_eq(w.cancelled, 1);
	world_free(&w);
}
END_TEST

START_TEST(a_handler_may_free_its_peer)
{
	static const char in[] =
	    "[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"host.info\"},{\"jsonrpc\":"
	    "\"2.0\",\"id\":2,\"method\":\"vm.list\"}]";
	struct world w;

	world_init(&w, SOCK_STREAM, true);
	free(exchange(&w, in, sizeof(in) - 1, SIZE_MAX));
	ck_assert_ptr_null(w.server);
	world_free(&w);
}
END_TEST

static char *calls(unsigned n, bool as_batch, const char *method)
{
	auto_strbuf b = { 0 };

	for (unsigned i = 0; i < n; i++)
		strbuf_printf(
		    &b, "%s{\"jsonrpc\":\"2.0\",\"id\":%u,\"method\":\"%s\",\"params\":[\"x\"]}",
		    !as_batch ? ""
		    : i       ? ","
			      : "[",
		    i, method);
	strbuf_puts(&b, as_batch ? "]" : "");
	return strbuf_take(&b);
}

START_TEST(limits_hold_one_above_and_not_one_below)
{
	static const struct {
		unsigned n;
		bool batch, over;
		const char *method;
	} rows[] = {
		{ RPC_BATCH_MAX, true, false, "vm.start" },
		{ RPC_BATCH_MAX + 1, true, true, "vm.start" },
		{ RPC_CALLS_MAX, false, false, "vm.wait" },
		{ RPC_CALLS_MAX + 1, false, true, "vm.wait" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char *in = calls(rows[i].n, rows[i].batch, rows[i].method), *out;
		struct world w;

		world_init(&w, SOCK_STREAM, true);
		out = exchange(&w, in, strlen(in), SIZE_MAX);
		ck_assert_int_eq(strstr(out, "limit.reached") != NULL, rows[i].over);
		ck_assert(!w.server_closed);
		free(in);
		free(out);
		world_free(&w);
	}
}
END_TEST

START_TEST(notifications_reach_the_client)
{
	struct event_vm_phase ev = { .phase = PHASE_KERNEL };
	struct world w;
	struct err e;

	world_init(&w, types[_i], false);
	ck_assert_int_eq(rpc_notify_event(w.server, &client_table, "vm.phase", &ev, &e), 0);
	for (int i = 0; i < 4; i++)
		loop_once(w.loop, false);
	ck_assert_uint_eq(w.events, 1);
	ck_assert_str_eq(w.last_event, "vm.phase");
	world_free(&w);
}
END_TEST

/* The event was sent, and the connection ended, before our last request was read. */
#define EVENT_TEXT "{\"jsonrpc\":\"2.0\",\"method\":\"exit\"}\n"

static void send_request(struct rpc_peer *p)
{
	struct err e;

	ck_assert_int_eq(rpc_send(p, "vm.list", NULL, NULL, 0, NULL, NULL, &e), 0);
	rpc_peer_flush(p);
}

static void run_until_closed(struct world *w)
{
	for (int i = 0; i < 100 && !w->client_closed; i++)
		loop_once(w->loop, true);
	ck_assert(w->client_closed);
}

START_TEST(last_words_arrive_though_a_request_was_never_read)
{
	struct world w;
	struct err e;
	int sv[2];

	world_init(&w, types[_i], true);
	ck_assert_int_eq(socketpair(AF_UNIX, types[_i] | SOCK_CLOEXEC, 0, sv), 0);
	ck_assert_int_eq(rpc_peer_new(w.loop, sv[0], &client_ops, &w, &w.client, &e), 0);
	send_request(w.client);
	ck_assert_int_eq(send(sv[1], EVENT_TEXT, strlen(EVENT_TEXT), 0), strlen(EVENT_TEXT));
	close(sv[1]);
	run_until_closed(&w);
	ck_assert_uint_eq(w.events, 1);
	ck_assert_str_eq(w.last_event, "exit");
	world_free(&w);
}
END_TEST

START_TEST(last_words_arrive_though_a_request_can_not_be_sent)
{
	struct world w;
	struct err e;
	int sv[2];

	world_init(&w, types[_i], true);
	ck_assert_int_eq(socketpair(AF_UNIX, types[_i] | SOCK_CLOEXEC, 0, sv), 0);
	ck_assert_int_eq(rpc_peer_new(w.loop, sv[0], &client_ops, &w, &w.client, &e), 0);
	ck_assert_int_eq(send(sv[1], EVENT_TEXT, strlen(EVENT_TEXT), 0), strlen(EVENT_TEXT));
	close(sv[1]);
	send_request(w.client);
	send_request(w.client);
	run_until_closed(&w);
	ck_assert_uint_eq(w.events, 1);
	world_free(&w);
}
END_TEST

/* It may hold the connection open for ever: it is no use to us. */
START_TEST(who_closes_its_reading_half_is_given_up)
{
	struct world w;
	struct err e;
	int sv[2];

	world_init(&w, types[_i], true);
	ck_assert_int_eq(socketpair(AF_UNIX, types[_i] | SOCK_CLOEXEC, 0, sv), 0);
	ck_assert_int_eq(rpc_peer_new(w.loop, sv[0], &client_ops, &w, &w.client, &e), 0);
	ck_assert_int_eq(shutdown(sv[1], SHUT_RD), 0);
	send_request(w.client);
	run_until_closed(&w);
	close(sv[1]);
	world_free(&w);
}
END_TEST

START_TEST(a_peer_that_is_freed_resets_nothing)
{
	char buf[256];
	struct world w;
	struct err e;

	world_init(&w, types[_i], true);
	ck_assert_int_eq(rpc_notify(w.server, "exit", NULL, &e), 0);
	rpc_peer_flush(w.server);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(send(w.raw, "{}", 2, 0), 2);
	rpc_peer_free(w.server);
	w.server = NULL;
	ck_assert_int_gt(recv(w.raw, buf, sizeof(buf), MSG_DONTWAIT), 0);
	ck_assert_int_eq(recv(w.raw, buf, sizeof(buf), MSG_DONTWAIT), 0);
	world_free(&w);
}
END_TEST

static void cases(TCase *t)
{
	tcase_add_loop_test(t, what_goes_in_comes_out, 0, ARRAY_SIZE(wire));
	tcase_add_test(t, headers_are_answered_with_headers);
	tcase_add_test(t, half_a_connection_still_gets_its_answers);
	tcase_add_loop_test(t, a_client_gets_results_and_errors, 0, ARRAY_SIZE(types));
	tcase_add_loop_test(t, descriptors_go_both_ways_and_none_is_left_open, 0,
			    ARRAY_SIZE(types));
	tcase_add_test(t, descriptors_find_their_request_in_a_glued_read);
	tcase_add_test(t, a_waiting_call_can_be_cancelled);
	tcase_add_test(t, a_call_outlives_its_connection);
	tcase_add_test(t, a_handler_may_free_its_peer);
	tcase_add_test(t, limits_hold_one_above_and_not_one_below);
	tcase_add_loop_test(t, notifications_reach_the_client, 0, ARRAY_SIZE(types));
	tcase_add_loop_test(t, last_words_arrive_though_a_request_was_never_read, 0,
			    ARRAY_SIZE(types));
	tcase_add_loop_test(t, last_words_arrive_though_a_request_can_not_be_sent, 0,
			    ARRAY_SIZE(types));
	tcase_add_loop_test(t, who_closes_its_reading_half_is_given_up, 0, ARRAY_SIZE(types));
	tcase_add_loop_test(t, a_peer_that_is_freed_resets_nothing, 0, ARRAY_SIZE(types));
}

int main(void)
{
	return unit_run("peer", cases);
}
