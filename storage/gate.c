/*
 * The gate for a person's own files: decides by place, kind and owner which files an image may
 * bring in. Called by open.c on the opener's thread, in a process that may open files.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "storage/format.h"

static const char *const kind_names[] = {
	[DISK_REF_BACKING] = "backing image",
	[DISK_REF_DATA] = "data file",
	[DISK_REF_EXTENT] = "extent",
	[DISK_REF_PARENT] = "parent image",
};
_Static_assert(ARRAY_SIZE(kind_names) == DISK_REF_KINDS, "a kind of reference has no name");

/* The directory of the naming image, and the named file with all links followed. */
static int resolve_names(const struct disk_ref *ref, char dir[PATH_MAX], char target[PATH_MAX],
			 struct err *e)
{
	char buf[PATH_MAX], joined[PATH_MAX + NAME_MAX + 2];

	if (strlen(ref->from) >= sizeof(buf) || strlen(ref->name) >= PATH_MAX)
		return err_set(e, -ENAMETOOLONG, "%.100s: the name is too long", ref->name);
	strcpy(buf, ref->from);
	if (!realpath(dirname(buf), dir))
		return err_sys(e, "cannot find the directory of %s", ref->from);
	if (ref->name[0] == '/')
		snprintf(joined, sizeof(joined), "%s", ref->name);
	else if (snprintf(joined, sizeof(joined), "%s/%s", dir, ref->name) >= PATH_MAX)
		return err_set(e, -ENAMETOOLONG, "%.100s: the name is too long", ref->name);
	if (!realpath(joined, target)) {
		int r = err_sys(e, "%s of %s, %.200s, cannot be opened", kind_names[ref->kind],
				ref->from, ref->name);

		err_kind(e, r == -EACCES ? "disk.permission" : "disk.not-found");
		return r;
	}
	return 0;
}

static const char *below(const char *dir, const char *target)
{
	size_t n = strlen(dir);

	if (n && dir[n - 1] == '/')
		n--;
	return !strncmp(dir, target, n) && target[n] == '/' ? target + n + 1 : NULL;
}

static int open_below(const char *dir, const char *rest, bool write)
{
	struct open_how how = {
		.flags =
		    (uint64_t)((write ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS,
	};
	autoclose int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	return (int)syscall(SYS_openat2, fd, rest, &how, sizeof(how));
}

static int denied(const struct disk_ref *ref, const char *why, struct err *e)
{
	err_set(e, -EPERM, "%s names %.200s as its %s, %s", ref->from, ref->name,
		kind_names[ref->kind], why);
	err_hint(e, "if you trust this image, put that file beneath the directory of the image");
	err_kind(e, "disk.denied");
	return -EPERM;
}

/* The file is open; may it be used? */
static int inspect(const struct disk_ref *ref, int fd, bool same_owner, struct err *e)
{
	struct stat st, from;

	if (fstat(fd, &st) < 0)
		return err_sys(e, "cannot look at %s", ref->name);
	if (!S_ISREG(st.st_mode))
		return denied(ref, "which is not a regular file", e);
	if (same_owner && (stat(ref->from, &from) < 0 || from.st_uid != st.st_uid))
		return denied(ref, "which belongs to another user", e);
	return 0;
}

static int gate_dirs_open(void *arg, const struct disk_ref *ref, struct disk_grant *g,
			  struct err *e)
{
	struct disk_dirs *d = arg;
	char dir[PATH_MAX], target[PATH_MAX], allowed[PATH_MAX];
	autoclose int fd = -1;
	const char *rest = NULL;
	bool own = false;
	int r;

	if (ref->probed && !d->trust_probed) {
		denied(ref, "but its own format was only guessed", e);
		err_hint(e, "say which format it has (format=NAME)");
		return -EPERM;
	}
	r = resolve_names(ref, dir, target, e);
	if (r < 0)
		return r;
	if (d->own_dir && (rest = below(dir, target))) {
		own = true;
		snprintf(allowed, sizeof(allowed), "%s", dir);
	}
	for (int i = 0; !rest && d->allow && d->allow[i]; i++)
		if (realpath(d->allow[i], allowed))
			rest = below(allowed, target);
	if (!rest)
		return denied(ref, "which is outside of what was allowed", e);
	fd = open_below(allowed, rest, ref->write);
	if (fd < 0) {
		r = err_sys(e, "cannot open %s", target);
		err_kind(e, r == -EACCES ? "disk.permission" : "disk.not-found");
		return r;
	}
	r = inspect(ref, fd, own, e);
	if (r < 0)
		return r;
	g->path = strdup(target);
	if (!g->path)
		return err_nomem(e);
	g->format = NULL;
	g->fd = take_fd(&fd);
	if (d->opened)
		d->opened(d->arg, ref, target);
	return 0;
}

struct disk_gate disk_gate_dirs(struct disk_dirs *d)
{
	return (struct disk_gate){ gate_dirs_open, d };
}
