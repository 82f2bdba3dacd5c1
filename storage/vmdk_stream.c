/*
 * VMDK: a stream-optimised image while it is written ("Virtual Disk Format" 5.0, "Stream-Optimized
 * Compressed Sparse Extents"): header and descriptor are there, and grains are appended, each with
 * a marker. Tables stay in memory, a few at a time, and are appended when others are needed; the
 * directory, the footer and the end mark come last. Before that the file is no whole image, and
 * afterwards it is only read. With d->meta held, but for finish.
 */
#include <errno.h>
#include <stdlib.h>

#include "storage/vmdk.h"

enum { TABLES = 16, MARK = 12 };

struct table {
	uint32_t index;
	bool used, dirty;
	uint64_t touched;
	uint32_t entry[VMDK_TABLE_MAX];
};

struct vmdk_stream {
	struct vmdk_extent x;
	uint32_t *directory; /* sector of each table that was written */
	struct table *tables;
	uint64_t end, clock;
	bool broken; /* something could not be written: there will be no footer */
};

int vmdk_stream_open(struct disk *d, const struct vmdk_extent *x, struct err *e)
{
	struct vmdk_stream *s = calloc(1, sizeof(*s));

	if (s) {
		s->directory = calloc(x->tables, sizeof(*s->directory));
		s->tables = calloc(TABLES, sizeof(*s->tables));
	}
	if (!s || !s->directory || !s->tables) {
		vmdk_stream_free(s);
		return err_nomem(e);
	}
	s->x = *x;
	s->end = round_up(file_size(disk_file(d)), 512);
	vmdk_of(d)->stream = s;
	return 0;
}

void vmdk_stream_free(struct vmdk_stream *s)
{
	if (!s)
		return;
	free(s->directory);
	free(s->tables);
	free(s);
}

/* A sector that says that n sectors of this type follow. */
static int put_marker(struct disk *d, uint64_t sectors, uint32_t type, struct err *e)
{
	struct vmdk_stream *s = vmdk_of(d)->stream;
	uint8_t m[512] = { 0 };
	int r;

	put_le64(m, sectors);
	put_le32(m + 12, type);
	r = file_pwrite(disk_file(d), s->end, m, sizeof(m), e);
	if (r == 0)
		s->end += sizeof(m);
	return r;
}

static int put_numbers(struct disk *d, const uint32_t *v, uint32_t n, uint32_t type, struct err *e)
{
	struct vmdk_stream *s = vmdk_of(d)->stream;
	uint64_t bytes = round_up(n * UINT64_C(4), 512);
	autofree uint8_t *buf = calloc(1, bytes);
	int r = buf ? put_marker(d, bytes / 512, type, e) : err_nomem(e);

	for (uint32_t i = 0; r == 0 && i < n; i++)
		put_le32(buf + i * 4, v[i]);
	if (r == 0)
		r = file_pwrite(disk_file(d), s->end, buf, bytes, e);
	if (r == 0)
		s->end += bytes;
	return r;
}

static int put_table(struct disk *d, struct table *t, struct err *e)
{
	struct vmdk_stream *s = vmdk_of(d)->stream;
	uint64_t sector = s->end / 512 + 1;
	int r = put_numbers(d, t->entry, s->x.table_entries, VMDK_MARK_TABLE, e);

	if (r < 0)
		return r;
	s->directory[t->index] = (uint32_t)sector;
	t->dirty = false;
	return 0;
}

static int read_table(struct disk *d, struct table *t, uint32_t index, struct err *e)
{
	struct vmdk_stream *s = vmdk_of(d)->stream;
	uint64_t bytes = s->x.table_entries * UINT64_C(4);
	int r = 0;

	t->used = false;
	memset(t->entry, 0, sizeof(t->entry));
	if (s->directory[index])
		r = file_pread(disk_file(d), s->directory[index] * UINT64_C(512), t->entry, bytes,
			       e);
	for (uint32_t i = 0; r == 0 && i < s->x.table_entries; i++)
		t->entry[i] = le32(&t->entry[i]);
	t->index = index;
	t->used = r == 0;
	return r;
}

/* The table of this index; the one that was not touched for longest makes room for it. */
static int get_table(struct disk *d, uint32_t index, struct table **ret, struct err *e)
{
	struct vmdk_stream *s = vmdk_of(d)->stream;
	struct table *t = &s->tables[0];
	int r = 0;

	for (int i = 0; i < TABLES; i++) {
		if (s->tables[i].used && s->tables[i].index == index) {
			t = &s->tables[i];
			t->touched = ++s->clock;
			*ret = t;
			return 0;
		}
		if (s->tables[i].touched < t->touched)
			t = &s->tables[i];
	}
	if (t->used && t->dirty)
		r = put_table(d, t, e);
	if (r == 0)
		r = read_table(d, t, index, e);
	t->touched = ++s->clock;
	*ret = t;
	return r;
}

int vmdk_stream_entry(struct disk *d, uint64_t grain, uint32_t *ret, struct err *e)
{
	struct vmdk_stream *s = vmdk_of(d)->stream;
	struct table *t;
	int r;

	if (d->map_in_memory)
		return -EAGAIN;
	r = get_table(d, (uint32_t)(grain / s->x.table_entries), &t, e);
	*ret = r == 0 ? t->entry[grain % s->x.table_entries] : 0;
	return r;
}

int vmdk_stream_alloc(struct disk *d, uint64_t off, struct extent *x, struct err *e)
{
	struct vmdk_stream *s = vmdk_of(d)->stream;
	uint64_t end = round_up(s->end + MARK + x->stored, 512);

	if (s->broken)
		return err_set(e, -EIO, "%s: an earlier write failed", disk_file(d)->name);
	if (end / 512 > UINT32_MAX)
		return err_set(e, -ENOSPC, "%s: the image is full", disk_file(d)->name);
	x->off = s->end + MARK;
	x->len = MIN(s->x.grain, d->size - off);
	s->end = end;
	return 0;
}

/* Behind the stream the file reads as zeroes up to the next sector. */
int vmdk_stream_commit(struct disk *d, uint64_t off, const struct extent *x, struct err *e)
{
	struct vmdk_stream *s = vmdk_of(d)->stream;
	uint64_t grain = off / s->x.grain;
	uint8_t m[MARK];
	struct table *t;
	int r;

	put_le64(m, grain * s->x.grain / 512);
	put_le32(m + 8, x->stored);
	r = file_pwrite(disk_file(d), x->off - MARK, m, MARK, e);
	pages_update(&vmdk_of(d)->pages, 0, x->off - MARK, m, MARK);
	if (r == 0)
		r = get_table(d, (uint32_t)(grain / s->x.table_entries), &t, e);
	if (r < 0)
		return r;
	t->entry[grain % s->x.table_entries] = (uint32_t)((x->off - MARK) / 512);
	t->dirty = true;
	return 0;
}

void vmdk_stream_abandon(struct disk *d, const struct extent *x)
{
	(void)x;
	vmdk_of(d)->stream->broken = true;
}

int vmdk_stream_zero(struct disk *d, uint64_t off, uint64_t *len, struct err *e)
{
	struct vmdk_stream *s = vmdk_of(d)->stream;
	uint64_t n = off / s->x.grain, k = 0, want = (*len + s->x.grain - 1) / s->x.grain;
	struct table *t;
	int r = 0;

	while (r == 0 && k < want) {
		uint32_t entry = 0, i = (uint32_t)((n + k) / s->x.table_entries);

		r = get_table(d, i, &t, e);
		if (r == 0)
			entry = t->entry[(n + k) % s->x.table_entries];
		if (entry) {
			t->entry[(n + k) % s->x.table_entries] = 0;
			t->dirty = true;
		}
		k++;
	}
	return r;
}

int vmdk_stream_finish(struct disk *d, struct err *e)
{
	struct vmdk_stream *s = vmdk_of(d)->stream;
	uint8_t h[512];
	uint64_t sector;
	int r;

	if (s->broken)
		return err_set(e, -EIO, "%s is not complete: a write failed", disk_file(d)->name);
	r = file_pread(disk_file(d), 0, h, sizeof(h), e);
	for (int i = 0; r == 0 && i < TABLES; i++)
		if (s->tables[i].used && s->tables[i].dirty)
			r = put_table(d, &s->tables[i], e);
	sector = s->end / 512 + 1;
	if (r == 0)
		r = put_numbers(d, s->directory, s->x.tables, VMDK_MARK_DIRECTORY, e);
	if (r == 0)
		r = put_marker(d, 1, VMDK_MARK_FOOTER, e);
	if (r < 0)
		return r;
	put_le64(h + VMDK_AT_DIRECTORY, sector);
	r = file_pwrite(disk_file(d), s->end, h, sizeof(h), e);
	s->end += sizeof(h);
	if (r == 0)
		r = put_marker(d, 0, VMDK_MARK_END, e);
	return r < 0 ? r : file_sync(disk_file(d), e);
}
