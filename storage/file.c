/*
 * The file layer: whole reads and writes of a struct file, and the one that is a host file.
 * Called from jobs, from pool threads and from formats; any thread.
 */
#include "storage/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"

static const uint8_t zeroes[ZERO_BYTES] __attribute__((aligned(4096)));

const void *zero_bytes(void)
{
	return zeroes;
}

bool bytes_are_zero(const void *p, size_t len)
{
	const uint8_t *b = p;

	if (len < 16)
		return !memcmp(b, zeroes, len);
	/* Equal to itself moved by sixteen bytes, of which the first are zero. */
	return !memcmp(b, zeroes, 16) && !memcmp(b, b + 16, len - 16);
}

static struct iovec *iov_rest(const struct iovec *iov, int n, size_t skip, struct iovec *room,
			      int room_n, int *out)
{
	int k = 0;

	for (int i = 0; i < n && k < room_n; i++) {
		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		room[k].iov_base = (char *)iov[i].iov_base + skip;
		room[k++].iov_len = iov[i].iov_len - skip;
		skip = 0;
	}
	*out = k;
	return room;
}

static size_t iov_total(const struct iovec *iov, int n)
{
	size_t sum = 0;

	for (int i = 0; i < n; i++)
		sum += iov[i].iov_len;
	return sum;
}

static void iov_zero_from(const struct iovec *iov, int n, size_t skip)
{
	for (int i = 0; i < n; i++) {
		if (skip < iov[i].iov_len)
			memset((char *)iov[i].iov_base + skip, 0, iov[i].iov_len - skip);
		skip -= MIN(skip, iov[i].iov_len);
	}
}

static bool aligned_to(const struct file *f, uint64_t off, const struct iovec *iov, int n)
{
	uint64_t all = off;

	for (int i = 0; i < n; i++)
		all |= (uintptr_t)iov[i].iov_base | iov[i].iov_len;
	return !(all & (f->align - 1));
}

/* The O_DIRECT file wants aligned memory and lengths: through a buffer of our own. */
static int bounce(struct file *f, uint64_t off, const struct iovec *iov, int n, bool write,
		  struct err *e)
{
	uint64_t start = round_down(off, f->align);
	uint64_t end = round_up(off + iov_total(iov, n), f->align);
	autofree uint8_t *buf = NULL;
	struct iovec v = { NULL, end - start };
	size_t at = off - start;
	int r;

	if (posix_memalign((void **)&buf, f->align, end - start))
		return err_nomem(e);
	v.iov_base = buf;
	r = f->ops->readv(f, start, &v, 1, e);
	if (r < 0)
		return r;
	for (int i = 0; i < n; i++) {
		if (write)
			memcpy(buf + at, iov[i].iov_base, iov[i].iov_len);
		else
			memcpy(iov[i].iov_base, buf + at, iov[i].iov_len);
		at += iov[i].iov_len;
	}
	if (!write)
		return 0;
	return f->ops->writev(f, start, &v, 1, e);
}

/* seccomp: preadv pread64 */
static int fd_readv(struct file *f, uint64_t off, const struct iovec *iov, int n, struct err *e)
{
	size_t total = iov_total(iov, n), done = 0;
	struct iovec room[64];

	if (f->align > 1 && !aligned_to(f, off, iov, n))
		return bounce(f, off, iov, n, false, e);
	while (done < total) {
		int k = n;
		const struct iovec *v = iov;
		ssize_t got;

		if (done || n > 64)
			v = iov_rest(iov, n, done, room, 64, &k);
		got = preadv(f->fd, v, k, (off_t)(off + done));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_sys(e, "read of %s at byte %llu", f->name,
				       (unsigned long long)(off + done));
		if (!got) {
			iov_zero_from(iov, n, done);
			return 0;
		}
		done += (size_t)got;
	}
	return 0;
}

static int write_failed(struct file *f, uint64_t off, struct err *e)
{
	int r = err_sys(e, "write to %s at byte %llu", f->name, (unsigned long long)off);

	if (r == -ENOSPC || r == -EDQUOT) {
		err_kind(e, "disk.full");
		err_hint(e, "make room on the file system of %s", f->name);
	}
	return r;
}

/* seccomp: pwritev pwrite64 */
static int fd_writev(struct file *f, uint64_t off, const struct iovec *iov, int n, struct err *e)
{
	size_t total = iov_total(iov, n), done = 0;
	struct iovec room[64];

	if (f->align > 1 && !aligned_to(f, off, iov, n))
		return bounce(f, off, iov, n, true, e);
	while (done < total) {
		int k = n;
		const struct iovec *v = iov;
		ssize_t got;

		if (done || n > 64)
			v = iov_rest(iov, n, done, room, 64, &k);
		got = pwritev(f->fd, v, k, (off_t)(off + done));
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return write_failed(f, off + done, e);
		done += (size_t)got;
	}
	return 0;
}

/* seccomp: fallocate ioctl(1=BLKZEROOUT) */
static int fd_zero(struct file *f, uint64_t off, uint64_t len, bool punch, struct err *e)
{
	int mode = punch ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE : FALLOC_FL_ZERO_RANGE;
	bool *cannot = punch ? &f->no_punch : &f->no_zero;

	if (*cannot)
		return -EOPNOTSUPP;
	if (!fallocate(f->fd, mode, (off_t)off, (off_t)len))
		return 0;
	if (errno == EOPNOTSUPP || errno == EINVAL || errno == ENODEV || errno == ENOTTY) {
		*cannot = true;
		return -EOPNOTSUPP;
	}
	return write_failed(f, off, e);
}

/* seccomp: ftruncate */
static int fd_truncate(struct file *f, uint64_t size, struct err *e)
{
	struct stat st;

	if (fstat(f->fd, &st) < 0)
		return err_sys(e, "cannot look at %s", f->name);
	if (!S_ISREG(st.st_mode)) {
		if (size <= file_size(f))
			return 0;
		return err_set(e, -ENOSPC, "%s is a device of %llu bytes and cannot grow", f->name,
			       (unsigned long long)file_size(f));
	}
	if (ftruncate(f->fd, (off_t)size) < 0)
		return err_sys(e, "cannot change the size of %s", f->name);
	return 0;
}

/* seccomp: fdatasync */
static int fd_sync(struct file *f, struct err *e)
{
	if (fdatasync(f->fd) < 0)
		return err_sys(e, "cannot sync %s", f->name);
	return 0;
}

/* seccomp: lseek */
static bool fd_is_data(struct file *f, uint64_t off, uint64_t *len)
{
	uint64_t size = file_size(f);
	off_t data = lseek(f->fd, (off_t)off, SEEK_DATA), hole;

	if (data < 0) {
		*len = size - off;
		return errno != ENXIO;
	}
	if ((uint64_t)data > off) {
		*len = MIN((uint64_t)data, size) - off;
		return false;
	}
	hole = lseek(f->fd, (off_t)off, SEEK_HOLE);
	*len = (hole > (off_t)off ? MIN((uint64_t)hole, size) : size) - off;
	return true;
}

static void fd_close(struct file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	free(f->name);
	free(f);
}

static const struct file_ops fd_ops = {
	.readv = fd_readv,
	.writev = fd_writev,
	.zero = fd_zero,
	.truncate = fd_truncate,
	.sync = fd_sync,
	.is_data = fd_is_data,
	.close = fd_close,
};

static int fd_inspect(struct file *f, struct err *e)
{
	struct stat st;
	uint64_t size = 0;
	int fl = fcntl(f->fd, F_GETFL);

	if (fl < 0 || fstat(f->fd, &st) < 0)
		return err_sys(e, "cannot look at %s", f->name);
	f->directory = S_ISDIR(st.st_mode) && !f->writable;
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode) && !f->directory)
		return err_set(e, -EINVAL, "%s is neither a regular file nor a block device",
			       f->name);
	if (f->writable && (fl & O_ACCMODE) != O_RDWR) {
		err_set(e, -EACCES, "%s is not open for writing", f->name);
		err_kind(e, "disk.permission");
		return -EACCES;
	}
	if (S_ISBLK(st.st_mode) && ioctl(f->fd, BLKGETSIZE64, &size) < 0)
		return err_sys(e, "cannot get the size of %s", f->name);
	f->size = S_ISBLK(st.st_mode) ? size : f->directory ? 0 : (uint64_t)st.st_size;
	f->align = fl & O_DIRECT ? 4096 : 1;
	f->dev = S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev;
	f->ino = S_ISBLK(st.st_mode) ? 0 : st.st_ino;
	return 0;
}

int file_from_fd(int fd, const char *name, bool write, struct file **ret, struct err *e)
{
	autoclose int own = fd;
	autoptr(file) f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return err_nomem(e);
	f->ops = &fd_ops;
	f->fd = take_fd(&own);
	f->writable = write;
	f->name = strdup(name);
	if (!f->name)
		return err_nomem(e);
	r = fd_inspect(f, e);
	if (r < 0)
		return r;
	*ret = take(f);
	return 0;
}

void file_close(struct file *f)
{
	f->ops->close(f);
}

void file_grown(struct file *f, uint64_t end)
{
	uint64_t old = file_size(f);

	while (old < end && !__atomic_compare_exchange_n(&f->size, &old, end, false,
							 __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		;
}

bool file_has(struct file *f, uint64_t off, uint64_t len)
{
	return range_fits(off, len, file_size(f));
}

int file_pread(struct file *f, uint64_t off, void *buf, size_t len, struct err *e)
{
	struct iovec v = { buf, len };

	return f->ops->readv(f, off, &v, 1, e);
}

int file_pwrite(struct file *f, uint64_t off, const void *buf, size_t len, struct err *e)
{
	struct iovec v = { (void *)(uintptr_t)buf, len };

	return file_pwritev(f, off, &v, 1, e);
}

int file_preadv(struct file *f, uint64_t off, const struct iovec *iov, int n, struct err *e)
{
	return f->ops->readv(f, off, iov, n, e);
}

int file_pwritev(struct file *f, uint64_t off, const struct iovec *iov, int n, struct err *e)
{
	int r;

	if (!f->writable)
		return err_set(e, -EROFS, "%s is open for reading only", f->name);
	r = f->ops->writev(f, off, iov, n, e);
	if (r == 0)
		file_grown(f, off + iov_total(iov, n));
	return r;
}

static int write_zeroes(struct file *f, uint64_t off, uint64_t len, struct err *e)
{
	struct iovec v[16];

	while (len) {
		uint64_t step = 0;
		int k = 0, r;

		for (; k < 16 && step < len; k++) {
			v[k].iov_base = (void *)(uintptr_t)zeroes;
			v[k].iov_len = MIN(len - step, ZERO_BYTES);
			step += v[k].iov_len;
		}
		r = file_pwritev(f, off, v, k, e);
		if (r < 0)
			return r;
		off += step;
		len -= step;
	}
	return 0;
}

/* Small ranges are written: that is one cheap system call and keeps the file in one piece. */
int file_zero(struct file *f, uint64_t off, uint64_t len, bool punch, struct err *e)
{
	int r = -EOPNOTSUPP;

	if (!f->writable)
		return err_set(e, -EROFS, "%s is open for reading only", f->name);
	if (!len)
		return 0;
	if (punch && file_has(f, off, len))
		r = f->ops->zero(f, off, len, true, e);
	if (r == -EOPNOTSUPP && len > ZERO_BYTES)
		r = f->ops->zero(f, off, len, false, e);
	if (r == -EOPNOTSUPP)
		return write_zeroes(f, off, len, e);
	if (r == 0)
		file_grown(f, off + len);
	return r;
}

int file_truncate(struct file *f, uint64_t size, struct err *e)
{
	int r;

	if (!f->writable)
		return err_set(e, -EROFS, "%s is open for reading only", f->name);
	r = f->ops->truncate(f, size, e);
	if (r == 0)
		__atomic_store_n(&f->size, size, __ATOMIC_RELEASE);
	return r;
}

int file_sync(struct file *f, struct err *e)
{
	return f->unsafe || !f->writable ? 0 : f->ops->sync(f, e);
}

void file_discard(struct file *f, uint64_t off, uint64_t len)
{
	if (f->writable && off < file_size(f))
		f->ops->zero(f, off, MIN(len, file_size(f) - off), true, NULL);
}
