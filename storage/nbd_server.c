/*
 * The NBD server: a listening socket, and a thread for each connection. nbd_server_run() is called
 * on one thread, by vmctl or a job.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "storage/nbd_int.h"

enum { CLIENTS_MAX = 100, HANDSHAKE_SECONDS = 10, LEAVE_MS = 5000 };

struct client {
	struct list node;
	struct nbd_server *server;
	int fd;
	pthread_t thread;
	bool done; /* the thread is about to end; it may be joined */
};

struct nbd_server {
	struct nbd_server_config config;
	int listen_fd, wake[2];
	pthread_mutex_t lock; /* guards the list, and done of each */
	struct list clients;
	unsigned n;
	bool had_one;
};

static ssize_t sock_recv(void *arg, void *buf, size_t len)
{
	struct client *c = arg;
	ssize_t n;

	do
		n = recv(c->fd, buf, len, 0);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static ssize_t sock_send(void *arg, const struct iovec *iov, int n)
{
	struct client *c = arg;
	struct msghdr h = { .msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n };
	ssize_t done;

	do
		done = sendmsg(c->fd, &h, MSG_NOSIGNAL);
	while (done < 0 && errno == EINTR);
	return done < 0 ? -errno : done;
}

static void set_timeout(int fd, int seconds)
{
	struct timeval t = { .tv_sec = seconds };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
}

/* The handshake is done: from now on a client may be silent as long as it likes. */
static void on_ready(void *arg)
{
	struct client *c = arg;

	set_timeout(c->fd, 0);
}

static void *client_main(void *arg)
{
	struct client *c = arg;
	struct nbd_server *s = c->server;
	struct nbd_io io = { sock_recv, sock_send, c };
	struct err e;

	set_timeout(c->fd, HANDSHAKE_SECONDS);
	nbd_serve(&io, s->config.exports, s->config.n, on_ready, &e);
	shutdown(c->fd, SHUT_RDWR);
	pthread_mutex_lock(&s->lock);
	c->done = true;
	pthread_mutex_unlock(&s->lock);
	if (write(s->wake[1], "", 1) < 0)
		return NULL; /* full: the loop wakes up anyway */
	return NULL;
}

static void add_client(struct nbd_server *s, int fd)
{
	struct client *c = s->n < s->config.clients_max ? calloc(1, sizeof(*c)) : NULL;
	sigset_t all, old;

	if (!c) {
		close(fd);
		return;
	}
	c->server = s;
	c->fd = fd;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (pthread_create(&c->thread, NULL, client_main, c)) {
		close(fd);
		free(c);
	} else {
		list_append(&s->clients, &c->node);
		s->n++;
		s->had_one = true;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void remove_client(struct nbd_server *s, struct client *c)
{
	pthread_join(c->thread, NULL);
	list_remove(&c->node);
	s->n--;
	close(c->fd);
	free(c);
}

static void reap(struct nbd_server *s)
{
	struct client *c;
	char buf[64];

	while (read(s->wake[0], buf, sizeof(buf)) == (ssize_t)sizeof(buf))
		;
	list_for_each(c, &s->clients, struct client, node) {
		bool done;

		pthread_mutex_lock(&s->lock);
		done = c->done;
		pthread_mutex_unlock(&s->lock);
		if (done)
			remove_client(s, c);
	}
}

/* Nothing more comes in; what is in flight ends and is answered. Who does not listen is cut off. */
static void stop_clients(struct nbd_server *s)
{
	struct pollfd p = { s->wake[0], POLLIN, 0 };
	struct client *c;

	list_for_each(c, &s->clients, struct client, node)
		shutdown(c->fd, SHUT_RD);
	while (s->n && poll(&p, 1, LEAVE_MS) > 0)
		reap(s);
	list_for_each(c, &s->clients, struct client, node)
		shutdown(c->fd, SHUT_RDWR);
	while (!list_empty(&s->clients))
		remove_client(s, list_entry(s->clients.next, struct client, node));
}

int nbd_server_new(int listen_fd, const struct nbd_server_config *config, struct nbd_server **ret,
		   struct err *e)
{
	autoclose int own = listen_fd;
	struct nbd_server *s = calloc(1, sizeof(*s));

	if (!s)
		return err_nomem(e);
	if (pipe2(s->wake, O_CLOEXEC | O_NONBLOCK) < 0) {
		free(s);
		return err_sys(e, "cannot make a pipe");
	}
	s->config = *config;
	if (!s->config.clients_max)
		s->config.clients_max = CLIENTS_MAX;
	s->listen_fd = take_fd(&own);
	list_init(&s->clients);
	pthread_mutex_init(&s->lock, NULL);
	*ret = s;
	return 0;
}

int nbd_server_run(struct nbd_server *s, int stop_fd, struct err *e)
{
	struct pollfd p[] = { { s->listen_fd, POLLIN, 0 },
			      { stop_fd, POLLIN, 0 },
			      { s->wake[0], POLLIN, 0 } };
	int r = 0;

	for (;;) {
		if (poll(p, 3, -1) < 0 && errno != EINTR) {
			r = err_sys(e, "cannot wait for NBD clients");
			break;
		}
		reap(s);
		if (p[1].revents || (s->config.until_idle && s->had_one && !s->n))
			break;
		if (p[0].revents) {
			int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);

			if (fd >= 0)
				add_client(s, fd);
		}
	}
	stop_clients(s);
	return r;
}

void nbd_server_free(struct nbd_server *s)
{
	stop_clients(s);
	close(s->listen_fd);
	close(s->wake[0]);
	close(s->wake[1]);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
