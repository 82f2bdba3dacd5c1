/* p9_file.c - 9P messages about open files: open, read, write, list, sync, locks. See p9.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bytes.h"
#include "virtio/p9_parts.h"

/* Open flags of the .L dialect: the values that most Linux architectures have. */
enum {
	L_ACCESS = 03,
	L_EXCL = 0200,
	L_TRUNC = 01000,
	L_APPEND = 02000,
	L_DSYNC = 010000,
	L_DIRECTORY = 0200000,
	L_SYNC = 04000000,
};

enum { LOCK_GRANTED = 0, LOCK_NONE = 2, READ_HEAD = 4 };

/* What one directory entry takes beside its name: identity, cookie, type, length. */
enum { DIRENT_HEAD = 13 + 8 + 1 + 2, DIRENT_BUF = 16384 };

/* As getdents64(2) lays it out. */
enum { D_INO = 0, D_OFF = 8, D_RECLEN = 16, D_TYPE = 18, D_NAME = 19 };

static int host_flags(uint32_t l)
{
	static const int access[] = { O_RDONLY, O_WRONLY, O_RDWR };

	if ((l & L_ACCESS) == 3)
		return -EINVAL;
	return access[l & L_ACCESS] | (l & L_EXCL ? O_EXCL : 0) | (l & L_TRUNC ? O_TRUNC : 0) |
	       (l & L_APPEND ? O_APPEND : 0) | (l & L_DSYNC ? O_DSYNC : 0) |
	       (l & L_DIRECTORY ? O_DIRECTORY : 0) | (l & L_SYNC ? O_SYNC : 0);
}

static int put_opened(struct p9_share *s, int fd, struct p9_out *out)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	p9_put_qid(out, s, &st);
	p9_put(out, 0, 4); /* no preferred size */
	return 0;
}

int p9_lopen(struct p9_share *s, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *f = p9_fid_find(s, (uint32_t)p9_get(in, 4));
	int flags = host_flags((uint32_t)p9_get(in, 4)), r;
	autoclose int fd = -1;
	bool writes;

	if (in->error || !f)
		return in->error ? in->error : -EBADF;
	if (flags < 0 || f->fd >= 0)
		return -EINVAL;
	flags &= ~O_EXCL; /* only for what is made */
	writes = (flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC;
	if (writes && s->readonly)
		return -EROFS;
	fd = p9_open_file(s, f->path, flags);
	if (fd < 0)
		return fd;
	r = put_opened(s, fd, out);
	return r < 0 ? r : p9_fid_open(s, f, take_fd(&fd), (flags & O_ACCMODE) != O_RDONLY);
}

/* The fid of the directory becomes that of the new file. */
int p9_lcreate(struct p9_share *s, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *f = p9_fid_find(s, (uint32_t)p9_get(in, 4));
	char name[P9_NAME], path[PATH_MAX], *copy;
	autoclose int fd = -1;
	struct stat st;
	uint64_t mode;
	int flags, r;

	p9_get_name(in, name);
	flags = host_flags((uint32_t)p9_get(in, 4));
	mode = p9_get(in, 4) & 0777;
	p9_get(in, 4); /* group */
	if (in->error || !f)
		return in->error ? in->error : -EBADF;
	if (flags < 0 || f->fd >= 0 || flags & O_DIRECTORY)
		return -EINVAL;
	r = p9_join(path, f->path, name);
	if (r < 0)
		return r;
	/* Not through p9_open_file(): there is nothing to look at yet. A pipe does not wait. */
	if (p9_stat(s, path, &st) == 0 && !S_ISREG(st.st_mode))
		return -EEXIST;
	fd = p9_open_at(s, path, (uint64_t)(flags | O_CREAT | O_NONBLOCK | O_NOCTTY), mode);
	if (fd < 0)
		return fd;
	copy = strdup(path);
	r = copy ? put_opened(s, fd, out) : -ENOMEM;
	if (r == 0)
		r = p9_fid_open(s, f, take_fd(&fd), (flags & O_ACCMODE) != O_RDONLY);
	if (r == 0) {
		char *old = f->path;

		f->path = copy;
		copy = old;
	}
	free(copy);
	return r;
}

/* How many bytes of data an answer may carry, of those asked for. */
static uint32_t data_room(const struct p9_out *out, uint32_t count)
{
	uint32_t room = out->room - out->len;

	return room < READ_HEAD ? 0 : MIN(count, room - READ_HEAD);
}

/* seccomp share: pread64, pwrite64, fsync, fdatasync - contents of files of a shared directory */
int p9_read(struct p9_share *s, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *f = p9_fid_find(s, (uint32_t)p9_get(in, 4));
	uint64_t off = p9_get(in, 8);
	uint32_t count = data_room(out, (uint32_t)p9_get(in, 4));
	ssize_t n;

	if (in->error || !f || f->fd < 0)
		return in->error ? in->error : -EBADF;
	if (off > INT64_MAX)
		return -EINVAL;
	n = pread(f->fd, out->p + out->len + READ_HEAD, count, (off_t)off);
	if (n < 0)
		return -errno;
	p9_put(out, (uint64_t)n, READ_HEAD);
	out->len += (uint32_t)n;
	return 0;
}

int p9_write(struct p9_share *s, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *f = p9_fid_find(s, (uint32_t)p9_get(in, 4));
	uint64_t off = p9_get(in, 8);
	uint32_t count = (uint32_t)p9_get(in, 4);
	ssize_t n;

	if (in->error || !f || f->fd < 0)
		return in->error ? in->error : -EBADF;
	if (count > in->left)
		return -EBADMSG;
	if (off > INT64_MAX)
		return -EINVAL;
	n = pwrite(f->fd, in->p, count, (off_t)off);
	if (n < 0)
		return -errno;
	p9_put(out, (uint64_t)n, 4);
	return 0;
}

/* The host's type of a directory entry as that of a qid. */
static unsigned qid_type(uint8_t d_type)
{
	return d_type == DT_DIR ? 0x80 : d_type == DT_LNK ? 0x02 : 0;
}

static bool put_entry(struct p9_out *out, const uint8_t *d, uint32_t end)
{
	const char *name = (const char *)d + D_NAME;
	uint64_t ino, off;

	memcpy(&ino, d + D_INO, 8);
	memcpy(&off, d + D_OFF, 8);
	if (out->len + DIRENT_HEAD + strlen(name) > end)
		return false;
	p9_put(out, qid_type(d[D_TYPE]), 1);
	p9_put(out, 0, 4);
	p9_put(out, ino, 8);
	p9_put(out, off, 8);
	p9_put(out, d[D_TYPE], 1);
	p9_put_string(out, name);
	return true;
}

/* seccomp share: getdents64, lseek - directories of a shared directory */
int p9_readdir(struct p9_share *s, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *f = p9_fid_find(s, (uint32_t)p9_get(in, 4));
	uint64_t off = p9_get(in, 8);
	uint32_t count = data_room(out, (uint32_t)p9_get(in, 4)), at = out->len, end;
	uint8_t buf[DIRENT_BUF];
	bool more = true;

	if (in->error || !f || f->fd < 0)
		return in->error ? in->error : -EBADF;
	if (lseek(f->fd, (off_t)off, SEEK_SET) < 0)
		return -errno;
	p9_put(out, 0, READ_HEAD);
	end = out->len + count;
	while (more) {
		long n = syscall(SYS_getdents64, f->fd, buf, sizeof(buf));

		if (n < 0)
			return -errno;
		more = n > 0;
		for (long i = 0; more && i < n;) {
			uint16_t len;

			memcpy(&len, buf + i + D_RECLEN, 2);
			more = put_entry(out, buf + i, end);
			i += len;
		}
	}
	if (out->full)
		return -EMSGSIZE;
	put_le32(out->p + at, out->len - at - READ_HEAD);
	return 0;
}

int p9_fsync(struct p9_share *s, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *f = p9_fid_find(s, (uint32_t)p9_get(in, 4));
	bool data = in->left >= 4 && p9_get(in, 4); /* older guests send no such word */

	(void)out;
	if (in->error || !f || f->fd < 0)
		return in->error ? in->error : -EBADF;
	return (data ? fdatasync(f->fd) : fsync(f->fd)) < 0 ? -errno : 0;
}

/*
 * The guest keeps locks between its own processes before it asks here; nobody else is asked. A
 * program of the host that locks the same file does not see the guest's locks.
 */
int p9_lock(struct p9_share *s, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *f = p9_fid_find(s, (uint32_t)p9_get(in, 4));

	if (in->error || !f || f->fd < 0)
		return in->error ? in->error : -EBADF;
	p9_put(out, LOCK_GRANTED, 1);
	return 0;
}

int p9_getlock(struct p9_share *s, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *f = p9_fid_find(s, (uint32_t)p9_get(in, 4));
	uint64_t start, length, pid;
	char client[PATH_MAX];

	p9_get(in, 1); /* the kind that is asked for: no kind is in the way */
	start = p9_get(in, 8);
	length = p9_get(in, 8);
	pid = p9_get(in, 4);
	p9_get_string(in, client, sizeof(client));
	if (in->error || !f || f->fd < 0)
		return in->error ? in->error : -EBADF;
	p9_put(out, LOCK_NONE, 1);
	p9_put(out, start, 8);
	p9_put(out, length, 8);
	p9_put(out, pid, 4);
	p9_put_string(out, client);
	return 0;
}
