/*
 * recorder.h - a file in memory that remembers what was written since the last sync, so that a
 * power cut can be played at any moment, and that fails when it is told to. Single thread.
 */
#ifndef TESTS_STORAGE_RECORDER_H
#define TESTS_STORAGE_RECORDER_H

#include "storage/file.h"

struct recorder;

/* A file over data (copied). *f belongs to whoever opens a disk on it. */
struct recorder *recorder_new(const void *data, size_t len, struct file **f);
void recorder_free(struct recorder *r); /* after its file is closed */

/* Syncs return at once and nothing becomes durable: the control that shows the test works. */
void recorder_drop_syncs(struct recorder *r);

/* Called before each operation on the file. */
void recorder_on_op(struct recorder *r, void (*fn)(void *arg), void *arg);

/* The n-th operation from now on (1 is the next) fails with this negative errno; -1: a write is
 * cut short and fails with -EIO. 0: none. */
void recorder_fail(struct recorder *r, unsigned n, int error);
bool recorder_failed(const struct recorder *r);
bool recorder_failed_read(const struct recorder *r); /* it was a read */
unsigned recorder_count(const struct recorder *r);

/*
 * What is in the file after a power cut now: all that was synced, and by chance some of what came
 * later, in order, some writes torn between sectors. *data is malloced.
 */
void recorder_cut(struct recorder *r, uint64_t seed, uint8_t **data, size_t *len);

#endif
