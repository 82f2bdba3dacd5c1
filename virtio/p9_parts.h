/* p9_parts.h - inside of p9*.c: cursors over messages, fids, files by path. See p9.h. */
#ifndef VIRTIO_P9_PARTS_H
#define VIRTIO_P9_PARTS_H

#include <limits.h>
#include <sys/stat.h>

#include "virtio/p9.h"

enum { P9_FIDS = 1024, P9_OPEN = 256, P9_NAME = NAME_MAX + 1, P9_NO_FID = -1 };

/* ---- what a message holds: every length is checked here and nowhere else ---- */

struct p9_in {
	const uint8_t *p;
	uint32_t left;
	int error; /* -errno of the first thing that did not fit */
};

struct p9_out {
	uint8_t *p;
	uint32_t len, room;
	bool full;
};

uint64_t p9_get(struct p9_in *in, unsigned bytes);
/* A string with its length in front, into buf[size] with a NUL. */
void p9_get_string(struct p9_in *in, char *buf, uint32_t size);
/* A string that is the name of one file: no slash, not "." or "..". */
void p9_get_name(struct p9_in *in, char buf[P9_NAME]);

void p9_put(struct p9_out *out, uint64_t v, unsigned bytes);
void p9_put_bytes(struct p9_out *out, const void *data, uint32_t len);
void p9_put_string(struct p9_out *out, const char *s);

/* ---- fids ---- */

struct p9_fid {
	uint32_t id;
	char *path; /* below the directory; "" is the directory itself; NULL: the slot is free */
	int fd;     /* of an open file, or -1 */
	bool writable;
};

struct p9_share {
	int dir_fd;
	bool readonly;
	uint32_t msize; /* agreed; 0: no version yet */
	dev_t dev;      /* of the directory */
	unsigned n_open;
	struct p9_fid fids[P9_FIDS];
};

struct p9_fid *p9_fid_find(struct p9_share *s, uint32_t id);
/* A new one; NULL with errno: the number is taken, the table full, or no memory. */
struct p9_fid *p9_fid_new(struct p9_share *s, uint32_t id, const char *path);
void p9_fid_drop(struct p9_share *s, struct p9_fid *f);
/* It is an open file from now on; fd is taken, and closed when there are too many. */
int p9_fid_open(struct p9_share *s, struct p9_fid *f, int fd, bool writable);
/* A file or directory has a new path: fids at it and below follow. */
int p9_fids_moved(struct p9_share *s, const char *from, const char *to);

/* ---- files by path (p9_path.c); each returns 0 or more, or -errno ---- */

/* path/name in buf[PATH_MAX]. */
int p9_join(char *buf, const char *path, const char *name);
int p9_copy(char *buf, const char *path); /* into buf[PATH_MAX] */
/* Open beneath the directory; never follows a symbolic link. */
int p9_open_at(const struct p9_share *s, const char *path, uint64_t flags, uint64_t mode);
/*
 * The directory that holds path, as an O_PATH descriptor of the caller, and the name in it ("." for
 * the shared directory itself). All changes go through such a pair.
 */
int p9_parent(const struct p9_share *s, const char *path, const char **name);
int p9_stat(const struct p9_share *s, const char *path, struct stat *st);
int p9_fid_stat(const struct p9_share *s, const struct p9_fid *f, struct stat *st);
/* A regular file or directory, opened so that nothing can block; not a device, not a pipe. */
int p9_open_file(const struct p9_share *s, const char *path, int flags);
void p9_put_qid(struct p9_out *out, const struct p9_share *s, const struct stat *st);

/* ---- messages (p9_file.c, p9_tree.c, p9_attr.c): 0 or -errno, the answer's body in out ---- */

typedef int p9_fn(struct p9_share *s, struct p9_in *in, struct p9_out *out);
p9_fn p9_attach, p9_walk, p9_clunk, p9_remove, p9_readlink, p9_symlink, p9_mknod, p9_mkdir, p9_link,
    p9_rename, p9_renameat, p9_unlinkat;
p9_fn p9_lopen, p9_lcreate, p9_read, p9_write, p9_readdir, p9_fsync, p9_lock, p9_getlock;
p9_fn p9_getattr, p9_setattr, p9_statfs;

#endif
