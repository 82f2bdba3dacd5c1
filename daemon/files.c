/*
 * files.c - the files of a VM, opened by the daemon when the client did not send them: with the
 * rights of the VM's owner, never with those of the daemon.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/own.h"
#include "daemon/vm.h"

enum { GROUPS_MAX = 256 };

/* Groups of the user, for the time of one open. */
static void take_groups(uid_t uid, gid_t gid)
{
	struct passwd pw, *found;
	char room[4096];
	gid_t groups[GROUPS_MAX];
	int n = GROUPS_MAX;

	if (getpwuid_r(uid, &pw, room, sizeof(room), &found) != 0 || !found ||
	    getgrouplist(pw.pw_name, gid, groups, &n) < 0) {
		groups[0] = gid;
		n = 1;
	}
	setgroups((size_t)n, groups);
}

/* Ids and groups to go back to. */
struct own_ids {
	gid_t groups[GROUPS_MAX];
	int n;
	bool changed;
};

/*
 * credentials(7): the file system ids decide about files, and the kernel takes the capabilities
 * that override permissions away while the file system uid is not 0. The daemon has one thread.
 */
static int become(struct own_ids *own, uid_t uid, gid_t gid)
{
	own->changed = geteuid() == 0 && uid != 0;
	if (!own->changed)
		return 0;
	own->n = getgroups(GROUPS_MAX, own->groups);
	if (own->n < 0) {
		own->changed = false;
		return -1;
	}
	take_groups(uid, gid);
	setfsgid(gid);
	setfsuid(uid);
	/* setfsuid() does not report failure: ask what is in force. */
	if (setfsuid((uid_t)-1) == (int)uid)
		return 0;
	errno = EPERM;
	return -1;
}

static void go_back(const struct own_ids *own)
{
	int saved = errno;

	if (own->changed) {
		setfsuid(0);
		setfsgid(getegid());
		setgroups((size_t)own->n, own->groups);
	}
	errno = saved;
}

int open_as(uid_t uid, gid_t gid, int dir, const char *path, int flags, mode_t mode)
{
	struct own_ids own;
	int fd = become(&own, uid, gid);

	if (fd == 0)
		fd = openat(dir, path, flags, mode);
	go_back(&own);
	return fd;
}

int unlink_as(uid_t uid, gid_t gid, const char *path)
{
	struct own_ids own;
	int r = become(&own, uid, gid);

	if (r == 0)
		r = unlink(path);
	go_back(&own);
	return r;
}

/* Which part of the path refuses, and the bit that is missing. */
static void find_component(struct vm *vm, const char *path, int flags, json_object *data)
{
	char part[PATH_MAX];
	const char *slash = path;

	while ((slash = strchr(slash + 1, '/'))) {
		autoclose int fd = -1;

		/* A directory can be passed through when what is in it can be looked up. */
		snprintf(part, sizeof(part), "%.*s/.", (int)(slash - path), path);
		fd = open_as(vm->owner, vm->group, AT_FDCWD, part, O_PATH | O_CLOEXEC, 0);
		if (fd >= 0 || errno != EACCES)
			continue;
		part[slash - path] = 0;
		json_object_object_add(data, "component", json_object_new_string(part));
		json_object_object_add(data, "missing", json_object_new_string("x"));
		return;
	}
	json_object_object_add(data, "component", json_object_new_string(path));
	json_object_object_add(
	    data, "missing", json_object_new_string((flags & O_ACCMODE) == O_RDONLY ? "r" : "rw"));
}

static int cannot_open(struct vm *vm, enum worker_fd_role role, const char *what, const char *path,
		       int flags, json_object *data, struct err *e)
{
	bool disk = role == WORKER_FD_DISK;
	int code = errno, r = err_sys(e, "cannot open %s (%s)", path, what);

	if (data)
		json_object_object_add(data, "path", json_object_new_string(path));
	if (code == EISDIR)
		return err_kind(e, "file.kind");
	if (code == ENOENT || code == ENOTDIR)
		return err_kind(e, disk                         ? "disk.not-found"
				   : role == WORKER_FD_KERNEL   ? "kernel.not-found"
				   : role == WORKER_FD_FIRMWARE ? "start.no-firmware"
								: "file.not-found");
	if (code != EACCES && code != EPERM && code != EROFS)
		return r;
	if (data)
		find_component(vm, path, flags, data);
	return err_kind(e, disk ? "disk.permission" : "file.permission");
}

static int flags_for(const struct vm *vm, enum worker_fd_role role, size_t index)
{
	const struct vm_def *d = vm->def;

	if (role == WORKER_FD_SHARE)
		return O_RDONLY | O_DIRECTORY | O_CLOEXEC;
	if (role == WORKER_FD_DISK && index < d->disks.n && !d->disks.v[index].readonly &&
	    !d->disks.v[index].snapshot)
		return O_RDWR | O_CLOEXEC;
	return O_RDONLY | O_CLOEXEC;
}

/* What a client sent, or what lies at a path, must be what it is used for. */
static int check_kind(int fd, enum worker_fd_role role, const char *what, const char *path,
		      int flags, struct stat *st, struct err *e)
{
	int have = fcntl(fd, F_GETFL);

	if (have < 0 || fstat(fd, st) < 0)
		return err_sys(e, "cannot look at %s (%s)", path, what);
	if (have & O_PATH)
		return rpc_error(e, "file.kind", "%s: a descriptor opened with O_PATH is of no use",
				 what);
	if ((flags & O_ACCMODE) == O_RDWR && (have & O_ACCMODE) != O_RDWR)
		return rpc_error(e, "disk.permission",
				 "%s is not open for writing (%s); give it readonly or snapshot",
				 path, what);
	/* Only for open(2): with it, io_uring would give up instead of waiting for the disk. */
	if (have & O_NONBLOCK)
		fcntl(fd, F_SETFL, have & ~O_NONBLOCK);
	if ((have & O_ACCMODE) == O_WRONLY)
		return rpc_error(e, "file.permission", "%s is not open for reading (%s)", path,
				 what);
	if (role == WORKER_FD_SHARE)
		return S_ISDIR(st->st_mode)
			   ? 0
			   : rpc_error(e, "file.kind", "%s is not a directory", path);
	if (S_ISREG(st->st_mode) || S_ISBLK(st->st_mode))
		return 0;
	return rpc_error(e, "file.kind", "%s is neither a regular file nor a block device (%s)",
			 path, what);
}

/* Two writers, or a writer and a reader, destroy an image: name the other VM. */
static int check_in_use(struct vm *vm, const struct vm_file *f, const char *path, json_object *data,
			struct err *e)
{
	struct vm *other;

	list_for_each(other, &vm->d->vms, struct vm, node) {
		for (size_t i = 0; other != vm && i < other->n_files; i++) {
			const struct vm_file *o = &other->files[i];

			if (o->dev != f->dev || o->ino != f->ino || (!o->writes && !f->writes))
				continue;
			if (data) {
				json_object_object_add(data, "path", json_object_new_string(path));
				json_object_object_add(data, "holder",
						       json_object_new_string(other->def->name));
			}
			rpc_error(e, "disk.locked", "%s (%s) is in use by the VM '%s' (process %d)",
				  path, f->what, other->def->name,
				  other->worker ? (int)worker_pid(other->worker) : 0);
			return err_hint(
			    e,
			    "two VMs that write one image destroy it; stop '%s', or give "
			    "both the disk with readonly",
			    other->def->name);
		}
	}
	return 0;
}

struct opening {
	struct vm *vm;
	struct worker_fd *fds;
	size_t max, n;
	struct arena *mem;
	json_object *data;
};

static int note_disk(struct opening *o, const struct stat *st, const char *what, const char *path,
		     int flags, struct err *e)
{
	struct vm_file f = { .writes = (flags & O_ACCMODE) == O_RDWR };
	int r;

	f.dev = S_ISBLK(st->st_mode) ? 0 : st->st_dev;
	f.ino = S_ISBLK(st->st_mode) ? st->st_rdev : st->st_ino;
	snprintf(f.what, sizeof(f.what), "%s", what);
	r = check_in_use(o->vm, &f, path, o->data, e);
	if (r == 0 && o->vm->n_files < ARRAY_SIZE(o->vm->files))
		o->vm->files[o->vm->n_files++] = f;
	return r;
}

static int open_one(void *arg, enum worker_fd_role role, size_t index, const char *what,
		    const struct rpc_file *file, struct err *e)
{
	struct opening *o = arg;
	int flags = flags_for(o->vm, role, index), r;
	autoclose int fd = -1;
	const char *path = file->path ? file->path : what;
	struct stat st;

	if (o->n == o->max)
		return rpc_error(e, "limit.reached", "a VM has at most %zu files", o->max);
	if (file->fd >= 0)
		fd = fcntl(file->fd, F_DUPFD_CLOEXEC, 3);
	else if (!file->path)
		return rpc_error(e, role == WORKER_FD_DISK ? "disk.not-found" : "file.not-found",
				 "%s came as a descriptor, and has no path to open it again", what);
	else if (file->path[0] != '/')
		return rpc_error(e, "vm.definition", "%s: the path '%s' must begin with /", what,
				 path);
	else
		fd = open_as(o->vm->owner, o->vm->group, AT_FDCWD, path,
			     flags | O_NOCTTY | O_NONBLOCK, 0);
	if (fd < 0)
		return cannot_open(o->vm, role, what, path, flags, o->data, e);
	r = check_kind(fd, role, what, path, flags, &st, e);
	if (r == 0 && role == WORKER_FD_DISK)
		r = note_disk(o, &st, what, path, flags, e);
	if (r < 0)
		return r;
	o->fds[o->n++] = (struct worker_fd){
		.role = role, .index = index, .has_index = true, .fd = take_fd(&fd), .path = path
	};
	return 0;
}

int vm_open_files(struct vm *vm, struct worker_fd *fds, size_t max, size_t *n, struct arena *mem,
		  json_object *data, struct err *e)
{
	struct opening o = { .vm = vm, .fds = fds, .max = max, .mem = mem, .data = data };
	int r;

	vm->n_files = 0;
	r = vm_def_files(vm->def, open_one, &o, e);
	*n = o.n;
	return r;
}
