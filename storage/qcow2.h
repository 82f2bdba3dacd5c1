/*
 * qcow2.h - the image format of QEMU, versions 2 and 3, as its files here share it. The layout is
 * in QEMU's docs/interop/qcow2.txt ("the spec" in comments). All numbers in the file are
 * big-endian; in memory they are the host's.
 *
 * Order of writes, so that a power cut leaves at worst clusters that nobody uses: data and
 * refcounts are durable before the L2 entry that needs them, a new L2 table before its L1 entry,
 * and an entry that lets go of a cluster before the cluster's refcount goes down. qcow2_commit.c
 * does that, at each flush, for everything that happened since the last one.
 *
 * Everything in struct qcow2 is guarded by d->meta.
 */
#ifndef STORAGE_QCOW2_H
#define STORAGE_QCOW2_H

#include "base/bitmap.h"
#include "storage/format.h"

enum { /* the header */
       Q2_MAGIC_VALUE = 0x514649fb,
       Q2_AT_VERSION = 4,
       Q2_AT_BACKING_OFF = 8,
       Q2_AT_BACKING_LEN = 16,
       Q2_AT_CLUSTER_BITS = 20,
       Q2_AT_SIZE = 24,
       Q2_AT_CRYPT = 32,
       Q2_AT_L1_ENTRIES = 36,
       Q2_AT_L1_OFF = 40,
       Q2_AT_REFTABLE_OFF = 48,
       Q2_AT_REFTABLE_CLUSTERS = 56,
       Q2_AT_SNAPSHOTS = 60,
       Q2_AT_SNAPSHOTS_OFF = 64,
       Q2_V2_LEN = 72,
       Q2_AT_INCOMPATIBLE = 72,
       Q2_AT_COMPATIBLE = 80,
       Q2_AT_AUTOCLEAR = 88,
       Q2_AT_REFCOUNT_ORDER = 96,
       Q2_AT_HEADER_LEN = 100,
       Q2_V3_LEN = 104,
       Q2_AT_COMPRESSION = 104,
};

enum { /* incompatible features */
       Q2_DIRTY = 1,
       Q2_CORRUPT = 2,
       Q2_DATA_FILE = 4,
       Q2_COMPRESSION = 8,
       Q2_EXTENDED_L2 = 16,
       Q2_KNOWN = Q2_DIRTY | Q2_CORRUPT | Q2_DATA_FILE | Q2_COMPRESSION | Q2_EXTENDED_L2,
};

#define Q2_LAZY 1u /* compatible feature: refcounts may be postponed; we never do */

#define Q2_BITMAPS  1u /* autoclear feature: the bitmaps are right */
#define Q2_DATA_RAW 2u /* autoclear feature: the data file is the disk, byte for byte */

enum { /* header extensions */
       Q2_EXT_BACKING_FORMAT = (int)0xe2792aca,
       Q2_EXT_FEATURES = 0x6803f857,
       Q2_EXT_BITMAPS = 0x23852875,
       Q2_EXT_LUKS = 0x0537be77,
       Q2_EXT_DATA_FILE = 0x44415441,
};

enum { Q2_CRYPT_NONE, Q2_CRYPT_AES, Q2_CRYPT_LUKS };

#define Q2_COPIED     (UINT64_C(1) << 63) /* refcount is exactly one */
#define Q2_COMPRESSED (UINT64_C(1) << 62)
#define Q2_ZERO       UINT64_C(1)
#define Q2_OFFSET     UINT64_C(0x00fffffffffffe00)
#define Q2_OFFSET_MAX (UINT64_C(1) << 56)

/* Limits, those of QEMU. */
#define Q2_L1_BYTES_MAX       (32 * MiB)
#define Q2_REFTABLE_BYTES_MAX (8 * MiB)
#define Q2_SNAPSHOTS_MAX      65536u
#define Q2_BACKING_MAX        1023u

/* A header extension, as in the file. */
struct q2_ext {
	uint32_t type, len;
	uint8_t *data;
};

/* A piece of a table in memory. */
struct slice {
	struct list node;       /* of all, in the order of the clock */
	struct list dirty_node; /* of those that must be written */
	struct slice *next;     /* in the hash chain */
	uint64_t off;           /* in the file */
	uint32_t l1_index;      /* L2: whose table it is a piece of */
	bool is_l2, used, dirty, staged;
	uint8_t data[];
};

/* Clusters that nothing durable points to any more once the next commit is through. */
struct let_go {
	uint64_t first, n; /* clusters; each loses one reference */
	bool punch;
};

struct q2_snapshot {
	uint64_t l1_off, size, vmstate_size;
	uint32_t l1_entries, extra_len;
	uint32_t sec, nsec;
	uint64_t vm_clock;
	uint8_t *extra; /* as in the file */
	char *id, *name;
};

struct qcow2 {
	uint32_t version, cluster_bits, cluster_size, refcount_order;
	uint32_t l2_bits, l2_entries; /* per table */
	bool extended;                /* L2 entries of 16 bytes, with 32 pieces in a cluster */
	uint32_t entry_len, pieces, piece_bits;
	unsigned data_file; /* its index in d->files; 0: data is in the image */
	uint32_t slice_size;
	uint64_t incompatible, compatible, autoclear;
	uint32_t header_len;
	bool header_doubt; /* a write of it failed */
	enum codec codec;
	uint32_t crypt;              /* Q2_CRYPT_... */
	uint64_t luks_off, luks_len; /* of the LUKS header in the file */
	struct q2_ext *ext;
	unsigned ext_n;
	uint64_t backing_off; /* of the name, in the header */

	uint64_t *l1;
	uint32_t l1_entries;
	uint64_t l1_off;
	uint64_t *l1_dirty; /* a bit for each entry that is not in the file yet */
	uint32_t *l1_changed, l1_changed_n, l1_changed_room;

	uint64_t *reftable;
	uint32_t reftable_entries;
	uint64_t reftable_off;
	bool reftable_moved; /* neither the table nor the header are in the file yet */
	uint32_t *ref_changed, ref_changed_n, ref_changed_room; /* entries not in the file yet */

	uint64_t free_hint;   /* no free cluster below this one */
	uint64_t touched_end; /* a write that failed may have left bytes up to here */
	uint64_t pack_at; /* the next compressed cluster goes here, if there is room; 0: nowhere */
	struct let_go *let_go;
	size_t let_go_n, let_go_room;

	struct slice **hash;
	uint32_t hash_size; /* a power of two */
	struct list slices, dirty;
	uint32_t slice_n, slice_max, dirty_n;

	struct q2_snapshot *snapshots;
	uint32_t snapshot_n;
	uint64_t snapshots_off, snapshots_len;
};

static inline struct qcow2 *qcow2_of(struct disk *d)
{
	return d->priv;
}

static inline uint64_t q2_clusters(const struct qcow2 *q, uint64_t bytes)
{
	return (bytes + q->cluster_size - 1) >> q->cluster_bits;
}

/* qcow2_header.c */
int q2_open(struct disk *d, struct err *e);
void q2_close(struct disk *d);
/* The header from memory, with a barrier behind it; everything must be settled before. When it
 * fails nobody knows which header is in the file: the next flush writes it again first. */
int q2_publish_header(struct disk *d, struct err *e);
/* Where tables may not lie: outside the file, over the header. */
int q2_check_table(struct disk *d, uint64_t off, uint64_t len, const char *what, struct err *e);
int q2_load_table(struct disk *d, uint64_t off, uint32_t n, uint64_t **ret, struct err *e);
int q2_store_table(struct disk *d, uint64_t off, const uint64_t *t, uint32_t n, uint64_t clear,
		   struct err *e);

/* qcow2_ext.c */
int q2_parse_extensions(struct disk *d, const uint8_t *h, size_t len, struct err *e);
int q2_parse_backing(struct disk *d, const uint8_t *h, size_t len, struct err *e);
void q2_extensions_free(struct qcow2 *q);
const struct q2_ext *q2_extension(const struct qcow2 *q, uint32_t type); /* NULL: there is none */
/* In memory; data NULL takes it away. */
int q2_extension_set(struct qcow2 *q, uint32_t type, const void *data, uint32_t len, struct err *e);
int q2_write_extensions(struct disk *d, struct err *e); /* durable afterwards */
int q2_set_backing(struct disk *d, const char *name, const char *format, struct err *e);

/* qcow2_bitmap.c */
int q2_bitmaps_load(struct disk *d, struct err *e);
int q2_bitmaps_begin(struct disk *d, struct err *e); /* before anything is written */
int q2_bitmaps_save(struct disk *d, struct err *e);  /* everything is settled; settle afterwards */
/* All places in the file that they use. */
int q2_bitmaps_walk(struct disk *d, void (*use)(void *arg, uint64_t off, uint64_t len), void *arg,
		    struct err *e);

/* qcow2_crypt.c */
int q2_crypt_open(struct disk *d, struct err *e);
/* x is data at off of the disk: how it is enciphered, if it is. */
void q2_seal(const struct qcow2 *q, uint64_t off, struct extent *x);
/* The key of old AES images: the start of the passphrase. */
int q2_aes_cipher(const struct disk_secret *s, struct cipher **ret, struct err *e);

/* qcow2_cache.c */
int q2_cache_init(struct disk *d, struct err *e);
void q2_cache_free(struct qcow2 *q);
int q2_slice(struct disk *d, uint64_t table, uint64_t at, bool is_l2, uint32_t l1_index,
	     struct slice **ret, struct err *e);
void q2_dirty(struct disk *d, struct slice *s);
/* Forget the slices of a table that is about to be written around the cache. */
void q2_forget(struct qcow2 *q, uint64_t off, uint64_t len);

/* qcow2_ref.c */
int q2_ref_get(struct disk *d, uint64_t cluster, uint64_t *ret, struct err *e);
/* Adds to the count of n clusters, from the first on; stops at the first error: one that is 0, or
 * would overflow. */
int q2_ref_add(struct disk *d, uint64_t cluster, uint64_t n, int delta, struct err *e);
/* Up to n free clusters in a row; they have a reference afterwards. */
int q2_take_clusters(struct disk *d, uint64_t n, uint64_t *first, uint64_t *got, struct err *e);
/* Exactly n in a row, for a table. */
int q2_take_exactly(struct disk *d, uint64_t n, uint64_t *first, struct err *e);
int q2_let_go(struct disk *d, uint64_t first, uint64_t n, bool punch, struct err *e);
uint64_t q2_refs_per_block(const struct qcow2 *q);
uint64_t q2_ref_max(const struct qcow2 *q);
int q2_ref_place(struct disk *d, uint64_t block, uint64_t cluster, struct err *e);
int q2_ref_set(struct disk *d, uint64_t cluster, uint64_t value, struct err *e);

/* Appends to a list of changed entries. */
int q2_remember(uint32_t **list, uint32_t *n, uint32_t *room, uint32_t v, struct err *e);

/* qcow2_map.c */
int q2_map(struct disk *d, uint64_t off, uint64_t want, struct extent *x, struct err *e);
int q2_l2_entry(struct disk *d, uint64_t off, struct slice **s, uint32_t *i, struct err *e);

/* qcow2_entry.c: an L2 entry. Each piece of the cluster is data, zero, or (neither) as below. */
struct q2_entry {
	bool compressed, has_host, owned;
	uint64_t host;        /* of the cluster; compressed: the word of the file */
	uint32_t alloc, zero; /* a bit for each piece */
};

int q2_decode(struct disk *d, const uint8_t *p, uint64_t off, struct q2_entry *x, struct err *e);
void q2_encode(const struct qcow2 *q, const struct q2_entry *x, uint8_t *p);
/* The stream that a compressed entry points to. */
int q2_compressed(struct disk *d, uint64_t word, uint64_t off, struct extent *x, struct err *e);
/* The host clusters of the image that an entry uses, by its first word: none for unallocated and
 * plain zero. */
int q2_entry_clusters(struct disk *d, uint64_t word, uint64_t *first, uint64_t *n, struct err *e);

static inline uint32_t q2_slice_entries(const struct qcow2 *q)
{
	return q->slice_size / q->entry_len;
}

static inline uint8_t *q2_at(const struct qcow2 *q, struct slice *s, uint32_t i)
{
	return s->data + (size_t)i * q->entry_len;
}

static inline uint32_t q2_all_pieces(const struct qcow2 *q)
{
	return q->pieces == 32 ? UINT32_MAX : 1;
}

/* qcow2_write.c */
int q2_alloc(struct disk *d, uint64_t off, uint64_t want, struct extent *x, struct err *e);
int q2_publish(struct disk *d, uint64_t off, const struct extent *x, struct err *e);
void q2_abandon(struct disk *d, uint64_t off, const struct extent *x);
int q2_zero(struct disk *d, uint64_t off, uint64_t *len, bool unmap, struct err *e);
int q2_discard(struct disk *d, uint64_t off, uint64_t *len, struct err *e);
/* Entry 0 for whole units, whatever the version. */
int q2_unmap(struct disk *d, uint64_t off, uint64_t *len, struct err *e);

/* qcow2_pack.c */
bool q2_packing(struct disk *d, struct packing *p);
int q2_alloc_packed(struct disk *d, struct extent *x, struct err *e); /* x->stored bytes */
uint64_t q2_packed_entry(const struct qcow2 *q, const struct extent *x);
void q2_abandon_packed(struct disk *d, const struct extent *x);

int q2_set_l1(struct qcow2 *q, uint32_t i, uint64_t entry, struct err *e);

/* qcow2_commit.c: without d->meta, nobody else committing. */
int q2_flush(struct disk *d, struct err *e);
int q2_settle(struct disk *d, struct err *e); /* until nothing is dirty */
int q2_finish(struct disk *d, struct err *e);

/* qcow2_l1.c: what to do for each stretch of clusters that a tree of tables uses. */
typedef int q2_walk_fn(struct disk *d, uint64_t first, uint64_t n, int delta, struct err *e);
/* Everything that an L1 table reaches, and its L2 tables. The tables in the file are current. */
int q2_walk_l1(struct disk *d, const uint64_t *l1, uint32_t n, q2_walk_fn *fn, int delta,
	       struct err *e);
/* For q2_walk_l1: can each be counted once more? */
int q2_can_add(struct disk *d, uint64_t first, uint64_t n, int delta, struct err *e);
/* An L1 table in new clusters, without the marks; *off: where. */
int q2_copy_l1(struct disk *d, uint64_t *off, const uint64_t *l1, uint32_t n, struct err *e);
/* Another L1 table and size become the active ones, by one write of the header. */
int q2_activate(struct disk *d, uint64_t *l1, uint32_t n, uint64_t off, uint64_t size,
		struct err *e);
/* The "refcount one" marks of the active tables, from the counts; settles. */
int q2_mark_owned(struct disk *d, struct err *e);
int q2_make_empty(struct disk *d, struct err *e);

/* qcow2_snapshot_table.c */
enum { Q2_EXTRA_VMSTATE = 0, Q2_EXTRA_SIZE = 8, Q2_EXTRA_ICOUNT = 16, Q2_EXTRA_LEN = 24 };
int q2_snapshots_load(struct disk *d, struct err *e);
void q2_snapshots_free(struct qcow2 *q);
void q2_snapshot_clear(struct q2_snapshot *s);
/* The table elsewhere, then the header, then the old table goes. The list stays the caller's. */
int q2_snapshots_store(struct disk *d, const struct q2_snapshot *list, uint32_t n, struct err *e);

/* qcow2_snapshot.c */
int q2_snapshot_create(struct disk *d, const char *name, struct err *e);
int q2_snapshot_delete(struct disk *d, const char *name, struct err *e);
int q2_snapshot_revert(struct disk *d, const char *name, struct err *e);
int q2_snapshot_view(struct disk *d, const char *name, struct err *e);
int q2_snapshot_list(struct disk *d, struct disk_snapshot **list, unsigned *n, struct err *e);

/* qcow2_check.c */
int q2_check(struct disk *d, unsigned repair, struct disk_check *c, struct err *e);
/* Refcounts and "refcount one" marks made right from the tables. */
int q2_rebuild(struct disk *d, struct err *e);

/* qcow2_create.c */
extern const struct format_option q2_options[];
int q2_create(struct file *f, const struct create_args *a, struct err *e);

/* qcow2_resize.c */
int q2_resize(struct disk *d, uint64_t size, struct err *e);

#endif
