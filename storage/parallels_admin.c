/*
 * A Parallels image as a whole: making one, changing its size, checking it. Called by jobs; no
 * request is in flight.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bitmap.h"
#include "base/size.h"
#include "storage/parallels.h"

enum { OPT_CLUSTER_SIZE, OPTS };
enum { HEADS = 16, TRACK = 32, CLUSTER_MIN = 4 << 10, CLUSTER_MAX = 64 << 20 };

const struct format_option prl_options[] = {
	[OPT_CLUSTER_SIZE] = { "cluster_size", "1M", "bytes in which space is allocated, 4K..64M" },
	[OPTS] = { NULL, NULL, NULL },
};

static uint32_t cylinders(uint64_t size)
{
	return (uint32_t)MIN(size / 512 / (HEADS * TRACK), UINT32_MAX);
}

int prl_create(struct file *f, const struct create_args *a, struct err *e)
{
	uint8_t h[PRL_HEADER_LEN] = "WithouFreSpacExt";
	uint64_t cluster = 0, size = round_up(a->size, 512), entries, data;
	int r;

	if (a->backing)
		return err_set(e, -EINVAL, "a Parallels image cannot have a backing image");
	if (!size_parse(a->values[OPT_CLUSTER_SIZE], &cluster) || !is_pow2(cluster) ||
	    cluster < CLUSTER_MIN || cluster > CLUSTER_MAX)
		return err_set(e, -EINVAL, "cluster_size cannot be \"%.40s\"",
			       a->values[OPT_CLUSTER_SIZE]);
	entries = size / cluster + !!(size % cluster);
	data = round_up(PRL_HEADER_LEN + entries * 4, cluster);
	if (entries > UINT32_MAX / 2 || data / 512 > UINT32_MAX)
		return err_set(e, -EINVAL, "a disk of %llu bytes needs a larger cluster_size",
			       (unsigned long long)size);
	put_le32(h + PRL_AT_VERSION, 2);
	put_le32(h + PRL_AT_HEADS, HEADS);
	put_le32(h + PRL_AT_CYLINDERS, cylinders(size));
	put_le32(h + PRL_AT_CLUSTER, (uint32_t)(cluster / 512));
	put_le32(h + PRL_AT_ENTRIES, (uint32_t)entries);
	put_le64(h + PRL_AT_SECTORS, size / 512);
	put_le32(h + PRL_AT_IN_USE, PRL_CLEAN);
	put_le32(h + PRL_AT_DATA, (uint32_t)(data / 512));
	r = file_truncate(f, data, e);
	return r < 0 ? r : file_pwrite(f, 0, h, sizeof(h), e);
}

/* ---- size ---- */

static int copy_cluster(struct disk *d, uint64_t from, uint64_t to, uint32_t len, struct err *e)
{
	uint64_t step = MIN(len, MiB);
	autofree uint8_t *buf = malloc(step);
	int r = buf ? 0 : err_nomem(e);

	for (uint64_t k = 0; r == 0 && k < len; k += step) {
		r = file_pread(disk_file(d), from + k, buf, step, e);
		if (r == 0)
			r = file_pwrite(disk_file(d), to + k, buf, step, e);
	}
	return r;
}

/* The entry gets a copy of its cluster at the end of the file. */
static int move_cluster(struct disk *d, uint64_t i, uint64_t from, struct err *e)
{
	struct parallels *p = parallels_of(d);
	struct prl_image *im = prl_top(d);
	uint64_t to = prl_slot_up(im, MAX(p->end, file_size(disk_file(d))));
	int r;

	if (to / im->step > UINT32_MAX)
		return err_set(e, -EFBIG, "%s cannot grow any more", disk_file(d)->name);
	r = copy_cluster(d, from, to, im->cluster, e);
	if (r < 0)
		return r;
	p->end = to + im->cluster;
	return prl_put_entry(d, i, (uint32_t)(to / im->step), e);
}

/* What lies where the longer table will be moves to the end of the file. */
static int make_room(struct disk *d, uint64_t data_off, struct err *e)
{
	struct prl_image *im = prl_top(d);
	int r = 0;

	for (uint64_t i = 0; r == 0 && i < im->entries; i++) {
		uint64_t at;

		r = prl_entry(d, im, i, &at, e);
		if (r == 0 && at && at < data_off)
			r = move_cluster(d, i, at, e);
		if (r == 0 && d->wants_flush)
			r = prl_flush(d, e);
	}
	return r < 0 ? r : prl_flush(d, e);
}

static int grow_table(struct disk *d, uint64_t entries, uint64_t *data_off, struct err *e)
{
	struct prl_image *im = prl_top(d);
	uint64_t table = PRL_HEADER_LEN + entries * 4, old = PRL_HEADER_LEN + 4ull * im->entries;
	int r = 0;

	*data_off = im->data_off;
	if (table > im->data_off)
		*data_off = prl_slot_up(im, table);
	if (*data_off / 512 > UINT32_MAX || entries > UINT32_MAX / 2)
		return err_set(e, -EINVAL, "%s needs bigger clusters for that size",
			       disk_file(d)->name);
	if (*data_off > im->data_off)
		r = make_room(d, *data_off, e);
	if (r == 0)
		r = prl_flush(d, e);
	/* Nothing vouches for the bytes behind the old table. */
	pages_forget(&parallels_of(d)->pages, 0, old, table - old);
	if (r == 0)
		r = file_zero(disk_file(d), old, table - old, false, e);
	return r < 0 ? r : file_sync(disk_file(d), e);
}

/* Clusters behind the end keep their place, and read as zeroes if the disk grows again. */
static int empty_tail(struct disk *d, uint64_t size, struct err *e)
{
	struct prl_image *im = prl_top(d);
	uint64_t at;
	int r = 0;

	for (uint64_t i = (size + im->cluster - 1) / im->cluster; r == 0 && i < im->entries; i++) {
		r = prl_entry(d, im, i, &at, e);
		if (r == 0 && at)
			r = file_zero(disk_file(d), at, im->cluster, true, e);
	}
	return r;
}

int prl_resize(struct disk *d, uint64_t size, struct err *e)
{
	struct parallels *p = parallels_of(d);
	struct prl_image *im = prl_top(d);
	uint64_t entries, data_off = im->data_off;
	uint8_t h[PRL_HEADER_LEN] = { 0 };
	int r;

	size = round_up(size, 512);
	entries = MAX(size / im->cluster + !!(size % im->cluster), im->entries);
	if (size < d->size)
		r = empty_tail(d, size, e);
	else
		r = entries > im->entries ? grow_table(d, entries, &data_off, e) : 0;
	if (r == 0)
		r = prl_flush(d, e);
	if (r == 0)
		r = file_pread(disk_file(d), 0, h, sizeof(h), e);
	if (r < 0)
		return r;
	put_le32(h + PRL_AT_CYLINDERS, cylinders(size));
	put_le32(h + PRL_AT_ENTRIES, (uint32_t)entries);
	put_le64(h + PRL_AT_SECTORS, size / 512);
	put_le32(h + PRL_AT_DATA, (uint32_t)(data_off / 512));
	r = prl_set_header(d, 0, h, sizeof(h), e);
	if (r == 0)
		r = file_sync(disk_file(d), e);
	if (r < 0)
		return r;
	im->entries = (uint32_t)entries;
	im->data_off = data_off;
	p->end = MAX(p->end, data_off);
	d->size = im->size = p->stretches[0].len = size;
	return 0;
}

/* ---- check ---- */

struct audit {
	struct disk *d;
	struct disk_check *c;
	bool fix;
	uint64_t *used, n; /* a bit for each cluster of the file */
};

static int audit_entry(struct audit *a, uint64_t i, struct err *e)
{
	struct prl_image *im = prl_top(a->d);
	struct err why = { 0 };
	uint64_t at, grain;
	int r = prl_entry(a->d, im, i, &at, &why);

	if (r < 0) {
		a->c->corruptions++;
		disk_finding(a->c, "%s", why.msg);
		r = a->fix ? prl_put_entry(a->d, i, 0, e) : 0;
		a->c->corruptions_fixed += a->fix && r == 0;
		return r;
	}
	if (!at)
		return 0;
	a->c->units_used++;
	grain = (at - im->data_off) / im->cluster;
	if (grain >= a->n)
		return 0;
	if (!bit_get(a->used, grain)) {
		bit_set(a->used, grain);
		return 0;
	}
	a->c->corruptions++;
	disk_finding(a->c, "entry %llu uses the cluster at byte %llu, which another one uses",
		     (unsigned long long)i, (unsigned long long)at);
	r = a->fix ? move_cluster(a->d, i, at, e) : 0;
	a->c->corruptions_fixed += a->fix && r == 0;
	return r;
}

static int count_leaks(struct audit *a, unsigned repair, struct err *e)
{
	struct parallels *p = parallels_of(a->d);
	struct prl_image *im = prl_top(a->d);
	uint64_t last = 0, end;

	for (uint64_t i = 0; i < a->n; i++) {
		if (bit_get(a->used, i))
			last = i + 1;
		else
			a->c->leaks++;
	}
	end = im->data_off + last * im->cluster;
	if (!repair || last == a->n || p->end > im->data_off + a->n * im->cluster)
		return 0;
	a->c->leaks_fixed += a->n - last;
	p->end = end;
	return file_truncate(disk_file(a->d), end, e);
}

int prl_check(struct disk *d, unsigned repair, struct disk_check *c, struct err *e)
{
	struct parallels *p = parallels_of(d);
	struct prl_image *im = prl_top(d);
	struct audit a = { .d = d, .c = c, .fix = repair == DISK_REPAIR_ALL };
	uint64_t size = file_size(disk_file(d));
	int r = 0;

	if (p->n > 1 || p->stretches[0].n > 1 || im->file)
		return 0; /* a bundle: its images are checked one by one */
	c->units = im->entries;
	if (size > im->data_off)
		a.n = (size - im->data_off + im->cluster - 1) / im->cluster;
	if (a.n > UINT64_C(1) << 32)
		return err_set(e, -EFBIG, "%s has too many clusters to check", disk_file(d)->name);
	a.used = calloc(BITMAP_WORDS(a.n) + 1, 8);
	if (!a.used)
		return err_nomem(e);
	for (uint64_t i = 0; r == 0 && i < im->entries; i++) {
		r = audit_entry(&a, i, e);
		if (r == 0 && d->wants_flush)
			r = prl_flush(d, e);
	}
	if (r == 0)
		r = count_leaks(&a, repair, e);
	free(a.used);
	if (r == 0 && repair && c->corruptions == c->corruptions_fixed && im->dirty) {
		im->dirty = false;
		p->marked = true; /* so that the end clears it */
	}
	return r < 0 || !repair ? r : prl_flush(d, e);
}
