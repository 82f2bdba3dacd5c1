/* k_os.c - what costs system calls, faults and processes. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

static uint64_t system_call(uint64_t n)
{
	uint64_t sum = 0;

	while (n--)
		sum += (uint64_t)syscall(SYS_getppid);
	return sum;
}

static uint64_t pipe_ping(uint64_t n)
{
	int there[2], back[2];
	char c = 0;
	pid_t pid;

	if (pipe(there) < 0 || pipe(back) < 0)
		return 0;
	pid = fork();
	if (pid == 0) {
		for (uint64_t i = 0; i < n; i++)
			if (read(there[0], &c, 1) != 1 || write(back[1], &c, 1) != 1)
				_exit(1);
		_exit(0);
	}
	for (uint64_t i = 0; i < n; i++)
		if (write(there[1], &c, 1) != 1 || read(back[0], &c, 1) != 1)
			break;
	waitpid(pid, NULL, 0);
	close(there[0]);
	close(there[1]);
	close(back[0]);
	close(back[1]);
	return n;
}

static uint64_t fork_wait(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(0);
		waitpid(pid, NULL, 0);
	}
	return n;
}

static uint64_t fork_exec(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			execl("/proc/self/exe", "bench", "nothing", (char *)NULL);
			_exit(1);
		}
		waitpid(pid, NULL, 0);
	}
	return n;
}

static uint64_t map_touch(uint64_t n)
{
	enum { LEN = 64 * 4096 };
	uint64_t sum = 0;

	while (n--) {
		char *p =
		    mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		for (int i = 0; i < LEN; i += 4096)
			sum += (uint64_t)(p[i] = 1);
		munmap(p, LEN);
	}
	return sum;
}

static uint64_t protect(uint64_t n)
{
	char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t sum = 0;

	while (n--) {
		p[0]++;
		mprotect(p, 4096, PROT_READ);
		sum += (uint64_t)p[0];
		mprotect(p, 4096, PROT_READ | PROT_WRITE);
	}
	munmap(p, 4096);
	return sum;
}

static char *guarded;

static void on_fault(int sig)
{
	(void)sig;
	mprotect(guarded, 4096, PROT_READ | PROT_WRITE);
}

static uint64_t fault_handler(uint64_t n)
{
	struct sigaction sa = { .sa_handler = on_fault }, old;
	uint64_t sum = 0;

	guarded = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	sigaction(SIGSEGV, &sa, &old);
	while (n--) {
		mprotect(guarded, 4096, PROT_NONE);
		sum += (uint64_t)++ * (volatile char *)guarded;
	}
	sigaction(SIGSEGV, &old, NULL);
	munmap(guarded, 4096);
	return sum;
}

static uint64_t read_zero(uint64_t n)
{
	static char buf[4096];
	int fd = open("/dev/zero", O_RDONLY);
	uint64_t sum = 0;

	while (n--)
		sum += (uint64_t)read(fd, buf, sizeof(buf));
	close(fd);
	return sum;
}

const struct kernel os_kernels[] = {
	{ "os", "system-call", system_call, 1000 },
	{ "os", "pipe-ping", pipe_ping, 100 },
	{ "os", "fork-wait", fork_wait, 5 },
	{ "os", "fork-exec", fork_exec, 2 },
	{ "os", "map-touch", map_touch, 5 },
	{ "os", "protect", protect, 100 },
	{ "os", "fault-handler", fault_handler, 100 },
	{ "os", "read-zero", read_zero, 100 },
	{ 0 },
};
