/*
 * pty.c - a person at a terminal, for the end-to-end tests: runs a program on a pty, waits for
 *texts and types answers. One thread.
 *
 *	pty [-e TEXT] [-s KEYS] ... -- PROGRAM [ARG ...]
 *
 * -e waits until TEXT has been printed after what was found before; -s types KEYS, with \r, \t,
 *\xNN as in C. Then it waits for the end. Everything printed is copied to standard output. Exit
 *code: the program's, or 99 when a text did not come within two minutes.
 */
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROOM = 1 << 20, PATIENCE_MS = 120000, NEVER_CAME = 99 };

struct screen {
	int fd;
	size_t len, seen; /* printed, and searched already */
	char text[ROOM + 1];
};

/* False: the program closed its terminal, or nothing came for too long. */
static bool more(struct screen *s)
{
	struct pollfd p = { .fd = s->fd, .events = POLLIN };
	ssize_t n;

	if (s->len == ROOM || poll(&p, 1, PATIENCE_MS) <= 0)
		return false;
	n = read(s->fd, s->text + s->len, ROOM - s->len);
	if (n <= 0)
		return false;
	if (write(STDOUT_FILENO, s->text + s->len, (size_t)n) < 0)
		return false;
	s->len += (size_t)n;
	s->text[s->len] = 0;
	return true;
}

static bool expect(struct screen *s, const char *text)
{
	const char *at;

	while (!(at = memmem(s->text + s->seen, s->len - s->seen, text, strlen(text))))
		if (!more(s))
			return false;
	s->seen = (size_t)(at - s->text) + strlen(text);
	return true;
}

static void type(struct screen *s, const char *keys)
{
	char out[256];
	size_t n = 0;

	for (; *keys && n < sizeof(out); keys++) {
		if (keys[0] == '\\' && keys[1] == 'r') {
			out[n++] = '\r';
			keys++;
		} else if (keys[0] == '\\' && keys[1] == 't') {
			out[n++] = '\t';
			keys++;
		} else if (keys[0] == '\\' && keys[1] == 'x' && keys[2] && keys[3]) {
			char digits[3] = { keys[2], keys[3], 0 };

			out[n++] = (char)strtoul(digits, NULL, 16);
			keys += 3;
		} else {
			out[n++] = *keys;
		}
	}
	if (write(s->fd, out, n) < 0)
		perror("pty: write");
}

int main(int argc, char **argv)
{
	struct screen *s = calloc(1, sizeof(*s));
	int status, i = 1;
	pid_t pid;

	while (i < argc && strcmp(argv[i], "--"))
		i += 2;
	if (!s || i + 1 >= argc)
		return 2;
	pid = forkpty(&s->fd, NULL, NULL, &(struct winsize){ .ws_row = 25, .ws_col = 80 });
	if (pid == 0) {
		execvp(argv[i + 1], argv + i + 1);
		_exit(127);
	}
	for (int k = 1; k + 1 < i; k += 2) {
		if (!strcmp(argv[k], "-s")) {
			type(s, argv[k + 1]);
		} else if (!expect(s, argv[k + 1])) {
			fprintf(stderr, "pty: '%s' did not come\n", argv[k + 1]);
			kill(pid, SIGHUP);
			waitpid(pid, &status, 0);
			return NEVER_CAME;
		}
	}
	while (more(s))
		;
	if (waitpid(pid, &status, 0) < 0)
		return 1;
	free(s);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
