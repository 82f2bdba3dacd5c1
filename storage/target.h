/*
 * target.h - a new image that nobody sees before it is complete: made and filled in a directory
 * beside its place, synced, and renamed. For convert and every other job that makes an image.
 * Called on one thread; may wait.
 */
#ifndef STORAGE_TARGET_H
#define STORAGE_TARGET_H

#include "storage/disk.h"

struct disk_target;

/*
 * path: its final name. An old image of this name stays until the new one takes its place, and
 * must not be in use. A block device is written where it is (only raw); it must be large enough.
 * gate: for the backing image it names; may be NULL.
 */
int disk_target_new(const char *path, const struct disk_create *c, const struct disk_gate *gate,
		    struct disk_target **ret, struct err *e);

/* Open for writing, flushes are left out; stays the target's. */
struct disk *disk_target_disk(struct disk_target *t);

/* Closes, syncs and renames. t is gone afterwards, also on failure; then the old image stays. */
int disk_target_publish(struct disk_target *t, struct err *e);

/* Throws away what was made. */
void disk_target_free(struct disk_target *t);

AUTOPTR(disk_target, disk_target_free)

#endif
