/* cpu.c - the CPU time of a process with all its descendants, from /proc/PID/stat (proc(5)). */
#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/runner.h"

enum { PROCESSES_MAX = 4096 };

struct process {
	pid_t pid, parent;
	double cpu_ns;
};

static bool read_stat(const char *pid, struct process *p)
{
	char path[64], buf[1024], *at;
	unsigned long user, sys;
	int parent;
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
	f = fopen(path, "r");
	if (!f)
		return false;
	n = fread(buf, 1, sizeof(buf) - 1, f);
	fclose(f);
	buf[n] = 0;
	at = strrchr(buf, ')'); /* the name before it may hold anything */
	if (!at || sscanf(at + 1, " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &parent,
			  &user, &sys) != 3)
		return false;
	p->pid = atoi(pid);
	p->parent = parent;
	p->cpu_ns = (double)(user + sys) * 1e9 / (double)sysconf(_SC_CLK_TCK);
	return true;
}

/* The finer clock of a process, where the kernel gives it to us; clock ticks otherwise. */
static double precise(const struct process *p)
{
	struct timespec t;
	clockid_t clock;

	if (clock_getcpuclockid(p->pid, &clock) == 0 && clock_gettime(clock, &t) == 0)
		return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
	return p->cpu_ns;
}

static bool is_below(const struct process *all, unsigned n, const struct process *p, pid_t top)
{
	for (int depth = 0; depth < 8; depth++) {
		unsigned i = 0;

		if (p->pid == top)
			return true;
		while (i < n && all[i].pid != p->parent)
			i++;
		if (i == n)
			return false;
		p = &all[i];
	}
	return false;
}

double cpu_of_tree(pid_t top)
{
	static struct process all[PROCESSES_MAX];
	DIR *d = opendir("/proc");
	struct dirent *de;
	double sum = 0;
	unsigned n = 0;

	while (d && (de = readdir(d)) && n < PROCESSES_MAX)
		if (isdigit((unsigned char)de->d_name[0]) && read_stat(de->d_name, &all[n]))
			n++;
	if (d)
		closedir(d);
	for (unsigned i = 0; i < n; i++)
		if (is_below(all, n, &all[i], top))
			sum += precise(&all[i]);
	return sum;
}
