/* VMDK: checks and repairs, and making the disk longer. Nothing is in flight. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/slots.h"
#include "storage/vmdk.h"

enum { TELL_MAX = 20, CELLS_MAX = 1 << 28 };

struct checker {
	struct disk *d;
	struct vmdk_extent *x;
	struct disk_check *c;
	struct slots cells; /* of one grain each: in which does a grain begin? */
	uint64_t shift;     /* bytes: where grains begin that are not aligned */
	bool repair;
	unsigned told;
};

static void found(struct checker *k, const char *text)
{
	if (k->c->finding && k->told++ < TELL_MAX)
		k->c->finding(k->c->arg, text);
}

static int set_both(struct checker *k, uint64_t grain, uint32_t entry, struct err *e)
{
	uint64_t dirs[2] = { k->x->directory, k->x->redundant };
	int r = 0;

	for (int i = 0; r == 0 && i < 2 && dirs[i]; i++) {
		uint64_t at;

		r = vmdk_entry_at(k->d, k->x, dirs[i], grain, &at, e);
		if (r == 0 && at)
			r = vmdk_set32(k->d, k->x, at, entry, e);
	}
	return r;
}

static int found_bad(struct checker *k, uint64_t grain, const char *text, struct err *e)
{
	int r;

	k->c->corruptions++;
	found(k, text);
	if (!k->repair)
		return 0;
	r = set_both(k, grain, 0, e);
	k->c->corruptions_fixed += r == 0;
	return r;
}

/* Two grains that begin in one cell overlap. */
static int mark_cell(struct checker *k, uint64_t grain, uint64_t off, struct err *e)
{
	char text[160];
	int r;

	if (!k->cells.used)
		k->shift = off % k->x->grain;
	r = slots_mark(&k->cells, off < k->shift ? 0 : (off - k->shift) / k->x->grain, e);
	if (r != -EEXIST)
		return r == -ERANGE ? 0 : r;
	snprintf(text, sizeof(text), "grain %llu overlaps another", (unsigned long long)grain);
	return found_bad(k, grain, text, e);
}

static int check_grain(struct checker *k, uint64_t grain, uint64_t *step, struct err *e)
{
	struct extent x = { 0 };
	struct err bad = { 0 };
	int r = vmdk_classify(k->d, k->x, grain, &x, &bad);

	*step = 1;
	if (r < 0 && bad.kind)
		return found_bad(k, grain, bad.msg, e);
	if (r < 0)
		return err_set(e, r, "%s", bad.msg);
	*step = MAX(x.len / k->x->grain, 1);
	if (x.kind != EXTENT_DATA && x.kind != EXTENT_COMPRESSED)
		return 0;
	k->c->units_used++;
	k->c->compressed += x.kind == EXTENT_COMPRESSED;
	return x.kind == EXTENT_DATA ? mark_cell(k, grain, x.off, e) : 0;
}

/* The second set of tables is written with the first: a power cut may leave it behind. */
static int check_redundant(struct checker *k, struct err *e)
{
	uint64_t grains = k->x->len / k->x->grain + !!(k->x->len % k->x->grain), differ = 0;
	char text[160];
	int r = 0;

	for (uint64_t g = 0; r == 0 && k->x->redundant && g < grains; g++) {
		uint64_t a, b;
		uint32_t x = 0, y = 0;

		r = vmdk_entry_at(k->d, k->x, k->x->directory, g, &a, e);
		if (r == 0)
			r = vmdk_entry_at(k->d, k->x, k->x->redundant, g, &b, e);
		if (r == 0 && a)
			r = vmdk_get32(k->d, k->x, a, &x, e);
		if (r == 0 && b)
			r = vmdk_get32(k->d, k->x, b, &y, e);
		if (r < 0 || x == y)
			continue;
		differ++;
		if (k->repair && b)
			r = vmdk_set32(k->d, k->x, b, x, e);
	}
	if (!differ)
		return r;
	k->c->leaks += differ;
	k->c->leaks_fixed += k->repair ? differ : 0;
	snprintf(text, sizeof(text), "%llu entries of the redundant tables differ",
		 (unsigned long long)differ);
	found(k, text);
	return r;
}

static int check_extent(struct checker *k, struct err *e)
{
	uint64_t grains = k->x->len / k->x->grain + !!(k->x->len % k->x->grain), step = 1;
	int r = slots_init(&k->cells, 64, CELLS_MAX, e);

	k->c->units += grains;
	for (uint64_t g = 0; r == 0 && g < grains; g += step)
		r = check_grain(k, g, &step, e);
	slots_free(&k->cells);
	return r < 0 ? r : check_redundant(k, e);
}

int vmdk_check(struct disk *d, unsigned repair, struct disk_check *c, struct err *e)
{
	struct vmdk *v = vmdk_of(d);
	int r = 0;

	for (unsigned i = 0; r == 0 && i < v->n; i++) {
		struct checker k = { .d = d, .c = c, .x = &v->x[i] };

		k.repair = repair && k.x->writable && k.x->kind == VMDK_SPARSE && !k.x->packed;
		if (k.x->grain)
			r = check_extent(&k, e);
	}
	return r < 0 || !repair ? r : vmdk_flush(d, e);
}

/* The line of the extent (the only one, or the last) and perhaps the geometry follow. */
static int write_line(struct disk *d, uint64_t old, uint64_t now, struct err *e)
{
	struct vmdk *v = vmdk_of(d);
	char from[40], to[40], *at = NULL, *p;
	autofree char *text = NULL;
	int r;

	snprintf(from, sizeof(from), "RW %llu ", (unsigned long long)old);
	snprintf(to, sizeof(to), "RW %llu ", (unsigned long long)now);
	for (p = strstr(v->text, from); p; p = strstr(p + 1, from))
		if (p == v->text || p[-1] == '\n')
			at = p;
	if (!at)
		return err_lacking(e, "%s: the line of the last extent cannot be changed",
				   disk_file(d)->name);
	text = malloc(strlen(v->text) + sizeof(to));
	if (!text)
		return err_nomem(e);
	memcpy(text, v->text, (size_t)(at - v->text));
	strcpy(text + (at - v->text), to);
	strcat(text, at + strlen(from));
	p = v->text;
	v->text = text;
	text = p;
	r = vmdk_write_text(d, e);
	if (r < 0) {
		p = v->text;
		v->text = text;
		text = p;
	}
	return r;
}

/* A longer directory and its tables at the end of the file, old tables kept; returns its place. */
static int longer_directory(struct disk *d, struct vmdk_extent *x, uint64_t from, uint32_t tables,
			    uint64_t at, struct err *e)
{
	uint64_t dir = round_up(tables * UINT64_C(4), 512);
	uint64_t table = round_up(x->table_entries * UINT64_C(4), 512);
	autofree uint8_t *buf = calloc(1, dir);
	int r = buf ? 0 : err_nomem(e);

	for (uint32_t i = 0; r == 0 && i < tables; i++) {
		uint32_t v = (uint32_t)((at + dir + (i - x->tables) * table) / 512);

		if (i < x->tables)
			r = vmdk_get32(d, x, from + i * UINT64_C(4), &v, e);
		put_le32(buf + i * (size_t)4, v);
	}
	return r < 0 ? r : file_pwrite(d->files[x->file], at, buf, dir, e);
}

/* Sector 0 says where the directories are and how long the extent is: all of it changes at once. */
static int grow_sparse(struct disk *d, struct vmdk_extent *x, uint64_t sectors, struct err *e)
{
	struct file *f = d->files[x->file];
	uint64_t cover = x->grain / 512 * (uint64_t)x->table_entries;
	uint32_t tables = (uint32_t)((sectors - 1) / cover + 1);
	uint64_t bytes = round_up(tables * UINT64_C(4), 512) +
			 (tables - x->tables) * round_up(x->table_entries * UINT64_C(4), 512);
	uint64_t at, other = x->redundant;
	uint8_t h[512];
	int r = vmdk_count(d, x, e);

	at = x->directory;
	if (r == 0 && tables > x->tables) {
		at = x->end;
		other = x->redundant ? at + bytes : 0;
		r = file_truncate(f, round_up(at + bytes * (other ? 2 : 1), x->grain), e);
		if (r == 0)
			r = longer_directory(d, x, x->directory, tables, at, e);
		if (r == 0 && other)
			r = longer_directory(d, x, x->redundant, tables, other, e);
		if (r == 0)
			r = file_sync(f, e);
	}
	if (r == 0)
		r = file_pread(f, 0, h, sizeof(h), e);
	if (r < 0)
		return r;
	put_le64(h + VMDK_AT_CAPACITY, sectors);
	put_le64(h + VMDK_AT_DIRECTORY, at / 512);
	put_le64(h + VMDK_AT_REDUNDANT, other / 512);
	r = file_pwrite(f, 0, h, sizeof(h), e);
	if (r == 0)
		r = file_sync(f, e);
	if (r < 0)
		return r;
	x->directory = at;
	x->redundant = other;
	x->tables = tables;
	x->end = x->fresh_from = round_up(file_size(f), x->grain);
	return 0;
}

int vmdk_resize(struct disk *d, uint64_t size, struct err *e)
{
	struct vmdk *v = vmdk_of(d);
	struct vmdk_extent *x = &v->x[v->n - 1];
	uint64_t sectors, more;
	int r;

	size = round_up(size, 512);
	if (size < d->size)
		return err_lacking(e, "%s: VMDK images cannot be made smaller", disk_file(d)->name);
	more = size - d->size;
	sectors = (x->len + more) / 512;
	if (!v->text || v->stream || !x->writable || x->packed ||
	    (x->kind != VMDK_FLAT && x->kind != VMDK_SPARSE) || strstr(v->type, "twoGb"))
		return err_lacking(e,
				   "%s: the last extent cannot be made longer; convert the image",
				   disk_file(d)->name);
	if (x->kind == VMDK_SPARSE && sectors > UINT32_MAX - UINT32_MAX / 8)
		return err_set(e, -EINVAL, "%s: one sparse file holds at most 1.75 TiB",
			       disk_file(d)->name);
	r = vmdk_flush(d, e);
	if (r == 0 && x->kind == VMDK_FLAT)
		r = file_truncate(d->files[x->file], x->off + x->len + more, e);
	else if (r == 0)
		r = grow_sparse(d, x, sectors, e);
	if (r == 0)
		r = write_line(d, x->len / 512, sectors, e);
	if (r < 0)
		return r;
	x->len += more;
	d->size = size;
	return vmdk_flush(d, e);
}
