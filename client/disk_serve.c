/* disk_serve.c - vmctl disk serve: an image over NBD, on a UNIX socket or on this host's loopback.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/own.h"
#include "client/disk.h"
#include "client/words.h"
#include "protocol/errors.h"
#include "storage/nbd.h"

struct serving {
	struct disk_call *d;
	struct disk *disk;
	char *socket; /* to be removed at the end; NULL: none of ours */
	const char *name;
};

static void serving_done(struct serving *s)
{
	if (s->socket)
		unlink(s->socket);
	free(s->socket);
	if (s->disk)
		disk_close(s->disk);
}

/* sd_listen_fds(3): nbdcopy and systemd hand over a socket so. -1: nobody did. */
static int handed_over(void)
{
	const char *pid = getenv("LISTEN_PID"), *n = getenv("LISTEN_FDS");

	return pid && n && atoi(pid) == getpid() && atoi(n) == 1 ? 3 : -1;
}

static void say_where(const struct serving *s, const char *uri)
{
	if (s->d->ctl->json) {
		json_object *o = json_object_new_object();

		json_object_object_add(o, "uri", json_object_new_string(uri));
		printf("%s\n", json_object_to_json_string_ext(o, JSON_C_TO_STRING_NOSLASHESCAPE));
		json_object_put(o);
	} else if (!s->d->ctl->quiet) {
		printf("%s\n", uri);
	}
	fflush(stdout);
}

/* Only for the caller: the socket is not readable for others. */
static int listen_unix(struct serving *s, struct err *e)
{
	const char *word = s->d->w.v[DISK_OPT_SOCKET];
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	autofree char *path = NULL, *uri = NULL, *beside = NULL;
	mode_t old;
	int r;

	if (!word && asprintf(&beside, "%s.nbd", s->d->w.arg[0]) < 0)
		return err_nomem(e);
	path = words_absolute(word ? word : beside);
	if (fd < 0 || !path)
		return err_sys(e, "cannot make a socket");
	if (strlen(path) >= sizeof(a.sun_path))
		return err_set(e, -ENAMETOOLONG,
			       "%s: too long for a socket; choose another with --socket", path);
	strcpy(a.sun_path, path);
	old = umask(077);
	r = bind(fd, (struct sockaddr *)&a, sizeof(a));
	umask(old);
	if (r < 0 || listen(fd, 16) < 0) {
		r = err_sys(e, "cannot listen on %s", path);
		return r == -EADDRINUSE ? err_kind(e, "file.exists"), r : r;
	}
	if (asprintf(&uri, "nbd+unix:///%s?socket=%s", s->name, path) < 0)
		return err_nomem(e);
	s->socket = take(path);
	say_where(s, uri);
	return take_fd(&fd);
}

static int listen_tcp(struct serving *s, struct err *e)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	autoclose int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(a);
	int one = 1, port = 0, used = 0;
	char uri[128];

	if (sscanf(s->d->w.v[DISK_OPT_PORT], "%d%n", &port, &used) != 1 || port < 0 ||
	    port > 65535 || s->d->w.v[DISK_OPT_PORT][used])
		return rpc_error(e, "rpc.params", "'%s' is no port", s->d->w.v[DISK_OPT_PORT]);
	a.sin_port = htons((uint16_t)port);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &one, sizeof(one)) < 0 ||
	    bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 16) < 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &len) < 0) {
		int r = err_sys(e, "cannot listen on port %d", port);

		return r == -EADDRINUSE ? err_kind(e, "port.in-use"), r : r;
	}
	snprintf(uri, sizeof(uri), "nbd://127.0.0.1:%d/%.60s", ntohs(a.sin_port), s->name);
	say_where(s, uri);
	return take_fd(&fd);
}

static int open_disk(struct serving *s, struct err *e)
{
	struct disk_call *d = s->d;
	bool write = disk_given(d, DISK_OPT_WRITE), snapshot = disk_given(d, DISK_OPT_SNAPSHOT);
	int r;

	if (write && snapshot)
		return rpc_error(e, "rpc.params", "a snapshot cannot be written");
	r = disk_call_open(d, d->w.arg[0], d->w.v[DISK_OPT_FORMAT], write ? 0 : DISK_RDONLY,
			   &s->disk, e);
	if (r == 0 && snapshot)
		r = disk_snapshot_view(s->disk, d->w.v[DISK_OPT_SNAPSHOT], e);
	return r;
}

static int stop_signals(struct err *e)
{
	sigset_t s;
	int fd;

	sigemptyset(&s);
	sigaddset(&s, SIGINT);
	sigaddset(&s, SIGTERM);
	sigaddset(&s, SIGHUP);
	sigprocmask(SIG_BLOCK, &s, NULL);
	fd = signalfd(-1, &s, SFD_CLOEXEC);
	return fd < 0 ? err_sys(e, "cannot wait for signals") : fd;
}

static int serve(struct serving *s, struct err *e)
{
	struct nbd_export x = { .name = s->name, .description = s->d->w.arg[0] };
	struct nbd_server_config config = { .exports = &x,
					    .n = 1,
					    .until_idle = disk_given(s->d, DISK_OPT_ONCE) };
	autoptr(nbd_server) server = NULL;
	autoclose int stop = stop_signals(e);
	int fd = handed_over(), r = stop < 0 ? stop : open_disk(s, e);

	if (r < 0)
		return r;
	if (fd < 0)
		fd = disk_given(s->d, DISK_OPT_PORT) ? listen_tcp(s, e) : listen_unix(s, e);
	if (fd < 0)
		return fd;
	x.disk = s->disk;
	r = nbd_server_new(fd, &config, &server, e);
	if (r == 0)
		r = nbd_server_run(server, stop, e);
	if (server)
		nbd_server_free(take(server));
	return r < 0 ? r : disk_finish(take(s->disk), e);
}

int disk_serve_run(struct disk_call *d)
{
	struct serving s = { .d = d, .name = d->w.v[DISK_OPT_NAME] ? d->w.v[DISK_OPT_NAME] : "" };
	struct err e = { 0 };
	int r = serve(&s, &e);

	serving_done(&s);
	return r < 0 ? disk_call_fail(d, d->w.arg[0], &e) : EXIT_DONE;
}
