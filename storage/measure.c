/*
 * How large an image would become, found by making it: with all its tables, but with data that is
 * only counted. For "disk measure"; any thread, may wait.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "storage/engine.h"
#include "storage/layers.h"

#define AREA (1 * MiB)

/* Bytes from the area are data: their room in the file is a hole. */
struct measuring {
	struct file_ops ops;
	const struct file_ops *host;
	const uint8_t *area;
};

static int count_writev(struct file *f, uint64_t off, const struct iovec *iov, int n, struct err *e)
{
	struct measuring *m = container_of(f->ops, struct measuring, ops);
	int r = 0;

	for (int i = 0; r == 0 && i < n; off += iov[i++].iov_len) {
		const uint8_t *p = iov[i].iov_base;
		uint64_t end = off + iov[i].iov_len;

		if (p < m->area || p >= m->area + AREA)
			r = m->host->writev(f, off, &iov[i], 1, e);
		else if (end > file_size(f))
			r = m->host->truncate(f, end, e);
		if (r == 0)
			file_grown(f, end);
	}
	return r;
}

static int write_data(struct disk *d, const struct measuring *m, uint64_t off, uint64_t len,
		      struct err *e)
{
	int r = 0;

	for (uint64_t step; r == 0 && len; off += step, len -= step) {
		step = MIN(len, AREA - off % AREA);
		r = disk_write(d, off, m->area, step, e);
	}
	return r;
}

/* What src has; all of the disk when there is none. */
static int fill(struct disk *d, struct disk *src, const struct measuring *m, struct err *e)
{
	uint64_t size = disk_size(d), end = src ? MIN(size, disk_size(src)) : size;
	int r = 0;

	if (!src)
		return write_data(d, m, 0, size, e);
	for (uint64_t off = 0, len; r == 0 && off < end; off += len) {
		struct disk_map map;

		r = disk_map(src, off, &map, e);
		len = MIN(map.len, end - off);
		if (r == 0 && map.status == DISK_IS_DATA) {
			/* A copy writes whole units, too. */
			uint64_t from = round_down(off, disk_unit(d));

			r = write_data(d, m, from,
				       MIN(round_up(off + len, disk_unit(d)), size) - from, e);
		}
	}
	return r;
}

static int measure(struct measuring *m, const struct disk_create *c, struct disk *src, bool empty,
		   uint64_t *bytes, struct err *e)
{
	struct disk_options o = { .format = c->format,
				  .flags = DISK_UNSAFE | DISK_NO_LOCK | DISK_NO_BACKING };
	int fd = memfd_create("measure", MFD_CLOEXEC), r;
	autoptr(disk) d = NULL;
	struct file *f;

	if (fd < 0)
		return err_sys(e, "cannot make a file in memory");
	r = file_from_fd(fd, "the new image", true, &f, e);
	if (r < 0)
		return r;
	m->host = f->ops;
	m->ops = *f->ops;
	m->ops.writev = count_writev;
	f->ops = &m->ops;
	r = disk_create_file(f, c, e);
	if (r < 0) {
		file_close(f);
		return r;
	}
	r = disk_new_from_file(f, &o, &d, e);
	if (r == 0 && !empty)
		r = fill(d, src, m, e);
	if (r == 0)
		r = disk_flush(d, e);
	if (r == 0)
		*bytes = file_size(f);
	return r;
}

int disk_measure(const struct disk_create *c, struct disk *src, uint64_t *needed, uint64_t *full,
		 struct err *e)
{
	void *area = mmap(NULL, AREA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct measuring m = { .area = area };
	int r;

	if (area == MAP_FAILED)
		return err_nomem(e);
	memset(area, 0x55, AREA);
	r = measure(&m, c, src, !src, needed, e);
	if (r == 0 && full)
		r = measure(&m, c, NULL, false, full, e);
	munmap(area, AREA);
	return r;
}
