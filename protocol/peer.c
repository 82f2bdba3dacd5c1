#include "protocol/peer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/list.h"

/* What came in one piece: a request, or a batch. Lives until its last call is answered. */
struct message {
	unsigned refs;
	json_object *v;
	struct conn_fds fds;
	json_object *answers; /* of a batch, in the order of the requests; else NULL */
	unsigned waiting;     /* answers of the batch that have not come yet */
};

struct rpc_call {
	struct list node;
	struct rpc_peer *peer; /* NULL when it is gone */
	void *peer_arg;
	struct rpc_cred cred;
	struct message *msg;
	json_object *id;   /* owned */
	bool notification; /* nobody waits for an answer */
	bool cancelled, told_before;
	size_t slot; /* in the batch */
	const struct rpc_method *method;
	const struct rpc_service *service;
	json_object *params; /* owned: without request_id, by name */
	char *request_id;
	void *args, *reply;
	struct arena mem;
	json_object *error_data;
	void (*on_cancel)(struct rpc_call *c, void *arg);
	void *on_cancel_arg;
};

struct waiting {
	struct list node;
	int64_t id;
	rpc_answer_fn *fn;
	void *arg;
};

struct rpc_peer {
	struct loop *loop;
	struct conn *conn;
	const struct rpc_peer_ops *ops;
	void *arg;
	struct rpc_cred cred;
	struct list calls, waiting;
	unsigned n_calls;
	int64_t next_id;
	bool eof, closed, dead, draining;
	unsigned busy; /* callbacks that still use the peer: it is freed when they are through */
};

static void enter(struct rpc_peer *p)
{
	p->busy++;
}

static void leave(struct rpc_peer *p)
{
	if (--p->busy || !p->dead)
		return;
	conn_free(p->conn);
	free(p);
}

static void message_unref(struct message *m)
{
	if (--m->refs)
		return;
	conn_fds_close(&m->fds);
	json_object_put(m->v);
	json_object_put(m->answers);
	free(m);
}

static void call_free(struct rpc_call *c)
{
	list_remove(&c->node);
	if (c->peer)
		c->peer->n_calls--;
	json_object_put(c->id);
	json_object_put(c->params);
	json_object_put(c->error_data);
	free(c->request_id);
	free(c->args);
	free(c->reply);
	arena_free(&c->mem);
	message_unref(c->msg);
	free(c);
}

/* ---- answers ---- */

static json_object *envelope(json_object *id)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "jsonrpc", json_object_new_string("2.0"));
	json_object_object_add(o, "id", json_object_get(id));
	return o;
}

static void close_peer(struct rpc_peer *p, const struct err *why)
{
	if (p->closed || p->draining)
		return;
	p->closed = true;
	conn_stop_reading(p->conn);
	if (p->ops->closed)
		p->ops->closed(p->arg, why);
}

static void send_or_close(struct rpc_peer *p, json_object *v, const int *fds, size_t n)
{
	struct err e;

	if (!p || p->closed)
		return;
	if (conn_send(p->conn, v, fds, n, &e) < 0)
		close_peer(p, &e);
}

/* All answers of a batch have come: one array, without the places of notifications. */
static void finish_batch(struct rpc_peer *p, struct message *m)
{
	json_object *out;

	if (m->waiting || !m->answers)
		return;
	out = json_object_new_array();
	for (size_t i = 0, n = json_object_array_length(m->answers); i < n; i++) {
		json_object *a = json_object_array_get_idx(m->answers, i);

		if (a)
			json_object_array_add(out, json_object_get(a));
	}
	if (json_object_array_length(out))
		send_or_close(p, out, NULL, 0);
	json_object_put(out);
}

/* answer is taken. */
static void deliver(struct rpc_peer *p, struct message *m, size_t slot, bool notification,
		    json_object *answer, const int *fds, size_t n)
{
	if (m->answers) {
		if (!notification)
			json_object_array_put_idx(m->answers, slot, json_object_get(answer));
		m->waiting--;
		finish_batch(p, m);
	} else if (!notification) {
		send_or_close(p, answer, fds, n);
	}
	json_object_put(answer);
}

static void deliver_error(struct rpc_peer *p, struct message *m, size_t slot, json_object *id,
			  const struct err *e, json_object *data)
{
	json_object *o = envelope(id);

	json_object_object_add(o, "error", rpc_error_build(e, data));
	deliver(p, m, slot, false, o, NULL, 0);
}

/* After the last answer of a connection whose other side writes no more. */
static void close_if_done(struct rpc_peer *p)
{
	if (p->eof && list_empty(&p->calls)) {
		conn_flush(p->conn);
		close_peer(p, NULL);
	}
}

static void call_end(struct rpc_call *c, json_object *result, const struct err *e, const int *fds,
		     size_t n)
{
	struct rpc_peer *p = c->peer;
	json_object *o = envelope(c->id);

	if (p)
		enter(p);
	if (c->told_before && c->service->after)
		c->service->after(c, result, e);
	if (e)
		json_object_object_add(o, "error",
				       rpc_error_build(e, json_object_get(c->error_data)));
	else
		json_object_object_add(o, "result", json_object_get(result));
	deliver(p, c->msg, c->slot, c->notification, o, fds, n);
	call_free(c);
	if (!p)
		return;
	close_if_done(p);
	leave(p);
}

void rpc_call_fail(struct rpc_call *c, const struct err *e)
{
	struct err cancelled;

	if (c->cancelled) {
		rpc_error(&cancelled, "request.cancelled", "%s was cancelled", c->method->name);
		e = &cancelled;
	}
	call_end(c, NULL, e, NULL, 0);
}

void rpc_call_answer(struct rpc_call *c, json_object *result)
{
	call_end(c, result, NULL, NULL, 0);
}

/* JSON members of a reply were made for it: give them back. */
static void put_json(const struct rpc_object *o, const char *reply)
{
	for (const struct rpc_field *f = o->fields(); f->name; f++) {
		const char *at = reply + f->off;

		if (f->type == RPC_JSON)
			json_object_put(*(json_object *const *)at);
		else if (f->type == RPC_OBJECT)
			put_json(f->object, at);
		else if (f->type == RPC_LIST)
			for (size_t i = 0; i < rpc_list_n(at); i++)
				put_json(f->object, rpc_list_at(f->object, at, i));
	}
}

void rpc_call_done(struct rpc_call *c)
{
	int fds[CONN_FDS];
	size_t n = CONN_FDS;
	json_object *result = rpc_build(&c->method->reply, c->reply, fds, &n);

	put_json(&c->method->reply, c->reply);
	call_end(c, result, NULL, fds, n);
	json_object_put(result);
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
}

/* ---- requests ---- */

/* An array of parameters is by the order of the table. */
static int params_by_name(struct rpc_call *c, json_object *params, struct err *e)
{
	const struct rpc_field *f = c->method->args.fields();
	size_t n;

	if (!params || json_object_is_type(params, json_type_object)) {
		c->params = json_object_new_object();
		if (!params)
			return 0;
		json_object_object_foreach(params, key, val)
		    json_object_object_add(c->params, key, json_object_get(val));
		return 0;
	}
	if (!json_object_is_type(params, json_type_array))
		return rpc_error(e, "rpc.params", "params is an object or an array");
	c->params = json_object_new_object();
	n = json_object_array_length(params);
	for (size_t i = 0; i < n; i++, f++) {
		if (!f->name)
			return rpc_error(e, "rpc.params", "%s takes %zu parameters, not %zu",
					 c->method->name, i, n);
		json_object_object_add(c->params, f->name,
				       json_object_get(json_object_array_get_idx(params, i)));
	}
	return 0;
}

/* Calls that change something may carry a request_id; it is not the handler's business. */
static int take_request_id(struct rpc_call *c, struct err *e)
{
	json_object *v;
	const char *s;

	if (c->method->effect == RPC_READS ||
	    !json_object_object_get_ex(c->params, "request_id", &v))
		return 0;
	s = json_object_is_type(v, json_type_string) ? json_object_get_string(v) : "";
	if (!*s || strlen(s) > 64 || strlen(s) != (size_t)json_object_get_string_len(v))
		return rpc_error(e, "rpc.params", "%s: 'request_id' must be text of 1 to 64 bytes",
				 c->method->name);
	c->request_id = strdup(s);
	json_object_object_del(c->params, "request_id");
	return c->request_id ? 0 : err_nomem(e);
}

static int parse_args(struct rpc_call *c, struct err *e)
{
	struct rpc_input in = { .mem = &c->mem,
				.fds = c->msg->fds.v,
				.n_fds = c->msg->fds.n,
				.what = c->method->name };
	int r;

	c->args = calloc(1, c->method->args.size + 1);
	c->reply = calloc(1, c->method->reply.size + 1);
	if (!c->args || !c->reply)
		return err_nomem(e);
	for (const struct rpc_field *f = c->method->reply.fields(); f->name; f++)
		if (f->type == RPC_FD)
			*(int *)((char *)c->reply + f->off) = -1;
	r = rpc_parse(&c->method->args, c->params, c->args, &in, e);
	if (r < 0 && in.path[0]) {
		json_object *d = rpc_call_error_data(c);

		json_object_object_add(d, "path", json_object_new_string(in.path));
		if (in.did_you_mean[0])
			json_object_object_add(d, "did_you_mean",
					       json_object_new_string(in.did_you_mean));
	}
	return r;
}

/* Everything up to the handler; 0 and RPC_LATER as it says, RPC_HELD when somebody else answers. */
static int call_run(struct rpc_call *c, json_object *params, struct err *e)
{
	size_t i = (size_t)(c->method - c->service->table->methods);
	json_object *answer = NULL;
	int r = params_by_name(c, params, e);

	if (r == 0)
		r = take_request_id(c, e);
	if (r == 0 && c->service->before)
		r = c->service->before(c, &answer, e);
	if (r == 1) {
		rpc_call_answer(c, answer);
		json_object_put(answer);
		return RPC_HELD;
	}
	if (r != 0)
		return r;
	c->told_before = true;
	r = parse_args(c, e);
	return r < 0 ? r : c->service->handlers[i](c, c->args, c->reply, e);
}

static struct rpc_call *call_new(struct rpc_peer *p, struct message *m, json_object *id,
				 bool notification, size_t slot, const struct rpc_method *method)
{
	struct rpc_call *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->peer = p;
	c->peer_arg = p->arg;
	c->cred = p->cred;
	c->msg = m;
	m->refs++;
	c->id = json_object_get(id);
	c->notification = notification;
	c->slot = slot;
	c->method = method;
	c->service = p->ops->service;
	list_append(&p->calls, &c->node);
	p->n_calls++;
	return c;
}

static bool same_id(json_object *a, json_object *b)
{
	return json_object_get_type(a) == json_object_get_type(b) && json_object_equal(a, b);
}

static void cancel(struct rpc_call *c)
{
	void (*fn)(struct rpc_call * c, void *arg) = c->on_cancel;

	c->cancelled = true;
	c->on_cancel = NULL;
	if (fn)
		fn(c, c->on_cancel_arg);
}

/* "$/cancelRequest {id}" is the one of its kind that means something to us. */
static void protocol_notification(struct rpc_peer *p, const char *method, json_object *params)
{
	struct rpc_call *c;
	json_object *id;

	if (strcmp(method, "$/cancelRequest") || !json_object_object_get_ex(params, "id", &id))
		return;
	list_for_each(c, &p->calls, struct rpc_call, node)
	{
		if (same_id(c->id, id) && c->on_cancel) {
			cancel(c);
			return;
		}
	}
}

static int no_method(struct rpc_peer *p, const char *name, struct err *e)
{
	const char *near =
	    p->ops->service ? rpc_method_suggest(p->ops->service->table, name) : NULL;

	rpc_error(e, "rpc.method", "there is no method '%s'", name);
	return near ? err_hint(e, "did you mean '%s'?", near) : -ENOSYS;
}

static int check_request(json_object *o, const char **method, json_object **id, bool *notification,
			 struct err *e)
{
	json_object *v;

	*id = NULL;
	*notification = !json_object_object_get_ex(o, "id", id);
	if (json_object_is_type(*id, json_type_object) ||
	    json_object_is_type(*id, json_type_array) ||
	    json_object_is_type(*id, json_type_boolean)) {
		*id = NULL;
		return rpc_error(e, "rpc.request", "an id is a string, a number or null");
	}
	if (!json_object_object_get_ex(o, "jsonrpc", &v) ||
	    !json_object_is_type(v, json_type_string) || strcmp(json_object_get_string(v), "2.0"))
		return rpc_error(e, "rpc.request", "a request has \"jsonrpc\": \"2.0\"");
	if (!json_object_object_get_ex(o, "method", &v) ||
	    !json_object_is_type(v, json_type_string))
		return rpc_error(e, "rpc.request", "a request has a method");
	*method = json_object_get_string(v);
	return 0;
}

static void run_method(struct rpc_peer *p, struct message *m, json_object *o, const char *name,
		       json_object *id, bool notification, size_t slot)
{
	const struct rpc_service *s = p->ops->service;
	const struct rpc_method *method = s ? rpc_method_find(s->table, name) : NULL;
	struct rpc_call *c = NULL;
	json_object *params = NULL;
	struct err e;
	int r;

	json_object_object_get_ex(o, "params", &params);
	if (!method)
		r = no_method(p, name, &e);
	else if (p->n_calls >= RPC_CALLS_MAX)
		r = rpc_error(&e, "limit.reached", "%d calls are under way already", RPC_CALLS_MAX);
	else if (!(c = call_new(p, m, id, notification, slot, method)))
		r = err_nomem(&e);
	else
		r = call_run(c, params, &e);
	if (r == 0)
		rpc_call_done(c);
	else if (c && r < 0)
		rpc_call_fail(c, &e);
	else if (!c && notification)
		deliver(p, m, slot, true, NULL, NULL, 0);
	else if (!c)
		deliver_error(p, m, slot, id, &e, NULL);
}

/* One request or notification. */
static void request(struct rpc_peer *p, struct message *m, json_object *o, size_t slot)
{
	const char *name = NULL;
	json_object *id, *params = NULL;
	bool notification;
	struct err e;

	if (!json_object_is_type(o, json_type_object)) {
		rpc_error(&e, "rpc.request", "a request is an object");
		deliver_error(p, m, slot, NULL, &e, NULL);
		return;
	}
	if (check_request(o, &name, &id, &notification, &e) < 0) {
		deliver_error(p, m, slot, id, &e, NULL);
		return;
	}
	json_object_object_get_ex(o, "params", &params);
	if (notification && (!strncmp(name, "$/", 2) || !p->ops->service)) {
		if (!p->ops->service && p->ops->event)
			p->ops->event(p->arg, name, params);
		else
			protocol_notification(p, name, params);
		deliver(p, m, slot, true, NULL, NULL, 0);
		return;
	}
	run_method(p, m, o, name, id, notification, slot);
}

/* ---- answers of the other side ---- */

static bool is_answer(json_object *o)
{
	return json_object_is_type(o, json_type_object) &&
	       !json_object_object_get_ex(o, "method", NULL) &&
	       (json_object_object_get_ex(o, "result", NULL) ||
		json_object_object_get_ex(o, "error", NULL));
}

static void call_back(struct waiting *w, struct rpc_answer *a)
{
	list_remove(&w->node);
	if (w->fn)
		w->fn(w->arg, a);
	conn_fds_close(&a->fds);
	free(w);
}

static void answer(struct rpc_peer *p, json_object *o, struct conn_fds *fds)
{
	struct rpc_answer a = { .fds = *fds };
	json_object *id, *error;
	struct waiting *w;
	struct err e;

	fds->n = 0;
	if (json_object_object_get_ex(o, "error", &error) && error) {
		rpc_error_read(error, &e);
		a.e = &e;
		json_object_object_get_ex(error, "data", &a.data);
	} else {
		json_object_object_get_ex(o, "result", &a.result);
	}
	json_object_object_get_ex(o, "id", &id);
	if (json_object_is_type(id, json_type_int))
		list_for_each(w, &p->waiting, struct waiting, node)
		{
			if (w->id == json_object_get_int64(id)) {
				call_back(w, &a);
				return;
			}
		}
	conn_fds_close(&a.fds); /* an answer that nobody waits for */
}

/* ---- the connection's callbacks ---- */

static struct message *message_new(json_object *v, struct conn_fds *fds)
{
	struct message *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->refs = 1;
	m->v = v;
	m->fds = *fds;
	fds->n = 0;
	return m;
}

/*
 * The requests of a batch start in their order. The last answer of a batch may free the peer, so
 * one more is held back until all have started.
 */
static void batch(struct rpc_peer *p, struct message *m)
{
	size_t n = json_object_array_length(m->v);
	struct err e;

	if (n == 0 || n > RPC_BATCH_MAX) {
		if (n == 0)
			rpc_error(&e, "rpc.request", "a batch has at least one request");
		else
			rpc_error(&e, "limit.reached", "a batch has at most %d requests",
				  RPC_BATCH_MAX);
		deliver_error(p, m, 0, NULL, &e, NULL);
		return;
	}
	m->answers = json_object_new_array();
	m->waiting = (unsigned)n + 1;
	for (size_t i = 0; i < n; i++)
		request(p, m, json_object_array_get_idx(m->v, i), i);
	m->waiting--;
	finish_batch(p, m);
}

static void requests(struct rpc_peer *p, json_object *v, struct conn_fds *fds)
{
	struct message *m = message_new(v, fds);
	struct err e;

	if (!m) {
		json_object_put(v);
		err_nomem(&e);
		close_peer(p, &e);
		return;
	}
	if (json_object_is_type(v, json_type_array))
		batch(p, m);
	else
		request(p, m, v, 0);
	message_unref(m);
}

static void on_value(void *arg, json_object *v, struct conn_fds *fds)
{
	struct rpc_peer *p = arg;

	enter(p);
	if (is_answer(v)) {
		answer(p, v, fds);
		json_object_put(v);
	} else {
		requests(p, v, fds);
	}
	leave(p);
}

static void on_bad(void *arg, const struct err *why, bool broken)
{
	struct rpc_peer *p = arg;
	json_object *o = envelope(NULL);

	enter(p);
	json_object_object_add(o, "error", rpc_error_build(why, NULL));
	send_or_close(p, o, NULL, 0);
	json_object_put(o);
	if (broken && !p->closed) {
		conn_flush(p->conn);
		close_peer(p, why);
	}
	leave(p);
}

static void on_eof(void *arg, bool half)
{
	struct rpc_peer *p = arg;

	enter(p);
	p->eof = true;
	if (half)
		close_if_done(p);
	else
		close_peer(p, NULL);
	leave(p);
}

static void on_failed(void *arg, const struct err *why)
{
	struct rpc_peer *p = arg;

	enter(p);
	close_peer(p, why);
	leave(p);
}

static const struct conn_ops conn_ops = { on_value, on_bad, on_eof, on_failed };

int rpc_peer_new(struct loop *l, int fd, const struct rpc_peer_ops *ops, void *arg,
		 struct rpc_peer **ret, struct err *e)
{
	struct rpc_peer *p = calloc(1, sizeof(*p));
	struct ucred cred = { .uid = (uid_t)-1, .gid = (gid_t)-1 };
	socklen_t len = sizeof(cred);
	int r;

	if (!p) {
		close(fd);
		return err_nomem(e);
	}
	list_init(&p->calls);
	list_init(&p->waiting);
	p->loop = l;
	p->ops = ops;
	p->arg = arg;
	p->next_id = 1;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0)
		p->cred = (struct rpc_cred){ cred.pid, cred.uid, cred.gid };
	else
		p->cred = (struct rpc_cred){ 0, (uid_t)-1, (gid_t)-1 };
	r = conn_new(l, fd, &conn_ops, p, &p->conn, e);
	if (r < 0) {
		free(p);
		return r;
	}
	*ret = p;
	return 0;
}

/* Calls of the other side lose their peer, and those who listen are told; they end by themselves.
 */
static void orphan_calls(struct rpc_peer *p)
{
	while (!list_empty(&p->calls)) {
		struct rpc_call *c = list_entry(p->calls.next, struct rpc_call, node);

		list_remove(&c->node);
		p->n_calls--;
		c->peer = NULL;
		if (c->on_cancel)
			cancel(c);
	}
}

void rpc_peer_free(struct rpc_peer *p)
{
	struct rpc_answer a = { 0 };
	struct err e;

	enter(p);
	p->closed = p->dead = true;
	conn_stop_reading(p->conn);
	orphan_calls(p);
	rpc_error(&e, "vm.lost", "the connection is closed");
	a.e = &e;
	while (!list_empty(&p->waiting))
		call_back(list_entry(p->waiting.next, struct waiting, node), &a);
	leave(p);
}

void *rpc_peer_arg(const struct rpc_peer *p)
{
	return p->arg;
}

struct rpc_cred rpc_peer_cred(const struct rpc_peer *p)
{
	return p->cred;
}

size_t rpc_peer_backlog(const struct rpc_peer *p)
{
	return conn_backlog(p->conn);
}

bool rpc_peer_is_closed(const struct rpc_peer *p)
{
	return p->closed;
}

int rpc_peer_fd(const struct rpc_peer *p)
{
	return conn_fd(p->conn);
}

void rpc_peer_drain(struct rpc_peer *p)
{
	if (p->closed)
		return;
	enter(p);
	p->draining = true;
	conn_drain(p->conn);
	p->draining = false;
	leave(p);
}

void rpc_peer_flush(struct rpc_peer *p)
{
	if (!p->closed)
		conn_flush(p->conn);
}

/* ---- what a handler asks about its call ---- */

json_object *rpc_call_error_data(struct rpc_call *c)
{
	if (!c->error_data)
		c->error_data = json_object_new_object();
	return c->error_data;
}

json_object *rpc_call_error_data_peek(const struct rpc_call *c)
{
	return c->error_data;
}

void *rpc_call_reply(struct rpc_call *c)
{
	return c->reply;
}

const void *rpc_call_args(struct rpc_call *c)
{
	return c->args;
}

struct arena *rpc_call_mem(struct rpc_call *c)
{
	return &c->mem;
}

struct rpc_peer *rpc_call_peer(struct rpc_call *c)
{
	return c->peer;
}

const struct rpc_method *rpc_call_method(const struct rpc_call *c)
{
	return c->method;
}

json_object *rpc_call_params(struct rpc_call *c)
{
	return c->params;
}

const char *rpc_call_request_id(const struct rpc_call *c)
{
	return c->request_id;
}

struct rpc_cred rpc_call_cred(const struct rpc_call *c)
{
	return c->cred;
}

void *rpc_call_arg(const struct rpc_call *c)
{
	return c->peer_arg;
}

int rpc_call_take_fd(struct rpc_call *c, int fd)
{
	for (size_t i = 0; i < c->msg->fds.n; i++)
		if (c->msg->fds.v[i] == fd)
			c->msg->fds.v[i] = -1;
	return fd;
}

void rpc_call_on_cancel(struct rpc_call *c, void (*fn)(struct rpc_call *c, void *arg), void *arg)
{
	c->on_cancel = fn;
	c->on_cancel_arg = arg;
}

/* ---- calls to the other side ---- */

static int send_message(struct rpc_peer *p, const char *method, json_object *params, int64_t id,
			const int *fds, size_t n, struct err *e)
{
	json_object *o = json_object_new_object();
	int r;

	json_object_object_add(o, "jsonrpc", json_object_new_string("2.0"));
	if (id)
		json_object_object_add(o, "id", json_object_new_int64(id));
	json_object_object_add(o, "method", json_object_new_string(method));
	if (params)
		json_object_object_add(o, "params", params);
	r = p->closed ? rpc_error(e, "vm.lost", "the connection is closed")
		      : conn_send(p->conn, o, fds, n, e);
	json_object_put(o);
	return r;
}

int rpc_send(struct rpc_peer *p, const char *method, json_object *params, const int *fds, size_t n,
	     rpc_answer_fn *fn, void *arg, struct err *e)
{
	struct waiting *w = calloc(1, sizeof(*w));
	int r;

	if (!w) {
		json_object_put(params);
		return err_nomem(e);
	}
	w->id = p->next_id++;
	w->fn = fn;
	w->arg = arg;
	r = send_message(p, method, params, w->id, fds, n, e);
	if (r < 0) {
		free(w);
		return r;
	}
	list_append(&p->waiting, &w->node);
	return 0;
}

int rpc_send_args(struct rpc_peer *p, const struct rpc_table *t, const char *method,
		  const void *args, rpc_answer_fn *fn, void *arg, struct err *e)
{
	const struct rpc_method *m = rpc_method_find(t, method);
	int fds[CONN_FDS + 1];
	size_t n = CONN_FDS + 1;
	json_object *params = rpc_build(&m->args, args, fds, &n);

	if (!params)
		return err_nomem(e);
	return rpc_send(p, method, params, fds, n, fn, arg, e);
}

void rpc_forget(struct rpc_peer *p, void *arg)
{
	struct waiting *w;

	list_for_each(w, &p->waiting, struct waiting, node) if (w->arg == arg) w->fn = NULL;
}

int rpc_wait(struct rpc_peer *p, const bool *done, struct err *e)
{
	int r = 0;

	enter(p);
	while (!*done && !p->closed)
		loop_once(p->loop, true);
	if (!*done)
		r = rpc_error(e, "vm.lost", "the connection was closed before the answer came");
	leave(p);
	return r;
}

int rpc_notify(struct rpc_peer *p, const char *method, json_object *params, struct err *e)
{
	return send_message(p, method, params, 0, NULL, 0, e);
}

int rpc_notify_event(struct rpc_peer *p, const struct rpc_table *t, const char *name,
		     const void *fields, struct err *e)
{
	const struct rpc_event *ev = rpc_event_find(t, name);

	return rpc_notify(p, name, rpc_build(&ev->fields, fields, NULL, NULL), e);
}
