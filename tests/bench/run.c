/* run.c - run one system, read the marks of the guest program, and sample its CPU time at each. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/runner.h"

struct reader {
	unsigned index;
	pid_t pid;
	struct results *r;
	double began; /* CPU time at the last ">" */
	bool done;
};

static void add(struct measured *m, double v)
{
	if (m->n < SAMPLES_MAX)
		m->ns[m->n++] = v;
}

static struct result *row_of(struct results *r, const char *class, const char *kernel)
{
	for (unsigned i = 0; i < r->n; i++)
		if (!strcmp(r->row[i].class, class) && !strcmp(r->row[i].kernel, kernel))
			return &r->row[i];
	if (r->n == KERNELS_MAX)
		return NULL;
	snprintf(r->row[r->n].class, sizeof(r->row[r->n].class), "%s", class);
	snprintf(r->row[r->n].kernel, sizeof(r->row[r->n].kernel), "%s", kernel);
	return &r->row[r->n++];
}

static void line(struct reader *rd, const char *text)
{
	unsigned long long count;
	double own; /* nanoseconds by the guest's clock */
	char class[16], kernel[32];
	struct result *row;
	double now = cpu_of_tree(rd->pid);

	if (!strncmp(text, "= ready", 7)) {
		add(&rd->r->boot[rd->index], now);
	} else if (!strncmp(text, "= done", 6)) {
		rd->done = true;
	} else if (text[0] == '>') {
		rd->began = now;
	} else if (sscanf(text, "< %15s %31s %llu", class, kernel, &count) == 3 && count) {
		row = row_of(rd->r, class, kernel);
		if (sscanf(text, "< %*s %*s %*s %*s %lf", &own) != 1)
			own = (now - rd->began) / (double)count;
		if (row)
			add(&row->by[rd->index], own);
	}
}

/* Reads lines until the end, or until the time is over. */
static void read_lines(struct reader *rd, int fd, double limit_s)
{
	char buf[4096];
	size_t len = 0;
	time_t end = time(NULL) + (time_t)limit_s;

	while (!rd->done && time(NULL) < end) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t n;
		char *nl;

		if (poll(&p, 1, 1000) <= 0)
			continue;
		n = read(fd, buf + len, sizeof(buf) - 1 - len);
		if (n <= 0)
			return;
		len += (size_t)n;
		buf[len] = 0;
		while ((nl = strchr(buf, '\n'))) {
			*nl = 0;
			line(rd, buf);
			len -= (size_t)(nl + 1 - buf);
			memmove(buf, nl + 1, len + 1);
		}
		if (len == sizeof(buf) - 1)
			len = 0;
	}
}

bool run_system(const struct system *s, unsigned index, struct results *r, double limit_s)
{
	struct reader rd = { .index = index, .r = r };
	int fd[2];

	if (pipe(fd) < 0)
		return false;
	rd.pid = fork();
	if (rd.pid == 0) {
		setpgid(0, 0);
		dup2(fd[1], STDOUT_FILENO);
		if (!freopen("/dev/null", "r", stdin))
			_exit(126);
		execvp(s->argv[0], s->argv);
		_exit(127);
	}
	close(fd[1]);
	read_lines(&rd, fd[0], limit_s);
	close(fd[0]);
	kill(-rd.pid, SIGTERM);
	usleep(200000);
	kill(-rd.pid, SIGKILL);
	waitpid(rd.pid, NULL, 0);
	return rd.done;
}
