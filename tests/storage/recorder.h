/*
 * recorder.h - files in memory that remember what was written since they were synced, so that a
 * power cut can be played at any moment, and that fail when they are told to. Single thread.
 */
#ifndef TESTS_STORAGE_RECORDER_H
#define TESTS_STORAGE_RECORDER_H

#include "storage/disk.h"
#include "storage/file.h"

enum { RECORDER_FILES = 8 };

struct recorder;

/* What a power cut leaves: every file by its name. */
struct cut {
	unsigned n;
	struct {
		const char *name;
		uint8_t *data; /* malloced */
		size_t len;
	} f[RECORDER_FILES];
};

struct recorder *recorder_new(void);
void recorder_free(struct recorder *r); /* after all of its files are closed */

/* The file of that name, made when it is new; one handle at a time. */
struct file *recorder_file(struct recorder *r, const char *name);
/* Hands the files to images that name them, by the last part of the name. */
struct disk_gate recorder_gate(struct recorder *r);
/* For disk_create_files(). */
int recorder_more(void *r, const char *name, struct file **ret, struct err *e);
/* Everything so far is durable. */
void recorder_settle(struct recorder *r);

/* Syncs return at once and nothing becomes durable: the control that shows the test works. */
void recorder_drop_syncs(struct recorder *r);

/* Called before each operation on a file. */
void recorder_on_op(struct recorder *r, void (*fn)(void *arg), void *arg);

/* The n-th operation from now on (1 is the next) fails with this negative errno; -1: a write is
 * cut short and fails with -EIO. 0: none. */
void recorder_fail(struct recorder *r, unsigned n, int error);
bool recorder_failed(const struct recorder *r);
bool recorder_failed_read(const struct recorder *r); /* it was a read */
unsigned recorder_count(const struct recorder *r);

/*
 * What is in the files after a power cut now: all that was synced, and by chance some of what came
 * later, in order, some writes torn between sectors. For one seed in eight: everything, as after
 * the kill of the process.
 */
void recorder_cut(struct recorder *r, uint64_t seed, struct cut *ret);
void cut_free(struct cut *c);

#endif
