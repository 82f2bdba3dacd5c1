/*
 * events.c - what happened, in the order of its numbers: the last EVENTS_KEPT in memory and in
 * events.log (one JSON object per line, appended), and those who want to hear of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/own.h"
#include "base/strbuf.h"
#include "daemon/daemon.h"

static const char log_name[] = "events.log";
enum { LOG_MAX = 64 * 1024 * 1024 };

struct subscription {
	struct list node;
	struct rpc_peer *peer;
	uint64_t id;
	char **vms, **kinds; /* patterns, ended by NULL; NULL: all */
};

struct events {
	struct daemon *d;
	json_object *kept[EVENTS_KEPT]; /* event number n is at n % EVENTS_KEPT */
	uint64_t seq;                   /* of the last event; 0 when there was none */
	uint64_t first;                 /* of the oldest that is kept */
	uint64_t next_subscription;
	struct list subscriptions;
	int log_fd;
	unsigned log_lines;
	bool log_failed;
};

static void keep(struct events *ev, uint64_t seq, json_object *o)
{
	json_object **at = &ev->kept[seq % EVENTS_KEPT];

	json_object_put(*at);
	*at = o;
	ev->seq = seq;
	if (!ev->first)
		ev->first = seq;
	if (seq - ev->first >= EVENTS_KEPT)
		ev->first = seq - EVENTS_KEPT + 1;
}

static int open_log(struct events *ev, struct err *e)
{
	if (ev->log_fd >= 0)
		close(ev->log_fd);
	ev->log_fd = openat(ev->d->state_dir, log_name,
			    O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	return ev->log_fd < 0 ? err_sys(e, "cannot open %s", log_name) : 0;
}

/* Only what is kept goes on to the new file. */
static void rewrite_log(struct events *ev)
{
	auto_strbuf text = { 0 };
	struct err e;

	for (uint64_t n = ev->first; n && n <= ev->seq; n++) {
		strbuf_puts(&text, json_object_to_json_string_ext(ev->kept[n % EVENTS_KEPT],
								  JSON_C_TO_STRING_PLAIN));
		strbuf_puts(&text, "\n");
	}
	if (strbuf_failed(&text) || file_replace_at(ev->d->state_dir, log_name,
						    text.data ? text.data : "", text.len, &e) < 0)
		return; /* the long file goes on to serve */
	ev->log_lines = (unsigned)(ev->seq - ev->first + 1);
	open_log(ev, &e);
}

static void append_log(struct events *ev, json_object *o)
{
	auto_strbuf line = { 0 };
	struct err e;

	strbuf_puts(&line, json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
	strbuf_puts(&line, "\n");
	if (strbuf_failed(&line))
		return;
	if (write_full(ev->log_fd, line.data, line.len, &e) < 0 && !ev->log_failed) {
		ev->log_failed = true;
		log_warning("events are no longer written to disk", "REASON=%s", e.msg, NULL);
	}
	if (++ev->log_lines >= 2 * EVENTS_KEPT)
		rewrite_log(ev);
}

/* A line that a crash cut off ends the list; numbers that do not grow are not ours. */
static void load_lines(struct events *ev, char *text)
{
	char *line, *save = NULL;

	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		json_object *o = json_tokener_parse(line), *v;
		uint64_t seq;

		if (!o || !json_object_object_get_ex(o, "seq", &v)) {
			json_object_put(o);
			continue;
		}
		seq = json_object_get_uint64(v);
		if (seq != ev->seq + 1 && ev->seq) {
			json_object_put(o);
			continue;
		}
		keep(ev, seq, o);
		ev->log_lines++;
	}
}

int events_new(struct daemon *d, struct err *e)
{
	struct events *ev = calloc(1, sizeof(*ev));
	autofree char *text = NULL;
	size_t len;
	int r;

	if (!ev)
		return err_nomem(e);
	ev->d = d;
	ev->log_fd = -1;
	ev->next_subscription = 1;
	list_init(&ev->subscriptions);
	d->events = ev;
	r = file_read_at(d->state_dir, log_name, LOG_MAX, &text, &len, e);
	if (r < 0 && r != -ENOENT)
		return r;
	if (text)
		load_lines(ev, text);
	/* The new file is whole even if the old one had a torn line. */
	rewrite_log(ev);
	return ev->log_fd >= 0 ? 0 : open_log(ev, e);
}

static void words_free(char **w)
{
	for (size_t i = 0; w && w[i]; i++)
		free(w[i]);
	free(w);
}

static void subscription_free(struct subscription *s)
{
	list_remove(&s->node);
	words_free(s->vms);
	words_free(s->kinds);
	free(s);
}

void events_free(struct events *ev)
{
	struct subscription *s;

	if (!ev)
		return;
	list_for_each(s, &ev->subscriptions, struct subscription, node)
		subscription_free(s);
	for (size_t i = 0; i < EVENTS_KEPT; i++)
		json_object_put(ev->kept[i]);
	if (ev->log_fd >= 0)
		close(ev->log_fd);
	free(ev);
}

static bool matches(char *const *patterns, const char *word)
{
	if (!patterns)
		return true;
	for (; word && *patterns; patterns++)
		if (fnmatch(*patterns, word, 0) == 0)
			return true;
	return false;
}

static const char *member(json_object *o, const char *key)
{
	json_object *v;

	return json_object_object_get_ex(o, key, &v) ? json_object_get_string(v) : NULL;
}

static void add_members(json_object *o, json_object *more)
{
	if (!more)
		return;
	json_object_object_foreach(more, key, val)
	{
		json_object_object_add(o, key, json_object_get(val));
	}
}

/* Whoever does not read is cut off, and comes back with since_seq; nothing is skipped silently. */
static void send_to(struct subscription *s, const char *method, json_object *event)
{
	json_object *o = json_object_new_object();
	struct err e;

	json_object_object_add(o, "subscription", json_object_new_uint64(s->id));
	add_members(o, event);
	if (rpc_notify(s->peer, method, o, &e) < 0 || rpc_peer_backlog(s->peer) > EVENT_BACKLOG)
		shutdown(rpc_peer_fd(s->peer), SHUT_RDWR);
}

static bool wants(const struct subscription *s, json_object *event)
{
	return matches(s->kinds, member(event, "kind")) && matches(s->vms, member(event, "vm"));
}

void event_publish(struct daemon *d, const char *kind, const char *vm, const void *fields)
{
	const struct rpc_event *row = rpc_event_find(&client_table, kind);
	struct events *ev = d->events;
	char ts[32];
	struct event_info info = { .seq = ev->seq + 1, .ts = ts, .kind = kind, .vm = vm };
	json_object *o, *more;
	struct subscription *s;

	time_text(ts, sizeof(ts));
	o = rpc_build(&event_info_object, &info, NULL, NULL);
	more = fields ? rpc_build(&row->fields, fields, NULL, NULL) : NULL;
	add_members(o, more);
	json_object_put(more);
	keep(ev, info.seq, o);
	append_log(ev, o);
	list_for_each(s, &ev->subscriptions, struct subscription, node)
		if (wants(s, o))
			send_to(s, "event", o);
}

void event_progress(struct daemon *d, const struct job_info *job)
{
	json_object *o = rpc_build(&job_info_object, job, NULL, NULL);
	struct subscription *s;

	list_for_each(s, &d->events->subscriptions, struct subscription, node)
		if (matches(s->kinds, "job.progress"))
			send_to(s, "job.progress", o);
	json_object_put(o);
}

void events_client_gone(struct daemon *d, struct rpc_peer *p)
{
	struct subscription *s;

	list_for_each(s, &d->events->subscriptions, struct subscription, node)
		if (s->peer == p)
			subscription_free(s);
}

static char **words_copy(const struct rpc_strings *from)
{
	char **w = calloc(from->n + 1, sizeof(*w));

	for (size_t i = 0; w && i < from->n; i++)
		if (!(w[i] = strdup(from->v[i]))) {
			words_free(w);
			return NULL;
		}
	return w;
}

static int subscription_new(struct events *ev, struct rpc_peer *p,
			    const struct events_subscribe_args *a, struct subscription **ret,
			    struct err *e)
{
	struct subscription *s;
	unsigned n = 0;

	list_for_each(s, &ev->subscriptions, struct subscription, node)
		n += s->peer == p;
	if (n >= SUBSCRIPTIONS_MAX)
		return rpc_error(e, "limit.reached", "a connection has at most %d subscriptions",
				 SUBSCRIPTIONS_MAX);
	s = calloc(1, sizeof(*s));
	if (!s)
		return err_nomem(e);
	list_init(&s->node);
	s->peer = p;
	s->id = ev->next_subscription++;
	s->vms = a->has_vms ? words_copy(&a->vms) : NULL;
	s->kinds = a->has_kinds ? words_copy(&a->kinds) : NULL;
	if ((a->has_vms && !s->vms) || (a->has_kinds && !s->kinds)) {
		subscription_free(s);
		return err_nomem(e);
	}
	*ret = s;
	return 0;
}

/* The answer, then the past, then the present: nothing can happen between them on one thread. */
int method_events_subscribe(struct rpc_call *c, const struct events_subscribe_args *a,
			    struct events_subscribe_reply *r, struct err *e)
{
	struct daemon *d = daemon_of(c);
	struct events *ev = d->events;
	bool past = a->has_since_seq;
	uint64_t from = past ? a->since_seq + 1 : ev->seq + 1;
	struct rpc_peer *p = rpc_call_peer(c);
	struct subscription *s = NULL;
	int ret = subscription_new(ev, p, a, &s, e);

	if (ret < 0)
		return ret;
	r->subscription = s->id;
	r->epoch = d->epoch;
	r->seq = ev->seq;
	/* A number from the future is of another epoch. */
	r->gap = a->has_since_seq && (from < ev->first || a->since_seq > ev->seq);
	list_append(&ev->subscriptions, &s->node);
	rpc_call_done(c); /* and a is gone */
	if (past && from < ev->first)
		from = ev->first;
	for (; from && from <= ev->seq && !rpc_peer_is_closed(p); from++)
		if (wants(s, ev->kept[from % EVENTS_KEPT]))
			send_to(s, "event", ev->kept[from % EVENTS_KEPT]);
	return RPC_LATER;
}

int method_events_unsubscribe(struct rpc_call *c, const struct events_unsubscribe_args *a,
			      struct events_unsubscribe_reply *r, struct err *e)
{
	struct subscription *s;

	(void)e;
	list_for_each(s, &daemon_of(c)->events->subscriptions, struct subscription, node)
		if (s->peer == rpc_call_peer(c) && s->id == a->subscription) {
			subscription_free(s);
			r->changed = true;
			return 0;
		}
	return 0;
}
