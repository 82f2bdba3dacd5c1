/*
 * format.h - what a disk format implements, and the disk as the engine and the formats see it.
 * Only for this folder and its tests.
 *
 * A format says where bytes are. It parses headers, maps offsets, finds room for new data and
 * makes it visible. Loops, zeroes, backing images, decompression, queues, caches of data and
 * threads are the engine's. One file per format and one line in formats.def.
 *
 * A format trusts nothing in the file: open() checks every number before it is used as a size or
 * an offset; map() checks that an entry points inside the file and outside of the tables.
 *
 * Locking. The engine calls map, alloc, commit, abandon, zero and discard with d->meta held, so
 * they see consistent tables; they may read and write tables through struct file while they hold
 * it, but never sync under it. flush() is called without d->meta, one at a time (d->flushing
 * held). Everything else (open, resize, check, snapshots, close) is called with no request in
 * flight and no lock held, or d->meta held by the engine where stated.
 * An encrypted image sets d->cipher and marks its extents EXTENT_SEALED; the engine enciphers and
 * deciphers (sealed.c). A remote disk is a struct file, under raw.
 *
 * For any one unit of the disk the engine never runs alloc..commit, zero or discard together with
 * another request to the same unit (range.c).
 */
#ifndef STORAGE_FORMAT_H
#define STORAGE_FORMAT_H

#include <pthread.h>

#include "base/bytes.h"
#include "base/list.h"
#include "storage/disk.h"
#include "storage/file.h"

enum extent_kind {
	EXTENT_DATA,       /* in file number `file`, at off */
	EXTENT_ZERO,       /* reads as zeroes */
	EXTENT_BACKING,    /* ask the backing image; zeroes when there is none */
	EXTENT_COMPRESSED, /* a stream at off; gives the whole unit that begins at unit_off */
	EXTENT_MEMORY,     /* at mem, until the mapping changes */
};

enum codec {
	CODEC_DEFLATE, /* RFC 1951, no header */
	CODEC_ZLIB,    /* RFC 1950 */
	CODEC_ZSTD,
	CODEC_BZIP2, /* reading only */
	CODEC_LZMA,  /* an xz stream; reading only */
	CODEC_ADC,   /* unpack.h; reading only */
	CODEC_LZFSE, /* the same */
	CODECS,
};

#define UNIT_MAX (16 * MiB) /* bytes that one stream may give */

enum {
	EXTENT_IN_PLACE = 1, /* DATA that may be overwritten where it is */
	EXTENT_FRESH = 2,    /* from alloc(): the file reads as zeroes there already */
	EXTENT_SEALED = 4,   /* DATA enciphered by d->cipher; d->unit holds whole sectors of it */
};

struct extent {
	enum extent_kind kind;
	unsigned flags;
	uint64_t len;  /* bytes of the disk, from the offset asked for */
	uint64_t off;  /* DATA: of the byte asked for. COMPRESSED: of the stream */
	unsigned file; /* index in d->files */
	/* COMPRESSED */
	enum codec codec;
	uint32_t stored;   /* bytes of the stream, at most */
	uint32_t unit;     /* bytes it yields, exactly */
	uint64_t unit_off; /* where they begin in the disk */
	/* From alloc(): bytes in front of and after the range that must be filled with what the
	 * disk holds there now; off is where the head begins. */
	uint32_t head, tail;
	const uint8_t *mem; /* MEMORY */
	/* SEALED: which byte of the cipher's sectors the one at off is, sector 0 being first. By
	 * place in the file (LUKS) or in the disk (old AES). From alloc(): of the head, like off.
	 */
	uint64_t seal;
	uint64_t token; /* the format's own, handed on from alloc() to commit() or abandon() */
};

/* What probing looks at. */
struct probe {
	const uint8_t *head; /* the first head_len bytes, at most 64 KiB */
	size_t head_len;
	const uint8_t
	    *tail; /* the last tail_len bytes, at most 2 KiB: VHD and dmg sign at the end */
	size_t tail_len;
	uint64_t file_size;
	const char *name; /* some formats have no signature, only a suffix */
};

/* Options of create: an enumeration of strings is the format's own business. */
struct format_option {
	const char *name, *value, *doc; /* value: the default, as text */
};

typedef int disk_more_fn(void *arg, const char *name, struct file **ret, struct err *e);

struct create_args {
	const char *name; /* the file's name to be, without a directory */
	uint64_t size;
	const char *backing, *backing_format;
	struct disk *parent; /* that image, open, for those that keep its identity; may be NULL */
	const struct disk_secret *secret; /* NULL: none */
	/* One value for each row of format->options, in their order; never NULL. */
	const char *const *values;
	/* Makes another file of this image beside the first (split extents); NULL where there can
	 * be only one. The format syncs and closes it. */
	disk_more_fn *more;
	void *arg;
};

/* Compressed units that alloc() takes. */
struct packing {
	enum codec codec;
	bool always; /* it has no other units, as in stream-optimised VMDK */
};

struct disk_format {
	const char *name, *alias, *doc;
	size_t priv_size;
	const struct format_option *options; /* ends with a NULL name; NULL: none */
	bool of_folder;                      /* the image is a folder, not a file */
	/* The image has no place for the format of its backing image: that is probed. */
	bool probes_backing;

	/* Is it this format for certain? Formats are asked in the order of formats.def; raw is
	 * last. */
	bool (*probe)(const struct probe *p);

	/*
	 * Sets d->size and d->unit, keeps what it needs in d->priv (priv_size zeroed bytes). Names
	 * other files only through disk_need_backing() and disk_need_file(). d->writable says
	 * whether it may write. On failure the engine calls close().
	 */
	int (*open)(struct disk *d, struct err *e);
	void (*close)(struct disk *d);

	/* Where off is, and how far that holds. off < d->size (or VM state past it, where there is
	 * any). x is zeroed before. Long extents make fast copies; stop after `want` bytes. While
	 * d->map_in_memory is set, a table that is not in memory is -EAGAIN. */
	int (*map)(struct disk *d, uint64_t off, uint64_t want, struct extent *x, struct err *e);

	/* ---- writers; NULL for a read-only format ---- */

	/*
	 * Called once, before anything of an image that is open for writing changes: marks that
	 * other files compare (a CID, a modification UUID) change here. No lock of d->meta held;
	 * may sync. After an error it is called again before the next change.
	 */
	int (*before_write)(struct disk *d, struct err *e);

	/*
	 * Room for [off, off + x->len), at most want bytes, as one stretch of one file. Nothing is
	 * visible before commit(). x->kind is DATA, or COMPRESSED with x->stored set to the length
	 * of the stream of one whole unit (a format without compression answers -ENOTSUP).
	 */
	int (*alloc)(struct disk *d, uint64_t off, uint64_t want, struct extent *x, struct err *e);
	/* The data of alloc's extent is written: point to it. Replaces what was there. */
	int (*commit)(struct disk *d, uint64_t off, const struct extent *x, struct err *e);
	/* How its units can be written compressed; false: they cannot. NULL: never. */
	bool (*packing)(struct disk *d, struct packing *p);
	/* It could not be written: forget it. Cannot fail. */
	void (*abandon)(struct disk *d, uint64_t off, const struct extent *x);

	/*
	 * Make [off, off + *len), whole units, read as zeroes without writing them; *len may come
	 * back shorter, but not 0. -ENOTSUP without a change: the engine writes zeroes. NULL:
	 * always so.
	 */
	int (*zero)(struct disk *d, uint64_t off, uint64_t *len, bool unmap, struct err *e);
	/* Give whole units back; reads as zeroes afterwards. NULL: nothing happens. */
	int (*discard)(struct disk *d, uint64_t off, uint64_t *len, struct err *e);

	/* Everything acknowledged becomes durable, in the right order. NULL: sync every file. */
	int (*flush)(struct disk *d, struct err *e);
	/* The image is about to be closed in good order: clear dirty marks. Flushed before. */
	int (*finish)(struct disk *d, struct err *e);

	/* f is empty. */
	int (*create)(struct file *f, const struct create_args *a, struct err *e);
	int (*resize)(struct disk *d, uint64_t size, struct err *e);
	/* Rewrites the name of the backing image (rebase); NULL, NULL takes it away. */
	int (*set_backing)(struct disk *d, const char *name, const char *format, struct err *e);
	/* Everything back to "ask backing" (after commit into the backing image). */
	int (*make_empty)(struct disk *d, struct err *e);

	/* ---- optional for all ---- */

	int (*check)(struct disk *d, unsigned repair, struct disk_check *c, struct err *e);
	void (*info)(struct disk *d, struct disk_info *i);
	int (*snapshot_create)(struct disk *d, const char *name, struct err *e);
	int (*snapshot_delete)(struct disk *d, const char *name, struct err *e);
	int (*snapshot_revert)(struct disk *d, const char *name, struct err *e);
	/* A disk that is open for reading shows the snapshot from now on; sets d->size. */
	int (*snapshot_view)(struct disk *d, const char *name, struct err *e);
	int (*snapshot_list)(struct disk *d, struct disk_snapshot **list, unsigned *n,
			     struct err *e);
	/* VM state lies at disk offsets from here on (0: there is no room for it in this format).
	 */
	uint64_t (*vmstate)(struct disk *d);
};

#define FILES_MAX 4096 /* of one image and of a whole chain */
#define DEPTH_MAX 256

struct cipher; /* crypt.h */
struct opener; /* open.c: where implied files come from while a disk is being opened */
struct pool;

struct disk {
	const struct disk_format *format;
	void *priv;
	struct file **files; /* [0] is the image itself; owned */
	unsigned nfiles;
	struct disk *backing;                /* owned */
	char *backing_name, *backing_format; /* as written in the image; owned */
	uint64_t size;                       /* changed only while no request is in flight */
	uint32_t unit;  /* bytes in which mappings change; 1: they never do (raw) */
	uint32_t piece; /* bytes in which zero() and discard() work, less than a unit; 0: a unit */
	uint64_t cache_bytes;
	struct cipher *cipher; /* of EXTENT_SEALED; set by open(), owned; NULL: no passphrase */
	unsigned flags;
	bool writable, probed;
	int depth;
	struct opener *opener; /* only during open */

	pthread_mutex_t meta; /* guards priv and ranges */
	pthread_cond_t ranges_changed;
	struct list ranges;   /* of struct disk_range */
	uint64_t map_changes; /* counts commits, zeroes and discards */
	struct dirty *dirty;  /* bitmaps of what was written (dirty.h); owned */
	bool dirty_gone;      /* one that was in the image is not any more */
	bool wants_flush;     /* set by a format whose tables in memory should be written soon */
	bool map_in_memory;   /* map() must not read the file now: -EAGAIN instead */

	pthread_mutex_t begin_lock; /* guards before_write(), and the setting of begun */
	bool begun;                 /* it was called */

	pthread_mutex_t unit_lock; /* guards the unit that was expanded last */
	uint8_t *unit_data;        /* NULL: none yet */
	uint32_t unit_room;        /* bytes of it */
	uint64_t unit_key, unit_changes;

	pthread_mutex_t flush_lock; /* guards what follows */
	pthread_cond_t flush_done;
	bool flush_running;
	uint64_t flush_started, flush_finished; /* counts of flushes */
	int flush_result;                       /* of the one that finished last */

	bool limited;               /* there are limits (throttle.c) */
	pthread_mutex_t limit_lock; /* guards what follows */
	struct disk_limits limits;
	double level_requests, level_bytes; /* what the buckets hold */
	int64_t limit_time;                 /* when they last leaked */

	pthread_mutex_t pool_lock; /* guards pool and pool_users */
	struct pool *pool;
	unsigned pool_users;
};

/* ---- for formats ---- */

static inline struct file *disk_file(struct disk *d)
{
	return d->files[0];
}

/* "disk.format" errors: the image is damaged or not what it says. */
int err_damaged(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "disk.format" too: it is fine, but we lack something. */
int err_lacking(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* One finding of a check, as a sentence. */
void disk_finding(const struct disk_check *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * Opens d->backing from d->backing_name and d->backing_format, through the gate. A NULL name: the
 * image has a parent and does not say where; the next one of disk_options.parents is it.
 */
int disk_need_backing(struct disk *d, struct err *e);
/* Opens another file of this image through the gate; *index is its place in d->files. */
int disk_need_file(struct disk *d, enum disk_ref_kind kind, const char *name, bool write,
		   unsigned *index, struct err *e);

/*
 * The passphrase for this image, asked for in open(). *ret is NULL when nothing will be read
 * (DISK_NO_SECRET, or the image is only resolved): leave d->cipher unset then. Without one: an
 * error.
 */
int disk_need_secret(struct disk *d, const struct disk_secret **ret, struct err *e);
/* The error for a passphrase that does not open the image. */
int err_secret(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

const struct disk_format *format_find(const char *name); /* by name or alias; NULL */
const struct disk_format *format_probe(struct file *f, struct err *e);
const struct disk_format *format_at(unsigned i);

/* One stream into exactly want bytes: less is an error, more is cut off. */
int codec_expand(enum codec c, const void *in, size_t n, void *out, size_t want, struct err *e);
/* into out of at most room bytes; returns the length, or 0 when it does not fit. level 0: fast. */
size_t codec_pack(enum codec c, int level, const void *in, size_t n, void *out, size_t room);
bool codec_have(enum codec c);
/* The same for many units in a row, by one thread at a time: keeps what is costly to set up. */
struct packer;
int packer_new(enum codec c, int level, struct packer **ret, struct err *e);
size_t packer_pack(struct packer *p, const void *in, size_t n, void *out, size_t room);
void packer_free(struct packer *p); /* NULL is fine */

/* ---- between the engine's files ---- */

/* range.c: with d->meta held; [off, off + len) is not empty. Whole units are locked. */
bool range_try(struct disk *d, struct disk_range *r, uint64_t off, uint64_t len, bool exclusive);
void range_lock(struct disk *d, struct disk_range *r, uint64_t off, uint64_t len,
		bool exclusive); /* may wait */
void range_unlock(struct disk *d, struct disk_range *r);

/* packed.c: is it open for writing, and can units be written compressed? */
bool disk_packing(struct disk *d, struct packing *p);
/* One whole unit at off, as a stream of n bytes; n is less than a unit. */
int engine_write_packed(struct disk *d, uint64_t off, const void *stream, size_t n, struct err *e);

/* open.c */
int disk_new_from_file(struct file *f, const struct disk_options *o, struct disk **ret,
		       struct err *e); /* f becomes the disk's, also on failure; takes no lock */
/* The same with a given backing disk (which becomes the disk's) instead of a named one. */
int disk_new_overlay(struct file *f, struct disk *backing, const struct disk_options *o,
		     struct disk **ret, struct err *e);

/* nbd_file.c: a remote disk. Connects; may wait. */
int nbd_file_open(const char *uri, bool write, struct file **ret, struct err *e);
/* The same on a connected socket, which becomes the file's, also on failure. */
int nbd_file_from_fd(int fd, const char *export, bool write, struct file **ret, struct err *e);

/* create.c: any struct file, for tests and temporary overlays. */
int disk_create_file(struct file *f, const struct disk_create *c, struct err *e);
/* With files beside it. */
int disk_create_files(struct file *f, const struct disk_create *c, disk_more_fn *more, void *arg,
		      struct err *e);

/* lock.c */
int image_lock(int fd, const char *name, bool write,
	       struct err *e); /* released by the last close */
void image_unlock(int fd);

/* engine.c */
int engine_check(struct disk *d, const struct disk_req *req, struct err *e); /* inside the disk? */
int engine_run(struct disk *d, struct disk_req *req, struct err *e);         /* any op; may wait */

#endif
