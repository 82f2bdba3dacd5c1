/*
 * vhdx.h - Hyper-V's virtual hard disk, as its files here share it. Layout: [MS-VHDX] ("the spec"
 * in comments). All numbers are little-endian, checksums are CRC-32C.
 *
 * Tables (the BAT with an entry of 64 bits for each block, bitmaps of sectors, metadata) change
 * only through the log: data, barrier, log entry, barrier, the tables themselves, barrier. An
 * entry of the log always stands for itself (its tail is its own place), and never overwrites the
 * one before it: two halves of the log are used in turn. So there is a valid one at any moment.
 *
 * A block is in the BAT in memory as soon as it has room: what is not written of it reads as
 * before. Zeroing makes holes in the host's file.
 */
#ifndef STORAGE_VHDX_H
#define STORAGE_VHDX_H

#include "storage/guid.h"
#include "storage/pages.h"

#define VHDX_SIGNATURE  "vhdxfile"
#define VHDX_HEADER_ONE (64 * KiB)
#define VHDX_HEADER_TWO (128 * KiB)
#define VHDX_TABLE_ONE  (192 * KiB)
#define VHDX_TABLE_TWO  (256 * KiB)
#define VHDX_TABLE_LEN  (64 * KiB)
#define VHDX_SIZE_MAX   (UINT64_C(64) << 40)
#define VHDX_LOG_MAX    (256 * MiB)
#define VHDX_BLOCK_MAX  (256 * MiB)
#define VHDX_OFFSET     (~(MiB - 1)) /* of a BAT entry; the state is in the lowest three bits */

enum { /* header */
       VHDX_AT_CRC = 4,
       VHDX_AT_SEQ = 8,
       VHDX_AT_FILE_WRITE = 16,
       VHDX_AT_DATA_WRITE = 32,
       VHDX_AT_LOG_GUID = 48,
       VHDX_AT_LOG_VERSION = 64,
       VHDX_AT_VERSION = 66,
       VHDX_AT_LOG_LEN = 68,
       VHDX_AT_LOG_OFF = 72,
       VHDX_HEADER = 4096,
};

enum vhdx_state {
	VHDX_NOT_PRESENT,
	VHDX_UNDEFINED,
	VHDX_ZERO,
	VHDX_UNMAPPED,
	VHDX_UNMAPPED_DRAFT = 5,
	VHDX_PRESENT = 6,
	VHDX_PARTIAL = 7,
};

struct vhdx_region {
	uint64_t off;
	uint32_t len;
};

struct vhdx {
	uint8_t header[VHDX_HEADER]; /* the current one */
	bool second;                 /* it is the second of the two */
	struct vhdx_region bat, meta, log;
	uint32_t block, logical, physical;
	bool fixed, diff;
	uint64_t ratio, blocks, entries; /* entries: of the BAT, with those of bitmaps */
	uint64_t size_at;                /* where the size of the disk is in the file */
	struct vhdx_region locator;      /* of the parent, in the file; len 0: there is none */
	struct pages pages;
	/* The log, while it is written. */
	bool log_open, log_half;
	uint64_t log_seq;
	uint8_t log_guid[GUID_BYTES];
	/* Found out before the first allocation. */
	bool counted;
	uint64_t end; /* where the next block goes */
};

static inline struct vhdx *vhdx_of(struct disk *d)
{
	return d->priv;
}

static inline uint64_t vhdx_payload_index(const struct vhdx *v, uint64_t block)
{
	return block + block / v->ratio;
}

static inline uint64_t vhdx_bitmap_index(const struct vhdx *v, uint64_t block)
{
	uint64_t chunk = block / v->ratio;

	return (chunk + 1) * v->ratio + chunk;
}

/* vhdx.c */
extern const struct disk_format vhdx_format;
int vhdx_get(struct disk *d, uint64_t index, uint64_t *ret, struct err *e);
int vhdx_set(struct disk *d, uint64_t index, uint64_t entry, struct err *e);
int vhdx_check_offset(struct disk *d, uint64_t index, uint64_t entry, uint64_t len, struct err *e);
int vhdx_map(struct disk *d, uint64_t off, uint64_t want, struct extent *x, struct err *e);
/* Blocks and entries of a disk of that size. */
void vhdx_count_entries(const struct vhdx *v, uint64_t size, uint64_t *blocks, uint64_t *entries);

/* vhdx_header.c */
int vhdx_read_headers(struct disk *d, struct err *e);
int vhdx_read_regions(struct disk *d, struct err *e);
/* The other header becomes the current one, with a barrier behind it. */
int vhdx_next_header(struct disk *d, struct err *e);
int vhdx_before_write(struct disk *d, struct err *e);
void vhdx_put_crc(uint8_t *p, size_t len); /* at byte 4, over all of it */
bool vhdx_good_crc(const uint8_t *p, size_t len);
/* Both tables of regions, in a buffer of VHDX_TABLE_LEN. */
void vhdx_put_regions(uint8_t *table, const struct vhdx_region *bat,
		      const struct vhdx_region *meta);

/* vhdx_meta.c */
enum vhdx_item {
	ITEM_FILE,
	ITEM_SIZE,
	ITEM_LOGICAL,
	ITEM_PHYSICAL,
	ITEM_DISK_ID,
	ITEM_LOCATOR,
	ITEMS
};
int vhdx_read_metadata(struct disk *d, struct err *e);
void vhdx_put_item(uint8_t *table, enum vhdx_item what, unsigned i, uint32_t off, uint32_t len);

/* vhdx_parent.c */
int vhdx_open_parent(struct disk *d, struct err *e);
/* The locator for a new image; returns its length, or an error. */
int vhdx_put_parent(const struct create_args *a, uint8_t *item, size_t room, struct err *e);

/* vhdx_replay.c */
int vhdx_replay(struct disk *d, struct err *e);

/* vhdx_log.c */
int vhdx_flush(struct disk *d, struct err *e);
int vhdx_finish(struct disk *d, struct err *e);

/* vhdx_patched.c: a file with some pages replaced in memory; takes the file over. */
struct vhdx_patch {
	uint64_t off, len;
	uint8_t *data; /* NULL: zeroes; owned */
};
int vhdx_patch_file(struct file *f, struct vhdx_patch *patches, size_t n, uint64_t size,
		    struct file **ret, struct err *e);

/* vhdx_write.c */
struct slots;
/* Which MiB of the file are taken; entries that are damaged are told to bad(), or an error. */
int vhdx_survey(struct disk *d, struct slots *s, uint64_t *used,
		int (*bad)(void *arg, uint64_t index, const char *why, struct err *e), void *arg,
		struct err *e);
int vhdx_count(struct disk *d, struct err *e);
int vhdx_new_block(struct disk *d, uint64_t block, struct err *e);
int vhdx_alloc(struct disk *d, uint64_t off, uint64_t want, struct extent *x, struct err *e);
int vhdx_commit(struct disk *d, uint64_t off, const struct extent *x, struct err *e);
void vhdx_abandon(struct disk *d, uint64_t off, const struct extent *x);
int vhdx_zero(struct disk *d, uint64_t off, uint64_t *len, bool unmap, struct err *e);
int vhdx_discard(struct disk *d, uint64_t off, uint64_t *len, struct err *e);

/* vhdx_create.c */
extern const struct format_option vhdx_options[];
int vhdx_create(struct file *f, const struct create_args *a, struct err *e);

/* vhdx_check.c */
int vhdx_check(struct disk *d, unsigned repair, struct disk_check *c, struct err *e);
int vhdx_resize(struct disk *d, uint64_t size, struct err *e);

#endif
