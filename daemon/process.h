/* process.h - the programs that the daemon starts, vmd-vm and vmd-net. Main thread. */
#ifndef DAEMON_PROCESS_H
#define DAEMON_PROCESS_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* Path of a helper program ("vmd-vm"): VMD_LIBEXEC, beside the daemon, the build tree, libexec. */
int find_program(const char *name, char *buf, size_t len, struct err *e);

/* Start time of a process in clock ticks since boot (proc(5), stat, field 22); 0: there is none. */
uint64_t process_start_time(pid_t pid);

/*
 * Fork and exec, as a user when the daemon is root. listen_fd becomes descriptor 3
 * ("--control-fd=3" is the caller's to put into argv), log standard output and error; both stay the
 * caller's. Returns when the exec is done: an error means that nothing runs.
 */
int process_spawn(const char *program, char *const argv[], uid_t uid, gid_t gid, int listen_fd,
		  int log, pid_t *pid, struct err *e);

#endif
