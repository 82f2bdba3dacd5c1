/* Raw: the file is the disk. */
#include <errno.h>

#include "storage/format.h"

static bool raw_probe(const struct probe *p)
{
	(void)p;
	return true;
}

static int raw_open(struct disk *d, struct err *e)
{
	(void)e;
	d->size = file_size(disk_file(d));
	d->unit = 1;
	return 0;
}

/* Holes are not looked for on the way of a guest's read: the host knows them anyway. */
static int raw_map(struct disk *d, uint64_t off, uint64_t want, struct extent *x, struct err *e)
{
	(void)want;
	(void)e;
	x->kind = EXTENT_DATA;
	x->flags = EXTENT_IN_PLACE;
	x->off = off;
	x->len = d->size - off;
	return 0;
}

static int raw_zero(struct disk *d, uint64_t off, uint64_t *len, bool unmap, struct err *e)
{
	return file_zero(disk_file(d), off, *len, unmap, e);
}

static int raw_discard(struct disk *d, uint64_t off, uint64_t *len, struct err *e)
{
	(void)e;
	file_discard(disk_file(d), off, *len);
	return 0;
}

static int raw_resize(struct disk *d, uint64_t size, struct err *e)
{
	int r = file_truncate(disk_file(d), size, e);

	if (r == 0)
		d->size = size;
	return r;
}

static int raw_create(struct file *f, const struct create_args *a, struct err *e)
{
	if (a->backing)
		return err_set(e, -EINVAL, "a raw image cannot have a backing image");
	return file_truncate(f, a->size, e);
}

extern const struct disk_format raw_format;
const struct disk_format raw_format = {
	.name = "raw",
	.doc = "plain copy of the disk",
	.probe = raw_probe,
	.open = raw_open,
	.map = raw_map,
	.zero = raw_zero,
	.discard = raw_discard,
	.resize = raw_resize,
	.create = raw_create,
};
