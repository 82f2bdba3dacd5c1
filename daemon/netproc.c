#include "daemon/netproc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/own.h"
#include "daemon/process.h"

struct netproc {
	struct list node;
	struct daemon *d;
	char key[VM_NAME_MAX + 16];
	char token[33];
	struct rpc_peer *peer;
	pid_t pid; /* our child, or 0 */
	int pidfd;
	struct loop_watch *watch;
	bool greeted, quiet;
};

/* An answer that is waited for. */
struct question {
	const bool *quiet; /* the daemon ends: nobody is to be told */
	netproc_fn *fn;
	void *arg;
	bool port;
};

static void path_of(const struct netproc *p, const char *name, char *buf, size_t len)
{
	snprintf(buf, len, "%s/net-%s%s%s", p->d->runtime_path, p->key, *name ? "/" : "", name);
}

static void free_netproc(struct netproc *p)
{
	list_remove(&p->node);
	loop_watch_free(p->watch);
	if (p->peer)
		rpc_peer_free(take(p->peer));
	if (p->pidfd >= 0)
		close(p->pidfd);
	free(p);
}

static void clean_up(struct netproc *p)
{
	static const char *const names[] = { "control", "token", "log", "" };
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		path_of(p, names[i], path, sizeof(path));
		if (*names[i])
			unlink(path);
		else
			rmdir(path);
	}
}

/* The process ends when its last card has gone, or by accident: then its cards have no cable. */
static void on_closed(void *arg, const struct err *why)
{
	struct netproc *p = arg;

	(void)why;
	rpc_peer_free(take(p->peer));
	if (p->greeted && p->watch)
		return; /* it is reaped first */
	if (p->pid)
		waitpid(p->pid, NULL, WNOHANG);
	clean_up(p);
	free_netproc(p);
}

static const struct rpc_peer_ops peer_ops = { NULL, NULL, on_closed };

static void on_ended(void *arg, int fd, unsigned events)
{
	struct netproc *p = arg;

	(void)fd;
	(void)events;
	/* The one that we started ends when its sibling has begun; that one answers, then. */
	if (p->peer && !p->greeted && fd >= 0) {
		loop_fd_set(p->watch, 0);
		return;
	}
	waitpid(p->pid, NULL, 0);
	clean_up(p);
	free_netproc(p);
}

static int new_token(struct netproc *p, struct err *e)
{
	unsigned char raw[16];
	char path[PATH_MAX];

	if (getrandom(raw, sizeof(raw), 0) != sizeof(raw))
		return err_sys(e, "no random numbers");
	for (size_t i = 0; i < sizeof(raw); i++)
		snprintf(p->token + 2 * i, 3, "%02x", raw[i]);
	path_of(p, "token", path, sizeof(path));
	return file_replace_unsynced_at(AT_FDCWD, path, p->token, strlen(p->token), e);
}

/* The process is a sibling of the one that we started, in a PID namespace of its own. */
static void on_hello(void *arg, struct rpc_answer *a)
{
	struct netproc *p = arg;
	json_object *v;
	pid_t pid;

	if (a->e || !p->pid || !json_object_object_get_ex(a->result, "pid", &v))
		return;
	pid = json_object_get_int(v);
	p->greeted = true;
	if (pid == p->pid || pid <= 1)
		return;
	loop_watch_free(take(p->watch));
	close(take_fd(&p->pidfd));
	waitpid(p->pid, NULL, 0);
	p->pid = pid;
	p->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (p->pidfd < 0 ||
	    loop_fd(p->d->loop, p->pidfd, LOOP_READ, on_ended, p, &p->watch, NULL) < 0)
		log_warning("the process of a network is not watched", "NET=%s", p->key, NULL);
}

static int hello(struct netproc *p, struct err *e)
{
	struct net_hello_args a = { .token = p->token };
	char path[PATH_MAX];
	int r;

	path_of(p, "control", path, sizeof(path));
	r = rpc_connect(p->d->loop, path, SOCK_SEQPACKET, &peer_ops, p, &p->peer, e);
	return r < 0 ? r : rpc_send_args(p->peer, &net_table, "net.hello", &a, on_hello, p, e);
}

static int spawn(struct netproc *p, enum net_kind kind, uid_t uid, gid_t gid, struct err *e)
{
	char program[PATH_MAX], path[PATH_MAX], kind_arg[24];
	char *argv[] = { program, p->key, kind_arg, (char *)"--control-fd=3", NULL };
	autoclose int listen_fd = -1, log = -1;
	int r = find_program("vmd-net", program, sizeof(program), e);

	snprintf(kind_arg, sizeof(kind_arg), "--kind=%s", rpc_enum_name(&net_kind_enum, kind));
	path_of(p, "", path, sizeof(path));
	if (r == 0 && mkdir(path, 0700) < 0 && errno != EEXIST)
		r = err_sys(e, "cannot create %s", path);
	if (r == 0)
		r = new_token(p, e);
	if (r < 0)
		return r;
	path_of(p, "log", path, sizeof(path));
	log = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (log < 0)
		return err_sys(e, "cannot create %s", path);
	path_of(p, "control", path, sizeof(path));
	r = rpc_listen(path, SOCK_SEQPACKET, 4, &listen_fd, e);
	if (r == 0)
		r = process_spawn(program, argv, uid, gid, listen_fd, log, &p->pid, e);
	if (r < 0)
		return r;
	p->pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
	if (p->pidfd < 0)
		return err_sys(e, "cannot watch the process of a network");
	r = loop_fd(p->d->loop, p->pidfd, LOOP_READ, on_ended, p, &p->watch, e);
	return r < 0 ? r : hello(p, e);
}

static struct netproc *new_netproc(struct daemon *d, struct list *all, const char *key)
{
	struct netproc *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->d = d;
	p->pidfd = -1;
	snprintf(p->key, sizeof(p->key), "%s", key);
	list_append(all, &p->node);
	return p;
}

/* A socket and a token that an earlier daemon left: is the process still there? */
static bool adopt(struct netproc *p)
{
	autofree char *token = NULL;
	char path[PATH_MAX];
	size_t len;

	path_of(p, "token", path, sizeof(path));
	if (file_read(path, sizeof(p->token) - 1, &token, &len, NULL) < 0)
		return false;
	snprintf(p->token, sizeof(p->token), "%s", token);
	return hello(p, NULL) == 0;
}

struct netproc *netproc_find(struct daemon *d, struct list *all, const char *key)
{
	struct netproc *p;

	list_for_each(p, all, struct netproc, node)
		if (!strcmp(p->key, key))
			return p->peer ? p : NULL;
	p = new_netproc(d, all, key);
	if (!p)
		return NULL;
	if (adopt(p))
		return p;
	clean_up(p);
	free_netproc(p);
	return NULL;
}

void netproc_find_all(struct daemon *d, struct list *all)
{
	DIR *dir = opendir(d->runtime_path);
	struct dirent *de;

	while (dir && (de = readdir(dir)))
		if (!strncmp(de->d_name, "net-", 4) && de->d_name[4])
			netproc_find(d, all, de->d_name + 4);
	if (dir)
		closedir(dir);
}

int netproc_get(struct daemon *d, struct list *all, const char *key, enum net_kind kind, uid_t uid,
		gid_t gid, struct netproc **ret, struct err *e)
{
	struct netproc *p = netproc_find(d, all, key), *old;
	int r;

	if (p) {
		*ret = p;
		return 0;
	}
	/* One of that name that is ending: its place is needed. */
	list_for_each(old, all, struct netproc, node)
		if (!strcmp(old->key, key)) {
			kill(old->pid, SIGKILL);
			on_ended(old, -1, 0);
		}
	p = new_netproc(d, all, key);
	if (!p)
		return err_nomem(e);
	r = spawn(p, kind, uid, gid, e);
	if (r < 0) {
		if (p->pid) {
			kill(p->pid, SIGKILL);
			waitpid(p->pid, NULL, 0);
		}
		clean_up(p);
		free_netproc(p);
		return err_in(e, "network %s", key);
	}
	*ret = p;
	return 0;
}

static void answered(void *arg, struct rpc_answer *a)
{
	const struct rpc_method *m = rpc_method_find(&net_table, "net.forward");
	struct question *q = arg;
	auto_arena mem = { NULL };
	struct rpc_input in = { .mem = &mem, .what = m->name, .lenient = true };
	struct net_forward_reply r = { .forwards = { NULL, 0 } };
	struct err e;
	const struct err *why = a->e;

	if (*q->quiet) {
		free(q);
		return;
	}
	if (!why && !q->port && rpc_parse(&m->reply, a->result, &r, &in, &e) < 0)
		why = &e;
	q->fn(q->arg, q->port ? NULL : &r.forwards, why);
	free(q);
}

static int ask(struct netproc *p, const char *method, const void *args, netproc_fn *fn, void *arg,
	       struct err *e)
{
	struct question *q = calloc(1, sizeof(*q));
	int r;

	if (!q)
		return err_nomem(e);
	q->quiet = &p->quiet;
	q->fn = fn;
	q->arg = arg;
	q->port = !strcmp(method, "net.port");
	r = p->peer ? rpc_send_args(p->peer, &net_table, method, args, answered, q, e)
		    : rpc_error(e, "failed", "the process of the network has ended");
	if (r < 0)
		free(q);
	return r;
}

int netproc_port(struct netproc *p, int fd, netproc_fn *fn, void *arg, struct err *e)
{
	struct net_port_args a = { .fd = fd, .has_fd = true };

	return ask(p, "net.port", &a, fn, arg, e);
}

int netproc_forward(struct netproc *p, enum forward_action action, const struct vm_forward *f,
		    netproc_fn *fn, void *arg, struct err *e)
{
	struct net_forward_args a = { .action = action, .has_action = true };

	if (f) {
		a.forward = *f;
		a.has_forward = true;
	}
	return ask(p, "net.forward", &a, fn, arg, e);
}

void netproc_free_all(struct list *all)
{
	while (!list_empty(all)) {
		struct netproc *p = list_entry(all->next, struct netproc, node);

		p->quiet = true;
		free_netproc(p);
	}
}
