/*
 * jail_ns.c - namespaces and the empty root. Once, from a process with one thread. The order is
 * the one that works without CAP_SYS_ADMIN: user namespace first, with the caller mapped to
 * itself, then everything else with the capabilities that gives (user_namespaces(7)).
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/jail_parts.h"
#include "base/own.h"

static int write_file(const char *path, const char *text)
{
	autoclose int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

/* uid and gid mean inside what they mean outside; there are no others. */
static int map_self(uid_t uid, gid_t gid)
{
	char map[64];
	int r;

	snprintf(map, sizeof(map), "%u %u 1", uid, uid);
	r = write_file("/proc/self/uid_map", map);
	if (r == 0)
		r = write_file("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "%u %u 1", gid, gid);
	return r < 0 ? r : write_file("/proc/self/gid_map", map);
}

static bool user_namespace(struct jail_report *r)
{
	uid_t uid = getuid();
	gid_t gid = getgid();
	int rc;

	if (setgroups(0, NULL) < 0 && errno != EPERM) {
		jail_missing(r, JAIL_USER, "supplementary groups stay: %s", strerror(errno));
		return false;
	}
	/* A program that changed its uid is not dumpable, and then owns no file in /proc/self. */
	prctl(PR_SET_DUMPABLE, 1);
	if (unshare(CLONE_NEWUSER) < 0) {
		jail_missing(r, JAIL_USER, "the host allows no user namespaces: %s",
			     strerror(errno));
		return false;
	}
	rc = map_self(uid, gid);
	if (rc < 0) {
		jail_missing(r, JAIL_USER, "the user cannot be mapped: %s", strerror(-rc));
		return false;
	}
	jail_closed(r, JAIL_USER);
	return true;
}

static void simple(struct jail_report *r, enum jail_layer layer, int flags)
{
	if (unshare(flags) < 0)
		jail_missing(r, layer, "%s", strerror(errno));
	else
		jail_closed(r, layer);
}

/* pivot_root(2), section "NOTES": the new root on top of the old, then the old one goes. */
static int empty_root(void)
{
	static const char *const places[] = { "/tmp", "/proc", "/usr", "/" };
	const unsigned long quiet = MS_NOSUID | MS_NODEV | MS_NOEXEC;
	size_t i;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -errno;
	for (i = 0; i < 3; i++)
		if (!mount("none", places[i], "tmpfs", quiet, "size=4k,nr_inodes=1"))
			break;
	if (i == 3 || chdir(places[i]) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
	    umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return -errno;
	if (mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | quiet, NULL) < 0)
		return -errno;
	return 0;
}

/*
 * The first child is in the new namespace, not the caller. It becomes a child of the caller's
 * parent, who so goes on having one child; the caller tells it its outer number and leaves.
 */
static int pid_namespace(int *pid)
{
	int p[2], told = 0;
	long child;

	if (unshare(CLONE_NEWPID) < 0 || pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	child = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, NULL);
	if (child > 0) {
		told = (int)child;
		_exit(write(p[1], &told, sizeof(told)) == sizeof(told) ? 0 : 1);
	}
	close(p[1]);
	if (child == 0 && read(p[0], &told, sizeof(told)) != sizeof(told))
		_exit(1);
	close(p[0]);
	if (child < 0)
		return -errno;
	*pid = told;
	return 0;
}

void jail_namespaces(const struct jail_config *c, struct jail_report *r, int *pid)
{
	int rc;

	*pid = getpid();
	if (!jail_wants(c, JAIL_USER))
		return;
	if (!user_namespace(r)) {
		for (enum jail_layer l = JAIL_NET; l <= JAIL_ROOT; l++)
			if (jail_wants(c, l))
				jail_missing(r, l, "needs the user namespace");
		return;
	}
	if (jail_wants(c, JAIL_NET) && !c->network)
		simple(r, JAIL_NET, CLONE_NEWNET);
	if (jail_wants(c, JAIL_IPC))
		simple(r, JAIL_IPC, CLONE_NEWIPC | CLONE_NEWUTS);
	if (jail_wants(c, JAIL_ROOT)) {
		rc = unshare(CLONE_NEWNS) < 0 ? -errno : empty_root();
		if (rc < 0)
			jail_missing(r, JAIL_ROOT, "%s", strerror(-rc));
		else
			jail_closed(r, JAIL_ROOT);
	}
	if (jail_wants(c, JAIL_PID)) {
		rc = pid_namespace(pid);
		if (rc < 0)
			jail_missing(r, JAIL_PID, "%s", strerror(-rc));
		else
			jail_closed(r, JAIL_PID);
	}
}
