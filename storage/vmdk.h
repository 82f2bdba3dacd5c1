/*
 * vmdk.h - the image format of VMware, as its files here share it. Layout: "Virtual Disk Format"
 * 1.1 (2007) and 5.0. A text, the descriptor, lists extents; each is a stretch of the disk that is
 * plain (flat), all zero, or sparse: a directory of tables of grains. All numbers are
 * little-endian, and offsets count sectors of 512 bytes.
 *
 * Order of writes: a new CID in the descriptor, barrier; data, and new tables full of zeroes,
 * barrier; entries of tables and directories, barrier. A grain keeps its place for ever; zeroing
 * makes a hole in the host's file.
 */
#ifndef STORAGE_VMDK_H
#define STORAGE_VMDK_H

#include "storage/guid.h"
#include "storage/pages.h"

enum { /* header of a sparse extent, one sector */
       VMDK_AT_VERSION = 4,
       VMDK_AT_FLAGS = 8,
       VMDK_AT_CAPACITY = 12,
       VMDK_AT_GRAIN = 20,
       VMDK_AT_DESCRIPTOR = 28,
       VMDK_AT_DESCRIPTOR_LEN = 36,
       VMDK_AT_TABLE_ENTRIES = 44,
       VMDK_AT_REDUNDANT = 48,
       VMDK_AT_DIRECTORY = 56,
       VMDK_AT_OVERHEAD = 64,
       VMDK_AT_UNCLEAN = 72,
       VMDK_AT_NEWLINES = 73,
       VMDK_AT_COMPRESSION = 77,
};

enum { /* flags */
       VMDK_NEWLINES = 1,
       VMDK_HAS_REDUNDANT = 2,
       VMDK_ZEROED_GRAINS = 4,
       VMDK_COMPRESSED = 0x10000,
       VMDK_MARKERS = 0x20000,
};

enum { /* types of markers in a stream */
       VMDK_MARK_END,
       VMDK_MARK_TABLE,
       VMDK_MARK_DIRECTORY,
       VMDK_MARK_FOOTER,
};

enum {
	VMDK_EXTENTS_MAX = 4096,
	VMDK_DESCRIPTOR_MAX = 64 << 10,
	VMDK_TABLE_MAX = 4096, /* entries */
	VMDK_GRAIN_MAX = 64 << 20,
	VMDK_PACKED_GRAIN_MAX = 1 << 20,
	VMDK_NAME_MAX = 1024,
};

#define VMDK_DIRECTORY_MAX (32 * MiB)
#define VMDK_AT_END        UINT64_MAX /* the directory is where the footer says */
#define VMDK_NO_PARENT     0xffffffffu

enum vmdk_kind { VMDK_FLAT, VMDK_ZERO, VMDK_SPARSE, VMDK_COWD, VMDK_SESPARSE, VMDK_NOACCESS };

struct vmdk_extent {
	enum vmdk_kind kind;
	bool writable;
	uint64_t start, len; /* bytes of the disk */
	unsigned file;
	uint64_t off; /* FLAT: where it begins in the file */
	/* Sparse ones; bytes. */
	uint32_t grain, table_entries;
	uint64_t directory, redundant; /* 0: none */
	uint32_t tables;               /* entries of the directory */
	bool zeroed, packed, markers;
	uint64_t se_tables, se_grains, se_grains_len; /* SESPARSE */
	/* Found out before the first allocation. */
	bool counted, marked_unclean;
	uint64_t end, fresh_from; /* where the next grain goes; from where on the file is new */
};

struct vmdk_stream; /* vmdk_stream.c: a stream-optimised image that is being written */

struct vmdk {
	struct vmdk_extent *x;
	unsigned n, last; /* last: the one found last */
	char *text;       /* the descriptor; NULL: there is none */
	size_t text_room; /* bytes for it in the file; 0: the file is the descriptor */
	uint64_t text_off;
	char type[40]; /* createType */
	uint32_t cid, parent_cid;
	bool unclean;
	struct pages pages;
	struct vmdk_stream *stream;
};

static inline struct vmdk *vmdk_of(struct disk *d)
{
	return d->priv;
}

/* One line of the descriptor that says what a stretch of the disk is. */
struct vmdk_line {
	char access[12], type[16], name[VMDK_NAME_MAX];
	uint64_t sectors, offset;
	bool has_name;
};

/* vmdk.c */
extern const struct disk_format vmdk_format;
struct vmdk_extent *vmdk_find(struct disk *d, uint64_t off);

/* vmdk_descriptor.c */
bool vmdk_is_descriptor(const uint8_t *p, size_t n);
/* The value of a key into out; false when it is not there or does not fit. */
bool vmdk_get(const char *text, const char *key, char *out, size_t room);
/* Another value for a key that is there; *text is malloced again. */
int vmdk_set(char **text, const char *key, const char *value, struct err *e);
/* The next extent line from *p on: 1, 0 at the end of the text, or an error. */
int vmdk_next_line(const char **p, struct vmdk_line *l, const char *file, struct err *e);
int vmdk_write_text(struct disk *d, struct err *e); /* without a barrier */
int vmdk_open_parent(struct disk *d, struct err *e);
int vmdk_before_write(struct disk *d, struct err *e);

/* vmdk_sparse.c */
int vmdk_open_sparse(struct disk *d, struct vmdk_extent *x, struct err *e);
int vmdk_check_header(struct disk *d, const uint8_t h[512], struct vmdk_extent *x, struct err *e);
/* Where the entry of a grain is in its table; 0: there is no table. */
int vmdk_entry_at(struct disk *d, const struct vmdk_extent *x, uint64_t directory, uint64_t grain,
		  uint64_t *at, struct err *e);
int vmdk_get32(struct disk *d, const struct vmdk_extent *x, uint64_t at, uint32_t *ret,
	       struct err *e);
int vmdk_set32(struct disk *d, const struct vmdk_extent *x, uint64_t at, uint32_t v, struct err *e);
int vmdk_classify(struct disk *d, struct vmdk_extent *x, uint64_t grain, struct extent *ret,
		  struct err *e);
int vmdk_sparse_map(struct disk *d, struct vmdk_extent *x, uint64_t in, uint64_t want,
		    struct extent *ret, struct err *e);

/* vmdk_esx.c: read only */
int vmdk_open_cowd(struct disk *d, struct vmdk_extent *x, const uint8_t h[512], struct err *e);
int vmdk_open_sesparse(struct disk *d, struct vmdk_extent *x, struct err *e);
int vmdk_se_classify(struct disk *d, struct vmdk_extent *x, uint64_t grain, struct extent *ret,
		     struct err *e);

/* vmdk_write.c */
int vmdk_alloc(struct disk *d, uint64_t off, uint64_t want, struct extent *x, struct err *e);
int vmdk_commit(struct disk *d, uint64_t off, const struct extent *x, struct err *e);
void vmdk_abandon(struct disk *d, uint64_t off, const struct extent *x);
int vmdk_zero(struct disk *d, uint64_t off, uint64_t *len, bool unmap, struct err *e);
int vmdk_discard(struct disk *d, uint64_t off, uint64_t *len, struct err *e);
int vmdk_flush(struct disk *d, struct err *e);
int vmdk_finish(struct disk *d, struct err *e);
int vmdk_count(struct disk *d, struct vmdk_extent *x, struct err *e);

/* vmdk_stream.c */
int vmdk_stream_open(struct disk *d, const struct vmdk_extent *x, struct err *e);
void vmdk_stream_free(struct vmdk_stream *s);
int vmdk_stream_entry(struct disk *d, uint64_t grain, uint32_t *ret, struct err *e);
int vmdk_stream_alloc(struct disk *d, uint64_t off, struct extent *x, struct err *e);
int vmdk_stream_commit(struct disk *d, uint64_t off, const struct extent *x, struct err *e);
void vmdk_stream_abandon(struct disk *d, const struct extent *x);
int vmdk_stream_zero(struct disk *d, uint64_t off, uint64_t *len, struct err *e);
int vmdk_stream_finish(struct disk *d, struct err *e);

/* vmdk_create.c */
extern const struct format_option vmdk_options[];
int vmdk_create(struct file *f, const struct create_args *a, struct err *e);

/* vmdk_check.c */
int vmdk_check(struct disk *d, unsigned repair, struct disk_check *c, struct err *e);
int vmdk_resize(struct disk *d, uint64_t size, struct err *e);

#endif
