/* progress.c - how far long work is: a line on the terminal, and whether to go on. */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/size.h"
#include "client/disk.h"

#define SECOND INT64_C(1000000000)

/*
 * Signals that end the work wait until it asks for them: it then cleans up behind itself. Before
 * threads are started, which inherit this.
 */
static void stop_signals(sigset_t *s)
{
	sigemptyset(s);
	sigaddset(s, SIGINT);
	sigaddset(s, SIGTERM);
	sigaddset(s, SIGHUP);
}

void progress_begin(struct progress *p, const struct ctl *c)
{
	sigset_t s;

	*p = (struct progress){ .ctl = c, .started = mono_ns() };
	stop_signals(&s);
	sigprocmask(SIG_BLOCK, &s, NULL);
}

static void draw(struct progress *p, uint64_t done, uint64_t total, double seconds)
{
	char all[32], part[32], rate[32];
	double speed = (double)done / seconds;
	int left = speed > 0 ? (int)((double)(total - done) / speed) : 0;

	fprintf(stderr, "\r%3d %%  %s of %s  %s/s  %d:%02d:%02d left \033[K",
		total ? (int)(done * 100.0 / (double)total) : 100,
		size_format(done, part, sizeof(part)), size_format(total, all, sizeof(all)),
		size_format((uint64_t)speed, rate, sizeof(rate)), left / 3600, left / 60 % 60,
		left % 60);
	fflush(stderr);
	p->drawn = true;
}

bool progress_tell(void *arg, uint64_t done, uint64_t total)
{
	struct progress *p = arg;
	const struct timespec now = { 0 };
	int64_t t = mono_ns();
	sigset_t s;

	stop_signals(&s);
	if (sigtimedwait(&s, NULL, &now) > 0)
		return false;
	if (p->ctl->quiet || p->ctl->json || !isatty(STDERR_FILENO))
		return true;
	if (t - p->started < SECOND || t - p->shown < SECOND / 5)
		return true;
	p->shown = t;
	draw(p, done, total, (double)(t - p->started) / (double)SECOND);
	return true;
}

void progress_end(struct progress *p)
{
	if (p->drawn)
		fprintf(stderr, "\r\033[K");
}
