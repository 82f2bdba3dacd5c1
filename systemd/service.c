#include "systemd/service.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

struct service_watchdog {
	struct loop_watch *timer;
	int64_t every_ns;
};

/* After a restart other descriptors may come too, in any order: the name decides. */
int service_listen_fd(void)
{
	char **names = NULL;
	int found = -1, n = sd_listen_fds_with_names(1, &names);

	for (int i = 0; i < n; i++) {
		int fd = SD_LISTEN_FDS_START + i;
		bool ours = found < 0 && (!strcmp(names[i], "monitor") || n == 1) &&
			    sd_is_socket(fd, AF_UNSPEC, 0, 1) > 0;

		if (ours)
			found = fd;
		else
			close(fd);
		free(names[i]);
	}
	free(names);
	return found;
}

void service_notify(const char *state)
{
	sd_notify(0, state);
}

/* sd_notify(3): RELOADING=1 comes with the time, so that a later READY=1 can be told from it. */
void service_notify_reloading(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld",
		   (long long)ts.tv_sec * 1000000 + ts.tv_nsec / 1000);
}

static void feed(void *arg)
{
	struct service_watchdog *w = arg;

	sd_notify(0, "WATCHDOG=1");
	loop_timer_set(w->timer, w->every_ns);
}

int service_watchdog_new(struct loop *l, struct service_watchdog **ret, struct err *e)
{
	uint64_t usec = 0;
	struct service_watchdog *w;
	int r;

	*ret = NULL;
	if (sd_watchdog_enabled(0, &usec) <= 0)
		return 0;
	w = calloc(1, sizeof(*w));
	if (!w)
		return err_nomem(e);
	/* sd_watchdog_enabled(3) recommends half of the time. */
	w->every_ns = (int64_t)usec * 1000 / 2;
	r = loop_timer(l, feed, w, &w->timer, e);
	if (r < 0) {
		free(w);
		return r;
	}
	feed(w);
	*ret = w;
	return 0;
}

void service_watchdog_free(struct service_watchdog *w)
{
	if (!w)
		return;
	loop_watch_free(w->timer);
	free(w);
}
