/*
 * vhd.h - Microsoft's Virtual Hard Disk, as its files here share it. Layout: "Virtual Hard Disk
 * Image Format Specification" 1.0 (2006). All numbers are big-endian.
 *
 * Fixed: the disk, then a footer of one sector. Dynamic and differencing: a copy of the footer, a
 * header, the BAT with the sector of each block, blocks with a bitmap of their sectors in front,
 * the footer. A new block goes over the old footer; until the next flush there is only the copy.
 *
 * Order of writes: bitmap (all clear in a differencing image) and data, barrier, BAT and bits of
 * the bitmap, barrier. A block is in the BAT in memory as soon as it has room: what is not written
 * of it reads as before.
 */
#ifndef STORAGE_VHD_H
#define STORAGE_VHD_H

#include "base/bitmap.h"
#include "storage/guid.h"
#include "storage/pages.h"

enum { /* footer */
       VHD_AT_FEATURES = 8,
       VHD_AT_VERSION = 12,
       VHD_AT_HEADER = 16,
       VHD_AT_TIME = 24,
       VHD_AT_APP = 28,
       VHD_AT_APP_VERSION = 32,
       VHD_AT_OS = 36,
       VHD_AT_ORIGINAL_SIZE = 40,
       VHD_AT_SIZE = 48,
       VHD_AT_CYLINDERS = 56,
       VHD_AT_HEADS = 58,
       VHD_AT_TRACK = 59,
       VHD_AT_TYPE = 60,
       VHD_AT_FOOTER_SUM = 64,
       VHD_AT_UUID = 68,
       VHD_FOOTER = 512,
};

enum { /* header of dynamic and differencing images */
       VHD_AT_NEXT = 8,
       VHD_AT_BAT = 16,
       VHD_AT_HEADER_VERSION = 24,
       VHD_AT_ENTRIES = 28,
       VHD_AT_BLOCK = 32,
       VHD_AT_HEADER_SUM = 36,
       VHD_AT_PARENT_UUID = 40,
       VHD_AT_PARENT_TIME = 56,
       VHD_AT_PARENT_NAME = 64,
       VHD_AT_LOCATORS = 576,
       VHD_LOCATOR = 24,
       VHD_LOCATORS = 8,
       VHD_HEADER = 1024,
};

enum vhd_type { VHD_FIXED = 2, VHD_DYNAMIC, VHD_DIFF };

#define VHD_FREE        0xffffffffu
#define VHD_SIZE_MAX    (2040 * GiB)
#define VHD_BLOCK_MAX   (256u << 20)
#define VHD_ENTRIES_MAX (4u << 20) /* blocks of 512 KiB for the largest disk */

struct vhd {
	enum vhd_type type;
	uint8_t footer[VHD_FOOTER], header[VHD_HEADER]; /* as in the file */
	uint64_t header_off, bat_off;
	uint32_t entries, block, bitmap_bytes;
	bool old_footer; /* it is 511 bytes long */
	bool copy_only;  /* there is none at the end */
	uint64_t *full;  /* a bit for each block whose bitmap is known to be all set */
	struct pages pages;
	/* Found out before the first allocation. */
	bool counted, footer_due;
	uint64_t end; /* where the footer belongs and the next block goes */
};

static inline struct vhd *vhd_of(struct disk *d)
{
	return d->priv;
}

/* A block with its bitmap. */
static inline uint64_t vhd_stride(const struct vhd *v)
{
	return (uint64_t)v->bitmap_bytes + v->block;
}

/* vhd.c */
extern const struct disk_format vhd_format;
uint32_t vhd_sum(const uint8_t *p, size_t len,
		 size_t at); /* of len bytes without those 4 at `at` */
int vhd_entry(struct disk *d, uint32_t n, uint32_t *ret, struct err *e);
int vhd_set_entry(struct disk *d, uint32_t n, uint32_t entry, struct err *e);
int vhd_check_entry(struct disk *d, uint32_t n, uint32_t entry, struct err *e);
int vhd_map(struct disk *d, uint64_t off, uint64_t want, struct extent *x, struct err *e);

/* vhd_parent.c */
int vhd_open_parent(struct disk *d, struct err *e);
int vhd_put_parent(uint8_t *header, const struct create_args *a, uint64_t locator_off,
		   uint8_t locator[512], struct err *e);

/* vhd_write.c */
struct vhd_place { /* of one block in the file */
	uint32_t sector, n;
};
/* Where all blocks are, sorted; *ret is malloced. Entries that are damaged are told to bad(), or
 * an error when it is NULL. */
int vhd_survey(struct disk *d, struct vhd_place **ret, uint32_t *count,
	       void (*bad)(void *arg, uint32_t n, const char *why), void *arg, struct err *e);
int vhd_count(struct disk *d, struct err *e);
uint64_t vhd_place_after(const struct vhd *v, uint64_t end); /* the next block's place */
int vhd_alloc(struct disk *d, uint64_t off, uint64_t want, struct extent *x, struct err *e);
int vhd_commit(struct disk *d, uint64_t off, const struct extent *x, struct err *e);
void vhd_abandon(struct disk *d, uint64_t off, const struct extent *x);
int vhd_zero(struct disk *d, uint64_t off, uint64_t *len, bool unmap, struct err *e);
int vhd_discard(struct disk *d, uint64_t off, uint64_t *len, struct err *e);
int vhd_flush(struct disk *d, struct err *e);
int vhd_make_empty(struct disk *d, struct err *e);

/* vhd_create.c */
extern const struct format_option vhd_options[];
int vhd_create(struct file *f, const struct create_args *a, struct err *e);
void vhd_put_size(uint8_t footer[VHD_FOOTER], uint64_t size); /* with geometry and checksum */
int vhd_resize(struct disk *d, uint64_t size, struct err *e);

/* vhd_check.c */
int vhd_check(struct disk *d, unsigned repair, struct disk_check *c, struct err *e);
int vhd_copy_block(struct disk *d, uint64_t from, uint64_t to, struct err *e);
int vhd_compact(struct disk *d, struct err *e);

#endif
