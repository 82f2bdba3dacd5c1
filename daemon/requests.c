/*
 * requests.c - calls that carry a request_id are done once: the same call again gets the same
 * answer, or waits for it, for a day and over restarts (requests.json).
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/own.h"
#include "daemon/daemon.h"

enum {
	KEPT_SECONDS = 24 * 3600,
	KEPT_MAX = 1000,
	JOINED_MAX = 16, /* calls that wait for one answer */
};

struct request {
	struct list node;
	uid_t uid;
	char *id, *params;
	const char *method;
	time_t at;
	bool answered;
	json_object *result, *error;
	struct rpc_call *first; /* which does the work */
	struct rpc_call *joined[JOINED_MAX];
	size_t n_joined;
};

struct requests {
	struct daemon *d;
	struct list all; /* oldest first */
	size_t n;
};

static void request_free(struct requests *q, struct request *r)
{
	list_remove(&r->node);
	q->n--;
	free(r->id);
	free(r->params);
	json_object_put(r->result);
	json_object_put(r->error);
	free(r);
}

void requests_free(struct requests *q)
{
	struct request *r;

	if (!q)
		return;
	list_for_each(r, &q->all, struct request, node)
		request_free(q, r);
	free(q);
}

static struct request *request_new(struct requests *q, uid_t uid, const char *id,
				   const char *method, const char *params)
{
	struct request *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->uid = uid;
	r->id = strdup(id);
	r->params = strdup(params);
	r->method = method;
	r->at = time(NULL);
	list_append(&q->all, &r->node);
	q->n++;
	if (r->id && r->params)
		return r;
	request_free(q, r);
	return NULL;
}

static void forget_old(struct requests *q)
{
	struct request *r;

	list_for_each(r, &q->all, struct request, node)
		if (r->answered && (r->at + KEPT_SECONDS < time(NULL) || q->n > KEPT_MAX))
			request_free(q, r);
}

static void save(struct requests *q)
{
	auto_arena mem = { NULL };
	struct requests_file f = { .requests.n = 0 };
	struct request *r;
	struct err e;

	f.requests.v = arena_alloc(&mem, q->n, sizeof(*f.requests.v));
	if (!f.requests.v)
		return;
	list_for_each(r, &q->all, struct request, node)
		if (r->answered)
			f.requests.v[f.requests.n++] =
			    (struct request_record){ .id = r->id,
						     .uid = r->uid,
						     .method = r->method,
						     .params = r->params,
						     .at = (uint64_t)r->at,
						     .result = r->result,
						     .error = r->error };
	if (state_save(q->d->state_dir, "requests.json", &requests_file_object, &f, &e) < 0)
		log_warning("answers to repeated requests are not kept", "REASON=%s", e.msg, NULL);
}

static int load(struct requests *q, struct err *e)
{
	auto_arena mem = { NULL };
	struct requests_file f;
	json_object *json;
	int r =
	    state_load(q->d->state_dir, "requests.json", &requests_file_object, &f, &mem, &json, e);

	for (size_t i = 0; r == 0 && i < f.requests.n; i++) {
		const struct request_record *rec = &f.requests.v[i];
		const struct rpc_method *m = rpc_method_find(&client_table, rec->method);
		struct request *req;

		if (!m)
			continue;
		req = request_new(q, (uid_t)rec->uid, rec->id, m->name, rec->params);
		if (!req) {
			r = err_nomem(e);
			break;
		}
		req->at = (time_t)rec->at;
		req->answered = true;
		req->result = json_object_get(rec->result);
		req->error = json_object_get(rec->error);
	}
	json_object_put(json);
	return r;
}

int requests_new(struct daemon *d, struct err *e)
{
	struct requests *q = calloc(1, sizeof(*q));

	if (!q)
		return err_nomem(e);
	q->d = d;
	list_init(&q->all);
	d->requests = q;
	return load(q, e);
}

static struct request *find(struct requests *q, uid_t uid, const char *id)
{
	struct request *r;

	list_for_each(r, &q->all, struct request, node)
		if (r->uid == uid && !strcmp(r->id, id))
			return r;
	return NULL;
}

/* A descriptor cannot be given twice, so calls that answer with one are done each time. */
static bool can_be_kept(const struct rpc_method *m)
{
	for (const struct rpc_field *f = m->reply.fields(); f->name; f++)
		if (f->type == RPC_FD)
			return false;
	return true;
}

static void leave(struct rpc_call *c, void *arg)
{
	struct request *r = arg;
	struct err e;

	for (size_t i = 0; i < r->n_joined; i++)
		if (r->joined[i] == c) {
			r->joined[i] = r->joined[--r->n_joined];
			rpc_error(&e, "request.cancelled", "nobody waits any more");
			rpc_call_fail(c, &e);
			return;
		}
}

static int join(struct request *r, struct rpc_call *c, struct err *e)
{
	if (r->n_joined == JOINED_MAX)
		return rpc_error(e, "limit.reached", "too many calls wait for one answer");
	r->joined[r->n_joined++] = c;
	rpc_call_on_cancel(c, leave, r);
	return RPC_HELD;
}

static int same_error(struct rpc_call *c, json_object *error, struct err *e)
{
	json_object *data;

	if (json_object_object_get_ex(error, "data", &data)) {
		json_object *more = rpc_call_error_data(c);

		json_object_object_foreach(data, key, val)
		    json_object_object_add(more, key, json_object_get(val));
	}
	return rpc_error_read(error, e);
}

int requests_before(struct rpc_call *c, json_object **answer, struct err *e)
{
	struct requests *q = daemon_of(c)->requests;
	const struct rpc_method *m = rpc_call_method(c);
	const char *id = rpc_call_request_id(c);
	uid_t uid = rpc_call_cred(c).uid;
	const char *params;
	struct request *r;

	if (!id || !can_be_kept(m))
		return 0;
	params = json_object_to_json_string_ext(rpc_call_params(c), JSON_C_TO_STRING_PLAIN);
	r = find(q, uid, id);
	if (!r) {
		r = request_new(q, uid, id, m->name, params);
		if (!r)
			return err_nomem(e);
		r->first = c;
		return 0;
	}
	if (strcmp(r->method, m->name) || strcmp(r->params, params))
		return rpc_error(e, "request.reused", "request_id %s belongs to another call of %s",
				 id, r->method);
	if (!r->answered)
		return join(r, c, e);
	if (r->error)
		return same_error(c, r->error, e);
	*answer = json_object_get(r->result);
	return 1;
}

static void answer_joined(struct request *r, json_object *result, const struct err *e)
{
	while (r->n_joined) {
		struct rpc_call *c = r->joined[--r->n_joined];

		rpc_call_on_cancel(c, NULL, NULL);
		if (e)
			rpc_call_fail(c, e);
		else
			rpc_call_answer(c, result);
	}
}

/* What failed before anything was done may be tried again with the same id. */
static bool nothing_was_done(const struct err *e)
{
	return e->kind && (!strncmp(e->kind, "rpc.", 4) || !strcmp(e->kind, "limit.reached") ||
			   !strcmp(e->kind, "role.denied"));
}

void requests_after(struct rpc_call *c, json_object *result, const struct err *e)
{
	struct requests *q = daemon_of(c)->requests;
	struct request *r;

	if (!rpc_call_request_id(c))
		return;
	list_for_each(r, &q->all, struct request, node) {
		if (r->first != c)
			continue;
		r->first = NULL;
		r->answered = true;
		r->at = time(NULL);
		r->result = json_object_get(result);
		if (e)
			r->error = rpc_error_build(e, json_object_get(rpc_call_error_data_peek(c)));
		answer_joined(r, result, e);
		if (e && nothing_was_done(e)) {
			request_free(q, r);
			return;
		}
		forget_old(q);
		save(q);
		return;
	}
}
