/*
 * layers.h - work on an image and what is below it: giving it another backing image, putting its
 * content into the one it has, making it small. For jobs and vmctl; any thread, may wait. Nothing
 * else uses the disks meanwhile.
 */
#ifndef STORAGE_LAYERS_H
#define STORAGE_LAYERS_H

#include "storage/disk.h"

struct disk_progress {
	bool (*tell)(void *arg, uint64_t done, uint64_t total); /* false: stop; may be NULL */
	void *arg;
};

/*
 * d will stand on newer (NULL: on nothing): where that shows something else than what is below d
 * now, the bytes are copied into d. The content of d does not change, and the name of the backing
 * image in it neither: disk_set_backing() does that, after disk_flush().
 */
int disk_rebase(struct disk *d, struct disk *newer, const struct disk_progress *p, struct err *e);

/*
 * What top has of its own goes into base, which grows when it is smaller. top was opened with
 * DISK_NO_BACKING, base for writing. base is flushed; top does not change.
 */
int disk_commit(struct disk *top, struct disk *base, const struct disk_progress *p, struct err *e);

/* Zeroes that are stored as data in a plain file become holes; *saved: bytes of them. */
int disk_punch(struct disk *d, const struct disk_progress *p, uint64_t *saved, struct err *e);

/*
 * How large the file of an image made by c would be in bytes: with what src has (NULL: nothing),
 * and, unless full is NULL, when every byte of the disk is written. Compression is not foreseen.
 */
int disk_measure(const struct disk_create *c, struct disk *src, uint64_t *needed, uint64_t *full,
		 struct err *e);

#endif
