/*
 * disk.h - disk images: what vmctl, vmd, its jobs and the block devices of a VM use.
 *
 * Two ways in. A job works on a whole image and may wait: disk_read() and its sisters, from any
 * thread. A device must not wait: it has a queue (disk_queue_new) on its event loop and gets a
 * callback. Any number of queues and threads share one struct disk.
 *
 * An image can name other files (a backing image, a data file, an extent). The layer never opens
 * such a name by itself: it asks the gate of the opener, which denies by default. A process that
 * may open files resolves an image into a chain of file descriptors (disk_resolve) and passes
 * them to the sandboxed one, which opens the disk from them alone (disk_open_chain).
 *
 * Errors have these kinds: disk.not-found, disk.permission, disk.format (not what its name says,
 * damaged, or a feature we lack), disk.locked (in use; the sentence names the holder), disk.full,
 * disk.denied (the gate refused a file; the hint says how to allow it), disk.secret (the passphrase
 * is missing or wrong).
 */
#ifndef STORAGE_DISK_H
#define STORAGE_DISK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/list.h"
#include "base/own.h"

struct disk;
struct file;
struct loop;

enum {
	DISK_RDONLY = 1,   /* never written, not even by clean-up work at open */
	DISK_SNAPSHOT = 2, /* writes go to a temporary overlay that vanishes at close */
	DISK_NO_LOCK = 4,  /* take no lock: the caller holds one, or others may share the file */
	DISK_UNSAFE =
	    8, /* flushes are not passed to the host: for files that will be thrown away */
	DISK_PROBE_RAW = 16,     /* "raw" may be the result of probing a writable image */
	DISK_NO_BACKING = 32,    /* look at this layer alone; what is not in it reads as zeroes */
	DISK_FOR_REPAIR = 128,   /* opened to be repaired: also when marked as dirty or corrupt */
	DISK_DIRECT = 64,        /* past the host's page cache */
	DISK_COPY_ON_READ = 512, /* what is read from a backing image stays in this one */
	DISK_NO_SECRET = 256,    /* without a passphrase: all but reading what is encrypted works */
};

/* A passphrase: bytes as they are, no newline is cut off. Used during the call it is given to. */
struct disk_secret {
	const void *data;
	size_t len;
	/* An image says how much work it is to try a passphrase; more than this is refused. */
	uint32_t work_max;   /* iterations of PBKDF2; 0: 10 million */
	uint32_t memory_max; /* KiB for argon2; 0: 1 GiB */
};

/* ---- Which other files an image may bring in ---- */

enum disk_ref_kind {
	DISK_REF_BACKING,
	DISK_REF_DATA,
	DISK_REF_EXTENT,
	DISK_REF_PARENT,
	DISK_REF_KINDS
};

/* A name found in an image. The strings live as long as the call. */
struct disk_ref {
	enum disk_ref_kind kind;
	const char *name;   /* as written in the image: bytes, bounded, without NUL. NULL: it names
			       none   and nobody gave one */
	const char *format; /* as declared there; NULL when it is not */
	const char *from;   /* the file that holds the name, for sentences and relative names */
	bool probed;        /* the format of that file was guessed */
	bool write;         /* it must be writable */
	int depth;          /* 1 for what the image itself names */
};

/* The answer: an open file and the name under which sentences mention it. */
struct disk_grant {
	int fd;            /* becomes the disk's */
	struct file *file; /* instead of an fd: a file that is none of the host's; the disk's */
	char *path;        /* malloced; becomes the disk's */
	char *format;      /* malloced or NULL: overrides the declared one */
};

/* Asked on the thread that opens. Returns 0 with *g set, or an error that says how to allow it. */
struct disk_gate {
	int (*open)(void *arg, const struct disk_ref *ref, struct disk_grant *g, struct err *e);
	void *arg;
};

/*
 * The gate for a person's own files: regular files beneath the directory of the image that names
 * them, or beneath one of `allow`, of the same owner, no symbolic link that leads out. With all
 * zero it denies everything. The struct must outlive the gate made from it.
 */
struct disk_dirs {
	bool own_dir;             /* beneath the directory of the naming image */
	bool trust_probed;        /* also for images whose format was guessed */
	const char *const *allow; /* directories, NULL at the end; may be NULL */
	void (*opened)(void *arg, const struct disk_ref *ref, const char *path); /* may be NULL */
	void *arg;
};

struct disk_gate disk_gate_dirs(struct disk_dirs *d);

/* ---- Open ---- */

struct disk_options {
	const char *format;           /* NULL: probe */
	unsigned flags;               /* DISK_... */
	const struct disk_gate *gate; /* NULL: every implied file is denied */
	/* The parents of images that have one and do not name it (VDI, and VMDK of VirtualBox), the
	 * first for the image itself; relative to the image, through the gate. NULL at the end. */
	const char *const *parents;
	uint64_t
	    cache_bytes; /* for metadata of this image; 0: chosen from its size, at most 32 MiB */
	const struct disk_secret *secret; /* opens every encrypted image of the chain; or NULL */
};

/* Opens by path, or by the address of a disk over NBD (nbd.h). o may be NULL. On success *ret is
 * the caller's, to be closed. May wait. */
int disk_open(const char *path, const struct disk_options *o, struct disk **ret, struct err *e);

/* The fd becomes the disk's, also on failure. name is for sentences and relative names. */
int disk_open_fd(int fd, const char *name, const struct disk_options *o, struct disk **ret,
		 struct err *e);

/*
 * One file of a resolved image, in the order in which opening asks for them: the image first.
 * The strings and the fd belong to the chain.
 */
struct disk_link {
	int fd;
	char *path; /* for sentences */
	char
	    *name; /* as written in the image that names it; NULL for the first and the last kind */
	char *format;   /* of the image; NULL for a data file, an extent or the temporary overlay */
	bool temporary; /* an unlinked file for DISK_SNAPSHOT */
};

struct disk_chain {
	struct disk_link *links; /* malloced */
	unsigned n;              /* at most 4096 */
};

/*
 * What disk_open() would open, without keeping the disk: for a process that opens files for a
 * sandboxed one. Takes no lock. With DISK_SNAPSHOT a temporary file is appended.
 */
int disk_resolve(const char *path, const struct disk_options *o, struct disk_chain *ret,
		 struct err *e);
void disk_chain_free(struct disk_chain *c); /* closes what is still in it */

/*
 * Opens nothing: uses the files of the chain, in order, and refuses an image that names another
 * one than was resolved. Takes the fds out of the chain (they become -1). o->format and o->gate
 * are not used.
 */
int disk_open_chain(struct disk_chain *c, const struct disk_options *o, struct disk **ret,
		    struct err *e);

/*
 * Flushes, and frees everything, also after an error. Queues must be freed first.
 * disk_close() is for those who cannot report the error any more.
 */
int disk_finish(struct disk *d, struct err *e);
void disk_close(struct disk *d);

/* ---- Use: any thread, may wait ---- */

uint64_t disk_size(struct disk *d); /* bytes; need not be a multiple of 512 */
bool disk_writable(const struct disk *d);
const char *disk_format_name(const struct disk *d);
uint32_t disk_unit(const struct disk *d); /* bytes in which it allocates and discards; >= 1 */

/* Bytes at any offset and length inside the disk: all of it or an error. */
int disk_read(struct disk *d, uint64_t off, void *buf, size_t len, struct err *e);
int disk_write(struct disk *d, uint64_t off, const void *buf, size_t len, struct err *e);
int disk_readv(struct disk *d, uint64_t off, const struct iovec *iov, int n, struct err *e);
int disk_writev(struct disk *d, uint64_t off, const struct iovec *iov, int n, struct err *e);

/* Reads as zeroes afterwards; with unmap the space may be given back, too. */
int disk_zero(struct disk *d, uint64_t off, uint64_t len, bool unmap, struct err *e);

/* The content does not matter any more: what can be given back reads as zeroes afterwards. */
int disk_discard(struct disk *d, uint64_t off, uint64_t len, struct err *e);

/* What was written before this call survives a power cut after it. */
int disk_flush(struct disk *d, struct err *e);

/* Grows (new bytes read as zeroes) or, where the format can, shrinks. Queues must be idle. */
int disk_resize(struct disk *d, uint64_t size, struct err *e);

/* Brings into the image itself what it shows of its backing images there, in whole units. */
int disk_copy_up(struct disk *d, uint64_t off, uint64_t len, struct err *e);

/* Where the bytes come from, for copying and "disk map". len is how far the answer holds. */
enum disk_status { DISK_IS_DATA, DISK_IS_ZERO, DISK_IS_HOLE };

struct disk_map {
	enum disk_status status; /* HOLE: zeroes, because no layer has anything there */
	unsigned depth;          /* the layer: 0 is the image itself */
	bool compressed;
	bool in_file; /* stored as it is, at file_off of the layer's main file */
	uint64_t file_off;
	uint64_t len;
};

int disk_map(struct disk *d, uint64_t off, struct disk_map *m, struct err *e);

/*
 * Writes another name of the backing image into d, NULL takes it away; what d shows until it is
 * closed stays the same. That the content fits is the caller's business (layers.h).
 */
int disk_set_backing(struct disk *d, const char *name, const char *format, struct err *e);
/* Everything in this layer is forgotten: what is below it shows. Queues must be idle. */
int disk_make_empty(struct disk *d, struct err *e);

/* ---- Information, check ---- */

struct disk_info {
	const char *format; /* lives for ever */
	uint64_t size, file_size,
	    allocated; /* bytes; allocated: what the host keeps for all files */
	uint32_t unit;
	bool dirty, corrupt, probed, encrypted;
	unsigned snapshots;
	const char *backing_name, *backing_format; /* live as long as the disk; may be NULL */
	char detail[512]; /* "key=value" lines of what only this format has */
};

void disk_info(struct disk *d, struct disk_info *i);
struct disk *disk_backing(struct disk *d); /* the next layer, or NULL; belongs to d */

struct disk_check {
	uint64_t units, units_used, compressed; /* clusters or blocks of the disk */
	uint64_t leaks, leaks_fixed, corruptions, corruptions_fixed;
	/* Called for each finding with one sentence; may be NULL. */
	void (*finding)(void *arg, const char *text);
	void *arg;
};

enum { DISK_REPAIR_LEAKS = 1, DISK_REPAIR_ALL = 2 };

/* 0 also when something was found: the counts tell. Queues must be idle. */
int disk_check(struct disk *d, unsigned repair, struct disk_check *c, struct err *e);

/* ---- Snapshots inside the image; queues must be idle ---- */

struct disk_snapshot {
	char id[64], name[256];
	uint64_t size, vmstate_size; /* bytes */
	int64_t time_ns;             /* since 1970 */
	uint64_t vm_clock_ns;
};

int disk_snapshot_create(struct disk *d, const char *name, struct err *e);
int disk_snapshot_delete(struct disk *d, const char *name, struct err *e); /* by id or name */
int disk_snapshot_revert(struct disk *d, const char *name, struct err *e);
/* A disk that is open for reading only shows this snapshot from now on. Nothing is in flight. */
int disk_snapshot_view(struct disk *d, const char *name, struct err *e);
/* *list is malloced, *n entries. */
int disk_snapshot_list(struct disk *d, struct disk_snapshot **list, unsigned *n, struct err *e);

/*
 * ---- Bitmaps of what was written ----
 *
 * They record from when they are made. Formats that can (qcow2) keep them in the image. Lists
 * change only while queues are idle; the rest from any thread.
 */

struct disk_bitmap {
	char name[256];
	uint64_t granularity, dirty; /* bytes */
	bool recording, persistent;
	bool inconsistent; /* somebody wrote without it: it says nothing */
};

/* granularity: bytes, a power of two; 0: 64 KiB. */
int disk_bitmap_create(struct disk *d, const char *name, uint64_t granularity, struct err *e);
int disk_bitmap_delete(struct disk *d, const char *name, struct err *e);
int disk_bitmap_record(struct disk *d, const char *name, bool on, struct err *e);
int disk_bitmap_list(struct disk *d, struct disk_bitmap **list, unsigned *n, struct err *e);
/* The first stretch at or after off that was written; *len is 0 when there is none. */
int disk_bitmap_next(struct disk *d, const char *name, uint64_t off, uint64_t *start, uint64_t *len,
		     struct err *e);
/* Pieces that lie in the range as a whole are as if they had not been written. */
int disk_bitmap_clear(struct disk *d, const char *name, uint64_t off, uint64_t len, struct err *e);

/* ---- Create ---- */

struct disk_create {
	const char *format; /* required */
	uint64_t size;      /* bytes */
	const char
	    *options; /* "cluster_size=64K,lazy_refcounts=on" or NULL; see disk_format_option() */
	const char *backing, *backing_format; /* written into the image as they are; NULL: none */
	/* The backing image, open, for formats that write its identity into the new one (vdi, vhd,
	 * vhdx, vmdk); stays the caller's. */
	struct disk *parent;
	const struct disk_secret *secret; /* for a format or option that encrypts; or NULL */
};

/*
 * Makes a new image under a temporary name beside path, syncs it, and renames it to path: half an
 * image never has the final name. Refuses an existing file unless overwrite.
 */
int disk_create(const char *path, const struct disk_create *c, bool overwrite, struct err *e);
/* In an empty file that is open for reading and writing; the fd stays the caller's. */
int disk_create_fd(int fd, const char *name, const struct disk_create *c, struct err *e);

/* Every format, in order: NULL after the last. */
const char *disk_format_at(unsigned i, const char **doc, bool *can_write, bool *can_create);
/* The options of disk_create() for a format: NULL after the last, and for an unknown format. */
const char *disk_format_option(const char *format, unsigned i, const char **value,
			       const char **doc);

/* ---- Queues: for devices ---- */

enum disk_op { DISK_READ, DISK_WRITE, DISK_FLUSH, DISK_ZERO, DISK_DISCARD, DISK_OPS };

struct disk_queue;
struct disk_req;

/* result: 0 or a negative errno (-ENOSPC, -EIO, -EINVAL past the end, -EROFS ...). */
typedef void disk_done_fn(struct disk_req *req, int result);

/* Where a request stands while it is in flight; the engine's own. */
struct disk_range {
	struct list node;
	uint64_t off, end;
	bool exclusive, held;
};

/*
 * One request. The caller owns it, the iovec and the memory until done() is called, and fills in
 * the first part; the rest is the queue's. Requests may complete in any order; those that overlap
 * while both are in flight have no order, as on a real disk.
 */
struct disk_req {
	enum disk_op op;
	bool unmap;        /* ZERO: the space may be given back */
	bool fua;          /* WRITE, ZERO: durable when done */
	uint64_t off, len; /* bytes. READ, WRITE: len is the sum of iov. FLUSH: neither is used */
	const struct iovec *iov;
	int iovcnt;
	disk_done_fn *done; /* on the loop's thread */
	void *arg;
	struct err *e; /* for the sentence when it fails; may be NULL */

	struct disk_queue *queue;
	struct disk_req *next;
	struct disk_range range;
	uint64_t file_off; /* of the one extent that is read or written directly */
	struct file *file;
	int result;
};

enum disk_engine { DISK_ENGINE_AUTO, DISK_ENGINE_URING, DISK_ENGINE_THREADS };

/*
 * A queue on l, used only on the thread of l. Several queues may share a disk, each on its own
 * loop. AUTO is io_uring where the host permits it, else threads; asking for URING fails where it
 * does not. depth: how many requests the ring holds, 1..4096 (more may be submitted, they wait).
 * Its threads and ring are made here, so that a sandbox may be closed afterwards.
 */
int disk_queue_new(struct disk *d, struct loop *l, unsigned depth, enum disk_engine engine,
		   struct disk_queue **ret, struct err *e);

/*
 * Never waits for the host. done() may run inside this call when the answer was at hand; when it
 * submits again from there, the stack does not grow.
 */
void disk_queue_submit(struct disk_queue *q, struct disk_req *req);

/*
 * At most so many requests and bytes in a second, over all queues of the disk; 0: no limit. Bursts:
 * how much may come at once after a pause; 0: a tenth of a second's worth. Flushes are never
 * held back. Any thread, at any time.
 */
struct disk_limits {
	uint64_t requests, requests_burst, bytes, bytes_burst;
};

int disk_limit(struct disk *d, const struct disk_limits *l, struct err *e);

/* Between these, requests are gathered and go to the kernel in one call. May nest. */
void disk_queue_plug(struct disk_queue *q);
void disk_queue_unplug(struct disk_queue *q);

/* Waits until nothing is in flight; calls done() of each. On the loop's thread. */
void disk_queue_drain(struct disk_queue *q);
enum disk_engine disk_queue_engine(const struct disk_queue *q);
void disk_queue_free(struct disk_queue *q); /* drains first; NULL is fine */

AUTOPTR(disk, disk_close)
AUTOPTR(disk_queue, disk_queue_free)
AUTOPTR(disk_chain, disk_chain_free)

#endif
