#include "vmproc/worker.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/loop.h"
#include "vmproc/console.h"

/* Nobody may be there to hear how the guest ended: the daemon is being replaced. */
static const int64_t PATIENCE_NS = INT64_C(600) * 1000000000;
static const int64_t LAST_WORDS_NS = 2000000000;

static void session_free(struct session *s)
{
	struct worker *w = s->worker;

	if (w->daemon == s)
		w->daemon = NULL;
	list_remove(&s->node);
	w->n_sessions--;
	rpc_peer_free(s->peer);
	free(s);
}

static void on_closed(void *arg, const struct err *why)
{
	(void)why;
	session_free(arg);
}

static const struct rpc_peer_ops session_ops = {
	.service = &worker_service,
	.closed = on_closed,
};

static void session_new(struct worker *w, int fd)
{
	struct session *s = calloc(1, sizeof(*s));

	if (!s) {
		close(fd);
		return;
	}
	s->worker = w;
	if (rpc_peer_new(w->loop, fd, &session_ops, s, &s->peer, NULL) < 0) {
		free(s);
		return;
	}
	list_append(&w->sessions, &s->node);
	if (++w->n_sessions > WORKER_SESSIONS)
		session_free(list_entry(w->sessions.next, struct session, node));
}

/* seccomp: accept4, getsockopt, recvmsg, sendmsg, shutdown, recvfrom - the daemon */
static void on_accept(void *arg, int fd, unsigned events)
{
	int got = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (got >= 0)
		session_new(arg, got);
}

/* A daemon that was killed closes its socket before we are told. */
static bool is_listening(const struct session *s)
{
	struct pollfd p = { .fd = rpc_peer_fd(s->peer) };

	return poll(&p, 1, 0) == 0;
}

/* Everything is said: to the readers of the console, then to the daemon that is there, or to the
 * next one. */
static void finish(struct worker *w)
{
	console_drain(vm_console(w->vm), LAST_WORDS_NS);
	if (!w->daemon || !is_listening(w->daemon)) {
		loop_timer_set(w->patience, PATIENCE_NS);
		return;
	}
	worker_tell_exit(w, vm_exit(w->vm));
	if (w->daemon)
		rpc_peer_flush(w->daemon->peer);
	loop_stop(w->loop);
}

static void on_finish(void *arg)
{
	finish(arg);
}

static void on_patience(void *arg)
{
	loop_stop(((struct worker *)arg)->loop);
}

static void on_ended(void *arg, const struct vm_exit *x)
{
	struct worker *w = arg;

	(void)x;
	w->ending = true;
	loop_post(w->loop, on_finish, w);
}

static void on_state(void *arg, enum vm_state from, enum vm_state to, const char *reason)
{
	worker_tell_state(arg, from, to, reason);
}

static void on_phase(void *arg, enum start_phase phase)
{
	worker_tell_phase(arg, phase);
}

/* The host shuts down without having asked the daemon, or somebody is impatient. */
static void on_sigterm(void *arg, int signo)
{
	struct worker *w = arg;

	(void)signo;
	if (w->ending || !vm_machine(w->vm))
		loop_stop(w->loop);
	else
		vm_kill(w->vm);
}

/* Compares all of both, so that the time tells nothing. */
static bool same_token(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b);
	unsigned differ = n != m;

	for (size_t i = 0; i < n && i < m; i++)
		differ |= (unsigned char)(a[i] ^ b[i]);
	return !differ;
}

int worker_greet(struct session *s, const char *token, struct err *e)
{
	struct worker *w = s->worker;

	if (!*token || strlen(token) > WORKER_TOKEN_MAX)
		return rpc_error(e, "rpc.params", "a token has 1 to %d bytes", WORKER_TOKEN_MAX);
	if (w->token[0] && !same_token(w->token, token))
		return rpc_error(e, "role.denied", "this is not the token of %s", w->name);
	memcpy(w->token, token, strlen(token) + 1);
	s->greeted = true;
	w->daemon = s;
	if (w->ending)
		loop_post(w->loop, on_finish, w);
	return 0;
}

int worker_init(struct worker *w, const char *name, int listen_fd, struct err *e)
{
	struct vm_events ev = { on_state, on_phase, on_ended, w };
	int r;

	list_init(&w->sessions);
	w->name = name;
	w->listen_fd = listen_fd;
	r = loop_new(&w->loop, e);
	if (r == 0)
		r = vm_new(w->loop, &ev, &w->vm, e);
	if (r == 0)
		r = loop_timer(w->loop, on_patience, w, &w->patience, e);
	if (r == 0)
		r = loop_signal(w->loop, SIGTERM, on_sigterm, w, &w->sigterm, e);
	if (r == 0)
		r = loop_fd(w->loop, listen_fd, LOOP_READ, on_accept, w, &w->accepts, e);
	return r;
}

void worker_fini(struct worker *w)
{
	struct session *s;

	loop_watch_free(w->accepts);
	loop_watch_free(w->sigterm);
	loop_watch_free(w->patience);
	list_for_each(s, &w->sessions, struct session, node)
		session_free(s);
	if (w->vm)
		vm_free(w->vm);
	if (w->loop)
		loop_free(w->loop);
}
