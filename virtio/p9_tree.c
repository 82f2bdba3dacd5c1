/*
 * p9_tree.c - 9P messages about names: attach, walk, make, link, rename, remove. Every change is
 * one system call on a directory inside the share and a name in it. See p9.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "virtio/p9_parts.h"

enum { WALK_MAX = 16, MODE_BITS = 01777 };

int p9_attach(struct p9_share *s, struct p9_in *in, struct p9_out *out)
{
	uint32_t id = (uint32_t)p9_get(in, 4);
	char uname[P9_NAME], aname[P9_NAME];
	struct stat st;
	int r;

	p9_get(in, 4); /* afid: nobody logs in */
	p9_get_string(in, uname, sizeof(uname));
	p9_get_string(in, aname, sizeof(aname));
	p9_get(in, 4);
	if (in->error)
		return in->error;
	if (*aname && strcmp(aname, "/"))
		return -ENOENT;
	r = p9_stat(s, "", &st);
	if (r < 0)
		return r;
	p9_put_qid(out, s, &st);
	return p9_fid_new(s, id, "") ? 0 : -errno;
}

/* One step of a walk, in path[PATH_MAX]. Above the share is the share. */
static int walk_step(const struct p9_share *s, char *path, const char *name, struct stat *st)
{
	char next[PATH_MAX];
	char *slash = strrchr(path, '/');
	int r = 0;

	if (!strcmp(name, "..")) {
		snprintf(next, sizeof(next), "%.*s", slash ? (int)(slash - path) : 0, path);
	} else if (!*name || strchr(name, '/') || !strcmp(name, ".")) {
		return -ENOENT;
	} else {
		r = p9_join(next, path, name);
	}
	if (r == 0)
		r = p9_stat(s, next, st);
	if (r == 0)
		memcpy(path, next, strlen(next) + 1);
	return r;
}

/* The new fid stands where the walk ended, or the old one if it has the same number. */
static int walk_end(struct p9_share *s, struct p9_fid *f, uint32_t new_id, const char *path)
{
	if (f->id != new_id)
		return p9_fid_new(s, new_id, path) ? 0 : -errno;
	if (f->fd >= 0)
		return -EINVAL;
	p9_fid_drop(s, f);
	return p9_fid_new(s, new_id, path) ? 0 : -errno;
}

int p9_walk(struct p9_share *s, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *f = p9_fid_find(s, (uint32_t)p9_get(in, 4));
	uint32_t new_id = (uint32_t)p9_get(in, 4);
	unsigned n = (unsigned)p9_get(in, 2), done = 0;
	uint32_t at = out->len;
	char path[PATH_MAX], name[P9_NAME];
	struct stat st;
	int r = 0;

	if (in->error || n > WALK_MAX)
		return in->error ? in->error : -EINVAL;
	if (!f || (f->id != new_id && p9_fid_find(s, new_id)))
		return f ? -EINVAL : -EBADF;
	r = p9_copy(path, f->path);
	if (r < 0)
		return r;
	p9_put(out, 0, 2);
	for (; done < n; done++) {
		p9_get_string(in, name, sizeof(name));
		r = in->error ? in->error : walk_step(s, path, name, &st);
		if (r < 0)
			break;
		p9_put_qid(out, s, &st);
	}
	if (r < 0 && (!done || in->error == -EBADMSG))
		return r;
	if (out->full)
		return -EMSGSIZE;
	put_le16(out->p + at, (uint16_t)done);
	return done < n ? 0 : walk_end(s, f, new_id, path);
}

int p9_clunk(struct p9_share *s, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *f = p9_fid_find(s, (uint32_t)p9_get(in, 4));

	(void)out;
	if (in->error || !f)
		return in->error ? in->error : -EBADF;
	p9_fid_drop(s, f);
	return 0;
}

/* seccomp share: unlinkat - a guest removes files of a shared directory */
static int remove_path(const struct p9_share *s, const char *path)
{
	const char *name;
	autoclose int dir = p9_parent(s, path, &name);
	struct stat st;

	if (dir < 0 || s->readonly || !*path)
		return dir < 0 ? dir : s->readonly ? -EROFS : -EBUSY;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return unlinkat(dir, name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0) < 0 ? -errno : 0;
}

/* The fid ends in every case: remove(5). */
int p9_remove(struct p9_share *s, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *f = p9_fid_find(s, (uint32_t)p9_get(in, 4));
	int r;

	(void)out;
	if (in->error || !f)
		return in->error ? in->error : -EBADF;
	r = remove_path(s, f->path);
	p9_fid_drop(s, f);
	return r;
}

/* A directory's fid and a name in it: the path in buf[PATH_MAX], the directory as a descriptor. */
static int place(struct p9_share *s, uint32_t id, const char *name, char *buf)
{
	struct p9_fid *f = p9_fid_find(s, id);
	int r = f ? p9_join(buf, f->path, name) : -EBADF;

	return r < 0 ? r : p9_open_at(s, f->path, O_PATH | O_DIRECTORY, 0);
}

static int put_made(struct p9_share *s, int dir, const char *name, struct p9_out *out)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	p9_put_qid(out, s, &st);
	return 0;
}

/* seccomp share: symlinkat, mkdirat, mknodat, linkat - a guest makes files in a shared directory */
int p9_symlink(struct p9_share *s, struct p9_in *in, struct p9_out *out)
{
	uint32_t id = (uint32_t)p9_get(in, 4);
	char name[P9_NAME], target[PATH_MAX], path[PATH_MAX];
	autoclose int dir = -1;

	p9_get_name(in, name);
	p9_get_string(in, target, sizeof(target));
	p9_get(in, 4); /* group */
	if (in->error)
		return in->error;
	dir = place(s, id, name, path);
	if (dir < 0)
		return dir;
	return symlinkat(target, dir, name) < 0 ? -errno : put_made(s, dir, name, out);
}

int p9_mkdir(struct p9_share *s, struct p9_in *in, struct p9_out *out)
{
	uint32_t id = (uint32_t)p9_get(in, 4);
	char name[P9_NAME], path[PATH_MAX];
	autoclose int dir = -1;
	mode_t mode;

	p9_get_name(in, name);
	mode = (mode_t)p9_get(in, 4) & MODE_BITS;
	p9_get(in, 4); /* group */
	if (in->error)
		return in->error;
	dir = place(s, id, name, path);
	if (dir < 0)
		return dir;
	return mkdirat(dir, name, mode) < 0 ? -errno : put_made(s, dir, name, out);
}

/* Pipes and sockets are names for the guest only; a device would be one on the host too. */
int p9_mknod(struct p9_share *s, struct p9_in *in, struct p9_out *out)
{
	uint32_t id = (uint32_t)p9_get(in, 4);
	char name[P9_NAME], path[PATH_MAX];
	autoclose int dir = -1;
	mode_t mode;

	p9_get_name(in, name);
	mode = (mode_t)p9_get(in, 4);
	p9_get(in, 4), p9_get(in, 4), p9_get(in, 4); /* major, minor, group */
	if (in->error)
		return in->error;
	if (!S_ISREG(mode) && !S_ISFIFO(mode) && !S_ISSOCK(mode))
		return -EPERM;
	dir = place(s, id, name, path);
	if (dir < 0)
		return dir;
	return mknodat(dir, name, mode & (S_IFMT | MODE_BITS), 0) < 0 ? -errno
								      : put_made(s, dir, name, out);
}

int p9_link(struct p9_share *s, struct p9_in *in, struct p9_out *out)
{
	uint32_t id = (uint32_t)p9_get(in, 4);
	struct p9_fid *f = p9_fid_find(s, (uint32_t)p9_get(in, 4));
	char name[P9_NAME], path[PATH_MAX];
	autoclose int dir = -1, from = -1;
	const char *old;

	(void)out;
	p9_get_name(in, name);
	if (in->error || !f)
		return in->error ? in->error : -EBADF;
	dir = place(s, id, name, path);
	from = p9_parent(s, f->path, &old);
	if (dir < 0 || from < 0)
		return dir < 0 ? dir : from;
	return linkat(from, old, dir, name, 0) < 0 ? -errno : 0;
}

/* seccomp share: renameat, renameat2 - a guest renames files of a shared directory */
static int rename_path(struct p9_share *s, const char *old, uint32_t dir_id, const char *name)
{
	char path[PATH_MAX], from_path[PATH_MAX];
	const char *from_name;
	autoclose int from = -1, dir = -1;

	if (!*old || p9_copy(from_path, old) < 0) /* old may be a fid's, which moves */
		return *old ? -ENAMETOOLONG : -EBUSY;
	from = p9_parent(s, from_path, &from_name);
	dir = place(s, dir_id, name, path);
	if (dir < 0 || from < 0)
		return dir < 0 ? dir : from;
	if (renameat(from, from_name, dir, name) < 0)
		return -errno;
	return p9_fids_moved(s, from_path, path);
}

int p9_rename(struct p9_share *s, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *f = p9_fid_find(s, (uint32_t)p9_get(in, 4));
	uint32_t dir = (uint32_t)p9_get(in, 4);
	char name[P9_NAME];

	(void)out;
	p9_get_name(in, name);
	if (in->error || !f)
		return in->error ? in->error : -EBADF;
	return rename_path(s, f->path, dir, name);
}

int p9_renameat(struct p9_share *s, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *f = p9_fid_find(s, (uint32_t)p9_get(in, 4));
	char old[P9_NAME], name[P9_NAME], path[PATH_MAX];
	uint32_t dir;
	int r;

	(void)out;
	p9_get_name(in, old);
	dir = (uint32_t)p9_get(in, 4);
	p9_get_name(in, name);
	if (in->error || !f)
		return in->error ? in->error : -EBADF;
	r = p9_join(path, f->path, old);
	return r < 0 ? r : rename_path(s, path, dir, name);
}

int p9_unlinkat(struct p9_share *s, struct p9_in *in, struct p9_out *out)
{
	uint32_t id = (uint32_t)p9_get(in, 4), flags;
	char name[P9_NAME], path[PATH_MAX];
	autoclose int dir = -1;

	(void)out;
	p9_get_name(in, name);
	flags = (uint32_t)p9_get(in, 4);
	if (in->error)
		return in->error;
	dir = place(s, id, name, path);
	if (dir < 0)
		return dir;
	/* The flag has Linux' own value: AT_REMOVEDIR, 0x200. */
	return unlinkat(dir, name, flags & 0x200 ? AT_REMOVEDIR : 0) < 0 ? -errno : 0;
}

/* seccomp share: readlinkat - the guest follows symbolic links by itself */
int p9_readlink(struct p9_share *s, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *f = p9_fid_find(s, (uint32_t)p9_get(in, 4));
	autoclose int dir = -1;
	char target[PATH_MAX];
	const char *name;
	ssize_t n;

	if (in->error || !f)
		return in->error ? in->error : -EBADF;
	dir = p9_parent(s, f->path, &name);
	if (dir < 0)
		return dir;
	n = readlinkat(dir, name, target, sizeof(target) - 1);
	if (n < 0)
		return -errno;
	target[n] = 0;
	p9_put_string(out, target);
	return 0;
}
