/* p9_attr.c - 9P messages about what a file is: attributes, owners, times, sizes. See p9.h. */
#include <errno.h>
#include <fcntl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/bytes.h"
#include "virtio/p9_parts.h"

/* What is valid in an answer, and what is to be set. */
enum { GET_BASIC = 0x7ff };
enum {
	SET_MODE = 0x1,
	SET_UID = 0x2,
	SET_GID = 0x4,
	SET_SIZE = 0x8,
	SET_ATIME = 0x10,
	SET_MTIME = 0x20,
	SET_ATIME_GIVEN = 0x80,
	SET_MTIME_GIVEN = 0x100,
};

static void put_time(struct p9_out *out, const struct timespec *t)
{
	p9_put(out, (uint64_t)t->tv_sec, 8);
	p9_put(out, (uint64_t)t->tv_nsec, 8);
}

int p9_getattr(struct p9_share *s, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *f = p9_fid_find(s, (uint32_t)p9_get(in, 4));
	struct stat st;
	int r;

	p9_get(in, 8); /* what is wanted: all is given */
	if (in->error || !f)
		return in->error ? in->error : -EBADF;
	r = p9_fid_stat(s, f, &st);
	if (r < 0)
		return r;
	p9_put(out, GET_BASIC, 8);
	p9_put_qid(out, s, &st);
	p9_put(out, st.st_mode, 4);
	p9_put(out, st.st_uid, 4);
	p9_put(out, st.st_gid, 4);
	p9_put(out, st.st_nlink, 8);
	p9_put(out, st.st_rdev, 8);
	p9_put(out, (uint64_t)st.st_size, 8);
	p9_put(out, (uint64_t)st.st_blksize, 8);
	p9_put(out, (uint64_t)st.st_blocks, 8);
	put_time(out, &st.st_atim);
	put_time(out, &st.st_mtim);
	put_time(out, &st.st_ctim);
	for (unsigned i = 0; i < 4; i++)
		p9_put(out, 0, 8); /* birth, generation, data version: not kept */
	return 0;
}

struct change {
	uint32_t valid, mode, uid, gid;
	uint64_t size;
	struct timespec times[2];
};

static void get_change(struct p9_in *in, struct change *c)
{
	static const uint32_t set[] = { SET_ATIME, SET_MTIME },
			      given[] = { SET_ATIME_GIVEN, SET_MTIME_GIVEN };

	c->valid = (uint32_t)p9_get(in, 4);
	c->mode = (uint32_t)p9_get(in, 4);
	c->uid = (uint32_t)p9_get(in, 4);
	c->gid = (uint32_t)p9_get(in, 4);
	c->size = p9_get(in, 8);
	for (unsigned i = 0; i < 2; i++) {
		c->times[i].tv_sec = (time_t)p9_get(in, 8);
		c->times[i].tv_nsec = (long)(p9_get(in, 8) % 1000000000);
		if (!(c->valid & set[i]))
			c->times[i].tv_nsec = UTIME_OMIT;
		else if (!(c->valid & given[i]))
			c->times[i].tv_nsec = UTIME_NOW;
	}
}

/*
 * seccomp share: fchmod, ftruncate - attributes of files of a shared directory
 * Both need the file open, because their forms with a path follow symbolic links. Set-user-ID bits
 * are not for guests to give; a file that its owner can neither read nor write keeps its mode.
 */
static int set_by_fd(const struct p9_share *s, const struct p9_fid *f, const struct change *c)
{
	bool size = c->valid & SET_SIZE;
	autoclose int own = -1;
	int fd = f->fd;

	if (!(c->valid & (SET_MODE | SET_SIZE)))
		return 0;
	if (fd < 0 || (size && !f->writable)) {
		own = p9_open_file(s, f->path, size ? O_WRONLY : O_RDONLY);
		if (own == -EACCES && !size)
			own = p9_open_file(s, f->path, O_WRONLY);
		if (own < 0)
			return own;
		fd = own;
	}
	if (c->valid & SET_MODE && fchmod(fd, c->mode & 01777) < 0)
		return -errno;
	if (!size)
		return 0;
	if (c->size > INT64_MAX)
		return -EFBIG;
	return ftruncate(fd, (off_t)c->size) < 0 ? -errno : 0;
}

/* seccomp share: fchownat, fchown, utimensat - the same, where a name in a directory is enough */
static int set_owner(const struct p9_fid *f, int dir, const char *name, const struct change *c)
{
	uid_t uid = c->valid & SET_UID ? c->uid : (uid_t)-1;
	gid_t gid = c->valid & SET_GID ? c->gid : (gid_t)-1;
	int r = 0;

	if (c->valid & (SET_UID | SET_GID))
		r = f->fd >= 0 ? fchown(f->fd, uid, gid)
			       : fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW);
	return r < 0 ? -errno : 0;
}

static int set_times(const struct p9_fid *f, int dir, const char *name, const struct change *c)
{
	int r = 0;

	if (c->valid & (SET_ATIME | SET_MTIME))
		r = f->fd >= 0 ? futimens(f->fd, c->times)
			       : utimensat(dir, name, c->times, AT_SYMLINK_NOFOLLOW);
	return r < 0 ? -errno : 0;
}

int p9_setattr(struct p9_share *s, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *f = p9_fid_find(s, (uint32_t)p9_get(in, 4));
	autoclose int dir = -1;
	const char *name = NULL;
	struct change c;
	int r;

	(void)out;
	get_change(in, &c);
	if (in->error || !f)
		return in->error ? in->error : -EBADF;
	if (f->fd < 0) {
		dir = p9_parent(s, f->path, &name);
		if (dir < 0)
			return dir;
	}
	r = set_owner(f, dir, name, &c);
	if (r == 0)
		r = set_by_fd(s, f, &c);
	return r < 0 ? r : set_times(f, dir, name, &c);
}

/* seccomp share: fstatfs - how much room a shared directory has */
int p9_statfs(struct p9_share *s, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *f = p9_fid_find(s, (uint32_t)p9_get(in, 4));
	struct statfs fs;

	if (in->error || !f)
		return in->error ? in->error : -EBADF;
	if (fstatfs(s->dir_fd, &fs) < 0)
		return -errno;
	p9_put(out, 0x01021997, 4); /* the number of 9P itself */
	p9_put(out, (uint32_t)fs.f_bsize, 4);
	p9_put(out, fs.f_blocks, 8);
	p9_put(out, fs.f_bfree, 8);
	p9_put(out, fs.f_bavail, 8);
	p9_put(out, fs.f_files, 8);
	p9_put(out, fs.f_ffree, 8);
	p9_put(out, 0, 8);
	p9_put(out, (uint64_t)fs.f_namelen, 4);
	return 0;
}
