/*
 * Opening and closing a disk with everything it needs: by path, from an fd, from a resolved chain.
 * Formats ask here for the files they name. Called by vmctl, jobs and the worker while it starts;
 * any thread, may wait.
 */
#include "storage/open.h"
#include "storage/nbd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/crypt.h"
#include "storage/dirty.h"

/* One file that is open in the graph: a second time means a loop. */
static int graph_add(struct opener *op, const struct file *f, struct err *e)
{
	struct graph_file *all;

	if (!f->dev)
		return 0;
	for (unsigned i = 0; i < op->graph_n; i++)
		if (op->graph[i].dev == f->dev && op->graph[i].ino == f->ino)
			return err_damaged(e, "%s is named twice in one chain of images", f->name);
	if (op->graph_n == FILES_MAX)
		return err_damaged(e, "more than %d files in one chain of images", FILES_MAX);
	if (!(op->graph_n & (op->graph_n + 1)) || !op->graph) {
		all = realloc(op->graph, (2 * (size_t)op->graph_n + 2) * sizeof(*all));
		if (!all)
			return err_nomem(e);
		op->graph = all;
	}
	op->graph[op->graph_n++] = (struct graph_file){ f->dev, f->ino };
	return 0;
}

static void disk_free(struct disk *d)
{
	if (d->priv && d->format->close)
		d->format->close(d);
	for (unsigned i = 0; i < d->nfiles; i++)
		file_close(d->files[i]);
	if (d->backing)
		disk_free(d->backing);
	pthread_mutex_destroy(&d->meta);
	pthread_cond_destroy(&d->ranges_changed);
	pthread_mutex_destroy(&d->begin_lock);
	pthread_mutex_destroy(&d->unit_lock);
	pthread_mutex_destroy(&d->flush_lock);
	pthread_cond_destroy(&d->flush_done);
	pthread_mutex_destroy(&d->limit_lock);
	pthread_mutex_destroy(&d->pool_lock);
	cipher_free(d->cipher);
	dirty_free_all(d);
	free(d->unit_data);
	free(d->files);
	free(d->priv);
	free(d->backing_name);
	free(d->backing_format);
	free(d);
}

/* f becomes the disk's, also on failure. */
static struct disk *disk_alloc(struct file *f, struct err *e)
{
	struct disk *d = calloc(1, sizeof(*d));

	if (d)
		d->files = calloc(1, sizeof(*d->files));
	if (!d || !d->files) {
		free(d);
		file_close(f);
		err_nomem(e);
		return NULL;
	}
	d->files[0] = f;
	d->nfiles = 1;
	d->unit = 1;
	list_init(&d->ranges);
	pthread_mutex_init(&d->meta, NULL);
	pthread_cond_init(&d->ranges_changed, NULL);
	pthread_mutex_init(&d->begin_lock, NULL);
	pthread_mutex_init(&d->unit_lock, NULL);
	pthread_mutex_init(&d->flush_lock, NULL);
	pthread_cond_init(&d->flush_done, NULL);
	pthread_mutex_init(&d->limit_lock, NULL);
	pthread_mutex_init(&d->pool_lock, NULL);
	return d;
}

static int is_folder(struct disk *d, struct err *e)
{
	err_lacking(e, "%s is a folder", disk_file(d)->name);
	err_hint(e, "a folder can be read as a disk with format=vfat");
	return -ENOTSUP;
}

static int choose_format(struct disk *d, const char *name, struct err *e)
{
	if (name) {
		d->format = format_find(name);
		if (d->format && disk_file(d)->directory && !d->format->of_folder)
			return is_folder(d, e);
		if (d->format)
			return 0;
		return err_lacking(e, "there is no disk format \"%.40s\"", name);
	}
	if (disk_file(d)->directory)
		return is_folder(d, e);
	d->format = format_probe(disk_file(d), e);
	if (!d->format)
		return -ENOTSUP;
	d->probed = true;
	if (!strcmp(d->format->name, "raw") && d->writable && !d->depth &&
	    !(d->flags & DISK_PROBE_RAW)) {
		err_lacking(e, "%s is of no known disk format", disk_file(d)->name);
		err_hint(e, "if it is a plain copy of a disk, say so: format=raw");
		return -ENOTSUP;
	}
	return 0;
}

static int check_geometry(struct disk *d, struct err *e)
{
	if (!is_pow2(d->unit) || d->unit > 64 * MiB)
		return err_damaged(e, "%s: units of %u bytes", disk_file(d)->name, d->unit);
	if (d->size > INT64_MAX - (1 << 30))
		return err_damaged(e, "%s: a disk of %llu bytes is too big", disk_file(d)->name,
				   (unsigned long long)d->size);
	return 0;
}

static int disk_fill(struct opener *op, struct disk *d, const char *format, struct err *e)
{
	int r = graph_add(op, disk_file(d), e);

	if (r == 0)
		r = choose_format(d, format, e);
	if (r < 0)
		return r;
	d->priv = calloc(1, d->format->priv_size + 1);
	if (!d->priv)
		return err_nomem(e);
	r = d->format->open(d, e);
	return r < 0 ? r : check_geometry(d, e);
}

int opener_disk(struct opener *op, struct file *f, const char *format, int depth,
		struct disk *backing, struct disk **ret, struct err *e)
{
	struct disk *d = disk_alloc(f, e);
	int r;

	if (!d) {
		if (backing)
			disk_free(backing);
		return -ENOMEM;
	}
	d->backing = backing;
	d->flags = depth ? (op->flags & ~(unsigned)DISK_NO_BACKING) | DISK_RDONLY : op->flags;
	d->writable = f->writable;
	d->cache_bytes = op->cache_bytes;
	d->depth = depth;
	d->opener = op;
	f->unsafe = op->flags & DISK_UNSAFE;
	r = disk_fill(op, d, format, e);
	d->opener = NULL;
	if (r < 0)
		disk_free(d);
	else
		*ret = d;
	return r;
}

static int denied(const struct disk_ref *ref, struct err *e)
{
	err_set(e, -EPERM, "%s names another file, %.200s, which was not allowed", ref->from,
		ref->name);
	err_hint(e, "if you trust this image, put that file beneath the directory of the image");
	err_kind(e, "disk.denied");
	return -EPERM;
}

/* Asks the source of files (gate or chain) and takes the lock. *format: malloced or NULL. */
static int opener_file(struct opener *op, const struct disk_ref *ref, struct file **ret,
		       char **format, struct err *e)
{
	struct disk_grant g = { .fd = -1 };
	autofree char *path = NULL;
	int r;

	if (!op->give)
		return denied(ref, e);
	r = op->give(op, ref, &g, e);
	if (r < 0)
		return r;
	path = g.path;
	*format = g.format;
	if (g.file) {
		*ret = g.file;
		return 0;
	}
	r = file_from_fd(g.fd, path, ref->write && !op->resolving, ret, e);
	if (r < 0)
		return r;
	if (!(op->flags & DISK_NO_LOCK) && !op->resolving)
		r = image_lock((*ret)->fd, path, ref->write, e);
	if (r < 0) {
		file_close(*ret);
		return r;
	}
	return 0;
}

static int no_parent(struct disk *d, struct err *e)
{
	err_lacking(e, "%s holds only what differs from its parent, and does not name that image",
		    disk_file(d)->name);
	err_hint(e, "say which image it is: --backing FILE");
	return -ENOTSUP;
}

int disk_need_backing(struct disk *d, struct err *e)
{
	struct opener *op = d->opener;
	struct disk_ref ref = { .kind = DISK_REF_BACKING,
				.name = d->backing_name,
				.format = d->backing_format,
				.from = disk_file(d)->name,
				.probed = d->probed,
				.depth = d->depth + 1 };
	autofree char *given = NULL;
	struct file *f;
	int r;

	if (d->backing || d->flags & DISK_NO_BACKING)
		return 0;
	if (d->depth + 1 >= DEPTH_MAX)
		return err_damaged(e, "%s: a chain of more than %d images", ref.from, DEPTH_MAX);
	if (!ref.name && op->parents && *op->parents)
		ref.name = *op->parents++;
	if (!ref.name && (op->resolving || !op->chain))
		return no_parent(d, e);
	r = opener_file(op, &ref, &f, &given, e);
	if (r < 0)
		return r;
	/* What was guessed can name no further file: the gate is told. */
	if (!given && !d->backing_format && !d->format->probes_backing) {
		r = err_lacking(e, "%s does not say which format its backing image %.200s has",
				ref.from, ref.name);
		err_hint(e,
			 "record it: vmctl disk rebase --unsafe --backing '%.70s' --backing-format "
			 "FORMAT '%.60s'",
			 ref.name, ref.from);
		file_close(f);
		return r;
	}
	return opener_disk(op, f, given ? given : d->backing_format, d->depth + 1, NULL,
			   &d->backing, e);
}

int disk_need_file(struct disk *d, enum disk_ref_kind kind, const char *name, bool write,
		   unsigned *index, struct err *e)
{
	struct disk_ref ref = { .kind = kind,
				.name = name,
				.from = disk_file(d)->name,
				.probed = d->probed,
				.write = write,
				.depth = d->depth + 1 };
	struct file **all = realloc(d->files, (d->nfiles + 1) * sizeof(*all));
	autofree char *unused = NULL;
	int r;

	if (!all)
		return err_nomem(e);
	d->files = all;
	r = opener_file(d->opener, &ref, &all[d->nfiles], &unused, e);
	if (r < 0)
		return r;
	all[d->nfiles]->unsafe = d->opener->flags & DISK_UNSAFE;
	*index = d->nfiles++;
	return graph_add(d->opener, all[*index], e);
}

int disk_need_secret(struct disk *d, const struct disk_secret **ret, struct err *e)
{
	struct opener *op = d->opener;

	*ret = NULL;
	if (op->resolving || d->flags & DISK_NO_SECRET)
		return 0;
	if (!op->secret)
		return err_secret(e, "%s is encrypted and needs a passphrase", disk_file(d)->name);
	*ret = op->secret;
	return 0;
}

static int give_through_gate(struct opener *op, const struct disk_ref *ref, struct disk_grant *g,
			     struct err *e)
{
	return op->gate->open(op->gate->arg, ref, g, e);
}

void opener_init(struct opener *op, const struct disk_options *o)
{
	*op = (struct opener){ .flags = o->flags,
			       .cache_bytes = o->cache_bytes,
			       .gate = o->gate,
			       .parents = o->parents,
			       .secret = o->secret };
	if (o->gate)
		op->give = give_through_gate;
}

void opener_done(struct opener *op)
{
	free(op->graph);
}

static const struct disk_options no_options;

int disk_new_from_file(struct file *f, const struct disk_options *o, struct disk **ret,
		       struct err *e)
{
	return disk_new_overlay(f, NULL, o, ret, e);
}

int disk_new_overlay(struct file *f, struct disk *backing, const struct disk_options *o,
		     struct disk **ret, struct err *e)
{
	struct opener op;
	int r;

	opener_init(&op, o ? o : &no_options);
	r = opener_disk(&op, f, o ? o->format : NULL, 0, backing, ret, e);
	opener_done(&op);
	return r;
}

/* The temporary overlay of DISK_SNAPSHOT, in memory's place on disk: fd has no name. */
static int add_overlay(struct opener *op, struct disk *base, int fd, struct disk **ret,
		       struct err *e)
{
	struct disk_create c = { .format = "qcow2", .size = base->size };
	struct disk_options o = { .format = "qcow2",
				  .flags = DISK_UNSAFE | DISK_NO_LOCK,
				  .cache_bytes = op->cache_bytes };
	struct file *f;
	int r = file_from_fd(fd, "the temporary overlay", true, &f, e);

	if (r == 0) {
		f->unsafe = true;
		r = disk_create_file(f, &c, e);
		if (r < 0)
			file_close(f);
	}
	if (r < 0) {
		disk_close(base);
		return r;
	}
	return disk_new_overlay(f, base, &o, ret, e);
}

/* A file without a name, where there is most room; else memory. */
int temporary_fd(struct err *e)
{
	const char *dirs[] = { getenv("TMPDIR"), "/var/tmp", "/tmp" };
	int fd;

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		fd = dirs[i] ? open(dirs[i], O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) : -1;
		if (fd >= 0)
			return fd;
	}
	fd = memfd_create("vmd-overlay", MFD_CLOEXEC);
	return fd < 0 ? err_sys(e, "cannot make a temporary file") : fd;
}

int opener_top(struct opener *op, int fd, const char *name, const char *format, int overlay_fd,
	       struct disk **ret, struct err *e)
{
	bool snapshot = op->flags & DISK_SNAPSHOT;
	bool write = !(op->flags & (DISK_RDONLY | DISK_SNAPSHOT));
	autoclose int overlay = overlay_fd;
	autoptr(disk) d = NULL;
	struct file *f;
	int r;

	op->flags &= ~(unsigned)DISK_SNAPSHOT;
	if (!write)
		op->flags |= DISK_RDONLY;
	r = file_from_fd(fd, name, write && !op->resolving, &f, e);
	if (r < 0)
		return r;
	if (f->directory)
		op->flags |= DISK_NO_LOCK; /* there are no bytes to lock */
	if (!(op->flags & DISK_NO_LOCK))
		r = image_lock(f->fd, name, write, e);
	if (r < 0) {
		file_close(f);
		return r;
	}
	if (op->resolving && !(op->flags & DISK_NO_LOCK))
		image_unlock(f->fd);
	r = opener_disk(op, f, format, 0, NULL, &d, e);
	if (r < 0)
		return r;
	if (snapshot && !op->resolving) {
		if (overlay < 0)
			overlay = temporary_fd(e);
		if (overlay < 0)
			return overlay;
		return add_overlay(op, take(d), take_fd(&overlay), ret, e);
	}
	*ret = take(d);
	return 0;
}

int open_image_path(const char *path, unsigned flags, struct err *e)
{
	bool write = !(flags & (DISK_RDONLY | DISK_SNAPSHOT));
	int fd = open(path, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY |
				(flags & DISK_DIRECT ? O_DIRECT : 0));
	int r;

	if (fd >= 0)
		return fd;
	r = err_sys(e, "cannot open %s", path);
	if (r == -EISDIR)
		err_hint(e, "a folder can be read as a disk: read-only, with format=vfat");
	if (r == -ENOENT) {
		err_kind(e, "disk.not-found");
	} else if (r == -EACCES || r == -EPERM || r == -EROFS) {
		err_kind(e, "disk.permission");
		err_hint(e, write
				? "it must be readable and writable for you, or be opened read-only"
				: "it must be readable for you");
	}
	return r;
}

int disk_open_fd(int fd, const char *name, const struct disk_options *o, struct disk **ret,
		 struct err *e)
{
	struct opener op;
	int r;

	opener_init(&op, o ? o : &no_options);
	r = opener_top(&op, fd, name, o ? o->format : NULL, -1, ret, e);
	opener_done(&op);
	return r;
}

/* Its format is never guessed: what is exported is a disk, unless the caller says otherwise. */
static int open_remote(const char *uri, const struct disk_options *o, struct disk **ret,
		       struct err *e)
{
	struct disk_options options = *o;
	struct file *f;
	int r = nbd_file_open(uri, !(o->flags & (DISK_RDONLY | DISK_SNAPSHOT)), &f, e);

	if (r < 0)
		return r;
	if (!options.format)
		options.format = "raw";
	return disk_new_from_file(f, &options, ret, e);
}

int disk_open(const char *path, const struct disk_options *o, struct disk **ret, struct err *e)
{
	int fd;

	if (nbd_is_uri(path))
		return open_remote(path, o ? o : &no_options, ret, e);
	fd = open_image_path(path, o ? o->flags : 0, e);
	return fd < 0 ? fd : disk_open_fd(fd, path, o, ret, e);
}

int disk_finish(struct disk *d, struct err *e)
{
	int r = engine_flush(d, e);

	if (r == 0 && d->writable && d->format->finish)
		r = d->format->finish(d, e);
	disk_free(d);
	return r;
}

void disk_close(struct disk *d)
{
	struct err e;

	disk_finish(d, &e);
}
