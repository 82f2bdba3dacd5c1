/*
 * What is in a folder: names, sizes and times as they are when the disk is opened. Nothing outside
 * of it is reached: every path is opened beneath the folder, without links. Called while a disk is
 * opened, in a process that may open files.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "storage/utf16.h"
#include "storage/vfat.h"

static const char *top(struct disk *d)
{
	return disk_file(d)->name;
}

static int open_beneath(struct disk *d, const char *path, int flags, struct err *e)
{
	struct open_how how = { .flags = (uint64_t)(flags | O_RDONLY | O_CLOEXEC | O_NONBLOCK),
				.resolve =
				    RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };
	int fd = (int)syscall(SYS_openat2, disk_file(d)->fd, *path ? path : ".", &how, sizeof(how));

	return fd < 0 ? err_sys(e, "%s: cannot open %s", top(d), path) : fd;
}

/* [MS-FAT], "Long directory entries": what a name may not hold. */
static int check_name(struct disk *d, const char *path, const char *name, struct err *e)
{
	uint8_t units[2 * (VFAT_NAME_UNITS + 1)];
	size_t n = strlen(name);
	bool good = n && name[n - 1] != '.' && name[n - 1] != ' ' &&
		    !strpbrk(name, "\"*/:<>?\\|") &&
		    utf16_write(name, false, units, VFAT_NAME_UNITS);

	for (const char *p = name; *p; p++)
		if ((unsigned char)*p < ' ')
			good = false;
	return good ? 0 : err_set(e, -EINVAL, "%s: FAT cannot hold the name %.200s", top(d), path);
}

static struct vfat_node *add_node(struct disk *d, struct err *e)
{
	struct vfat *v = vfat_of(d);
	struct vfat_node *all;

	if (v->n == VFAT_NODES_MAX) {
		err_set(e, -E2BIG, "%s holds more than %d files and folders", top(d),
			VFAT_NODES_MAX);
		return NULL;
	}
	if (v->n == v->room) {
		all = realloc(v->nodes, (2 * (size_t)v->room + 64) * sizeof(*all));
		if (!all) {
			err_nomem(e);
			return NULL;
		}
		v->nodes = all;
		v->room = 2 * v->room + 64;
	}
	v->nodes[v->n] = (struct vfat_node){ 0 };
	return &v->nodes[v->n++];
}

/* The fd becomes the disk's. */
static int keep_file(struct disk *d, struct vfat_node *n, int fd, struct err *e)
{
	struct file **all;
	int r;

	if (d->nfiles == FILES_MAX) {
		close(fd);
		return err_set(e, -E2BIG, "%s holds more than %d files", top(d), FILES_MAX - 1);
	}
	all = realloc(d->files, (d->nfiles + 1) * sizeof(*all));
	if (!all) {
		close(fd);
		return err_nomem(e);
	}
	d->files = all;
	r = file_from_fd(fd, n->path, false, &all[d->nfiles], e);
	if (r == 0)
		n->file = d->nfiles++;
	return r;
}

static int look_at(struct disk *d, struct vfat_node *n, struct err *e)
{
	int fd = open_beneath(d, n->path, 0, e);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0 || (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))) {
		close(fd);
		return err_set(e, -EINVAL, "%s: %s is neither a file nor a folder", top(d),
			       n->path);
	}
	n->dir = S_ISDIR(st.st_mode);
	n->mtime = st.st_mtime;
	if (n->dir || !st.st_size) {
		close(fd);
		return 0;
	}
	if (st.st_size > UINT32_MAX) {
		close(fd);
		return err_set(e, -EFBIG, "%s: %s is too big for FAT, which ends at 4 GiB", top(d),
			       n->path);
	}
	n->size = (uint32_t)st.st_size;
	return keep_file(d, n, fd, e);
}

static int add_child(struct disk *d, uint32_t parent, const char *name, struct err *e)
{
	struct vfat_node *n = add_node(d, e);
	const char *path;
	int r;

	if (!n)
		return -E2BIG;
	n->parent = parent;
	path = vfat_of(d)->nodes[parent].path;
	if (asprintf(&n->path, "%s%s%s", path, *path ? "/" : "", name) < 0) {
		n->path = NULL;
		return err_nomem(e);
	}
	n->name = n->path + strlen(n->path) - strlen(name);
	r = check_name(d, n->path, name, e);
	return r < 0 ? r : look_at(d, n, e);
}

static int by_name(const void *a, const void *b)
{
	const struct vfat_node *x = a, *y = b;
	int r = strcasecmp(x->name, y->name);

	return r ? r : strcmp(x->name, y->name);
}

/* In an order that does not depend on the host, and no two that FAT would take for one. */
static int sort_children(struct disk *d, uint32_t i, struct err *e)
{
	struct vfat *v = vfat_of(d);
	struct vfat_node *c = v->nodes + v->nodes[i].child;
	uint32_t n = v->nodes[i].children;

	if (n)
		qsort(c, n, sizeof(*c), by_name);
	for (uint32_t k = 1; k < n; k++)
		if (!strcasecmp(c[k - 1].name, c[k].name))
			return err_set(e, -EINVAL, "%s: %s and %s are one name for FAT", top(d),
				       c[k - 1].path, c[k].path);
	return 0;
}

static int scan_folder(struct disk *d, uint32_t i, struct err *e)
{
	struct vfat *v = vfat_of(d);
	int fd = open_beneath(d, v->nodes[i].path, O_DIRECTORY, e), r = 0;
	struct dirent *entry;
	DIR *dir;

	if (fd < 0)
		return fd;
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return err_sys(e, "%s: cannot list %s", top(d), v->nodes[i].path);
	}
	v->nodes[i].child = v->n;
	while (r == 0 && (entry = readdir(dir))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		r = add_child(d, i, entry->d_name, e);
	}
	closedir(dir);
	v->nodes[i].children = v->n - v->nodes[i].child;
	return r < 0 ? r : sort_children(d, i, e);
}

int vfat_scan(struct disk *d, struct err *e)
{
	struct vfat *v = vfat_of(d);
	struct vfat_node *root = add_node(d, e);
	int r = 0;

	if (!root)
		return -ENOMEM;
	root->dir = true;
	root->path = root->name = strdup("");
	if (!root->path)
		return err_nomem(e);
	for (uint32_t i = 0; r == 0 && i < v->n; i++)
		if (v->nodes[i].dir)
			r = scan_folder(d, i, e);
	return r;
}
