/*
 * vdi.h - the image format of VirtualBox, as its files here share it: a header, a map with an
 * entry of 32 bits for each block of the disk, the blocks. Layout: VDICore.h of VirtualBox. All
 * numbers are little-endian.
 *
 * Slots. Block n lies in slot map[n]; slots have equal length and follow data_off. Other programs
 * put the next block into slot number "allocated", so this number is never below the highest slot
 * in use, and the slots stay dense: nothing here lets go of a slot but a resize, which fills the
 * gaps. Zeroing and discarding make a hole in the host's file instead.
 *
 * Order of writes: data, the file's length and "allocated", barrier, map entries, barrier.
 */
#ifndef STORAGE_VDI_H
#define STORAGE_VDI_H

#include "storage/guid.h"
#include "storage/pages.h"
#include "storage/slots.h"

enum {
	VDI_AT_TEXT = 0,
	VDI_AT_MAGIC = 0x40,
	VDI_AT_VERSION = 0x44,
	VDI_AT_HEADER_SIZE = 0x48,
	VDI_AT_TYPE = 0x4c,
	VDI_AT_MAP = 0x154,
	VDI_AT_DATA = 0x158,
	VDI_AT_SECTOR = 0x168,
	VDI_AT_SIZE = 0x170,
	VDI_AT_BLOCK = 0x178,
	VDI_AT_EXTRA = 0x17c,
	VDI_AT_BLOCKS = 0x180,
	VDI_AT_ALLOCATED = 0x184,
	VDI_AT_UUID = 0x188,
	VDI_AT_MODIFICATION = 0x198,
	VDI_AT_LINK = 0x1a8,
	VDI_AT_PARENT_MODIFICATION = 0x1b8,
	VDI_HEADER = 512, /* what we read and write: all of it lies in one sector */
	VDI_HEADER_SIZE = 0x190,
};

enum vdi_type { VDI_DYNAMIC = 1, VDI_FIXED, VDI_UNDO, VDI_DIFF };

#define VDI_MAGIC      0xbeda107fu
#define VDI_VERSION    0x00010001u
#define VDI_FREE       0xffffffffu /* in a diff: ask the parent */
#define VDI_ZERO       0xfffffffeu
#define VDI_BLOCK_MAX  (64u << 20)
#define VDI_BLOCKS_MAX (128u << 20) /* a map of 512 MiB */

struct vdi {
	enum vdi_type type;
	uint32_t block, extra, blocks;
	uint64_t map_off, data_off, stride;
	uint8_t header[VDI_HEADER]; /* as in the file */
	struct pages pages;
	struct slots slots;  /* counted before the first allocation */
	uint64_t fresh_from; /* slots from here on were never written */
};

static inline struct vdi *vdi_of(struct disk *d)
{
	return d->priv;
}

static inline uint64_t vdi_slot_off(const struct vdi *v, uint64_t slot)
{
	return v->data_off + slot * v->stride + v->extra;
}

/* More slots than blocks are in use only while a resize is moving some. */
static inline uint64_t vdi_slots_max(const struct vdi *v)
{
	return v->blocks * UINT64_C(2) + 1024;
}

/* vdi.c */
extern const struct disk_format vdi_format;
int vdi_entry(struct disk *d, uint32_t n, uint32_t *ret, struct err *e);
int vdi_set_entry(struct disk *d, uint32_t n, uint32_t entry, struct err *e);
int vdi_check_entry(struct disk *d, uint32_t n, uint32_t entry, struct err *e);
int vdi_write_header(struct disk *d, struct err *e); /* without a barrier */

/* vdi_write.c */
int vdi_count(struct disk *d, struct err *e); /* which slots are taken, once */
int vdi_alloc(struct disk *d, uint64_t off, uint64_t want, struct extent *x, struct err *e);
int vdi_commit(struct disk *d, uint64_t off, const struct extent *x, struct err *e);
void vdi_abandon(struct disk *d, uint64_t off, const struct extent *x);
int vdi_zero(struct disk *d, uint64_t off, uint64_t *len, bool unmap, struct err *e);
int vdi_discard(struct disk *d, uint64_t off, uint64_t *len, struct err *e);
int vdi_flush(struct disk *d, struct err *e);
int vdi_cover(struct disk *d, uint64_t end, struct err *e); /* slots below end are in the file */
int vdi_finish(struct disk *d, struct err *e);
int vdi_make_empty(struct disk *d, struct err *e);

/* vdi_create.c */
extern const struct format_option vdi_options[];
int vdi_create(struct file *f, const struct create_args *a, struct err *e);

/* vdi_check.c: nothing in flight. */
int vdi_resize(struct disk *d, uint64_t size, struct err *e);
int vdi_check(struct disk *d, unsigned repair, struct disk_check *c, struct err *e);

#endif
