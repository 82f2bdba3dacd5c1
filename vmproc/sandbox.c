#include "vmproc/sandbox.h"

#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>

#include "base/bytes.h"

/*
 * What the C library and libevent call by themselves; the rest is told beside the code that does
 * it.
 *
 * seccomp setup: mmap - the code cache of the translator, with one view that is executable
 * seccomp: brk, mmap(2=0/4), mprotect(2=0/4), mremap, munmap, madvise - memory
 * seccomp: futex, sigaltstack, restart_syscall, sched_yield - threads
 * seccomp: rt_sigreturn, rt_sigaction, rt_sigprocmask - signals
 * seccomp: getpid, gettid, tgkill(0=self), exit, exit_group - abort and the end
 * seccomp: clock_gettime, clock_nanosleep, nanosleep - where the vDSO cannot tell
 * seccomp: gettimeofday - the same
 * seccomp: epoll_wait, epoll_pwait, epoll_ctl, read, write, close - event loops
 * seccomp: writev - messages of the C library before it aborts
 */
static const struct jail_call calls[] = {
#include "vmproc/jail_calls.inc"
};

/* The sanitizers of a test build need what a jail is there to refuse. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum {
	LEFT_OPEN = 1 << JAIL_SECCOMP | 1 << JAIL_HIDDEN | 1 << JAIL_ROOT | 1 << JAIL_NO_NEW_EXEC |
		    1 << JAIL_LANDLOCK | 1 << JAIL_PID
};
#else
enum { LEFT_OPEN = 0 };
#endif

struct jail_config sandbox_config(void)
{
	return (struct jail_config){
		.calls = calls,
		.n_calls = ARRAY_SIZE(calls),
		.skip = LEFT_OPEN,
	};
}
