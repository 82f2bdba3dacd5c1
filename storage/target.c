/* A new image that nobody sees before it is complete: see target.h. */
#include "storage/target.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/format.h"

struct disk_target {
	char *path;   /* final name */
	char *dir;    /* where it is made; NULL: in place */
	char *parent; /* the directory of both */
	const char *name;
	struct disk *disk;
	int held; /* the directory, locked; -1: none */
	int old;  /* holds the lock of the image that is replaced; -1: there is none */
	mode_t mode;
	const struct disk_gate *gate;
};

struct disk *disk_target_disk(struct disk_target *t)
{
	return t->disk;
}

static int file_failed(struct err *e, const char *what, const char *path)
{
	int r = err_sys(e, "cannot %s %s", what, path);

	if (r == -EACCES || r == -EPERM || r == -EROFS)
		err_kind(e, "disk.permission");
	else if (r == -ENOENT)
		err_kind(e, "disk.not-found");
	else if (r == -ENOSPC || r == -EDQUOT)
		err_kind(e, "disk.full");
	return r;
}

/* Split extents and data files lie beside the image while it is made; a backing image does not. */
static int open_beside(void *arg, const struct disk_ref *ref, struct disk_grant *g, struct err *e)
{
	struct disk_target *t = arg;
	struct disk_dirs dirs = { .own_dir = true, .trust_probed = true };
	struct disk_gate own = disk_gate_dirs(&dirs);

	if (ref->kind == DISK_REF_DATA || ref->kind == DISK_REF_EXTENT)
		return own.open(own.arg, ref, g, e);
	if (t->gate)
		return t->gate->open(t->gate->arg, ref, g, e);
	err_set(e, -EPERM, "%s may not be opened for the new image", ref->name);
	return err_kind(e, "disk.denied");
}

static int split_path(struct disk_target *t, const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/');

	t->path = strdup(path);
	if (!slash)
		t->parent = strdup(".");
	else
		t->parent = strndup(path, slash == path ? 1 : (size_t)(slash - path));
	if (!t->path || !t->parent)
		return err_nomem(e);
	t->name = slash ? t->path + (slash - path) + 1 : t->path;
	if (!*t->name)
		return err_set(e, -EINVAL, "%s is a directory", path);
	return 0;
}

/* What has this name now? An image in use must not be replaced under its user. */
static int look_at_old(struct disk_target *t, bool *device, struct err *e)
{
	struct stat st;

	*device = false;
	if (stat(t->path, &st) < 0)
		return errno == ENOENT ? 0 : file_failed(e, "look at", t->path);
	*device = S_ISBLK(st.st_mode);
	if (*device)
		return 0;
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EINVAL, "%s is neither a regular file nor a block device",
			       t->path);
	t->mode = st.st_mode & 0777;
	t->old = open(t->path, O_RDWR | O_CLOEXEC | O_NOCTTY);
	return t->old < 0 ? file_failed(e, "replace", t->path)
			  : image_lock(t->old, t->path, true, e);
}

static void remove_all(int dir)
{
	int copy = fcntl(dir, F_DUPFD_CLOEXEC, 3);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;

	while (d && (entry = readdir(d)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			unlinkat(dir, entry->d_name, 0);
	if (d)
		closedir(d);
	else if (copy >= 0)
		close(copy);
}

/* Is this one of our directories for the same image, and nobody works in it any more? */
static void remove_stale(struct disk_target *t, int parent, const char *name)
{
	size_t n = MIN(strlen(t->name), 200);
	autoclose int fd = -1;

	if (name[0] != '.' || strncmp(name + 1, t->name, n) || name[n + 1] != '.' ||
	    strlen(name) != n + 8)
		return;
	fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return;
	remove_all(fd);
	unlinkat(parent, name, AT_REMOVEDIR);
}

/* What was left by a process that was killed in the middle of its work. */
static void clear_away(struct disk_target *t)
{
	DIR *d = opendir(t->parent);
	struct dirent *entry;

	while (d && (entry = readdir(d)))
		remove_stale(t, dirfd(d), entry->d_name);
	if (d)
		closedir(d);
}

/* Marks the new directory as in use; false: somebody has just taken it for a stale one. */
static bool hold_dir(struct disk_target *t, const char *dir)
{
	struct stat st;

	t->held = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t->held >= 0 && flock(t->held, LOCK_EX | LOCK_NB) == 0 && stat(dir, &st) == 0)
		return true;
	if (t->held >= 0)
		close(t->held);
	t->held = -1;
	return false;
}

static int make_dir(struct disk_target *t, struct err *e)
{
	char dir[PATH_MAX];

	if (snprintf(dir, sizeof(dir), "%s/.%.200s.XXXXXX", t->parent, t->name) >= (int)sizeof(dir))
		return err_set(e, -ENAMETOOLONG, "%.100s...: the name is too long", t->path);
	clear_away(t);
	if (!mkdtemp(dir))
		return file_failed(e, "create", t->path);
	if (!hold_dir(t, dir))
		return err_set(e, -EAGAIN, "%s is being made by somebody else", t->path);
	t->dir = strdup(dir);
	if (!t->dir) {
		rmdir(dir);
		return err_nomem(e);
	}
	return 0;
}

static int make_aside(struct disk_target *t, const struct disk_create *c, struct err *e)
{
	struct disk_gate beside = { open_beside, t };
	struct disk_options o = { .format = c->format,
				  .flags = DISK_UNSAFE | DISK_NO_LOCK,
				  .gate = &beside };
	char inside[PATH_MAX];
	int r = make_dir(t, e);

	if (r < 0)
		return r;
	if (!t->gate)
		o.flags |= DISK_NO_BACKING;
	if (snprintf(inside, sizeof(inside), "%s/%s", t->dir, t->name) >= (int)sizeof(inside))
		return err_set(e, -ENAMETOOLONG, "%.100s...: the name is too long", t->path);
	r = disk_create(inside, c, false, e);
	return r < 0 ? r : disk_open(inside, &o, &t->disk, e);
}

static int use_device(struct disk_target *t, const struct disk_create *c, struct err *e)
{
	struct disk_options o = { .format = "raw" };
	int r;

	if (strcmp(c->format, "raw"))
		return err_lacking(e, "%s is a block device: only raw images go there", t->path);
	r = disk_open(t->path, &o, &t->disk, e);
	if (r == 0 && disk_size(t->disk) < c->size)
		r = err_set(e, -ENOSPC, "%s has %llu bytes, and %llu are needed", t->path,
			    (unsigned long long)disk_size(t->disk), (unsigned long long)c->size);
	return r;
}

/* The mode that a new file would get. Before any thread is started. */
static mode_t usual_mode(void)
{
	mode_t mask = umask(077);

	umask(mask);
	return 0666 & ~mask;
}

int disk_target_new(const char *path, const struct disk_create *c, const struct disk_gate *gate,
		    struct disk_target **ret, struct err *e)
{
	autoptr(disk_target) t = calloc(1, sizeof(*t));
	bool device;
	int r;

	if (!t)
		return err_nomem(e);
	t->old = t->held = -1;
	t->gate = gate;
	t->mode = usual_mode();
	r = split_path(t, path, e);
	if (r == 0)
		r = look_at_old(t, &device, e);
	if (r == 0)
		r = device ? use_device(t, c, e) : make_aside(t, c, e);
	if (r < 0)
		return r;
	*ret = take(t);
	return 0;
}

/* Each file in the directory; stops at the first failure. */
static int for_each_file(struct disk_target *t,
			 int (*fn)(struct disk_target *t, int dir, const char *name, struct err *e),
			 struct err *e)
{
	DIR *d = opendir(t->dir);
	struct dirent *entry;
	int r = 0;

	if (!d)
		return file_failed(e, "look into", t->dir);
	while (r == 0 && (entry = readdir(d)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			r = fn(t, dirfd(d), entry->d_name, e);
	closedir(d);
	return r;
}

static int sync_one(struct disk_target *t, int dir, const char *name, struct err *e)
{
	autoclose int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fchmod(fd, t->mode) < 0 || fsync(fd) < 0)
		return file_failed(e, "sync", t->path);
	return 0;
}

static int move_one(struct disk_target *t, int dir, const char *name, struct err *e)
{
	char to[PATH_MAX];

	if (snprintf(to, sizeof(to), "%s/%s", t->parent, name) >= (int)sizeof(to))
		return err_set(e, -ENAMETOOLONG, "%.100s...: the name is too long", name);
	return renameat(dir, name, AT_FDCWD, to) < 0 ? file_failed(e, "create", to) : 0;
}

/* The image itself goes last: whoever sees it finds all that it names. */
static int move_beside(struct disk_target *t, int dir, const char *name, struct err *e)
{
	return strcmp(name, t->name) ? move_one(t, dir, name, e) : 0;
}

static int remove_one(struct disk_target *t, int dir, const char *name, struct err *e)
{
	(void)t;
	(void)e;
	unlinkat(dir, name, 0);
	return 0;
}

static int sync_parent(struct disk_target *t, struct err *e)
{
	autoclose int fd = open(t->parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return file_failed(e, "sync", t->parent);
	return 0;
}

static int publish(struct disk_target *t, struct err *e)
{
	int r = disk_finish(take(t->disk), e);

	if (r < 0 || !t->dir)
		return r;
	r = for_each_file(t, sync_one, e);
	if (r == 0)
		r = for_each_file(t, move_beside, e);
	if (r == 0)
		r = for_each_file(t, move_one, e);
	return r < 0 ? r : sync_parent(t, e);
}

int disk_target_publish(struct disk_target *t, struct err *e)
{
	int r = publish(t, e);

	disk_target_free(t);
	return r;
}

void disk_target_free(struct disk_target *t)
{
	struct err e;

	if (t->disk)
		disk_close(t->disk);
	if (t->dir) {
		for_each_file(t, remove_one, &e);
		rmdir(t->dir);
	}
	if (t->held >= 0)
		close(t->held);
	if (t->old >= 0)
		close(t->old);
	free(t->dir);
	free(t->path);
	free(t->parent);
	free(t);
}
