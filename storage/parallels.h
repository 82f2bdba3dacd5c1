/*
 * parallels.h - images of Parallels: one file that grows, or a bundle of them. The layout is in
 * QEMU's docs/interop/parallels.rst and prl-xml.rst. Little-endian. With d->meta held where
 * format.h says so.
 */
#ifndef STORAGE_PARALLELS_H
#define STORAGE_PARALLELS_H

#include "storage/pages.h"

enum { PRL_HEADER_LEN = 64, PRL_IMAGES_MAX = 4096 };

enum {
	PRL_AT_VERSION = 16,
	PRL_AT_HEADS = 20,
	PRL_AT_CYLINDERS = 24,
	PRL_AT_CLUSTER = 28, /* in sectors */
	PRL_AT_ENTRIES = 32,
	PRL_AT_SECTORS = 36,
	PRL_AT_IN_USE = 44,
	PRL_AT_DATA = 48, /* in sectors */
	PRL_AT_FLAGS = 52,
	PRL_AT_EXTENSION = 56,
};

enum { PRL_DIRTY = 0x746f6e59, PRL_CLEAN = 0x312e3276, PRL_EMPTY = 1 };

/* One image file: a table of clusters, or plain data. */
struct prl_image {
	unsigned file; /* in d->files */
	bool plain;
	bool empty;       /* its table is to be taken as empty */
	bool dirty;       /* somebody has it open, or did not close it */
	uint64_t size;    /* bytes of the disk that it covers */
	uint32_t cluster; /* bytes */
	uint32_t entries;
	uint32_t step; /* bytes that 1 in an entry stands for */
	uint64_t data_off;
};

/* A stretch of the disk, and the images that hold it: the newest first. */
struct prl_stretch {
	uint64_t off, len;
	struct prl_image *images;
	unsigned n;
};

struct parallels {
	struct pages pages;
	bool has_pages;
	struct prl_stretch *stretches; /* sorted, without gaps */
	unsigned n;
	/* Writing: one stretch of one image. */
	uint64_t end, touched_end; /* of the file; see parallels_write.c */
	bool marked;
};

static inline struct parallels *parallels_of(struct disk *d)
{
	return d->priv;
}

static inline struct prl_image *prl_top(struct disk *d)
{
	return &parallels_of(d)->stretches[0].images[0];
}

/* parallels.c */
bool prl_is_image(const uint8_t *head, size_t len);
int prl_parse_image(struct disk *d, unsigned file, struct prl_image *im, struct err *e);
/* Where the cluster of an entry is; 0: nowhere. */
int prl_entry(struct disk *d, const struct prl_image *im, uint64_t cluster, uint64_t *at,
	      struct err *e);
int prl_check_entry(struct disk *d, const struct prl_image *im, uint64_t cluster, uint32_t entry,
		    uint64_t *at, struct err *e);

/* parallels_bundle.c: the file is DiskDescriptor.xml. */
bool prl_is_descriptor(const uint8_t *head, size_t len);
int prl_open_bundle(struct disk *d, struct err *e);

/* parallels_write.c */
int prl_prepare(struct disk *d, struct err *e); /* after the image was opened for writing */
int prl_alloc(struct disk *d, uint64_t off, uint64_t want, struct extent *x, struct err *e);
int prl_commit(struct disk *d, uint64_t off, const struct extent *x, struct err *e);
void prl_abandon(struct disk *d, uint64_t off, const struct extent *x);
int prl_zero(struct disk *d, uint64_t off, uint64_t *len, bool unmap, struct err *e);
int prl_discard(struct disk *d, uint64_t off, uint64_t *len, struct err *e);
int prl_flush(struct disk *d, struct err *e);
int prl_finish(struct disk *d, struct err *e);
uint64_t prl_slot_up(const struct prl_image *im, uint64_t off); /* to where a cluster may be */
int prl_put_entry(struct disk *d, uint64_t cluster, uint32_t entry, struct err *e);
int prl_set_header(struct disk *d, size_t at, const void *data, size_t len, struct err *e);

/* parallels_admin.c */
extern const struct format_option prl_options[];
int prl_create(struct file *f, const struct create_args *a, struct err *e);
int prl_resize(struct disk *d, uint64_t size, struct err *e);
int prl_check(struct disk *d, unsigned repair, struct disk_check *c, struct err *e);

#endif
