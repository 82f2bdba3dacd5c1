/*
 * The variable part of a qcow2 header: extensions and the name of the backing image (the spec,
 * "Header extensions"). Read at open; written anew when the name changes. Unknown extensions are
 * kept as they are.
 *
 * All extensions are kept in the first sector, which a power cut leaves old or new: what does not
 * fit there with them, the table of feature names, is left out (it is for sentences only). The
 * name itself lies elsewhere and is durable before the first sector points to it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/qcow2.h"

enum { SECTOR = 512, FORMAT_MAX = 63 };

static const char *image_name(struct disk *d)
{
	return disk_file(d)->name;
}

void q2_extensions_free(struct qcow2 *q)
{
	for (unsigned i = 0; i < q->ext_n; i++)
		free(q->ext[i].data);
	free(q->ext);
	q->ext = NULL;
	q->ext_n = 0;
}

const struct q2_ext *q2_extension(const struct qcow2 *q, uint32_t type)
{
	for (unsigned i = 0; i < q->ext_n; i++)
		if (q->ext[i].type == type)
			return &q->ext[i];
	return NULL;
}

int q2_extension_set(struct qcow2 *q, uint32_t type, const void *data, uint32_t len, struct err *e)
{
	struct q2_ext *all, *x = (struct q2_ext *)(uintptr_t)q2_extension(q, type);
	uint8_t *copy = NULL;

	if (data) {
		copy = malloc(len + 1);
		if (!copy)
			return err_nomem(e);
		memcpy(copy, data, len);
	}
	if (x && data) {
		free(x->data);
		x->data = copy;
		x->len = len;
	} else if (x) {
		free(x->data);
		*x = q->ext[--q->ext_n];
	} else if (data) {
		all = realloc(q->ext, (q->ext_n + 1) * sizeof(*all));
		if (!all) {
			free(copy);
			return err_nomem(e);
		}
		q->ext = all;
		all[q->ext_n++] = (struct q2_ext){ type, len, copy };
	}
	return 0;
}

static char *copy_name(const uint8_t *p, uint32_t len)
{
	return memchr(p, 0, len) ? NULL : strndup((const char *)p, len);
}

int q2_parse_extensions(struct disk *d, const uint8_t *h, size_t len, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	size_t at = q->header_len, end = MIN(len, q->cluster_size);
	uint64_t backing = be64(h + Q2_AT_BACKING_OFF);
	const struct q2_ext *x;
	int r = 0;

	if (backing > at && backing < end)
		end = backing;
	while (r == 0 && at + 8 <= end && be32(h + at)) {
		uint32_t type = be32(h + at), n = be32(h + at + 4);

		if (n > end - at - 8)
			return err_damaged(e, "%s: header extension %#x is longer than the header",
					   image_name(d), type);
		if (!q2_extension(q, type))
			r = q2_extension_set(q, type, h + at + 8, n, e);
		at += 8 + round_up(n, 8);
	}
	x = q2_extension(q, (uint32_t)Q2_EXT_BACKING_FORMAT);
	if (r == 0 && x && x->len <= FORMAT_MAX)
		d->backing_format = copy_name(x->data, x->len);
	return r;
}

int q2_parse_backing(struct disk *d, const uint8_t *h, size_t len, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	uint64_t off = be64(h + Q2_AT_BACKING_OFF);
	uint32_t n = be32(h + Q2_AT_BACKING_LEN);

	if (!off || !n)
		return 0;
	if (n > Q2_BACKING_MAX || !range_fits(off, n, MIN(len, q->cluster_size)))
		return err_damaged(e, "%s: the name of the backing image is not in the header",
				   image_name(d));
	d->backing_name = copy_name(h + off, n);
	if (!d->backing_name)
		return err_damaged(e, "%s: the name of the backing image is not a name",
				   image_name(d));
	q->backing_off = off;
	return 0;
}

/* The extensions from `at` on, and the mark of their end; returns where that ends. 0: no room. */
static size_t put_extensions(const struct qcow2 *q, uint8_t *h, size_t at, size_t room,
			     bool features)
{
	for (unsigned i = 0; i < q->ext_n; i++) {
		const struct q2_ext *x = &q->ext[i];

		if (x->type == Q2_EXT_FEATURES && !features)
			continue;
		if (at + 8 + round_up(x->len, 8) + 8 > room)
			return 0;
		put_be32(h + at, x->type);
		put_be32(h + at + 4, x->len);
		memcpy(h + at + 8, x->data, x->len);
		at += 8 + round_up(x->len, 8);
	}
	return at + 8;
}

/* Where a name of n bytes can lie without touching the one that is in use. */
static uint64_t place_name(const struct qcow2 *q, size_t used, size_t old_len, size_t n)
{
	uint64_t at = MAX(used, SECTOR);

	if (q->cluster_size == SECTOR || at + n > q->cluster_size)
		at = used;
	else if (ranges_overlap(at, n, q->backing_off, old_len))
		at = q->backing_off + old_len;
	if (at + n > q->cluster_size)
		at = used;
	return at + n > q->cluster_size ? 0 : at;
}

/* Everything behind the fixed part, with this name; the fixed part as it is in the file. */
static int write_variable(struct disk *d, const char *name, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	size_t n = name ? strlen(name) : 0, used, edge;
	size_t old = d->backing_name ? strlen(d->backing_name) : 0;
	autofree uint8_t *h = calloc(1, q->cluster_size);
	uint64_t at = 0;
	int r = h ? file_pread(disk_file(d), 0, h, q->header_len, e) : err_nomem(e);

	if (r < 0)
		return r;
	used = put_extensions(q, h, q->header_len, SECTOR, true);
	if (!used)
		used = put_extensions(q, h, q->header_len, q->cluster_size, false);
	if (used && n)
		at = place_name(q, used, old, n);
	if (!used || (n && !at))
		return err_set(e, -ENAMETOOLONG, "%s: the header has no room for this name",
			       image_name(d));
	put_be64(h + Q2_AT_BACKING_OFF, at);
	put_be32(h + Q2_AT_BACKING_LEN, (uint32_t)n);
	if (n)
		memcpy(h + at, name, n);
	edge = MIN(MAX(SECTOR, round_up(used, SECTOR)), q->cluster_size);
	if (at >= edge) {
		r = file_pwrite(disk_file(d), at, name, n, e);
		if (r == 0)
			r = file_sync(disk_file(d), e);
	} else {
		edge = MIN(MAX(edge, round_up(at + n, SECTOR)), q->cluster_size);
	}
	if (r == 0)
		r = file_pwrite(disk_file(d), 0, h, edge, e);
	if (r == 0)
		r = file_sync(disk_file(d), e);
	if (r == 0)
		q->backing_off = at;
	return r;
}

int q2_write_extensions(struct disk *d, struct err *e)
{
	int r = q2_settle(d, e);

	return r < 0 ? r : write_variable(d, d->backing_name, e);
}

int q2_set_backing(struct disk *d, const char *name, const char *format, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	autofree char *name_copy = name ? strdup(name) : NULL;
	autofree char *format_copy = format ? strdup(format) : NULL;
	int r;

	if ((name && !name_copy) || (format && !format_copy))
		return err_nomem(e);
	if (name && (!*name || strlen(name) > Q2_BACKING_MAX))
		return err_set(e, -ENAMETOOLONG, "a backing image has a name of 1 to %u bytes",
			       Q2_BACKING_MAX);
	if (format && strlen(format) > FORMAT_MAX)
		return err_set(e, -EINVAL, "there is no disk format \"%.64s\"", format);
	r = q2_settle(d, e);
	if (r == 0)
		r = q2_extension_set(q, (uint32_t)Q2_EXT_BACKING_FORMAT, format,
				     format ? (uint32_t)strlen(format) : 0, e);
	if (r == 0)
		r = write_variable(d, name, e);
	if (r < 0)
		return r;
	free(d->backing_name);
	free(d->backing_format);
	d->backing_name = take(name_copy);
	d->backing_format = take(format_copy);
	return 0;
}
