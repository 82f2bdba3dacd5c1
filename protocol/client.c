/* client.c - the part of peer.h for programs that connect and wait. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "protocol/peer.h"

/*
 * sun_path holds 107 bytes. A longer path is reached through a descriptor of its directory, which
 * *dir keeps open as long as the name is needed.
 */
static int socket_address(const char *path, struct sockaddr_un *to, int *dir, struct err *e)
{
	char copy[PATH_MAX], copy2[PATH_MAX];
	const char *base;

	*to = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) < sizeof(to->sun_path)) {
		memcpy(to->sun_path, path, strlen(path) + 1);
		return 0;
	}
	if (strlen(path) >= PATH_MAX)
		return err_set(e, -ENAMETOOLONG, "%.64s...: the path is too long", path);
	strcpy(copy, path);
	strcpy(copy2, path);
	*dir = open(dirname(copy), O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*dir < 0)
		return err_sys(e, "cannot open the directory of %s", path);
	base = basename(copy2);
	if (snprintf(to->sun_path, sizeof(to->sun_path), "/proc/self/fd/%d/%s", *dir, base) >=
	    (int)sizeof(to->sun_path))
		return err_set(e, -ENAMETOOLONG, "%s: the name of the socket is too long", base);
	return 0;
}

int rpc_connect(struct loop *l, const char *path, int socket_type, const struct rpc_peer_ops *ops,
		void *arg, struct rpc_peer **ret, struct err *e)
{
	autoclose int fd = socket(AF_UNIX, socket_type | SOCK_CLOEXEC, 0);
	autoclose int dir = -1;
	struct sockaddr_un a;
	int r;

	if (fd < 0)
		return err_sys(e, "cannot make a socket");
	r = socket_address(path, &a, &dir, e);
	if (r < 0)
		return r;
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		r = err_sys(e, "cannot connect to %s", path);
		err_kind(e, "daemon.unreachable");
		return r;
	}
	return rpc_peer_new(l, take_fd(&fd), ops, arg, ret, e);
}

int rpc_listen(const char *path, int socket_type, int backlog, int *ret, struct err *e)
{
	autoclose int fd = socket(AF_UNIX, socket_type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	autoclose int dir = -1;
	struct sockaddr_un a;
	int r;

	if (fd < 0)
		return err_sys(e, "cannot make a socket");
	r = socket_address(path, &a, &dir, e);
	if (r < 0)
		return r;
	if (unlink(path) < 0 && errno != ENOENT)
		return err_sys(e, "cannot replace %s", path);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return err_sys(e, "cannot bind %s", path);
	if (listen(fd, backlog) < 0)
		return err_sys(e, "cannot listen on %s", path);
	*ret = take_fd(&fd);
	return 0;
}

/* The one answer that rpc_client_call() waits for. */
struct wait {
	bool done;
	json_object *result, *data;
	struct conn_fds fds;
	struct err e;
	int code;
};

static void on_answer(void *arg, struct rpc_answer *a)
{
	struct wait *w = arg;

	w->done = true;
	if (a->e) {
		w->e = *a->e;
		w->code = a->e->code;
		w->data = json_object_get(a->data);
		return;
	}
	w->result = json_object_get(a->result);
	w->fds = a->fds;
	a->fds.n = 0;
}

int rpc_client_call(struct rpc_peer *p, const char *method, json_object *params, const int *fds,
		    size_t n, json_object **result, struct conn_fds *ret_fds, json_object **data,
		    struct err *e)
{
	struct wait w = { .done = false };
	int r = rpc_send(p, method, params, fds, n, on_answer, &w, e);

	if (data)
		*data = NULL;
	if (r < 0)
		return r;
	r = rpc_wait(p, &w.done, e);
	if (r < 0 && !w.done) {
		rpc_forget(p, &w);
		return r;
	}
	if (w.code < 0) {
		if (e)
			*e = w.e;
		if (data)
			*data = w.data;
		else
			json_object_put(w.data);
		return w.code;
	}
	*result = w.result;
	if (ret_fds)
		*ret_fds = w.fds;
	else
		conn_fds_close(&w.fds);
	return 0;
}
