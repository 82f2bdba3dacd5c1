/*
 * What a struct disk answers to jobs: sizes, whole reads and writes, information, checks,
 * snapshots. Any thread where disk.h says so; may wait.
 */
#include "storage/disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/strbuf.h"
#include "storage/dirty.h"
#include "storage/engine.h"

uint64_t disk_size(struct disk *d)
{
	return d->size;
}

bool disk_writable(const struct disk *d)
{
	return d->writable;
}

const char *disk_format_name(const struct disk *d)
{
	return d->format->name;
}

uint32_t disk_unit(const struct disk *d)
{
	return d->unit;
}

struct disk *disk_backing(struct disk *d)
{
	return d->backing;
}

int disk_readv(struct disk *d, uint64_t off, const struct iovec *iov, int n, struct err *e)
{
	struct disk_req q = { .op = DISK_READ, .off = off, .iov = iov, .iovcnt = n };

	for (int i = 0; i < n; i++)
		q.len += iov[i].iov_len;
	return engine_run(d, &q, e);
}

int disk_writev(struct disk *d, uint64_t off, const struct iovec *iov, int n, struct err *e)
{
	struct disk_req q = { .op = DISK_WRITE, .off = off, .iov = iov, .iovcnt = n };

	for (int i = 0; i < n; i++)
		q.len += iov[i].iov_len;
	return engine_run(d, &q, e);
}

int disk_read(struct disk *d, uint64_t off, void *buf, size_t len, struct err *e)
{
	struct iovec v = { buf, len };

	return disk_readv(d, off, &v, 1, e);
}

int disk_write(struct disk *d, uint64_t off, const void *buf, size_t len, struct err *e)
{
	struct iovec v = { (void *)(uintptr_t)buf, len };

	return disk_writev(d, off, &v, 1, e);
}

int disk_zero(struct disk *d, uint64_t off, uint64_t len, bool unmap, struct err *e)
{
	struct disk_req q = { .op = DISK_ZERO, .off = off, .len = len, .unmap = unmap };

	return engine_run(d, &q, e);
}

int disk_discard(struct disk *d, uint64_t off, uint64_t len, struct err *e)
{
	struct disk_req q = { .op = DISK_DISCARD, .off = off, .len = len };

	return engine_run(d, &q, e);
}

int disk_flush(struct disk *d, struct err *e)
{
	return engine_flush(d, e);
}

static int must_write(struct disk *d, bool can, const char *what, struct err *e)
{
	if (!can)
		return err_lacking(e, "%s images cannot %s", d->format->name, what);
	if (!d->writable)
		return err_set(e, -EROFS, "%s is open for reading only", disk_file(d)->name);
	return engine_begin(d, e);
}

int disk_set_backing(struct disk *d, const char *name, const char *format, struct err *e)
{
	int r = must_write(d, d->format->set_backing, "change their backing image", e);

	if (r == 0 && name && !format)
		return err_set(e, -EINVAL, "say which format the backing image %.200s has", name);
	if (r == 0)
		r = engine_flush(d, e);
	return r < 0 ? r : d->format->set_backing(d, name, name ? format : NULL, e);
}

int disk_make_empty(struct disk *d, struct err *e)
{
	int r = must_write(d, d->format->make_empty, "be emptied", e);

	if (r == 0)
		r = engine_flush(d, e);
	if (r == 0)
		r = d->format->make_empty(d, e);
	d->map_changes++;
	return r < 0 ? r : engine_flush(d, e);
}

/*
 * What is new reads as zeroes: the rest of the unit in which the disk ended may hold anything, and
 * a longer backing image must not shine through.
 */
static int hide_old_tail(struct disk *d, uint64_t old, struct err *e)
{
	uint64_t end = MIN(d->size, round_up(old, d->unit));

	if (d->backing)
		end = MAX(end, MIN(d->size, d->backing->size));
	return end > old ? engine_zero(d, old, end - old, false, e) : 0;
}

int disk_resize(struct disk *d, uint64_t size, struct err *e)
{
	uint64_t old = d->size;
	int r = must_write(d, d->format->resize, "change their size", e);

	if (r < 0 || size == old)
		return r;
	if (size > INT64_MAX - GiB)
		return err_set(e, -EINVAL, "a disk of %llu bytes is too big",
			       (unsigned long long)size);
	r = engine_flush(d, e);
	if (r == 0)
		r = d->format->resize(d, size, e);
	d->map_changes++;
	if (r == 0)
		r = dirty_resize(d, old, e);
	if (r == 0)
		r = hide_old_tail(d, old, e);
	return r < 0 ? r : engine_flush(d, e);
}

/* Data of a host file may be a hole there; that is worth knowing when copying. */
static void look_for_hole(struct disk *d, const struct extent *x, struct disk_map *m)
{
	struct file *f = d->files[x->file];
	uint64_t len;

	if (x->off >= file_size(f) || !f->ops->is_data)
		return;
	if (!f->ops->is_data(f, x->off, &len))
		m->status = DISK_IS_ZERO;
	m->len = MIN(m->len, len);
}

int disk_map(struct disk *d, uint64_t off, struct disk_map *m, struct err *e)
{
	uint64_t want = UINT64_MAX;

	*m = (struct disk_map){ .status = DISK_IS_HOLE };
	if (off >= d->size)
		return err_set(e, -EINVAL, "byte %llu is past the end of the disk",
			       (unsigned long long)off);
	for (;; d = d->backing, m->depth++) {
		struct extent x;
		int r;

		pthread_mutex_lock(&d->meta);
		r = map_locked(d, off, MIN(want, d->size - off), &x, e);
		pthread_mutex_unlock(&d->meta);
		if (r < 0)
			return r;
		m->len = want = x.len;
		if (x.kind == EXTENT_BACKING && d->backing && off < d->backing->size)
			continue;
		m->compressed = x.kind == EXTENT_COMPRESSED;
		m->in_file = x.kind == EXTENT_DATA && !(x.flags & EXTENT_SEALED);
		m->file_off = x.off;
		m->status = x.kind == EXTENT_BACKING ? DISK_IS_HOLE
			    : x.kind == EXTENT_ZERO  ? DISK_IS_ZERO
						     : DISK_IS_DATA;
		if (m->in_file)
			look_for_hole(d, &x, m);
		return 0;
	}
}

void disk_info(struct disk *d, struct disk_info *i)
{
	*i = (struct disk_info){ .format = d->format->name,
				 .size = d->size,
				 .unit = d->unit,
				 .probed = d->probed,
				 .backing_name = d->backing_name,
				 .backing_format = d->backing_format };
	for (unsigned n = 0; n < d->nfiles; n++) {
		struct file *f = d->files[n];
		struct stat st;

		i->file_size += file_size(f);
		if (f->fd >= 0 && fstat(f->fd, &st) == 0)
			i->allocated += (uint64_t)st.st_blocks * 512;
	}
	if (d->format->info)
		d->format->info(d, i);
}

/* A format without a check of its own: does every part of the map hold? */
static void check_map(struct disk *d, struct disk_check *c)
{
	uint64_t len;

	for (uint64_t off = 0; off < d->size; off += len) {
		struct extent x;
		struct err e;
		int r;

		pthread_mutex_lock(&d->meta);
		r = map_locked(d, off, d->size - off, &x, &e);
		pthread_mutex_unlock(&d->meta);
		len = r < 0 ? d->unit - off % d->unit : x.len;
		if (r == 0)
			continue;
		c->corruptions++;
		disk_finding(c, "%s", e.msg);
		if (d->unit == 1)
			return;
	}
}

int disk_check(struct disk *d, unsigned repair, struct disk_check *c, struct err *e)
{
	int r = 0;

	if (!d->format->check) {
		check_map(d, c);
		return 0;
	}
	if (repair)
		r = must_write(d, true, "", e);
	if (r == 0)
		r = engine_flush(d, e);
	if (r == 0)
		r = d->format->check(d, repair, c, e);
	return r;
}

int disk_snapshot_create(struct disk *d, const char *name, struct err *e)
{
	int r = must_write(d, d->format->snapshot_create, "keep snapshots", e);

	return r < 0 ? r : d->format->snapshot_create(d, name, e);
}

int disk_snapshot_delete(struct disk *d, const char *name, struct err *e)
{
	int r = must_write(d, d->format->snapshot_delete, "keep snapshots", e);

	return r < 0 ? r : d->format->snapshot_delete(d, name, e);
}

int disk_snapshot_revert(struct disk *d, const char *name, struct err *e)
{
	int r = must_write(d, d->format->snapshot_revert, "keep snapshots", e);
	uint64_t old = d->size;

	d->map_changes++;
	if (r == 0)
		r = d->format->snapshot_revert(d, name, e);
	if (r == 0)
		r = dirty_resize(d, old, e);
	if (r == 0)
		dirty_mark(d, 0, d->size);
	return r;
}

int disk_snapshot_view(struct disk *d, const char *name, struct err *e)
{
	if (!d->format->snapshot_view)
		return err_lacking(e, "%s images cannot keep snapshots", d->format->name);
	if (d->writable)
		return err_set(e, -EINVAL, "%s is open for writing", disk_file(d)->name);
	d->map_changes++;
	return d->format->snapshot_view(d, name, e);
}

int disk_snapshot_list(struct disk *d, struct disk_snapshot **list, unsigned *n, struct err *e)
{
	*list = NULL;
	*n = 0;
	return d->format->snapshot_list ? d->format->snapshot_list(d, list, n, e) : 0;
}
