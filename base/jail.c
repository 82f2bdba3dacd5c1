#include "base/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/jail_parts.h"

/* Since Linux 6.3 (include/uapi/linux/prctl.h); the headers of the build may be older. */
enum { SET_MDWE = 65, MDWE_REFUSE_EXEC_GAIN = 1 };

static const char *const layer_names[] = {
	[JAIL_USER] = "user namespace",
	[JAIL_NET] = "network namespace",
	[JAIL_IPC] = "IPC and UTS namespaces",
	[JAIL_PID] = "PID namespace",
	[JAIL_ROOT] = "empty root",
	[JAIL_CAPS] = "no privileges",
	[JAIL_HIDDEN] = "not dumpable",
	[JAIL_LIMITS] = "resource limits",
	[JAIL_LANDLOCK] = "Landlock",
	[JAIL_NO_NEW_EXEC] = "no new executable memory",
	[JAIL_SECCOMP] = "system call filter",
};
_Static_assert(ARRAY_SIZE(layer_names) == JAIL_LAYERS, "a layer has no name");

const char *jail_layer_name(enum jail_layer layer)
{
	return layer < JAIL_LAYERS ? layer_names[layer] : "?";
}

void jail_missing(struct jail_report *r, enum jail_layer layer, const char *fmt, ...)
{
	va_list ap;

	r->closed &= ~(1u << layer);
	va_start(ap, fmt);
	vsnprintf(r->missing[layer], sizeof(r->missing[layer]), fmt, ap);
	va_end(ap);
}

void jail_closed(struct jail_report *r, enum jail_layer layer)
{
	r->closed |= 1u << layer;
	r->missing[layer][0] = 0;
}

bool jail_wants(const struct jail_config *c, enum jail_layer layer)
{
	return !(c->skip & 1u << layer);
}

static void done(struct jail_report *r, enum jail_layer layer, bool ok)
{
	if (ok)
		jail_closed(r, layer);
	else
		jail_missing(r, layer, "%s", strerror(errno));
}

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* Everything above standard error but these. */
static int close_others(const int *fds, size_t n, struct err *e)
{
	int sorted[64];
	unsigned from = 3;

	if (n > ARRAY_SIZE(sorted))
		return err_set(e, -EINVAL, "too many descriptors to keep");
	if (n)
		memcpy(sorted, fds, n * sizeof(*fds));
	qsort(sorted, n, sizeof(sorted[0]), by_number);
	for (size_t i = 0; i < n; i++) {
		unsigned keep = (unsigned)sorted[i];

		if (keep > from)
			syscall(SYS_close_range, from, keep - 1, 0);
		from = MAX(from, keep + 1);
	}
	syscall(SYS_close_range, from, ~0U, 0);
	return 0;
}

/*
 * capabilities(7): none now, none to be inherited, none by being root, and the bits that say so
 * locked. Without privilege the bounding set cannot be emptied; no_new_privs makes up for that.
 */
static bool no_capabilities(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { 0 };

	for (int cap = 0; cap < 64; cap++)
		prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	prctl(PR_SET_SECUREBITS,
	      SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
		  SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
		  SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED,
	      0, 0, 0);
	return !syscall(SYS_capset, &head, none) && !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static bool limit(int which, rlim_t most)
{
	struct rlimit now, l = { most, most };

	if (getrlimit(which, &now) == 0 && now.rlim_max < most)
		l.rlim_cur = l.rlim_max = now.rlim_max;
	return setrlimit(which, &l) == 0;
}

/* Processes are counted by user: a limit is only sensible where the user is ours alone. */
static bool limits(const struct jail_config *c, const struct jail_report *r)
{
	bool ok = limit(RLIMIT_CORE, 0) && limit(RLIMIT_NOFILE, c->max_fds ? c->max_fds : 1024);

	ok = ok && limit(RLIMIT_MSGQUEUE, 0) && limit(RLIMIT_RTPRIO, 0);
	if (r->closed & 1u << JAIL_USER)
		ok = ok && limit(RLIMIT_NPROC, 512);
	return ok;
}

int jail_enter(const struct jail_config *c, const int *fds, size_t n, struct jail_report *report,
	       int *pid, struct err *e)
{
	int r = close_others(fds, n, e);

	*report = (struct jail_report){ 0 };
	if (r < 0)
		return r;
	jail_namespaces(c, report, pid);
	if (jail_wants(c, JAIL_CAPS))
		done(report, JAIL_CAPS, no_capabilities());
	if (jail_wants(c, JAIL_HIDDEN))
		done(report, JAIL_HIDDEN, !prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
	if (jail_wants(c, JAIL_LIMITS))
		done(report, JAIL_LIMITS, limits(c, report));
	if (jail_wants(c, JAIL_NO_NEW_EXEC))
		done(report, JAIL_NO_NEW_EXEC, !prctl(SET_MDWE, MDWE_REFUSE_EXEC_GAIN, 0, 0, 0));
	if (jail_wants(c, JAIL_SECCOMP))
		jail_seccomp(c, false, 0, report);
	return 0;
}

int jail_close_files(const struct jail_config *c, const int *dirs, size_t n,
		     struct jail_report *report, struct err *e)
{
	unsigned asked = ~c->skip & (1u << JAIL_ROOT | 1u << JAIL_LANDLOCK);

	if (jail_wants(c, JAIL_LANDLOCK))
		jail_landlock(c, dirs, n, report);
	if (asked && !(report->closed & asked))
		return err_set(e, -EPERM,
			       "this host lets the process be kept from files neither by a user "
			       "namespace (%s) nor by Landlock (%s)",
			       report->missing[JAIL_ROOT], report->missing[JAIL_LANDLOCK]);
	return 0;
}

int jail_seal(const struct jail_config *c, unsigned groups, struct jail_report *report,
	      struct err *e)
{
	if (!jail_wants(c, JAIL_SECCOMP) || !(report->closed & 1u << JAIL_SECCOMP))
		return 0;
	jail_seccomp(c, true, groups, report);
	if (!(report->closed & 1u << JAIL_SECCOMP))
		return err_set(e, -EPERM, "the filter of system calls cannot be closed: %s",
			       report->missing[JAIL_SECCOMP]);
	return 0;
}
