/*
 * p9_path.c - fids, and the only places that turn a path of the guest into a file. See p9.h.
 * openat2(2): RESOLVE_BENEATH refuses what leads out of the directory, in the kernel and at the
 * moment of use, whatever is renamed meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bytes.h"
#include "virtio/p9_parts.h"

enum { QID_DIR = 0x80, QID_LINK = 0x02 };

/* ---- fids ---- */

struct p9_fid *p9_fid_find(struct p9_share *s, uint32_t id)
{
	/* Guests count fids from 0, so that this one is mostly it. */
	struct p9_fid *f = &s->fids[id % P9_FIDS];

	if (f->path && f->id == id)
		return f;
	for (unsigned i = 0; i < P9_FIDS; i++)
		if (s->fids[i].path && s->fids[i].id == id)
			return &s->fids[i];
	return NULL;
}

struct p9_fid *p9_fid_new(struct p9_share *s, uint32_t id, const char *path)
{
	if (p9_fid_find(s, id)) {
		errno = EINVAL;
		return NULL;
	}
	for (unsigned i = 0; i < P9_FIDS; i++) {
		struct p9_fid *f = &s->fids[(id + i) % P9_FIDS];

		if (f->path)
			continue;
		f->path = strdup(path);
		f->id = id;
		f->fd = -1;
		f->writable = false;
		return f->path ? f : NULL;
	}
	errno = ENFILE;
	return NULL;
}

void p9_fid_drop(struct p9_share *s, struct p9_fid *f)
{
	if (f->fd >= 0) {
		close(f->fd);
		s->n_open--;
	}
	f->fd = -1;
	free(take(f->path));
}

int p9_fid_open(struct p9_share *s, struct p9_fid *f, int fd, bool writable)
{
	if (s->n_open == P9_OPEN) {
		close(fd);
		return -ENFILE;
	}
	s->n_open++;
	f->fd = fd;
	f->writable = writable;
	return 0;
}

int p9_fids_moved(struct p9_share *s, const char *from, const char *to)
{
	size_t n = strlen(from);

	for (unsigned i = 0; i < P9_FIDS; i++) {
		struct p9_fid *f = &s->fids[i];
		char *path;

		if (!f->path || strncmp(f->path, from, n) || (f->path[n] && f->path[n] != '/'))
			continue;
		if (asprintf(&path, "%s%s", to, f->path + n) < 0)
			return -ENOMEM;
		free(f->path);
		f->path = path;
	}
	return 0;
}

/* ---- files by path ---- */

int p9_join(char *buf, const char *path, const char *name)
{
	int n = snprintf(buf, PATH_MAX, "%s%s%s", path, *path ? "/" : "", name);

	return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

int p9_copy(char *buf, const char *path)
{
	return snprintf(buf, PATH_MAX, "%s", path) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* seccomp share: openat2, close - files of a shared directory, by path beneath its descriptor */
static int open_beneath(int dir, const char *path, uint64_t flags, uint64_t mode)
{
	struct open_how how = {
		.flags = flags | O_CLOEXEC | O_NOFOLLOW,
		.mode = mode,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS,
	};
	long fd =
	    dir < 0 ? (errno = ENODEV, -1) : syscall(SYS_openat2, dir, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

int p9_open_at(const struct p9_share *s, const char *path, uint64_t flags, uint64_t mode)
{
	return open_beneath(s->dir_fd, *path ? path : ".", flags, mode);
}

int p9_parent(const struct p9_share *s, const char *path, const char **name)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_MAX];

	if (strlen(path) >= PATH_MAX)
		return -ENAMETOOLONG;
	*name = slash ? slash + 1 : *path ? path : ".";
	if (!slash)
		return p9_open_at(s, "", O_PATH | O_DIRECTORY, 0);
	snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path), path);
	return p9_open_at(s, dir, O_PATH | O_DIRECTORY, 0);
}

/* seccomp share: newfstatat, fstat - what a file is */
int p9_stat(const struct p9_share *s, const char *path, struct stat *st)
{
	const char *name;
	autoclose int dir = p9_parent(s, path, &name);

	if (dir < 0)
		return dir;
	return fstatat(dir, name, st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

int p9_fid_stat(const struct p9_share *s, const struct p9_fid *f, struct stat *st)
{
	if (f->fd >= 0)
		return fstat(f->fd, st) < 0 ? -errno : 0;
	return p9_stat(s, f->path, st);
}

/*
 * Opening a device does things, and opening a pipe waits: neither happens. The second look is for
 * a host that puts another file there in between; O_NONBLOCK then keeps the open from waiting.
 */
int p9_open_file(const struct p9_share *s, const char *path, int flags)
{
	struct stat st;
	const char *name;
	autoclose int dir = p9_parent(s, path, &name);
	autoclose int fd = -1;

	if (dir < 0)
		return dir;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (S_ISLNK(st.st_mode))
		return -ELOOP;
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return -EOPNOTSUPP;
	fd = open_beneath(dir, name, (uint64_t)flags | O_NONBLOCK | O_NOCTTY, 0);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) ? take_fd(&fd) : -EOPNOTSUPP;
}

/*
 * Type, version, identity: of files on other file systems in the tree, the number is mixed with the
 * device's, so that two with one number differ.
 */
void p9_put_qid(struct p9_out *out, const struct p9_share *s, const struct stat *st)
{
	uint64_t path = st->st_ino, dev = st->st_dev;

	if (st->st_dev != s->dev)
		path ^= dev << 56 | dev << 44 | UINT64_C(1) << 63;
	p9_put(out, S_ISDIR(st->st_mode) ? QID_DIR : S_ISLNK(st->st_mode) ? QID_LINK : 0, 1);
	p9_put(out, (uint64_t)st->st_mtim.tv_sec << 10 ^ (uint64_t)st->st_mtim.tv_nsec, 4);
	p9_put(out, path, 8);
}
