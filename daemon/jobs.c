/*
 * jobs.c - long work with a state, progress, and an end that can be asked for later: jobs.json
 * keeps them for a day. A job is ended by ending its process; what it made is complete or absent.
 */
#include "daemon/jobs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/own.h"
#include "base/size.h"

enum {
	KEPT_SECONDS = 24 * 3600,
	JOBS_MAX = 1000,
	WAITERS_MAX = 16,
};
static const int64_t PROGRESS_NS = INT64_C(250) * 1000000; /* between two notifications */

struct job_waiter {
	struct list node;
	struct job *job;
	struct rpc_call *call;
	bool own; /* the call that began the job: gets its bare result */
	struct loop_watch *timer;
};

struct job {
	struct list node;
	struct jobs *jobs;
	char id[24];
	const char *method;
	enum job_state state;
	uid_t owner;
	uint64_t done, total;
	char unit[16];
	char started[32], ended[32];
	int64_t started_ns, told_ns;
	time_t ended_at;
	json_object *result, *error;
	struct child *child;
	struct child_ops ops;
	struct list waiters;
};

struct jobs {
	struct daemon *d;
	struct list all; /* oldest first */
	size_t n;
};

/* ---- one job ---- */

static bool has_ended(const struct job *j)
{
	return j->state == JOB_DONE || j->state == JOB_FAILED || j->state == JOB_CANCELLED;
}

static void job_free(struct job *j)
{
	list_remove(&j->node);
	j->jobs->n--;
	if (j->child)
		child_free(j->child);
	json_object_put(j->result);
	json_object_put(j->error);
	free(j);
}

static struct job *job_alloc(struct jobs *js)
{
	struct job *j = calloc(1, sizeof(*j));

	if (!j)
		return NULL;
	j->jobs = js;
	list_init(&j->waiters);
	list_append(&js->all, &j->node);
	js->n++;
	return j;
}

/* JSON in it is borrowed: take a reference for a reply. */
static void fill_info(const struct job *j, struct arena *mem, struct job_info *i)
{
	char owner[64];
	double seconds = (double)(mono_ns() - j->started_ns) / 1e9;

	user_name(j->owner, owner, sizeof(owner));
	*i = (struct job_info){ .job = j->id,
				.method = j->method,
				.state = j->state,
				.owner = arena_strdup(mem, owner),
				.done = j->done,
				.total = j->total,
				.has_done = j->total != 0,
				.has_total = j->total != 0,
				.unit = j->unit[0] ? j->unit : NULL,
				.started = j->started,
				.ended = j->ended[0] ? j->ended : NULL,
				.result = j->result,
				.error = j->error };
	if (j->state != JOB_RUNNING || !j->done || seconds <= 0)
		return;
	i->rate = (uint64_t)((double)j->done / seconds);
	i->has_rate = true;
	if (i->rate && j->total >= j->done) {
		i->eta = (int64_t)((j->total - j->done) / i->rate) * 1000000000;
		i->has_eta = true;
	}
}

/* ---- on disk ---- */

static void forget_old(struct jobs *js)
{
	struct job *j;

	list_for_each(j, &js->all, struct job, node)
		if (has_ended(j) && (j->ended_at + KEPT_SECONDS < time(NULL) || js->n > JOBS_MAX))
			job_free(j);
}

static void save(struct jobs *js)
{
	auto_arena mem = { NULL };
	struct jobs_file f = { .jobs.n = 0 };
	struct job *j;
	struct err e;

	forget_old(js);
	f.jobs.v = arena_alloc(&mem, js->n, sizeof(*f.jobs.v));
	if (!f.jobs.v)
		return;
	list_for_each(j, &js->all, struct job, node) {
		struct job_record *r = &f.jobs.v[f.jobs.n++];

		fill_info(j, &mem, &r->info);
		r->owner = j->owner;
		r->ended_at = (uint64_t)j->ended_at;
		r->has_ended_at = j->ended_at != 0;
	}
	if (state_save(js->d->state_dir, "jobs.json", &jobs_file_object, &f, &e) < 0)
		log_warning("jobs are not on disk", "REASON=%s", e.msg, NULL);
}

/* The child of a job ends with its daemon, so what was under way is lost. */
static void mark_lost(struct job *j)
{
	struct err e;

	if (has_ended(j))
		return;
	rpc_error(&e, "job.lost", "the daemon ended while %s was under way", j->method);
	j->state = JOB_FAILED;
	j->error = rpc_error_build(&e, NULL);
	j->ended_at = time(NULL);
	time_text(j->ended, sizeof(j->ended));
}

static int load_one(struct jobs *js, const struct job_record *r, struct err *e)
{
	const struct rpc_method *m = rpc_method_find(&client_table, r->info.method);
	struct job *j = m ? job_alloc(js) : NULL;

	if (!m)
		return 0;
	if (!j)
		return err_nomem(e);
	snprintf(j->id, sizeof(j->id), "%s", r->info.job);
	j->method = m->name;
	j->state = r->info.state;
	j->owner = (uid_t)r->owner;
	j->done = r->info.done;
	j->total = r->info.total;
	snprintf(j->unit, sizeof(j->unit), "%s", r->info.unit ? r->info.unit : "");
	snprintf(j->started, sizeof(j->started), "%s", r->info.started ? r->info.started : "");
	snprintf(j->ended, sizeof(j->ended), "%s", r->info.ended ? r->info.ended : "");
	j->ended_at = (time_t)r->ended_at;
	j->result = json_object_get(r->info.result);
	j->error = json_object_get(r->info.error);
	mark_lost(j);
	return 0;
}

int jobs_new(struct daemon *d, struct err *e)
{
	struct jobs *js = calloc(1, sizeof(*js));
	auto_arena mem = { NULL };
	struct jobs_file f;
	json_object *json;
	int r;

	if (!js)
		return err_nomem(e);
	js->d = d;
	list_init(&js->all);
	d->jobs = js;
	r = state_load(d->state_dir, "jobs.json", &jobs_file_object, &f, &mem, &json, e);
	for (size_t i = 0; r == 0 && i < f.jobs.n; i++)
		r = load_one(js, &f.jobs.v[i], e);
	json_object_put(json);
	if (r == 0 && js->n)
		save(js);
	return r;
}

static void waiter_free(struct job_waiter *w)
{
	list_remove(&w->node);
	rpc_call_on_cancel(w->call, NULL, NULL);
	loop_watch_free(w->timer);
	free(w);
}

void jobs_free(struct jobs *js)
{
	struct job *j;

	if (!js)
		return;
	list_for_each(j, &js->all, struct job, node) {
		while (!list_empty(&j->waiters))
			waiter_free(list_entry(j->waiters.next, struct job_waiter, node));
		job_free(j);
	}
	free(js);
}

/* ---- the end ---- */

static void answer(struct job_waiter *w)
{
	struct rpc_call *c = w->call;
	struct job *j = w->job;
	bool own = w->own;
	struct err e;

	waiter_free(w);
	if (j->state == JOB_DONE && own) {
		rpc_call_answer(c, j->result);
	} else if (j->state == JOB_DONE) {
		struct job_wait_reply *r = rpc_call_reply(c);

		fill_info(j, rpc_call_mem(c), &r->job);
		json_object_get(r->job.result);
		rpc_call_done(c);
	} else if (j->state == JOB_CANCELLED) {
		rpc_error(&e, "request.cancelled", "the job %s was cancelled", j->id);
		rpc_call_fail(c, &e);
	} else {
		rpc_error_read(j->error, &e);
		json_object_object_add(rpc_call_error_data(c), "job",
				       json_object_new_string(j->id));
		rpc_call_fail(c, &e);
	}
}

static void say_state(struct job *j)
{
	struct event_job_state ev = { .job = j->id, .state = j->state, .error = j->error };

	event_publish(j->jobs->d, "job.state", NULL, &ev);
}

static void end(struct job *j, enum job_state state)
{
	j->state = state;
	j->ended_at = time(NULL);
	time_text(j->ended, sizeof(j->ended));
	if (j->child)
		child_free(take(j->child));
	say_state(j);
	save(j->jobs);
	while (!list_empty(&j->waiters))
		answer(list_entry(j->waiters.next, struct job_waiter, node));
}

static void on_done(void *arg, json_object *result, struct conn_fds *fds, const struct err *e)
{
	struct job *j = arg;

	(void)fds;
	if (e)
		j->error = rpc_error_build(e, NULL);
	else
		j->result = json_object_get(result);
	end(j, e ? JOB_FAILED : JOB_DONE);
}

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
	struct job *j = arg;
	auto_arena mem = { NULL };
	struct job_info info;

	j->done = done;
	j->total = total;
	if (mono_ns() - j->told_ns < PROGRESS_NS && done < total)
		return;
	j->told_ns = mono_ns();
	fill_info(j, &mem, &info);
	event_progress(j->jobs->d, &info);
}

/* ---- the beginning ---- */

static void on_cancel(struct rpc_call *c, void *arg)
{
	struct job_waiter *w = arg;
	struct err e;

	/* A client that goes away does not end a job. */
	waiter_free(w);
	rpc_error(&e, "request.cancelled", "nobody waits any more");
	rpc_call_fail(c, &e);
}

static void on_expired(void *arg)
{
	struct job_waiter *w = arg;
	struct rpc_call *c = w->call;
	struct err e;

	rpc_error(&e, "wait.timeout", "the job %s is still %s", w->job->id,
		  rpc_enum_name(&job_state_enum, w->job->state));
	waiter_free(w);
	rpc_call_fail(c, &e);
}

static int wait_for(struct job *j, struct rpc_call *c, bool own, int64_t timeout_ns, struct err *e)
{
	struct job_waiter *w = calloc(1, sizeof(*w));
	int r = 0;

	if (!w)
		return err_nomem(e);
	w->job = j;
	w->call = c;
	w->own = own;
	if (timeout_ns >= 0)
		r = loop_timer(j->jobs->d->loop, on_expired, w, &w->timer, e);
	if (r < 0) {
		free(w);
		return r;
	}
	if (w->timer)
		loop_timer_set(w->timer, timeout_ns);
	list_append(&j->waiters, &w->node);
	rpc_call_on_cancel(c, on_cancel, w);
	if (has_ended(j))
		answer(w);
	return RPC_LATER;
}

int job_begin(struct rpc_call *c, child_work_fn *work, void *arg, const char *unit, bool wait,
	      struct err *e)
{
	struct daemon *d = daemon_of(c);
	struct rpc_cred cred = rpc_call_cred(c);
	struct job *j = job_alloc(d->jobs);
	json_object *o;
	int r;

	if (!j)
		return err_nomem(e);
	snprintf(j->id, sizeof(j->id), "j-%llu", (unsigned long long)d->next_job++);
	j->method = rpc_call_method(c)->name;
	j->state = JOB_RUNNING;
	j->owner = cred.uid;
	j->started_ns = mono_ns();
	snprintf(j->unit, sizeof(j->unit), "%s", unit);
	time_text(j->started, sizeof(j->started));
	j->ops = (struct child_ops){ work, on_progress, on_done };
	r = daemon_save(d, e);
	if (r == 0)
		r = child_start(d, cred.uid, cred.gid, &j->ops, arg, j, &j->child, e);
	if (r < 0) {
		job_free(j);
		return r;
	}
	say_state(j);
	save(d->jobs);
	if (wait)
		return wait_for(j, c, true, -1, e);
	o = json_object_new_object();
	json_object_object_add(o, "job", json_object_new_string(j->id));
	rpc_call_answer(c, o);
	json_object_put(o);
	return RPC_LATER;
}

/* ---- methods ---- */

static int find(struct rpc_call *c, const char *id, bool change, struct job **ret, struct err *e)
{
	struct job *j;
	char what[40];

	list_for_each(j, &daemon_of(c)->jobs->all, struct job, node) {
		if (strcmp(j->id, id))
			continue;
		snprintf(what, sizeof(what), "job %s", j->id);
		*ret = j;
		return change ? call_owns(c, j->owner, what, e) : 0;
	}
	return rpc_error(e, "job.not-found", "there is no job '%.40s'", id);
}

static void info_reply(const struct job *j, struct rpc_call *c, struct job_info *to)
{
	fill_info(j, rpc_call_mem(c), to);
	json_object_get(to->result);
	json_object_get(to->error);
}

int method_job_list(struct rpc_call *c, const struct job_list_args *a, struct job_list_reply *r,
		    struct err *e)
{
	struct jobs *js = daemon_of(c)->jobs;
	struct job *j;

	(void)a;
	r->jobs.v = arena_alloc(rpc_call_mem(c), js->n, sizeof(*r->jobs.v));
	if (!r->jobs.v)
		return err_nomem(e);
	list_for_each(j, &js->all, struct job, node)
		info_reply(j, c, &r->jobs.v[r->jobs.n++]);
	return 0;
}

int method_job_show(struct rpc_call *c, const struct job_show_args *a, struct job_show_reply *r,
		    struct err *e)
{
	struct job *j;
	int ret = find(c, a->job, false, &j, e);

	if (ret == 0)
		info_reply(j, c, &r->job);
	return ret;
}

int method_job_wait(struct rpc_call *c, const struct job_wait_args *a, struct job_wait_reply *r,
		    struct err *e)
{
	struct job *j;
	int ret = find(c, a->job, false, &j, e);

	(void)r;
	return ret < 0 ? ret : wait_for(j, c, false, a->has_timeout ? a->timeout : -1, e);
}

int method_job_cancel(struct rpc_call *c, const struct job_cancel_args *a,
		      struct job_cancel_reply *r, struct err *e)
{
	struct job *j;
	int ret = find(c, a->job, true, &j, e);

	if (ret < 0 || has_ended(j))
		return ret;
	r->changed = true;
	end(j, JOB_CANCELLED);
	return 0;
}

int method_job_dismiss(struct rpc_call *c, const struct job_dismiss_args *a,
		       struct job_dismiss_reply *r, struct err *e)
{
	struct job *j;
	int ret = find(c, a->job, true, &j, e);

	if (ret == -ENOENT)
		return 0;
	if (ret < 0)
		return ret;
	if (!has_ended(j))
		return rpc_error(e, "job.running", "the job %s has not ended", j->id);
	r->changed = true;
	job_free(j);
	save(daemon_of(c)->jobs);
	return 0;
}
