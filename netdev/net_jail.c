/* net_jail.c - see net_jail.h. A network has no guest memory, no disks, and no files but one. */
#include "netdev/net_jail.h"

#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "base/bytes.h"
#include "base/jail.h"
#include "base/own.h"

/*
 * What the C library and libevent call by themselves.
 *
 * seccomp: brk, mmap(2=0/4), mprotect(2=0/4), mremap, munmap, madvise, futex - memory
 * seccomp: rt_sigreturn, rt_sigaction, rt_sigprocmask, restart_syscall - signals
 * seccomp: getpid, gettid, tgkill(0=self), exit, exit_group - abort and the end
 * seccomp: clock_gettime, clock_nanosleep, gettimeofday - where the vDSO cannot tell
 * seccomp setup: eventfd2, epoll_create1, timerfd_create, fcntl, pipe2 - loops
 * seccomp setup: getrandom, openat, newfstatat, socket, getsockname - networks
 * seccomp: timerfd_settime, accept4, recvmsg, sendmsg, getsockopt, fcntl - control socket
 * seccomp: shutdown, recvfrom - its end
 * seccomp: setsockopt, getrandom, getuid, geteuid, getgid, getegid - libraries
 * seccomp: epoll_wait, epoll_pwait, epoll_ctl - event loops
 * seccomp: read, write, writev, close - the same
 */
static const struct jail_call calls[] = {
#include "netdev/jail_calls.inc"
};

static struct jail_config config_of(bool hosts_network)
{
	struct jail_config c = {
		.calls = calls,
		.n_calls = ARRAY_SIZE(calls),
		.network = hosts_network,
	};

	/* libslirp opens /etc/resolv.conf by name: Landlock leaves that directory, and nothing
	 * else. */
	if (hosts_network)
		c.skip |= 1u << JAIL_ROOT;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	c.skip |= 1u << JAIL_SECCOMP | 1u << JAIL_NO_NEW_EXEC | 1u << JAIL_HIDDEN;
#endif
	return c;
}

int net_jail_enter(struct net_jail *j, bool hosts_network, int fd, struct err *e)
{
	char real[PATH_MAX];
	autoclose int dir = -1;
	int r, dirs[1], keep[2];

	if (hosts_network && realpath("/etc/resolv.conf", real))
		dir = open(dirname(real), O_PATH | O_DIRECTORY | O_CLOEXEC);
	keep[0] = fd;
	keep[1] = dirs[0] = dir;
	j->config = config_of(hosts_network);
	r = jail_enter(&j->config, keep, dir < 0 ? 1 : 2, &j->report, &j->pid, e);
	if (r < 0)
		return r;
	return jail_close_files(&j->config, dirs, dir >= 0, &j->report, e);
}

int net_jail_seal(struct net_jail *j, struct err *e)
{
	return jail_seal(&j->config, j->config.network ? 1u << JAIL_NETWORK : 0, &j->report, e);
}
