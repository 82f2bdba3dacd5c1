/* VMDK: sparse extents, opened and read: header, directory, tables, compressed grains. */
#include <errno.h>
#include <stdlib.h>

#include "storage/vmdk.h"

enum { RUN_MAX = 1 << 20 }; /* grains that one map() looks at */

int vmdk_check_header(struct disk *d, const uint8_t h[512], struct vmdk_extent *x, struct err *e)
{
	const char *name = d->files[x->file]->name;
	uint64_t capacity = le64(h + VMDK_AT_CAPACITY), grain = le64(h + VMDK_AT_GRAIN), tables;
	uint32_t flags = le32(h + VMDK_AT_FLAGS), version = le32(h + VMDK_AT_VERSION);

	if (memcmp(h, "KDMV", 4) || !version || version > 3)
		return err_lacking(e, "%s: a sparse extent of version %u is not supported", name,
				   version);
	if (flags & VMDK_NEWLINES && memcmp(h + VMDK_AT_NEWLINES, "\n \r\n", 4))
		return err_damaged(
		    e, "%s was damaged by a transfer as text (its line ends changed)", name);
	x->packed = flags & VMDK_COMPRESSED;
	x->markers = flags & VMDK_MARKERS;
	x->zeroed = flags & VMDK_ZEROED_GRAINS;
	if (x->packed && le16(h + VMDK_AT_COMPRESSION) != 1)
		return err_lacking(e, "%s: compression %u is not known", name,
				   le16(h + VMDK_AT_COMPRESSION));
	if (!is_pow2(grain) || grain > (x->packed ? VMDK_PACKED_GRAIN_MAX : VMDK_GRAIN_MAX) / 512)
		return err_damaged(e, "%s: grains of %llu sectors", name,
				   (unsigned long long)grain);
	x->grain = (uint32_t)grain * 512;
	x->table_entries = le32(h + VMDK_AT_TABLE_ENTRIES);
	if (!x->table_entries || x->table_entries > VMDK_TABLE_MAX)
		return err_damaged(e, "%s: tables of %u entries", name, x->table_entries);
	if (!capacity || capacity > INT64_MAX / 1024)
		return err_damaged(e, "%s: an extent of %llu sectors", name,
				   (unsigned long long)capacity);
	tables = (capacity - 1) / (grain * x->table_entries) + 1;
	if (tables > VMDK_DIRECTORY_MAX / 4)
		return err_damaged(e, "%s: a directory of %llu tables", name,
				   (unsigned long long)tables);
	x->tables = (uint32_t)tables;
	if (!x->len)
		x->len = capacity * 512;
	if (x->len > capacity * 512)
		return err_damaged(e, "%s has %llu sectors, less than the descriptor says", name,
				   (unsigned long long)capacity);
	return 0;
}

static int set_directory(struct disk *d, const uint8_t h[512], struct vmdk_extent *x, struct err *e)
{
	struct file *f = d->files[x->file];
	uint64_t at = le64(h + VMDK_AT_DIRECTORY), other = le64(h + VMDK_AT_REDUNDANT);
	uint64_t bytes = x->tables * UINT64_C(4);

	if (!at || at > INT64_MAX / 512 || !file_has(f, at * 512, bytes))
		return err_damaged(e, "%s: the directory is past the end of the file", f->name);
	x->directory = at * 512;
	if (!(le32(h + VMDK_AT_FLAGS) & VMDK_HAS_REDUNDANT) || !other)
		return 0;
	if (other > INT64_MAX / 512 || !file_has(f, other * 512, bytes) ||
	    ranges_overlap(other * 512, bytes, x->directory, bytes))
		return err_damaged(e, "%s: the redundant directory is misplaced", f->name);
	x->redundant = other * 512;
	return 0;
}

/* "Virtual Disk Format" 5.0, "Stream-Optimized Compressed Sparse Extents": the real header. */
static int read_footer(struct disk *d, struct vmdk_extent *x, struct err *e)
{
	struct file *f = d->files[x->file];
	uint8_t h[512];
	int r;

	if (file_size(f) < 3 * 512)
		return err_damaged(e, "%s ends too early", f->name);
	r = file_pread(f, file_size(f) - 1024, h, sizeof(h), e);
	if (r < 0)
		return r;
	if (memcmp(h, "KDMV", 4))
		return err_damaged(e, "%s is cut short: it has no footer", f->name);
	r = vmdk_check_header(d, h, x, e);
	return r < 0 ? r : set_directory(d, h, x, e);
}

static int check_tracking(struct disk *d, struct err *e)
{
	const char *text = vmdk_of(d)->text;
	char path[VMDK_NAME_MAX];

	if (!d->writable || !text || !vmdk_get(text, "changeTrackPath", path, sizeof(path)))
		return 0;
	return err_lacking(e, "%s has a record of changed blocks (%s), which would become wrong",
			   disk_file(d)->name, path);
}

int vmdk_open_sparse(struct disk *d, struct vmdk_extent *x, struct err *e)
{
	uint8_t h[512];
	int r = file_pread(d->files[x->file], 0, h, sizeof(h), e);

	if (r < 0)
		return r;
	if (!memcmp(h, "COWD", 4))
		return vmdk_open_cowd(d, x, h, e);
	x->kind = VMDK_SPARSE;
	r = vmdk_check_header(d, h, x, e);
	if (r < 0)
		return r;
	vmdk_of(d)->unclean |= h[VMDK_AT_UNCLEAN] != 0;
	if (le32(h + VMDK_AT_VERSION) == 3)
		r = check_tracking(d, e);
	if (r < 0)
		return r;
	if (le64(h + VMDK_AT_DIRECTORY) != VMDK_AT_END)
		return set_directory(d, h, x, e);
	if (d->writable && !vmdk_of(d)->n && x->file == 0 && x->packed &&
	    file_size(disk_file(d)) <= le64(h + VMDK_AT_OVERHEAD) * 512)
		return vmdk_stream_open(d, x, e);
	return read_footer(d, x, e);
}

int vmdk_get32(struct disk *d, const struct vmdk_extent *x, uint64_t at, uint32_t *ret,
	       struct err *e)
{
	struct page *page;
	uint8_t *p;
	int r = pages_get(d, &vmdk_of(d)->pages, x->file, at, &page, &p, e);

	*ret = r == 0 ? le32(p) : 0;
	return r;
}

int vmdk_set32(struct disk *d, const struct vmdk_extent *x, uint64_t at, uint32_t v, struct err *e)
{
	struct page *page;
	uint8_t *p;
	int r = pages_get(d, &vmdk_of(d)->pages, x->file, at, &page, &p, e);

	if (r < 0 || le32(p) == v)
		return r;
	put_le32(p, v);
	pages_dirty(d, &vmdk_of(d)->pages, page, p);
	return 0;
}

int vmdk_entry_at(struct disk *d, const struct vmdk_extent *x, uint64_t directory, uint64_t grain,
		  uint64_t *at, struct err *e)
{
	uint64_t i = grain / x->table_entries, table;
	uint32_t sector;
	int r = vmdk_get32(d, x, directory + i * 4, &sector, e);

	*at = 0;
	if (r < 0 || !sector)
		return r;
	table = sector * UINT64_C(512);
	if (!file_has(d->files[x->file], table, x->table_entries * UINT64_C(4)))
		return err_damaged(e,
				   "%s: entry %llu of the directory, %#x, points past the end of "
				   "the file",
				   d->files[x->file]->name, (unsigned long long)i, sector);
	*at = table + grain % x->table_entries * 4;
	return 0;
}

static int bad_grain(struct disk *d, const struct vmdk_extent *x, uint64_t grain, uint32_t entry,
		     const char *why, struct err *e)
{
	return err_damaged(e, "%s: the entry of grain %llu, %#x, %s", d->files[x->file]->name,
			   (unsigned long long)grain, entry, why);
}

/* The header of a grain: the sector of the disk where markers are in use, and the length. */
static int packed_grain(struct disk *d, struct vmdk_extent *x, uint64_t grain, uint32_t entry,
			struct extent *ret, struct err *e)
{
	uint64_t at = entry * UINT64_C(512), in = grain * x->grain;
	unsigned skip = x->markers ? 12 : 4;
	struct page *page;
	uint8_t *p;
	uint32_t n;
	int r = pages_get(d, &vmdk_of(d)->pages, x->file, at, &page, &p, e);

	if (r < 0)
		return r;
	n = le32(p + skip - 4);
	if (x->markers && le64(p) * 512 != in)
		return bad_grain(d, x, grain, entry, "points to another grain", e);
	if (!n || n > 2 * x->grain || !file_has(d->files[x->file], at + skip, n))
		return bad_grain(d, x, grain, entry, "has a stream of no sensible length", e);
	ret->kind = EXTENT_COMPRESSED;
	ret->codec = CODEC_ZLIB;
	ret->off = at + skip;
	ret->stored = n;
	ret->unit = (uint32_t)MIN(x->grain, x->len - in);
	ret->unit_off = x->start + in;
	return 0;
}

static int find_entry(struct disk *d, struct vmdk_extent *x, uint64_t grain, uint32_t *entry,
		      bool *table, struct err *e)
{
	uint64_t at;
	int r;

	*table = true;
	*entry = 0;
	if (vmdk_of(d)->stream)
		return vmdk_stream_entry(d, grain, entry, e);
	r = vmdk_entry_at(d, x, x->directory, grain, &at, e);
	*table = at;
	return r < 0 || !at ? r : vmdk_get32(d, x, at, entry, e);
}

int vmdk_classify(struct disk *d, struct vmdk_extent *x, uint64_t grain, struct extent *ret,
		  struct err *e)
{
	uint64_t bytes = x->tables * UINT64_C(4), off;
	uint32_t entry;
	bool table;
	int r;

	if (x->kind == VMDK_SESPARSE)
		return vmdk_se_classify(d, x, grain, ret, e);
	r = find_entry(d, x, grain, &entry, &table, e);
	if (r < 0)
		return r;
	ret->file = x->file;
	ret->len = x->grain;
	ret->kind = EXTENT_BACKING;
	if (!table)
		ret->len *= x->table_entries - grain % x->table_entries;
	if (!entry)
		return 0;
	off = entry * UINT64_C(512);
	if (x->zeroed && entry == 1) {
		ret->kind = EXTENT_ZERO;
		return 0;
	}
	if (!file_has(d->files[x->file], off, 1))
		return bad_grain(d, x, grain, entry, "points past the end of the file", e);
	if (off < 512 || ranges_overlap(off, x->packed ? 512 : x->grain, x->directory, bytes) ||
	    ranges_overlap(off, x->packed ? 512 : x->grain, x->redundant, x->redundant ? bytes : 0))
		return bad_grain(d, x, grain, entry, "points into the image's own tables", e);
	if (x->packed)
		return packed_grain(d, x, grain, entry, ret, e);
	ret->kind = EXTENT_DATA;
	ret->off = off;
	ret->flags = x->writable && x->kind == VMDK_SPARSE ? EXTENT_IN_PLACE : 0;
	return 0;
}

int vmdk_sparse_map(struct disk *d, struct vmdk_extent *x, uint64_t in, uint64_t want,
		    struct extent *ret, struct err *e)
{
	uint64_t n = in / x->grain, skip = in % x->grain, left = x->len - in;
	int r = vmdk_classify(d, x, n, ret, e);

	if (r < 0)
		return r;
	ret->len -= skip;
	if (ret->kind == EXTENT_COMPRESSED) {
		ret->len = MIN(ret->len, left);
		return 0;
	}
	ret->off += ret->kind == EXTENT_DATA ? skip : 0;
	for (unsigned i = 0; i < RUN_MAX && ret->len < want && ret->len < left; i++) {
		struct extent y = { 0 };

		if (vmdk_classify(d, x, (in + ret->len) / x->grain, &y, NULL) < 0 ||
		    y.kind != ret->kind || (y.kind == EXTENT_DATA && y.off != ret->off + ret->len))
			break;
		ret->len += y.len;
	}
	ret->len = MIN(ret->len, left);
	return 0;
}
