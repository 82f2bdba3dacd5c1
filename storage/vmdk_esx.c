/*
 * VMDK: sparse extents of ESX, read only. COWD ("ESX Server Sparse Extents" in "Virtual Disk
 * Format" 5.0) has tables of 4096 entries and otherwise works as the others do. seSparse is not
 * published; the layout is known from other programs that read it.
 */
#include <errno.h>
#include <stdlib.h>

#include "storage/vmdk.h"

enum { /* COWD */
       COWD_VERSION = 4,
       COWD_CAPACITY = 12,
       COWD_GRAIN = 16,
       COWD_DIRECTORY = 20,
       COWD_TABLES = 24,
};

enum { /* seSparse: 64 bits each; sectors */
       SE_VERSION = 8,
       SE_CAPACITY = 16,
       SE_GRAIN = 24,
       SE_TABLE = 32,
       SE_FLAGS = 40,
       SE_VOLATILE = 80,
       SE_DIRECTORY = 128,
       SE_DIRECTORY_LEN = 136,
       SE_TABLES = 144,
       SE_TABLES_LEN = 152,
       SE_GRAINS = 192,
       SE_GRAINS_LEN = 200,
       SE_REPLAY = 24, /* in the volatile header */
};

#define SE_MAGIC          UINT64_C(0xcafebabe)
#define SE_VOLATILE_MAGIC UINT64_C(0xcafecafe)
#define SE_ENTRIES        4096 /* of 64 bits, in each table */
#define SE_GRAIN_BYTES    4096

int vmdk_open_cowd(struct disk *d, struct vmdk_extent *x, const uint8_t h[512], struct err *e)
{
	struct file *f = d->files[x->file];
	uint64_t capacity = le32(h + COWD_CAPACITY), grain = le32(h + COWD_GRAIN);

	x->kind = VMDK_COWD;
	if (le32(h + COWD_VERSION) != 1)
		return err_lacking(e, "%s: COWD of version %u is not supported", f->name,
				   le32(h + COWD_VERSION));
	if (!is_pow2(grain) || grain > VMDK_GRAIN_MAX / 512 || !capacity)
		return err_damaged(e, "%s: %llu sectors in grains of %llu", f->name,
				   (unsigned long long)capacity, (unsigned long long)grain);
	x->grain = (uint32_t)grain * 512;
	x->table_entries = VMDK_TABLE_MAX;
	x->tables = le32(h + COWD_TABLES);
	x->directory = le32(h + COWD_DIRECTORY) * UINT64_C(512);
	x->len = x->len ? x->len : capacity * 512;
	if (x->len > capacity * 512 ||
	    x->tables < (capacity + grain * VMDK_TABLE_MAX - 1) / (grain * VMDK_TABLE_MAX))
		return err_damaged(e, "%s: %u tables for %llu sectors", f->name, x->tables,
				   (unsigned long long)capacity);
	if (!x->directory || !file_has(f, x->directory, x->tables * UINT64_C(4)))
		return err_damaged(e, "%s: the directory is past the end of the file", f->name);
	return 0;
}

static int check_volatile(struct file *f, uint64_t sector, struct err *e)
{
	uint8_t v[512];
	int r;

	if (!sector || sector > INT64_MAX / 512 || !file_has(f, sector * 512, 512))
		return err_damaged(e, "%s: the second header is past the end of the file", f->name);
	r = file_pread(f, sector * 512, v, sizeof(v), e);
	if (r < 0)
		return r;
	if (le64(v) != SE_VOLATILE_MAGIC)
		return err_damaged(e, "%s: the second header is damaged", f->name);
	if (le64(v + SE_REPLAY))
		return err_lacking(e, "%s was not closed properly, and its journal is not known",
				   f->name);
	return 0;
}

/* Is [sector, sector + n) in the file? Where it may end early, n is 1. */
static bool in_file(struct file *f, uint64_t sector, uint64_t n)
{
	return sector && sector <= INT64_MAX / 512 && n <= INT64_MAX / 512 &&
	       file_has(f, sector * 512, n * 512);
}

int vmdk_open_sesparse(struct disk *d, struct vmdk_extent *x, struct err *e)
{
	struct file *f = d->files[x->file];
	uint64_t capacity, cover = SE_ENTRIES * SE_GRAIN_BYTES / 512, tables;
	uint8_t h[512];
	int r = file_pread(f, 0, h, sizeof(h), e);

	if (r < 0)
		return r;
	x->kind = VMDK_SESPARSE;
	if (le64(h) != SE_MAGIC || le64(h + SE_VERSION) != UINT64_C(0x200000001))
		return err_lacking(e, "%s: seSparse of this version is not supported", f->name);
	if (le64(h + SE_GRAIN) != SE_GRAIN_BYTES / 512 || le64(h + SE_TABLE) != SE_ENTRIES / 64 ||
	    le64(h + SE_FLAGS))
		return err_lacking(
		    e, "%s: seSparse with this grain, table or flags is not supported", f->name);
	capacity = le64(h + SE_CAPACITY);
	tables = capacity / cover + !!(capacity % cover);
	if (!capacity || capacity > INT64_MAX / 1024 || tables > VMDK_DIRECTORY_MAX / 8)
		return err_damaged(e, "%s: an extent of %llu sectors", f->name,
				   (unsigned long long)capacity);
	r = check_volatile(f, le64(h + SE_VOLATILE), e);
	if (r < 0)
		return r;
	if (!in_file(f, le64(h + SE_DIRECTORY), (tables * 8 + 511) / 512) ||
	    !in_file(f, le64(h + SE_TABLES), 1) || !in_file(f, le64(h + SE_GRAINS), 0))
		return err_damaged(e, "%s: the tables are past the end of the file", f->name);
	x->tables = (uint32_t)tables;
	x->grain = SE_GRAIN_BYTES;
	x->table_entries = SE_ENTRIES;
	x->directory = le64(h + SE_DIRECTORY) * 512;
	x->se_tables = le64(h + SE_TABLES) * 512;
	x->se_grains = le64(h + SE_GRAINS) * 512;
	x->len = x->len ? x->len : capacity * 512;
	if (x->len > capacity * 512)
		return err_damaged(e, "%s has %llu sectors, less than the descriptor says", f->name,
				   (unsigned long long)capacity);
	return 0;
}

static int get64(struct disk *d, const struct vmdk_extent *x, uint64_t at, uint64_t *ret,
		 struct err *e)
{
	struct page *page;
	uint8_t *p;
	int r = pages_get(d, &vmdk_of(d)->pages, x->file, at, &page, &p, e);

	*ret = r == 0 ? le64(p) : 0;
	return r;
}

static int bad(struct disk *d, const struct vmdk_extent *x, uint64_t grain, uint64_t v,
	       const char *why, struct err *e)
{
	return err_damaged(e, "%s: the entry of grain %llu, %#llx, %s", d->files[x->file]->name,
			   (unsigned long long)grain, (unsigned long long)v, why);
}

/* The upper half of a directory entry says that there is a table, the lower half which. */
static int se_entry(struct disk *d, struct vmdk_extent *x, uint64_t grain, uint64_t *ret,
		    struct err *e)
{
	uint64_t dir, at;
	int r = get64(d, x, x->directory + grain / SE_ENTRIES * 8, &dir, e);

	*ret = 0;
	if (r < 0 || !dir)
		return r;
	if (dir >> 32 != 0x10000000)
		return bad(d, x, grain, dir, "has a table of an unknown kind", e);
	at = x->se_tables + (dir & UINT32_MAX) * SE_ENTRIES * 8;
	if (!file_has(d->files[x->file], at, SE_ENTRIES * 8))
		return bad(d, x, grain, dir, "has a table past the end of the file", e);
	return get64(d, x, at + grain % SE_ENTRIES * 8, ret, e);
}

/*
 * Unmapped grains (1): some programs show zeroes there and some the parent. Without a parent both
 * are the same; with one we do not guess.
 */
int vmdk_se_classify(struct disk *d, struct vmdk_extent *x, uint64_t grain, struct extent *ret,
		     struct err *e)
{
	uint64_t v, index;
	int r = se_entry(d, x, grain, &v, e);

	if (r < 0)
		return r;
	ret->file = x->file;
	ret->len = x->grain;
	ret->kind = EXTENT_BACKING;
	if (!v)
		return 0;
	switch (v >> 60) {
	case 1:
		if (d->backing || vmdk_of(d)->parent_cid != VMDK_NO_PARENT)
			return bad(d, x, grain, v, "is unmapped over a parent", e);
		ret->kind = EXTENT_ZERO;
		return 0;
	case 2: ret->kind = EXTENT_ZERO; return 0;
	case 3: break;
	default: return bad(d, x, grain, v, "is of no known kind", e);
	}
	index = (v >> 48 & 0xfff) | (v & UINT64_C(0xffffffffffff)) << 12;
	if (index > INT64_MAX / (2 * SE_GRAIN_BYTES) ||
	    !file_has(d->files[x->file], x->se_grains + index * SE_GRAIN_BYTES, 1))
		return bad(d, x, grain, v, "points past the end of the file", e);
	ret->kind = EXTENT_DATA;
	ret->off = x->se_grains + index * SE_GRAIN_BYTES;
	return 0;
}
