/* console.c - see console.h. The escapes: Ctrl-] anywhere, or ~. after Enter; ~~ is a tilde, ~?
 * help. */
#include "client/console.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "base/io.h"

enum { CHUNK = 4096 };

struct console {
	struct loop *loop;
	struct loop_watch *in, *guest, *quiet;
	struct console_options o;
	struct termios was;
	bool is_tty, raw, at_line_start, tilde;
	int fd, output_error;
	void (*ended)(void *arg, enum console_end how);
	void *arg;
};

bool console_escape_parse(const char *text, int *ret)
{
	if (!strcmp(text, "none"))
		return *ret = -1, true;
	if (!strncasecmp(text, "ctrl-", 5) && text[5] && !text[6])
		return *ret = toupper((unsigned char)text[5]) & 0x1f, *ret != 0;
	if (text[0] == '^' && text[1] && !text[2])
		return *ret = toupper((unsigned char)text[1]) & 0x1f, *ret != 0;
	return false;
}

static void end(struct console *c, enum console_end how)
{
	void (*ended)(void *, enum console_end) = c->ended;

	c->ended = NULL;
	if (c->in)
		loop_fd_set(c->in, 0);
	if (c->guest)
		loop_fd_set(c->guest, 0);
	if (ended)
		ended(c->arg, how);
}

static void say(const char *text)
{
	if (write_full(STDERR_FILENO, text, strlen(text), NULL) < 0)
		return; /* nobody is left to tell */
}

/* To the guest; it may be slow to read, and then typing waits. */
static bool send_all(struct console *c, const char *buf, size_t len)
{
	while (len) {
		ssize_t n = send(c->fd, buf, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN) {
			struct pollfd p = { .fd = c->fd, .events = POLLOUT };

			poll(&p, 1, 1000);
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		buf += n;
		len -= (size_t)n;
	}
	return true;
}

/* One key typed: true when it goes to the guest as it is. */
static bool key(struct console *c, char k, bool *detach)
{
	bool tilde = c->tilde;

	c->tilde = false;
	if (c->o.escape > 0 && k == c->o.escape) {
		*detach = true;
		return false;
	}
	if (tilde && k == '.') {
		*detach = true;
		return false;
	}
	if (tilde && k == '?') {
		say("\r\n~. leave the console, ~~ send a tilde, ~? this help\r\n");
		return false;
	}
	if (tilde && k != '~')
		send_all(c, "~", 1);
	if (!tilde && c->at_line_start && k == '~') {
		c->tilde = true;
		return false;
	}
	c->at_line_start = k == '\r' || k == '\n';
	return true;
}

static void on_quiet(void *arg)
{
	end(arg, CONSOLE_DETACHED);
}

/* Nothing more comes from us: the answers are waited for, if at all, until there are none. */
static void all_is_typed(struct console *c)
{
	if (c->o.linger_ns && loop_timer(c->loop, on_quiet, c, &c->quiet, NULL) == 0)
		loop_timer_set(c->quiet, c->o.linger_ns);
}

static void typed(void *arg, int fd, unsigned events)
{
	struct console *c = arg;
	char buf[CHUNK], out[CHUNK];
	ssize_t n = read(fd, buf, sizeof(buf));
	bool detach = false;
	size_t len = 0;

	(void)events;
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) { /* the end of a pipe: the guest goes on */
		loop_fd_set(c->in, 0);
		if (c->is_tty)
			end(c, CONSOLE_DETACHED);
		else
			all_is_typed(c);
		return;
	}
	if (!c->raw || c->o.escape < 0) {
		send_all(c, buf, (size_t)n);
		return;
	}
	for (ssize_t i = 0; i < n && !detach; i++)
		if (key(c, buf[i], &detach))
			out[len++] = buf[i];
	send_all(c, out, len);
	if (detach)
		end(c, CONSOLE_DETACHED);
}

/* False: nothing more will come. */
static bool copy_out(struct console *c)
{
	char buf[CHUNK];
	ssize_t n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n > 0 && !c->output_error)
		c->output_error = -write_full(STDOUT_FILENO, buf, (size_t)n, NULL);
	return n > 0;
}

static void printed(void *arg, int fd, unsigned events)
{
	struct console *c = arg;

	(void)fd;
	(void)events;
	if (c->quiet)
		loop_timer_set(c->quiet, c->o.linger_ns);
	if (!copy_out(c))
		end(c, CONSOLE_CLOSED);
}

void console_drain(struct console *c)
{
	struct pollfd p = { .fd = c->fd, .events = POLLIN };

	while (poll(&p, 1, 0) > 0 && p.revents & POLLIN)
		if (!copy_out(c))
			return;
}

int console_output_error(const struct console *c)
{
	return c->output_error;
}

/* What epoll cannot watch, a regular file or /dev/null, is read at once. */
static bool is_watchable(int fd)
{
	struct epoll_event ev = { .events = EPOLLIN };
	autoclose int epoll = epoll_create1(EPOLL_CLOEXEC);

	return epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev) == 0 || errno != EPERM;
}

static void send_file(struct console *c)
{
	char buf[CHUNK];
	ssize_t n;

	while ((n = read(STDIN_FILENO, buf, sizeof(buf))) > 0)
		if (!send_all(c, buf, (size_t)n))
			return;
	all_is_typed(c);
}

static void make_raw(struct console *c)
{
	struct termios raw;

	c->is_tty = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	if (!c->is_tty || c->o.watch || tcgetattr(STDIN_FILENO, &c->was) < 0)
		return;
	raw = c->was;
	cfmakeraw(&raw);
	raw.c_oflag |= OPOST | ONLCR; /* our own lines stay readable */
	c->raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
}

int console_new(struct loop *l, int fd, const struct console_options *o,
		void (*ended)(void *arg, enum console_end how), void *arg, struct console **ret,
		struct err *e)
{
	autoclose int mine = fd;
	autoptr(console) c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return err_nomem(e);
	*c = (struct console){
		.loop = l, .o = *o, .fd = -1, .at_line_start = true, .ended = ended, .arg = arg
	};
	c->fd = take_fd(&mine);
	r = loop_fd(l, c->fd, LOOP_READ, printed, c, &c->guest, e);
	if (r < 0)
		return r;
	if (!o->watch && !is_watchable(STDIN_FILENO))
		send_file(c);
	else if (!o->watch && fcntl(STDIN_FILENO, F_GETFD) >= 0)
		r = loop_fd(l, STDIN_FILENO, LOOP_READ, typed, c, &c->in, e);
	if (r < 0)
		return r;
	make_raw(c);
	*ret = take(c);
	return 0;
}

void console_free(struct console *c)
{
	if (c->raw)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &c->was);
	loop_watch_free(c->in);
	loop_watch_free(c->quiet);
	loop_watch_free(c->guest);
	if (c->fd >= 0)
		close(c->fd);
	free(c);
}
