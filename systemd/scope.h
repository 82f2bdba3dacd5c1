/*
 * scope.h - a systemd scope for a process that we have forked: its own cgroup, which stops in its
 * own time when the host shuts down, also when the daemon is dead. Best effort.
 */
#ifndef SYSTEMD_SCOPE_H
#define SYSTEMD_SCOPE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* Does systemd manage this machine (system) or this user's session (!system)? */
bool scope_available(bool system);

/*
 * Put a process into the transient unit "vmd-vm-NAME.scope". A unit of that name that exists
 * already is left as it is: the process is in it since an earlier daemon's life. May wait for the
 * bus, so it is called from a child process. stop_ns: how long it may take to end.
 */
int scope_create(bool system, const char *name, pid_t pid, int64_t stop_ns, struct err *e);

#endif
