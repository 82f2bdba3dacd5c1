/*
 * Locks that QEMU's tools understand (notes: file-posix permissions). Each permission is one byte:
 * 100 + i says "I use it", 200 + i says "nobody else may". They are read locks of the open file
 * description, so that they go along with a passed fd; a conflict is found by asking whether a
 * write lock would be granted. Any thread.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "storage/format.h"

enum { PERM_READ, PERM_WRITE, PERM_WRITE_SAME, PERM_RESIZE, PERMS };
enum { USED = 100, UNSHARED = 200 };

static int lock_byte(int fd, int cmd, short type, off_t byte, struct flock *ret)
{
	struct flock fl = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
	int r = fcntl(fd, cmd, &fl);

	if (ret)
		*ret = fl;
	return r < 0 ? -errno : 0;
}

static void unlock_all(int fd)
{
	for (int i = 0; i < PERMS; i++) {
		lock_byte(fd, F_OFD_SETLK, F_UNLCK, USED + i, NULL);
		lock_byte(fd, F_OFD_SETLK, F_UNLCK, UNSHARED + i, NULL);
	}
}

/* A line of fdinfo: "lock:	1: OFDLCK  ADVISORY  READ -1 fe:00:1234 100 100". */
static bool fdinfo_holds(int dir, const char *name, const char *file)
{
	char line[256], want[64];
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	bool found = false;

	if (!f)
		return false;
	snprintf(want, sizeof(want), " %s ", file);
	while (!found && fgets(line, sizeof(line), f))
		found = !strncmp(line, "lock:", 5) && strstr(line, "OFDLCK") && strstr(line, want);
	fclose(f);
	return found;
}

static bool process_holds(const char *pid, const char *file)
{
	char path[64];
	struct dirent *ent;
	bool found = false;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%.20s/fdinfo", pid);
	d = opendir(path);
	if (!d)
		return false;
	while (!found && (ent = readdir(d)))
		found = ent->d_name[0] != '.' && fdinfo_holds(dirfd(d), ent->d_name, file);
	closedir(d);
	return found;
}

/* The kernel does not tell who holds such a lock; what we may see of /proc does. */
static bool find_holder(const struct stat *st, char *out, size_t len)
{
	char file[48], path[64], comm[32] = "";
	struct dirent *ent;
	DIR *d = opendir("/proc");
	bool found = false;

	if (!d)
		return false;
	snprintf(file, sizeof(file), "%02x:%02x:%llu", major(st->st_dev), minor(st->st_dev),
		 (unsigned long long)st->st_ino);
	while (!found && (ent = readdir(d))) {
		FILE *f;

		if (ent->d_name[0] < '1' || ent->d_name[0] > '9' ||
		    !process_holds(ent->d_name, file))
			continue;
		snprintf(path, sizeof(path), "/proc/%.20s/comm", ent->d_name);
		f = fopen(path, "re");
		if (f && fgets(comm, sizeof(comm), f))
			comm[strcspn(comm, "\n")] = 0;
		if (f)
			fclose(f);
		snprintf(out, len, "%s (process %.20s)", comm, ent->d_name);
		found = true;
	}
	closedir(d);
	return found;
}

static int refused(int fd, const char *name, bool write, struct err *e)
{
	char holder[80];
	struct stat st;

	if (fstat(fd, &st) == 0 && find_holder(&st, holder, sizeof(holder)))
		err_set(e, -EBUSY, "%s is in use by %s", name, holder);
	else
		err_set(e, -EBUSY, "%s is in use by another process", name);
	err_hint(e, write ? "stop what uses it, or open it read-only with its consent"
			  : "stop what writes it first");
	err_kind(e, "disk.locked");
	return -EBUSY;
}

int image_lock(int fd, const char *name, bool write, struct err *e)
{
	unsigned used =
	    write ? 1 << PERM_READ | 1 << PERM_WRITE | 1 << PERM_RESIZE : 1 << PERM_READ;
	unsigned unshared = 1 << PERM_WRITE | 1 << PERM_RESIZE;
	struct flock fl;

	for (int i = 0; i < PERMS; i++) {
		int r = 0;

		if (used >> i & 1)
			r = lock_byte(fd, F_OFD_SETLK, F_RDLCK, USED + i, NULL);
		if (r == 0 && unshared >> i & 1)
			r = lock_byte(fd, F_OFD_SETLK, F_RDLCK, UNSHARED + i, NULL);
		if (r == -EAGAIN || r == -EACCES) {
			unlock_all(fd);
			return refused(fd, name, write, e);
		}
		if (r < 0)
			return 0; /* this file system has no locks: nobody can hold one */
	}
	for (int i = 0; i < PERMS; i++) {
		bool clash = false;

		if (used >> i & 1 && !lock_byte(fd, F_OFD_GETLK, F_WRLCK, UNSHARED + i, &fl))
			clash = fl.l_type != F_UNLCK;
		if (unshared >> i & 1 && !lock_byte(fd, F_OFD_GETLK, F_WRLCK, USED + i, &fl))
			clash |= fl.l_type != F_UNLCK;
		if (clash) {
			unlock_all(fd);
			return refused(fd, name, write, e);
		}
	}
	return 0;
}

void image_unlock(int fd)
{
	unlock_all(fd);
}
