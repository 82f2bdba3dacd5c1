/*
 * The link of a qcow2 image to its backing image: changing the name, and forgetting all content
 * of its own. No request is in flight.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/qcow2.h"

/* The header extensions without the old format of the backing image, and with the new one. */
static int rebuild_extensions(struct disk *d, const uint8_t *h, uint8_t *out, size_t *len,
			      const char *format, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	size_t at = q->header_len, to = q->header_len;

	memcpy(out, h, q->header_len);
	if (format) {
		size_t n = strlen(format);

		put_be32(out + to, (uint32_t)Q2_EXT_BACKING_FORMAT);
		put_be32(out + to + 4, (uint32_t)n);
		memcpy(out + to + 8, format, n);
		to += 8 + round_up(n, 8);
	}
	while (at + 8 <= q->cluster_size && be32(h + at)) {
		uint32_t n = be32(h + at + 4);
		size_t all = 8 + round_up((uint64_t)n, 8);

		if (n > q->cluster_size - at - 8 || to + all + 8 > q->cluster_size)
			return err_set(e, -ENAMETOOLONG, "%s: the header has no room for this",
				       disk_file(d)->name);
		if (be32(h + at) != (uint32_t)Q2_EXT_BACKING_FORMAT) {
			memcpy(out + to, h + at, MIN(all, q->cluster_size - at));
			to += all;
		}
		at += all;
	}
	*len = to + 8; /* the end mark is zero */
	return 0;
}

/* Where the new name goes: not over the old one, which counts until the header is written. */
static uint64_t place_name(const uint8_t *h, size_t from, size_t n)
{
	uint64_t old = be64(h + Q2_AT_BACKING_OFF), old_n = be32(h + Q2_AT_BACKING_LEN);

	if (!old || !ranges_overlap(from, n, old, old_n))
		return from;
	return round_up(MAX(from, old + old_n), 8);
}

static int write_name(struct disk *d, const uint8_t *h, uint8_t *out, size_t len, const char *name,
		      struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	size_t n = name ? strlen(name) : 0;
	uint64_t at = n ? place_name(h, len, n) : 0;
	int r = 0;

	if (n > Q2_BACKING_MAX || at + n > q->cluster_size)
		return err_set(e, -ENAMETOOLONG, "the name of the backing image is too long");
	if (n)
		r = file_pwrite(disk_file(d), at, name, n, e);
	if (r == 0)
		r = file_sync(disk_file(d), e);
	put_be64(out + Q2_AT_BACKING_OFF, at);
	put_be32(out + Q2_AT_BACKING_LEN, (uint32_t)n);
	if (r == 0)
		r = file_pwrite(disk_file(d), 0, out, len, e);
	return r < 0 ? r : file_sync(disk_file(d), e);
}

int q2_set_backing(struct disk *d, const char *name, const char *format, struct err *e)
{
	struct qcow2 *q = qcow2_of(d);
	autofree uint8_t *h = calloc(2, q->cluster_size), *out = calloc(1, q->cluster_size);
	size_t len = 0;
	int r = h && out ? q2_settle(d, e) : err_nomem(e);

	if (r == 0 && format && strlen(format) > 63)
		r = err_set(e, -EINVAL, "there is no disk format \"%.64s\"", format);
	if (r == 0)
		r = file_pread(disk_file(d), 0, h, q->cluster_size, e);
	if (r == 0)
		r = rebuild_extensions(d, h, out, &len, format, e);
	return r < 0 ? r : write_name(d, h, out, len, name, e);
}

int q2_make_empty(struct disk *d, struct err *e)
{
	int r = 0;

	for (uint64_t off = 0, len; r == 0 && off < d->size; off += len) {
		len = d->size - off;
		pthread_mutex_lock(&d->meta);
		r = q2_unmap(d, off, &len, e);
		d->map_changes++;
		pthread_mutex_unlock(&d->meta);
		if (r == 0 && d->wants_flush)
			r = q2_flush(d, e);
	}
	return r < 0 ? r : q2_settle(d, e);
}
